//! The first thing a user does: a webhook in, a sandboxed app, a metric out; and what is left after a restart.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bellwether_tests::{Host, expect_json, sign};
use serde_json::{Value, json};

const PLAYBOOK: &str = include_str!("../../examples/playbooks/count-pushes.toml");
const PUSH: &str = include_str!("../data/github-push.json");

/// Stores the example playbook and gives the path of its webhook.
fn store_example(host: &Host) -> Result<String> {
    host.store_hook(&host.keys().admin, PLAYBOOK)
}

fn push(host: &Host, hook: &str) -> Result<Value> {
    let request = host.request("POST", &format!("{hook}?wait=30")).header("x-github-event", "push");
    expect_json(request.header("content-type", "application/json").body(PUSH).send()?, 200)
}

#[test]
fn a_github_push_becomes_a_metric_that_every_client_reads() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let host = Host::start(&data, &[])?;
    let hook = store_example(&host)?;
    let payload: Value = serde_json::from_str(PUSH)?;
    let repository =
        payload["repository"]["full_name"].as_str().context("the payload names its repository")?;

    let run = push(&host, &hook)?;
    ensure!(run["state"] == "succeeded", "{run}");
    push(&host, &hook)?;

    // The run can be read again, with what went in and what came out.
    let id = run["id"].as_str().context("a run has an id")?;
    let read = expect_json(host.as_admin("GET", &format!("/v1/runs/{id}")).send()?, 200)?;
    ensure!(read["steps"][0]["app"] == "metric", "{read}");
    ensure!(read["steps"][0]["inputs"]["key"] == repository, "{read}");
    ensure!(read["steps"][0]["outputs"]["created"] == true, "{read}");
    let runs = expect_json(host.as_admin("GET", "/v1/runs?playbook=count-pushes").send()?, 200)?;
    ensure!(runs["items"].as_array().map(Vec::len) == Some(2), "{runs}");

    let values = expect_json(host.as_admin("GET", "/v1/metrics/github.pushes/values").send()?, 200)?;
    ensure!(values["series"][0]["key"] == repository, "{values}");
    ensure!(values["series"][0]["values"][0]["value"] == 2.0, "two pushes were made: {values}");

    // The same metric through the vendor's API, signed.
    let path = "/threatconnect/api/v2/customMetrics/github.pushes";
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (authorization, timestamp) = sign(&host.keys().access_id, &host.keys().secret, "GET", path, now);
    let request =
        host.request("GET", path).header("authorization", authorization).header("timestamp", timestamp);
    let metric = expect_json(request.send()?, 200)?;
    ensure!(metric["data"]["customMetricConfig"]["keyedValues"] == true, "{metric}");

    // All of it is there after a stop.
    let keys = host.keys().clone();
    host.stop()?;
    let host = Host::start(&data, &[])?;
    ensure!(host.first_keys.is_none(), "keys are printed once: {:?}", host.printed);
    let again =
        expect_json(host.as_key(&keys.admin, "GET", "/v1/metrics/github.pushes/values").send()?, 200)?;
    ensure!(again["series"] == values["series"], "{again}");
    ensure!(push(&host, &hook)?["state"] == "succeeded", "the webhook works on");
    host.stop()
}

#[test]
fn a_ping_from_github_is_no_push_and_no_failure() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let hook = store_example(&host)?;
    let ping =
        json!({"zen": "Keep it logically awesome.", "hook_id": 1, "repository": {"full_name": "octo/hello"}});
    let run = expect_json(
        host.request("POST", &format!("{hook}?wait=30"))
            .header("x-github-event", "ping")
            .json(&ping)
            .send()?,
        200,
    )?;
    ensure!(run["state"] == "succeeded", "{run}");
    host.stop()
}

#[test]
fn a_playbook_that_cannot_run_is_refused_with_the_place_of_its_fault() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let good = "name = \"x\"\n[trigger]\ntype = \"manual\"\n[[steps]]\nid = \"one\"\napp = \"metric\"\n";
    for (document, named) in [
        (good.replace("\"manual\"", "\"moon\""), "moon"),
        (good.replace("app = \"metric\"", "app = \"nothing\""), "nothing"),
        (format!("{good}[steps.inputs]\nmetric = \"a\"\nbogus = 1\n"), "bogus"),
        (format!("{good}[steps.inputs]\nmetric = \"{{{{ steps.two.id }}}}\"\n"), "two"),
        (good.to_owned(), "metric"),
        (format!("{good}what = 1\n"), "what"),
        ("name = ".to_owned(), "line 1"),
    ] {
        let request = host
            .as_admin("POST", "/v1/playbooks")
            .header("content-type", "application/toml")
            .body(document.clone());
        let answer = request.send()?;
        let (status, text) = (answer.status().as_u16(), answer.text()?);
        ensure!((400..500).contains(&status) && text.contains(named), "{status} {text} for\n{document}");
    }
    host.stop()
}
