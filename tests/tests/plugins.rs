//! What a plugin asks for is read off it; what it was not granted it cannot do.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bellwether_tests::{Host, binary, expect_json};
use serde_json::{Value, json};

/// A first-party component, as `cargo xtask plugins` leaves it.
fn component(name: &str) -> Result<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../target/components/{name}.wasm"));
    ensure!(path.is_file(), "{} is not there: run `cargo xtask test`, which builds it", path.display());
    Ok(path)
}

#[test]
fn inspect_reads_roles_and_requests_off_the_file_without_a_host() -> Result<()> {
    let output =
        Command::new(binary()).args(["plugin", "inspect", "--json"]).arg(component("metric")?).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let inspection: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(inspection["name"] == "metric" && inspection["roles"] == json!(["app"]), "{inspection}");
    let requests = inspection["requests"].to_string();
    ensure!(requests.contains("metrics-write") && !requests.contains("http-client"), "{inspection}");
    let garbage = Command::new(binary()).args(["plugin", "inspect", "Cargo.toml"]).output()?;
    ensure!(!garbage.status.success(), "a text is no component");
    Ok(())
}

#[test]
fn a_plugin_is_installed_with_its_grants_or_not_at_all_and_held_to_their_scope() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let admin = host.keys().admin.clone();
    let file = component("metric")?;
    let file = file.to_str().context("a path of text")?;

    // What is asked for and not granted is named.
    let refused = host.command(&admin, &["plugin", "install", file, "--grant", "log"])?;
    let errors = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && errors.contains("metrics-write"), "{errors}");

    let inspection = Command::new(binary()).args(["plugin", "inspect", "--json", file]).output()?;
    let inspection: Value = serde_json::from_slice(&inspection.stdout)?;
    let mut arguments = vec!["plugin".to_owned(), "install".to_owned(), file.to_owned()];
    for request in inspection["requests"].as_array().context("requests are a list")? {
        let privilege = request["privilege"].as_str().context("a request names its privilege")?;
        let scope = if privilege.starts_with("metrics-") { "=web.*" } else { "" };
        arguments.extend(["--grant".to_owned(), format!("{privilege}{scope}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let installed = host.command(&admin, &arguments)?;
    ensure!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let shown = expect_json(host.as_admin("GET", "/v1/plugins/metric").send()?, 200)?;
    ensure!(shown["grants"].to_string().contains("web.*"), "grants are visible: {shown}");

    let playbook = "name = \"count\"\n[trigger]\ntype = \"manual\"\n[[steps]]\nid = \"add\"\napp = \"metric\"\n[steps.inputs]\nmetric = \"{{ trigger.inputs.metric }}\"\nvalue = 1\n";
    expect_json(
        host.as_admin("POST", "/v1/playbooks")
            .header("content-type", "application/toml")
            .body(playbook)
            .send()?,
        201,
    )?;
    let run = |name: &str| -> Result<Value> {
        let inputs = json!({"inputs": {"metric": name}});
        expect_json(host.as_admin("POST", "/v1/playbooks/count/runs?wait=30").json(&inputs).send()?, 200)
    };
    let inside = run("web.logins")?;
    ensure!(inside["state"] == "succeeded", "{inside}");
    let outside = run("payroll")?;
    ensure!(outside["state"] == "failed", "{outside}");
    let error = outside["steps"][0]["error"].as_str().context("a failed step says why")?;
    ensure!(error.contains("metric") && error.contains("grant"), "{error}");
    let metrics = expect_json(host.as_admin("GET", "/v1/metrics").send()?, 200)?;
    ensure!(!metrics.to_string().contains("payroll"), "nothing was half done: {metrics}");

    // Its own copy gone, the organisation sees the host's again, which has wider grants.
    let removed = host.command(&admin, &["plugin", "remove", "metric"])?;
    ensure!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    ensure!(run("payroll")?["state"] == "succeeded");
    host.stop()
}

#[test]
fn what_is_no_plugin_is_refused_with_its_reason() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("text", b"hello".to_vec()),
        ("a core module", b"\0asm\x01\0\0\0".to_vec()),
        ("an empty component", b"\0asm\x0d\0\x01\0".to_vec()),
    ] {
        let request =
            host.as_admin("POST", "/v1/plugins?grant=log").header("content-type", "application/wasm");
        let answer = request.body(bytes).send()?;
        let (status, text) = (answer.status().as_u16(), answer.text()?);
        ensure!((400..500).contains(&status) && text.contains("detail"), "{what}: {status} {text}");
    }
    host.stop()
}
