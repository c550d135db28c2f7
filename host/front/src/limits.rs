//! How much is taken on: requests at once, and requests of one key.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

use bellwether_kernel::KeyId;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::problem::{Problem, ProblemKind};
use crate::{FrontSettings, RateLimit};

/// What the limits of the settings count.
pub(crate) struct Limits {
    at_work: AtomicUsize,
    at_once: usize,
    of_one_key: Option<DefaultKeyedRateLimiter<KeyId>>,
}

/// A request at work; dropping it makes room.
pub(crate) struct Admission<'a>(&'a AtomicUsize);

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Limits {
    pub(crate) fn new(settings: &FrontSettings) -> Self {
        let quota = |limit: RateLimit| Quota::per_second(limit.per_second).allow_burst(limit.burst);
        Self {
            at_work: AtomicUsize::new(0),
            at_once: settings.concurrent_requests.max(1),
            of_one_key: settings.rate_limit.map(|limit| RateLimiter::dashmap(quota(limit))),
        }
    }

    /// How many requests are at work.
    pub(crate) fn at_work(&self) -> usize {
        self.at_work.load(Ordering::Relaxed)
    }

    /// Takes a request on, or refuses it: a queue in front of a host that is behind only makes every answer late.
    pub(crate) fn admit(&self) -> Result<Admission<'_>, Problem> {
        let admission = Admission(&self.at_work);
        if self.at_work.fetch_add(1, Ordering::AcqRel) < self.at_once {
            return Ok(admission);
        }
        drop(admission);
        let detail = format!("{} requests are at work already; try again in a second", self.at_once);
        Err(Problem::unavailable(detail, 1))
    }

    /// Counts what is at work already.
    pub(crate) fn admit_anyway(&self) -> Admission<'_> {
        self.at_work.fetch_add(1, Ordering::AcqRel);
        Admission(&self.at_work)
    }

    /// Counts a request of `key`.
    pub(crate) fn count(&self, key: &KeyId) -> Result<(), Problem> {
        let Some(limiter) = &self.of_one_key else { return Ok(()) };
        limiter.check_key(key).map_err(|early| {
            let wait = early.wait_time_from(DefaultClock::default().now());
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let limit: NonZeroU32 = early.quota().burst_size();
            Problem::new(
                ProblemKind::RateLimited,
                format!(
                    "This key has made more than {limit} requests at once; try again in {} s",
                    seconds.max(1)
                ),
            )
            .retry_after(seconds)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellwether_kernel::SeededRandomness;

    #[test]
    fn as_many_as_set_are_at_work_and_an_end_makes_room() {
        let settings = FrontSettings { concurrent_requests: 2, ..FrontSettings::default() };
        let limits = Limits::new(&settings);
        let first = limits.admit().unwrap();
        let second = limits.admit().unwrap();
        assert_eq!(limits.admit().err().map(|problem| problem.kind()), Some(ProblemKind::Unavailable));
        assert_eq!(limits.at_work(), 2);
        drop(first);
        let third = limits.admit();
        assert!(third.is_ok());
        drop((second, third));
        assert_eq!(limits.at_work(), 0);
        let going_on = [(); 3].map(|()| limits.admit_anyway());
        assert!(limits.admit().is_err());
        drop(going_on);
        assert_eq!(limits.at_work(), 0);
    }

    #[test]
    fn one_key_out_of_its_share_leaves_the_others_theirs() {
        let one = NonZeroU32::MIN;
        let limits = Limits::new(&FrontSettings {
            rate_limit: Some(RateLimit { per_second: one, burst: one }),
            ..FrontSettings::default()
        });
        let randomness = SeededRandomness::new(1);
        let (busy, other) = (KeyId::random(&randomness), KeyId::random(&randomness));
        limits.count(&busy).unwrap();
        assert_eq!(limits.count(&busy).unwrap_err().kind(), ProblemKind::RateLimited);
        limits.count(&other).unwrap();
    }
}
