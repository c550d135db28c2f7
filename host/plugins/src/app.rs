//! A plugin as an app of playbooks.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bellwether_engine::{CallError, CallLimits, CallMeters, exports};
use bellwether_kernel::value::convert::to_json;
use bellwether_kernel::{ErrorKind, FieldError, Period};
use bellwether_playbooks::{
    App, AppCall, AppDescription, AppError, AppReport, Output, Retry, Secrets, Value, misfit,
};

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

    async fn try_run(
        &self,
        call: &AppCall,
        limits: &CallLimits,
    ) -> (Result<Vec<(String, Value)>, AppError>, Vec<bellwether_playbooks::LogLine>) {
        let backings: Vec<_> = call.inputs.iter().map(|(_, value)| Backing::new(value)).collect();
        let inputs: Vec<_> = call
            .inputs
            .iter()
            .zip(&backings)
            .map(|((name, value), backing)| lower(name, value, backing))
            .collect();
        let about = wit::Call { idempotency_key: &call.idempotency_key, attempt: call.attempt };
        let caller = Caller {
            principal: Some(Arc::clone(&call.principal)),
            effects: call.effects.clone(),
            work: call.idempotency_key.clone(),
            secrets: self.secrets(call),
            ..Caller::default()
        };
        let (result, log) = self
            .loaded
            .call(RUN, limits, &self.meters, caller, async |store, instance| {
                let found = exports(store, |store| self.exports.load(store, instance))?;
                found.call_run(store, about, &inputs).await
            })
            .await;
        let result = match result {
            Ok(Ok(outputs)) => {
                let bytes = outputs.iter().map(size).sum();
                let outputs = self.loaded.check_output(RUN, bytes).and_then(|()| {
                    self.outputs(outputs).map_err(|problem| self.loaded.bad_answer(RUN, problem))
                });
                outputs.map_err(|error| AppError { message: error.to_string(), retry: Retry::No })
            }
            Ok(Err(error)) => Err(AppError {
                message: one_line(error.message),
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
                Err(AppError { message, retry: retry(&error) })
            }
        };
        (result, log)
    }

    /// What a call gives to inputs that are secret.
    fn secrets(&self, call: &AppCall) -> Secrets {
        let mut secrets = Secrets::default();
        for input in self.description.inputs.iter().filter(|input| input.secret) {
            let given = call.inputs.iter().find(|(name, _)| *name == input.name);
            given.into_iter().for_each(|(_, value)| secrets.learn(&to_json(value)));
        }
        secrets
    }

    /// The outputs in the declared order, those not given absent.
    fn outputs(&self, given: Vec<NamedValueResult>) -> Result<Vec<(String, Value)>, String> {
        let declared = &self.description.outputs;
        let mut outputs: Vec<Option<Value>> = vec![None; declared.len()];
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
            if outputs[place].replace(value).is_some() {
                return Err(format!("it gave the output {name:?} twice"));
            }
        }
        let named = declared.iter().zip(outputs);
        Ok(named.map(|(output, value)| (output.name.clone(), value.unwrap_or(Value::None))).collect())
    }
}

#[async_trait]
impl App for PluginApp {
    fn version(&self) -> &str {
        &self.loaded.version
    }

    fn description(&self) -> &AppDescription {
        &self.description
    }

    async fn run(&self, call: AppCall) -> AppReport {
        // To wait for a service costs nobody anything, so how long is for the step to say, unless it was said of this
        // plugin. How long it computes is not.
        let wall = self.loaded.own_wall().map_or(call.time_limit, |own| own.min(call.time_limit));
        let limits = CallLimits { wall, ..*self.loaded.limits() };
        let (mut result, log) = self.try_run(&call, &limits).await;
        if let Err(error) = &mut result {
            self.secrets(&call).mask_in(&mut error.message);
        }
        AppReport { result, log }
    }
}

/// Whether a call the host or the sandbox ended is worth another try: one for want of time or a slot is, a trap comes
/// again.
pub(crate) fn retry(error: &PluginError) -> Retry {
    if let Some(after) = error.retry_after() {
        return Retry::After(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    }
    match error.kind() {
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
