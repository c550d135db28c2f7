//! A request's JSON body, read field by field, so that a refusal names the field and shows what the client wrote.

use std::borrow::Cow;

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::Request;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::failure::Failure;

/// The body as an object of this shape.
pub(crate) fn read<'a, T: Deserialize<'a>>(request: &Request<'a>) -> Result<T, Failure> {
    let body = request.body().trim_ascii_start();
    if body.is_empty() {
        return Err(Failure::bad("The request has no body, expected a JSON object"));
    }
    let other = || Failure::bad("The request's body is not a JSON object");
    match serde_json::from_slice(body) {
        Ok(object) if body[0] == b'{' => Ok(object),
        // serde would read a struct from an array as well.
        Ok(_) => Err(other()),
        Err(error) if error.is_data() && body[0] != b'{' => Err(other()),
        Err(error) => Err(Failure::bad(format_args!("The request's body is not valid JSON: {error}"))),
    }
}

/// A time.
#[derive(Clone, Copy)]
pub(crate) struct Date {
    /// The instant it is in UTC, or by its offset.
    pub(crate) time: Timestamp,
    /// Whether it says its offset.
    pub(crate) has_offset: bool,
}

/// One field, as the client wrote it.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    name: &'static str,
    raw: Option<&'a RawValue>,
}

impl<'a> Field<'a> {
    pub(crate) fn new(name: &'static str, raw: Option<&'a RawValue>) -> Self {
        Self { name, raw }
    }

    /// A refusal of what is there.
    pub(crate) fn wrong(&self, expected: &str) -> Failure {
        match self.raw {
            Some(raw) => Failure::field(self.name, raw.get(), expected),
            None => Failure::bad(format_args!("{} is missing, expected {expected}", self.name)),
        }
    }

    /// The field's text, of 1 to so many characters.
    pub(crate) fn text(&self, longest: usize) -> Result<Option<Cow<'a, str>>, Failure> {
        let Some(raw) = self.raw else { return Ok(None) };
        let wrong = || self.wrong(&format!("a text of 1 to {longest} characters"));
        let text = unquoted(raw).ok_or_else(wrong)?;
        // A text has at most as many characters as bytes, and most are short.
        let fits = !text.is_empty() && (text.len() <= longest || text.chars().count() <= longest);
        if fits { Ok(Some(text)) } else { Err(wrong()) }
    }

    /// The field's finite number, which may be written as a text.
    pub(crate) fn number(&self) -> Result<Option<f64>, Failure> {
        let Some(raw) = self.raw else { return Ok(None) };
        let number = match raw.get().as_bytes()[0] {
            b'"' => {
                let text = unquoted(raw).ok_or_else(|| self.wrong("a number"))?;
                // Rust would read words as well: inf, nan.
                let numeric = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
                Some(text.trim_ascii())
                    .filter(|text| text.bytes().all(numeric))
                    .and_then(|text| text.parse().ok())
            }
            _ => raw.get().parse::<f64>().ok(),
        };
        match number {
            Some(number) if number.is_finite() => Ok(Some(number)),
            Some(_) => Err(self.wrong("a number within ±1.8e308")),
            None => Err(self.wrong("a number")),
        }
    }

    /// The field's time.
    pub(crate) fn date(&self) -> Result<Option<Date>, Failure> {
        let Some(raw) = self.raw else { return Ok(None) };
        let date = unquoted(raw).and_then(|text| {
            let time = text.parse().ok()?;
            // Behind the date there is only the time and its offset.
            let has_offset = text.bytes().skip("2024-04-09".len()).any(|byte| b"Zz+-".contains(&byte));
            Some(Date { time, has_offset })
        });
        match date {
            // What is later is read as the last instant there is, which no data are of.
            Some(Date { time: Timestamp::MAX, .. }) => {
                Err(self.wrong(&format!("a date before {}", Timestamp::MAX)))
            }
            Some(date) => Ok(Some(date)),
            None => Err(self.wrong("an ISO 8601 date and time such as 2024-04-09T14:44:00Z")),
        }
    }

    /// The field's truth.
    pub(crate) fn boolean(&self) -> Result<Option<bool>, Failure> {
        match self.raw.map(RawValue::get) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.wrong("true or false")),
        }
    }

    /// The one of these that the field names, letter case ignored.
    pub(crate) fn one_of<T: Copy>(&self, cases: &[(&str, T)]) -> Result<T, Failure> {
        let text = self.raw.and_then(unquoted);
        let found = text.and_then(|text| cases.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text)));
        found.map(|(_, case)| *case).ok_or_else(|| {
            let names: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
            self.wrong(&format!("one of {}", names.join(", ")))
        })
    }
}

/// The text that `raw` is, if it is one.
fn unquoted(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inside = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        serde_json::from_str(raw.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inside))
    }
}
