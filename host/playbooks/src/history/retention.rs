//! Runs are forgotten: those older than the host keeps any, and those beyond what their playbook wants kept.

use std::time::Duration;

use bellwether_kernel::{OrganisationId, PlaybookId, RunId, Timestamp};
use bellwether_store::{Batch, Key, Space, StoreError, Walk, effects_of_run};

use super::first_id;
use crate::rows::{Claim, PlaybookRef, PlaybookRow, Record, RunRow};
use crate::{PlaybookError, Playbooks, rows};

/// Keys one batch removes.
const REMOVED: usize = 5_000;
/// How long a delivery is remembered that started a run: senders that repeat one do so within days.
const CLAIMS: i64 = 7 * DAY;
/// Claims that stay and are passed in one call, a minute's: milliseconds of work. A million are gone through in three hours;
/// what is forgotten later for it takes space and nothing else.
const CLAIMS_PASSED: usize = 5_000;
/// A day in milliseconds.
const DAY: i64 = 86_400_000;
/// The share of the runs a playbook wants kept that may come before those that are left of it are gone through again: one part
/// of so many.
const SLACK: usize = 10;
/// When they are all the same, in milliseconds: runs within others lie where those began.
const TRIMMED: i64 = 3_600_000;

/// Where a playbook's runs stood when no more were left than it wants kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trimmed {
    newest: RunId,
    most: usize,
    at: Timestamp,
}

/// Removals of one call, committed now and then.
struct Removal<'a> {
    playbooks: &'a Playbooks,
    batch: Batch,
    keys: usize,
    runs: usize,
    budget: usize,
}

impl Removal<'_> {
    fn is_spent(&self) -> bool {
        self.runs >= self.budget
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        if !self.batch.is_empty() {
            self.playbooks.store.commit(std::mem::take(&mut self.batch)).await?;
        }
        self.keys = 0;
        Ok(())
    }

    async fn flush_if_full(&mut self) -> Result<(), StoreError> {
        if self.keys > REMOVED { self.flush().await } else { Ok(()) }
    }

    async fn forget(&mut self, key: Key) -> Result<(), StoreError> {
        self.batch.delete(key);
        self.keys += 1;
        self.flush_if_full().await
    }

    /// Removes a run with all that is recorded of it, unless it is open or ended after `before`. Gives whether it did.
    async fn remove(
        &mut self,
        organisation: OrganisationId,
        playbook: PlaybookId,
        id: RunId,
        before: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let store = &*self.playbooks.store;
        let key = rows::run(organisation, playbook, id);
        if let Some(row) = store.get(&key).await? {
            let Some(row) = store.unread().decode::<RunRow>(&key, &row) else { return Ok(false) };
            let is_kept = before.is_some_and(|before| row.ended.is_some_and(|ended| ended > before));
            if !row.state.has_ended() || is_kept {
                return Ok(false);
            }
        }
        // The run's own rows go last, so that what is cut off here is found again.
        let mut records = Walk::forward(store, rows::records(organisation, id).prefix());
        while let Some((key, _, record)) = records.next_of::<Record>().await? {
            self.keys += record.keys();
            record.delete(store, &mut self.batch, key).await?;
            self.flush_if_full().await?;
        }
        let mut effects = Walk::forward(store, effects_of_run(organisation, id).prefix());
        while let Some((key, _)) = effects.next().await? {
            self.forget(key).await?;
        }
        self.batch.delete(key).delete(rows::run_index(organisation, id));
        self.keys += 2;
        self.runs += 1;
        self.flush_if_full().await?;
        Ok(true)
    }
}

impl Playbooks {
    /// Removes runs that ended longer than `keep` ago, or that their playbook does not want kept, with all that is recorded of
    /// them; at most `budget` runs in this call. Gives how many were removed: as many as `budget` if there may be more. Open
    /// runs whose playbook was deleted are cancelled. While the clock is not [steady](bellwether_kernel::Clock::steady) nothing
    /// goes for its age.
    ///
    /// # Errors
    /// The store's; what was removed before stays so.
    pub async fn sweep(&self, keep: Duration, budget: usize) -> Result<usize, PlaybookError> {
        let mut removal = Removal { playbooks: self, batch: Batch::new(), keys: 0, runs: 0, budget };
        let mut done = Vec::new();
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let steady = self.clock.steady();
        let before =
            steady.and_then(|now| Timestamp::from_milliseconds(now.as_milliseconds().saturating_sub(keep)));
        if let Some(before) = before.filter(|before| before.as_milliseconds() > 0) {
            done.push(self.remove_older(&mut removal, before).await);
        }
        // None keeps the others from their work, nor what they collected from being removed.
        done.push(self.remove_unwanted(&mut removal, steady).await);
        done.push(removal.flush().await);
        if let Some(now) = steady {
            done.push(self.forget_claims(&mut removal, now.saturating_add(-CLAIMS)).await);
            done.push(removal.flush().await);
        }
        done.push(self.cancel_left().await);
        done.into_iter().collect::<Result<(), _>>()?;
        Ok(removal.runs)
    }

    async fn remove_older(&self, removal: &mut Removal<'_>, before: Timestamp) -> Result<(), StoreError> {
        let cutoff = first_id(before);
        let mut index = Walk::forward(&*self.store, Key::new(Space::RunIndex).prefix());
        let unread = self.store.unread();
        while let Some((key, value)) = index.next().await? {
            let read = rows::organisation_and_run(&key);
            let Some((organisation, id)) = unread.unless_damaged(&key, read)? else { continue };
            if id.0.as_bytes()[..] >= cutoff[..] {
                // Everything behind it in this organisation was accepted later, and ended later still.
                index.skip_to(rows::run_indexes(organisation).prefix().end);
                continue;
            }
            if removal.is_spent() {
                break;
            }
            let Some(PlaybookRef { playbook, .. }) = unread.decode(&key, &value) else { continue };
            removal.remove(organisation, playbook, id, Some(before)).await?;
        }
        Ok(())
    }

    /// Removes what playbooks do not want kept; for its age only by a `steady` clock.
    async fn remove_unwanted(
        &self,
        removal: &mut Removal<'_>,
        steady: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let mut playbooks = Walk::forward(&*self.store, Key::new(Space::Playbook).prefix());
        let read = rows::of_playbook::<PlaybookRow>;
        while let Some((.., ((organisation, playbook), row))) = playbooks.next_read(read).await? {
            let (days, runs) = row.retention;
            if let Some((days, now)) = days.zip(steady) {
                let oldest = now.saturating_add(-DAY * i64::from(days));
                self.remove_aged(removal, organisation, playbook, oldest).await?;
            }
            if let Some(runs) = runs {
                self.remove_beyond(removal, organisation, playbook, runs as usize).await?;
            }
            if removal.is_spent() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Removes the runs of one playbook that ended before `oldest`.
    async fn remove_aged(
        &self,
        removal: &mut Removal<'_>,
        organisation: OrganisationId,
        playbook: PlaybookId,
        oldest: Timestamp,
    ) -> Result<(), StoreError> {
        let runs = rows::runs(organisation, playbook);
        let range = runs.prefix().start..runs.fixed(&first_id(oldest));
        let mut runs = Walk::forward(&*self.store, range);
        while let Some((.., id)) = runs.next_read(|key, _| rows::run_of(key)).await? {
            if removal.is_spent() {
                break;
            }
            removal.remove(organisation, playbook, id, Some(oldest)).await?;
        }
        Ok(())
    }

    /// Removes the runs of one playbook but for the newest `most`. Those that stay are counted for it one by one, so that is
    /// left for later while few came since it was done.
    async fn remove_beyond(
        &self,
        removal: &mut Removal<'_>,
        organisation: OrganisationId,
        playbook: PlaybookId,
        most: usize,
    ) -> Result<(), StoreError> {
        let (of, now) = ((organisation, playbook), self.clock.now());
        let before = self.trimmed.lock().remove(&of);
        let is_recent = |at| (0..TRIMMED).contains(&now.milliseconds_since(at));
        let before = before.filter(|before| before.most == most && is_recent(before.at));
        let mut runs = Walk::backward(&*self.store, rows::runs(organisation, playbook).prefix());
        let (mut newest, mut kept, mut is_trimmed) = (None, 0, true);
        while let Some((.., id)) = runs.next_read(|key, _| rows::run_of(key)).await? {
            if let Some(before) = before.filter(|before| id <= before.newest && kept <= most / SLACK) {
                self.trimmed.lock().insert(of, before);
                return Ok(());
            }
            newest.get_or_insert(id);
            if kept < most {
                kept += 1;
                continue;
            }
            if removal.is_spent() {
                return Ok(());
            }
            is_trimmed &= removal.remove(organisation, playbook, id, None).await?;
        }
        if let Some(newest) = newest.filter(|_| is_trimmed) {
            // It is so once what was to go is gone.
            removal.flush().await?;
            self.trimmed.lock().insert(of, Trimmed { newest, most, at: now });
        }
        Ok(())
    }

    /// Forgets firings from `before` then, which will not come again, going on from where the last call ended: claims lie in the
    /// order of playbooks and names, so that which are old shows only on the way past those that stay.
    async fn forget_claims(&self, removal: &mut Removal<'_>, before: Timestamp) -> Result<(), StoreError> {
        let all = Key::new(Space::Firing).prefix();
        let from = self.claims_from.lock().take().unwrap_or(all.start);
        let mut claims = Walk::forward(&*self.store, from..all.end);
        let mut staying = 0;
        while let Some((key, _, claim)) = claims.next_of::<Claim>().await? {
            if claim.at < before {
                removal.forget(key).await?;
                continue;
            }
            staying += 1;
            if staying == CLAIMS_PASSED {
                *self.claims_from.lock() = Some(key.successor());
                break;
            }
        }
        Ok(())
    }
}
