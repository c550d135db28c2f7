//! Monitors whose detector looks at several series together.

use super::anomalies::strange;
use super::*;

/// A value more than 10 from the median is strange. Its state is how many series it was shown, how many points and the
/// time of the last.
struct Odd {
    description: DetectorDescription,
    /// Each call: how many series, how many times, how many values, how many points were shown before.
    calls: Mutex<Vec<[usize; 4]>>,
    faults: Mutex<Vec<String>>,
}

impl Odd {
    fn new(best: u32) -> Arc<Self> {
        let history = History { least: 1, best };
        let summary = "Far from the others is strange.".to_owned();
        let description =
            DetectorDescription { summary, settings: Vec::new(), takes: Takes::AlignedSeries, history };
        Arc::new(Self { description, calls: Mutex::default(), faults: Mutex::default() })
    }

    fn calls(&self) -> Vec<[usize; 4]> {
        std::mem::take(&mut self.calls.lock())
    }
}

#[async_trait]
impl Detector for Odd {
    fn version(&self) -> &str {
        "1.0.0"
    }

    fn description(&self) -> &DetectorDescription {
        &self.description
    }

    async fn detect(&self, _: &Settings, state: &[u8], points: &Points) -> Result<Detection, RoleError> {
        points.check(Takes::AlignedSeries)?;
        let series = points.values.len();
        let (known, mut shown, mut last): (usize, usize, i64) = match state {
            [] => (series, 0, i64::MIN),
            state => serde_json::from_slice(state).unwrap(),
        };
        if known != series {
            self.faults.lock().push(format!("{series} series after {known}"));
        }
        let values = points.values.iter().flatten().filter(|value| value.is_finite()).count();
        if !points.times.is_empty() {
            self.calls.lock().push([series, points.times.len(), values, shown]);
        }
        let mut scores = vec![Scores::default(); series];
        for (at, time) in points.times.iter().enumerate() {
            if time.as_milliseconds() <= last {
                self.faults.lock().push(format!("{time} came again"));
            }
            (shown, last) = (shown + 1, time.as_milliseconds());
            let all = points.values.iter().map(|values| values[at]);
            let mut present: Vec<f64> = all.filter(|value| value.is_finite()).collect();
            present.sort_by(f64::total_cmp);
            let median = present.get(present.len() / 2).copied().unwrap_or(f64::NAN);
            for (scores, values) in scores.iter_mut().zip(&points.values) {
                scores.scores.push(if (values[at] - median).abs() > 10.0 { 0.95 } else { 0.0 });
                scores.expected.push(median);
                scores.lower.push(median - 10.0);
                scores.upper.push(median + 10.0);
            }
        }
        let state = serde_json::to_vec(&(series, shown, last)).unwrap();
        Ok(Detection { series: scores, state })
    }
}

async fn world(best: u32) -> (World, Arc<Odd>) {
    let odd = Odd::new(best);
    (World::with_roles(FakeRoles(Some(odd.clone()))).await, odd)
}

fn document(mut more: Json) -> Json {
    let mut document = strange(json!({"window": "1m"}));
    document["detector"].as_object_mut().unwrap().append(more.as_object_mut().unwrap());
    document
}

#[tokio::test]
async fn the_one_that_is_not_like_the_others_opens_and_all_of_them_together_do_not() {
    let (world, odd) = world(10).await;
    world.create(document(json!({"recovery_points": 1}))).await;
    world.live(0, &[("a", 50.0), ("b", 51.0), ("c", 52.0)]).await;
    world.live(1, &[("a", 150.0), ("b", 151.0), ("c", 152.0)]).await;
    assert!(world.incidents().await.is_empty(), "all of them rose");
    world.live(2, &[("a", 150.0), ("b", 180.0), ("c", 152.0)]).await;
    let [incident] = &world.incidents().await[..] else { panic!("one is strange") };
    assert_eq!(incident.tags, [("host".to_owned(), "b".to_owned())]);
    world.live(3, &[("a", 150.0), ("b", 151.0), ("c", 152.0)]).await;
    let id = world.incidents().await[0].id;
    let interval = &world.alerts.incident_intervals(OURS, id, 10).await.unwrap()[0];
    let upper = interval.upper.unwrap();
    assert_eq!((upper.peak, upper.expected, interval.score), (180.0, Some(152.0), Some(0.95)));
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
    assert_eq!(odd.calls().iter().map(|call| call[0]).collect::<Vec<_>>(), [3; 4]);
    assert!(odd.faults.lock().is_empty(), "{:?}", odd.faults.lock());
}

#[tokio::test]
async fn one_that_stays_away_keeps_its_place_and_one_that_is_new_makes_it_begin_anew() {
    let (world, odd) = world(1).await;
    world.create(document(json!({"recovery_points": 3}))).await;
    let three = [("a", 50.0), ("b", 51.0), ("c", 52.0)];
    let four = [("a", 50.0), ("b", 51.0), ("c", 52.0), ("d", 53.0)];
    world.live(0, &three).await;
    world.live(1, &[("a", 50.0), ("c", 90.0)]).await;
    world.live(2, &three).await;
    assert_eq!(odd.calls(), [[3, 1, 3, 0], [3, 1, 2, 1], [3, 1, 3, 2]]);
    // What was judged before is shown again and counts once: it is the second point in the band, not the third.
    world.live(3, &four).await;
    assert!(world.incidents().await[0].is_open());
    world.live(4, &four).await;
    assert!(!world.incidents().await[0].is_open());
    assert_eq!(odd.calls(), [[4, 2, 7, 0], [4, 1, 4, 2]]);
    assert!(odd.faults.lock().is_empty(), "{:?}", odd.faults.lock());
}

#[tokio::test]
async fn what_it_keeps_outlives_the_host_and_goes_with_its_monitor() {
    let (mut world, odd) = world(10).await;
    world.create(document(json!({}))).await;
    for minute in 0..3 {
        world.live(minute, &[("a", 50.0), ("b", 51.0)]).await;
        let restarted = world.store.restart();
        world.restart_on(restarted);
    }
    assert_eq!(odd.calls(), [[2, 1, 2, 0], [2, 1, 2, 1], [2, 1, 2, 2]]);
    world.alerts.delete_monitor(&world.principal, "cpu").await.unwrap();
    for space in [Space::DetectorState, Space::Chunk] {
        let rows = world.store.scan(Key::new(space).prefix(), bellwether_store::Direction::Forward, 10).await;
        assert!(rows.unwrap().is_empty(), "{space:?}");
    }
}

#[tokio::test]
async fn only_those_that_share_what_it_says_are_shown_together() {
    let (world, odd) = world(10).await;
    world.create(document(json!({"peers_by": ["host"]}))).await;
    world.live(0, &[("a", 50.0), ("b", 500.0)]).await;
    assert_eq!(odd.calls(), [[1, 1, 1, 0]; 2]);
    let wrong = document(json!({"peers_by": ["zone"]}));
    let error = world.alerts.create_monitor(&world.principal, &wrong).await.unwrap_err().to_string();
    assert!(error.starts_with("detector.peers_by[0] is \"zone\""), "{error}");
}

#[tokio::test]
async fn a_call_is_never_of_more_points_than_it_may_be() {
    let (world, odd) = world(10_000).await;
    let hosts: Vec<String> = (0..25).map(|host| format!("h{host:02}")).collect();
    for host in &hosts {
        for minute in -9_000..0 {
            world.figures.put(host, at(minute), 50.0);
        }
    }
    let mut document = document(json!({}));
    document["channels"] = json!([]);
    world.create(document).await;
    world.evaluate(0).await;
    assert_eq!(world.alerts.monitor(OURS, "cpu").await.unwrap().problem, None);
    assert_eq!(odd.calls(), [[25, 8_000, 200_000, 0], [25, 1_000, 25_000, 8_000]]);
    assert!(odd.faults.lock().is_empty(), "{:?}", odd.faults.lock());
}

#[tokio::test]
async fn one_that_is_suppressed_is_taken_out_of_what_the_others_are_held_against() {
    let (world, odd) = world(10).await;
    world.create(document(json!({"recovery_points": 1}))).await;
    world.live(0, &[("a", 50.0), ("b", 51.0), ("c", 90.0), ("d", 52.0)]).await;
    for host in ["b", "c"] {
        let tags = [("host".to_owned(), host.to_owned())].into();
        world.suppress(Scope { tags, ..Scope::default() }, 1, 3).await;
    }
    odd.calls();
    world.live(1, &[("a", 50.0), ("b", 51.0), ("c", 90.0), ("d", 52.0)]).await;
    assert_eq!(odd.calls(), [[4, 1, 3, 1]], "the one that is open stays, so that it can be over");
    world.live(2, &[("a", 50.0), ("b", 51.0), ("c", 51.0), ("d", 52.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
}

#[tokio::test]
async fn those_that_begin_anew_are_held_against_what_was_suppressed_of_none() {
    let (world, odd) = world(10).await;
    world.create(document(json!({}))).await;
    let tags = [("host".to_owned(), "b".to_owned())].into();
    world.suppress(Scope { tags, ..Scope::default() }, 1, 3).await;
    for minute in 0..4 {
        world.live(minute, &[("a", 50.0), ("b", 51.0)]).await;
    }
    odd.calls();
    // Long after it one comes that is new, and they are shown the past again.
    world.live(4, &[("a", 50.0), ("b", 51.0), ("c", 52.0)]).await;
    assert_eq!(odd.calls(), [[3, 5, 5 + 3 + 1, 0]]);
}

#[tokio::test]
async fn a_back_test_shows_it_the_same() {
    let (world, _) = world(10).await;
    for (minute, odd) in [(0, 51.0), (1, 51.0), (2, 99.0), (3, 51.0)] {
        for (host, value) in [("a", 50.0), ("b", odd), ("c", 52.0)] {
            world.figures.put(host, at(minute), value);
        }
    }
    let document = document(json!({"recovery_points": 1}));
    let request = BacktestRequest { document, from: Some(at(1)), to: at(6) };
    let tested = world.alerts.backtest(OURS, &request).await.unwrap();
    let [incident] = &tested.incidents[..] else { panic!("one is strange: {tested:?}") };
    assert_eq!((incident.incident.opened, incident.incident.closed), (at(3), Some(at(4))));
    assert!(tested.decisions.iter().all(|decision| decision.problem.is_none()));
}

#[tokio::test]
async fn of_groups_that_come_and_go_a_detector_is_shown_those_there_is_room_for_and_keeps_nothing_of_others()
{
    for (by, most) in [(json!([]), 4), (json!(["host"]), 1)] {
        let (world, odd) = world(10).await;
        let world = world.narrow(4);
        world.create(document(json!({"peers_by": by}))).await;
        let mut minute = 0;
        for number in 0..20 {
            let (one, other) = (format!("pod-{number}"), format!("pod-{}", number + 1));
            minute = world.live(minute, &[(&one, 50.0), (&other, 50.0)]).await;
            assert_eq!(world.alerts.monitor(OURS, "cpu").await.unwrap().series, Some(4.min(number + 2)));
        }
        assert!(odd.calls().iter().all(|call| call[0] <= most), "{by}");
        assert!(odd.faults.lock().is_empty(), "{:?}", odd.faults.lock());
        let rows = Key::new(Space::DetectorState).prefix();
        let kept = world.store.scan(rows, bellwether_store::Direction::Forward, 100).await.unwrap();
        assert_eq!(kept.len(), if most == 1 { 4 } else { 1 }, "{by}");
        let chunks = Key::new(Space::Chunk).prefix();
        let chunks = world.store.scan(chunks, bellwether_store::Direction::Forward, 100).await.unwrap();
        assert_eq!(chunks.len(), kept.len() + 1, "the monitor's state, and what is kept of each group");
    }
}
