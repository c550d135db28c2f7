//! The conditions a series must meet before it opens.

use super::breach::Measured;
use crate::monitor::{Compiled, Condition, Reduce, Side};
use crate::state::{Direction, Held};

/// What is known of a series that breaches.
pub(super) struct Candidate<'a> {
    /// For how long in the time of its data, in milliseconds.
    pub(super) breached_for: i64,
    /// The value that breaches, measured against its bound; of missing data there is none.
    pub(super) measured: Option<Measured>,
    /// The highest score of the window.
    pub(super) score: Option<f64>,
    /// The values of the window, oldest first.
    pub(super) values: &'a [f64],
    /// What an automatic delta comes to.
    pub(super) automatic: f64,
}

/// The first condition that does not hold, and why.
pub(super) fn held(compiled: &Compiled, candidate: &Candidate<'_>) -> Option<(Held, String)> {
    compiled.monitor.conditions.iter().find_map(|condition| fails(condition, candidate))
}

fn fails(condition: &Condition, candidate: &Candidate<'_>) -> Option<(Held, String)> {
    let seconds = |milliseconds: i64| milliseconds / 1000;
    match condition {
        Condition::Duration { at_least } => (candidate.breached_for < at_least.milliseconds()).then(|| {
            let (so_far, needed) = (seconds(candidate.breached_for), seconds(at_least.milliseconds()));
            (Held::Duration, format!("it breaches for {so_far} s, {needed} s are needed"))
        }),
        Condition::Direction { side } => {
            let measured = candidate.measured?;
            // One whose side nobody knows may be of the one that is asked for.
            let is = |wanted| measured.side.is_none_or(|side| side == wanted);
            let right = match side {
                Side::Up => is(Direction::Up),
                Side::Down => is(Direction::Down),
                Side::Both => true,
            };
            (!right).then(|| (Held::Direction, "it breaches to the other side".to_owned()))
        }
        Condition::Significance { at_least } => {
            let score = candidate.score?;
            (score < *at_least)
                .then(|| (Held::Significance, format!("its score is {score}, at least {at_least} is needed")))
        }
        Condition::Delta { absolute, percentage, automatic } => {
            let measured = candidate.measured?;
            let (delta, percent) = (measured.delta(), measured.percentage());
            let least = absolute.unwrap_or(0.0).max(if *automatic { candidate.automatic } else { 0.0 });
            if delta < least {
                return Some((Held::Delta, format!("it is {delta} beyond, at least {least} is needed")));
            }
            percentage
                .filter(|least| percent < *least)
                .map(|least| (Held::Delta, format!("it is {percent} % beyond, at least {least} % is needed")))
        }
        Condition::Volume { points, reduce, at_least, at_most } => {
            candidate.measured?;
            let latest = candidate.values.len().saturating_sub(*points as usize);
            let volume = reduced(*reduce, &candidate.values[latest..]).unwrap_or(0.0);
            let wrong =
                at_least.is_some_and(|least| volume < least) || at_most.is_some_and(|most| volume > most);
            wrong.then(|| {
                let bound = |word: &str, bound: &Option<f64>| bound.map(|bound| format!("{word} {bound}"));
                let bounds = [bound("at least", at_least), bound("at most", at_most)];
                let bounds: Vec<String> = bounds.into_iter().flatten().collect();
                let expected = bounds.join(" and ");
                (Held::Volume, format!("its last {points} points amount to {volume}, {expected} is needed"))
            })
        }
        // Looked at when all series are known.
        Condition::Participating { .. } => None,
    }
}

/// Whether so many of `all` series may open, and why not.
pub(super) fn participating(compiled: &Compiled, breaching: usize, all: usize) -> Option<(Held, String)> {
    compiled.monitor.conditions.iter().find_map(|condition| {
        let Condition::Participating { at_least, at_most, percentage } = condition else { return None };
        let share = if *percentage { 100.0 * breaching as f64 / all.max(1) as f64 } else { breaching as f64 };
        let unit = if *percentage { " %" } else { "" };
        let told = |word: &str, bound: f64| {
            format!("{breaching} of {all} series breach, {word} {bound}{unit} is needed")
        };
        if let Some(least) = at_least.filter(|least| share < *least) {
            return Some((Held::TooFew, told("at least", least)));
        }
        at_most.filter(|most| share > *most).map(|most| (Held::TooMany, told("at most", most)))
    })
}

/// One value of several; `None` of none.
pub(crate) fn reduced(reduce: Reduce, values: &[f64]) -> Option<f64> {
    let last = *values.last()?;
    Some(match reduce {
        Reduce::Average => values.iter().sum::<f64>() / values.len() as f64,
        Reduce::Sum => values.iter().sum(),
        Reduce::Minimum => values.iter().copied().fold(f64::INFINITY, f64::min),
        Reduce::Maximum => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Reduce::Last => last,
    })
}

/// A tenth of the 90th percentile of the averages, as Anodot has it.
pub(super) fn automatic_delta(mut averages: Vec<f64>) -> f64 {
    averages.retain(|average| average.is_finite());
    if averages.is_empty() {
        return 0.0;
    }
    averages.sort_by(f64::total_cmp);
    // The nearest rank.
    let rank = (averages.len() * 9).div_ceil(10).max(1);
    averages[rank - 1].abs() / 10.0
}
