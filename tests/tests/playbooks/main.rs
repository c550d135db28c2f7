//! Playbooks on the real binary: the examples by their own triggers, versions, history, secrets, and `kill -9`.

mod crash;
mod examples;
mod history;
mod secrets;
mod service;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bellwether_tests::{Host, expect_json};
use serde_json::{Value, json};

/// How long anything may take that is bound to happen; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
fn eventually<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("{what}: not within {PATIENCE:?}");
}

/// A host with the key of its admin, which outlives a restart.
struct World {
    host: Host,
    admin: String,
    operator: String,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let host = Host::start(&folder.path().join("data"), &[])?;
        let (admin, operator) = (host.keys().admin.clone(), host.keys().operator.clone());
        Ok(Self { host, admin, operator, folder })
    }

    /// Starts the host again; `stop` is how it ends.
    fn restarted(self, stop: impl FnOnce(Host) -> Result<()>) -> Result<Self> {
        stop(self.host)?;
        let host = Host::start(&self.folder.path().join("data"), &[])?;
        Ok(Self { host, ..self })
    }

    fn get(&self, path: &str) -> Result<Value> {
        expect_json(self.host.as_key(&self.admin, "GET", path).send()?, 200)
    }

    fn post(&self, path: &str, body: &Value, status: u16) -> Result<Value> {
        expect_json(self.host.as_key(&self.admin, "POST", path).json(body).send()?, status)
    }

    /// Stores a document and publishes it.
    fn store(&self, document: &str) -> Result<Value> {
        self.host.store_playbook(&self.admin, document)
    }

    /// Stores a document with a webhook and gives the path of its URL.
    fn store_hook(&self, document: &str) -> Result<String> {
        self.host.store_hook(&self.admin, document)
    }

    /// Starts a playbook by hand and gives the run, ended.
    fn run(&self, playbook: &str, inputs: &Value) -> Result<Value> {
        self.post(&format!("/v1/playbooks/{playbook}/runs?wait=60"), &json!({ "inputs": inputs }), 200)
    }

    /// The runs of a playbook in a state, newest first.
    fn runs(&self, playbook: &str, state: &str) -> Result<Vec<Value>> {
        let mut runs = self.get(&format!("/v1/runs?playbook={playbook}&state={state}&limit=1000"))?;
        ensure!(runs.get("next").is_none(), "one page is enough");
        Ok(runs["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// A run once it is in a state.
    fn run_in_state(&self, id: &str, state: &str) -> Result<Value> {
        eventually(&format!("the run {id} is {state}"), || {
            let run = self.get(&format!("/v1/runs/{id}"))?;
            Ok((run["state"] == state).then_some(run))
        })
    }

    fn define(&self, name: &str, data_type: &str, interval: &str) -> Result<()> {
        let metric = json!({ "name": name, "data_type": data_type, "interval": interval });
        self.post("/v1/metrics", &metric, 201).map(drop)
    }

    fn add(&self, metric: &str, value: f64, time: &str) -> Result<()> {
        let samples = json!({ "samples": [{ "metric": metric, "value": value, "time": time }] });
        self.post("/v1/samples", &samples, 200).map(drop)
    }

    /// What a metric amounts to over a long time, all of its keys and intervals together; `None` if there is no such
    /// metric.
    fn total(&self, metric: &str) -> Result<Option<f64>> {
        let path = format!("/v1/metrics/{metric}/values?start=2020-01-01&end=2060-01-01");
        let answer = self.host.as_key(&self.admin, "GET", &path).send()?;
        if answer.status() == 404 {
            return Ok(None);
        }
        let values = expect_json(answer, 200)?;
        let points = values["series"].as_array().into_iter().flatten();
        let points = points.flat_map(|series| series["values"].as_array().into_iter().flatten());
        Ok(Some(points.filter_map(|point| point["value"].as_f64()).sum()))
    }

    /// Runs the command line as the admin and gives what it printed, if it succeeded.
    fn command(&self, arguments: &[&str]) -> Result<String> {
        let output = self.host.command(&self.admin, arguments)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "bellwether {}: {errors}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The same as JSON.
    fn command_json(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.command(&[arguments, &["--json"]].concat())?)?)
    }

    /// Puts a file into the test's folder and gives its path.
    fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_str().context("a path of text")?.to_owned())
    }
}

/// A document with parts put in the place of others, each of which it must have.
fn with(document: &str, changes: &[(&str, &str)]) -> Result<String> {
    changes.iter().try_fold(document.to_owned(), |document, (from, to)| {
        ensure!(document.contains(from), "{from:?} is not in\n{document}");
        Ok(document.replacen(from, to, 1))
    })
}
