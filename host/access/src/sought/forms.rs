//! The forms a secret is found in: as it is, and as JSON, URLs and HTML write it, however much of it they escape; and
//! in base64.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// Bytes a text must have to be looked for: shorter ones are everywhere.
const SEARCHED: usize = 4;

/// How many characters are compared for each byte of a text before it counts as made to be slow to search.
const PATIENCE: usize = 64;

/// What an escape begins with.
const ESCAPES: [char; 4] = ['\\', '%', '+', '&'];

/// What is to be looked for of a secret: itself, itself without the blanks around it, and both in base64.
pub(super) fn texts(secret: &str) -> impl Iterator<Item = String> {
    let texts = [secret, secret.trim()].into_iter().flat_map(|text| {
        let encoded = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
        std::iter::once(text.to_owned()).chain(encoded.into_iter().map(move |base64| base64.encode(text)))
    });
    texts.filter(|text| text.len() >= SEARCHED)
}

/// Whether a text is too short for anything to be found in it.
pub(super) fn is_short(text: &str) -> bool {
    text.len() < SEARCHED
}

/// A search for one secret in one text, from front to back.
#[derive(Default)]
pub(super) struct Search {
    /// Up to where the text was found to be the secret.
    until: usize,
    compared: usize,
}

/// What is at one place of a text.
pub(super) enum Found {
    Nothing,
    /// The secret, up to there.
    Until(usize),
    /// Looking on would take too long.
    TooSlow,
}

impl Search {
    /// Looks for `secret` in `text` at `start`.
    pub(super) fn at(&mut self, text: &str, start: usize, secret: &str) -> Found {
        if start < self.until {
            return Found::Nothing;
        }
        if self.compared > PATIENCE * text.len() {
            return Found::TooSlow;
        }
        let (mut place, mut characters) = (start, secret.chars());
        while let Some(read) = text[place..].chars().next().filter(|read| !ESCAPES.contains(read)) {
            let Some(character) = characters.clone().next() else { break };
            self.compared += 1;
            if read != character {
                return Found::Nothing;
            }
            (place, _) = (place + read.len_utf8(), characters.next());
        }
        // From here on something may be read in two ways, so there may be several places at which to read on.
        let (mut places, mut next) = (vec![place], Vec::new());
        for character in characters {
            for place in places.drain(..) {
                self.compared += 1;
                let read_on = readings(&text[place..]).filter(|(read, _)| *read == character);
                next.extend(read_on.map(|(_, bytes)| place + bytes));
            }
            if next.is_empty() {
                return Found::Nothing;
            }
            if self.compared > PATIENCE * text.len() {
                return Found::TooSlow;
            }
            next.sort_unstable();
            next.dedup();
            std::mem::swap(&mut places, &mut next);
        }
        self.until = places.into_iter().max().unwrap_or(start);
        Found::Until(self.until)
    }
}

/// The characters `text` may begin with, each with its length in bytes: the one that is there, and the one that is
/// written so where it is escaped.
pub(super) fn readings(text: &str) -> impl Iterator<Item = (char, usize)> {
    let plain = text.chars().next().map(|character| (character, character.len_utf8()));
    let escaped = match text.as_bytes().first() {
        Some(b'\\') => in_json(text),
        Some(b'%') => in_url(text),
        Some(b'+') => Some((' ', 1)),
        Some(b'&') => in_html(text),
        _ => None,
    };
    plain.into_iter().chain(escaped)
}

fn in_json(text: &str) -> Option<(char, usize)> {
    let character = match text.as_bytes().get(1)? {
        byte @ (b'"' | b'\\' | b'/' | b'\'') => char::from(*byte),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let unit = |at: usize| u16::try_from(hexadecimal(text.get(at..at + 4)?)?).ok();
            let first = unit(2)?;
            if let Some(character) = char::from_u32(u32::from(first)) {
                return Some((character, 6));
            }
            let pair = [first, text.get(6..8).filter(|escape| *escape == "\\u").and_then(|_| unit(8))?];
            let character = char::decode_utf16(pair).next()?.ok()?;
            return Some((character, 12));
        }
        _ => return None,
    };
    Some((character, 2))
}

fn in_url(text: &str) -> Option<(char, usize)> {
    let byte = |index: usize| {
        let escape = text.get(3 * index..3 * index + 3)?.strip_prefix('%')?;
        u8::try_from(hexadecimal(escape)?).ok()
    };
    let length = match byte(0)? {
        0x00..0x80 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    let bytes: Vec<u8> = (0..length).map_while(byte).collect();
    Some((std::str::from_utf8(&bytes).ok()?.chars().next()?, 3 * length))
}

fn in_html(text: &str) -> Option<(char, usize)> {
    let longest = "&#x10ffff;".len();
    let end = text.bytes().take(longest).position(|byte| byte == b';')?;
    let character = match text.get(1..end)? {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        other => {
            let number = other.strip_prefix('#')?;
            let number = match number.strip_prefix(['x', 'X']) {
                Some(digits) => hexadecimal(digits)?,
                None => number.parse().ok()?,
            };
            char::from_u32(number)?
        }
    };
    Some((character, end + 1))
}

fn hexadecimal(digits: &str) -> Option<u32> {
    // A sign is no digit.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}
