//! What is usual at a time of the day, of the week, or of another season.

use serde::{Deserialize, Serialize};

use crate::mean::{Life, Mean};

/// A season, cut into parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Season {
    /// In milliseconds, above 0.
    pub(crate) length: i64,
    pub(crate) parts: u16,
}

impl Season {
    /// The part a time lies in. Inlined, for where the season is known to the compiler it divides by multiplying.
    #[inline(always)]
    pub(crate) fn part(self, time: i64) -> usize {
        let length = self.length.unsigned_abs().max(1);
        let into = time.rem_euclid(self.length.max(1)).unsigned_abs();
        // A year of milliseconds times the parts is far below what fits.
        usize::try_from(into * u64::from(self.parts) / length).unwrap_or(0)
    }

    /// What a part's mean is of: the points of four seasons, so many milliseconds apart.
    pub(crate) fn life(self, step: f64) -> Life {
        Life::of(4.0 * (self.length as f64 / f64::from(self.parts) / step).max(1.0))
    }
}

/// A mean for each part of a season. Those never met take no room where it is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<(u16, Mean)>", into = "Vec<(u16, Mean)>")]
pub(crate) struct Profile {
    parts: Vec<Mean>,
}

/// Parts no season has more of.
const MOST: u16 = 1_000;

impl From<Vec<(u16, Mean)>> for Profile {
    fn from(met: Vec<(u16, Mean)>) -> Self {
        let mut profile = Self::default();
        for (part, mean) in met.into_iter().filter(|(part, _)| *part < MOST) {
            *profile.at(part.into()) = mean;
        }
        profile
    }
}

impl From<Profile> for Vec<(u16, Mean)> {
    fn from(profile: Profile) -> Self {
        let numbered = (0_u16..).zip(profile.parts);
        numbered.filter(|(_, mean)| mean.weight() > 0.0).collect()
    }
}

impl Profile {
    fn at(&mut self, part: usize) -> &mut Mean {
        if self.parts.len() <= part {
            self.parts.resize(part + 1, Mean::default());
        }
        &mut self.parts[part]
    }

    /// What was usual so far in a part.
    pub(crate) fn usual(&self, part: usize) -> Mean {
        self.parts.get(part).copied().unwrap_or_default()
    }

    /// Takes a value in.
    pub(crate) fn add(&mut self, part: usize, value: f64, life: Life) {
        self.at(part).add(value, life);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_part_remembers_what_was_usual_at_its_time() {
        let day = Season { length: 24 * HOUR, parts: 24 };
        let mut profile = Profile::default();
        for hour in -24_i64..24 * 3 {
            let value = hour.rem_euclid(24) as f64;
            profile.add(day.part(hour * HOUR), value, day.life(HOUR as f64));
        }
        assert_eq!(profile.usual(day.part(24 * 99 * HOUR + 7 * HOUR + 5)).get(), 7.0);
        let met: Vec<(u16, Mean)> = profile.clone().into();
        assert_eq!((met.len(), Profile::from(met)), (24, profile));
    }
}
