//! `bellwether plugin dev`: builds and installs on every save, and shows what the plugin does on the host.

use std::collections::HashSet;
use std::path::PathBuf;

use bellwether_plugins::{Grant, Inspection};
use reqwest::Method;
use serde_json::{Value, json};

use super::build::{Component, Project, build, project};
use super::grants::{Otherwise, complete};
use super::watch::{INTERVAL, MOST, Snapshot, changed};
use crate::client::{Body, Client};
use crate::commands::run::ended_badly;
use crate::failure::Failure;
use crate::output;

/// How many runs are looked at for new lines.
const RUNS: usize = 20;

/// What is built, where it goes, and what is run of it.
pub(crate) struct Loop {
    /// The project's folder.
    pub(crate) folder: PathBuf,
    /// What the plugin is granted besides what has no scope; what it has on the host stays otherwise.
    pub(crate) grants: Vec<Grant>,
    /// A playbook run after every install.
    pub(crate) playbook: Option<String>,
    /// What it is started with.
    pub(crate) inputs: Value,
    /// Build, install and run once, and end.
    pub(crate) once: bool,
}

/// Works until it is interrupted.
///
/// # Errors
/// [`Failure::Usage`] if there is no plugin's project, which no change would make one; and of the first requests.
pub(crate) async fn run(work: &Loop, client: &Client) -> Result<(), Failure> {
    let (folder, target) = match project(&work.folder) {
        Ok(Project { folder, target, .. }) => (folder, target),
        Err(failure @ Failure::Usage(_)) => return Err(failure),
        // A project that cannot be built as it stands is mended while it is watched.
        Err(_) => (work.folder.clone(), work.folder.join("target")),
    };
    let mut files = Snapshot::of(&folder, &target);
    let mut granted = Vec::new();
    let mut seen = runs(client).await?.into_iter().map(|(id, _)| id).collect::<HashSet<_>>();
    loop {
        let (name, ended) = match round(work, client, &mut granted).await {
            Ok((name, ended)) => (Some(name), ended),
            Err(failure) if work.once => return Err(failure),
            Err(failure) => {
                crate::output::note!("{}", failure.for_people());
                (None, Ok(()))
            }
        };
        let told = match &name {
            Some(name) => tell(client, name, &mut seen).await,
            None => Ok(()),
        };
        if work.once {
            return told.and(ended);
        }
        if let Err(failure) = told {
            crate::output::note!("{}", failure.for_people());
        }
        if !files.whole {
            crate::output::note!(
                "{} has more than {MOST} files: what is saved in the others is not noticed",
                folder.display()
            );
        }
        crate::output::note!("waiting for a change in {}; Ctrl-C ends", work.folder.display());
        // What changed while it was built counts too.
        let earlier = files.clone();
        let change = changed(&folder, &target, &earlier);
        tokio::pin!(change);
        files = loop {
            tokio::select! {
                files = &mut change => break files,
                () = tokio::time::sleep(INTERVAL * 4) => {
                    // What others start on the host is shown too.
                    if let Some(name) = &name && let Err(failure) = tell(client, name, &mut seen).await {
                        crate::output::note!("{}", failure.for_people());
                    }
                }
            }
        };
    }
}

/// Builds, installs and runs once. Gives the plugin's name, and whether the run ended well. `granted` is what it had in
/// rounds before, and has.
async fn round(
    work: &Loop,
    client: &Client,
    granted: &mut Vec<Grant>,
) -> Result<(String, Result<(), Failure>), Failure> {
    let component = build(&work.folder, None)?;
    let Component { bytes, inspection, .. } = component;
    let name = inspection.name.clone().unwrap_or_default();
    remember(granted, present(client, &name).await?);
    remember(granted, work.grants.clone());
    let grants = complete(&inspection, &asked(granted, &inspection), Otherwise::Unscoped)?;
    let grants: Vec<String> = grants.iter().map(ToString::to_string).collect();
    let told = if grants.is_empty() { "nothing".to_owned() } else { grants.join(", ") };
    let mut query: Vec<_> = grants.into_iter().map(|grant| ("grant", grant)).collect();
    query.push(("replace", "true".to_owned()));
    let body = Body::Bytes("application/wasm", bytes);
    let installed = client.write(Method::POST, &["v1", "plugins"], &query, body).await?;
    let version = output::cell(installed.get("version"));
    output::print(&format!("{name} {version} is installed, {} bytes, granted {told}\n", inspection.size))?;
    if let Some(playbook) = &work.playbook {
        let path = ["v1", "playbooks", playbook.as_str(), "runs"];
        let body = Body::Json(json!({ "inputs": work.inputs }));
        let run = client.write(Method::POST, &path, &[("wait", "30".to_owned())], body).await?;
        return Ok((name, ended_badly(&run)));
    }
    Ok((name, Ok(())))
}

/// What the plugin is granted on the host.
async fn present(client: &Client, name: &str) -> Result<Vec<Grant>, Failure> {
    match client.get(&["v1", "plugins", name], &[]).await {
        Ok(plugin) => Ok(serde_json::from_value(plugin["grants"].clone()).unwrap_or_default()),
        Err(Failure::Refused(problem)) if problem.status == 404 => Ok(Vec::new()),
        Err(failure) => Err(failure),
    }
}

/// Puts grants in the place of those of the same privileges. What a plugin does not ask for at the moment it may ask for
/// again: its author tried it without a line.
fn remember(granted: &mut Vec<Grant>, newer: Vec<Grant>) {
    granted.retain(|grant| newer.iter().all(|newer| newer.privilege() != grant.privilege()));
    granted.extend(newer);
}

/// Those that the component asks for as it is.
fn asked(granted: &[Grant], inspection: &Inspection) -> Vec<Grant> {
    let requests = inspection.requests.iter().chain(&inspection.optional).map(|request| request.privilege);
    let asked = |grant: &&Grant| requests.clone().any(|privilege| privilege == grant.privilege());
    granted.iter().filter(asked).cloned().collect()
}

/// The newest runs of the host, oldest first, each with whether it has ended. An operator's key sees none.
async fn runs(client: &Client) -> Result<Vec<(String, bool)>, Failure> {
    let listing = match client.list(&["v1", "runs"], &[], RUNS).await {
        Ok(listing) => listing,
        Err(Failure::Refused(problem)) if problem.status == 403 => return Ok(Vec::new()),
        Err(failure) => return Err(failure),
    };
    let run = |run: &Value| Some((run["id"].as_str()?.to_owned(), !run["ended"].is_null()));
    Ok(listing.items.iter().rev().filter_map(run).collect())
}

/// Prints what the plugin did in runs that ended since.
async fn tell(client: &Client, name: &str, seen: &mut HashSet<String>) -> Result<(), Failure> {
    for (id, ended) in runs(client).await? {
        if !ended || seen.contains(&id) {
            continue;
        }
        let run = client.get(&["v1", "runs", &id], &[]).await?;
        output::print(&told(&run, name))?;
        seen.insert(id);
    }
    Ok(())
}

/// What a run's steps of the plugin came to; nothing if it had none.
fn told(run: &Value, plugin: &str) -> String {
    let mut text = String::new();
    let steps = run["steps"].as_array().into_iter().flatten();
    for step in steps.filter(|step| step["app"].as_str() == Some(plugin)) {
        let named = |name: &str| output::cell(step.get(name));
        let playbook = output::cell(run.get("playbook_name"));
        text.push_str(&format!("{playbook}, step {}: {}\n", named("step"), named("state")));
        for line in step["log"].as_array().into_iter().flatten() {
            let part = |name: &str| output::cell(line.get(name));
            text.push_str(&format!("  {} {} {}\n", part("time"), part("level"), part("message")));
        }
        for (name, value) in step["outputs"].as_object().into_iter().flatten() {
            text.push_str(&format!("  output {name} = {}\n", output::cell(Some(value))));
        }
        if let Some(error) = step.get("error").filter(|error| !error.is_null()) {
            text.push_str(&format!("  error {}\n", output::cell(Some(error))));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Patience;

    #[tokio::test]
    async fn a_folder_that_is_no_plugins_is_refused_at_once() {
        // As `main` does; another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        // Nobody listens there: what is refused needs no host.
        let patience = Patience { attempts: 1, waits_for_a_host: false };
        let client = Client::new("http://127.0.0.1:1", None, None, patience).unwrap();
        let work = Loop {
            folder: folder.path().to_owned(),
            grants: Vec::new(),
            playbook: None,
            inputs: Value::Null,
            once: false,
        };
        let refused = async || match run(&work, &client).await {
            Err(Failure::Usage(told)) => told,
            other => panic!("{other:?}"),
        };
        let told = refused().await;
        assert!(told.contains("--path") && told.contains("bellwether plugin new"), "{told}");
        std::fs::write(folder.path().join("Cargo.toml"), "[package]\nname = \"no-plugin\"\n").unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        std::fs::write(folder.path().join("src/lib.rs"), "").unwrap();
        let told = refused().await;
        assert!(told.contains("no-plugin") && told.contains("crate-type"), "{told}");
    }

    #[test]
    fn a_grant_outlasts_that_the_plugin_does_not_ask_for_it_for_a_while() {
        let grants = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Grant>>();
        let mut granted = Vec::new();
        remember(&mut granted, grants(&["log", "metrics-write=visits"]));
        remember(&mut granted, grants(&["log"]));
        assert_eq!(granted, grants(&["metrics-write=visits", "log"]));
        remember(&mut granted, grants(&["metrics-write=web.*"]));
        assert_eq!(granted, grants(&["log", "metrics-write=web.*"]));
    }

    #[test]
    fn only_the_steps_of_the_plugin_are_told() {
        let step = |app: &str, error: Value| {
            json!({"step": app, "app": app, "state": "succeeded", "outputs": {"total": 1}, "error": error,
                   "log": [{"time": "t", "level": "info", "message": "hello"}]})
        };
        let run = json!({"playbook_name": "p", "steps": [step("mine", json!("no luck")), step("other", Value::Null)]});
        assert_eq!(
            told(&run, "mine"),
            "p, step mine: succeeded\n  t info hello\n  output total = 1\n  error no luck\n"
        );
        assert_eq!(told(&run, "third"), "");
    }
}
