//! What came of an attempt is recorded in one commit: the delivery, the attempt, what the formatter keeps.

use std::sync::Arc;
use std::time::Duration;

use bellwether_kernel::{ErrorKind, OrganisationId, Period, Timestamp, counted};
use bellwether_store::{Batch, Precondition, StoreError, encode};
use bytes::Bytes;
use metrics::counter;

use super::attempt::memory_row;
use super::letters::Letters;
use super::record::{DeliveryRow, Noted, WaitingRow, cut};
use super::schedule::Turn;
use super::talk::End;
use super::{Attempt, Deliveries, DeliveryId, DeliveryState, Outcome, backoff, keys};
use crate::channel::{Channel, RetryPolicy};
use crate::{AlertError, limits};

pub(super) const ATTEMPTS: &str = "bellwether_delivery_attempts_total";
pub(super) const ENDED: &str = "bellwether_deliveries_total";

/// Attempts that are kept of one delivery from its beginning, and the latest of it.
const KEPT_FIRST: u32 = 5;
const KEPT_LATEST: u32 = 40;

/// The longest that a channel is sent nothing at all because it asked for that, in milliseconds: then one more is tried.
pub(super) const QUIET: u64 = 60_000;

/// A delivery that is being ended, or put off.
pub(super) struct Ending<'a> {
    pub(super) organisation: OrganisationId,
    pub(super) id: &'a DeliveryId,
    pub(super) row: DeliveryRow,
    /// As it is in the store: nobody else may have changed it meanwhile.
    pub(super) stored: Bytes,
}

impl Ending<'_> {
    /// Writes the delivery as it is now into a batch.
    fn put(&self, batch: &mut Batch) {
        let (organisation, id, row) = (self.organisation, self.id, &self.row);
        let key = keys::delivery(organisation, id);
        batch.require(key.clone(), Precondition::ValueIs(self.stored.clone()));
        batch.put(key, encode(row));
        let waiting = keys::waiting(organisation, id);
        let Some(ended) = row.ended else {
            batch.put(waiting, encode(&WaitingRow { event: row.event, due: row.due }));
            return;
        };
        batch.delete(waiting);
        batch.put(keys::ended(ended, organisation, id), "");
        if row.state == DeliveryState::Dead {
            batch.put(keys::order(organisation, keys::List::Dead, row.time, id), "");
        }
    }
}

impl Deliveries {
    /// Ends a delivery that is not attempted.
    pub(super) async fn end_dead(&self, mut ending: Ending<'_>, reason: &str) -> Result<Turn, AlertError> {
        self.set_ended(&mut ending.row, DeliveryState::Dead, Some(reason.to_owned()));
        let mut batch = Batch::new();
        ending.put(&mut batch);
        self.commit_patiently(batch).await?;
        self.tell(&ending, reason);
        Ok(Turn::Ended)
    }

    /// As [`Self::end_dead`], of one that is in no line.
    pub(super) async fn give_up(
        &self,
        organisation: OrganisationId,
        id: &DeliveryId,
        reason: &str,
    ) -> Result<(), AlertError> {
        let key = keys::delivery(organisation, id);
        let Some(stored) = self.store.get(&key).await? else { return Ok(()) };
        let Some(row) = self.store.unread().decode(&key, &stored) else { return Ok(()) };
        self.end_dead(Ending { organisation, id, row, stored }, reason).await.map(drop)
    }

    fn set_ended(&self, row: &mut DeliveryRow, state: DeliveryState, mut reason: Option<String>) {
        if let Some(reason) = &mut reason {
            cut(reason, limits::REASON);
        }
        (row.state, row.reason, row.due) = (state, reason, None);
        row.ended = Some(self.clock.now());
        // Whoever has the e-mail of a dead letter does not get it again when that is resent.
        if state != DeliveryState::Dead {
            (row.accepted, row.refused) = (Vec::new(), Vec::new());
        }
    }

    /// Records an attempt and what is next; `memory` is what the formatter kept last before the exchange ended.
    pub(super) async fn finish(
        self: &Arc<Self>,
        mut ending: Ending<'_>,
        channel: &Channel,
        mut attempt: Attempt<Noted>,
        end: End,
        letters: Letters,
        memory: Vec<u8>,
    ) -> Result<Turn, AlertError> {
        let (organisation, id) = (ending.organisation, ending.id);
        attempt.failing_since = self.failing_since(&ending, &attempt, &end).await?;
        let row = &mut ending.row;
        row.attempts = attempt.number;
        row.first_attempt.get_or_insert(attempt.time);
        let mut batch = Batch::new();
        let mut turn = Turn::Ended;
        let mut gone = None;
        match end {
            End::Done(kept) => {
                if memory != kept {
                    let key = keys::memory(organisation, &id.channel, &id.incident);
                    batch.put(key, memory_row(channel, &kept));
                }
                attempt.outcome = Outcome::Delivered;
                attempt.reason = letters.unreached();
                self.set_ended(row, DeliveryState::Delivered, attempt.reason.clone());
            }
            End::Retry { after, reason } => {
                turn = self.put_off(row, channel, &mut attempt, &letters, (after, reason));
            }
            End::Broken(reason) | End::Uncalled(reason) => {
                turn = self.put_off(row, channel, &mut attempt, &letters, (None, reason));
            }
            End::Fail(reason) => {
                attempt.outcome = Outcome::Failed;
                attempt.reason = Some(reason.clone());
                self.set_ended(row, DeliveryState::Dead, Some(reason));
            }
            End::Gone(reason) => {
                attempt.outcome = Outcome::Gone;
                attempt.reason = Some(reason.clone());
                gone = Some(reason.clone());
                self.set_ended(row, DeliveryState::Dead, Some(format!("the channel is no more: {reason}")));
            }
        }
        if row.state != DeliveryState::Delivered {
            letters.keep(row);
        }
        ending.put(&mut batch);
        batch.put(keys::attempt(organisation, id, attempt.number), attempt.encode());
        if attempt.number > KEPT_FIRST + KEPT_LATEST {
            batch.delete(keys::attempt(organisation, id, attempt.number - KEPT_LATEST));
        }
        self.record(batch).await?;
        counter!(ATTEMPTS, "outcome" => word(attempt.outcome)).increment(1);
        if let Some(reason) = gone {
            self.disable_gone(organisation, channel, &reason).await?;
        }
        self.tell(&ending, attempt.reason.as_deref().unwrap_or_default());
        Ok(turn)
    }

    /// Since when the formatter fails at a delivery, this attempt included; `None` where it does not.
    async fn failing_since(
        &self,
        ending: &Ending<'_>,
        attempt: &Attempt<Noted>,
        end: &End,
    ) -> Result<Option<Timestamp>, AlertError> {
        if !matches!(end, End::Broken(_) | End::Uncalled(_)) {
            return Ok(None);
        }
        // One that was resent begins anew.
        let before = match attempt.number - ending.row.attempts_before {
            0 | 1 => None,
            _ => self.attempt_of(ending.organisation, ending.id, attempt.number - 1).await?,
        };
        let since = before.and_then(|before| before.failing_since);
        Ok(if matches!(end, End::Broken(_)) { since.or(Some(attempt.time)) } else { since })
    }

    /// Has a delivery tried again later, or gives it up: whichever its channel's patience, and that with its formatter,
    /// leaves. `asked` is how long to wait at least, in milliseconds, and why.
    fn put_off(
        &self,
        row: &mut DeliveryRow,
        channel: &Channel,
        attempt: &mut Attempt<Noted>,
        letters: &Letters,
        (after, mut reason): (Option<u64>, String),
    ) -> Turn {
        let now = self.clock.now();
        let made = row.attempts - row.attempts_before;
        let RetryPolicy { max_age_seconds, attempts } = channel.spec.retry;
        let first = row.first_attempt.unwrap_or(attempt.time);
        let last = first.saturating_add(Period::seconds(max_age_seconds).milliseconds());
        let limits_requests = last_status(attempt) == Some(429);
        let due = letters.due(backoff::again(now, made, after, limits_requests, &*self.randomness));
        let is_over = due > last && now >= last;
        // However long a wait is, one more attempt is made as the time ends.
        let due = due.min(last.max(now));
        let tried = counted(made, "attempt");
        let formatter_failed =
            |since: Timestamp| due > since.saturating_add(limits::FORMATTER_FAILS.milliseconds());
        let given_up = if made >= attempts {
            Some(format!("given up after {tried}, as many as the channel's retry.attempts allows: {reason}"))
        } else if is_over {
            Some(format!(
                "given up after {tried}, as the channel's retry.max_age_seconds of {max_age_seconds} s were over: {reason}"
            ))
        } else if attempt.failing_since.is_some_and(formatter_failed) {
            Some(format!(
                "given up after {tried}, for its formatter, not the receiver, has failed for {}: {reason}; resend it \
                 once the plugin is mended",
                limits::FORMATTER_FAILS
            ))
        } else {
            None
        };
        if let Some(reason) = given_up {
            attempt.outcome = Outcome::Failed;
            attempt.reason = Some(reason.clone());
            self.set_ended(row, DeliveryState::Dead, Some(reason));
            return Turn::Ended;
        }
        attempt.outcome = Outcome::Retry;
        attempt.reason = Some(reason.clone());
        cut(&mut reason, limits::REASON);
        (row.reason, row.due) = (Some(reason), Some(due));
        match after.filter(|_| is_overloaded(attempt)) {
            Some(after) => Turn::Refused(due, now.saturating_add(after.min(QUIET).cast_signed())),
            None => Turn::Later(due),
        }
    }

    /// Lets nothing more go to a channel that said it is no more, as it was set when it did.
    pub(super) async fn disable_gone(
        &self,
        organisation: OrganisationId,
        channel: &Channel,
        reason: &str,
    ) -> Result<(), AlertError> {
        let mut reason = reason.to_owned();
        cut(&mut reason, limits::REASON);
        let stored = self.stored_channel(organisation, &channel.name).await?;
        let is_same = |(stored, _): &(Channel, Bytes)| {
            (stored.version, stored.created) == (channel.version, channel.created)
        };
        // Whoever changed it meanwhile may have mended it: the next delivery tells.
        let Some(stored) = stored.filter(is_same) else { return Ok(()) };
        let mut batch = Batch::new();
        self.disable(&mut batch, organisation, &stored, &reason);
        match self.store.commit(batch).await {
            // As above.
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Ends updates that a later delivery makes needless.
    pub(super) async fn fold(
        &self,
        organisation: OrganisationId,
        needless: &[DeliveryId],
        into: u32,
    ) -> Result<(), AlertError> {
        for part in needless.chunks(100) {
            let mut batch = Batch::new();
            let mut folded = 0;
            for id in part {
                let key = keys::delivery(organisation, id);
                let Some(stored) = self.store.get(&key).await? else { continue };
                let read = self.store.unread().decode::<DeliveryRow>(&key, &stored);
                let Some(mut row) = read else { continue };
                if row.state != DeliveryState::Waiting {
                    continue;
                }
                let most = self.limits.fold_above;
                let reason =
                    format!("more than {most} deliveries waited for the channel: {into} tells of it too");
                self.set_ended(&mut row, DeliveryState::Folded, Some(reason));
                Ending { organisation, id, row, stored }.put(&mut batch);
                folded += 1;
            }
            self.commit_patiently(batch).await?;
            counter!(ENDED, "state" => "folded").increment(folded);
        }
        Ok(())
    }

    /// Commits what was done already, however long the store takes no writes: done again, it would be done twice.
    pub(super) async fn commit_patiently(&self, batch: Batch) -> Result<(), AlertError> {
        let mut failures = 0;
        loop {
            let error: StoreError = match self.store.commit(batch.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if error.kind() != ErrorKind::Unavailable {
                return Err(error.into());
            }
            failures += 1;
            tracing::warn!(%error, "what came of a delivery is not recorded yet; it is tried again");
            let wait = backoff::wait(failures, &*self.randomness).min(30_000);
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }

    fn tell(&self, ending: &Ending<'_>, reason: &str) {
        let (delivery, organisation) = (ending.id, ending.organisation.0);
        match ending.row.state {
            DeliveryState::Delivered => {
                counter!(ENDED, "state" => "delivered").increment(1);
                match reason {
                    "" => tracing::debug!(%delivery, organisation, "delivered"),
                    _ => tracing::warn!(%delivery, organisation, reason, "delivered, but not to everybody"),
                }
            }
            DeliveryState::Dead => {
                counter!(ENDED, "state" => "dead").increment(1);
                tracing::warn!(%delivery, organisation, reason, "not delivered; it is among the dead letters");
            }
            _ => tracing::debug!(%delivery, organisation, reason, "not delivered yet"),
        }
    }
}

/// Whether the last answer says that there were too many requests, or that nobody is there for any.
fn is_overloaded(attempt: &Attempt<Noted>) -> bool {
    matches!(last_status(attempt), Some(429 | 503))
}

/// The status of the last answer.
fn last_status(attempt: &Attempt<Noted>) -> Option<u16> {
    attempt.exchanges.last().and_then(|exchange| exchange.status)
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Retry => "retry",
        Outcome::Failed => "failed",
        Outcome::Gone => "gone",
    }
}
