//! Expressions read: a recursive descent, operators by how tightly they bind.
//!
//! The crate there is, `promql-parser`, cannot become part of a component: it brings imports that only a browser has
//! (chrono's and lrpar's clocks).

mod selectors;

use super::Error;
use super::ast::{Aggregate, Aggregation, Binary, Expr, Grouping, Operator, Side};
use super::tokens::{self, Placed, Token};
use super::types::{Type, check, function};
pub(super) use selectors::means_empty;

/// Bytes of one expression: far more than anybody writes, little enough to be read in a moment.
const BYTES: usize = 16 << 10;

/// Operators, functions and parentheses of one expression: each may be a level of the tree, and who walks it has a
/// stack of 512 KiB.
const LEVELS: usize = 64;

/// Reads an expression and checks its types.
///
/// # Errors
/// [`Error::Bad`] with what is wrong and where.
pub(crate) fn parse(text: &str) -> Result<Expr, Error> {
    if text.len() > BYTES {
        return Err(Error::Bad(format!("the expression has {} bytes, expected at most {BYTES}", text.len())));
    }
    let bad = |(message, place): Wrong| Error::Bad(format!("1:{place}: parse error: {message}"));
    let tokens = tokens::read(text).map_err(bad)?;
    let mut reader = Reader { tokens: &tokens, levels: 0 };
    if *reader.peek() == Token::End {
        return Err(Error::Bad("unknown position: parse error: no expression found in input".to_owned()));
    }
    let expression = reader.binary(1).map_err(bad)?;
    match reader.peek() {
        Token::End => Ok(expression),
        other => Err(bad((format!("unexpected {}", shown(other)), reader.place()))),
    }
}

/// Milliseconds of a duration as PromQL writes it.
pub(crate) fn duration(text: &str) -> Option<i64> {
    tokens::duration(text).ok().flatten()
}

/// What is wrong, and the character it is at.
type Wrong = (String, usize);

type Read<T> = Result<T, Wrong>;

fn shown(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("identifier {word:?}"),
        Token::Number(number) => format!("number {number}"),
        Token::Duration(milliseconds) => format!("duration of {milliseconds} ms"),
        Token::Text(text) => format!("string {text:?}"),
        Token::Symbol(symbol) => format!("{symbol:?}"),
        Token::End => "end of input".to_owned(),
    }
}

struct Reader<'a> {
    tokens: &'a [Placed],
    levels: usize,
}

impl Reader<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[0].0
    }

    fn peek_second(&self) -> &Token {
        &self.tokens[self.tokens.len().min(2) - 1].0
    }

    fn place(&self) -> usize {
        self.tokens[0].1
    }

    fn take(&mut self) -> Token {
        let token = self.tokens[0].0.clone();
        // The end stays.
        if self.tokens.len() > 1 {
            self.tokens = &self.tokens[1..];
        }
        token
    }

    fn wrong<T>(&self, message: impl Into<String>) -> Read<T> {
        Err((message.into(), self.place()))
    }

    fn unexpected<T>(&self, expected: &str) -> Read<T> {
        self.wrong(format!("unexpected {}, expected {expected}", shown(self.peek())))
    }

    /// Takes a symbol if it is the next.
    fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(next) if *next == symbol);
        if found {
            self.take();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Read<()> {
        if self.symbol(symbol) { Ok(()) } else { self.unexpected(&format!("{symbol:?}")) }
    }

    /// Takes a keyword if it is the next, in whatever case.
    fn keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        if found {
            self.take();
        }
        found
    }

    /// One level deeper.
    fn descend(&mut self) -> Read<()> {
        self.levels += 1;
        if self.levels > LEVELS {
            return self
                .wrong(format!("more than {LEVELS} operators, functions and parentheses in one expression"));
        }
        Ok(())
    }

    fn operator(&self) -> Option<Operator> {
        Some(match self.peek() {
            Token::Symbol(symbol) => match *symbol {
                "+" => Operator::Add,
                "-" => Operator::Subtract,
                "*" => Operator::Multiply,
                "/" => Operator::Divide,
                "%" => Operator::Modulo,
                "^" => Operator::Power,
                "==" => Operator::Equal,
                "!=" => Operator::NotEqual,
                ">" => Operator::Greater,
                "<" => Operator::Less,
                ">=" => Operator::GreaterOrEqual,
                "<=" => Operator::LessOrEqual,
                _ => return None,
            },
            Token::Word(word) => match word.to_ascii_lowercase().as_str() {
                "and" => Operator::And,
                "or" => Operator::Or,
                "unless" => Operator::Unless,
                "atan2" => Operator::Atan2,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Operands between operators that bind at least so tightly.
    fn binary(&mut self, least: u8) -> Read<Expr> {
        let mut left = self.unary()?;
        while let Some(operator) = self.operator().filter(|operator| operator.precedence() >= least) {
            self.descend()?;
            let place = self.place();
            self.take();
            let gives_bool = self.keyword("bool");
            let matching = self.grouping("on", "ignoring")?;
            let many = if self.keyword("group_left") {
                Some((Side::Left, self.included()?))
            } else if self.keyword("group_right") {
                Some((Side::Right, self.included()?))
            } else {
                None
            };
            for fill in ["fill", "fill_left", "fill_right"] {
                if matches!(self.peek(), Token::Word(word) if word == fill)
                    && *self.peek_second() == Token::Symbol("(")
                {
                    return self.wrong(format!("the modifier {fill} is not served here"));
                }
            }
            // Of equals the left one binds first, but of powers the right one.
            let precedence = operator.precedence();
            let right = self.binary(if operator == Operator::Power { precedence } else { precedence + 1 })?;
            let binary = Binary { operator, gives_bool, matching, many, left, right };
            check_binary(&binary).map_err(|message| (message, place))?;
            left = Expr::Binary(Box::new(binary));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Read<Expr> {
        let place = self.place();
        let negative = self.symbol("-");
        if !negative && !self.symbol("+") {
            return self.moved();
        }
        self.descend()?;
        // Tighter than a product, looser than a power.
        let inner = self.binary(Operator::Power.precedence())?;
        match inner.kind() {
            Type::Scalar | Type::Vector if negative => Ok(Expr::Negative(Box::new(inner))),
            Type::Scalar | Type::Vector => Ok(inner),
            other => Err((
                format!(
                    "unary expression only allowed on expressions of type scalar or instant vector, got {other}"
                ),
                place,
            )),
        }
    }

    fn operand(&mut self) -> Read<Expr> {
        match self.peek() {
            Token::Number(_) | Token::Duration(_) | Token::Text(_) => Ok(match self.take() {
                Token::Number(number) => Expr::Number(number),
                Token::Duration(milliseconds) => Expr::Number(milliseconds as f64 / 1000.0),
                Token::Text(text) => Expr::Text(text),
                _ => return self.unexpected("a number or string"),
            }),
            Token::Symbol("(") => {
                self.descend()?;
                self.take();
                let inner = self.binary(1)?;
                self.expect(")")?;
                Ok(Expr::Paren(Box::new(inner)))
            }
            Token::Symbol("{") => self.selector(None),
            Token::Word(word) => {
                let (word, opens) = (word.clone(), *self.peek_second() == Token::Symbol("("));
                let lower = word.to_ascii_lowercase();
                let grouped = matches!(
                    self.peek_second(),
                    Token::Word(next) if matches!(next.to_ascii_lowercase().as_str(), "by" | "without")
                );
                match aggregation(&lower) {
                    Some(of) if opens || grouped => self.aggregate(of, &lower),
                    _ if opens => self.call(&word),
                    _ if lower == "inf" || lower == "nan" => {
                        self.take();
                        Ok(Expr::Number(if lower == "inf" { f64::INFINITY } else { f64::NAN }))
                    }
                    _ => {
                        self.take();
                        self.selector(Some(word))
                    }
                }
            }
            _ => self.unexpected("an expression"),
        }
    }

    fn aggregate(&mut self, of: Aggregation, name: &str) -> Read<Expr> {
        self.descend()?;
        let place = self.place();
        self.take();
        let before = self.grouping("by", "without")?;
        let mut arguments = self.arguments()?;
        let grouping = if before.is_some() { before } else { self.grouping("by", "without")? };
        let takes = match of {
            Aggregation::Quantile
            | Aggregation::Top
            | Aggregation::Bottom
            | Aggregation::Limit
            | Aggregation::Ratio => Some(Type::Scalar),
            Aggregation::CountValues => Some(Type::Text),
            _ => None,
        };
        let wanted = 1 + usize::from(takes.is_some());
        if arguments.len() != wanted {
            let given = arguments.len();
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {given}"
            );
            return Err((message, place));
        }
        for (argument, wanted) in arguments.iter().rev().zip([Some(Type::Vector), takes]) {
            let kind = argument.kind();
            if wanted.is_some_and(|wanted| wanted != kind) {
                let wanted = wanted.unwrap_or(kind);
                return Err((
                    format!("expected type {wanted} in aggregation expression {name}, got {kind}"),
                    place,
                ));
            }
        }
        let Some(inner) = arguments.pop() else { return self.unexpected("an argument") };
        Ok(Expr::Aggregate(Box::new(Aggregate { of, parameter: arguments.pop(), inner, grouping })))
    }

    /// Labels behind one of two keywords, if one of them is the next.
    fn grouping(&mut self, only: &str, without: &str) -> Read<Option<Grouping>> {
        Ok(if self.keyword(only) {
            Some(Grouping::Only(self.labels()?))
        } else if self.keyword(without) {
            Some(Grouping::Without(self.labels()?))
        } else {
            None
        })
    }

    fn call(&mut self, name: &str) -> Read<Expr> {
        self.descend()?;
        let place = self.place();
        let function = function(name).map_err(|message| (message, place))?;
        self.take();
        let arguments = self.arguments()?;
        check(function, &arguments).map_err(|message| (message, place))?;
        Ok(Expr::Call(function, arguments))
    }

    /// Arguments within parentheses.
    fn arguments(&mut self) -> Read<Vec<Expr>> {
        self.expect("(")?;
        let mut arguments = Vec::new();
        if self.symbol(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.binary(1)?);
            if self.symbol(")") {
                return Ok(arguments);
            }
            self.expect(",")?;
        }
    }

    /// Labels' names within parentheses.
    fn labels(&mut self) -> Read<Vec<String>> {
        self.expect("(")?;
        let mut labels = Vec::new();
        while !self.symbol(")") {
            labels.push(match self.peek() {
                Token::Word(word) if !word.contains(':') => word.clone(),
                Token::Text(text) => text.clone(),
                _ => return self.unexpected("a label"),
            });
            self.take();
            if !self.symbol(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(labels)
    }

    /// Labels' names behind `group_left` and `group_right`, which may be left out.
    fn included(&mut self) -> Read<Vec<String>> {
        if *self.peek() == Token::Symbol("(") { self.labels() } else { Ok(Vec::new()) }
    }
}

fn aggregation(word: &str) -> Option<Aggregation> {
    Some(match word {
        "sum" => Aggregation::Sum,
        "avg" => Aggregation::Average,
        "min" => Aggregation::Minimum,
        "max" => Aggregation::Maximum,
        "count" => Aggregation::Count,
        "group" => Aggregation::Group,
        "stddev" => Aggregation::Deviation,
        "stdvar" => Aggregation::Variance,
        "quantile" => Aggregation::Quantile,
        "topk" => Aggregation::Top,
        "bottomk" => Aggregation::Bottom,
        "limitk" => Aggregation::Limit,
        "limit_ratio" => Aggregation::Ratio,
        "count_values" => Aggregation::CountValues,
        _ => return None,
    })
}

fn check_binary(binary: &Binary) -> Result<(), String> {
    let Binary { operator, gives_bool, matching, many, left, right } = binary;
    let kinds = [left.kind(), right.kind()];
    if kinds.iter().any(|kind| matches!(kind, Type::Matrix | Type::Text)) {
        return Err("binary expression must contain only scalar and instant vector types".to_owned());
    }
    if *gives_bool && !operator.is_comparison() {
        return Err("bool modifier can only be used on comparison operators".to_owned());
    }
    if operator.is_comparison() && !gives_bool && kinds == [Type::Scalar; 2] {
        return Err("comparisons between scalars must use BOOL modifier".to_owned());
    }
    if operator.is_set() && kinds.contains(&Type::Scalar) {
        return Err("set operators are not allowed in binary scalar expressions".to_owned());
    }
    if operator.is_set() && many.is_some() {
        return Err("no grouping allowed for set operations".to_owned());
    }
    if (matching.is_some() || many.is_some()) && kinds != [Type::Vector; 2] {
        return Err("vector matching only allowed between instant vectors".to_owned());
    }
    let Some((_, included)) = many else { return Ok(()) };
    match matching {
        None => Err("unexpected <group_left> or <group_right> without on or ignoring".to_owned()),
        Some(Grouping::Only(labels)) => match labels.iter().find(|label| included.contains(label)) {
            Some(label) => Err(format!("label {label:?} must not occur in ON and GROUP clause at once")),
            None => Ok(()),
        },
        Some(Grouping::Without(_)) => Ok(()),
    }
}
