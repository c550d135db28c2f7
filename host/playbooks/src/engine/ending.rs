//! The end of a run, in one commit: its row, its place for another, what its trigger does about a failure. And how it
//! is said that a run is to end.

use bellwether_access::{Principal, Role};
use bellwether_kernel::{ErrorKind, OrganisationId, PlaybookId, RunId, Timestamp, counted};
use bellwether_store::{Batch, Key, Precondition, Space, StoreError, Walk, decode, encode};
use serde_json::{Map, Value as Json};
use tokio::sync::oneshot;

use super::accept::{new_row, write_new};
use super::component::readable;
use super::context::{Context, rendered};
use super::fence::Failure;
use super::recall::{Recalled, purpose};
use super::runner::Work;
use super::waiting::Roused;
use crate::history::as_it_ended;
use crate::rows::{Health, NextDue, OpenRun, PlaybookRow, RecordOf, RunRow};
use crate::service::require_role;
use crate::{ErrorAction, PlaybookError, Playbooks, Run, RunState, RunSummary, rows};

/// Why a run ends whose playbook is gone.
const DELETED: &str = "the playbook was deleted";

impl Playbooks {
    /// Ends a run whose main steps are through in the same commit as `batch`, with what it gives a run it is a step
    /// of. Where that cannot be given it has failed instead, and goes on with what follows then. Gives whether it has ended.
    pub(super) async fn end_with_outputs(
        &self,
        work: &mut Work,
        recalled: &Recalled,
        mut batch: Batch,
    ) -> Result<bool, Failure> {
        let outcome = *work.row.outcome.get_or_insert(RunState::Succeeded);
        if outcome == RunState::Succeeded && work.open.parent.is_some() {
            match self.outputs_record(work, recalled).await {
                Ok(outputs) => batch.append(outputs),
                Err(error) => {
                    self.decide(work, RunState::Failed, Some(error), None);
                    self.write_row(work, &mut batch);
                    self.commit_fenced(work, batch).await?;
                    return Ok(false);
                }
            };
        }
        self.end(work, batch).await?;
        Ok(true)
    }

    /// A batch with the record of what a run gives one it is a step of; or why there is none.
    async fn outputs_record(&self, work: &Work, recalled: &Recalled) -> Result<Batch, String> {
        let whole = Json::Object(self.render_outputs(work, recalled).await?);
        let mut shown = whole.clone();
        recalled.secrets.mask(&mut shown);
        let key = rows::outputs(work.organisation, work.id);
        let purpose = || purpose(work.organisation, work.id, usize::MAX, None);
        let sealed = (shown != whole).then_some(&whole);
        let mut batch = Batch::new();
        self.write_record(&mut batch, key, purpose, shown.to_string().into(), sealed)
            .map_err(|error| format!("its outputs cannot be recorded: {error}"))?;
        Ok(batch)
    }

    async fn render_outputs(&self, work: &Work, recalled: &Recalled) -> Result<Map<String, Json>, String> {
        let context = Context::of_outputs(work, recalled);
        let rendered = rendered(&work.loaded, &context, self.limits.outputs, |compiled, names, room| {
            let mut outputs = Map::new();
            for (name, value) in &compiled.outputs {
                let rendered = compiled.compiler.render(&value.template, names, room);
                outputs.insert(name.clone(), rendered.map_err(|error| error.of(&format!("output {name}")))?);
            }
            Ok(outputs)
        });
        let outputs: Result<_, String> = rendered.await.and_then(|outputs| outputs);
        outputs.map_err(|error| recalled.secrets.mask_text(&error).into_owned())
    }

    /// Ends a run in the same commit as `batch`.
    pub(super) async fn end(&self, work: &mut Work, batch: Batch) -> Result<(), Failure> {
        work.row.state = *work.row.outcome.get_or_insert(RunState::Succeeded);
        work.row.ended = Some(self.clock.now());
        work.row.waits_until = None;
        let mut again;
        loop {
            let mut ending = batch.clone();
            self.write_row(work, &mut ending);
            ending.delete(rows::run_open(work.organisation, work.id));
            let mut ready = Roused::default();
            again = None;
            if work.loaded.compiled.places().is_some() {
                ready = self.free_place(&mut ending, work.organisation, &work.loaded, work.id).await?;
                ending.delete(rows::waits(work.organisation, work.row.playbook, work.id));
            }
            if work.open.parent.is_none() {
                again = self.react(work, &mut ending).await?;
            }
            match self.commit_fenced(work, ending).await {
                Ok(()) => {
                    self.are_ready(work.organisation, &ready);
                    break;
                }
                // Its place, its playbook, or the health of that, changed meanwhile.
                Err(Failure::Store(error)) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        self.note_end(work.organisation, work.id, &work.row, work.open.parent.is_some(), again);
        if work.open.parent.is_some() && work.row.started.is_none() {
            // It waited until now.
            let among = if work.open.waits { &self.placeless } else { &self.queued };
            among.went(work.organisation, 1);
        }
        if again.is_some() {
            self.sooner.notify_one();
        }
        Ok(())
    }

    /// Counts a run that has ended, and says in one line of the log how. One that failed for good is a warning: one that is
    /// started `again` is not, nor one that is a step of another, which says itself what comes of it.
    pub(super) fn note_end(
        &self,
        organisation: OrganisationId,
        id: RunId,
        row: &RunRow,
        is_step: bool,
        again: Option<Timestamp>,
    ) {
        macro_rules! say {
            ($level:ident, $($rest:tt)*) => {
                tracing::$level!(
                    %organisation,
                    playbook = row.playbook_name,
                    run = %id,
                    trigger = row.triggered_by.kind().as_str(),
                    state = ?row.state,
                    failed_step = row.failed_step.as_deref(),
                    error = row.error.as_deref(),
                    $($rest)*
                )
            };
        }
        self.meters.ended(row.state);
        match (row.state, again) {
            (_, Some(at)) => {
                say!(info, repetition = row.attempt, %at, "the run failed; it is started again");
            }
            (state, None) if state.is_failure() && !is_step => say!(warn, "the run failed"),
            (RunState::Succeeded | RunState::Skipped, None) => say!(debug, "the run has ended"),
            _ => say!(info, "the run has ended"),
        }
    }

    /// Ends a run of which something does not read, by its row alone: it has failed, or was cancelled if somebody wants
    /// that. What it does not need is left out: its on-failure steps, which read what is damaged.
    pub(super) async fn end_damaged(&self, work: &mut Work, damage: &StoreError) -> Result<(), Failure> {
        tracing::error!(run = %work.id, error = %damage, "the run is ended: something of it does not read");
        match self.end_all_within(work).await {
            Err(Failure::Store(error @ StoreError::Damaged(_))) => {
                tracing::error!(run = %work.id, %error, "the runs within it could not be ended with it");
                if let Err(error) = self.let_loose(work.organisation, work.id).await {
                    tracing::error!(run = %work.id, %error, "the runs within it could not be ended at all");
                }
            }
            ended => ended?,
        }
        self.refresh(work).await?;
        let (outcome, error) = match &work.open.cancel {
            Some(reason) => (RunState::Cancelled, format!("{reason}; {damage}")),
            None => (RunState::Failed, damage.to_string()),
        };
        work.comes_to(outcome, Some(error));
        match self.end(work, Batch::new()).await {
            // Who else holds a place does not read either, or how healthy its playbook is.
            Err(Failure::Store(StoreError::Damaged(_))) => {
                let (organisation, playbook, id) = (work.organisation, work.row.playbook, work.id);
                let mut batch = Batch::new();
                let freed = self.free_one_of(&mut batch, organisation, playbook, id, 1).await;
                let ready = freed.unwrap_or_else(|_| {
                    batch = Batch::new();
                    Roused::default()
                });
                self.write_row(work, &mut batch);
                batch.delete(rows::run_open(organisation, id));
                batch.delete(rows::waits(organisation, playbook, id));
                self.commit_fenced(work, batch).await?;
                self.are_ready(organisation, &ready);
                self.note_end(work.organisation, work.id, &work.row, work.open.parent.is_some(), None);
            }
            ended => ended?,
        }
        self.tell_end(work.organisation, work.id).await;
        Ok(())
    }

    /// Adds what a playbook's trigger does about the end of a run. Gives when it is started again, if it is.
    async fn react(&self, work: &Work, batch: &mut Batch) -> Result<Option<Timestamp>, StoreError> {
        let on_error = work.loaded.compiled.document.trigger.on_error;
        let failed = work.row.state.is_failure();
        match on_error.action {
            // One that repeats another took over its results, which one that is begun anew would not have.
            ErrorAction::Retry
                if failed && work.row.replay_of.is_none() && work.row.attempt <= on_error.times =>
            {
                let at = self.clock.now().saturating_add(on_error.delay.milliseconds());
                Ok(self.start_again(work, batch, at).await?.then_some(at))
            }
            ErrorAction::Log | ErrorAction::Retry => Ok(None),
            ErrorAction::Disable => {
                self.note_health(work, batch, failed, on_error.times).await.map(|()| None)
            }
        }
    }

    /// Adds another run of the same firing, which begins then; none where what it would start with does not read.
    async fn start_again(&self, work: &Work, batch: &mut Batch, at: Timestamp) -> Result<bool, StoreError> {
        let key = rows::playbook(work.organisation, work.row.playbook);
        let Some(playbook) = self.store.get(&key).await? else { return Ok(false) };
        let Some(playbook) = self.store.unread().decode::<PlaybookRow>(&key, &playbook) else {
            return Ok(false);
        };
        let id = self.run_ids.next(&*self.clock, &*self.randomness);
        let by = work.row.triggered_by.clone();
        let mut row = new_row(&work.loaded, &playbook, by, self.clock.now());
        row.attempt = work.row.attempt + 1;
        row.waits_until = Some(at);
        let open = OpenRun { wake: Some(at), ..OpenRun::new(&work.loaded) };
        let mut given = Batch::new();
        let prepared: Result<(), PlaybookError> = async {
            let trigger = self.read_whole(work.organisation, work.id, RecordOf::Trigger).await?;
            let trigger = trigger.unwrap_or_default();
            let compiled = &work.loaded.compiled;
            let described = self.described(work.organisation, compiled, &[]).await?;
            let variables = compiled.secret_variables(&described);
            let mut secrets = self.read_secrets(work.organisation, work.id).await?.for_another();
            self.write_trigger(&mut given, work.organisation, id, &variables, &mut secrets, &trigger)?;
            Ok(())
        }
        .await;
        match readable(work.id, prepared) {
            Ok(()) => batch.append(given),
            // With what would it start? It would not read the next time either, and this run is to end.
            Err(error @ StoreError::Damaged(_)) => {
                tracing::error!(run = %work.id, %error, "the run failed and is not started again");
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        write_new(batch, work.organisation, id, &row);
        batch.put(rows::run_open(work.organisation, id), encode(&open));
        batch.put(rows::wake(at, work.organisation, id), Vec::new());
        Ok(true)
    }

    /// Counts failed runs in a row, and disables a playbook with too many.
    async fn note_health(
        &self,
        work: &Work,
        batch: &mut Batch,
        failed: bool,
        most: u32,
    ) -> Result<(), StoreError> {
        let (organisation, id) = (work.organisation, work.row.playbook);
        let unread = self.store.unread();
        let playbook = rows::playbook(organisation, id);
        let Some(stored) = self.store.get(&playbook).await? else { return Ok(()) };
        let row: Option<PlaybookRow> = unread.decode(&playbook, &stored);
        // What an older version did says nothing about the one that runs.
        if row.is_none_or(|row| row.published != Some(work.row.playbook_version)) {
            return Ok(());
        }
        let is_published = Precondition::ValueIs(stored);
        let key = rows::health(organisation, id);
        let stored = self.store.get(&key).await?;
        let read = stored.as_ref().map_or(Some(Health::default()), |row| unread.decode(&key, row));
        // The playbook is not started until it is enabled.
        let Some(mut health) = read else { return Ok(()) };
        if health.disabled.is_some() || (!failed && stored.is_none()) || work.row.state == RunState::Cancelled
        {
            return Ok(());
        }
        batch.require(key.clone(), stored.map_or(Precondition::Absent, Precondition::ValueIs));
        batch.require(playbook, is_published);
        if !failed {
            batch.delete(key);
            return Ok(());
        }
        health.failed += 1;
        if health.failed >= most {
            let error = work.row.error.as_deref().unwrap_or("it failed");
            let reason =
                format!("{} in a row failed, the last one with: {error}", counted(health.failed, "run"));
            tracing::warn!(playbook = work.row.playbook_name, reason, "the playbook is disabled");
            health.disabled = Some((self.clock.now(), reason));
            let next = rows::next(organisation, id);
            if let Some(stored) = self.store.get(&next).await?
                && let Some(due) = unread.decode::<NextDue>(&next, &stored)
            {
                batch.require(next.clone(), Precondition::ValueIs(stored));
                batch.delete(rows::due(due.at, organisation, id)).delete(next);
            }
        }
        batch.put(key, encode(&health));
        Ok(())
    }

    /// Ends a run whose version of its playbook is gone or does not read, by its row alone.
    pub(super) async fn end_unknown(
        &self,
        organisation: OrganisationId,
        id: RunId,
        mut row: RunRow,
        gone: String,
    ) -> Result<(), StoreError> {
        let key = rows::run_open(organisation, id);
        let open = self.store.get(&key).await?;
        let open: Option<OpenRun> = open.and_then(|row| self.store.unread().decode(&key, &row));
        let is_step = open.as_ref().is_some_and(|open| open.parent.is_some());
        let cancelled = open.and_then(|open| open.cancel);
        row.state = if cancelled.is_some() { RunState::Cancelled } else { RunState::Failed };
        row.ended = Some(self.clock.now());
        row.error = Some(cancelled.unwrap_or(gone));
        // One that never began has none within it, and looking for them takes a walk over all open runs.
        if row.started.is_some() {
            self.let_loose(organisation, id).await?;
        }
        loop {
            let mut batch = Batch::new();
            batch.put(rows::run(organisation, row.playbook, id), encode(&row));
            batch.delete(rows::run_open(organisation, id));
            // How many there may be at once is gone too: one at least.
            let ready = self.free_one_of(&mut batch, organisation, row.playbook, id, 1).await?;
            batch.delete(rows::waits(organisation, row.playbook, id));
            match self.store.commit(batch).await {
                Ok(_) => self.are_ready(organisation, &ready),
                // Its place went to another meanwhile.
                Err(error) if error.kind() == ErrorKind::Conflict => continue,
                Err(error) => return Err(error),
            }
            break;
        }
        self.note_end(organisation, id, &row, is_step, None);
        self.tell_end(organisation, id).await;
        Ok(())
    }

    /// Lets go of a run that is ready whose own row is missing or does not read: nothing can be recorded of it, and its place is
    /// another's. What there is of the row stays.
    pub(super) async fn end_unread(
        &self,
        organisation: OrganisationId,
        id: RunId,
        playbook: PlaybookId,
    ) -> Result<(), StoreError> {
        self.let_loose(organisation, id).await?;
        loop {
            let mut batch = Batch::new();
            batch.delete(rows::queued(organisation, id)).delete(rows::run_open(organisation, id));
            let ready = self.free_one_of(&mut batch, organisation, playbook, id, 1).await?;
            batch.delete(rows::waits(organisation, playbook, id));
            match self.store.commit(batch).await {
                Ok(_) => {
                    self.are_ready(organisation, &ready);
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        self.queued.went(organisation, 1);
        self.tell_end(organisation, id).await;
        Ok(())
    }

    /// Has the runs that are steps of run `outer` end by themselves, as that one does without looking at its steps: nobody
    /// else would end them, nor free their places.
    pub(super) async fn let_loose(
        &self,
        organisation: OrganisationId,
        outer: RunId,
    ) -> Result<(), StoreError> {
        let mut open_runs = Walk::forward(&*self.store, rows::open_runs(organisation).prefix());
        while let Some((key, mut stored)) = open_runs.next().await? {
            let read = rows::organisation_and_run(&key);
            let Some((_, id)) = self.store.unread().unless_damaged(&key, read)? else { continue };
            loop {
                let open: Option<OpenRun> = self.store.unread().decode(&key, &stored);
                let Some(mut open) = open.filter(|open| open.parent == Some(outer)) else { break };
                (open.parent, open.owner) = (None, None);
                open.cancel.get_or_insert_with(|| "the run it is a step of has ended".into());
                let (mut batch, mut ready) = (Batch::new(), Roused::default());
                ready.add(id, open.waits);
                self.rouse(&mut batch, organisation, id, &mut open, &mut ready);
                batch.require(key.clone(), Precondition::ValueIs(stored)).put(key.clone(), encode(&open));
                match self.store.commit(batch).await {
                    Ok(_) => {
                        self.are_ready(organisation, &ready);
                        self.tell(id);
                        break;
                    }
                    Err(error) if error.kind() == ErrorKind::Conflict => {}
                    Err(error) => return Err(error),
                }
                match self.store.get(&key).await? {
                    Some(now) => stored = now,
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Ends a run before it is through. Its on-failure steps are taken if it has begun.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] if there is none of that id, [`PlaybookError::Refused`] if it has ended already or
    /// is at its on-failure steps, [`PlaybookError::Forbidden`] for a key that may only read.
    pub async fn cancel(&self, principal: &Principal, id: RunId) -> Result<RunSummary, PlaybookError> {
        require_role(principal, Role::Write, "cancel a run")?;
        let organisation = principal.organisation;
        let playbook = self.summary(organisation, id).await?.playbook;
        let reason = format!("it was cancelled with the key {}", principal.key);
        let key = rows::run(organisation, playbook, id);
        loop {
            let stored = self.store.get(&key).await?;
            let stored =
                stored.ok_or_else(|| PlaybookError::Unknown { what: "run", name: id.to_string() })?;
            let row: RunRow = decode(&stored)?;
            if row.state.has_ended() {
                return Err(PlaybookError::Refused(format!("the run {id} has ended already")));
            }
            if row.outcome.is_some() {
                return Err(PlaybookError::Refused(format!(
                    "the run {id} is to end already, and takes its on-failure steps, for five minutes at most"
                )));
            }
            let mut batch = Batch::new();
            let open = rows::run_open(organisation, id);
            if let Some(stored) = self.store.get(&open).await?
                && self.store.unread().decode::<OpenRun>(&open, &stored).is_none()
            {
                // It goes on nowhere, and holds its place until somebody says this.
                self.end_unknown(organisation, id, row, reason).await?;
                return self.summary(organisation, id).await;
            }
            // How it ends may be decided at this moment.
            batch.require(key.clone(), Precondition::ValueIs(stored));
            let Some(ready) = self.mark_cancelled(&mut batch, organisation, id, &reason).await? else {
                return self.summary(organisation, id).await;
            };
            match self.store.commit(batch).await {
                Ok(_) => {
                    self.are_ready(organisation, &ready);
                    self.tell(id);
                    return self.summary(organisation, id).await;
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Ends every open run of a playbook that was deleted.
    pub(crate) async fn cancel_all(
        &self,
        organisation: OrganisationId,
        playbook: PlaybookId,
    ) -> Result<(), StoreError> {
        let mut open_runs = Walk::forward(&*self.store, rows::open_runs(organisation).prefix());
        while let Some((.., ((_, run), open))) = open_runs.next_read(rows::of_run::<OpenRun>).await? {
            if open.playbook == playbook {
                self.cancel_run(organisation, run, DELETED).await?;
            }
        }
        Ok(())
    }

    /// Ends every open run whose playbook is gone: what ends them with it may have been cut off.
    pub(crate) async fn cancel_left(&self) -> Result<(), StoreError> {
        let mut open_runs = Walk::forward(&*self.store, Key::new(Space::RunOpen).prefix());
        let read = rows::of_run::<OpenRun>;
        while let Some((.., ((organisation, run), open))) = open_runs.next_read(read).await? {
            let playbook = rows::playbook(organisation, open.playbook);
            if open.cancel.is_none() && self.store.get(&playbook).await?.is_none() {
                self.cancel_run(organisation, run, DELETED).await?;
            }
        }
        Ok(())
    }

    async fn cancel_run(
        &self,
        organisation: OrganisationId,
        id: RunId,
        reason: &str,
    ) -> Result<(), StoreError> {
        loop {
            let mut batch = Batch::new();
            let Some(ready) = self.mark_cancelled(&mut batch, organisation, id, reason).await? else {
                return Ok(());
            };
            match self.store.commit(batch).await {
                Ok(_) => {
                    self.are_ready(organisation, &ready);
                    self.tell(id);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Adds to `batch` that a run is to end. One that nobody works at is made ready, so that somebody sees it. Gives those
    /// that become so; `None` if there was nothing to add.
    pub(super) async fn mark_cancelled(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        id: RunId,
        reason: &str,
    ) -> Result<Option<Roused>, StoreError> {
        let key = rows::run_open(organisation, id);
        let Some(stored) = self.store.get(&key).await? else { return Ok(None) };
        let Some(mut open) = self.store.unread().decode::<OpenRun>(&key, &stored) else {
            return Ok(None);
        };
        if open.cancel.is_some() {
            return Ok(None);
        }
        open.cancel = Some(reason.to_owned());
        let mut ready = Roused::default();
        if open.owner.is_none() {
            self.rouse(batch, organisation, id, &mut open, &mut ready);
        } else if open.waits {
            // It is a step of another run, which ends it.
            batch.delete(rows::waits(organisation, open.playbook, id));
            open.waits = false;
            ready.add(id, true);
        }
        let parent = open.parent;
        batch.require(key.clone(), Precondition::ValueIs(stored)).put(key, encode(&open));
        if let Some(parent) = parent {
            ready.append(self.rouse_outermost(batch, organisation, parent).await?.unwrap_or_default());
        }
        Ok(Some(ready))
    }

    /// Adds to `batch` that something changed of a run within `outer`, which goes on when the outermost of them does: that
    /// is ready if it waits, and looks again before it waits. Gives it if it becomes so; `None` if it is not there.
    pub(super) async fn rouse_outermost(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        mut outer: RunId,
    ) -> Result<Option<Roused>, StoreError> {
        loop {
            let key = rows::run_open(organisation, outer);
            let Some(stored) = self.store.get(&key).await? else { return Ok(None) };
            let Some(mut open) = self.store.unread().decode::<OpenRun>(&key, &stored) else {
                return Ok(None);
            };
            if let Some(parent) = open.parent {
                outer = parent;
                continue;
            }
            // It may be about to wait.
            batch.require(key.clone(), Precondition::ValueIs(stored));
            let mut ready = Roused::default();
            if open.owner.is_none() {
                self.rouse(batch, organisation, outer, &mut open, &mut ready);
                batch.put(key, encode(&open));
            }
            return Ok(Some(ready));
        }
    }

    /// Adds to `batch` that a run that waits is ready, and to `ready` if it waited for its time or for a place.
    fn rouse(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        id: RunId,
        open: &mut OpenRun,
        ready: &mut Roused,
    ) {
        if let Some(at) = open.wake.take() {
            batch.delete(rows::wake(at, organisation, id));
            ready.add(id, false);
        }
        if open.waits {
            batch.delete(rows::waits(organisation, open.playbook, id));
            open.waits = false;
            ready.add(id, true);
        }
        batch.put(rows::queued(organisation, id), Vec::new());
    }

    /// Tells a run that is at work here that it is to end, or whoever looks for ready runs that there may be one.
    pub(super) fn tell(&self, id: RunId) {
        if let Some(active) = self.active.lock().get(&id) {
            active.stop.cancel();
        }
        self.ready.notify_one();
    }

    /// Those who wait for a run that has ended.
    fn take_waiters(&self, id: RunId) -> Vec<oneshot::Sender<Run>> {
        let waiters = self.waiters.lock().remove(&id).unwrap_or_default();
        waiters.into_iter().map(|(_, waiter)| waiter).filter(|waiter| !waiter.is_closed()).collect()
    }

    /// Gives a run that has ended to those who wait for it.
    pub(super) async fn tell_end(&self, organisation: OrganisationId, id: RunId) {
        let waiters = self.take_waiters(id);
        if waiters.is_empty() {
            return;
        }
        match self.run(organisation, id).await {
            Ok(run) => waiters.into_iter().for_each(|waiter| drop(waiter.send(run.clone()))),
            Err(error) => tracing::warn!(run = %id, %error, "the run has ended and could not be read"),
        }
    }

    /// As [`Self::tell_end`], for a run of which everything is at hand.
    pub(super) async fn hand_over(&self, work: &mut Work, recalled: &mut Recalled) {
        // Whoever is told may start another at once.
        work.worker = None;
        if !recalled.secret_variables.is_empty() || !recalled.secrets.is_empty() {
            // What is shown of its trigger is not at hand.
            return self.tell_end(work.organisation, work.id).await;
        }
        let mut waiters = self.take_waiters(work.id);
        let Some(last) = waiters.pop() else { return };
        let results = std::mem::take(&mut recalled.results).into_iter().flatten();
        let run = Run {
            summary: work.row.summary(work.id),
            current_step: None,
            trigger: std::mem::take(&mut recalled.trigger.json),
            steps: results.map(|result| as_it_ended(&work.row, result)).collect(),
        };
        waiters.into_iter().for_each(|waiter| drop(waiter.send(run.clone())));
        // Whoever waits may have gone meanwhile.
        let _ = last.send(run);
    }
}
