//! Figures of several rounds, and the tables made of them.

use std::fmt;
use std::fmt::Write as _;

/// What is measured beside each other.
pub(crate) const COLUMNS: [&str; 5] =
    ["Bellwether", "native Rust", "Extism", "wasmtime bare", "Python subprocess"];

/// The place of Bellwether's figures among the columns, and so on.
pub(crate) const BELLWETHER: usize = 0;
pub(crate) const NATIVE: usize = 1;
pub(crate) const EXTISM: usize = 2;
pub(crate) const BARE: usize = 3;
pub(crate) const PYTHON: usize = 4;

/// Nanoseconds, one number a round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figure(Vec<f64>);

/// One line of the table: the same work in each column, where it was measured.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) columns: [Figure; COLUMNS.len()],
}

/// What was hoped for, and whether it came true.
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) figure: String,
    pub(crate) met: Option<bool>,
}

impl Figure {
    pub(crate) fn push(&mut self, nanoseconds: f64) {
        self.0.push(nanoseconds);
    }

    /// The middle one, if there is one.
    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

/// The median, and from where to where the rounds went.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(median) = self.median() else { return f.write_str("–") };
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(0.0, f64::max);
        let (scale, unit) = unit(median);
        write!(f, "{} {unit} ({}–{})", digits(median / scale), digits(least / scale), digits(most / scale))
    }
}

fn unit(nanoseconds: f64) -> (f64, &'static str) {
    match nanoseconds {
        ..1e3 => (1.0, "ns"),
        ..1e6 => (1e3, "µs"),
        _ => (1e6, "ms"),
    }
}

/// Three digits that count.
fn digits(number: f64) -> String {
    match number {
        ..10.0 => format!("{number:.2}"),
        ..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

impl Row {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), columns: Default::default() }
    }

    /// How many times Bellwether's time another column's is.
    pub(crate) fn times(&self, column: usize) -> Option<f64> {
        Some(self.columns[column].median()? / self.columns[BELLWETHER].median()?)
    }
}

/// The rows as a table in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = format!("| what | {} |\n|---|{}\n", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()));
    for row in rows {
        let columns: Vec<String> = row.columns.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "| {} | {} |", row.what, columns.join(" | "));
    }
    text
}

/// The goals as a table in Markdown.
pub(crate) fn goals(goals: &[Goal]) -> String {
    let mut text = "| goal | measured | |\n|---|---|---|\n".to_owned();
    for Goal { what, figure, met } in goals {
        let met = met.map_or("not measured", |met| if met { "met" } else { "missed" });
        let _ = writeln!(text, "| {what} | {figure} | {met} |");
    }
    text
}

impl Goal {
    /// A figure that shall be below a bound, both in nanoseconds.
    pub(crate) fn below(what: &str, figure: &Figure, bound: f64) -> Self {
        let met = figure.median().map(|median| median < bound);
        Self { what: what.to_owned(), figure: figure.to_string(), met }
    }

    /// A ratio that shall be at most, or at least, so much.
    pub(crate) fn ratio(what: &str, ratio: Option<f64>, good: impl FnOnce(f64) -> bool) -> Self {
        let figure = ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        Self { what: what.to_owned(), figure, met: ratio.map(good) }
    }
}
