//! Values as texts: what an expression within a text is written as, and what `string`, `join` and `~` make of it.
//! Booleans, numbers, lists and objects are written as in JSON, `null` as nothing; the engine would write them as Python
//! does.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, escape_formatter, filters};

use super::value::{number, to_json};
use super::{DEPTH, RenderError};

/// The function `~` is exchanged for, see [`super::exchange`].
pub(super) const CONCATENATION: &str = "~";

/// Makes the engine write values so.
pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.set_formatter(write);
    environment.add_filter("string", |state: &mut State<'_, '_>, value: Value| text(state, &value));
    environment.add_filter("join", join);
    environment.add_function(CONCATENATION, |state: &mut State<'_, '_>, left: Value, right: Value| {
        let (left, right) = (text(state, &left)?, text(state, &right)?);
        Ok(Value::from(format!("{}{}", shown(&left), shown(&right))))
    });
}

fn write(output: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::String => escape_formatter(output, state, value),
        _ => output.write_str(shown(&text(state, value)?)).map_err(Error::from),
    }
}

/// A value as a text.
fn text(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    Ok(match value.kind() {
        ValueKind::None => "".into(),
        ValueKind::Bool => if value.is_true() { "true" } else { "false" }.into(),
        ValueKind::Number => match number(value) {
            Ok(number) => number.to_string().into(),
            // More digits than a value may have are still a text.
            Err(_) if value.is_integer() => value.to_string().into(),
            Err(problem) => return Err(Error::new(ErrorKind::BadSerialization, problem)),
        },
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            let mut charge = |bytes: usize| {
                let paid = state.consume_fuel(bytes as u64 / 4 + 1);
                paid.map_err(|_| RenderError::TooLarge(bytes))
            };
            let json = to_json(value, DEPTH, &mut charge).map_err(|error| match error {
                RenderError::Failed(problem) | RenderError::Within { problem, .. } => {
                    Error::new(ErrorKind::BadSerialization, problem)
                }
                RenderError::TooLarge(_) => Error::from(ErrorKind::OutOfFuel),
            })?;
            json.to_string().into()
        }
        _ => filters::string(state, value)?,
    })
}

fn shown(text: &Value) -> &str {
    text.as_str().unwrap_or_default()
}

/// As the engine's own: `list | join(", ", attribute="name")`.
#[expect(clippy::needless_pass_by_value, reason = "the engine gives it so")]
fn join(
    state: &mut State<'_, '_>,
    value: Value,
    joiner: Option<Value>,
    attribute: Option<Value>,
    named: Kwargs,
) -> Result<Value, Error> {
    let joiner = joiner.or(named.get("d")?).map(|joiner| text(state, &joiner)).transpose()?;
    let attribute: Option<Value> = attribute.or(named.get("attribute")?);
    named.assert_all_used()?;
    if value.is_undefined() {
        filters::string(state, &value)?;
    }
    let items = match (attribute, value.as_str()) {
        (Some(attribute), _) => {
            let named: Kwargs = [("attribute", attribute)].into_iter().collect();
            state.apply_filter("map", &[value, named.into()])?
        }
        (None, Some(characters)) => characters.chars().map(Value::from).collect(),
        (None, None) => value,
    };
    let mut joined = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        if let Some(joiner) = joiner.as_ref().filter(|_| index > 0) {
            joined.push_str(shown(joiner));
        }
        let before = joined.len();
        joined.push_str(shown(&text(state, &item)?));
        let bytes = joined.len() - before + joiner.as_ref().map_or(0, |joiner| shown(joiner).len());
        state.consume_fuel(1 + bytes as u64 / 64)?;
    }
    Ok(joined.into())
}
