//! Plugins that say too much to the host, or what makes no sense.

use anyhow::{Result, ensure};
use bellwether_tests::expect_json;
use serde_json::json;

use crate::world::world;

#[test]
fn a_log_line_of_10_mb_is_cut_off() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    let run = attacker.run("long-log-line", "")?;
    let kept = run.to_string().len();
    ensure!(run.to_string().contains("xxxx") && kept < 64 << 10, "{kept} bytes of a run");
    ensure!(attacker.request("long-log-line", "")?.status == 200);
    attacker.leaves_the_others_alone()
}

#[test]
fn a_million_log_lines_cost_no_more_than_the_log_holds() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    // Whether they fit into a call's time, or into its host calls, is not what matters.
    let answer = attacker.request("many-log-lines", "")?;
    ensure!(matches!(answer.status, 200 | 502 | 504), "{answer:?}");
    attacker.leaves_the_others_alone()
}

#[test]
fn a_million_host_calls_end_within_the_call_s_limits() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    let answer = attacker.request("many-host-calls", "")?;
    ensure!(matches!(answer.status, 200 | 502 | 504), "{answer:?}");
    attacker.leaves_the_others_alone()
}

#[test]
fn an_argument_that_claims_a_gigabyte_is_not_read() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    attacker.costs_one_clear_error("long-argument", "", 502, "trapped")?;
    attacker.leaves_the_others_alone()
}

/// A thousand pointers to the same megabyte.
#[test]
fn an_argument_that_copies_to_a_gigabyte_is_not_copied() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    attacker.costs_one_clear_error("repeated-argument", "http://127.0.0.1:9/", 502, "the host")?;
    attacker.leaves_the_others_alone()
}

#[test]
fn an_answer_of_a_gigabyte_is_neither_read_nor_copied() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    attacker.costs_one_clear_error("long-answer", "", 502, "")?;
    let error = attacker.run_fails("repeated-answer", "")?;
    ensure!(error.contains("app.run: "), "{error}");
    attacker.leaves_the_others_alone()
}

#[test]
fn text_that_is_not_utf8_is_refused_before_anybody_reads_it() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    let error = attacker.run_fails("not-utf8", "")?;
    ensure!(error.contains("app.run: ") && error.to_lowercase().contains("utf-8"), "{error}");
    attacker.leaves_the_others_alone()
}

#[test]
fn a_score_that_is_no_number_is_refused_by_its_name() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    let error = attacker.run_fails("nan", "")?;
    ensure!(error.ends_with("app.run: score is NaN, expected a finite number"), "{error}");
    attacker.leaves_the_others_alone()
}

#[test]
fn state_grows_to_its_quota_and_no_further() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    // It may take several calls to fill it, each with its own deadline.
    let full = (0..30).find_map(|_| match attacker.request("hoard", "") {
        Ok(answer) if answer.status == 504 => None,
        other => Some(other),
    });
    let Some(answer) = full.transpose()? else { anyhow::bail!("the state is not full yet") };
    ensure!(answer.status == 422 && answer.text.contains("bytes of state"), "{answer:?}");
    let error = attacker.run_fails("hoard", "")?;
    ensure!(error.contains("do not fit"), "{error}");
    attacker.leaves_the_others_alone()
}

#[test]
fn a_secret_that_a_plugin_tells_is_in_no_log_and_no_trap() -> Result<()> {
    let world = world()?;
    let attacker = world.attack(&[])?;
    let (host, secret) = (&world.host, "hush-5e81c07b");
    expect_json(host.as_admin("PUT", "/v1/secrets/betrayed").json(&json!({ "value": secret })).send()?, 201)?;
    let playbook = json!({
        "name": "betrayal",
        "trigger": { "type": "manual" },
        "steps": [{ "id": "attack", "app": "hostile",
            "inputs": { "mode": "betray", "token": "{{ secrets.betrayed }}" } }],
    });
    expect_json(host.as_admin("POST", "/v1/playbooks").json(&playbook).send()?, 201)?;
    let run = host.as_admin("POST", "/v1/playbooks/betrayal/runs?wait=30").json(&json!({})).send()?;
    let run = expect_json(run, 200)?.to_string();
    ensure!(run.contains("I do not keep •••") && !run.contains(secret), "{run}");
    let (admin, operator) = (&host.keys().admin, &host.keys().operator);
    for (key, what, said) in [(admin, "logs", "I was given •••"), (operator, "traps", "I do not keep •••")]
    {
        let request = host.as_key(key, "GET", &format!("/v1/plugins/hostile/{what}"));
        let seen = expect_json(request.send()?, 200)?.to_string();
        ensure!(seen.contains(said) && !seen.contains(secret), "{seen}");
    }
    attacker.leaves_the_others_alone()
}
