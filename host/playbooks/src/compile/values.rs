//! The values of a document, which may be any JSON: how deep they are, and the numbers in them.

use bellwether_kernel::value::check_nesting;
use serde_json::Value as Json;

use super::{Fault, fault};
use crate::position::Path;
use crate::{Document, Format};

/// Refuses values nested too deep: a run's records hold them, and whoever reads the document.
pub(super) fn check_depths(document: &Document) -> Result<(), Fault> {
    let check = |path: Path, value: &Json| {
        check_nesting(&path.to_string(), value).map_err(|error| Fault { path, error })
    };
    let root = Path::default();
    let defaults = root.field("trigger").field("inputs");
    for (name, input) in document.trigger.inputs().into_iter().flatten() {
        input.default.iter().try_for_each(|value| check(defaults.field(name).field("default"), value))?;
    }
    values(document).try_for_each(|(path, value)| check(path, value))
}

/// The values a document gives its steps and whoever has it as a step, each with its place.
fn values(document: &Document) -> impl Iterator<Item = (Path, &Json)> {
    let lists = [("steps", &document.steps), ("on_failure", &document.on_failure)];
    let steps = lists.into_iter().flat_map(|(name, steps)| {
        let path = Path::default().field(name);
        steps.iter().enumerate().flat_map(move |(index, step)| {
            let (path, inputs) = (path.item(index), path.item(index).field("inputs"));
            let inputs = step.inputs.iter().map(move |(name, value)| (inputs.field(name), value));
            inputs.chain(step.each.iter().map(move |list| (path.field("each"), list)))
        })
    });
    let outputs = Path::default().field("outputs");
    steps.chain(document.outputs.iter().map(move |(name, value)| (outputs.field(name), value)))
}

/// TOML knows numbers that are not finite, which arrive as `null`, and no `null` of its own.
pub(super) fn check_numbers(document: &Document, format: Format) -> Result<(), Fault> {
    fn check(path: &Path, value: &Json) -> Result<(), Fault> {
        match value {
            Json::Null => fault(path, "not finite", "a finite number"),
            Json::Array(items) => {
                items.iter().enumerate().try_for_each(|(index, item)| check(&path.item(index), item))
            }
            Json::Object(fields) => {
                fields.iter().try_for_each(|(name, field)| check(&path.field(name), field))
            }
            Json::Bool(_) | Json::Number(_) | Json::String(_) => Ok(()),
        }
    }
    if format == Format::Json {
        return Ok(());
    }
    values(document).try_for_each(|(path, value)| check(&path, value))
}
