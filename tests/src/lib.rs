//! Runs the real binary for the end-to-end tests and the benchmarks.
//!
//! `cargo xtask test` builds the binary and says where it is in `BELLWETHER_BINARY`; a Python that has what
//! `requirements.txt` lists is in `BELLWETHER_PYTHON`.

pub mod beside;
pub mod load;
pub mod sink;
pub mod submission;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::Value;

/// How long a host may take until it listens; a first start compiles every bundled plugin.
const START: Duration = Duration::from_secs(120);

/// The binary under test.
///
/// # Panics
/// If it was not built: `cargo xtask test` builds it.
#[must_use]
pub fn binary() -> PathBuf {
    let path = std::env::var_os("BELLWETHER_BINARY").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/bellwether"),
        PathBuf::from,
    );
    assert!(path.is_file(), "{} is not there: run `cargo xtask test`, which builds it", path.display());
    path
}

/// What a new host says once: the keys of its operator and of its first organisation's admin.
#[derive(Clone, Debug)]
pub struct FirstKeys {
    /// The operator's token.
    pub operator: String,
    /// The admin's token.
    pub admin: String,
    /// The admin key's access id, for clients that sign.
    pub access_id: String,
    /// The admin key's signing secret.
    pub secret: String,
}

/// A running host. Killed when dropped.
pub struct Host {
    child: Child,
    /// Where it listens: `http://127.0.0.1:40123`.
    pub url: String,
    /// What it printed on its first start; absent on later ones.
    pub first_keys: Option<FirstKeys>,
    /// How long it took until it listened.
    pub started_in: Duration,
    /// What it printed to standard output before it listened.
    pub printed: Vec<String>,
}

/// Where machine code of the plugins in the binary is kept for hosts that begin on a new folder: compiling them all takes
/// each some seconds. `cargo xtask test` says where; without that every host compiles.
fn code_of_bundled() -> Result<Option<PathBuf>> {
    let Some(folder) = std::env::var_os("TEST_CODE_CACHE") else { return Ok(None) };
    let built = std::fs::metadata(binary())?.modified()?.duration_since(std::time::UNIX_EPOCH)?;
    Ok(Some(PathBuf::from(folder).join(built.as_nanos().to_string())))
}

/// Keeps a folder under a name nobody sees it by until it is whole. Of several at once the first stays.
fn keep(folder: &Path, name: &Path) -> Result<()> {
    let above = name.parent().context("it lies in a folder")?;
    std::fs::create_dir_all(above)?;
    let draft = tempfile::tempdir_in(above)?;
    share(folder, &draft.path().join("code"))?;
    match std::fs::rename(draft.path().join("code"), name) {
        Err(error) if !name.exists() => Err(error.into()),
        _ => Ok(()),
    }
}

/// Puts every file below one folder into another, where it is not yet: the same file under a second name where both lie on one
/// disk, so that many hosts take the room of one. For files that are replaced and never changed, like machine code.
///
/// # Errors
/// If a folder cannot be read or written.
pub fn share(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let from = entry?.path();
        let to = to.join(from.file_name().context("an entry has a name")?);
        if from.is_dir() {
            share(&from, &to)?;
            continue;
        }
        match std::fs::hard_link(&from, &to) {
            // Written over, it would change under those that share it.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(_) => drop(std::fs::copy(&from, &to)?),
            Ok(()) => {}
        }
    }
    Ok(())
}

impl Host {
    /// Starts a host on `data`, on a free port, with further arguments.
    ///
    /// # Errors
    /// If it does not listen in time; says what it printed.
    pub fn start(data: &Path, arguments: &[&str]) -> Result<Self> {
        Self::start_with(data, arguments, |_| {})
    }

    /// As [`Self::start`], after `prepare` changed the command.
    ///
    /// # Errors
    /// If it does not listen in time; says what it printed.
    pub fn start_with(data: &Path, arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Result<Self> {
        let code = code_of_bundled()?.filter(|_| !data.exists());
        if let Some(code) = code.as_ref().filter(|code| code.is_dir()) {
            share(code, &data.join("cache"))?;
        }
        let log_path = data.with_extension("log");
        let log = std::fs::File::options().create(true).append(true).open(&log_path)?;
        let mut command = Command::new(binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).args(arguments);
        command.env_remove("BELLWETHER_KEY").env_remove("BELLWETHER_URL");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        prepare(&mut command);
        let began = Instant::now();
        let mut child = command.spawn().context("the binary starts")?;
        let lines = BufReader::new(child.stdout.take().expect("standard output is piped")).lines();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut printed = Vec::new();
        while began.elapsed() < START {
            match receiver.recv_timeout(Duration::from_millis(50)) {
                Ok(line) => {
                    let url = line.strip_prefix("listening on ").map(|url| url.trim().to_owned());
                    printed.push(line);
                    if let Some(url) = url {
                        if let Some(code) = code.filter(|code| !code.exists()) {
                            keep(&data.join("cache"), &code)?;
                        }
                        let first_keys = first_keys(&printed);
                        return Ok(Self { child, url, first_keys, started_in: began.elapsed(), printed });
                    }
                }
                Err(_) => {
                    if let Some(status) = child.try_wait()? {
                        let log = std::fs::read_to_string(&log_path).unwrap_or_default();
                        bail!("the host stopped with {status}: {}\n{log}", printed.join("\n"));
                    }
                }
            }
        }
        let _ = child.kill();
        bail!("the host did not listen within {START:?}: {}", printed.join("\n"));
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn resident_memory(&self) -> Result<u64> {
        resident_memory(self.id())
    }

    /// The most resident memory in bytes since its start, or since `5` was written to its `clear_refs`.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn peak_memory(&self) -> Result<u64> {
        memory(self.id(), "VmHWM:")
    }

    /// How long its threads have been on a processor so far; see [`processor_time`].
    ///
    /// # Errors
    /// If the process is gone.
    pub fn processor_time(&self) -> Result<Duration> {
        processor_time(self.id())
    }

    /// Kills it as a power switch would: no handler runs.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// If it ends with a failure or not within 30 s.
    pub fn stop(mut self) -> Result<()> {
        let status = Command::new("kill").args(["-TERM", &self.id().to_string()]).status()?;
        ensure!(status.success(), "the signal is sent");
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(30) {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the host ended with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the host did not stop within 30 s");
    }

    /// A request to a path of this host.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = method.parse().expect("a method");
        client().request(method, format!("{}{path}", self.url))
    }

    /// A request to a path of this host, with a query.
    ///
    /// # Panics
    /// If that is no URL.
    pub fn request_with(&self, method: &str, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.url), query).expect("a URL");
        client().request(method.parse().expect("a method"), url)
    }

    /// The keys of the first start.
    ///
    /// # Panics
    /// If this was not the first start.
    #[must_use]
    pub fn keys(&self) -> &FirstKeys {
        self.first_keys.as_ref().expect("a first start prints its keys")
    }

    /// The admin's key of another organisation, which is made; to be called once.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn stranger(&self) -> Result<String> {
        let operator = &self.keys().operator;
        let other = serde_json::json!({ "name": "other", "role": "admin" });
        let organisation = self.as_key(operator, "POST", "/v1/organisations");
        expect_json(organisation.json(&serde_json::json!({ "name": "other" })).send()?, 201)?;
        let key = self.as_key(operator, "POST", "/v1/organisations/other/keys").json(&other);
        let key = expect_json(key.send()?, 201)?;
        Ok(key["token"].as_str().context("a token")?.to_owned())
    }

    /// A key of the first organisation with the role `read`, which is made.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn reader(&self) -> Result<String> {
        let key = serde_json::json!({ "name": "reader", "role": "read" });
        let key = expect_json(self.as_admin("POST", "/v1/keys").json(&key).send()?, 201)?;
        Ok(key["token"].as_str().context("a token")?.to_owned())
    }

    /// A request with a bearer token.
    pub fn as_key(&self, token: &str, method: &str, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(token)
    }

    /// A request of the first organisation's admin.
    pub fn as_admin(&self, method: &str, path: &str) -> RequestBuilder {
        self.as_key(&self.keys().admin, method, path)
    }

    /// Stores a playbook, in TOML, on behalf of a key, and publishes it.
    ///
    /// # Errors
    /// If it is refused; says why.
    pub fn store_playbook(&self, token: &str, document: &str) -> Result<Value> {
        let request = self.as_key(token, "POST", "/v1/playbooks").header("content-type", "application/toml");
        expect_json(request.body(document.to_owned()).send()?, 201)
    }

    /// As [`Self::store_playbook`], one with a webhook: gives the path of its URL.
    ///
    /// # Errors
    /// If it is refused; says why.
    pub fn store_hook(&self, token: &str, document: &str) -> Result<String> {
        let playbook = self.store_playbook(token, document)?;
        let url = playbook["webhook_url"].as_str().context("an admin is shown the webhook's URL")?;
        Ok(url[url.find("/hooks/").context("webhooks live under /hooks/")?..].to_owned())
    }

    /// Runs the command line against this host.
    ///
    /// # Errors
    /// If it does not start.
    pub fn command(&self, token: &str, arguments: &[&str]) -> Result<Output> {
        Ok(Command::new(binary())
            .args(arguments)
            .env("BELLWETHER_URL", &self.url)
            .env("BELLWETHER_KEY", token)
            .stdin(Stdio::null())
            .output()?)
    }
}

/// How long a process's threads have been on a processor so far, in user and kernel mode, to a hundredth of a second.
///
/// # Errors
/// If the process is gone.
pub fn processor_time(process: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in parentheses, may hold anything. Fields 14 and 15 of proc(5) are 11 and 12 behind it.
    let (_, fields) = stat.rsplit_once(')').context("a name in parentheses")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let (Some(user), Some(kernel)) = (fields.get(11), fields.get(12)) else {
        bail!("no processor times in {stat:?}")
    };
    // Linux shows them in hundredths of a second whatever its own clock does: USER_HZ of x86 and ARM.
    Ok(Duration::from_millis(10 * (user.parse::<u64>()? + kernel.parse::<u64>()?)))
}

/// A process's resident memory in bytes.
///
/// # Errors
/// If the process is gone.
pub fn resident_memory(process: u32) -> Result<u64> {
    memory(process, "VmRSS:")
}

/// A line of a process's proc_pid_status(5), in bytes.
fn memory(process: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kibibytes * 1024)
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the keys a first start prints, one `name  value` a line.
fn first_keys(printed: &[String]) -> Option<FirstKeys> {
    let value =
        |name: &str| printed.iter().find_map(|line| Some(line.trim().strip_prefix(name)?.trim().to_owned()));
    Some(FirstKeys {
        operator: value("operator key")?,
        admin: value("admin key")?,
        access_id: value("access id")?,
        secret: value("secret key")?,
    })
}

/// A client that keeps connections, as real ones do.
///
/// # Panics
/// If it cannot be made, for want of a source of randomness.
#[must_use]
pub fn client() -> &'static Client {
    static CLIENT: std::sync::OnceLock<Client> = std::sync::OnceLock::new();
    CLIENT.get_or_init(|| {
        // Cargo builds one HTTP client for the workspace, and the binary wants to choose who does its TLS. Who came
        // first has chosen the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(Duration::from_secs(60));
        client.redirect(reqwest::redirect::Policy::none()).build().expect("a client")
    })
}

/// The answer's JSON, if its status is `status`.
///
/// # Errors
/// If the status is another; says what the answer was.
pub fn expect_json(response: Response, status: u16) -> Result<Value> {
    let (got, text) = (response.status().as_u16(), response.text()?);
    ensure!(got == status, "{got} where {status} was expected: {text}");
    serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
}

/// The two headers that sign a ThreatConnect request: `Authorization` and `Timestamp`.
///
/// # Panics
/// Never: HMAC takes keys of any length.
#[must_use]
pub fn sign(
    access_id: &str,
    secret: &str,
    method: &str,
    target: &str,
    unix_seconds: u64,
) -> (String, String) {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(format!("{target}:{method}:{unix_seconds}").as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    (format!("TC {access_id}:{signature}"), unix_seconds.to_string())
}

/// Runs a Python script of `tests/python` and gives what it printed.
///
/// # Errors
/// If it fails; says what it printed.
pub fn python(script: &str, arguments: &[&str]) -> Result<String> {
    let python = std::env::var_os("BELLWETHER_PYTHON")
        .context("BELLWETHER_PYTHON is not set: run `cargo xtask test`, which prepares it")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    let output = Command::new(python).arg(&script).args(arguments).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let _ = std::io::stderr().write_all(&output.stderr);
    ensure!(output.status.success(), "{} failed with {}: {text}", script.display(), output.status);
    Ok(text)
}
