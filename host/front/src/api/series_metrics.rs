//! Metrics with tagged series: `/v1/series/metrics`.

use bellwether_access::DataChange;
use bellwether_kernel::{Cursor, FieldError, OrganisationId};
use bellwether_series::SeriesError;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use axum::extract::State;

use super::series::filter;
use super::words::MetricKind;
use crate::extract::{Authorised, Json, List, PageQuery, Path, Query, Read, Write};
use crate::openapi::{Bodied, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::{Services, Shared};

const METRICS: List = List("metrics with tagged series");
const KEYS: List = List("tag keys");
const VALUES: List = List("tag values");

/// What is known of a metric with tagged series. What is left out is unknown, but its kind, which stays.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SeriesMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<MetricKind>,
    /// What it is measured in; at most 100 bytes.
    #[schema(example = "byte")]
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    /// By what that is divided; at most 100 bytes.
    #[schema(example = "second")]
    #[serde(skip_serializing_if = "Option::is_none")]
    per_unit: Option<String>,
    /// At most 1,000 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// At most 100 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    short_name: Option<String>,
    /// What sends it; at most 100 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    integration: Option<String>,
    /// Days its samples are kept, 1 to 36,500; by default as long as the host keeps them.
    #[schema(minimum = 1, maximum = 36_500)]
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_days: Option<u32>,
    /// From which ages on its samples are kept as roll-ups only: sum, count, minimum, maximum and last of each step, of a
    /// distribution its percentiles too. At most four, each later and of longer steps, multiples of those before.
    #[schema(max_items = 4)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roll_ups: Vec<RollUp>,
}

/// From which age on samples are kept as roll-ups only.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RollUp {
    /// Days all samples of a week (since 1970, UTC) have to be old.
    #[schema(minimum = 1, maximum = 36_500, example = 15)]
    after_days: u32,
    /// Seconds of a step, 10 or more that divide a day.
    #[schema(minimum = 10, maximum = 86_400, example = 300)]
    step_seconds: u32,
}

/// A metric with tagged series.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaggedMetric {
    #[schema(example = "system.cpu.user")]
    name: String,
    /// How many series it has.
    series: u64,
    #[serde(flatten)]
    metadata: SeriesMetadata,
}

impl From<bellwether_series::TaggedMetric> for TaggedMetric {
    fn from(metric: bellwether_series::TaggedMetric) -> Self {
        let metadata = metric.metadata;
        Self {
            name: metric.name.to_string(),
            series: metric.series,
            metadata: SeriesMetadata {
                kind: Some(metadata.kind.into()),
                unit: metadata.unit.clone(),
                per_unit: metadata.per_unit.clone(),
                description: metadata.description.clone(),
                short_name: metadata.short_name.clone(),
                integration: metadata.integration.clone(),
                keep_days: metadata.keep_days,
                roll_ups: metadata.roll_ups.iter().map(|roll_up| (*roll_up).into()).collect(),
            },
        }
    }
}

impl SeriesMetadata {
    /// What is known of a metric of this kind from now on.
    fn of_kind(self, kind: bellwether_series::MetricKind) -> bellwether_series::Metadata {
        bellwether_series::Metadata {
            kind: self.kind.map_or(kind, Into::into),
            unit: self.unit,
            per_unit: self.per_unit,
            description: self.description,
            short_name: self.short_name,
            integration: self.integration,
            keep_days: self.keep_days,
            roll_ups: self.roll_ups.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<bellwether_series::RollUp> for RollUp {
    fn from(bellwether_series::RollUp { after_days, step_seconds }: bellwether_series::RollUp) -> Self {
        Self { after_days, step_seconds }
    }
}

impl From<RollUp> for bellwether_series::RollUp {
    fn from(RollUp { after_days, step_seconds }: RollUp) -> Self {
        Self { after_days, step_seconds }
    }
}

/// Which metrics.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TaggedMetricQuery {
    /// Only names that contain this, letter case ignored.
    name_contains: Option<String>,
    /// At most this many, 1 to 1000; by default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A page of metrics with tagged series.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaggedMetricList {
    /// Ordered by name.
    items: Vec<TaggedMetric>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The text a cursor holds: the last item of the page before.
fn text_of(cursor: Option<&Cursor>) -> Result<Option<String>, FieldError> {
    cursor
        .map(|cursor| String::from_utf8(cursor.0.clone()).map_err(|_| FieldError::wrong_cursor(cursor)))
        .transpose()
}

fn next(list: &List, more: bool, last: Option<&str>) -> Option<String> {
    list.next(last.filter(|_| more).map(|last| Cursor(last.as_bytes().to_vec())))
}

/// Lists metrics with tagged series.
#[utoipa::path(get, path = "/v1/series/metrics", tag = "series", params(TaggedMetricQuery), security(("key" = [])),
    responses((status = 200, description = "A page of metrics", body = TaggedMetricList), Refusals))]
pub(crate) async fn list(
    Authorised(principal, ..): Authorised<Read>,
    Query(query): Query<TaggedMetricQuery>,
    State(services): State<Shared>,
) -> Result<Json<TaggedMetricList>, Problem> {
    let (limit, cursor) = (query.limit, query.cursor.as_deref());
    let (items, next) =
        page(&services, principal.organisation, query.name_contains.as_deref(), limit, cursor)?;
    Ok(Json(TaggedMetricList { items: items.into_iter().map(TaggedMetric::from).collect(), next }))
}

/// A page of the metrics whose names contain a part, and where the next begins.
pub(crate) fn page(
    services: &Services,
    organisation: OrganisationId,
    part: Option<&str>,
    limit: Option<usize>,
    cursor: Option<&str>,
) -> Result<(Vec<bellwether_series::TaggedMetric>, Option<String>), Problem> {
    let page = METRICS.page(limit, cursor)?;
    let after = text_of(page.cursor.as_ref())?;
    let found = services.series().metrics(organisation, part, &|_| true, after.as_deref(), page.limit);
    let next = next(&METRICS, found.more, found.items.last().map(|metric| &*metric.name));
    Ok((found.items, next))
}

/// Shows a metric with tagged series.
#[utoipa::path(get, path = "/v1/series/metrics/{metric}", tag = "series", security(("key" = [])),
    params(("metric" = String, Path, description = "Its name, percent-encoded")),
    responses((status = 200, description = "The metric", body = TaggedMetric), Refusals, NotFound))]
pub(crate) async fn get(
    Authorised(principal, ..): Authorised<Read>,
    Path(metric): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<TaggedMetric>, Problem> {
    Ok(Json(services.series().metric(principal.organisation, &metric)?.into()))
}

/// Sets what is known of a metric, samples or not; what is left out becomes unknown, but its kind, which stays.
#[utoipa::path(put, path = "/v1/series/metrics/{metric}", tag = "series", request_body = SeriesMetadata,
    security(("key" = [])), params(("metric" = String, Path, description = "Its name, percent-encoded")),
    responses((status = 200, description = "The metric as it is now", body = TaggedMetric), Refusals, Bodied))]
pub(crate) async fn describe(
    Authorised(principal, ..): Authorised<Write>,
    Path(metric): Path<String>,
    State(services): State<Shared>,
    Json(new): Json<SeriesMetadata>,
) -> Result<Json<TaggedMetric>, Problem> {
    let steps: Vec<_> = new.roll_ups.iter().map(|step| (step.after_days, step.step_seconds)).collect();
    let change = DataChange::DescribeSeries { metric: &metric, keep_days: new.keep_days, roll_ups: &steps };
    let told = services.told(&principal, &change);
    let kind = match services.series().metric(principal.organisation, &metric) {
        Ok(known) => known.metadata.kind,
        Err(SeriesError::UnknownMetric(_)) => bellwether_series::MetricKind::default(),
        Err(error) => return Err(error.into()),
    };
    services.series().describe(principal.organisation, &metric, new.of_kind(kind), told).await?;
    Ok(Json(services.series().metric(principal.organisation, &metric)?.into()))
}

/// Which series to delete.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeletionQuery {
    /// Only those with such tags: `env:prod,!host:a*`; by default all.
    filter: Option<String>,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeletedSeries {
    /// How many series, with all their samples.
    deleted: u64,
}

/// Deletes series of a metric with their samples; without a filter what is known of the metric goes too, unless it says how
/// long samples are kept or rolled up.
#[utoipa::path(delete, path = "/v1/series/metrics/{metric}", tag = "series", security(("key" = [])),
    params(("metric" = String, Path, description = "Its name, percent-encoded"), DeletionQuery),
    responses((status = 200, description = "They are gone", body = DeletedSeries), Refusals, NotFound))]
pub(crate) async fn delete(
    Authorised(principal, ..): Authorised<Write>,
    Path(metric): Path<String>,
    Query(query): Query<DeletionQuery>,
    State(services): State<Shared>,
) -> Result<Json<DeletedSeries>, Problem> {
    let which = query.filter.as_deref();
    let filter = filter(which)?;
    let change = DataChange::DeleteSeries { metric: &metric, filter: which.unwrap_or("*") };
    let told = services.told(&principal, &change);
    let deleted = services.series().delete(principal.organisation, &metric, filter, told).await?;
    Ok(Json(DeletedSeries { deleted }))
}

/// A page of the keys of the tags of a metric's series.
#[derive(Serialize, ToSchema)]
pub(crate) struct TagKeyList {
    /// In the order of their bytes.
    items: Vec<TagKey>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A tag's key.
#[derive(Serialize, ToSchema)]
struct TagKey {
    #[schema(example = "host")]
    key: String,
    /// How many values it has: its cardinality.
    values: u64,
    /// How many series have it.
    series: u64,
}

/// Lists the keys of the tags of a metric's series, with their cardinality.
#[utoipa::path(get, path = "/v1/series/metrics/{metric}/tags", tag = "series", security(("key" = [])),
    params(("metric" = String, Path, description = "Its name, percent-encoded"), PageQuery),
    responses((status = 200, description = "A page of keys", body = TagKeyList), Refusals, NotFound))]
pub(crate) async fn keys(
    Authorised(principal, ..): Authorised<Read>,
    Path(metric): Path<String>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<TagKeyList>, Problem> {
    let page = KEYS.page(query.limit, query.cursor.as_deref())?;
    let after = text_of(page.cursor.as_ref())?;
    let mut keys = services.series().tag_keys(principal.organisation, &metric).await?;
    keys.retain(|key| after.as_deref().is_none_or(|after| after < &*key.key));
    let more = keys.len() > page.limit;
    keys.truncate(page.limit);
    let next = next(&KEYS, more, keys.last().map(|key| &*key.key));
    let shown = |key: bellwether_series::TagKey| TagKey {
        key: key.key.to_string(),
        values: key.values,
        series: key.series,
    };
    Ok(Json(TagKeyList { items: keys.into_iter().map(shown).collect(), next }))
}

/// A page of a tag's values.
#[derive(Serialize, ToSchema)]
pub(crate) struct TagValueList {
    /// In the order of their bytes.
    items: Vec<TagValue>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A tag's value.
#[derive(Serialize, ToSchema)]
struct TagValue {
    #[schema(example = "web-1")]
    value: String,
    /// How many series have it.
    series: u64,
}

/// Lists the values of a tag among a metric's series.
#[utoipa::path(get, path = "/v1/series/metrics/{metric}/tags/{key}", tag = "series", security(("key" = [])),
    params(
        ("metric" = String, Path, description = "The metric's name, percent-encoded"),
        ("key" = String, Path, description = "The tag's key, percent-encoded"),
        PageQuery),
    responses((status = 200, description = "A page of values", body = TagValueList), Refusals, NotFound))]
pub(crate) async fn values(
    Authorised(principal, ..): Authorised<Read>,
    Path((metric, key)): Path<(String, String)>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<TagValueList>, Problem> {
    let page = VALUES.page(query.limit, query.cursor.as_deref())?;
    let after = text_of(page.cursor.as_ref())?;
    let series = services.series();
    let found =
        series.tag_values(principal.organisation, &metric, &key, after.as_deref(), page.limit).await?;
    let next = next(&VALUES, found.more, found.items.last().map(|(value, _)| &**value));
    let shown = |(value, series): (std::sync::Arc<str>, u64)| TagValue { value: value.to_string(), series };
    Ok(Json(TagValueList { items: found.items.into_iter().map(shown).collect(), next }))
}
