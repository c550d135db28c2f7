//! What a host refuses to install, told where it is written. The numbers are those of `host/plugins`.

use proc_macro2::Span;
use syn::{Error, Result};

/// Characters of a name.
const NAME: usize = 64;

/// Bytes of a summary, and of the help of one field.
const TEXT: usize = 4 << 10;

/// Fields of a struct.
const FIELDS: usize = 200;

/// Points of a series in one call.
pub(crate) const POINTS: u32 = 200_000;

/// Whether templates can name it.
pub(crate) fn check_name(name: &str, span: Span) -> Result<()> {
    let is_good = name.len() <= NAME
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let expected = format!("expected 1 to {NAME} characters of A-Z, a-z, 0-9, _ and -, a letter first");
    if is_good { Ok(()) } else { Err(Error::new(span, format!("the name is {name:?}, {expected}"))) }
}

/// Whether a text is short enough to be read.
pub(crate) fn check_text(what: &str, text: &str, span: Span) -> Result<()> {
    match text.len() {
        ..=TEXT => Ok(()),
        length => Err(Error::new(span, format!("the {what} has {length} bytes, expected at most {TEXT}"))),
    }
}

/// Whether somebody may fill in so many.
pub(crate) fn check_count(what: &str, count: usize, span: Span) -> Result<()> {
    match count {
        ..=FIELDS => Ok(()),
        _ => Err(Error::new(span, format!("there are {count} {what}s, expected at most {FIELDS}"))),
    }
}
