//! Suppressions, office hours and snoozes.

use super::*;
use crate::state::{Gap, MonitorState, Strange};
use anomalies::strange;

impl World {
    pub(super) async fn enter(
        &self,
        kind: EntryKind,
        scope: Scope,
        start: i64,
        end: Option<i64>,
    ) -> CalendarEntry {
        let new = NewEntry {
            name: "work".into(),
            kind,
            everything: scope.is_everything(),
            scope,
            metrics: Vec::new(),
            start: Some(at(start)),
            end: end.map(at),
            repeat: None,
            reason: String::new(),
        };
        self.alerts.create_entry(&self.principal, new).await.unwrap()
    }

    pub(super) async fn suppress(&self, scope: Scope, start: i64, end: i64) -> CalendarEntry {
        self.enter(EntryKind::Suppress, scope, start, Some(end)).await
    }

    /// What was told, whichever incident's it was.
    async fn told_in_order(&self) -> Vec<Vec<String>> {
        let mut told = self.told().await;
        told.sort();
        told
    }

    async fn levels(&self) -> Vec<(Level, Option<String>)> {
        let series = self.alerts.monitor_series(OURS, "cpu", &PageRequest::first(100)).await.unwrap().items;
        series.into_iter().map(|series| (series.level, series.quiet)).collect()
    }
}

fn host(name: &str) -> Scope {
    Scope { tags: [("host".to_owned(), name.to_owned())].into(), ..Scope::default() }
}

#[tokio::test]
async fn nothing_of_what_is_suppressed_opens_and_it_counts_from_the_end_on() {
    let world = World::new().await;
    world.create(cpu(json!({"conditions": [{"type": "duration", "at_least": "2m"}]}))).await;
    world.suppress(host("a"), 0, 3).await;
    for minute in 0..3 {
        world.live(minute, &[("a", 95.0), ("b", 50.0)]).await;
    }
    let why = format!("suppressed until {} by calendar entry 1, work", at(3));
    world.clock.set(at(2));
    assert_eq!(world.levels().await, [(Level::Ok, Some(why)), (Level::Ok, None)]);
    world.live(3, &[("a", 95.0), ("b", 50.0)]).await;
    assert!(world.incidents().await.is_empty(), "it breaches for a minute that counts");
    assert_eq!(world.levels().await[0], (Level::Alert, None));
    world.live(4, &[("a", 95.0), ("b", 50.0)]).await;
    assert_eq!(world.incidents().await[0].started, at(3), "the first that counts");
    assert_eq!(world.told().await, [["opened 1"]]);
}

#[tokio::test]
async fn what_was_open_before_is_told_to_be_over_and_nothing_else() {
    let world = World::new().await;
    let thresholds = json!({"comparator": ">", "critical": 90, "warning": 70});
    let document = json!({"thresholds": thresholds, "notify": {"update": true}, "renotify": {"every": "1m"}});
    world.create(cpu(document)).await;
    world.live(0, &[("a", 75.0), ("b", 75.0)]).await;
    world.suppress(Scope::default(), 1, 4).await;
    world.live(1, &[("a", 95.0), ("b", 95.0)]).await;
    world.live(2, &[("a", 95.0), ("b", 50.0)]).await;
    assert_eq!(world.told_in_order().await, [&["opened 1"][..], &["opened 1", "closed 2"]]);
    assert_eq!(world.levels().await[0].0, Level::Warning, "it stands as it did");
    world.live(3, &[("a", 95.0), ("b", 95.0)]).await;
    assert_eq!(world.incidents().await.len(), 2, "the last minute of it does not open");
    world.live(4, &[("a", 95.0), ("b", 50.0)]).await;
    assert_eq!(world.told_in_order().await, [["opened 1", "closed 2"], ["opened 1", "updated 2"]]);
}

#[tokio::test]
async fn no_window_reaches_back_into_a_suppression() {
    let world = World::new().await;
    world.create(cpu(json!({"window": "5m"}))).await;
    world.suppress(Scope::default(), 0, 3).await;
    for (minute, value) in [(0, 900.0), (1, 900.0), (2, 900.0), (3, 50.0), (4, 50.0)] {
        world.live(minute, &[("a", value)]).await;
    }
    assert!(world.incidents().await.is_empty());
    // Once it is out of the window nothing is kept of it.
    for minute in 5..10 {
        world.live(minute, &[("a", 50.0)]).await;
    }
    let id = world.alerts.monitor(OURS, "cpu").await.unwrap().id;
    assert!(world.alerts.read_state(OURS, id).await.unwrap().0.passed.is_empty());
}

#[tokio::test]
async fn what_is_left_of_a_window_after_a_suppression_is_no_small_sum() {
    for query in ["sum:cpu{*} by {host}", "sum:cpu{*} by {host}.as_count()"] {
        let world = World::new().await;
        let thresholds = json!({"comparator": "<", "critical": 200});
        let document = json!({"query": query, "window": "5m", "reduce": "sum", "thresholds": thresholds});
        world.create(cpu(document)).await;
        for minute in 0..5 {
            world.live(minute, &[("a", 250.0)]).await;
        }
        world.suppress(Scope::default(), 5, 12).await;
        for minute in 5..20 {
            world.live(minute, &[("a", 50.0)]).await;
        }
        assert!(world.incidents().await.is_empty(), "{query}");
        world.live(20, &[("a", -100.0)]).await;
        assert_eq!(world.incidents().await.len(), 1, "{query}: a whole one is");
    }
}

#[tokio::test]
async fn what_stays_away_in_a_suppression_is_missed_only_after_it() {
    let world = World::new().await;
    let document = json!({"kind": "no-data", "thresholds": null, "missing_data": {"after": "3m"}});
    world.create(cpu(document)).await;
    world.live(0, &[("a", 1.0)]).await;
    world.suppress(Scope::default(), 1, 10).await;
    for minute in 2..=12 {
        world.evaluate(minute).await;
    }
    assert!(world.incidents().await.is_empty());
    world.evaluate(13).await;
    let [incident] = &world.incidents().await[..] else { panic!("it is missed now") };
    assert_eq!(incident.started, at(0), "it was last seen then");
}

#[tokio::test]
async fn what_is_suppressed_is_not_counted_among_those_that_take_part() {
    let world = World::new().await;
    let half = json!([{"type": "participating", "at_least": 50, "percentage": true}]);
    world.create(cpu(json!({"conditions": half}))).await;
    let values = [("a", 95.0), ("b", 50.0), ("c", 50.0)];
    world.live(0, &values).await;
    assert!(world.incidents().await.is_empty());
    world.suppress(host("c"), 1, 9).await;
    world.live(1, &values).await;
    assert_eq!(world.incidents().await.len(), 1);
}

#[tokio::test]
async fn office_hours_are_when_one_of_them_lasts() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.enter(EntryKind::OfficeHours, Scope::default(), 2, Some(4)).await;
    world.enter(EntryKind::OfficeHours, host("a"), 4, Some(6)).await;
    world.enter(EntryKind::OfficeHours, host("other"), 0, None).await;
    let why = "out of the office hours of calendar entry 1, work".to_owned();
    assert_eq!(world.live(0, &[("a", 95.0), ("b", 95.0)]).await, 1);
    assert_eq!(world.levels().await, [(Level::Ok, Some(why.clone())), (Level::Ok, Some(why))]);
    world.live(1, &[("a", 95.0), ("b", 95.0)]).await;
    assert!(world.incidents().await.is_empty(), "the last minute before does not open");
    world.live(2, &[("a", 95.0), ("b", 50.0)]).await;
    world.live(3, &[("a", 50.0), ("b", 95.0)]).await;
    world.live(4, &[("a", 95.0), ("b", 95.0)]).await;
    world.live(5, &[("a", 50.0), ("b", 95.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "closed 2"], ["opened 1", "closed 2"]], "those of a alone");
}

#[tokio::test]
async fn no_window_reaches_back_into_a_time_a_series_was_taken_out_in_though_nobody_looked_meanwhile() {
    // From the second minute on no host is up, or the monitor is not evaluated so often; it is as late, and the times at
    // which it is evaluated are none of those in which the series is taken out.
    for (every, delay, next) in [("1m", "0s", 8), ("7m", "0s", 8), ("1m", "1m", 9)] {
        for kind in [EntryKind::Suppress, EntryKind::Snooze, EntryKind::OfficeHours] {
            for anomaly in [false, true] {
                let bound = anomalies::Bound::new();
                let world = World::with_roles(FakeRoles(Some(bound))).await;
                let times = json!({"window": "20m", "every": every, "delay": delay});
                world.create(if anomaly { strange(times) } else { cpu(times) }).await;
                world.live(0, &[("a", 50.0)]).await;
                match kind {
                    EntryKind::OfficeHours => {
                        world.enter(kind, Scope::default(), -60, Some(3)).await;
                        world.enter(kind, Scope::default(), 6, None).await;
                    }
                    _ => drop(world.enter(kind, Scope::default(), 3, Some(6)).await),
                }
                for minute in 1..9 {
                    world.figures.put("a", at(minute), if (3..6).contains(&minute) { 900.0 } else { 50.0 });
                }
                world.evaluate(next).await;
                world.evaluate(next + 7).await;
                let name = format!("{kind:?}, each {every}, {delay} late, anomaly: {anomaly}");
                assert!(world.incidents().await.is_empty(), "{name}");
                world.figures.put("a", at(next + 7), 900.0);
                world.figures.put("a", at(next + 8), 900.0);
                world.evaluate(next + 14).await;
                assert_eq!(world.incidents().await.len(), 1, "{name}: what is behind it counts");
            }
        }
    }
}

/// Keeps what it is told to learn from.
struct Learner(DetectorDescription, &'static str, Mutex<Vec<(Timestamp, bool)>>);

impl Learner {
    fn new(version: &'static str, best: u32) -> Arc<Self> {
        let history = History { least: 1, best };
        let (summary, takes) = ("Learns.".to_owned(), Takes::OneSeries);
        let description = DetectorDescription { summary, settings: Vec::new(), takes, history };
        Arc::new(Self(description, version, Mutex::default()))
    }

    /// What it was shown, and whether it learnt from that, since it was asked last.
    fn shown(&self) -> Vec<(Timestamp, bool)> {
        std::mem::take(&mut self.2.lock())
    }
}

#[async_trait]
impl Detector for Learner {
    fn version(&self) -> &str {
        self.1
    }

    fn description(&self) -> &DetectorDescription {
        &self.0
    }

    async fn detect(&self, _: &Settings, _: &[u8], points: &Points) -> Result<Detection, RoleError> {
        self.2.lock().extend(points.times.iter().map(|time| (*time, points.learn)));
        let columns = vec![0.0; points.times.len()];
        let (expected, lower, upper) = (columns.clone(), columns.clone(), columns.clone());
        let scores = Scores { scores: columns, expected, lower, upper, season: None };
        Ok(Detection { series: vec![scores], state: Vec::new() })
    }
}

#[tokio::test]
async fn a_suppression_stops_the_learning_and_office_hours_do_not() {
    for (kind, learns) in [
        (EntryKind::Suppress, [true, false, false, true]),
        (EntryKind::Snooze, [true, false, false, true]),
        (EntryKind::OfficeHours, [true; 4]),
    ] {
        let learner = Learner::new("1.0.0", 1);
        let world = World::with_roles(FakeRoles(Some(learner.clone()))).await;
        world.create(strange(json!({"window": "1m"}))).await;
        world.live(0, &[("a", 50.0)]).await;
        world.enter(kind, Scope::default(), 1, Some(3)).await;
        for minute in 1..4 {
            world.live(minute, &[("a", 50.0)]).await;
        }
        let expected: Vec<_> = (0..4).map(at).zip(learns).collect();
        assert_eq!(learner.shown(), expected, "{kind:?}");
    }
}

#[tokio::test]
async fn a_detector_that_begins_anew_learns_all_its_history_but_what_was_suppressed() {
    // In the suppression, and long after it.
    for anew in [5, 9] {
        let mut world = World::with_roles(FakeRoles(Some(Learner::new("1.0.0", 20)))).await;
        world.create(strange(json!({"window": "2m"}))).await;
        world.suppress(Scope::default(), 3, 6).await;
        for minute in 0..anew {
            world.live(minute, &[("a", 50.0)]).await;
        }
        let learner = Learner::new("2.0.0", 20);
        world.roles = Arc::new(FakeRoles(Some(learner.clone())));
        world.alerts = world.beside();
        world.live(anew, &[("a", 50.0)]).await;
        // What is suppressed is judged as far as the window reaches back.
        let expected = (0..=anew).map(|minute| (at(minute), !(3..6).contains(&minute)));
        let expected = expected.filter(|(time, learns)| *learns || *time >= at(anew - 1));
        assert_eq!(learner.shown(), expected.collect::<Vec<_>>(), "{anew}");
        world.live(anew + 1, &[("a", 50.0)]).await;
        assert_eq!(learner.shown(), [(at(anew + 1), true)], "{anew}");
    }
}

#[tokio::test]
async fn what_a_new_version_of_a_detector_finds_of_a_suppressed_time_does_not_open() {
    let bound = anomalies::Bound::new();
    let mut world = World::with_roles(FakeRoles(Some(bound.clone()))).await;
    world.create(strange(json!({"window": "20m"}))).await;
    world.suppress(Scope::default(), 1, 3).await;
    for (minute, value) in [(0, 50.0), (1, 900.0), (2, 900.0), (3, 50.0), (4, 50.0)] {
        world.live(minute, &[("a", value)]).await;
    }
    world.roles = Arc::new(FakeRoles(Some(Arc::new(anomalies::Upgraded(bound)))));
    world.alerts = world.beside();
    world.live(5, &[("a", 50.0)]).await;
    assert!(world.incidents().await.is_empty());
}

#[tokio::test]
async fn somebody_snoozes_what_an_incident_shows_and_wakes_it_again() {
    let world = World::new().await;
    world.create(cpu(json!({"notify_by": [], "notify": {"update": true}}))).await;
    world.live(0, &[("a", 95.0), ("b", 95.0)]).await;
    let id = world.incidents().await[0].id;
    let (alerts, principal) = (&world.alerts, &world.principal);
    for (series, until, field) in [(Some("host:c"), 60, "series"), (Some("host:a"), 1, "end")] {
        match alerts.snooze(principal, id, series, at(until)).await {
            Err(AlertError::Invalid(error)) => assert_eq!(error.field, field),
            other => panic!("{other:?}"),
        }
    }
    let entry = alerts.snooze(principal, id, Some("host:a"), at(60)).await.unwrap();
    assert_eq!(
        (entry.kind, entry.incident, &entry.metrics[..]),
        (EntryKind::Snooze, Some(id), &["cpu".to_owned()][..])
    );
    let notes = world.notes(id).await;
    let text = format!("host:a until {}, by calendar entry 1", at(60));
    assert_eq!(notes.last(), Some(&(NoteKind::Snoozed, text)));
    world.live(1, &[("a", 50.0), ("b", 50.0)]).await;
    world.live(2, &[("a", 95.0), ("b", 50.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
    let over = alerts.snooze(principal, id, None, at(60)).await.unwrap_err();
    assert!(matches!(over, AlertError::Conflict(_)), "{over}");
    // Another host knows at once.
    alerts.delete_entry(principal, entry.id).await.unwrap();
    let page = PageRequest::first(10);
    assert!(world.beside().entries(OURS, &page).await.unwrap().items.is_empty());
    world.live(3, &[("a", 95.0), ("b", 50.0)]).await;
    assert_eq!(world.incidents().await.len(), 2);
    let second = world.incidents().await[0].id;
    let whole = alerts.snooze(principal, second, None, at(60)).await.unwrap();
    assert_eq!((whole.name.as_str(), whole.scope.tags.len()), ("cpu", 0));
}

#[tokio::test]
async fn a_snooze_holds_for_a_monitor_that_was_renamed_since_its_incident_opened() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.live(0, &[("a", 95.0)]).await;
    let id = world.incidents().await[0].id;
    let renamed = cpu(json!({"name": "processor"}));
    world.alerts.replace_monitor(&world.principal, "cpu", &renamed, None).await.unwrap();
    let entry = world.alerts.snooze(&world.principal, id, None, at(60)).await.unwrap();
    assert_eq!(entry.scope.monitors, ["processor"]);
}

#[tokio::test]
async fn an_entry_is_put_in_the_place_of_one_and_every_host_knows_it_at_once() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    let other = world.beside();
    let entry = world.suppress(Scope::default(), 0, 60).await;
    world.live(0, &[("a", 95.0)]).await;
    let new = NewEntry {
        name: "less work".into(),
        kind: EntryKind::Suppress,
        scope: host("b"),
        metrics: Vec::new(),
        everything: false,
        start: None,
        end: None,
        repeat: None,
        reason: "done".into(),
    };
    let changed = other.replace_entry(&world.principal, entry.id, new.clone()).await.unwrap();
    assert_eq!((changed.start, changed.end, changed.scope), (at(0), None, host("b")));
    world.live(1, &[("a", 95.0)]).await;
    assert_eq!(world.incidents().await.len(), 1);
    let gone = other.replace_entry(&world.principal, EntryId(9), new).await.unwrap_err();
    assert_eq!(gone.to_string(), "there is no entry of the calendar \"9\"");
    assert!(other.delete_entry(&world.principal, EntryId(9)).await.is_err());
    assert_eq!(other.entry(OURS, entry.id).await.unwrap().reason, "done");
}

#[test]
fn a_state_of_an_earlier_host_is_read() {
    let gap = Some(Gap { from: at(2), to: at(2) });
    let passed = BTreeMap::from([(vec![("host".to_owned(), "a".to_owned())], at(3))]);
    let now = MonitorState { opened: 7, fed: Some(at(1)), gap, passed, ..MonitorState::default() };
    let second = (now.fed, Some(at(2)), &now.series, &now.incidents, now.opened, &now.passed);
    let stored = [&[2][..], &postcard::to_stdvec(&second).unwrap()].concat();
    assert_eq!(bellwether_store::decode::<MonitorState>(&stored).unwrap(), now);
    let first = (now.fed, Some(at(2)), &now.series, &now.incidents, now.opened);
    let stored = [&[1][..], &postcard::to_stdvec(&first).unwrap()].concat();
    let before = MonitorState { passed: BTreeMap::new(), ..now };
    assert_eq!(bellwether_store::decode::<MonitorState>(&stored).unwrap(), before);
    let stored = [&[3][..], &postcard::to_stdvec(&before).unwrap()].concat();
    assert_eq!(bellwether_store::decode::<MonitorState>(&stored).unwrap(), before);
    // The sides a point was strange to in the third.
    for side in [Direction::Up, Direction::Down] {
        let stored = postcard::to_stdvec(&Some(side)).unwrap();
        let read: Option<Strange> = postcard::from_bytes(&stored).unwrap();
        assert_eq!(read, Some(Strange::to(Some(side))));
    }
}
