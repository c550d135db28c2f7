//! Inputs as templates: compiled once, rendered over the trigger and earlier outputs.
//!
//! A text that is one `{{ expression }}` and nothing else, blanks around it aside, keeps its value's type. Any other
//! text with `{{`, `{%` or `{#` in it renders to text: lists, objects and booleans as JSON, `null` as nothing. Lists
//! and objects are rendered item by item, and everything else is passed as it is.
//!
//! A variable that is not there is an error. Templates reach no files and no other templates; fuel bounds what one
//! costs, and [`RenderError::TooLarge`] what all of a step's give.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value as Rendered, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Expression, Output, State, UndefinedBehavior};
use serde_json::{Map, Number, Value as Json};

/// What one template may cost. One unit pays for an instruction or 64 bytes, and 16 for each 64 bytes that `tojson`
/// writes: a payload of 1 MiB can be written as JSON three times. Spent in full it takes about 10 ms.
const FUEL: u64 = 800_000;

/// How many templates a playbook may hold: with [`FUEL`], what all of them cost at most.
const TEMPLATES: usize = 2_000;

/// How deep lists and objects may lie in each other; serde_json reads as deep.
const DEPTH: usize = 128;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| environment(UndefinedBehavior::Strict));

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
    environment.set_formatter(write_value);
    environment.set_fuel(Some(FUEL));
    // Names the undefined variable in an error; the values it also gathers are never printed.
    environment.set_debug(true);
    environment.remove_global("debug");
    environment.set_syntax(
        SyntaxConfig::builder()
            .keep_trailing_newline(true)
            .build()
            .expect("the usual delimiters are good ones"),
    );
    environment
}

/// Writes what an expression inside a text came to.
fn write_value(output: &mut Output, state: &mut State, value: &Rendered) -> Result<(), Error> {
    match value.kind() {
        ValueKind::None => Ok(()),
        ValueKind::Bool => {
            output.write_str(if value.is_true() { "true" } else { "false" }).map_err(Error::from)
        }
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            let mut charge = |bytes: usize| {
                state
                    .consume_fuel(bytes as u64 / 4 + 1)
                    .map_err(|error| RenderError::Failed(error.to_string()))
            };
            let json = to_json(value, DEPTH, &mut charge).map_err(|error| match error {
                RenderError::Failed(problem) => Error::new(ErrorKind::BadSerialization, problem),
                RenderError::TooLarge(_) => Error::from(ErrorKind::OutOfFuel),
            })?;
            output.write_str(&json.to_string()).map_err(Error::from)
        }
        _ => minijinja::escape_formatter(output, state, value),
    }
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
        /// Ready to run.
        expression: Expression<'static, 'static>,
    },
    /// Renders to text.
    Text {
        /// Its name in the compiler's environment.
        name: String,
    },
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
            Self::Expression { .. } | Self::Text { .. } => None,
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
    /// The step's inputs are larger than this in all.
    TooLarge(usize),
}

/// The templates of one playbook.
#[derive(Debug)]
pub(crate) struct Compiler {
    environment: Environment<'static>,
    templates: usize,
}

impl Compiler {
    pub(crate) fn new() -> Self {
        Self { environment: ENVIRONMENT.clone(), templates: 0 }
    }

    /// Compiles `text` and adds what it reads to `variables`.
    ///
    /// # Errors
    /// What does not read, as a phrase.
    pub(crate) fn compile(&mut self, text: &str, variables: &mut Variables) -> Result<Template, String> {
        if !["{{", "{%", "{#"].iter().any(|opening| text.contains(opening)) {
            return Ok(Template::Literal(text.into()));
        }
        self.templates += 1;
        if self.templates > TEMPLATES {
            return Err(format!("at most {TEMPLATES} templates in one playbook"));
        }
        if let Some(expression) = sole_expression(text)
            && let Ok(compiled) = ENVIRONMENT.compile_expression_owned(expression.to_owned())
        {
            variables.extend(compiled.undeclared_variables(true));
            let forgiving = FORGIVING.compile_expression_owned(expression.to_owned());
            Self::unknown_name(forgiving.and_then(|expression| expression.eval(())).err())?;
            return Ok(Template::Expression { source: expression.to_owned(), expression: compiled });
        }
        let name = format!("text-{}", self.templates);
        self.environment
            .add_template_owned(name.clone(), text.to_owned())
            .map_err(|error| format!("a template that reads: {}", message(&error)))?;
        let template = self.environment.get_template(&name).map_err(|error| message(&error))?;
        variables.extend(template.undeclared_variables(true));
        Self::unknown_name(FORGIVING.render_str(text, ()).err())?;
        Ok(Template::Text { name })
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
        context: &Rendered,
        room: &mut Room,
    ) -> Result<Json, RenderError> {
        Ok(match template {
            Template::Literal(json) => {
                room.take(size(json))?;
                json.clone()
            }
            Template::Expression { source, expression } => {
                let value =
                    expression.eval(context.clone()).map_err(|error| RenderError::Failed(message(&error)))?;
                if value.is_undefined() {
                    return Err(RenderError::Failed(format!("`{source}` is undefined")));
                }
                to_json(&value, DEPTH, &mut |bytes| room.take(bytes))?
            }
            Template::Text { name } => {
                let template = self.environment.get_template(name).expect("every text was compiled");
                let mut writer = Bounded { bytes: Vec::new(), room: room.left };
                let rendered = template.render_captured_to(context.clone(), &mut writer);
                if writer.bytes.len() > writer.room {
                    return Err(RenderError::TooLarge(room.limit));
                }
                rendered.map_err(|error| RenderError::Failed(message(&error)))?;
                room.take(writer.bytes.len())?;
                Json::String(String::from_utf8(writer.bytes).expect("templates write UTF-8"))
            }
            Template::List(items) => {
                items.iter().map(|item| self.render(item, context, room)).collect::<Result<_, _>>()?
            }
            Template::Object(fields) => {
                let mut object = Map::new();
                for (name, field) in fields {
                    object.insert(name.clone(), self.render(field, context, room)?);
                }
                Json::Object(object)
            }
        })
    }
}

/// How many bytes of rendered values a step may still hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    limit: usize,
    left: usize,
}

impl Room {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, left: limit }
    }

    fn take(&mut self, bytes: usize) -> Result<(), RenderError> {
        self.left = self.left.checked_sub(bytes).ok_or(RenderError::TooLarge(self.limit))?;
        Ok(())
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

/// JSON as templates read it.
pub(crate) fn from_json(json: &Json) -> Rendered {
    Serde(json).into()
}

/// A rendered value as JSON. `charge` is told of every part's bytes before they are taken: a small expression can
/// stand for a large value, such as a range repeated in a list.
fn to_json(
    value: &Rendered,
    depth: usize,
    charge: &mut dyn FnMut(usize) -> Result<(), RenderError>,
) -> Result<Json, RenderError> {
    let failed = |problem: String| RenderError::Failed(problem);
    let Some(depth) = depth.checked_sub(1) else {
        return Err(failed(format!("lists and objects lie more than {DEPTH} deep in each other")));
    };
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
            charge(3)?;
            let items = value.try_iter().map_err(|error| failed(message(&error)))?;
            items.map(|item| to_json(&item, depth, charge)).collect::<Result<_, _>>()?
        }
        ValueKind::Map => {
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

fn number(value: &Rendered) -> Result<Number, String> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn context() -> Rendered {
        from_json(&json!({
            "trigger": {"body": {"z": 1, "a": [1, 2.5, null, true], "text": "é\n", "big": u64::MAX, "none": null}},
            "steps": {"one": {"total": 7, "list": ["a", "b"]}},
        }))
    }

    fn render(text: &str) -> Result<Json, RenderError> {
        let mut compiler = Compiler::new();
        let template = compiler.compile(text, &mut Variables::new()).map_err(RenderError::Failed)?;
        compiler.render(&template, &context(), &mut Room::new(1000))
    }

    #[test]
    fn a_sole_expression_keeps_its_type_and_other_text_stays_text() {
        let cases = [
            ("plain", json!("plain")),
            ("plain } text", json!("plain } text")),
            ("{{ steps.one.total }}", json!(7)),
            ("  {{- steps.one.total -}}\n", json!(7)),
            ("{{ steps.one.total }}.", json!("7.")),
            ("{{ steps.one.total }}{{ steps.one.total }}", json!("77")),
            ("{{ steps.one.total * 1.5 }}", json!(10.5)),
            ("{{ trigger.body.a }}", json!([1, 2.5, null, true])),
            ("{{ trigger.body.big }}", json!(u64::MAX)),
            ("{{ trigger.body.none }}", json!(null)),
            ("{{ steps.one }}", json!({"total": 7, "list": ["a", "b"]})),
            ("{{ {'a': 1} }}", json!({"a": 1})),
            ("{{ '}} {{' }}", json!("}} {{")),
            ("{{ trigger.body.text }}", json!("é\n")),
            ("{{ trigger.body.missing | default(0) }}", json!(0)),
            ("{{ trigger.body.a | length }}", json!(4)),
            ("{{ trigger.body.a | tojson }}", json!("[1, 2.5, null, true]")),
            ("{% for x in steps.one.list %}{{ x }},{% endfor %}", json!("a,b,")),
            ("all: {{ trigger.body.a }}", json!("all: [1,2.5,null,true]")),
            ("{{ steps.one }} ", json!({"total": 7, "list": ["a", "b"]})),
            ("{{ trigger.body.text }}|{{ trigger.body.none }}|{{ true }}", json!("é\n||true")),
            ("first\n{{ 1 }}\n", json!("first\n1\n")),
            ("<{{ '<b>' }}>", json!("<<b>>")),
            ("{# nothing #}", json!("")),
            ("{{ range(3) }}", json!([0, 1, 2])),
        ];
        for (text, expected) in cases {
            assert_eq!(render(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn fields_keep_the_order_they_were_written_in() {
        let Ok(Json::Object(body)) = render("{{ trigger.body }}") else { panic!() };
        assert_eq!(body.keys().collect::<Vec<_>>(), ["z", "a", "text", "big", "none"]);
    }

    #[test]
    fn what_cannot_be_rendered_says_why() {
        let cases = [
            ("{{ trigger.body.missing }}", "`trigger.body.missing` is undefined"),
            ("is {{ trigger.body.missing }}", "`trigger.body.missing` is undefined"),
            ("{{ trigger.nobody.missing }}", "`trigger.nobody` is undefined"),
            ("{{ 1 if false }}", "undefined"),
            ("{{ [trigger.body.missing] }}", "undefined"),
            ("{{ 1e308 * 10 }}", "not finite"),
            ("{{ 2 ** 100 }}", "beyond 64 bits"),
            ("{{ range }}", "no value"),
            ("{% for x in range(100000) %}{% for y in range(100000) %}{% endfor %}{% endfor %}x", "fuel"),
            ("{{ 'x' * 1000000000 }}", "fuel"),
            ("a {{ [range(100000)] * 100000 }}", "fuel"),
            ("{{ 'x' | int }}", "literal"),
        ];
        for (text, expected) in cases {
            match render(text) {
                Err(RenderError::Failed(message)) => assert!(message.contains(expected), "{text}: {message}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_does_not_read_is_refused_before_it_runs() {
        let cases = [
            "{{ trigger. }}",
            "{{ a b }} {{ c }}",
            "{% if x %}",
            "{{ x",
            "{{ x | nonsense }}",
            "{{ x is nonsense }}",
            "a {{ x | nonsense }}",
            "{% include 'secrets' %}",
        ];
        for text in cases {
            let error = Compiler::new().compile(text, &mut Variables::new()).map(drop).expect_err(text);
            assert!(error.starts_with("a template that reads"), "{text}: {error}");
        }
    }

    #[test]
    fn all_of_a_steps_values_share_one_room() {
        for text in ["{{ 'x' * 600 }}", "a{{ 'x' * 600 }}", "{{ [range(300)] * 300 }}"] {
            let mut compiler = Compiler::new();
            let template = Template::List(vec![
                Template::Literal("y".repeat(500).into()),
                compiler.compile(text, &mut Variables::new()).unwrap(),
            ]);
            let rendered = compiler.render(&template, &context(), &mut Room::new(1000));
            assert_eq!(rendered, Err(RenderError::TooLarge(1000)), "{text}");
        }
    }

    #[test]
    fn variables_are_found_wherever_they_are_read() {
        let mut variables = Variables::new();
        Compiler::new()
            .compile(
                "{% for c in trigger.body.commits %}{{ c.id }}{{ steps['a'].b }}{{ range(run.x) }}{% endfor %}",
                &mut variables,
            )
            .unwrap();
        let expected = ["range", "run.x", "steps", "trigger.body.commits"].map(String::from);
        assert_eq!(variables, Variables::from(expected));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_engine_panic(text in "(\\{\\{|\\}\\}|\\{%|%\\}|[a-z .|'(){}\\[\\]~*/0-9é-]|steps\\.one\\.list| if | for | in ){0,30}") {
            let mut compiler = Compiler::new();
            if let Ok(template) = compiler.compile(&text, &mut Variables::new()) {
                let _ = compiler.render(&template, &context(), &mut Room::new(1000));
            }
        }

        #[test]
        fn text_without_a_template_is_passed_as_it_is(text in "[^{]*") {
            prop_assert_eq!(render(&text[..text.floor_char_boundary(900)]), Ok(Json::from(&text[..text.floor_char_boundary(900)])));
        }
    }
}
