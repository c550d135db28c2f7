//! Playbooks as people read them: what was stored, and what a run would do.

use bellwether_kernel::counted;
use serde_json::Value;

use crate::output::{self, Column, cell};

/// A playbook that was stored or changed, and what there is to be done with it.
pub(super) fn describe_stored(playbook: &Value, fields: &[Column]) -> String {
    let mut text = output::record(playbook, fields);
    let (name, latest) = (cell(playbook.get("name")), cell(playbook.get("latest")));
    match playbook.get("published").and_then(Value::as_u64) {
        Some(published) if playbook["latest"].as_u64() > Some(published) => text.push_str(&format!(
            "\nversion {published} runs, version {latest} does not; publish it with `bellwether playbook publish {name}`\n"
        )),
        Some(_) => {}
        None => text.push_str(&format!(
            "\nversion {latest} is a draft and does not run; publish it with `bellwether playbook publish {name}`\n"
        )),
    }
    text
}

/// What a run would do, step by step.
pub(super) fn describe_dry_run(run: &Value) -> String {
    let mut text = String::new();
    for step in run["steps"].as_array().into_iter().flatten() {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&heading(step));
        for (name, value) in step["inputs"].as_object().into_iter().flatten() {
            let shown =
                match value.get("unknown").filter(|_| value.as_object().is_some_and(|it| it.len() == 1)) {
                    Some(template) => format!("{} (not known before the run)", cell(Some(template))),
                    None => cell(Some(value)),
                };
            text.push_str(&format!("  input {name} = {shown}\n"));
        }
        if let Some(problem) = step.get("problem").filter(|problem| !problem.is_null()) {
            text.push_str(&format!("  problem {}\n", cell(Some(problem))));
        }
    }
    text
}

/// `step add: calls metric 1.0.0, 3 times, on failure`
fn heading(step: &Value) -> String {
    let target = [step["app"].as_str(), step["app_version"].as_str()];
    let target: Vec<String> = target
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .map(|part| cell(Some(&part.into())))
        .collect();
    let target = target.join(" ");
    let mut told = match step["kind"].as_str().unwrap_or_default() {
        "app" => format!("calls {target}"),
        "playbook" => format!("runs the playbook {target}"),
        "delay" => "waits".to_owned(),
        "stop" => "ends the run".to_owned(),
        other => other.to_owned(),
    };
    if let Some(items) = step.get("items").and_then(Value::as_u64) {
        told.push_str(&format!(", once for each of {}", counted(items, "item")));
    }
    match step.get("runs").and_then(Value::as_bool) {
        Some(true) => {}
        Some(false) => told = "is skipped: its condition does not hold".to_owned(),
        None => told.push_str(", if its condition holds"),
    }
    if step["on_failure"] == true {
        told.push_str(", only after a failure");
    }
    format!("step {}: {told}\n", cell(step.get("step")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_draft_is_told_with_how_to_publish_it() {
        for (playbook, expected) in [
            (json!({"name": "a", "latest": 2, "published": 2}), None),
            (json!({"name": "a", "latest": 2, "published": 1}), Some("version 1 runs, version 2 does not")),
            (json!({"name": "a", "latest": 1}), Some("version 1 is a draft")),
        ] {
            let text = describe_stored(&playbook, &[("name", "/name")]);
            assert_eq!(text.contains("bellwether playbook publish a"), expected.is_some(), "{text}");
            assert!(text.contains(expected.unwrap_or_default()), "{text}");
        }
    }

    #[test]
    fn a_dry_run_tells_what_each_step_would_do() {
        let run = json!({"steps": [
            {"step": "each", "kind": "app", "app": "metric", "app_version": "1.0.0", "runs": true, "items": 3,
             "inputs": {"metric": "m", "key": {"unknown": "{{ item }}"}}},
            {"step": "never", "kind": "app", "app": "metric", "app_version": "1.0.0", "runs": false, "inputs": {}},
            {"step": "wait", "kind": "delay", "app": "", "app_version": "", "inputs": {"delay": "5m"}, "problem": "no\nspan"},
            {"step": "tell", "kind": "playbook", "app": "tell", "app_version": "2", "runs": true, "on_failure": true, "inputs": {}},
        ]});
        let expected = "\
step each: calls metric 1.0.0, once for each of 3 items
  input metric = m
  input key = {{ item }} (not known before the run)

step never: is skipped: its condition does not hold

step wait: waits, if its condition holds
  input delay = 5m
  problem no·span

step tell: runs the playbook tell 2, only after a failure
";
        assert_eq!(describe_dry_run(&run), expected);
    }
}
