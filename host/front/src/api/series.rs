//! Samples of tagged series: `POST /v1/series`, and which series there are.
//!
//! As `POST /v1/samples` it goes around every layer but the envelope, and joins its answer to its own commit.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bellwether_access::{Begun, Idempotency, IdempotencyError, Principal, StoredAnswer};
use bellwether_kernel::{Cursor, FieldError, OrganisationId};
use bellwether_series::{Filter, Samples, SeriesError, SeriesSamples};
use bellwether_store::Batch;
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::extract::{Authorised, Json, List, Query, Read, Time, Write, read_body, read_json, require_json};
use crate::idempotency::{remembered_as, replay};
use crate::openapi::{Bodied, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::{Services, Shared};

const SERIES: List = List("series");

/// Samples of tagged series to write.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSeriesSamples {
    /// All are written, or none is. Series that are not there are made.
    series: Vec<NewSeries>,
}

/// Samples of one series.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"metric": "system.cpu.user", "tags": ["host:web-1", "env:prod"], "points": [[1712000000000_i64, 41.5]]}))]
struct NewSeries {
    /// 1 to 200 bytes, no control characters.
    metric: String,
    /// `key:value`, or a word; in any order. A series is its metric and tags.
    #[serde(default)]
    tags: Vec<String>,
    /// Pairs of a time and a value, in any order; of several at one time the last written holds.
    points: Vec<Point>,
}

/// A time and a value.
struct Point(i64, f64);

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Time(time), value) = Deserialize::deserialize(deserializer)?;
        Ok(Self(time, value))
    }
}

impl PartialSchema for Point {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type};
        let number = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
        ArrayBuilder::new()
            .items(number)
            .min_items(Some(2))
            .max_items(Some(2))
            .schema_type(Type::Array)
            .description(Some("A time, in milliseconds since 1970 or as RFC 3339, and a value"))
            .into()
    }
}

impl ToSchema for Point {
    fn name() -> std::borrow::Cow<'static, str> {
        "SeriesPoint".into()
    }
}

impl From<NewSeries> for SeriesSamples {
    fn from(new: NewSeries) -> Self {
        let (times, values) = new.points.into_iter().map(|Point(time, value)| (time, value)).unzip();
        Self { metric: new.metric, tags: new.tags, samples: Samples { times, values } }
    }
}

/// What was written.
#[derive(Serialize, ToSchema)]
pub(crate) struct WrittenSeries {
    /// How many samples.
    written: usize,
    /// Of how many entries.
    series: usize,
}

/// Writes samples of tagged series: all are durable when this answers, or none is.
#[utoipa::path(post, path = "/v1/series", tag = "series", request_body = NewSeriesSamples, security(("key" = [])),
    responses((status = 200, description = "All are durable", body = WrittenSeries), Refusals, Bodied))]
pub(crate) async fn write(
    Authorised(principal, ..): Authorised<Write>,
    State(services): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    require_json(request.headers())?;
    let (parts, body) = request.into_parts();
    let body = read_body(&parts.headers, body, services.settings().body_limit_bytes).await?;
    let new: NewSeriesSamples = read_json(&body)?;
    let series: Vec<SeriesSamples> = new.series.into_iter().map(SeriesSamples::from).collect();
    check_unit(&series)?;
    let written = series.iter().map(|entry| entry.samples.len()).sum();
    let answer = WrittenSeries { written, series: series.len() };
    match remembered_as(&principal.key, &parts.headers)? {
        None => {
            let written = services.series().write(principal.organisation, &series, Batch::new()).await;
            written.map_err(as_written)?;
        }
        Some(key) => {
            let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
            let fingerprint = Idempotency::fingerprint(&[b"POST", target.as_bytes(), &body]);
            if let Some(before) = once(&services, &principal, &key, fingerprint, &series, &answer).await? {
                return Ok(replay(&services, before));
            }
        }
    }
    Ok(Json(answer).into_response())
}

/// Refuses times that somebody meant as seconds, of 2001 to 2103: as milliseconds they lie within the first weeks of 1970,
/// where nobody would find what was written.
fn check_unit(series: &[SeriesSamples]) -> Result<(), FieldError> {
    const SECONDS: std::ops::Range<i64> = 1_000_000_000..4_200_000_000;
    for (entry, SeriesSamples { samples, .. }) in series.iter().enumerate() {
        if let Some((point, time)) =
            samples.times.iter().enumerate().find(|(_, time)| SECONDS.contains(*time))
        {
            let field = format!("series[{entry}].points[{point}][0]");
            return Err(FieldError::new(
                field,
                time,
                format!("milliseconds since 1970: as seconds, {time}000 is meant"),
            ));
        }
    }
    Ok(())
}

/// Writes and remembers the answer in the same commit; gives the answer that was remembered, if one was.
async fn once(
    services: &Services,
    principal: &Principal,
    key: &str,
    fingerprint: [u8; 32],
    series: &[SeriesSamples],
    answer: &WrittenSeries,
) -> Result<Option<StoredAnswer>, Problem> {
    let idempotency = services.access().idempotency();
    let organisation = principal.organisation;
    let ticket = match idempotency.lookup(Some(organisation), key, fingerprint).await? {
        Begun::Replay(answer) => return Ok(Some(answer)),
        Begun::New(ticket) => ticket,
    };
    let answer = StoredAnswer {
        status: StatusCode::OK.as_u16(),
        content_type: "application/json".to_owned(),
        body: Bytes::from(serde_json::to_vec(answer).map_err(Problem::internal)?),
    };
    let join = ticket.finish_batch(&answer)?;
    match services.series().write(organisation, series, join).await {
        Ok(()) => Ok(None),
        // The same request was quicker: its answer is there.
        Err(SeriesError::Store(error)) if ticket.lost(&error) => {
            match idempotency.lookup(Some(organisation), key, fingerprint).await? {
                Begun::Replay(answer) => Ok(Some(answer)),
                Begun::New(_) => Err(IdempotencyError::InProgress.into()),
            }
        }
        Err(error) => Err(as_written(error)),
    }
}

/// A refusal that names the field as the request has it: a time is the first of its point.
fn as_written(error: SeriesError) -> Problem {
    match error {
        SeriesError::Invalid(mut field) => {
            if let Some((entry, index)) = field.field.split_once(".times") {
                field.field = format!("{entry}.points{index}[0]");
            }
            field.into()
        }
        error => error.into(),
    }
}

/// Which series.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SeriesQuery {
    /// Of which metric.
    metric: String,
    /// Only those with such tags: `env:prod,!host:a*`; by default all.
    filter: Option<String>,
    /// At most this many, 1 to 1000; by default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A page of series.
#[derive(Serialize, ToSchema)]
pub(crate) struct TaggedSeriesList {
    /// In the order they were first written.
    items: Vec<TaggedSeries>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A series.
#[derive(Serialize, ToSchema)]
struct TaggedSeries {
    /// In order.
    #[schema(value_type = Vec<String>)]
    tags: Tags,
}

/// Lists the series of a metric.
#[utoipa::path(get, path = "/v1/series", tag = "series", params(SeriesQuery), security(("key" = [])),
    responses((status = 200, description = "A page of series", body = TaggedSeriesList), Refusals, NotFound))]
pub(crate) async fn list(
    Authorised(principal, ..): Authorised<Read>,
    Query(query): Query<SeriesQuery>,
    State(services): State<Shared>,
) -> Result<Json<TaggedSeriesList>, Problem> {
    let (limit, cursor) = (query.limit, query.cursor.as_deref());
    let filter = filter(query.filter.as_deref())?;
    let (items, next) =
        page(&services, principal.organisation, (&query.metric, filter), limit, cursor).await?;
    Ok(Json(TaggedSeriesList { items: items.into_iter().map(|tags| TaggedSeries { tags }).collect(), next }))
}

/// The tags of a series, in order.
type Tags = Vec<Arc<str>>;

/// The tags of a page of a metric's series, and where the next begins.
pub(crate) async fn page(
    services: &Services,
    organisation: OrganisationId,
    (metric, filter): (&str, Filter),
    limit: Option<usize>,
    cursor: Option<&str>,
) -> Result<(Vec<Tags>, Option<String>), Problem> {
    let page = SERIES.page(limit, cursor)?;
    let after = page.cursor.as_ref().map(number_of).transpose()?;
    let found = services.series().series(organisation, metric, filter, after, page.limit).await?;
    let last = found.items.last().map(|(number, _)| Cursor(number.to_be_bytes().to_vec()));
    let next = SERIES.next(last.filter(|_| found.more));
    Ok((found.items.into_iter().map(|(_, tags)| tags).collect(), next))
}

fn number_of(cursor: &Cursor) -> Result<u32, FieldError> {
    let bytes = cursor.0.as_slice().try_into();
    bytes.map(u32::from_be_bytes).map_err(|_| FieldError::wrong_cursor(cursor))
}

/// What the parameter `filter` means; every series without it.
pub(crate) fn filter(text: Option<&str>) -> Result<Filter, Problem> {
    Ok(text.map_or(Ok(Filter::All), bellwether_series::parse_filter)?)
}
