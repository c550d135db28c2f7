//! What a command prints: tables and records for people, JSON for programs.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use crate::client::Listing;

/// How a command's answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl From<bool> for Format {
    fn from(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// A column: its heading and the JSON pointer to its value in each item.
pub(crate) type Column = (&'static str, &'static str);

/// Writes to the standard output; a reader that has gone (`| head`) is no error, there is just nobody to write to.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match deliver(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Writes to the standard output what somebody must get.
pub(crate) fn deliver(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush())
}

/// Prints `value` as it is for programs, as `text` says for people.
pub(crate) fn value(
    format: Format,
    value: &Value,
    text: impl FnOnce(&Value) -> String,
) -> anyhow::Result<()> {
    print(&told(format, value, text))
}

/// `value` as it is for programs, as `text` says for people.
pub(crate) fn told(format: Format, value: &Value, text: impl FnOnce(&Value) -> String) -> String {
    match format {
        Format::Json => format!("{value:#}\n"),
        Format::Text => text(value),
    }
}

/// Writes a line to the error stream, as `eprintln!` does; nobody may be reading it.
macro_rules! note {
    ($($line:tt)*) => {{
        let _ = ::std::io::Write::write_fmt(&mut ::std::io::stderr(), format_args!("{}\n", format_args!($($line)*)));
    }};
}
pub(crate) use note;

/// Prints a list: a table for people, `{"items": […]}` for programs.
pub(crate) fn listing(format: Format, listing: &Listing, columns: &[Column]) -> anyhow::Result<()> {
    match format {
        Format::Json => {
            print(&format!("{:#}\n", serde_json::json!({ "items": listing.items, "more": listing.more })))?;
        }
        Format::Text => print(&table(&listing.items, columns))?,
    }
    if listing.more {
        crate::output::note!("there are more than {}; raise --limit to see them", listing.items.len());
    }
    Ok(())
}

/// A table whose columns line up, headings in capitals.
pub(crate) fn table(items: &[Value], columns: &[Column]) -> String {
    let headings = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let rows =
        items.iter().map(|item| columns.iter().map(|(_, pointer)| cell(item.pointer(pointer))).collect());
    aligned(&std::iter::once(headings).chain(rows).collect::<Vec<Vec<String>>>())
}

/// The fields of one thing, a line each; absent ones are left out.
pub(crate) fn record(item: &Value, fields: &[Column]) -> String {
    let present =
        fields.iter().filter(|(_, pointer)| item.pointer(pointer).is_some_and(|value| !value.is_null()));
    aligned(
        &present
            .map(|(name, pointer)| vec![format!("{name}:"), cell(item.pointer(pointer))])
            .collect::<Vec<_>>(),
    )
}

/// Lines up the columns of `rows`, two spaces between them, none at the end of a line.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let padding = " ".repeat(width - cell.width() + 2);
            let _ = write!(line, "{cell}{padding}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Every value in `value` with its path: for answers whose shape belongs to the host.
pub(crate) fn flattened(value: &Value) -> Vec<Vec<String>> {
    fn walk(path: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
        let inside = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| walk(&inside(name), value, rows)),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(index, item)| walk(&inside(&index.to_string()), item, rows));
            }
            other => rows.push(vec![format!("{path}:"), cell(Some(other))]),
        }
    }
    let mut rows = Vec::new();
    walk("", value, &mut rows);
    rows
}

/// One value in one line; what a terminal would obey is made harmless.
pub(crate) fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Object(fields)) if fields.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(flag)) => if *flag { "yes" } else { "no" }.to_owned(),
        Some(Value::Array(items)) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    };
    printable(&text)
}

/// A text without what would steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '·' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_line_up_whatever_the_width_of_their_characters() {
        let items = [json!({"name": "日本", "id": 1}), json!({"name": "logins", "id": 22})];
        assert_eq!(table(&items, &[("NAME", "/name"), ("ID", "/id")]), "NAME    ID\n日本    1\nlogins  22\n");
    }

    #[test]
    fn a_record_leaves_out_what_is_absent() {
        let item = json!({"name": "a", "role": null, "grants": ["log", "clock"], "keyed": true});
        let fields = [
            ("name", "/name"),
            ("role", "/role"),
            ("missing", "/missing"),
            ("grants", "/grants"),
            ("keyed", "/keyed"),
        ];
        assert_eq!(record(&item, &fields), "name:    a\ngrants:  log, clock\nkeyed:   yes\n");
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        assert_eq!(cell(Some(&json!("a\u{1b}[2Jb\nc"))), "a·[2Jb·c");
    }
}
