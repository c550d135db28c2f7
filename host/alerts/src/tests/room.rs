//! Monitors of more series than they look at, and what becomes of those that are gone.

use bellwether_store::{Direction as Walked, MAX_LARGE, encode};

use super::anomalies::{Bound, strange};
use super::*;
use crate::state::{Breach, MonitorState, OpenIncident, SeriesState};

impl World {
    async fn known(&self) -> Vec<String> {
        let page = PageRequest::first(100);
        let series = self.alerts.monitor_series(OURS, "cpu", &page).await.unwrap().items;
        series.into_iter().map(|series| series.tags[0].1.clone()).collect()
    }

    async fn problem(&self) -> Option<String> {
        self.alerts.monitor(OURS, "cpu").await.unwrap().problem
    }

    /// How many rows detectors keep.
    async fn detectors(&self) -> usize {
        let rows = Key::new(Space::DetectorState).prefix();
        self.store.scan(rows, Walked::Forward, 100).await.unwrap().len()
    }
}

const THREE: [&str; 3] = ["a", "b", "c"];

#[tokio::test]
async fn groups_that_come_and_go_are_looked_at_for_good_and_what_is_open_closes() {
    let world = World::new().await.narrow(3);
    world.put_channels(&["mail"]).await;
    world.create(cpu(json!({"timeout": "20m"}))).await;
    let mut minute = world.live(0, &[("old", 95.0)]).await;
    for number in 0..40 {
        let (one, other) = (format!("pod-{number}"), format!("pod-{}", number + 1));
        minute = world.live(minute, &[(&one, 50.0), (&other, 50.0)]).await;
        assert_eq!(world.problem().await, None, "{number}");
        let known = world.known().await;
        assert!(known.contains(&one) && known.contains(&other), "{number}: {known:?}");
    }
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
    assert_eq!(world.incidents().await[0].close_reason.as_deref(), Some("timeout"));
}

#[tokio::test]
async fn those_that_are_known_stay_and_the_new_beyond_the_limit_are_left_out_and_named_until_there_is_room() {
    let world = World::new().await.narrow(3);
    world.put_channels(&["mail"]).await;
    world.create(cpu(json!({}))).await;
    world.live(0, &[("b", 50.0), ("d", 50.0)]).await;
    world.live(1, &[("a", 95.0), ("b", 50.0), ("c", 95.0), ("d", 95.0), ("e", 95.0)]).await;
    assert_eq!(world.known().await, ["a", "b", "d"], "the first of the new by its tags");
    let told = world.incidents().await.len();
    assert_eq!(told, 2, "what is left out opens nothing");
    let problem = world.problem().await.unwrap();
    assert!(problem.starts_with("series that are new and left out: 2; of one monitor 3 are"), "{problem}");
    world.live(2, &[("a", 95.0), ("b", 95.0), ("c", 95.0), ("d", 50.0), ("e", 95.0)]).await;
    assert_eq!(world.known().await, ["a", "b", "d"]);
    let open = |incidents: Vec<StoredIncident>| incidents.iter().filter(|one| one.is_open()).count();
    assert_eq!(open(world.incidents().await), 2, "one more is open and one is over");
    // What is open keeps its place, what is gone does not.
    world.live(3, &[("c", 95.0), ("e", 95.0)]).await;
    assert_eq!(world.known().await, ["a", "b", "c"]);
    assert!(world.problem().await.unwrap().contains("left out: 1;"));
    let trace = world.alerts.monitor_trace(OURS, "cpu", &PageRequest::first(100)).await.unwrap().items;
    let said: Vec<_> =
        trace.iter().filter_map(|decision| Some((decision.time, decision.problem.clone()?))).collect();
    assert_eq!(said, [(at(2), problem)], "as it begins");
    world.live(4, &[("a", 50.0), ("b", 50.0), ("c", 95.0)]).await;
    assert_eq!(world.problem().await, None);
}

#[tokio::test]
async fn of_those_that_are_gone_the_longest_silent_go_first() {
    let world = World::new().await.narrow(3);
    world.create(cpu(json!({}))).await;
    let minute = world.live(0, &[("b", 50.0), ("c", 50.0)]).await;
    let minute = world.live(minute, &[("a", 50.0), ("c", 50.0)]).await;
    let minute = world.live(minute, &[]).await;
    let minute = world.live(minute, &[("d", 50.0)]).await;
    assert_eq!(world.known().await, ["a", "c", "d"]);
    world.live(minute, &[("d", 50.0), ("e", 50.0)]).await;
    assert_eq!(world.known().await, ["c", "d", "e"]);
}

#[tokio::test]
async fn one_whose_absence_is_to_be_told_keeps_its_place_until_it_is() {
    let absence = json!({"policy": "show-and-notify-no-data", "after": "5m"});
    for (more, told) in [
        (json!({"missing_data": absence}), true),
        (
            json!({"query": "count:cpu{*} by {host}", "conditions": [{"type": "duration", "at_least": "5m"}],
            "thresholds": {"comparator": "<", "critical": 1}}),
            true,
        ),
        (json!({"query": "count:cpu{*} by {host}"}), false),
        (json!({}), false),
    ] {
        let world = World::new().await.narrow(2);
        world.create(cpu(more.clone())).await;
        let mut minute = world.live(0, &[("a", 50.0), ("b", 50.0)]).await;
        for _ in 0..8 {
            minute = world.live(minute, &[("b", 50.0), ("c", 50.0)]).await;
        }
        assert_eq!(world.told().await.len(), usize::from(told), "{more}");
        assert_eq!(world.problem().await.is_some_and(|problem| problem.contains("left out")), told, "{more}");
    }
}

#[tokio::test]
async fn a_series_is_not_forgotten_before_its_absence_lasts_long_enough_to_open() {
    let world = World::new().await;
    let conditions = json!([{"type": "duration", "at_least": "2d"}]);
    let absence = json!({"policy": "show-and-notify-no-data", "after": "1h"});
    world.create(cpu(json!({"every": "6h", "conditions": conditions, "missing_data": absence}))).await;
    world.live(-1, &[("a", 50.0)]).await;
    for hour in (6..60).step_by(6) {
        world.evaluate(hour * 60).await;
    }
    assert_eq!(world.told().await, [["opened 1"]]);
}

#[tokio::test]
async fn what_a_detector_keeps_of_a_series_goes_with_it() {
    let world = World::with_roles(FakeRoles(Some(Bound::new()))).await.narrow(5);
    world.create(strange(json!({}))).await;
    let mut minute = 0;
    for number in 0..30 {
        let (one, other) = (format!("pod-{number}"), format!("pod-{}", number + 1));
        minute = world.live(minute, &[(&one, 50.0), (&other, 50.0)]).await;
        assert!(world.detectors().await <= 5, "{number}");
    }
    assert!(world.known().await.contains(&"pod-30".to_owned()));
    assert_eq!(world.detectors().await, 5);
    for _ in 0..25 * 60 {
        minute = world.live(minute, &[]).await;
    }
    assert_eq!((world.known().await.len(), world.detectors().await), (0, 0));
}

#[tokio::test]
async fn a_back_test_of_too_many_series_says_what_it_leaves_out() {
    let world = World::new().await.narrow(2);
    for minute in 0..5 {
        THREE.iter().for_each(|host| world.figures.put(host, at(minute), 95.0));
    }
    let request = BacktestRequest { document: cpu(json!({})), from: Some(at(1)), to: at(5) };
    let tested = world.alerts.backtest(OURS, &request).await.unwrap();
    assert_eq!((tested.incidents.len(), tested.series), (2, 2));
    let said: Vec<_> = tested.decisions.iter().filter_map(|decision| decision.problem.as_ref()).collect();
    assert!(matches!(said[..], [said] if said.contains("left out: 1;")), "{said:?}");
}

/// As one that was open for long has it: with a breach, an incident of its own, and tags of so many letters.
fn open_at_length(state: &mut MonitorState, number: usize, letters: usize) {
    let tags = vec![("pod".to_owned(), format!("{number:0letters$}"))];
    let metric = Some("kubernetes.containers.restarts".to_owned());
    let mut series = SeriesState::new(tags.clone(), metric, at(0));
    (series.value, series.last_point) = (Some(1.5), at(0));
    let excursion =
        Excursion { peak: 1.0, expected: Some(1.0), delta: Some(1.0), delta_percentage: Some(1.0) };
    series.breach = Some(Breach {
        started: at(0),
        triggered: at(0),
        level: Level::Alert,
        direction: Some(Direction::Up),
        upper: Some(excursion),
        lower: None,
        score: None,
        threshold: Some(1.0),
        sum_of_deltas: 1.0,
        counted: at(0),
        last_seen: Some(at(0)),
    });
    state.series.push(series);
    let id = IncidentId::of(OURS, MonitorId(1), number as u64, at(0));
    state.incidents.push(OpenIncident { tuple: tags, id });
}

#[test]
fn the_state_of_as_many_series_as_a_monitor_may_have_fits_one_value_and_takes_no_more_than_is_counted_on() {
    for letters in [10, 100, 200] {
        let mut state = MonitorState::default();
        (0..limits::MONITOR_SERIES).for_each(|number| open_at_length(&mut state, number, letters));
        let (bytes, counted) = (encode(&state).len(), state.size());
        assert!(bytes <= counted, "{bytes}, {counted}");
        assert_eq!(counted <= MAX_LARGE, letters <= 100, "{counted}");
    }
}

#[tokio::test]
async fn series_whose_tags_are_too_long_for_one_value_are_left_out() {
    let world = World::new().await;
    world.create(cpu(json!({"query": "avg:cpu{*} by {host}"}))).await;
    let names: Vec<String> = (0..7_000).map(|number| format!("{number:0250}")).collect();
    names.iter().for_each(|name| world.figures.put(name, at(0), 50.0));
    world.evaluate(1).await;
    assert!(world.problem().await.unwrap().starts_with("series that are new and left out: "));
    let monitor = world.alerts.monitor(OURS, "cpu").await.unwrap();
    assert!(monitor.series.is_some_and(|series| (6_000..7_000).contains(&series)), "{:?}", monitor.series);
}
