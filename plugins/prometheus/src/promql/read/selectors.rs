//! Selectors, and what stands behind an operand: a range, `offset`, `@`.

use bellwether_sdk::series::{Comparison, Matcher};
use regex_lite::Regex;

use super::{Read, Reader};
use crate::promql::ast::{At, Expr, Moved, Selector, Subquery};
use crate::promql::key_of;
use crate::promql::tokens::{LONGEST, Token};
use crate::promql::types::Type;

impl Reader<'_> {
    /// An operand, and what stands behind it: a range, `offset`, `@`.
    pub(super) fn moved(&mut self) -> Read<Expr> {
        let mut expression = self.operand()?;
        loop {
            let place = self.place();
            if self.symbol("[") {
                expression = self.range(expression, place)?;
            } else if self.keyword("offset") {
                let negative = self.symbol("-");
                if !negative {
                    self.symbol("+");
                }
                let offset = self.duration()?;
                let offset = if negative { -offset } else { offset };
                let moved = moved_of(&mut expression, "offset").map_err(|message| (message, place))?;
                if moved.offset.replace(offset).is_some() {
                    return Err(("offset may not be set multiple times".to_owned(), place));
                }
            } else if self.symbol("@") {
                let at = self.at()?;
                let moved = moved_of(&mut expression, "@").map_err(|message| (message, place))?;
                if moved.at.replace(at).is_some() {
                    return Err(("@ <timestamp> may not be set multiple times".to_owned(), place));
                }
            } else {
                return Ok(expression);
            }
        }
    }

    fn at(&mut self) -> Read<At> {
        for (word, at) in [("start", At::Start), ("end", At::End)] {
            if self.keyword(word) {
                self.expect("(")?;
                self.expect(")")?;
                return Ok(at);
            }
        }
        let negative = self.symbol("-");
        if !negative {
            self.symbol("+");
        }
        let Token::Number(seconds) = *self.peek() else { return self.unexpected("a timestamp in seconds") };
        let milliseconds = seconds * 1000.0;
        if milliseconds.is_nan() || milliseconds.abs() > 1e15 {
            return self.wrong(format!("timestamp out of bounds for @ modifier: {seconds}"));
        }
        self.take();
        let time = milliseconds.round() as i64;
        Ok(At::Time(if negative { -time } else { time }))
    }

    /// Milliseconds: of a duration, or of a number of seconds.
    fn duration(&mut self) -> Read<i64> {
        let milliseconds = match *self.peek() {
            Token::Duration(milliseconds) => milliseconds,
            Token::Number(seconds) if (0.0..=LONGEST as f64 / 1000.0).contains(&seconds) => {
                (seconds * 1000.0).round() as i64
            }
            Token::Number(seconds) => return self.wrong(format!("duration out of range: {seconds}")),
            _ => return self.unexpected("a duration"),
        };
        self.take();
        Ok(milliseconds)
    }

    /// What stands between brackets.
    fn range(&mut self, inner: Expr, place: usize) -> Read<Expr> {
        let length = self.duration()?;
        if length == 0 {
            return self.wrong("duration must be greater than 0");
        }
        if self.symbol(":") {
            let step = if self.symbol("]") {
                None
            } else {
                let step = self.duration()?;
                if step == 0 {
                    return self.wrong("duration must be greater than 0");
                }
                self.expect("]")?;
                Some(step)
            };
            return match inner.kind() {
                Type::Vector => {
                    let moved = Moved::default();
                    Ok(Expr::Subquery(Box::new(Subquery { inner, length, step, moved })))
                }
                other => {
                    Err((format!("subquery is only allowed on instant vector, got {other} instead"), place))
                }
            };
        }
        self.expect("]")?;
        match inner {
            Expr::Vector(selector) if selector.moved.offset.is_some() || selector.moved.at.is_some() => {
                Err(("no offset and no @ modifiers allowed before range".to_owned(), place))
            }
            Expr::Vector(selector) => Ok(Expr::Matrix(selector, length)),
            _ => Err(("ranges only allowed for vector selectors".to_owned(), place)),
        }
    }

    /// A selector whose name, if it has one, was read.
    pub(super) fn selector(&mut self, name: Option<String>) -> Read<Expr> {
        let place = self.place();
        let named = name.is_some();
        let mut matchers: Vec<Matcher> =
            name.map(|name| Matcher::metric(Comparison::Equal, name)).into_iter().collect();
        if self.symbol("{") {
            while !self.symbol("}") {
                matchers.push(self.matcher()?);
                if matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case("or")) {
                    return self.wrong("`or` between matchers is not served here; use a regular expression");
                }
                if !self.symbol(",") {
                    self.expect("}")?;
                    break;
                }
            }
        }
        let exact = |matcher: &&Matcher| matcher.key.is_none() && matcher.comparison == Comparison::Equal;
        if named && matchers.iter().filter(|matcher| matcher.key.is_none()).count() > 1
            || matchers.iter().filter(exact).count() > 1
        {
            return Err(("metric name must not be set twice".to_owned(), place));
        }
        if matchers.iter().all(means_empty) {
            return Err(("vector selector must contain at least one non-empty matcher".to_owned(), place));
        }
        Ok(Expr::Vector(Selector { matchers, moved: Moved::default() }))
    }

    fn matcher(&mut self) -> Read<Matcher> {
        let label = match self.peek() {
            Token::Word(word) if !word.contains(':') => word.clone(),
            Token::Text(text) => text.clone(),
            _ => return self.unexpected("a label or \"}\""),
        };
        let quoted = matches!(self.take(), Token::Text(_));
        let comparison = match self.peek() {
            Token::Symbol("=") => Comparison::Equal,
            Token::Symbol("!=") => Comparison::NotEqual,
            Token::Symbol("=~") => Comparison::Matches,
            Token::Symbol("!~") => Comparison::NotMatches,
            // A text alone is the metric's name.
            Token::Symbol("," | "}") if quoted => return Ok(Matcher::metric(Comparison::Equal, label)),
            _ => return self.unexpected("one of =, !=, =~, !~"),
        };
        self.take();
        let Token::Text(value) = self.peek() else { return self.unexpected("a string") };
        let value = value.clone();
        self.take();
        Ok(Matcher { key: key_of(&label).map(str::to_owned), comparison, value })
    }
}

/// What may be moved of an expression.
fn moved_of<'a>(expression: &'a mut Expr, modifier: &str) -> Result<&'a mut Moved, String> {
    match expression {
        Expr::Vector(selector) | Expr::Matrix(selector, _) => Ok(&mut selector.moved),
        Expr::Subquery(subquery) => Ok(&mut subquery.moved),
        _ => Err(format!(
            "{modifier} modifier must be preceded by an instant vector selector or range vector selector or a subquery"
        )),
    }
}

/// Whether a label that is not there would match. What does not read as an expression is the host's to refuse.
pub(in crate::promql) fn means_empty(matcher: &Matcher) -> bool {
    let matches = || Regex::new(&format!("^(?:{})$", matcher.value)).ok().map(|regex| regex.is_match(""));
    match matcher.comparison {
        Comparison::Equal => matcher.value.is_empty(),
        Comparison::NotEqual => !matcher.value.is_empty(),
        Comparison::Matches => matches() == Some(true),
        Comparison::NotMatches => matches() == Some(false),
    }
}
