//! Between JSON and the template engine's own values.

use minijinja::value::{Serde, Value as Rendered, ValueKind};
use serde_json::{Map, Number, Value as Json};

use super::{DEPTH, RenderError, message};

/// JSON as templates read it.
pub(crate) fn from_json(json: &Json) -> Rendered {
    Serde(json).into()
}

/// A rendered value as JSON. `charge` is told of every part's bytes before they are taken: a small expression can
/// stand for a large value, such as a range repeated in a list.
pub(super) fn to_json(
    value: &Rendered,
    depth: usize,
    charge: &mut dyn FnMut(usize) -> Result<(), RenderError>,
) -> Result<Json, RenderError> {
    let failed = |problem: String| RenderError::Failed(problem);
    let below = || depth.checked_sub(1).ok_or_else(too_deep);
    Ok(match value.kind() {
        ValueKind::Undefined => return Err(failed("a part of the value is undefined".into())),
        ValueKind::None => {
            charge(5)?;
            Json::Null
        }
        ValueKind::Bool => {
            charge(5)?;
            Json::Bool(value.is_true())
        }
        ValueKind::Number => {
            charge(9)?;
            Json::Number(number(value).map_err(failed)?)
        }
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            charge(text.len() + 3)?;
            text.into()
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let depth = below()?;
            charge(3)?;
            let items = value.try_iter().map_err(|error| failed(message(&error)))?;
            items.map(|item| to_json(&item, depth, charge)).collect::<Result<_, _>>()?
        }
        ValueKind::Map => {
            let depth = below()?;
            charge(3)?;
            let mut object = Map::new();
            for key in value.try_iter().map_err(|error| failed(message(&error)))? {
                let field = value.get_item(&key).map_err(|error| failed(message(&error)))?;
                let name = key.to_string();
                charge(name.len() + 3)?;
                object.insert(name, to_json(&field, depth, charge)?);
            }
            Json::Object(object)
        }
        ValueKind::Invalid => return Err(failed(value.to_string())),
        kind => return Err(failed(format!("the expression gives a {kind}, which is no value"))),
    })
}

/// A value as [`to_json`] gives it.
pub(super) fn copy(
    value: &Json,
    depth: usize,
    charge: &mut dyn FnMut(usize) -> Result<(), RenderError>,
) -> Result<Json, RenderError> {
    let below = || depth.checked_sub(1).ok_or_else(too_deep);
    Ok(match value {
        Json::Null | Json::Bool(_) => {
            charge(5)?;
            value.clone()
        }
        Json::Number(_) => {
            charge(9)?;
            value.clone()
        }
        Json::String(text) => {
            charge(text.len() + 3)?;
            value.clone()
        }
        Json::Array(items) => {
            let depth = below()?;
            charge(3)?;
            items.iter().map(|item| copy(item, depth, charge)).collect::<Result<_, _>>()?
        }
        Json::Object(fields) => {
            let depth = below()?;
            charge(3)?;
            let mut object = Map::new();
            for (name, field) in fields {
                charge(name.len() + 3)?;
                object.insert(name.clone(), copy(field, depth, charge)?);
            }
            Json::Object(object)
        }
    })
}

pub(super) fn too_deep() -> RenderError {
    RenderError::Failed(format!("lists and objects lie more than {DEPTH} deep in each other"))
}

pub(super) fn number(value: &Rendered) -> Result<Number, String> {
    if value.is_integer() {
        if let Some(whole) = value.as_i64() {
            return Ok(whole.into());
        }
        return u64::try_from(value.clone())
            .map(Number::from)
            .map_err(|_| "a whole number beyond 64 bits".into());
    }
    let float = f64::try_from(value.clone()).map_err(|error| message(&error))?;
    Number::from_f64(float).ok_or_else(|| "a number that is not finite".into())
}

/// About how many bytes a value takes as JSON.
pub(crate) fn size(json: &Json) -> usize {
    match json {
        Json::Null | Json::Bool(_) => 4,
        Json::Number(_) => 8,
        Json::String(text) => text.len() + 2,
        Json::Array(items) => items.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        Json::Object(fields) => {
            fields.iter().map(|(name, field)| name.len() + size(field) + 4).sum::<usize>() + 2
        }
    }
}
