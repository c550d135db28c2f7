//! Why a merge of this crate refuses, in words that survive the store: its error carries text alone.

use bellwether_store::MergeError;

/// Why a merge of this crate refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The samples of this entry lead to a sum that no double holds.
    SumOverflows { entry: u32 },
    /// The metric of this target would have more keys than it may.
    TooManyKeys { target: u32 },
}

const SUM_OVERFLOWS: &str = "the sum of an interval overflows by entry ";
const TOO_MANY_KEYS: &str = "too many keys for target ";

impl From<Refusal> for MergeError {
    fn from(refusal: Refusal) -> Self {
        Self(match refusal {
            Refusal::SumOverflows { entry } => format!("{SUM_OVERFLOWS}{entry}"),
            Refusal::TooManyKeys { target } => format!("{TOO_MANY_KEYS}{target}"),
        })
    }
}

impl Refusal {
    /// Reads it back; `None` for another crate's error.
    pub(crate) fn read(error: &MergeError) -> Option<Self> {
        let number = |prefix| error.0.strip_prefix(prefix)?.parse().ok();
        number(SUM_OVERFLOWS)
            .map(|entry| Self::SumOverflows { entry })
            .or_else(|| number(TOO_MANY_KEYS).map(|target| Self::TooManyKeys { target }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_the_trip_through_the_store() {
        for refusal in [Refusal::SumOverflows { entry: 7 }, Refusal::TooManyKeys { target: u32::MAX }] {
            assert_eq!(Refusal::read(&refusal.into()), Some(refusal));
        }
        assert_eq!(Refusal::read(&MergeError("no room for entry 7".to_owned())), None);
    }
}
