//! The clocks of a call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bellwether_engine::wasmtime_wasi::{HostMonotonicClock, HostWallClock};
use bellwether_kernel::{Clock, Timestamp};

/// How fine every clock is. A finer one would measure what other code leaves in the processor's caches, which the
/// sandbox relies on nobody to do.
const RESOLUTION: Duration = Duration::from_millis(1);

/// The host's clock.
pub(super) struct Running(pub(super) Arc<dyn Clock>);

impl HostWallClock for Running {
    fn resolution(&self) -> Duration {
        RESOLUTION
    }

    fn now(&self) -> Duration {
        since_epoch(self.0.now())
    }
}

/// How long the call has taken.
pub(super) struct Coarse(Instant);

impl Default for Coarse {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl HostMonotonicClock for Coarse {
    fn resolution(&self) -> u64 {
        nanoseconds(RESOLUTION)
    }

    fn now(&self) -> u64 {
        let milliseconds = u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        nanoseconds(Duration::from_millis(milliseconds))
    }
}

/// One instant, from the beginning of a call to its end.
pub(super) struct Still(pub(super) Timestamp);

impl HostWallClock for Still {
    fn resolution(&self) -> Duration {
        RESOLUTION
    }

    fn now(&self) -> Duration {
        since_epoch(self.0)
    }
}

impl HostMonotonicClock for Still {
    fn resolution(&self) -> u64 {
        nanoseconds(RESOLUTION)
    }

    fn now(&self) -> u64 {
        0
    }
}

/// WASI has no time before 1970.
fn since_epoch(time: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(time.as_milliseconds()).unwrap_or(0))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
