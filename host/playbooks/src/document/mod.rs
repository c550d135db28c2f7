//! What a playbook says, read from TOML or JSON.

mod json;
mod trigger;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;
use serde_path_to_error::Segment;

use crate::position::{Path, line_and_column, locate};
use crate::{Period, PlaybookError};

pub(crate) use json::check_names;
pub(crate) use trigger::is_default;
pub use trigger::{
    AlertMove, DeclaredInput, ErrorAction, Missed, OnError, SignatureCheck, Trigger, TriggerKind, TriggerOn,
};

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What starts it.
    pub trigger: Trigger,
    /// What happens when it is started while it still runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub concurrency: Concurrency,
    /// How long a run may take from its first step on; the host's bound if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
    /// How long its runs are kept, within the host's own bound.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retention: Retention,
    /// What it does, in order.
    pub steps: Vec<Step>,
    /// What it does, in order, after a run failed, ran out of time or was cancelled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_failure: Vec<Step>,
    /// What a playbook that has this one as a step reads of it; texts are templates.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub outputs: serde_json::Map<String, serde_json::Value>,
}

/// What happens when a playbook is started while it still runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concurrency {
    /// Which.
    #[serde(default)]
    pub policy: Policy,
    /// How many runs there may be at once for any policy but `allow`; 1 if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What happens to a run more than a playbook may have at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// There is no bound but the host's.
    #[default]
    Allow,
    /// It waits, in the order it came.
    Queue,
    /// It is recorded as skipped.
    Skip,
    /// It takes the place of the oldest, which is cancelled.
    Replace,
}

/// How long runs are kept once they have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// So many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// The newest so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<u32>,
}

/// One step. It has exactly one of `app`, `playbook`, `delay` and `stop`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// 1 to 50 characters of `a-z0-9_`, the first no digit, unique in the playbook: later steps read
    /// `steps.<id>.<output>`.
    pub id: String,
    /// Calls this app: `metric`, or one version of it whatever is installed later, `metric@0.1.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Runs this playbook, one with a trigger of type `playbook`, and waits for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbook: Option<String>,
    /// Waits so long: a span of time, or a template that gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
    /// Ends the run so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// Why a `stop` ends the run; a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its inputs; texts are templates.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub inputs: serde_json::Map<String, serde_json::Value>,
    /// The step is skipped unless this expression holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The step is taken once for each item of this list, which its templates read as `item` (and `index`, from 0): an
    /// expression that gives a list, or a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<serde_json::Value>,
    /// Of how many items at once; 1 if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// What an item that fails means for the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_item_error: Option<OnItemError>,
    /// Tries again what failed, where its error says that this may help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryRule>,
    /// How long one call may take: of an app the host's bound if it is not given, of a playbook what that says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
}

/// How a `stop` ends the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// Its work is done.
    Succeeded,
    /// It failed, and the on-failure steps follow.
    Failed,
}

/// What an item that fails means for its step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnItemError {
    /// No more items are begun, and the step fails.
    #[default]
    Fail,
    /// The others are taken all the same, and the step succeeds; its outputs are `null` at that item's place.
    Continue,
}

/// How often and when a step is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryRule {
    /// How many attempts there are in all, the first one counted.
    pub attempts: u32,
    /// How long after the first attempt; a second if it is not given. An error may ask for longer.
    #[serde(default = "a_second")]
    pub delay: Period,
    /// By what the delay is multiplied from attempt to attempt; 2 if it is not given.
    #[serde(default = "twice")]
    pub backoff: f64,
    /// The longest the delay grows to; an hour if it is not given.
    #[serde(default = "an_hour")]
    pub max_delay: Period,
}

fn a_second() -> Period {
    Period::seconds(1)
}

fn an_hour() -> Period {
    Period::seconds(3_600)
}

fn twice() -> f64 {
    2.0
}

impl RetryRule {
    /// How long after attempt number `attempt`, counted from 1, the next one comes.
    pub(crate) fn wait_after(&self, attempt: u32) -> Period {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let longest = self.max_delay.0.as_secs_f64().max(self.delay.0.as_secs_f64());
        let seconds = (self.delay.0.as_secs_f64() * self.backoff.powi(exponent)).clamp(0.0, longest);
        Period(std::time::Duration::try_from_secs_f64(seconds).unwrap_or(self.max_delay.0))
    }
}

/// What toml makes of a date where any JSON is wanted: an object with this one field.
const TOML_DATE: &str = "$__toml_private_datetime";

impl Document {
    /// Reads a document. What it says is not looked at: see [`crate::Playbooks::validate`].
    ///
    /// # Errors
    /// [`PlaybookError::Syntax`] for text that is not TOML or JSON, for unknown, missing and repeated fields; of values
    /// that may be any JSON the last field of a name counts.
    pub fn read(source: &str, format: Format) -> Result<Self, PlaybookError> {
        let source = unmarked(source);
        match format {
            Format::Toml => {
                let mut document: Self = toml::from_str(source).map_err(|error| {
                    let offset = error.span().map_or(0, |span| span.start);
                    let field = toml::Deserializer::parse(source).ok().and_then(refused);
                    match field.as_ref().and_then(|field| unknown_in(field, error.message())) {
                        Some(field) => {
                            syntax(locate(source, format, &field), Some(&field), error.message(), format)
                        }
                        None => {
                            let place = line_and_column(source, offset);
                            syntax(place, field.as_ref(), error.message(), format)
                        }
                    }
                })?;
                let steps = document.steps.iter_mut().chain(&mut document.on_failure);
                let values = steps.flat_map(|step| step.inputs.values_mut().chain(&mut step.each));
                values.chain(document.outputs.values_mut()).for_each(dates_to_text);
                Ok(document)
            }
            Format::Json => json::read(source),
        }
    }
}

/// A document without the mark some editors put before it, which is no part of it.
pub(crate) fn unmarked(source: &str) -> &str {
    source.strip_prefix('\u{feff}').unwrap_or(source)
}

/// The path of a field the trigger does not have: the trigger is refused as a whole, once its fields are known.
fn unknown_in(refused: &Path, message: &str) -> Option<Path> {
    if *refused != Path::default().field("trigger") {
        return None;
    }
    let (_, rest) = message.split_once("unknown field `").or_else(|| message.split_once("has no field `"))?;
    Some(refused.field(rest.split('`').next()?))
}

/// Which value or field is refused, reading it once more: the parsers themselves do not tell. `None` if it is none, but the
/// whole or the writing of it.
fn refused<'de>(reader: impl Deserializer<'de>) -> Option<Path> {
    let refused = serde_path_to_error::deserialize::<_, Document>(reader).err()?;
    let path = refused.path().iter().fold(Path::default(), |path, segment| match segment {
        Segment::Map { key } => path.field(key),
        Segment::Seq { index } => path.item(*index),
        Segment::Enum { .. } | Segment::Unknown => path,
    });
    (!path.0.is_empty()).then_some(path)
}

fn syntax(
    (line, column): (usize, usize),
    field: Option<&Path>,
    message: &str,
    format: Format,
) -> PlaybookError {
    // Some of the parsers' messages span lines.
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let message = plainly(message, format);
    let field = field.map(Path::to_string);
    PlaybookError::Syntax { line: line.max(1), column: column.max(1), field, message }
}

/// What a parser's message expects, in the words of whoever writes documents and not of the host's code.
fn plainly(message: String, format: Format) -> String {
    let Some((said, expected)) = message.rsplit_once("expected ") else { return message };
    let table = if format == Format::Toml { "a table" } else { "an object" };
    let plain = match expected {
        "f64" => "a number",
        "u32" => "a whole number, 0 or more",
        "a sequence" => "a list",
        "a map" => table,
        structure if structure.starts_with("struct ") => table,
        _ => return message,
    };
    format!("{said}expected {plain}")
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
mod tests;
