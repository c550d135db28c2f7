//! More incidents at once than one commit holds: they follow each other, and none is lost or told twice, whenever a host
//! dies.

use bellwether_store::{Crash, Walk, get_large};

use super::anomalies::{Bound, strange};
use super::*;
use crate::rows;

/// Hosts of a small fleet, in the order in which their incidents are committed.
const FLEET: [&str; 5] = ["a", "b", "c", "d", "e"];

impl World {
    /// The same with one incident to a commit.
    fn one_by_one(mut self) -> Self {
        self.limits.incidents_at_once = 1;
        self.alerts = self.beside();
        self
    }

    /// Writes the same value to the whole fleet.
    fn put_all(&self, minute: i64, value: f64) {
        FLEET.iter().for_each(|host| self.figures.put(host, at(minute), value));
    }

    /// What was told of each incident, in the order of their hosts: `a: opened, closed`.
    async fn told_by_host(&self) -> Vec<String> {
        let told = self.told_whole().await;
        let each = |lines: &Vec<Json>| {
            let host = &lines[0]["whole"]["title"].as_str().unwrap()["cpu: host:".len()..];
            let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
            format!("{host}: {}", events.join(", "))
        };
        let mut told: Vec<String> = told.iter().map(each).collect();
        told.sort();
        told
    }

    /// A process ends whose store dies at some commit, while it evaluates, and another begins.
    async fn die_evaluating(&mut self, crash: Crash, minute: i64) {
        self.restart_on(self.store.restart_with_crashes(crash));
        self.clock.set(at(minute));
        drop(self.alerts.evaluate_due(at(minute)).await);
        self.restart_on(self.store.restart());
    }

    async fn rows(&self, space: Space) -> usize {
        self.store
            .scan(Key::new(space).prefix(), bellwether_store::Direction::Forward, 100)
            .await
            .unwrap()
            .len()
    }
}

fn all(events: &str) -> Vec<String> {
    FLEET.iter().map(|host| format!("{host}: {events}")).collect()
}

#[tokio::test]
async fn twenty_thousand_series_that_breach_at_once_are_all_told_once_and_so_are_their_ends() {
    const SERIES: usize = 20_000;
    let world = World::new().await.narrow(SERIES);
    world.put_channels(&["mail"]).await;
    world.create(cpu(json!({}))).await;
    let names: Vec<String> = (0..SERIES).map(|number| format!("host-{number:05}")).collect();
    for (minute, value, told) in [(0, 95.0, "opened"), (1, 50.0, "closed")] {
        names.iter().for_each(|name| world.figures.put(name, at(minute), value));
        world.evaluate(minute + 1).await;
        let monitor = world.alerts.monitor(OURS, "cpu").await.unwrap();
        assert_eq!((monitor.evaluated, monitor.problem), (Some(at(minute + 1)), None));
        let mut events: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut lines = Walk::forward(&*world.store, outbox().prefix());
        while let Some((_, value)) = lines.next().await.unwrap() {
            for line in std::str::from_utf8(&value).unwrap().lines() {
                let line: Json = serde_json::from_str(line).unwrap();
                let [incident, event] = ["incident", "event"].map(|of| line[of].as_str().unwrap().to_owned());
                events.entry(incident).or_default().push(event);
            }
        }
        assert_eq!(events.len(), SERIES);
        let expected = if told == "opened" { vec!["opened"] } else { vec!["opened", "closed"] };
        assert!(events.values().all(|events| *events == expected));
        let open = rows::open_incidents(OURS).prefix();
        let open = world.store.scan(open, bellwether_store::Direction::Forward, SERIES).await.unwrap().len();
        assert_eq!(open, if told == "opened" { SERIES } else { 0 });
    }
}

#[tokio::test]
async fn a_host_that_dies_between_two_commits_goes_on_in_the_order_of_the_series() {
    for at_commit in 1..=FLEET.len() + 1 {
        for crash in [Crash::Before(at_commit as u64), Crash::After(at_commit as u64)] {
            let mut world = World::new().await.one_by_one();
            world.put_channels(&["mail"]).await;
            world.create(cpu(json!({}))).await;
            let mut committed = at_commit - usize::from(matches!(crash, Crash::Before(_)));
            committed = committed.min(FLEET.len());
            world.put_all(0, 95.0);
            world.die_evaluating(crash, 1).await;
            assert_eq!(world.told_by_host().await, all("opened")[..committed], "{crash:?}");
            world.evaluate(1).await;
            assert_eq!(world.told_by_host().await, all("opened"), "{crash:?}: at once, not at its next time");
            world.put_all(1, 50.0);
            world.die_evaluating(crash, 2).await;
            world.evaluate(2).await;
            assert_eq!(world.told_by_host().await, all("opened, closed"), "{crash:?}");
            let incidents = world.incidents().await;
            assert_eq!(incidents.len(), FLEET.len(), "{crash:?}: none opened twice");
            assert!(incidents.iter().all(|incident| incident.intervals == 1 && !incident.is_open()));
        }
    }
}

#[tokio::test]
async fn what_recovers_before_it_was_told_opens_nothing_and_what_was_told_is_ended() {
    let mut world = World::new().await.one_by_one();
    world.put_channels(&["mail"]).await;
    world.create(cpu(json!({}))).await;
    world.put_all(0, 95.0);
    world.die_evaluating(Crash::After(2), 1).await;
    world.put_all(1, 50.0);
    world.evaluate(2).await;
    assert_eq!(world.told_by_host().await, ["a: opened, closed", "b: opened, closed"]);
}

#[tokio::test]
async fn somebody_who_changes_an_incident_between_two_commits_keeps_none_from_being_told() {
    let world = World::new().await.one_by_one();
    world.put_channels(&["mail"]).await;
    world.create(cpu(json!({}))).await;
    world.put_all(0, 95.0);
    world.evaluate(1).await;
    world.put_all(1, 50.0);
    world.clock.set(at(2));
    let last = world.incidents().await.into_iter().find(|incident| incident.tags[0].1 == "e").unwrap();
    let evaluated = world.alerts.evaluate_due(at(2));
    let commented = world.alerts.comment(&world.principal, last.id, "I look.");
    let (evaluated, commented) = tokio::join!(evaluated, commented);
    drop((evaluated.unwrap(), commented.unwrap()));
    world.evaluate(2).await;
    assert_eq!(world.told_by_host().await, all("opened, closed"));
}

#[tokio::test]
async fn a_detector_is_shown_again_what_its_host_died_over_and_no_point_counts_twice() {
    for at_commit in 1..=FLEET.len() as u64 + 1 {
        let bound = Bound::new();
        let mut world = World::with_roles(FakeRoles(Some(bound.clone()))).await.one_by_one();
        world.put_channels(&["mail"]).await;
        world.create(strange(json!({"thresholds": {"comparator": ">=", "critical": 0.5}}))).await;
        let mut minute = 0;
        for (value, open) in [(50.0, 0), (150.0, 5), (150.0, 5), (50.0, 5), (50.0, 5), (50.0, 0)] {
            world.put_all(minute, value);
            minute += 1;
            world.die_evaluating(Crash::After(at_commit), minute).await;
            world.evaluate(minute).await;
            let incidents = world.incidents().await;
            let is_open = incidents.iter().filter(|incident| incident.is_open()).count();
            assert_eq!(is_open, open, "minute {minute}, crash {at_commit}");
        }
        assert_eq!(world.told_by_host().await, all("opened, closed"), "crash {at_commit}");
        let unordered = bound.1.lock().clone();
        assert!(unordered.is_empty(), "{unordered:?}");
    }
}

#[tokio::test]
async fn a_monitor_that_is_deleted_closes_all_its_incidents_though_its_host_dies_over_it() {
    for at_commit in 1..=FLEET.len() as u64 + 1 {
        let mut world = World::new().await.one_by_one();
        world.put_channels(&["mail"]).await;
        world.create(cpu(json!({}))).await;
        world.put_all(0, 95.0);
        world.evaluate(1).await;
        world.alerts.delete_monitor(&world.principal, "cpu").await.unwrap();
        let gone = world.alerts.monitor(OURS, "cpu").await;
        assert!(matches!(gone, Err(AlertError::NotFound { .. })), "from the first commit on");
        assert_eq!(world.told_by_host().await[..2], ["a: opened, closed", "b: opened"]);
        // One of that name is another.
        world.create(cpu(json!({"query": "avg:nowhere{*} by {host}"}))).await;
        world.put_all(1, 95.0);
        world.die_evaluating(Crash::After(at_commit), 2).await;
        world.evaluate(2).await;
        assert_eq!(world.told_by_host().await, all("opened, closed"), "{at_commit}");
        let incidents = world.incidents().await;
        assert_eq!(incidents.len(), FLEET.len());
        assert!(incidents.iter().all(|one| one.close_reason.as_deref() == Some("monitor-deleted")));
        world.alerts.delete_monitor(&world.principal, "cpu").await.unwrap();
        let left = [Space::MonitorNext, Space::MonitorDue, Space::MonitorVersion, Space::MonitorDecision];
        for space in left {
            assert_eq!(world.rows(space).await, 0, "{space:?}");
        }
        let state = get_large(&*world.store, &rows::state(OURS, MonitorId(1))).await.unwrap();
        assert_eq!(state, None);
    }
}

#[tokio::test]
async fn a_monitor_that_looks_elsewhere_closes_all_its_incidents_before_it_is_evaluated_again() {
    for paused in [false, true] {
        let mut world = World::new().await.one_by_one();
        world.put_channels(&["mail"]).await;
        world.create(cpu(json!({}))).await;
        world.put_all(0, 95.0);
        world.evaluate(1).await;
        // Its series share one incident from now on.
        let other = cpu(
            json!({"query": "max:cpu{*} by {host}", "notify_by": [], "paused": paused, "title": "cpu: host:all"}),
        );
        world.alerts.replace_monitor(&world.principal, "cpu", &other, None).await.unwrap();
        world.alerts.pause_monitor(&world.principal, "cpu", !paused).await.unwrap();
        world.alerts.pause_monitor(&world.principal, "cpu", paused).await.unwrap();
        let resolved = world.incidents().await.into_iter().find(|one| one.tags[0].1 == "d").unwrap();
        world.alerts.resolve(&world.principal, resolved.id).await.unwrap();
        world.die_evaluating(Crash::After(2), 1).await;
        world.put_all(1, 95.0);
        world.evaluate(2).await;
        world.put_all(2, 95.0);
        world.evaluate(3).await;
        let mut expected = all("opened, closed");
        if !paused {
            expected.insert(3, "all: opened".to_owned());
            expected.sort();
        }
        assert_eq!(world.told_by_host().await, expected);
        let monitor = world.alerts.monitor(OURS, "cpu").await.unwrap();
        assert_eq!(monitor.next_due.is_none(), paused);
    }
}
