//! An organisation is deleted with everything it has, in every space of the store, and its neighbour keeps everything.

use std::collections::BTreeSet;
use std::time::Duration;

use bellwether_access::AT_REST;
use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_store::{Batch, Crash, Key, MemoryStore, Owned, Row, Space, Store};
use http::Method;
use serde_json::{Value, json};

use crate::speaker;
use crate::support::{Host, NOW, playbook};

const OWN: OrganisationId = OrganisationId(1);
const OTHER: OrganisationId = OrganisationId(2);

/// Spaces that are filled by hand: what is there only for a moment, or takes several hosts, hours or plugins to come about.
/// All others are filled by the host itself.
const BY_HAND: &[Space] = &[
    Space::PluginState,
    Space::PluginStateSize,
    Space::PluginSettings,
    Space::RunQueue,
    Space::RunEffect,
    Space::PlaybookHealth,
    Space::PlaybookGate,
    Space::PlaybookQueue,
    Space::PlaybookWatch,
    Space::MonitorDue,
    Space::MonitorState,
    Space::DetectorState,
    Space::IncidentInterval,
    Space::Merging,
    Space::Merged,
    Space::MergedInto,
    Space::IncidentAct,
    Space::IncidentClick,
    Space::IncidentEvents,
    Space::Telling,
    Space::Delivery,
    Space::DeliveryWaiting,
    Space::DeliveryOrder,
    Space::DeliveryAttempt,
    Space::DeliveryEnded,
    Space::FormatterMemory,
    Space::Channel,
    Space::CalendarVersion,
    Space::FeedbackCount,
    Space::Feedback,
];

fn of(rows: &[Row], id: OrganisationId) -> Vec<Row> {
    rows.iter().filter(|(key, _)| key.organisation() == Some(id.0)).cloned().collect()
}

/// A row that the space may have of an organisation; nothing reads it.
fn by_hand(space: Space, id: OrganisationId) -> Key {
    let key = Key::new(space);
    match space.owned() {
        Owned::First => key.number(id.0).fixed(b"by hand"),
        Owned::BehindNumber => key.number(u64::MAX).number(id.0).fixed(b"by hand"),
        Owned::BehindText => key.text("by hand").number(id.0),
        owned => panic!("{space:?} is {owned:?}"),
    }
}

/// Gives the organisation of an admin something of nearly everything.
async fn fill(host: &Host, admin: &str) {
    let ask = async |method: &str, path: &str, body: Value| {
        let answer = host.ask(method, path, admin, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
        answer.json()
    };
    let now = Timestamp::parse(NOW).unwrap();
    let ago = |minutes: i64| now.saturating_add(-minutes * 60_000).to_string();
    // Metrics and series.
    for name in ["logins", "gone"] {
        let metric = json!({"name": name, "data_type": "sum", "interval": "daily", "keyed": true});
        ask("POST", "/v1/metrics", metric).await;
        let samples = json!({"samples": [{"metric": name, "key": "a", "value": 3}]});
        let written = host.once(&format!("one-{name}"), Method::POST, "/v1/samples", admin, &samples).await;
        assert_eq!(written.status, 200, "{}", written.text());
    }
    ask("DELETE", "/v1/metrics/gone", Value::Null).await;
    let time = now.as_milliseconds() - 30_000;
    let series = json!({"series": [{"metric": "load", "tags": ["host:web-1"], "points": [[time, 99.0]]}]});
    ask("POST", "/v1/series", series).await;
    ask("PUT", "/v1/series/metrics/load", json!({"unit": "percent", "keep_days": 30})).await;
    // Events and logs.
    ask("POST", "/v1/events", json!({"events": [{"time": ago(10), "title": "Deployed"}]})).await;
    ask("POST", "/v1/logs", json!({"logs": [{"time": ago(10), "message": "started"}]})).await;
    ask("PUT", "/v1/retention", json!({"logs_days": 3})).await;
    // Plugins and playbooks.
    let installed = host.post_component("/v1/plugins", admin, speaker::echo("1.0.0", true)).await;
    assert_eq!(installed.status, 201, "{}", installed.text());
    ask("POST", "/v1/playbooks", playbook("heard", "alert", "{{ trigger.title }}")).await;
    let hook = ask("POST", "/v1/playbooks", playbook("hook", "webhook", "x")).await;
    let every = json!({"name": "every", "trigger": {"type": "every", "interval": "9h"},
        "steps": [{"id": "wait", "delay": "9h"}]});
    ask("POST", "/v1/playbooks", every).await;
    let request = http::Request::post(hook["webhook_url"].as_str().unwrap());
    let request = request.header("content-type", "text/plain").body("x".repeat(100_000).into());
    assert_eq!(host.send(request.unwrap()).await.status, 202);
    let manual =
        json!({"name": "manual", "trigger": {"type": "manual"}, "steps": [{"id": "wait", "delay": "9h"}]});
    ask("POST", "/v1/playbooks", manual).await;
    ask("POST", "/v1/playbooks/manual/runs", Value::Null).await;
    // Alerts.
    ask("PUT", "/v1/secrets/token", json!({"value": "hush", "hosts": ["https://a.example"]})).await;
    ask("PUT", "/v1/routes/rules", json!({"rules": [{"match": {"severity": "high"}, "channels": ["mail"]}]}))
        .await;
    ask("PUT", "/v1/routes/tables/countries", json!({"csv": "country,channels\nde,ops\n"})).await;
    let suppress = json!({"name": "night", "kind": "suppress", "scope": {"tags": {"host": "web-2"}},
        "start": ago(40), "end": "2200-01-01T00:00:00Z"});
    ask("POST", "/v1/calendar", suppress).await;
    ask("POST", "/v1/mutes", json!({"scope": {"monitors": ["quiet"]}, "reason": "a new release"})).await;
    let monitor = json!({"name": "load", "kind": "threshold", "query": "avg:load{*} by {host}", "window": "1m",
        "new_group_delay": "0s", "thresholds": {"comparator": ">", "critical": 90}});
    ask("POST", "/v1/monitors", monitor).await;
    let incident = loop {
        let incidents = ask("GET", "/v1/incidents", Value::Null).await;
        if let Some(incident) = incidents["items"].as_array().and_then(|incidents| incidents.first()) {
            break incident["id"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    ask("POST", &format!("/v1/incidents/{incident}/comments"), json!({"text": "looking"})).await;
    // Nothing more becomes of it, however late it is.
    ask("POST", "/v1/monitors/load/pause", Value::Null).await;
    // What it started by itself is through.
    loop {
        let runs = ask("GET", "/v1/runs?state=succeeded", Value::Null).await;
        if runs["items"].as_array().is_some_and(|runs| runs.len() == 2) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A host whose two organisations have something in every space, the first suspended and being deleted; and what the store had
/// just before that.
async fn deleting() -> (Host, Vec<Row>) {
    let host = Host::new().await;
    for admin in [&host.admin, &host.stranger] {
        fill(&host, admin).await;
    }
    host.access.flush_last_uses().await.unwrap();
    let suspended = host.ask("POST", "/v1/organisations/own/suspend", &host.operator, Value::Null).await;
    assert_eq!(suspended.status, 200);
    let mut batch = Batch::new();
    for space in BY_HAND {
        for id in [OWN, OTHER] {
            batch.put(by_hand(*space, id), "by hand");
        }
    }
    host.store.commit(batch).await.unwrap();
    let before = host.store.rows().await.unwrap();
    // Of every space whose keys say whose a row is there is one of each.
    for id in [OWN, OTHER] {
        let there: BTreeSet<u8> =
            of(&before, id).iter().filter_map(|(key, _)| key.space()).map(|space| space as u8).collect();
        let missing: Vec<_> = Space::ALL
            .iter()
            .filter(|space| !matches!(space.owned(), Owned::Elsewhere | Owned::Host))
            // What incidents did is acted on at once, and that one was deleted is not told of who is there.
            .filter(|space| !matches!(space, Space::PlaybookIncident | Space::OrganisationGone))
            .filter(|space| !there.contains(&(**space as u8)))
            .collect();
        assert!(missing.is_empty(), "{id} has nothing in {missing:?}");
    }
    let deleted = host.ask("DELETE", "/v1/organisations/own", &host.operator, Value::Null).await;
    assert_eq!(deleted.status, 202, "{}", deleted.text());
    assert!(deleted.json()["deleting"].is_string() && deleted.json()["suspended"].is_string());
    (host, before)
}

/// Checks that nothing is left of the first organisation, and that of the others nothing is other than it was.
async fn check_gone(store: &MemoryStore, before: &[Row]) {
    let after = store.rows().await.unwrap();
    assert_eq!(of(&after, OTHER), of(before, OTHER), "the neighbour's rows are byte for byte as they were");
    let gone = Key::new(Space::OrganisationGone).number(OWN.0);
    for (key, value) in &after {
        let space = key.space().unwrap();
        assert!(key.organisation() != Some(OWN.0) || *key == gone, "{key:?}");
        // What keys do not tell is either as it was, or tells of the host.
        let is_as_before = before.contains(&(key.clone(), value.clone()));
        let is_of_host = space.owned() == Owned::Host || key.organisation() == Some(0);
        let is_packed =
            matches!(space, Space::SeriesSegment | Space::RecordSegment) || space == Space::Counter;
        assert!(is_as_before || is_of_host || is_packed || *key == gone, "{key:?}");
    }
    // Both had the same, and so half is left.
    let count = |rows: &[Row], space| rows.iter().filter(|(key, _)| key.space() == Some(space)).count();
    for (space, left) in [(Space::AccessKeyUse, 2), (Space::Webhook, 1), (Space::OrganisationName, 1)] {
        let (before, after) = (count(before, space), count(&after, space));
        assert!(after <= left && after < before, "{space:?}: {after} of {before}");
    }
}

#[tokio::test]
async fn of_a_deleted_organisation_no_row_is_left_but_that_it_was_and_its_neighbour_keeps_everything() {
    let (host, before) = deleting().await;
    let shown = host.get("/v1/organisations/own", &host.operator).await.json();
    assert!(shown["deleting"].is_string(), "{shown}");
    assert_eq!(host.access.erase_deleted(&host.keepers).await.unwrap(), 0, "not before nothing is at work");
    host.get("/v1/whoami", &host.admin).await.problem(403, "suspended");
    host.ask("POST", "/v1/organisations/own/resume", &host.operator, Value::Null)
        .await
        .problem(409, "conflict");
    let again = json!({"name": "own"});
    host.ask("POST", "/v1/organisations", &host.operator, again.clone()).await.problem(409, "conflict");
    host.clock.advance(AT_REST);
    assert_eq!(host.access.erase_deleted(&host.keepers).await.unwrap(), 1);
    check_gone(&host.store, &before).await;

    host.get("/v1/organisations/own", &host.operator).await.problem(404, "not-found");
    assert_eq!(host.get("/v1/whoami", &host.admin).await.status, 401);
    let audit = host.get("/v1/audit?action=organisation", &host.operator).await.json();
    let told: Vec<_> =
        audit["items"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(told[..3], ["organisation.deleted", "organisation.delete", "organisation.suspend"], "{audit}");
    // The neighbour's data answers, from memory as after a restart.
    let mut host = host;
    for restarts in [false, true] {
        if restarts {
            host = host.reopened(host.store.restart()).await;
        }
        let load = host.get("/v1/series/metrics", &host.stranger).await.json();
        assert_eq!(load["items"].as_array().map(Vec::len), Some(1), "{load}");
        let logs = host.get("/v1/logs", &host.stranger).await.json();
        assert_eq!(logs["items"].as_array().map(Vec::len), Some(1), "{logs}");
        assert_eq!(host.get("/v1/plugins/echo", &host.stranger).await.status, 200);
        assert_eq!(host.get("/v1/playbooks/hook", &host.stranger).await.status, 200);
        let incidents = host.get("/v1/incidents", &host.stranger).await.json();
        assert_eq!(incidents["items"].as_array().map(Vec::len), Some(1), "{incidents}");
    }
}

#[tokio::test]
async fn the_name_of_a_deleted_organisation_is_anothers_who_finds_nothing_of_it() {
    let (host, before) = deleting().await;
    host.clock.advance(AT_REST);
    assert_eq!(host.access.erase_deleted(&host.keepers).await.unwrap(), 1);
    let made = host.ask("POST", "/v1/organisations", &host.operator, json!({"name": "own"})).await;
    assert_eq!((made.status.as_u16(), &made.json()["id"]), (201, &json!(3)), "{}", made.text());
    let key = json!({"name": "first", "role": "admin"});
    let key = host.ask("POST", "/v1/organisations/own/keys", &host.operator, key).await.json();
    let key = key["token"].as_str().unwrap();
    for list in [
        "/v1/metrics",
        "/v1/series/metrics",
        "/v1/events",
        "/v1/logs",
        "/v1/monitors",
        "/v1/incidents",
        "/v1/mutes",
        "/v1/calendar",
        "/v1/channels",
        "/v1/deliveries",
        "/v1/secrets",
        "/v1/playbooks",
        "/v1/runs",
    ] {
        let found = host.get(list, key).await;
        assert_eq!(
            (found.status.as_u16(), &found.json()["items"]),
            (200, &json!([])),
            "{list}: {}",
            found.text()
        );
    }
    assert_eq!(of(&host.store.rows().await.unwrap(), OTHER), of(&before, OTHER));
}

#[tokio::test]
async fn a_deletion_that_crashes_goes_on_with_the_next_start() {
    let (host, before) = deleting().await;
    host.clock.advance(AT_REST);
    let mut store = host.store.restart();
    let mut crashes = 0;
    loop {
        // Some commits of each life, those of a start among them.
        let crashing = store.restart_with_crashes(Crash::After(12));
        let life = host.reopened(crashing).await;
        let done = life.access.erase_deleted(&life.keepers).await;
        store = life.store.restart();
        match done {
            Ok(gone) => {
                assert_eq!(gone, 1);
                break;
            }
            Err(_) => crashes += 1,
        }
        let is_there = store
            .rows()
            .await
            .unwrap()
            .iter()
            .any(|(key, _)| *key == Key::new(Space::Organisation).number(OWN.0));
        assert!(is_there, "it is there until nothing is left");
    }
    assert!(crashes > 3, "{crashes}");
    check_gone(&store, &before).await;
}

#[tokio::test]
async fn what_is_not_suspended_or_not_there_is_not_deleted_and_only_by_the_operator() {
    let host = Host::new().await;
    let delete = async |name: &str, key: &str| {
        host.ask("DELETE", &format!("/v1/organisations/{name}"), key, Value::Null).await
    };
    let refused = delete("own", &host.operator).await.problem(409, "conflict");
    assert!(refused["detail"].as_str().unwrap().contains("suspend it first"), "{refused}");
    delete("none", &host.operator).await.problem(404, "not-found");
    for key in [&host.read, &host.write, &host.admin, &host.stranger] {
        delete("own", key).await.problem(403, "forbidden");
    }
    assert_eq!(delete("own", "").await.status, 401);
    let shown = host.get("/v1/organisations/own", &host.operator).await.json();
    assert!(shown.get("deleting").is_none(), "{shown}");
}
