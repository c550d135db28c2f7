//! A routing table: CSV whose first column is a tag's values and whose second the channels of each.

use std::collections::{BTreeSet, HashMap};

use crate::{channel, limits};

/// The text is no routing table: the line, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct InvalidTable {
    /// Counted from 1.
    pub line: u64,
    /// What is wrong there.
    pub problem: String,
}

/// A table as it is asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    /// The tag whose values the rows are for: the first column's title.
    pub(super) tag: String,
    rows: HashMap<String, Vec<String>>,
}

impl Table {
    /// The channels its rows lead to.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.rows.values().flatten().map(String::as_str).collect()
    }

    /// Reads CSV: a line of titles, `<tag>,channels`, and rows of a value and names of channels with `;` between them.
    /// Several rows of one value add up.
    pub(super) fn read(text: &str) -> Result<Self, InvalidTable> {
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(text.as_bytes());
        let mut table = Self::default();
        for (index, record) in reader.records().enumerate() {
            let place = |record: Option<&csv::Position>| record.map_or(index as u64 + 1, csv::Position::line);
            let wrong = |line, problem: String| InvalidTable { line, problem };
            let record = record.map_err(|error| {
                let problem = match error.kind() {
                    csv::ErrorKind::UnequalLengths { len, expected_len, .. } => {
                        format!("{len} columns, where the titles are {expected_len}")
                    }
                    _ => "it does not read as CSV in UTF-8".to_owned(),
                };
                wrong(place(error.position()), problem)
            })?;
            let line = place(record.position());
            let (value, channels) = match (record.get(0), record.get(1), record.len()) {
                (Some(value), Some(channels), 2) => (value, channels),
                _ => {
                    return Err(wrong(
                        line,
                        "two columns are expected: a tag's value, and channels".to_owned(),
                    ));
                }
            };
            if index == 0 {
                if value.is_empty() || channels != "channels" {
                    let problem = format!("{value:?},{channels:?}, expected the titles <tag>,channels");
                    return Err(wrong(line, problem));
                }
                value.clone_into(&mut table.tag);
                continue;
            }
            if index > limits::ROUTE_ROWS {
                return Err(wrong(line, format!("a table has at most {} rows", limits::ROUTE_ROWS)));
            }
            let row = table.rows.entry(value.to_owned()).or_default();
            let names = channels.split(';').map(str::trim).filter(|name| !name.is_empty());
            for name in names {
                channel::check_name("channels", name).map_err(|error| wrong(line, error.to_string()))?;
                if !row.iter().any(|known| known == name) {
                    row.push(name.to_owned());
                }
            }
            if row.is_empty() {
                return Err(wrong(line, format!("no channels for {value:?}, expected at least one")));
            }
        }
        if table.tag.is_empty() {
            return Err(InvalidTable {
                line: 1,
                problem: "nothing, expected the titles <tag>,channels".to_owned(),
            });
        }
        Ok(table)
    }

    /// The channels for series with these tags.
    pub(super) fn channels<'a>(
        &'a self,
        tags: &'a [Vec<(String, String)>],
    ) -> impl Iterator<Item = &'a String> {
        let values = tags.iter().flatten().filter(|(tag, _)| *tag == self.tag);
        values.filter_map(|(_, value)| self.rows.get(value)).flatten()
    }

    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }
}
