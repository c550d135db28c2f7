//! A run as people read it, from top to bottom.

use serde_json::Value;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, cell};

/// Prints a run that was started: that it goes on, or, if it has ended, the whole of it; for programs the run in either
/// case. One that ended as nobody wanted it to is a failure of the command.
pub(crate) async fn tell(client: &Client, format: output::Format, answer: &Value) -> Result<(), Failure> {
    let run = match answer["run_id"].as_str() {
        None => answer,
        Some(id) if format == output::Format::Json => &client.get(&["v1", "runs", id], &[]).await?,
        Some(id) => {
            let told = format!("run {id} has begun; follow it with `bellwether run watch`\n");
            return Ok(output::print(&told)?);
        }
    };
    output::value(format, run, describe)?;
    ended_badly(run)
}

/// A failure for a run that ended as nobody wanted it to.
pub(crate) fn ended_badly(run: &Value) -> Result<(), Failure> {
    match run["state"].as_str() {
        Some(state @ ("failed" | "timed_out" | "cancelled" | "blocked" | "interrupted")) => {
            Err(Failure::Failed(anyhow::anyhow!("the run {}", ended(state))))
        }
        _ => Ok(()),
    }
}

fn ended(state: &str) -> &str {
    match state {
        "timed_out" => "took longer than it may",
        "cancelled" => "was cancelled",
        "blocked" => "was blocked: the key it runs as lost the right to",
        "interrupted" => "was interrupted",
        other => other,
    }
}

/// A run from top to bottom.
pub(crate) fn describe(run: &Value) -> String {
    let fields = [
        ("id", "/id"),
        ("playbook", "/playbook_name"),
        ("version", "/playbook_version"),
        ("state", "/state"),
        ("trigger", "/triggered_by/type"),
        ("scheduled", "/triggered_by/scheduled"),
        ("replay of", "/replay_of"),
        ("created", "/created"),
        ("started", "/started"),
        ("at step", "/current_step"),
        ("waits until", "/waits_until"),
        ("ends by", "/deadline"),
        ("ended", "/ended"),
        ("failed step", "/failed_step"),
        ("error", "/error"),
    ];
    let mut text = output::record(run, &fields);
    if let Some(attempt) = run["attempt"].as_u64().filter(|attempt| *attempt > 1) {
        text.push_str(&format!("run number {attempt} of its firing: those before it failed\n"));
    }
    for (name, value) in run["trigger"].as_object().into_iter().flatten() {
        text.push_str(&format!("given {name} = {}\n", cell(Some(value))));
    }
    for step in run["steps"].as_array().into_iter().flatten() {
        text.push('\n');
        step_lines(step, &mut text);
    }
    text
}

/// A step, in lines.
pub(super) fn step_lines(step: &Value, text: &mut String) {
    let named = |pointer| cell(step.pointer(pointer));
    let told = |pointer| step.pointer(pointer).filter(|value| !value.is_null());
    text.push_str(&format!("step {}: {}", named("/step"), named("/state")));
    let target: Vec<String> = ["/app", "/app_version"]
        .into_iter()
        .filter(|pointer| told(pointer).is_some_and(|value| value != ""))
        .map(named)
        .collect();
    match (target.is_empty(), told("/kind")) {
        (false, _) => text.push_str(&format!(" ({})", target.join(" "))),
        (true, Some(kind)) => text.push_str(&format!(" ({})", cell(Some(kind)))),
        (true, None) => {}
    }
    for (pointer, remark) in
        [("/on_failure", "only after a failure"), ("/copied", "taken over, not done again")]
    {
        if told(pointer) == Some(&Value::Bool(true)) {
            text.push_str(&format!(", {remark}"));
        }
    }
    text.push('\n');
    if told("/started").is_some() {
        text.push_str(&format!("  from {} to {}\n", named("/started"), named("/ended")));
    }
    if told("/items").is_some() {
        let cancelled = told("/items/cancelled").and_then(Value::as_u64).filter(|count| *count > 0);
        text.push_str(&format!(
            "  items {} of {} succeeded, {} failed{}; see them with `bellwether run items`\n",
            named("/items/succeeded"),
            named("/items/total"),
            named("/items/failed"),
            cancelled.map_or_else(String::new, |count| format!(", {count} cut off"))
        ));
    }
    if told("/waits_until").is_some() {
        text.push_str(&format!("  waits until {}\n", named("/waits_until")));
    }
    if told("/run").is_some() {
        text.push_str(&format!("  its run is {}\n", named("/run")));
    }
    for attempt in step["failed_attempts"].as_array().into_iter().flatten() {
        let part = |name: &str| cell(attempt.get(name));
        text.push_str(&format!("  attempt {} failed {}: {}\n", part("number"), part("ended"), part("error")));
    }
    for part in ["inputs", "outputs"] {
        for (name, value) in step[part].as_object().into_iter().flatten() {
            text.push_str(&format!("  {} {name} = {}\n", part.trim_end_matches('s'), cell(Some(value))));
        }
    }
    for line in step["log"].as_array().into_iter().flatten() {
        let part = |name: &str| cell(line.get(name));
        text.push_str(&format!("  log {} {} {}\n", part("time"), part("level"), part("message")));
    }
    if told("/error").is_some() {
        text.push_str(&format!("  error {}\n", named("/error")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_told_step_by_step() {
        let run = json!({
            "id": "r", "state": "failed", "playbook_name": "count", "error": "step add failed", "attempt": 2,
            "trigger": {"inputs": {"who": "Ada"}},
            "steps": [
                {"step": "add", "app": "metric", "app_version": "1.0.0", "state": "failed", "kind": "app",
                 "inputs": {"value": 1}, "outputs": {}, "error": "no such metric", "copied": false, "on_failure": false,
                 "failed_attempts": [{"number": 1, "started": "s", "ended": "e", "error": "busy"}],
                 "started": "s", "ended": "e", "items": {"total": 4, "succeeded": 2, "failed": 1, "cancelled": 1},
                 "log": [{"time": "t", "level": "warn", "message": "hm"}]},
                {"step": "pause", "app": "", "app_version": "", "kind": "delay", "state": "waiting", "waits_until": "w"},
                {"step": "tell", "app": "tell", "app_version": "2", "kind": "playbook", "state": "succeeded",
                 "run": "child", "copied": true, "on_failure": true},
            ],
        });
        let text = describe(&run);
        for line in [
            "run number 2 of its firing: those before it failed",
            "step add: failed (metric 1.0.0)",
            "given inputs = {\"who\":\"Ada\"}",
            "  from s to e",
            "  items 2 of 4 succeeded, 1 failed, 1 cut off; see them with `bellwether run items`",
            "  attempt 1 failed e: busy",
            "  input value = 1",
            "  log t warn hm",
            "  error no such metric",
            "step pause: waiting (delay)",
            "  waits until w",
            "step tell: succeeded (tell 2), only after a failure, taken over, not done again",
            "  its run is child",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn only_a_run_that_ended_well_or_goes_on_is_a_success() {
        for (state, well) in [
            ("succeeded", true),
            ("skipped", true),
            ("queued", true),
            ("failed", false),
            ("timed_out", false),
            ("cancelled", false),
            ("blocked", false),
        ] {
            assert_eq!(ended_badly(&json!({ "state": state })).is_ok(), well, "{state}");
        }
    }
}
