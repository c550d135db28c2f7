//! Runs as callers see them: accepted, listed, read, ended at a stop or a start, and forgotten in the end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bellwether_access::{Principal, Role};
use bellwether_kernel::{
    Cursor, ErrorKind, FieldError, OrganisationId, Page, PageRequest, PlaybookId, RunId,
};
use bellwether_store::{Batch, Direction, Key, Precondition, Row, Space, StoreError, decode, encode};
use futures::FutureExt;
use futures::future::{AbortHandle, abortable};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::Instrument;

use crate::rows::{PlaybookRef, Record, RunRow, StartedBy};
use crate::runner::Work;
use crate::secrets::Secrets;
use crate::service::{Loaded, require_role};
use crate::{
    PlaybookError, Playbooks, Run, RunFilter, RunState, RunSummary, StartedRun, StepResult, Trigger,
    WebhookRequest, rows, trigger,
};

/// The most items of one page.
pub(crate) const PAGE: usize = 1_000;
/// How many runs one page looks at for those a filter wants; a page that found fewer still leads on.
const LOOKED_AT: usize = 5_000;
/// Rows read at once.
const ROWS: usize = 256;
/// Keys one batch removes.
const REMOVED: usize = 5_000;
/// Why a run was interrupted.
const INTERRUPTED: &str = "the host stopped before the run had ended";

/// A run this host works at.
pub(crate) struct Active {
    pub(crate) organisation: OrganisationId,
    pub(crate) playbook: PlaybookId,
    pub(crate) task: AbortHandle,
}

/// Takes a run off the list of those at work, however its task ends.
struct Leaving {
    playbooks: Arc<Playbooks>,
    id: RunId,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.playbooks.active.lock().remove(&self.id);
        self.playbooks.left.notify_waiters();
    }
}

impl Playbooks {
    /// Starts the playbook whose webhook has this token.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] for another token, [`PlaybookError::TooLarge`] and [`PlaybookError::Invalid`] for a
    /// body that is too large or not the JSON it says it is, [`PlaybookError::Busy`] and [`PlaybookError::Stopping`]
    /// before anything is recorded.
    pub async fn start_by_webhook(
        self: &Arc<Self>,
        token: &str,
        request: WebhookRequest,
    ) -> Result<StartedRun, PlaybookError> {
        // The token is as good as a password: it is not repeated.
        let unknown = || PlaybookError::Unknown { what: "webhook", name: "(the token is not shown)".into() };
        let key = rows::webhook(&Sha256::digest(token.as_bytes()).into());
        let row = self.store.get(&key).await?.ok_or_else(unknown)?;
        let PlaybookRef { organisation, playbook } = decode(&row)?;
        let loaded = self.load(organisation, playbook).await?.ok_or_else(unknown)?;
        self.check_payload(request.body.len())?;
        let trigger = trigger::webhook(&request, loaded.compiled.reads("trigger.text"))?;
        self.accept(organisation, &loaded, StartedBy::Webhook, trigger).await
    }

    /// Starts a playbook by hand, with any JSON as its trigger's `inputs`.
    ///
    /// # Errors
    /// [`PlaybookError::Forbidden`] for a key that may only read, [`PlaybookError::Refused`] for a playbook with
    /// another trigger; otherwise as [`Self::start_by_webhook`].
    pub async fn start(
        self: &Arc<Self>,
        principal: &Principal,
        name_or_id: &str,
        inputs: Json,
    ) -> Result<StartedRun, PlaybookError> {
        require_role(principal, Role::Write, "start a playbook")?;
        let loaded = self.find(principal.organisation, name_or_id).await?;
        if loaded.compiled.document.trigger != (Trigger::Manual {}) {
            let name = &loaded.compiled.document.name;
            return Err(PlaybookError::Refused(format!(
                "the playbook {name:?} is started by its webhook; only one with a manual trigger is started by hand"
            )));
        }
        self.check_payload(crate::template::size(&inputs))?;
        let started_by = StartedBy::Manual(principal.key.clone());
        self.accept(principal.organisation, &loaded, started_by, trigger::manual(&inputs)).await
    }

    fn check_payload(&self, size: usize) -> Result<(), PlaybookError> {
        let limit = self.limits.payload;
        if size > limit { Err(PlaybookError::TooLarge { what: "a payload", size, limit }) } else { Ok(()) }
    }

    /// Records a run and queues it. What is committed is worked off even if the caller goes away meanwhile.
    async fn accept(
        self: &Arc<Self>,
        organisation: OrganisationId,
        loaded: &Loaded,
        triggered_by: StartedBy,
        mut trigger: Json,
    ) -> Result<StartedRun, PlaybookError> {
        let slot = Arc::clone(&self.slots);
        let slot = slot.try_acquire_owned().map_err(|_| PlaybookError::Busy(self.limits.queued_runs))?;
        let id = RunId::new(&*self.clock, &*self.randomness);
        let row = RunRow {
            playbook: loaded.playbook.id,
            playbook_name: loaded.compiled.document.name.clone(),
            playbook_version: loaded.playbook.version,
            runs_as: loaded.playbook.runs_as.clone(),
            state: RunState::Queued,
            triggered_by,
            created: self.clock.now(),
            started: None,
            ended: None,
            error: None,
        };
        let stored = encode(&row);
        let mut batch = Batch::new();
        let run_key = rows::run(organisation, row.playbook, id);
        let reference = encode(&PlaybookRef { organisation, playbook: row.playbook });
        batch.require(run_key.clone(), Precondition::Absent).put(run_key, stored.clone());
        batch.put(rows::run_index(organisation, id), reference.clone());
        batch.put(rows::run_open(organisation, id), reference);
        let variables = loaded.compiled.secret_variables((&*self.apps, organisation));
        let whole = (!variables.is_empty()).then(|| trigger.clone());
        let masked = whole.is_some() && Secrets::default().take("trigger", &mut trigger, &variables);
        let whole = whole.filter(|_| masked);
        self.write_record(&mut batch, organisation, id, 0, trigger.to_string().into(), whole.as_ref())?;
        drop(trigger);

        let (accepted, answer) = oneshot::channel();
        let (ended, receiver) = oneshot::channel();
        let work = Work { organisation, id, compiled: Arc::clone(&loaded.compiled), row, stored };
        // Apart from the request that started it, which is over long before.
        let span = tracing::info_span!(
            parent: None,
            "run",
            run = %id,
            organisation = organisation.0,
            playbook = work.row.playbook_name,
            playbook_version = work.row.playbook_version,
            trigger = work.row.triggered_by.name(),
        );
        span.follows_from(tracing::Span::current());
        let playbook = work.row.playbook;
        let leaving = Leaving { playbooks: Arc::clone(self), id };
        let task = Arc::clone(self).work_off(work, batch, slot, accepted, ended, leaving).instrument(span);
        let (task, handle) = abortable(task);
        {
            let mut active = self.active.lock();
            // Looked at under the lock that `stop` takes, so that it sees every run or this sees it.
            if !self.stopping.load(Ordering::SeqCst) {
                active.insert(id, Active { organisation, playbook, task: handle });
            } else {
                drop(active);
                return Err(PlaybookError::Stopping);
            }
        }
        tokio::spawn(task);
        match answer.await {
            Ok(Ok(())) => Ok(StartedRun { id, ended: receiver }),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(PlaybookError::Stopping),
        }
    }

    async fn work_off(
        self: Arc<Self>,
        mut work: Work,
        acceptance: Batch,
        slot: OwnedSemaphorePermit,
        accepted: oneshot::Sender<Result<(), StoreError>>,
        ended: oneshot::Sender<Run>,
        leaving: Leaving,
    ) {
        if let Err(error) = self.store.commit(acceptance).await {
            // The caller may be gone; then nobody was told anything.
            let _ = accepted.send(Err(error));
            return;
        }
        let _ = accepted.send(Ok(()));
        let Ok(_worker) = self.workers.acquire().await else { return };
        let worked = match AssertUnwindSafe(self.execute(&mut work)).catch_unwind().await {
            Ok(worked) => worked,
            Err(_) => {
                let error = "the run panicked, which is a fault of the host".to_owned();
                self.end(&mut work, Batch::new(), RunState::Failed, Some(error)).await
            }
        };
        if let Err(error) = worked {
            tracing::error!(%error, "the run could not be recorded and stays open");
        } else if !ended.is_closed()
            && let Ok(run) = self.run(work.organisation, work.id).await
        {
            let _ = ended.send(run);
        }
        drop(slot);
        drop(leaving);
    }

    /// Runs, newest first. A page may hold fewer than asked for, even none, and still lead to a next one.
    ///
    /// # Errors
    /// [`PlaybookError::Invalid`] for a cursor that is not of this list.
    pub async fn runs(
        &self,
        organisation: OrganisationId,
        filter: &RunFilter,
        page: &PageRequest,
    ) -> Result<Page<RunSummary>, PlaybookError> {
        let prefix = match filter.playbook {
            Some(playbook) => rows::runs(organisation, playbook),
            None => rows::run_indexes(organisation),
        };
        let mut range = prefix.prefix();
        if let Some(cursor) = &page.cursor {
            if cursor.0.len() != 16 {
                return Err(invalid_cursor(cursor));
            }
            range.end = prefix.fixed(&cursor.0);
        }
        let limit = page.limit.clamp(1, PAGE);
        let mut items: Vec<RunSummary> = Vec::new();
        let mut looked_at = 0;
        let rows = if filter.state.is_none() { ROWS.min(limit + 1) } else { ROWS };
        loop {
            let found = self.store.scan(range.clone(), Direction::Backward, rows).await?;
            let Some((last, _)) = found.last() else { return Ok(Page { items, next: None }) };
            range.end = last.clone();
            for (key, value) in found {
                let run = match filter.playbook {
                    Some(_) => rows::run_of(&key)?,
                    None => rows::organisation_and_run(&key)?.1,
                };
                looked_at += 1;
                if items.len() == limit || looked_at > LOOKED_AT {
                    // This run is the next page's first: its page ends just behind it.
                    let after = run.0.as_u128().saturating_add(1);
                    return Ok(Page { items, next: Some(Cursor(after.to_be_bytes().to_vec())) });
                }
                let row = match filter.playbook {
                    Some(_) => Some(value),
                    None => {
                        let PlaybookRef { playbook, .. } = decode(&value)?;
                        self.store.get(&rows::run(organisation, playbook, run)).await?
                    }
                };
                // Without a row it was removed since.
                let Some(row) = row else { continue };
                let row: RunRow = decode(&row)?;
                if filter.state.is_none_or(|state| state == row.state) {
                    items.push(row.summary(run));
                }
            }
        }
    }

    /// One run, whole.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] if there is none of that id.
    pub async fn run(&self, organisation: OrganisationId, id: RunId) -> Result<Run, PlaybookError> {
        let unknown = || PlaybookError::Unknown { what: "run", name: id.to_string() };
        let reference = self.store.get(&rows::run_index(organisation, id)).await?.ok_or_else(unknown)?;
        let PlaybookRef { playbook, .. } = decode(&reference)?;
        let row = self.store.get(&rows::run(organisation, playbook, id)).await?.ok_or_else(unknown)?;
        let row: RunRow = decode(&row)?;
        let mut trigger = Json::Null;
        let mut steps: Vec<StepResult> = Vec::new();
        for (position, (key, record)) in self.records(organisation, id).await?.into_iter().enumerate() {
            let record: Record = decode(&record)?;
            if position == 0 {
                trigger = record.read(&*self.store, &key).await?;
            } else {
                steps.push(record.read(&*self.store, &key).await?);
            }
        }
        Ok(Run { summary: row.summary(id), trigger, steps })
    }

    /// A run's records, its trigger's first.
    pub(crate) async fn records(
        &self,
        organisation: OrganisationId,
        id: RunId,
    ) -> Result<Vec<Row>, StoreError> {
        self.all(rows::records(organisation, id)).await
    }

    /// All rows under `prefix`, of which there are few.
    async fn all(&self, prefix: Key) -> Result<Vec<Row>, StoreError> {
        let mut range = prefix.prefix();
        let mut all = Vec::new();
        loop {
            let page = self.store.scan(range.clone(), Direction::Forward, ROWS).await?;
            let Some((last, _)) = page.last().filter(|_| page.len() == ROWS) else {
                all.extend(page);
                return Ok(all);
            };
            range.start = last.successor();
            all.extend(page);
        }
    }

    /// Takes no more runs and waits until those accepted have ended, at most so long; what is left then is recorded as
    /// interrupted.
    pub async fn stop(&self, patience: Duration) {
        {
            let _active = self.active.lock();
            self.stopping.store(true, Ordering::SeqCst);
        }
        if tokio::time::timeout(patience, self.all_left()).await.is_ok() {
            return;
        }
        let unfinished: Vec<(RunId, OrganisationId, PlaybookId)> = {
            let active = self.active.lock();
            active.values().for_each(|run| run.task.abort());
            active.iter().map(|(id, run)| (*id, run.organisation, run.playbook)).collect()
        };
        self.all_left().await;
        for (id, organisation, playbook) in unfinished {
            if let Err(error) = self.interrupt(organisation, playbook, id).await {
                tracing::error!(run = %id, %error, "the run could not be recorded as interrupted; the next start does");
            }
        }
    }

    async fn all_left(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            // Listens from here on, so that nobody leaves unnoticed between the look and the wait.
            left.as_mut().enable();
            if self.active.lock().is_empty() {
                return;
            }
            left.await;
        }
    }

    /// Ends every run that is open and that this host does not work at.
    pub(crate) async fn interrupt_orphans(&self) -> Result<usize, StoreError> {
        let mut range = Key::new(Space::RunOpen).prefix();
        let mut interrupted = 0;
        loop {
            let page = self.store.scan(range.clone(), Direction::Forward, ROWS).await?;
            let Some((last, _)) = page.last() else { return Ok(interrupted) };
            range.start = last.successor();
            for (key, value) in page {
                let (organisation, id) = rows::organisation_and_run(&key)?;
                if self.active.lock().contains_key(&id) {
                    continue;
                }
                let PlaybookRef { playbook, .. } = decode(&value)?;
                interrupted += usize::from(self.interrupt(organisation, playbook, id).await?);
            }
        }
    }

    /// Ends a run as interrupted unless it has ended. Gives whether it did.
    async fn interrupt(
        &self,
        organisation: OrganisationId,
        playbook: PlaybookId,
        id: RunId,
    ) -> Result<bool, StoreError> {
        let key = rows::run(organisation, playbook, id);
        loop {
            let mut batch = Batch::new();
            batch.delete(rows::run_open(organisation, id));
            let stored = self.store.get(&key).await?;
            let mut open = false;
            if let Some(stored) = stored {
                let mut row: RunRow = decode(&stored)?;
                if !row.has_ended() {
                    open = true;
                    row.state = RunState::Interrupted;
                    row.ended = Some(self.clock.now());
                    row.error = Some(INTERRUPTED.to_owned());
                    batch.require(key.clone(), Precondition::ValueIs(stored)).put(key.clone(), encode(&row));
                }
            }
            match self.store.commit(batch).await {
                Ok(_) => return Ok(open),
                // It moved on meanwhile.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes runs that were accepted longer than `keep` ago and have ended, with all that is recorded of them, at
    /// most `budget` runs in this call. Also ends runs that are open and at which nobody works, which happens when the
    /// store was away for long. Gives how many runs were removed: as many as `budget` if there may be more.
    ///
    /// # Errors
    /// The store's; what was removed before stays so.
    pub async fn sweep(&self, keep: Duration, budget: usize) -> Result<usize, PlaybookError> {
        self.interrupt_orphans().await?;
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let before = self.clock.now().as_milliseconds().saturating_sub(keep);
        // Run ids begin with their time in milliseconds, in 48 bits.
        let Ok(before) = u64::try_from(before) else { return Ok(0) };
        let cutoff = &before.to_be_bytes()[2..];
        let mut removed = 0;
        let mut batch = Batch::new();
        let mut keys = 0;
        let mut range = Key::new(Space::RunIndex).prefix();
        'rows: loop {
            let page = self.store.scan(range.clone(), Direction::Forward, ROWS).await?;
            let Some((last, _)) = page.last() else { break };
            range.start = last.successor();
            for (key, value) in page {
                let (organisation, id) = rows::organisation_and_run(&key)?;
                if &id.0.as_bytes()[..6] >= cutoff {
                    // Everything behind it in this organisation is younger.
                    range.start = rows::run_indexes(organisation).prefix().end;
                    continue 'rows;
                }
                let PlaybookRef { playbook, .. } = decode(&value)?;
                if removed >= budget {
                    break 'rows;
                }
                if let Some(taken) = self.remove(&mut batch, organisation, playbook, id).await? {
                    removed += 1;
                    keys += taken;
                }
                if keys > REMOVED {
                    self.store.commit(std::mem::take(&mut batch)).await?;
                    keys = 0;
                }
            }
        }
        if !batch.is_empty() {
            self.store.commit(batch).await?;
        }
        Ok(removed)
    }

    /// Adds the removal of a run to `batch`, unless it is open. Gives how many keys that are.
    async fn remove(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        playbook: PlaybookId,
        id: RunId,
    ) -> Result<Option<usize>, StoreError> {
        let key = rows::run(organisation, playbook, id);
        if let Some(row) = self.store.get(&key).await?
            && !decode::<RunRow>(&row)?.has_ended()
        {
            return Ok(None);
        }
        let mut keys = 2;
        for (key, row) in self.records(organisation, id).await? {
            let record: Record = decode(&row)?;
            keys += record.keys();
            record.delete(&*self.store, batch, key).await?;
        }
        batch.delete(key).delete(rows::run_index(organisation, id));
        Ok(Some(keys))
    }
}

pub(crate) fn invalid_cursor(cursor: &Cursor) -> PlaybookError {
    FieldError::new("cursor", cursor, "`next` of the previous page of this list").into()
}
