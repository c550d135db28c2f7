//! Works a run off: asks what is next, takes the step (`step.rs`), records it. Each step's result is committed before
//! the next step begins, the last one together with the run's end.

use std::sync::Arc;
use std::time::Duration;

use bellwether_access::{Principal, Role};
use bellwether_kernel::{ErrorKind, OrganisationId, RunId};
use bellwether_store::{Batch, Precondition, StoreError, decode, encode};
use bytes::Bytes;
use serde_json::{Map, Value as Json};
use tracing::Instrument;

use crate::compile::Compiled;
use crate::progress::{Next, next};
use crate::rows::{Part, Payload, Record, RunRow, StartedBy, read_json};
use crate::secrets::Secrets;
use crate::step::shortened;
use crate::template::{Variables, from_json};
use crate::{PlaybookError, Playbooks, RunState, StepResult, StepState, rows};

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
pub(crate) struct History {
    /// The trigger as templates read it, nothing masked.
    pub(crate) trigger: minijinja::Value,
    /// Outputs by step as templates read them, nothing masked.
    pub(crate) outputs: Vec<(String, minijinja::Value)>,
    /// What is recorded, in order.
    steps: Vec<StepResult>,
    pub(crate) secrets: Secrets,
    /// What secret inputs read.
    secret_variables: Variables,
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
            let principal = match self.principal(work) {
                Ok(principal) => principal,
                Err(error) => return self.end(work, Batch::new(), RunState::Failed, Some(error)).await,
            };
            if work.row.state == RunState::Queued {
                work.row.state = RunState::Running;
                work.row.started = Some(self.clock.now());
                self.save(work, Batch::new()).await?;
            }
            let compiled = Arc::clone(&work.compiled);
            let step = &compiled.steps[position];
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
                Err(error) => result.error = Some(error),
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
        // Masked first: of a secret that is cut in two, nothing would be found.
        result.error =
            result.error.map(|error| shortened(history.secrets.mask_text(&error).into_owned(), ERROR_BYTES));
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

/// What a sealed record is bound to.
fn purpose(organisation: OrganisationId, run: RunId, position: usize) -> String {
    format!("run:{organisation}:{run}:{position}")
}

impl StartedBy {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Manual(_) => "manual",
        }
    }
}
