//! Where in a document something stands: lines and columns, counted from 1, columns in characters.

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Format;

/// One part of a path into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// A field of an object.
    Field(String),
    /// An item of a list, counted from 0.
    Item(usize),
}

/// A path into a document, written `steps[1].inputs.date`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(pub(crate) Vec<Segment>);

impl Path {
    /// The path of a field of what this path leads to.
    pub(crate) fn field(&self, name: &str) -> Self {
        self.with(Segment::Field(name.to_owned()))
    }

    /// The path of an item of what this path leads to.
    pub(crate) fn item(&self, index: usize) -> Self {
        self.with(Segment::Item(index))
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if position == 0 => f.write_str(name)?,
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Line and column of a byte of `source`.
pub(crate) fn line_and_column(source: &str, offset: usize) -> (usize, usize) {
    let before = &source[..source.floor_char_boundary(offset)];
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    (line, column)
}

/// Line and column of what `path` leads to in a document that reads; of its nearest parent that is there, for
/// something that is missing.
pub(crate) fn locate(source: &str, format: Format, path: &Path) -> (usize, usize) {
    let offset = match format {
        Format::Toml => DeTable::parse(source).map_or(0, |table| in_toml(&table, &path.0)),
        Format::Json => Scanner { source, offset: 0 }.find(&path.0),
    };
    line_and_column(source, offset)
}

fn in_toml(document: &Spanned<DeTable<'_>>, path: &[Segment]) -> usize {
    let mut offset = document.span().start;
    let Some((Segment::Field(name), mut path)) = path.split_first() else { return offset };
    let Some((key, mut value)) = document.get_ref().iter().find(|(key, _)| key.get_ref() == name) else {
        return offset;
    };
    offset = key.span().start;
    while let Some((segment, rest)) = path.split_first() {
        let next = match (segment, value.get_ref()) {
            (Segment::Field(name), DeValue::Table(table)) => {
                let found = table.iter().find(|(key, _)| key.get_ref() == name);
                found.map(|(key, value)| (key.span().start, value))
            }
            (Segment::Item(index), DeValue::Array(array)) => {
                array.get(*index).map(|value| (value.span().start, value))
            }
            _ => None,
        };
        let Some((start, found)) = next else { break };
        (offset, value, path) = (start, found, rest);
    }
    offset
}

/// Walks JSON that has been read once already; serde_json keeps no positions.
struct Scanner<'a> {
    source: &'a str,
    offset: usize,
}

impl Scanner<'_> {
    fn find(mut self, path: &[Segment]) -> usize {
        self.space();
        let mut found = self.offset;
        for segment in path {
            let Some(offset) = self.enter(segment) else { break };
            found = offset;
        }
        found
    }

    /// Moves to the value `segment` leads to, and gives where its key begins, or itself in a list.
    fn enter(&mut self, segment: &Segment) -> Option<usize> {
        let object = match (segment, self.peek()?) {
            (Segment::Field(_), b'{') => true,
            (Segment::Item(_), b'[') => false,
            _ => return None,
        };
        self.offset += 1;
        for index in 0.. {
            self.space();
            if matches!(self.peek()?, b'}' | b']') {
                return None;
            }
            let begin = self.offset;
            let here = if object {
                self.value()?;
                let name: String = serde_json::from_str(&self.source[begin..self.offset]).ok()?;
                self.space();
                self.offset += 1; // the colon
                self.space();
                matches!(segment, Segment::Field(wanted) if *wanted == name)
            } else {
                matches!(segment, Segment::Item(wanted) if *wanted == index)
            };
            if here {
                return Some(begin);
            }
            self.value()?;
            self.space();
            if self.peek()? == b',' {
                self.offset += 1;
            }
        }
        None
    }

    fn peek(&self) -> Option<u8> {
        self.source.as_bytes().get(self.offset).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.offset += 1;
        }
    }

    /// Moves behind the value that begins here.
    fn value(&mut self) -> Option<()> {
        let mut values = serde_json::Deserializer::from_str(&self.source[self.offset..]).into_iter::<Json>();
        values.next()?.ok()?;
        self.offset += values.byte_offset();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(fields: &[&str]) -> Path {
        fields.iter().fold(Path::default(), |path, field| match field.parse() {
            Ok(index) => path.item(index),
            Err(_) => path.field(field),
        })
    }

    #[test]
    fn a_path_is_found_in_both_formats() {
        let toml = "name = \"a\"\n\n[trigger]\ntype = \"manual\"\n\n[[steps]]\nid = \"x\"\n\n[[steps]]\nid = \"y\"\n[steps.inputs]\nvalue = 1\ntexts = [\"é\", 'b']\n";
        let json = "{\n  \"name\": \"a\",\n  \"steps\": [\n    {\"id\": \"x\", \"n\\u0061me\": [1, {\"a\": 2}]},\n    {\"id\": \"y\"}\n  ]\n}";
        type Case<'a> = (Format, &'a str, &'a [&'a str], (usize, usize));
        let cases: [Case<'_>; 13] = [
            (Format::Toml, toml, &[], (1, 1)),
            (Format::Toml, toml, &["name"], (1, 1)),
            (Format::Toml, toml, &["trigger", "type"], (4, 1)),
            (Format::Toml, toml, &["steps", "1", "id"], (10, 1)),
            (Format::Toml, toml, &["steps", "1", "inputs", "value"], (12, 1)),
            (Format::Toml, toml, &["steps", "1", "inputs", "texts", "1"], (13, 15)),
            (Format::Toml, toml, &["steps", "1", "inputs", "missing"], (11, 8)),
            (Format::Json, json, &["name"], (2, 3)),
            (Format::Json, json, &["steps", "0", "id"], (4, 6)),
            (Format::Json, json, &["steps", "0", "name", "1", "a"], (4, 35)),
            (Format::Json, json, &["steps", "1"], (5, 5)),
            (Format::Json, json, &["steps", "1", "missing"], (5, 5)),
            (Format::Json, json, &["steps", "2"], (3, 3)),
        ];
        for (format, source, fields, expected) in cases {
            assert_eq!(locate(source, format, &path(fields)), expected, "{fields:?} in {format:?}");
        }
    }

    #[test]
    fn a_path_is_written_as_people_write_it() {
        assert_eq!(path(&["steps", "1", "inputs", "date"]).to_string(), "steps[1].inputs.date");
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(line_and_column("aé\néb", 6), (2, 2));
        assert_eq!(line_and_column("a", 99), (1, 2));
    }
}
