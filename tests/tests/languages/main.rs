//! Plugins in other languages on the real binary: what their standard libraries find, within grants and without.
//!
//! `cargo xtask test` builds them with the languages' own tools and says where they are in `TEST_LANGUAGES`.

mod javascript;
mod python;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bellwether_tests::{Host, expect_json, share};
use serde_json::{Value, json};

/// Where the components are, and the machine code made of them by earlier tests.
fn folder() -> PathBuf {
    std::env::var_os("TEST_LANGUAGES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/languages"), PathBuf::from)
}

fn component(name: &str) -> PathBuf {
    folder().join(name).with_extension("wasm")
}

/// A host with one plugin and a playbook of its name that calls it with whatever it is started with.
struct World {
    host: Host,
    admin: String,
    _folder: tempfile::TempDir,
}

/// Compiling takes long: whoever comes second finds what the first made.
static COMPILING: Mutex<()> = Mutex::new(());

impl World {
    fn with(plugin: &str, inputs: &[&str], grants: &[&str]) -> Result<Self> {
        let _turn = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
        let temporary = tempfile::tempdir()?;
        let data = temporary.path().join("data");
        let (kept, cache) = (folder().join("code"), data.join("cache"));
        fs::create_dir_all(&kept)?;
        share(&kept, &cache)?;
        let host = Host::start(&data, &[])?;
        let admin = host.keys().admin.clone();
        let world = Self { host, admin, _folder: temporary };
        let file = component(plugin);
        ensure!(file.is_file(), "{} is not there: `cargo xtask test` builds it", file.display());
        world.granted("install", &file.display().to_string(), grants)?;
        share(&cache, &kept)?;
        let lines: String =
            inputs.iter().map(|name| format!("{name} = \"{{{{ trigger.inputs.{name} }}}}\"\n")).collect();
        let document = format!(
            "name = \"{plugin}\"\n[trigger]\ntype = \"manual\"\n[[steps]]\nid = \"call\"\napp = \"{plugin}\"\ntimeout = \"5s\"\n[steps.inputs]\n{lines}"
        );
        let request = world.host.as_key(&world.admin, "POST", "/v1/playbooks");
        expect_json(request.header("content-type", "application/toml").body(document).send()?, 201)?;
        Ok(world)
    }

    /// Runs `bellwether plugin install` or `grants` with these grants.
    fn granted(&self, command: &str, plugin: &str, grants: &[&str]) -> Result<()> {
        let mut arguments = vec!["plugin", command, plugin];
        arguments.extend(grants.iter().flat_map(|grant| ["--grant", grant]));
        let done = self.host.command(&self.admin, &arguments)?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    /// Runs the plugin once and gives its step: state, outputs, error, log.
    fn step(&self, plugin: &str, inputs: &Value) -> Result<Value> {
        let path = format!("/v1/playbooks/{plugin}/runs?wait=60");
        let request = self.host.as_key(&self.admin, "POST", &path).json(&json!({ "inputs": inputs }));
        let run = expect_json(request.send()?, 200)?;
        Ok(run["steps"][0].clone())
    }
}

/// The messages a step logged.
fn messages(step: &Value) -> Vec<&str> {
    step["log"].as_array().into_iter().flatten().filter_map(|line| line["message"].as_str()).collect()
}

/// Answers every request on a port of its own with the same JSON.
struct Server {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    fn start(body: &Value) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a port is free")?;
        let url = format!("http://{}", listener.local_addr()?);
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let head =
                    BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
                if head.count() > 0 {
                    count.fetch_add(1, Ordering::Relaxed);
                    let _ = (&stream).write_all(answer.as_bytes());
                }
            }
        });
        Ok(Self { url, requests })
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}
