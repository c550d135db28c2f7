//! Questions to tagged series: `/v1/query`.

use std::collections::BTreeMap;

use axum::extract::State;
use bellwether_kernel::{FieldError, Timestamp};
use bellwether_series::{Line, TimeRange, parse_datadog};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::causes::series_query;
use crate::extract::{Authorised, Instant, Json, Query, Read, Time};
use crate::openapi::{Bodied, Refusals, TooMuch};
use crate::problem::Problem;
use crate::services::{Services, Shared};

/// What is asked.
#[derive(Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SeriesQuestion {
    /// In Datadog's language: `avg:system.cpu.user{env:prod,!host:a*} by {host}.rollup(max, 60)`, with functions and
    /// arithmetic; `host:~"web-\d+"` is a regular expression, other text in quotes is meant as it stands.
    #[param(example = "avg:system.cpu.user{env:prod} by {host}")]
    #[schema(example = "avg:system.cpu.user{env:prod} by {host}")]
    query: String,
    /// Samples from here on; by default an hour before `end`.
    start: Option<Time>,
    /// Samples up to here; by default now.
    end: Option<Time>,
    /// The length of a step, in milliseconds; by default one that makes 300 points at most.
    #[param(minimum = 1)]
    #[schema(minimum = 1)]
    step: Option<i64>,
}

/// The answer to a query.
#[derive(Serialize, ToSchema)]
pub(crate) struct SeriesAnswer {
    start: Instant,
    end: Instant,
    /// The length of a step, in milliseconds, where the query does not say it.
    step: i64,
    /// In order of their tags, or as the query ranks them.
    lines: Vec<SeriesLine>,
}

/// One line of an answer.
#[derive(Serialize, ToSchema)]
struct SeriesLine {
    /// The metric, where it is of one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<String>,
    /// The values of the tags it is grouped by.
    tags: BTreeMap<String, String>,
    /// The length of its steps, in milliseconds.
    step: i64,
    /// Pairs: when a step begins, in milliseconds since 1970, and its value. Steps without a value are left out.
    points: Vec<(i64, f64)>,
}

impl From<Line> for SeriesLine {
    fn from(line: Line) -> Self {
        Self {
            metric: line.metric.map(|metric| metric.to_string()),
            tags: line.tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            step: line.step,
            points: line.points,
        }
    }
}

/// Asks tagged series.
#[utoipa::path(get, path = "/v1/query", tag = "series", params(SeriesQuestion), security(("key" = [])),
    responses((status = 200, description = "The answer", body = SeriesAnswer), Refusals, TooMuch))]
pub(crate) async fn get(
    Authorised(principal, ..): Authorised<Read>,
    Query(question): Query<SeriesQuestion>,
    State(services): State<Shared>,
) -> Result<Json<SeriesAnswer>, Problem> {
    answer(&services, principal.organisation, question).await
}

/// Asks tagged series, with the question in the body.
#[utoipa::path(post, path = "/v1/query", tag = "series", request_body = SeriesQuestion, security(("key" = [])),
    responses((status = 200, description = "The answer", body = SeriesAnswer), Refusals, Bodied))]
pub(crate) async fn post(
    Authorised(principal, ..): Authorised<Read>,
    State(services): State<Shared>,
    Json(question): Json<SeriesQuestion>,
) -> Result<Json<SeriesAnswer>, Problem> {
    answer(&services, principal.organisation, question).await
}

/// What is looked back on where no start is said.
const HOUR: i64 = 3_600_000;

/// An instant of the calendar.
fn instant(field: &str, Time(milliseconds): Time) -> Result<Timestamp, FieldError> {
    Timestamp::from_milliseconds(milliseconds).ok_or_else(|| {
        let expected = format!("milliseconds since 1970 of an instant {}", Timestamp::bounds());
        FieldError::new(field, milliseconds, expected)
    })
}

async fn answer(
    services: &Services,
    organisation: bellwether_kernel::OrganisationId,
    question: SeriesQuestion,
) -> Result<Json<SeriesAnswer>, Problem> {
    let end = match question.end {
        Some(end) => instant("end", end)?,
        None => services.parts.clock.now(),
    };
    let start = match question.start {
        Some(start) => instant("start", start)?,
        None => end.saturating_add(-HOUR),
    };
    if end < start {
        return Err(FieldError::new("end", end, format!("an instant not before start, {start}")).into());
    }
    let range = TimeRange { start, end, step: question.step };
    let expression = parse_datadog(&question.query);
    let expression = expression.map_err(|error| series_query(&question.query, error))?;
    let lines = services.series().query(organisation, &expression, range, &|_| true).await?;
    let lines = lines.into_iter().map(SeriesLine::from).collect();
    Ok(Json(SeriesAnswer { start: start.into(), end: end.into(), step: range.step(), lines }))
}
