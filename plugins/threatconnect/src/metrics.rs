//! Metrics themselves: list, get, create, delete.

use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{MetricsRead, MetricsWrite};
use bellwether_sdk::metrics::{DataType, Definition, Interval, Metric, MetricError, MetricReference};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::body::{self, Field};
use crate::failure::Failure;

/// ThreatConnect's limit; the host's is 200.
const LONGEST_NAME: usize = 45;
/// ThreatConnect's limit, and the host's.
const LONGEST_DESCRIPTION: usize = 500;
/// How many metrics a list holds that does not say.
const USUAL_LIMIT: u64 = 100;
/// How many metrics a list may hold; the host knows no organisation with more.
const LARGEST_LIMIT: u64 = 10_000;
/// How many metrics the host gives at once.
const PAGE: u64 = 1000;

const DATA_TYPES: [(&str, DataType); 7] = [
    ("Average", DataType::Average),
    ("Count", DataType::Count),
    ("First", DataType::First),
    ("Last", DataType::Last),
    ("Max", DataType::Max),
    ("Min", DataType::Min),
    ("Sum", DataType::Sum),
];

const INTERVALS: [(&str, Interval); 5] = [
    ("Hourly", Interval::Hourly),
    ("Daily", Interval::Daily),
    ("Weekly", Interval::Weekly),
    ("Monthly", Interval::Monthly),
    ("Yearly", Interval::Yearly),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewMetric<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    data_type: Option<&'a RawValue>,
    #[serde(borrow)]
    interval: Option<&'a RawValue>,
    #[serde(borrow)]
    keyed_values: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Success<T> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    custom_metric_config: Config<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Many<'a> {
    result_count: u64,
    custom_metric_config: Vec<Config<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    id: u64,
    name: &'a str,
    data_type: &'static str,
    interval: &'static str,
    keyed_values: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

impl<'a> From<&'a Metric> for Config<'a> {
    fn from(metric: &'a Metric) -> Self {
        let Definition { name, data_type, interval, keyed, description } = &metric.definition;
        Self {
            id: metric.id,
            name,
            data_type: name_of(&DATA_TYPES, *data_type),
            interval: name_of(&INTERVALS, *interval),
            keyed_values: *keyed,
            description: description.as_deref(),
        }
    }
}

fn name_of<T: Copy + PartialEq>(cases: &[(&'static str, T)], case: T) -> &'static str {
    cases.iter().find(|(_, other)| *other == case).expect("every case has a name").0
}

fn success<T: Serialize>(status: u16, data: Option<T>) -> Response {
    Response::json(status, &Success { status: "Success", data })
}

/// Calls the host about the metric that a path's segment means: the one of that name, or else, of digits, that id.
/// Data go by the name as documented, so no other metric's id may take them.
pub(crate) fn by_reference<T>(
    segment: &str,
    call: impl Fn(MetricReference) -> Result<T, MetricError>,
) -> Result<T, MetricError> {
    match (call(MetricReference::Name(segment.to_owned())), id(segment)) {
        (Err(MetricError::UnknownMetric(_)), Some(id)) => call(MetricReference::Id(id)),
        (answer, _) => answer,
    }
}

/// The id that a segment is, as ids are written: no sign, no leading zero.
fn id(segment: &str) -> Option<u64> {
    let digits = !segment.starts_with('0') && segment.bytes().all(|byte| byte.is_ascii_digit());
    segment.parse().ok().filter(|_| digits)
}

/// `GET /v2/customMetrics[?resultStart=0&resultLimit=100]`
pub(crate) fn list(host: &impl MetricsRead, request: &Request<'_>) -> Result<Response, Failure> {
    let start = count(request, "resultStart", 0, u64::from(u32::MAX))?.unwrap_or(0);
    let limit = count(request, "resultLimit", 1, LARGEST_LIMIT)?.unwrap_or(USUAL_LIMIT);
    let mut metrics: Vec<Metric> = Vec::new();
    let total = loop {
        let wanted = (limit - metrics.len() as u64).min(PAGE);
        let offset = start + metrics.len() as u64;
        let page = host.metrics(offset, wanted as u32).map_err(|error| Failure::of(error, ""))?;
        let last = (page.metrics.len() as u64) < wanted;
        metrics.extend(page.metrics);
        if last || metrics.len() as u64 == limit {
            break page.total;
        }
    };
    let custom_metric_config = metrics.iter().map(Config::from).collect();
    Ok(success(200, Some(Many { result_count: total, custom_metric_config })))
}

/// A query parameter that is a number in this range.
fn count(request: &Request<'_>, name: &'static str, least: u64, most: u64) -> Result<Option<u64>, Failure> {
    let Some(text) = request.query(name) else { return Ok(None) };
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
        _ => Err(Failure::field(
            name,
            &format!("{text:?}"),
            format_args!("a whole number from {least} to {most}"),
        )),
    }
}

/// `GET /v2/customMetrics/{metric}`
pub(crate) fn get(host: &impl MetricsRead, request: &Request<'_>) -> Result<Response, Failure> {
    let segment = request.parameter("metric");
    let metric =
        by_reference(segment, |metric| host.metric(metric)).map_err(|error| Failure::of(error, segment))?;
    Ok(success(200, Some(One { custom_metric_config: Config::from(&metric) })))
}

/// `POST /v2/customMetrics`
pub(crate) fn create(
    host: &(impl MetricsRead + MetricsWrite),
    request: &Request<'_>,
) -> Result<Response, Failure> {
    let new: NewMetric<'_> = body::read(request)?;
    let name = Field::new("name", new.name);
    let name = name.text(LONGEST_NAME)?.ok_or_else(|| name.wrong("a text of 1 to 45 characters"))?;
    let data_type = Field::new("dataType", new.data_type).one_of(&DATA_TYPES)?;
    let interval = Field::new("interval", new.interval).one_of(&INTERVALS)?;
    let keyed = Field::new("keyedValues", new.keyed_values).boolean()?.unwrap_or(false);
    let description = Field::new("description", new.description).text(LONGEST_DESCRIPTION)?;
    let definition = Definition {
        name: name.into_owned(),
        data_type,
        interval,
        keyed,
        description: description.map(Into::into),
    };
    let defined = host.define(&definition).map_err(|error| match error {
        MetricError::Conflict(told) => Failure::new(409, difference(host, &definition).unwrap_or(told)),
        other => Failure::of(other, &definition.name),
    })?;
    let status = if defined.created { 201 } else { 200 };
    Ok(success(status, Some(One { custom_metric_config: Config::from(&defined.metric) })))
}

/// How the metric of that name is another than is asked for, in the names of ThreatConnect's fields.
fn difference(host: &impl MetricsRead, asked: &Definition) -> Option<String> {
    let present = host.metric(asked.name.as_str()).ok()?.definition;
    let (field, is) = if present.data_type != asked.data_type {
        ("dataType", name_of(&DATA_TYPES, present.data_type))
    } else if present.interval != asked.interval {
        ("interval", name_of(&INTERVALS, present.interval))
    } else if present.keyed != asked.keyed {
        ("keyedValues", if present.keyed { "true" } else { "false" })
    } else {
        return None;
    };
    Some(format!("The metric {:?} exists with another {field}: {is}", asked.name))
}

/// `DELETE /v2/customMetrics/{metric}`
pub(crate) fn delete(
    host: &(impl MetricsRead + MetricsWrite),
    request: &Request<'_>,
) -> Result<Response, Failure> {
    let segment = request.parameter("metric");
    unmistakable(host, segment)?;
    by_reference(segment, |metric| host.delete(metric)).map_err(|error| Failure::of(error, segment))?;
    Ok(success::<()>(200, None))
}

/// Refuses a segment that is the name of one metric and the id of another: what is deleted is gone.
fn unmistakable(host: &impl MetricsRead, segment: &str) -> Result<(), Failure> {
    let Some(id) = id(segment) else { return Ok(()) };
    match (host.metric(segment), host.metric(id)) {
        (Ok(named), Ok(other)) if named.id != other.id => Err(Failure::new(
            409,
            format_args!(
                "{segment} is the name of one metric and the id of another: delete the one by its id, {}, or the other \
                 by its name, {:?}",
                named.id, other.definition.name
            ),
        )),
        _ => Ok(()),
    }
}
