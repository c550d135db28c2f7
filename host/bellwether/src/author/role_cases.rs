//! Cases of the pure roles: an exchange with answers that are written down, points to score, a past to predict from.

use std::time::Duration;

use bellwether_alerts::{
    Answer, Detector, Forecaster, Formatter, Notification, Outgoing, Past, Points, Rehearsal, RoleError,
    Settings, Step, Takes, rehearse, shown,
};
use bellwether_kernel::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::cases::Case;

/// Where made-up series begin, and how far apart their points lie.
const START: i64 = 1_712_673_840_000;
const STEP: Duration = Duration::from_secs(60);

/// A score from which on a point counts as strange.
const STRANGE: f64 = 0.5;

/// Which points are to be strange: of one series, or of each of several.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Strange {
    /// Of one series.
    One(Vec<usize>),
    /// Of each.
    Each(Vec<Vec<usize>>),
}

/// What a case gives a pure role, and what is to come of it. What is not named is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RoleCase {
    /// What the role is set to.
    pub(super) settings: Map<String, Value>,
    /// A formatter is told a made-up notification with what is said here.
    pub(super) notification: Option<Value>,
    /// What a formatter kept before.
    pub(super) memory: String,
    /// The answers to what it sends, in order.
    pub(super) answers: Vec<Answer>,
    /// What is to be sent: method and URL, or `e-mail to` and addresses.
    pub(super) sends: Option<Vec<String>>,
    /// Parts of what is sent, as it is shown.
    pub(super) contains: Vec<String>,
    /// How the exchange is to end: `done`, `retry`, `fail`, `gone`; `send` while it waits for an answer.
    pub(super) ends: Option<String>,
    /// What the formatter is to keep.
    pub(super) remembers: Option<String>,
    /// Points of one series, a step apart; `nan` where there is none.
    pub(super) points: Option<Vec<f64>>,
    /// Points of several.
    pub(super) series: Option<Vec<Vec<f64>>>,
    /// Milliseconds from point to point; a minute, if absent.
    pub(super) step_ms: Option<u64>,
    /// Points that are to be strange, counted from 0, and no others.
    pub(super) strange: Option<Strange>,
    /// How many points to predict.
    pub(super) horizon: Option<u32>,
    /// How much lies in the band; 0.95, if absent.
    pub(super) level: Option<f64>,
    /// What is to be predicted, to within a billionth.
    pub(super) expected: Option<Vec<f64>>,
}

/// How an exchange can end: what [`end`] calls its last step.
const ENDS: [&str; 5] = ["send", "done", "retry", "fail", "gone"];

impl RoleCase {
    /// Whether an exchange can end as it says.
    pub(super) fn check_end(&self) -> Result<(), String> {
        match self.ends.as_deref() {
            Some(ends) if !ENDS.contains(&ends) => {
                Err(format!("ends is {ends:?}, expected one of {}", ENDS.join(", ")))
            }
            _ => Ok(()),
        }
    }
}

/// What a role came to: what is told, and what is not as it should be.
pub(super) type Outcome = (Value, Vec<String>);

impl Case {
    /// An exchange.
    pub(super) async fn format(&self, formatter: &dyn Formatter) -> Outcome {
        let rehearsed = self.rehearse(formatter).await;
        let rehearsal = match rehearsed {
            Ok(rehearsal) => rehearsal,
            Err(error) => return self.failed(&error),
        };
        let steps = &rehearsal.steps;
        let mut faults = self.not_failed();
        let sent: Vec<String> = steps.iter().filter_map(sent).collect();
        if let Some(expected) = self.role.sends.as_ref().filter(|expected| **expected != sent) {
            faults.push(format!("it is to send {expected:?}, and sent {sent:?}"));
        }
        let told = json!({ "steps": steps });
        let text = steps.iter().map(whole).collect::<String>();
        for part in self.role.contains.iter().filter(|part| !text.contains(part.as_str())) {
            faults.push(format!("what is sent is to contain {part:?}, and is {text:?}"));
        }
        let (end, kept) = steps.last().map(end).unwrap_or_default();
        if let Some(expected) = self.role.ends.as_ref().filter(|expected| expected.as_str() != end) {
            faults.push(format!("the exchange is to end with {expected}, and ended with {end}"));
        }
        if let Some(expected) = self.role.remembers.as_ref().filter(|expected| expected.as_bytes() != kept) {
            let kept = String::from_utf8_lossy(kept);
            faults.push(format!("it is to remember {expected:?}, and remembers {kept:?}"));
        }
        (told, faults)
    }

    async fn rehearse(&self, formatter: &dyn Formatter) -> Result<Rehearsal, RoleError> {
        let settings = Settings::read(&formatter.description().settings, &self.role.settings)?;
        let given = self.role.notification.clone().unwrap_or_else(|| json!({}));
        let notification =
            Notification::of_json(&given).map_err(|error| RoleError::Refused(error.to_string()))?;
        rehearse(formatter, &notification, &settings, self.role.memory.as_bytes(), &self.role.answers).await
    }

    /// Points scored.
    pub(super) async fn detect(&self, detector: &dyn Detector) -> Outcome {
        let scored = async {
            let settings = Settings::read(&detector.description().settings, &self.role.settings)?;
            let values = match (&self.role.series, &self.role.points) {
                (Some(series), _) => series.clone(),
                (None, points) => vec![points.clone().unwrap_or_default()],
            };
            let points = points_of(values, self.step());
            points.check(detector.description().takes)?;
            detector.detect(&settings, b"", &points).await
        };
        let detection = match scored.await {
            Ok(detection) => detection,
            Err(error) => return self.failed(&error),
        };
        let mut faults = self.not_failed();
        let found: Vec<Vec<usize>> = detection
            .series
            .iter()
            .map(|series| {
                let strange = series.scores.iter().enumerate().filter(|(_, score)| **score >= STRANGE);
                strange.map(|(at, _)| at).collect()
            })
            .collect();
        if let Some(strange) = &self.role.strange {
            let expected = match strange {
                Strange::One(expected)
                    if detector.description().takes == Takes::OneSeries || found.len() == 1 =>
                {
                    vec![expected.clone()]
                }
                // An empty list reads as one of no points and as one of no series.
                Strange::One(expected) if expected.is_empty() => vec![Vec::new(); found.len()],
                Strange::One(expected) => vec![expected.clone()],
                Strange::Each(expected) => expected.clone(),
            };
            if expected != found {
                faults.push(format!("strange are to be {expected:?}, and are {found:?}"));
            }
        }
        (json!({ "series": detection.series, "strange": found }), faults)
    }

    /// Points predicted.
    pub(super) async fn forecast(&self, forecaster: &dyn Forecaster) -> Outcome {
        let predicted = async {
            let settings = Settings::read(&forecaster.description().settings, &self.role.settings)?;
            let past = Past {
                start: Timestamp::from_milliseconds(START).expect("an instant of 2024"),
                step: self.step(),
                values: self.role.points.clone().unwrap_or_default(),
                horizon: self.role.horizon.unwrap_or(1),
                level: self.role.level.unwrap_or(0.95),
            };
            forecaster.predict(&settings, &past).await
        };
        let forecast = match predicted.await {
            Ok(forecast) => forecast,
            Err(error) => return self.failed(&error),
        };
        let mut faults = self.not_failed();
        if let Some(expected) = &self.role.expected {
            let near = |(one, other): (&f64, &f64)| (one - other).abs() <= 1e-9 * one.abs().max(1.0);
            let found = &forecast.expected;
            if expected.len() != found.len() || !expected.iter().zip(found).all(near) {
                faults.push(format!("expected is to be {expected:?}, and is {found:?}"));
            }
        }
        (json!({ "forecast": forecast }), faults)
    }

    fn step(&self) -> Duration {
        self.role.step_ms.map_or(STEP, Duration::from_millis)
    }

    /// A call that failed, rightly or not.
    pub(super) fn failed(&self, error: &impl ToString) -> Outcome {
        let error = error.to_string();
        let told = json!({ "error": error });
        (told, self.faults_of_outcome(&Err(error)))
    }

    /// Whether it was to fail.
    pub(super) fn not_failed(&self) -> Vec<String> {
        self.error.iter().map(|part| format!("it is to fail with {part:?}, and did not")).collect()
    }
}

/// Points a step apart, from one instant on.
pub(super) fn points_of(values: Vec<Vec<f64>>, step: Duration) -> Points {
    let count = values.first().map_or(0, Vec::len);
    let step_ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
    let start = Timestamp::from_milliseconds(START).expect("an instant of 2024");
    let times = (0_i64..).map(|at| start.saturating_add(at.saturating_mul(step_ms))).take(count).collect();
    Points { times, step: Some(step), values, learn: true }
}

/// What a step sends, in a line.
fn sent(step: &Step) -> Option<String> {
    let Step::Send { outgoing, .. } = step else { return None };
    Some(match outgoing {
        Outgoing::Http(request) => format!("{} {}", request.method, shown(&request.url)),
        Outgoing::Email(email) => format!("e-mail to {}", email.to.join(", ")),
    })
}

/// All of what a step sends, as it is shown.
fn whole(step: &Step) -> String {
    match step {
        Step::Send { outgoing: Outgoing::Http(request), .. } => {
            let headers =
                request.headers.iter().map(|header| format!("{}: {}\n", header.name, shown(&header.value)));
            format!("{}\n{}\n", headers.collect::<String>(), shown(&request.body))
        }
        Step::Send { outgoing: Outgoing::Email(email), .. } => {
            format!("{}\n{}\n{}\n", email.subject, email.text, email.html.as_deref().unwrap_or_default())
        }
        _ => String::new(),
    }
}

/// What a step is called, and what it keeps.
pub(super) fn end(step: &Step) -> (&'static str, &[u8]) {
    match step {
        Step::Send { memory, .. } => ("send", memory),
        Step::Done { memory } => ("done", memory),
        Step::Retry { .. } => ("retry", b""),
        Step::Fail { .. } => ("fail", b""),
        Step::Gone { .. } => ("gone", b""),
    }
}
