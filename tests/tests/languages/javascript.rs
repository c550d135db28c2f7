//! JavaScript, made by componentize-js: fetch, clock, chance and console of the language's own.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Server, World, component, messages};

/// The example; says so where Node.js was not there to build it.
fn example() -> Option<&'static str> {
    let there = component("time-page").is_file();
    if !there {
        println!("SKIPPED: plugins in JavaScript were not built, as `cargo xtask test` has said");
    }
    there.then_some("time-page")
}

#[test]
fn an_app_fetches_under_its_grant_and_tells_its_own_time() -> Result<()> {
    let Some(plugin) = example() else { return Ok(()) };
    let server = Server::start(&json!(["a"]))?;
    let grant = format!("http-client={}", server.url);
    let world = World::with(plugin, &["url"], &[&grant, "clock", "random"])?;
    let run = || world.step(plugin, &json!({"url": format!("{}/page?x=1", server.url)}));
    let (first, second) = (run()?, run()?);
    ensure!(first["outputs"]["status"] == 200 && first["outputs"]["length"] == 5, "{first}");
    let said = format!("{}/page?x=1 answered 200", server.url);
    ensure!(messages(&first).iter().any(|line| line.contains(&said)), "{first}");
    ensure!(
        first["outputs"]["measurement"] != second["outputs"]["measurement"],
        "chance is granted: {second}"
    );
    let now = jiff::Timestamp::now();
    let told: jiff::Timestamp = second["outputs"]["measured_at"].as_str().context("a text")?.parse()?;
    ensure!(now.duration_since(told).as_secs().abs() < 600, "{told} is not {now}");
    ensure!(server.requests() == 2);

    // Where it may not go, it does not get.
    let elsewhere = Server::start(&json!([]))?;
    let refused = world.step(plugin, &json!({"url": elsewhere.url}))?;
    let error = refused["error"].as_str().context("a failed step says why")?;
    ensure!(error.contains("was not reached"), "{error}");
    ensure!(
        messages(&refused).iter().any(|line| line.contains("the plugin's grant does not cover")),
        "{refused}"
    );
    ensure!(elsewhere.requests() == 0);
    world.host.stop()
}

#[test]
fn an_app_does_without_what_its_runtime_imports() -> Result<()> {
    let Some(plugin) = example() else { return Ok(()) };
    let server = Server::start(&json!([]))?;
    let world = World::with(plugin, &["url"], &[])?;
    let refused = world.step(plugin, &json!({"url": server.url}))?;
    ensure!(refused["state"] == "failed" && server.requests() == 0, "{refused}");
    world.granted("grants", plugin, &[&format!("http-client={}", server.url)])?;
    let served = world.step(plugin, &json!({"url": server.url}))?;
    ensure!(served["outputs"]["milliseconds"] == 0, "without `clock` time stands still: {served}");
    world.host.stop()
}
