//! Whose a run is. A host holds one lease, which it renews; its runs carry its life. When a lease runs out, or a host
//! comes back to a new life, the runs of the old one are ready for whoever takes them.

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bellwether_alerts::limits::CLOCK_AHEAD;
use bellwether_kernel::{ErrorKind, HostId, OrganisationId, RunId};
use bellwether_store::{Batch, Key, Precondition, Space, StoreError, Walk, encode};
use bytes::Bytes;

use crate::rows::{Lease, OpenRun, Owner, RunRow};
use crate::{PlaybookError, Playbooks, rows};

/// How long a lease lasts. A host that does not answer for so long has its runs taken over.
const LEASE: Duration = Duration::from_secs(30);
/// How often it is renewed.
const RENEWED: Duration = Duration::from_secs(10);

impl Playbooks {
    /// Takes the host's lease and what earlier lives of it left, and reads what is kept in memory.
    pub(crate) async fn take_up(&self) -> Result<(), PlaybookError> {
        self.count_queued().await?;
        match self.begin_life().await {
            // Reads and deletes are most needed now, so the host starts. Its loop for leases tries this again.
            Err(StoreError::DiskFull { .. }) => {
                tracing::warn!("the disk is nearly full: no run begins or goes on until there is room");
            }
            begun => begun?,
        }
        Ok(self.read_triggers(None).await?)
    }

    /// Takes the host's lease and what earlier lives of it left, once.
    async fn begin_life(&self) -> Result<(), StoreError> {
        let mut has_begun = self.has_begun.lock().await;
        if *has_begun {
            return Ok(());
        }
        let host = self.owner.host;
        let key = rows::host(host);
        // One that does not read says nothing, and is replaced.
        let lease = self.store.get(&key).await?.and_then(|row| self.store.unread().decode(&key, &row));
        self.bring_back_after(lease).await?;
        self.put_lease(None).await?;
        let taken = self.take_over(|owner| owner.host == host && owner != self.owner).await?;
        if taken > 0 {
            tracing::info!(runs = taken, "runs were open when the host stopped; they go on");
        }
        self.take_over_expired().await?;
        *has_begun = true;
        self.ready.notify_one();
        Ok(())
    }

    /// If the host's stored lease ends much later than one put now would, the clock was ahead when the host put it. Then the
    /// host looks for playbooks whose next time that clock set, and makes them due when their triggers say, and has runs look
    /// again that wait: these once the clock that says so is steady. It does not look otherwise: it would have to compile every
    /// playbook that is due later.
    async fn bring_back_after(&self, lease: Option<Lease>) -> Result<(), StoreError> {
        let latest = self.clock.now().saturating_add(CLOCK_AHEAD.milliseconds());
        if lease.is_some_and(|lease| lease.until > latest) {
            self.was_ahead.store(true, SeqCst);
            self.bring_back_playbooks().await?;
        }
        if self.was_ahead.load(SeqCst) && self.clock.steady().is_some() {
            self.bring_back_runs().await?;
            self.was_ahead.store(false, SeqCst);
        }
        Ok(())
    }

    /// Stores a lease from now on, in place of what is to be there.
    async fn put_lease(&self, before: Option<Precondition>) -> Result<(), StoreError> {
        let milliseconds = i64::try_from(LEASE.as_millis()).expect("a lease is short");
        let until = self.clock.now().saturating_add(milliseconds);
        let lease = encode(&Lease { life: self.owner.life, until });
        let key = rows::host(self.owner.host);
        let mut batch = Batch::new();
        if let Some(before) = before {
            batch.require(key.clone(), before);
        }
        batch.put(key, lease.clone());
        self.store.commit(batch).await?;
        *self.lease.lock() = lease;
        Ok(())
    }

    /// Lets `batch`, which makes a run this host's, happen only while the host has its lease: one that stood still
    /// past it would otherwise take a run that nobody knows to take over.
    pub(super) fn require_lease(&self, batch: &mut Batch) {
        let lease = self.lease.lock().clone();
        batch.require(rows::host(self.owner.host), Precondition::ValueIs(lease));
    }

    /// Reads the host's lease again, and takes a new one if another host ended it. Gives whether it is another than
    /// was known here.
    ///
    /// # Errors
    /// [`PlaybookError::Stopping`] if another process runs as this host.
    pub(super) async fn recover_lease(&self) -> Result<bool, PlaybookError> {
        if !*self.has_begun.lock().await {
            self.begin_life().await?;
            return Ok(true);
        }
        let key = rows::host(self.owner.host);
        let Some(stored) = self.store.get(&key).await? else {
            self.put_lease(Some(Precondition::Absent)).await?;
            return Ok(true);
        };
        let Some(lease) = self.store.unread().decode::<Lease>(&key, &stored) else {
            self.put_lease(Some(Precondition::ValueIs(stored))).await?;
            return Ok(true);
        };
        if lease.life != self.owner.life {
            return Err(PlaybookError::Stopping);
        }
        let mut known = self.lease.lock();
        let changed = *known != stored;
        *known = stored;
        Ok(changed)
    }

    /// Counts the runs that are ready, and those that wait for places of their playbooks': what another host accepted or
    /// took off is not known here otherwise, nor which of them were cancelled.
    async fn count_queued(&self) -> Result<(), StoreError> {
        for (waiting, space) in [(&self.queued, Space::RunQueue), (&self.placeless, Space::PlaybookQueue)] {
            let (before, mut found) = (waiting.recorded(), HashMap::new());
            let mut rows = Walk::forward(&*self.store, Key::new(space).prefix());
            while let Some((key, _)) = rows.next().await? {
                if let Some(organisation) = key.fields().number() {
                    *found.entry(OrganisationId(organisation)).or_default() += 1;
                }
            }
            waiting.correct(&before, &found);
        }
        Ok(())
    }

    pub(crate) async fn count(&self, prefix: Key) -> Result<usize, StoreError> {
        Walk::forward(&*self.store, prefix.prefix()).count().await
    }

    /// Renews the lease, takes over from hosts whose own has run out, and takes up what could not be recorded.
    pub(super) async fn keep_lease(self: std::sync::Arc<Self>) -> Result<(), PlaybookError> {
        tokio::time::sleep(RENEWED).await;
        self.begin_life().await?;
        let key = rows::host(self.owner.host);
        let stored = self.store.get(&key).await?;
        let unread = self.store.unread();
        let before: Option<Lease> = stored.as_ref().and_then(|row| unread.decode(&key, row));
        if before.is_some_and(|lease| lease.life != self.owner.life) {
            tracing::error!(host = %self.owner.host, "another process runs as this host; this one takes no more runs");
            self.stopping.store(true, SeqCst);
            self.end.cancel();
            return Ok(());
        }
        // Before the lease is renewed, which is what shows it.
        self.bring_back_after(before).await?;
        self.put_lease(Some(stored.map_or(Precondition::Absent, Precondition::ValueIs))).await?;
        // None keeps the others from their work.
        let taken = self.take_over_expired().await;
        let counted = self.count_queued().await;
        let released = self.release_dropped().await;
        self.look_for_ends().await?;
        taken?;
        counted?;
        released
    }

    /// Takes up what could not be recorded; what cannot be even now waits for the next time.
    async fn release_dropped(&self) -> Result<(), PlaybookError> {
        let dropped = std::mem::take(&mut *self.dropped.lock());
        let mut failed = None;
        for (organisation, run) in dropped {
            if let Err(error) = self.release(organisation, run, |owner| owner == self.owner).await {
                self.dropped.lock().push((organisation, run));
                failed = Some(error.into());
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Tells those who wait for a run that another host took and ended, and forgets those who wait no more.
    async fn look_for_ends(&self) -> Result<(), PlaybookError> {
        let waited_for: Vec<RunId> = {
            let mut waiters = self.waiters.lock();
            waiters.retain(|_, waiters| {
                waiters.retain(|(_, waiter)| !waiter.is_closed());
                !waiters.is_empty()
            });
            let active = self.active.lock();
            waiters.keys().filter(|run| !active.contains_key(run)).copied().collect()
        };
        for run in waited_for {
            let organisation = self.waiters.lock().get(&run).and_then(|waiters| Some(waiters.first()?.0));
            let Some(organisation) = organisation else { continue };
            if self.summary(organisation, run).await.is_ok_and(|run| run.state.has_ended()) {
                self.tell_end(organisation, run).await;
            }
        }
        Ok(())
    }

    /// Gives the lease back, so that another host need not wait for its end.
    pub(super) async fn give_up_lease(&self) -> Result<(), StoreError> {
        let key = rows::host(self.owner.host);
        let Some(stored) = self.store.get(&key).await? else { return Ok(()) };
        let lease: Option<Lease> = self.store.unread().decode(&key, &stored);
        let Some(lease) = lease.filter(|lease| lease.life == self.owner.life) else { return Ok(()) };
        let over = Lease { until: self.clock.now(), ..lease };
        let mut batch = Batch::new();
        batch.require(key.clone(), Precondition::ValueIs(stored)).put(key, encode(&over));
        self.store.commit(batch).await.map(drop)
    }

    async fn take_over_expired(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut hosts = Walk::forward(&*self.store, Key::new(Space::RunHost).prefix());
        while let Some((key, row)) = hosts.next().await? {
            let host = key.fields().number().map(HostId);
            let Some(host) = host else {
                self.store.unread().tell(&key, "it names no host");
                continue;
            };
            if host == self.owner.host {
                continue;
            }
            let Some(lease) = self.store.unread().decode::<Lease>(&key, &row) else {
                // A host that lives puts another in its place, whether it reads or not. The row stays: who can be told by it
                // that nobody lives is the host of a store that no other has open.
                if self.store.is_exclusive() {
                    self.take_over(|owner| owner.host == host).await?;
                }
                continue;
            };
            if lease.until > now {
                continue;
            }
            let gone = Owner { host, life: lease.life };
            let taken = self.take_over(|owner| owner == gone).await?;
            tracing::warn!(%host, runs = taken, "a host's lease has run out; its runs go on here");
            let mut batch = Batch::new();
            batch.require(key.clone(), Precondition::ValueIs(row)).delete(key);
            match self.store.commit(batch).await {
                Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
                // Another host was as fast, or that one is back.
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes every open run ready whose owner `is_gone`. Gives how many those are.
    async fn take_over(&self, is_gone: impl Fn(Owner) -> bool) -> Result<usize, StoreError> {
        let mut open_runs = Walk::forward(&*self.store, Key::new(Space::RunOpen).prefix());
        let mut taken = 0;
        let read = rows::of_run::<OpenRun>;
        while let Some((.., ((organisation, run), open))) = open_runs.next_read(read).await? {
            if open.owner.map_or(open.version == 0, &is_gone)
                && self.release(organisation, run, &is_gone).await?
            {
                taken += 1;
            }
        }
        Ok(taken)
    }

    /// Adds to `batch`, which takes a run over, that its on-failure steps have their time from now on, if it is at them.
    pub(super) fn renew_failure_time(&self, batch: &mut Batch, key: Key, stored: Bytes) {
        // Whoever takes up one that does not read ends it.
        let row: Option<RunRow> = self.store.unread().decode(&key, &stored);
        if let Some(mut row) = row.filter(|row| row.outcome.is_some()) {
            row.grant_failure_time(self.clock.now());
            batch.require(key.clone(), Precondition::ValueIs(stored)).put(key, encode(&row));
        }
    }

    /// Makes a run ready if its owner `is_gone`; one within another is left to that. Gives whether it did.
    async fn release(
        &self,
        organisation: OrganisationId,
        run: RunId,
        is_gone: impl Fn(Owner) -> bool,
    ) -> Result<bool, StoreError> {
        let key = rows::run_open(organisation, run);
        loop {
            let Some(stored) = self.store.get(&key).await? else { return Ok(false) };
            let Some(mut open) = self.store.unread().decode::<OpenRun>(&key, &stored) else {
                return Ok(false);
            };
            // A run of a host of an earlier version, which kept no owners, has neither.
            let is_gone = open.owner.map_or(open.version == 0 && open.cancel.is_some(), &is_gone);
            let is_at_work = open.owner == Some(self.owner) && self.active.lock().contains_key(&run);
            if open.parent.is_some() || !is_gone || is_at_work {
                return Ok(false);
            }
            open.owner = None;
            let mut batch = Batch::new();
            batch.require(key.clone(), Precondition::ValueIs(stored)).put(key.clone(), encode(&open));
            let row_key = rows::run(organisation, open.playbook, run);
            if let Some(stored) = self.store.get(&row_key).await? {
                self.renew_failure_time(&mut batch, row_key, stored);
            }
            batch.put(rows::queued(organisation, run), Vec::new());
            match self.store.commit(batch).await {
                Ok(_) => {
                    self.queued.came(organisation, 1);
                    self.ready.notify_one();
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }
}
