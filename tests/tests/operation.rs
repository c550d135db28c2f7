//! What an operator relies on: one owner per folder, backups, settings, keys that stay apart, a graceful stop.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bellwether_tests::{Host, binary, expect_json, sign};
use serde_json::{Value, json};

/// The value of an unlabelled series on `/metrics`.
fn counter(host: &Host, name: &str) -> Result<f64> {
    let text = host.request("GET", "/metrics").send()?.text()?;
    let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
    Ok(line
        .and_then(|line| line.rsplit(' ').next())
        .with_context(|| format!("no {name} in\n{text}"))?
        .parse()?)
}

fn define(host: &Host, token: &str, name: &str) -> Result<Value> {
    let metric = json!({"name": name, "data_type": "sum", "interval": "daily"});
    expect_json(host.as_key(token, "POST", "/v1/metrics").json(&metric).send()?, 201)
}

fn value(host: &Host, token: &str, metric: &str) -> Result<Value> {
    let values =
        expect_json(host.as_key(token, "GET", &format!("/v1/metrics/{metric}/values")).send()?, 200)?;
    Ok(values["series"][0]["values"][0]["value"].clone())
}

#[test]
fn every_metric_of_the_host_says_what_it_is() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let text = host.request("GET", "/metrics").send()?.text()?;
    let lines = |word: &str| -> BTreeMap<&str, &str> {
        text.lines().filter_map(|line| line.strip_prefix(word)?.split_once(' ')).collect()
    };
    let (told, there) = (lines("# HELP "), lines("# TYPE "));
    for name in ["bellwether_plugin_calls_total", "bellwether_plugin_processor_seconds"] {
        ensure!(there.contains_key(name), "no {name} in\n{text}");
    }
    for (name, kind) in there {
        ensure!(told.get(name).is_some_and(|help| !help.is_empty()), "{name} has no help");
        let wrong = against_conventions(name, kind);
        ensure!(wrong.is_empty(), "{name}, a {kind}: {}", wrong.join("; "));
    }
    host.stop()
}

/// What `promtool check metrics` says of a name, and <https://prometheus.io/docs/practices/naming/> besides.
fn against_conventions(name: &str, kind: &str) -> Vec<String> {
    const OTHER_UNITS: [&str; 24] = [
        "nanoseconds",
        "microseconds",
        "milliseconds",
        "minutes",
        "hours",
        "days",
        "weeks",
        "ns",
        "us",
        "ms",
        "sec",
        "bits",
        "kilobytes",
        "megabytes",
        "gigabytes",
        "kibibytes",
        "mebibytes",
        "gibibytes",
        "kb",
        "mb",
        "gb",
        "b",
        "percent",
        "celsius",
    ];
    let words: Vec<&str> = name.split('_').collect();
    let mut wrong = Vec::new();
    let mut expect = |right: bool, told: String| {
        if !right {
            wrong.push(told);
        }
    };
    let letters = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    expect(words.iter().all(letters), "it is words of a-z with _ between them".to_owned());
    expect(matches!(words[0], "bellwether" | "process"), "it begins with whose it is".to_owned());
    let counts = words.last() == Some(&"total");
    expect((kind == "counter") == counts, "a counter, and nothing else, ends in _total".to_owned());
    for ending in ["count", "sum", "bucket", "info"] {
        expect(words.last() != Some(&ending), format!("_{ending} is the end of a part of another kind"));
    }
    for word in &words {
        expect(!OTHER_UNITS.contains(word), format!("{word} is no base unit"));
        let is_kind = matches!(*word, "counter" | "gauge" | "histogram" | "summary");
        expect(!is_kind, format!("the name of its kind, {word}, is in it"));
    }
    let unit = words.iter().position(|word| matches!(*word, "seconds" | "bytes"));
    let last = words.len() - 1 - usize::from(counts);
    expect(unit.is_none_or(|at| at == last), "its unit stands at its end, before _total".to_owned());
    wrong
}

#[test]
fn the_shipped_binary_syncs_its_log_to_the_disk() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    define(&host, &host.keys().admin, "m")?;
    let before = counter(&host, "bellwether_store_syncs_total")?;
    for _ in 0..10 {
        let samples = json!({"samples": [{"metric": "m", "value": 1}]});
        expect_json(host.as_admin("POST", "/v1/samples").json(&samples).send()?, 200)?;
    }
    let after = counter(&host, "bellwether_store_syncs_total")?;
    ensure!(after >= before + 10.0, "ten writes one after the other need ten syncs: {before} to {after}");
    host.stop()
}

#[test]
fn a_second_process_on_the_same_folder_is_told_who_has_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let host = Host::start(&data, &[])?;
    let output =
        Command::new(binary()).args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "the folder is taken");
    ensure!(errors.contains("in use") && errors.contains(&host.id().to_string()), "{errors}");
    host.stop()
}

#[test]
fn a_host_that_is_started_before_the_one_before_it_is_gone_waits_for_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let first = Host::start(&data, &[])?;
    let next = std::thread::spawn({
        let data = data.clone();
        move || Host::start(&data, &[])
    });
    let log = || std::fs::read_to_string(data.with_extension("log"));
    while !log()?.contains("waiting for the store") {
        ensure!(!next.is_finished(), "the second did not meet the first: {}", log()?);
        std::thread::sleep(Duration::from_millis(10));
    }
    first.stop()?;
    next.join().expect("it does not panic")?.stop()
}

#[test]
fn the_commands_a_first_start_shows_work_as_they_stand() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let shown = host.printed.iter().filter(|line| line.starts_with("  "));
    let shown: String = shown.map(|line| format!("{}\n", line.trim())).collect();
    ensure!(shown.contains(&format!("export BELLWETHER_URL={}\n", host.url)), "{shown}");
    let folder = binary().parent().context("it lies in a folder")?.to_owned();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-ec", &shown]).env("PATH", path).env_remove("BELLWETHER_KEY").env_remove("BELLWETHER_URL");
    let output = shell.output()?;
    ensure!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    host.stop()
}

#[test]
fn wrong_usage_is_json_where_json_is_asked_for() -> Result<()> {
    for arguments in [&["metric", "list", "--limmit", "3", "--json"][..], &["metric", "--json"], &["--json"]]
    {
        let output = Command::new(binary()).args(arguments).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2), "{arguments:?}: {errors}");
        let told: Value = serde_json::from_str(&errors).with_context(|| errors.to_string())?;
        ensure!(told["error"]["kind"] == "usage", "{arguments:?}: {told}");
    }
    Ok(())
}

#[test]
fn an_unknown_setting_is_refused_by_name() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:0\"\nlissten = 1\n")?;
    let output = Command::new(binary()).args(["serve", "--config"]).arg(&file).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && errors.contains("lissten"), "{errors}");
    Ok(())
}

#[test]
fn a_backup_taken_while_writes_go_on_restores_to_a_host_that_works() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let host = Host::start(&data, &[])?;
    let keys = host.keys().clone();
    define(&host, &keys.admin, "kept")?;
    let samples = json!({"samples": [{"metric": "kept", "value": 41}, {"metric": "kept", "value": 1}]});
    expect_json(host.as_admin("POST", "/v1/samples").json(&samples).send()?, 200)?;
    let file = folder.path().join("backup.bellwether");
    let path = file.to_str().context("a path of text")?;
    let output = host.command(&keys.operator, &["backup", path])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mode = std::fs::metadata(&file)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "a backup is its user's alone, this one is {mode:o}");
    let output = host.command(&keys.operator, &["audit", "--action", "host.backup", "--json"])?;
    let told: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(told["items"][0]["action"] == "host.backup", "who took a backup is in the audit log: {told}");
    let refused = host.command(&keys.admin, &["backup", &format!("{path}.2")])?;
    ensure!(!refused.status.success(), "an organisation's admin takes no backup of the host");
    host.stop()?;

    let restored = folder.path().join("restored");
    let output = Command::new(binary()).args(["restore", path, "--data"]).arg(&restored).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::copy(data.join("host.key"), restored.join("host.key"))?;
    let host = Host::start(&restored, &[])?;
    ensure!(value(&host, &keys.admin, "kept")? == 42.0, "the restored host has the value");
    let again = Command::new(binary()).args(["restore", path, "--data"]).arg(&restored).output()?;
    ensure!(!again.status.success(), "a folder that is not empty is not overwritten");
    host.stop()?;

    // One that was cut short or damaged is refused by its name, and leaves nothing.
    let whole = std::fs::read(&file)?;
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x10;
    for wrong in [&whole[..whole.len() - 10], &damaged] {
        std::fs::write(&file, wrong)?;
        let into = folder.path().join("wrong");
        let output = Command::new(binary()).args(["restore", path, "--data"]).arg(&into).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        for part in [path, "bytes", "nothing was restored"] {
            ensure!(errors.contains(part), "no {part} in {errors}");
        }
        ensure!(!into.join("store").exists(), "a half restored store");
    }
    Ok(())
}

#[test]
fn a_host_key_that_is_none_is_found_before_a_host_starts_with_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let check = |key: &str| {
        let mut command = Command::new(binary());
        command.args(["config", "--data"]).arg(folder.path()).env("BELLWETHER_HOST_KEY", key).output()
    };
    ensure!(check(&"5a".repeat(32))?.status.success(), "a key is taken");
    let wrong = "5b".repeat(31);
    let output = check(&wrong)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2) && errors.contains("BELLWETHER_HOST_KEY"), "{errors}");
    ensure!(!errors.contains(&wrong), "it may be nearly a key: {errors}");
    Ok(())
}

#[test]
fn a_host_that_compiles_its_plugins_says_so_and_is_ready_when_it_has() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // Whoever asks before the host prints where it listens must know it.
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let log = std::fs::File::create(folder.path().join("log"))?;
    let mut host = Command::new(binary())
        .args(["serve", "--listen", &address, "--data"])
        .arg(folder.path().join("data"))
        .stdout(std::process::Stdio::null())
        .stderr(log)
        .spawn()?;
    let asked = |path: &str| -> Result<(u16, String)> {
        let answer = reqwest::blocking::get(format!("http://{address}{path}"))?;
        Ok((answer.status().as_u16(), answer.text()?))
    };
    let watched = || -> Result<()> {
        let (began, mut starting) = (Instant::now(), false);
        loop {
            ensure!(began.elapsed() < Duration::from_secs(300), "it is not ready");
            match asked("/readyz") {
                Ok((200, _)) => break,
                Ok((503, text)) if text.contains("starting: compiling plugin") => {
                    starting = true;
                    ensure!(asked("/healthz")?.0 == 200, "it lives");
                }
                _ => {}
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        ensure!(starting, "nobody was told that it compiled");
        Ok(())
    };
    let watched = watched();
    host.kill()?;
    host.wait()?;
    watched
}

/// Bytes that are free where `folder` lies.
fn free(folder: &Path) -> Result<u64> {
    let output = Command::new("df").args(["--output=avail", "--block-size=1"]).arg(folder).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().nth(1).context("a line of the file system")?.trim().parse()?)
}

#[test]
fn a_host_starts_on_a_nearly_full_disk_and_begins_its_work_once_there_is_room() -> Result<()> {
    const ROOM: u64 = 1 << 30;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let host = Host::start(&data, &[])?;
    let keys = host.keys().clone();
    for name in ["kept", "gone"] {
        define(&host, &keys.admin, name)?;
    }
    let samples = json!({"samples": [{"metric": "kept", "value": 42}]});
    expect_json(host.as_admin("POST", "/v1/samples").json(&samples).send()?, 200)?;
    let step = "[[steps]]\nid = \"wait\"\ndelay = \"1s\"\n";
    host.store_playbook(&keys.admin, &format!("name = \"waits\"\n[trigger]\ntype = \"manual\"\n{step}"))?;
    host.stop()?;

    // What fills the disk is twice what is missing, so that others who write to it meanwhile change nothing.
    let ballast = folder.path().join("ballast");
    let filled = Command::new("fallocate").args(["-l", &(2 * ROOM).to_string()]).arg(&ballast).status()?;
    ensure!(filled.success(), "the disk is filled");
    let watermark = free(folder.path())? + ROOM;
    let host = Host::start_with(&data, &[], |command| {
        command.env("BELLWETHER_STORE__WATERMARK_BYTES", watermark.to_string());
    })?;
    let readiness = expect_json(host.request("GET", "/readyz").send()?, 503)?;
    ensure!(readiness["reasons"][0].as_str().is_some_and(|why| why.contains("nearly full")), "{readiness}");
    ensure!(value(&host, &keys.admin, "kept")? == 42.0, "reads go on");
    let start = || host.as_key(&keys.admin, "POST", "/v1/playbooks/waits/runs").json(&json!({})).send();
    expect_json(start()?, 503)?;
    expect_json(host.as_key(&keys.admin, "DELETE", "/v1/metrics/gone").send()?, 200)?;
    let file = folder.path().join("backup.bellwether");
    let output = host.command(&keys.operator, &["backup", file.to_str().context("a path of text")?])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    std::fs::remove_file(&ballast)?;
    let patience = Instant::now();
    while host.request("GET", "/readyz").send()?.status() != 200 {
        ensure!(patience.elapsed() < Duration::from_secs(30), "there is room, and the host is not ready");
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = host.command(&keys.admin, &["playbook", "run", "waits"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    host.stop()
}

#[test]
fn organisations_operator_and_roles_stay_apart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let keys = host.keys().clone();
    define(&host, &keys.admin, "secret")?;
    let organisation = json!({"name": "other", "time_zone": "Europe/Berlin"});
    expect_json(host.as_key(&keys.operator, "POST", "/v1/organisations").json(&organisation).send()?, 201)?;
    let key = |role: &str| json!({"name": role, "role": role});
    let path = "/v1/organisations/other/keys";
    let other = expect_json(host.as_key(&keys.operator, "POST", path).json(&key("admin")).send()?, 201)?;
    let other = other["token"].as_str().context("a token")?.to_owned();
    let made = |role: &str| -> Result<(String, String)> {
        let created = expect_json(host.as_admin("POST", "/v1/keys").json(&key(role)).send()?, 201)?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("text");
        Ok((text(&created["token"])?, text(&created["key"]["id"])?))
    };
    let (read, read_id) = made("read")?;
    let (write, _) = made("write")?;

    for (who, token, method, path, status) in [
        ("another organisation", &other, "GET", "/v1/metrics/secret", 404),
        ("another organisation", &other, "DELETE", "/v1/metrics/secret", 404),
        ("the operator", &keys.operator, "GET", "/v1/metrics/secret", 403),
        ("the operator", &keys.operator, "GET", "/v1/runs", 403),
        ("an admin", &keys.admin, "GET", "/v1/organisations", 403),
        ("an admin", &keys.admin, "GET", "/v1/host", 403),
        ("a reader", &read, "GET", "/v1/metrics/secret", 200),
        ("a reader", &read, "DELETE", "/v1/metrics/secret", 403),
        ("a reader", &read, "GET", "/v1/keys", 403),
        ("a writer", &write, "GET", "/v1/audit", 403),
        ("nobody", &"bw_AAAAAAAAAAAAAAAA_x".to_owned(), "GET", "/v1/metrics", 401),
    ] {
        let answer = host.as_key(token, method, path).send()?;
        let (got, text) = (answer.status().as_u16(), answer.text()?);
        ensure!(got == status, "{who}: {method} {path} answered {got} where {status} is right: {text}");
        ensure!(status == 200 || serde_json::from_str::<Value>(&text)?["status"] == status, "{text}");
    }

    // A key that was revoked stops at once, and the log says who did it.
    expect_json(host.as_admin("DELETE", &format!("/v1/keys/{read_id}")).send()?, 200)?;
    ensure!(host.as_key(&read, "GET", "/v1/metrics").send()?.status() == 401);
    let audit = expect_json(host.as_admin("GET", "/v1/audit").send()?, 200)?;
    let newest = &audit["items"][0];
    ensure!(newest["action"] == "key.revoke" && newest["target"] == read_id.as_str(), "{audit}");
    ensure!(!audit.to_string().contains(&read), "no secret is in the log");
    host.stop()
}

#[test]
fn a_repeated_write_with_its_idempotency_key_adds_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let host = Host::start(&data, &[])?;
    let token = host.keys().admin.clone();
    define(&host, &token, "once")?;
    let send = |host: &Host, value: u32| {
        let samples = json!({"samples": [{"metric": "once", "value": value}]});
        host.as_key(&token, "POST", "/v1/samples").header("idempotency-key", "abc").json(&samples).send()
    };
    let first = expect_json(send(&host, 5)?, 200)?;
    ensure!(expect_json(send(&host, 5)?, 200)? == first, "the answer is the same");
    ensure!(send(&host, 6)?.status() == 422, "another request under the same key is refused");
    host.kill()?;
    let host = Host::start(&data, &[])?;
    expect_json(send(&host, 5)?, 200)?;
    ensure!(value(&host, &token, "once")? == 5.0, "it was added once, a crash between included");
    host.stop()
}

#[test]
fn a_stop_finishes_what_was_accepted() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let host = Host::start(&data, &[])?;
    let keys = host.keys().clone();
    let playbook = "name = \"one\"\n[trigger]\ntype = \"manual\"\n[[steps]]\nid = \"add\"\napp = \"metric\"\n[steps.inputs]\nmetric = \"stops\"\nvalue = 1\n";
    host.store_playbook(&host.keys().admin, playbook)?;
    let mut accepted = 0;
    for _ in 0..50 {
        expect_json(host.as_admin("POST", "/v1/playbooks/one/runs").json(&json!({})).send()?, 202)?;
        accepted += 1;
    }
    host.stop()?;
    let host = Host::start(&data, &[])?;
    let runs =
        expect_json(host.as_key(&keys.admin, "GET", "/v1/runs?state=succeeded&limit=1000").send()?, 200)?;
    ensure!(runs["items"].as_array().map(Vec::len) == Some(accepted), "{runs}");
    host.stop()
}

#[test]
fn behind_a_trusted_proxy_the_clients_own_path_is_the_signed_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = folder.path().join("settings.toml");
    let text = "[proxy]\ntrusted = [\"127.0.0.0/8\"]\noriginal_uri_header = \"x-original-uri\"\n";
    std::fs::write(&settings, text)?;
    let settings = settings.to_str().context("a path of text")?;
    let host = Host::start(&folder.path().join("data"), &["--config", settings])?;
    let (path, original) = ("/threatconnect/v2/customMetrics", "/tc/api/v2/customMetrics?a=1");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let (authorization, timestamp) = sign(&host.keys().access_id, &host.keys().secret, "GET", original, now);
    let request =
        || host.request("GET", path).header("authorization", &authorization).header("timestamp", &timestamp);
    ensure!(request().send()?.status() == 401, "another path was signed");
    let answer = request().header("x-original-uri", original).send()?;
    ensure!(answer.status() == 200, "{}", answer.text()?);
    host.stop()?;

    // Without the setting, nobody may say what was signed.
    let host = Host::start(&folder.path().join("other"), &[])?;
    let (authorization, timestamp) = sign(&host.keys().access_id, &host.keys().secret, "GET", original, now);
    let request =
        host.request("GET", path).header("authorization", authorization).header("timestamp", timestamp);
    ensure!(request.header("x-original-uri", original).send()?.status() == 401);
    host.stop()
}
