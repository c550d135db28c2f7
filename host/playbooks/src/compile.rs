//! From a document to what can be run: names checked, templates compiled, and everything held against the apps.

use std::collections::{BTreeMap, HashSet};

use bellwether_kernel::{FieldError, OrganisationId};
use serde_json::Value as Json;

use crate::position::{Path, locate};
use crate::shape::Shape;
use crate::template::{Compiler, Template, Variables};
use crate::{
    AppDescription, Apps, Document, Format, Input, PlaybookError, Step, Trigger, ValueType, convert, shape,
    trigger,
};

/// The longest name, in characters.
const NAME: usize = 100;
/// The longest step id, in characters.
const STEP_ID: usize = 50;
/// The longest description, in characters.
const DESCRIPTION: usize = 1_000;

/// What `run` holds for templates.
pub(crate) const RUN_FIELDS: [&str; 2] = ["created", "id"];
/// What `playbook` holds for templates.
pub(crate) const PLAYBOOK_FIELDS: [&str; 2] = ["name", "version"];

/// A playbook ready to run.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) document: Document,
    /// As in the document.
    pub(crate) steps: Vec<CompiledStep>,
    pub(crate) compiler: Compiler,
}

/// A step ready to run.
#[derive(Debug)]
pub(crate) struct CompiledStep {
    pub(crate) id: String,
    pub(crate) app: String,
    pub(crate) inputs: BTreeMap<String, CompiledInput>,
}

/// An input ready to be rendered.
#[derive(Debug)]
pub(crate) struct CompiledInput {
    pub(crate) template: Template,
    /// What the template reads.
    pub(crate) variables: Variables,
}

/// Something wrong in a document, before its place is looked up.
#[derive(Debug)]
struct Fault {
    path: Path,
    error: FieldError,
}

fn fault<T>(path: &Path, value: impl std::fmt::Display, expected: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { path: path.clone(), error: FieldError::new(path.to_string(), value, expected) })
}

/// Where a document's apps are looked up.
pub(crate) type AppsOf<'a> = (&'a dyn Apps, OrganisationId);

impl Compiled {
    /// Reads, checks and compiles a document. Without `apps` only what the document itself can show is checked: for
    /// documents that were stored, whose apps may have changed since.
    pub(crate) fn read(
        source: &str,
        format: Format,
        most_steps: usize,
        apps: Option<AppsOf<'_>>,
    ) -> Result<Self, PlaybookError> {
        let document = Document::read(source, format)?;
        let checked = check_numbers(&document, format).and_then(|()| compile(document, most_steps, apps));
        checked.map_err(|fault| {
            let (line, column) = locate(source, format, &fault.path);
            PlaybookError::Document { line, column, error: fault.error }
        })
    }

    /// What secret inputs read, as the apps are now: `trigger.body.token`, `steps.login.session`.
    pub(crate) fn secret_variables(&self, (apps, organisation): AppsOf<'_>) -> Variables {
        let mut variables = Variables::new();
        for step in &self.steps {
            let Some(app) = apps.app(organisation, &step.app) else { continue };
            for input in app.description().inputs.iter().filter(|input| input.secret) {
                if let Some(compiled) = step.inputs.get(&input.name) {
                    variables.extend(compiled.variables.iter().cloned());
                }
            }
        }
        variables
    }

    /// Whether any template reads `variable`, a part of it, or all of what it is part of.
    pub(crate) fn reads(&self, variable: &str) -> bool {
        let inputs = self.steps.iter().flat_map(|step| step.inputs.values());
        inputs
            .flat_map(|input| &input.variables)
            .any(|read| is_within(read, variable) || is_within(variable, read))
    }
}

/// Whether the dotted path `inner` is `outer` or a part of it.
pub(crate) fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// TOML knows numbers that are not finite, which arrive as `null`, and no `null` of its own.
fn check_numbers(document: &Document, format: Format) -> Result<(), Fault> {
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
    let steps = Path::default().field("steps");
    document.steps.iter().enumerate().try_for_each(|(index, step)| {
        let inputs = steps.item(index).field("inputs");
        step.inputs.iter().try_for_each(|(name, value)| check(&inputs.field(name), value))
    })
}

fn compile(document: Document, most_steps: usize, apps: Option<AppsOf<'_>>) -> Result<Compiled, Fault> {
    let root = Path::default();
    check_name(&root.field("name"), &document.name)?;
    if let Some(description) = &document.description
        && description.chars().count() > DESCRIPTION
    {
        return fault(&root.field("description"), description, format!("at most {DESCRIPTION} characters"));
    }
    let path = root.field("steps");
    if document.steps.is_empty() || document.steps.len() > most_steps {
        return fault(&path, document.steps.len(), format!("1 to {most_steps} steps"));
    }
    let mut compiler = Compiler::new();
    let mut steps = Vec::new();
    let mut ids = HashSet::new();
    // Ids and outputs of the steps so far; no outputs where the apps are not looked up.
    let mut earlier: Vec<(&str, Option<AppDescription>)> = Vec::new();
    for (index, step) in document.steps.iter().enumerate() {
        let path = path.item(index);
        check_step_id(&path.field("id"), &step.id)?;
        if !ids.insert(&step.id) {
            return fault(&path.field("id"), &step.id, "an id no other step has");
        }
        let description = match apps {
            Some((apps, organisation)) => match apps.app(organisation, &step.app) {
                Some(app) => Some(app.description().clone()),
                None => return fault(&path.field("app"), &step.app, "the name of an installed app"),
            },
            None => None,
        };
        let inputs = compile_inputs(&path.field("inputs"), step, &mut compiler)?;
        if let Some(description) = &description {
            check_inputs(&path, step, description, &inputs)?;
            for (name, input) in &inputs {
                for variable in &input.variables {
                    check_variable(&path.field("inputs").field(name), variable, &document.trigger, &earlier)?;
                }
            }
        }
        earlier.push((&step.id, description));
        steps.push(CompiledStep { id: step.id.clone(), app: step.app.clone(), inputs });
    }
    Ok(Compiled { steps, compiler, document })
}

fn check_name(path: &Path, name: &str) -> Result<(), Fault> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    // Digits alone would read as an id where either is taken.
    if (1..=NAME).contains(&name.len())
        && name.bytes().all(good)
        && !name.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Ok(());
    }
    fault(path, name, format!("1 to {NAME} characters of a-z, 0-9 and -, not digits alone"))
}

fn check_step_id(path: &Path, id: &str) -> Result<(), Fault> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=STEP_ID).contains(&id.len()) && id.bytes().all(good) && !id.as_bytes()[0].is_ascii_digit() {
        return Ok(());
    }
    fault(path, id, format!("1 to {STEP_ID} characters of a-z, 0-9 and _, the first no digit"))
}

fn compile_inputs(
    path: &Path,
    step: &Step,
    compiler: &mut Compiler,
) -> Result<BTreeMap<String, CompiledInput>, Fault> {
    let mut inputs = BTreeMap::new();
    for (name, value) in &step.inputs {
        let mut variables = Variables::new();
        let template = compile_value(&path.field(name), value, compiler, &mut variables)?;
        inputs.insert(name.clone(), CompiledInput { template, variables });
    }
    Ok(inputs)
}

fn compile_value(
    path: &Path,
    value: &Json,
    compiler: &mut Compiler,
    variables: &mut Variables,
) -> Result<Template, Fault> {
    Ok(match value {
        Json::String(text) => match compiler.compile(text, variables) {
            Ok(template) => template,
            Err(expected) => return fault(path, text, expected),
        },
        Json::Array(items) => {
            let items = items.iter().enumerate();
            let items =
                items.map(|(index, item)| compile_value(&path.item(index), item, compiler, variables));
            Template::List(items.collect::<Result<_, _>>()?)
        }
        Json::Object(fields) => {
            let mut compiled = Vec::new();
            for (name, field) in fields {
                compiled.push((name.clone(), compile_value(&path.field(name), field, compiler, variables)?));
            }
            Template::Object(compiled)
        }
        literal => Template::Literal(literal.clone()),
    })
}

fn check_inputs(
    path: &Path,
    step: &Step,
    description: &AppDescription,
    inputs: &BTreeMap<String, CompiledInput>,
) -> Result<(), Fault> {
    let declared = |name: &str| description.inputs.iter().find(|input| input.name == name);
    let path = path.field("inputs");
    for name in step.inputs.keys() {
        if declared(name).is_none() {
            let names = description.inputs.iter().map(|input| input.name.as_str());
            return fault(&path.field(name), name, format!("an input of {}: {}", step.app, listed(names)));
        }
    }
    for input in &description.inputs {
        let path = path.field(&input.name);
        match inputs.get(&input.name) {
            Some(given) if given.template.literal() != Some(Json::Null) => check_value(&path, input, given)?,
            _ if input.required && input.default.is_none() => {
                let expected =
                    format!("{}: {} requires it", convert::expectation(input.value_type), step.app);
                return fault(&path, "nothing", expected);
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_value(path: &Path, input: &Input, given: &CompiledInput) -> Result<(), Fault> {
    if input.secret && given.variables.is_empty() {
        return fault(
            path,
            crate::secrets::MASK,
            "a template: a secret comes with the trigger, not in the document",
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
fn check_type(path: &Path, value_type: ValueType, template: &Template) -> Result<(), Fault> {
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
        (Template::Expression { .. }, _) => Ok(()),
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

fn check_variable(
    path: &Path,
    variable: &str,
    trigger: &Trigger,
    earlier: &[(&str, Option<AppDescription>)],
) -> Result<(), Fault> {
    let mut parts = variable.split('.');
    let root = parts.next().unwrap_or_default();
    let Some(field) = parts.next() else {
        if ["trigger", "steps", "run", "playbook", "range", "dict", "namespace"].contains(&root) {
            return Ok(());
        }
        return fault(path, variable, "a variable that is there: trigger, steps, run or playbook");
    };
    let fields: &[&str] = match root {
        "trigger" => trigger::fields(trigger),
        "run" => &RUN_FIELDS,
        "playbook" => &PLAYBOOK_FIELDS,
        "steps" => {
            let Some((id, description)) = earlier.iter().find(|(id, _)| *id == field) else {
                let ids = earlier.iter().map(|(id, _)| *id);
                return fault(path, variable, format!("an earlier step: {}", listed(ids)));
            };
            let outputs = description.as_ref().map_or(&[][..], |description| &description.outputs);
            return match parts.next() {
                Some(output) if outputs.iter().all(|declared| declared.name != output) => {
                    let names = outputs.iter().map(|output| output.name.as_str());
                    fault(path, variable, format!("an output of step {id}: {}", listed(names)))
                }
                _ => Ok(()),
            };
        }
        _ => return fault(path, variable, "a variable that is there: trigger, steps, run or playbook"),
    };
    if fields.contains(&field) {
        return Ok(());
    }
    fault(path, variable, format!("a field of {root}: {}", listed(fields.iter().copied())))
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "there is none".into() } else { names.join(", ") }
}
