//! One value for each step of a series.

use super::total::Total;
use super::{Aggregate, over_rolled};
use crate::codec::Summary;
use crate::read::Piece;

/// Where steps lie: on multiples of their length since the epoch, once times are moved back by `shift`.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    /// Milliseconds of a step.
    pub(super) step: i64,
    /// By how many milliseconds what is looked at is later than the answer says.
    pub(super) shift: i64,
}

impl Grid {
    /// When the answer says that the step of a sample begins.
    pub(super) fn start(self, time: i64) -> i64 {
        step_of(time.saturating_sub(self.shift), self.step)
    }
}

/// What the samples of one step amount to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// When the answer says that it begins.
    pub(super) start: i64,
    /// The time of its samples' that the next one begins at.
    end: i64,
    count: u64,
    total: Total,
    minimum: f64,
    maximum: f64,
    last: f64,
}

impl Step {
    /// The step of a time.
    fn of(time: i64, grid: Grid) -> Self {
        let start = grid.start(time);
        let (minimum, maximum) = (f64::INFINITY, f64::NEG_INFINITY);
        let (end, total) = (start.saturating_add(grid.step).saturating_add(grid.shift), Total::default());
        Self { start, end, count: 0, total, minimum, maximum, last: 0.0 }
    }

    /// Takes samples in, as far as this aggregate needs them.
    fn samples(&mut self, values: &[f64], aggregate: Aggregate) {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        self.count += finite().count() as u64;
        match aggregate {
            Aggregate::Average | Aggregate::Sum => self.total.add(finite()),
            Aggregate::Minimum => self.minimum = most(values, self.minimum, |value, least| value < least),
            Aggregate::Maximum => {
                self.maximum = most(values, self.maximum, |value, greatest| value > greatest);
            }
            Aggregate::Last => self.last = finite().next_back().unwrap_or(self.last),
            Aggregate::Count | Aggregate::Percentile(_) => {}
        }
    }

    fn summary(&mut self, summary: &Summary) {
        self.count += summary.count;
        self.total.add(std::iter::once(summary.sum));
        self.minimum = self.minimum.min(summary.minimum);
        self.maximum = self.maximum.max(summary.maximum);
        self.last = summary.last;
    }

    fn value(&self, aggregate: Aggregate) -> f64 {
        match aggregate {
            Aggregate::Average => self.total.mean(self.count),
            Aggregate::Sum => self.total.sum(),
            Aggregate::Minimum => self.minimum,
            Aggregate::Maximum => self.maximum,
            Aggregate::Count => self.count as f64,
            Aggregate::Last => self.last,
            Aggregate::Percentile(_) => f64::NAN,
        }
    }
}

/// Which of `values` that are finite, and of `known`, is beyond all others. Several are compared at once: one alone would
/// wait for the one before it.
fn most(values: &[f64], known: f64, is_beyond: impl Fn(f64, f64) -> bool) -> f64 {
    let pick =
        |found: f64, value: f64| if value.is_finite() && is_beyond(value, found) { value } else { found };
    let mut lanes = [known; 8];
    let mut chunks = values.chunks_exact(lanes.len());
    for chunk in &mut chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane = pick(*lane, *value));
    }
    lanes.iter().chain(chunks.remainder()).fold(known, |found, value| pick(found, *value))
}

/// The beginning of the step a time lies in.
pub(super) fn step_of(time: i64, step: i64) -> i64 {
    time.div_euclid(step) * step
}

/// When each step of a series with samples begins, their one value, and how many there are.
pub(super) fn steps(piece: &Piece, grid: Grid, aggregate: Aggregate, mut each: impl FnMut(i64, f64, u64)) {
    if !piece.rolled.is_empty() {
        return over_rolled::steps(piece, grid, aggregate, each);
    }
    if let Aggregate::Percentile(percent) = aggregate {
        let mut samples = piece.samples.iter().peekable();
        let mut values = Vec::new();
        while let Some((time, value)) = samples.next() {
            let step = Step::of(time, grid);
            values.clear();
            values.push(value);
            while let Some((_, value)) = samples.next_if(|(time, _)| *time < step.end) {
                values.push(value);
            }
            values.retain(|value| value.is_finite());
            if let Some(value) = percentile(&mut values, percent) {
                each(step.start, value, values.len() as u64);
            }
        }
        return;
    }
    let mut steps = Steps { grid, aggregate, present: None, each };
    // Blocks that were not unpacked lie apart from every sample, so that both are in order of time together.
    let mut summaries = piece.summaries.iter().peekable();
    for (mut times, mut values) in piece.samples.lists() {
        while let Some(time) = times.first() {
            while let Some((first, summary)) = summaries.next_if(|(first, _)| first < time) {
                steps.at(*first).summary(summary);
            }
            let step = steps.at(*time);
            let end = summaries.peek().map_or(step.end, |(first, _)| step.end.min(*first));
            // At the end of time a step has no end behind it.
            let length = times.iter().take_while(|time| **time < end).count().max(1);
            let of_step;
            (of_step, values) = values.split_at(length);
            times = &times[length..];
            step.samples(of_step, aggregate);
        }
    }
    for (first, summary) in summaries {
        steps.at(*first).summary(summary);
    }
    steps.done();
}

/// The step that is being gone through.
struct Steps<F> {
    grid: Grid,
    aggregate: Aggregate,
    present: Option<Step>,
    each: F,
}

impl<F: FnMut(i64, f64, u64)> Steps<F> {
    /// The step of a time, which is not before the one before.
    #[inline]
    fn at(&mut self, time: i64) -> &mut Step {
        // Most samples lie in the step of the one before, and a division takes longer than all else.
        if self.present.is_none_or(|present| time >= present.end) {
            self.done();
        }
        self.present.get_or_insert_with(|| Step::of(time, self.grid))
    }

    fn done(&mut self) {
        if let Some(done) = self.present.take().filter(|done| done.count > 0) {
            (self.each)(done.start, done.value(self.aggregate), done.count);
        }
    }
}

/// The value below which so many percent of `values` lie: between the two nearest by linear interpolation, as NumPy's
/// default. `None` of none.
pub(super) fn percentile(values: &mut [f64], percent: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let place = percent / 100.0 * last as f64;
    let below = (place.floor() as usize).min(last);
    let (_, lower, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let lower = *lower;
    let upper = above.iter().copied().min_by(f64::total_cmp).unwrap_or(lower);
    Some(lower + (upper - lower) * (place - below as f64))
}
