//! Adding data to a metric: what a client does all day, so that a value costs one host call.

use std::borrow::Cow;

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{MetricsRead, MetricsWrite};
use bellwether_sdk::metrics::{DataType, MetricError, Samples};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::body::{self, Date, Field};
use crate::failure::Failure;
use crate::metrics::by_reference;

/// What the host takes for a key.
const LONGEST_KEY: usize = 200;

#[derive(Default, Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    date: Option<&'a RawValue>,
    #[serde(borrow)]
    weight: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Current {
    value: f64,
    #[serde(serialize_with = "rfc_3339")]
    date: Timestamp,
}

/// `POST /v2/customMetrics/{metric}[/data][?returnValue=true]`
pub(crate) fn add(
    host: &(impl MetricsRead + MetricsWrite),
    request: &Request<'_>,
) -> Result<Response, Failure> {
    let segment = request.parameter("metric");
    // A hit of a metric of type Count has nothing to say.
    let data: Data<'_> = if request.body().is_empty() { Data::default() } else { body::read(request)? };
    let name = Field::new("name", data.name);
    let key = name.text(LONGEST_KEY)?;
    let value = Field::new("value", data.value).number().or_else(|wrong| {
        // In a metric of type Count it plays no part.
        let metric = by_reference(segment, |metric| host.metric(metric));
        let counts = metric.is_ok_and(|metric| metric.definition.data_type == DataType::Count);
        if counts { Ok(None) } else { Err(wrong) }
    })?;
    let date = instant(host, segment, &Field::new("date", data.date))?;
    let weight = Field::new("weight", data.weight);
    let weight = match weight.number()? {
        Some(number) if number <= 0.0 => return Err(weight.wrong("a number above 0")),
        // Without a value there is nothing to weigh.
        number => number.filter(|_| value.is_some()),
    };
    let wants_value = request.query("returnValue").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let written = by_reference(segment, |metric| {
        let samples = Samples {
            metric,
            key: key.as_deref().map(str::to_owned),
            times: date.into_iter().collect(),
            values: value.into_iter().collect(),
            weights: weight.into_iter().collect(),
        };
        match wants_value {
            true => host.write_one(samples).map(Some),
            false => host.add([samples]).map(|()| None),
        }
    });
    Ok(match written.map_err(|error| explained(error, segment, &name, key.as_ref()))? {
        Some(written) => Response::json(200, &Current { value: written.value, date: written.interval_start }),
        None => Response::status(204),
    })
}

/// The instant that `date` means. Without an offset it is one of the metric's own time zone, by whose days a user counts;
/// there is no calendar of zones here, so elsewhere than in UTC it is refused and not booked into another day.
pub(crate) fn instant(
    host: &impl MetricsRead,
    segment: &str,
    date: &Field<'_>,
) -> Result<Option<Timestamp>, Failure> {
    let Some(Date { time, has_offset }) = date.date()? else { return Ok(None) };
    if !has_offset {
        let metric = by_reference(segment, |metric| host.metric(metric));
        let zone = metric.map_err(|error| Failure::of(error, segment))?.time_zone;
        if !matches!(zone.as_str(), "UTC" | "Etc/UTC") {
            return Err(date.wrong(&format!(
                "a date and time with its offset, such as 2024-04-09T14:44:00Z: the metric {segment:?} counts by the days of {zone}"
            )));
        }
    }
    Ok(Some(time))
}

/// The host's refusal, with the words for the two cases clients meet most.
fn explained(error: MetricError, segment: &str, name: &Field<'_>, key: Option<&Cow<'_, str>>) -> Failure {
    match &error {
        MetricError::Invalid(field) if field.field.ends_with(".key") => match key {
            None => name.wrong(&format!("the key to add to: the metric {segment:?} has keyed values")),
            Some(_) => name.wrong(&field.expected),
        },
        MetricError::Invalid(field) if field.field.ends_with(".values") && field.value.is_empty() => {
            Failure::bad(format_args!(
                "value is missing, expected a number: only a metric of type Count goes without, and {segment:?} is not"
            ))
        }
        _ => Failure::of(error, segment),
    }
}

fn rfc_3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}
