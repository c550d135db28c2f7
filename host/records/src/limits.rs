//! How much there may be, and why so much.

use std::time::Duration;

/// How much one append and one search may take, and how long records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one record, all its texts together: what log shippers take for a line at most.
    pub record_bytes: usize,
    /// Records of one append.
    pub batch_records: usize,
    /// Bytes of one append, the texts of its records together; well below the store's largest batch.
    pub batch_bytes: usize,
    /// Records one search looks at before it answers with what it has: a second or two of one core. A long one counts as one
    /// for each KiB, and all of them as several in a search of many conditions.
    pub search_records: u64,
    /// Days events are kept; 0 means for ever. An organisation may keep its own for fewer.
    pub keep_events_days: u32,
    /// The same of logs.
    pub keep_logs_days: u32,
    /// Chunks of one organisation and kind in the store before they are packed: each takes some rows.
    pub chunks: usize,
    /// Bytes of their records before they are packed: a packing holds them in memory.
    pub chunk_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes: 1024 * 1024,
            batch_records: 10_000,
            batch_bytes: 8 * 1024 * 1024,
            search_records: 2_000_000,
            keep_events_days: 0,
            keep_logs_days: 0,
            chunks: 1024,
            chunk_bytes: 16 * 1024 * 1024,
        }
    }
}

/// Bytes of a status, priority, service, source, host or aggregation key.
pub(crate) const WORD: usize = 200;

/// Bytes of a title.
pub(crate) const TITLE: usize = 1000;

/// Tags of one record.
pub(crate) const TAGS: usize = 200;

/// Bytes of one tag.
pub(crate) const TAG: usize = 400;

/// How far ahead of the host's clock a record may be, in milliseconds: a newer one would stand before all others until
/// its time comes.
pub(crate) const AHEAD: i64 = DAY;

/// The most days something can be kept: a century.
pub(crate) const KEEP_DAYS: u32 = 36_500;

pub(crate) const DAY: i64 = 24 * 60 * 60 * 1000;

/// Records of a page.
pub(crate) const PAGE: usize = 1000;

/// Bytes of the records of a page, if it has more than one: less than a plugin's call may hold.
pub(crate) const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Where one moment has so many records that a page cannot end within its budget, so many times that are looked at.
pub(crate) const PATIENCE: u64 = 4;

/// Bytes of records in one chunk; a record that is larger has one for itself. Far below the store's largest value.
pub(crate) const CHUNK: usize = 1024 * 1024;

/// Bytes of records in one block of a segment: what a search unpacks for the first of them.
pub(crate) const BLOCK: usize = 128 * 1024;

/// Bytes of records in one segment: it is built in memory.
pub(crate) const SEGMENT: u64 = 128 * 1024 * 1024;

/// Appends wait for a packing where there are so many times the chunks, or their bytes, that call for one.
pub(crate) const BACKLOG: usize = 4;

/// Chunks are packed when one has waited so long, in milliseconds: so a start reads few rows.
pub(crate) const CHUNK_AGE: i64 = 10 * 60 * 1000;

/// Segments of about one size that are merged into one.
pub(crate) const MERGE: usize = 4;

/// Segments one packing makes at most, one for each day; records of more days are cut by size alone.
pub(crate) const DAYS: usize = 64;

/// A segment of several days is written anew when so large a part of it is no longer kept: one in so many bytes.
pub(crate) const GARBAGE: u64 = 4;

/// Searches at work at once; others wait their turn. Each holds a thread.
pub(crate) const SEARCHES: usize = 4;

/// For how long: about as long as who asks for a page does.
pub(crate) const SEARCH_PATIENCE: Duration = Duration::from_secs(30);

/// What is told who waited for longer.
pub(crate) const TOO_MANY_SEARCHES: &str =
    "too many searches are at work; try again, or ask for less at once";

/// Bytes of a record that count as another one where it is counted what a search looks at: what most are shorter than.
pub(crate) const RECORD: u64 = 1024;

/// Conditions of a search that weigh as much as to read a record does.
pub(crate) const CONDITIONS: u64 = 16;

/// How long a reader waits until it looks again: a packing that is committed is known within that.
pub(crate) const MOVED: Duration = Duration::from_millis(5);

/// How often a reader looks again because what it read was packed or merged meanwhile.
pub(crate) const ATTEMPTS: usize = 16;
