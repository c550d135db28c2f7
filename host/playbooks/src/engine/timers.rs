//! What happens at its time: runs that wait are woken, scheduled playbooks fire. Both lie in the store ordered by
//! time, so that however many there are, the host sleeps until the first of them.
//!
//! A time that passed more than [`LATE`] ago counts as missed: the playbook was due while no host was up, or its
//! organisation suspended. With
//! `missed = "run-once"` it fires once for all the times that have passed, with the first of them as
//! `trigger.scheduled`, and its next time is the first one to come; with `"skip"` it does not, and its next time is the
//! first one that is not missed.

use std::sync::Arc;
use std::time::Duration;

use bellwether_alerts::limits::CLOCK_AHEAD;
use bellwether_kernel::{ErrorKind, OrganisationId, RunId, Timestamp};
use bellwether_store::{Batch, Key, Precondition, Space, StoreError, Walk, decode, encode};
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::Firing;
use super::gate::{Place, Replaced};
use crate::rows::{NextDue, OpenRun, PlaybookRow, RunRow, StartedBy};
use crate::service::Loaded;
use crate::{Missed, PlaybookError, Playbooks, RunState, StepResult, TriggerKind, TriggerOn, rows, trigger};

/// The longest sleep: a clock that is set may bring a time nearer than it seemed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// How late a time may be acted on and still counts as met, in milliseconds.
pub(super) const LATE: i64 = 60_000;
/// What is acted on in one turn.
const TURN: usize = 512;
/// Of that, at once.
const AT_ONCE: usize = 64;
/// Rows read to find when the next is due: the first tells, if it reads.
const FEW: usize = 2;

impl Playbooks {
    /// Acts on everything whose time has come, and sleeps until the next.
    pub(super) async fn keep_time(self: Arc<Self>) -> Result<(), PlaybookError> {
        let sooner = self.sooner.notified();
        tokio::pin!(sooner);
        // Listens from here on: what is committed behind the look is not slept through.
        sooner.as_mut().enable();
        let now = self.clock.now();
        // Neither keeps the other from its work.
        let (woken, fired) = (self.wake_all(now).await, self.fire_all(now).await);
        if woken? + fired? > 0 {
            return Ok(());
        }
        let first = |range| Walk::forward(&*self.store, range).at_once(FEW);
        let all = |space| Key::new(space).prefix();
        let woken = first(all(Space::RunWake)).next_read(|key, _| Ok(rows::wake_of(key)?.0)).await?;
        // What is due still is of organisations that are suspended.
        let to_come = behind(Space::PlaybookDue, now)..all(Space::PlaybookDue).end;
        let fired = first(to_come).next_read(|key, _| Ok(rows::due_of(key)?.0)).await?;
        let first = [woken, fired].into_iter().flatten().map(|(.., at)| at).min();
        let sleep = first.map_or(LONGEST_SLEEP, |at| self.until(at).min(LONGEST_SLEEP));
        tokio::select! {
            biased;
            () = sooner => {}
            () = tokio::time::sleep(sleep.max(Duration::from_millis(1))) => {}
        }
        Ok(())
    }

    /// The rows of a space ordered by time whose time has come, as many as one turn takes, with what `read` makes of their
    /// keys: but for those `is_left`.
    async fn due<T>(
        &self,
        space: Space,
        now: Timestamp,
        read: impl Fn(&Key) -> Result<T, StoreError>,
        is_left: impl Fn(&T) -> bool,
    ) -> Result<Vec<(Key, Bytes, T)>, StoreError> {
        let range = Key::new(space).prefix().start..behind(space, now);
        let (mut rows, mut due) = (Walk::forward(&*self.store, range), Vec::new());
        while due.len() < TURN
            && let Some(row) = rows.next_read(|key, _| read(key)).await?
        {
            if !is_left(&row.2) {
                due.push(row);
            }
        }
        Ok(due)
    }

    /// Makes the runs ready whose time has come.
    async fn wake_all(&self, now: Timestamp) -> Result<usize, PlaybookError> {
        // Those of an organisation that is suspended too: they wait in the queue.
        let due = self.due(Space::RunWake, now, rows::wake_of, |_| false).await?;
        let count = due.len();
        let mut woken = stream::iter(due)
            .map(|(.., (at, organisation, run))| self.wake(at, organisation, run))
            .buffer_unordered(AT_ONCE);
        let mut failed = None;
        while let Some(woken) = woken.next().await {
            failed = woken.err().or(failed);
        }
        failed.map_or(Ok(count), Err)
    }

    async fn wake(
        &self,
        at: Timestamp,
        organisation: OrganisationId,
        run: RunId,
    ) -> Result<(), PlaybookError> {
        loop {
            let key = rows::run_open(organisation, run);
            let stored = self.store.get(&key).await?;
            // One that does not read goes on no more, and is not looked for again.
            let unread = self.store.unread();
            let open: Option<OpenRun> = stored.as_ref().and_then(|row| unread.decode(&key, row));
            let mut batch = Batch::new();
            batch.delete(rows::wake(at, organisation, run));
            let (mut ready, mut waits, mut replaced) = (false, false, Replaced::default());
            if let (Some(stored), Some(mut open)) = (stored, open.filter(|open| open.wake == Some(at))) {
                open.wake = None;
                // One that has not begun takes its place now.
                let place;
                (place, replaced) = self.place_of(&mut batch, organisation, &open, run).await?;
                open.waits = place == Place::Waits;
                if open.waits {
                    batch.put(rows::waits(organisation, open.playbook, run), Vec::new());
                } else {
                    batch.put(rows::queued(organisation, run), Vec::new());
                }
                batch.require(key.clone(), Precondition::ValueIs(stored)).put(key, encode(&open));
                (ready, waits) = (true, open.waits);
            }
            match self.store.commit(batch).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Conflict => continue,
                Err(error) => return Err(error.into()),
            }
            self.are_replaced(organisation, &replaced);
            if ready {
                let among = if waits { &self.placeless } else { &self.queued };
                among.came(organisation, 1);
                self.ready.notify_one();
            }
            return Ok(());
        }
    }

    /// The place of a run that wakes, as [`Self::take_place`] gives it: one that has begun has it.
    async fn place_of(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        open: &OpenRun,
        run: RunId,
    ) -> Result<(Place, Replaced), PlaybookError> {
        let key = rows::run(organisation, open.playbook, run);
        let row = self.store.get(&key).await?;
        let row: Option<RunRow> = row.and_then(|row| self.store.unread().decode(&key, &row));
        let free = || Ok((Place::Free, Replaced::default()));
        let Some(row) = row.filter(|row| row.state == RunState::Queued) else { return free() };
        let loaded = match self.load(organisation, row.playbook, row.playbook_version).await {
            Ok(Some(loaded)) => loaded,
            // Whoever takes the run ends it, and says why.
            Ok(None) | Err(PlaybookError::Store(StoreError::Damaged(_))) => return free(),
            Err(error) => return Err(error),
        };
        let (place, replaced) = self.take_place(batch, organisation, &loaded, run).await?;
        // It was accepted: with the policy to skip it waits instead.
        Ok((if place == Place::Skipped { Place::Waits } else { place }, replaced))
    }

    /// Fires the playbooks whose time has come.
    async fn fire_all(self: &Arc<Self>, now: Timestamp) -> Result<usize, PlaybookError> {
        // Those of an organisation that is suspended stay due, so that they are found missed.
        let is_left = |(_, organisation, _): &(_, OrganisationId, _)| self.access.is_suspended(*organisation);
        let due = self.due(Space::PlaybookDue, now, rows::due_of, is_left).await?;
        let count = due.len();
        let mut fired = stream::iter(due)
            .map(|(due, row, _)| async move {
                let fired = match self.fire(&due, &row).await {
                    Err(PlaybookError::Store(damage @ StoreError::Damaged(_))) => {
                        self.put_off(due, row, &damage).await
                    }
                    fired => fired,
                };
                match fired {
                    // Published, enabled or fired by somebody else at the same moment: the next look shows how it is.
                    Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
                    fired => fired,
                }
            })
            .buffer_unordered(AT_ONCE);
        let mut failed = None;
        while let Some(fired) = fired.next().await {
            failed = fired.err().or(failed);
        }
        failed.map_or(Ok(count), Err)
    }

    async fn fire(self: &Arc<Self>, due: &Key, row: &[u8]) -> Result<(), PlaybookError> {
        let (_, organisation, id) = rows::due_of(due)?;
        // Which may be earlier than it is looked at, where it did not read.
        let NextDue { at, .. } = decode(row)?;
        let key = rows::next(organisation, id);
        let stored = self.store.get(&key).await?;
        let next: Option<NextDue> = stored.as_ref().map(|row| decode(row)).transpose()?;
        let mut with = Batch::new();
        with.delete(due.clone());
        let (Some(stored), Some(next)) = (stored, next.filter(|next| next.at == at)) else {
            self.store.commit(with).await?;
            return Ok(());
        };
        with.require(key.clone(), Precondition::ValueIs(stored));
        let row = self.store.get(&rows::playbook(organisation, id)).await?;
        let row: Option<PlaybookRow> = row.map(|row| decode(&row)).transpose()?;
        let current = row.filter(|row| row.published == Some(next.version));
        let loaded = match &current {
            Some(_) => self.load(organisation, id, next.version).await?,
            None => None,
        };
        let (Some(row), Some(loaded)) = (current, loaded) else {
            with.delete(key);
            self.store.commit(with).await?;
            return Ok(());
        };
        let now = self.clock.now();
        let missed = now.milliseconds_since(at) > LATE;
        let schedule = loaded.compiled.schedule.as_ref();
        let skipped = missed && missed_of(&loaded) == Missed::Skip;
        let behind = if skipped {
            now.saturating_add(-LATE - 1)
        } else if missed {
            now
        } else {
            at
        };
        let following = schedule.and_then(|schedule| schedule.next_after(behind));
        match following {
            Some(at) => {
                let next = encode(&NextDue { at, version: next.version });
                with.put(key, next.clone()).put(rows::due(at, organisation, id), next);
            }
            None => {
                with.delete(key);
            }
        }
        let blocked = self.principal(organisation, &row.runs_as).err();
        if let Some(reason) = &blocked {
            self.is_not_started(organisation, (id, Some(&row.name)), reason, None);
        }
        if skipped || blocked.is_some() {
            self.store.commit(with).await?;
            return Ok(());
        }
        let by = match loaded.compiled.document.trigger.kind() {
            TriggerKind::Cron => StartedBy::Cron(at),
            _ => StartedBy::Every(at),
        };
        let name = format!("time:{}", at.as_milliseconds());
        let mut firing = Firing::unasked(name, by, trigger::scheduled(at, missed));
        firing.with = with.clone();
        firing.playbook = Some(row);
        let repeated = match self.accept(organisation, Arc::clone(&loaded), firing).await {
            Ok(started) => {
                self.is_started(organisation, &loaded);
                started.repeated
            }
            // Others of its organisation wait, and it would be tried again at once: it is passed over.
            Err(error @ PlaybookError::Busy { .. }) => {
                self.was_refused(organisation, &loaded, &error);
                true
            }
            Err(error) => return Err(error),
        };
        if repeated {
            // A clock that was set back brought a time again that had fired: it is passed over.
            self.store.commit(with).await?;
        }
        Ok(())
    }

    /// Whether only a clock that was ahead can have said that something was then. While the clock is not steady nothing is: it
    /// may be the one that is wrong, and what a run does for that is not taken back.
    pub(super) fn is_ahead(&self, at: Timestamp) -> bool {
        self.clock.steady().is_some_and(|now| at > now.saturating_add(CLOCK_AHEAD.milliseconds()))
    }

    /// Whether what waits need not any more: its time has come, or a clock that was ahead set that.
    pub(super) fn has_waited(&self, result: &StepResult) -> bool {
        let now = self.clock.now();
        result.waits_until.is_none_or(|until| until <= now) || self.is_ahead(result.ended)
    }

    /// Has runs look again for how long they wait, whose time lies where a clock that was ahead can have put it. Otherwise they
    /// would not go on until that time.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn bring_back_runs(&self) -> Result<(), StoreError> {
        let ahead = self.clock.now().saturating_add(CLOCK_AHEAD.milliseconds());
        let range = behind(Space::RunWake, ahead)..Key::new(Space::RunWake).prefix().end;
        let (mut waits, mut runs) = (Walk::forward(&*self.store, range), 0);
        while let Some((.., (at, organisation, run))) = waits.next_read(|key, _| rows::wake_of(key)).await? {
            if !self.may_look_again(organisation, run).await? {
                continue;
            }
            match self.wake(at, organisation, run).await {
                Err(PlaybookError::Store(error)) => return Err(error),
                Err(error) => tracing::warn!(%run, %error, "a run that waits could not be woken"),
                Ok(()) => runs += 1,
            }
        }
        if runs > 0 {
            tracing::warn!(runs, "the clock was ahead: runs that wait look again for how long");
        }
        Ok(())
    }

    /// Whether a run that waits may be woken before its time: one that has begun finds out whether its step still waits, a
    /// repetition begins then, and does so if a clock that was ahead set it.
    async fn may_look_again(&self, organisation: OrganisationId, run: RunId) -> Result<bool, StoreError> {
        let (key, unread) = (rows::run_open(organisation, run), self.store.unread());
        let open = self.store.get(&key).await?;
        let Some(open) = open.and_then(|row| unread.decode::<OpenRun>(&key, &row)) else { return Ok(false) };
        let key = rows::run(organisation, open.playbook, run);
        let row = self.store.get(&key).await?.and_then(|row| unread.decode::<RunRow>(&key, &row));
        Ok(row.is_some_and(|row| row.state != RunState::Queued || self.is_ahead(row.created)))
    }

    /// Has playbooks due when their triggers say, whose time lies where a clock that was ahead can have put it. Otherwise they
    /// would not fire until that time.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn bring_back_playbooks(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let ahead = behind(Space::PlaybookDue, now.saturating_add(CLOCK_AHEAD.milliseconds()));
        let mut due = Walk::forward(&*self.store, ahead..Key::new(Space::PlaybookDue).prefix().end);
        while let Some((due, _, (at, organisation, id))) = due.next_read(|key, _| rows::due_of(key)).await? {
            let key = rows::next(organisation, id);
            let Some(stored) = self.store.get(&key).await? else { continue };
            let Ok(next) = decode::<NextDue>(&stored) else { continue };
            // One whose version does not read is told when its turn comes.
            let Ok(Some(loaded)) = self.load(organisation, id, next.version).await else { continue };
            let first = loaded.compiled.schedule.as_ref().and_then(|schedule| schedule.next_after(now));
            let Some(first) = first.filter(|first| *first < at && next.at == at) else { continue };
            let next = encode(&NextDue { at: first, ..next });
            let mut batch = Batch::new();
            batch.require(key.clone(), Precondition::ValueIs(stored)).put(key, next.clone());
            batch.delete(due).put(rows::due(first, organisation, id), next);
            match self.store.commit(batch).await {
                // Somebody else did, or changed the playbook.
                Err(error) if error.kind() == ErrorKind::Conflict => continue,
                done => drop(done?),
            }
            self.sooner.notify_one();
            tracing::warn!(organisation = organisation.0, playbook = id.0, %at, %first, "a playbook was due when a clock that was ahead had it; it is due when its trigger says");
        }
        Ok(())
    }
}

/// The first key behind everything of `space` up to `now`.
fn behind(space: Space, now: Timestamp) -> Key {
    Key::new(space).signed(now.as_milliseconds().saturating_add(1))
}

fn missed_of(loaded: &Loaded) -> Missed {
    match loaded.compiled.document.trigger.on {
        TriggerOn::Cron { missed, .. } | TriggerOn::Every { missed, .. } => missed,
        _ => Missed::default(),
    }
}
