//! Metrics in memory, with their intervals in UTC.

use std::collections::{BTreeMap, BTreeSet};

use super::calendar::{next, start};
use super::entry::{self, Sample, check_key, invalid};
use super::wrong;
use crate::Timestamp;
use crate::metrics::{
    DataType, Defined, Definition, Fill, IntervalQuery, KeySelection, Metric, MetricError, MetricPage,
    MetricReference, Point, Samples, SeriesValues, Written,
};

/// Values the host gives in one answer: its own words and numbers, of `host/metrics`.
const LARGEST_ANSWER: usize = 100_000;

/// Metrics by id, each with its samples by series and interval, as they came.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    next: u64,
    metrics: BTreeMap<u64, (Metric, BTreeMap<Option<String>, Series>)>,
}

type Series = BTreeMap<Timestamp, Vec<Sample>>;

impl Metrics {
    pub(super) fn get(&self, reference: &MetricReference) -> Result<&Metric, MetricError> {
        self.metrics
            .values()
            .map(|(metric, _)| metric)
            .find(|metric| match reference {
                MetricReference::Id(id) => metric.id == *id,
                MetricReference::Name(name) => metric.definition.name == *name,
            })
            .ok_or_else(|| {
                MetricError::UnknownMetric(match reference {
                    MetricReference::Id(id) => id.to_string(),
                    MetricReference::Name(name) => name.clone(),
                })
            })
    }

    pub(super) fn list(&self, offset: u64, limit: u32) -> Result<MetricPage, MetricError> {
        let limit = wrong::limit(limit, 1000).map_err(MetricError::Invalid)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let metrics = self.metrics.values().skip(offset).take(limit).map(|(metric, _)| metric.clone());
        Ok(MetricPage { metrics: metrics.collect(), total: self.metrics.len() as u64 })
    }

    pub(super) fn define(&mut self, definition: &Definition, now: Timestamp) -> Result<Defined, MetricError> {
        let Definition { name, data_type, interval, keyed, description } = definition;
        let is_short = (1..=200).contains(&name.chars().count());
        if !is_short || name.contains(char::is_control) || matches!(name.as_str(), "." | "..") {
            let expected = "1 to 200 characters without control characters, not `.` or `..`";
            return Err(invalid("definition.name", name, expected));
        }
        if let Some(description) = description.as_ref().filter(|text| text.chars().count() > 500) {
            return Err(invalid("definition.description", description, "at most 500 characters"));
        }
        if let Ok(metric) = self.get(&MetricReference::Name(name.clone())) {
            // Another description is no other definition: the metric keeps its own.
            let present = &metric.definition;
            let (field, present) = if present.data_type != *data_type {
                ("data_type", present.data_type.to_string())
            } else if present.interval != *interval {
                ("interval", present.interval.to_string())
            } else if present.keyed != *keyed {
                ("keyed", present.keyed.to_string())
            } else {
                return Ok(Defined { metric: metric.clone(), created: false });
            };
            let what = format!("the metric {name:?} exists with another {field}: {present}");
            return Err(MetricError::Conflict(what));
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
        entry::check_all(entries)?;
        let mut checked = Vec::with_capacity(entries.len());
        for (number, entry) in entries.iter().enumerate() {
            let metric = self.get(&entry.metric)?;
            checked.push((metric.id, entry::samples(number, entry, &metric.definition, now)?));
        }
        self.check_sums(entries, &checked)?;
        let mut intervals = Vec::with_capacity(entries.len());
        for (entry, (id, samples)) in entries.iter().zip(checked) {
            let (metric, series) = self.metrics.get_mut(&id).expect("it was found");
            let interval = metric.definition.interval;
            let series = series.entry(entry.key.clone()).or_default();
            let last = samples.last().expect("an entry has a sample").time;
            for sample in samples {
                series.entry(start(interval, sample.time)).or_default().push(sample);
            }
            intervals.push((id, &entry.key, start(interval, last)));
        }
        let written = intervals.into_iter().map(|(id, key, interval_start)| {
            let (metric, series) = &self.metrics[&id];
            let value = value(metric.definition.data_type, &series[key][&interval_start]);
            Written { interval_start, value }
        });
        Ok(written.collect())
    }

    /// Refuses what leads to a sum that no double holds, where the sum is the value; blames the sample that weighs most.
    fn check_sums(&self, entries: &[Samples], checked: &[(u64, Vec<Sample>)]) -> Result<(), MetricError> {
        let mut sums = BTreeMap::new();
        for (number, (entry, (id, samples))) in entries.iter().zip(checked).enumerate() {
            let (Metric { definition, .. }, stored) = &self.metrics[id];
            for sample in samples.iter().filter(|_| definition.data_type == DataType::Sum) {
                let at = start(definition.interval, sample.time);
                let before = || stored.get(&entry.key)?.get(&at).map(|before| value(DataType::Sum, before));
                let (sum, most) = sums
                    .entry((id, &entry.key, at))
                    .or_insert_with(|| (before().unwrap_or_default(), (number, 0.0_f64)));
                *sum += sample.value;
                if sample.value.abs() > most.1.abs() {
                    *most = (number, sample.value);
                }
            }
        }
        match sums.into_values().find(|(sum, _)| !sum.is_finite()) {
            Some((_, (number, value))) => {
                let expected =
                    "a value that keeps the sum of its interval within the range of a double, ±1.8e308";
                Err(invalid(format!("samples[{number}].values"), value, expected))
            }
            None => Ok(()),
        }
    }

    pub(super) fn query(&self, query: &IntervalQuery) -> Result<Vec<SeriesValues>, MetricError> {
        for (field, instant) in [("start", query.start), ("end", query.end)] {
            wrong::instant(instant, || field.to_owned()).map_err(MetricError::Invalid)?;
        }
        let metric = self.get(&query.metric)?;
        if query.start > query.end {
            return Err(invalid(
                "start",
                query.start,
                &format!("an instant not after the end, {}", query.end),
            ));
        }
        let Definition { name, keyed, .. } = &metric.definition;
        let stored = &self.metrics[&metric.id].1;
        let asked: Vec<Option<String>> = match &query.keys {
            KeySelection::Keys(keys) if !keyed => {
                let expected = format!("no key: the metric {name:?} is not keyed");
                return Err(invalid("keys", keys.join(", "), &expected));
            }
            KeySelection::Keys(keys) => {
                for (number, key) in keys.iter().enumerate() {
                    check_key(&format!("keys[{number}]"), key)?;
                }
                keys.iter().collect::<BTreeSet<_>>().into_iter().cloned().map(Some).collect()
            }
            KeySelection::All if !keyed => vec![None],
            KeySelection::All => stored.keys().cloned().collect(),
        };
        let (mut answer, mut size) = (Vec::new(), 0);
        let never_written = Series::new();
        for key in asked {
            let points = points(stored.get(&key).unwrap_or(&never_written), &metric.definition, query);
            size += points.len();
            if size > LARGEST_ANSWER {
                let what = "values in one answer: narrow the range or name fewer keys";
                return Err(MetricError::Limit(format!("at most {LARGEST_ANSWER} {what}")));
            }
            if !points.is_empty() || !keyed || query.keys != KeySelection::All {
                answer.push(SeriesValues { key, points });
            }
        }
        Ok(answer)
    }
}

/// The intervals of one series that a query asks for.
fn points(series: &Series, definition: &Definition, query: &IntervalQuery) -> Vec<Point> {
    let Definition { data_type, interval, .. } = *definition;
    let mut points = Vec::new();
    let mut at = start(interval, query.start);
    let before = series.range(..at).next_back().filter(|_| query.fill == Fill::Previous);
    let mut previous = before.map(|(_, samples)| value(data_type, samples));
    while at <= query.end {
        let samples = series.get(&at).map_or(&[][..], Vec::as_slice);
        let present = (!samples.is_empty()).then(|| value(data_type, samples));
        let filled = match query.fill {
            Fill::Gaps => present,
            Fill::Zero if matches!(data_type, DataType::Sum | DataType::Count) => present.or(Some(0.0)),
            Fill::Zero => present,
            Fill::Previous => present.or(previous),
        };
        previous = filled;
        if present.is_some() || query.fill != Fill::Gaps {
            points.push(Point { start: at, value: filled, count: samples.len() as u64 });
        }
        at = next(interval, at);
    }
    points
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{MetricsRead, MetricsWrite};
    use crate::metrics::Interval;
    use crate::testing::MemoryHost;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_write_happens_whole_or_not_at_all() {
        let host = MemoryHost::new();
        let metric = host.define(&Definition::new("m", DataType::Sum, Interval::Daily)).expect("new").metric;
        let day = time("2024-04-09");
        let answer = host.write([Samples::of("m").value(1.0), Samples::of("m").key("k").value(1.0)]);
        let Err(MetricError::Invalid(error)) = answer else { panic!("{answer:?}") };
        assert_eq!(error.field, "samples[1].key");
        assert_eq!(host.value("m", None), Ok(None));
        let written = host.write_one(Samples::of(metric.id).value(1.0).value(2.5)).expect("both");
        assert_eq!(written, Written { interval_start: day, value: 3.5 });
    }

    #[test]
    fn each_entry_is_told_its_intervals_value_with_the_whole_write() {
        let host = MemoryHost::new();
        host.define(&Definition::new("m", DataType::Sum, Interval::Daily)).expect("new");
        let written = host.write([1.0, 2.0].map(|value| Samples::of("m").value(value))).expect("written");
        assert_eq!(written.iter().map(|entry| entry.value).collect::<Vec<_>>(), [3.0, 3.0]);
    }

    #[test]
    fn a_sum_that_no_double_holds_is_refused_whole() {
        let host = MemoryHost::new();
        host.define(&Definition::new("m", DataType::Sum, Interval::Daily)).expect("new");
        let of = |value: f64| Samples::of("m").value(value);
        host.write_one(of(f64::MAX)).expect("written");
        let refused = host.write([of(1.0), of(1e308)]).expect_err("it is too much").to_string();
        let expected = "a value that keeps the sum of its interval within the range of a double, ±1.8e308";
        assert!(
            refused.starts_with("samples[1].values is \"1000") && refused.ends_with(expected),
            "{refused}"
        );
        assert_eq!(host.value("m", None), Ok(Some(f64::MAX)), "nothing of it was written");
    }

    #[test]
    fn a_definition_and_a_query_are_refused_in_the_hosts_words() {
        let host = MemoryHost::new();
        let sum = |name: &str| Definition::new(name, DataType::Sum, Interval::Daily);
        host.define(&sum("m")).expect("new");
        let name = "1 to 200 characters without control characters, not `.` or `..`";
        for (definition, told) in [
            (sum(""), format!("definition.name is \"\", expected {name}")),
            (sum(".."), format!("definition.name is \"..\", expected {name}")),
            (
                sum("n").description("d".repeat(501)),
                format!(
                    "definition.description is \"{}…\", expected at most 500 characters",
                    "d".repeat(100)
                ),
            ),
            (sum("m").keyed(), "the metric \"m\" exists with another keyed: false".to_owned()),
        ] {
            assert_eq!(host.define(&definition).expect_err(&told).to_string(), told);
        }
        let kept = host.define(&sum("m").description("another")).expect("only words about it differ");
        assert_eq!((kept.created, kept.metric.definition.description), (false, None));
        let (first, last) = (time("2024-04-01"), time("2024-04-02"));
        for (query, told) in [
            (
                IntervalQuery::new("m", last, first),
                "start is \"2024-04-02T00:00:00Z\", expected an instant not after the end, 2024-04-01T00:00:00Z",
            ),
            (
                IntervalQuery::new("m", first, last).keys(["a", "b"]),
                "keys is \"a, b\", expected no key: the metric \"m\" is not keyed",
            ),
            (IntervalQuery::new("none", first, last), "there is no metric \"none\""),
        ] {
            assert_eq!(host.query(&query).expect_err(told).to_string(), told);
        }
        let limit = host.metrics(0, 0).expect_err("no page").to_string();
        assert_eq!(limit, "limit is \"0\", expected 1 to 1000");
    }

    #[test]
    fn a_series_that_was_never_written_is_answered_where_it_is_asked_for() {
        let host = MemoryHost::new();
        host.define(&Definition::new("plain", DataType::Sum, Interval::Daily)).expect("new");
        host.define(&Definition::new("keyed", DataType::Sum, Interval::Daily).keyed()).expect("new");
        host.write_one(Samples::of("keyed").key("a").value(1.0).at(time("2024-04-01"))).expect("written");
        let day = time("2024-04-09");
        let answered = |query: IntervalQuery| -> Vec<(Option<String>, usize)> {
            let series = host.query(&query).expect("a query").into_iter();
            series.map(|series| (series.key, series.points.len())).collect()
        };
        let key = |key: &str| Some(key.to_owned());
        assert_eq!(answered(IntervalQuery::new("plain", day, day)), [(None, 0)]);
        assert_eq!(answered(IntervalQuery::new("keyed", day, day)), [], "it has no samples that day");
        let asked = IntervalQuery::new("keyed", day, day).keys(["b", "a", "b"]);
        assert_eq!(answered(asked.clone()), [(key("a"), 0), (key("b"), 0)]);
        assert_eq!(answered(asked.fill(Fill::Zero)), [(key("a"), 1), (key("b"), 1)]);
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
