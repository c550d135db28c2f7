//! Secrets by name: checked signatures, and that no secret is ever seen again.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bellwether_tests::{Host, expect_json};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;

use crate::service::Service;
use crate::{World, with};

const COUNT_PUSHES: &str = include_str!("../../../examples/playbooks/count-pushes.toml");
const PUSH: &str = include_str!("../../data/github-push.json");

/// What GitHub says of a body: `sha256=` and the HMAC of it.
fn signature(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(body.as_bytes());
    let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

#[test]
fn only_what_github_signed_starts_a_run_and_each_delivery_one() -> Result<()> {
    let world = World::new()?;
    let secret = "It's a Secret to Everybody";
    let file = world.file("secret.txt", &format!("{secret}\n"))?;
    world.command(&["secret", "set", "github-webhook", "--from-file", &file])?;
    let signed = "type = \"webhook\"\nsignature = { scheme = \"github\", secret = \"github-webhook\" }";
    let hook = world.store_hook(&with(COUNT_PUSHES, &[("type = \"webhook\"", signed)])?)?;
    let deliver = |signature: Option<&str>, delivery: &str, body: &'static str| {
        let request = world.host.request("POST", &format!("{hook}?wait=60"));
        let request = request.header("x-github-event", "push").header("x-github-delivery", delivery);
        let request = request.header("content-type", "application/json").body(body);
        Ok::<_, anyhow::Error>(match signature {
            Some(signature) => request.header("x-hub-signature-256", signature).send()?,
            None => request.send()?,
        })
    };
    let good = signature(secret, PUSH);
    for (wrong, body) in [
        (None, PUSH),
        (Some(signature("another", PUSH)), PUSH),
        (Some(good.clone()), "{}"),
        (Some("sha256=".to_owned()), PUSH),
    ] {
        let answer = deliver(wrong.as_deref(), "a", body)?;
        ensure!(answer.status() == 401, "{wrong:?}: {}", answer.text()?);
    }
    ensure!(world.get("/v1/runs")?["items"] == json!([]), "what is not signed leaves no run");

    let run = expect_json(deliver(Some(&good), "a", PUSH)?, 200)?;
    ensure!(run["state"] == "succeeded", "{run}");
    for _ in 0..3 {
        let again = deliver(Some(&good), "a", PUSH)?;
        ensure!(again.status().is_success(), "a repeated delivery is no error: {}", again.status());
        let text = again.text()?;
        ensure!(text.contains(run["id"].as_str().context("an id")?), "the same run: {text}");
    }
    ensure!(world.total("github.pushes")? == Some(1.0), "one delivery is one push");
    expect_json(deliver(Some(&good), "b", PUSH)?, 200)?;
    ensure!(world.total("github.pushes")? == Some(2.0), "another delivery is another");
    world.host.stop()
}

/// What must not be found, in two spellings: as it is sent, and the part of it that matters.
const HUSH: &str = "Bearer hush-7f3a9c2e51d84b60";
const HUSH_TOKEN: &str = "hush-7f3a9c2e51d84b60";

#[test]
fn a_secret_is_used_and_never_seen_again() -> Result<()> {
    let world = World::new()?;
    let service = Service::start()?;
    let grant = format!("http-client={}", service.url);
    let granted = world
        .host
        .command(&world.operator, &["plugin", "grants", "http", "--grant", "clock", "--grant", &grant])?;
    ensure!(granted.status.success(), "{}", String::from_utf8_lossy(&granted.stderr));
    let file = world.file("secret.txt", HUSH)?;
    world.command(&["secret", "set", "service-token", "--from-file", &file])?;
    std::fs::remove_file(&file)?;
    // The service repeats the secret in an answer, and in one that is a failure.
    world.store(&format!(
        r#"
name = "use-a-secret"
[trigger]
type = "manual"
[[steps]]
id = "call"
app = "http"
each = [1, 2]
inputs = {{ url = "{url}/echo", authorization = "{{{{ secrets.service-token }}}}" }}
[[steps]]
id = "keep"
app = "metric"
inputs = {{ metric = "marker-4711", value = "{{{{ steps.call.status | length }}}}" }}
[[steps]]
id = "fail"
app = "http"
inputs = {{ url = "{url}/missing", authorization = "{{{{ secrets.service-token }}}}" }}
"#,
        url = service.url
    ))?;
    let run = world.run("use-a-secret", &json!({}))?;
    ensure!(run["failed_step"] == "fail", "{run}");
    let sent = service.requests.lock().expect("whole").clone();
    ensure!(sent.len() == 3 && sent.iter().all(|request| request.contains(HUSH)), "it is used: {sent:?}");

    let id = run["id"].as_str().context("an id")?;
    let mut seen = vec![("the answer".to_owned(), run.to_string())];
    for path in [
        &*format!("/v1/runs/{id}"),
        &format!("/v1/runs/{id}/steps/call/items"),
        "/v1/runs",
        "/v1/playbooks",
        "/v1/playbooks/use-a-secret",
        "/v1/secrets",
        "/v1/audit",
        "/v1/metrics",
    ] {
        seen.push((path.to_owned(), world.get(path)?.to_string()));
    }
    for path in ["/metrics", "/"] {
        seen.push((path.to_owned(), world.host.request("GET", path).send()?.text()?));
    }
    for arguments in [&["run", "show", id][..], &["run", "items", id, "call"], &["secret", "list"]] {
        seen.push((arguments.join(" "), world.command(arguments)?));
    }
    ensure!(seen[1].1.contains("you sent •••"), "what the service repeated is masked: {}", seen[1].1);

    // What is stored, as it lies on the disk: of this host, and of one made from its backup.
    let backup = world.folder.path().join("all.backup");
    let restored = world.folder.path().join("restored");
    let output = world.host.command(&world.operator, &["backup", backup.to_str().context("text")?])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = world.host.command(
        &world.operator,
        &["restore", backup.to_str().context("text")?, "--data", restored.to_str().context("text")?],
    )?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let World { host, folder, .. } = world;
    host.stop()?;
    let mut files = Vec::new();
    every_file(folder.path(), &mut files)?;
    let marked = |name: &str| {
        files
            .iter()
            .any(|(path, bytes)| path.starts_with(folder.path().join(name)) && holds(bytes, "marker-4711"))
    };
    ensure!(marked("data") && marked("restored"), "what is no secret is found where it is looked for");
    for (path, bytes) in &files {
        ensure!(!holds(bytes, HUSH_TOKEN), "the secret is in {}", path.display());
    }
    for (place, text) in seen {
        ensure!(!text.contains(HUSH_TOKEN), "the secret is in {place}: {text}");
    }
    Ok(())
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn every_file(folder: &Path, files: &mut Vec<(std::path::PathBuf, Vec<u8>)>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            every_file(&path, files)?;
        } else {
            let bytes = std::fs::read(&path)?;
            files.push((path, bytes));
        }
    }
    Ok(())
}

#[test]
fn a_secret_is_listed_replaced_and_deleted_by_name() -> Result<()> {
    let world = World::new()?;
    let file = world.file("secret.txt", "one")?;
    let set = ["secret", "set", "a", "--from-file", &file];
    ensure!(world.command(&set)?.contains("is new"));
    ensure!(world.command(&set)?.contains("is replaced"));
    let listed = world.command_json(&["secret", "list"])?;
    ensure!(listed["items"][0]["name"] == "a", "{listed}");
    world.command(&["secret", "delete", "a"])?;
    ensure!(world.command_json(&["secret", "list"])?["items"] == json!([]));
    let again = world.host.command(&world.admin, &["secret", "delete", "a"])?;
    ensure!(!again.status.success(), "there is none any more");
    let empty = world.file("empty.txt", "\n")?;
    let refused = world.host.command(&world.admin, &["secret", "set", "a", "--from-file", &empty])?;
    ensure!(refused.status.code() == Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    Host::stop(world.host)
}
