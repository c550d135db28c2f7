//! A plugin as an app of playbooks.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bellwether_engine::{CallError, CallLimits, CallMeters};
use bellwether_kernel::{ErrorKind, FieldError};
use bellwether_playbooks::{
    App, AppCall, AppDescription, AppError, AppReport, Input, Output, Retry, Value, ValueType, misfit,
};
use serde_json::Value as Json;

use crate::bindings::bellwether::host::types::NamedValueResult;
use crate::bindings::exports::bellwether::plugin::app as wit;
use crate::inspect::PluginRole;
use crate::plugin::{Export, Loaded};
use crate::value::{Backing, is_json_of_type, is_of_type, lift, lower};
use crate::{PluginError, limits};

const DESCRIBE: Export = Export { role: PluginRole::App, name: "app.describe" };
const RUN: Export = Export { role: PluginRole::App, name: "app.run" };

/// A plugin that exports `app`.
pub(crate) struct PluginApp {
    loaded: Arc<Loaded>,
    exports: wit::GuestIndices,
    meters: CallMeters,
    description: AppDescription,
}

impl PluginApp {
    /// Asks the plugin what it takes and gives, and makes sure that it makes sense.
    pub(crate) async fn describe(loaded: Arc<Loaded>) -> Result<Self, PluginError> {
        let exports = wit::GuestIndices::new(&loaded.instance)
            .map_err(|error| bellwether_engine::EngineError::Link(format!("{error:#}")))?;
        let meters = loaded.meters(PluginRole::App);
        let (described, _) = loaded
            .call(DESCRIBE, &loaded.describe_limits(), &meters, (None, None), async |store, instance| {
                exports.load(&mut *store, instance)?.call_describe(store).await
            })
            .await;
        let description = description(described?).map_err(|error| loaded.bad_description(DESCRIBE, error))?;
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
        let caller = (Some(Arc::clone(&call.principal)), call.effects.clone());
        let (result, log) = self
            .loaded
            .call(RUN, limits, &self.meters, caller, async |store, instance| {
                self.exports.load(&mut *store, instance)?.call_run(store, about, &inputs).await
            })
            .await;
        let result = match result {
            Ok(Ok(outputs)) => self.outputs(outputs).map_err(|problem| {
                let message = self.loaded.bad_answer(RUN, problem).to_string();
                AppError { message, retry: Retry::No }
            }),
            Ok(Err(error)) => Err(AppError {
                message: one_line(error.message),
                retry: match error.retry {
                    wit::Retry::No => Retry::No,
                    wit::Retry::Yes => Retry::Yes,
                    wit::Retry::After(milliseconds) => Retry::After(milliseconds),
                },
            }),
            Err(error) => Err(AppError { message: error.to_string(), retry: retry(&error) }),
        };
        (result, log)
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
        let own = self.loaded.limits();
        let limits = CallLimits { wall: call.time_limit.min(own.wall), ..*own };
        let (result, log) = self.try_run(&call, &limits).await;
        AppReport { result, log }
    }
}

/// Whether a call the host or the sandbox ended is worth another try: one for want of time or a slot is, a trap comes
/// again.
fn retry(error: &PluginError) -> Retry {
    match error {
        PluginError::Call { source: CallError::MemoryLimit { .. } | CallError::Trap { .. }, .. } => Retry::No,
        error if matches!(error.kind(), ErrorKind::Deadline | ErrorKind::Unavailable) => Retry::Yes,
        _ => Retry::No,
    }
}

/// The first line of an error, bounded.
fn one_line(mut message: String) -> String {
    if let Some(end) = message.find(['\r', '\n']) {
        message.truncate(end);
    }
    message.truncate(message.floor_char_boundary(limits::TEXT));
    message
}

fn description(given: wit::Description) -> Result<AppDescription, FieldError> {
    bounded("summary", &given.summary)?;
    let mut names = HashSet::new();
    let mut inputs = Vec::with_capacity(given.inputs.len());
    if given.inputs.len() > limits::FIELDS || given.outputs.len() > limits::FIELDS {
        let most = given.inputs.len().max(given.outputs.len());
        return Err(FieldError::new(
            "inputs and outputs",
            most,
            format!("at most {} of each", limits::FIELDS),
        ));
    }
    for (index, input) in given.inputs.into_iter().enumerate() {
        let field = |name: &str| format!("inputs[{index}].{name}");
        check_name(&field("name"), &input.name, &mut names)?;
        bounded(&field("help"), &input.help)?;
        let value_type = value_type(input.value_type);
        if !input.choices.is_empty() && !matches!(value_type, ValueType::Text | ValueType::Texts) {
            return Err(FieldError::new(
                field("choices"),
                input.choices.join(", "),
                "choices only for an input of type text or texts",
            ));
        }
        let default = match input.default {
            None => None,
            Some(text) => {
                let json: Option<Json> = serde_json::from_str(&text).ok();
                let fits = json.as_ref().is_some_and(|json| is_json_of_type(json, value_type));
                if !fits {
                    return Err(FieldError::new(
                        field("default"),
                        text,
                        format!("JSON of the input's type, {value_type:?}"),
                    ));
                }
                json
            }
        };
        let texts = match &default {
            Some(Json::Array(items)) => items.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        if !input.choices.is_empty()
            && let Some(text) = texts
                .iter()
                .filter_map(Json::as_str)
                .find(|text| input.choices.iter().all(|choice| choice != text))
        {
            return Err(FieldError::new(
                field("default"),
                text,
                format!("one of {}", input.choices.join(", ")),
            ));
        }
        let (name, required, choices, secret, help) =
            (input.name, input.required, input.choices, input.secret, input.help);
        inputs.push(Input { name, value_type, required, default, choices, secret, help });
    }
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

/// Names are used in templates, where `.` and spaces mean something else.
fn check_name(field: &str, name: &str, taken: &mut HashSet<String>) -> Result<(), FieldError> {
    let good = name.len() <= limits::NAME
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if !good {
        return Err(FieldError::new(
            field,
            name,
            format!("1 to {} characters of A-Z, a-z, 0-9, _ and -, a letter first", limits::NAME),
        ));
    }
    if !taken.insert(name.to_owned()) {
        return Err(FieldError::new(field, name, "a name no other has"));
    }
    Ok(())
}

pub(crate) fn bounded(field: &str, text: &str) -> Result<(), FieldError> {
    if text.len() > limits::TEXT {
        return Err(FieldError::new(field, text, format!("at most {} KiB of text", limits::TEXT >> 10)));
    }
    Ok(())
}

fn value_type(given: wit::ValueType) -> ValueType {
    match given {
        wit::ValueType::Text => ValueType::Text,
        wit::ValueType::Integer => ValueType::Integer,
        wit::ValueType::Number => ValueType::Number,
        wit::ValueType::Boolean => ValueType::Boolean,
        wit::ValueType::Binary => ValueType::Binary,
        wit::ValueType::Texts => ValueType::Texts,
        wit::ValueType::Integers => ValueType::Integers,
        wit::ValueType::Numbers => ValueType::Numbers,
        wit::ValueType::Binaries => ValueType::Binaries,
        wit::ValueType::Json => ValueType::Json,
        wit::ValueType::KeyValue => ValueType::KeyValue,
        wit::ValueType::KeyValues => ValueType::KeyValues,
        wit::ValueType::Entity => ValueType::Entity,
        wit::ValueType::Entities => ValueType::Entities,
    }
}
