//! An ordered key space with atomic, durable batches.
//!
//! [`Store`] is the one trait; [`MemoryStore`] (with injected crashes) and [`SledStore`] (the embedded default)
//! stand behind it and pass the same conformance suite. Domain crates build a [`Batch`] and hand it to
//! [`Store::commit`]; they know no backend.

mod backup;
mod batch;
mod blocking;
mod checkpoint;
#[doc(hidden)]
pub mod conformance;
mod effects;
mod ending;
mod erase;
mod group;
mod journal;
mod keys;
mod large;
mod lock;
mod loose;
mod lost;
mod memory;
mod migrate;
mod objects;
mod openings;
mod owned;
mod queue;
mod restore;
mod rows;
mod sled;
mod slice;
mod space;
mod sync;
mod tee;
mod turns;
mod unread;
mod value;
mod view;
mod walk;
mod writer;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bellwether_kernel::ErrorKind;
use bytes::Bytes;

pub use backup::{LeftOut, backup};
pub use batch::{Batch, Derive, Merge, MergeError, Merged, Precondition};
pub use blocking::blocking;
pub use effects::effects_of_run;
#[doc(hidden)]
pub use ending::given_up;
pub use ending::to_the_end;
pub use erase::{Erase, commit_gently, erase, erase_of};
pub use keys::{Fields, Key, Space};
pub use large::{MAX_LARGE, delete_large, get_large, put_large};
pub use loose::Loose;
pub use lost::Lost;
pub use memory::{Crash, MemoryStore};
pub use objects::{Digest, InvalidDigest, Objects};
pub use owned::Owned;
pub use restore::{Inspected, RESTORING, ReadRow, Restored, inspect, restore};
pub use sled::{LEAST_WATERMARK, SledSettings, SledStore};
pub use space::FreeSpace;
pub use turns::{Turn, Turns};
pub use unread::Unread;
pub use value::{Versioned, decode, encode};
pub use walk::Walk;

/// The largest value, in bytes. sled writes a leaf of up to 16 entries as one log message, and a message over a
/// quarter of a segment becomes a blob file that it never syncs; `sled.rs` sets the segment size to fit.
pub const MAX_VALUE: usize = 32 * 1024;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 1024;

/// The largest batch, in bytes: its keys and values and what holds them. It fits a large value
/// ([`MAX_LARGE`]) several times, and a writer's group stays bounded.
pub const MAX_BATCH: usize = 16 * 1024 * 1024;

/// One row.
pub type Row = (Key, Bytes);

/// In which order a scan goes through its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the lowest key up.
    Forward,
    /// From the highest key down.
    Backward,
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// What each merge of the batch left behind, in the batch's order.
    pub merged: Vec<Bytes>,
}

/// How the store is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why writes are refused at present, if they are.
    pub refusing: Option<Refusal>,
    /// Bytes free on the store's file system; absent for a store without one.
    pub free_bytes: Option<u64>,
    /// Bytes the store takes on disk.
    pub disk_bytes: Option<u64>,
    /// How often the store has made its journal durable since it was opened.
    pub syncs: u64,
    /// Batches committed since the process began.
    pub commits: u64,
    /// Files of the journal that an opening found damaged, so that commits were lost, kept as they were found; until
    /// somebody removes them.
    pub damaged: Vec<PathBuf>,
}

/// Why a store takes no writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Free space is below the watermark; reads and deletes go on.
    DiskFull,
    /// The store is being closed, or a sync failed: an unsure log is never written to again.
    Closed,
}

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A precondition did not hold; nothing of the batch happened.
    #[error("a precondition did not hold for {0:?}")]
    Conflict(Key),
    /// A merge was refused; nothing of the batch happened.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A key, value or batch is larger than [`MAX_KEY`], [`MAX_VALUE`] or [`MAX_BATCH`].
    #[error("{what} of {size} bytes, at most {limit} bytes are taken")]
    TooLarge {
        /// "a key", "a value", "an operand", "a batch".
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Free space is below the watermark, or an object does not fit: nothing is written until there is more.
    #[error(
        "the disk is nearly full: {free} bytes are free and {needed} must be; free some space or lower the watermark"
    )]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// Bytes that must be: the watermark, or the size of the object and [`LEAST_WATERMARK`].
        needed: u64,
    },
    /// The writer's queue is full, or the store is closed.
    #[error("the store cannot do this now: {0}")]
    Unavailable(&'static str),
    /// Another process has it open.
    #[error("the store in {path} is in use{by}; stop that process or choose another folder with --data")]
    InUse {
        /// The folder.
        path: String,
        /// " by process 123", where known.
        by: String,
    },
    /// It was written by a newer host.
    #[error(
        "the store is of version {found}, this host reads up to {supported}; use a newer host or restore a backup"
    )]
    Newer {
        /// The store's version.
        found: u32,
        /// The newest version this host reads.
        supported: u32,
    },
    /// A backup cannot be restored: it is not one, damaged or cut short, or the folder is not empty.
    #[error("the backup cannot be restored: {0}")]
    Backup(String),
    /// What is stored does not read; says where.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// What is asked for lies in a file that is missing or damaged; says what, which, and from when to when.
    #[error("{0}")]
    Lost(String),
    /// The file system or the engine failed.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl StoreError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::Merge(_) | Self::Backup(_) => ErrorKind::Invalid,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::DiskFull { .. } | Self::Unavailable(_) | Self::InUse { .. } => ErrorKind::Unavailable,
            Self::Newer { .. } | Self::Damaged(_) | Self::Lost(_) | Self::Failed(_) => ErrorKind::Internal,
        }
    }
}

/// An ordered key space.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The value of `key`.
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError>;

    /// Up to `limit` rows of `range`, in order. Not a snapshot: rows committed meanwhile may or may not be seen;
    /// what must hold is held by preconditions. The next page of a forward scan begins at the last key's
    /// [`Key::successor`], of a backward scan it ends at the last key.
    async fn scan(
        &self,
        range: Range<Key>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// Commits `batch`: all of it or nothing. It is durable when this returns.
    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError>;

    /// How the store is doing; cheap.
    fn health(&self) -> Health;

    /// The rows that do not read, as far as somebody came by them.
    fn unread(&self) -> &Unread;

    /// Whether no other host can have the store open while this one does. By default one can.
    fn is_exclusive(&self) -> bool {
        false
    }
}

/// A store that is shared.
pub type SharedStore = Arc<dyn Store>;
