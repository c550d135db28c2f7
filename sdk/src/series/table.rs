//! Samples of many series as columns.

use super::{SeriesError, TaggedSamples};
use crate::Timestamp;
use crate::bindings::imports::bellwether::host::series_write;
use crate::host::SeriesWrite;

/// Samples of many series as columns: what a dialect gathers that is sent a few samples each of a thousand series. It
/// is handed to the host as it lies, no text of it copied or allocated by itself.
///
/// ```
/// use bellwether_sdk::Timestamp;
/// use bellwether_sdk::host::SeriesWrite;
/// use bellwether_sdk::series::SampleTable;
/// use bellwether_sdk::testing::MemoryHost;
///
/// let at = Timestamp::from_seconds(1_712_620_800);
/// let mut table = SampleTable::default();
/// for (host, load) in [("web-1", 0.5), ("web-2", 0.7)] {
///     table.sample(at, load);
///     table.series("system.load.1", |tags| tags.pair("host", host));
/// }
/// assert_eq!(MemoryHost::new().write_table(&table)?, 2);
/// # Ok::<(), bellwether_sdk::series::SeriesError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SampleTable {
    pub(crate) raw: series_write::Table,
    /// Samples that belong to series already.
    told: usize,
}

impl Default for SampleTable {
    fn default() -> Self {
        let raw = series_write::Table {
            texts: String::new(),
            text_lengths: Vec::new(),
            tag_counts: Vec::new(),
            sample_counts: Vec::new(),
            times: Vec::new(),
            values: Vec::new(),
        };
        Self { raw, told: 0 }
    }
}

/// The tags of a series that is being told.
#[derive(Debug)]
pub struct Tags<'a> {
    table: &'a mut series_write::Table,
    count: u32,
}

impl Tags<'_> {
    /// One more: `key:value`, or a word.
    pub fn tag(&mut self, tag: &str) {
        self.table.texts.push_str(tag);
        self.table.text_lengths.push(length(tag.len()));
        self.count += 1;
    }

    /// One more, of a key and a value.
    pub fn pair(&mut self, key: &str, value: &str) {
        let before = self.table.texts.len();
        self.table.texts.push_str(key);
        self.table.texts.push(':');
        self.table.texts.push_str(value);
        self.table.text_lengths.push(length(self.table.texts.len() - before));
        self.count += 1;
    }
}

impl SampleTable {
    /// With room for so many series, as many samples, and so many bytes of texts.
    #[must_use]
    pub fn with_capacity(series: usize, text_bytes: usize) -> Self {
        let mut table = Self::default();
        table.raw.texts.reserve(text_bytes);
        table.raw.text_lengths.reserve(series * 4);
        table.raw.tag_counts.reserve(series);
        table.raw.sample_counts.reserve(series);
        table.raw.times.reserve(series);
        table.raw.values.reserve(series);
        table
    }

    /// One more sample, of the series that is told next.
    pub fn sample(&mut self, time: Timestamp, value: f64) {
        self.raw.times.push(time.milliseconds());
        self.raw.values.push(value);
    }

    /// How many samples were added since the last series was told.
    #[must_use]
    pub fn untold(&self) -> usize {
        self.raw.times.len() - self.told
    }

    /// Tells whose the samples are that were added since the last series: a metric's, with these tags.
    pub fn series(&mut self, metric: &str, tags: impl FnOnce(&mut Tags<'_>)) {
        self.raw.texts.push_str(metric);
        self.raw.text_lengths.push(length(metric.len()));
        let mut told = Tags { table: &mut self.raw, count: 0 };
        tags(&mut told);
        let count = told.count;
        self.raw.tag_counts.push(count);
        self.raw.sample_counts.push(length(self.untold()));
        self.told = self.raw.times.len();
    }

    /// How many series there are, each counted as often as it was told.
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.tag_counts.len()
    }

    /// Whether there is no series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.tag_counts.is_empty()
    }

    /// Writes the table, in several writes where the host takes less at once: for dialects whose senders may have some of
    /// what they sent kept. Gives how many samples were written.
    ///
    /// # Errors
    /// As [`SeriesWrite::write_table`]; what was written before stays.
    pub fn write_in_parts(self, host: &impl SeriesWrite) -> Result<u64, SeriesError> {
        match host.write_table(&self) {
            Err(error) if error.is_of_one_write() => match self.halves() {
                Some(halves) => halves.into_iter().map(|half| half.write_in_parts(host)).sum(),
                None => Err(error),
            },
            written => written,
        }
    }

    /// Half of the series each, or half of the samples of a series that is alone; `None` of a single sample.
    fn halves(mut self) -> Option<[Self; 2]> {
        let Self { raw, told } = &mut self;
        let series = raw.tag_counts.len() / 2;
        let behind = if series == 0 {
            let samples = raw.times.len() / 2;
            if samples == 0 {
                return None;
            }
            let times = raw.times.split_off(samples);
            let values = raw.values.split_off(samples);
            raw.sample_counts = vec![length(samples)];
            series_write::Table {
                texts: raw.texts.clone(),
                text_lengths: raw.text_lengths.clone(),
                tag_counts: raw.tag_counts.clone(),
                sample_counts: vec![length(times.len())],
                times,
                values,
            }
        } else {
            let sum = |counts: &[u32]| counts.iter().map(|count| *count as usize).sum::<usize>();
            let texts = series + sum(&raw.tag_counts[..series]);
            let samples = sum(&raw.sample_counts[..series]);
            series_write::Table {
                texts: raw.texts.split_off(sum(&raw.text_lengths[..texts])),
                text_lengths: raw.text_lengths.split_off(texts),
                tag_counts: raw.tag_counts.split_off(series),
                sample_counts: raw.sample_counts.split_off(series),
                times: raw.times.split_off(samples),
                values: raw.values.split_off(samples),
            }
        };
        *told = raw.times.len();
        let behind = Self { told: behind.times.len(), raw: behind };
        Some([self, behind])
    }

    /// The same, each series for itself.
    #[must_use]
    pub fn to_series(&self) -> Vec<TaggedSamples> {
        let mut lengths = self.raw.text_lengths.iter();
        let mut rest = self.raw.texts.as_str();
        let mut text = || {
            let (text, others) = rest.split_at(*lengths.next().expect("a length for each text") as usize);
            rest = others;
            text.to_owned()
        };
        let mut at = 0;
        let counts = self.raw.tag_counts.iter().zip(&self.raw.sample_counts);
        let series = counts.map(|(tags, samples)| {
            let range = at..at + *samples as usize;
            at = range.end;
            TaggedSamples {
                metric: text(),
                tags: (0..*tags).map(|_| text()).collect(),
                times: self.raw.times[range.clone()]
                    .iter()
                    .copied()
                    .map(Timestamp::from_milliseconds)
                    .collect(),
                values: self.raw.values[range].to_vec(),
            }
        });
        series.collect()
    }
}

/// A component's memory ends where 32 bits do.
fn length(length: usize) -> u32 {
    u32::try_from(length).expect("below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::SeriesRead;
    use crate::testing::MemoryHost;

    #[test]
    fn a_table_is_the_series_that_were_told() {
        let mut table = SampleTable::with_capacity(2, 64);
        let at = Timestamp::from_milliseconds;
        table.sample(at(1), 1.0);
        table.sample(at(2), 2.0);
        table.series("load", |tags| {
            tags.tag("canary");
            tags.pair("host", "ä");
        });
        assert_eq!((table.len(), table.untold()), (1, 0));
        table.sample(at(3), 3.0);
        assert_eq!(table.untold(), 1);
        table.series("errors", |_| {});
        let load = TaggedSamples::of("load").tag("canary").tag("host:ä").at(at(1), 1.0).at(at(2), 2.0);
        assert_eq!(table.to_series(), [load, TaggedSamples::of("errors").at(at(3), 3.0)]);
        assert!(SampleTable::default().is_empty() && SampleTable::default().to_series().is_empty());
    }

    #[test]
    fn a_table_larger_than_one_write_is_written_in_parts() {
        let host = MemoryHost::new();
        let mut table = SampleTable::default();
        // More than the host takes at once in one series, and in all.
        for (metric, tags, samples) in [("a", 0, 1), ("b", 2, 250_000), ("c", 1, 90_000)] {
            for at in 0..samples {
                table.sample(Timestamp::from_milliseconds(at), at as f64);
            }
            table.series(metric, |told| (0..tags).for_each(|at| told.pair("tag", &format!("{metric}{at}"))));
        }
        assert!(host.write_table(&table).is_err_and(|error| error.is_of_one_write()));
        let whole = table.to_series();
        assert_eq!(table.write_in_parts(&host), Ok(340_001));
        for TaggedSamples { metric, tags, times, values } in whole {
            let kept = host.samples(&metric, "*", Timestamp::MIN, Timestamp::MAX).expect("its samples");
            assert_eq!((kept.len(), &kept[0].tags), (1, &tags));
            assert!(kept[0].samples.iter().copied().eq(times.into_iter().zip(values)), "{metric}");
        }
        assert_eq!(SampleTable::default().halves(), None);
    }
}
