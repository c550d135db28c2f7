//! What a request brings, in the columns the host takes; series that cannot be kept are left out and counted.

use bellwether_sdk::Timestamp;
use bellwether_sdk::series::{LONGEST_METRIC, LONGEST_TAG, MOST_TAGS, SampleTable};

use crate::metadata::Told;
use crate::promql::{NAME, key_of};

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) table: SampleTable,
    pub(super) told: Told,
    pub(super) samples: usize,
    /// How many series were left out, wholly or in part, and why the first was.
    pub(super) refused: usize,
    pub(super) reason: String,
}

/// One series as it is read.
#[derive(Debug, Default)]
pub(super) struct Entry<'a> {
    pub(super) labels: Vec<(&'a str, &'a str)>,
    /// Milliseconds and value.
    pub(super) samples: Vec<(i64, f64)>,
    /// Native histograms it has beside them.
    pub(super) histograms: usize,
}

impl Entry<'_> {
    pub(super) fn clear(&mut self) {
        self.labels.clear();
        self.samples.clear();
        self.histograms = 0;
    }

    pub(super) fn metric(&self) -> &str {
        self.labels.iter().find(|(name, _)| *name == NAME).map_or("", |(_, value)| value)
    }
}

impl Batch {
    pub(super) fn new(body: &[u8]) -> Self {
        // A series of a scrape takes some hundred bytes, most of them its labels.
        let table = SampleTable::with_capacity(body.len() / 100, body.len());
        Self { table, told: Told::default(), samples: 0, refused: 0, reason: String::new() }
    }

    fn refuse(&mut self, reason: String) {
        if self.refused == 0 {
            self.reason = reason;
        }
        self.refused += 1;
    }

    /// The end of a series that was read.
    pub(super) fn finish(&mut self, entry: &mut Entry<'_>) {
        entry.labels.sort_unstable();
        let metric = entry.metric();
        if let Err(reason) = check(&entry.labels, metric) {
            return self.refuse(reason);
        }
        let range = Timestamp::MIN.milliseconds()..=Timestamp::MAX.milliseconds();
        let wrong = entry.samples.iter().find(|(time, _)| !range.contains(time));
        if let Some((time, _)) = wrong {
            return self.refuse(format!(
                "a sample of {metric} has the timestamp {time}, expected milliseconds of an instant from {} to {}",
                Timestamp::MIN,
                Timestamp::MAX
            ));
        }
        if entry.histograms > 0 {
            self.refuse(format!("{metric} has native histograms, which are not kept here; classic ones are"));
        }
        // Samples are what makes a series; one that brings none is none.
        if entry.samples.is_empty() {
            return;
        }
        for (time, value) in &entry.samples {
            self.table.sample(Timestamp::from_milliseconds(*time), *value);
        }
        self.samples += entry.samples.len();
        self.table.series(metric, |tags| {
            let others = entry.labels.iter().filter(|(_, value)| !value.is_empty());
            let pairs = others.filter_map(|(name, value)| Some((key_of(name)?, value)));
            pairs.for_each(|(key, value)| tags.pair(key, value));
        });
    }
}

/// Whether the host takes a series with these labels, which are in order.
fn check(labels: &[(&str, &str)], metric: &str) -> Result<(), String> {
    if !(1..=LONGEST_METRIC).contains(&metric.len()) || metric.contains(char::is_control) {
        return Err(format!(
            "{NAME} is {metric:?}, expected 1 to {LONGEST_METRIC} bytes without control characters"
        ));
    }
    let tags = labels.len() - 1;
    if tags > MOST_TAGS {
        return Err(format!("a series of {metric} has {tags} labels, expected at most {MOST_TAGS}"));
    }
    if let Some(twice) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("a series of {metric} has the label {} more than once", twice[0].0));
    }
    for (name, value) in labels.iter().filter(|(name, _)| *name != NAME) {
        let fits = !name.is_empty()
            && name.len() + 1 + value.len() <= LONGEST_TAG
            && !name.contains(|character: char| character == ':' || character.is_control())
            && !value.contains(char::is_control);
        if !fits {
            return Err(format!(
                "a series of {metric} has the label {name:?} with the value {value:?}, expected a name without a colon, \
                 at most {LONGEST_TAG} bytes together, and no control characters"
            ));
        }
    }
    Ok(())
}
