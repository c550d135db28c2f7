//! The types of expressions, and of functions' arguments.

use std::fmt;

use super::ast::Expr;

/// What an expression comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Scalar,
    Vector,
    Matrix,
    Text,
}

/// In Prometheus' words.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::Text => "string",
        })
    }
}

impl Expr {
    pub(crate) fn kind(&self) -> Type {
        match self {
            Self::Number(_) => Type::Scalar,
            Self::Text(_) => Type::Text,
            Self::Paren(inner) | Self::Negative(inner) => inner.kind(),
            Self::Vector(_) | Self::Aggregate(_) => Type::Vector,
            Self::Matrix(..) | Self::Subquery(_) => Type::Matrix,
            Self::Call(function, _) => function.gives,
            Self::Binary(binary) => match (binary.left.kind(), binary.right.kind()) {
                (Type::Scalar, Type::Scalar) => Type::Scalar,
                _ => Type::Vector,
            },
        }
    }
}

/// A function that is served.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) takes: &'static [Type],
    /// How many of those must be there.
    pub(crate) least: usize,
    /// Whether the last may come any number of times.
    pub(crate) repeats: bool,
    pub(crate) gives: Type,
}

const fn takes(name: &'static str, takes: &'static [Type]) -> Function {
    Function { name, takes, least: takes.len(), repeats: false, gives: Type::Vector }
}

const fn optional(name: &'static str, all: &'static [Type], least: usize) -> Function {
    Function { least, ..takes(name, all) }
}

const fn scalar(name: &'static str, all: &'static [Type]) -> Function {
    Function { gives: Type::Scalar, ..takes(name, all) }
}

const V: &[Type] = &[Type::Vector];
const M: &[Type] = &[Type::Matrix];

/// Those that are served, in order of their names.
static FUNCTIONS: &[Function] = &[
    takes("abs", V),
    takes("absent", V),
    takes("absent_over_time", M),
    takes("acos", V),
    takes("acosh", V),
    takes("asin", V),
    takes("asinh", V),
    takes("atan", V),
    takes("atanh", V),
    takes("avg_over_time", M),
    takes("ceil", V),
    takes("changes", M),
    takes("clamp", &[Type::Vector, Type::Scalar, Type::Scalar]),
    takes("clamp_max", &[Type::Vector, Type::Scalar]),
    takes("clamp_min", &[Type::Vector, Type::Scalar]),
    takes("cos", V),
    takes("cosh", V),
    takes("count_over_time", M),
    optional("day_of_month", V, 0),
    optional("day_of_week", V, 0),
    optional("day_of_year", V, 0),
    optional("days_in_month", V, 0),
    takes("deg", V),
    takes("delta", M),
    takes("deriv", M),
    takes("double_exponential_smoothing", &[Type::Matrix, Type::Scalar, Type::Scalar]),
    takes("exp", V),
    takes("first_over_time", M),
    takes("floor", V),
    takes("histogram_quantile", &[Type::Scalar, Type::Vector]),
    takes("holt_winters", &[Type::Matrix, Type::Scalar, Type::Scalar]),
    optional("hour", V, 0),
    takes("idelta", M),
    takes("increase", M),
    optional("info", &[Type::Vector, Type::Vector], 1),
    takes("irate", M),
    Function { repeats: true, ..takes("label_join", &[Type::Vector, Type::Text, Type::Text]) },
    takes("label_replace", &[Type::Vector, Type::Text, Type::Text, Type::Text, Type::Text]),
    takes("last_over_time", M),
    takes("ln", V),
    takes("log10", V),
    takes("log2", V),
    takes("mad_over_time", M),
    takes("max_over_time", M),
    takes("min_over_time", M),
    optional("minute", V, 0),
    optional("month", V, 0),
    scalar("pi", &[]),
    takes("predict_linear", &[Type::Matrix, Type::Scalar]),
    takes("present_over_time", M),
    takes("quantile_over_time", &[Type::Scalar, Type::Matrix]),
    takes("rad", V),
    takes("rate", M),
    takes("resets", M),
    optional("round", &[Type::Vector, Type::Scalar], 1),
    scalar("scalar", V),
    takes("sgn", V),
    takes("sin", V),
    takes("sinh", V),
    takes("sort", V),
    Function { repeats: true, ..optional("sort_by_label", &[Type::Vector, Type::Text], 1) },
    Function { repeats: true, ..optional("sort_by_label_desc", &[Type::Vector, Type::Text], 1) },
    takes("sort_desc", V),
    takes("sqrt", V),
    takes("stddev_over_time", M),
    takes("stdvar_over_time", M),
    takes("sum_over_time", M),
    takes("tan", V),
    takes("tanh", V),
    scalar("time", &[]),
    takes("timestamp", V),
    takes("ts_of_first_over_time", M),
    takes("ts_of_last_over_time", M),
    takes("ts_of_max_over_time", M),
    takes("ts_of_min_over_time", M),
    takes("vector", &[Type::Scalar]),
    optional("year", V, 0),
];

/// Those that Prometheus has beside them.
const MISSING: [&str; 10] = [
    "histogram_avg",
    "histogram_count",
    "histogram_fraction",
    "histogram_quantiles",
    "histogram_stddev",
    "histogram_stdvar",
    "histogram_sum",
    "start",
    "end",
    "step",
];

/// The function of a name.
///
/// # Errors
/// Says whether Prometheus has it.
pub(super) fn function(name: &str) -> Result<&'static Function, String> {
    match FUNCTIONS.binary_search_by(|function| function.name.cmp(name)) {
        Ok(at) => Ok(&FUNCTIONS[at]),
        Err(_) if MISSING.contains(&name) => Err(format!("the function '{name}' is not served here")),
        Err(_) => Err(format!("unknown function with name '{name}'")),
    }
}

/// Whether a function takes these.
///
/// # Errors
/// Says what it takes.
pub(super) fn check(function: &Function, arguments: &[Expr]) -> Result<(), String> {
    let Function { name, takes, least, repeats, .. } = function;
    let (given, most) = (arguments.len(), takes.len());
    if given < *least || given > most && !repeats {
        let expected = match (least == &most, repeats) {
            (_, true) => format!("at least {least}"),
            (true, _) => most.to_string(),
            (false, _) => format!("{least} to {most}"),
        };
        return Err(format!("expected {expected} argument(s) in call to '{name}', got {given}"));
    }
    for (at, argument) in arguments.iter().enumerate() {
        let (wanted, kind) = (takes[at.min(most - 1)], argument.kind());
        if kind != wanted {
            return Err(format!("expected type {wanted} in call to function '{name}', got {kind}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_their_names() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        assert!(MISSING.iter().all(|name| function(name).is_err()));
    }
}
