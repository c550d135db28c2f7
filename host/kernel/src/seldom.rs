//! Lines of the log that would be thousands.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long nothing is said after a line.
const PAUSE: Duration = Duration::from_secs(10);

/// Says of what may happen thousands of times a second when it is worth a line in the log: the first time, and then once
/// in ten seconds.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Option<Said>>);

#[derive(Debug)]
struct Said {
    at: Instant,
    /// How often it happened since without a line.
    since: u64,
}

impl Seldom {
    /// As nothing was said yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// It happened: whether to say so, and then how often it happened since the last line without one.
    pub fn happened(&self) -> Option<u64> {
        self.happened_at(Instant::now())
    }

    fn happened_at(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock();
        match &mut *said {
            Some(said) if now.saturating_duration_since(said.at) < PAUSE => {
                said.since += 1;
                None
            }
            said => Some(said.replace(Said { at: now, since: 0 }).map_or(0, |said| said.since)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_all_the_time_is_said_at_once_and_then_counted() {
        let (seldom, start) = (Seldom::new(), Instant::now());
        let after = |milliseconds| seldom.happened_at(start + Duration::from_millis(milliseconds));
        assert_eq!(after(0), Some(0));
        assert_eq!((after(1), after(9_999)), (None, None));
        assert_eq!(after(10_000), Some(2));
        assert_eq!(after(10_001), None);
        assert_eq!(after(60_000), Some(1));
    }
}
