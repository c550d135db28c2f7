//! Metrics: `/v1/metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_access::DataChange;
use bellwether_kernel::{MetricId, OrganisationId};
use bellwether_metrics::{Definition, KeyFilter, ListFilter, MetricError, MetricReference};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::words::{DataType, Interval};
use crate::extract::{Authorised, Instant, Json, List, Path, Query, Read, Write};
use crate::openapi::{Bodied, Clash, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::{Services, Shared};

pub(crate) const METRICS: List = List("metrics");
pub(crate) const KEYS: List = List("metric keys");

/// A metric.
#[derive(Serialize, ToSchema)]
pub(crate) struct Metric {
    /// Never used twice within the organisation.
    #[schema(example = 7)]
    id: u64,
    /// Unique in the organisation.
    #[schema(example = "logins")]
    name: String,
    data_type: DataType,
    interval: Interval,
    /// Whether every sample names a key, each key a series of its own.
    keyed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// The IANA time zone its intervals begin in: the organisation's when the metric was created.
    #[schema(example = "Europe/Vienna")]
    time_zone: String,
    created: Instant,
}

impl From<&bellwether_metrics::Metric> for Metric {
    fn from(metric: &bellwether_metrics::Metric) -> Self {
        let definition = &metric.definition;
        Self {
            id: metric.id.0,
            name: definition.name.clone(),
            data_type: definition.data_type.into(),
            interval: definition.interval.into(),
            keyed: definition.keyed,
            description: definition.description.clone(),
            time_zone: metric.time_zone.clone(),
            created: metric.created.into(),
        }
    }
}

/// A page of metrics.
#[derive(Serialize, ToSchema)]
pub(crate) struct MetricList {
    /// Ordered by id.
    items: Vec<Metric>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What a new metric shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMetric {
    /// 1 to 200 characters, no control characters.
    #[schema(example = "logins")]
    name: String,
    data_type: DataType,
    interval: Interval,
    /// Whether every sample names a key.
    #[serde(default)]
    keyed: bool,
    /// At most 500 characters.
    description: Option<String>,
}

/// Which metrics.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MetricQuery {
    /// Only names that contain this, letter case ignored.
    name_contains: Option<String>,
    /// At most this many, 1 to 1000; by default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists metrics.
#[utoipa::path(get, path = "/v1/metrics", tag = "metrics", params(MetricQuery), security(("key" = [])),
    responses((status = 200, description = "A page of metrics", body = MetricList), Refusals))]
pub(crate) async fn list(
    Authorised(principal, ..): Authorised<Read>,
    Query(query): Query<MetricQuery>,
    State(services): State<Shared>,
) -> Result<Json<MetricList>, Problem> {
    let page = METRICS.page(query.limit, query.cursor.as_deref())?;
    let filter = ListFilter { name_contains: query.name_contains };
    let found = services.metrics().page(principal.organisation, &filter, &page).await?;
    let found = found.map(|metric| Metric::from(&*metric));
    Ok(Json(MetricList { items: found.items, next: METRICS.next(found.next) }))
}

/// Creates a metric, or answers the one of that name if it is the same.
#[utoipa::path(post, path = "/v1/metrics", tag = "metrics", request_body = NewMetric, security(("key" = [])),
    responses(
        (status = 201, description = "The new metric", body = Metric),
        (status = 200, description = "The same metric was there already", body = Metric),
        Refusals, Bodied, Clash))]
pub(crate) async fn define(
    Authorised(principal, ..): Authorised<Write>,
    State(services): State<Shared>,
    Json(new): Json<NewMetric>,
) -> Result<Response, Problem> {
    let definition = Definition {
        name: new.name,
        data_type: new.data_type.into(),
        interval: new.interval.into(),
        keyed: new.keyed,
        description: new.description,
    };
    let defined = services.metrics().define(principal.organisation, &principal.time_zone, definition).await?;
    let status = if defined.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Metric::from(&*defined.metric))).into_response())
}

/// Shows a metric.
#[utoipa::path(get, path = "/v1/metrics/{metric}", tag = "metrics", security(("key" = [])),
    params(("metric" = String, Path, description = "Its id, or its name, percent-encoded; one of digits alone in quotes")),
    responses((status = 200, description = "The metric", body = Metric), Refusals, NotFound))]
pub(crate) async fn get(
    Authorised(principal, ..): Authorised<Read>,
    Path(metric): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Metric>, Problem> {
    let metric = find(&services, principal.organisation, metric).await?;
    Ok(Json(Metric::from(&*metric)))
}

/// Deletes a metric and everything written to it.
#[utoipa::path(delete, path = "/v1/metrics/{metric}", tag = "metrics", security(("key" = [])),
    params(("metric" = String, Path, description = "Its id, or its name, percent-encoded; one of digits alone in quotes")),
    responses((status = 200, description = "The metric that was", body = Metric), Refusals, NotFound))]
pub(crate) async fn delete(
    Authorised(principal, ..): Authorised<Write>,
    Path(metric): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Metric>, Problem> {
    let metric = find(&services, principal.organisation, metric).await?;
    let told = |metric: &bellwether_metrics::Metric| {
        let change = DataChange::DeleteMetric { name: &metric.definition.name, id: metric.id };
        services.told(&principal, &change)
    };
    let reference = MetricReference::Id(metric.id);
    let metric = services.metrics().delete_with(principal.organisation, &reference, told).await?;
    Ok(Json(Metric::from(&*metric)))
}

/// The metric a path names.
pub(crate) async fn find(
    services: &Services,
    organisation: OrganisationId,
    id_or_name: String,
) -> Result<Arc<bellwether_metrics::Metric>, MetricError> {
    services.metrics().get(organisation, &reference(id_or_name)).await
}

/// What a path means, whichever metrics there are: digits are an id, else it is a name. A name that is digits alone is
/// written in quotation marks, as in JSON.
fn reference(id_or_name: String) -> MetricReference {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Ok(id) = id_or_name.parse::<MetricId>() {
        return MetricReference::Id(id);
    }
    let quoted = id_or_name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match quoted.filter(|inner| digits(inner)) {
        Some(name) => MetricReference::Name(name.to_owned()),
        None => MetricReference::Name(id_or_name),
    }
}

/// Which keys.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeyQuery {
    /// Only keys that contain this.
    contains: Option<String>,
    /// At most this many, 1 to 1000; by default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A page of a metric's keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyList {
    /// In the order of their bytes.
    items: Vec<String>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists the keys of a keyed metric.
#[utoipa::path(get, path = "/v1/metrics/{metric}/keys", tag = "metrics", security(("key" = [])),
    params(("metric" = String, Path, description = "Its id, or its name, percent-encoded; one of digits alone in quotes"), KeyQuery),
    responses((status = 200, description = "A page of keys", body = KeyList), Refusals, NotFound))]
pub(crate) async fn keys(
    Authorised(principal, ..): Authorised<Read>,
    Path(metric): Path<String>,
    Query(query): Query<KeyQuery>,
    State(services): State<Shared>,
) -> Result<Json<KeyList>, Problem> {
    let page = KEYS.page(query.limit, query.cursor.as_deref())?;
    let metric = find(&services, principal.organisation, metric).await?;
    let filter = KeyFilter { contains: query.contains, ..KeyFilter::default() };
    let metric = MetricReference::Id(metric.id);
    let found = services.metrics().keys(principal.organisation, &metric, &filter, &page).await?;
    Ok(Json(KeyList { items: found.items, next: KEYS.next(found.next) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_means_the_same_metric_whichever_there_are() {
        let name = |name: &str| MetricReference::Name(name.to_owned());
        for (path, meant) in [
            ("3", MetricReference::Id(MetricId(3))),
            ("\"3\"", name("3")),
            ("\"3a\"", name("\"3a\"")),
            ("\"\"", name("\"\"")),
            ("logins", name("logins")),
            ("99999999999999999999", name("99999999999999999999")),
        ] {
            assert_eq!(reference(path.to_owned()), meant, "{path}");
        }
    }
}
