//! One step of a document: what it does, when, how often, and what it is given.

use std::time::Duration;

use bellwether_kernel::FieldError;
use serde_json::Value as Json;

use super::inputs::{check_inputs, compile_expression, compile_inputs, compile_value};
use super::scope::Scope;
use super::{Action, Catalogue, CompiledInput, CompiledStep, Each, Fault, LONGEST_RUN, fault, listed};
use crate::app::named_version;
use crate::position::Path;
use crate::template::{Compiler, Template};
use crate::{AppDescription, Period, RetryRule, Step};

/// The longest step id, in characters.
const STEP_ID: usize = 50;
/// The most items of one step at once.
const PARALLEL: u32 = 100;
/// The most attempts of one step.
const ATTEMPTS: u32 = 10_000;
/// The longest delay.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(31 * 86_400);
/// The longest one call of an app may be allowed to take.
const LONGEST_CALL: Duration = Duration::from_secs(3_600);

pub(super) fn compile(
    path: &Path,
    step: &Step,
    catalogue: Option<&Catalogue>,
    scope: &mut Scope<'_>,
    compiler: &mut Compiler,
) -> Result<CompiledStep, Fault> {
    check_id(&path.field("id"), &step.id)?;
    if scope.has(&step.id) {
        return fault(&path.field("id"), &step.id, "an id no other step has");
    }
    check_shape(path, step)?;
    let when = match &step.when {
        Some(when) => {
            let path = path.field("when");
            let when = compile_expression(&path, when, compiler)?;
            scope.check(&path, &when.variables)?;
            Some(when)
        }
        None => None,
    };
    let each = compile_each(path, step, scope, compiler)?;
    scope.in_each = each.is_some();
    let description = match catalogue {
        Some(catalogue) => describe(path, step, catalogue)?,
        None => None,
    };
    let action = compile_action(path, step, scope, compiler)?;
    let inputs = compile_inputs(&path.field("inputs"), step, compiler, scope)?;
    if let Some(description) = &description {
        let target = step.app.as_ref().or(step.playbook.as_ref()).expect("only these have a description");
        check_inputs(&path.field("inputs"), target, description, &inputs)?;
    }
    for (name, input) in &inputs {
        scope.check(&path.field("inputs").field(name), &input.variables)?;
    }
    scope.in_each = false;
    scope.add(&step.id, description, each.is_some());
    Ok(CompiledStep {
        id: step.id.clone(),
        action,
        inputs,
        when,
        each,
        retry: step.retry,
        timeout: step.timeout.map(|timeout| timeout.0),
        on_failure: scope.on_failure,
    })
}

pub(super) fn check_id(path: &Path, id: &str) -> Result<(), Fault> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=STEP_ID).contains(&id.len()) && id.bytes().all(good) && !id.as_bytes()[0].is_ascii_digit() {
        return Ok(());
    }
    fault(path, id, format!("1 to {STEP_ID} characters of a-z, 0-9 and _, the first no digit"))
}

/// Which fields go together.
fn check_shape(path: &Path, step: &Step) -> Result<(), Fault> {
    let actions = [
        ("app", step.app.is_some()),
        ("playbook", step.playbook.is_some()),
        ("delay", step.delay.is_some()),
        ("stop", step.stop.is_some()),
    ];
    let given: Vec<&str> = actions.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    let action = match &given[..] {
        [action] => *action,
        [] => return fault(path, "none of them", "one of app, playbook, delay and stop"),
        several => {
            return fault(
                &path.field(several[1]),
                several.join(" and "),
                "one of app, playbook, delay and stop",
            );
        }
    };
    let calls = matches!(action, "app" | "playbook");
    let only_for_calls = [
        ("inputs", !step.inputs.is_empty()),
        ("each", step.each.is_some()),
        ("retry", step.retry.is_some()),
        ("timeout", step.timeout.is_some()),
    ];
    if !calls && let Some((name, _)) = only_for_calls.iter().find(|(_, given)| *given) {
        return fault(
            &path.field(name),
            name,
            format!("no such field: a step with `{action}` calls nothing"),
        );
    }
    if step.message.is_some() && action != "stop" {
        return fault(&path.field("message"), "message", "a message only with `stop`");
    }
    if step.each.is_none() {
        let only_for_lists =
            [("parallel", step.parallel.is_some()), ("on_item_error", step.on_item_error.is_some())];
        if let Some((name, _)) = only_for_lists.iter().find(|(_, given)| *given) {
            return fault(&path.field(name), name, "it only with `each`");
        }
    }
    if let Some(parallel) = step.parallel
        && !(1..=PARALLEL).contains(&parallel)
    {
        return fault(&path.field("parallel"), parallel, format!("1 to {PARALLEL}"));
    }
    let (longest, expected) = match action {
        "playbook" => (LONGEST_RUN, "a span of time up to 31 days"),
        _ => (LONGEST_CALL, "a span of time up to an hour"),
    };
    if let Some(timeout) = step.timeout
        && !(Duration::from_millis(1)..=longest).contains(&timeout.0)
    {
        return fault(&path.field("timeout"), timeout, expected);
    }
    step.retry.as_ref().map_or(Ok(()), |retry| check_retry(&path.field("retry"), retry))
}

fn check_retry(path: &Path, retry: &RetryRule) -> Result<(), Fault> {
    if !(1..=ATTEMPTS).contains(&retry.attempts) {
        return fault(&path.field("attempts"), retry.attempts, format!("1 to {ATTEMPTS}"));
    }
    if !(1.0..=100.0).contains(&retry.backoff) {
        return fault(&path.field("backoff"), retry.backoff, "1 to 100");
    }
    for (name, period) in [("delay", retry.delay), ("max_delay", retry.max_delay)] {
        if period.0 > LONGEST_DELAY {
            return fault(&path.field(name), period, "at most 31 days");
        }
    }
    Ok(())
}

fn compile_each(
    path: &Path,
    step: &Step,
    scope: &Scope<'_>,
    compiler: &mut Compiler,
) -> Result<Option<Each>, Fault> {
    let Some(list) = &step.each else { return Ok(None) };
    let path = path.field("each");
    let list = match list {
        Json::String(text) => compile_expression(&path, text, compiler)?,
        Json::Array(_) => compile_value(&path, list, compiler, scope)?,
        other => return fault(&path, other, "an expression that gives a list, or a list"),
    };
    if let Template::Literal(other) = &list.template {
        return fault(&path, other, "an expression that gives a list, or a list");
    }
    scope.check(&path, &list.variables)?;
    Ok(Some(Each {
        list,
        parallel: step.parallel.unwrap_or(1) as usize,
        on_item_error: step.on_item_error.unwrap_or_default(),
    }))
}

/// What the step's app or playbook takes and gives; `None` for a step that calls nothing.
pub(super) fn describe(
    path: &Path,
    step: &Step,
    catalogue: &Catalogue,
) -> Result<Option<AppDescription>, Fault> {
    if let Some(app) = &step.app {
        return describe_app(&path.field("app"), app, catalogue).map(Some);
    }
    let Some(name) = &step.playbook else { return Ok(None) };
    match catalogue.playbooks.get(name) {
        Some(component) if component.description.is_some() => Ok(component.description.clone()),
        Some(_) => fault(&path.field("playbook"), name, "a playbook with a trigger of type playbook"),
        None => fault(&path.field("playbook"), name, "the name of a published playbook"),
    }
}

fn describe_app(path: &Path, given: &str, catalogue: &Catalogue) -> Result<AppDescription, Fault> {
    let (name, version) = named_version(given);
    let Catalogue { apps, organisation, .. } = catalogue;
    let found = match version {
        Some(version) => apps.app_version(*organisation, name, version),
        None => apps.app(*organisation, name),
    };
    if let Some(app) = found {
        return Ok(app.description().clone());
    }
    if let Some(why) = apps.why_not(*organisation, name, version) {
        return fault(path, given, format!("an app that is called; this one is installed, and {why}"));
    }
    let versions = apps.app_versions(*organisation, name);
    if version.is_none() || versions.is_empty() {
        return fault(path, given, "the name of an installed app");
    }
    let versions: Vec<String> = versions.iter().map(|version| format!("{name}@{version}")).collect();
    fault(path, given, format!("a version that is installed: {}", versions.join(", ")))
}

fn compile_action(
    path: &Path,
    step: &Step,
    scope: &Scope<'_>,
    compiler: &mut Compiler,
) -> Result<Action, Fault> {
    let text = |path: &Path, text: &str, compiler: &mut Compiler| -> Result<CompiledInput, Fault> {
        let value = compile_value(path, &Json::String(text.to_owned()), compiler, scope)?;
        scope.check(path, &value.variables)?;
        Ok(value)
    };
    if let Some(app) = &step.app {
        let (name, version) = named_version(app);
        return Ok(Action::App(name.to_owned(), version.map(str::to_owned)));
    }
    if let Some(name) = &step.playbook {
        return Ok(Action::Playbook(name.clone()));
    }
    if let Some(delay) = &step.delay {
        let path = path.field("delay");
        let compiled = text(&path, delay, compiler)?;
        if let Some(literal) = compiled.template.literal() {
            delay_of(&literal)
                .map_err(|expected| Fault {
                    path: path.clone(),
                    error: FieldError::new(path.to_string(), delay, expected),
                })
                .map(drop)?;
        }
        return Ok(Action::Delay(compiled));
    }
    let stop = step.stop.expect("one of the four is given");
    let message = match &step.message {
        Some(message) => Some(text(&path.field("message"), message, compiler)?),
        None => None,
    };
    Ok(Action::Stop(stop, message))
}

/// A delay as it was rendered: a span of time as text, or a number of seconds.
///
/// # Errors
/// What would be right.
pub(crate) fn delay_of(value: &Json) -> Result<Duration, String> {
    let delay = match value {
        Json::String(text) => Period::parse(text).map(|period| period.0),
        Json::Number(seconds) => {
            seconds.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        }
        _ => None,
    };
    delay
        .filter(|delay| *delay <= LONGEST_DELAY)
        .ok_or_else(|| "a span of time such as \"5m\", or a number of seconds, at most 31 days".to_owned())
}

/// Apps' outputs by name, for an error.
pub(super) fn output_names(description: &AppDescription) -> String {
    listed(description.outputs.iter().map(|output| output.name.as_str()))
}
