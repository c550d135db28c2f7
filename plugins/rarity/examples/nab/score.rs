//! The benchmark's score (Lavin and Ahmad, Evaluating Real-Time Anomaly Detection Algorithms, 2015).
//!
//! The first point of a window that is found counts, the more the earlier it lies; a window not found costs, and so does
//! every point found outside, the less the sooner it comes after a window. The sum is put on a scale on which finding nothing is 0
//! and finding every window at its first point, and nothing else, is 100.

use crate::corpus::Series;

/// What finding, a false alarm and a miss weigh.
#[derive(Clone, Copy)]
pub(crate) struct Profile {
    pub(crate) false_alarm: f64,
    pub(crate) miss: f64,
}

/// Standard, low false alarms, low misses.
pub(crate) const PROFILES: [Profile; 3] = [
    Profile { false_alarm: 0.11, miss: 1.0 },
    Profile { false_alarm: 0.22, miss: 1.0 },
    Profile { false_alarm: 0.11, miss: 2.0 },
];

/// The parts of the corpus a threshold is taken from in turn, to be tried on the rest.
const FOLDS: usize = 5;

/// Points at the beginning of a series that are not scored.
fn probation(points: usize) -> usize {
    (points * 15 / 100).min(750)
}

fn sigmoid(place: f64) -> f64 {
    2.0 / (1.0 + (5.0 * place).exp()) - 1.0
}

/// What each point adds if found, before it is weighed, and the window it lies in.
fn worth(series: &Series) -> Vec<(f64, Option<usize>)> {
    let points = series.values.len();
    let mut worth = vec![(-1.0, None); points];
    for (number, window) in series.windows.iter().enumerate() {
        let (begin, end) = (*window.start(), *window.end());
        let length = (end - begin + 1) as f64;
        for (at, worth) in worth.iter_mut().enumerate().take(end + 1).skip(begin) {
            *worth = (sigmoid(-((end - at + 1) as f64) / length) / sigmoid(-1.0), Some(number));
        }
        let next = series.windows.get(number + 1).map_or(points, |next| *next.start());
        for (at, worth) in worth.iter_mut().enumerate().take(next).skip(end + 1) {
            let place = (at - end) as f64 / (length - 1.0);
            worth.0 = if place > 3.0 { -1.0 } else { sigmoid(place) };
        }
    }
    worth
}

/// What a series adds to the sum for every threshold there is, from the highest on.
pub(crate) struct Curve {
    /// A score, and the sum where that is the threshold.
    steps: Vec<(f64, f64)>,
    nothing: f64,
    perfect: f64,
}

impl Curve {
    pub(crate) fn new(series: &Series, scores: &[f64], profile: Profile) -> Self {
        let worth = worth(series);
        let mut order: Vec<usize> = (probation(scores.len())..scores.len()).collect();
        order.sort_by(|one, other| scores[*other].total_cmp(&scores[*one]));
        let counted = |number: usize| *series.windows[number].end() >= probation(scores.len());
        let missed = (0..series.windows.len()).filter(|number| counted(*number)).count() as f64;
        let mut best = vec![-profile.miss; series.windows.len()];
        let nothing = -profile.miss * missed;
        let (mut sum, mut steps) = (nothing, Vec::new());
        for (place, &at) in order.iter().enumerate() {
            match worth[at] {
                (worth, Some(window)) => {
                    sum += (worth - best[window]).max(0.0);
                    best[window] = best[window].max(worth);
                }
                (worth, None) => sum += worth * profile.false_alarm,
            }
            // Equal scores stand or fall together.
            if order.get(place + 1).is_none_or(|next| scores[*next] != scores[at]) {
                steps.push((scores[at], sum));
            }
        }
        Self { steps, nothing, perfect: series.windows.len() as f64 }
    }

    fn at(&self, threshold: f64) -> f64 {
        let found = self.steps.partition_point(|(score, _)| *score >= threshold);
        found.checked_sub(1).map_or(self.nothing, |last| self.steps[last].1)
    }
}

/// The threshold at which the sum over series is highest.
pub(crate) fn best(curves: &[&Curve]) -> f64 {
    let mut moves = Vec::new();
    for curve in curves {
        let mut before = curve.nothing;
        for (score, sum) in &curve.steps {
            moves.push((*score, sum - before));
            before = *sum;
        }
    }
    moves.sort_by(|one, other| other.0.total_cmp(&one.0));
    let (mut sum, mut best) = (0.0, (0.0, f64::INFINITY));
    for (place, (score, step)) in moves.iter().enumerate() {
        sum += step;
        if sum > best.0 && moves.get(place + 1).is_none_or(|next| next.0 != *score) {
            best = (sum, *score);
        }
    }
    best.1
}

/// The score of each series at a threshold of its own, put together.
pub(crate) fn total<'a>(curves: impl Iterator<Item = (&'a Curve, f64)>) -> f64 {
    let (mut sum, mut nothing, mut perfect) = (0.0, 0.0, 0.0);
    for (curve, threshold) in curves {
        sum += curve.at(threshold);
        nothing += curve.nothing;
        perfect += curve.perfect;
    }
    100.0 * (sum - nothing) / (perfect - nothing)
}

/// Each series at the threshold that is best for the other folds.
pub(crate) fn crossed(curves: &[Curve]) -> f64 {
    let thresholds: Vec<f64> = (0..FOLDS)
        .map(|fold| {
            let others = curves.iter().enumerate().filter(|(place, _)| place % FOLDS != fold);
            best(&others.map(|(_, curve)| curve).collect::<Vec<_>>())
        })
        .collect();
    total(curves.iter().enumerate().map(|(place, curve)| (curve, thresholds[place % FOLDS])))
}
