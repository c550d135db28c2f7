//! Datadog's log search syntax, as in `service:web status:error "timed out" -env:dev @http.status_code:[400 TO 499]`.

use winnow::Parser as _;
use winnow::ascii::multispace0;
use winnow::error::{ErrMode, ParserError};
use winnow::token::any;

use super::glob::{Glob, Piece, Text};
use super::{Condition, Field, Number, Pattern, Query};
use crate::RecordError;

/// Parentheses and negations within each other.
const DEPTH: usize = 64;

/// Bytes of one query.
const LENGTH: usize = 16 * 1024;

/// What would be right where the parser stands.
#[derive(Debug)]
struct Wrong(String);

impl<'i> ParserError<&'i str> for Wrong {
    type Inner = Self;

    fn from_input(_: &&'i str) -> Self {
        Self("expected a search".to_owned())
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

type Parsed<T> = Result<T, ErrMode<Wrong>>;

/// Reads a search; nothing, and `*`, is for every record.
///
/// # Errors
/// [`RecordError::Syntax`] with the line and column where it does not read, and what would be right there.
pub fn parse(text: &str) -> Result<Query, RecordError> {
    if text.len() > LENGTH {
        return Err(syntax(text, 0, format!("at most {LENGTH} bytes are read, this has {}", text.len())));
    }
    let mut input = text;
    whole(&mut input).map_err(|error| {
        let message = match error {
            ErrMode::Backtrack(Wrong(message)) | ErrMode::Cut(Wrong(message)) => message,
            ErrMode::Incomplete(_) => "expected more".to_owned(),
        };
        let found: String = input.chars().take_while(|next| !next.is_whitespace()).take(20).collect();
        let found = if found.is_empty() { "the end".to_owned() } else { format!("{found:?}") };
        syntax(text, text.len() - input.len(), format!("{message}, found {found}"))
    })
}

fn syntax(text: &str, offset: usize, message: String) -> RecordError {
    let before = &text[..offset];
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    RecordError::Syntax { line: before.matches('\n').count() + 1, column, message }
}

fn expected<T>(what: impl Into<String>) -> Parsed<T> {
    Err(ErrMode::Cut(Wrong(format!("expected {}", what.into()))))
}

fn whole(input: &mut &str) -> Parsed<Query> {
    space(input)?;
    if input.is_empty() {
        return Ok(Query::All);
    }
    let query = any_of(input, None, DEPTH)?;
    space(input)?;
    if input.is_empty() { Ok(query) } else { expected("a term, AND, OR or the end") }
}

fn space(input: &mut &str) -> Parsed<()> {
    multispace0.void().parse_next(input)
}

/// Takes a character if it is next.
fn is_sign(input: &mut &str, character: char) -> bool {
    match input.strip_prefix(character) {
        Some(rest) => {
            *input = rest;
            true
        }
        None => false,
    }
}

/// Takes a word in capitals with a space, a parenthesis, a quote or the end behind it; spaces before it skipped.
fn is_keyword(input: &mut &str, keyword: &str) -> Parsed<bool> {
    space(input)?;
    let Some(rest) = input.strip_prefix(keyword) else { return Ok(false) };
    let ends = rest.chars().next().is_none_or(|next| next.is_whitespace() || matches!(next, '(' | ')' | '"'));
    if ends {
        *input = rest;
    }
    Ok(ends)
}

/// Parts that OR joins. Within parentheses behind a `field:` they are values of that field.
fn any_of(input: &mut &str, field: Option<&Field>, depth: usize) -> Parsed<Query> {
    if depth == 0 {
        return expected(format!("at most {DEPTH} parentheses and negations within each other"));
    }
    let mut parts = vec![all_of(input, field, depth)?];
    while is_keyword(input, "OR")? {
        parts.push(all_of(input, field, depth)?);
    }
    Ok(if parts.len() == 1 { parts.remove(0) } else { Query::Or(parts) })
}

/// Parts that AND, or nothing, joins.
fn all_of(input: &mut &str, field: Option<&Field>, depth: usize) -> Parsed<Query> {
    let mut parts = vec![one(input, field, depth)?];
    loop {
        if is_keyword(input, "AND")? {
            parts.push(one(input, field, depth)?);
            continue;
        }
        let before = *input;
        let ends = input.is_empty() || input.starts_with(')') || is_keyword(input, "OR")?;
        *input = before;
        if ends {
            break;
        }
        parts.push(one(input, field, depth)?);
    }
    parts.retain(|part| *part != Query::All);
    Ok(match parts.len() {
        0 => Query::All,
        1 => parts.remove(0),
        _ => Query::And(parts),
    })
}

fn one(input: &mut &str, field: Option<&Field>, depth: usize) -> Parsed<Query> {
    if depth == 0 {
        return expected(format!("at most {DEPTH} parentheses and negations within each other"));
    }
    space(input)?;
    let start = *input;
    if is_keyword(input, "AND")? || is_keyword(input, "OR")? {
        *input = start;
        return expected("a term (what AND and OR join; in quotes they are words)");
    }
    if is_keyword(input, "NOT")? || is_sign(input, '-') {
        return Ok(Query::Not(Box::new(one(input, field, depth - 1)?)));
    }
    if is_sign(input, '(') {
        return group(input, field, depth - 1);
    }
    match field {
        Some(field) => value(input, field),
        None => term(input, depth),
    }
}

/// What is in parentheses, the first of which is taken.
fn group(input: &mut &str, field: Option<&Field>, depth: usize) -> Parsed<Query> {
    let query = any_of(input, field, depth)?;
    space(input)?;
    if is_sign(input, ')') { Ok(query) } else { expected("`)`") }
}

/// A word, a phrase, or a field and its value.
fn term(input: &mut &str, depth: usize) -> Parsed<Query> {
    if input.starts_with('"') {
        return value(input, &Field::Text);
    }
    let start = *input;
    let attribute = is_sign(input, '@');
    let pieces = pieces(input, |next| next == ':')?;
    if !is_sign(input, ':') {
        *input = if pieces.is_empty() || attribute { start } else { *input };
        if pieces.is_empty() {
            return expected("a word, \"some words\", field:value or @attribute:value");
        }
        if attribute {
            return expected("a value behind the attribute, as in @http.status_code:500");
        }
        return Ok(text(Field::Text, Glob::of(&pieces)));
    }
    let key = match (Glob::of(&pieces), attribute) {
        (Glob::Plain(key), _) if !key.is_empty() => key,
        (glob, false) if glob.is_anything() => "*".to_owned(),
        _ => {
            *input = start;
            return expected("a field without wildcards before the colon");
        }
    };
    let field = if attribute { Field::Attribute(key) } else { field(key) };
    if is_sign(input, '(') {
        return group(input, Some(&field), depth - 1);
    }
    value(input, &field)
}

fn field(key: String) -> Field {
    match key.as_str() {
        "message" | "content" | "text" => Field::Text,
        "*" => Field::Anything,
        "title" => Field::Title,
        "status" | "alert_type" => Field::Status,
        "priority" => Field::Priority,
        "service" => Field::Service,
        "source" | "sources" => Field::Source,
        "host" => Field::Host,
        "aggregation_key" => Field::AggregationKey,
        "id" => Field::Id,
        "tags" => Field::Tags,
        _ => Field::Tag(key),
    }
}

/// A condition on the words of a text.
fn text(field: Field, glob: Glob) -> Query {
    if glob.is_anything() {
        return Query::All;
    }
    Query::One(Condition { field, pattern: Pattern::Text(Text::of(glob)) })
}

/// What stands behind a field's colon.
fn value(input: &mut &str, field: &Field) -> Parsed<Query> {
    let one = |pattern| Query::One(Condition { field: field.clone(), pattern });
    let reads = matches!(field, Field::Text | Field::Anything | Field::Title);
    if !reads {
        if let Some(included) = bracket(input, '[', '{') {
            return Ok(one(range(input, included)?));
        }
        for (sign, least, included) in
            [(">=", true, true), ("<=", false, true), (">", true, false), ("<", false, false)]
        {
            if let Some(rest) = input.strip_prefix(sign) {
                *input = rest;
                let bound = Some((number(input)?, included));
                let (least, most) = if least { (bound, None) } else { (None, bound) };
                return Ok(one(Pattern::Within { least, most }));
            }
        }
    }
    let glob = if input.starts_with('"') {
        Glob::Plain(quoted(input)?)
    } else {
        let pieces = pieces(input, |_| false)?;
        if pieces.is_empty() {
            return expected("a value");
        }
        Glob::of(&pieces)
    };
    Ok(match field {
        field if reads => text(field.clone(), glob),
        Field::Status => one(Pattern::Is(glob.lower())),
        _ => one(Pattern::Is(glob)),
    })
}

/// Takes one of two brackets; whether it is the first, which includes its bound.
fn bracket(input: &mut &str, with: char, without: char) -> Option<bool> {
    if is_sign(input, with) { Some(true) } else { is_sign(input, without).then_some(false) }
}

/// `400 TO 499]`, behind its first bracket; `*` is no bound.
fn range(input: &mut &str, included: bool) -> Parsed<Pattern> {
    space(input)?;
    let least = bound(input)?.map(|bound| (bound, included));
    if !is_keyword(input, "TO")? {
        return expected("TO, as in [400 TO 499]");
    }
    space(input)?;
    let most = bound(input)?;
    space(input)?;
    match bracket(input, ']', '}') {
        Some(included) => Ok(Pattern::Within { least, most: most.map(|bound| (bound, included)) }),
        None => expected("`]` or `}`"),
    }
}

fn bound(input: &mut &str) -> Parsed<Option<Number>> {
    if is_sign(input, '*') { Ok(None) } else { number(input).map(Some) }
}

fn number(input: &mut &str) -> Parsed<Number> {
    space(input)?;
    let length = input
        .find(|next: char| !(next.is_ascii_alphanumeric() || matches!(next, '.' | '+' | '-')))
        .unwrap_or(input.len());
    let Some(number) = Number::read(&input[..length]) else { return expected("a number") };
    *input = &input[length..];
    Ok(number)
}

/// A word with wildcards, up to a space, a parenthesis, a quote or what `ends` says; a backslash takes what follows it
/// as it is.
fn pieces(input: &mut &str, ends: impl Fn(char) -> bool) -> Parsed<Vec<Piece>> {
    let mut pieces = Vec::new();
    while let Some(next) = input.chars().next() {
        if next.is_whitespace() || matches!(next, '(' | ')' | '"') || ends(next) {
            break;
        }
        any.void().parse_next(input)?;
        pieces.push(match next {
            '*' if pieces.last() == Some(&Piece::Many) => continue,
            '*' => Piece::Many,
            '?' => Piece::One,
            '\\' => match input.chars().next() {
                Some(escaped) => {
                    any.void().parse_next(input)?;
                    Piece::Character(escaped)
                }
                None => return expected("a character behind the backslash"),
            },
            other => Piece::Character(other),
        });
    }
    if Glob::is_too_long(&pieces) {
        let most = Glob::MARKED;
        return expected(format!(
            "at most {most} characters between two `*` where there is a `?` among them"
        ));
    }
    Ok(pieces)
}

/// What is between two quotes; a quote in it is `\"`.
fn quoted(input: &mut &str) -> Parsed<String> {
    let start = *input;
    is_sign(input, '"');
    let mut text = String::new();
    loop {
        let Some(next) = input.chars().next() else {
            *input = start;
            return expected("a second `\"` behind the first");
        };
        any.void().parse_next(input)?;
        match next {
            '"' => return Ok(text),
            '\\' => match input.chars().next() {
                Some(escaped @ ('"' | '\\')) => {
                    any.void().parse_next(input)?;
                    text.push(escaped);
                }
                _ => text.push('\\'),
            },
            other => text.push(other),
        }
    }
}
