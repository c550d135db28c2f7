//! One value for each step of a series that is kept, all or in part, as roll-ups.

use std::collections::BTreeMap;

use bellwether_kernel::FieldError;

use super::Aggregate;
use super::over_series::StepValue;
use super::over_time::Grid;
use super::total::Total;
use crate::SeriesError;
use crate::read::Piece;
use crate::rollup::Rolled;
use crate::sketch::Sketch;

/// When each step of a series begins, its one value, and of how many samples.
pub(super) fn steps(piece: &Piece, grid: Grid, aggregate: Aggregate, mut each: impl FnMut(i64, f64, u64)) {
    let sketched = matches!(aggregate, Aggregate::Percentile(_));
    let mut steps: BTreeMap<i64, Rolled> = BTreeMap::new();
    for rolled in &piece.rolled {
        let start = grid.start(rolled.start);
        steps.entry(start).and_modify(|there| there.merge(rolled)).or_insert_with(|| rolled.clone());
    }
    for (time, value) in piece.samples.iter().filter(|(_, value)| value.is_finite()) {
        steps
            .entry(grid.start(time))
            .and_modify(|there| there.add(time, value))
            .or_insert_with(|| Rolled::of(time, time, value, sketched));
    }
    for (start, rolled) in steps {
        let value = match aggregate {
            Aggregate::Average if !rolled.sum.is_finite() => mean(piece, grid, start, rolled.count),
            Aggregate::Average => rolled.sum / rolled.count as f64,
            Aggregate::Sum => rolled.sum,
            Aggregate::Minimum => rolled.minimum,
            Aggregate::Maximum => rolled.maximum,
            Aggregate::Count => rolled.count as f64,
            Aggregate::Last => rolled.last,
            Aggregate::Percentile(percent) => {
                rolled.sketch.as_ref().and_then(|sketch| sketch.percentile(percent)).unwrap_or(f64::NAN)
            }
        };
        if value.is_finite() {
            each(start, value, rolled.count);
        }
    }
}

/// The mean of a step whose sum no double holds, where one holds the sum of each of its parts.
fn mean(piece: &Piece, grid: Grid, start: i64, count: u64) -> f64 {
    let is_within = |time: i64| grid.start(time) == start;
    let rolled = piece.rolled.iter().filter(|rolled| is_within(rolled.start)).map(|rolled| rolled.sum);
    let samples = piece.samples.iter().filter(|(time, value)| is_within(*time) && value.is_finite());
    let samples = samples.map(|(_, value)| value);
    let mut total = Total::default();
    total.add(rolled.chain(samples));
    total.mean(count)
}

/// The samples behind each step's roll-ups, in order.
pub(super) fn sketches(rolled: &[Rolled], grid: Grid) -> Vec<(i64, Sketch)> {
    let steps = rolled.chunk_by(|a, b| grid.start(a.start) == grid.start(b.start));
    let merged = steps.filter_map(|rolled| {
        let mut sketches = rolled.iter().filter_map(|rolled| rolled.sketch.as_ref());
        let mut all = sketches.next()?.clone();
        sketches.for_each(|sketch| all.merge(sketch));
        Some((grid.start(rolled[0].start), all))
    });
    merged.collect()
}

/// Puts the time of each step's latest sample beside it, where that is in a roll-up.
pub(super) fn latest(rolled: &[Rolled], grid: Grid, values: &mut [StepValue]) {
    for rolled in rolled {
        if let Ok(at) = values.binary_search_by_key(&grid.start(rolled.start), |value| value.start) {
            values[at].time = values[at].time.max(rolled.last_at.saturating_sub(grid.shift));
        }
    }
}

/// Refuses percentiles of samples that are kept as roll-ups without sketches.
pub(super) fn check_sketched(metric: &str, rolled: &[Rolled]) -> Result<(), SeriesError> {
    match rolled.iter().rev().find(|rolled| rolled.sketch.is_none()) {
        None => Ok(()),
        Some(rolled) => {
            let time = bellwether_kernel::Timestamp::from_milliseconds(rolled.start);
            let until = time.map_or_else(|| rolled.start.to_string(), |time| time.to_string());
            let expected = format!(
                "for a percentile a metric whose samples are there, or that was a distribution: up to {until} \
                 they are kept as roll-ups without sketches; ask for what is later, or for avg, sum, min, max, count \
                 or last"
            );
            Err(FieldError::new("metric", metric, expected).into())
        }
    }
}
