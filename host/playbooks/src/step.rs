//! Takes one step: renders its inputs, calls its app, and holds what the app gave against what it declares.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bellwether_access::Principal;
use bellwether_kernel::RunId;
use futures::FutureExt;
use serde_json::{Map, Value as Json, json};

use crate::compile::{Compiled, CompiledStep};
use crate::runner::{History, Work};
use crate::secrets::{MASK, Secrets};
use crate::template::{RenderError, Room, from_json};
use crate::{App, AppCall, AppError, AppReport, Input, LogLevel, LogLine, Playbooks, Retry, Value, convert};

/// How much longer than its time limit a call is waited for: the app's own limit ends it first and says so better.
const GRACE: Duration = Duration::from_secs(1);
/// Lines of log kept of one step.
const LOG_LINES: usize = 1_000;
/// Bytes of log kept of one step.
const LOG_BYTES: usize = 64 * 1024;
/// Bytes of a value an error shows.
const VALUE_BYTES: usize = 100;

/// What a step came to, before anything is masked.
pub(crate) struct Outcome {
    pub(crate) app_version: String,
    pub(crate) inputs: Map<String, Json>,
    pub(crate) result: Result<Map<String, Json>, String>,
    pub(crate) log: Vec<LogLine>,
}

impl Outcome {
    fn failed(app_version: &str, error: impl Into<String>) -> Self {
        let app_version = app_version.to_owned();
        Self { app_version, inputs: Map::new(), result: Err(error.into()), log: Vec::new() }
    }
}

impl Playbooks {
    /// Takes a step.
    pub(crate) async fn step(
        &self,
        work: &Work,
        history: &mut History,
        step: &CompiledStep,
        principal: Arc<Principal>,
    ) -> Outcome {
        let Some(app) = self.apps.app(work.organisation, &step.app) else {
            return Outcome::failed(
                "",
                format!("there is no app {:?} any more; install its plugin again", step.app),
            );
        };
        let version = app.version().to_owned();
        tracing::Span::current().record("version", &version);
        let inputs = match self.inputs(work, history, step, &app).await {
            Ok(inputs) => inputs,
            Err(error) => return Outcome::failed(&version, error.text(&history.secrets)),
        };
        let mut shown = convert::to_object(&inputs);
        for input in app.description().inputs.iter().filter(|input| input.secret) {
            if let Some(value) = shown.get_mut(&input.name) {
                history.secrets.learn(value);
                *value = MASK.into();
            }
        }
        let call = AppCall {
            principal,
            idempotency_key: idempotency_key(work.id, &step.id),
            attempt: 1,
            inputs,
            time_limit: self.limits.step_time,
            effects: None,
        };
        let AppReport { result, log } = self.call(&app, step, call).await;
        let result = match result {
            Ok(outputs) => self.outputs(&app, step, outputs),
            Err(error) => Err(error.message),
        };
        Outcome { app_version: version, inputs: shown, result, log: bounded(log) }
    }

    /// Renders a step's inputs and brings them into the types its app declares.
    async fn inputs(
        &self,
        work: &Work,
        history: &History,
        step: &CompiledStep,
        app: &Arc<dyn App>,
    ) -> Result<Vec<(String, Value)>, InputError> {
        let (row, steps) = (&work.row, history.outputs.iter().cloned());
        let context = minijinja::Value::from_pairs([
            ("trigger", history.trigger.clone()),
            ("steps", minijinja::Value::from_pairs(steps)),
            ("run", from_json(&json!({"id": work.id, "created": row.created.to_string()}))),
            ("playbook", from_json(&json!({"name": row.playbook_name, "version": row.playbook_version}))),
        ]);
        let (compiled, app, id, room) =
            (Arc::clone(&work.compiled), Arc::clone(app), step.id.clone(), Room::new(self.limits.payload));
        // Rendering may take milliseconds; other tasks do not wait for it.
        let rendering = tokio::task::spawn_blocking(move || {
            let step =
                compiled.steps.iter().find(|step| step.id == id).expect("the step is one of the playbook's");
            let declared = &app.description().inputs;
            if let Some(name) =
                step.inputs.keys().find(|name| declared.iter().all(|input| input.name != **name))
            {
                let message = format!("{} {} has no input {name:?} any more", step.app, app.version());
                return Err(InputError::Other(message));
            }
            let mut room = room;
            declared
                .iter()
                .map(|input| {
                    Ok((input.name.clone(), render_input(&compiled, step, input, &context, &mut room)?))
                })
                .collect()
        });
        let fault = "rendering the inputs panicked, which is a fault of the host";
        rendering.await.unwrap_or_else(|_| Err(InputError::Other(fault.into())))
    }

    async fn call(&self, app: &Arc<dyn App>, step: &CompiledStep, call: AppCall) -> AppReport {
        let failed = |message: String| AppReport {
            result: Err(AppError { message, retry: Retry::No }),
            log: Vec::new(),
        };
        let limit = self.limits.step_time;
        let running = AssertUnwindSafe(app.run(call)).catch_unwind();
        match tokio::time::timeout(limit + GRACE, running).await {
            Ok(Ok(report)) => report,
            Ok(Err(_)) => failed(format!("{} {} panicked", step.app, app.version())),
            Err(_) => failed(format!("{} {} took longer than {limit:?}", step.app, app.version())),
        }
    }

    /// Holds what an app gave against what it declares: later steps rely on it.
    fn outputs(
        &self,
        app: &Arc<dyn App>,
        step: &CompiledStep,
        outputs: Vec<(String, Value)>,
    ) -> Result<Map<String, Json>, String> {
        let (name, version) = (&step.app, app.version());
        let declared = &app.description().outputs;
        let mut object: Map<String, Json> =
            declared.iter().map(|output| (output.name.clone(), Json::Null)).collect();
        let mut bytes = 0;
        for (output, value) in outputs {
            let Some(description) = declared.iter().find(|declared| declared.name == output) else {
                return Err(format!("{name} {version} gave an output {output:?} that it does not declare"));
            };
            if !convert::is_of(&value, description.value_type) {
                let expected = convert::expectation(description.value_type);
                return Err(format!("{name} {version} gave an output {output:?} that is not {expected}"));
            }
            let json = convert::to_json(&value);
            bytes += crate::template::size(&json);
            object.insert(output, json);
        }
        if bytes > self.limits.payload {
            let limit = self.limits.payload;
            return Err(format!("{name} {version} gave outputs of {bytes} bytes, at most {limit} are taken"));
        }
        Ok(object)
    }
}

/// Why a step's inputs are not what its app takes.
#[derive(Debug)]
enum InputError {
    /// An input has a wrong value.
    Wrong { input: String, value: Json, expected: String },
    /// Anything else.
    Other(String),
}

impl InputError {
    /// The error as it is recorded. Values are masked before they are shortened: of a secret cut in two, nothing would
    /// be found.
    fn text(self, secrets: &Secrets) -> String {
        match self {
            Self::Wrong { input, mut value, expected } => {
                secrets.mask(&mut value);
                let shown = match value {
                    Json::String(text) => format!("{:?}", shortened(text, VALUE_BYTES)),
                    value => shortened(value.to_string(), VALUE_BYTES),
                };
                format!("input {input} is {shown}, expected {expected}")
            }
            Self::Other(message) => message,
        }
    }
}

fn render_input(
    compiled: &Compiled,
    step: &CompiledStep,
    input: &Input,
    context: &minijinja::Value,
    room: &mut Room,
) -> Result<Value, InputError> {
    let name = &input.name;
    let rendered = match step.inputs.get(name) {
        Some(given) => compiled.compiler.render(&given.template, context, room).map_err(|error| {
            InputError::Other(match error {
                // An engine's message may quote what it choked on.
                RenderError::Failed(_) if input.secret => {
                    format!("input {name}: its template did not render")
                }
                RenderError::Failed(message) => format!("input {name}: {message}"),
                RenderError::TooLarge(limit) => format!("the inputs are larger than {limit} bytes in all"),
            })
        })?,
        None => Json::Null,
    };
    let json = match (rendered, &input.default) {
        (Json::Null, Some(default)) => default.clone(),
        (rendered, _) => rendered,
    };
    let wrong = |expected: String| {
        let value = if input.secret { MASK.into() } else { json.clone() };
        InputError::Wrong { input: name.clone(), value, expected }
    };
    let expected = convert::expectation(input.value_type);
    let value = convert::to_value(&json, input.value_type).ok_or_else(|| wrong(expected.into()))?;
    match &value {
        Value::None if input.required => Err(wrong(format!("{expected}: {} requires it", step.app))),
        Value::Text(text) if !input.choices.is_empty() && !input.choices.contains(text) => {
            Err(wrong(format!("one of {}", input.choices.join(", "))))
        }
        _ => Ok(value),
    }
}

/// The same for every attempt at the same step of the same run, whichever host makes it.
fn idempotency_key(run: RunId, step: &str) -> String {
    format!("{run}.{step}")
}

/// `text`, at most so many bytes of it.
pub(crate) fn shortened(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
    }
    text
}

/// The first lines of a log, and how many more there were.
fn bounded(mut log: Vec<LogLine>) -> Vec<LogLine> {
    let mut bytes = 0;
    let kept = log.iter().take(LOG_LINES).take_while(|line| {
        bytes += line.message.len();
        bytes <= LOG_BYTES
    });
    let kept = kept.count();
    let dropped = log.len() - kept;
    if dropped > 0 {
        let time = log[kept].time;
        log.truncate(kept);
        log.push(LogLine {
            time,
            level: LogLevel::Warn,
            message: format!("{dropped} more lines were not kept"),
        });
    }
    log
}
