//! Whose a run is. A host holds one lease, which it renews; its runs carry its life. When a lease runs out, or a host
//! comes back to a new life, the runs of the old one are ready for whoever takes them.

use std::time::Duration;

use bellwether_kernel::{ErrorKind, HostId, OrganisationId, RunId};
use bellwether_store::{Batch, Direction, Key, Precondition, Space, StoreError, decode, encode};

use crate::rows::{Lease, OpenRun, Owner};
use crate::{PlaybookError, Playbooks, rows};

/// How long a lease lasts. A host that does not answer for so long has its runs taken over.
const LEASE: Duration = Duration::from_secs(30);
/// How often it is renewed.
const RENEWED: Duration = Duration::from_secs(10);
/// Rows read at once.
const ROWS: usize = 256;

impl Playbooks {
    /// Takes the host's lease and what earlier lives of it left, and reads what is kept in memory.
    pub(crate) async fn take_up(&self) -> Result<(), PlaybookError> {
        for prefix in [Space::RunQueue, Space::PlaybookQueue] {
            let waiting = self.count(Key::new(prefix)).await?;
            self.queued.fetch_add(waiting, std::sync::atomic::Ordering::SeqCst);
        }
        let key = rows::host(self.owner.host);
        let mut batch = Batch::new();
        batch.put(key, encode(&self.lease()));
        self.store.commit(batch).await?;
        let host = self.owner.host;
        let taken = self.take_over(|owner| owner.host == host).await?;
        if taken > 0 {
            tracing::info!(runs = taken, "runs were open when the host stopped; they go on");
        }
        self.take_over_expired().await?;
        if self.writes.is_some() {
            self.read_watches(None).await?;
        }
        Ok(())
    }

    fn lease(&self) -> Lease {
        let milliseconds = i64::try_from(LEASE.as_millis()).expect("a lease is short");
        Lease { life: self.owner.life, until: self.clock.now().saturating_add(milliseconds) }
    }

    async fn count(&self, prefix: Key) -> Result<usize, StoreError> {
        let mut range = prefix.prefix();
        let mut count = 0;
        loop {
            let page = self.store.scan(range.clone(), Direction::Forward, ROWS).await?;
            let Some((last, _)) = page.last() else { return Ok(count) };
            range.start = last.successor();
            count += page.len();
        }
    }

    /// Renews the lease, takes over from hosts whose own has run out, and takes up what could not be recorded.
    pub(super) async fn keep_lease(self: std::sync::Arc<Self>) -> Result<(), PlaybookError> {
        tokio::time::sleep(RENEWED).await;
        let key = rows::host(self.owner.host);
        let stored = self.store.get(&key).await?;
        let before: Option<Lease> = stored.as_ref().map(|row| decode(row)).transpose()?;
        if before.is_some_and(|lease| lease.life != self.owner.life) {
            tracing::error!(host = %self.owner.host, "another process runs as this host; this one takes no more runs");
            self.stopping.store(true, std::sync::atomic::Ordering::SeqCst);
            self.halt.cancel();
            return Ok(());
        }
        let mut batch = Batch::new();
        let before = stored.map_or(Precondition::Absent, Precondition::ValueIs);
        batch.require(key.clone(), before).put(key, encode(&self.lease()));
        self.store.commit(batch).await?;
        self.take_over_expired().await?;
        let dropped = std::mem::take(&mut *self.dropped.lock());
        for (organisation, run) in dropped {
            if let Err(error) = self.release(organisation, run, |_| true).await {
                self.dropped.lock().push((organisation, run));
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Gives the lease back, so that another host need not wait for its end.
    pub(super) async fn give_up_lease(&self) -> Result<(), StoreError> {
        let key = rows::host(self.owner.host);
        let Some(stored) = self.store.get(&key).await? else { return Ok(()) };
        let lease: Lease = decode(&stored)?;
        if lease.life != self.owner.life {
            return Ok(());
        }
        let over = Lease { until: self.clock.now(), ..lease };
        let mut batch = Batch::new();
        batch.require(key.clone(), Precondition::ValueIs(stored)).put(key, encode(&over));
        self.store.commit(batch).await.map(drop)
    }

    async fn take_over_expired(&self) -> Result<(), PlaybookError> {
        let now = self.clock.now();
        for (key, row) in self.store.scan(Key::new(Space::RunHost).prefix(), Direction::Forward, ROWS).await?
        {
            let lease: Lease = decode(&row)?;
            let host = key.fields().number().map(HostId);
            let host = host.ok_or_else(|| StoreError::Damaged(format!("{key:?} names no host")))?;
            if host == self.owner.host || lease.until > now {
                continue;
            }
            let gone = Owner { host, life: lease.life };
            let taken = self.take_over(|owner| owner == gone).await?;
            tracing::warn!(%host, runs = taken, "a host's lease has run out; its runs go on here");
            let mut batch = Batch::new();
            batch.require(key.clone(), Precondition::ValueIs(row)).delete(key);
            match self.store.commit(batch).await {
                Err(error) if error.kind() != ErrorKind::Conflict => return Err(error.into()),
                // Another host was as fast, or that one is back.
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes every open run ready whose owner `is_gone`. Gives how many those are.
    async fn take_over(&self, is_gone: impl Fn(Owner) -> bool) -> Result<usize, StoreError> {
        let mut range = Key::new(Space::RunOpen).prefix();
        let mut taken = 0;
        loop {
            let page = self.store.scan(range.clone(), Direction::Forward, ROWS).await?;
            let Some((last, _)) = page.last() else { return Ok(taken) };
            range.start = last.successor();
            for (key, row) in page {
                let open: OpenRun = decode(&row)?;
                // A run of a host of an earlier version, which kept no owners, has neither.
                let gone = open.owner.map_or(open.version == 0 && open.cancel.is_some(), &is_gone);
                let (organisation, run) = rows::organisation_and_run(&key)?;
                if gone && self.release(organisation, run, &is_gone).await? {
                    taken += 1;
                }
            }
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
            let mut open: OpenRun = decode(&stored)?;
            if open.parent.is_some()
                || open.owner.is_some_and(|owner| {
                    !is_gone(owner) || owner == self.owner && self.active.lock().contains_key(&run)
                })
            {
                return Ok(false);
            }
            open.owner = None;
            let mut batch = Batch::new();
            batch.require(key.clone(), Precondition::ValueIs(stored)).put(key.clone(), encode(&open));
            batch.put(rows::queued(organisation, run), Vec::new());
            match self.store.commit(batch).await {
                Ok(_) => {
                    self.queued.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    self.ready.notify_one();
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }
}
