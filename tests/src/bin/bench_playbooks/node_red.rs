//! Node-RED with the flows of `tests/bench/node-red`, where `cargo xtask bench` installed it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bellwether_tests::client;

/// How long it may take to start.
const START: Duration = Duration::from_secs(60);

/// A running Node-RED. Killed when dropped.
pub(crate) struct NodeRed {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
    samples: PathBuf,
}

impl NodeRed {
    /// Starts it, if `NODE_RED_HOME` names the folder it was installed to.
    pub(crate) fn start(folder: &Path) -> Result<Option<Self>> {
        let Some(installed) = std::env::var_os("NODE_RED_HOME") else {
            println!("SKIPPED: Node-RED is not there: `cargo xtask bench playbooks` installs it");
            return Ok(None);
        };
        let user = folder.join("node-red");
        std::fs::create_dir(&user)?;
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/node-red");
        for file in ["flows.json", "settings.js"] {
            std::fs::copy(files.join(file), user.join(file))?;
        }
        let (log_path, samples) = (folder.join("node-red.log"), folder.join("samples"));
        let log = File::create(&log_path)?;
        // Free now, and nobody else looks for one here: Node-RED cannot say which port it was given.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("node");
        command.arg(Path::new(&installed).join("node_modules/node-red/red.js"));
        command
            .arg("--userDir")
            .arg(&user)
            .arg("--settings")
            .arg(user.join("settings.js"))
            .arg(user.join("flows.json"));
        command.env("NODE_ENV", "production").env("PORT", port.to_string()).env("BENCH_SAMPLES", &samples);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("node starts")?;
        let mut started = Self { child, url: format!("http://127.0.0.1:{port}"), samples };
        let began = Instant::now();
        while began.elapsed() < START {
            if let Some(status) = started.child.try_wait()? {
                bail!("Node-RED stopped with {status}:\n{}", std::fs::read_to_string(&log_path)?);
            }
            // A route there is none of is answered before the flows run, and so is one that refuses its request.
            let asked = client().post(format!("{}/appended", started.url)).send();
            if asked.is_ok_and(|answer| answer.status() == 400) {
                return Ok(Some(started));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("Node-RED did not start within {START:?}:\n{}", std::fs::read_to_string(&log_path)?);
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many samples the flow that appends has stored.
    pub(crate) fn appended(&self) -> Result<u64> {
        lines(&self.samples)
    }

    /// How many samples the flow that syncs has stored.
    pub(crate) fn synced(&self) -> Result<u64> {
        lines(&self.samples.with_extension("synced"))
    }
}

impl Drop for NodeRed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(path: &Path) -> Result<u64> {
    if !path.exists() {
        return Ok(0);
    }
    let mut count = 0;
    for line in BufReader::new(File::open(path)?).lines() {
        line?;
        count += 1;
    }
    Ok(count)
}
