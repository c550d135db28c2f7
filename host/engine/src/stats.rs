//! What a plugin's calls in one role came to since the host loaded it, as numbers to show.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Why calls came to nothing: the cases of [`crate::CallError`], and an answer its reader refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the cases of CallError say what they are, save for the last")]
pub enum ErrorCase {
    Busy,
    CoolingDown,
    Deadline,
    Processor,
    Memory,
    Tables,
    Stack,
    HostCalls,
    HostBytes,
    Transfer,
    Trap,
    /// The call ended well, and its answer made no sense.
    BadAnswer,
}

impl ErrorCase {
    /// Every case.
    pub const ALL: [Self; 12] = [
        Self::Busy,
        Self::CoolingDown,
        Self::Deadline,
        Self::Processor,
        Self::Memory,
        Self::Tables,
        Self::Stack,
        Self::HostCalls,
        Self::HostBytes,
        Self::Transfer,
        Self::Trap,
        Self::BadAnswer,
    ];

    /// Its name in labels and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::CoolingDown => "cooling-down",
            Self::Deadline => "deadline",
            Self::Processor => "processor",
            Self::Memory => "memory",
            Self::Tables => "tables",
            Self::Stack => "stack",
            Self::HostCalls => "host-calls",
            Self::HostBytes => "host-bytes",
            Self::Transfer => "transfer",
            Self::Trap => "trap",
            Self::BadAnswer => "bad-answer",
        }
    }

    /// Whether the guest ran and is to blame, as far as a host can tell.
    #[must_use]
    pub fn is_fault(self) -> bool {
        !matches!(self, Self::Busy | Self::CoolingDown)
    }
}

impl fmt::Display for ErrorCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a plugin's calls in one role came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallStats {
    /// Calls that ended, whatever became of them.
    pub calls: u64,
    /// Calls that came to nothing, by why; cases that never happened are left out.
    pub errors: Vec<ErrorCount>,
    /// Calls on an instance of their own.
    pub fresh: u64,
    /// Calls on an instance that had served before.
    pub warm: u64,
    /// Processor time of all calls together.
    pub processor_microseconds: u64,
    /// The most bytes of memory any call held.
    pub peak_memory_bytes: u64,
    /// Calls of the host.
    pub host_calls: u64,
    /// Bytes handed to the host in them.
    pub host_bytes: u64,
    /// How long calls took in all.
    pub latency: Distribution,
    /// How long they waited for their turn.
    pub queue: Distribution,
}

impl CallStats {
    /// How many calls came to nothing in this way.
    #[must_use]
    pub fn errors_of(&self, case: ErrorCase) -> u64 {
        self.errors.iter().find(|count| count.kind == case).map_or(0, |count| count.count)
    }

    /// How many calls ran and came to nothing.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.errors.iter().filter(|count| count.kind.is_fault()).map(|count| count.count).sum()
    }
}

/// How often calls came to nothing in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorCount {
    /// Why.
    pub kind: ErrorCase,
    /// How often.
    pub count: u64,
}

/// How long something took, over many times: quantiles are upper bounds, at most 25 % above the true value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Distribution {
    /// How many times.
    pub count: u64,
    /// All together.
    pub sum_microseconds: u64,
    /// Half were at most so long.
    pub p50_microseconds: u64,
    /// 90 % were.
    pub p90_microseconds: u64,
    /// 99 % were.
    pub p99_microseconds: u64,
    /// 99.9 % were.
    pub p999_microseconds: u64,
    /// All were.
    pub max_microseconds: u64,
}

/// Parts of an octave.
const PARTS: usize = 4;
/// From 1 µs up to 2^26 µs, about a minute: longer than any call may take.
const BUCKETS: usize = 26 * PARTS;

/// Counts durations in buckets that are a quarter of an octave wide.
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    pub(crate) fn record(&self, duration: Duration) {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(microseconds)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(microseconds, Ordering::Relaxed);
        if microseconds > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(microseconds, Ordering::Relaxed);
        }
    }

    /// What was recorded, and what lasted no time and was not, as far as that is missing to `times`.
    pub(crate) fn distribution(&self, times: u64) -> Distribution {
        let mut counts: Vec<u64> = self.buckets.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let recorded: u64 = counts.iter().sum();
        counts[0] += times.saturating_sub(recorded);
        let count = recorded.max(times);
        let max = self.max.load(Ordering::Relaxed);
        let quantile = |per_mille: u64| {
            let wanted = (count * per_mille).div_ceil(1000);
            let mut seen = 0;
            let found = counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            found.filter(|_| count > 0).map_or(0, |at| upper_bound(at).min(max))
        };
        Distribution {
            count,
            sum_microseconds: self.sum.load(Ordering::Relaxed),
            p50_microseconds: quantile(500),
            p90_microseconds: quantile(900),
            p99_microseconds: quantile(990),
            p999_microseconds: quantile(999),
            max_microseconds: max,
        }
    }
}

/// Where a duration is counted. The first octaves are narrower than their parts, so some buckets stay empty.
fn bucket(microseconds: u64) -> usize {
    let microseconds = microseconds.clamp(1, (1 << (BUCKETS / PARTS)) - 1);
    let octave = microseconds.ilog2() as usize;
    let part = ((microseconds - (1 << octave)) as usize * PARTS) >> octave;
    octave * PARTS + part
}

/// The longest duration of a bucket, in microseconds.
fn upper_bound(bucket: usize) -> u64 {
    let (octave, part) = (bucket / PARTS, bucket % PARTS);
    let start = 1_u64 << octave;
    start + (start * (part as u64 + 1)).div_ceil(PARTS as u64) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_where_the_bucket_s_bounds_hold_it() {
        for microseconds in (0..5000).chain([1 << 20, (1 << 26) - 1]) {
            let at = bucket(microseconds);
            assert!(microseconds <= upper_bound(at), "{microseconds}");
            assert!(
                upper_bound(at) * 4 <= (microseconds.max(1) * 5).max(4),
                "{microseconds} {}",
                upper_bound(at)
            );
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_bound_what_was_recorded() {
        let histogram = Histogram::default();
        for microseconds in 1..=1000 {
            histogram.record(Duration::from_micros(microseconds));
        }
        let shown = histogram.distribution(0);
        assert_eq!((shown.count, shown.sum_microseconds, shown.max_microseconds), (1000, 500_500, 1000));
        for (quantile, exact) in
            [(shown.p50_microseconds, 500), (shown.p99_microseconds, 990), (shown.p999_microseconds, 999)]
        {
            assert!(quantile >= exact && quantile * 4 <= exact * 5, "{quantile} for {exact}");
        }
        assert_eq!(Histogram::default().distribution(0), Distribution::default());
    }

    #[test]
    fn what_lasts_no_time_counts_without_being_recorded() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_micros(100));
        let shown = histogram.distribution(20);
        assert_eq!((shown.count, shown.sum_microseconds), (20, 100));
        assert_eq!((shown.p90_microseconds, shown.max_microseconds), (1, 100));
        let waited_for_nothing = Histogram::default().distribution(3);
        assert_eq!((waited_for_nothing.count, waited_for_nothing.p999_microseconds), (3, 0));
    }
}
