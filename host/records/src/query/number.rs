//! Numbers as records and searches write them.

use std::cmp::Ordering;

/// A number. Whole ones are compared as such: ids have more digits than a float can tell apart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Whole(i128),
    Real(f64),
}

impl Number {
    /// Reads `404`, `-0.5` or `1e3`; nothing that is no number or no finite one.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let whole = text.parse().map(Self::Whole);
        whole.ok().or_else(|| text.parse().ok().filter(|real: &f64| real.is_finite()).map(Self::Real))
    }

    fn real(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(own), Self::Whole(other)) => Some(own.cmp(other)),
            _ => self.real().partial_cmp(&other.real()),
        }
    }
}
