//! This host's log of watched writes: what was written to which interval, in the order the store took it.
//!
//! An entry is part of its write's own commit, so an acknowledged write is always in the log and a refused one never.
//! Its number comes from a counter that the same commit raises: entries are numbered from 1 without a gap, in the
//! order their values came about, and whoever sees one sees every lower one that was not trimmed or dropped, nor went with its
//! organisation.

use std::sync::atomic::{AtomicU64, Ordering};

use bellwether_kernel::{MetricId, OrganisationId, Timestamp};
use bellwether_store::{
    Batch, Committed, Direction, Key, MergeError, Merged, Precondition, Row, SharedStore, Space, StoreError,
    Versioned, Walk, decode, encode, erase_of,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::layout::{self, Number};
use crate::{DataType, MetricError, Metrics, Partial};

/// Rows trimmed in one commit: small enough that no writer waits long behind it.
const ROWS: u64 = 500;

/// How often the log is read again because entries were committed while it was read. Each time others went through.
const ATTEMPTS: usize = 16;

/// How many entries are dropped between two warnings.
const WARNING_EVERY: u64 = 10_000;

/// How many more entries than were added are dropped at once, while there are too many.
const CATCH_UP: u64 = 64;

/// One watched write's part in one interval of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// Its number, from 1 on this host.
    pub sequence: u64,
    /// Whose metric.
    pub organisation: OrganisationId,
    /// The metric.
    pub metric: MetricId,
    /// Its name at the time.
    pub name: String,
    /// The key of the series; absent in a metric without keys.
    pub key: Option<String>,
    /// Where the interval begins.
    pub interval_start: Timestamp,
    /// The time of the latest sample the write added to it.
    pub time: Timestamp,
    /// The interval's value before the write; absent if it had no sample. Like `after` of what this host wrote.
    pub before: Option<f64>,
    /// The interval's value with the write.
    pub after: f64,
}

/// How the log is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// The number of the oldest entry that may still be there.
    pub oldest: u64,
    /// The number of the latest entry; 0 if there never was one.
    pub latest: u64,
    /// Entries that were dropped since the process began because nobody trimmed the log.
    pub dropped: u64,
}

/// What is known of the log without reading it.
#[derive(Debug)]
pub(crate) struct WriteLog {
    latest: watch::Sender<u64>,
    oldest: AtomicU64,
    dropped: AtomicU64,
}

/// A row of the log; its number is in its key.
#[derive(Debug, Serialize, Deserialize)]
struct LogRow {
    organisation: OrganisationId,
    metric: MetricId,
    name: String,
    key: Option<String>,
    interval_start: Timestamp,
    time: Timestamp,
    before: Option<f64>,
    after: f64,
}

impl Versioned for LogRow {
    const NAME: &'static str = "entry of the write log";
}

/// What a row of the log is derived from.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) organisation: OrganisationId,
    pub(crate) metric: MetricId,
    pub(crate) name: String,
    pub(crate) key: Option<String>,
    pub(crate) interval_start: Timestamp,
    pub(crate) time: Timestamp,
    pub(crate) data_type: DataType,
    /// Which merge of the batch added to the interval.
    pub(crate) merge: usize,
}

#[derive(Serialize, Deserialize)]
struct Operand {
    entry: Entry,
    /// Which merge of the batch raised the counter, and how many entries of the batch follow this one.
    counter: usize,
    following: u64,
}

impl Versioned for Operand {
    const NAME: &'static str = "watched write";
}

/// The row of one entry, with what the merge it is about made of its interval.
fn logged(key: Key, merged: &[Merged], operand: &[u8]) -> Result<Row, MergeError> {
    let derive = || -> Result<Row, StoreError> {
        let Operand { entry, counter, following } = decode(operand)?;
        let of =
            |at: usize| merged.get(at).ok_or_else(|| StoreError::Failed("a merge is missing".to_owned()));
        let Number(last) = decode(&of(counter)?.after)?;
        let Merged { before, after } = of(entry.merge)?;
        let value = |row: &[u8]| Ok::<_, StoreError>(decode::<Partial>(row)?.value(entry.data_type));
        let row = LogRow {
            organisation: entry.organisation,
            metric: entry.metric,
            name: entry.name,
            key: entry.key,
            interval_start: entry.interval_start,
            time: entry.time,
            before: before.as_deref().map(value).transpose()?,
            after: value(after)?,
        };
        Ok((key.number(last - following), encode(&row)))
    };
    derive().map_err(|error| MergeError(error.to_string()))
}

impl WriteLog {
    /// Finds out where the host's log stands.
    pub(crate) async fn open(
        store: &SharedStore,
        log: &Key,
        counter: &Key,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let latest = match store.get(counter).await? {
            Some(row) => match store.unread().decode(counter, &row) {
                Some(Number(latest)) => latest,
                None => count_on(store, log, counter, Precondition::ValueIs(row), now).await?,
            },
            None => 0,
        };
        let mut entries = Walk::forward(&**store, log.prefix()).at_once(1);
        let oldest = entries.next_read(|key, _| sequence(key)).await?.map_or(latest + 1, |(.., first)| first);
        Ok(Self {
            latest: watch::Sender::new(latest),
            oldest: AtomicU64::new(oldest),
            dropped: AtomicU64::new(0),
        })
    }

    /// Says that a write with entries is committed.
    pub(crate) fn committed(&self, joined: &Joined, committed: &Committed) -> Result<(), StoreError> {
        let Number(latest) = decode(&committed.merged[joined.counter])?;
        self.dropped(joined.oldest);
        self.latest.send_if_modified(|known| {
            let later = latest > *known;
            *known = latest.max(*known);
            later
        });
        Ok(())
    }

    /// The entries to be dropped so that about `limit` are left once `more` are added: from the one to below the
    /// other. About, since others write meanwhile.
    fn too_many(&self, more: u64, limit: u64) -> std::ops::Range<u64> {
        let oldest = self.oldest.load(Ordering::Relaxed);
        let keep = (*self.latest.borrow() + more + 1).saturating_sub(limit);
        oldest..keep.min(oldest + more + CATCH_UP)
    }

    /// Says that every entry below `oldest` is gone, dropped with a write.
    fn dropped(&self, oldest: u64) {
        let before = self.oldest.fetch_max(oldest, Ordering::Relaxed);
        let gone = oldest.saturating_sub(before);
        if gone == 0 {
            return;
        }
        let dropped = self.dropped.fetch_add(gone, Ordering::Relaxed);
        if dropped == 0 || dropped / WARNING_EVERY != (dropped + gone) / WARNING_EVERY {
            let dropped = dropped + gone;
            tracing::warn!(
                dropped,
                oldest,
                "watched writes are logged faster than they are read; the oldest are dropped"
            );
        }
    }
}

/// What a write that is under way adds to the log.
pub(crate) struct Joined {
    /// Which merge of the batch raises the counter.
    counter: usize,
    /// Every entry with a lower number is gone once the write is committed.
    oldest: u64,
}

/// A number from which on a log is numbered whose count does not read, put in the place of `damaged`. Readers may have passed
/// every entry there is, so it follows from the time: no host has logged a write for each millisecond since 1970.
async fn count_on(
    store: &SharedStore,
    log: &Key,
    counter: &Key,
    damaged: Precondition,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut entries = Walk::backward(&**store, log.prefix()).at_once(1);
    let last = entries.next_read(|key, _| sequence(key)).await?.map_or(0, |(.., last)| last);
    let latest = last.max(u64::try_from(now.as_milliseconds()).unwrap_or(0));
    let mut batch = Batch::new();
    batch.require(counter.clone(), damaged).put(counter.clone(), encode(&Number(latest)));
    store.commit(batch).await?;
    Ok(latest)
}

fn sequence(key: &Key) -> Result<u64, StoreError> {
    let mut fields = key.fields();
    fields
        .number()
        .and_then(|_| fields.number())
        .ok_or_else(|| StoreError::Damaged(format!("not the key of an entry of the write log: {key:?}")))
}

impl Metrics {
    /// Adds entries to the batch of their write, behind its merges, and drops as many of the oldest if there would be
    /// too many.
    pub(crate) fn join_log(&self, entries: Vec<Entry>, batch: &mut Batch) -> Option<Joined> {
        if entries.is_empty() {
            return None;
        }
        let (log, count) = (layout::log(self.host), entries.len() as u64);
        let counter = batch.merges();
        batch.merge(layout::last_logged(self.host), encode(&Number(count)), layout::count_up);
        for (following, entry) in (0..count).rev().zip(entries) {
            let operand = encode(&Operand { entry, counter, following });
            batch.derive(log.clone(), operand, logged);
        }
        let gone = self.log.too_many(count, self.limits.logged);
        let oldest = gone.end;
        for sequence in gone {
            batch.delete(log.clone().number(sequence));
        }
        Some(Joined { counter, oldest })
    }

    /// Up to `limit` entries of this host's log after the one numbered `cursor`, oldest first; 0 is before the first.
    /// They follow one another without a gap, but for those that do not read. If the first is not `cursor + 1`, those
    /// between were trimmed, or dropped because nobody trimmed them.
    ///
    /// An entry may be seen a moment before its write is durable; whatever is committed because of it is durable only
    /// after it.
    ///
    /// # Errors
    /// If the store's.
    pub async fn log_after(&self, cursor: u64, limit: usize) -> Result<Vec<Logged>, MetricError> {
        let log = layout::log(self.host);
        let mut next = cursor.saturating_add(1);
        let mut attempts = 0..ATTEMPTS;
        while attempts.next().is_some() {
            let range = log.clone().number(next)..log.prefix().end;
            let rows = self.store.scan(range, Direction::Forward, limit).await?;
            let unread = self.store.unread();
            let mut rows_of = Vec::with_capacity(rows.len());
            for (key, value) in rows {
                if let Some(sequence) = unread.unless_damaged(&key, sequence(&key))? {
                    rows_of.push((sequence, key, value));
                }
            }
            let Some((first, ..)) = rows_of.first() else { return Ok(Vec::new()) };
            let first = *first;
            // A scan is no snapshot: what was committed behind its back may be there without what came before it.
            if first != next && self.store.get(&log.clone().number(next)).await?.is_some() {
                continue;
            }
            let mut entries = Vec::with_capacity(rows_of.len());
            let mut behind = first;
            for (sequence, key, value) in rows_of {
                if sequence != behind {
                    break;
                }
                behind = sequence.saturating_add(1);
                let Some(row) = unread.decode::<LogRow>(&key, &value) else { continue };
                entries.push(Logged {
                    sequence,
                    organisation: row.organisation,
                    metric: row.metric,
                    name: row.name,
                    key: row.key,
                    interval_start: row.interval_start,
                    time: row.time,
                    before: row.before,
                    after: row.after,
                });
            }
            if entries.is_empty() {
                // None of them reads, and those behind them are not to wait.
                (next, attempts) = (behind, 0..ATTEMPTS);
                continue;
            }
            return Ok(entries);
        }
        Err(StoreError::Unavailable("the write log is dropped faster than it is read").into())
    }

    /// The number of the latest entry, and whenever there are more. A write whose caller stopped waiting is told of
    /// with the next one, so look every few seconds as well.
    #[must_use]
    pub fn log_changes(&self) -> watch::Receiver<u64> {
        self.log.latest.subscribe()
    }

    /// Frees every entry up to the one numbered `up_to`, which every reader has passed.
    ///
    /// # Errors
    /// If the store's. What was freed stays so.
    pub async fn trim_log(&self, up_to: u64) -> Result<(), MetricError> {
        let log = layout::log(self.host);
        let end = up_to.min(*self.log.latest.borrow()).saturating_add(1);
        let mut next = self.log.oldest.load(Ordering::Relaxed);
        while next < end {
            let until = end.min(next + ROWS);
            let mut batch = Batch::new();
            for sequence in next..until {
                batch.delete(log.clone().number(sequence));
            }
            self.store.commit(batch).await?;
            self.log.oldest.fetch_max(until, Ordering::Relaxed);
            next = until;
        }
        Ok(())
    }

    /// Frees the entries of one organisation, in the logs of every host, and gives how many there were. Who reads a log finds
    /// the others as they were.
    pub(crate) async fn erase_logged(&self, organisation: OrganisationId) -> Result<u64, StoreError> {
        let is_own = |entry: &LogRow| entry.organisation == organisation;
        erase_of(&*self.store, Space::MetricLog, is_own).await
    }

    /// How the log is doing.
    #[must_use]
    pub fn log_state(&self) -> LogState {
        LogState {
            oldest: self.log.oldest.load(Ordering::Relaxed),
            latest: *self.log.latest.borrow(),
            dropped: self.log.dropped.load(Ordering::Relaxed),
        }
    }
}
