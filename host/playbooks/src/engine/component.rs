//! A playbook as a step of another. It has a run of its own, with its own records and history, worked off by the task
//! of the run it lies within: its id follows from that run, the step, the item and the attempt, so that it is found
//! again after a crash.

use std::sync::Arc;

use bellwether_access::AccessError;
use bellwether_kernel::{ErrorKind, OrganisationId, Period, RunId, Timestamp};
use bellwether_store::{Batch, Precondition, StoreError, Walk, decode, encode};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::Active;
use super::accept::{new_row, write_new};
use super::fence::Failure;
use super::gate::Place;
use super::recall::Begun;
use super::runner::{Came, Work};
use super::step::{Attempted, Tried};
use crate::compile::{Action, CompiledStep, DEPTH};
use crate::rows::{OpenRun, PlaybookRow, RecordOf, RunRow, StartedBy};
use crate::secrets::Secrets;
use crate::service::Loaded;
use crate::{AppError, PlaybookError, Playbooks, Retry, RunState, RunSummary, Value, convert, rows, trigger};

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
            Err(error) => {
                let retry = match error {
                    PlaybookError::Busy { retry_after, .. } => {
                        Retry::After(Period(retry_after).milliseconds().unsigned_abs())
                    }
                    _ => Retry::No,
                };
                return Ok(Tried::done(Attempted::of(Err(AppError { message: error.to_string(), retry }))));
            }
        };
        let version = inner.row.playbook_version.to_string();
        if !inner.row.state.has_ended() {
            let active = Active { stop: inner.stop.clone(), task: None };
            self.active.lock().insert(id, active);
            let _within = Within(self, id);
            if let Came::Until(mut waits) = self.go_on_within(work, &mut inner, begun).await? {
                waits.on.push((rows::run_open(work.organisation, id), inner.fence));
                return Ok(Tried::Until(waits));
            }
        }
        let secrets = readable(id, self.read_secrets(work.organisation, id).await)?;
        let skipped = inner.row.state == RunState::Skipped;
        let result = match inner.row.state {
            RunState::Succeeded => Ok(self.outputs_of(work.organisation, id).await?),
            RunState::Skipped => Ok(Map::new()),
            state => {
                let error = inner.row.error.as_deref().unwrap_or("it did not succeed");
                let message = format!("playbook {name} (run {id}) {}: {error}", ended_how(state));
                Err(AppError { message, retry: Retry::Yes })
            }
        };
        let (run, began, secrets) = (Some(id), Some(inner.row.created), vec![secrets.all()]);
        Ok(Tried::done(Attempted { version, run, began, secrets, skipped, ..Attempted::of(result) }))
    }

    /// Works at a run within, as far as it goes now: one that has no place of its playbook's waits for one first.
    async fn go_on_within(
        &self,
        outer: &Work,
        inner: &mut Work,
        begun: Option<Begun>,
    ) -> Result<Came, Failure> {
        while inner.row.state == RunState::Queued && !self.is_to_end(inner) {
            if inner.open.waits {
                let until = [inner.row.deadline, outer.row.deadline].into_iter().flatten().min();
                return Ok(Came::Until(until.unwrap_or(Timestamp::MAX).into()));
            }
            let mut row = inner.row.clone();
            self.begin(inner.organisation, inner.id, &inner.loaded, &mut row);
            let mut batch = Batch::new();
            batch.put(rows::run(inner.organisation, row.playbook, inner.id), encode(&row));
            if self.commit_as(inner, &batch).await? {
                inner.row = row;
                self.queued.went(inner.organisation, 1);
            } else {
                self.refresh(inner).await?;
            }
        }
        Box::pin(self.execute(inner, begun)).await
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
            let version = row.playbook_version;
            let Some(loaded) = self.load(organisation, playbook, version).await? else {
                if !row.state.has_ended() {
                    let gone = row.version_gone();
                    self.end_unknown(organisation, id, row, gone).await?;
                }
                return Ok(Err(format!("version {version} of playbook {name} is gone")));
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
        loop {
            let given = (trigger.clone(), known.clone());
            match self.make_within(work, step, id, &loaded, &published, given).await {
                // Others start or end runs of it at the same moment: who holds its places is looked at again.
                Err(PlaybookError::Store(StoreError::Conflict(at)))
                    if at != rows::run_open(organisation, work.id)
                        && at != rows::run(organisation, playbook, id) => {}
                made => return made.map(Ok),
            }
        }
    }

    /// Records a run within, at its place among the runs of its playbook. Gives what is at hand of it if it begins now.
    async fn make_within(
        &self,
        work: &Work,
        step: &CompiledStep,
        id: RunId,
        loaded: &Arc<Loaded>,
        playbook: &PlaybookRow,
        (trigger, mut secrets): (Json, Secrets),
    ) -> Result<(Work, Option<Begun>), PlaybookError> {
        let organisation = work.organisation;
        let by = StartedBy::Playbook(work.id, step.id.clone());
        let mut row = new_row(loaded, playbook, by, self.clock.now());
        // It is the outer run that acts: no right comes with the playbook it calls.
        row.runs_as = work.row.runs_as.clone();
        row.depth = work.row.depth + 1;
        row.deadline = step.timeout.map(|timeout| row.created.saturating_add(Period(timeout).milliseconds()));
        let mut open = OpenRun { owner: Some(self.owner), parent: Some(work.id), ..OpenRun::new(loaded) };
        let mut batch = Batch::new();
        let (place, replaced) = self.take_place(&mut batch, organisation, loaded, id).await?;
        let mut reserved = None;
        match place {
            Place::Free => self.begin(organisation, id, loaded, &mut row),
            Place::Waits => {
                reserved = Some(self.reserve(&self.placeless, organisation)?);
                open.waits = true;
                batch.put(rows::waits(organisation, loaded.id, id), Vec::new());
            }
            Place::Skipped => row.skip(self.clock.now()),
        }
        let fence = encode(&open);
        write_new(&mut batch, organisation, id, &row);
        if place != Place::Skipped {
            batch.put(rows::run_open(organisation, id), fence.clone());
        }
        // Whoever lost the outer run makes none within it, which nobody would end.
        batch.require(rows::run_open(organisation, work.id), Precondition::ValueIs(work.fence.clone()));
        let described = self.described(organisation, &loaded.compiled, &row.pins).await?;
        let secret_variables = loaded.compiled.secret_variables(&described);
        self.write_trigger(&mut batch, organisation, id, &secret_variables, &mut secrets, &trigger)?;
        self.store.commit(batch).await?;
        self.are_replaced(organisation, &replaced);
        match place {
            Place::Free => {}
            Place::Waits => {
                // Counted before its place is given back.
                self.placeless.came(organisation, 1);
                drop(reserved);
            }
            Place::Skipped => self.note_end(organisation, id, &row, true, None),
        }
        let mut inner = Work::new(organisation, id, Arc::clone(loaded), row, open, fence);
        let begins = place == Place::Free;
        inner.untouched = begins;
        let begun = begins.then_some(Begun { trigger, described, secret_variables, secrets });
        Ok((inner, begun))
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
                    self.renew_failure_time(&mut batch, row_key, stored);
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

    /// The run within that a step which is a playbook, or an item of it, began in this attempt.
    pub(super) async fn begun_within(
        &self,
        work: &Work,
        position: usize,
        item: Option<u32>,
        attempt: u32,
    ) -> Result<Option<RunSummary>, StoreError> {
        let step = &work.loaded.compiled.steps[position];
        if !matches!(step.action, Action::Playbook(_)) {
            return Ok(None);
        }
        let id = id_within(work, &step.id, item, attempt);
        match self.summary(work.organisation, id).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => readable(id, found.map(Some)),
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
        if let Some(roused) = self.mark_cancelled(&mut batch, organisation, id, reason).await? {
            self.store.commit(batch).await.map_err(moved_or)?;
            self.are_ready(organisation, &roused);
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
pub(super) fn readable<T>(id: RunId, read: Result<T, PlaybookError>) -> Result<T, StoreError> {
    read.map_err(|error| match error {
        PlaybookError::Store(error) | PlaybookError::Access(AccessError::Store(error)) => error,
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
