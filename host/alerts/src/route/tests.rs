//! Where incidents go.

use std::sync::Arc;

use bellwether_access::{Access, HostKey, NewKey, Principal, Role};
use bellwether_kernel::{MonitorId, SeededRandomness, SystemClock};
use bellwether_store::{Batch, MemoryStore, encode};
use serde_json::json;

use super::table::Table;
use super::*;
use crate::AlertError;
use crate::delivery::keys;
use crate::rows;

async fn routes() -> (Routes, Arc<Principal>) {
    let store = Arc::new(MemoryStore::new());
    let (clock, chance) = (Arc::new(SystemClock), Arc::new(SeededRandomness::new(1)));
    let key = HostKey::from_hex(&"5a".repeat(32)).unwrap();
    let access = Arc::new(Access::open(store.clone(), clock.clone(), chance, key).await.unwrap());
    let organisation = access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let key = NewKey { name: "k".into(), role: Role::Admin, expires: None, signing: false };
    let key = access.create_key("host", organisation, key).await.unwrap().key.id;
    let admin = access.principal(&key).unwrap();
    (Routes::new(store, access, clock), admin)
}

/// Channels of these names, as far as routes ask for them.
async fn put_channels(routes: &Routes, admin: &Principal, names: &[&str]) {
    let mut batch = Batch::new();
    for name in names {
        batch.put(keys::channel(admin.organisation, name), Vec::new());
    }
    routes.store.commit(batch).await.unwrap();
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn tables_stand_in_for_the_monitors_own_channels_and_rules_add_to_them() {
    let (routes, admin) = routes().await;
    let there = ["ops-de", "mail", "night", "ops-fr", "hands", "pager", "own", "two", "archive", "new"];
    put_channels(&routes, &admin, &there).await;
    let rules: RouteRules = serde_json::from_value(json!({"rules": [
        {"match": {"labels": {"team": "pay*"}, "severity": "high"}, "channels": ["pager", "own"]},
        {"match": {"monitors": ["m2"]}, "channels": ["two"]},
        {"channels": ["archive"]},
    ]}))
    .unwrap();
    routes.put_rules(&admin, &rules, Some(0)).await.unwrap();
    let csv = "country,channels\nde,ops-de; mail\nfr,ops-fr\nde,night\n";
    routes.put_table(&admin, "countries", RouteMatch::default(), csv, None).await.unwrap();
    let of_critical = RouteMatch { severity: Some(Severity::Critical), ..RouteMatch::default() };
    routes.put_table(&admin, "hosts", of_critical, "host,channels\nweb-1,hands\n", None).await.unwrap();

    let (labels, own) = (pairs(&[("team", "payments")]), vec!["own".to_owned()]);
    let (de, fr, none) =
        (pairs(&[("country", "de"), ("host", "web-1")]), pairs(&[("country", "fr")]), pairs(&[]));
    let monitors = vec!["m1".to_owned()];
    type Case<'a> = (Severity, Vec<Vec<(String, String)>>, &'a [&'a str]);
    let cases: [Case<'_>; 5] = [
        (Severity::Low, vec![none.clone()], &["own", "archive"]),
        (Severity::High, vec![none], &["own", "pager", "archive"]),
        (Severity::Low, vec![de.clone()], &["ops-de", "mail", "night", "archive"]),
        (Severity::Low, vec![de.clone(), fr], &["ops-de", "mail", "night", "ops-fr", "archive"]),
        (Severity::Critical, vec![de], &["ops-de", "mail", "night", "hands", "pager", "own", "archive"]),
    ];
    for (severity, tags, expected) in cases {
        let routed = Routed { labels: &labels, severity, monitors: &monitors, tags: &tags, own: &own };
        assert_eq!(
            routes.of(admin.organisation).await.unwrap().recipients(&routed).channels,
            expected,
            "{severity:?} {tags:?}"
        );
    }

    // What is put is asked from then on.
    routes
        .put_table(&admin, "countries", RouteMatch::default(), "country,channels\nde,new\n", Some(1))
        .await
        .unwrap();
    routes.delete_table(&admin, "hosts").await.unwrap();
    let tags = [pairs(&[("country", "de"), ("host", "web-1")])];
    let routed = Routed {
        labels: &[],
        severity: Severity::Critical,
        monitors: &["m2".to_owned()],
        tags: &tags,
        own: &own,
    };
    assert_eq!(
        routes.of(admin.organisation).await.unwrap().recipients(&routed).channels,
        ["new", "two", "archive"]
    );
    let listed = routes.tables(admin.organisation).await.unwrap();
    assert_eq!(
        listed.iter().map(|table| (table.name.as_str(), table.version)).collect::<Vec<_>>(),
        [("countries", 2)]
    );
    assert_eq!(
        routes.table(admin.organisation, "countries").await.unwrap().csv,
        "country,channels\nde,new\n"
    );
}

#[tokio::test]
async fn channels_of_routes_that_are_not_there_are_passed_over_and_never_leave_an_incident_without_its_own() {
    let (routes, admin) = routes().await;
    put_channels(&routes, &admin, &["ops-de", "pager"]).await;
    let csv = "country,channels\nde,ops-de;nochan\nfr,nochan\n";
    routes.put_table(&admin, "countries", RouteMatch::default(), csv, None).await.unwrap();
    let rules = json!({"rules": [
        {"match": {"severity": "high"}, "channels": ["gone", "pager"]},
        {"match": {"severity": "critical"}, "channels": ["gone"]},
    ]});
    routes.put_rules(&admin, &serde_json::from_value(rules).unwrap(), None).await.unwrap();
    let routes = routes.of(admin.organisation).await.unwrap();
    // What a monitor names is told as ever, there or not.
    let own = vec!["mine".to_owned()];
    type Case<'a> = (&'a str, Severity, &'a [&'a str], &'a [&'a str], bool);
    let cases: [Case<'_>; 4] = [
        ("de", Severity::Low, &["ops-de"], &["nochan"], false),
        ("fr", Severity::Low, &["mine"], &["nochan"], true),
        ("fr", Severity::Critical, &["mine", "pager"], &["nochan", "gone"], true),
        ("it", Severity::Low, &["mine"], &[], false),
    ];
    for (country, severity, channels, passed_over, fell_back) in cases {
        let tags = [pairs(&[("country", country)])];
        let routed = Routed { labels: &[], severity, monitors: &[], tags: &tags, own: &own };
        let Recipients { channels: told, passed_over: passed, fell_back: fell } = routes.recipients(&routed);
        assert_eq!((told, passed, fell), (texts(channels), texts(passed_over), fell_back), "{country}");
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn what_tables_and_rules_name_and_is_not_there_is_said_as_long_as_it_is_not() {
    let (routes, admin) = routes().await;
    let organisation = admin.organisation;
    let mut batch = Batch::new();
    let id = MonitorId(7);
    batch.put(rows::monitor_name(organisation, "cpu"), encode(&rows::MonitorRef(id)));
    batch.put(rows::monitor(organisation, id), Vec::new());
    routes.store.commit(batch).await.unwrap();
    let long = "m".repeat(2_000);
    let matches = RouteMatch { monitors: texts(&["cpu", "7", "8", "nope", &long]), ..RouteMatch::default() };
    let no_channel = r#"there is no channel "nochan": until it is put, nobody is told by it"#;
    let no_monitor =
        |name: &str| format!("there is no monitor {name:?}: until it is put, no incident is of it");
    let mut expected = vec![no_channel.to_owned()];
    expected.extend(["8", "nope", &long].map(no_monitor));
    let csv = "country,channels\nde,nochan\nfr,nochan\n";
    let put = routes.put_table(&admin, "countries", matches, csv, None).await.unwrap();
    assert_eq!(put.warnings, expected);
    let given = json!({"rules": [{"channels": ["nochan"]}, {"match": {"monitors": ["nope"]}, "channels": ["nochan"]}]});
    let given: RouteRules = serde_json::from_value(given).unwrap();
    routes.put_rules(&admin, &given, None).await.unwrap();
    let of_rules = routes.rule_warnings(organisation, &given).await.unwrap();
    let of_second = [no_channel.to_owned(), no_monitor("nope")].map(|text| format!("rules[1]: {text}"));
    assert_eq!(of_rules, [&[format!("rules[0]: {no_channel}")][..], &of_second].concat());

    put_channels(&routes, &admin, &["nochan"]).await;
    assert_eq!(routes.tables(organisation).await.unwrap()[0].warnings, expected[1..]);
    assert_eq!(routes.table(organisation, "countries").await.unwrap().record.warnings, expected[1..]);
    assert_eq!(routes.rule_warnings(organisation, &given).await.unwrap(), of_second[1..]);
    // A table of many does not fill the answer.
    let many: String = (0..25).map(|number| format!("v{number},c{number}\n")).collect();
    let csv = format!("country,channels\n{many}");
    let put = routes.put_table(&admin, "many", RouteMatch::default(), &csv, None).await.unwrap();
    assert_eq!(put.warnings.len(), 21);
    assert_eq!(put.warnings[20], "nor are there 5 more of the channels it names");
}

#[tokio::test]
async fn what_is_wrong_with_rules_and_versions_is_named() {
    let (routes, admin) = routes().await;
    let wrong: RouteRules =
        serde_json::from_value(json!({"rules": [{"channels": ["a"]}, {"channels": ["a", "B c"]}]})).unwrap();
    let error = routes.put_rules(&admin, &wrong, None).await.unwrap_err();
    assert_eq!(error.field().map(|error| error.field.as_str()), Some("rules[1].channels[1]"));
    let put = |expected| routes.put_rules(&admin, const { &RouteRules { rules: Vec::new() } }, expected);
    assert_eq!(put(None).await.unwrap(), 1);
    assert!(matches!(put(Some(0)).await, Err(AlertError::Conflict(_))));
    assert_eq!(routes.rules(admin.organisation).await.unwrap(), (RouteRules::default(), 1));
}

#[test]
fn a_table_that_does_not_read_is_refused_by_its_line() {
    for (csv, line, problem) in [
        ("", 1, "expected the titles"),
        ("country,teams\nde,a\n", 1, "expected the titles"),
        ("country\nde\n", 1, "two columns"),
        ("country,channels\nde,a,b\n", 2, "3 columns"),
        ("country,channels\nde,a\nfr,A b\n", 3, "a-z"),
        ("country,channels\nde,;\n", 2, "no channels"),
    ] {
        let error = Table::read(csv).unwrap_err();
        assert!(error.line == line && error.problem.contains(problem), "{csv:?}: {error}");
    }
}

#[test]
fn of_many_channels_that_are_passed_over_twenty_are_named_and_the_rest_counted() {
    let passed_over: Vec<String> = (0..25).map(|number| format!("c{number:02}")).collect();
    let recipients = Recipients { passed_over, ..Recipients::default() };
    let why = recipients.why().unwrap();
    assert!(why.contains(r#""c19" and 5 more, which"#) && !why.contains("c20"), "{why}");
}
