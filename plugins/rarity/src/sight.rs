//! The ways a series is looked at.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::mean::{Life, Mean};
use crate::season::{Profile, Season};

/// A way of looking at a series, which gives a size at every point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// How far a value lies from the mean of 50 before: spikes.
    Level,
    /// From that of 2000: what the last days did not have.
    SlowLevel,
    /// How far the mean of 50 lies from that of 1000: a level that shifts or drifts.
    Shift,
    /// The mean of 5 distances from what the time or the slow level tells: hours, days that are not as the others.
    Seasonal,
    /// The mean of 5 distances from the best guess, in what is usual at the time of the day: a strange course.
    Course,
    /// How far a value lies above what is usual at the time of the day, in what is usual there.
    Peak,
    /// How still the last 10 values are.
    Still,
    /// How still the last 20 are, beside the last 1000.
    Stiller,
}

impl Sight {
    pub(crate) const COUNT: usize = 8;

    /// All of them.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Level,
        Self::SlowLevel,
        Self::Shift,
        Self::Seasonal,
        Self::Course,
        Self::Peak,
        Self::Still,
        Self::Stiller,
    ];

    /// Whether sizes are in the metric's unit.
    pub(crate) fn is_distance(self) -> bool {
        matches!(self, Self::Level | Self::SlowLevel | Self::Shift | Self::Seasonal)
    }
}

/// What is seen at a point.
pub(crate) struct Looked {
    /// One for each way, in their order.
    pub(crate) sizes: [f64; Sight::COUNT],
    /// The best guess of the value.
    pub(crate) usual: Option<f64>,
    /// The longest season that is there, in milliseconds.
    pub(crate) season: Option<i64>,
}

const DAY: i64 = 24 * 60 * 60 * 1000;
const WEEK: i64 = 7 * DAY;
const THE_DAY: Season = Season { length: DAY, parts: 288 };

/// Errors a guess is judged by.
const ERRORS: Life = Life::of(500.0);

/// Errors a guess has to have made before it counts.
const TRIED: f64 = 20.0;

/// How much stiller than ever a series counts as before it has moved: so still it is reckoned to have been.
const STILLEST: f64 = 1e3;

/// Points that say how far apart points lie where that is not told.
const APART: Life = Life::of(100.0);

/// What a season's guesses have to be better by than the next simpler ones for the season to be there.
const BETTER: f64 = 0.75;

/// What is known of a series' course.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Eye {
    points: u32,
    /// The last time and value.
    last: (i64, f64),
    apart: Mean,
    recent: Guess,
    slow: Guess,
    day: Guess,
    week: Guess,
    of_day: Profile,
    of_week: Profile,
    means: Means,
    /// Distances from the best guess, and from the day's, at each time of the day.
    spread: Spread,
    day_spread: Spread,
}

/// The means some ways of looking keep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Means {
    level: Mean,
    slow_level: Mean,
    long: Mean,
    seasonal: Mean,
    course: Mean,
    steps_10: Mean,
    steps_20: Mean,
    steps_long: Mean,
}

/// A way to guess a value: the mean it takes where it keeps one, and how far off it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Guess {
    mean: Mean,
    error: Mean,
}

impl Guess {
    /// The guess and its error, once it has been tried.
    fn tried(&self, guess: Option<f64>) -> Option<(f64, f64)> {
        guess.filter(|_| self.error.weight() > TRIED).map(|guess| (guess, self.error.get()))
    }

    fn learn(&mut self, guess: Option<f64>, value: f64) {
        if let Some(guess) = guess {
            self.error.add((value - guess).abs(), ERRORS);
        }
    }
}

/// How far values usually lie from a guess at each time of the day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Spread {
    parts: Profile,
    all: Mean,
}

impl Spread {
    /// A distance in those usual at its time, which count the more the more there are of them. Then it is one of them.
    fn measure(&mut self, part: usize, distance: f64, life: Life) -> f64 {
        let there = self.parts.usual(part);
        let weight = there.weight().min(20.0);
        let usual = (there.get() * weight + self.all.get() * 10.0) / (weight + 10.0);
        self.parts.add(part, distance.abs(), life);
        self.all.add(distance.abs(), Life::of(1000.0));
        if usual > 0.0 { (distance / usual).clamp(f64::MIN, f64::MAX) } else { 0.0 }
    }
}

impl Eye {
    /// Looks at the next point, and remembers it.
    pub(crate) fn look(
        &mut self,
        season: Option<i64>,
        time: i64,
        step: Option<Duration>,
        value: f64,
    ) -> Looked {
        let length = season.unwrap_or(DAY);
        let (day, week) = (Season { length, ..THE_DAY }, Season { length: WEEK, parts: 336 });
        let step = self.step(time, step);
        let part = if season.is_none() { THE_DAY.part(time) } else { day.part(time) };
        let part_of_week = week.part(time);
        // Spreads are of a sixth as many parts: they take more values to be known.
        let (hour, hours) = (part / 6, Season { length, parts: 48 }.life(step));
        let last = if self.points > 0 { self.last.1 } else { value };

        let of = |mean: Mean| (mean.weight() > 0.0).then_some(mean.get());
        let recent = of(self.recent.mean);
        let slow = of(self.slow.mean);
        let of_day = of(self.of_day.usual(part));
        let of_week = of(self.of_week.usual(part_of_week));
        let best = |guesses: &[Option<(f64, f64)>]| {
            guesses.iter().flatten().copied().reduce(|one, other| if other.1 < one.1 { other } else { one })
        };
        let [recently, slowly, daily, weekly] = [
            self.recent.tried(recent),
            self.slow.tried(slow),
            self.day.tried(of_day),
            self.week.tried(of_week),
        ];
        let usual = best(&[recently, daily, weekly]).map(|(guess, _)| guess);
        let seasonal = best(&[daily, weekly, slowly]).map(|(guess, _)| guess);
        let found = self.found(length);

        let distance = |guess: Option<f64>| guess.map_or(0.0, |guess| value - guess);
        let means = &mut self.means;
        let change = (value - last).abs();
        let still = means.steps_10.add(change, Life::of(10.0));
        let steps = means.steps_20.add(change, Life::of(20.0));
        let before = means.steps_long.get();
        means.steps_long.add(steps, Life::of(1000.0));
        // The least step reckoned with: that of rounding, or a millionth of the usual one.
        let least = (value.abs() * 1e-9).max(before * 1e-6);
        let stillness = |of: f64, steps: f64| if steps + least > 0.0 { of / (steps + least) } else { 0.0 };
        let from =
            |mean: Mean, after: u32| if self.points > after { (value - mean.get()).abs() } else { 0.0 };
        let level = from(means.level, 5);
        let slow_level = from(means.slow_level, 5);
        let short = means.level.add(value, Life::of(50.0));
        means.slow_level.add(value, Life::of(2000.0));
        let shift = if self.points > 20 { (short - means.long.get()).abs() } else { 0.0 };
        means.long.add(value, Life::of(1000.0));
        let off = self.spread.measure(hour, distance(usual), hours);
        let peak = self.day_spread.measure(hour, distance(of_day), hours);
        let sizes = [
            level,
            slow_level,
            shift,
            means.seasonal.add(distance(seasonal).abs(), Life::of(5.0)),
            means.course.add(off.abs(), Life::of(5.0)),
            peak,
            stillness(1.0, still),
            if before > 0.0 { stillness(before, steps) } else { STILLEST },
        ];

        self.recent.learn(recent, value);
        self.slow.learn(slow, value);
        self.day.learn(of_day, value);
        self.week.learn(of_week, value);
        self.recent.mean.add(value, Life::of(5.0));
        self.slow.mean.add(value, ERRORS);
        self.of_day.add(part, value, day.life(step));
        self.of_week.add(part_of_week, value, week.life(step));
        self.points = self.points.saturating_add(1);
        self.last = (time, value);
        Looked { sizes: sizes.map(|size| size.min(f64::MAX)), usual, season: found }
    }

    /// How far apart points lie, in milliseconds.
    fn step(&mut self, time: i64, step: Option<Duration>) -> f64 {
        if self.points > 0 {
            self.apart.add(time.saturating_sub(self.last.0) as f64, APART);
        }
        step.map_or(self.apart.get(), |step| 1e3 * step.as_secs_f64()).max(1.0)
    }

    /// The longest season that is there: a week where it guesses better than a day, a day where it does than the level.
    fn found(&self, length: i64) -> Option<i64> {
        let error = |guess: &Guess| (guess.error.weight() > TRIED).then(|| guess.error.get());
        let slow = error(&self.slow)?;
        let day = error(&self.day).unwrap_or(f64::MAX).min(slow);
        match error(&self.week) {
            Some(week) if week < BETTER * day => Some(WEEK),
            _ if day < BETTER * slow => Some(length),
            _ => None,
        }
    }
}
