//! What the README tells a user to type is typed here, as it stands.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use bellwether_tests::{Host, binary};

const README: &str = include_str!("../../README.md");

/// The blocks of one language under one heading of the README.
fn blocks(heading: &str, language: &str) -> Result<String> {
    let section = README.split("\n## ").find_map(|section| section.strip_prefix(heading));
    let section = section.with_context(|| format!("the README has a section {heading:?}"))?;
    let fence = format!("```{language}\n");
    let blocks: Vec<&str> =
        section.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect();
    ensure!(!blocks.is_empty(), "{heading} has code in {language}");
    Ok(blocks.concat())
}

/// The folder everything in the README is typed in.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace")
}

/// Runs a script at the root of the repository, with the binary on the path; gives what it printed.
fn bash(host: &Host, script: &str, webhook: &str) -> Result<String> {
    let binary = binary().canonicalize()?;
    let folders = binary.parent().context("the binary is in a folder")?.display();
    let output = Command::new("bash")
        .args(["-euc", script])
        .current_dir(workspace())
        .env("PATH", format!("{folders}:{}", std::env::var("PATH")?))
        .env("BELLWETHER_URL", &host.url)
        .env("BELLWETHER_KEY", &host.keys().admin)
        .env("WEBHOOK_URL", webhook)
        .stdin(Stdio::null())
        .output()?;
    let printed = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{script}\n{printed}{}", String::from_utf8_lossy(&output.stderr));
    Ok(printed)
}

#[test]
fn the_commands_from_a_webhook_to_a_metric_do_what_the_readme_says() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let script = blocks("From a webhook to a metric", "sh")?;
    // The path and the key are this test's; the webhook's URL is printed by the first command.
    let lines: Vec<&str> = script.lines().filter(|line| !line.starts_with("export ")).collect();
    let store =
        lines.iter().position(|line| line.contains("playbook store")).context("a playbook is stored")?;
    let printed = bash(&host, lines[store], "")?;
    let url = printed.split_whitespace().find(|word| word.contains("/hooks/"));
    let url = url.with_context(|| format!("the webhook's URL is printed: {printed}"))?;
    let url = format!("{}{}", host.url, &url[url.find("/hooks/").unwrap_or_default()..]);
    let printed = bash(&host, &lines[store + 1..].join("\n"), &url)?;
    for expected in ["\"state\":\"succeeded\"", "count-pushes", "metrics-write", "app"] {
        ensure!(printed.contains(expected), "no {expected} in:\n{printed}");
    }
    host.stop()
}

#[test]
fn the_commands_on_tagged_series_do_what_the_readme_says() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let printed = bash(&host, &blocks("Tagged series", "sh")?, "")?;
    for expected in ["written to system.cpu.user", "host:web-1", "41.5", "VALUES"] {
        ensure!(printed.contains(expected), "no {expected} in:\n{printed}");
    }
    host.stop()
}

#[test]
fn the_commands_on_events_and_logs_do_what_the_readme_says() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let printed = bash(&host, &blocks("Events and logs", "sh")?, "")?;
    for expected in ["event 1 is sent", "MESSAGE"] {
        ensure!(printed.contains(expected), "no {expected} in:\n{printed}");
    }
    host.stop()
}

#[test]
fn the_commands_on_alerts_do_what_the_readme_says() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let printed = bash(&host, &blocks("Alerts", "sh")?, "")?;
    for expected in ["it would have fired 0 times", "checkout-errors", "SEVERITY"] {
        ensure!(printed.contains(expected), "no {expected} in:\n{printed}");
    }
    host.stop()
}

#[test]
fn the_threatconnect_client_of_the_readme_adds_a_value() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let keys = host.keys();
    let script = format!(
        "ACCESS_ID, SECRET_KEY = {:?}, {:?}\n{}",
        keys.access_id,
        keys.secret,
        blocks("With an unchanged ThreatConnect client", "python")?
            .replace("http://127.0.0.1:8780", &host.url)
    );
    let python =
        std::env::var_os("BELLWETHER_PYTHON").context("run `cargo xtask test`, which prepares Python")?;
    let output = Command::new(python).args(["-c", &script]).current_dir(folder.path()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let values = host.as_admin("GET", "/v1/metrics/Added%20Reports/values").send()?;
    let values = bellwether_tests::expect_json(values, 200)?;
    ensure!(values["series"][0]["key"] == "app1", "{values}");
    ensure!(values["series"][0]["values"][0]["value"] == 1.0, "{values}");
    host.stop()
}

#[test]
fn the_datadog_client_of_the_readme_sends_and_asks() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let script = blocks("With unchanged Datadog clients and agents", "python")?;
    let script =
        format!("KEY = {:?}\n{}", host.keys().admin, script.replace("http://127.0.0.1:8780", &host.url));
    let python =
        std::env::var_os("BELLWETHER_PYTHON").context("run `cargo xtask test`, which prepares Python")?;
    let output = Command::new(python).args(["-c", &script]).current_dir(folder.path()).output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(printed.contains("'type': 'count'"), "{printed}");
    host.stop()
}
