//! The events that belong to incidents: which they are, what is told of them, and what an end keeps.

use super::*;

/// Titles of what belongs to the latest incident, and whether its end kept it.
async fn shown(world: &World) -> (Vec<String>, bool) {
    let id = world.incidents().await[0].id;
    let found = world.alerts.incident_events(OURS, id).await.unwrap();
    (found.events.into_iter().map(|event| event.title).collect(), found.kept)
}

/// Titles of what each telling of the first incident that was told says of events.
async fn told(world: &World) -> Vec<Vec<String>> {
    world.told_whole().await.remove(0).iter().map(titles).collect()
}

fn titles(line: &Json) -> Vec<String> {
    let events = line["whole"]["events"].as_array().unwrap();
    events.iter().map(|event| event["title"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn events_from_an_hour_before_the_first_breach_to_the_end_are_shown_and_told_nearest_first() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.events.put(at(-61), "too early", &["host:a"]);
    world.events.put(at(-60), "before", &["host:a"]);
    world.events.put(at(-3), "of another", &["host:b"]);
    world.events.put(at(-2), "holiday", &[]);
    let mut minute = world.live(0, &[("a", 99.0)]).await;
    world.events.put(at(1), "rolled back", &["host:a"]);
    let (events, kept) = shown(&world).await;
    assert_eq!((events, kept), (vec!["rolled back".into(), "holiday".into(), "before".into()], false));
    minute = world.live(minute, &[("a", 5.0)]).await;
    world.events.put(at(minute), "too late to be found", &["host:a"]);
    let (events, kept) = shown(&world).await;
    assert_eq!((events, kept), (vec!["rolled back".into(), "holiday".into(), "before".into()], true));
    assert_eq!(told(&world).await, [vec!["holiday", "before"], vec!["rolled back", "holiday", "before"]]);
    let first = &world.told_whole().await[0][0]["whole"]["events"][0];
    assert_eq!((&first["started"], &first["ended"]), (&json!(at(-2).to_string()), &json!(null)));
}

#[tokio::test]
async fn what_an_end_kept_stays_when_the_events_the_monitor_and_its_versions_are_gone() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.events.put(at(-2), "deployed", &["host:a"]);
    let minute = world.live(0, &[("a", 99.0)]).await;
    world.live(minute, &[("a", 5.0)]).await;
    let before = shown(&world).await;
    assert_eq!(before, (vec!["deployed".to_owned()], true));
    world.events.0.lock().clear();
    world.alerts.delete_monitor(&world.principal, "cpu").await.unwrap();
    assert_eq!(shown(&world).await, before);
    // It goes with the incident.
    let chunks = async || {
        let range = Key::new(Space::Chunk).prefix();
        world.store.scan(range, bellwether_store::Direction::Forward, 100).await.unwrap().len()
    };
    let before = chunks().await;
    world.alerts.sweep(at(100), 1_000).await.unwrap();
    assert!(world.incidents().await.is_empty());
    assert_eq!(chunks().await, before - 1, "what its end kept is left");
}

#[tokio::test]
async fn nothing_is_kept_in_memory_of_a_monitor_that_was_deleted_and_its_incidents_events_are_found_still() {
    let world = World::new().await;
    world.create(cpu(json!({"events": {"query": "title:deployed"}}))).await;
    world.events.put(at(-2), "deployed", &["host:a"]);
    world.events.put(at(-1), "restarted", &["host:a"]);
    world.live(0, &[("a", 99.0)]).await;
    assert_eq!((shown(&world).await.0, world.alerts.kept_compiled()), (vec!["deployed".to_owned()], 1));
    // Its end finds no events, and keeps none.
    world.events.1.store(true, Ordering::Relaxed);
    world.alerts.delete_monitor(&world.principal, "cpu").await.unwrap();
    assert_eq!(world.alerts.kept_compiled(), 0);
    // What its document said of them is gone with it.
    assert_eq!(shown(&world).await, (vec!["restarted".to_owned(), "deployed".to_owned()], false));
    assert_eq!(world.alerts.kept_compiled(), 0);
}

#[tokio::test]
async fn nobody_waits_long_for_events() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.events.put(at(-2), "deployed", &["host:a"]);
    world.events.1.store(true, Ordering::Relaxed);
    let minute = world.live(0, &[("a", 99.0)]).await;
    assert_eq!(told(&world).await, [Vec::<String>::new()], "it is told without them");
    // They answer again, and the rest after the failure is over by the next minute.
    world.events.1.store(false, Ordering::Relaxed);
    let rests = world.incidents().await.remove(0);
    assert!(world.alerts.events_in_haste(OURS, &rests).await.is_none(), "nothing asks so soon after");
    assert_eq!(shown(&world).await, (vec!["deployed".to_owned()], false), "who asks is answered");
    world.live(minute, &[("a", 5.0)]).await;
    assert_eq!(told(&world).await[1], ["deployed"]);
    // An end that did not find them keeps nothing: they are looked up.
    world.events.1.store(true, Ordering::Relaxed);
    let minute = world.live(10, &[("a", 99.0)]).await;
    world.live(minute, &[("a", 5.0)]).await;
    assert_eq!(shown(&world).await, (vec!["deployed".to_owned()], false));
}

#[tokio::test]
async fn a_monitor_says_which_events_are_told_and_how_many_are() {
    let world = World::new().await;
    let events = json!({"query": "title:deployed", "by": ["team"], "before": "2h"});
    world.create(cpu(json!({"labels": {"team": "web"}, "events": events}))).await;
    world.events.put(at(-119), "deployed early", &["team:web", "host:b"]);
    world.events.put(at(-2), "deployed", &["host:a"]);
    world.events.put(at(-1), "restarted", &["team:web"]);
    world.live(0, &[("a", 99.0)]).await;
    assert_eq!(shown(&world).await.0, ["deployed early"]);

    let world = World::new().await;
    world.create(cpu(json!({"events": {"tell": false}}))).await;
    for minute in 0..60 {
        world.events.put(at(-minute), &format!("deployed {minute} ago"), &["host:a"]);
    }
    world.live(0, &[("a", 99.0)]).await;
    assert_eq!(told(&world).await, [Vec::<String>::new()]);
    let found = world.alerts.incident_events(OURS, world.incidents().await[0].id).await.unwrap();
    assert_eq!((found.events.len(), found.complete), (limits::EVENTS, false));
    assert_eq!((found.events[49].title.as_str(), found.events[49].after), ("deployed 49 ago", -49 * MINUTE));

    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    for minute in 0..60 {
        world.events.put(at(-minute), &"x".repeat(300), &["host:a"]);
    }
    world.live(0, &[("a", 99.0)]).await;
    let told = told(&world).await.remove(0);
    assert_eq!((told.len(), told[0].chars().count()), (limits::EVENTS_TOLD, limits::TITLE));
}

#[tokio::test]
async fn suppressions_of_the_calendar_are_events_and_the_rest_of_it_is_not() {
    let world = World::new().await;
    let entry = |name: &str, kind, host: &str, (start, end): (i64, i64), repeat| NewEntry {
        name: name.into(),
        kind,
        scope: Scope { tags: BTreeMap::from([("host".into(), host.into())]), ..Scope::default() },
        metrics: Vec::new(),
        everything: false,
        start: Some(at(start)),
        end: Some(at(end)),
        repeat,
        reason: "a new disk".into(),
    };
    let suppress = |name, host, span, repeat| entry(name, EntryKind::Suppress, host, span, repeat);
    let daily = Repeat {
        zone: "UTC".into(),
        rule: "FREQ=DAILY".into(),
        from: at(-20).to_string()[11..16].to_owned(),
        to: None,
        lasts: Some(Period::minutes(10)),
    };
    world.clock.set(at(-100));
    for new in [
        suppress("maintenance", "a", (-50, -5), None),
        suppress("over for long", "a", (-90, -60), None),
        suppress("of another", "b", (-50, -5), None),
        suppress("each day", "a", (-5_000, 5_000), Some(daily)),
        entry("hours", EntryKind::OfficeHours, "a", (-50, 500), None),
    ] {
        world.alerts.create_entry(&world.principal, new).await.unwrap();
    }
    let metrics = NewEntry { metrics: vec!["disk".into()], ..suppress("of a metric", "a", (-50, -5), None) };
    world.alerts.create_entry(&world.principal, metrics).await.unwrap();
    world.clock.set(at(0));
    world.create(cpu(json!({}))).await;
    world.events.put(at(-7), "deployed", &["host:a"]);
    world.live(0, &[("a", 99.0)]).await;
    let id = world.incidents().await[0].id;
    let found = world.alerts.incident_events(OURS, id).await.unwrap().events;
    let titles: Vec<&str> = found.iter().map(|event| event.title.as_str()).collect();
    assert_eq!(titles, ["maintenance", "deployed", "each day"], "by their ends, as near as they come");
    let first = &found[0];
    assert_eq!((first.started, first.ended, first.after), (at(-50), Some(at(-5)), -50 * MINUTE));
    assert_eq!((first.source.as_str(), first.category.as_str()), ("calendar", "suppress"));
    assert_eq!((first.description.as_str(), first.origin), ("a new disk", EventOrigin::Calendar(EntryId(1))));
    assert_eq!((found[2].started, found[2].ended), (at(-20), Some(at(-10))));
}

#[tokio::test]
async fn incidents_that_are_told_as_one_are_told_with_the_events_of_all_of_them() {
    let world = World::new().await;
    world
        .create(cpu(json!({"merge": {"by": []}, "notify": {"open": true, "update": true, "close": true}})))
        .await;
    world.events.put(at(-2), "deployed a", &["host:a"]);
    world.events.put(at(-1), "deployed b", &["host:b"]);
    world.events.put(at(-3), "holiday", &[]);
    let minute = world.live(0, &[("a", 99.0), ("b", 5.0), ("c", 5.0)]).await;
    let minute = world.live(minute, &[("a", 99.0), ("b", 99.0), ("c", 5.0)]).await;
    let both = vec!["deployed b", "deployed a", "holiday"];
    assert_eq!(told(&world).await, [vec!["deployed a", "holiday"], both.clone()]);
    // The one that moves is neither the first nor that whose event it is.
    let minute = world.live(minute, &[("a", 99.0), ("b", 99.0), ("c", 99.0)]).await;
    assert_eq!(told(&world).await[2], both);
    // What was told of one that is over is told on, whatever became of the events; of others what is still there.
    world.live(minute, &[("a", 99.0), ("b", 5.0), ("c", 99.0)]).await;
    world.events.0.lock().clear();
    world.live(minute + 1, &[("a", 99.0), ("b", 5.0), ("c", 5.0)]).await;
    assert_eq!(told(&world).await[4], ["deployed b", "holiday"]);
}

#[tokio::test]
async fn the_events_of_incidents_that_are_told_as_one_are_looked_for_only_as_long_as_is_left() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.events.put(at(-2), "deployed", &["host:a"]);
    world.live(0, &[("a", 99.0)]).await;
    let incident = world.incidents().await.remove(0);
    for (left, found) in [(0, false), (1_000, true)] {
        let looked = world.alerts.events_within(OURS, &incident, &mut Duration::from_millis(left)).await;
        assert_eq!(looked.is_some(), found, "{left} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn an_evaluation_waits_for_the_events_of_all_its_incidents_no_longer_than_for_those_of_two() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.events.put(at(-2), "holiday", &[]);
    *world.events.2.lock() = Duration::from_millis(400);
    let hosts: Vec<String> = (0..20).map(|number| format!("host-{number:02}")).collect();
    let values: Vec<(&str, f64)> = hosts.iter().map(|host| (host.as_str(), 99.0)).collect();
    let began = tokio::time::Instant::now();
    world.live(0, &values).await;
    assert!(began.elapsed() <= limits::EVENTS_WITHIN + Duration::from_millis(400), "{:?}", began.elapsed());
    let told = world.told_whole().await;
    let with_events = told.iter().filter(|lines| !titles(&lines[0]).is_empty()).count();
    assert_eq!((told.len(), with_events), (20, 3));
}
