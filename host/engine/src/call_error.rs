//! Why a call came to nothing, and what its caller can do about it.

use std::time::Duration;

use bellwether_kernel::ErrorKind;

use crate::{BreakerReason, ErrorCase};

/// Why a call came to nothing. The instance is gone; the next call gets a new one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No slot was free in time; the guest never ran.
    #[error("waited {} for one of the {slots} slots in vain", words(.waited))]
    Busy {
        /// How long.
        waited: Duration,
        /// How many slots there are.
        slots: u32,
        /// Whether it was the caller's own organisation that held or waited for as much as it may.
        over_share: bool,
    },
    /// Calls of this plugin failed again and again, so it is left alone for a while; the guest never ran.
    #[error("{why} and is not called for {}", words(.retry_after))]
    CoolingDown {
        /// What was too much.
        why: BreakerReason,
        /// When it is called again.
        retry_after: Duration,
    },
    /// It took longer than it may.
    #[error("ran out of its {}", words(.wall))]
    Deadline {
        /// How long it may take.
        wall: Duration,
    },
    /// It computed longer than it may.
    #[error("ran out of its {} of processor time", words(.limit))]
    Processor {
        /// How long it may compute.
        limit: Duration,
    },
    /// It wanted more memory than it may have, and did not get over that.
    #[error("ran out of its {} of memory", size(*.limit))]
    Memory {
        /// Bytes it may have.
        limit: usize,
    },
    /// It wanted more entries in its tables than it may have, and did not get over that.
    #[error("ran out of its {limit} entries of tables")]
    Tables {
        /// Entries it may have.
        limit: usize,
    },
    /// Its functions called each other deeper than its stack allows.
    #[error("ran out of its {} KiB of stack", .limit >> 10)]
    Stack {
        /// Bytes it may have.
        limit: usize,
    },
    /// It called the host more often than it may.
    #[error("called the host more than the {limit} times it may")]
    HostCalls {
        /// How often it may.
        limit: u64,
    },
    /// It handed more to the host in all than it may.
    #[error("handed the host more than the {limit} bytes a call may in all")]
    HostBytes {
        /// Bytes it may.
        limit: u64,
    },
    /// It handed more to the host at once than it may, as an argument or as its answer.
    #[error("handed the host more than the {limit} bytes it may at once")]
    Transfer {
        /// Bytes it may.
        limit: usize,
    },
    /// It trapped: a panic, a fault in its code, or an answer that does not read.
    #[error("trapped: {message}")]
    Trap {
        /// Why, in one line: the guest's own last words, where it left any.
        message: String,
        /// The functions it was in, innermost first, as far as they have names.
        backtrace: Vec<String>,
    },
}

impl CallError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        if let Self::Busy { over_share: true, .. } = self {
            return ErrorKind::RateLimited;
        }
        match self.case() {
            ErrorCase::Busy | ErrorCase::CoolingDown => ErrorKind::Unavailable,
            ErrorCase::Deadline | ErrorCase::Processor => ErrorKind::Deadline,
            _ => ErrorKind::Plugin,
        }
    }

    /// Which of the cases it is, for counters.
    #[must_use]
    pub fn case(&self) -> ErrorCase {
        match self {
            Self::Busy { .. } => ErrorCase::Busy,
            Self::CoolingDown { .. } => ErrorCase::CoolingDown,
            Self::Deadline { .. } => ErrorCase::Deadline,
            Self::Processor { .. } => ErrorCase::Processor,
            Self::Memory { .. } => ErrorCase::Memory,
            Self::Tables { .. } => ErrorCase::Tables,
            Self::Stack { .. } => ErrorCase::Stack,
            Self::HostCalls { .. } => ErrorCase::HostCalls,
            Self::HostBytes { .. } => ErrorCase::HostBytes,
            Self::Transfer { .. } => ErrorCase::Transfer,
            Self::Trap { .. } => ErrorCase::Trap,
        }
    }

    /// When it makes sense to try again, if the host knows: no sooner will the plugin be called.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { .. } => Some(Duration::from_secs(1)),
            Self::CoolingDown { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

/// `8 MiB`, `64 KiB`, `1000 bytes`: the largest unit that tells the number as it is, so that no limit rounds to nothing.
fn size(bytes: usize) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        bytes if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}

/// `5 s`, `1.5 s`, `20 ms`.
pub(crate) fn words(duration: &Duration) -> String {
    match duration.as_millis() {
        milliseconds if milliseconds < 1000 => format!("{milliseconds} ms"),
        milliseconds if milliseconds % 1000 == 0 => format!("{} s", milliseconds / 1000),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_memory_is_told_as_it_is() {
        for (limit, told) in [
            (8 << 20, "8 MiB"),
            (1 << 20, "1 MiB"),
            (64 << 10, "64 KiB"),
            ((1 << 20) + (512 << 10), "1536 KiB"),
            (65_537, "65537 bytes"),
        ] {
            let error = CallError::Memory { limit };
            assert_eq!(error.to_string(), format!("ran out of its {told} of memory"));
        }
    }
}
