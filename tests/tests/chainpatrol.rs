//! The ChainPatrol dialect: its documented requests, against numbers worked out beside it.

use anyhow::{Result, ensure};
use bellwether_tests::{Host, expect_json, python};
use serde_json::{Value, json};

const PATH: &str = "/chainpatrol/api/v2/organization/metrics";

/// Writes samples of one series.
fn write(host: &Host, metric: &str, tags: &[&str], points: &Value) -> Result<()> {
    let body = json!({ "series": [{ "metric": metric, "tags": tags, "points": points }] });
    expect_json(host.as_admin("POST", "/v1/series").json(&body).send()?, 200).map(drop)
}

fn ask(host: &Host, query: &[(&str, &str)], status: u16) -> Result<Value> {
    let request = host.request_with("GET", PATH, query).header("X-API-KEY", &host.keys().admin);
    expect_json(request.send()?, status)
}

#[test]
fn the_documented_requests_get_the_numbers_of_an_independent_count() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let printed = python("chainpatrol.py", &[&host.url, &host.keys().admin])?;
    ensure!(printed.lines().count() >= 12, "{printed}");
    host.stop()
}

#[test]
fn ranges_include_both_their_ends_to_the_millisecond() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let points = json!([
        ["2024-01-31T23:59:59.999Z", 1],
        ["2024-02-01T00:00:00Z", 10],
        ["2024-02-29T23:59:59.999Z", 100],
        ["2024-03-01T00:00:00Z", 1000]
    ]);
    write(&host, "chainpatrol.threats", &["status:BLOCKED", "type:URL"], &points)?;
    for (start, end, expected) in [
        (None, None, 1111),
        (Some("2024-02-01T00:00:00Z"), Some("2024-02-29T23:59:59.999Z"), 110),
        (Some("2024-02-01T00:00:00.001Z"), Some("2024-02-29T23:59:59.998Z"), 0),
        (Some("2024-02-01"), Some("2024-02-29"), 110),
        (Some("2024-02-01T01:00:00+01:00"), Some("2024-03-01T02:00:00+02:00"), 1110),
        (None, Some("2024-01-31"), 1),
        (Some("2024-03-01T00:00:00.000Z"), None, 1000),
        (Some("2024-03-01"), Some("2024-03-01T00:00:00Z"), 1000),
        (Some("2999-01-01"), None, 0),
    ] {
        let query = [("startDate", start), ("endDate", end)];
        let query: Vec<_> = query.into_iter().filter_map(|(name, date)| Some((name, date?))).collect();
        let answer = ask(&host, &query, 200)?;
        ensure!(answer["metrics"]["newThreats"] == expected, "{query:?}: {answer} should say {expected}");
        ensure!(answer["metrics"]["domainThreats"] == expected, "{query:?}: {answer}");
    }
    let days = ask(&host, &[("startDate", "2024-02-01T00:00:00Z")], 200)?;
    let expected = json!([
        {"date": "2024-02-01", "count": 10}, {"date": "2024-02-29", "count": 100}, {"date": "2024-03-01", "count": 1000}
    ]);
    ensure!(days["blockedByDay"] == expected, "{days}");
    host.stop()
}

#[test]
fn settings_are_an_organisations_own_and_survive_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let host = Host::start(&data, &[])?;
    let (admin, settings) = (host.keys().admin.clone(), "/v1/plugins/chainpatrol/settings");
    let at = "2024-02-01T00:00:00Z";
    write(&host, "soc.threats", &["status:bad", "type:URL", "brand:shop"], &json!([[at, 4]]))?;
    write(
        &host,
        "soc.threats",
        &["status:bad", "type:URL", "brand:shop", "deleted:true"],
        &json!([[at, 50]]),
    )?;
    let put = |given: Value| host.as_admin("PUT", settings).json(&json!({ "settings": given })).send();
    let shown = expect_json(host.as_admin("GET", settings).send()?, 200)?;
    ensure!(shown["effective"]["threats_metric"] == "chainpatrol.threats", "{shown}");
    for (wrong, named) in [
        (json!({"brands_metrics": "yes"}), "settings.brands_metrics"),
        (json!({"threats": "soc.threats"}), "settings.threats"),
        (json!({"type_tag": "status"}), "settings.type_tag"),
        (json!({"threats_metric": "soc.threats{*}"}), "settings.threats_metric"),
    ] {
        let refused = expect_json(put(wrong)?, 400)?;
        ensure!(refused.to_string().contains(named), "{refused} should name {named}");
    }
    let given = json!({"threats_metric": "soc.threats", "blocked_statuses": ["BAD"], "brands_metrics": true});
    let shown = expect_json(put(given.clone())?, 200)?;
    ensure!(shown["settings"] == given && shown["effective"]["status_tag"] == "status", "{shown}");
    let shop = [("brandSlug", "shop")];
    ensure!(ask(&host, &shop, 200)?["metrics"]["newThreats"] == 4);
    ensure!(ask(&host, &[("brandSlug", "other")], 404)?["error"]["message"] == "Brand not found");

    let operator = &host.keys().operator;
    let other = host.stranger()?;
    let theirs = expect_json(host.as_key(&other, "GET", settings).send()?, 200)?;
    ensure!(theirs["settings"] == json!({}), "{theirs}");
    let asked = host.request_with("GET", PATH, &shop).header("X-API-KEY", &other).send()?;
    ensure!(expect_json(asked, 400)?["error"]["code"] == "BAD_REQUEST");
    ensure!(
        host.as_key(operator, "GET", settings).send()?.status() == 403,
        "the operator has no organisation"
    );

    host.kill()?;
    let host = Host::start(&data, &[])?;
    let asked = host.request_with("GET", PATH, &shop).header("X-API-KEY", &admin).send()?;
    ensure!(expect_json(asked, 200)?["metrics"]["newThreats"] == 4);
    let reset = host.as_key(&admin, "PUT", settings).json(&json!({ "settings": {} })).send()?;
    ensure!(expect_json(reset, 200)?["settings"] == json!({}));
    let asked = host.request_with("GET", PATH, &[]).header("X-API-KEY", &admin).send()?;
    ensure!(expect_json(asked, 200)?["metrics"]["newThreats"] == 0);
    host.stop()
}
