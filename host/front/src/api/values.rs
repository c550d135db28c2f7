//! What was written to a metric, read back: `/v1/metrics/{metric}/values`.

use axum::extract::State;
use bellwether_kernel::FieldError;
use bellwether_metrics::{IntervalQuery, KeySelection, MetricReference, SeriesPoint, SeriesValues};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::metrics::{Metric, find};
use super::words::Fill;
use crate::extract::{Authorised, Instant, Json, Moment, Path, Query, Read};
use crate::openapi::{NotFound, Refusals, TooMuch};
use crate::problem::Problem;
use crate::services::Shared;

/// Which intervals of which series.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ValueQuery {
    /// The first interval is the one that contains this; by default the last one. A day or a time without an offset
    /// is of the metric's time zone.
    start: Option<Moment>,
    /// The last interval is the one that contains this, of a day alone its beginning; by default the present one, or
    /// that of `start` if that lies ahead.
    end: Option<Moment>,
    /// Only these keys, repeated for each; by default all.
    #[serde(default)]
    #[param(explode = true)]
    key: Vec<String>,
    /// What an interval without samples answers; by default it is left out.
    fill: Option<Fill>,
    /// Whether every value comes with everything else its samples amount to; by default not.
    #[serde(default)]
    aggregates: bool,
}

/// The values of one metric.
#[derive(Serialize, ToSchema)]
pub(crate) struct Values {
    metric: Metric,
    /// Ordered by key; one without a key for a metric that has none.
    series: Vec<Series>,
}

/// The values of one series.
#[derive(Serialize, ToSchema)]
pub(crate) struct Series {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Oldest first.
    values: Vec<Value>,
}

/// The value of one interval.
#[derive(Serialize, ToSchema)]
pub(crate) struct Value {
    /// Where the interval begins.
    start: Instant,
    /// What its samples amount to; null only where filled.
    value: Option<f64>,
    /// How many samples it has.
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aggregates: Option<Aggregates>,
}

/// Everything the samples of one interval amount to.
#[derive(Serialize, ToSchema)]
pub(crate) struct Aggregates {
    sum: f64,
    minimum: f64,
    maximum: f64,
    /// The value of the earliest sample.
    first: f64,
    /// The value of the latest sample.
    last: f64,
    /// The mean, weighted in a metric of type average.
    average: f64,
}

/// Reads values: one interval or a range, all keys or some.
#[utoipa::path(get, path = "/v1/metrics/{metric}/values", tag = "metrics", security(("key" = [])),
    params(("metric" = String, Path, description = "Its id, or its name, percent-encoded; one of digits alone in quotes"), ValueQuery),
    responses((status = 200, description = "The values", body = Values), Refusals, NotFound, TooMuch))]
pub(crate) async fn values(
    Authorised(principal, ..): Authorised<Read>,
    Path(metric): Path<String>,
    Query(query): Query<ValueQuery>,
    State(services): State<Shared>,
) -> Result<Json<Values>, Problem> {
    let metric = find(&services, principal.organisation, metric).await?;
    let reference = MetricReference::Id(metric.id);
    let now = services.parts.clock.now();
    let (mut range, metrics) = ([None, None], services.metrics());
    for (instant, asked) in range.iter_mut().zip([query.start, query.end]) {
        if let Some(Moment(moment)) = asked {
            *instant = Some(metrics.instant(principal.organisation, &reference, moment).await?);
        }
    }
    let (start, end) = match range {
        [None, None] => (now, now),
        [None, Some(end)] => (end, end),
        [Some(start), None] => (start, now.max(start)),
        [Some(start), Some(end)] => (start, end),
    };
    if end < start {
        return Err(FieldError::new("end", end, format!("an instant not before start, {start}")).into());
    }
    let asked = IntervalQuery {
        metric: reference,
        keys: if query.key.is_empty() { KeySelection::All } else { KeySelection::Keys(query.key) },
        start,
        end,
        fill: query.fill.unwrap_or(Fill::Gaps).into(),
    };
    let series = metrics.query(principal.organisation, &asked).await?;
    let shown = |series: SeriesValues| Series {
        key: series.key,
        values: series.points.iter().map(|point| value(point, query.aggregates)).collect(),
    };
    Ok(Json(Values { metric: Metric::from(&*metric), series: series.into_iter().map(shown).collect() }))
}

fn value(point: &SeriesPoint, aggregates: bool) -> Value {
    let aggregates = point.aggregate.as_ref().filter(|_| aggregates).map(|aggregate| Aggregates {
        sum: aggregate.sum,
        minimum: aggregate.minimum,
        maximum: aggregate.maximum,
        first: aggregate.first,
        last: aggregate.last,
        average: aggregate.average,
    });
    Value { start: point.start.into(), value: point.value, count: point.count, aggregates }
}
