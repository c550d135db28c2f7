//! Telling how an import goes: a bar on a terminal, a line now and then elsewhere, nothing for programs.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use bellwether_kernel::counted;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::source::BadLine;
use crate::output::Format;

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// So many bad lines are told one by one; the rest are counted.
const TOLD_BAD_LINES: usize = 100;

/// What an import came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// Which file.
    pub(crate) file: String,
    /// Into which metric, where it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metric: Option<String>,
    /// The column that said which, where it was several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metric_column: Option<String>,
    /// Rows read, those of an interrupted run before this one included.
    pub(crate) read: u64,
    /// Samples written.
    pub(crate) written: u64,
    /// Rows left out.
    pub(crate) skipped: u64,
    /// Rows of an interrupted run before this one.
    pub(crate) resumed_after: u64,
    /// Whether all of it had been imported before, so that nothing was done.
    pub(crate) already_imported: bool,
    /// The first bad lines this run met.
    pub(crate) bad_lines: Vec<BadLine>,
}

/// Tells how an import goes.
pub(crate) struct Report {
    format: Format,
    bar: ProgressBar,
    length: u64,
    told: Instant,
    bad_lines: Vec<BadLine>,
    bad_line_count: u64,
}

impl Report {
    /// A report on reading `length` bytes.
    pub(crate) fn new(format: Format, length: u64) -> Self {
        let on_terminal = format == Format::Text && std::io::stderr().is_terminal();
        let bar = if on_terminal { ProgressBar::new(length) } else { ProgressBar::hidden() };
        let style =
            ProgressStyle::with_template("{msg} {bar:40} {percent:>3} %  {bytes}/{total_bytes}  {eta} left");
        bar.set_style(style.expect("the template is right"));
        Self { format, bar, length, told: Instant::now(), bad_lines: Vec::new(), bad_line_count: 0 }
    }

    /// Says what begins.
    pub(crate) fn begin(&mut self, what: &'static str) {
        self.bar.set_message(what);
        self.bar.set_position(0);
        self.told = Instant::now();
    }

    /// Says that all before `byte` is done.
    pub(crate) fn advance(&mut self, what: &str, byte: u64) {
        self.bar.set_position(byte);
        if self.format == Format::Text && self.bar.is_hidden() && self.told.elapsed() >= LINE_EVERY {
            let percent = byte.saturating_mul(100).checked_div(self.length).unwrap_or(100);
            crate::output::note!("{what}: {percent} %");
            self.told = Instant::now();
        }
    }

    /// Tells of a bad line.
    pub(crate) fn bad_line(&mut self, bad: BadLine) {
        self.bad_line_count += 1;
        if self.bad_lines.len() < TOLD_BAD_LINES {
            if self.format == Format::Text {
                self.bar.suspend(|| crate::output::note!("line {}: {}", bad.line, bad.reason));
            }
            self.bad_lines.push(bad);
        }
    }

    /// Ends the bar; gives the bad lines that were told.
    pub(crate) fn end(self) -> Vec<BadLine> {
        self.bar.finish_and_clear();
        let untold = self.bad_line_count - self.bad_lines.len() as u64;
        if untold > 0 && self.format == Format::Text {
            crate::output::note!("… and {}", counted(untold, "more bad line"));
        }
        self.bad_lines
    }

    /// How many bad lines there were.
    pub(crate) fn bad_line_count(&self) -> u64 {
        self.bad_line_count
    }
}
