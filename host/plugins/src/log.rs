//! What a call logs, bounded.

use bellwether_kernel::Timestamp;
use bellwether_playbooks::{LogLevel, LogLine};

use crate::limits;

/// The lines of one call. Beyond the limits lines are dropped, and the drop is noted once.
#[derive(Debug, Default)]
pub(crate) struct LogBook {
    lines: Vec<LogLine>,
    bytes: usize,
    full: bool,
}

impl LogBook {
    /// Adds a line, or notes that there is no room for it.
    pub(crate) fn write(&mut self, time: Timestamp, level: LogLevel, mut message: String) {
        if self.full {
            return;
        }
        if message.len() > limits::LOG_LINE {
            message.truncate(message.floor_char_boundary(limits::LOG_LINE));
            message.push('…');
        }
        if self.lines.len() >= limits::LOG_LINES || self.bytes + message.len() > limits::LOG_BYTES {
            self.full = true;
            let (lines, bytes) = (limits::LOG_LINES, limits::LOG_BYTES >> 10);
            let message = format!(
                "the log is full: one call may write {lines} lines and {bytes} KiB; what follows is dropped"
            );
            self.lines.push(LogLine { time, level: LogLevel::Warn, message });
            return;
        }
        self.bytes += message.len();
        self.lines.push(LogLine { time, level, message });
    }

    /// The lines.
    pub(crate) fn into_lines(self) -> Vec<LogLine> {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(count: usize, message: &str) -> Vec<LogLine> {
        let mut book = LogBook::default();
        for _ in 0..count {
            book.write(Timestamp::default(), LogLevel::Info, message.to_owned());
        }
        book.into_lines()
    }

    #[test]
    fn too_many_lines_are_dropped_and_the_drop_is_noted_once() {
        assert_eq!(fill(limits::LOG_LINES, "x").len(), limits::LOG_LINES);
        let lines = fill(limits::LOG_LINES + 500, "x");
        assert_eq!(lines.len(), limits::LOG_LINES + 1);
        assert!(lines.last().unwrap().message.contains("the log is full"));
    }

    #[test]
    fn long_lines_are_cut_and_the_bytes_of_all_are_bounded() {
        let long = "ä".repeat(5 << 20);
        let lines = fill(1, &long);
        assert!(lines[0].message.len() <= limits::LOG_LINE + '…'.len_utf8());
        let bytes: usize = fill(1_000, &long).iter().map(|line| line.message.len()).sum();
        assert!(bytes <= limits::LOG_BYTES + 200, "{bytes}");
    }
}
