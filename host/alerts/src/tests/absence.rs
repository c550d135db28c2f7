//! Series that stay away, or report more seldom than they are looked at.

use super::anomalies::{Bound, strange};
use super::*;
use crate::monitor::Compiled;

async fn judged() -> World {
    World::with_roles(FakeRoles(Some(Bound::new()))).await
}

#[tokio::test]
async fn what_reported_while_evaluations_came_to_nothing_is_not_missing() {
    let world = World::new().await;
    let document = json!({"kind": "no-data", "thresholds": null, "missing_data": {"after": "10m"}});
    world.create(cpu(document)).await;
    world.live(0, &[("a", 1.0)]).await;
    world.figures.3.store(true, Ordering::Relaxed);
    for minute in 2..32 {
        if minute % 5 == 0 {
            world.figures.put("a", at(minute), 1.0);
        }
        world.evaluate(minute).await;
    }
    world.figures.3.store(false, Ordering::Relaxed);
    for minute in 32..42 {
        world.evaluate(minute).await;
        assert!(world.incidents().await.is_empty(), "{minute}");
    }
    world.evaluate(42).await;
    assert_eq!(world.incidents().await.len(), 1, "it stays away longer than it may since somebody looked");
}

#[tokio::test]
async fn evaluations_that_fail_now_and_then_put_no_missing_data_off() {
    let world = World::new().await;
    let missing = json!({"after": "10m"});
    let document = json!({"kind": "no-data", "thresholds": null, "window": "5m", "missing_data": missing});
    world.create(cpu(document)).await;
    world.live(0, &[("a", 1.0)]).await;
    for minute in 2..20 {
        world.figures.3.store(minute % 3 != 0, Ordering::Relaxed);
        world.evaluate(minute).await;
    }
    assert_eq!(world.incidents().await.len(), 1);
}

#[tokio::test]
async fn an_anomaly_of_a_count_goes_on_while_no_point_comes() {
    let world = judged().await;
    world.create(strange(json!({"query": "count:cpu{*} by {host}"}))).await;
    world.live(0, &[("a", 150.0)]).await;
    assert_eq!(world.told().await, [["opened 1"]]);
    for minute in 2..10 {
        world.evaluate(minute).await;
    }
    assert_eq!(world.told().await, [["opened 1"]]);
}

#[tokio::test]
async fn an_anomaly_that_must_last_opens_in_its_time_though_no_further_point_came() {
    let world = judged().await;
    world.create(strange(json!({"conditions": [{"type": "duration", "at_least": "2m"}]}))).await;
    world.live(0, &[("a", 150.0)]).await;
    assert!(world.told().await.is_empty());
    world.evaluate(2).await;
    assert_eq!(world.told().await, [["opened 1"]]);
}

#[tokio::test]
async fn a_series_becomes_no_stranger_by_points_that_leave_the_window() {
    let world = judged().await;
    let thresholds = json!({"comparator": ">", "critical": 0.4});
    world.create(strange(json!({"thresholds": thresholds}))).await;
    let mut minute = 0;
    for value in [50.0, 50.0, 150.0] {
        minute = world.live(minute, &[("a", value)]).await;
    }
    for minute in minute + 1..minute + 3 {
        world.evaluate(minute).await;
    }
    assert!(world.told().await.is_empty());
}

#[tokio::test]
async fn a_count_that_was_closed_by_its_timeout_opens_again_only_once_it_reported() {
    let world = World::new().await;
    let thresholds = json!({"comparator": "<", "critical": 1});
    let query = "count:cpu{*} by {host}";
    world.create(cpu(json!({"query": query, "thresholds": thresholds, "timeout": "10m"}))).await;
    world.live(0, &[("a", 5.0)]).await;
    for minute in 2..30 {
        world.evaluate(minute).await;
    }
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
    assert_eq!(world.incidents().await[0].close_reason.as_deref(), Some("timeout"));
    world.live(30, &[("a", 5.0)]).await;
    for minute in 32..34 {
        world.evaluate(minute).await;
    }
    assert_eq!(world.told().await, [vec!["opened 1", "closed 2"], vec!["opened 1"]]);
}

#[tokio::test]
async fn a_timeout_that_is_over_before_a_series_is_missing_is_refused() {
    let world = World::new().await;
    let notify = "show-and-notify-no-data";
    for (policy, after, timeout, is_right) in [
        (notify, Some("10m"), Some("10m"), false),
        (notify, Some("10m"), Some("11m"), true),
        (notify, None, Some("2m"), false),
        (notify, Some("8d"), None, true),
        ("resolve", Some("10m"), Some("5m"), false),
        ("show-no-data", Some("10m"), Some("5m"), true),
        ("default", Some("10m"), Some("5m"), true),
    ] {
        let mut document = cpu(
            json!({"name": format!("m-{is_right}-{policy}-{}", after.unwrap_or("usual")), "missing_data": {"policy": policy}}),
        );
        if let Some(after) = after {
            document["missing_data"]["after"] = after.into();
        }
        if let Some(timeout) = timeout {
            document["timeout"] = timeout.into();
        }
        let put = world.alerts.create_monitor(&world.principal, &document).await;
        match put {
            Ok(_) => assert!(is_right, "{policy}, {after:?}, {timeout:?}"),
            Err(error) => {
                let text = error.to_string();
                let named = text.contains("timeout") && text.contains("longer than missing_data.after");
                assert!(!is_right && named, "{policy}, {after:?}, {timeout:?}: {text}");
            }
        }
    }
}

#[test]
fn a_timeout_that_nobody_set_is_twice_as_long_as_what_is_missing_is_awaited_where_anything_becomes_of_it() {
    const HOUR: i64 = 60 * MINUTE;
    let timeout = |more: Json| Compiled::read(&cpu(more)).unwrap().timeout;
    let anomaly = |window: &str, policy: &str| {
        timeout(json!({"kind": "anomaly", "window": window, "step": "5m", "detector": {"name": "bound"},
            "thresholds": null, "missing_data": {"policy": policy}}))
    };
    assert_eq!(anomaly("2h 30m", "resolve"), 10 * HOUR, "the usual one is long enough");
    assert_eq!(anomaly("5h", "resolve"), 20 * HOUR);
    assert_eq!(anomaly("5h", "default"), 10 * HOUR);
    let month = json!({"kind": "no-data", "window": "30d", "step": "1d", "thresholds": null});
    assert_eq!(timeout(month), 120 * 24 * HOUR);
}
