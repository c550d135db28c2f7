//! Which series an organisation has, and by which metric and tags they are found: in memory, made from the store's rows
//! at a start.
//!
//! Texts are kept once. A series is the number of its metric and those of its tags; for each metric and each tag there
//! is a set of series (a roaring bitmap), so that "1,000 of 1,000,000" is an intersection of sets.

mod find;
mod select;

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};

use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::Mutex;
use roaring::{MultiOps as _, RoaringBitmap};

use crate::brought::Fate;
use crate::metadata::Metadata;
use crate::{Limits, SeriesError, SeriesNumber, split_tag};

pub use find::{Filter, TagPattern};
pub(crate) use select::{GoOn, keys_of, pieces, select, values_of};

/// Room is given back where it would do for so many times the series there are.
const ROOMY: usize = 4;

/// The series of one organisation.
#[derive(Default)]
pub(crate) struct Index {
    /// Seeded, and several times as fast as the standard library's: every series of every write is hashed.
    hasher: DefaultHashBuilder,
    metrics: Vec<MetricEntry>,
    /// Places among them of metrics that are forgotten, for those to come.
    free_metrics: Vec<u32>,
    metric_names: BTreeMap<Arc<str>, u32>,
    /// How many of them have series.
    written_metrics: usize,
    tags: Vec<TagEntry>,
    /// Places among them whose tag no series has any more, for those to come.
    free_tags: Vec<u32>,
    tag_texts: HashMap<Arc<str>, u32>,
    /// By key, then by value.
    keys: BTreeMap<Arc<str>, BTreeMap<Arc<str>, u32>>,
    series: HashMap<u32, Entry, DefaultHashBuilder>,
    /// Series by metric and tags; the hash is of their texts.
    by_identity: HashTable<u32>,
    /// Grows whenever series are deleted: what was looked up before may be gone.
    pub(crate) deletions: u64,
    /// Another after each [`Self::look_anew`]. Writes under way hold that of when they were worked out.
    pub(crate) epoch: Arc<u8>,
    /// How many writes under way bring the row of a series along.
    brought: Mutex<HashMap<u32, u32>>,
}

#[derive(Default)]
struct MetricEntry {
    name: Arc<str>,
    series: RoaringBitmap,
    /// `None` as long as nobody said anything.
    metadata: Option<Arc<Metadata>>,
}

#[derive(Default)]
struct TagEntry {
    text: Arc<str>,
    series: RoaringBitmap,
}

struct Entry {
    metric: u32,
    tags: Box<[u32]>,
    row: Row,
    /// The epoch in which a write last found it.
    found: AtomicU8,
}

/// Whether the row of a series is in the store; until it is, every write to it brings the row along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    /// It is not: a write under way made the series.
    Absent,
    /// Nobody knows.
    Unsure,
    /// It is.
    Durable,
}

/// A series that a write goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) number: SeriesNumber,
    pub(crate) durable: bool,
}

impl Index {
    /// The series of `metric` with `tags`, which are sorted; for a write.
    pub(crate) fn find(&self, metric: &str, tags: &[&str]) -> Option<Found> {
        let mut durable = false;
        let same = |number: &u32| {
            let entry = self.series.get(number).filter(|entry| self.is(entry, metric, tags));
            if let Some(entry) = entry {
                durable = entry.row == Row::Durable;
                // Mostly known: cores that write to one series then need not wait for each other.
                if entry.found.load(Ordering::Relaxed) != *self.epoch {
                    entry.found.store(*self.epoch, Ordering::Relaxed);
                }
            }
            entry.is_some()
        };
        let number = *self.by_identity.find(self.hash(metric, tags), same)?;
        Some(Found { number: SeriesNumber(number), durable })
    }

    /// Whether one more series, of this metric, is within the limits.
    pub(crate) fn check_room(&self, metric: &str, limits: &Limits) -> Result<(), SeriesError> {
        if self.series.len() as u64 >= limits.series {
            return Err(SeriesError::limit("series of one organisation", limits.series));
        }
        if self.written_metrics >= limits.metrics && self.series_of(metric).is_none_or(|series| series == 0) {
            return Err(SeriesError::limit(
                "metrics with samples of one organisation",
                limits.metrics as u64,
            ));
        }
        Ok(())
    }

    /// Whether something may be said of a metric of this name: of so many that have no series.
    pub(crate) fn check_said(&self, metric: &str, limits: &Limits) -> Result<(), SeriesError> {
        if self.unwritten_metrics() >= limits.metrics && !self.metric_names.contains_key(metric) {
            return Err(SeriesError::limit(
                "metrics without samples that are described of one organisation; delete some",
                limits.metrics as u64,
            ));
        }
        Ok(())
    }

    /// How many metrics have no series.
    pub(crate) fn unwritten_metrics(&self) -> usize {
        self.metric_names.len() - self.written_metrics
    }

    /// The metrics without series.
    pub(crate) fn unwritten(&self) -> Vec<Arc<str>> {
        let unwritten =
            self.metric_names.iter().filter(|(_, at)| self.metrics[**at as usize].series.is_empty());
        unwritten.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Adds a series that is not there.
    pub(crate) fn add(&mut self, number: SeriesNumber, metric: &str, tags: &[&str], durable: bool) {
        let hash = self.hash(metric, tags);
        let metric = self.metric(metric);
        let series = &mut self.metrics[metric as usize].series;
        self.written_metrics += usize::from(series.is_empty());
        series.insert(number.0);
        let tags: Box<[u32]> = tags.iter().map(|tag| self.tag(tag)).collect();
        for tag in &tags {
            self.tags[*tag as usize].series.insert(number.0);
        }
        let row = if durable { Row::Durable } else { Row::Absent };
        self.series.insert(number.0, Entry { metric, tags, row, found: AtomicU8::new(*self.epoch) });
        let Self { by_identity, series, metrics, tags, hasher, .. } = self;
        by_identity
            .insert_unique(hash, number.0, |number| hash_of_entry(hasher, metrics, tags, &series[number]));
    }

    /// Takes note that a write under way brings the row of a series along.
    pub(crate) fn bring(&self, number: SeriesNumber) {
        *self.brought.lock().entry(number.0).or_default() += 1;
    }

    /// Takes note of what became of the rows of series that a write brought along. A series that only refused writes made
    /// is forgotten with the last of them.
    pub(crate) fn settle(&mut self, numbers: &[SeriesNumber], fate: Fate) {
        for number in numbers {
            let left = {
                let mut brought = self.brought.lock();
                let left = brought.get(&number.0).map_or(0, |writes| writes - 1);
                if left == 0 {
                    brought.remove(&number.0);
                } else {
                    brought.insert(number.0, left);
                }
                left
            };
            let Some(entry) = self.series.get_mut(&number.0) else { continue };
            match fate {
                Fate::Durable => entry.row = Row::Durable,
                Fate::Unsure if entry.row == Row::Absent => entry.row = Row::Unsure,
                Fate::Refused if entry.row == Row::Absent && left == 0 => self.remove(*number),
                Fate::Unsure | Fate::Refused => {}
            }
        }
    }

    /// Takes note that the row of a series may not be in the store.
    pub(crate) fn doubtful(&mut self, number: u32) {
        if let Some(entry) = self.series.get_mut(&number) {
            entry.row = Row::Unsure;
        }
    }

    /// Whether the row of a series is surely in the store.
    pub(crate) fn is_durable(&self, number: u32) -> bool {
        self.series.get(&number).is_some_and(|entry| entry.row == Row::Durable)
    }

    /// From here on no series is wanted that no write finds. What is given is there as long as one is under way that was
    /// worked out before.
    pub(crate) fn look_anew(&mut self) -> Weak<u8> {
        let next = Arc::new(self.epoch.wrapping_add(1));
        Arc::downgrade(&std::mem::replace(&mut self.epoch, next))
    }

    /// Whether a write found a series since [`Self::look_anew`].
    pub(crate) fn is_wanted(&self, number: u32) -> bool {
        self.series.get(&number).is_some_and(|entry| entry.found.load(Ordering::Relaxed) == *self.epoch)
    }

    /// Every series.
    pub(crate) fn all(&self) -> RoaringBitmap {
        self.metrics.iter().map(|metric| &metric.series).union()
    }

    /// Forgets a series, and those of its tags that no other has; its metric too, if it was the last and nothing was said
    /// of it.
    pub(crate) fn remove(&mut self, number: SeriesNumber) {
        let Some(entry) = self.series.get(&number.0) else { return };
        let hash = hash_of_entry(&self.hasher, &self.metrics, &self.tags, entry);
        if let Ok(there) = self.by_identity.find_entry(hash, |there| *there == number.0) {
            there.remove();
        }
        let entry = self.series.remove(&number.0).expect("it was just there");
        let metric = &mut self.metrics[entry.metric as usize];
        metric.series.remove(number.0);
        if metric.series.is_empty() {
            self.written_metrics -= 1;
            if metric.metadata.is_none() {
                self.free_metric(entry.metric);
            }
        }
        for at in &entry.tags {
            let tag = &mut self.tags[*at as usize];
            tag.series.remove(number.0);
            if tag.series.is_empty() {
                let TagEntry { text, .. } = std::mem::take(tag);
                let (key, value) = split_tag(&text);
                if let Some(values) = self.keys.get_mut(key) {
                    values.remove(value);
                    if values.is_empty() {
                        self.keys.remove(key);
                    }
                }
                self.tag_texts.remove(&text);
                self.free_tags.push(*at);
            }
        }
    }

    fn free_metric(&mut self, at: u32) {
        self.metric_names.remove(&std::mem::take(&mut self.metrics[at as usize]).name);
        self.free_metrics.push(at);
    }

    /// Forgets what was said of a metric without series, and gives it; what says how samples are kept stays.
    pub(crate) fn forget_said(&mut self, metric: &str) -> Option<Arc<Metadata>> {
        let at = *self.metric_names.get(metric)?;
        let entry = &mut self.metrics[at as usize];
        if !entry.series.is_empty() {
            return None;
        }
        let said = entry.metadata.take_if(|said| !said.says_how_kept())?;
        self.free_metric(at);
        Some(said)
    }

    /// Gives the room back of many more series than there are.
    pub(crate) fn shrink(&mut self) {
        if self.series.capacity() / ROOMY <= self.series.len() {
            return;
        }
        let Self { by_identity, series, metrics, free_metrics, tags, free_tags, hasher, .. } = self;
        trim(metrics, free_metrics, |metric| metric.series.is_empty() && metric.metadata.is_none());
        trim(tags, free_tags, |tag| tag.series.is_empty());
        self.tag_texts.shrink_to_fit();
        series.shrink_to_fit();
        by_identity.shrink_to_fit(|number| hash_of_entry(hasher, metrics, tags, &series[number]));
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Every metric's series, and what is known of it.
    pub(crate) fn each_metric(&self, mut each: impl FnMut(&RoaringBitmap, &Metadata)) {
        let unsaid = Metadata::default();
        self.metrics
            .iter()
            .for_each(|metric| each(&metric.series, metric.metadata.as_deref().unwrap_or(&unsaid)));
    }

    /// How many series a metric has; `None` if there is no such metric.
    pub(crate) fn series_of(&self, metric: &str) -> Option<u64> {
        let at = self.metric_names.get(metric)?;
        Some(self.metrics[*at as usize].series.len())
    }

    /// What is known of a metric; `None` for one that has no samples and of which nothing was said.
    pub(crate) fn metadata(&self, metric: &str) -> Option<Arc<Metadata>> {
        let at = self.metric_names.get(metric)?;
        Some(self.metrics[*at as usize].metadata.clone().unwrap_or_default())
    }

    /// Sets what is known of a metric.
    pub(crate) fn set_metadata(&mut self, metric: &str, metadata: impl Into<Arc<Metadata>>) {
        let at = self.metric(metric);
        self.metrics[at as usize].metadata = Some(metadata.into());
    }

    /// Whether there is a series of that number.
    pub(crate) fn has(&self, number: u32) -> bool {
        self.series.contains_key(&number)
    }

    /// A series' metric and tags.
    pub(crate) fn identity(&self, number: u32) -> Option<(Arc<str>, Vec<Arc<str>>)> {
        let entry = self.series.get(&number)?;
        let tags = entry.tags.iter().map(|tag| Arc::clone(&self.tags[*tag as usize].text)).collect();
        Some((Arc::clone(&self.metrics[entry.metric as usize].name), tags))
    }

    fn is(&self, entry: &Entry, metric: &str, tags: &[&str]) -> bool {
        *self.metrics[entry.metric as usize].name == *metric
            && entry.tags.len() == tags.len()
            && entry.tags.iter().zip(tags).all(|(ours, theirs)| *self.tags[*ours as usize].text == **theirs)
    }

    fn hash(&self, metric: &str, tags: &[&str]) -> u64 {
        hash_of(&self.hasher, metric, tags.iter().copied())
    }

    fn metric(&mut self, name: &str) -> u32 {
        if let Some(at) = self.metric_names.get(name) {
            return *at;
        }
        let name = Arc::<str>::from(name);
        let entry = MetricEntry { name: Arc::clone(&name), ..MetricEntry::default() };
        let at = place(&mut self.metrics, &mut self.free_metrics, entry);
        self.metric_names.insert(name, at);
        at
    }

    fn tag(&mut self, text: &str) -> u32 {
        if let Some(at) = self.tag_texts.get(text) {
            return *at;
        }
        let text = Arc::<str>::from(text);
        let entry = TagEntry { text: Arc::clone(&text), series: RoaringBitmap::new() };
        let at = place(&mut self.tags, &mut self.free_tags, entry);
        let (key, value) = split_tag(&text);
        // A key's own text is kept once for all its values.
        if !self.keys.contains_key(key) {
            self.keys.insert(Arc::from(key), BTreeMap::new());
        }
        self.keys.get_mut(key).expect("it was just put there").insert(Arc::from(value), at);
        self.tag_texts.insert(text, at);
        at
    }
}

/// Puts an entry where one is free, else behind the others; gives where.
fn place<T>(entries: &mut Vec<T>, free: &mut Vec<u32>, entry: T) -> u32 {
    let at = free.pop().unwrap_or(entries.len() as u32);
    match entries.get_mut(at as usize) {
        Some(free) => *free = entry,
        None => entries.push(entry),
    }
    at
}

/// Takes the free places behind the others away.
fn trim<T>(entries: &mut Vec<T>, free: &mut Vec<u32>, is_free: impl Fn(&T) -> bool) {
    entries.truncate(entries.iter().rposition(|entry| !is_free(entry)).map_or(0, |last| last + 1));
    free.retain(|at| (*at as usize) < entries.len());
    entries.shrink_to_fit();
    free.shrink_to_fit();
}

fn hash_of_entry(
    hasher: &DefaultHashBuilder,
    metrics: &[MetricEntry],
    tags: &[TagEntry],
    entry: &Entry,
) -> u64 {
    let texts = entry.tags.iter().map(|tag| &*tags[*tag as usize].text);
    hash_of(hasher, &metrics[entry.metric as usize].name, texts)
}

fn hash_of<'a>(hasher: &DefaultHashBuilder, metric: &str, tags: impl Iterator<Item = &'a str>) -> u64 {
    use std::hash::{Hash as _, Hasher as _};
    let mut state = hasher.build_hasher();
    metric.hash(&mut state);
    tags.for_each(|tag| tag.hash(&mut state));
    state.finish()
}

#[cfg(test)]
mod tests;
