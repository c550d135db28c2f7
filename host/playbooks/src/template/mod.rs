//! Inputs as templates: compiled once, rendered over the trigger and earlier outputs.
//!
//! A text that is one `{{ expression }}` and nothing else, blanks around it aside, keeps its value's type. Any other
//! text with `{{`, `{%` or `{#` in it renders to text: every value but a text as JSON, `null` as nothing. Lists
//! and objects are rendered item by item, and everything else is passed as it is.
//!
//! A variable that is not there is an error. Templates reach no files and no other templates; fuel bounds what one
//! costs, and [`RenderError::TooLarge`] what all of a step's give.

mod exchange;
mod text;
mod value;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use bellwether_kernel::value::{MAX_NESTING, nesting};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value as Rendered;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Expression, UndefinedBehavior};
use serde_json::{Map, Value as Json};

use value::{copy, to_json, too_deep};
pub(crate) use value::{from_json, size};

/// What one template may cost. One unit pays for an instruction or 64 bytes, and 16 for each 64 bytes that `tojson`
/// writes: a payload of 1 MiB can be written as JSON three times. Spent in full it takes about 10 ms.
const FUEL: u64 = 800_000;

/// How many templates a playbook may hold: with [`FUEL`], what all of them cost at most.
const TEMPLATES: usize = 2_000;

/// Bytes the value of a condition may have.
pub(crate) const CONDITION: usize = 1 << 20;

/// How deep lists and objects may lie in each other that an expression gives, or a value with expressions in it: some
/// levels more than what comes in, so that this can be put into something.
const DEPTH: usize = MAX_NESTING + 16;

/// What a template may cost where it is rendered between other tasks: about a tenth of a millisecond. What costs more
/// is rendered again apart from them, see [`Room::little`].
const LITTLE_FUEL: u64 = FUEL / 100;
/// Templates of one step that are rendered so.
const LITTLE_TEMPLATES: u32 = 20;
/// Bytes that expressions of one step may give there.
const LITTLE_BYTES: usize = 64 * 1024;
/// Bytes of a template that is compiled there, see [`exchange`].
const LITTLE_SOURCE: usize = 4 * 1024;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| environment(UndefinedBehavior::Strict));

/// For templates that may cost little.
static LITTLE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = environment(UndefinedBehavior::Strict);
    environment.set_fuel(Some(LITTLE_FUEL));
    environment
});

/// Where a name that is not there is followed on: see [`Compiler::unknown_name`].
static FORGIVING: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = environment(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(FUEL / 100));
    environment
});

fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(undefined);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    // Names the undefined variable in an error; the values it also gathers are never printed.
    environment.set_debug(true);
    environment.remove_global("debug");
    environment.set_syntax(syntax());
    exchange::add_to(&mut environment);
    text::add_to(&mut environment);
    environment
}

fn syntax() -> SyntaxConfig {
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    syntax.expect("the usual delimiters are good ones")
}

/// What a template reads from outside itself: dotted paths such as `steps.add.value`, as long as they are written
/// with dots.
pub(crate) type Variables = BTreeSet<String>;

/// A value of a document, ready to be rendered.
#[derive(Debug)]
pub(crate) enum Template {
    /// Passed as it is.
    Literal(Json),
    /// Keeps its value's type.
    Expression {
        /// As it was written.
        source: String,
        /// The names it follows, if it does nothing else: `steps`, `add`, `value`.
        path: Option<Vec<String>>,
        /// Ready to run, for little; absent where its operators are exchanged.
        expression: Option<Expression<'static, 'static>>,
    },
    /// Renders to text.
    Text {
        /// Its name in the compiler's environment.
        name: String,
        /// Whether its operators are exchanged.
        exchanged: bool,
    },
    /// The secret of this name, which is looked up when the step begins.
    Secret(String),
    /// Item by item.
    List(Vec<Template>),
    /// Field by field.
    Object(Vec<(String, Template)>),
}

impl Template {
    /// The value, where nothing of it is a template.
    pub(crate) fn literal(&self) -> Option<Json> {
        match self {
            Self::Literal(json) => Some(json.clone()),
            Self::Expression { .. } | Self::Text { .. } | Self::Secret(_) => None,
            Self::List(items) => items.iter().map(Self::literal).collect(),
            Self::Object(fields) => {
                let fields: Option<Map<String, Json>> =
                    fields.iter().map(|(name, value)| Some((name.clone(), value.literal()?))).collect();
                fields.map(Json::Object)
            }
        }
    }
}

/// Why a value did not render.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RenderError {
    /// The template failed; says how, without any value.
    Failed(String),
    /// One within a list or an object failed.
    Within {
        /// Where: `.user.id`, `[2]`.
        path: String,
        /// How.
        problem: String,
    },
    /// The step's inputs are larger than this in all.
    TooLarge(usize),
}

impl RenderError {
    /// The error as a phrase on what was rendered.
    pub(crate) fn of(&self, what: &str) -> String {
        match self {
            Self::Failed(problem) => format!("{what}: {problem}"),
            Self::Within { path, problem } => format!("{what}{path}: {problem}"),
            Self::TooLarge(limit) => format!("{what}: it is larger than {limit} bytes"),
        }
    }

    /// The same of a part of something.
    fn within(self, part: &str) -> Self {
        match self {
            Self::Failed(problem) => Self::Within { path: part.to_owned(), problem },
            Self::Within { path, problem } => Self::Within { path: format!("{part}{path}"), problem },
            Self::TooLarge(limit) => Self::TooLarge(limit),
        }
    }
}

/// The templates of one playbook.
#[derive(Debug)]
pub(crate) struct Compiler {
    environment: Environment<'static>,
    templates: usize,
}

impl Compiler {
    pub(crate) fn new() -> Self {
        Self { environment: LITTLE.clone(), templates: 0 }
    }

    /// Compiles `text` and adds what it reads to `variables`.
    ///
    /// # Errors
    /// What does not read, as a phrase.
    pub(crate) fn compile(&mut self, text: &str, variables: &mut Variables) -> Result<Template, String> {
        if !["{{", "{%", "{#"].iter().any(|opening| text.contains(opening)) {
            return Ok(Template::Literal(text.into()));
        }
        self.count()?;
        if let Some(expression) = sole_expression(text) {
            if let Some(name) = secret_name(expression) {
                variables.insert(expression.to_owned());
                return Ok(Template::Secret(name.to_owned()));
            }
            if let Ok(compiled) = LITTLE.compile_expression_owned(expression.to_owned()) {
                return Self::expression_of(expression, compiled, variables);
            }
        }
        let name = format!("text-{}", self.templates);
        self.environment
            .add_template_owned(name.clone(), text.to_owned())
            .map_err(|error| format!("a template that reads: {}", message(&error)))?;
        let template = self.environment.get_template(&name).map_err(|error| message(&error))?;
        variables.extend(template.undeclared_variables(true));
        Self::unknown_name(FORGIVING.render_str(text, ()).err())?;
        Ok(Template::Text { name, exchanged: exchange::is_needed_by_text(text) })
    }

    /// Compiles what is an expression alone, such as a condition; `{{ }}` around it change nothing.
    ///
    /// # Errors
    /// What does not read, as a phrase.
    pub(crate) fn expression(&mut self, text: &str, variables: &mut Variables) -> Result<Template, String> {
        self.count()?;
        let expression = sole_expression(text).unwrap_or_else(|| text.trim());
        let compiled = LITTLE
            .compile_expression_owned(expression.to_owned())
            .map_err(|error| format!("an expression that reads: {}", message(&error)))?;
        Self::expression_of(expression, compiled, variables)
    }

    fn count(&mut self) -> Result<(), String> {
        self.templates += 1;
        if self.templates > TEMPLATES {
            return Err(format!("at most {TEMPLATES} templates in one playbook"));
        }
        Ok(())
    }

    fn expression_of(
        source: &str,
        expression: Expression<'static, 'static>,
        variables: &mut Variables,
    ) -> Result<Template, String> {
        variables.extend(expression.undeclared_variables(true));
        let forgiving = FORGIVING.compile_expression_owned(source.to_owned());
        Self::unknown_name(forgiving.and_then(|expression| expression.eval(())).err())?;
        let expression = (!exchange::is_needed_by_expression(source)).then_some(expression);
        Ok(Template::Expression { source: source.to_owned(), path: path_of(source), expression })
    }

    /// Filters, tests and methods are looked up when they are reached, so a template is tried once without any
    /// variable: what fails then for want of a value is no fault, but what fails for want of a name is.
    fn unknown_name(error: Option<Error>) -> Result<(), String> {
        match error {
            Some(error) if matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest) => {
                Err(format!("a template that reads: {}", message(&error)))
            }
            _ => Ok(()),
        }
    }

    /// Renders `template`. What it gives is taken off `room`, in bytes.
    pub(crate) fn render(
        &self,
        template: &Template,
        names: &dyn Names,
        room: &mut Room,
    ) -> Result<Json, RenderError> {
        self.render_at(template, names, room, DEPTH)
    }

    /// As [`Self::render`], for a value that may have so many levels.
    fn render_at(
        &self,
        template: &Template,
        names: &dyn Names,
        room: &mut Room,
        depth: usize,
    ) -> Result<Json, RenderError> {
        let below = || depth.checked_sub(1).ok_or_else(too_deep);
        Ok(match template {
            Template::Literal(json) => {
                if nesting(json) > depth {
                    return Err(too_deep());
                }
                room.take(size(json))?;
                json.clone()
            }
            Template::Expression { source, path, expression } => {
                // A name that is not there is left to the engine, which says so.
                if let Some(value) = path.as_ref().and_then(|path| names.find(path)) {
                    return copy(value, depth, &mut |bytes| room.take(bytes));
                }
                room.take_template()?;
                let names = names.rendered();
                let evaluated = match expression {
                    Some(expression) => expression.eval(names.clone()),
                    None => {
                        room.compile(source)?;
                        exchange::evaluate(&LITTLE, source, names.clone())
                    }
                };
                let value = match evaluated {
                    Err(error) if error.kind() == ErrorKind::OutOfFuel => {
                        room.spend()?;
                        match expression {
                            Some(_) => {
                                let whole = ENVIRONMENT.compile_expression(source);
                                whole.and_then(|expression| expression.eval(names.clone()))
                            }
                            None => exchange::evaluate(&ENVIRONMENT, source, names.clone()),
                        }
                    }
                    evaluated => evaluated,
                };
                let value = value.map_err(|error| RenderError::Failed(message(&error)))?;
                if value.is_undefined() {
                    return Err(RenderError::Failed(format!("`{source}` is undefined")));
                }
                to_json(&value, depth, &mut |bytes| room.take_computed(bytes))?
            }
            Template::Text { name, exchanged } => {
                room.take_template()?;
                let template = self.environment.get_template(name).expect("every text was compiled");
                if *exchanged {
                    room.compile(template.source())?;
                }
                let text = match render_text(&template, *exchanged, &LITTLE, names, room) {
                    Err(None) => {
                        room.spend()?;
                        let whole = ENVIRONMENT.template_from_str(template.source());
                        let whole = whole.map_err(|error| RenderError::Failed(message(&error)))?;
                        let failed = || RenderError::Failed(ErrorKind::OutOfFuel.to_string());
                        let rendered = render_text(&whole, *exchanged, &ENVIRONMENT, names, room);
                        rendered.map_err(|error| error.unwrap_or_else(failed))?
                    }
                    rendered => rendered.map_err(|error| error.expect("looked at above"))?,
                };
                room.take(text.len())?;
                Json::String(text)
            }
            Template::Secret(name) => {
                return Err(RenderError::Failed(format!("the secret {name:?} is no part of a template")));
            }
            Template::List(items) => {
                let depth = below()?;
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let rendered = self.render_at(item, names, room, depth);
                    list.push(rendered.map_err(|error| error.within(&format!("[{index}]")))?);
                }
                Json::Array(list)
            }
            Template::Object(fields) => {
                let depth = below()?;
                let mut object = Map::new();
                for (name, field) in fields {
                    let rendered = self.render_at(field, names, room, depth);
                    object.insert(name.clone(), rendered.map_err(|error| error.within(&format!(".{name}")))?);
                }
                Json::Object(object)
            }
        })
    }
}

/// Renders a text, in `environment` where its operators are exchanged; fails with nothing where the fuel did not
/// suffice.
fn render_text(
    template: &minijinja::Template<'_, '_>,
    exchanged: bool,
    environment: &Environment<'_>,
    names: &dyn Names,
    room: &Room,
) -> Result<String, Option<RenderError>> {
    let failed = |error: Error| match error.kind() {
        ErrorKind::OutOfFuel => None,
        _ => Some(RenderError::Failed(message(&error))),
    };
    if exchanged {
        // It is written whole before it is measured: its fuel bounds it.
        let text =
            exchange::render(environment, template.source(), names.rendered().clone()).map_err(failed)?;
        return if text.len() > room.left { Err(Some(RenderError::TooLarge(room.limit))) } else { Ok(text) };
    }
    let mut writer = Bounded { bytes: Vec::new(), room: room.left };
    let rendered = template.render_captured_to(names.rendered().clone(), &mut writer);
    if writer.bytes.len() > writer.room {
        return Err(Some(RenderError::TooLarge(room.limit)));
    }
    match rendered {
        Ok(_) => Ok(String::from_utf8(writer.bytes).expect("templates write UTF-8")),
        Err(error) => Err(failed(error)),
    }
}

/// What templates read.
pub(crate) trait Names {
    /// The value a path leads to, where that is at hand and there is one; it need not be.
    fn find(&self, path: &[String]) -> Option<&Json>;

    /// Everything, as the engine reads it.
    fn rendered(&self) -> &Rendered;
}

impl Names for Rendered {
    fn find(&self, _: &[String]) -> Option<&Json> {
        None
    }

    fn rendered(&self) -> &Rendered {
        self
    }
}

/// Follows names from `value` on, through objects.
pub(crate) fn follow<'a>(value: &'a Json, path: &[String]) -> Option<&'a Json> {
    path.iter().try_fold(value, |value, name| value.as_object()?.get(name))
}

/// The names an expression follows, if it does nothing else.
fn path_of(source: &str) -> Option<Vec<String>> {
    let is_name = |name: &str| {
        !name.starts_with(|first: char| first.is_ascii_digit())
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    source.split('.').map(|name| is_name(name).then(|| name.to_owned())).collect()
}

/// The name in `secrets.name`, if `expression` is that and nothing else.
fn secret_name(expression: &str) -> Option<&str> {
    let name = expression.strip_prefix("secrets.")?;
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    (!name.is_empty() && name.bytes().all(good)).then_some(name)
}

/// Whether a value counts as true: neither null nor false, zero nor empty.
pub(crate) fn is_true(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(boolean) => *boolean,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(fields) => !fields.is_empty(),
    }
}

/// How many bytes of rendered values a step may still hold; and what rendering them may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    limit: usize,
    left: usize,
    /// Templates and bytes that may be computed still; no bound if absent, apart from their fuel.
    little: Option<(u32, usize)>,
    spent: bool,
    /// Templates that may still cost more than little, each up to [`FUEL`].
    costly: u32,
}

impl Room {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, left: limit, little: None, spent: false, costly: u32::MAX }
    }

    /// As [`Self::new`], where so many templates may cost more than little.
    pub(crate) fn with_costly(limit: usize, costly: u32) -> Self {
        Self { costly, ..Self::new(limit) }
    }

    /// How many templates may still cost more than little.
    pub(crate) fn costly(&self) -> u32 {
        self.costly
    }

    /// As [`Self::new`], for rendering between other tasks: what costs more than little fails, and then
    /// [`Self::is_spent`].
    pub(crate) fn little(limit: usize) -> Self {
        Self { little: Some((LITTLE_TEMPLATES, LITTLE_BYTES)), ..Self::new(limit) }
    }

    /// Whether rendering failed because it may only cost little.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent
    }

    fn take(&mut self, bytes: usize) -> Result<(), RenderError> {
        self.left = self.left.checked_sub(bytes).ok_or(RenderError::TooLarge(self.limit))?;
        Ok(())
    }

    fn take_computed(&mut self, bytes: usize) -> Result<(), RenderError> {
        self.take(bytes)?;
        self.pay(0, bytes)
    }

    fn take_template(&mut self) -> Result<(), RenderError> {
        self.pay(1, 0)
    }

    /// Pays for a template to be compiled.
    fn compile(&mut self, source: &str) -> Result<(), RenderError> {
        if source.len() > LITTLE_SOURCE { self.spend() } else { Ok(()) }
    }

    fn pay(&mut self, templates: u32, bytes: usize) -> Result<(), RenderError> {
        let Some((templates_left, bytes_left)) = &mut self.little else { return Ok(()) };
        match (templates_left.checked_sub(templates), bytes_left.checked_sub(bytes)) {
            (Some(templates), Some(bytes)) => {
                (*templates_left, *bytes_left) = (templates, bytes);
                Ok(())
            }
            _ => self.spend(),
        }
    }

    /// Notes that it costs more than little; fails where it may not.
    fn spend(&mut self) -> Result<(), RenderError> {
        if self.little.is_none() {
            let Some(less) = self.costly.checked_sub(1) else {
                return Err(RenderError::Failed(
                    "the templates before it took all the time there is".to_owned(),
                ));
            };
            self.costly = less;
            return Ok(());
        }
        self.spent = true;
        Err(RenderError::Failed(ErrorKind::OutOfFuel.to_string()))
    }
}

/// Takes text up to one write over its room.
struct Bounded {
    bytes: Vec<u8>,
    room: usize,
}

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > self.room {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What stands between `{{` and `}}`, if that is all there is.
fn sole_expression(text: &str) -> Option<&str> {
    let inside = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    // `{{-` and `-}}` trim blanks in a text; here there are none to trim.
    let inside = inside.strip_prefix(['-', '+']).unwrap_or(inside);
    Some(inside.strip_suffix(['-', '+']).unwrap_or(inside).trim())
}

/// One line on an error and its causes. Engine errors name variables and types, never values.
fn message(error: &Error) -> String {
    let mut text = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    if let Some(line) = error.line().filter(|line| *line > 1) {
        text.push_str(&format!(" (line {line} of the template)"));
    }
    text
}

#[cfg(test)]
mod tests;
