//! Reading a CSV file row by row: each row is a sample or a bad line with a reason.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use bellwether_kernel::Timestamp;
use csv::{ByteRecord, Position, Reader, ReaderBuilder, Terminator};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::time::TimeReader;
use crate::failure::Failure;
use crate::output::printable;

/// Which columns mean what, by their heading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Columns {
    /// When a sample happened.
    pub(crate) time: String,
    /// Its value; a metric of type count goes without.
    pub(crate) value: Option<String>,
    /// Its series.
    pub(crate) key: Option<String>,
    /// How much it counts in an average.
    pub(crate) weight: Option<String>,
    /// Which metric it is of, where rows are of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metric: Option<String>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<TagColumn>,
}

/// A column that is a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TagColumn {
    /// The tag's key.
    pub(crate) key: String,
    /// The column with its values.
    pub(crate) column: String,
}

/// A good row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// The line it begins on, counted from 1.
    pub(crate) line: u64,
    /// When it happened.
    pub(crate) time: Timestamp,
    /// Its value.
    pub(crate) value: Option<f64>,
    /// Its series.
    pub(crate) key: Option<String>,
    /// How much it counts.
    pub(crate) weight: Option<f64>,
    /// Its metric, where a column says.
    pub(crate) metric: Option<String>,
    /// Its tags, of the columns that are not empty.
    pub(crate) tags: Vec<String>,
}

/// A bad row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct BadLine {
    /// The line it begins on, counted from 1.
    pub(crate) line: u64,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// A place between two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Bytes before it.
    pub(crate) byte: u64,
    /// The line that begins there, counted from 1.
    pub(crate) line: u64,
}

/// Where in a row each column stands.
#[derive(Clone, Debug)]
struct Indices {
    time: usize,
    value: Option<usize>,
    key: Option<usize>,
    weight: Option<usize>,
    metric: Option<usize>,
    /// Keys of tags, and where their values are.
    tags: Vec<(String, usize)>,
    width: usize,
}

/// An open CSV file.
pub(crate) struct Source {
    reader: Reader<File>,
    /// The same file, to look at its lines where rows are not what they seem.
    lines: BufReader<File>,
    indices: Indices,
    times: TimeReader,
    record: ByteRecord,
    /// Bytes of the file.
    length: u64,
    /// Whether the last line has no line feed, so that it adds none to the line count.
    unterminated: bool,
}

/// What every gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

impl Source {
    /// Opens `path` and finds its columns by the headings of its first line.
    pub(crate) fn open(
        path: &Path,
        delimiter: u8,
        columns: &Columns,
        times: TimeReader,
    ) -> Result<Self, Failure> {
        let unreadable =
            |error: io::Error| Failure::Usage(format!("{} does not read: {error}", path.display()));
        let mut file = File::open(path).map_err(unreadable)?;
        let lines = BufReader::new(File::open(path).map_err(unreadable)?);
        let length = file.metadata().map_err(unreadable)?.len();
        let (mut first, mut last) = ([0; 2], [b'\n']);
        if length > 1 {
            file.read_exact(&mut first).map_err(unreadable)?;
        }
        if first == GZIP {
            return Err(Failure::Usage(format!("{} is packed with gzip: unpack it first", path.display())));
        }
        if length > 0 {
            file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(unreadable)?;
            file.rewind().map_err(unreadable)?;
        }
        // Ending lines at the line feed alone keeps the line count exact for both line endings; the carriage return
        // is trimmed off the last field.
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .from_reader(file);
        let headings: Vec<String> = reader
            .byte_headers()
            .map_err(|error| Failure::Usage(format!("{} does not read: {error}", path.display())))?
            .iter()
            .map(|heading| String::from_utf8_lossy(heading.trim_ascii()).into_owned())
            .collect();
        let find = |option: &str, name: &str| {
            let mut places = (0..headings.len()).filter(|place| headings[*place] == name);
            let file = path.display();
            match (places.next(), places.next()) {
                (Some(place), None) => Ok(place),
                (Some(first), Some(second)) => Err(Failure::Usage(format!(
                    "{file} has the column {name:?} (--{option}) twice, as columns {} and {}; give one another heading",
                    first + 1,
                    second + 1
                ))),
                (None, _) => {
                    let there = match headings.is_empty() {
                        true => "it is empty".to_owned(),
                        false => {
                            let shown: Vec<_> = headings.iter().map(|heading| printable(heading)).collect();
                            format!("its columns are: {}", shown.join(", "))
                        }
                    };
                    Err(Failure::Usage(format!("{file} has no column {name:?} (--{option}); {there}")))
                }
            }
        };
        let optional =
            |option: &str, name: &Option<String>| name.as_ref().map(|name| find(option, name)).transpose();
        let indices = Indices {
            time: find("time", &columns.time)?,
            value: optional("value", &columns.value)?,
            key: optional("key", &columns.key)?,
            weight: optional("weight", &columns.weight)?,
            metric: optional("metric-column", &columns.metric)?,
            tags: columns
                .tags
                .iter()
                .map(|tag| Ok((tag.key.clone(), find("tag-column", &tag.column)?)))
                .collect::<Result<_, Failure>>()?,
            width: headings.len(),
        };
        let (record, unterminated) = (ByteRecord::new(), last != [b'\n']);
        Ok(Self { reader, lines, indices, times, record, length, unterminated })
    }

    /// Bytes of the file.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Where the next row begins.
    pub(crate) fn place(&self) -> Place {
        let position = self.reader.position();
        Place { byte: position.byte(), line: position.line() }
    }

    /// Goes to a place that [`Self::place`] gave before.
    pub(crate) fn go_to(&mut self, place: Place) -> io::Result<()> {
        let mut position = Position::new();
        position.set_byte(place.byte).set_line(place.line);
        self.reader.seek(position).map_err(io::Error::from)
    }

    /// The next row; empty lines are passed over. Of a bad row that goes on over several lines only the first is bad: a
    /// quote that is never closed would take every line behind it along.
    pub(crate) fn next(&mut self) -> io::Result<Option<Result<Row, BadLine>>> {
        loop {
            let before = self.place();
            if !self.reader.read_byte_record(&mut self.record).map_err(io::Error::from)? {
                return Ok(None);
            }
            if self.record.len() == 1 && self.record[0].trim_ascii().is_empty() {
                continue;
            }
            let after = self.place();
            let line_feeds_inside =
                self.record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
            let own_line_feed = u64::from(!(self.unterminated && after.byte >= self.length));
            let line = after.line - own_line_feed - line_feeds_inside;
            let reason = match self.row(line) {
                Ok(row) => return Ok(Some(Ok(row))),
                Err(reason) => reason,
            };
            if line_feeds_inside == 0 {
                return Ok(Some(Err(BadLine { line, reason })));
            }
            let second = self.after_first_line(before)?;
            self.go_to(second)?;
            let reason = format!("{reason}; a quote opens in it that is not closed before the line ends");
            return Ok(Some(Err(BadLine { line: second.line - 1, reason })));
        }
    }

    /// Where the first line that is not empty ends, from a place on.
    fn after_first_line(&mut self, from: Place) -> io::Result<Place> {
        self.lines.seek(SeekFrom::Start(from.byte))?;
        let (mut place, mut line) = (from, Vec::new());
        loop {
            line.clear();
            place.byte += self.lines.read_until(b'\n', &mut line)? as u64;
            place.line += 1;
            if line.is_empty() || !line.trim_ascii().is_empty() {
                return Ok(place);
            }
        }
    }

    fn row(&self, line: u64) -> Result<Row, String> {
        if self.record.len() != self.indices.width {
            return Err(format!(
                "{} fields, expected {} as in the first line",
                self.record.len(),
                self.indices.width
            ));
        }
        let field = |index: usize| {
            let bytes = self.record.get(index).unwrap_or_default().trim_ascii();
            std::str::from_utf8(bytes).map_err(|_| format!("column {} is not UTF-8", index + 1))
        };
        let time = self.times.read(field(self.indices.time)?)?;
        let value = match self.indices.value {
            Some(index) => Some(number("value", field(index)?)?),
            None => None,
        };
        let weight = match self.indices.weight {
            Some(index) => Some(number("weight", field(index)?).and_then(|weight| {
                if weight > 0.0 {
                    Ok(weight)
                } else {
                    Err(format!("the weight is {weight}, expected a number above 0"))
                }
            })?),
            None => None,
        };
        let key = match self.indices.key.map(field).transpose()? {
            Some("") => return Err("the key is empty, expected 1 to 200 characters".to_owned()),
            Some(key) if key.chars().count() > 200 => {
                return Err(format!("the key has {} characters, expected 1 to 200", key.chars().count()));
            }
            key => key.map(str::to_owned),
        };
        let metric = match self.indices.metric.map(field).transpose()? {
            Some(metric) if !is_within(metric, METRIC) => {
                return Err(format!("the metric is {metric:?}, expected {}", expectation(METRIC)));
            }
            metric => metric.map(str::to_owned),
        };
        let mut tags = Vec::with_capacity(self.indices.tags.len());
        for (key, index) in &self.indices.tags {
            let value = field(*index)?;
            if value.is_empty() {
                continue;
            }
            let tag = format!("{key}:{value}");
            if !is_within(&tag, TAG) {
                return Err(format!("the tag is {tag:?}, expected {}", expectation(TAG)));
            }
            tags.push(tag);
        }
        Ok(Row { line, time, value, key, weight, metric, tags })
    }
}

/// Bytes of a metric's name and of a tag, as hosts take them.
pub(crate) const METRIC: usize = 200;
pub(crate) const TAG: usize = 400;

/// Whether a host takes a text as a metric's name or a tag.
pub(crate) fn is_within(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && !text.contains(char::is_control)
}

/// What [`is_within`] asks for.
pub(crate) fn expectation(most: usize) -> String {
    format!("1 to {most} bytes, no control characters")
}

fn number(name: &str, text: &str) -> Result<f64, String> {
    let finite = text.parse().ok().filter(|number: &f64| number.is_finite());
    finite.ok_or_else(|| format!("the {name} is {text:?}, expected a number"))
}

/// The SHA-256 of a file's content, in hexadecimal.
pub(crate) fn fingerprint(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(data_encoding::HEXLOWER.encode(&digest.finalize()));
        }
        digest.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::super::time::TimeFormat;
    use super::*;

    fn open(text: &str, columns: &Columns) -> Result<(tempfile::NamedTempFile, Source), Failure> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let source =
            Source::open(file.path(), b',', columns, TimeReader::new(TimeFormat::Detected, TimeZone::UTC))?;
        Ok((file, source))
    }

    fn columns(key: Option<&str>, weight: Option<&str>) -> Columns {
        Columns {
            time: "timestamp".to_owned(),
            value: Some("value".to_owned()),
            key: key.map(str::to_owned),
            weight: weight.map(str::to_owned),
            ..Columns::default()
        }
    }

    #[test]
    fn a_column_that_is_there_twice_is_refused_by_both_places() {
        for (header, message) in [
            ("timestamp,value,value", "\"value\" (--value) twice, as columns 2 and 3"),
            ("timestamp,value, timestamp ", "\"timestamp\" (--time) twice, as columns 1 and 3"),
        ] {
            let refused = open(&format!("{header}\n"), &columns(None, None)).err().expect(header);
            assert!(refused.for_people().contains(message), "{}", refused.for_people());
        }
        open("timestamp,other,value,other\n", &columns(None, None))
            .expect("another column may be there twice");
    }

    #[test]
    fn what_is_no_text_is_told_without_what_would_steer_a_terminal() {
        let refused = |text: &str| open(text, &columns(None, None)).err().expect(text).for_people();
        assert!(refused("w\u{1b}[31mhen,value\n").ends_with("its columns are: w·[31mhen, value"));
        assert!(refused("\u{1f}\u{8b}").contains("no column"), "gzip's bytes are no text");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), [0x1f, 0x8b, 8, 0]).expect("written");
        let times = TimeReader::new(TimeFormat::Detected, TimeZone::UTC);
        let refused = Source::open(file.path(), b',', &columns(None, None), times).err().expect("no text");
        assert!(refused.for_people().ends_with("is packed with gzip: unpack it first"));
    }

    fn all(source: &mut Source) -> Vec<Result<Row, BadLine>> {
        std::iter::from_fn(|| source.next().expect("readable")).collect()
    }

    #[test]
    fn rows_are_read_by_heading_whatever_the_order_of_columns() {
        let text = "weight,value,extra,key,timestamp\n2,1.5,x,\"a,b\",2014-04-01 00:00:00\n";
        let (_file, mut source) = open(text, &columns(Some("key"), Some("weight"))).expect("good headings");
        let row = all(&mut source).remove(0).expect("a good row");
        assert_eq!((row.value, row.weight, row.key.as_deref()), (Some(1.5), Some(2.0), Some("a,b")));
        assert_eq!(row.time.to_string(), "2014-04-01T00:00:00Z");
    }

    #[test]
    fn columns_become_tags_and_an_empty_field_is_none() {
        let tag = |key: &str, column: &str| TagColumn { key: key.to_owned(), column: column.to_owned() };
        let tags = vec![tag("host", "host"), tag("env", "environment")];
        let columns = Columns { metric: Some("what".to_owned()), tags, ..columns(None, None) };
        let long = "x".repeat(396);
        let text = format!(
            "timestamp,value,what,host,environment\n\
             2024-04-01,1,cpu,web-1,prod\n\
             2024-04-01,2,cpu,,\n\
             2024-04-01,3,,web-1,prod\n\
             2024-04-01,4,cpu,{long},prod\n"
        );
        let (_file, mut source) = open(&text, &columns).expect("good headings");
        let rows = all(&mut source);
        let read: Vec<_> = rows.iter().filter_map(|row| row.as_ref().ok()).collect();
        assert_eq!(read[0].metric.as_deref(), Some("cpu"));
        assert_eq!(read[0].tags, ["host:web-1", "env:prod"]);
        assert_eq!((read.len(), read[1].tags.len()), (2, 0));
        let bad: Vec<_> = rows.iter().filter_map(|row| row.as_ref().err()).collect();
        assert!(bad[0].line == 4 && bad[0].reason.contains("the metric is \"\""), "{bad:?}");
        assert!(bad[1].line == 5 && bad[1].reason.contains("1 to 400 bytes"), "{bad:?}");
    }

    #[test]
    fn bad_lines_are_named_by_number_with_the_reason() {
        let text = "timestamp,value,key,weight\n\
                    2014-04-01,1,a,1\n\
                    soon,1,a,1\n\
                    2014-04-01,many,a,1\n\
                    2014-04-01,inf,a,1\n\
                    2014-04-01,1,,1\n\
                    2014-04-01,1,a,0\n\
                    2014-04-01,1\n\
                    2014-04-01,1,a,1,more\n";
        let (_file, mut source) = open(text, &columns(Some("key"), Some("weight"))).expect("good headings");
        let bad: Vec<_> = all(&mut source).into_iter().filter_map(Result::err).collect();
        let reasons = [
            "the time is \"soon\"",
            "the value is \"many\"",
            "the value is \"inf\"",
            "the key is empty",
            "the weight is 0",
            "2 fields",
            "5 fields",
        ];
        assert_eq!(bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), (3..=9).collect::<Vec<_>>());
        for (bad, reason) in bad.iter().zip(reasons) {
            assert!(bad.reason.starts_with(reason), "{bad:?} does not begin with {reason}");
        }
    }

    #[test]
    fn a_quote_that_is_not_closed_costs_its_own_line_alone() {
        for (text, bad, good) in [
            (
                "timestamp,value\n2014-04-01,1\n\"2014-04-02,2\n2014-04-03,3\n2014-04-04,4\n",
                vec![3],
                vec![2, 4, 5],
            ),
            ("timestamp,value\n2014-04-01,1\n\n\"2014-04-02,2\n2014-04-03,3", vec![4], vec![2, 5]),
            ("timestamp,value\r\n\"2014-04-02,2\r\n2014-04-03,3\r\n\"2014-04-04,4\r\n", vec![2, 4], vec![3]),
        ] {
            let (_file, mut source) = open(text, &columns(None, None)).expect("good headings");
            let rows = all(&mut source);
            let of_bad: Vec<_> = rows.iter().filter_map(|row| Some(row.as_ref().err()?.line)).collect();
            let of_good: Vec<_> = rows.iter().filter_map(|row| Some(row.as_ref().ok()?.line)).collect();
            assert_eq!((of_bad, of_good), (bad, good), "{text:?}");
            let reason = &rows.iter().find_map(|row| row.as_ref().err()).expect("a bad line").reason;
            assert!(reason.contains("a quote opens in it"), "{reason}");
        }
    }

    #[test]
    fn line_numbers_are_exact_for_every_line_ending() {
        for (text, lines) in [
            ("timestamp,value\n2014-04-01,1\n2014-04-02,2\n", vec![2, 3]),
            ("timestamp,value\r\n2014-04-01,1\r\n2014-04-02,2\r\n", vec![2, 3]),
            ("timestamp,value\n2014-04-01,1\n2014-04-02,2", vec![2, 3]),
            ("timestamp,value\r\n2014-04-01,1\r\n2014-04-02,2", vec![2, 3]),
            ("timestamp,value\n\n\n2014-04-01,1\n\n2014-04-02,2\n\n", vec![4, 6]),
            ("timestamp,value\r\n\r\n2014-04-01,1\r\n\r\n2014-04-02,2", vec![3, 5]),
            ("\u{feff}timestamp,value\n2014-04-01,1\n", vec![2]),
            ("note,timestamp,value\n\"two\nlines\",2014-04-01,1\nx,2014-04-02,2\n", vec![2, 4]),
        ] {
            let (_file, mut source) = open(text, &columns(None, None)).expect("good headings");
            let rows: Vec<_> = all(&mut source).into_iter().map(|row| row.expect("a good row")).collect();
            assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), lines, "{text:?}");
            assert_eq!(rows[0].value, Some(1.0), "{text:?}");
        }
    }

    #[test]
    fn reading_goes_on_from_any_place_as_if_it_had_never_stopped() {
        let text = "timestamp,value\r\n2014-04-01,1\r\n\r\nbad,2\r\n2014-04-03,3\r\n2014-04-04,4";
        let (_file, mut source) = open(text, &columns(None, None)).expect("good headings");
        let whole = all(&mut source);
        for read_before in 0..=whole.len() {
            let (_file, mut first) = open(text, &columns(None, None)).expect("good headings");
            let mut rows: Vec<_> =
                (0..read_before).map(|_| first.next().expect("readable").expect("a row")).collect();
            let (_file, mut second) = open(text, &columns(None, None)).expect("good headings");
            second.go_to(first.place()).expect("a place");
            rows.extend(all(&mut second));
            assert_eq!(rows, whole, "after {read_before}");
        }
    }

    #[test]
    fn a_missing_column_is_told_with_those_that_are_there() {
        let Err(Failure::Usage(message)) = open("time,amount\n1,2\n", &columns(None, None)) else {
            panic!("a column is missing");
        };
        assert!(message.contains("\"timestamp\" (--time)") && message.contains("time, amount"), "{message}");
    }
}
