//! The page of alerts, and what is done about incidents: by callers, and by the links of notifications.

use std::time::Duration;

use bellwether_front::FrontSettings;
use bellwether_kernel::Timestamp;
use serde_json::{Value, json};

use crate::pages::Browser;
use crate::support::{Host, NOW, SLOWLY, playbook};

#[tokio::test]
async fn the_page_of_alerts_shows_what_the_keys_organisation_has() {
    let host = Host::new().await;
    let monitor = json!({
        "name": "load", "kind": "threshold", "query": "avg:load{*} by {host}", "channels": ["mail"],
        "thresholds": {"comparator": ">", "critical": 90},
    });
    assert_eq!(host.ask("POST", "/v1/monitors", &host.admin, monitor).await.status, 201);
    let mute = json!({"scope": {"monitors": ["load"]}, "reason": "a new release"});
    assert_eq!(host.ask("POST", "/v1/mutes", &host.write, mute).await.status, 201);
    // Nobody mutes everything by leaving something out.
    for (mute, field) in [
        (json!({"reason": "a new release"}), "scope"),
        (json!({"scope": {"tags": {}}}), "scope"),
        (json!({"scope": {"tags": {"host": "a"}}, "everything": true}), "everything"),
        (json!({"everything": true}), "end"),
        (json!({"everything": true, "until_deleted": true, "end": "2999-01-01"}), "until_deleted"),
    ] {
        let refused = host.ask("POST", "/v1/mutes", &host.write, mute).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["errors"][0]["field"]), (400, &json!(field)));
    }
    let shown = Browser::new(&host, &host.read).await.open("/alerts").await;
    for part in [
        "<h2>Open incidents</h2>",
        ">load</a></td><td data-column=\"Kind\">threshold</td>",
        ">load</td><td data-column=\"Lasts\">until it is deleted</td>",
        ">a new release</td>",
        "Dead letters",
        "none",
        " on this host in the last minute",
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
}

#[tokio::test]
async fn a_trial_of_routes_takes_what_is_not_given_from_the_monitors_it_names() {
    let host = Host::new().await;
    let monitor = json!({
        "name": "load", "kind": "threshold", "query": "avg:load{*} by {host}", "channels": ["mail"],
        "thresholds": {"comparator": ">", "critical": 90}, "severity": "critical", "labels": {"team": "web"},
    });
    assert_eq!(host.ask("POST", "/v1/monitors", &host.admin, monitor).await.status, 201);
    let rules = json!({"rules": [
        {"match": {"severity": "critical", "labels": {"team": "web"}, "monitors": ["1"]}, "channels": ["web"]},
        {"match": {"severity": "high"}, "channels": ["pager"]},
    ]});
    let put = host.ask("PUT", "/v1/routes/rules", &host.admin, rules).await;
    assert_eq!(put.json()["warnings"].as_array().map(Vec::len), Some(2), "{}", put.text());
    assert_eq!(put.json(), host.get("/v1/routes/rules", &host.read).await.json());
    for (asked, channels, passed_over) in [
        (json!({}), json!([]), json!(["pager"])),
        (json!({"severity": "low"}), json!([]), json!([])),
        (json!({"monitors": ["load"]}), json!(["mail"]), json!(["web", "pager"])),
        (
            json!({"monitors": ["1"], "severity": "high", "channels": ["own"]}),
            json!(["own"]),
            json!(["pager"]),
        ),
        (json!({"monitors": ["load"], "labels": {"team": "db"}}), json!(["mail"]), json!(["pager"])),
    ] {
        let routed = host.ask("POST", "/v1/routes/test", &host.read, asked.clone()).await.json();
        assert_eq!(
            (&routed["channels"], &routed["passed_over"]),
            (&channels, &passed_over),
            "{asked}: {routed}"
        );
    }
    let refused =
        host.ask("POST", "/v1/routes/test", &host.read, json!({"monitors": ["load", "nope"]})).await;
    let problem = refused.problem(400, "invalid");
    assert_eq!(
        (&problem["errors"][0]["field"], &problem["errors"][0]["value"]),
        (&json!("monitors[1]"), &json!("nope"))
    );
}

/// A host with an incident of a monitor that lets a playbook be started by link. Gives the incident's id and the links its
/// channels would be told: label and path.
pub(crate) async fn incident() -> (Host, String, Vec<(String, String)>) {
    incident_on(FrontSettings::default()).await
}

/// The same of a host with other settings.
async fn incident_on(settings: FrontSettings) -> (Host, String, Vec<(String, String)>) {
    let public_url = Some("https://bell.example".to_owned());
    let host = Host::with(FrontSettings { public_url, ..settings }).await;
    for document in [
        playbook("heard", "alert", "{{ trigger.title }}"),
        playbook("restart", "manual", "{{ trigger.inputs.monitor }} by {{ trigger.inputs.by }}"),
    ] {
        assert_eq!(host.ask("POST", "/v1/playbooks", &host.admin, document).await.status, 201);
    }
    let time = Timestamp::parse(NOW).unwrap().as_milliseconds() - 30_000;
    let series = json!({"series": [{"metric": "load", "tags": ["host:web-1"], "points": [[time, 99.0]]}]});
    assert_eq!(host.ask("POST", "/v1/series", &host.write, series).await.status, 200);
    let monitor = json!({
        "name": "load", "title": "<Load>", "kind": "threshold", "query": "avg:load{*} by {host}", "window": "1m",
        "new_group_delay": "0s", "thresholds": {"comparator": ">", "critical": 90},
        "actions": [
            {"name": "restart", "label": "Restart <it>", "playbook": "restart", "by_link": true},
            {"name": "say", "app": "echo", "inputs": {"text": "hello"}},
            {"name": "drawl", "app": "echo", "inputs": {"text": SLOWLY}},
        ],
        "links": [{"name": "runbook", "url": "https://wiki.example/load"}],
    });
    assert_eq!(host.ask("POST", "/v1/monitors", &host.admin, monitor).await.status, 201);
    let run = loop {
        let runs = host.get("/v1/runs?playbook=heard&state=succeeded", &host.read).await.json();
        if let Some(run) = runs["items"].as_array().and_then(|runs| runs.first()) {
            let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
            break host.get(&path, &host.read).await.json();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let text = |text: &Value| text.as_str().unwrap().to_owned();
    let path = |url: String| url.strip_prefix("https://bell.example").unwrap().to_owned();
    let links = run["trigger"]["links"].as_array().unwrap().iter();
    let links = links.map(|link| (text(&link["label"]), path(text(&link["url"])))).collect();
    (host, text(&run["trigger"]["incident"]), links)
}

#[tokio::test]
async fn a_page_says_what_came_of_an_action_though_it_takes_longer_than_a_request_may() {
    let (host, id, _) = incident_on(FrontSettings { request_seconds: 1, ..FrontSettings::default() }).await;
    let browser = Browser::new(&host, &host.write).await;
    let page = format!("/alerts?incident={id}");
    let then = browser.fill_in(&page, &[("do", "act"), ("action", "drawl")]).await;
    assert!(then.contains("drawl succeeded"), "{then}");
}

#[tokio::test]
async fn a_link_is_counted_and_does_nothing_until_it_is_confirmed() {
    let (host, id, links) = incident().await;
    let labels: Vec<&str> = links.iter().map(|(label, _)| label.as_str()).collect();
    assert_eq!(labels, ["Incident", "runbook", "Restart <it>"]);
    let (page, runbook, restart) = (&links[0].1, &links[1].1, &links[2].1);
    assert_eq!(*page, format!("/alerts?incident={id}"));
    for _ in 0..2 {
        let followed = host.get(runbook, "").await;
        assert_eq!(
            (followed.status.as_u16(), followed.header("location")),
            (302, "https://wiki.example/load")
        );
        assert_eq!(followed.header("cache-control"), "no-store");
    }
    host.ask("HEAD", runbook, "", Value::Null).await;
    let asked = host.get(restart, "").await;
    assert_eq!(asked.status, 200);
    for part in ["&lt;Load&gt;: host:web-1", "<button>Restart &lt;it&gt;</button>", "method=\"post\""] {
        assert!(asked.text().contains(part), "no {part} in {}", asked.text());
    }
    let runs = host.get("/v1/runs?playbook=restart", &host.read).await.json();
    assert_eq!(runs["items"], json!([]), "to follow a link does nothing");

    assert!(host.ask("POST", restart, "", Value::Null).await.text().contains("done"));
    let path = format!("/v1/incidents/{id}");
    let offered = host.get(&format!("{path}/actions"), &host.read).await.json();
    assert_eq!((&offered["actions"][0]["clicks"], &offered["links"][0]["clicks"]), (&json!(1), &json!(2)));
    let trace = host.get(&format!("{path}/trace"), &host.read).await.json();
    let notes: Vec<_> = trace["items"].as_array().unwrap().iter().rev().take(2).collect();
    assert_eq!((&notes[1]["what"], &notes[1]["by"]), (&json!("acting"), &json!("a link")), "{trace}");
    assert!(notes[0]["text"].as_str().unwrap().starts_with("restart succeeded, run "), "{trace}");

    let (before, after) = restart.split_at(restart.len() - 20);
    let forged = format!("{before}{}{}", if after.starts_with('A') { 'B' } else { 'A' }, &after[1..]);
    for path in ["/a/x", &forged, "/a/"] {
        assert_eq!(host.get(path, "").await.status, 404, "{path}");
    }
    let browser = Browser::new(&host, &host.read).await;
    let shown = browser.open(page).await;
    let linked = "<a href=\"https://wiki.example/load\" rel=\"noopener noreferrer\">";
    for part in ["<h1>&lt;Load&gt;: host:web-1</h1>", ">restart</td>", linked, "a link", "acted"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    let listed = browser.open("/alerts").await;
    assert!(
        listed.contains(&format!("<a href=\"/alerts?incident={id}\">&lt;Load&gt;: host:web-1</a>")),
        "{listed}"
    );
}

#[tokio::test]
async fn the_events_near_an_incident_are_shown_to_callers_and_on_the_page() {
    let (host, id, _) = incident().await;
    let ago = |minutes: i64| Timestamp::parse(NOW).unwrap().saturating_add(-minutes * 60_000).to_string();
    let events = json!({"events": [
        {"time": ago(10), "title": "Deployed <1.4>", "message": "by ada", "service": "shop",
         "tags": ["host:web-1", "category:deployments"]},
        {"time": ago(5), "title": "Of another", "host": "web-2"},
        {"time": ago(90), "title": "Too early", "host": "web-1"},
    ]});
    assert_eq!(host.ask("POST", "/v1/events", &host.write, events).await.status, 200);
    let suppress = json!({"name": "Maintenance", "kind": "suppress", "scope": {"tags": {"host": "web-1"}},
        "start": ago(40), "end": "2200-01-01T00:00:00Z"});
    assert_eq!(host.ask("POST", "/v1/calendar", &host.write, suppress).await.status, 201);
    let path = format!("/v1/incidents/{id}/events");
    let found = host.get(&path, &host.read).await.json();
    assert_eq!((&found["complete"], &found["kept"]), (&json!(true), &json!(false)), "{found}");
    // What lasts at the first breach is nearest.
    let [maintenance, deployed] = found["items"].as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!((&deployed["title"], &deployed["event"]), (&json!("Deployed <1.4>"), &json!(1)));
    assert_eq!((&deployed["category"], &deployed["message"]), (&json!("deployments"), &json!("by ada")));
    assert_eq!(deployed["tags"], json!(["service:shop", "host:web-1", "category:deployments"]));
    assert!(
        deployed["after"].as_i64().is_some_and(|after| after < 0) && deployed.get("ended").is_none(),
        "{deployed}"
    );
    assert_eq!((&maintenance["title"], &maintenance["calendar_entry"]), (&json!("Maintenance"), &json!(1)));
    assert_eq!(maintenance["source"], "calendar");
    let shown = Browser::new(&host, &host.read).await.open(&format!("/alerts?incident={id}")).await;
    for part in ["<h2>Events</h2>", ">Deployed &lt;1.4&gt;</td>", "m before</td>", ">Maintenance</td>"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    assert!(!shown.contains("Of another") && !shown.contains("Too early"), "{shown}");
    host.get(&path, &host.stranger).await.problem(404, "not-found");
    let broken = json!({
        "name": "broken", "kind": "threshold", "query": "avg:load{*}", "events": {"query": "(title:a"},
        "thresholds": {"comparator": ">", "critical": 90},
    });
    let problem = host.ask("POST", "/v1/monitors", &host.admin, broken).await.problem(400, "invalid");
    assert!(problem["errors"][0]["field"].as_str().unwrap().starts_with("events.query (line 1"), "{problem}");
}

#[tokio::test]
async fn a_caller_does_what_the_monitor_names_and_the_trace_says_so() {
    let (host, id, _) = incident().await;
    let act = async |name: &str| {
        host.ask("POST", &format!("/v1/incidents/{id}/actions/{name}?wait"), &host.write, Value::Null).await
    };
    let restarted = act("restart").await;
    assert_eq!(restarted.status, 200, "{}", restarted.text());
    let run = restarted.json()["run"].as_str().unwrap().to_owned();
    let run = host.get(&format!("/v1/runs/{run}"), &host.read).await.json();
    assert_eq!(run["steps"][0]["outputs"]["text"], "load by Write", "{run}");
    assert_eq!(run["triggered_by"]["incident"], id, "{run}");
    let said = act("say").await.json();
    assert_eq!(
        (&said["state"], &said["text"]),
        (&json!("succeeded"), &json!("{\"text\":\"hello\"}")),
        "{said}"
    );
    act("reboot").await.problem(404, "not-found");
    let resolved = host.ask("POST", &format!("/v1/incidents/{id}/resolve"), &host.write, Value::Null).await;
    assert_eq!(resolved.json()["close_reason"], "resolved", "{}", resolved.text());
    act("restart").await.problem(409, "conflict");
}

#[tokio::test]
async fn a_list_of_what_a_monitor_or_a_channel_did_is_refused_where_there_is_none_of_that_name() {
    let host = Host::new().await;
    for (path, field) in
        [("/v1/incidents?monitor=nope", "monitor"), ("/v1/deliveries?channel=nope", "channel")]
    {
        let problem = host.get(path, &host.read).await.problem(400, "invalid");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        assert_eq!(problem["errors"][0]["value"], "nope", "{problem}");
    }
    let monitor = json!({
        "name": "load", "kind": "threshold", "query": "avg:load{*} by {host}",
        "thresholds": {"comparator": ">", "critical": 90},
    });
    assert_eq!(host.ask("POST", "/v1/monitors", &host.admin, monitor).await.status, 201);
    let none = host.get("/v1/incidents?monitor=load", &host.read).await.json();
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn a_routing_table_is_kept_without_its_byte_order_mark() {
    let host = Host::new().await;
    let table = json!({"csv": "\u{feff}country,channels\nde,ops\n"});
    let put = host.ask("PUT", "/v1/routes/tables/countries", &host.admin, table).await;
    assert_eq!(put.status, 201);
    let shown = host.get("/v1/routes/tables/countries", &host.read).await.json();
    assert_eq!(shown["csv"], "country,channels\nde,ops\n");
}

#[tokio::test]
async fn a_calendar_entry_made_within_its_night_is_active_and_one_that_is_not_says_when_it_begins() {
    let host = Host::new().await;
    let entry =
        |repeat: Value| json!({"name": "n", "kind": "suppress", "everything": true, "repeat": repeat});
    let always = json!({"zone": "UTC", "rule": "FREQ=DAILY", "from": "00:00", "lasts": "2d"});
    let made = host.ask("POST", "/v1/calendar", &host.write, entry(always)).await.json();
    assert_eq!((&made["active"], made.get("begins")), (&json!(true), None), "{made}");
    let seldom =
        json!({"zone": "UTC", "rule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "from": "00:00", "to": "00:01"});
    let made = host.ask("POST", "/v1/calendar", &host.write, entry(seldom)).await.json();
    assert!(made["begins"].as_str().unwrap().contains("-02-29T00:00:00"), "{made}");
    let never =
        json!({"zone": "UTC", "rule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=31", "from": "00:00", "to": "00:01"});
    let refused = host.ask("POST", "/v1/calendar", &host.write, entry(never)).await.problem(400, "invalid");
    assert_eq!(refused["errors"][0]["field"], "repeat.rule", "{refused}");
}
