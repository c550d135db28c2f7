//! The detector to begin with: how rare is what a series does now, among all it has done?
//!
//! It looks at a series in eight ways ([`Sight`]): how far values lie from what is usual, over a few points and over many,
//! in general and for the time of the day; and how still they have become. Each way gives a size, and which sizes are rare
//! is learnt from the series itself, by counting them and by a power law through the largest. So it needs to be told
//! neither unit nor threshold, and a series that is wild is allowed to be. The rarest of the eight is the point's.
//!
//! What is usual is the guess whose errors were least so far: the values just before, the time of the day, the time of the
//! week. So seasons are used where they are there, and a new level is soon the usual one.
//!
//! Something strange is said once: what follows is held back for a while unless it is stranger still, for a disturbance is
//! one thing to know, however many points it has.

mod mean;
mod quiet;
mod season;
mod sight;
mod tail;

use std::time::Duration;

use bellwether_sdk::detector::{Point, Verdict, detector};
use bellwether_sdk::{SettingError, Settings};
use serde::{Deserialize, Serialize};

use quiet::Quiet;
use sight::Eye;
pub use sight::Sight;
use tail::Tail;

/// What is strange.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct Rarity {
    /// How rare a point is whose score is 0.5: one in so many, 10 to 1,000,000. It is also what lies beyond the band.
    #[setting(default = 1000)]
    pub one_in: u32,
    /// For how many points after something strange only what is stranger still is told again, 0 to 100,000.
    #[setting(default = 300)]
    pub quiet: u32,
    /// Milliseconds from the beginning of a season to that of the next, where it is neither a day nor a week: 1,000 to
    /// 31,622,400,000, a year. If absent, a day.
    pub season: Option<i64>,
    /// The least distance from the usual that counts, in the metric's unit.
    #[setting(default = 0.0)]
    pub noise: f64,
}

fn check(rarity: &Rarity) -> Result<(), SettingError> {
    let Rarity { one_in, quiet, season, noise } = rarity;
    if !(10..=1_000_000).contains(one_in) {
        return Err(SettingError::new("one_in", one_in, "10 to 1000000"));
    }
    if *quiet > 100_000 {
        return Err(SettingError::new("quiet", quiet, "0 to 100000"));
    }
    if let Some(season) = season.filter(|season| !(1_000..=31_622_400_000).contains(season)) {
        return Err(SettingError::new("season", season, "1000 to 31622400000 milliseconds"));
    }
    if !(noise.is_finite() && *noise >= 0.0) {
        return Err(SettingError::new("noise", noise, "0, or a number above"));
    }
    Ok(())
}

/// What is known of a series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    eye: Eye,
    /// What sizes were seen, each way.
    seen: [Tail; Sight::COUNT],
    /// How far values lay above and below the usual.
    around: [Tail; 2],
    quiet: Quiet,
}

/// Finds what is rare in a series' own past: spikes, drops, new levels, strange days, sudden stillness. It finds daily and weekly
/// seasons by itself and gets used to what stays.
#[detector(least = 50, best = 4032)]
pub fn judge(known: &mut Known, rarity: &Rarity, point: Point) -> Verdict {
    if !point.learn {
        return known.clone().step(rarity, point, |_| true);
    }
    known.step(rarity, point, |_| true)
}

/// The same by some ways of looking alone: what each is worth is measured by leaving it out.
pub fn judge_by(known: &mut Known, rarity: &Rarity, point: Point, counts: impl Fn(Sight) -> bool) -> Verdict {
    known.step(rarity, point, counts)
}

impl Known {
    fn step(&mut self, rarity: &Rarity, point: Point, counts: impl Fn(Sight) -> bool) -> Verdict {
        let value = point.value.clamp(-LARGEST, LARGEST);
        let looked = self.eye.look(rarity.season, point.time.milliseconds(), point.step, value);
        let mut rarest: f64 = 0.0;
        for (sight, tail) in Sight::ALL.into_iter().zip(&mut self.seen) {
            let size = looked.sizes[sight as usize];
            let noise = if sight.is_distance() { rarity.noise } else { 0.0 };
            if size > noise && counts(sight) {
                rarest = rarest.max(tail.rarity(size));
            }
            tail.add(size);
        }
        let said = self.quiet.hold(rarest, rarity.quiet);
        // 0.5 where it is one in as many as are asked for, 0.8 where it is one in their square.
        let ratio = if said > 0.0 { said / f64::from(rarity.one_in).log10() } else { 0.0 };
        let verdict = Verdict::new(ratio * ratio / (1.0 + ratio * ratio));
        let verdict = self.band(verdict, rarity, looked.usual, value);
        match looked.season {
            Some(season) => verdict.season(Duration::from_millis(season.unsigned_abs())),
            None => verdict,
        }
    }

    /// Adds what the value should have been, and the band beyond which one in as many lie as are asked for.
    fn band(&mut self, verdict: Verdict, rarity: &Rarity, usual: Option<f64>, value: f64) -> Verdict {
        let Some(usual) = usual else { return verdict };
        let once = f64::from(rarity.one_in);
        let [above, below] = self.around.each_mut().map(|tail| tail.size(once).max(rarity.noise));
        self.around[0].add(value - usual);
        self.around[1].add(usual - value);
        let held = |bound: f64| bound.clamp(f64::MIN, f64::MAX);
        verdict.expected(usual, 0.0).band(held(usual - below), held(usual + above))
    }
}

/// Values are held within: the difference of two is a number still.
const LARGEST: f64 = f64::MAX / 8.0;

#[cfg(test)]
mod tests;
