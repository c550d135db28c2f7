//! What a step is given, compiled and held against what its app or playbook declares.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::scope::Scope;
use super::{CompiledInput, Fault, fault, listed, reference};
use crate::position::Path;
use crate::shape::Shape;
use crate::template::{Compiler, Template, Variables};
use crate::{AppDescription, Input, Step, ValueType, convert, shape};

pub(super) fn compile_inputs(
    path: &Path,
    step: &Step,
    compiler: &mut Compiler,
    scope: &Scope<'_>,
) -> Result<BTreeMap<String, CompiledInput>, Fault> {
    let mut inputs = BTreeMap::new();
    for (name, value) in &step.inputs {
        let path = path.field(name);
        let mut input = compile_value(&path, value, compiler, scope)?;
        if let Template::Secret(secret) = &input.template {
            super::trigger::check_secret_name(&path, secret)?;
            // It is no variable of a template: it comes at the time of the step, and nothing else reads it.
            input.variables.clear();
        }
        inputs.insert(name.clone(), input);
    }
    Ok(inputs)
}

/// Compiles a value whose texts are templates.
pub(super) fn compile_value(
    path: &Path,
    value: &Json,
    compiler: &mut Compiler,
    scope: &Scope<'_>,
) -> Result<CompiledInput, Fault> {
    let mut variables = Variables::new();
    let template = compile_part(path, value, compiler, scope, &mut variables)?;
    Ok(CompiledInput { template, variables })
}

/// Compiles a text that is an expression, with or without `{{ }}`.
pub(super) fn compile_expression(
    path: &Path,
    text: &str,
    compiler: &mut Compiler,
) -> Result<CompiledInput, Fault> {
    let mut variables = Variables::new();
    match compiler.expression(text, &mut variables) {
        Ok(template) => Ok(CompiledInput { template, variables }),
        Err(expected) => fault(path, text, expected),
    }
}

fn compile_part(
    path: &Path,
    value: &Json,
    compiler: &mut Compiler,
    scope: &Scope<'_>,
    variables: &mut Variables,
) -> Result<Template, Fault> {
    Ok(match value {
        Json::String(text) => {
            let compiled = match reference::expression(text, scope.trigger) {
                Some(Ok(expression)) => compiler.expression(&expression, variables),
                Some(Err(expected)) => Err(expected),
                None => compiler.compile(text, variables),
            };
            match compiled {
                Ok(template) => template,
                Err(expected) => return fault(path, text, expected),
            }
        }
        Json::Array(items) => {
            let items = items.iter().enumerate();
            let items = items
                .map(|(index, item)| compile_within(&path.item(index), item, compiler, scope, variables));
            Template::List(items.collect::<Result<_, _>>()?)
        }
        Json::Object(fields) => {
            let mut compiled = Vec::new();
            for (name, field) in fields {
                let field = compile_within(&path.field(name), field, compiler, scope, variables)?;
                compiled.push((name.clone(), field));
            }
            Template::Object(compiled)
        }
        literal => Template::Literal(literal.clone()),
    })
}

/// Compiles a part of a value, and holds what it reads against what there is: who compiles the whole could not say
/// where in it something is wrong.
fn compile_within(
    path: &Path,
    value: &Json,
    compiler: &mut Compiler,
    scope: &Scope<'_>,
    variables: &mut Variables,
) -> Result<Template, Fault> {
    let mut own = Variables::new();
    let template = compile_part(path, value, compiler, scope, &mut own)?;
    scope.check(path, &own)?;
    variables.append(&mut own);
    Ok(template)
}

pub(super) fn check_inputs(
    path: &Path,
    target: &str,
    description: &AppDescription,
    inputs: &BTreeMap<String, CompiledInput>,
) -> Result<(), Fault> {
    for name in inputs.keys() {
        if description.inputs.iter().all(|input| input.name != *name) {
            let names = description.inputs.iter().map(|input| input.name.as_str());
            return fault(&path.field(name), name, format!("an input of {target}: {}", listed(names)));
        }
    }
    for input in &description.inputs {
        let path = path.field(&input.name);
        match inputs.get(&input.name) {
            Some(given) if given.template.literal() != Some(Json::Null) => check_value(&path, input, given)?,
            _ if input.required && input.default.is_none() => {
                let expected = format!("{}: {target} requires it", convert::expectation(input.value_type));
                return fault(&path, "nothing", expected);
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_value(path: &Path, input: &Input, given: &CompiledInput) -> Result<(), Fault> {
    match &given.template {
        Template::Secret(_) if input.secret => return Ok(()),
        Template::Secret(name) => {
            return fault(
                path,
                format!("secrets.{name}"),
                "an input declared secret: only into one of those a named secret goes",
            );
        }
        _ => {}
    }
    if input.secret && given.variables.is_empty() {
        return fault(
            path,
            crate::secrets::MASK,
            "a template: a secret comes with the trigger or by name as {{ secrets.name }}, not in the document",
        );
    }
    check_type(path, input.value_type, &given.template)?;
    if let Some(Json::String(text)) = given.template.literal()
        && !input.choices.is_empty()
        && !input.choices.contains(&text)
    {
        let choices = input.choices.iter().map(String::as_str);
        return fault(path, text, format!("one of {}", listed(choices)));
    }
    Ok(())
}

/// Finds what can be of the wrong type only: literals, and the shape around templates.
pub(super) fn check_type(path: &Path, value_type: ValueType, template: &Template) -> Result<(), Fault> {
    let item = match value_type {
        ValueType::Texts => Some(ValueType::Text),
        ValueType::Integers => Some(ValueType::Integer),
        ValueType::Numbers => Some(ValueType::Number),
        ValueType::Binaries => Some(ValueType::Binary),
        ValueType::KeyValues => Some(ValueType::KeyValue),
        ValueType::Entities => Some(ValueType::Entity),
        _ => None,
    };
    let shape = shape::of(value_type).filter(|_| item.is_none()).map(|(shape, _)| shape);
    match (template, item) {
        (Template::Expression { .. } | Template::Secret(_), _) => Ok(()),
        _ if value_type == ValueType::Json => Ok(()),
        (Template::List(items), Some(item)) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, template)| check_type(&path.item(index), item, template)),
        (Template::Text { .. }, None) if shape.is_none() => Ok(()),
        (Template::Literal(json), _) if convert::to_value(json, value_type).is_some() => Ok(()),
        (Template::Literal(json), _) => fault(path, shown(json), convert::expectation_of(json, value_type)),
        (Template::Text { .. }, _) => fault(path, "text", convert::expectation(value_type)),
        (Template::List(_), None) => fault(path, "a list", convert::expectation(value_type)),
        (Template::Object(fields), _) => match shape {
            Some(shape) => check_shape(path, shape, value_type, fields),
            None => fault(path, "an object", convert::expectation(value_type)),
        },
    }
}

/// Holds the fields of an object that is written out, with templates in it, against the shape it is to have.
fn check_shape(
    path: &Path,
    shape: &Shape,
    value_type: ValueType,
    fields: &[(String, Template)],
) -> Result<(), Fault> {
    for (name, text) in shape.members() {
        let Some((_, template)) = fields.iter().find(|(field, _)| field == name) else {
            return fault(&path.field(name), "nothing", convert::expectation(value_type));
        };
        if text {
            check_type(&path.field(name), ValueType::Text, template)?;
        }
    }
    match fields.iter().find(|(name, _)| !shape.takes(name)) {
        Some((name, _)) => fault(&path.field(name), name, convert::expectation(value_type)),
        None => Ok(()),
    }
}

/// A literal as an error shows it: a text without its quotes, which the error puts itself.
fn shown(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}
