//! The playbooks of `examples/playbooks/`, each started by its own trigger.

use anyhow::{Context, Result, ensure};
use bellwether_tests::expect_json;
use serde_json::{Value, json};

use crate::service::Service;
use crate::{World, eventually, with};

const ANSWER_INCIDENTS: &str = include_str!("../../../examples/playbooks/answer-incidents.toml");
const BUSY_DAYS: &str = include_str!("../../../examples/playbooks/busy-days.toml");
const CHECK_LATENCY: &str = include_str!("../../../examples/playbooks/check-latency.toml");
const COUNT_PUSHES: &str = include_str!("../../../examples/playbooks/count-pushes.toml");
const DAILY_REPORT: &str = include_str!("../../../examples/playbooks/daily-report.toml");
const RECORD_DEPLOYMENT: &str = include_str!("../../../examples/playbooks/record-deployment.toml");
const RECORD_VISITS: &str = include_str!("../../../examples/playbooks/record-visits.toml");

#[test]
fn every_example_is_stored_as_it_is() -> Result<()> {
    let world = World::new()?;
    for document in [
        ANSWER_INCIDENTS,
        BUSY_DAYS,
        CHECK_LATENCY,
        COUNT_PUSHES,
        DAILY_REPORT,
        RECORD_DEPLOYMENT,
        RECORD_VISITS,
    ] {
        let playbook = world.store(document)?;
        ensure!(playbook["status"]["state"] == "active", "{playbook}");
        let by_time = ["cron", "every"].contains(&playbook["trigger"]["type"].as_str().unwrap_or_default());
        ensure!(
            playbook["next_due"].is_string() == by_time,
            "only what is started by time is due: {playbook}"
        );
    }
    world.host.stop()
}

#[test]
fn a_daily_report_sums_up_the_day_it_was_due() -> Result<()> {
    let world = World::new()?;
    world.define("logins", "sum", "daily")?;
    // Whichever day it is when its time comes.
    let days = ["now", "+1 day"].map(|day| {
        let output = std::process::Command::new("date").args(["-u", "+%FT12:00:00Z", "-d", day]).output()?;
        anyhow::Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    });
    for day in days {
        world.add("logins", 40.0, &day?)?;
    }
    // Every second instead of every evening.
    world.store(&with(DAILY_REPORT, &[("\"55 23 * * *\"", "\"* * * * * *\"")])?)?;
    let run = eventually("a report is made", || Ok(world.runs("daily-report", "succeeded")?.pop()))?;
    ensure!(run["triggered_by"]["type"] == "cron", "{run}");
    let run = world.get(&format!("/v1/runs/{}", run["id"].as_str().context("an id")?))?;
    ensure!(run["trigger"]["scheduled"] == run["triggered_by"]["scheduled"], "{run}");
    for (step, value) in [(0, 40.0), (1, 40.0), (2, 40.0)] {
        ensure!(run["steps"][step]["outputs"]["value"] == value, "{run}");
    }
    ensure!(world.total("logins")? == Some(80.0), "a report adds nothing to what it reads");
    world.host.stop()
}

#[test]
fn a_busy_day_is_counted_once_when_it_crosses_the_value() -> Result<()> {
    let world = World::new()?;
    world.define("logins", "sum", "daily")?;
    world.store(BUSY_DAYS)?;
    world.add("logins", 60.0, "2026-03-01T08:00:00Z")?;
    world.add("logins", 41.0, "2026-03-01T09:00:00Z")?;
    // Above it stays, so this starts nothing; the other day does, and comes after it in the log.
    world.add("logins", 500.0, "2026-03-01T10:00:00Z")?;
    world.add("logins", 101.0, "2026-03-02T08:00:00Z")?;
    let runs = eventually("both days are counted", || {
        let runs = world.runs("busy-days", "succeeded")?;
        Ok((runs.len() >= 2).then_some(runs))
    })?;
    ensure!(runs.len() == 2, "{runs:?}");
    ensure!(runs.iter().all(|run| run["triggered_by"]["metric"] == "logins"), "{runs:?}");
    ensure!(world.total("logins.busy-days")? == Some(2.0), "one for each day");
    world.host.stop()
}

#[test]
fn a_list_is_recorded_item_by_item_and_what_fails_is_counted() -> Result<()> {
    let world = World::new()?;
    let hook = world.store_hook(RECORD_VISITS)?;
    let visits = json!({ "visits": [
        {"page": "/start", "count": 3}, {"page": "/help"}, {"count": 7}, {"page": "/start", "count": 2},
        {"page": "/about", "count": "many"}, {"page": "/help", "count": 4},
    ]});
    let request = world.host.request("POST", &format!("{hook}?wait=60")).json(&visits);
    let run = expect_json(request.send()?, 200)?;
    ensure!(run["state"] == "succeeded", "{run}");
    let items = json!({"total": 6, "succeeded": 4, "failed": 2, "cancelled": 0});
    ensure!(run["steps"][0]["items"] == items, "{run}");
    ensure!(world.total("visits")? == Some(10.0), "3 + 1 + 2 + 4");
    ensure!(world.total("visits.rejected")? == Some(2.0), "two could not be recorded");

    let id = run["id"].as_str().context("an id")?;
    let items = world.command_json(&["run", "items", id, "visits"])?;
    let states: Vec<&Value> =
        items["items"].as_array().into_iter().flatten().map(|item| &item["state"]).collect();
    ensure!(states == ["succeeded", "succeeded", "failed", "succeeded", "failed", "succeeded"], "{items}");

    // The last item alone is taken again; those before it that succeeded are taken over.
    let again = world.command_json(&["run", "replay", id, "--from", "visits", "--item", "5"])?;
    ensure!(again["replay_of"] == id && again["state"] == "succeeded", "{again}");
    ensure!(world.total("visits")? == Some(14.0), "4 more of the last item, of no other");
    world.host.stop()
}

#[test]
fn a_service_is_called_only_under_a_grant_and_its_latency_recorded() -> Result<()> {
    let world = World::new()?;
    let service = Service::start()?;
    let changes = [
        ("https://api.example.com/health", &*format!("{}/health", service.url)),
        ("interval = \"1m\"", "interval = \"1s\""),
    ];
    world.store(&with(CHECK_LATENCY, &changes)?)?;

    // It comes without any host it may reach.
    let failed = eventually("a check is refused", || Ok(world.runs("check-latency", "failed")?.pop()))?;
    let error = failed["error"].as_str().unwrap_or_default();
    ensure!(error.contains("does not cover") && error.contains(&service.url), "{failed}");
    ensure!(service.requests.lock().expect("whole").is_empty(), "nothing was sent");
    eventually("the failure is counted", || {
        Ok(world.total("service.failures")?.filter(|count| *count > 0.0))
    })?;

    let grant = format!("http-client={}", service.url);
    let output = world
        .host
        .command(&world.operator, &["plugin", "grants", "http", "--grant", "clock", "--grant", &grant])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let run = eventually("a check succeeds", || Ok(world.runs("check-latency", "succeeded")?.pop()))?;
    let run = world.get(&format!("/v1/runs/{}", run["id"].as_str().context("an id")?))?;
    ensure!(run["steps"][0]["outputs"]["json"] == json!({"up": true}), "{run}");
    let latency = run["steps"][0]["outputs"]["latency"].as_f64().context("a latency")?;
    ensure!(run["steps"][1]["inputs"]["value"] == latency, "{run}");
    ensure!(world.total("service.latency")?.is_some(), "it is recorded");
    world.host.stop()
}

#[test]
fn a_deployment_is_recorded_by_hand() -> Result<()> {
    let world = World::new()?;
    world.store(RECORD_DEPLOYMENT)?;
    let run = world.run("record-deployment", &json!({"service": "checkout", "minutes": 7.5}))?;
    ensure!(run["state"] == "succeeded", "{run}");
    ensure!(world.total("deployments")? == Some(1.0) && world.total("deployment.minutes")? == Some(7.5));
    world.host.stop()
}

#[test]
fn an_incident_that_opens_is_counted_and_told_to_a_service() -> Result<()> {
    let world = World::new()?;
    let service = Service::start()?;
    let grant = format!("http-client={}", service.url);
    let grants = ["plugin", "grants", "http", "--grant", "clock", "--grant", &grant];
    let output = world.host.command(&world.operator, &grants)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The service answers 200 there.
    let health = format!("{}/health", service.url);
    world.store(&with(ANSWER_INCIDENTS, &[("https://api.example.com/incidents", &*health)])?)?;
    let monitor = json!({
        "name": "load", "kind": "threshold", "query": "avg:load{*} by {host}", "window": "10s", "every": "10s",
        "new_group_delay": "0s", "labels": {"team": "web"}, "thresholds": {"comparator": ">", "critical": 90},
    });
    world.post("/v1/monitors", &monitor, 201)?;
    let run = eventually("the incident starts a run", || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis() as u64;
        let series = json!({"metric": "load", "tags": ["host:web-1"], "points": [[now, 99.0]]});
        world.post("/v1/series", &json!({ "series": [series] }), 200)?;
        std::thread::sleep(std::time::Duration::from_millis(500));
        Ok(world.runs("answer-incidents", "succeeded")?.pop())
    })?;
    let incident = &world.get("/v1/incidents")?["items"][0];
    let (id, by) = (incident["id"].as_str().context("an id")?, &run["triggered_by"]);
    ensure!(by["type"] == "alert" && by["incident"] == id, "{run}");
    ensure!(world.total("incidents")? == Some(1.0), "one incident, however often it is evaluated");
    let requests = service.requests.lock().expect("whole").clone();
    ensure!(requests.len() == 1 && requests[0].contains(&format!("idempotency-key: {id}.0")), "{requests:?}");
    world.host.stop()
}
