//! What is noticed where there is nothing to see: missing data, new groups, time-outs.

use super::*;

async fn levels(world: &World) -> Vec<(Level, bool)> {
    let series = world.alerts.monitor_series(OURS, "cpu", &PageRequest::first(100)).await.unwrap().items;
    series.iter().map(|series| (series.level, series.missing)).collect()
}

#[tokio::test]
async fn each_policy_does_with_missing_data_what_it_says() {
    for (policy, level, told) in [
        ("default", Level::Alert, &["opened 1"][..]),
        ("show-no-data", Level::Alert, &["opened 1"]),
        ("show-and-notify-no-data", Level::NoData, &["opened 1"]),
        ("resolve", Level::Ok, &["opened 1", "closed 2"]),
    ] {
        let world = World::new().await;
        world.create(cpu(json!({"missing_data": {"policy": policy}}))).await;
        world.live(0, &[("a", 95.0)]).await;
        for minute in 2..5 {
            world.evaluate(minute).await;
        }
        assert_eq!(levels(&world).await, [(level, true)], "{policy}");
        assert_eq!(world.told().await, [told], "{policy}");
    }
}

#[tokio::test]
async fn a_count_that_stays_away_is_none_of_what_is_counted() {
    let world = World::new().await;
    world.create(cpu(json!({"query": "sum:cpu{*} by {host}.as_count()"}))).await;
    world.live(0, &[("a", 95.0)]).await;
    world.evaluate(2).await;
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
}

#[tokio::test]
async fn what_was_not_counted_while_no_host_was_up_is_neither_too_little_nor_over() {
    for (comparator, opens_at) in [(">", 95.0), ("<", 5.0)] {
        let world = World::new().await;
        let document = json!({
            "query": "sum:cpu{*} by {host}.as_count()", "window": "5m", "reduce": "sum",
            "thresholds": {"comparator": comparator, "critical": 50},
        });
        world.create(cpu(document)).await;
        for minute in 0..5 {
            world.live(minute, &[("a", opens_at), ("b", if comparator == ">" { 1.0 } else { 60.0 })]).await;
        }
        assert_eq!(levels(&world).await, [(Level::Alert, false), (Level::Ok, false)], "{comparator}");
        let told = world.told().await;
        // Ten minutes nobody looked, and then the window fills again.
        world.evaluate(15).await;
        for minute in 15..19 {
            world.live(minute, &[("a", opens_at), ("b", if comparator == ">" { 1.0 } else { 60.0 })]).await;
            assert_eq!(
                levels(&world).await,
                [(Level::Alert, false), (Level::Ok, false)],
                "{comparator} {minute}"
            );
        }
        assert_eq!(world.told().await, told, "{comparator}");
        // What is too much already is told at once.
        if comparator == ">" {
            world.live(19, &[("b", 95.0)]).await;
            assert_eq!(levels(&world).await[1].0, Level::Alert);
        }
    }
}

#[tokio::test]
async fn a_series_that_stays_away_is_not_back_because_nobody_looked() {
    let world = World::new().await;
    let document = json!({"kind": "no-data", "thresholds": null, "missing_data": {"after": "5m"}});
    world.create(cpu(document)).await;
    world.live(0, &[("a", 1.0), ("b", 1.0)]).await;
    for minute in 1..8 {
        world.live(minute, &[("b", 1.0)]).await;
    }
    assert_eq!(world.told().await, [["opened 1"]]);
    for minute in 18..20 {
        world.evaluate(minute).await;
        assert_eq!(levels(&world).await[0].0, Level::NoData, "{minute}");
    }
    assert_eq!(world.told().await, [["opened 1"]]);
    world.live(20, &[("a", 1.0), ("b", 1.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
}

#[tokio::test]
async fn a_no_data_monitor_tells_only_of_series_that_reported_once_and_closes_when_they_do_again() {
    let world = World::new().await;
    let document = json!({"kind": "no-data", "thresholds": null, "missing_data": {"after": "5m"}});
    world.create(cpu(document)).await;
    world.evaluate(1).await;
    assert!(levels(&world).await.is_empty());
    world.live(1, &[("a", 1.0), ("b", 1.0)]).await;
    for minute in 2..10 {
        world.live(minute, &[("b", 1.0)]).await;
    }
    let [incident] = &world.incidents().await[..] else { panic!("one is open") };
    assert_eq!((incident.started, incident.level), (at(1), Level::NoData), "it began when it was last seen");
    assert_eq!(incident.opened, at(6));
    world.live(10, &[("a", 1.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
}

#[tokio::test]
async fn an_open_series_without_data_closes_when_its_time_is_out_and_may_fire_again() {
    let world = World::new().await;
    world.create(cpu(json!({"timeout": "10m"}))).await;
    world.live(0, &[("a", 95.0)]).await;
    for minute in 2..=10 {
        world.evaluate(minute).await;
    }
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
    assert_eq!(world.incidents().await[0].close_reason.as_deref(), Some("timeout"));
    world.live(10, &[("a", 95.0)]).await;
    assert_eq!(world.incidents().await.len(), 2);
}

#[tokio::test]
async fn a_new_group_is_passed_over_for_its_delay_and_is_new_again_after_a_day() {
    let world = World::new().await;
    world.create(cpu(json!({"new_group_delay": "2m"}))).await;
    world.live(0, &[("a", 95.0)]).await;
    world.live(1, &[("a", 95.0)]).await;
    assert!(world.incidents().await.is_empty());
    world.live(2, &[("a", 50.0)]).await;
    world.live(3, &[("a", 95.0)]).await;
    assert_eq!(world.incidents().await.len(), 1, "it is known by now");
    world.live(4, &[("a", 50.0)]).await;
    let later = 5 + 25 * 60;
    for minute in 5..later {
        world.evaluate(minute).await;
    }
    assert!(levels(&world).await.is_empty());
    world.live(later, &[("a", 95.0)]).await;
    assert_eq!(world.incidents().await.len(), 1, "it is new again");
}

#[tokio::test]
async fn a_window_that_is_not_full_is_passed_over_where_it_must_be() {
    let world = World::new().await;
    world.create(cpu(json!({"window": "3m", "require_full_window": true}))).await;
    world.live(0, &[("a", 95.0)]).await;
    world.live(1, &[("a", 95.0)]).await;
    assert!(world.incidents().await.is_empty());
    world.live(2, &[("a", 95.0)]).await;
    assert_eq!(world.incidents().await.len(), 1);
    world.evaluate(4).await;
    assert!(world.incidents().await[0].is_open(), "it is kept as it was");
}

#[tokio::test]
async fn data_on_its_way_is_waited_for() {
    let world = World::new().await;
    world.create(cpu(json!({"delay": "2m"}))).await;
    world.figures.put("a", at(0), 95.0);
    world.evaluate(1).await;
    world.evaluate(2).await;
    assert!(world.incidents().await.is_empty());
    world.evaluate(3).await;
    assert_eq!(world.incidents().await.len(), 1);
}

#[tokio::test]
async fn what_did_not_arrive_while_no_host_was_up_is_not_missing() {
    let world = World::new().await;
    let document = json!({"kind": "no-data", "thresholds": null, "missing_data": {"after": "5m"}});
    world.create(cpu(document)).await;
    world.live(0, &[("a", 1.0), ("b", 1.0)]).await;
    world.evaluate(60).await;
    assert!(world.incidents().await.is_empty());
    for minute in 60..70 {
        world.live(minute, &[("a", 1.0)]).await;
    }
    let [incident] = &world.incidents().await[..] else { panic!("b stays away") };
    assert_eq!((incident.tags[0].1.as_str(), incident.opened), ("b", at(65)));
}

#[tokio::test]
async fn pages_of_series_are_all_of_them_once() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.live(0, &[("a", 1.0), ("b", 1.0), ("c", 1.0)]).await;
    let (mut found, mut page) = (Vec::new(), PageRequest::first(2));
    loop {
        let series = world.alerts.monitor_series(OURS, "cpu", &page).await.unwrap();
        found.extend(series.items.into_iter().map(|series| series.series));
        match series.next {
            Some(next) => page.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(found, ["host:a", "host:b", "host:c"]);
    page.cursor = Some(bellwether_kernel::Cursor(b"no".to_vec()));
    assert!(matches!(world.alerts.monitor_series(OURS, "cpu", &page).await, Err(AlertError::Invalid(_))));
}
