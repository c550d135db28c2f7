//! What a playbook says, read from TOML or JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::PlaybookError;
use crate::position::line_and_column;

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// TOML.
    Toml,
    /// JSON.
    Json,
}

/// A playbook's document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// 1 to 100 characters of `a-z0-9-`, not digits alone, unique in its organisation.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// What starts it.
    pub trigger: Trigger,
    /// What it does, in order.
    pub steps: Vec<Step>,
}

/// What starts a playbook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Trigger {
    /// A request to the playbook's own URL.
    Webhook {},
    /// A call of the API or the command line.
    Manual {},
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// 1 to 50 characters of `a-z0-9_`, the first no digit, unique in the playbook: later steps read
    /// `steps.<id>.<output>`.
    pub id: String,
    /// Which app.
    pub app: String,
    /// Its inputs; texts are templates.
    #[serde(default)]
    pub inputs: serde_json::Map<String, serde_json::Value>,
}

/// What toml makes of a date where any JSON is wanted: an object with this one field.
const TOML_DATE: &str = "$__toml_private_datetime";

impl Document {
    /// Reads a document. What it says is not looked at: see [`crate::Playbooks::validate`].
    ///
    /// # Errors
    /// [`PlaybookError::Syntax`] for text that is not TOML or JSON, for unknown, missing and repeated fields.
    pub fn read(source: &str, format: Format) -> Result<Self, PlaybookError> {
        match format {
            Format::Toml => {
                let mut document: Self = toml::from_str(source).map_err(|error| {
                    let offset = error.span().map_or(0, |span| span.start);
                    syntax(line_and_column(source, offset), error.message())
                })?;
                document.steps.iter_mut().flat_map(|step| step.inputs.values_mut()).for_each(dates_to_text);
                Ok(document)
            }
            Format::Json => serde_json::from_str(source).map_err(|error| {
                let place = format!(" at line {} column {}", error.line(), error.column());
                let message = error.to_string();
                syntax((error.line(), error.column()), message.strip_suffix(&place).unwrap_or(&message))
            }),
        }
    }
}

fn syntax((line, column): (usize, usize), message: &str) -> PlaybookError {
    // Some of the parsers' messages span lines.
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    PlaybookError::Syntax { line: line.max(1), column: column.max(1), message }
}

/// TOML has dates and JSON has none: they become the text they were written as.
fn dates_to_text(value: &mut Json) {
    match value {
        Json::Object(fields) => match fields.get(TOML_DATE) {
            Some(date) => *value = date.clone(),
            None => fields.values_mut().for_each(dates_to_text),
        },
        Json::Array(items) => items.iter_mut().for_each(dates_to_text),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TOML: &str = r#"
name = "count"
description = "Counts."

[trigger]
type = "webhook"

[[steps]]
id = "add"
app = "metric"

[steps.inputs]
value = 1
date = 2024-04-01
times = [2024-04-01T10:00:00Z]
"#;

    #[test]
    fn toml_and_json_say_the_same() {
        let json = json!({
            "name": "count", "description": "Counts.", "trigger": {"type": "webhook"},
            "steps": [{"id": "add", "app": "metric", "inputs": {
                "value": 1, "date": "2024-04-01", "times": ["2024-04-01T10:00:00Z"],
            }}],
        });
        let from_toml = Document::read(TOML, Format::Toml).unwrap();
        assert_eq!(from_toml, Document::read(&json.to_string(), Format::Json).unwrap());
        assert_eq!(from_toml.trigger, Trigger::Webhook {});
    }

    #[test]
    fn what_does_not_read_is_refused_with_its_place() {
        let cases = [
            (Format::Toml, TOML.replace("name = ", "name : "), (2, 6), "key"),
            (Format::Toml, TOML.replace("app =", "apps ="), (10, 1), "unknown field `apps`"),
            (Format::Toml, TOML.replace("webhook", "telepathy"), (6, 8), "unknown variant `telepathy`"),
            (Format::Toml, TOML.replace("name = \"count\"", "name = 1"), (2, 8), "string"),
            (Format::Toml, TOML.replace("id = \"add\"\n", ""), (8, 1), "missing field `id`"),
            (Format::Toml, TOML.replace("name = \"count\"", ""), (1, 1), "missing field `name`"),
            (Format::Json, "{\n  \"name\": \"a\",\n  \"nam\": 1}".into(), (3, 7), "unknown field `nam`"),
            (Format::Json, "{\n  \"name\": \"a\",\n}".into(), (3, 1), "trailing comma"),
            (Format::Json, "".into(), (1, 1), "EOF"),
            (Format::Json, "{\"name\": \"a\"} x".into(), (1, 13), "missing field `trigger`"),
        ];
        for (format, source, place, expected) in cases {
            let error = Document::read(&source, format).unwrap_err();
            let PlaybookError::Syntax { line, column, message } = &error else { panic!("{error}") };
            assert!(message.contains(expected), "{message}");
            assert_eq!((*line, *column), place, "{error}");
        }
    }
}
