//! Says what is strange once: what comes after it is held back, unless it is stranger still.

use serde::{Deserialize, Serialize};

/// What is below is not worth remembering.
const WORTH: f64 = 1.5;

/// How much rarer something has to be to be said again; in powers of ten, so twice as rare.
const RARER: f64 = 0.3;

/// What is left of a rarity that is held back.
const LEFT: f64 = 0.1;

/// What was said last, and how many points ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quiet {
    said: f64,
    since: u32,
}

impl Quiet {
    /// What there is to be said of a rarity, where nothing like it was said for `points`.
    pub(crate) fn hold(&mut self, rarity: f64, points: u32) -> f64 {
        self.since = self.since.saturating_add(1);
        if self.since < points && rarity <= self.said + RARER {
            return LEFT * rarity;
        }
        if rarity > WORTH {
            (self.said, self.since) = (rarity, 0);
        }
        rarity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_not_said_again_until_it_is_rarer_or_long_ago() {
        let mut quiet = Quiet::default();
        let said: Vec<f64> =
            [1.0, 3.0, 3.2, 3.4, 3.4, 3.4, 3.4].iter().map(|rarity| quiet.hold(*rarity, 3)).collect();
        let expected = [1.0, 3.0, 0.32, 3.4, 0.34, 0.34, 3.4];
        assert!(said.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-12), "{said:?}");
    }
}
