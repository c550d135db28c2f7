//! Limits count what is there, not what is gone.

use super::*;

#[tokio::test]
async fn monitors_that_were_deleted_make_room_for_others() {
    let mut world = World::new().await;
    world.limits.monitors = 2;
    world.alerts = world.beside();
    let named = |name: &str| cpu(json!({"name": name}));
    world.create(named("one")).await;
    world.create(named("two")).await;
    let refused = world.alerts.create_monitor(&world.principal, &named("three")).await.unwrap_err();
    assert!(matches!(refused, AlertError::Limit { limit: 2, .. }), "{refused}");
    world.alerts.delete_monitor(&world.principal, "one").await.unwrap();
    assert_eq!(world.create(named("three")).await.id, MonitorId(3), "no id comes twice");
    world.alerts.create_monitor(&world.principal, &named("four")).await.unwrap_err();
}

/// Puts mutes and entries of the calendar with so many ids from here on, each of which ends a moment after that before.
async fn put(world: &World, first: u64, count: u64, end: Timestamp) {
    let mut batch = Batch::new();
    for id in first..first + count {
        let end = Some(end.saturating_add(id as i64));
        let (scope, start, created_by) = (Scope::default(), at(-100), "ada".to_owned());
        let reason = String::new();
        let mute = Mute { id: MuteId(id), scope, start, end, reason, created: start, created_by };
        batch.put(rows::mute(OURS, mute.id), bellwether_store::encode(&mute));
        let entry = CalendarEntry {
            id: EntryId(id),
            name: "work".into(),
            kind: EntryKind::Suppress,
            scope: Scope::default(),
            metrics: Vec::new(),
            start,
            end,
            repeat: None,
            reason: String::new(),
            incident: None,
            updated: start,
            updated_by: "ada".to_owned(),
        };
        batch.put(rows::calendar_entry(OURS, entry.id), bellwether_store::encode(&entry));
    }
    world.store.commit(batch).await.unwrap();
}

#[tokio::test]
async fn mutes_and_entries_that_are_over_count_no_more_and_the_oldest_of_them_go() {
    let world = World::new().await;
    let (alerts, principal) = (&world.alerts, &world.principal);
    let mute = NewMute { everything: true, end: Some(at(1)), ..NewMute::default() };
    let entry = NewEntry {
        name: "work".into(),
        kind: EntryKind::Suppress,
        everything: true,
        scope: Scope::default(),
        metrics: Vec::new(),
        start: None,
        end: Some(at(1)),
        repeat: None,
        reason: String::new(),
    };
    let most = limits::MUTES as u64;
    put(&world, 10_000, most + 1, at(-50)).await;
    put(&world, 20_000, most - 1, at(50)).await;
    let page = PageRequest::first(5_000);
    alerts.create_mute(principal, mute.clone()).await.unwrap();
    let mutes = alerts.mutes(OURS, &page).await.unwrap().items;
    assert_eq!((mutes.len() as u64, mutes[1].id), (2 * most, MuteId(10_001)), "the oldest is forgotten");
    alerts.create_entry(principal, entry.clone()).await.unwrap();
    let entries = alerts.entries(OURS, &page).await.unwrap().items;
    assert_eq!((entries.len() as u64, entries[1].id), (2 * most, EntryId(10_001)), "the oldest is forgotten");
    let refused = alerts.create_mute(principal, mute).await.unwrap_err();
    assert!(matches!(refused, AlertError::Limit { limit: 1_000, .. }), "{refused}");
    let refused = alerts.create_entry(principal, entry).await.unwrap_err();
    assert!(matches!(refused, AlertError::Limit { limit: 1_000, .. }), "{refused}");
}
