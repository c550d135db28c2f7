//! Works a run off: asks what is next, renders, calls, records. Each step's result is committed before the next step
//! begins, the last one together with the run's end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bellwether_access::{Principal, Role};
use bellwether_kernel::{ErrorKind, OrganisationId, RunId};
use bellwether_store::{Batch, Precondition, StoreError, decode, encode};
use bytes::Bytes;
use futures::FutureExt;
use serde_json::{Map, Value as Json, json};
use tracing::Instrument;

use crate::compile::{Compiled, CompiledStep};
use crate::progress::{Next, next};
use crate::rows::{Part, Payload, Record, RunRow, StartedBy, read_json};
use crate::secrets::{MASK, Secrets};
use crate::template::{RenderError, Room, Variables, from_json};
use crate::{
    App, AppCall, AppError, AppReport, Input, LogLevel, LogLine, PlaybookError, Playbooks, Retry, RunState,
    StepResult, StepState, Value, convert, rows,
};

/// How much longer than its time limit a call is waited for: the app's own limit ends it first and says so better.
const GRACE: Duration = Duration::from_secs(1);
/// Lines of log kept of one step.
const LOG_LINES: usize = 1_000;
/// Bytes of log kept of one step.
const LOG_BYTES: usize = 64 * 1024;
/// Bytes kept of an error's text.
const ERROR_BYTES: usize = 4 * 1024;
/// How often a commit is tried while the store is not available; waits 50 ms first, then twice as long each time:
/// 3 s in all.
const COMMITS: u32 = 7;

/// A run that was accepted, with the version of its playbook it began with.
pub(crate) struct Work {
    pub(crate) organisation: OrganisationId,
    pub(crate) id: RunId,
    pub(crate) compiled: Arc<Compiled>,
    /// The run's row as it was last committed.
    pub(crate) row: RunRow,
    /// That row as it is stored: who finds another there has lost the run.
    pub(crate) stored: Bytes,
}

/// What is known of a run besides its row.
struct History {
    /// The trigger as templates read it, nothing masked.
    trigger: minijinja::Value,
    /// Outputs by step as templates read them, nothing masked.
    outputs: Vec<(String, minijinja::Value)>,
    /// What is recorded, in order.
    steps: Vec<StepResult>,
    secrets: Secrets,
    /// What secret inputs read.
    secret_variables: Variables,
}

/// What a step came to, before anything is masked.
struct Outcome {
    app_version: String,
    inputs: Map<String, Json>,
    result: Result<Map<String, Json>, String>,
    log: Vec<LogLine>,
}

impl Outcome {
    fn failed(app_version: &str, error: impl Into<String>) -> Self {
        let app_version = app_version.to_owned();
        Self { app_version, inputs: Map::new(), result: Err(error.into()), log: Vec::new() }
    }
}

impl Playbooks {
    /// Works a run off until it has ended.
    ///
    /// # Errors
    /// The store did not record it: the run is still open, and whoever finds it so ends it as interrupted.
    pub(crate) async fn execute(&self, work: &mut Work) -> Result<(), StoreError> {
        let mut history = match self.history(work).await {
            Ok(history) => history,
            Err(error) => {
                return self.end(work, Batch::new(), RunState::Failed, Some(error.to_string())).await;
            }
        };
        let mut coming = next(work.compiled.steps.len(), &history.steps);
        while let Next::Step(position) = coming {
            if work.row.state == RunState::Queued {
                work.row.state = RunState::Running;
                work.row.started = Some(self.clock.now());
                self.save(work, Batch::new()).await?;
            }
            let compiled = Arc::clone(&work.compiled);
            let step = &compiled.steps[position];
            let principal = match self.principal(work) {
                Ok(principal) => principal,
                Err(error) => return self.end(work, Batch::new(), RunState::Failed, Some(error)).await,
            };
            let span =
                tracing::info_span!("step", step = step.id, app = step.app, version = tracing::field::Empty);
            let started = self.clock.now();
            let outcome = self.step(work, &mut history, step, principal).instrument(span).await;
            let mut result = StepResult {
                step: step.id.clone(),
                app: step.app.clone(),
                app_version: outcome.app_version,
                state: if outcome.result.is_ok() { StepState::Succeeded } else { StepState::Failed },
                started,
                ended: self.clock.now(),
                attempt: 1,
                inputs: outcome.inputs,
                outputs: Map::new(),
                error: None,
                log: outcome.log,
            };
            match outcome.result {
                Ok(outputs) => result.outputs = outputs,
                Err(error) => result.error = Some(shortened(error, ERROR_BYTES)),
            }
            let batch = self.record_step(work, &mut history, result);
            coming = next(work.compiled.steps.len(), &history.steps);
            match &coming {
                Next::Step(_) => self.commit_patiently(batch).await?,
                Next::End(state, error) => return self.end(work, batch, *state, error.clone()).await,
            }
        }
        let Next::End(state, error) = coming else { unreachable!("the loop ends when no step is next") };
        self.end(work, Batch::new(), state, error).await
    }

    /// Ends a run in the same commit as `batch`.
    pub(crate) async fn end(
        &self,
        work: &mut Work,
        mut batch: Batch,
        state: RunState,
        error: Option<String>,
    ) -> Result<(), StoreError> {
        work.row.state = state;
        work.row.ended = Some(self.clock.now());
        work.row.error = error;
        batch.delete(rows::run_open(work.organisation, work.id));
        self.save(work, batch).await?;
        tracing::info!(state = ?work.row.state, error = work.row.error, "the run has ended");
        Ok(())
    }

    /// Commits the run's row together with `batch`, if it still is as this run left it.
    async fn save(&self, work: &mut Work, mut batch: Batch) -> Result<(), StoreError> {
        let key = rows::run(work.organisation, work.row.playbook, work.id);
        let row = encode(&work.row);
        batch.require(key.clone(), Precondition::ValueIs(work.stored.clone())).put(key, row.clone());
        self.commit_patiently(batch).await?;
        work.stored = row;
        Ok(())
    }

    /// Commits, and tries again for a while if the store is not available.
    pub(crate) async fn commit_patiently(&self, batch: Batch) -> Result<(), StoreError> {
        let mut wait = Duration::from_millis(50);
        for _ in 1..COMMITS {
            match self.store.commit(batch.clone()).await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tracing::warn!(%error, "a run waits for the store");
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                done => return done.map(drop),
            }
        }
        self.store.commit(batch).await.map(drop)
    }

    /// On whose behalf the run acts. Asked before every step: a key that is revoked stops the run.
    fn principal(&self, work: &Work) -> Result<Arc<Principal>, String> {
        let key = &work.row.runs_as;
        let replace = "store the playbook again with a key that works";
        let principal = self
            .access
            .principal(key)
            .map_err(|failure| format!("the key {key} the playbook runs as: {failure}; {replace}"))?;
        if principal.organisation != work.organisation || principal.role < Role::Write {
            return Err(format!("the key {key} the playbook runs as may not run it; {replace}"));
        }
        Ok(principal)
    }

    async fn step(
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
            Err(error) => return Outcome::failed(&version, error),
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
    ) -> Result<Vec<(String, Value)>, String> {
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
                return Err(format!("{} {} has no input {name:?} (any more)", step.app, app.version()));
            }
            let mut room = room;
            declared
                .iter()
                .map(|input| {
                    Ok((input.name.clone(), render_input(&compiled, step, input, &context, &mut room)?))
                })
                .collect()
        });
        rendering
            .await
            .unwrap_or_else(|_| Err("rendering the inputs panicked, which is a fault of the host".into()))
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

    /// A batch with a step's result, secrets masked, which is known from here on.
    fn record_step(&self, work: &Work, history: &mut History, mut result: StepResult) -> Batch {
        let whole = result.outputs.clone();
        let mut outputs = Json::Object(std::mem::take(&mut result.outputs));
        let path = format!("steps.{}", result.step);
        let masked = history.secrets.take(&path, &mut outputs, &history.secret_variables);
        result.outputs = match outputs {
            Json::Object(outputs) => outputs,
            masked_whole => whole.keys().map(|name| (name.clone(), masked_whole.clone())).collect(),
        };
        let mut inputs = Json::Object(std::mem::take(&mut result.inputs));
        history.secrets.mask(&mut inputs);
        if let Json::Object(inputs) = inputs {
            result.inputs = inputs;
        }
        result.error = result.error.map(|error| history.secrets.mask_text(&error).into_owned());
        for line in &mut result.log {
            line.message = history.secrets.mask_text(&line.message).into_owned();
        }
        let whole = Json::Object(whole);
        let position = history.steps.len() + 1;
        let write = |result: &StepResult, sealed: Option<&Json>| {
            let mut batch = Batch::new();
            let shown = serde_json::to_vec(result).expect("a step's result is plain data");
            self.write_record(&mut batch, work.organisation, work.id, position, shown, sealed).map(|()| batch)
        };
        let batch = write(&result, masked.then_some(&whole)).unwrap_or_else(|error| {
            // The limits on inputs and outputs keep below this, unless JSON must escape most of their text.
            result.state = StepState::Failed;
            result.error = Some(format!("what it took and gave cannot be recorded: {error}"));
            result.inputs.clear();
            result.outputs.clear();
            write(&result, None).expect("an error and a log are small")
        });
        history.outputs.push((result.step.clone(), from_json(&whole)));
        history.steps.push(result);
        batch
    }

    /// Adds a record to `batch`; `whole` is what was masked in it, to be sealed.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] if it is more than the store keeps in one; `batch` is of no use then.
    pub(crate) fn write_record(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        run: RunId,
        position: usize,
        shown: Vec<u8>,
        whole: Option<&Json>,
    ) -> Result<(), StoreError> {
        let key = rows::record(organisation, run, position);
        let shown = Payload::write(batch, &key, Part::Shown, shown)?;
        let sealed = match whole {
            Some(whole) => {
                let sealed =
                    self.access.seal(&purpose(organisation, run, position), whole.to_string().as_bytes());
                Some(Payload::write(batch, &key, Part::Sealed, sealed.0)?)
            }
            None => None,
        };
        batch.put(key, encode(&Record { shown, sealed }));
        Ok(())
    }

    /// Reads what is recorded of a run, sealed parts opened.
    async fn history(&self, work: &Work) -> Result<History, PlaybookError> {
        let mut history = History {
            trigger: ().into(),
            outputs: Vec::new(),
            steps: Vec::new(),
            secrets: Secrets::default(),
            secret_variables: work.compiled.secret_variables((&*self.apps, work.organisation)),
        };
        for (position, (key, row)) in self.records(work.organisation, work.id).await?.into_iter().enumerate()
        {
            let record: Record = decode(&row)?;
            let whole: Option<Json> = match record.read_sealed(&*self.store, &key).await? {
                Some(sealed) => {
                    let purpose = purpose(work.organisation, work.id, position);
                    Some(read_json(&self.access.unseal(&purpose, &sealed)?)?)
                }
                None => None,
            };
            if position == 0 {
                let mut trigger = match whole {
                    Some(whole) => whole,
                    None => record.read(&*self.store, &key).await?,
                };
                history.trigger = from_json(&trigger);
                history.secrets.take("trigger", &mut trigger, &history.secret_variables);
            } else {
                let result: StepResult = record.read(&*self.store, &key).await?;
                let mut outputs = whole.unwrap_or_else(|| result.outputs.clone().into());
                history.outputs.push((result.step.clone(), from_json(&outputs)));
                history.secrets.take(
                    &format!("steps.{}", result.step),
                    &mut outputs,
                    &history.secret_variables,
                );
                history.steps.push(result);
            }
        }
        Ok(history)
    }
}

fn render_input(
    compiled: &Compiled,
    step: &CompiledStep,
    input: &Input,
    context: &minijinja::Value,
    room: &mut Room,
) -> Result<Value, String> {
    let name = &input.name;
    let expected = convert::expectation(input.value_type);
    let rendered = match step.inputs.get(name) {
        Some(given) => {
            compiled.compiler.render(&given.template, context, room).map_err(|error| match error {
                // An engine's message may quote what it choked on.
                RenderError::Failed(_) if input.secret => {
                    format!("input {name}: its template did not render")
                }
                RenderError::Failed(message) => format!("input {name}: {message}"),
                RenderError::TooLarge(limit) => format!("the inputs are larger than {limit} bytes in all"),
            })?
        }
        None => Json::Null,
    };
    let json = match (&rendered, &input.default) {
        (Json::Null, Some(default)) => default,
        _ => &rendered,
    };
    let wrong = |expected: &str| {
        let shown = match json {
            _ if input.secret => MASK.to_owned(),
            Json::String(text) => format!("{:?}", shortened(text.clone(), 100)),
            json => shortened(json.to_string(), 100),
        };
        format!("input {name} is {shown}, expected {expected}")
    };
    let value = convert::to_value(json, input.value_type).ok_or_else(|| wrong(expected))?;
    match &value {
        Value::None if input.required => return Err(wrong(&format!("{expected}: {} requires it", step.app))),
        Value::Text(text) if !input.choices.is_empty() && !input.choices.contains(text) => {
            return Err(wrong(&format!("one of {}", input.choices.join(", "))));
        }
        _ => {}
    }
    Ok(value)
}

/// The same for every attempt at the same step of the same run, whichever host makes it.
fn idempotency_key(run: RunId, step: &str) -> String {
    format!("{run}.{step}")
}

/// What a sealed record is bound to.
fn purpose(organisation: OrganisationId, run: RunId, position: usize) -> String {
    format!("run:{organisation}:{run}:{position}")
}

/// `text`, at most so many bytes of it.
fn shortened(mut text: String, bytes: usize) -> String {
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

impl StartedBy {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Manual(_) => "manual",
        }
    }
}
