//! What the points of a window come to that moves along a line: in time that grows with the points, however long the
//! window is.

use std::collections::VecDeque;

use super::Aggregate;
use super::total::Total;

/// What the points of the last `window` milliseconds come to at each point, its own included.
pub(super) fn moving(points: &[(i64, f64)], window: i64, aggregate: Aggregate) -> Vec<(i64, f64)> {
    if let Aggregate::Percentile(percent) = aggregate {
        return percentiles(points, window, percent);
    }
    let mut within = Window::default();
    each(points, window, |at, gone| {
        within.push(points[at].1);
        (0..gone).for_each(|_| within.pop());
        let whole = within.whole();
        match aggregate {
            Aggregate::Average => whole.total.mean(whole.count),
            Aggregate::Sum => whole.total.sum(),
            Aggregate::Minimum => whole.minimum,
            Aggregate::Maximum => whole.maximum,
            Aggregate::Count => whole.count as f64,
            Aggregate::Last => points[at].1,
            Aggregate::Percentile(_) => f64::NAN,
        }
    })
}

/// Calls `value` with each point's place and how many points leave the window as it comes.
fn each(points: &[(i64, f64)], window: i64, mut value: impl FnMut(usize, usize) -> f64) -> Vec<(i64, f64)> {
    let mut first = 0;
    let mut out = Vec::with_capacity(points.len());
    for (at, (time, _)) in points.iter().enumerate() {
        let before = first;
        while time.saturating_sub(points[first].0) >= window {
            first += 1;
        }
        out.push((*time, value(at, first - before)));
    }
    out
}

/// What some values come to.
#[derive(Clone, Copy)]
struct Part {
    count: u64,
    total: Total,
    minimum: f64,
    maximum: f64,
}

impl Part {
    const NONE: Self =
        Self { count: 0, total: Total::ZERO, minimum: f64::INFINITY, maximum: f64::NEG_INFINITY };

    fn and(&self, other: &Self) -> Self {
        Self {
            count: self.count + other.count,
            total: self.total.and(&other.total),
            minimum: self.minimum.min(other.minimum),
            maximum: self.maximum.max(other.maximum),
        }
    }

    fn of(value: f64) -> Self {
        let mut total = Total::default();
        total.add(std::iter::once(value));
        Self { count: 1, total, minimum: value, maximum: value }
    }
}

/// Values that come at one end and go at the other. Nothing is taken off a sum: what a huge value rounds away would not come
/// back with its leaving. So the older half is kept as what each value and all behind it come to, and made anew of the
/// younger when it is used up.
struct Window {
    /// The oldest last.
    older: Vec<Part>,
    younger: VecDeque<f64>,
    /// What the younger come to.
    young: Part,
}

impl Default for Window {
    fn default() -> Self {
        Self { older: Vec::new(), younger: VecDeque::new(), young: Part::NONE }
    }
}

impl Window {
    fn push(&mut self, value: f64) {
        self.younger.push_back(value);
        self.young = self.young.and(&Part::of(value));
    }

    fn pop(&mut self) {
        if self.older.is_empty() {
            let mut behind = Part::NONE;
            for value in self.younger.drain(..).rev() {
                behind = Part::of(value).and(&behind);
                self.older.push(behind);
            }
            self.young = Part::NONE;
        }
        self.older.pop();
    }

    fn whole(&self) -> Part {
        self.older.last().unwrap_or(&Part::NONE).and(&self.young)
    }
}

/// As [`super::over_time::percentile`], of the values in each window.
fn percentiles(points: &[(i64, f64)], window: i64, percent: f64) -> Vec<(i64, f64)> {
    // Each value's place among all of the line.
    let mut sorted: Vec<(f64, usize)> =
        points.iter().enumerate().map(|(at, (_, value))| (*value, at)).collect();
    sorted.sort_unstable_by(|(a, one), (b, other)| a.total_cmp(b).then(one.cmp(other)));
    let mut places = vec![0; points.len()];
    sorted.iter().enumerate().for_each(|(place, (_, at))| places[*at] = place);
    let mut within = Places::new(points.len());
    let (mut count, mut oldest) = (0_usize, 0);
    each(points, window, |at, gone| {
        within.put(places[at]);
        for place in &places[oldest..oldest + gone] {
            within.take(*place);
        }
        oldest += gone;
        count += 1;
        count -= gone;
        let last = count - 1;
        let place = percent / 100.0 * last as f64;
        let below = (place.floor() as usize).min(last);
        let lower = sorted[within.nth(below)].0;
        let upper = if below < last { sorted[within.nth(below + 1)].0 } else { lower };
        lower + (upper - lower) * (place - below as f64)
    })
}

/// Which of so many places are taken: a Fenwick tree of how many are.
struct Places(Vec<u32>);

impl Places {
    fn new(places: usize) -> Self {
        Self(vec![0; places + 1])
    }

    fn put(&mut self, place: usize) {
        self.change(place, |taken| *taken += 1);
    }

    fn take(&mut self, place: usize) {
        self.change(place, |taken| *taken -= 1);
    }

    fn change(&mut self, place: usize, change: impl Fn(&mut u32)) {
        let mut at = place + 1;
        while let Some(taken) = self.0.get_mut(at) {
            change(taken);
            at += at & at.wrapping_neg();
        }
    }

    /// The place of the taken one that so many stand before; there is one.
    fn nth(&self, before: usize) -> usize {
        let (mut at, mut left) = (0, before as u32);
        let mut step = (self.0.len() - 1).checked_ilog2().map_or(0, |power| 1 << power);
        while step > 0 {
            if let Some(taken) = self.0.get(at + step).filter(|taken| **taken <= left) {
                left -= taken;
                at += step;
            }
            step /= 2;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::super::over_time::percentile;
    use super::*;

    /// Goes through the whole window at each point.
    fn naive(points: &[(i64, f64)], window: i64, aggregate: Aggregate) -> Vec<(i64, f64)> {
        let of = |at: usize| {
            let within = points[..=at].iter().filter(|(time, _)| points[at].0 - time < window);
            let mut values: Vec<f64> = within.map(|(_, value)| *value).collect();
            let mut total = Total::default();
            total.add(values.iter().copied());
            match aggregate {
                Aggregate::Average => total.mean(values.len() as u64),
                Aggregate::Sum => total.sum(),
                Aggregate::Minimum => values.iter().copied().fold(f64::INFINITY, f64::min),
                Aggregate::Maximum => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                Aggregate::Count => values.len() as f64,
                Aggregate::Last => points[at].1,
                Aggregate::Percentile(percent) => percentile(&mut values, percent).unwrap(),
            }
        };
        (0..points.len()).map(|at| (points[at].0, of(at))).collect()
    }

    const ALL: [Aggregate; 9] = [
        Aggregate::Average,
        Aggregate::Sum,
        Aggregate::Minimum,
        Aggregate::Maximum,
        Aggregate::Count,
        Aggregate::Last,
        Aggregate::Percentile(0.0),
        Aggregate::Percentile(37.5),
        Aggregate::Percentile(100.0),
    ];

    proptest! {
        #[test]
        fn a_moving_window_is_what_going_through_it_at_each_point_is(
            gaps in prop::collection::vec((1_i64..9, -20_i32..20), 0..80), window in 1_i64..60,
        ) {
            let mut time = 0;
            let points: Vec<_> = gaps.into_iter().map(|(gap, value)| {
                time += gap;
                (time, f64::from(value))
            }).collect();
            for aggregate in ALL {
                prop_assert_eq!(moving(&points, window, aggregate), naive(&points, window, aggregate), "{:?}", aggregate);
            }
        }
    }

    #[test]
    fn what_left_the_window_leaves_nothing_behind() {
        let points = [(0, 1e300), (1, 0.1), (2, 0.2), (3, f64::MAX), (4, f64::MAX), (5, 0.5)];
        for aggregate in ALL {
            assert_eq!(moving(&points, 2, aggregate), naive(&points, 2, aggregate), "{aggregate:?}");
            assert_eq!(moving(&points, i64::MAX, aggregate).len(), points.len());
        }
    }

    #[test]
    fn a_long_window_over_many_points_takes_no_longer_than_a_short_one() {
        let points: Vec<(i64, f64)> = (0..200_000).map(|at| (at, ((at * 7919) % 10_007) as f64)).collect();
        let begun = Instant::now();
        for aggregate in ALL {
            assert_eq!(moving(&points, 150_000, aggregate).len(), points.len());
        }
        // Going through the window at each point takes minutes.
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
