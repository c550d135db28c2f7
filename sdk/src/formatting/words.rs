//! Figures, times and words as people read them.

use std::fmt::Write as _;

use crate::formatter::{Event, Notification, Severity};
use crate::{SettingError, Timestamp};

/// A severity's name.
#[must_use]
pub const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "Info",
        Severity::Low => "Low",
        Severity::Medium => "Medium",
        Severity::High => "High",
        Severity::Critical => "Critical",
    }
}

/// A colour for the severity, or for the end: `#` and six digits.
#[must_use]
pub const fn colour(notification: &Notification) -> &'static str {
    match (notification.event, notification.incident.severity) {
        (Event::Closed, _) => "#2e9e5b",
        (_, Severity::Critical) => "#b3261e",
        (_, Severity::High) => "#e8590c",
        (_, Severity::Medium) => "#f2b01e",
        (_, Severity::Low) => "#3b82c4",
        (_, Severity::Info) => "#7d8590",
    }
}

/// A number with up to six significant digits.
///
/// ```
/// use bellwether_sdk::formatting::number;
///
/// assert_eq!(number(64.0), "64");
/// assert_eq!(number(0.1 + 0.2), "0.3");
/// assert_eq!(number(1234567.8), "1234568");
/// assert_eq!(number(-2.5e-9), "-2.5e-9");
/// ```
#[must_use]
pub fn number(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 {
        return "0".to_owned();
    }
    if !number.is_finite() || size >= 1e15 {
        return format!("{number:e}");
    }
    if size < 1e-6 {
        return format!("{number:e}");
    }
    // In [-6, 14].
    let magnitude = size.log10().floor() as i32;
    let decimals = usize::try_from(5 - magnitude).unwrap_or(0);
    let mut text = format!("{number:.decimals$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    text
}

/// A duration in its two largest units.
///
/// ```
/// use bellwether_sdk::formatting::duration;
///
/// assert_eq!(duration(60_120_000), "16h 42m");
/// assert_eq!(duration(86_400_000), "1d");
/// assert_eq!(duration(999), "0s");
/// ```
#[must_use]
pub fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let units =
        [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let first = units.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let mut text = format!("{}{}", units[first].0, units[first].1);
    if let Some((count, unit)) = units.get(first + 1).filter(|(count, _)| *count > 0) {
        let _ = write!(text, " {count}{unit}");
    }
    text
}

/// An instant in UTC, to the second.
///
/// ```
/// use bellwether_sdk::formatting::moment;
///
/// assert_eq!(moment(1_712_673_840_123), "2024-04-09 14:44:00 UTC");
/// ```
#[must_use]
pub fn moment(milliseconds: i64) -> String {
    let text = Timestamp::from_milliseconds(milliseconds - milliseconds.rem_euclid(1000)).to_string();
    format!("{} UTC", text.trim_end_matches('Z').replace('T', " "))
}

/// Whether it turns the direction of writing of what follows: in a tag's value it would turn the words around it.
fn turns(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text without control characters but line breaks, which many services refuse, and without marks that turn the
/// direction of writing.
#[must_use]
pub fn clean(text: &str) -> String {
    text.replace("\r\n", "\n")
        .chars()
        .map(|character| if character == '\t' { ' ' } else { character })
        .filter(|character| (!character.is_control() || *character == '\n') && !turns(*character))
        .collect::<String>()
        .trim()
        .to_owned()
}

/// The text on one line: white space and control characters in a row are one space, and so are marks that turn the direction
/// of writing.
///
/// ```
/// use bellwether_sdk::formatting::one_line;
///
/// assert_eq!(one_line(" Disk\r\n  full\0 "), "Disk full");
/// assert_eq!(one_line("eth0 \u{202e}nwod si\u{202c}"), "eth0 nwod si");
/// ```
#[must_use]
pub fn one_line(text: &str) -> String {
    let between = |character: char| character.is_whitespace() || character.is_control() || turns(character);
    text.split(between).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A key that is the same whenever it is made of the same text: the text itself if it has at most `most` characters, all
/// of them of A-Z, a-z, 0-9, `_` and `-`, else 32 hexadecimal digits (FNV-1a). For labels and ids of deduplication; it
/// keeps no secret.
///
/// ```
/// use bellwether_sdk::formatting::stable_key;
///
/// assert_eq!(stable_key("incident-1", 100), "incident-1");
/// assert_eq!(stable_key("incident 1", 100), "11af9ae30544f0eb8c0db8c40020f94c");
/// ```
#[must_use]
pub fn stable_key(text: &str, most: usize) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !text.is_empty() && text.len() <= most && text.bytes().all(plain) {
        return text.to_owned();
    }
    let (basis, prime) =
        (0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, 0x0000_0000_0100_0000_0000_0000_0000_013b_u128);
    let hash = text.bytes().fold(basis, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(prime));
    format!("{hash:032x}")
}

/// A key of all that this channel is told of this incident: for services in which channels may share an account, so that
/// two of them do not meet in one alert. It has at most `most` (32 or more) characters of A-Z, a-z, 0-9, `_`, `.` and `-`.
///
/// ```
/// use bellwether_sdk::formatter::Event;
/// use bellwether_sdk::formatting::line_key;
/// use bellwether_sdk::testing::notification;
///
/// let (opened, mut closed) = (notification(Event::Opened), notification(Event::Closed));
/// assert_eq!(line_key(&opened, 100), "incident-1.channel-1");
/// assert_eq!(line_key(&closed, 100), line_key(&opened, 100));
/// closed.idempotency_key = "incident-1.channel-2.3".to_owned();
/// assert_eq!(line_key(&closed, 100), "incident-1.channel-2");
/// ```
#[must_use]
pub fn line_key(notification: &Notification, most: usize) -> String {
    let whole = notification.idempotency_key.as_str();
    let line = whole.rsplit_once('.').map_or(whole, |(line, _)| line);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    match line.len() <= most && line.bytes().all(plain) {
        true => line.to_owned(),
        false => stable_key(line, most),
    }
}

/// Whether a setting is a text of one line with 1 to `most` characters.
///
/// # Errors
/// If it is not: names the setting.
pub fn check_text(setting: &str, text: &str, most: usize) -> Result<(), SettingError> {
    let good = !text.trim().is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control);
    match good {
        true => Ok(()),
        false => Err(SettingError::new(setting, text, format!("one line of 1 to {most} characters"))),
    }
}
