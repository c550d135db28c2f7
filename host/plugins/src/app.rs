//! A plugin as an app of playbooks.

use std::collections::HashSet;
use std::sync::Arc;

use bellwether_engine::{CallError, CallLimits, CallMeters, exports};
use bellwether_kernel::value::convert::to_json;
use bellwether_kernel::{ErrorKind, FieldError, Period};
use bellwether_playbooks::{
    AppCall, AppDescription, AppError, AppReport, LogLine, Output, Retry, Secrets, Value, misfit,
};
use serde_json::Value as Json;

use crate::PluginError;
use crate::bindings::bellwether::host::types::NamedValueResult;
use crate::bindings::exports::bellwether::plugin::app as wit;
use crate::declared::{self, bounded, check_name, value_type};
use crate::inspect::PluginRole;
use crate::plugin::{Caller, Export, Loaded};
use crate::value::{Backing, is_of_type, lift, lower, one_line, size};

const DESCRIBE: Export = Export { role: PluginRole::App, name: "app.describe" };
const RUN: Export = Export { role: PluginRole::App, name: "app.run" };

/// A plugin that exports `app`.
pub(crate) struct PluginApp {
    loaded: Arc<Loaded>,
    exports: wit::GuestIndices,
    meters: Arc<CallMeters>,
    description: AppDescription,
}

impl PluginApp {
    /// Asks the plugin what it takes and gives, and makes sure that it makes sense.
    pub(crate) async fn describe(loaded: Arc<Loaded>) -> Result<Self, PluginError> {
        let (exports, meters, described) = loaded
            .described(DESCRIBE, wit::GuestIndices::new, async |exports, store, instance| {
                exports.load(&mut *store, instance)?.call_describe(store).await
            })
            .await?;
        let description = description(described).map_err(|error| loaded.bad_description(DESCRIBE, error))?;
        Ok(Self { loaded, exports, meters, description })
    }

    pub(crate) fn description(&self) -> &AppDescription {
        &self.description
    }

    /// Runs it. Gives its report, and whether what the call came to tells of this version, as [`PluginError::is_fault`] says.
    pub(crate) async fn run(&self, call: AppCall) -> (AppReport, bool) {
        // To wait for a service costs nobody anything, so how long is for the step to say, unless it was said of this
        // plugin. How long it computes is not.
        let wall = self.loaded.own_wall().map_or(call.time_limit, |own| own.min(call.time_limit));
        let limits = CallLimits { wall, ..*self.loaded.limits() };
        let (result, log, tells) = self.try_run(&call, &limits).await;
        (AppReport { result, log }, tells)
    }

    async fn try_run(
        &self,
        call: &AppCall,
        limits: &CallLimits,
    ) -> (Result<Vec<(String, Value)>, AppError>, Vec<LogLine>, bool) {
        let backings: Vec<_> = call.inputs.iter().map(|(_, value)| Backing::new(value)).collect();
        let inputs: Vec<_> = call
            .inputs
            .iter()
            .zip(&backings)
            .map(|((name, value), backing)| lower(name, value, backing))
            .collect();
        let about = wit::Call { idempotency_key: &call.idempotency_key, attempt: call.attempt };
        let secrets = self.secrets(call);
        let masked = |mut text: String| {
            secrets.mask_in(&mut text);
            text
        };
        let caller = Caller {
            principal: Some(Arc::clone(&call.principal)),
            effects: call.effects.clone(),
            work: &call.idempotency_key,
            secrets: secrets.clone(),
            ..Caller::default()
        };
        let (result, log) = self
            .loaded
            .call(RUN, limits, &self.meters, caller, async |store, instance| {
                let found = exports(store, |store| self.exports.load(store, instance))?;
                found.call_run(store, about, &inputs).await
            })
            .await;
        let tells = !matches!(&result, Err(error) if !error.is_fault());
        let result = match result {
            Ok(Ok(outputs)) => {
                let bytes = outputs.iter().map(size).sum();
                let outputs = self.loaded.check_output(RUN, bytes).and_then(|()| {
                    self.outputs(outputs).map_err(|problem| self.loaded.bad_answer(RUN, masked(problem)))
                });
                outputs.map_err(|error| AppError { message: error.to_string(), retry: Retry::No })
            }
            Ok(Err(error)) => Err(AppError {
                // A secret of several lines would not be found in one.
                message: one_line(masked(error.message)),
                retry: match error.retry {
                    wit::Retry::No => Retry::No,
                    wit::Retry::Yes => Retry::Yes,
                    wit::Retry::After(milliseconds) => Retry::After(milliseconds),
                },
            }),
            Err(error) => {
                let ran_out = matches!(&error, PluginError::Call { source: CallError::Deadline { .. }, .. });
                let message = if ran_out && limits.wall < call.time_limit {
                    format!(
                        "{error}, the limit call_milliseconds of this plugin; its step has {}",
                        Period(call.time_limit)
                    )
                } else {
                    error.to_string()
                };
                Err(AppError { message: masked(message), retry: retry(&error) })
            }
        };
        (result, log, tells)
    }

    /// What a call gives to inputs that are secret, whole and line by line: a log is written in lines.
    fn secrets(&self, call: &AppCall) -> Secrets {
        let mut secrets = Secrets::default();
        for input in self.description.inputs.iter().filter(|input| input.secret) {
            let given = call.inputs.iter().find(|(name, _)| *name == input.name);
            if let Some((_, value)) = given {
                let value = to_json(value);
                secrets.learn(&value);
                learn_lines(&mut secrets, &value);
            }
        }
        secrets
    }

    /// The outputs in the declared order, those not given absent.
    fn outputs(&self, given: Vec<NamedValueResult>) -> Result<Vec<(String, Value)>, String> {
        let declared = &self.description.outputs;
        let mut outputs: Vec<Option<(String, Value)>> = vec![None; declared.len()];
        for value in given {
            let (name, value) = lift(value)?;
            let place = declared.iter().position(|output| output.name == name);
            let place =
                place.ok_or_else(|| format!("it gave the output {name:?}, which it did not declare"))?;
            let value_type = declared[place].value_type;
            if !is_of_type(&value, value_type) {
                let misfit = match &value {
                    Value::Json(json) => misfit(json, value_type).filter(|misfit| !misfit.field.is_empty()),
                    _ => None,
                };
                let field = misfit.map(|misfit| format!(": {name}{misfit}")).unwrap_or_default();
                return Err(format!(
                    "its output {name:?} is not of the type it declared, {value_type:?}{field}"
                ));
            }
            if outputs[place].is_some() {
                return Err(format!("it gave the output {name:?} twice"));
            }
            outputs[place] = Some((name, value));
        }
        let named = declared.iter().zip(outputs);
        Ok(named.map(|(output, given)| given.unwrap_or_else(|| (output.name.clone(), Value::None))).collect())
    }
}

/// Lines of a secret text that are each secret by themselves: as many as a chain of certificates has. What is sought in all that
/// a call prints is bounded.
const SECRET_LINES: usize = 200;

/// Learns each line of the texts in `value` that have several.
fn learn_lines(secrets: &mut Secrets, value: &Json) {
    match value {
        Json::String(text) if text.trim().contains('\n') => {
            text.lines().take(SECRET_LINES).for_each(|line| secrets.learn(&line.trim().into()));
        }
        Json::Array(items) => items.iter().for_each(|item| learn_lines(secrets, item)),
        Json::Object(fields) => fields.values().for_each(|field| learn_lines(secrets, field)),
        _ => {}
    }
}

/// Whether a call the host or the sandbox ended is worth another try: one for want of time or a slot is, a trap comes
/// again.
pub(crate) fn retry(error: &PluginError) -> Retry {
    if let Some(after) = error.retry_after() {
        return Retry::After(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    }
    match error.kind() {
        // It may be switched on again, as for whoever finds it switched off.
        _ if matches!(error, PluginError::SwitchedOff(_)) => Retry::Yes,
        ErrorKind::Deadline | ErrorKind::Unavailable => Retry::Yes,
        _ => Retry::No,
    }
}

fn description(given: wit::Description) -> Result<AppDescription, FieldError> {
    bounded("summary", &given.summary)?;
    let inputs = declared::inputs("inputs", given.inputs)?;
    declared::check_count("outputs", given.outputs.len())?;
    let mut names = HashSet::new();
    let mut outputs = Vec::with_capacity(given.outputs.len());
    for (index, output) in given.outputs.into_iter().enumerate() {
        check_name(&format!("outputs[{index}].name"), &output.name, &mut names)?;
        bounded(&format!("outputs[{index}].help"), &output.help)?;
        outputs.push(Output {
            name: output.name,
            value_type: value_type(output.value_type),
            help: output.help,
        });
    }
    Ok(AppDescription { summary: given.summary, inputs, outputs })
}

#[cfg(test)]
mod tests {
    use bellwether_kernel::value::MASK;
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_secret_of_several_lines_each_is_masked_by_itself() {
        let mut secrets = Secrets::default();
        learn_lines(&mut secrets, &json!({"keys": ["-- begin --\n  MIIEvQ\nab\n", "one line\n"]}));
        let mut said = "it is MIIEvQ, ab and one line".to_owned();
        secrets.mask_in(&mut said);
        assert_eq!(said, format!("it is {MASK}, ab and one line"));
    }
}
