//! A document's trigger: its schedule and its condition, checked and ready.

use bellwether_kernel::{FieldError, Timestamp};
use bellwether_metrics::NamePattern;

use super::inputs::{check_type, compile_expression};
use super::{Fault, fault};
use crate::position::Path;
use crate::schedule::Schedule;
use crate::template::{Compiler, Template};
use crate::trigger::fields;
use crate::{DeclaredInput, ErrorAction, Trigger, TriggerOn, ValueType};

/// The longest pattern of a key, a monitor's name, a label or a tag, in bytes.
const PATTERN: usize = 500;
/// The longest name of a header.
const HEADER: usize = 100;
/// The most of what `on_error_times` may say.
const ERROR_TIMES: u32 = 1_000;

/// The most patterns of labels, and of tags.
const PATTERNS: usize = 32;

/// The condition of a metric or alert trigger and the schedule of one by time; `now` for one that is to be due yet.
pub(super) fn compile(
    path: &Path,
    trigger: &Trigger,
    compiler: &mut Compiler,
    now: Option<Timestamp>,
) -> Result<(Option<Template>, Option<Schedule>), Fault> {
    let on_error = &trigger.on_error;
    if on_error.action != ErrorAction::Log && !(1..=ERROR_TIMES).contains(&on_error.times) {
        return fault(&path.field("on_error_times"), on_error.times, format!("1 to {ERROR_TIMES}"));
    }
    if on_error.delay.0 > super::steps::LONGEST_DELAY {
        return fault(&path.field("on_error_delay"), on_error.delay, "at most 31 days");
    }
    match &trigger.on {
        TriggerOn::Webhook { signature, delivery_id } => {
            if let Some(signature) = signature {
                check_secret_name(&path.field("signature").field("secret"), &signature.secret)?;
            }
            if let Some(name) = delivery_id {
                let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                if name.is_empty() || name.len() > HEADER || !name.bytes().all(good) {
                    return fault(&path.field("delivery_id"), name, "the name of a header");
                }
            }
            Ok((None, None))
        }
        TriggerOn::Cron { expression, time_zone, .. } => {
            let schedule = placed(path, Schedule::cron(expression, time_zone))?;
            if now.is_some_and(|now| schedule.next_after(now).is_none()) {
                let expected = "times of which one is yet to come: these are all past";
                return fault(&path.field("expression"), expression, expected);
            }
            Ok((None, Some(schedule)))
        }
        TriggerOn::Every { interval, .. } => {
            let schedule = placed(path, Schedule::every(interval.0, Timestamp::default()))?;
            Ok((None, Some(schedule)))
        }
        TriggerOn::Metric { metric, key, when, .. } => {
            if let Err(error) = metric.parse::<NamePattern>() {
                return fault(
                    &path.field("metric"),
                    metric,
                    format!("a metric's name, in which * stands for any characters: {error}"),
                );
            }
            if let Some(key) = key {
                check_pattern(&path.field("key"), key)?;
            }
            Ok((condition(path, trigger, when.as_deref(), compiler)?, None))
        }
        TriggerOn::Alert { moves, monitor, labels, tags, when, .. } => {
            if moves.is_empty() {
                return fault(&path.field("moves"), "[]", "one or more of open, update, close");
            }
            if let Some(monitor) = monitor {
                check_pattern(&path.field("monitor"), monitor)?;
            }
            for (name, patterns) in [("labels", labels), ("tags", tags)] {
                let path = path.field(name);
                if patterns.len() > PATTERNS {
                    return fault(&path, patterns.len(), format!("at most {PATTERNS}"));
                }
                for (name, pattern) in patterns {
                    check_pattern(&path.field(name), pattern)?;
                }
            }
            Ok((condition(path, trigger, when.as_deref(), compiler)?, None))
        }
        TriggerOn::Manual { inputs } | TriggerOn::Playbook { inputs } => {
            for (name, input) in inputs {
                let path = path.field("inputs").field(name);
                check_declared(&path, name, input)?;
                // One that was stored before this was refused is run as it is.
                if now.is_some() {
                    check_secrecy(&path, input)?;
                }
            }
            Ok((None, None))
        }
    }
}

fn check_pattern(path: &Path, pattern: &str) -> Result<(), Fault> {
    if pattern.len() <= PATTERN {
        return Ok(());
    }
    fault(path, pattern, format!("at most {PATTERN} bytes"))
}

/// The condition `when`, which reads what `trigger` holds without saying `trigger`.
fn condition(
    path: &Path,
    trigger: &Trigger,
    when: Option<&str>,
    compiler: &mut Compiler,
) -> Result<Option<Template>, Fault> {
    let Some(when) = when else { return Ok(None) };
    let (path, fields) = (path.field("when"), fields(trigger));
    let compiled = compile_expression(&path, when, compiler)?;
    for variable in &compiled.variables {
        if !fields.contains(&variable.split('.').next().unwrap_or_default()) {
            return fault(&path, variable, format!("one of the variables {}", fields.join(", ")));
        }
    }
    Ok(Some(compiled.template))
}

/// A fault of a schedule at the place of its field.
fn placed<T>(path: &Path, made: Result<T, FieldError>) -> Result<T, Fault> {
    made.map_err(|mut error| {
        let path = path.field(&error.field);
        error.field = path.to_string();
        Fault { path, error }
    })
}

pub(super) fn check_secret_name(path: &Path, name: &str) -> Result<(), Fault> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if (1..=100).contains(&name.len()) && name.bytes().all(good) {
        return Ok(());
    }
    fault(path, name, "the name of a secret: 1 to 100 characters of a-z, 0-9, _ and -")
}

/// Refuses what would show a secret to everybody who may read the document.
fn check_secrecy(path: &Path, input: &DeclaredInput) -> Result<(), Fault> {
    if !input.secret {
        return Ok(());
    }
    let said = [("default", input.default.is_some()), ("choices", !input.choices.is_empty())];
    match said.into_iter().find(|(_, said)| *said) {
        Some((field, _)) => {
            let expected = format!("no {field}: whoever reads the document would see the secret");
            fault(&path.field(field), crate::secrets::MASK, expected)
        }
        None => Ok(()),
    }
}

fn check_declared(path: &Path, name: &str, input: &DeclaredInput) -> Result<(), Fault> {
    super::steps::check_id(path, name)?;
    if !input.choices.is_empty() && input.value_type != ValueType::Text {
        return fault(
            &path.field("choices"),
            input.choices.join(", "),
            "choices only for an input of type text",
        );
    }
    let Some(default) = &input.default else { return Ok(()) };
    let path = path.field("default");
    check_type(&path, input.value_type, &Template::Literal(default.clone()))?;
    match default.as_str() {
        Some(text) if !input.choices.is_empty() && !input.choices.iter().any(|choice| choice == text) => {
            fault(&path, text, format!("one of {}", input.choices.join(", ")))
        }
        _ => Ok(()),
    }
}
