//! The words of an expression.

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or keyword; may have colons.
    Word(String),
    Number(f64),
    /// In milliseconds.
    Duration(i64),
    Text(String),
    Symbol(&'static str),
    End,
}

/// A word, and the character it begins at, counted from 1.
pub(super) type Placed = (Token, usize);

/// Longer first.
const SYMBOLS: [&str; 23] = [
    "!=", "!~", "=~", "==", "<=", ">=", "(", ")", "{", "}", "[", "]", ",", "=", "<", ">", "+", "-", "*", "/",
    "%", "^", "@",
];

/// Units with their milliseconds, in the order they may follow each other.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Milliseconds of the longest duration: some 300 years.
pub(super) const LONGEST: i64 = 10_000_000_000_000;

/// The words of a text, [`Token::End`] the last of them.
///
/// # Errors
/// What does not read, and the character it begins at.
pub(super) fn read(text: &str) -> Result<Vec<Placed>, (String, usize)> {
    let (mut tokens, mut rest, mut brackets) = (Vec::new(), text, 0_usize);
    loop {
        rest = rest.trim_start();
        let place = text[..text.len() - rest.len()].chars().count() + 1;
        let Some(first) = rest.chars().next() else {
            tokens.push((Token::End, place));
            return Ok(tokens);
        };
        let (token, behind) = match first {
            '#' => {
                rest = rest.find('\n').map_or("", |end| &rest[end..]);
                continue;
            }
            // Between the brackets of a subquery it separates.
            ':' if brackets > 0 => (Token::Symbol(":"), &rest[1..]),
            'a'..='z' | 'A'..='Z' | '_' | ':' => {
                let end =
                    rest.find(|other: char| !(other.is_ascii_alphanumeric() || matches!(other, '_' | ':')));
                let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
                (Token::Word(word.to_owned()), behind)
            }
            '"' | '\'' | '`' => quoted(rest, first).map_err(|error| (error, place))?,
            '0'..='9' => number(rest).map_err(|error| (error, place))?,
            '.' if rest[1..].starts_with(|next: char| next.is_ascii_digit()) => {
                number(rest).map_err(|error| (error, place))?
            }
            _ => {
                let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
                let symbol = symbol.ok_or_else(|| (format!("unexpected character {first:?}"), place))?;
                match *symbol {
                    "[" => brackets += 1,
                    "]" => brackets = brackets.saturating_sub(1),
                    _ => {}
                }
                (Token::Symbol(symbol), &rest[symbol.len()..])
            }
        };
        tokens.push((token, place));
        rest = behind;
    }
}

fn is_digit(character: char) -> bool {
    character.is_ascii_hexdigit()
}

/// A number, or a duration, which are digits with units.
fn number(text: &str) -> Result<(Token, &str), String> {
    let end = text.find(|other: char| !(other.is_ascii_alphanumeric() || matches!(other, '.' | '_')));
    let end = end.unwrap_or(text.len());
    let mut length = end;
    // The sign of an exponent belongs to it.
    if text[..end].ends_with(['e', 'E']) && !text.starts_with("0x") && text[end..].starts_with(['+', '-']) {
        let digits = &text[end + 1..];
        length = end + 1 + digits.find(|other: char| !other.is_ascii_digit()).unwrap_or(digits.len());
    }
    let (word, rest) = text.split_at(length);
    if let Some(duration) = duration(word)? {
        return Ok((Token::Duration(duration), rest));
    }
    // Between digits there may be one `_` at a time.
    let is_apart = |part: &str| part.starts_with(is_digit) && part.ends_with(is_digit);
    let digits = if word.split('_').skip(1).all(is_apart) && !word.contains("._") {
        word.replace('_', "")
    } else {
        String::new()
    };
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let value = match hexadecimal {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|number| number as f64),
        None => digits.parse().ok(),
    };
    value
        .map(|value| (Token::Number(value), rest))
        .ok_or_else(|| format!("bad number or duration syntax: {word:?}"))
}

/// Milliseconds of a duration as PromQL writes it, such as `1h30m`; none for what is no such thing.
///
/// # Errors
/// If it is one and too long, or its units are not in order.
pub(super) fn duration(text: &str) -> Result<Option<i64>, String> {
    let (mut rest, mut total, mut before) = (text, 0_i64, None);
    while !rest.is_empty() {
        let Some(end) = rest.find(|other: char| !other.is_ascii_digit()) else { return Ok(None) };
        let (digits, behind) = rest.split_at(end);
        let end = behind.find(|other: char| !other.is_ascii_lowercase()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let Some(at) = UNITS.iter().position(|(name, _)| *name == unit) else { return Ok(None) };
        if digits.is_empty() {
            return Ok(None);
        }
        if before.replace(at).is_some_and(|before| before >= at) {
            return Err(format!("not a valid duration string: {text:?}"));
        }
        let part = digits.parse::<i64>().ok().and_then(|count| count.checked_mul(UNITS[at].1));
        let sum = part.and_then(|part| total.checked_add(part)).filter(|sum| *sum <= LONGEST);
        total = sum.ok_or_else(|| format!("duration out of range: {text:?}"))?;
        rest = behind;
    }
    Ok((!text.is_empty()).then_some(total))
}

/// A text in quotes, as Go reads it.
fn quoted(text: &str, quote: char) -> Result<(Token, &str), String> {
    let mut made = String::new();
    let mut rest = text[1..].chars();
    loop {
        match rest.next() {
            None => return Err("unterminated quoted string".to_owned()),
            Some(end) if end == quote => return Ok((Token::Text(made), rest.as_str())),
            Some('\n') if quote != '`' => return Err("unterminated quoted string".to_owned()),
            Some('\\') if quote != '`' => made.push(escaped(&mut rest, quote)?),
            Some(other) => made.push(other),
        }
    }
}

/// What stands behind a backslash.
fn escaped(rest: &mut std::str::Chars<'_>, quote: char) -> Result<char, String> {
    let wrong = || "unknown escape sequence in a quoted string".to_owned();
    let code = |rest: &mut std::str::Chars<'_>, length: usize, first: &str, radix: u32| {
        let digits: String = first.chars().chain(rest.by_ref().take(length)).collect();
        u32::from_str_radix(&digits, radix).ok().and_then(char::from_u32).ok_or_else(wrong)
    };
    match rest.next().ok_or_else(wrong)? {
        'a' => Ok('\u{7}'),
        'b' => Ok('\u{8}'),
        'f' => Ok('\u{c}'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'v' => Ok('\u{b}'),
        '\\' => Ok('\\'),
        'x' => code(rest, 2, "", 16),
        'u' => code(rest, 4, "", 16),
        'U' => code(rest, 8, "", 16),
        first @ '0'..='7' => code(rest, 2, &first.to_string(), 8),
        other if other == quote => Ok(quote),
        _ => Err(wrong()),
    }
}
