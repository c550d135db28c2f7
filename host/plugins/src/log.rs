//! What a call logs, bounded.

use bellwether_kernel::Timestamp;
use bellwether_playbooks::{LogLevel, LogLine};

use crate::limits::{self, Limits};

/// The lines of one call. Beyond the limits lines are dropped, and the drop is noted once.
#[derive(Debug)]
pub(crate) struct LogBook {
    lines: Vec<LogLine>,
    count: usize,
    bytes: usize,
    full: bool,
    most_lines: usize,
    most_bytes: usize,
}

impl LogBook {
    /// Of a call that may log so much.
    pub(crate) fn new(limits: &Limits) -> Self {
        let (most_lines, most_bytes) = (limits.log_lines, limits.log_bytes);
        Self { lines: Vec::new(), count: 0, bytes: 0, full: false, most_lines, most_bytes }
    }

    /// Whether every further line is dropped.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Adds a line, or notes that there is no room for it.
    pub(crate) fn write(&mut self, time: Timestamp, level: LogLevel, message: String) {
        if self.full {
            return;
        }
        let message = cut(message);
        if self.count >= self.most_lines || self.bytes + message.len() > self.most_bytes {
            self.full = true;
            let (lines, bytes) = (self.most_lines, self.most_bytes);
            let message = format!(
                "the log is full: one call may write {lines} lines and {bytes} bytes; what follows is dropped"
            );
            self.lines.push(LogLine { time, level: LogLevel::Warn, message });
            return;
        }
        self.count += 1;
        self.bytes += message.len();
        self.lines.push(LogLine { time, level, message });
    }

    /// Adds lines of another.
    pub(crate) fn extend(&mut self, lines: Vec<LogLine>) {
        for LogLine { time, level, message } in lines {
            self.write(time, level, message);
        }
    }

    /// Gives the lines so far away; what they took of the limits stays taken.
    pub(crate) fn take(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.lines)
    }

    /// The lines.
    pub(crate) fn into_lines(self) -> Vec<LogLine> {
        self.lines
    }
}

/// Passes what a call logged first on to the operator's log.
pub(crate) fn tell(plugin: &str, version: &str, lines: Vec<LogLine>) {
    let more = lines.len().saturating_sub(limits::LOG_LINES_TOLD);
    for LogLine { level, message, .. } in lines.into_iter().take(limits::LOG_LINES_TOLD) {
        match level {
            LogLevel::Debug => tracing::debug!(plugin, version, "{message}"),
            LogLevel::Info => tracing::info!(plugin, version, "{message}"),
            LogLevel::Warn => tracing::warn!(plugin, version, "{message}"),
            LogLevel::Error => tracing::error!(plugin, version, "{message}"),
        }
    }
    if more > 0 {
        tracing::warn!(plugin, version, more, "a call logged more lines than are told here");
    }
}

/// A message as one line may hold it.
pub(crate) fn cut(mut message: String) -> String {
    if message.len() > limits::LOG_LINE {
        message.truncate(message.floor_char_boundary(limits::LOG_LINE));
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::span;

    use super::*;

    /// Counts what is told.
    struct Counts(Arc<AtomicUsize>);

    impl tracing::Subscriber for Counts {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn the_operator_s_log_takes_a_call_s_first_lines_and_how_many_more_there_were() {
        for (logged, told) in
            [(1, 1), (limits::LOG_LINES_TOLD, limits::LOG_LINES_TOLD), (1_000, limits::LOG_LINES_TOLD + 1)]
        {
            let count = Arc::default();
            let subscriber = Counts(Arc::clone(&count));
            tracing::subscriber::with_default(subscriber, || tell("probe", "1.0.0", fill(logged, "x")));
            assert_eq!(count.load(Ordering::Relaxed), told);
        }
    }

    fn fill(count: usize, message: &str) -> Vec<LogLine> {
        let mut book = LogBook::new(&Limits::default());
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
