//! Monitors whose points a detector judges.

use std::time::Duration;

use super::*;

/// A point above 100 is strange. Its state is how many points it was shown and the time of the last, so that a point
/// that comes twice, or late, shows.
struct Bound(DetectorDescription, Mutex<Vec<String>>);

impl Bound {
    fn new() -> Arc<Self> {
        let history = History { least: 1, best: 10 };
        let summary = "Above 100 is strange.".to_owned();
        let description =
            DetectorDescription { summary, settings: Vec::new(), takes: Takes::OneSeries, history };
        Arc::new(Self(description, Mutex::default()))
    }
}

#[async_trait]
impl Detector for Bound {
    fn version(&self) -> &str {
        "1.0.0"
    }

    fn description(&self) -> &DetectorDescription {
        &self.0
    }

    async fn detect(&self, _: &Settings, state: &[u8], points: &Points) -> Result<Detection, RoleError> {
        points.check(Takes::OneSeries)?;
        let (mut count, mut last) = match <[u8; 16]>::try_from(state) {
            Ok(state) => (
                i64::from_le_bytes(state[..8].try_into().unwrap()),
                i64::from_le_bytes(state[8..].try_into().unwrap()),
            ),
            Err(_) => (0, i64::MIN),
        };
        for time in points.times.iter().map(|time| time.as_milliseconds()) {
            if time <= last {
                self.1.lock().push(format!("{time} came after {last}"));
            }
            (count, last) = (count + 1, time);
        }
        assert_eq!(points.step, Some(Duration::from_secs(60)));
        let values = &points.values[0];
        let strange = |value: &f64| if *value > 100.0 || *value < -100.0 { 0.95 } else { 0.1 };
        let scores = Scores {
            scores: values.iter().map(strange).collect(),
            expected: vec![50.0; values.len()],
            lower: vec![-100.0; values.len()],
            upper: vec![100.0; values.len()],
            season: Some(3_600_000),
        };
        let state = [count.to_le_bytes(), last.to_le_bytes()].concat();
        Ok(Detection { series: vec![scores], state })
    }
}

pub(super) fn strange(mut more: Json) -> Json {
    let mut document = cpu(json!({"kind": "anomaly", "window": "3m", "detector": {"name": "bound"}}));
    document.as_object_mut().unwrap().remove("thresholds");
    document.as_object_mut().unwrap().append(more.as_object_mut().unwrap());
    document
}

async fn world() -> (World, Arc<Bound>) {
    let bound = Bound::new();
    (World::with_roles(FakeRoles(Some(bound.clone()))).await, bound)
}

#[tokio::test]
async fn one_strange_point_opens_where_the_monitor_does_not_say_how_many() {
    let (world, _) = world().await;
    world.create(strange(json!({}))).await;
    let minute = world.live(0, &[("a", 50.0)]).await;
    assert!(world.incidents().await.is_empty());
    world.live(minute, &[("a", 150.0)]).await;
    assert_eq!(world.told().await, [["opened 1"]], "a detector that marks a beginning marks it once");
}

#[tokio::test]
async fn it_opens_when_the_window_is_strange_and_closes_after_three_points_in_the_band() {
    let (world, bound) = world().await;
    for minute in -20..0 {
        world.figures.put("a", at(minute), 50.0);
    }
    world.create(strange(json!({"thresholds": {"comparator": ">=", "critical": 1.0}}))).await;
    let mut minute = 0;
    for (value, open) in [
        (50.0, 0),
        (150.0, 0),
        (160.0, 0),
        (155.0, 1),
        (50.0, 1),
        (150.0, 1),
        (50.0, 1),
        (50.0, 1),
        (50.0, 0),
    ] {
        minute = world.live(minute, &[("a", value)]).await;
        let open_now = world.incidents().await.iter().filter(|incident| incident.is_open()).count();
        assert_eq!(open_now, open, "minute {minute}: {value}");
    }
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
    let id = world.incidents().await[0].id;
    let interval = &world.alerts.incident_intervals(OURS, id, 10).await.unwrap()[0];
    let upper = interval.upper.unwrap();
    assert_eq!((upper.peak, upper.expected, upper.delta), (160.0, Some(50.0), Some(110.0)));
    assert_eq!((interval.score, interval.season), (Some(0.95), Some(3_600_000)));
    assert_eq!(interval.started, at(1), "the first strange point");
    assert!(bound.1.lock().is_empty(), "{:?}", bound.1.lock());
}

#[tokio::test]
async fn a_flip_is_an_update_and_late_points_are_not_judged() {
    let (world, bound) = world().await;
    let document = json!({"window": "1m", "notify": {"update": true}, "conditions": [
        {"type": "significance", "at_least": 0.9}, {"type": "delta", "absolute": 20.0}]});
    world.create(strange(document)).await;
    world.live(0, &[("a", 110.0)]).await;
    assert!(world.incidents().await.is_empty(), "it is too little beyond");
    world.live(1, &[("a", 150.0)]).await;
    world.figures.put("a", at(0), 500.0);
    world.live(2, &[("a", -150.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "updated 2"]]);
    let id = world.incidents().await[0].id;
    let interval = &world.alerts.incident_intervals(OURS, id, 10).await.unwrap()[0];
    assert_eq!(interval.direction, Some(Direction::Up), "the first");
    assert_eq!(interval.lower.map(|lower| lower.peak), Some(-150.0));
    assert!(bound.1.lock().is_empty(), "{:?}", bound.1.lock());
}

#[tokio::test]
async fn a_recovery_window_says_when_it_is_over() {
    let (world, _) = world().await;
    let detector = json!({"name": "bound", "recovery_window": "4m"});
    let thresholds = json!({"comparator": ">=", "critical": 1.0, "critical_recovery": 0.25});
    world.create(strange(json!({"window": "1m", "detector": detector, "thresholds": thresholds}))).await;
    let mut minute = 0;
    for value in [150.0, 150.0, 50.0, 50.0] {
        minute = world.live(minute, &[("a", value)]).await;
        assert!(world.incidents().await[0].is_open());
    }
    world.live(minute, &[("a", 50.0)]).await;
    assert!(!world.incidents().await[0].is_open(), "one of four is strange");
}

#[tokio::test]
async fn a_detector_that_is_not_there_is_refused_and_one_that_went_is_a_problem() {
    let (mut world, _) = world().await;
    world.create(strange(json!({}))).await;
    world.roles = Arc::new(FakeRoles::default());
    world.alerts = world.beside();
    let document = strange(json!({"name": "other"}));
    let error = world.alerts.create_monitor(&world.principal, &document).await.unwrap_err().to_string();
    assert!(error.starts_with("detector.name is \"bound\""), "{error}");
    world.live(0, &[("a", 150.0)]).await;
    let problem = world.alerts.monitor(OURS, "cpu").await.unwrap().problem.unwrap();
    assert!(problem.contains("no detector \"bound\""), "{problem}");
}

#[tokio::test]
async fn what_a_detector_keeps_outlives_the_host() {
    let (mut world, bound) = world().await;
    world.create(strange(json!({"window": "1m"}))).await;
    for minute in 0..4 {
        world.live(minute, &[("a", 50.0)]).await;
        let restarted = world.store.restart();
        world.restart_on(restarted);
    }
    world.live(4, &[("a", 150.0)]).await;
    assert_eq!(world.told().await, [["opened 1"]]);
    assert!(bound.1.lock().is_empty(), "{:?}", bound.1.lock());
}
