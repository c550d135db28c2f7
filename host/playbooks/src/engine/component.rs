//! A playbook as a step of another. It has a run of its own, with its own records and history, worked off by the task
//! of the run it lies within: its id follows from that run, the step, the item and the attempt, so that it is found
//! again after a crash.

use std::sync::Arc;

use bellwether_kernel::{OrganisationId, Period, RunId};
use bellwether_store::{Batch, Precondition, StoreError, Walk, decode, encode};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::Active;
use super::accept::{new_row, write_new};
use super::fence::Failure;
use super::recall::Begun;
use super::runner::{Came, Work};
use super::step::{Attempted, Tried};
use crate::compile::{Action, CompiledStep, DEPTH};
use crate::rows::{OpenRun, PlaybookRow, RecordOf, RunRow, StartedBy};
use crate::secrets::Secrets;
use crate::service::Loaded;
use crate::{AppError, PlaybookError, Playbooks, Retry, RunState, Value, convert, rows, trigger};

/// Takes a run within another off the list of those at work.
struct Within<'a>(&'a Playbooks, RunId);

impl Drop for Within<'_> {
    fn drop(&mut self) {
        self.0.active.lock().remove(&self.1);
    }
}

impl Playbooks {
    /// Runs a playbook as a step, as far as it goes now. What is `known` to be secret is so within too, and what the
    /// run within knows comes back with what it gave.
    pub(super) async fn run_within(
        &self,
        work: &Work,
        step: &CompiledStep,
        item: Option<u32>,
        attempt: u32,
        given: Vec<(String, Value)>,
        known: Secrets,
    ) -> Result<Tried, Failure> {
        let Action::Playbook(name) = &step.action else { unreachable!("only playbooks are run within") };
        let id = id_within(work, &step.id, item, attempt);
        let failed =
            |message: String| Ok(Tried::done(Attempted { run: Some(id), ..Attempted::failed("", message) }));
        if work.row.depth >= DEPTH {
            return failed(format!("playbooks lie more than {DEPTH} deep in each other"));
        }
        let (mut inner, begun) = match self.within(work, step, name, id, given, known).await {
            Ok(Ok(inner)) => inner,
            Ok(Err(message)) => return failed(message),
            Err(PlaybookError::Store(error)) => return Err(moved_or(error)),
            Err(error) => return failed(error.to_string()),
        };
        let version = inner.row.playbook_version.to_string();
        if !inner.row.state.has_ended() {
            let active = Active { stop: inner.stop.clone(), task: None };
            self.active.lock().insert(id, active);
            let _within = Within(self, id);
            match Box::pin(self.execute(&mut inner, begun)).await? {
                Came::Until(until) => return Ok(Tried::Until(until)),
                Came::Ended | Came::Parked => {}
            }
        }
        let secrets = readable(id, self.read_secrets(work.organisation, id).await)?;
        let result = match inner.row.state {
            RunState::Succeeded => Ok(self.outputs_of(work.organisation, id).await?),
            state => {
                let error = inner.row.error.as_deref().unwrap_or("it did not succeed");
                let message = format!("playbook {name} (run {id}) {}: {error}", ended_how(state));
                Err(AppError { message, retry: Retry::Yes })
            }
        };
        let nothing = Attempted::failed(&version, "");
        Ok(Tried::done(Attempted { result, run: Some(id), secrets: vec![secrets.all()], ..nothing }))
    }

    /// The run within, made if it is not there yet, and this host's; and what is at hand of it if it was made.
    async fn within(
        &self,
        work: &Work,
        step: &CompiledStep,
        name: &str,
        id: RunId,
        given: Vec<(String, Value)>,
        known: Secrets,
    ) -> Result<Result<(Work, Option<Begun>), String>, PlaybookError> {
        let organisation = work.organisation;
        let reference = self.store.get(&rows::run_index(organisation, id)).await?;
        if let Some(reference) = reference {
            let playbook = decode::<rows::PlaybookRef>(&reference)?.playbook;
            let row = self.store.get(&rows::run(organisation, playbook, id)).await?;
            let row: RunRow =
                decode(&row.ok_or_else(|| StoreError::Damaged(format!("run {id} has no row")))?)?;
            let Some(loaded) = self.load(organisation, playbook, row.playbook_version).await? else {
                return Ok(Err(format!("version {} of playbook {name} is gone", row.playbook_version)));
            };
            return Ok(Ok((self.adopt(work, id, loaded, row).await?, None)));
        }
        let missing = || format!("there is no published playbook {name:?} any more");
        let Some(playbook) = self.named(organisation, name).await? else { return Ok(Err(missing())) };
        let key = rows::playbook(organisation, playbook);
        let Some(stored) = self.store.get(&key).await? else { return Ok(Err(missing())) };
        let published: PlaybookRow = decode(&stored)?;
        let loaded = match published.published {
            Some(version) => self.load(organisation, playbook, version).await?,
            None => None,
        };
        let Some(loaded) = loaded else { return Ok(Err(missing())) };
        let inputs: Map<String, Json> =
            given.iter().map(|(name, value)| (name.clone(), convert::to_json(value))).collect();
        let inputs = match loaded.compiled.document.trigger.inputs() {
            Some(declared) => super::begin::declared_inputs(declared, inputs.into()),
            None => return Ok(Err(format!("the playbook {name:?} is no step any more"))),
        };
        let inputs = match inputs {
            Ok(inputs) => inputs,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let trigger = trigger::manual(&inputs);
        let (work, begun) = self.make_within(work, step, id, loaded, &published, (trigger, known)).await?;
        Ok(Ok((work, Some(begun))))
    }

    async fn make_within(
        &self,
        work: &Work,
        step: &CompiledStep,
        id: RunId,
        loaded: Arc<Loaded>,
        playbook: &PlaybookRow,
        (trigger, mut secrets): (Json, Secrets),
    ) -> Result<(Work, Begun), PlaybookError> {
        let by = StartedBy::Playbook(work.id, step.id.clone());
        let mut row = new_row(&loaded, playbook, by, self.clock.now());
        // It is the outer run that acts: no right comes with the playbook it calls.
        row.runs_as = work.row.runs_as.clone();
        row.depth = work.row.depth + 1;
        row.deadline = step.timeout.map(|timeout| row.created.saturating_add(Period(timeout).milliseconds()));
        self.begin(work.organisation, id, &loaded, &mut row);
        let open = OpenRun { owner: Some(self.owner), parent: Some(work.id), ..OpenRun::new(&loaded) };
        let fence = encode(&open);
        let mut batch = Batch::new();
        write_new(&mut batch, work.organisation, id, &row);
        batch.put(rows::run_open(work.organisation, id), fence.clone());
        // Whoever lost the outer run makes none within it, which nobody would end.
        batch.require(rows::run_open(work.organisation, work.id), Precondition::ValueIs(work.fence.clone()));
        let described = self.described(work.organisation, &loaded.compiled, &row.pins).await?;
        let secret_variables = loaded.compiled.secret_variables(&described);
        self.write_trigger(&mut batch, work.organisation, id, &secret_variables, &mut secrets, &trigger)?;
        self.store.commit(batch).await?;
        let mut inner = Work::new(work.organisation, id, loaded, row, open, fence);
        inner.untouched = true;
        Ok((inner, Begun { trigger, described, secret_variables, secrets }))
    }

    /// Makes a run within `outer` this host's, as that one is.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if anything about the outer run changed.
    async fn adopt(
        &self,
        outer: &Work,
        id: RunId,
        loaded: Arc<Loaded>,
        row: RunRow,
    ) -> Result<Work, PlaybookError> {
        let organisation = outer.organisation;
        let (key, outer_key) = (rows::run_open(organisation, id), rows::run_open(organisation, outer.id));
        loop {
            let Some(stored) = self.store.get(&key).await? else {
                let row = self.store.get(&rows::run(organisation, row.playbook, id)).await?;
                let row = row.ok_or_else(|| StoreError::Damaged(format!("run {id} has no row")))?;
                let open = OpenRun::new(&loaded);
                return Ok(Work::new(organisation, id, loaded, decode(&row)?, open, bytes::Bytes::new()));
            };
            let open = OpenRun { owner: Some(self.owner), ..decode(&stored)? };
            let fence = encode(&open);
            if fence != stored {
                let mut batch = Batch::new();
                let row_key = rows::run(organisation, row.playbook, id);
                if let Some(stored) = self.store.get(&row_key).await? {
                    self.renew_failure_time(&mut batch, row_key, stored)?;
                }
                batch.require(key.clone(), Precondition::ValueIs(stored)).put(key.clone(), fence.clone());
                batch.require(outer_key.clone(), Precondition::ValueIs(outer.fence.clone()));
                match self.store.commit(batch).await {
                    Ok(_) => {}
                    Err(StoreError::Conflict(at)) if at != outer_key => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            let row = self.store.get(&rows::run(organisation, row.playbook, id)).await?;
            let row = row.ok_or_else(|| StoreError::Damaged(format!("run {id} has no row")))?;
            return Ok(Work::new(organisation, id, loaded, decode(&row)?, open, fence));
        }
    }

    /// What a run that ended gave by its playbook's `outputs`.
    async fn outputs_of(
        &self,
        organisation: OrganisationId,
        id: RunId,
    ) -> Result<Map<String, Json>, StoreError> {
        match readable(id, self.read_whole(organisation, id, RecordOf::Outputs).await)? {
            Some(Json::Object(outputs)) => Ok(outputs),
            _ => Ok(Map::new()),
        }
    }

    /// Ends the runs within a run that is cut off.
    pub(super) async fn end_within(&self, work: &Work, reason: &str) -> Result<(), Failure> {
        let mut open_runs = Walk::forward(&*self.store, rows::open_runs(work.organisation).prefix());
        while let Some((key, stored)) = open_runs.next().await? {
            let open: OpenRun = decode(&stored)?;
            let (_, id) = rows::organisation_and_run(&key)?;
            if open.parent == Some(work.id) && id != work.id {
                self.end_one_within(work, id, open, reason).await?;
            }
        }
        Ok(())
    }

    async fn end_one_within(
        &self,
        outer: &Work,
        id: RunId,
        open: OpenRun,
        reason: &str,
    ) -> Result<(), Failure> {
        let organisation = outer.organisation;
        let mut batch = Batch::new();
        self.mark_cancelled(&mut batch, organisation, id, reason).await?;
        if !batch.is_empty() {
            self.store.commit(batch).await.map_err(moved_or)?;
        }
        let row = self.store.get(&rows::run(organisation, open.playbook, id)).await?;
        let Some(row) = row else { return Ok(()) };
        let row: RunRow = decode(&row)?;
        let inner = match self.load(organisation, row.playbook, row.playbook_version).await {
            Ok(Some(loaded)) => self.adopt(outer, id, loaded, row).await,
            Ok(None) => {
                let gone = row.version_gone();
                return self.end_unknown(organisation, id, row, gone).await.map_err(Failure::from);
            }
            Err(PlaybookError::Store(damage @ StoreError::Damaged(_))) => {
                let gone = damage.to_string();
                return self.end_unknown(organisation, id, row, gone).await.map_err(Failure::from);
            }
            Err(error) => Err(error),
        };
        let mut inner = match inner {
            Ok(inner) => inner,
            Err(PlaybookError::Store(error)) => return Err(moved_or(error)),
            Err(error) => return Err(StoreError::Damaged(format!("run {id}: {error}")).into()),
        };
        if inner.row.state.has_ended() {
            return Ok(());
        }
        // Its on-failure steps are taken; one that would wait is not waited for.
        if let Came::Until(_) = Box::pin(self.execute(&mut inner, None)).await? {
            self.end(&mut inner, Batch::new()).await?;
            self.tell_end(organisation, id).await;
        }
        Ok(())
    }
}

/// What was read of the records of run `id`: one that does not open is damaged.
fn readable<T>(id: RunId, read: Result<T, PlaybookError>) -> Result<T, StoreError> {
    read.map_err(|error| match error {
        PlaybookError::Store(error) => error,
        error => StoreError::Damaged(format!("the records of run {id}: {error}")),
    })
}

/// What a commit that hangs on the outer run failed of.
fn moved_or(error: StoreError) -> Failure {
    match error {
        StoreError::Conflict(_) => Failure::Moved,
        error => error.into(),
    }
}

fn ended_how(state: RunState) -> &'static str {
    match state {
        RunState::TimedOut => "took too long",
        RunState::Cancelled => "was cancelled",
        RunState::Blocked => "was blocked",
        _ => "failed",
    }
}

/// The id of the run a step, or an item of it, runs in an attempt: it sorts where the outer run does.
fn id_within(work: &Work, step: &str, item: Option<u32>, attempt: u32) -> RunId {
    let name = json!([work.id, step, item, attempt]).to_string();
    let digest = Sha256::digest(name.as_bytes());
    let mut random = [0; 10];
    random.copy_from_slice(&digest[..10]);
    let milliseconds = u64::try_from(work.row.created.as_milliseconds()).unwrap_or(0);
    RunId(uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid())
}
