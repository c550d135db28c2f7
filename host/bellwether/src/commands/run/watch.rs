//! `bellwether run watch`: a run as it goes on.

use std::time::Duration;

use serde_json::Value;

use super::shown::{ended_badly, step_lines};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, cell};

/// How often the host is asked.
const PACE: Duration = Duration::from_millis(500);

/// Prints what changes in a run until it has ended.
pub(super) async fn watch(client: &Client, id: &str, format: output::Format) -> Result<(), Failure> {
    let mut before = Value::Null;
    loop {
        let run = client.get(&["v1", "runs", id], &[]).await?;
        if run != before {
            match format {
                // A line for every change.
                output::Format::Json => output::print(&format!("{run}\n"))?,
                output::Format::Text => output::print(&changes(&before, &run))?,
            }
        }
        if !matches!(run["state"].as_str(), Some("queued" | "running")) {
            return ended_badly(&run);
        }
        before = run;
        tokio::time::sleep(PACE).await;
    }
}

/// What is new in a run since it was looked at before.
fn changes(before: &Value, run: &Value) -> String {
    let mut text = String::new();
    let named = |name: &str| cell(run.get(name));
    if before.is_null() {
        text.push_str(&format!(
            "run {} of {} {}\n",
            named("id"),
            named("playbook_name"),
            named("playbook_version")
        ));
    }
    let known = before["steps"].as_array();
    for step in run["steps"].as_array().into_iter().flatten() {
        let prior = known.into_iter().flatten().find(|known| known["step"] == step["step"]);
        if prior != Some(step) {
            step_lines(step, &mut text);
        }
    }
    if before["state"] != run["state"] || before["waits_until"] != run["waits_until"] {
        text.push_str(&format!("the run is {}", named("state")));
        for (name, words) in [("waits_until", " and waits until "), ("error", ": ")] {
            if run.get(name).is_some_and(|value| !value.is_null()) {
                text.push_str(&format!("{words}{}", named(name)));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_change_is_told_once() {
        let step =
            |id: &str, state: &str| json!({"step": id, "state": state, "app": "metric", "app_version": "1"});
        let run = |state: &str, steps: &[Value]| json!({"id": "r", "playbook_name": "count", "playbook_version": 2, "state": state, "steps": steps});
        let began = run("running", &[step("a", "succeeded"), step("b", "waiting")]);
        let text = changes(&Value::Null, &began);
        assert_eq!(
            text,
            "run r of count 2\nstep a: succeeded (metric 1)\nstep b: waiting (metric 1)\nthe run is running\n"
        );
        assert_eq!(changes(&began, &began), "");
        let mut ended = run("failed", &[step("a", "succeeded"), step("b", "failed")]);
        ended["error"] = "no luck".into();
        assert_eq!(changes(&began, &ended), "step b: failed (metric 1)\nthe run is failed: no luck\n");
    }
}
