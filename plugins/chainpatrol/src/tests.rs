//! The dialect over HTTP, on a host in memory whose answers are worked out from a list of events.

use std::collections::BTreeMap;

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::{AuthFailure, Response};
use bellwether_sdk::host::{Clock as _, SeriesWrite as _};
use bellwether_sdk::series::{Line, TaggedSamples};
use bellwether_sdk::testing::{Client, MemoryHost};
use serde_json::{Value, json};

use super::*;

const PATH: &str = "/api/v2/organization/metrics";

/// Metric, day of April 2024, status, type, brand, mark of deletion, how many.
type Event = (&'static str, u8, &'static str, &'static str, &'static str, &'static str, f64);

const EVENTS: &[Event] = &[
    ("reports", 1, "", "", "one", "", 3.0),
    ("reports", 2, "", "", "", "", 1.0),
    ("reports", 2, "", "", "one", "true", 50.0),
    ("threats", 1, "BLOCKED", "URL", "one", "", 2.0),
    ("threats", 2, "approved", "url", "two", "", 5.0),
    ("threats", 2, "AUTO_APPROVED", "TWITTER", "one", "", 4.0),
    ("threats", 3, "BLOCKED", "TELEGRAM", "one", "", 1.0),
    ("threats", 3, "BLOCKED", "ADDRESS", "two", "false", 4.0),
    ("threats", 3, "BLOCKED", "", "two", "", 1.0),
    ("threats", 3, "WATCHLISTED", "URL", "one", "", 7.0),
    ("threats", 3, "REJECTED", "URL", "one", "", 11.0),
    ("threats", 3, "BLOCKED", "URL", "one", "TRUE", 100.0),
    ("takedowns", 2, "FILED", "", "one", "", 6.0),
    ("takedowns", 3, "COMPLETED", "", "two", "", 2.5),
];

fn day(day: u8) -> Timestamp {
    format!("2024-04-{day:02}T00:00:00Z").parse().expect("a day")
}

/// A host that answers what the dialect asks of `EVENTS` up to `last`, all brands together or each by itself.
fn host(last: u8) -> MemoryHost {
    let host = MemoryHost::new();
    for metric in ["reports", "threats", "takedowns"] {
        let of: Vec<&Event> = EVENTS.iter().filter(|event| event.0 == metric && event.1 <= last).collect();
        for keys in [&["status", "type", "deleted"][..], &["status", "type", "deleted", "brand"]] {
            let mut groups: BTreeMap<Vec<(String, String)>, BTreeMap<Timestamp, f64>> = BTreeMap::new();
            for (_, at, status, kind, brand, deleted, count) in &of {
                let value = |key: &&str| match *key {
                    "status" => *status,
                    "type" => *kind,
                    "brand" => *brand,
                    _ => *deleted,
                };
                let tags = keys.iter().map(|key| ((*key).to_owned(), value(key).to_owned())).collect();
                *groups.entry(tags).or_default().entry(day(*at)).or_default() += count;
            }
            let line = |(tags, points): (_, BTreeMap<_, _>)| Line {
                metric: Some(format!("chainpatrol.{metric}")),
                tags,
                step: 86_400_000,
                points: points.into_iter().collect(),
            };
            let query = format!("sum:chainpatrol.{metric}{{*}} by {{{}}}.rollup(sum, 86400)", keys.join(","));
            host.answer_query(&query, groups.into_iter().map(line).collect());
        }
        for (_, at, _, _, brand, ..) in of.iter().filter(|event| !event.4.is_empty()) {
            let samples = TaggedSamples::of(format!("chainpatrol.{metric}")).tag(format!("brand:{brand}"));
            host.write_series(&[], [samples.at(day(*at), 1.0)]).expect("they are samples");
        }
    }
    host
}

fn seen(response: &Response) -> (u16, Value) {
    (response.status, serde_json::from_slice(&response.body).expect("JSON"))
}

fn refused(code: &str, message: &str) -> Value {
    json!({"error": {"code": code, "message": message}})
}

#[test]
fn every_number_is_counted_by_what_the_tags_say() {
    let host = host(30);
    let (status, answer) = seen(&Client::new(routes(), &host).get(PATH));
    let expected = json!({
        "metrics": {
            "reports": 4,
            "newThreats": 17,
            "threatsWatchlisted": 7,
            "takedownsFiled": 8.5,
            "takedownsCompleted": 2.5,
            "domainThreats": 7,
            "twitterThreats": 4,
            "telegramThreats": 1,
            "otherThreats": 5,
        },
        "blockedByType": [
            {"type": "URL", "count": 7},
            {"type": "ADDRESS", "count": 4},
            {"type": "TWITTER", "count": 4},
            {"type": "OTHER", "count": 1},
            {"type": "TELEGRAM", "count": 1},
        ],
        "blockedByDay": [
            {"date": "2024-04-01", "count": 2},
            {"date": "2024-04-02", "count": 9},
            {"date": "2024-04-03", "count": 6},
        ],
    });
    assert_eq!((status, answer), (200, expected));
}

#[test]
fn a_brand_is_asked_for_behind_its_flag_and_is_never_watchlisted() {
    let host = host(30);
    let ask = format!("{PATH}?brandSlug=one");
    let flag = refused("BAD_REQUEST", "brandSlug requires the brands-metrics feature flag");
    assert_eq!(seen(&Client::new(routes(), &host).get(&ask)), (400, flag));
    let client = Client::new(routes(), &host).settings(&json!({"brands_metrics": true})).expect("they fit");
    let (status, answer) = seen(&client.get(&ask));
    assert_eq!(status, 200);
    let expected = json!({
        "reports": 3, "newThreats": 7, "threatsWatchlisted": 0, "takedownsFiled": 6, "takedownsCompleted": 0,
        "domainThreats": 2, "twitterThreats": 4, "telegramThreats": 1, "otherThreats": 0,
    });
    assert_eq!(answer["metrics"], expected);
    assert_eq!(answer["blockedByDay"][2], json!({"date": "2024-04-03", "count": 1}));
    for unknown in ["three", "on", "one2", "%2A", "ONE"] {
        let answer = seen(&client.get(&format!("{PATH}?brandSlug={unknown}")));
        assert_eq!(answer, (404, refused("NOT_FOUND", "Brand not found")), "{unknown}");
    }
    assert_eq!(seen(&client.get(&format!("{PATH}?brandSlug="))).1["metrics"]["newThreats"], 17);
}

#[test]
fn the_settings_say_which_metrics_and_tags_there_are() {
    let host = MemoryHost::new();
    let line = |tags: &[(&str, &str)], count| Line {
        metric: None,
        tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        step: 86_400_000,
        points: vec![(day(1), count)],
    };
    host.answer_query("sum:soc.reports{*} by {state,kind,gone}.rollup(sum, 86400)", Vec::new());
    let threats = vec![
        line(&[("state", "bad"), ("kind", "site"), ("gone", "")], 1.0),
        line(&[("state", "BAD"), ("kind", "x"), ("gone", "yes")], 2.0),
        line(&[("state", "BLOCKED"), ("kind", "x"), ("gone", "")], 4.0),
    ];
    host.answer_query("sum:soc.threats{*} by {state,kind,gone}.rollup(sum, 86400)", threats);
    let takedowns = vec![
        line(&[("state", "asked"), ("kind", ""), ("gone", "")], 3.0),
        line(&[("state", "drafted"), ("kind", ""), ("gone", "")], 9.0),
    ];
    host.answer_query("sum:soc.takedowns{*} by {state,kind,gone}.rollup(sum, 86400)", takedowns);
    let settings = json!({
        "reports_metric": "soc.reports", "threats_metric": "soc.threats", "takedowns_metric": "soc.takedowns",
        "status_tag": "state", "type_tag": "kind", "deleted_tag": "gone", "deleted_values": ["yes", "1"],
        "blocked_statuses": ["bad"], "filed_statuses": ["Asked"], "domain_types": ["site"],
    });
    let client = Client::new(routes(), &host).settings(&settings).expect("they fit");
    let (status, answer) = seen(&client.get(PATH));
    assert_eq!((status, &answer["metrics"]["takedownsFiled"]), (200, &json!(3)));
    assert_eq!(answer["metrics"]["domainThreats"], 1);
    assert_eq!(answer["blockedByType"], json!([{"type": "SITE", "count": 1}]));
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let host = MemoryHost::new();
    for (settings, name) in [
        (json!({"threats_metric": "a{*} by {b}"}), "threats_metric"),
        (json!({"reports_metric": ""}), "reports_metric"),
        (json!({"brand_takedowns_metric": "1st"}), "brand_takedowns_metric"),
        (json!({"status_tag": "a,b"}), "status_tag"),
        (json!({"brand_tag": "type"}), "brand_tag"),
        (json!({"telegram_types": ["twitter"]}), "telegram_types"),
        (json!({"brands_metrics": "yes"}), "brands_metrics"),
        (json!({"brandTag": "brand"}), "brandTag"),
    ] {
        let wrong = Client::new(routes(), &host).settings(&settings).err();
        assert_eq!(wrong.map(|wrong| wrong.name).as_deref(), Some(name), "{settings}");
    }
}

#[test]
fn a_range_is_inclusive_and_open_where_nothing_is_said() {
    // The host in memory answers every range alike: what it is asked for is seen by reading it directly.
    let host = MemoryHost::new();
    let router = || {
        Router::new().get("/", |host: &MemoryHost, request: &bellwether_sdk::dialect::Request<'_>| {
            let asked = period::asked(host, request)?;
            let shown = asked.map_or("nothing".to_owned(), |(start, end)| format!("{start} {end}"));
            Ok::<_, Failure>(Response::text(200, shown))
        })
    };
    let now = host.now();
    let client = Client::new(router(), &host);
    for (query, expected) in [
        ("", format!("{} {now}", Timestamp::MIN)),
        ("startDate=2024-01-01T00:00:00Z", format!("2024-01-01T00:00:00Z {now}")),
        (
            "startDate=2024-01-01&endDate=2024-01-31",
            "2024-01-01T00:00:00Z 2024-01-31T23:59:59.999Z".to_owned(),
        ),
        ("endDate=2024-01-31T23:59:59.5%2B02:00", format!("{} 2024-01-31T21:59:59.500Z", Timestamp::MIN)),
        ("endDate=2024-01-31T10:00:00+02:00", format!("{} 2024-01-31T08:00:00Z", Timestamp::MIN)),
        ("endDate=2024-01-31T10:00:00", format!("{} 2024-01-31T10:00:00Z", Timestamp::MIN)),
        ("endDate=9999-12-31", format!("{} 9999-12-30T22:00:00Z", Timestamp::MIN)),
        ("startDate=&endDate=", format!("{} {now}", Timestamp::MIN)),
        ("startDate=2030-01-01", "nothing".to_owned()),
        (
            "startDate=2024-01-01T00:00:00Z&endDate=2024-01-01T00:00:00Z",
            "2024-01-01T00:00:00Z 2024-01-01T00:00:00Z".to_owned(),
        ),
    ] {
        let answer = client.get(&format!("/?{query}"));
        assert_eq!(String::from_utf8_lossy(&answer.body), expected, "{query}");
    }
    for wrong in
        ["startDate=yesterday", "endDate=2024-13-01", "endDate=1712620800", "startDate=2024-02-30T00:00:00Z"]
    {
        let (status, answer) = seen(&client.get(&format!("/?{wrong}")));
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("BAD_REQUEST")), "{wrong}");
        assert!(message.starts_with("Invalid date format. Use ISO 8601 format."), "{message}");
    }
    let (status, answer) = seen(&client.get("/?startDate=2024-02-01&endDate=2024-01-31"));
    assert_eq!(status, 400, "{answer}");
}

#[test]
fn nothing_is_zero_and_never_an_error() {
    let host = host(0);
    let (status, answer) = seen(&Client::new(routes(), &host).get(&format!("{PATH}?startDate=2030-01-01")));
    assert_eq!(status, 200);
    assert_eq!(answer["metrics"].as_object().map(serde_json::Map::len), Some(9));
    assert_eq!((&answer["blockedByType"], &answer["blockedByDay"]), (&json!([]), &json!([])));
}

#[test]
fn what_is_refused_is_worded_as_chainpatrol_words_it() {
    let host = MemoryHost::new();
    for failure in [AuthFailure::Missing, AuthFailure::Unknown, AuthFailure::Expired] {
        let answer = seen(&Client::new(routes(), &host).refused(failure).get(PATH));
        assert_eq!(answer, (401, refused("UNAUTHORIZED", "API key with organization access required")));
    }
    let client = Client::new(routes(), &host);
    let response = client.post(PATH, "{}");
    assert_eq!((response.status, &*response.headers[1].value), (405, "GET"));
    assert_eq!(seen(&client.get("/api/v2/elsewhere")).1["error"]["code"], "NOT_FOUND");
    let suspended = AuthFailure::Other("the organisation is suspended".into());
    let answer = seen(&Client::new(routes(), &host).refused(suspended).get(PATH));
    assert_eq!(answer, (403, refused("FORBIDDEN", "the organisation is suspended")));
}
