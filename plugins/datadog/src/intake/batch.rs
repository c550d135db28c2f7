//! What a payload holds, gathered as it is read.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use bellwether_sdk::Timestamp;
use bellwether_sdk::series::{MetricKind, Said, SampleTable};

use super::text;

/// A second has so many places for the values of a distribution.
const PLACES: i64 = 1000;

/// One series as its payload tells it; its samples are in the batch already.
#[derive(Default)]
pub(super) struct Entry<'a> {
    pub(super) metric: Option<Cow<'a, str>>,
    pub(super) tags: Vec<Cow<'a, str>>,
    pub(super) host: Option<Cow<'a, str>>,
    pub(super) device: Option<Cow<'a, str>>,
    /// Type and name.
    pub(super) resources: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(super) kind: Option<MetricKind>,
    pub(super) unit: Option<Cow<'a, str>>,
    pub(super) source: Option<Cow<'a, str>>,
    /// In seconds.
    pub(super) interval: Option<u64>,
}

impl Entry<'_> {
    /// Forgets everything but the memory it takes.
    pub(super) fn clear(&mut self) {
        let (tags, resources) = (std::mem::take(&mut self.tags), std::mem::take(&mut self.resources));
        *self = Self { tags, resources, ..Self::default() };
        self.tags.clear();
        self.resources.clear();
    }
}

/// What a payload says of a metric beside its samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Told {
    /// The first that is said.
    pub(crate) kind: Option<MetricKind>,
    /// One that is said behind it and is another.
    pub(crate) other: Option<MetricKind>,
    pub(crate) said: Said,
    /// In seconds, the first that is said.
    pub(crate) interval: Option<u64>,
}

/// What a payload holds.
pub(crate) struct Batch {
    table: SampleTable,
    told: HashMap<String, Told>,
    /// Series read so far, those without samples too.
    series: usize,
    /// Where in its second a distribution's first value goes.
    place: i64,
    /// The seconds of the distribution that is being read, in milliseconds, with how many of `values` each has.
    seconds: Vec<(i64, usize)>,
    values: Vec<f64>,
    /// Places that are taken, by a series' hash and second.
    taken: HashMap<(u64, i64), i64>,
    /// What metrics are that say nothing of it.
    kind: Option<MetricKind>,
}

impl Batch {
    /// Nothing yet, of this payload.
    pub(crate) fn new(payload: &[u8]) -> Self {
        Self {
            // What agents send takes some 150 bytes a series.
            table: SampleTable::with_capacity(payload.len() / 150, payload.len() / 2),
            told: HashMap::new(),
            series: 0,
            place: 0,
            seconds: Vec::new(),
            values: Vec::new(),
            taken: HashMap::new(),
            kind: None,
        }
    }

    /// The same for a payload of distributions.
    pub(crate) fn of_distributions(payload: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(payload);
        let place = (hasher.finish() % PLACES as u64) as i64;
        Self { place, kind: Some(MetricKind::Distribution), ..Self::new(payload) }
    }

    pub(crate) fn table(&self) -> &SampleTable {
        &self.table
    }

    pub(crate) fn told(&self) -> impl Iterator<Item = (&str, &Told)> {
        self.told.iter().map(|(metric, told)| (metric.as_str(), told))
    }

    /// Which series is being read, counted from 0.
    pub(super) fn at(&self) -> usize {
        self.series
    }

    /// One more sample of the series that is being read.
    pub(super) fn sample(&mut self, time: Timestamp, value: f64) {
        self.table.sample(time, value);
    }

    /// The values a distribution had in one second; they are given their places when it is known whose they are.
    ///
    /// # Errors
    /// If they are more than the second has room for; says how many it has.
    pub(super) fn values(&mut self, time: Timestamp, values: &[f64]) -> Result<(), String> {
        if values.len() as i64 > PLACES {
            return Err(format!("{} values at one time, expected at most {PLACES}", values.len()));
        }
        self.seconds.push((time.milliseconds() - time.milliseconds().rem_euclid(PLACES), values.len()));
        self.values.extend_from_slice(values);
        Ok(())
    }

    /// Places the values of a distribution. The store keeps one sample of each millisecond, so those that a series has in
    /// one second share it out among them, wherever in the payload they are, beginning where its hash says: the same
    /// payload again changes nothing, and those of another sender seldom meet.
    fn place(&mut self, metric: &str, entry: &Entry<'_>) -> Result<(), String> {
        let mut hasher = DefaultHasher::new();
        let mut tags = BTreeSet::new();
        each_tag(entry, |key, value| {
            tags.insert(value.map_or_else(|| key.to_owned(), |value| format!("{key}:{value}")));
        });
        (metric, tags).hash(&mut hasher);
        let series = hasher.finish();
        let mut values = self.values.drain(..);
        for (second, count) in self.seconds.drain(..) {
            let taken = self.taken.entry((series, second)).or_default();
            let all = *taken + count as i64;
            if all > PLACES {
                let second = second / 1000;
                return Err(format!(
                    "points have {all} values of one series in the second {second}, expected at most {PLACES}"
                ));
            }
            for value in values.by_ref().take(count) {
                let place = (self.place + *taken) % PLACES;
                self.table.sample(Timestamp::from_milliseconds(second + place), value);
                *taken += 1;
            }
        }
        Ok(())
    }

    /// The end of the series that is being read.
    ///
    /// # Errors
    /// If it has no name, or more values in a second than that has room for; says what would be right.
    pub(super) fn finish(&mut self, entry: &Entry<'_>) -> Result<(), String> {
        const EXPECTED: &str = "expected a name that begins with a letter";
        let name = entry.metric.as_deref().ok_or_else(|| format!("metric is missing, {EXPECTED}"))?;
        let metric = text::metric(name).ok_or_else(|| format!("metric is {name:?}, {EXPECTED}"))?;
        self.series += 1;
        if !self.seconds.is_empty() {
            self.place(&metric, entry)?;
        }
        // Samples are what makes a series; one that brings none is none.
        if self.table.untold() == 0 {
            return Ok(());
        }
        self.table.series(&metric, |tags| {
            each_tag(entry, |key, value| match value {
                Some(value) => tags.pair(key, value),
                None => tags.tag(key),
            });
        });
        self.tell(&metric, entry);
        Ok(())
    }

    fn tell(&mut self, metric: &str, entry: &Entry<'_>) {
        let kind = entry.kind.or(self.kind);
        // An interval is what a count was counted over.
        let counted = matches!(kind, Some(MetricKind::Count | MetricKind::Rate));
        let interval = entry.interval.filter(|interval| counted && *interval > 0);
        if let Some(told) = self.told.get_mut(metric) {
            told.interval = told.interval.or(interval);
            if kind != told.kind && kind.is_some() {
                let place = if told.kind.is_none() { &mut told.kind } else { &mut told.other };
                *place = kind;
            }
            return;
        }
        let said = Said::default()
            .unit(entry.unit.as_deref().unwrap_or_default())
            .integration(entry.source.as_deref().unwrap_or_default());
        if kind.is_some() || !said.is_empty() {
            self.told.insert(metric.to_owned(), Told { kind, other: None, said, interval });
        }
    }
}

/// Calls `each` with every tag of a series: a tag as it is, or a key and its value.
fn each_tag(entry: &Entry<'_>, mut each: impl FnMut(&str, Option<&str>)) {
    entry.tags.iter().filter_map(|tag| text::tag(tag)).for_each(|tag| each(&tag, None));
    let single = [("host", &entry.host), ("device", &entry.device)];
    let single = single.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?)));
    let resources = entry.resources.iter().map(|(key, name)| (&**key, &**name));
    for (key, value) in single.chain(resources) {
        if let (Some(key), Some(value)) = (text::tag(key), text::tag(value)) {
            each(&key, Some(&value));
        }
    }
}
