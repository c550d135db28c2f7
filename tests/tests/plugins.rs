//! What a plugin asks for is read off it; what it was not granted it cannot do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bellwether_tests::{FirstKeys, Host, binary, expect_json};
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
fn calls_get_instances_of_their_own_unless_somebody_says_otherwise() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let instances = |name: &str| -> Result<Value> {
        let path = format!("/v1/plugins/{name}");
        Ok(expect_json(host.as_admin("GET", &path).send()?, 200)?["instances"].clone())
    };
    ensure!(instances("metric")? == "warm", "what is bundled keeps nothing between calls");
    let file = component("threshold")?;
    let file = file.to_str().context("a path of text")?;
    let done = |arguments: &[&str]| -> Result<()> {
        let output = host.command(&host.keys().admin, arguments)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    done(&["plugin", "install", file])?;
    ensure!(instances("threshold")? == "fresh");
    done(&["plugin", "instances", "threshold", "warm"])?;
    ensure!(instances("threshold")? == "warm");
    host.stop()
}

#[test]
fn a_bundled_plugin_stays_removed_or_switched_off_when_the_host_starts_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let host = Host::start(&data, &[])?;
    let FirstKeys { operator, admin, .. } = host.keys().clone();
    for arguments in [["plugin", "remove", "tamtam"], ["plugin", "disable", "slack"]] {
        let output = host.command(&operator, &arguments)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    host.stop()?;
    let host = Host::start(&data, &[])?;
    expect_json(host.as_key(&operator, "GET", "/v1/plugins/tamtam").send()?, 404)?;
    let enabled = |host: &Host| -> Result<Value> {
        Ok(expect_json(host.as_key(&operator, "GET", "/v1/plugins/slack").send()?, 200)?["enabled"].clone())
    };
    ensure!(enabled(&host)? == false);
    let output = host.command(&operator, &["plugin", "enable", "slack"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(enabled(&host)? == true);
    let again = ["plugin", "install", "--bundled", "tamtam"];
    let refused = host.command(&admin, &again)?;
    ensure!(!refused.status.success(), "an organisation's admin installs nothing for all");
    let output = host.command(&operator, &again)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let unknown = host.command(&operator, &["plugin", "install", "--bundled", "tomtom"])?;
    ensure!(String::from_utf8_lossy(&unknown.stderr).contains("tamtam"), "it says which there are");
    host.stop()?;
    let host = Host::start(&data, &[])?;
    let installed = expect_json(host.as_key(&operator, "GET", "/v1/plugins/tamtam").send()?, 200)?;
    ensure!(installed["actor"] == "host", "a newer binary brings it up to date: {installed}");
    host.stop()
}

#[test]
fn a_component_that_is_lost_is_named_by_backup_and_restore_and_a_bundled_one_is_put_back() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let host = Host::start(&data, &[])?;
    let keys = host.keys().clone();
    let own = folder.path().join("own.wasm");
    std::fs::copy(component("threshold")?, &own)?;
    let own = own.to_str().context("a path of text")?;
    for arguments in [&["plugin", "name", own, "own", "1.0.0"][..], &["plugin", "install", own]] {
        let output = host.command(&keys.admin, arguments)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let lose = |key: &str, name: &str| -> Result<PathBuf> {
        let plugin = expect_json(host.as_key(key, "GET", &format!("/v1/plugins/{name}")).send()?, 200)?;
        let file = data.join("components").join(plugin["digest"].as_str().context("a digest")?);
        std::fs::write(&file, "damaged")?;
        Ok(file)
    };
    let (lost, carried) = (lose(&keys.admin, "own")?, lose(&keys.operator, "metric")?);
    let backup = folder.path().join("backup.bellwether");
    let backup = backup.to_str().context("a path of text")?;
    let output = host.command(&keys.operator, &["backup", backup, "--json"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout)?;
    let why = made["left_out"][0].as_str().context("what is left out is told")?;
    ensure!(made["left_out"][1].is_null() && std::fs::metadata(carried)?.len() > 7, "{made}");
    ensure!(why.starts_with("plugin own 1.0.0 of the organisation "), "{why}");
    ensure!(why.contains(&lost.display().to_string()) && why.contains("install that version again"), "{why}");
    host.stop()?;

    let into = folder.path().join("restored");
    let output = Command::new(binary()).args(["restore", backup, "--json", "--data"]).arg(into).output()?;
    let restored: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(restored["left_out"][0] == why, "{restored}");
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
    host.store_playbook(&host.keys().admin, playbook)?;
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

/// The app `metric` in another version: a component's version is its last section of that name.
fn variant(folder: &Path, version: &str) -> Result<String> {
    let mut bytes = std::fs::read(component("metric")?)?;
    let content = [&[7], b"version".as_slice(), version.as_bytes()].concat();
    bytes.extend([0, u8::try_from(content.len())?]);
    bytes.extend(content);
    let path = folder.join(format!("metric-{version}.wasm"));
    std::fs::write(&path, bytes)?;
    Ok(path.to_str().context("a path of text")?.to_owned())
}

/// Runs the command line as the admin and gives the JSON it prints.
fn plugin(host: &Host, arguments: &[&str]) -> Result<Value> {
    let all = [&["plugin", "--json"], arguments].concat();
    let output = host.command(&host.keys().admin, &all)?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?} prints JSON"))
}

/// Installs a variant of `metric` that may write the metrics `scope` alone.
fn install(host: &Host, folder: &Path, version: &str, scope: &str, more: &[&str]) -> Result<Value> {
    let file = variant(folder, version)?;
    let inspected = Command::new(binary()).args(["plugin", "inspect", "--json", &file]).output()?;
    let inspected: Value = serde_json::from_slice(&inspected.stdout)?;
    let mut arguments = vec!["install".to_owned(), file];
    for request in inspected["requests"].as_array().context("requests are a list")? {
        let privilege = request["privilege"].as_str().context("a request names its privilege")?;
        let scope = if privilege.starts_with("metrics-") { format!("={scope}") } else { String::new() };
        arguments.extend(["--grant".to_owned(), format!("{privilege}{scope}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
    plugin(host, &arguments)
}

/// What runs came to: how many by version and state.
type Ran = BTreeMap<(String, String), u64>;

/// Runs the playbook `count` on four connections for as long as `work` takes.
fn while_running(host: &Host, work: impl FnOnce() -> Result<()>) -> Result<Ran> {
    let done = AtomicBool::new(false);
    let running = || -> Result<Ran> {
        let mut ran = Ran::new();
        while !done.load(Ordering::Relaxed) {
            let path = "/v1/playbooks/count/runs?wait=30";
            let run = expect_json(host.as_admin("POST", path).json(&json!({})).send()?, 200)?;
            let text =
                |pointer: &str| run.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            *ran.entry((text("/steps/0/app_version"), text("/state"))).or_default() += 1;
        }
        Ok(ran)
    };
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(running)).collect();
        let worked = work();
        done.store(true, Ordering::Relaxed);
        let mut all = Ran::new();
        for caller in callers {
            for (key, count) in caller.join().expect("a caller does not panic")? {
                *all.entry(key).or_default() += count;
            }
        }
        worked.map(|()| all)
    })
}

/// The count the runs made.
fn counted(host: &Host) -> Result<f64> {
    let values = expect_json(host.as_admin("GET", "/v1/metrics/web.runs/values").send()?, 200)?;
    values.pointer("/series/0/values/0/value").and_then(Value::as_f64).context("the metric has a value")
}

#[test]
fn versions_come_and_go_under_thousands_of_calls_and_a_bad_canary_goes_by_itself() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    install(&host, folder.path(), "1.0.0", "web.*", &[])?;
    let playbook = "name = \"count\"\n[trigger]\ntype = \"manual\"\n[[steps]]\nid = \"add\"\napp = \"metric\"\n[steps.inputs]\nmetric = \"web.runs\"\nvalue = 1\n";
    let store = |source: &str| {
        let request = host.as_admin("POST", "/v1/playbooks").header("content-type", "application/toml");
        Ok::<_, anyhow::Error>(request.body(source.to_owned()).send()?)
    };
    expect_json(store(playbook)?, 201)?;

    let pause = || std::thread::sleep(Duration::from_millis(150));
    let ran = while_running(&host, || {
        pause();
        install(&host, folder.path(), "2.0.0", "web.*", &[])?;
        pause();
        install(&host, folder.path(), "3.0.0", "web.*", &["--canary", "50"])?;
        pause();
        plugin(&host, &["canary", "metric", "3.0.0", "--share", "80"])?;
        pause();
        let promoted = plugin(&host, &["canary", "metric", "--promote"])?;
        ensure!(promoted["version"] == "3.0.0", "{promoted}");
        pause();
        let back = plugin(&host, &["rollback", "metric"])?;
        ensure!(back["version"] == "2.0.0", "{back}");
        pause();
        // Runs that began with it may not have ended.
        plugin(&host, &["rollback", "metric", "--to", "1.0.0"])?;
        let gone = Instant::now() + Duration::from_secs(30);
        while plugin(&host, &["remove", "metric", "--version", "3.0.0"]).is_err() {
            ensure!(Instant::now() < gone, "no run keeps to it for long");
        }
        pause();
        Ok(())
    })?;
    let runs: u64 = ran.values().sum();
    ensure!(ran.keys().all(|(_, state)| state == "succeeded"), "none failed: {ran:?}");
    ensure!(ran.len() == 3 && runs > 200, "each was answered by one version: {ran:?}");
    ensure!(counted(&host)? == runs as f64, "each counted once: {runs}, {}", counted(&host)?);

    // One that may not write what it is asked to fails whatever it is called with.
    let ran = while_running(&host, || {
        install(&host, folder.path(), "4.0.0", "payroll", &["--canary", "50"])?;
        let end = Instant::now() + Duration::from_secs(60);
        while plugin(&host, &["canary", "metric"])?["last_canary"]["how"] != "rolled-back" {
            ensure!(
                Instant::now() < end,
                "it was not rolled back: {}",
                plugin(&host, &["canary", "metric"])?
            );
        }
        Ok(())
    })?;
    let failed: u64 = ran.iter().filter(|((_, state), _)| state == "failed").map(|(_, count)| count).sum();
    let of_canary = ran.get(&("4.0.0".to_owned(), "failed".to_owned())).copied().unwrap_or_default();
    // A few were on their way when it was found out.
    ensure!(failed == of_canary && (20..30).contains(&failed), "{ran:?}");
    let after = while_running(&host, || {
        pause();
        Ok(())
    })?;
    ensure!(after.keys().all(|key| *key == ("1.0.0".to_owned(), "succeeded".to_owned())), "{after:?}");
    let shown = plugin(&host, &["canary", "metric"])?;
    let reason = shown["last_canary"]["reason"].as_str().unwrap_or_default().to_owned();
    ensure!(reason.contains("calls failed, against 0 of"), "{shown}");

    // A playbook that names a version keeps it.
    let pinned = playbook.replace("\"count\"", "\"pinned\"").replace("\"metric\"", "\"metric@2.0.0\"");
    expect_json(store(&pinned)?, 201)?;
    let run = expect_json(
        host.as_admin("POST", "/v1/playbooks/pinned/runs?wait=30").json(&json!({})).send()?,
        200,
    )?;
    ensure!(run["steps"][0]["app_version"] == "2.0.0", "{run}");
    let Err(error) = plugin(&host, &["remove", "metric", "--version", "2.0.0"]) else {
        bail!("it is kept to")
    };
    ensure!(error.to_string().contains("by the playbook pinned"), "{error}");
    let refused = store(&pinned.replace("pinned", "other").replace("2.0.0", "9.0.0"))?.text()?;
    ensure!(refused.contains("line 6, column 1") && refused.contains("metric@2.0.0"), "{refused}");

    let top = host.command(&host.keys().admin, &["plugin", "top", "--once"])?;
    let table = String::from_utf8_lossy(&top.stdout);
    let row = table.lines().find(|line| line.starts_with("metric") && line.contains("1.0.0"));
    ensure!(row.is_some_and(|row| row.contains("closed")), "{table}");
    let metrics = host.request("GET", "/metrics").send()?.text()?;
    ensure!(
        metrics.contains(
            "bellwether_plugin_canaries_ended_total{plugin=\"metric\",owner=\"organisation-1\",how=\"rolled-back\"} 1"
        ),
        "{metrics}"
    );
    host.stop()
}
