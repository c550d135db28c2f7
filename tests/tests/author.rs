//! A plugin's author: from an empty folder to a plugin that runs on a host, with the binary and Rust and nothing of this
//! repository.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use bellwether_tests::{Host, binary, expect_json};
use serde_json::{Value, json};

/// Where the projects' dependencies are built: once for all of them.
fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/author")
}

/// A command in a project, offline: what a project needs was fetched with this workspace.
fn within(project: &Path, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(project).env("CARGO_TARGET_DIR", target());
    command.env("CARGO_NET_OFFLINE", "true").env_remove("RUSTFLAGS");
    command.env_remove("BELLWETHER_KEY").env_remove("BELLWETHER_URL");
    Ok(command.output()?)
}

/// The same, which is to succeed; gives what it printed.
fn succeed(project: &Path, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Result<String> {
    let output = within(project, program, arguments)?;
    let printed = String::from_utf8(output.stdout)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {}\n{printed}\n{errors}", output.status);
    Ok(printed)
}

fn json_of(project: &Path, arguments: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&succeed(project, binary(), arguments)?)?)
}

/// Makes a project, runs its own tests, its cases and the battery, and gives its component as `plugin build` tells of it.
/// With `spoilt.0` replaced by `spoilt.1` in its cases, `plugin test` is to fail and to print `spoilt.2`.
fn project(folder: &Path, name: &str, role: &str, spoilt: (&str, &str, &str)) -> Result<(PathBuf, Value)> {
    succeed(folder, binary(), &["plugin", "new", name, "--role", role])?;
    let project = folder.join(name);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Locked: its lock file is whole, so everybody builds it from the same versions.
    let tests = succeed(&project, cargo, &["test", "--locked"])?;
    ensure!(tests.contains("2 passed"), "{tests}");
    succeed(&project, "cargo", &["fmt", "--check"])
        .context("the template is formatted as its author's cargo does")?;
    let built = json_of(&project, &["plugin", "build", "--json"])?;
    ensure!(
        built["name"] == name && built["roles"] == json!([role]) && built["problems"] == json!([]),
        "{built}"
    );

    let trial = json_of(&project, &["plugin", "test", "--json"])?;
    ensure!(trial["failed"] == 0 && trial["cases"].as_array().map(Vec::len) == Some(3), "{trial}");
    let checks = trial["checks"].as_array().context("a battery is made of checks")?;
    ensure!(checks.iter().any(|check| check["of"] == role && check["result"] == "ok"), "{trial}");
    // A case that expects something else fails, and says what there was instead.
    let cases = project.join("cases.toml");
    let text = std::fs::read_to_string(&cases)?;
    std::fs::write(&cases, text.replace(spoilt.0, spoilt.1))?;
    let failed = within(&project, binary(), &["plugin", "test"])?;
    let printed = String::from_utf8_lossy(&failed.stdout);
    ensure!(!failed.status.success() && printed.contains(spoilt.2), "{printed}");
    std::fs::write(&cases, text)?;
    Ok((project, built))
}

/// What a component asks for, without its scopes.
fn privileges(built: &Value) -> Vec<&str> {
    built["requests"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|request| request["privilege"].as_str())
        .collect()
}

#[test]
fn an_app_goes_from_an_empty_folder_to_a_metric_on_a_host() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let spoilt = ("value = 3 }", "value = 4 }", "is to be 4, and is");
    let (project, built) = project(folder.path(), "count-visits", "app", spoilt)?;
    ensure!(privileges(&built) == ["log", "metrics-write"], "{built}");
    let file = built["file"].as_str().context("build says where")?;

    let given =
        json_of(&project, &["plugin", "test", file, "--input", "page=/a", "--input", "times=2", "--json"])?;
    ensure!(given["cases"][0]["outputs"] == json!({"total": 2.0}), "{given}");
    ensure!(given["cases"][0]["log"][0]["message"] == "/a has 2 visits today", "{given}");
    let wrong = within(&project, binary(), &["plugin", "test", file, "--input", "times=many"])?;
    let printed = String::from_utf8_lossy(&wrong.stdout);
    ensure!(!wrong.status.success() && printed.contains("inputs.page"), "{printed}");

    let host = Host::start(&folder.path().join("data"), &[])?;
    let admin = host.keys().admin.clone();
    let bellwether = |arguments: &[&str]| -> Result<Output> {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(&project).env("CARGO_TARGET_DIR", target());
        command
            .env("CARGO_NET_OFFLINE", "true")
            .env("BELLWETHER_URL", &host.url)
            .env("BELLWETHER_KEY", &admin);
        Ok(command.output()?)
    };
    let done = |arguments: &[&str]| -> Result<String> {
        let output = bellwether(arguments)?;
        let (printed, errors) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{arguments:?}: {printed}\n{errors}");
        Ok(printed)
    };
    done(&["plugin", "install", file, "--grant", "log", "--grant", "metrics-write=visits"])?;
    done(&["playbook", "store", "playbook.toml"])?;
    let inputs = r#"{"page": "/start"}"#;
    let run = done(&["playbook", "run", "count-visits-trial", "--inputs", inputs])?;
    ensure!(run.contains("/start has 1 visits today") && run.contains("output total = 1"), "{run}");
    let values = expect_json(host.as_admin("GET", "/v1/metrics/visits/values").send()?, 200)?;
    ensure!(values["series"][0]["values"][0]["value"] == 1.0, "{values}");

    // What it takes is the same, asked of the host or read off the file.
    let of_host = expect_json(host.as_admin("GET", "/v1/plugins/count-visits/manifest").send()?, 200)?;
    ensure!(of_host["app"]["inputs"]["required"] == json!(["page"]), "{of_host}");
    ensure!(of_host["app"]["inputs"]["properties"]["times"]["default"] == 1, "{of_host}");
    ensure!(of_host == json_of(&project, &["plugin", "manifest", file, "--json"])?, "{of_host}");
    let shown = done(&["plugin", "manifest", "count-visits"])?;
    ensure!(shown.contains("Which page was visited."), "{shown}");

    // A change is on the host with its next round, under the grants it had there, and its log is shown.
    let source = project.join("src/lib.rs");
    let text = std::fs::read_to_string(&source)?;
    std::fs::write(&source, text.replace("visits today\"", "visits so far today\""))?;
    let shown = done(&["plugin", "dev", "--once", "--run", "count-visits-trial", "--inputs", inputs])?;
    ensure!(shown.contains("/start has 2 visits so far today") && shown.contains("is installed"), "{shown}");
    // One that does not compile is told where, and leaves the host as it is.
    std::fs::write(&source, text.replace("pub page: String", "pub page: Strnig"))?;
    let failed = bellwether(&["plugin", "dev", "--once"])?;
    let errors = String::from_utf8_lossy(&failed.stderr);
    ensure!(!failed.status.success() && errors.contains("src/lib.rs"), "{errors}");
    ensure!(done(&["playbook", "run", "count-visits-trial", "--inputs", inputs])?.contains("so far today"));
    host.stop()
}

#[test]
fn a_dialect_goes_from_an_empty_folder_to_answers_of_a_host() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let spoilt = ("value = 1 }", "value = 4 }", "is to be 4, and is");
    let (_, built) = project(folder.path(), "visits", "dialect", spoilt)?;
    ensure!(privileges(&built) == ["clock", "metrics-read", "metrics-write"], "{built}");
    let file = built["file"].as_str().context("build says where")?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let grants = ["--grant", "clock", "--grant", "metrics-read=visits", "--grant", "metrics-write=visits"];
    let install = [&["plugin", "install", file][..], &grants].concat();
    let refused = host.command(&host.keys().admin, &install)?;
    ensure!(!refused.status.success(), "a dialect speaks for the whole host");
    let installed = host.command(&host.keys().operator, &install)?;
    ensure!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    for today in [1.0, 2.0] {
        let answer = expect_json(host.as_admin("POST", "/visits/visits/start").send()?, 201)?;
        ensure!(answer == json!({"page": "start", "today": today}), "{answer}");
    }
    let told = expect_json(host.as_admin("GET", "/visits/visits/start").send()?, 200)?;
    ensure!(told["today"] == 2.0, "{told}");
    let stranger = host.request("GET", "/visits/visits/start").send()?;
    ensure!(stranger.status().as_u16() == 401, "{}", stranger.status());
    host.stop()
}

#[test]
fn the_pure_roles_go_from_an_empty_folder_to_trials_on_a_host() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let admin = &host.keys().admin;
    let body = |given: Value| json!({"settings": {"room": "on call", "token": "kept"}, "answers": given});
    for (name, role, spoilt, verb, body, expected) in [
        (
            "chat",
            "formatter",
            ("remembers = \"m7\"", "remembers = \"m8\"", "is to remember"),
            "format",
            body(json!([{"http": {"status": 201, "body": "{\"id\": \"m7\"}"}}])),
            ("/steps/1/done/memory", json!("m7")),
        ),
        (
            "jumps",
            "detector",
            ("strange = [11, 12]", "strange = [11]", "strange are to be"),
            "detect",
            json!({"points": [1, 2, 1, 2, 1, 2, 1, 2, 1, null, 1, 90]}),
            ("/series/0/scores/9", json!(0.0)),
        ),
        (
            "drift",
            "forecaster",
            ("expected = [6, 7]", "expected = [6, 8]", "expected is to be"),
            "forecast",
            json!({"points": [1, 2, null, 4], "horizon": 2}),
            ("/expected", json!([5.0, 6.0])),
        ),
    ] {
        let (_, built) = project(folder.path(), name, role, spoilt)?;
        ensure!(privileges(&built).is_empty(), "{built}");
        let file = built["file"].as_str().context("build says where")?;
        let installed = host.command(admin, &["plugin", "install", file])?;
        ensure!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let path = format!("/v1/plugins/{name}/{verb}");
        let answer = expect_json(host.as_admin("POST", &path).json(&body).send()?, 200)?;
        ensure!(answer.pointer(expected.0) == Some(&expected.1), "{answer}");
        ensure!(!answer.to_string().contains("kept"), "a secret is named by its setting: {answer}");
    }
    host.stop()
}

#[test]
fn bundled_pure_plugins_are_tried_from_the_command_line() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let tried = |arguments: &[&str]| -> Result<(bool, String)> {
        let output = host.command(&host.keys().admin, arguments)?;
        let printed = [&output.stdout[..], &output.stderr[..]].concat();
        Ok((output.status.success(), String::from_utf8(printed)?))
    };
    let url = "--setting=url=https://alerts.example/hook";
    let (good, shown) =
        tried(&["plugin", "format", "webhook", url, "--setting=signing_secret=s", "--answer=204"])?;
    ensure!(good && shown.contains("POST https://alerts.example/hook"), "{shown}");
    ensure!(
        shown.contains("webhook-timestamp: ‹now as unix-seconds›") && shown.contains("2. done"),
        "{shown}"
    );
    let (good, shown) = tried(&["plugin", "detect", "threshold", "--points", "1 2 1 2 1 2 - 90"])?;
    ensure!(good && shown.contains("SCORE") && shown.contains("0.9"), "{shown}");
    let (good, shown) =
        tried(&["plugin", "forecast", "seasonal-naive", "--points", "1 2 3", "--horizon", "2"])?;
    ensure!(good && shown.contains("EXPECTED"), "{shown}");
    // What is wrong is named by its field.
    let (good, shown) = tried(&["plugin", "detect", "threshold", "--points", "1", "--setting", "window=2"])?;
    ensure!(!good && shown.contains("settings.window") && shown.contains("5 to 1000"), "{shown}");
    let (good, shown) = tried(&["plugin", "detect", "webhook", "--points", "1"])?;
    ensure!(!good && shown.contains("is not called as a detector: it is a formatter"), "{shown}");
    for (wrong, part) in [
        ("detect threshold", "--points"),
        ("detect threshold", "--metric"),
        ("detect threshold --metric logins --from 2026-02-01", "there is no metric \"logins\""),
        (
            "detect threshold --points 1 --setting windows=9",
            "settings.windows is \"9\", expected another name",
        ),
        ("forecast seasonal-naive --points 1 --horizon 2 --level nan", "--level"),
        ("format webhook --setting=url=https://alerts.example/hook --answer=99", "100 to 599"),
    ] {
        let arguments: Vec<&str> = std::iter::once("plugin").chain(wrong.split(' ')).collect();
        let (good, shown) = tried(&arguments)?;
        ensure!(!good && shown.contains(part), "{wrong}: {shown}");
    }
    host.stop()
}

#[test]
fn a_role_the_host_does_not_serve_is_refused_before_anything_is_made() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let refused = within(folder.path(), binary(), &["plugin", "new", "puller", "--role", "collector"])?;
    let errors = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(2) && errors.contains("does not serve it yet"), "{errors}");
    ensure!(folder.path().read_dir()?.next().is_none(), "nothing was made");
    Ok(())
}
