//! Monitors whose points a detector judges.

use std::time::Duration;

use bellwether_kernel::value::{Input, Value, ValueType};
use bellwether_kernel::{ErrorKind, FieldError};

use super::*;

/// A point above 100 is strange. Its state is how many points it was shown and the time of the last, so that a point
/// that comes twice, or late, shows.
pub(super) struct Bound(DetectorDescription, pub(super) Mutex<Vec<String>>);

impl Bound {
    pub(super) fn new() -> Arc<Self> {
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

/// The same, of the next version.
pub(super) struct Upgraded(pub(super) Arc<Bound>);

#[async_trait]
impl Detector for Upgraded {
    fn version(&self) -> &str {
        "2.0.0"
    }

    fn description(&self) -> &DetectorDescription {
        self.0.description()
    }

    async fn detect(
        &self,
        settings: &Settings,
        state: &[u8],
        points: &Points,
    ) -> Result<Detection, RoleError> {
        self.0.detect(settings, state, points).await
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
async fn what_breaches_to_the_other_side_than_the_monitor_says_does_not_open() {
    let (world, _) = world().await;
    world
        .create(strange(json!({"window": "1m", "conditions": [{"type": "direction", "side": "down"}]})))
        .await;
    let minute = world.live(0, &[("a", 150.0)]).await;
    assert!(world.incidents().await.is_empty());
    world.live(minute, &[("a", -150.0)]).await;
    assert_eq!(world.told().await, [["opened 1"]]);
}

/// Everything above 100 in either direction is strange; besides it says what it expects, and a band to each side of 0.
struct Vague(DetectorDescription, f64, f64);

#[async_trait]
impl Detector for Vague {
    fn version(&self) -> &str {
        "1.0.0"
    }

    fn description(&self) -> &DetectorDescription {
        &self.0
    }

    async fn detect(&self, _: &Settings, _: &[u8], points: &Points) -> Result<Detection, RoleError> {
        let values = &points.values[0];
        let scores = Scores {
            scores: values.iter().map(|value| if value.abs() > 100.0 { 0.9 } else { 0.1 }).collect(),
            expected: vec![self.1; values.len()],
            lower: vec![-self.2; values.len()],
            upper: vec![self.2; values.len()],
            season: None,
        };
        Ok(Detection { series: vec![scores], state: Vec::new() })
    }
}

#[tokio::test]
async fn the_side_of_what_a_detector_has_no_expectation_of_is_not_guessed_and_keeps_no_side_from_opening() {
    for (band, value, side) in [
        (f64::NAN, 150.0, None),
        (f64::NAN, -150.0, None),
        (100.0, 150.0, Some(Direction::Up)),
        (100.0, -150.0, Some(Direction::Down)),
    ] {
        for asked in ["up", "down", "both"] {
            let detector = Vague(Bound::new().0.clone(), f64::NAN, band);
            let world = World::with_roles(FakeRoles(Some(Arc::new(detector)))).await;
            let conditions = json!([{"type": "direction", "side": asked}]);
            world.create(strange(json!({"window": "1m", "conditions": conditions}))).await;
            let minute = world.live(0, &[("a", 50.0)]).await;
            world.live(minute, &[("a", value)]).await;
            let opens = match side {
                Some(Direction::Up) => asked != "down",
                Some(Direction::Down) => asked != "up",
                None => true,
            };
            let incidents = world.incidents().await;
            assert_eq!(incidents.len(), usize::from(opens), "{value} of a band of {band}, {asked}");
            let Some(incident) = incidents.first() else { continue };
            let interval = &world.alerts.incident_intervals(OURS, incident.id, 10).await.unwrap()[0];
            assert_eq!(interval.direction, side);
            let peaks = (interval.upper.map(|upper| upper.peak), interval.lower.map(|lower| lower.peak));
            let expected = match side {
                Some(Direction::Up) => (Some(value), None),
                Some(Direction::Down) => (None, Some(value)),
                None => (None, None),
            };
            assert_eq!((peaks, interval.value), (expected, Some(value)));
        }
    }
}

#[tokio::test]
async fn what_is_strange_within_its_band_has_a_peak_and_is_not_beyond() {
    let detector = Vague(Bound::new().0.clone(), 50.0, 200.0);
    let world = World::with_roles(FakeRoles(Some(Arc::new(detector)))).await;
    world.create(strange(json!({"window": "1m"}))).await;
    world.live(0, &[("a", 150.0)]).await;
    let id = world.incidents().await[0].id;
    let interval = &world.alerts.incident_intervals(OURS, id, 10).await.unwrap()[0];
    let upper = interval.upper.unwrap();
    assert_eq!((upper.peak, upper.expected, upper.delta), (150.0, Some(50.0), Some(100.0)));
    assert_eq!((interval.lower, interval.score, interval.sum_of_deltas), (None, Some(0.9), 0.0));
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
async fn it_is_open_while_its_window_breaches_however_many_points_in_a_row_are_usual() {
    let (world, _) = world().await;
    let detector = json!({"name": "bound", "recovery_points": 2});
    world.create(strange(json!({"window": "6m", "detector": detector}))).await;
    let mut minute = world.live(0, &[("a", 150.0)]).await;
    minute = world.live(minute, &[("a", 150.0)]).await;
    for usual in 1..=6 {
        assert!(world.incidents().await[0].is_open(), "{usual}");
        minute = world.live(minute, &[("a", 50.0)]).await;
    }
    assert!(!world.incidents().await[0].is_open(), "the last strange point is a window ago");
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
    let close = world.incidents().await[0].closed;
    assert_eq!(close, Some(at(8)));
    let request = BacktestRequest {
        document: strange(json!({"window": "6m", "detector": {"name": "bound", "recovery_points": 2}})),
        from: Some(at(1)),
        to: at(9),
    };
    let tested = world.alerts.backtest(OURS, &request).await.unwrap();
    assert_eq!(tested.incidents[0].incident.closed, close, "a back-test closes it where it closed");
}

#[tokio::test]
async fn a_warning_of_an_anomaly_stays_until_its_share_has_passed_the_recovery() {
    let (world, _) = world().await;
    let thresholds = json!({"comparator": ">", "critical": 0.7, "warning": 0.4, "warning_recovery": 0.2});
    world.create(strange(json!({"window": "4m", "thresholds": thresholds}))).await;
    let mut minute = 0;
    for (value, level) in [
        (50.0, Level::Ok),
        (50.0, Level::Ok),
        (150.0, Level::Ok),
        (150.0, Level::Warning),
        (50.0, Level::Warning),
        (50.0, Level::Warning),
        // One of four.
        (50.0, Level::Warning),
        (50.0, Level::Ok),
    ] {
        minute = world.live(minute, &[("a", value)]).await;
        let series = world.alerts.monitor_series(OURS, "cpu", &PageRequest::first(1)).await.unwrap().items;
        assert_eq!(series[0].level, level, "minute {minute}");
    }
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
}

#[tokio::test]
async fn a_recovery_that_would_mean_nothing_of_an_anomaly_is_refused_and_kept_of_what_was_put_before() {
    let (world, _) = world().await;
    let thresholds = json!({"comparator": ">", "critical": 0.5, "critical_recovery": 0.2});
    let document = strange(json!({"thresholds": thresholds}));
    let error = world.alerts.create_monitor(&world.principal, &document).await.unwrap_err();
    let expected = "thresholds.critical_recovery is \"0.2\", expected none without detector.recovery_window";
    assert!(error.to_string().starts_with(expected), "{error}");
    let kept: Monitor = serde_json::from_value(document).unwrap();
    assert!(monitor::Compiled::new(kept).is_ok());
}

/// Takes no deviations below 0, and has no verdict on 13.
struct Picky(DetectorDescription);

impl Picky {
    fn new() -> Arc<Self> {
        let deviations = Input { required: true, ..Input::new("deviations", ValueType::Number) };
        Arc::new(Self(DetectorDescription {
            summary: "Far away is strange.".into(),
            settings: vec![deviations],
            takes: Takes::OneSeries,
            history: History { least: 1, best: 10 },
        }))
    }
}

#[async_trait]
impl Detector for Picky {
    fn version(&self) -> &str {
        "1.0.0"
    }

    fn description(&self) -> &DetectorDescription {
        &self.0
    }

    async fn detect(
        &self,
        settings: &Settings,
        state: &[u8],
        points: &Points,
    ) -> Result<Detection, RoleError> {
        points.check(Takes::OneSeries)?;
        assert!(state.is_empty() && points.times.is_empty(), "it is only asked for its settings");
        match settings.values() {
            [(_, Value::Number(value))] if *value < 0.0 => {
                Err(FieldError::new("settings.deviations", value, "a number above 0").into())
            }
            [(_, Value::Number(13.0))] => {
                Err(RoleError::Failed { message: "trapped".into(), kind: ErrorKind::Plugin })
            }
            _ => Ok(Detection { series: vec![Scores::default()], state: Vec::new() }),
        }
    }
}

#[tokio::test]
async fn settings_the_detector_refuses_are_refused_when_a_monitor_is_put_or_tested_and_nothing_is_kept() {
    let world = World::with_roles(FakeRoles(Some(Picky::new()))).await;
    let (alerts, principal) = (&world.alerts, &world.principal);
    let with = |settings: Json| strange(json!({"detector": {"name": "bound", "settings": settings}}));
    world.create(with(json!({"deviations": 3}))).await;
    for (settings, field, expected) in [
        (json!({"deviations": -1}), "detector.settings.deviations", "a number above 0"),
        (json!({"deviations": "three"}), "detector.settings.deviations", "a number"),
        (json!({}), "detector.settings.deviations", "it is required"),
        (json!({"deviations": 3, "noise": 1}), "detector.settings.noise", "another name: deviations"),
    ] {
        let document = with(settings);
        let mut other = document.clone();
        other["name"] = "other".into();
        let test = BacktestRequest { document: document.clone(), from: Some(at(0)), to: at(1) };
        for refused in [
            alerts.create_monitor(principal, &other).await.map(drop),
            alerts.replace_monitor(principal, "cpu", &document, None).await.map(drop),
            alerts.backtest(OURS, &test).await.map(drop),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            let fault = error.field().unwrap_or_else(|| panic!("{error}"));
            assert!(fault.field == field && fault.expected.contains(expected), "{error}");
        }
    }
    let mut wrong = with(json!({"deviations": -1}));
    wrong["delay"] = "3d".into();
    let error = alerts.create_monitor(principal, &wrong).await.unwrap_err();
    let AlertError::Document(Faults(faults)) = error else { panic!("{error}") };
    let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["delay", "detector.settings.deviations"], "what is wrong besides is named with it");
    let error = alerts.create_monitor(principal, &with(json!({"deviations": -1}))).await.unwrap_err();
    assert_eq!(error.to_string(), "detector.settings.deviations is \"-1\", expected a number above 0");
    assert!(alerts.monitor(OURS, "other").await.is_err(), "nothing is kept");
    assert_eq!(alerts.monitor(OURS, "cpu").await.unwrap().version, 1, "what is there stays as it is");
}

#[tokio::test]
async fn a_detector_that_fails_otherwise_does_not_keep_a_monitor_from_being_put() {
    let world = World::with_roles(FakeRoles(Some(Picky::new()))).await;
    let detector = json!({"name": "bound", "settings": {"deviations": 13}});
    assert_eq!(world.create(strange(json!({"detector": detector}))).await.version, 1);
}

#[tokio::test]
async fn a_detector_that_is_not_called_is_refused_and_a_problem_later_and_both_say_why() {
    let (mut world, _) = world().await;
    world.create(strange(json!({}))).await;
    world.roles = Arc::new(FakeRoles::default());
    world.alerts = world.beside();
    for (detector, why) in [
        (
            "bound",
            "the name of a plugin that is installed and a detector; this one is installed, and it is switched off",
        ),
        ("none", "the name of a plugin that is installed and a detector"),
    ] {
        let document = strange(json!({"name": "other", "detector": {"name": detector}}));
        let error = world.alerts.create_monitor(&world.principal, &document).await.unwrap_err().to_string();
        assert_eq!(error, format!("detector.name is {detector:?}, expected {why}"));
    }
    world.live(0, &[("a", 150.0)]).await;
    let problem = world.alerts.monitor(OURS, "cpu").await.unwrap().problem.unwrap();
    let why = "the plugin \"bound\" is not called as a detector: it is switched off";
    assert!(problem.contains(why), "{problem}");
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

#[tokio::test]
async fn points_that_a_new_version_of_a_detector_judges_again_count_once() {
    let (mut world, bound) = world().await;
    let thresholds = json!({"comparator": ">", "critical": 0.3});
    world.create(strange(json!({"thresholds": thresholds}))).await;
    let mut minute = 0;
    for _ in 0..3 {
        minute = world.live(minute, &[("a", 50.0)]).await;
    }
    world.roles = Arc::new(FakeRoles(Some(Arc::new(Upgraded(bound)))));
    world.alerts = world.beside();
    world.live(minute, &[("a", 150.0)]).await;
    assert_eq!(world.told().await, [["opened 1"]], "one of three points");
}
