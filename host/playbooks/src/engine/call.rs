//! One attempt at a step: its inputs are rendered, its app is called, and what the app gave is held against what it
//! declares.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bellwether_kernel::value::{MAX_NESTING, nesting};
use bellwether_kernel::{Period, RunId};
use futures::FutureExt;
use serde_json::{Map, Value as Json};

use super::context::{Context, Item, inputs, rendered};
use super::fence::Failure;
use super::recall::{Described, Recalled, pinned};
use super::runner::Work;
use super::step::{Attempted, Tried};
use crate::compile::{Action, CompiledStep};
use crate::secrets::MASK;
use crate::template::Template;
use crate::{App, AppCall, AppError, AppReport, EffectScope, Playbooks, Retry, Value, convert};

/// How much longer than its time limit a call is waited for: the app's own limit ends it first and says so better.
const GRACE: Duration = Duration::from_secs(1);

/// Why there is nothing to give to what a step calls.
struct NotGiven {
    why: String,
    /// Whether it is not what that takes, rather than not there at all.
    is_misfit: bool,
}

impl From<String> for NotGiven {
    fn from(why: String) -> Self {
        Self { why, is_misfit: false }
    }
}

impl Playbooks {
    /// Makes one attempt at a step, or at one item of it.
    pub(super) async fn attempt(
        &self,
        work: &Work,
        recalled: &Recalled,
        position: usize,
        item: Item<'_>,
        attempt: u32,
    ) -> Result<Tried, Failure> {
        let step = &work.loaded.compiled.steps[position];
        let target = step.action.target();
        let Some(described) = &recalled.described[position] else {
            if let Action::App(name, named) = &step.action {
                let version = named.as_deref().or_else(|| pinned(&work.row.pins, name));
                if let Some(why) = self.apps.why_not(work.organisation, name, version) {
                    return Ok(Tried::done(Attempted::not_called(name, &why)));
                }
            }
            let error = match (&step.action, pinned(&work.row.pins, target)) {
                (Action::Playbook(_), _) => {
                    // One that began while it was there is not gone on with.
                    self.end_within(work, "the playbook is no step any more").await?;
                    format!("there is no published playbook {target:?} for it any more")
                }
                (Action::App(_, Some(version)), _) => {
                    format!("there is no version {version} of the app {target:?} any more; install it again")
                }
                (_, Some(version)) => format!(
                    "version {version} of the app {target:?}, with which this run began, is gone; start the run again"
                ),
                (_, None) => format!("there is no app {target:?} any more; install its plugin again"),
            };
            return Ok(Tried::done(Attempted::failed("", error)));
        };
        let version = match described {
            Described::App(app) => app.version().to_owned(),
            Described::Component(..) => String::new(),
        };
        tracing::Span::current().record("version", &version);
        let given = match self.inputs_of(work, recalled, position, item).await {
            Ok(given) => given,
            Err(NotGiven { why, is_misfit }) => {
                if let Described::App(app) = described
                    && is_misfit
                {
                    app.was_not_called();
                }
                return Ok(Tried::done(Attempted::failed(&version, why)));
            }
        };
        let mut shown = convert::to_object(&given);
        let mut secrets = Vec::new();
        for input in described.description().inputs.iter().filter(|input| input.secret) {
            if let Some(value) = shown.get_mut(&input.name) {
                secrets.push(std::mem::replace(value, MASK.into()));
            }
        }
        let mut attempted = match described {
            Described::App(app) => {
                let call = self.call_of(work, step, item, attempt, given)?;
                let AppReport { result, log } = self.call(app, target, call).await;
                let result = result.and_then(|outputs| {
                    self.outputs(app, target, outputs)
                        .map_err(|message| AppError { message, retry: Retry::No })
                });
                Attempted { version, log, ..Attempted::of(result) }
            }
            Described::Component(..) => {
                let mut known = recalled.secrets.for_another();
                secrets.iter().for_each(|secret| known.learn(secret));
                let item = item.map(|(index, _)| index);
                match self.run_within(work, step, item, attempt, given, known).await? {
                    Tried::Done(attempted) => *attempted,
                    until @ Tried::Until(_) => return Ok(until),
                }
            }
        };
        if attempted.skipped {
            attempted.result = Ok(recalled.nothing(position));
        }
        attempted.inputs = shown;
        attempted.secrets.extend(secrets);
        Ok(Tried::done(attempted))
    }

    /// Renders a step's inputs, and looks up the secrets among them.
    async fn inputs_of(
        &self,
        work: &Work,
        recalled: &Recalled,
        position: usize,
        item: Item<'_>,
    ) -> Result<Vec<(String, Value)>, NotGiven> {
        let step = &work.loaded.compiled.steps[position];
        let mut named = Vec::new();
        for input in step.inputs.values() {
            if let Template::Secret(name) = &input.template {
                let secret = self.secrets.secret(work.organisation, name).await;
                let secret = secret.map_err(|_| format!("the secret {name:?} could not be read"))?;
                named.extend(secret.map(|secret| (name.clone(), Json::from(secret.as_str()))));
            }
        }
        let described = Arc::clone(&recalled.described);
        let context = Context::new(work, recalled, step, item);
        let rendered = rendered(&work.loaded, &context, self.limits.payload, move |compiled, names, room| {
            let described = described[position].as_ref().expect("looked at before").description();
            inputs(compiled, &compiled.steps[position], &described.inputs, &named, names, room)
        });
        rendered
            .await?
            .map_err(|error| NotGiven { is_misfit: error.is_misfit(), why: error.text(&recalled.secrets) })
    }

    fn call_of(
        &self,
        work: &Work,
        step: &CompiledStep,
        item: Item<'_>,
        attempt: u32,
        inputs: Vec<(String, Value)>,
    ) -> Result<AppCall, Failure> {
        let principal = self.principal(work.organisation, &work.row.runs_as);
        // It was right a moment ago, before the step; the next look says what is to be done.
        let principal = principal.map_err(|_| Failure::Lost)?;
        let item = item.map(|(index, _)| index);
        Ok(AppCall {
            principal,
            idempotency_key: idempotency_key(work.id, &step.id, item),
            effects: Some(EffectScope { run: work.id, step: step.id.clone(), item }),
            attempt,
            inputs,
            time_limit: step.timeout.unwrap_or(self.limits.step_time),
        })
    }

    /// Calls an app, whose name is `target`: it answers in time, whatever it does.
    pub(super) async fn call(&self, app: &Arc<dyn App>, target: &str, call: AppCall) -> AppReport {
        let failed =
            |message: String, retry| AppReport { result: Err(AppError { message, retry }), log: Vec::new() };
        let limit = call.time_limit;
        let running = AssertUnwindSafe(app.run(call)).catch_unwind();
        match tokio::time::timeout(limit + GRACE, running).await {
            Ok(Ok(report)) => report,
            Ok(Err(_)) => failed(format!("{target} {} panicked", app.version()), Retry::No),
            Err(_) => {
                let limit = Period(limit);
                failed(format!("{target} {} took longer than {limit}", app.version()), Retry::Yes)
            }
        }
    }

    /// Holds what an app gave against what it declares: later steps rely on it.
    pub(super) fn outputs(
        &self,
        app: &Arc<dyn App>,
        name: &str,
        outputs: Vec<(String, Value)>,
    ) -> Result<Map<String, Json>, String> {
        let version = app.version();
        let declared = &app.description().outputs;
        let mut object: Map<String, Json> =
            declared.iter().map(|output| (output.name.clone(), Json::Null)).collect();
        let mut bytes = 0;
        for (output, value) in outputs {
            let Some(description) = declared.iter().find(|declared| declared.name == output) else {
                return Err(format!("{name} {version} gave an output {output:?} that it does not declare"));
            };
            if !convert::is_of(&value, description.value_type) {
                let expected = convert::expectation_of(&convert::to_json(&value), description.value_type);
                return Err(format!("{name} {version} gave an output {output:?} that is not {expected}"));
            }
            let json = convert::to_json(&value);
            let levels = nesting(&json);
            if levels > MAX_NESTING {
                return Err(format!(
                    "{name} {version} gave an output {output:?} nested {levels} levels deep, at most {MAX_NESTING} are taken"
                ));
            }
            bytes += crate::template::size(&json);
            object.insert(output, json);
        }
        if bytes > self.limits.outputs {
            let limit = self.limits.outputs;
            return Err(format!("{name} {version} gave outputs of {bytes} bytes, at most {limit} are taken"));
        }
        Ok(object)
    }
}

/// The same for every attempt at the same step, and item of it, of the same run, whichever host makes it.
fn idempotency_key(run: RunId, step: &str, item: Option<u32>) -> String {
    match item {
        None => format!("{run}.{step}"),
        Some(item) => format!("{run}.{step}.{item}"),
    }
}
