//! Metrics in memory, with their intervals in UTC.

use std::collections::BTreeMap;

use crate::metrics::{
    DataType, Defined, Definition, FieldError, Fill, Interval, IntervalQuery, KeySelection, Metric,
    MetricError, MetricPage, MetricReference, Point, Samples, SeriesValues, Written,
};
use crate::{Date, Timestamp};

/// What the host allows one query.
const LARGEST_ANSWER: usize = 100_000;

/// Metrics by id, each with its samples by series and interval, as they came.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    next: u64,
    metrics: BTreeMap<u64, (Metric, BTreeMap<Option<String>, Series>)>,
}

type Series = BTreeMap<Timestamp, Vec<Sample>>;

#[derive(Clone, Copy, Debug)]
struct Sample {
    time: Timestamp,
    value: f64,
    weight: f64,
}

impl Metrics {
    pub(super) fn get(&self, reference: &MetricReference) -> Result<&Metric, MetricError> {
        self.metrics
            .values()
            .map(|(metric, _)| metric)
            .find(|metric| match reference {
                MetricReference::Id(id) => metric.id == *id,
                MetricReference::Name(name) => metric.definition.name == *name,
            })
            .ok_or_else(|| MetricError::UnknownMetric(reference.to_string()))
    }

    pub(super) fn list(&self, offset: u64, limit: u32) -> Result<MetricPage, MetricError> {
        if !(1..=1000).contains(&limit) {
            return Err(invalid("limit", &limit, "a number from 1 to 1,000"));
        }
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let metrics =
            self.metrics.values().skip(offset).take(limit as usize).map(|(metric, _)| metric.clone());
        Ok(MetricPage { metrics: metrics.collect(), total: self.metrics.len() as u64 })
    }

    pub(super) fn define(&mut self, definition: &Definition, now: Timestamp) -> Result<Defined, MetricError> {
        let name = &definition.name;
        if !(1..=200).contains(&name.chars().count()) || name.contains(char::is_control) {
            return Err(invalid("name", name, "1 to 200 characters, no control characters"));
        }
        if let Some(description) = definition.description.as_ref().filter(|text| text.chars().count() > 500) {
            return Err(invalid("description", description, "at most 500 characters"));
        }
        if let Ok(metric) = self.get(&MetricReference::Name(name.clone())) {
            if metric.definition == *definition {
                return Ok(Defined { metric: metric.clone(), created: false });
            }
            return Err(MetricError::Conflict(format!("the metric {name:?} exists with another definition")));
        }
        self.next += 1;
        let metric = Metric {
            id: self.next,
            definition: definition.clone(),
            time_zone: "UTC".to_owned(),
            created: now,
        };
        self.metrics.insert(metric.id, (metric.clone(), BTreeMap::new()));
        Ok(Defined { metric, created: true })
    }

    pub(super) fn delete(&mut self, reference: &MetricReference) -> Result<Metric, MetricError> {
        let id = self.get(reference)?.id;
        Ok(self.metrics.remove(&id).expect("it was found").0)
    }

    /// All of the entries, or none.
    pub(super) fn write(&mut self, entries: &[Samples], now: Timestamp) -> Result<Vec<Written>, MetricError> {
        let mut checked = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let metric = self.get(&entry.metric)?;
            checked.push((metric.id, samples_of(index, entry, &metric.definition, now)?));
        }
        let mut written = Vec::with_capacity(entries.len());
        for (entry, (id, samples)) in entries.iter().zip(checked) {
            let (metric, series) = self.metrics.get_mut(&id).expect("it was found");
            let Definition { data_type, interval, .. } = metric.definition;
            let series = series.entry(entry.key.clone()).or_default();
            let last = samples.last().expect("an entry has a sample").time;
            for sample in samples {
                series.entry(start(interval, sample.time)).or_default().push(sample);
            }
            let interval_start = start(interval, last);
            written.push(Written { interval_start, value: value(data_type, &series[&interval_start]) });
        }
        Ok(written)
    }

    pub(super) fn query(&self, query: &IntervalQuery) -> Result<Vec<SeriesValues>, MetricError> {
        let metric = self.get(&query.metric)?;
        if query.start > query.end {
            return Err(invalid("start", &query.start, "an instant not after end"));
        }
        let Definition { data_type, interval, keyed, .. } = metric.definition;
        let mut answer = Vec::new();
        let mut size = 0;
        for (key, series) in &self.metrics[&metric.id].1 {
            match (&query.keys, key) {
                (KeySelection::Keys(keys), Some(key)) if !keys.contains(key) => continue,
                (KeySelection::Keys(_), None) if !keyed => {
                    return Err(invalid("keys", "keys", "none: the metric has no keys"));
                }
                _ => {}
            }
            let mut points = Vec::new();
            let mut at = start(interval, query.start);
            let before = series.range(..at).next_back().filter(|_| query.fill == Fill::Previous);
            let mut previous = before.map(|(_, samples)| value(data_type, samples));
            while at <= query.end {
                let samples = series.get(&at).map_or(&[][..], Vec::as_slice);
                let present = (!samples.is_empty()).then(|| value(data_type, samples));
                let filled = match query.fill {
                    Fill::Gaps => present,
                    Fill::Zero if matches!(data_type, DataType::Sum | DataType::Count) => {
                        present.or(Some(0.0))
                    }
                    Fill::Zero => present,
                    Fill::Previous => present.or(previous),
                };
                previous = filled;
                if present.is_some() || query.fill != Fill::Gaps {
                    points.push(Point { start: at, value: filled, count: samples.len() as u64 });
                }
                at = next(interval, at);
            }
            size += points.len();
            if size > LARGEST_ANSWER {
                return Err(MetricError::Limit(format!("at most {LARGEST_ANSWER} values in an answer")));
            }
            answer.push(SeriesValues { key: key.clone(), points });
        }
        Ok(answer)
    }
}

/// An entry's samples, each checked.
fn samples_of(
    index: usize,
    entry: &Samples,
    definition: &Definition,
    now: Timestamp,
) -> Result<Vec<Sample>, MetricError> {
    let wrong = |field: &str, value: &dyn ToString, expected: &str| {
        Err(invalid(&format!("samples[{index}].{field}"), &value.to_string(), expected))
    };
    match &entry.key {
        None if definition.keyed => return wrong("key", &"", "a key: the metric is keyed"),
        Some(key) if !definition.keyed => return wrong("key", key, "none: the metric has no keys"),
        Some(key) if !(1..=200).contains(&key.chars().count()) => {
            return wrong("key", key, "1 to 200 characters");
        }
        _ => {}
    }
    let count = definition.data_type == DataType::Count;
    let length = match entry.values.len() {
        0 if count => entry.times.len().max(1),
        0 => return wrong("values", &"", "at least one value"),
        length => length,
    };
    if !matches!(entry.times.len(), 0) && entry.times.len() != length {
        return wrong("times", &entry.times.len(), "as many as values");
    }
    if !matches!(entry.weights.len(), 0) && entry.weights.len() != length {
        return wrong("weights", &entry.weights.len(), "as many as values");
    }
    let mut samples = Vec::with_capacity(length);
    for place in 0..length {
        let time = entry.times.get(place).copied().unwrap_or(now);
        let value = entry.values.get(place).copied().unwrap_or(1.0);
        let weight = entry.weights.get(place).copied().unwrap_or(1.0);
        if !value.is_finite() {
            return wrong(&format!("values[{place}]"), &value, "a finite number");
        }
        if !(weight.is_finite() && weight > 0.0) {
            return wrong(&format!("weights[{place}]"), &weight, "a finite number above 0");
        }
        if !(Timestamp::MIN..=Timestamp::MAX).contains(&time) {
            let expected = format!("an instant from {} to {}", Timestamp::MIN, Timestamp::MAX);
            return wrong(&format!("times[{place}]"), &time.milliseconds(), &expected);
        }
        samples.push(Sample { time, value, weight });
    }
    Ok(samples)
}

fn invalid(field: &str, value: &(impl ToString + ?Sized), expected: &str) -> MetricError {
    MetricError::Invalid(FieldError {
        field: field.to_owned(),
        value: value.to_string().chars().take(100).collect(),
        expected: expected.to_owned(),
    })
}

/// What an interval's samples amount to. Of samples at one time the later written is the later one.
fn value(data_type: DataType, samples: &[Sample]) -> f64 {
    let values = samples.iter().map(|sample| sample.value);
    let at = |sample: Option<&Sample>| sample.map_or(f64::NAN, |sample| sample.value);
    match data_type {
        DataType::Sum => values.sum(),
        DataType::Count => samples.len() as f64,
        DataType::Min => values.fold(f64::INFINITY, f64::min),
        DataType::Max => values.fold(f64::NEG_INFINITY, f64::max),
        DataType::First => at(samples.iter().min_by_key(|sample| sample.time)),
        DataType::Last => at(samples.iter().max_by_key(|sample| sample.time)),
        DataType::Average => {
            let weighted: f64 = samples.iter().map(|sample| sample.value * sample.weight).sum();
            weighted / samples.iter().map(|sample| sample.weight).sum::<f64>()
        }
    }
}

/// When the interval that contains `time` begins.
fn start(interval: Interval, time: Timestamp) -> Timestamp {
    const HOUR: i64 = 3_600_000;
    let date = time.date();
    match interval {
        Interval::Hourly => Timestamp::from_milliseconds(time.milliseconds().div_euclid(HOUR) * HOUR),
        Interval::Daily => Timestamp::midnight(date),
        Interval::Weekly => {
            let midnight = Timestamp::midnight(date).milliseconds();
            Timestamp::from_milliseconds(midnight - i64::from(date.weekday()) * 24 * HOUR)
        }
        Interval::Monthly => Timestamp::midnight(Date { day: 1, ..date }),
        Interval::Yearly => Timestamp::midnight(Date { month: 1, day: 1, ..date }),
    }
}

/// When the interval after the one that begins at `begins` does.
fn next(interval: Interval, begins: Timestamp) -> Timestamp {
    let Date { year, month, .. } = begins.date();
    match (interval, month) {
        (Interval::Hourly, _) => Timestamp::from_milliseconds(begins.milliseconds() + 3_600_000),
        (Interval::Daily, _) => Timestamp::from_milliseconds(begins.milliseconds() + 86_400_000),
        (Interval::Weekly, _) => Timestamp::from_milliseconds(begins.milliseconds() + 7 * 86_400_000),
        (Interval::Monthly, 1..12) => Timestamp::midnight(Date { year, month: month + 1, day: 1 }),
        (Interval::Monthly | Interval::Yearly, _) => {
            Timestamp::midnight(Date { year: year + 1, month: 1, day: 1 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{MetricsRead, MetricsWrite};
    use crate::testing::MemoryHost;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn an_interval_begins_where_its_calendar_says() {
        for (interval, at, begins, ends) in [
            (Interval::Hourly, "2024-04-09T14:44:00Z", "2024-04-09T14:00:00Z", "2024-04-09T15:00:00Z"),
            (Interval::Daily, "2024-02-29T23:59:59Z", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
            (Interval::Weekly, "2024-04-14T23:59:59Z", "2024-04-08T00:00:00Z", "2024-04-15T00:00:00Z"),
            (Interval::Weekly, "1969-12-31T12:00:00Z", "1969-12-29T00:00:00Z", "1970-01-05T00:00:00Z"),
            (Interval::Monthly, "2023-12-31T23:59:59Z", "2023-12-01T00:00:00Z", "2024-01-01T00:00:00Z"),
            (Interval::Yearly, "2024-12-31T23:59:59Z", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ] {
            assert_eq!(start(interval, time(at)), time(begins), "{interval} {at}");
            assert_eq!(next(interval, time(begins)), time(ends), "{interval} {at}");
        }
    }

    #[test]
    fn a_write_happens_whole_or_not_at_all() {
        let host = MemoryHost::new();
        let metric = host.define(&Definition::new("m", DataType::Sum, Interval::Daily)).expect("new").metric;
        let day = time("2024-04-09");
        let answer = host.write([Samples::of("m").value(1.0), Samples::of("m").key("k").value(1.0)]);
        let Err(MetricError::Invalid(error)) = answer else { panic!("{answer:?}") };
        assert_eq!(error.field, "samples[1].key");
        assert_eq!(host.query(&IntervalQuery::new(&metric, day, day)), Ok(vec![]));
        let written = host.write_one(Samples::of(metric.id).value(1.0).value(2.5)).expect("both");
        assert_eq!(written, Written { interval_start: day, value: 3.5 });
    }

    #[test]
    fn samples_that_no_host_takes_are_refused_by_field() {
        let host = MemoryHost::new();
        for (name, data_type) in [("sum", DataType::Sum), ("count", DataType::Count)] {
            host.define(&Definition::new(name, data_type, Interval::Daily)).expect("new");
        }
        let of = |metric: &str| Samples::of(metric);
        for (samples, field) in [
            (of("sum"), "samples[0].values"),
            (of("sum").value(f64::NAN), "samples[0].values[0]"),
            (of("sum").value(1.0).weight(0.0), "samples[0].weights[0]"),
            (of("sum").value(1.0).weight(1.0).weight(1.0), "samples[0].weights"),
            (of("sum").value(1.0).value(1.0).at(Timestamp::MIN), "samples[0].times"),
            (of("count").key("k"), "samples[0].key"),
        ] {
            let answer = host.write_one(samples);
            let Err(MetricError::Invalid(error)) = answer else { panic!("{answer:?}") };
            assert_eq!(error.field, field);
        }
        assert_eq!(host.write_one(of("count")).map(|written| written.value), Ok(1.0));
        assert_eq!(host.write_one(of("none").value(1.0)), Err(MetricError::UnknownMetric("\"none\"".into())));
    }

    #[test]
    fn a_query_fills_as_asked() {
        let host = MemoryHost::new();
        host.define(&Definition::new("m", DataType::Sum, Interval::Monthly).keyed()).expect("new");
        for (key, at, value) in [("a", "2024-01-15", 1.0), ("a", "2024-03-01", 2.0), ("b", "2024-02-29", 4.0)]
        {
            host.write_one(Samples::of("m").key(key).value(value).at(time(at))).expect("written");
        }
        let query = IntervalQuery::new("m", time("2024-01-31"), time("2024-04-01")).keys(["a"]);
        for (fill, expected) in [
            (Fill::Gaps, &[Some(1.0), Some(2.0)][..]),
            (Fill::Zero, &[Some(1.0), Some(0.0), Some(2.0), Some(0.0)]),
            (Fill::Previous, &[Some(1.0), Some(1.0), Some(2.0), Some(2.0)]),
        ] {
            let answer = host.query(&query.clone().fill(fill)).expect("an answer");
            assert_eq!(answer.len(), 1);
            let values: Vec<_> = answer[0].points.iter().map(|point| point.value).collect();
            assert_eq!(values, expected, "{fill:?}");
        }
        let later = IntervalQuery::new("m", time("2024-02-01"), time("2024-02-01")).keys(["a"]);
        let answer = host.query(&later.fill(Fill::Previous)).expect("an answer");
        assert_eq!(answer[0].points[0].value, Some(1.0), "of the interval ahead of the range");
    }

    #[test]
    fn a_name_means_one_definition() {
        let host = MemoryHost::new();
        let definition = Definition::new("m", DataType::Sum, Interval::Daily);
        assert!(host.define(&definition).expect("new").created);
        assert!(!host.define(&definition).expect("the same").created);
        assert!(matches!(host.define(&definition.clone().keyed()), Err(MetricError::Conflict(_))));
        let deleted = host.delete("m").expect("there");
        let again = host.define(&definition).expect("new");
        assert!(again.created && again.metric.id > deleted.id, "an id is never used twice");
    }
}
