//! Where incidents go.

use std::sync::Arc;

use bellwether_access::{Access, HostKey, NewKey, Principal, Role};
use bellwether_kernel::{SeededRandomness, SystemClock};
use bellwether_store::MemoryStore;
use serde_json::json;

use super::table::Table;
use super::*;
use crate::AlertError;

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

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn tables_stand_in_for_the_monitors_own_channels_and_rules_add_to_them() {
    let (routes, admin) = routes().await;
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
            routes.of(admin.organisation).await.unwrap().channels(&routed),
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
    assert_eq!(routes.of(admin.organisation).await.unwrap().channels(&routed), ["new", "two", "archive"]);
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
