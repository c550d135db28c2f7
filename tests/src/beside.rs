//! Other people's programs that run beside Bellwether: `cargo xtask` unpacks their Debian packages and puts them into
//! `PATH`.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::client;

/// How long one may take until it answers.
const START: Duration = Duration::from_secs(60);

/// A running program that answers HTTP on a port of its own. Killed when dropped.
pub struct Beside {
    child: Child,
    /// Where it listens: `http://127.0.0.1:40123`.
    pub url: String,
}

/// Whether a program is there. Where it is not, says that it is skipped.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("--help").stdin(Stdio::null()).output().is_ok();
    if !found {
        println!("SKIPPED: {program} is not installed");
    }
    found
}

impl Beside {
    /// Starts a program that is told its address by `address`, as `-httpListenAddr=`, and waits until it answers `ready`.
    /// `None`, and why on standard output, if it is not installed.
    ///
    /// # Errors
    /// If it does not answer in time; says what it printed to its log in `folder`.
    pub fn start(
        program: &str,
        arguments: &[String],
        address: &str,
        ready: &str,
        folder: &Path,
    ) -> Result<Option<Self>> {
        if !is_installed(program) {
            return Ok(None);
        }
        let log_path = folder.join(program).with_extension("log");
        let log = File::create(&log_path)?;
        // Free now, and nobody else looks for one here: these programs do not say which port they were given.
        let listens = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(program);
        command.args(arguments).arg(format!("{address}{listens}"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("{program} starts"))?;
        let mut started = Self { child, url: format!("http://{listens}") };
        let began = Instant::now();
        while began.elapsed() < START {
            if let Some(status) = started.child.try_wait()? {
                bail!("{program} stopped with {status}:\n{}", std::fs::read_to_string(&log_path)?);
            }
            let asked = client().get(format!("{}{ready}", started.url)).send();
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(Some(started));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("{program} did not answer within {START:?}:\n{}", std::fs::read_to_string(&log_path)?);
    }

    /// VictoriaMetrics, with its data in `victoria-metrics` in `folder`, and these arguments besides.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub fn victoria_metrics(folder: &Path, arguments: &[&str]) -> Result<Option<Self>> {
        let data = format!("-storageDataPath={}", folder.join("victoria-metrics").display());
        let mut all = vec![data];
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        Self::start("victoria-metrics", &all, "-httpListenAddr=", "/health", folder)
    }

    /// Prometheus that scrapes nothing, on the blocks of `prometheus` in `folder`.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub fn prometheus(folder: &Path, arguments: &[&str]) -> Result<Option<Self>> {
        let settings = folder.join("prometheus.yml");
        File::create(&settings)?;
        let mut all = vec![
            format!("--config.file={}", settings.display()),
            format!("--storage.tsdb.path={}", folder.join("prometheus").display()),
        ];
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        Self::start("prometheus", &all, "--web.listen-address=", "/-/ready", folder)
    }

    /// Alertmanager with one receiver, which every alert is told to by itself and at once.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub fn alertmanager(folder: &Path, receiver: &Value) -> Result<Option<Self>> {
        let config = json!({
            "route": {"receiver": "all", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s",
                "repeat_interval": "4h"},
            "receivers": [receiver],
        });
        // JSON is YAML.
        let file = folder.join("alertmanager.yml");
        std::fs::write(&file, config.to_string())?;
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.path={}", folder.join("alertmanager").display()),
            "--cluster.listen-address=".to_owned(),
        ];
        Self::start("prometheus-alertmanager", &arguments, "--web.listen-address=", "/-/ready", folder)
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gives Alertmanager alerts, as its API v2 takes them.
///
/// # Errors
/// If it refuses them.
pub fn post_alerts(url: &str, alerts: &Value) -> Result<()> {
    let answer = client().post(format!("{url}/api/v2/alerts")).json(alerts).send()?;
    let status = answer.status();
    anyhow::ensure!(status.is_success(), "{status}: {}", answer.text()?);
    Ok(())
}
