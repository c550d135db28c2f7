//! What an expression says.

use bellwether_sdk::series::Matcher;

use super::types::Function;

/// An expression whose types are right.
#[derive(Debug)]
pub(crate) enum Expr {
    Number(f64),
    Text(String),
    Paren(Box<Expr>),
    /// The negative of a scalar or vector.
    Negative(Box<Expr>),
    Vector(Selector),
    /// A range selector; its window is so many milliseconds long.
    Matrix(Selector, i64),
    Subquery(Box<Subquery>),
    Call(&'static Function, Vec<Expr>),
    Aggregate(Box<Aggregate>),
    Binary(Box<Binary>),
}

/// Which series, and when.
#[derive(Debug, Default)]
pub(crate) struct Selector {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) moved: Moved,
}

/// The instants something is looked at, where they are not those of the query.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) at: Option<At>,
    /// So many milliseconds to the past.
    pub(crate) offset: Option<i64>,
}

/// A fixed instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Of the query.
    Start,
    /// Of the query.
    End,
    /// In milliseconds.
    Time(i64),
}

#[derive(Debug)]
pub(crate) struct Subquery {
    pub(crate) inner: Expr,
    /// In milliseconds.
    pub(crate) length: i64,
    /// In milliseconds, where it is said.
    pub(crate) step: Option<i64>,
    pub(crate) moved: Moved,
}

#[derive(Debug)]
pub(crate) struct Aggregate {
    pub(crate) of: Aggregation,
    pub(crate) parameter: Option<Expr>,
    pub(crate) inner: Expr,
    /// By none, all are one group.
    pub(crate) grouping: Option<Grouping>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aggregation {
    Sum,
    Average,
    Minimum,
    Maximum,
    Count,
    Group,
    Deviation,
    Variance,
    Quantile,
    Top,
    Bottom,
    /// So many.
    Limit,
    /// Such a share.
    Ratio,
    CountValues,
}

/// Labels that count, or all but those that do not.
#[derive(Debug)]
pub(crate) enum Grouping {
    Only(Vec<String>),
    Without(Vec<String>),
}

#[derive(Debug)]
pub(crate) struct Binary {
    pub(crate) operator: Operator,
    /// Of a comparison: 1 or 0 instead of a filter.
    pub(crate) gives_bool: bool,
    pub(crate) matching: Option<Grouping>,
    /// The side that may have several lines for one of the other, and what labels they get from that.
    pub(crate) many: Option<(Side, Vec<String>)>,
    pub(crate) left: Expr,
    pub(crate) right: Expr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    And,
    Or,
    Unless,
}

impl Operator {
    pub(crate) fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Greater
                | Self::Less
                | Self::GreaterOrEqual
                | Self::LessOrEqual
        )
    }

    pub(crate) fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// How tightly it binds.
    pub(super) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Add | Self::Subtract => 4,
            Self::Multiply | Self::Divide | Self::Modulo | Self::Atan2 => 5,
            Self::Power => 6,
            _ => 3,
        }
    }
}
