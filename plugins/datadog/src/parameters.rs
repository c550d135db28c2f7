//! What requests say in their queries and bodies, read or refused by name.

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::Request;
use bellwether_sdk::host::Clock;

use crate::failure::Failure;

/// A parameter that must be there.
pub(crate) fn required<'a>(request: &Request<'a>, name: &'static str) -> Result<&'a str, Failure> {
    match request.query(name) {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(Failure::parameter(name, "it is missing")),
    }
}

/// An instant in seconds since 1970, with or without a fraction.
pub(crate) fn seconds(request: &Request<'_>, name: &'static str) -> Result<Timestamp, Failure> {
    let text = required(request, name)?;
    let read = text.trim().parse().ok().and_then(from_seconds);
    read.ok_or_else(|| Failure::parameter(name, format_args!("{text:?} is no time in seconds since 1970")))
}

/// The instant so many seconds after 1970, to the nearest millisecond, if there is one.
pub(crate) fn from_seconds(seconds: f64) -> Option<Timestamp> {
    let milliseconds = (seconds * 1000.0).round();
    let range = Timestamp::MIN.milliseconds() as f64..=Timestamp::MAX.milliseconds() as f64;
    range.contains(&milliseconds).then(|| Timestamp::from_milliseconds(milliseconds as i64))
}

/// The same of whole seconds.
pub(crate) fn from_whole_seconds(seconds: i64) -> Option<Timestamp> {
    let time = seconds.checked_mul(1000).map(Timestamp::from_milliseconds);
    time.filter(|time| (Timestamp::MIN..=Timestamp::MAX).contains(time))
}

/// A whole number within a range.
pub(crate) fn count(
    request: &Request<'_>,
    name: &'static str,
    least: u32,
    most: u32,
) -> Result<Option<u32>, Failure> {
    let Some(text) = request.query(name) else { return Ok(None) };
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
        _ => {
            Err(Failure::parameter(name, format_args!("{text:?} is no whole number from {least} to {most}")))
        }
    }
}

/// The instant so many seconds before now as a request says to look back, at most `most`, or as is usual.
pub(crate) fn window(
    host: &impl Clock,
    request: &Request<'_>,
    usual: u32,
    most: u32,
) -> Result<Timestamp, Failure> {
    let window = count(request, "window[seconds]", 1, most)?.unwrap_or(usual);
    Ok(Timestamp::from_milliseconds(host.now().milliseconds() - i64::from(window) * 1000))
}

/// Yes or no, as Python's clients write it too.
pub(crate) fn flag(request: &Request<'_>, name: &'static str) -> Result<Option<bool>, Failure> {
    match request.query(name).map(str::to_ascii_lowercase).as_deref() {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(text) => Err(Failure::parameter(name, format_args!("{text:?} is neither true nor false"))),
    }
}

/// A text in quotes, as queries and searches take one that means exactly this.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
