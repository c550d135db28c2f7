//! The samples of one series in as many lists as they lie in, so that what others hold too is not copied.

use std::ops::Range;
use std::sync::Arc;

use crate::sample::Samples;

/// Lists of samples. Once they are settled they follow on each other, in order, each time once.
#[derive(Debug, Default)]
pub(crate) struct Runs(Vec<Run>);

#[derive(Debug)]
enum Run {
    Own(Samples),
    /// A part of samples that are in order.
    Shared(Arc<Samples>, Range<usize>),
}

impl Run {
    fn lists(&self) -> (&[i64], &[f64]) {
        match self {
            Self::Own(samples) => (&samples.times, &samples.values),
            Self::Shared(samples, range) => (&samples.times[range.clone()], &samples.values[range.clone()]),
        }
    }
}

impl Runs {
    /// Where samples may be added behind those that are there; room is made for `count`.
    pub(crate) fn own(&mut self, count: usize) -> &mut Samples {
        if !matches!(self.0.last(), Some(Run::Own(_))) {
            self.0.push(Run::Own(Samples::default()));
        }
        let Some(Run::Own(samples)) = self.0.last_mut() else { unreachable!("the last is our own") };
        samples.times.reserve(count);
        samples.values.reserve(count);
        samples
    }

    /// Adds samples in any order.
    pub(crate) fn add(&mut self, samples: Samples) {
        if !samples.is_empty() {
            self.0.push(Run::Own(samples));
        }
    }

    /// Adds samples that are in order.
    pub(crate) fn share(&mut self, samples: Arc<Samples>) {
        let all = 0..samples.len();
        self.0.push(Run::Shared(samples, all));
    }

    /// Puts them in order of time. Of several at one time the one that was added last stays.
    pub(crate) fn settle(&mut self) {
        let mut before = None;
        let ordered = self.0.iter().all(|run| {
            let (times, _) = run.lists();
            let Some((first, last)) = times.first().zip(times.last()) else { return true };
            let follows = before.replace(*last).is_none_or(|before| before < *first);
            follows && (matches!(run, Run::Shared(..)) || times.is_sorted_by(|one, next| one < next))
        });
        if ordered {
            return;
        }
        let mut joined = std::mem::take(self).joined();
        joined.settle();
        self.0.push(Run::Own(joined));
    }

    /// The latest that is finite and before `time`; they are settled.
    pub(crate) fn latest_before(&self, time: i64) -> Option<(i64, f64)> {
        self.0.iter().rev().find_map(|run| {
            let (times, values) = run.lists();
            let end = times.partition_point(|there| *there < time);
            let mut samples = times[..end].iter().zip(&values[..end]).rev();
            samples.find(|(_, value)| value.is_finite()).map(|(time, value)| (*time, *value))
        })
    }

    /// Only those from `first` to `last`, both included; they are settled.
    pub(crate) fn keep(&mut self, first: i64, last: i64) {
        for run in &mut self.0 {
            match run {
                Run::Own(samples) => samples.keep(first, last),
                Run::Shared(samples, range) => {
                    let end = samples.times.partition_point(|time| *time <= last);
                    *range = samples.times.partition_point(|time| *time < first).min(end)..end;
                }
            }
        }
    }

    /// Their times and values, list by list.
    pub(crate) fn lists(&self) -> impl Iterator<Item = (&[i64], &[f64])> + Clone {
        self.0.iter().map(Run::lists)
    }

    /// Each with its time.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, f64)> + Clone {
        self.lists().flat_map(|(times, values)| times.iter().copied().zip(values.iter().copied()))
    }

    /// All in one list.
    pub(crate) fn joined(self) -> Samples {
        let mut runs = self.0;
        if let [Run::Own(_)] = runs[..]
            && let Some(Run::Own(samples)) = runs.pop()
        {
            return samples;
        }
        let mut joined = Samples::default();
        for run in &runs {
            let (times, values) = run.lists();
            joined.extend(times, values);
        }
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_are_what_their_samples_are_in_one_list(
            lists in prop::collection::vec((any::<bool>(), prop::collection::vec((0_i64..30, any::<i32>()), 0..9)), 0..6),
            apart in any::<bool>(),
        ) {
            let (mut runs, mut one) = (Runs::default(), Samples::default());
            for (at, (shared, points)) in (0..).zip(lists) {
                let mut samples = Samples::default();
                let after = if apart { at * 30 } else { 0 };
                points.iter().for_each(|(time, value)| samples.push(after + *time, f64::from(*value)));
                if shared {
                    samples.settle();
                }
                one.extend(&samples.times, &samples.values);
                if shared {
                    runs.share(Arc::new(samples));
                } else {
                    runs.own(samples.len()).extend(&samples.times, &samples.values);
                }
            }
            one.settle();
            runs.settle();
            prop_assert_eq!(runs.iter().map(|(time, _)| time).collect::<Vec<_>>(), one.times.clone());
            one.keep(10, 70);
            runs.keep(10, 70);
            prop_assert_eq!(runs.joined(), one);
        }
    }
}
