//! What writes bring forward, and what they do not.

use super::*;

/// So many seconds after a minute.
fn past(minute: i64, seconds: i64) -> Timestamp {
    at(minute).saturating_add(seconds * 1000)
}

impl World {
    /// Sets the clock and evaluates what is woken; how many that were.
    async fn wake(&self, now: Timestamp) -> usize {
        self.clock.set(now);
        self.alerts.evaluate_woken(now).await.unwrap()
    }

    async fn evaluated(&self, name: &str) -> Option<Timestamp> {
        self.alerts.monitor(OURS, name).await.unwrap().evaluated
    }
}

#[tokio::test]
async fn what_is_written_late_is_seen_at_once_and_moves_the_schedule() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.evaluate(1).await;
    world.clock.set(past(1, 20));
    world.figures.put("a", at(0), 95.0);
    assert!(world.told().await.is_empty());
    assert_eq!(world.wake(past(1, 21)).await, 1);
    assert_eq!(world.told().await, [["opened 1"]]);
    let monitor = world.alerts.monitor(OURS, "cpu").await.unwrap();
    let written = past(1, 20).saturating_add(1);
    assert_eq!((monitor.evaluated, monitor.next_due), (Some(written), Some(written.saturating_add(MINUTE))));
    // The time that was moved is not due any more.
    world.evaluate(2).await;
    assert_eq!(world.evaluated("cpu").await, Some(written));
}

#[tokio::test]
async fn what_is_written_in_time_is_seen_as_soon_as_its_step_is_over() {
    let world = World::new().await;
    world.create(cpu(json!({"delay": "30s", "every": "5m"}))).await;
    world.evaluate(1).await;
    world.clock.set(past(1, 40));
    world.figures.put("a", past(1, 40), 95.0);
    assert_eq!(world.wake(past(2, 29)).await, 0, "its step is over, and still delayed");
    assert_eq!(world.wake(past(2, 30)).await, 1);
    assert_eq!(world.told().await, [["opened 1"]]);
}

#[tokio::test]
async fn a_write_wakes_what_looks_at_it_and_nothing_else() {
    let world = World::new().await;
    let monitors = [
        ("all", "avg:cpu{*} by {host}", true),
        ("of-a", "avg:cpu{host:a}", true),
        ("of-b", "avg:cpu{host:b}", false),
        ("not-b", "avg:cpu{!host:b}", true),
        ("a-and-web", "avg:cpu{host:a,role:web}", false),
        ("like-a", "avg:cpu{host:a*}", true),
        ("other", "avg:disk{*}", false),
        ("ratio", "avg:disk{*} / avg:cpu{host:a}", true),
    ];
    for (name, query, _) in monitors {
        world.create(cpu(json!({"name": name, "query": query}))).await;
    }
    world.evaluate(1).await;
    world.clock.set(past(1, 20));
    world.figures.put("a", at(0), 1.0);
    assert_eq!(world.wake(past(1, 21)).await, monitors.iter().filter(|(.., woken)| *woken).count());
    for (name, _, woken) in monitors {
        assert_eq!(world.evaluated(name).await != Some(at(1)), woken, "{name}");
    }
}

#[tokio::test]
async fn writes_that_change_nothing_an_evaluation_sees_wake_nobody() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.evaluate(3).await;
    for time in [at(1), at(4), at(60)] {
        // Before the window, and not come yet.
        world.figures.put("a", time, 95.0);
    }
    assert_eq!(world.wake(past(3, 30)).await, 0);
    // What an evaluation sees that was made meanwhile is not looked at again.
    world.figures.put("a", at(3), 95.0);
    world.evaluate(4).await;
    assert_eq!(world.told().await, [["opened 1"]]);
    world.wake(past(4, 1)).await;
    assert_eq!(world.evaluated("cpu").await, Some(at(4)));
}

#[tokio::test]
async fn many_writes_make_one_evaluation_and_the_next_keeps_its_distance() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.evaluate(1).await;
    world.clock.set(past(1, 20));
    for value in 0..50 {
        world.figures.put("a", at(0), f64::from(value));
        world.figures.put("b", at(0), f64::from(value));
    }
    assert_eq!(world.wake(past(1, 21)).await, 1);
    world.figures.put("a", at(0), 95.0);
    assert_eq!(world.wake(past(1, 22)).await, 0, "it was evaluated a second ago");
    assert_eq!(world.wake(past(1, 31)).await, 1);
    assert_eq!(world.told().await, [["opened 1"]]);
}

#[tokio::test]
async fn a_lost_wake_costs_time_and_nothing_else() {
    let mut world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.evaluate(1).await;
    world.clock.set(past(1, 20));
    world.figures.put("a", at(1), 95.0);
    world.restart_on(world.store.restart());
    assert_eq!(world.wake(past(1, 59)).await, 0);
    world.evaluate(2).await;
    assert_eq!(world.told().await, [["opened 1"]]);
}

#[tokio::test]
async fn who_is_paused_or_gone_is_not_woken() {
    let world = World::new().await;
    for name in ["paused", "gone", "changed"] {
        world.create(cpu(json!({"name": name}))).await;
    }
    world.evaluate(1).await;
    world.clock.set(past(1, 20));
    world.alerts.pause_monitor(&world.principal, "paused", true).await.unwrap();
    world.alerts.delete_monitor(&world.principal, "gone").await.unwrap();
    let other = cpu(json!({"name": "changed", "query": "avg:disk{*}"}));
    world.alerts.replace_monitor(&world.principal, "changed", &other, None).await.unwrap();
    world.alerts.evaluate_due(past(1, 20)).await.unwrap();
    world.figures.put("a", at(0), 95.0);
    assert_eq!(world.wake(past(1, 40)).await, 0, "nor looked for");
    assert_eq!(world.evaluated("paused").await, Some(at(1)));
    assert_eq!(world.evaluated("changed").await, Some(past(1, 20)), "by the schedule, for the change");
}

#[tokio::test]
async fn a_wake_is_overtaken_by_whoever_evaluates_beside_it() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.evaluate(1).await;
    world.clock.set(past(2, 20));
    world.figures.put("a", at(1), 95.0);
    world.clock.set(past(2, 21));
    let (other, now) = (world.beside(), past(2, 21));
    let (woken, due) = tokio::join!(world.alerts.evaluate_woken(now), other.evaluate_due(now));
    assert_eq!((woken.unwrap(), due.unwrap()), (1, 1));
    assert_eq!(world.told().await, [["opened 1"]]);
    let trace = world.alerts.monitor_trace(OURS, "cpu", &PageRequest::first(10)).await.unwrap().items;
    assert_eq!(trace.len(), 1, "one of them committed nothing: {trace:?}");
}

#[tokio::test]
async fn evaluations_wake_of_themselves_once_begun() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.evaluate(1).await;
    world.clock.set(past(1, 20));
    let at_work = world.alerts.begin();
    // Long before the next look at the schedule.
    world.figures.put("a", at(0), 95.0);
    world.clock.set(past(1, 21));
    world.figures.put("b", at(0), 1.0);
    while world.told().await.is_empty() {
        tokio::task::yield_now().await;
    }
    world.alerts.stop(Duration::from_secs(5)).await;
    at_work.await.unwrap();
    let pace = world.alerts.pace().await.unwrap();
    assert_eq!(pace.behind, 0);
}

#[tokio::test]
async fn a_clock_that_was_ahead_for_a_while_silences_no_monitor() {
    const YEAR: i64 = 365 * 24 * 60;
    let world = World::new().await;
    for name in ["cpu", "saved", "paused"] {
        world.create(cpu(json!({"name": name, "every": "1h"}))).await;
    }
    world.evaluate(YEAR).await;
    world.alerts.pause_monitor(&world.principal, "paused", true).await.unwrap();
    world.clock.set(at(1));
    world.alerts.pause_monitor(&world.principal, "paused", false).await.unwrap();
    world
        .alerts
        .replace_monitor(&world.principal, "saved", &cpu(json!({"name": "saved"})), None)
        .await
        .unwrap();
    world.alerts.bring_back().await.unwrap();
    assert_eq!(world.alerts.evaluate_due(at(1)).await.unwrap(), 3);
    for name in ["cpu", "saved", "paused"] {
        assert_eq!(world.evaluated(name).await, Some(at(1)), "{name}");
    }
    // An hour to come is as it should be.
    world.alerts.bring_back().await.unwrap();
    assert_eq!(world.alerts.monitor(OURS, "cpu").await.unwrap().next_due, Some(at(61)));
    // Writes are looked at again.
    world.clock.set(past(11, 20));
    world.figures.put("a", past(10, 30), 95.0);
    assert_eq!(world.wake(past(11, 21)).await, 3);
    assert_eq!(world.evaluated("cpu").await, Some(past(11, 20).saturating_add(1)));
}
