//! The audit log: one entry for each change, newest first, each in its scope.

use bellwether_kernel::{Clock, Cursor, MetricId, PageRequest};
use bellwether_store::{Batch, Crash, Store};

use super::{Fixture, START, key, seconds};
use crate::{AccessError, AuditEntry, AuditFilter, AuditScope, Caller, DataChange, NewKey, Role};

async fn log(fixture: &Fixture, scope: AuditScope, filter: &AuditFilter, limit: usize) -> Vec<AuditEntry> {
    let mut page = PageRequest::first(limit);
    let mut entries = Vec::new();
    loop {
        let found = fixture.access.audit_log(scope, filter, &page).await.unwrap();
        assert!(found.items.len() <= limit);
        entries.extend(found.items);
        page.cursor = found.next;
        if page.cursor.is_none() {
            return entries;
        }
    }
}

fn actions(entries: &[AuditEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.action.as_str()).collect()
}

#[tokio::test]
async fn every_change_is_told_once_in_its_own_scope() {
    let fixture = Fixture::new().await;
    let access = &fixture.access;
    let operator = access.create_operator_key("host", "first", None).await.unwrap();
    let actor = operator.key.id.as_str();
    let acme = access.create_organisation(actor, "acme", "UTC").await.unwrap().id;
    let wanted = NewKey { signing: true, expires: Some(seconds(START + 60)), ..key("ci", Role::Write) };
    let created = access.create_key(actor, acme, wanted).await.unwrap();
    access.set_time_zone(actor, acme, "Europe/Oslo").await.unwrap();
    access.revoke_key(actor, Some(acme), &created.key.id).await.unwrap();
    access.revoke_key(actor, Some(acme), &created.key.id).await.unwrap();

    let all = AuditFilter::default();
    for limit in [1, 2, 100] {
        let host = log(&fixture, AuditScope::Host, &all, limit).await;
        // What the operator did in an organisation is told in both.
        let told =
            ["key.revoke", "organisation.set-time-zone", "key.create", "organisation.create", "key.create"];
        assert_eq!(actions(&host), told, "limit {limit}");
        assert_eq!(host[0].details[0], ("organisation".to_owned(), acme.to_string()), "limit {limit}");
        let own = log(&fixture, AuditScope::Organisation(acme), &all, limit).await;
        assert_eq!(
            actions(&own),
            ["key.revoke", "organisation.set-time-zone", "key.create"],
            "limit {limit}"
        );
    }
    let own = log(&fixture, AuditScope::Organisation(acme), &all, 9).await;
    let made = AuditEntry {
        time: seconds(START),
        actor: actor.into(),
        action: "key.create".into(),
        target: created.key.id.to_string(),
        details: [
            ("name", "ci"),
            ("role", "write"),
            ("expires", "2023-11-14T22:14:20Z"),
            ("signing", "true"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into(),
    };
    assert_eq!(own[2], made);
    let secrets = [created.token[20..].to_owned(), created.signing.unwrap().secret];
    assert!(secrets.iter().all(|secret| !format!("{own:?}").contains(secret)));
}

#[tokio::test]
async fn a_filter_finds_a_thing_an_action_or_an_actor() {
    let fixture = Fixture::new().await;
    for (actor, action) in
        [("A", "key.create"), ("B", "key.revoke"), ("A", "keyring.open"), ("B", "plugin.install")]
    {
        fixture.clock.advance(1);
        let mut batch = Batch::new();
        fixture.access.audit(&mut batch, AuditScope::Host, actor, action, "x", &[]);
        fixture.store.commit(batch).await.unwrap();
    }
    for (action, actor, found) in [
        (None, None, vec!["plugin.install", "keyring.open", "key.revoke", "key.create"]),
        (Some("key"), None, vec!["key.revoke", "key.create"]),
        (Some("key.revoke"), None, vec!["key.revoke"]),
        (Some("key."), None, vec![]),
        (None, Some("A"), vec!["keyring.open", "key.create"]),
        (Some("key"), Some("A"), vec!["key.create"]),
        (None, Some("C"), vec![]),
    ] {
        let filter = AuditFilter {
            action: action.map(Into::into),
            actor: actor.map(Into::into),
            ..AuditFilter::default()
        };
        for limit in [1, 10] {
            let entries = log(&fixture, AuditScope::Host, &filter, limit).await;
            assert_eq!(actions(&entries), found, "{filter:?} by {limit}");
        }
    }
    let now = fixture.clock.now();
    for (since, until, found) in [
        (Some(-1), None, vec!["plugin.install", "keyring.open"]),
        (None, Some(-1), vec!["key.revoke", "key.create"]),
        (Some(-2), Some(0), vec!["keyring.open", "key.revoke"]),
        (Some(1), None, vec![]),
    ] {
        let instant = |after: Option<i64>| after.map(|after| now.saturating_add(after));
        let filter = AuditFilter { since: instant(since), until: instant(until), ..AuditFilter::default() };
        for limit in [1, 10] {
            let entries = log(&fixture, AuditScope::Host, &filter, limit).await;
            assert_eq!(actions(&entries), found, "{filter:?} by {limit}");
        }
    }
}

#[tokio::test]
async fn a_filter_that_finds_nothing_looks_at_a_bounded_number_of_entries() {
    let fixture = Fixture::new().await;
    let mut batch = Batch::new();
    for _ in 0..10_001 {
        fixture.access.audit(&mut batch, AuditScope::Host, "host", "key.create", "x", &[]);
    }
    fixture.store.commit(batch).await.unwrap();
    let filter = AuditFilter { action: Some("plugin".into()), ..AuditFilter::default() };
    let first = fixture.access.audit_log(AuditScope::Host, &filter, &PageRequest::first(1)).await.unwrap();
    assert!(first.items.is_empty());
    let next = PageRequest { limit: 1, cursor: first.next };
    assert!(next.cursor.is_some(), "there is more to look at");
    let second = fixture.access.audit_log(AuditScope::Host, &filter, &next).await.unwrap();
    assert!(second.items.is_empty() && second.next.is_none());
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let fixture = Fixture::new().await;
    for bytes in [vec![], vec![0; 15], vec![0; 17], vec![0xff; 24]] {
        let page = PageRequest { limit: 1, cursor: Some(Cursor(bytes)) };
        let answer = fixture.access.audit_log(AuditScope::Host, &AuditFilter::default(), &page).await;
        assert!(matches!(answer, Err(AccessError::Invalid(_))));
    }
}

#[tokio::test]
async fn trimming_forgets_what_is_older_in_every_log_and_nothing_else() {
    let fixture = Fixture::new().await;
    let access = &fixture.access;
    let acme = access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let mut batch = Batch::new();
    for number in 0..1200 {
        let scope = if number % 2 == 0 { AuditScope::Host } else { AuditScope::Organisation(acme) };
        access.audit(&mut batch, scope, "host", "old.thing", "x", &[]);
    }
    fixture.store.commit(batch).await.unwrap();
    fixture.clock.advance(1);
    access.create_key("host", acme, key("ci", Role::Read)).await.unwrap();
    access.create_operator_key("host", "op", None).await.unwrap();

    assert_eq!(access.trim_audit(seconds(START)).await.unwrap(), 0, "nothing is older");
    assert_eq!(access.trim_audit(seconds(START).saturating_add(1)).await.unwrap(), 1201);
    for scope in [AuditScope::Host, AuditScope::Organisation(acme)] {
        assert_eq!(actions(&log(&fixture, scope, &AuditFilter::default(), 10).await), ["key.create"]);
    }
    assert_eq!(
        access
            .key(Some(acme), &access.keys(Some(acme), &PageRequest::first(1)).unwrap().items[0].id)
            .unwrap()
            .name,
        "ci"
    );
}

#[tokio::test]
async fn an_entry_is_there_exactly_if_what_it_tells_of_is() {
    for crash in (1..=3).flat_map(|number| [Crash::Before(number), Crash::After(number)]) {
        let Ok(fixture) = Fixture::with_crash(crash).await else { continue };
        for name in ["one", "two"] {
            let _ = fixture.access.create_organisation("host", name, "UTC").await;
        }
        let after = fixture.restart().await;
        let entries = log(&after, AuditScope::Host, &AuditFilter::default(), 10).await;
        let told: Vec<_> = entries.iter().rev().map(|entry| entry.target.clone()).collect();
        let there = after.access.organisations(&PageRequest::first(10)).unwrap();
        assert_eq!(
            told,
            there.items.into_iter().map(|organisation| organisation.name).collect::<Vec<_>>(),
            "{crash:?}"
        );
    }
}

#[tokio::test]
async fn a_long_entry_is_cut_instead_of_refused() {
    let fixture = Fixture::new().await;
    let long = "é".repeat(40_000);
    let details: Vec<_> = (0..100).map(|_| ("name", long.clone())).collect();
    let mut batch = Batch::new();
    fixture.access.audit(&mut batch, AuditScope::Host, &long, &long, &long, &details);
    fixture.store.commit(batch).await.unwrap();
    let entries = log(&fixture, AuditScope::Host, &AuditFilter::default(), 10).await;
    assert!(entries[0].target.ends_with('…'));
    let kept = entries[0].details.len() - 1;
    assert_eq!(entries[0].details[kept], ("…".into(), format!("{} more", 100 - kept)));
}

#[tokio::test]
async fn a_change_of_data_is_told_alike_by_whichever_way_it_came() {
    let fixture = Fixture::new().await;
    let access = &fixture.access;
    let acme = access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    let created = access.create_key("host", acme, key("ci", Role::Write)).await.unwrap();
    let principal = access.authenticate_token(&created.token).unwrap();
    let Caller::Principal(principal) = principal else { panic!("a key of an organisation") };
    let changes = [
        (
            DataChange::DeleteMetric { name: "logins", id: MetricId(7) },
            "metric.delete",
            "logins",
            vec![("id", "7")],
        ),
        (
            DataChange::DeleteSeries { metric: "cpu", filter: "host:a" },
            "series.delete",
            "cpu",
            vec![("filter", "host:a")],
        ),
        (
            DataChange::DescribeSeries {
                metric: "cpu",
                keep_days: Some(9),
                roll_ups: &[(15, 300), (90, 3600)],
            },
            "series.describe",
            "cpu",
            vec![("keep_days", "9"), ("roll_ups", "15:300 90:3600")],
        ),
        (
            DataChange::SetRetention { events_days: None, logs_days: Some(3) },
            "retention.set",
            "records",
            vec![("events_days", "the host's"), ("logs_days", "3")],
        ),
    ];
    let scope = AuditScope::Organisation(acme);
    for (change, action, target, mut details) in changes {
        for plugin in [None, Some("threatconnect")] {
            fixture.store.commit(access.data_changed(&principal, &change, plugin)).await.unwrap();
            details.extend(plugin.map(|plugin| ("plugin", plugin)));
            let told = &log(&fixture, scope, &AuditFilter::default(), 100).await[0];
            assert_eq!((&*told.action, &*told.target), (action, target));
            assert_eq!(told.actor, created.key.id.as_str());
            let kept: Vec<_> = told.details.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(kept, details);
        }
    }
}
