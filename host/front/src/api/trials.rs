//! Trials of the pure roles: `/v1/plugins/{name}/detect`, `/forecast` and `/format`. Nothing is kept, nothing is sent.

use std::time::Duration;

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bellwether_access::Principal;
use bellwether_alerts::{
    Answer, DetectorDescription, Forecast, ForecasterDescription, FormatterDescription, HttpAnswer,
    Notification, Past, Points, Regular, RoleError, RoleKind, Roles, Scores, Settings, Step, limits,
    rehearse,
};
use bellwether_kernel::{FieldError, Timestamp};
use bellwether_metrics::{Fill, Interval, IntervalQuery, KeySelection, MetricReference};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::samples::Reference;
use crate::extract::{Authorised, Instant, Json, Moment, Path, Write, in_order};
use crate::openapi::{Bodied, Failing, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::{Services, Shared};

/// Values of a metric, in place of values written out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricRange {
    #[schema(example = "logins")]
    metric: Reference,
    /// Which of a keyed metric's series; by default all.
    #[serde(default)]
    keys: Vec<String>,
    /// The first interval is the one that contains this. A day or a time without an offset is of the metric's time zone.
    start: Moment,
    /// The last interval is the one that contains this, of a day alone its beginning; by default the present one.
    end: Option<Moment>,
}

/// Points to score.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetectTrial {
    /// What the detector is set to.
    #[serde(default)]
    #[schema(value_type = Object)]
    settings: Map<String, Value>,
    /// Values of one series, oldest first; null where there is none.
    #[schema(example = json!([1, 2, 1, 2, null, 90]))]
    points: Option<Vec<Option<f64>>>,
    /// Values of several aligned series.
    series: Option<Vec<Vec<Option<f64>>>>,
    /// Values of a metric.
    from: Option<MetricRange>,
    /// When the first point was; by default at 2024-01-01T00:00:00Z.
    start: Option<Instant>,
    /// Milliseconds from point to point; by default a minute.
    step_ms: Option<u64>,
    /// Whether the detector learns from them; by default it does.
    learn: Option<bool>,
    /// What an earlier trial gave back as `state`.
    state: Option<String>,
}

/// What a detector thinks of points.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetectVerdict {
    /// The plugin's version.
    version: String,
    /// When each point was.
    times: Vec<Instant>,
    /// One for each series.
    series: Vec<SeriesVerdict>,
    /// What the detector knows now, in base64.
    state: String,
}

/// What is thought of the points of one series, in lists as long as they are.
#[derive(Debug, Serialize, ToSchema)]
struct SeriesVerdict {
    /// Of a keyed metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The values that were scored.
    values: Vec<Option<f64>>,
    /// In [0, 1]; higher is stranger.
    scores: Vec<f64>,
    /// What each value should have been; null where the detector cannot tell.
    expected: Vec<Option<f64>>,
    /// Where usual values begin.
    lower: Vec<Option<f64>>,
    /// Where usual values end.
    upper: Vec<Option<f64>>,
    /// The longest season it found so far, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    season_ms: Option<u64>,
}

/// Has a detector score points, written out or read from a metric. Nothing is kept.
#[utoipa::path(post, path = "/v1/plugins/{name}/detect", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")), request_body = DetectTrial,
    responses((status = 200, description = "A score, an expected value and a band for each point", body = DetectVerdict),
        Refusals, NotFound, Bodied, Failing))]
pub(crate) async fn detect(
    Authorised(principal, ..): Authorised<Write>,
    Path(name): Path<String>,
    State(services): State<Shared>,
    Json(trial): Json<DetectTrial>,
) -> Result<Json<DetectVerdict>, Problem> {
    let detector = services.plugins().detector(principal.organisation, &name);
    let detector = detector.ok_or_else(|| not_called(&services, &principal, &name, RoleKind::Detector))?;
    let DetectorDescription { settings, takes, .. } = detector.description();
    let settings = Settings::read(settings, &trial.settings)?;
    let state = match &trial.state {
        None => Vec::new(),
        Some(text) => STANDARD
            .decode(text)
            .map_err(|_| FieldError::new("state", text, "`state` of an earlier trial, unchanged"))?,
    };
    let given = match (trial.points, trial.series, &trial.from) {
        (Some(points), None, None) => Given::written(vec![points], trial.start, trial.step_ms)?,
        (None, Some(series), None) => Given::written(series, trial.start, trial.step_ms)?,
        (None, None, Some(range)) => Given::read(&services, &principal, range).await?,
        _ => return Err(FieldError::new("points", "not alone", "one of points, series and from").into()),
    };
    let Given { keys, times, step, values } = given;
    let points = Points { times, step, values, learn: trial.learn.unwrap_or(true) };
    points.check(*takes)?;
    let detection = detector.detect(&settings, &state, &points).await?;
    let series = keys.into_iter().zip(points.values).zip(detection.series);
    let series = series.map(|((key, values), scores)| {
        let Scores { scores, expected, lower, upper, season } = scores;
        SeriesVerdict {
            key,
            values: known(&values),
            scores,
            expected: known(&expected),
            lower: known(&lower),
            upper: known(&upper),
            season_ms: season,
        }
    });
    Ok(Json(DetectVerdict {
        version: detector.version().to_owned(),
        times: points.times.iter().map(|time| Instant(*time)).collect(),
        series: series.collect(),
        state: STANDARD.encode(detection.state),
    }))
}

/// A past to predict from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForecastTrial {
    /// What the forecaster is set to.
    #[serde(default)]
    #[schema(value_type = Object)]
    settings: Map<String, Value>,
    /// Values, oldest first; null where there is none.
    #[schema(example = json!([1, 2, null, 4]))]
    points: Option<Vec<Option<f64>>>,
    /// Values of a metric.
    from: Option<MetricRange>,
    /// When the first value was; by default at 2024-01-01T00:00:00Z.
    start: Option<Instant>,
    /// Milliseconds from value to value; by default a minute.
    step_ms: Option<u64>,
    /// How many points to predict.
    #[schema(example = 7)]
    horizon: u32,
    /// How much of what comes shall lie in the band; by default 0.95.
    level: Option<f64>,
}

/// A prediction, in lists as long as the horizon.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Prediction {
    /// The plugin's version.
    version: String,
    /// When each point will be.
    times: Vec<Instant>,
    /// What is expected.
    expected: Vec<f64>,
    /// Where the band begins.
    lower: Vec<f64>,
    /// Where it ends.
    upper: Vec<f64>,
}

/// Has a forecaster predict the points that follow, from values written out or read from a metric. Nothing is kept.
#[utoipa::path(post, path = "/v1/plugins/{name}/forecast", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")), request_body = ForecastTrial,
    responses((status = 200, description = "An expected value and a band for each point", body = Prediction),
        Refusals, NotFound, Bodied, Failing))]
pub(crate) async fn forecast(
    Authorised(principal, ..): Authorised<Write>,
    Path(name): Path<String>,
    State(services): State<Shared>,
    Json(trial): Json<ForecastTrial>,
) -> Result<Json<Prediction>, Problem> {
    // While a canary is tried, the forecasts of one metric are one version's.
    let asks = match &trial.from {
        Some(MetricRange { metric: Reference(metric), keys, .. }) => format!("metric {metric:?} {keys:?}"),
        None => format!("key {}", principal.key),
    };
    let regular = Regular { name: asks.as_bytes(), settings: &trial.settings };
    let forecaster = services.plugins().forecaster_for(principal.organisation, &name, &regular);
    let forecaster =
        forecaster.ok_or_else(|| not_called(&services, &principal, &name, RoleKind::Forecaster))?;
    let ForecasterDescription { settings, .. } = forecaster.description();
    let settings = Settings::read(settings, &trial.settings)?;
    let mut given = match (trial.points, &trial.from) {
        (Some(points), None) => Given::written(vec![points], trial.start, trial.step_ms)?,
        (None, Some(range)) => Given::read(&services, &principal, range).await?,
        _ => return Err(FieldError::new("points", "not alone", "one of points and from").into()),
    };
    let step = given.step.ok_or_else(|| {
        FieldError::new(
            "from.metric",
            "a metric of months or years",
            "one of hours, days or weeks, which are alike",
        )
    })?;
    if given.values.len() > 1 {
        let found = format!("{} series", given.values.len());
        return Err(FieldError::new("from.keys", found, "one key").into());
    }
    let past = Past {
        start: given.times.first().copied().unwrap_or_else(first),
        step,
        values: given.values.pop().unwrap_or_default(),
        horizon: trial.horizon,
        level: trial.level.unwrap_or(0.95),
    };
    let Forecast { expected, lower, upper } = forecaster.predict(&settings, &past).await?;
    let end = past.values.len();
    let times = (end..end + expected.len()).map(|at| Instant(moment(past.start, step, at))).collect();
    Ok(Json(Prediction { version: forecaster.version().to_owned(), times, expected, lower, upper }))
}

/// What a formatter is to be told.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FormatTrial {
    /// What the formatter is set to. A secret is given as the name of one, and shown by its setting's name.
    #[serde(default)]
    #[schema(value_type = Object)]
    settings: Map<String, Value>,
    /// A made-up notification with what is said here otherwise: an `event` of `opened`, `updated`, `closed` or `test`, an
    /// `incident` and its parts.
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"event": "opened", "incident": {"title": "Disk full"}}))]
    notification: Map<String, Value>,
    /// What the formatter keeps for the channel and incident, as text.
    #[serde(default)]
    memory: String,
    /// Answers to what it sends, in order.
    #[serde(default)]
    #[schema(value_type = Vec<Object>, example = json!([{"http": {"status": 200, "body": "ok"}}]))]
    answers: Vec<Answer>,
}

/// An exchange as far as the answers lead.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FormatSteps {
    /// The plugin's version.
    version: String,
    /// In order. What would be sent has its secrets and times named in `‹…›`; the last step is the end of the exchange,
    /// or waits for an answer.
    #[schema(value_type = Vec<Object>)]
    steps: Vec<Step>,
}

/// Shows what a formatter would have the host send, one step for each answer that is given and one more. Nothing is
/// sent.
#[utoipa::path(post, path = "/v1/plugins/{name}/format", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")), request_body = FormatTrial,
    responses((status = 200, description = "The steps, their secrets named and not shown", body = FormatSteps),
        Refusals, NotFound, Bodied, Failing))]
pub(crate) async fn format(
    Authorised(principal, ..): Authorised<Write>,
    Path(name): Path<String>,
    State(services): State<Shared>,
    Json(trial): Json<FormatTrial>,
) -> Result<Json<FormatSteps>, Problem> {
    let formatter = services.plugins().formatter(principal.organisation, &name);
    let formatter = formatter.ok_or_else(|| not_called(&services, &principal, &name, RoleKind::Formatter))?;
    let FormatterDescription { settings, .. } = formatter.description();
    let settings = Settings::read(settings, &trial.settings)?;
    if trial.memory.len() > limits::MEMORY {
        let expected = format!("at most {} bytes", limits::MEMORY);
        return Err(FieldError::new("memory", trial.memory, expected).into());
    }
    let notification = Notification::of_json(&Value::Object(trial.notification))?;
    for (number, answer) in trial.answers.iter().enumerate() {
        if let Answer::Http(HttpAnswer { status, .. }) = answer
            && !(100..=599).contains(status)
        {
            let field = format!("answers[{number}].http.status");
            return Err(FieldError::new(field, status, "a status from 100 to 599").into());
        }
    }
    let rehearsal =
        rehearse(&*formatter, &notification, &settings, trial.memory.as_bytes(), &trial.answers).await?;
    Ok(Json(FormatSteps { version: formatter.version().to_owned(), steps: rehearsal.steps }))
}

/// That nothing of this name is called in a role, and why.
fn not_called(services: &Services, principal: &Principal, name: &str, role: RoleKind) -> RoleError {
    services.plugins().not_called(principal.organisation, name, role).into()
}

/// When series begin that are written out without their beginning: 2024-01-01T00:00:00Z.
fn first() -> Timestamp {
    Timestamp::from_milliseconds(1_704_067_200_000).expect("an instant of 2024")
}

/// Series to look at.
struct Given {
    /// One for each series; absent where it has none.
    keys: Vec<Option<String>>,
    times: Vec<Timestamp>,
    step: Option<Duration>,
    values: Vec<Vec<f64>>,
}

impl Given {
    /// What was written out.
    fn written(
        series: Vec<Vec<Option<f64>>>,
        start: Option<Instant>,
        step_ms: Option<u64>,
    ) -> Result<Self, FieldError> {
        let start = start.map_or_else(first, |Instant(start)| start);
        let step = step_ms.unwrap_or(60_000);
        let length = series.first().map_or(0, Vec::len);
        let reach =
            i64::try_from(length).ok().and_then(|length| i64::try_from(step).ok()?.checked_mul(length));
        let last = reach.and_then(|reach| start.as_milliseconds().checked_add(reach));
        if step == 0 || last.and_then(Timestamp::from_milliseconds).is_none() {
            return Err(FieldError::new(
                "step_ms",
                step,
                "at least 1, and points that end before the year 9999",
            ));
        }
        let step = Duration::from_millis(step);
        Ok(Self {
            keys: vec![None; series.len()],
            times: (0..length).map(|at| moment(start, step, at)).collect(),
            step: Some(step),
            values: series
                .into_iter()
                .map(|values| values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
                .collect(),
        })
    }

    /// What a metric holds.
    async fn read(services: &Services, principal: &Principal, range: &MetricRange) -> Result<Self, Problem> {
        let (metrics, organisation) = (services.metrics(), principal.organisation);
        let metric = metrics.get(organisation, &range.metric.0).await?;
        let reference = MetricReference::Id(metric.id);
        let instant = async |moment: Moment| metrics.instant(organisation, &reference, moment.0).await;
        let start = instant(range.start).await?;
        let end = match range.end {
            Some(end) => instant(end).await?,
            None => services.parts.clock.now(),
        };
        in_order(("from.start", Some(Instant(start))), ("from.end", Some(Instant(end))))?;
        let query = IntervalQuery {
            metric: reference,
            keys: if range.keys.is_empty() {
                KeySelection::All
            } else {
                KeySelection::Keys(range.keys.clone())
            },
            start,
            end,
            // Nothing added up is 0; of the other kinds there is no value then.
            fill: Fill::Zero,
        };
        let found = metrics.query(organisation, &query).await?;
        if found.is_empty() {
            let detail =
                format!("the metric {:?} has no values of these keys in this range", metric.definition.name);
            return Err(Problem::not_found(detail));
        }
        let step = match metric.definition.interval {
            Interval::Hourly => Some(Duration::from_secs(3_600)),
            Interval::Daily => Some(Duration::from_secs(86_400)),
            Interval::Weekly => Some(Duration::from_secs(604_800)),
            Interval::Monthly | Interval::Yearly => None,
        };
        Ok(Self {
            keys: found.iter().map(|series| series.key.clone()).collect(),
            times: found[0].points.iter().map(|point| point.start).collect(),
            step,
            values: found
                .iter()
                .map(|series| series.points.iter().map(|point| point.value.unwrap_or(f64::NAN)).collect())
                .collect(),
        })
    }
}

/// The instant so many steps after another.
fn moment(start: Timestamp, step: Duration, steps: usize) -> Timestamp {
    let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
    start.saturating_add(step.saturating_mul(i64::try_from(steps).unwrap_or(i64::MAX)))
}

/// Numbers as JSON has them: what cannot be told is null.
fn known(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().map(|value| Some(*value).filter(|value| !value.is_nan())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_day_of_a_metric_is_one_of_the_metrics_time_zone_as_where_its_values_are_read() {
        let range = json!({"metric": "a", "start": "2024-04-01", "end": "2024-04-02T10:00:00"});
        let range: MetricRange = serde_json::from_value(range).unwrap();
        let read = |text| bellwether_kernel::Moment::parse(text).map(Moment);
        assert_eq!(Some(range.start), read("2024-04-01"));
        assert_eq!(range.end, read("2024-04-02T10:00:00"));
    }
}
