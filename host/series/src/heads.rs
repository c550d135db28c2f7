//! Samples in memory, not yet in a segment, as they came.

use std::collections::HashMap;
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;

use crate::log::Columns;
use crate::sample::Samples;

/// The samples of one series. Who reads them holds them as they were: who adds to them then copies them first.
pub(crate) type Head = Arc<Vec<(i64, f64)>>;

/// Adds samples from `first` to `last`, in the order they came.
pub(crate) fn copy(head: &Head, first: i64, last: i64, into: &mut Samples) {
    let is_within = |(time, _): &&(i64, f64)| (first..=last).contains(time);
    // Mostly all of them: two lists copied as they are take a third of the time that choosing does.
    if head.iter().all(|sample| is_within(&sample)) {
        into.times.extend(head.iter().map(|(time, _)| *time));
        into.values.extend(head.iter().map(|(_, value)| *value));
    } else {
        head.iter().filter(is_within).for_each(|(time, value)| into.push(*time, *value));
    }
}

/// Samples by series. A series takes about 100 bytes here and each of its samples 16, up to twice that while it grows.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    series: HashMap<u32, Head, DefaultHashBuilder>,
    samples: usize,
}

impl Heads {
    /// Adds samples behind those that are there.
    pub(crate) fn add(&mut self, columns: &Columns) {
        for (number, times, values) in columns.iter() {
            let head = Arc::make_mut(self.series.entry(number).or_default());
            head.extend(times.iter().copied().zip(values.iter().copied()));
        }
        self.samples += columns.times.len();
    }

    /// Forgets the samples of a series.
    pub(crate) fn remove(&mut self, number: u32) {
        self.samples -= self.series.remove(&number).map_or(0, |head| head.len());
    }

    /// How many samples there are.
    pub(crate) fn samples(&self) -> usize {
        self.samples
    }

    /// How many series have some.
    pub(crate) fn series(&self) -> usize {
        self.series.len()
    }

    /// The samples of a series, in the order they came.
    pub(crate) fn of(&self, number: u32) -> Option<&Head> {
        self.series.get(&number)
    }

    /// When each sample was taken.
    pub(crate) fn times(&self) -> impl Iterator<Item = i64> + '_ {
        self.series.values().flat_map(|head| head.iter()).map(|(time, _)| *time)
    }

    /// Every series with its samples, in order of series; each series' samples in order, each time once.
    pub(crate) fn settled(&self) -> impl Iterator<Item = (u32, Samples)> + '_ {
        let mut numbers: Vec<u32> = self.series.keys().copied().collect();
        numbers.sort_unstable();
        numbers.into_iter().map(|number| {
            let mut samples = Samples::default();
            self.series[&number].iter().for_each(|(time, value)| samples.push(*time, *value));
            samples.settle();
            (number, samples)
        })
    }
}
