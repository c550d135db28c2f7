//! The entries of a write of metrics, and whether they are right; the words and numbers are those of `host/metrics`.

use std::fmt::Display;

use super::wrong;
use crate::Timestamp;
use crate::metrics::{DataType, Definition, MetricError, Samples};

/// Samples the host takes in one write.
const LARGEST_WRITE: usize = 10_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) time: Timestamp,
    pub(super) value: f64,
    pub(super) weight: f64,
}

/// Refuses what needs no metric to be seen.
pub(super) fn check_all(entries: &[Samples]) -> Result<(), MetricError> {
    for (index, entry) in entries.iter().enumerate() {
        for (place, time) in entry.times.iter().enumerate() {
            let field = || format!("samples[{index}].times[{place}]");
            wrong::instant(*time, field).map_err(MetricError::Invalid)?;
        }
    }
    let longest = |entry: &Samples| entry.times.len().max(entry.values.len()).max(entry.weights.len()).max(1);
    if entries.iter().map(longest).sum::<usize>() > LARGEST_WRITE {
        return Err(MetricError::Limit(format!("at most {LARGEST_WRITE} samples in one write")));
    }
    Ok(())
}

/// An entry's samples, each checked.
pub(super) fn samples(
    index: usize,
    entry: &Samples,
    definition: &Definition,
    now: Timestamp,
) -> Result<Vec<Sample>, MetricError> {
    let wrong = |field: &str, value: &dyn Display, expected: &str| {
        Err(invalid(format!("samples[{index}].{field}"), value, expected))
    };
    let Definition { name, data_type, keyed, .. } = definition;
    match &entry.key {
        None if *keyed => return wrong("key", &"", &format!("a key: the metric {name:?} is keyed")),
        Some(key) if !keyed => {
            return wrong("key", key, &format!("no key: the metric {name:?} is not keyed"));
        }
        Some(key) => check_key(&format!("samples[{index}].key"), key)?,
        None => {}
    }
    if entry.values.is_empty() && *data_type != DataType::Count {
        return wrong("values", &"", &format!("a number: the metric {name:?} is of type {data_type}"));
    }
    let (length, of) = match (entry.values.len(), entry.times.len()) {
        (0, 0) => (1, "sample"),
        (0, times) => (times, "time"),
        (values, _) => (values, "value"),
    };
    for (field, given) in [("times", entry.times.len()), ("weights", entry.weights.len())] {
        if given != 0 && given != length {
            let expected = format!("none, or one for each {of}: {length}");
            return wrong(field, &format!("{given} {field}"), &expected);
        }
    }
    let mut samples = Vec::with_capacity(length);
    for place in 0..length {
        let time = entry.times.get(place).copied().unwrap_or(now);
        let value = entry.values.get(place).copied().unwrap_or(1.0);
        let weight = entry.weights.get(place).copied().unwrap_or(1.0);
        if !value.is_finite() {
            return wrong(&format!("values[{place}]"), &value, "a finite number");
        }
        let weights = format!("weights[{place}]");
        if !(weight.is_finite() && weight > 0.0) {
            return wrong(&weights, &weight, "a finite number above 0");
        }
        if *data_type == DataType::Average && !(value * weight).is_finite() {
            return wrong(&weights, &weight, "a weight whose product with the value is within ±1.8e308");
        }
        samples.push(Sample { time, value, weight });
    }
    Ok(samples)
}

pub(super) fn check_key(field: &str, key: &str) -> Result<(), MetricError> {
    match key.chars().count() {
        1..=200 => Ok(()),
        _ => Err(invalid(field, key, "1 to 200 characters")),
    }
}

pub(super) fn invalid(field: impl Into<String>, value: impl Display, expected: &str) -> MetricError {
    MetricError::Invalid(wrong::field(field, value, expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::MetricsWrite;
    use crate::metrics::Interval;
    use crate::testing::MemoryHost;

    #[test]
    fn samples_that_no_host_takes_are_refused_in_its_words() {
        let host = MemoryHost::new();
        for (name, data_type) in
            [("sum", DataType::Sum), ("count", DataType::Count), ("mean", DataType::Average)]
        {
            host.define(&Definition::new(name, data_type, Interval::Daily)).expect("new");
        }
        host.define(&Definition::new("keyed", DataType::Sum, Interval::Daily).keyed()).expect("new");
        let of = |metric: &str| Samples::of(metric);
        let sum = || of("sum").value(1.0);
        for (samples, told) in [
            (of("sum"), "values is \"\", expected a number: the metric \"sum\" is of type sum"),
            (of("sum").value(f64::NAN), "values[0] is \"NaN\", expected a finite number"),
            (sum().weight(0.0), "weights[0] is \"0\", expected a finite number above 0"),
            (
                sum().weight(1.0).weight(1.0),
                "weights is \"2 weights\", expected none, or one for each value: 1",
            ),
            (
                sum().value(1.0).at(Timestamp::MIN),
                "times is \"1 times\", expected none, or one for each value: 2",
            ),
            (
                sum().at(Timestamp::from_milliseconds(i64::MAX)),
                "times[0] is \"9223372036854775807\", expected milliseconds since 1970 of an instant from \
                 0001-01-01T00:00:00Z to 9999-12-30T22:00:00Z",
            ),
            (
                of("mean").value(f64::MAX).weight(2.0),
                "weights[0] is \"2\", expected a weight whose product with the value is within ±1.8e308",
            ),
            (of("count").key("k"), "key is \"k\", expected no key: the metric \"count\" is not keyed"),
            (of("keyed").value(1.0), "key is \"\", expected a key: the metric \"keyed\" is keyed"),
            (of("keyed").value(1.0).key(""), "key is \"\", expected 1 to 200 characters"),
        ] {
            let error = host.write_one(samples).expect_err(told);
            assert_eq!(error.to_string(), format!("samples[0].{told}"));
        }
        assert_eq!(host.write_one(of("count")).map(|written| written.value), Ok(1.0));
        assert_eq!(host.write_one(of("none").value(1.0)), Err(MetricError::UnknownMetric("none".into())));
        let many = (0..=LARGEST_WRITE).map(|_| sum());
        assert_eq!(host.write(many), Err(MetricError::Limit("at most 10000 samples in one write".into())));
    }
}
