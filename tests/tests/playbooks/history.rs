//! Versions and runs: drafts, publishing and rolling back; cancelling and replaying; by the API and the command line.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::{World, eventually, with};

const COUNT: &str = r#"
name = "count"
[trigger]
type = "manual"
[[steps]]
id = "add"
app = "metric"
[steps.inputs]
metric = "counted"
value = 1
"#;

fn id(run: &serde_json::Value) -> Result<&str> {
    run["id"].as_str().with_context(|| format!("a run has an id: {run}"))
}

#[test]
fn a_draft_runs_only_when_it_is_published_and_what_ran_before_can_come_back() -> Result<()> {
    let mut world = World::new()?;
    let first = world.file("first.toml", COUNT)?;
    let second = world.file("second.toml", &with(COUNT, &[("value = 1", "value = 10")])?)?;

    let dry = world.command(&["playbook", "dry-run", &first, "--trigger", "{\"inputs\": {}}"])?;
    ensure!(dry.contains("step add: calls metric") && dry.contains("input value = 1"), "{dry}");
    ensure!(world.total("counted")?.is_none(), "a dry run does nothing");

    let draft = world.command_json(&["playbook", "store", &first, "--draft"])?;
    ensure!(draft["status"]["state"] == "draft" && draft.get("published").is_none(), "{draft}");
    let refused = world.host.as_key(&world.admin, "POST", "/v1/playbooks/count/runs").send()?;
    ensure!(refused.status().is_client_error(), "a draft does not run: {}", refused.text()?);

    world.command(&["playbook", "publish", "count"])?;
    world.run("count", &json!({}))?;
    ensure!(world.total("counted")? == Some(1.0));

    let told = world.command(&["playbook", "store", &second, "--replace", "--draft"])?;
    ensure!(told.contains("version 1 runs, version 2 does not"), "{told}");
    let run = world.run("count", &json!({}))?;
    ensure!(run["playbook_version"] == 1 && world.total("counted")? == Some(2.0), "{run}");

    let again = world.command_json(&["playbook", "publish", "count", "--again"])?;
    ensure!(again["published"] == 1 && again["latest"] == 2, "the draft stays one: {again}");
    world.command(&["playbook", "publish", "count", "--version", "2"])?;
    let run = world.run("count", &json!({}))?;
    ensure!(run["playbook_version"] == 2 && world.total("counted")? == Some(12.0), "{run}");

    let back = world.command_json(&["playbook", "roll-back", "count"])?;
    ensure!(back["published"] == 1 && back["latest"] == 2, "{back}");
    // Neither a stop nor a kill brings another version back.
    for stop in [bellwether_tests::Host::stop, bellwether_tests::Host::kill] {
        world = world.restarted(stop)?;
        let before = world.total("counted")?.context("it is there")?;
        let run = world.run("count", &json!({}))?;
        ensure!(run["playbook_version"] == 1, "{run}");
        ensure!(world.total("counted")? == Some(before + 1.0));
    }
    let versions = world.command_json(&["playbook", "versions", "count"])?;
    let current: Vec<_> = versions["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|version| (version["version"].as_u64(), version["current"] == true))
        .collect();
    ensure!(current == [(Some(2), false), (Some(1), true)], "newest first: {versions}");
    world.host.stop()
}

#[test]
fn a_cancelled_run_takes_its_last_steps_and_no_other() -> Result<()> {
    let world = World::new()?;
    world.store(
        r#"
name = "patient"
[trigger]
type = "manual"
[[steps]]
id = "pause"
delay = "1h"
[[steps]]
id = "late"
app = "metric"
inputs = { metric = "late", value = 1 }
[[on_failure]]
id = "tell"
app = "metric"
inputs = { metric = "cancelled", value = 1 }
"#,
    )?;
    let accepted = world.post("/v1/playbooks/patient/runs", &json!({}), 202)?;
    let run = accepted["run_id"].as_str().context("a run was accepted")?;
    let waiting = eventually("it waits", || {
        let run = world.get(&format!("/v1/runs/{run}"))?;
        Ok(run["waits_until"].is_string().then_some(run))
    })?;
    ensure!(waiting["steps"][0]["state"] == "waiting", "{waiting}");
    world.command(&["run", "cancel", run])?;
    let ended = world.run_in_state(run, "cancelled")?;
    ensure!(ended["ended"].is_string(), "{ended}");
    ensure!(world.total("cancelled")? == Some(1.0) && world.total("late")?.is_none(), "{ended}");
    let shown = world.command(&["run", "show", run])?;
    ensure!(shown.contains("step pause: cancelled (delay)"), "{shown}");
    ensure!(shown.contains("only after a failure"), "{shown}");
    world.host.stop()
}

#[test]
fn a_run_goes_on_from_the_step_that_failed_and_repeats_none_before_it() -> Result<()> {
    let world = World::new()?;
    world.store(
        r#"
name = "two-parts"
[trigger]
type = "manual"
[[steps]]
id = "first"
app = "metric"
inputs = { metric = "first", value = "{{ trigger.inputs.value }}" }
[[steps]]
id = "second"
app = "metric"
inputs = { metric = "second", value = "{{ steps.first.value }}", create = false }
"#,
    )?;
    let failed = world.run("two-parts", &json!({"value": 3}))?;
    ensure!(failed["state"] == "failed" && failed["failed_step"] == "second", "{failed}");
    world.define("second", "sum", "daily")?;
    let again = world.command_json(&["run", "replay", id(&failed)?, "--from", "second"])?;
    ensure!(again["state"] == "succeeded" && again["replay_of"] == failed["id"], "{again}");
    ensure!(again["steps"][0]["copied"] == true && again["steps"][1]["copied"] == false, "{again}");
    ensure!(world.total("first")? == Some(3.0) && world.total("second")? == Some(3.0));
    // From the beginning everything is done again, with what the run was started with.
    world.command(&["run", "replay", id(&failed)?])?;
    ensure!(world.total("first")? == Some(6.0) && world.total("second")? == Some(9.0));

    let listed = world.command_json(&["run", "list", "--playbook", "two-parts", "--since", "1h"])?;
    ensure!(listed["items"].as_array().map(Vec::len) == Some(3), "{listed}");
    for (arguments, expected) in [
        (&["--state", "failed"][..], 1),
        (&["--state", "succeeded"], 2),
        (&["--trigger", "manual"], 3),
        (&["--trigger", "webhook"], 0),
        (&["--until", "2020-01-01"], 0),
    ] {
        let listed = world.command_json(&[&["run", "list"][..], arguments].concat())?;
        ensure!(listed["items"].as_array().map(Vec::len) == Some(expected), "{arguments:?}: {listed}");
    }
    world.host.stop()
}
