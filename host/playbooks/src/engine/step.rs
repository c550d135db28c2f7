//! Takes one step as far as it goes now: skipped, waited out, stopped at, called, called again.

use std::sync::Arc;

use bellwether_kernel::{RunId, Timestamp};
use bellwether_store::{Batch, Key};
use bytes::Bytes;
use serde_json::{Map, Value as Json};

use super::fence::Failure;
use super::recall::Recalled;
use super::runner::Work;
use crate::compile::{Action, CompiledStep, FAILURE_TIME, delay_of, shorter};
use crate::{AppError, Attempt, LogLine, Playbooks, Retry, RunState, StepResult, StepState, Stop};

/// How many failed attempts of a step are remembered.
const ATTEMPTS: usize = 20;

/// How taking a step came out.
pub(super) enum Took {
    /// It is through.
    Settled(Box<Settled>),
    /// It is not, and what there is of it is recorded: it goes on then.
    Wait(Waits),
    /// The run is to end before it is through.
    Cut,
}

/// Until when something waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waits {
    pub(super) until: Timestamp,
    /// The open runs within that wait, as they are stored: it goes on earlier when one of them is other than that, as it
    /// was cancelled, or given a place of its playbook's.
    pub(super) on: Vec<(Key, Bytes)>,
}

impl From<Timestamp> for Waits {
    fn from(until: Timestamp) -> Self {
        Self { until, on: Vec::new() }
    }
}

/// A step that is through, nothing masked.
pub(super) struct Settled {
    pub(super) result: StepResult,
    /// How the run ends by it, and why.
    pub(super) stop: Option<(RunState, Option<String>)>,
}

impl Settled {
    pub(super) fn took(result: StepResult) -> Took {
        Took::Settled(Box::new(Self { result, stop: None }))
    }
}

/// What one attempt came to, nothing masked.
pub(super) struct Attempted {
    pub(super) version: String,
    pub(super) inputs: Map<String, Json>,
    pub(super) result: Result<Map<String, Json>, AppError>,
    pub(super) log: Vec<LogLine>,
    /// The run of the playbook it was.
    pub(super) run: Option<RunId>,
    /// When that began to be, which may have waited since.
    pub(super) began: Option<Timestamp>,
    /// What the secret inputs were given.
    pub(super) secrets: Vec<Json>,
    /// Whether nothing was done, as the playbook it is ran already.
    pub(super) skipped: bool,
}

impl Attempted {
    /// What came to this, and nothing else is known of.
    pub(super) fn of(result: Result<Map<String, Json>, AppError>) -> Self {
        Self {
            version: String::new(),
            inputs: Map::new(),
            result,
            log: Vec::new(),
            run: None,
            began: None,
            secrets: Vec::new(),
            skipped: false,
        }
    }

    pub(super) fn failed(version: &str, error: impl Into<String>) -> Self {
        let error = AppError { message: error.into(), retry: Retry::No };
        Self { version: version.to_owned(), ..Self::of(Err(error)) }
    }

    /// Its app is installed and not called, for a reason that somebody may mend: it is worth another attempt.
    pub(super) fn not_called(app: &str, why: &str) -> Self {
        Self::of(Err(AppError { message: not_called(app, why), retry: Retry::Yes }))
    }
}

/// Says why an app that is installed is not called.
pub(super) fn not_called(app: &str, why: &str) -> String {
    format!("the app {app:?} is installed and not called: {why}")
}

/// The number of a step's next attempt, after what is recorded of those before it.
pub(super) fn next_attempt(prior: Option<&StepResult>) -> u32 {
    prior.map_or(1, |prior| prior.attempt + 1)
}

/// How an attempt came out.
pub(super) enum Tried {
    Done(Box<Attempted>),
    /// The playbook it runs waits until then.
    Until(Waits),
}

impl Tried {
    pub(super) fn done(attempted: Attempted) -> Self {
        Self::Done(Box::new(attempted))
    }
}

impl Playbooks {
    /// Takes a step, as far as it goes now.
    pub(super) async fn take_step(
        &self,
        work: &mut Work,
        recalled: &mut Recalled,
        position: usize,
    ) -> Result<Took, Failure> {
        let loaded = Arc::clone(&work.loaded);
        let step = &loaded.compiled.steps[position];
        let prior = recalled.results[position].clone();
        let mut result = self.blank(step, prior.as_ref());
        if prior.is_none() && step.when.is_some() {
            let holds = self.render_value(work, recalled, position, "when", |step| step.when.as_ref()).await;
            match holds.map(|value| crate::template::is_true(&value)) {
                Ok(true) => {}
                Ok(false) => {
                    result.state = StepState::Skipped;
                    result.outputs = recalled.skipped(step, position);
                    return Ok(Settled::took(result));
                }
                Err(error) => return Ok(self.failed(result, error)),
            }
        }
        match &step.action {
            Action::Delay(_) => self.take_delay(work, recalled, position, prior, result).await,
            Action::Stop(stop, message) => {
                let message = match message {
                    None => None,
                    Some(_) => {
                        let message = self.render_value(work, recalled, position, "message", |step| {
                            match &step.action {
                                Action::Stop(_, message) => message.as_ref(),
                                _ => None,
                            }
                        });
                        match message.await {
                            Ok(Json::String(text)) => Some(text),
                            Ok(other) => Some(other.to_string()),
                            Err(error) => return Ok(self.failed(result, error)),
                        }
                    }
                };
                let outcome = match stop {
                    Stop::Succeeded => RunState::Succeeded,
                    Stop::Failed => RunState::Failed,
                };
                Ok(Took::Settled(Box::new(Settled { result, stop: Some((outcome, message)) })))
            }
            Action::App(..) | Action::Playbook(_) if step.each.is_some() => {
                self.take_items(work, recalled, position, result).await
            }
            Action::App(..) | Action::Playbook(_) => {
                self.take_call(work, recalled, position, prior, result).await
            }
        }
    }

    /// A result with nothing in it yet, begun when the step was first taken.
    pub(super) fn blank(&self, step: &CompiledStep, prior: Option<&StepResult>) -> StepResult {
        let now = self.clock.now();
        StepResult {
            step: step.id.clone(),
            kind: step.action.kind(),
            app: step.action.target().to_owned(),
            app_version: String::new(),
            state: StepState::Succeeded,
            on_failure: step.on_failure,
            item: None,
            items: None,
            started: prior.map_or(now, |prior| prior.started.min(now)),
            ended: now,
            waits_until: None,
            attempt: 1,
            failed_attempts: Vec::new(),
            inputs: Map::new(),
            outputs: Map::new(),
            error: None,
            log: Vec::new(),
            run: None,
            copied: false,
        }
    }

    pub(super) fn failed(&self, mut result: StepResult, error: String) -> Took {
        result.state = StepState::Failed;
        result.ended = self.clock.now();
        result.error = Some(error);
        Settled::took(result)
    }

    async fn take_delay(
        &self,
        work: &mut Work,
        recalled: &mut Recalled,
        position: usize,
        prior: Option<StepResult>,
        mut result: StepResult,
    ) -> Result<Took, Failure> {
        if let Some(prior) = prior
            && let Some(until) = prior.waits_until
        {
            if !self.has_waited(&prior) {
                return Ok(Took::Wait(until.into()));
            }
            result.inputs = prior.inputs;
            return Ok(Settled::took(result));
        }
        let delay = self.render_value(work, recalled, position, "delay", |step| match &step.action {
            Action::Delay(delay) => Some(delay),
            _ => None,
        });
        let delay = match delay.await {
            Ok(delay) => delay,
            Err(error) => return Ok(self.failed(result, error)),
        };
        let run_time = self.run_time(&work.loaded.compiled).0;
        let most = if result.on_failure { FAILURE_TIME } else { run_time };
        let span = delay_of(&delay)
            .and_then(|span| if span < most { Ok(span) } else { Err(shorter(run_time, result.on_failure)) });
        let span = match span {
            Ok(span) => span,
            Err(expected) => {
                let mut shown = delay;
                recalled.secrets.mask(&mut shown);
                return Ok(self.failed(result, format!("delay is {shown}, expected {expected}")));
            }
        };
        let until = result.started.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
        result.inputs.insert("delay".into(), delay);
        result.state = StepState::Waiting;
        result.waits_until = Some(until);
        self.record_waiting(work, recalled, position, result).await?;
        Ok(Took::Wait(until.into()))
    }

    /// Records that a step waits.
    async fn record_waiting(
        &self,
        work: &mut Work,
        recalled: &mut Recalled,
        position: usize,
        mut result: StepResult,
    ) -> Result<(), Failure> {
        let mut batch = Batch::new();
        let Recalled { secrets, secret_variables, .. } = &mut *recalled;
        self.write_result(&mut batch, work, secrets, secret_variables, position, &mut result);
        self.commit_fenced(work, batch).await?;
        recalled.results[position] = Some(result);
        Ok(())
    }

    async fn take_call(
        &self,
        work: &mut Work,
        recalled: &mut Recalled,
        position: usize,
        prior: Option<StepResult>,
        result: StepResult,
    ) -> Result<Took, Failure> {
        if let Some(prior) = &prior
            && let Some(until) = prior.waits_until
            && !self.has_waited(prior)
        {
            return Ok(Took::Wait(until.into()));
        }
        let attempt = next_attempt(prior.as_ref());
        let began = self.clock.now();
        let attempted = match self.attempt(work, recalled, position, None, attempt).await? {
            Tried::Done(attempted) => *attempted,
            Tried::Until(waits) => return Ok(Took::Wait(waits)),
        };
        attempted.secrets.iter().for_each(|secret| recalled.secrets.learn(secret));
        let step = &work.loaded.compiled.steps[position];
        let result = self.conclude(step, result, prior, began, attempt, attempted);
        match result.waits_until {
            Some(until) => {
                self.record_waiting(work, recalled, position, result).await?;
                Ok(Took::Wait(until.into()))
            }
            None => Ok(Settled::took(result)),
        }
    }

    /// What an attempt makes of a step: it succeeded, it failed, or it is tried again.
    pub(super) fn conclude(
        &self,
        step: &CompiledStep,
        mut result: StepResult,
        prior: Option<StepResult>,
        began: Timestamp,
        attempt: u32,
        attempted: Attempted,
    ) -> StepResult {
        let now = self.clock.now();
        if let Some(prior) = prior {
            result.failed_attempts = prior.failed_attempts;
            result.log = prior.log;
        }
        result.app_version = attempted.version;
        result.inputs = attempted.inputs;
        result.log.extend(attempted.log);
        result.run = attempted.run;
        result.started = attempted.began.map_or(result.started, |began| began.min(result.started));
        result.attempt = attempt;
        result.ended = now;
        match attempted.result {
            Ok(outputs) => {
                result.state = if attempted.skipped { StepState::Skipped } else { StepState::Succeeded };
                result.outputs = outputs;
            }
            Err(error) => {
                let again = step.retry.filter(|rule| error.retry != Retry::No && attempt < rule.attempts);
                if let Some(rule) = again {
                    let asked = match error.retry {
                        Retry::After(milliseconds) => i64::try_from(milliseconds).unwrap_or(i64::MAX),
                        Retry::No | Retry::Yes => 0,
                    };
                    let wait = rule.wait_after(attempt).milliseconds().max(asked);
                    result.state = StepState::Waiting;
                    result.waits_until = Some(now.saturating_add(wait));
                    let failed =
                        Attempt { number: attempt, started: began, ended: now, error: error.message };
                    result.failed_attempts.push(failed);
                    let more = result.failed_attempts.len().saturating_sub(ATTEMPTS);
                    result.failed_attempts.drain(..more);
                } else {
                    result.state = StepState::Failed;
                    result.error = Some(error.message);
                }
            }
        }
        result
    }
}
