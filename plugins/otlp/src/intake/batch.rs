//! What a request brings, written in the columns the host takes, so many samples at a time; points that cannot be kept
//! are left out and counted.

use std::borrow::Cow;
use std::fmt;

use bellwether_protobuf::{Fields, Malformed, Value};
use bellwether_sdk::Timestamp;
use bellwether_sdk::host::{SeriesRead, SeriesWrite};
use bellwether_sdk::series::{Gauges, LONGEST_METRIC, MetricKind, Said, SampleTable, SeriesError};
use prost::Message;

use super::beginning::{Beginnings, is_young};
use super::points::{Point, Row, STALE};
use crate::body::{AT_ONCE, Body};
use crate::failure::Failure;
use crate::messages::{Metric, OfResource, OfScope, Request, ResourceMetrics, ScopeMetrics};
use crate::metadata::Told;
use crate::names::{self, Ending};
use crate::settings::Mapping;
use crate::tags::{self, Common};

/// Samples of one write, some more where a point has several: a tenth of what the host takes at once unless it is set to take
/// less, and half as much again where streams begin. A request of histograms has a hundred times as many as it has points.
const WRITTEN: usize = 20_000;

/// Bytes of the tags of what is written at once, some more of a point that has much: what a resource says, each of its
/// samples has, and where streams begin there are two more of it in the call's memory.
const TAGGED: usize = 4 << 20;

/// A point's flag that says that its series has no value any more.
const NO_RECORDED_VALUE: u32 = 1;

/// `AggregationTemporality`
const DELTA: i32 = 1;
const CUMULATIVE: i32 = 2;

pub(super) struct Batch<'h, H> {
    host: &'h H,
    gauges: &'h Gauges<Said>,
    table: SampleTable,
    /// Bytes of the tags in the table.
    tagged: usize,
    beginnings: Beginnings,
    pub(super) told: Told,
    /// How many points were left out, and why the first was.
    pub(super) refused: i64,
    pub(super) reason: String,
}

/// Where a metric is in its request.
#[derive(Clone, Copy)]
struct Place {
    resource_at: usize,
    scope_at: usize,
    metric_at: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource_at, scope_at, metric_at } = self;
        write!(f, "resource_metrics[{resource_at}].scope_metrics[{scope_at}].metrics[{metric_at}]")
    }
}

/// The messages of a repeated field.
fn messages(message: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    Fields::of(message).filter_map(move |field| match field {
        Ok((own, Value::Bytes(message))) if own == number => Some(Ok(message)),
        Ok(_) => None,
        Err(malformed) => Some(Err(malformed)),
    })
}

/// Refuses a message whose first field, a resource or a scope, is too large to be unpacked beside what it is of.
fn check_size(message: &[u8], place: fmt::Arguments<'_>) -> Result<(), Failure> {
    for own in messages(message, 1) {
        if own.map_err(Failure::message)?.len() > AT_ONCE {
            return Err(Failure::too_large(format_args!("{place} has more than {AT_ONCE} bytes")));
        }
    }
    Ok(())
}

/// What the points of a metric have in common.
struct Family<'a> {
    metric: &'a Metric,
    /// Which of the five kinds of data they are, as its field is called.
    field: &'static str,
    ending: Ending,
    kind: MetricKind,
    /// Whether they count from a beginning.
    counts: bool,
}

impl<'h, H: SeriesRead + SeriesWrite> Batch<'h, H> {
    pub(super) fn new(host: &'h H, gauges: &'h Gauges<Said>) -> Self {
        let (table, beginnings, told) = <(SampleTable, Beginnings, Told)>::default();
        Self { host, gauges, table, tagged: 0, beginnings, told, refused: 0, reason: String::new() }
    }

    /// Takes in a request and writes what it brings.
    ///
    /// # Errors
    /// If a write fails, or something does not read; what was written before is kept.
    pub(super) fn read(&mut self, body: &Body<'_>, mapping: &Mapping) -> Result<(), Failure> {
        match body {
            Body::Protobuf(message) => self.protobuf(message, mapping)?,
            Body::Json(request) => self.json(request, mapping)?,
        }
        Ok(self.write()?)
    }

    fn json(&mut self, request: &Request, mapping: &Mapping) -> Result<(), SeriesError> {
        for (resource_at, ResourceMetrics { resource, scope_metrics }) in
            request.resource_metrics.iter().enumerate()
        {
            for (scope_at, ScopeMetrics { scope, metrics, schema_url }) in scope_metrics.iter().enumerate() {
                let common = Common::of(resource.as_ref(), scope.as_ref(), schema_url, mapping);
                for (metric_at, metric) in metrics.iter().enumerate() {
                    let place = Place { resource_at, scope_at, metric_at };
                    self.metric(metric, common.as_ref(), mapping, place)?;
                }
            }
        }
        Ok(())
    }

    /// A metric at a time: a whole request would take many times its bytes.
    fn protobuf(&mut self, request: &[u8], mapping: &Mapping) -> Result<(), Failure> {
        for (resource_at, message) in messages(request, 1).enumerate() {
            let message = message.map_err(Failure::message)?;
            check_size(message, format_args!("resource_metrics[{resource_at}].resource"))?;
            let OfResource { resource } = OfResource::decode(message).map_err(Failure::message)?;
            for (scope_at, message) in messages(message, 2).enumerate() {
                let message = message.map_err(Failure::message)?;
                let scope = format_args!("resource_metrics[{resource_at}].scope_metrics[{scope_at}].scope");
                check_size(message, scope)?;
                let OfScope { scope, schema_url } = OfScope::decode(message).map_err(Failure::message)?;
                let common = Common::of(resource.as_ref(), scope.as_ref(), &schema_url, mapping);
                for (metric_at, message) in messages(message, 2).enumerate() {
                    let place = Place { resource_at, scope_at, metric_at };
                    let message = message.map_err(Failure::message)?;
                    if message.len() > AT_ONCE {
                        return Err(Failure::too_large(format_args!(
                            "{place} has more than {AT_ONCE} bytes"
                        )));
                    }
                    let metric = Metric::decode(message).map_err(Failure::message)?;
                    self.metric(&metric, common.as_ref(), mapping, place)?;
                }
            }
        }
        Ok(())
    }

    /// Writes what there is by now.
    fn write(&mut self) -> Result<(), SeriesError> {
        let mut table = std::mem::take(&mut self.table);
        self.tagged = 0;
        if table.is_empty() {
            return Ok(());
        }
        self.told.settle(self.host, self.gauges)?;
        std::mem::take(&mut self.beginnings).add(self.host, &mut table);
        table.write_in_parts(self.host)?;
        Ok(())
    }

    fn metric(
        &mut self,
        metric: &Metric,
        common: Result<&Common<'_>, &String>,
        mapping: &Mapping,
        place: Place,
    ) -> Result<(), SeriesError> {
        let family = |field, ending, kind| {
            let counts = match field {
                "gauge" => false,
                "sum" => ending == Ending::Total,
                _ => kind == MetricKind::Gauge,
            };
            Family { metric, field, ending, kind, counts }
        };
        let mut take = Taking { batch: self, common, mapping, place };
        if let Some(gauge) = &metric.gauge {
            take.points(Ok(family("gauge", Ending::Gauge, MetricKind::Gauge)), &gauge.data_points)?;
        }
        if let Some(sum) = &metric.sum {
            let ending = |kind| match (kind, sum.is_monotonic) {
                (MetricKind::Gauge, true) => Ending::Total,
                _ => Ending::None,
            };
            let kind = kind("sum", sum.aggregation_temporality);
            take.points(kind.map(|kind| family("sum", ending(kind), kind)), &sum.data_points)?;
        }
        if let Some(histogram) = &metric.histogram {
            let kind = kind("histogram", histogram.aggregation_temporality);
            take.points(kind.map(|kind| family("histogram", Ending::None, kind)), &histogram.data_points)?;
        }
        if let Some(histogram) = &metric.exponential_histogram {
            let field = "exponential_histogram";
            let kind = kind(field, histogram.aggregation_temporality);
            take.points(kind.map(|kind| family(field, Ending::None, kind)), &histogram.data_points)?;
        }
        if let Some(summary) = &metric.summary {
            take.points(Ok(family("summary", Ending::None, MetricKind::Gauge)), &summary.data_points)?;
        }
        Ok(())
    }

    fn refuse(&mut self, points: usize, reason: impl FnOnce() -> String) {
        if self.refused == 0 && points > 0 {
            self.reason = reason();
        }
        self.refused += points as i64;
    }
}

/// What the samples of a metric with this temporality are: those that count since the point before are a count, those
/// that count from a beginning are levels like any gauge's, of which PromQL makes rates.
fn kind(field: &str, temporality: i32) -> Result<MetricKind, String> {
    match temporality {
        CUMULATIVE => Ok(MetricKind::Gauge),
        DELTA => Ok(MetricKind::Count),
        other => Err(format!(
            "{field}.aggregation_temporality is {other}, expected {DELTA} (delta) or {CUMULATIVE} (cumulative)"
        )),
    }
}

/// A metric that is being taken in.
struct Taking<'a, 'h, H> {
    batch: &'a mut Batch<'h, H>,
    common: Result<&'a Common<'a>, &'a String>,
    mapping: &'a Mapping,
    place: Place,
}

impl<H: SeriesRead + SeriesWrite> Taking<'_, '_, H> {
    fn points<P: Point>(
        &mut self,
        family: Result<Family<'_>, String>,
        points: &[P],
    ) -> Result<(), SeriesError> {
        let ready = family.and_then(|family| {
            let name = self.name(&family)?;
            let common = self.common.map_err(Clone::clone)?;
            Ok((family, name, common))
        });
        let (family, name, common) = match ready {
            Ok(ready) => ready,
            Err(reason) => {
                self.batch.refuse(points.len(), || format!("{}: {reason}", self.place));
                return Ok(());
            }
        };
        let mut rows = Vec::new();
        for (at, point) in points.iter().enumerate() {
            rows.clear();
            if let Err(reason) = self.point(&family, &name, common, point, &mut rows) {
                let path = || format!("{}.{}.data_points[{at}]{reason}", self.place, family.field);
                self.batch.refuse(1, path);
            }
            if self.batch.table.len() >= WRITTEN || self.batch.tagged >= TAGGED {
                self.batch.write()?;
            }
        }
        Ok(())
    }

    /// The name of a metric with room for what stands behind it.
    fn name<'b>(&self, family: &Family<'b>) -> Result<Cow<'b, str>, String> {
        let Metric { name, unit, .. } = family.metric;
        let made = names::metric(self.mapping.names, name, unit, family.ending);
        let longest = LONGEST_METRIC - "_bucket".len();
        if made.is_empty() || made.len() > longest || made.contains(char::is_control) {
            return Err(format!(
                "name is {name:?}, which becomes {made:?}, expected 1 to {longest} bytes without control characters"
            ));
        }
        Ok(made)
    }

    /// # Errors
    /// Says what is wrong with the point, beginning with a dot and a field's name, or with a space.
    fn point<P: Point>(
        &mut self,
        family: &Family<'_>,
        name: &str,
        common: &Common<'_>,
        point: &P,
        rows: &mut Vec<Row>,
    ) -> Result<(), String> {
        let time = milliseconds(point.time())
            .ok_or(".time_unix_nano is 0, expected nanoseconds since 1970".to_owned())?;
        let stale = point.flags() & NO_RECORDED_VALUE != 0;
        point.rows(stale, rows)?;
        let own = tags::of(point.attributes(), self.mapping.names)
            .map_err(|most| format!(".attributes are {most}"))?;
        let labelled = rows.iter().any(|row| row.label.is_some());
        let tags = common.with(&own, usize::from(labelled)).map_err(|most| format!(" {most}"))?;
        self.batch.tagged +=
            rows.len() * tags.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        for row in &*rows {
            self.batch.table.sample(time, if stale { f64::from_bits(STALE) } else { row.value });
            let metric = row.metric(name);
            self.batch.table.series(&metric, |written| {
                row.tags(&tags).for_each(|(key, value)| written.pair(key, value));
            });
            self.tell(family, &metric, row.ending);
        }
        if family.counts
            && !stale
            && let Some(start) = beginning(point.start(), point.time()).filter(|start| is_young(*start, time))
        {
            self.batch.beginnings.note(start, time, name, &tags, rows);
        }
        Ok(())
    }

    /// Buckets and counts count, whatever the unit of what they count is.
    fn tell(&mut self, family: &Family<'_>, metric: &str, ending: &str) {
        let Metric { description, unit, .. } = family.metric;
        if self.batch.told.comes(metric, family.kind) {
            let unit = if matches!(ending, "" | "_sum") { names::unit(unit) } else { None };
            self.batch.told.tell(metric, description, unit.as_deref());
        }
    }
}

/// When a stream began whose first point may be that of `time`: of one that began within the point's own millisecond, the
/// one before, since a series has one sample of each.
fn beginning(start: u64, time: u64) -> Option<Timestamp> {
    let began = milliseconds(start)?;
    let same = start < time && milliseconds(time) == Some(began);
    Some(if same { Timestamp::from_milliseconds(began.milliseconds() - 1) } else { began })
}

/// Nanoseconds since 1970, of which 0 says that nobody knows.
fn milliseconds(nanoseconds: u64) -> Option<Timestamp> {
    let milliseconds = i64::try_from(nanoseconds / 1_000_000).ok()?;
    (nanoseconds > 0).then_some(Timestamp::from_milliseconds(milliseconds))
}

#[cfg(test)]
mod tests {
    use bellwether_sdk::Settings;
    use bellwether_sdk::testing::MemoryHost;

    use super::*;
    use crate::messages::{AnyValue, Gauge, KeyValue, NumberDataPoint, Resource};

    #[test]
    fn samples_whose_tags_are_long_wait_for_no_more_than_so_many_bytes_of_them() {
        let long = AnyValue { value: Some(crate::messages::Value::String("x".repeat(390))) };
        let attribute = |at: u32| KeyValue { key: format!("a{at}"), value: Some(long.clone()) };
        let point = |at: u64| NumberDataPoint {
            time_unix_nano: at * 1_000_000_000,
            as_int: Some(1),
            ..NumberDataPoint::default()
        };
        let gauge = Gauge { data_points: (1..=1000).map(point).collect() };
        let metric = Metric { name: "m".to_owned(), gauge: Some(gauge), ..Metric::default() };
        let resource = Resource { attributes: (0..60).map(attribute).collect() };
        let scope = ScopeMetrics { metrics: vec![metric; 2], ..ScopeMetrics::default() };
        let request = Request {
            resource_metrics: vec![ResourceMetrics { resource: Some(resource), scope_metrics: vec![scope] }],
        };
        let (host, mapping) = (MemoryHost::new(), Mapping::read(Vec::new()).expect("defaults"));
        let gauges = Gauges::default();
        let mut batch = Batch::new(&host, &gauges);
        batch.json(&request, &mapping).expect("it is taken");
        assert!(batch.tagged < TAGGED && batch.table.len() < 200, "{} {}", batch.tagged, batch.table.len());
        batch.write().expect("it is taken");
        let kept = host.samples("m", "*", Timestamp::MIN, Timestamp::MAX).expect("its samples");
        assert_eq!((kept.len(), kept[0].samples.len()), (1, 1000));
    }
}
