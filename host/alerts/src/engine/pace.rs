//! How evaluations keep their times: what the page shows of it.

use bellwether_kernel::Timestamp;
use bellwether_store::{Key, Space, Walk};
use parking_lot::Mutex;

use crate::{AlertError, Alerts, rows};

/// Bounds of lags that are told apart, in milliseconds.
const BOUNDS: [i64; 16] =
    [5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000, 300_000, 3_600_000, i64::MAX];

const MINUTE: i64 = 60_000;

/// How evaluations of the last whole minute, on this host, kept their times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// How many there were.
    pub evaluations: u64,
    /// Those that a write brought forward.
    pub woken: u64,
    /// Half were committed at most so many milliseconds after their time; absent of none, or if it is over an hour.
    pub half_within: Option<i64>,
    /// 99 of 100.
    pub most_within: Option<i64>,
    /// For how many milliseconds the first monitor that is due has been, now; 0 if none is.
    pub behind: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    minute: i64,
    woken: u64,
    lags: [u64; BOUNDS.len()],
}

impl Counted {
    fn within(&self, of_100: u64) -> Option<i64> {
        let all: u64 = self.lags.iter().sum();
        let mut counted = 0;
        let found = self.lags.iter().zip(BOUNDS).find(|(count, _)| {
            counted += **count;
            counted * 100 >= all * of_100
        });
        found.map(|(_, bound)| bound).filter(|bound| all > 0 && *bound < i64::MAX)
    }
}

/// Counts the evaluations of this minute and the one before.
#[derive(Debug, Default)]
pub(crate) struct Pacing(Mutex<[Counted; 2]>);

impl Pacing {
    /// Something was evaluated at `now`, so many milliseconds late.
    pub(super) fn count(&self, now: Timestamp, late: i64, is_woken: bool) {
        let minute = now.as_milliseconds().div_euclid(MINUTE);
        let mut counted = self.0.lock();
        let [last, present] = &mut *counted;
        if present.minute != minute {
            *last = std::mem::replace(present, Counted { minute, ..Counted::default() });
        }
        present.woken += u64::from(is_woken);
        present.lags[BOUNDS.partition_point(|bound| *bound < late)] += 1;
    }

    fn last(&self, now: Timestamp) -> Counted {
        let before = now.as_milliseconds().div_euclid(MINUTE) - 1;
        let counted = *self.0.lock();
        counted.into_iter().rev().find(|counted| counted.minute == before).unwrap_or_default()
    }
}

impl Alerts {
    /// How evaluations keep their times, those of every organisation together.
    ///
    /// # Errors
    /// The store's.
    pub async fn pace(&self) -> Result<Pace, AlertError> {
        let now = self.clock.now();
        let first = self.first_due().await?;
        let counted = self.pacing.last(now);
        Ok(Pace {
            evaluations: counted.lags.iter().sum(),
            woken: counted.woken,
            half_within: counted.within(50),
            most_within: counted.within(99),
            behind: first.map_or(0, |first| now.milliseconds_since(first).max(0)),
        })
    }

    /// When the first monitor is due, of organisations that are not suspended.
    pub(super) async fn first_due(&self) -> Result<Option<Timestamp>, AlertError> {
        let mut due = Walk::forward(&*self.store, Key::new(Space::MonitorDue).prefix());
        while let Some((.., (at, organisation, _))) = due.next_read(|key, _| rows::due_of(key)).await? {
            if !self.access.is_suspended(organisation) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_whole_minute() {
        let at = |milliseconds| Timestamp::from_milliseconds(milliseconds).unwrap();
        let pacing = Pacing::default();
        for late in 0..100 {
            pacing.count(at(late), late, late == 0);
        }
        assert_eq!(pacing.last(at(59_999)).within(50), None, "the minute is not over");
        let last = pacing.last(at(60_000));
        assert_eq!((last.within(50), last.within(99), last.woken), (Some(50), Some(100), 1));
        pacing.count(at(60_001), i64::MAX, false);
        pacing.count(at(120_001), -5, false);
        assert_eq!(pacing.last(at(120_002)).within(50), None, "more than is told apart");
        assert_eq!(pacing.last(at(180_000)).within(50), Some(5));
        assert_eq!(pacing.last(at(240_000)).within(50), None, "there was none");
    }
}
