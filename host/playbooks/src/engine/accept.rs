//! How a run begins: a firing is claimed and its run recorded in one commit, and only then is anybody told.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bellwether_access::{ANSWER_KEPT, Principal};
use bellwether_kernel::{ErrorKind, OrganisationId, RunId, Timestamp};
use bellwether_store::{Batch, Precondition, StoreError, decode, encode};
use bytes::Bytes;
use serde_json::Value as Json;
use tokio::sync::oneshot;

use super::gate::Place;
use super::recall::Begun;
use super::runner::Work;
use super::waiting::{Reserved, Waiting};
use super::workers::Worker;
use crate::rows::{Claim, Health, OpenRun, PlaybookRef, PlaybookRow, RunRow, StartedBy};
use crate::secrets::Secrets;
use crate::service::Loaded;
use crate::template::Variables;
use crate::{PlaybookError, Playbooks, Run, StartedRun, StepResult, rows};

/// When a caller who is refused for want of room may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How often an acceptance is tried that others get in the way of.
const ATTEMPTS: u32 = 100;
/// What is said of one that others got in the way of each time.
pub(super) const IN_THE_WAY: StoreError =
    StoreError::Unavailable("others changed what the run is to begin with; try again");

/// When a new run begins.
enum Turn {
    /// At once, by this worker.
    Now(Worker),
    /// Later, with this place among those that wait.
    Later(#[expect(dead_code, reason = "it is held until the run is recorded")] Reserved),
}

/// What starts a run.
pub(crate) struct Firing {
    /// What names it, for one that may come twice: it starts one run, whatever happens.
    pub(crate) name: Option<String>,
    /// How long its name counts, in milliseconds, where that is less than claims are kept.
    pub(crate) holds: Option<i64>,
    /// The claim of its name that counts no more, whose place its own takes.
    over: Option<Bytes>,
    pub(crate) by: StartedBy,
    /// What came with it, nothing masked.
    pub(crate) trigger: Json,
    /// The playbook's row, where it was read just now.
    pub(crate) playbook: Option<PlaybookRow>,
    pub(crate) replay_of: Option<RunId>,
    /// Results of the run it repeats, to be taken over.
    pub(crate) copied: Vec<Copied>,
    /// Those of them that are recorded in the run's own commit.
    pub(super) taken_over: Batch,
    /// The run's open row, where others of them were recorded ahead of it.
    pub(super) fence: Option<Bytes>,
    /// What the run it repeats knew to be secret.
    pub(crate) secrets: Secrets,
    /// Whether nobody asked for it: it comes again by itself.
    pub(crate) unasked: bool,
    /// What is committed with it. If its preconditions do not hold, nothing happens and the caller is told.
    pub(crate) with: Batch,
}

impl Firing {
    pub(crate) fn new(by: StartedBy, trigger: Json) -> Self {
        let (copied, secrets, with) = (Vec::new(), Secrets::default(), Batch::new());
        let (taken_over, fence) = (Batch::new(), None);
        let (name, holds, over, playbook, replay_of, unasked) = (None, None, None, None, None, false);
        Self {
            name,
            holds,
            over,
            by,
            trigger,
            playbook,
            replay_of,
            copied,
            taken_over,
            fence,
            secrets,
            unasked,
            with,
        }
    }

    /// One that nobody asked for, under this name.
    pub(super) fn unasked(name: String, by: StartedBy, trigger: Json) -> Self {
        Self { name: Some(name), unasked: true, ..Self::new(by, trigger) }
    }

    /// Names it as its caller does, if he does: for his key alone, and as long as the answer to a request is kept.
    pub(crate) fn name_by_hand(&mut self, principal: &Principal, name: Option<&str>) {
        self.name = name.map(|name| format!("hand:{}:{name}", principal.key));
        self.holds = Some(ANSWER_KEPT);
    }

    /// Whether a claim of its name counts no more.
    fn outlives(&self, claim: &Claim, now: Timestamp) -> bool {
        self.holds.is_some_and(|holds| now.milliseconds_since(claim.at) >= holds)
    }
}

/// A result taken over from another run.
pub(crate) struct Copied {
    pub(crate) position: usize,
    pub(crate) item: Option<u32>,
    pub(crate) result: StepResult,
    /// Its outputs before anything was masked, where anything was.
    pub(crate) whole: Option<Json>,
}

impl Playbooks {
    /// Records a run and queues it. What is committed is worked off even if the caller goes away meanwhile.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        organisation: OrganisationId,
        loaded: Arc<Loaded>,
        firing: Firing,
    ) -> Result<StartedRun, PlaybookError> {
        let playbooks = Arc::clone(self);
        let accepting =
            tokio::spawn(async move { playbooks.accept_here(organisation, loaded, firing).await });
        accepting.await.unwrap_or(Err(PlaybookError::Stopping))
    }

    async fn accept_here(
        self: &Arc<Self>,
        organisation: OrganisationId,
        loaded: Arc<Loaded>,
        mut firing: Firing,
    ) -> Result<StartedRun, PlaybookError> {
        let id = self.run_ids.next(&*self.clock, &*self.randomness);
        let accepted = self.accept_as(id, organisation, loaded, &mut firing).await;
        if firing.fence.is_some() && !accepted.as_ref().is_ok_and(|started| started.id == id) {
            // A part of it is recorded, and is to end: it was refused, or another run has its name.
            self.dropped.lock().push((organisation, id));
        }
        accepted
    }

    async fn accept_as(
        self: &Arc<Self>,
        id: RunId,
        organisation: OrganisationId,
        loaded: Arc<Loaded>,
        firing: &mut Firing,
    ) -> Result<StartedRun, PlaybookError> {
        let playbook = self.startable(organisation, &loaded, firing.playbook.take()).await?;
        for _ in 0..ATTEMPTS {
            if self.stopping.load(Ordering::SeqCst) || firing.unasked && self.halt.is_cancelled() {
                return Err(PlaybookError::Stopping);
            }
            if let Some(name) = &firing.name {
                let claimed = self.store.get(&rows::firing(organisation, loaded.id, name)).await?;
                if let Some(claim) = claimed.as_ref().map(|row| decode::<Claim>(row)).transpose()?
                    && !firing.outlives(&claim, self.clock.now())
                {
                    let ended = self.wait_for(organisation, claim.run).await?;
                    return Ok(StartedRun { id: claim.run, repeated: true, ended });
                }
                firing.over = claimed;
            }
            // Whoever comes first is served first: only with an empty queue, but for what is passed over there too, is a run begun
            // at once. Those of an organisation that is suspended, which what was done before may cause, are not begun before
            // it is resumed.
            let is_suspended = |organisation| self.access.is_suspended(organisation);
            let is_passed = |of| is_suspended(of) || of != organisation && !self.workers.has_one_for(of);
            let worker = match self.queued.is_empty_but_for(is_passed) && !is_suspended(organisation) {
                true => self.workers.take(organisation),
                false => None,
            };
            let turn = match worker {
                Some(worker) => Turn::Now(worker),
                None => Turn::Later(self.reserve(&self.queued, organisation)?),
            };
            self.take_over_results(organisation, &loaded, &playbook, id, firing).await?;
            let (sender, ended) = oneshot::channel();
            self.waiters.lock().entry(id).or_default().push((organisation, sender));
            let recorded = self.record_run(organisation, &loaded, firing, &playbook, id, turn).await;
            let Err(error) = recorded else { return Ok(StartedRun { id, repeated: false, ended }) };
            self.waiters.lock().remove(&id);
            // Somebody else took the claim or the place, or this host's lease: look again.
            if error.kind() != ErrorKind::Conflict {
                return Err(error);
            }
            if !self.recover_lease().await? && !firing.with.is_empty() {
                return Err(error);
            }
        }
        Err(IN_THE_WAY.into())
    }

    /// Holds a place among the runs of an organisation that are ready, or among those that wait for a place of their playbook's.
    pub(super) fn reserve(
        &self,
        among: &Arc<Waiting>,
        organisation: OrganisationId,
    ) -> Result<Reserved, PlaybookError> {
        among.reserve(organisation).map_err(|runs| PlaybookError::Busy {
            runs,
            placeless: Arc::ptr_eq(among, &self.placeless),
            retry_after: RETRY_AFTER,
        })
    }

    /// The playbook's row, if nothing forbids a run of it.
    async fn startable(
        &self,
        organisation: OrganisationId,
        loaded: &Loaded,
        row: Option<PlaybookRow>,
    ) -> Result<PlaybookRow, PlaybookError> {
        let name = || loaded.compiled.document.name.clone();
        let unknown = || PlaybookError::Unknown { what: "playbook", name: name() };
        let row = match row {
            Some(row) => row,
            None => {
                let row = self.store.get(&rows::playbook(organisation, loaded.id)).await?;
                decode(&row.ok_or_else(unknown)?)?
            }
        };
        self.principal(organisation, &row.runs_as)
            .map_err(|reason| PlaybookError::Blocked { name: name(), reason })?;
        let health = self.store.get(&rows::health(organisation, loaded.id)).await?;
        if let Some(health) = health
            && let Some((since, reason)) = decode::<Health>(&health)?.disabled
        {
            return Err(PlaybookError::Disabled { name: name(), reason: format!("since {since}, {reason}") });
        }
        Ok(row)
    }

    /// Commits everything a new run consists of, and sets it to work with its trigger if it is its turn.
    async fn record_run(
        self: &Arc<Self>,
        organisation: OrganisationId,
        loaded: &Arc<Loaded>,
        firing: &mut Firing,
        playbook: &PlaybookRow,
        id: RunId,
        mut turn: Turn,
    ) -> Result<(), PlaybookError> {
        let now = self.clock.now();
        let mut batch = firing.with.clone();
        if let Some(name) = &firing.name {
            let key = rows::firing(organisation, loaded.id, name);
            let before = firing.over.clone().map_or(Precondition::Absent, Precondition::ValueIs);
            batch.require(key.clone(), before).put(key, encode(&Claim { run: id, at: now }));
        }
        let mut row = new_row(loaded, playbook, firing.by.clone(), now);
        row.replay_of = firing.replay_of;
        let (place, replaced) = self.take_place(&mut batch, organisation, loaded, id).await?;
        let mut open = OpenRun::new(loaded);
        match place {
            Place::Skipped => row.skip(now),
            Place::Waits => {
                turn = Turn::Later(self.reserve(&self.placeless, organisation)?);
                open.waits = true;
                batch.put(rows::waits(organisation, loaded.id, id), Vec::new());
            }
            Place::Free if matches!(turn, Turn::Now(_)) => {
                open.owner = Some(self.owner);
                self.require_lease(&mut batch);
                self.begin(organisation, id, loaded, &mut row);
            }
            Place::Free => {
                batch.put(rows::queued(organisation, id), Vec::new());
            }
        }
        let fence = encode(&open);
        let key = rows::run_open(organisation, id);
        match &firing.fence {
            Some(before) => {
                batch.require(key.clone(), Precondition::ValueIs(before.clone()));
                batch.put(rows::run(organisation, row.playbook, id), encode(&row));
            }
            None => write_new(&mut batch, organisation, id, &row),
        }
        match place {
            Place::Skipped => batch.delete(key),
            _ => batch.put(key, fence.clone()),
        };
        let described = self.described(organisation, &loaded.compiled, &row.pins).await?;
        let secret_variables = loaded.compiled.secret_variables(&described);
        let mut secrets = firing.secrets.clone();
        self.write_trigger(&mut batch, organisation, id, &secret_variables, &mut secrets, &firing.trigger)?;
        batch.append(firing.taken_over.clone());
        self.store.commit(batch).await?;
        self.are_replaced(organisation, &replaced);
        match (place, turn) {
            (Place::Skipped, _) => {
                self.note_end(organisation, id, &row, false, None);
                self.tell_end(organisation, id).await;
            }
            (Place::Free, Turn::Now(worker)) => {
                let mut work = Work::new(organisation, id, Arc::clone(loaded), row, open, fence);
                work.untouched = firing.replay_of.is_none();
                work.worker = Some(worker);
                let trigger = std::mem::take(&mut firing.trigger);
                self.work_at(work, Begun { trigger, described, secret_variables, secrets });
            }
            (Place::Free | Place::Waits, reserved) => {
                // Counted before its place is given back.
                let among = if place == Place::Waits { &self.placeless } else { &self.queued };
                among.came(organisation, 1);
                drop(reserved);
                self.ready.notify_one();
                self.wait_no_more(id);
            }
        }
        Ok(())
    }

    /// Adds the record of a run's trigger to `batch`, masked in it what `secret_variables` read and every other of
    /// `secrets`, and theirs.
    pub(super) fn write_trigger(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        id: RunId,
        secret_variables: &Variables,
        secrets: &mut Secrets,
        trigger: &Json,
    ) -> Result<(), StoreError> {
        let key = rows::trigger(organisation, id);
        let purpose = || super::purpose(organisation, id, 0, None);
        let mut shown = Cow::Borrowed(trigger);
        let masked = (!secret_variables.is_empty() || !secrets.is_empty())
            && secrets.take("trigger", shown.to_mut(), secret_variables);
        self.write_record(batch, key, purpose, shown.to_string().into(), masked.then_some(trigger))?;
        self.write_secrets(batch, organisation, id, secrets)
    }

    /// Waits for the end of a run that is recorded.
    async fn wait_for(
        &self,
        organisation: OrganisationId,
        id: RunId,
    ) -> Result<oneshot::Receiver<Run>, PlaybookError> {
        let (sender, ended) = oneshot::channel();
        self.waiters.lock().entry(id).or_default().push((organisation, sender));
        // It may have ended before anybody could know of this waiter.
        match self.summary(organisation, id).await {
            Ok(run) if !run.state.has_ended() => self.wait_no_more(id),
            Ok(_) => self.tell_end(organisation, id).await,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.waiters.lock().remove(&id);
            }
            Err(error) => return Err(error),
        }
        Ok(ended)
    }
}

/// The row of a new run.
pub(super) fn new_row(loaded: &Loaded, playbook: &PlaybookRow, by: StartedBy, now: Timestamp) -> RunRow {
    let of = (loaded.id, loaded.compiled.document.name.clone(), loaded.version);
    RunRow::new(of, playbook.runs_as.clone(), by, now)
}

/// Adds a new run's row and where it is found to `batch`.
pub(super) fn write_new(batch: &mut Batch, organisation: OrganisationId, id: RunId, row: &RunRow) {
    let key = rows::run(organisation, row.playbook, id);
    batch.require(key.clone(), Precondition::Absent).put(key, encode(row));
    let reference = encode(&PlaybookRef { organisation, playbook: row.playbook });
    batch.put(rows::run_index(organisation, id), reference);
}

impl OpenRun {
    pub(super) fn new(loaded: &Loaded) -> Self {
        let (playbook, version) = (loaded.id, loaded.version);
        Self { playbook, version, owner: None, wake: None, waits: false, cancel: None, parent: None }
    }
}
