//! The entries of a write, whichever form they come in, and whether they are right.

use bellwether_kernel::{FieldError, Moment, Timestamp};
use jiff::tz::TimeZone;

use crate::{DataType, Definition, MetricReference, Sample, SampleColumns};

/// The longest key of a series, in characters.
pub const MAX_KEY: usize = 200;

/// The entries of a write.
#[derive(Clone, Copy)]
pub(crate) enum Entries<'a> {
    /// Each one sample.
    Samples(&'a [Sample]),
    /// Each samples of one series.
    Columns(&'a [SampleColumns]),
}

/// When the samples of an entry happened, as its form has it.
#[derive(Clone, Copy)]
enum Times<'a> {
    Moments(&'a [Moment]),
    Instants(&'a [Timestamp]),
}

impl Times<'_> {
    fn len(self) -> usize {
        match self {
            Self::Moments(moments) => moments.len(),
            Self::Instants(instants) => instants.len(),
        }
    }

    fn get(self, index: usize, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Moments(moments) => moments.get(index).map(|moment| moment.in_zone(zone)),
            Self::Instants(instants) => instants.get(index).copied(),
        }
    }
}

/// One entry, its samples in columns.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    number: usize,
    single: bool,
    pub(crate) metric: &'a MetricReference,
    pub(crate) key: Option<&'a str>,
    times: Times<'a>,
    pub(crate) values: &'a [f64],
    weights: &'a [f64],
}

impl<'a> Entries<'a> {
    fn len(self) -> usize {
        match self {
            Self::Samples(samples) => samples.len(),
            Self::Columns(columns) => columns.len(),
        }
    }

    /// The entry of this number.
    pub(crate) fn get(self, number: usize) -> Entry<'a> {
        match self {
            Self::Samples(samples) => {
                let Sample { metric, key, value, time, weight } = &samples[number];
                let (values, weights) = (value.as_slice(), weight.as_slice());
                let times = Times::Moments(time.as_slice());
                Entry { number, single: true, metric, key: key.as_deref(), times, values, weights }
            }
            Self::Columns(columns) => {
                let SampleColumns { metric, key, times, values, weights } = &columns[number];
                let times = Times::Instants(times);
                Entry { number, single: false, metric, key: key.as_deref(), times, values, weights }
            }
        }
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Entry<'a>> {
        (0..self.len()).map(move |number| self.get(number))
    }

    /// How many samples there are, an entry without any counted as one.
    pub(crate) fn samples(self) -> usize {
        match self {
            Self::Samples(samples) => samples.len(),
            Self::Columns(_) => self.iter().map(|entry| entry.longest().max(1)).sum(),
        }
    }
}

impl Entry<'_> {
    fn longest(&self) -> usize {
        self.times.len().max(self.values.len()).max(self.weights.len())
    }

    /// The path of a field of the whole entry: `samples[3].key`.
    fn field(&self, name: &str) -> String {
        format!("samples[{}].{name}", self.number)
    }

    /// The path of a field that columns hold several of: `samples[3].value`, in columns `samples[3].values`.
    pub(crate) fn field_of_all(&self, name: &str) -> String {
        if self.single { self.field(name) } else { self.field(&format!("{name}s")) }
    }

    /// The path of one of those: `samples[3].value`, in columns `samples[3].values[7]`.
    fn field_of(&self, name: &str, index: usize) -> String {
        if self.single { self.field(name) } else { self.field(&format!("{name}s[{index}]")) }
    }

    /// Refuses a key where there must be none, none where there must be one, and one that is too long.
    pub(crate) fn check_key(&self, definition: &Definition) -> Result<(), FieldError> {
        let wrong = |value: &str, expected: String| Err(FieldError::new(self.field("key"), value, expected));
        match self.key {
            None if definition.keyed => {
                wrong("", format!("a key: the metric {:?} is keyed", definition.name))
            }
            Some(key) if !definition.keyed => {
                wrong(key, format!("no key: the metric {:?} is not keyed", definition.name))
            }
            Some(key) => check_key(self.field("key"), key),
            None => Ok(()),
        }
    }

    /// How many samples there are, if their columns go together and with the metric's type.
    pub(crate) fn count(&self, definition: &Definition) -> Result<usize, FieldError> {
        let counts = definition.data_type == DataType::Count;
        if self.values.is_empty() && !counts {
            let expected =
                format!("a number: the metric {:?} is of type {}", definition.name, definition.data_type);
            return Err(FieldError::new(self.field_of_all("value"), "", expected));
        }
        // Clients of vendors' APIs send values that are not looked at, as ThreatConnect documents; whoever writes samples
        // one by one wants them added up.
        if self.single
            && counts
            && let Some(value) = self.values.iter().find(|value| **value != 1.0)
        {
            let expected = format!(
                "none, or 1: the metric {:?} is of type count, in which every sample is 1; one of type sum adds values up",
                definition.name
            );
            return Err(FieldError::new(self.field("value"), value, expected));
        }
        let (count, of) = match (self.values.len(), self.times.len()) {
            (0, 0) => (1, "sample"),
            (0, times) => (times, "time"),
            (values, _) => (values, "value"),
        };
        for (name, length) in [("time", self.times.len()), ("weight", self.weights.len())] {
            if length != 0 && length != count {
                let value = format!("{length} {name}s");
                let expected = format!("none, or one for each {of}: {count}");
                return Err(FieldError::new(self.field_of_all(name), value, expected));
            }
        }
        Ok(count)
    }

    /// The time, value and weight of one sample of a metric of `zone`. In a metric of type count its value is 1, whatever
    /// columns give; a weight matters to averages alone.
    pub(crate) fn sample(
        &self,
        index: usize,
        data_type: DataType,
        zone: &TimeZone,
        now: Timestamp,
    ) -> Result<(Timestamp, f64, f64), FieldError> {
        let wrong = |name, value: &dyn std::fmt::Display, expected: &str| {
            Err(FieldError::new(self.field_of(name, index), value, expected))
        };
        let time = self.times.get(index, zone).unwrap_or(now);
        if !(Timestamp::MIN..=Timestamp::MAX).contains(&time) {
            return wrong("time", &time.as_milliseconds(), &within());
        }
        let value = self.values.get(index).copied().unwrap_or(1.0);
        if !value.is_finite() {
            return wrong("value", &value, "a finite number");
        }
        let weight = self.weights.get(index).copied().unwrap_or(1.0);
        if !(weight.is_finite() && weight > 0.0) {
            return wrong("weight", &weight, "a finite number above 0");
        }
        match data_type {
            DataType::Count => Ok((time, 1.0, 1.0)),
            DataType::Average if !(value * weight).is_finite() => {
                wrong("weight", &weight, "a weight whose product with the value is within ±1.8e308")
            }
            DataType::Average => Ok((time, value, weight)),
            _ => Ok((time, value, 1.0)),
        }
    }
}

/// What an instant is that a metric takes.
pub(crate) fn within() -> String {
    format!("an instant {}", Timestamp::bounds())
}

/// Refuses a key that is empty or too long.
pub(crate) fn check_key(field: impl Into<String>, key: &str) -> Result<(), FieldError> {
    if (1..=MAX_KEY).contains(&key.chars().count()) {
        Ok(())
    } else {
        Err(FieldError::new(field, key, format!("1 to {MAX_KEY} characters")))
    }
}
