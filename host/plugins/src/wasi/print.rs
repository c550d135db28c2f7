//! What a component prints: whole lines, in the call's log.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bellwether_engine::wasmtime_wasi::async_trait;
use bellwether_engine::wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use bellwether_engine::wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use bellwether_kernel::Clock;
use bellwether_playbooks::{LogLevel, LogLine, Secrets};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;

use crate::limits::{self, Limits};
use crate::log::LogBook;

/// Bytes taken of one write.
const WRITE: usize = 64 << 10;

/// Bytes kept of a begun line: twice what the log takes of it, so that a secret in it which the cut divides is seen whole, and
/// masked.
const LINE: usize = 2 * limits::LOG_LINE;

/// What a call has printed and nobody has taken yet.
#[derive(Clone)]
pub(crate) struct Printed(Arc<Mutex<Pages>>);

struct Pages {
    clock: Arc<dyn Clock>,
    book: LogBook,
    /// The begun line of standard output, and that of standard error.
    begun: [Vec<u8>; 2],
    /// What is masked in each line.
    secrets: Secrets,
    /// The last line of standard error before a runtime panics: where the language says why it gives up.
    last_error: Option<String>,
    /// Whether it panics: what it prints then tells of the runtime, not of the plugin.
    panics: bool,
}

/// One of the two streams.
#[derive(Clone)]
pub(super) struct Stream {
    level: LogLevel,
    printed: Printed,
}

impl Printed {
    pub(super) fn new(clock: Arc<dyn Clock>, limits: &Limits) -> Self {
        let (book, begun, secrets) = (LogBook::new(limits), Default::default(), Secrets::default());
        Self(Arc::new(Mutex::new(Pages { clock, book, begun, secrets, last_error: None, panics: false })))
    }

    /// From now on these are masked in what is printed.
    pub(crate) fn hide(&self, secrets: Secrets) {
        self.0.lock().secrets = secrets;
    }

    pub(super) fn output(&self) -> Stream {
        Stream { level: LogLevel::Info, printed: self.clone() }
    }

    pub(super) fn errors(&self) -> Stream {
        Stream { level: LogLevel::Warn, printed: self.clone() }
    }

    /// Says something in the world's own name.
    pub(super) fn say(&self, mut message: String) {
        let Pages { clock, book, secrets, .. } = &mut *self.0.lock();
        secrets.mask_in(&mut message);
        book.write(clock.now(), LogLevel::Warn, message);
    }

    /// The lines that are whole.
    pub(crate) fn take(&self) -> Vec<LogLine> {
        self.0.lock().book.take()
    }

    /// All lines, the begun ones as they are.
    pub(crate) fn take_all(&self) -> Vec<LogLine> {
        let mut pages = self.0.lock();
        for level in [LogLevel::Info, LogLevel::Warn] {
            if !pages.begun(level).is_empty() {
                pages.end_line(level);
            }
        }
        pages.book.take()
    }

    /// The last line that was printed as an error.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.0.lock().last_error.clone()
    }
}

impl Pages {
    fn begun(&mut self, level: LogLevel) -> &mut Vec<u8> {
        &mut self.begun[usize::from(level == LogLevel::Warn)]
    }

    fn write(&mut self, level: LogLevel, bytes: &[u8]) {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let rest = lines.next_back().unwrap_or_default();
        for line in lines {
            self.go_on(level, line);
            self.end_line(level);
        }
        self.go_on(level, rest);
    }

    /// Adds to the begun line. What is beyond [`LINE`] is not kept.
    fn go_on(&mut self, level: LogLevel, bytes: &[u8]) {
        let begun = self.begun(level);
        let room = LINE.saturating_sub(begun.len());
        begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn note_error(&mut self, line: &str) {
        // As Rust words it, in which runtimes of other languages are written too.
        let begins = line.starts_with("thread '") && line.contains("panicked at");
        self.panics |= begins;
        let told = self.panics && self.last_error.is_some();
        if !begins && !told && !line.trim().is_empty() {
            self.last_error = Some(line.to_owned());
        }
    }

    fn end_line(&mut self, level: LogLevel) {
        let line = std::mem::take(self.begun(level));
        if level == LogLevel::Info && self.book.is_full() {
            return;
        }
        let mut line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
        self.secrets.mask_in(&mut line);
        if level == LogLevel::Warn {
            self.note_error(&line);
        }
        self.book.write(self.clock.now(), level, line);
    }
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.printed.0.lock().write(self.level, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.printed.0.lock().write(self.level, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use bellwether_kernel::SystemClock;

    use super::*;

    fn printed(parts: &[(LogLevel, &str)]) -> Printed {
        let printed = Printed::new(Arc::new(SystemClock), &Limits::default());
        for (level, text) in parts {
            printed.0.lock().write(*level, text.as_bytes());
        }
        printed
    }

    fn texts(lines: Vec<LogLine>) -> Vec<(LogLevel, String)> {
        lines.into_iter().map(|line| (line.level, line.message)).collect()
    }

    #[test]
    fn lines_are_whole_however_they_are_printed_and_the_streams_do_not_mix() {
        let (out, err) = (LogLevel::Info, LogLevel::Warn);
        let printed = printed(&[(out, "a"), (err, "w\r\nx"), (out, "b\n\nc"), (err, "y\n"), (out, "d")]);
        let line = |level, text: &str| (level, text.to_owned());
        assert_eq!(texts(printed.take()), [line(err, "w"), line(out, "ab"), line(out, ""), line(err, "xy")]);
        assert_eq!(texts(printed.take_all()), [line(out, "cd")]);
        assert_eq!(printed.last_error().as_deref(), Some("xy"));
        assert!(printed.take_all().is_empty());
    }

    #[test]
    fn the_last_error_is_the_plugins_own_and_not_what_its_runtime_adds() {
        let panic = "\nthread '<unnamed>' (1) panicked at src/lib.rs:1:2:\nno more\nnote: run with it\n";
        let err = LogLevel::Warn;
        let after = printed(&[(err, "Traceback:\nValueError: c\n"), (err, panic)]);
        assert_eq!(after.last_error().as_deref(), Some("ValueError: c"));
        assert_eq!(printed(&[(err, panic)]).last_error().as_deref(), Some("no more"));
        assert_eq!(printed(&[(LogLevel::Info, "x\n")]).last_error(), None);
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_than_a_line() {
        let printed = printed(&[]);
        for _ in 0..100 {
            printed.0.lock().write(LogLevel::Info, &[b'x'; 64 << 10]);
        }
        assert!(printed.0.lock().begun(LogLevel::Info).capacity() <= 2 * LINE);
        let lines = printed.take_all();
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].message.ends_with('…') && lines[0].message.len() <= limits::LOG_LINE + '…'.len_utf8()
        );
    }

    #[test]
    fn a_secret_that_the_end_of_a_line_s_room_divides_is_masked_whole() {
        let printed = printed(&[]);
        let mut secrets = Secrets::default();
        secrets.learn(&"hunter2-hunter2".into());
        printed.hide(secrets);
        let line = format!("{}hunter2-hunter2\n", "x".repeat(limits::LOG_LINE - 7));
        printed.0.lock().write(LogLevel::Warn, line.as_bytes());
        let told = printed.take().remove(0).message;
        assert!(!told.contains("hunter2") && !printed.last_error().unwrap().contains("hunter2"), "{told}");
    }

    #[test]
    fn a_million_lines_are_dropped_and_the_drop_is_noted_once_even_when_they_are_taken_in_between() {
        let printed = printed(&[]);
        let mut log = LogBook::new(&Limits::default());
        for _ in 0..1_000 {
            printed.0.lock().write(LogLevel::Info, "x\n".repeat(1_000).as_bytes());
            log.extend(printed.take());
        }
        let lines = log.into_lines();
        assert_eq!(lines.len(), limits::LOG_LINES + 1);
        assert_eq!(lines.iter().filter(|line| line.message.contains("the log is full")).count(), 1);
    }
}
