//! Samples: `POST /v1/samples`, the busiest route there is.
//!
//! It goes around every layer but the envelope. With an `Idempotency-Key` the answer is remembered in the samples'
//! own commit, so that the two are there together or not at all, and no second sync is paid for.

use std::fmt;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bellwether_access::{Begun, Idempotency, IdempotencyError, Principal, StoredAnswer};
use bellwether_kernel::{MetricId, OrganisationId};
use bellwether_metrics::{MetricError, MetricReference, Record, Sample, Written};
use bellwether_store::Batch;
use bytes::Bytes;
use http::StatusCode;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::extract::{Authorised, Instant, Json, Moment, Write, read_body, read_json, require_json};
use crate::idempotency::{remembered_as, replay};
use crate::openapi::{Bodied, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::{Services, Shared};

/// Samples to write.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSamples {
    /// All are written, or none is.
    samples: Vec<NewSample>,
    /// Whether the answer tells what each sample's interval amounts to now. An answer repeated for its
    /// `Idempotency-Key` tells what they amounted to then.
    #[serde(default)]
    return_values: bool,
}

/// One sample.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"metric": "logins", "key": "web", "value": 3}))]
struct NewSample {
    metric: Reference,
    /// Needed for a keyed metric, refused for one without keys. 1 to 200 characters.
    key: Option<String>,
    /// Needed unless the metric is of type count: there none or 1, as each of its samples is 1.
    value: Option<f64>,
    /// When it happened; by default now. A day or a time without an offset is of the metric's time zone.
    time: Option<Moment>,
    /// Above 0, by default 1; only averages look at it.
    weight: Option<f64>,
}

impl From<NewSample> for Sample {
    fn from(new: NewSample) -> Self {
        let time = new.time.map(|Moment(time)| time);
        Self { metric: new.metric.0, key: new.key, value: new.value, time, weight: new.weight }
    }
}

/// A metric by its name (text) or its id (a number).
#[derive(Debug)]
pub(super) struct Reference(pub(super) MetricReference);

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrId).map(Self)
    }
}

struct NameOrId;

impl Visitor<'_> for NameOrId {
    type Value = MetricReference;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a metric's name in quotes, or its id as a number")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<MetricReference, E> {
        Ok(MetricReference::Name(name.to_owned()))
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<MetricReference, E> {
        Ok(MetricReference::Id(MetricId(id)))
    }
}

impl PartialSchema for Reference {
    fn schema() -> RefOr<Schema> {
        let of = |schema_type, description: &str| {
            ObjectBuilder::new().schema_type(SchemaType::Type(schema_type)).description(Some(description))
        };
        OneOfBuilder::new().item(of(Type::String, "Its name")).item(of(Type::Integer, "Its id")).into()
    }
}

impl ToSchema for Reference {
    fn name() -> std::borrow::Cow<'static, str> {
        "MetricReference".into()
    }
}

/// What was written.
#[derive(Serialize, ToSchema)]
pub(crate) struct WrittenSamples {
    /// How many samples.
    written: usize,
    /// One for each sample, in order, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Vec<WrittenValue>>,
}

/// What a sample's interval amounts to, the sample included.
#[derive(Serialize, ToSchema)]
struct WrittenValue {
    interval_start: Instant,
    value: f64,
}

impl From<Written> for WrittenValue {
    fn from(written: Written) -> Self {
        Self { interval_start: written.interval_start.into(), value: written.value }
    }
}

/// Writes samples: all are durable when this answers, or none is.
#[utoipa::path(post, path = "/v1/samples", tag = "metrics", request_body = NewSamples, security(("key" = [])),
    responses((status = 200, description = "All are durable", body = WrittenSamples), Refusals, NotFound, Bodied))]
pub(crate) async fn write(
    Authorised(principal, ..): Authorised<Write>,
    State(services): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    require_json(request.headers())?;
    let (parts, body) = request.into_parts();
    let body = read_body(&parts.headers, body, services.settings().body_limit_bytes).await?;
    let new: NewSamples = read_json(&body)?;
    let samples: Vec<Sample> = new.samples.into_iter().map(Sample::from).collect();
    let written = match remembered_as(&principal.key, &parts.headers)? {
        None => services.metrics().write(principal.organisation, &samples, Batch::new()).await?,
        Some(key) => {
            let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
            let fingerprint = Idempotency::fingerprint(&[b"POST", target.as_bytes(), &body]);
            let once = Asked { key: &key, fingerprint, values: new.return_values };
            match write_once(&services, &principal, once, &samples).await? {
                Once::Written(written) => written,
                Once::Replayed(answer) => return Ok(replay(&services, answer)),
            }
        }
    };
    let values = new.return_values.then(|| written.into_iter().map(WrittenValue::from).collect());
    Ok(Json(WrittenSamples { written: samples.len(), values }).into_response())
}

enum Once {
    Written(Vec<Written>),
    Replayed(StoredAnswer),
}

/// A write that is asked for once.
#[derive(Clone, Copy)]
struct Asked<'a> {
    /// Under this key.
    key: &'a str,
    fingerprint: [u8; 32],
    /// Whether it is answered with values.
    values: bool,
}

/// Writes samples and remembers the answer in the same commit; the values, which only the commit makes, beside it.
async fn write_once(
    services: &Services,
    principal: &Principal,
    asked: Asked<'_>,
    samples: &[Sample],
) -> Result<Once, Problem> {
    let Asked { key, fingerprint, values } = asked;
    let idempotency = services.access().idempotency();
    let organisation = principal.organisation;
    let ticket = match idempotency.lookup(Some(organisation), key, fingerprint).await? {
        Begun::Replay(answer) => return replayed(services, organisation, asked, answer).await,
        Begun::New(ticket) => ticket,
    };
    let (join, beside) = ticket.finish_beside(&answer_to(samples.len(), None)?)?;
    let written = if values {
        let record = Record { key: beside, fingerprint };
        services.metrics().write_recorded(organisation, samples, join, &record).await
    } else {
        services.metrics().write(organisation, samples, join).await
    };
    match written {
        Ok(written) => Ok(Once::Written(written)),
        // The same request was quicker: its answer is there.
        Err(MetricError::Store(error)) if ticket.lost(&error) => {
            match idempotency.lookup(Some(organisation), key, fingerprint).await? {
                Begun::Replay(answer) => replayed(services, organisation, asked, answer).await,
                Begun::New(_) => Err(IdempotencyError::InProgress.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// The answer that was remembered, with the values beside it; a host of an earlier version kept none.
async fn replayed(
    services: &Services,
    organisation: OrganisationId,
    Asked { key, fingerprint, values }: Asked<'_>,
    answer: StoredAnswer,
) -> Result<Once, Problem> {
    let beside = match values {
        true => services.access().idempotency().beside(Some(organisation), key).await?,
        false => None,
    };
    let Some(key) = beside else { return Ok(Once::Replayed(answer)) };
    let recorded = services.metrics().recorded(&Record { key, fingerprint }).await?;
    Ok(Once::Replayed(match recorded {
        Some(recorded) => answer_to(recorded.written.len(), Some(recorded.written))?,
        None => answer,
    }))
}

/// What is remembered: how many, and what they amount to where that is known.
fn answer_to(written: usize, values: Option<Vec<Written>>) -> Result<StoredAnswer, Problem> {
    let values = values.map(|values| values.into_iter().map(WrittenValue::from).collect());
    let body = serde_json::to_vec(&WrittenSamples { written, values });
    Ok(StoredAnswer {
        status: StatusCode::OK.as_u16(),
        content_type: "application/json".to_owned(),
        body: Bytes::from(body.map_err(Problem::internal)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_named_in_quotes_or_by_number() {
        let read = |json: &str| serde_json::from_str::<Reference>(json).map(|reference| reference.0);
        assert_eq!(read("\"12\"").unwrap(), MetricReference::Name("12".to_owned()));
        assert_eq!(read("12").unwrap(), MetricReference::Id(MetricId(12)));
        assert!(read("-1").unwrap_err().to_string().contains("its id as a number"));
    }
}
