//! A batch: what is committed together or not at all.

use bytes::Bytes;

use crate::{Key, Row};

/// Combines what a key holds with an operand into what it shall hold, and does nothing else: the same two give the
/// same result. The writer calls it on the value as the batches before this one leave it, so that any number of
/// concurrent batches can add to one key and none loses its addition.
pub type Merge = fn(existing: Option<&[u8]>, operand: &[u8]) -> Result<Vec<u8>, MergeError>;

/// A merge that cannot be done; the whole batch is refused and nothing of it happens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MergeError(pub String);

/// What one merge of a batch did to its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// What the row held before it, if anything.
    pub before: Option<Bytes>,
    /// What it holds after it.
    pub after: Bytes,
}

/// Works out a row from what the merges of the batch before it did, in order. It is given the beginning of the row's
/// key and may add fields to it. Pure, and called by the writer like a [`Merge`]: so a row can hold what only the
/// writer knows (a sum with everybody's additions, the next number of a counter) and be part of the same commit.
pub type Derive = fn(key: Key, merged: &[Merged], operand: &[u8]) -> Result<Row, MergeError>;

/// What must hold for a batch to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The key has no value.
    Absent,
    /// The key has exactly this value.
    ValueIs(Bytes),
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put(Bytes),
    Delete,
    Merge { operand: Bytes, merge: Merge },
    Derive { operand: Bytes, derive: Derive },
}

impl Change {
    /// Bytes of its value or operand.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Put(value) => value.len(),
            Self::Merge { operand, .. } | Self::Derive { operand, .. } => operand.len(),
            Self::Delete => 0,
        }
    }
}

/// What a batch takes besides its changes, and a change besides its key and value; roughly, in bytes.
const BATCH_OVERHEAD: usize = 256;
const CHANGE_OVERHEAD: usize = 128;

/// Changes and the preconditions they hang on. Domain crates build batches; a caller may join several with
/// [`Batch::append`] and commit them as one.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) preconditions: Vec<(Key, Precondition)>,
    pub(crate) changes: Vec<(Key, Change)>,
    pub(crate) frees: bool,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Commits only if `key` holds what `precondition` says, as the batches before this one leave it.
    pub fn require(&mut self, key: Key, precondition: Precondition) -> &mut Self {
        self.preconditions.push((key, precondition));
        self
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) -> &mut Self {
        self.changes.push((key, Change::Put(value.into())));
        self
    }

    /// Removes `key`; nothing happens if it is not there.
    pub fn delete(&mut self, key: Key) -> &mut Self {
        self.changes.push((key, Change::Delete));
        self
    }

    /// Combines `operand` into what `key` holds. The result is in [`crate::Committed::merged`], one for each
    /// merge of the batch, in order.
    pub fn merge(&mut self, key: Key, operand: impl Into<Bytes>, merge: Merge) -> &mut Self {
        self.changes.push((key, Change::Merge { operand: operand.into(), merge }));
        self
    }

    /// Sets the row that `derive` makes of `key`, of the merges of this batch before here, and of `operand`.
    pub fn derive(&mut self, key: Key, operand: impl Into<Bytes>, derive: Derive) -> &mut Self {
        self.changes.push((key, Change::Derive { operand: operand.into(), derive }));
        self
    }

    /// Says that space is freed by this: it is taken below the watermark too, where else only deletes are. What it puts
    /// must be little, and less than what goes.
    pub fn frees(&mut self) -> &mut Self {
        self.frees = true;
        self
    }

    /// Adds everything of `other` behind what is here; together they free space only if both do.
    pub fn append(&mut self, other: Self) -> &mut Self {
        self.preconditions.extend(other.preconditions);
        self.frees &= other.frees;
        self.changes.extend(other.changes);
        self
    }

    /// How many merges there are: the place of the next one's result in [`crate::Committed::merged`].
    #[must_use]
    pub fn merges(&self) -> usize {
        self.changes.iter().filter(|(_, change)| matches!(change, Change::Merge { .. })).count()
    }

    /// What it counts against [`crate::MAX_BATCH`], in bytes: its keys, values and operands, and what holds them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let preconditions = self.preconditions.iter().map(|(key, precondition)| {
            let value = if let Precondition::ValueIs(value) = precondition { value.len() } else { 0 };
            key.as_bytes().len() + value + CHANGE_OVERHEAD
        });
        let changes =
            self.changes.iter().map(|(key, change)| key.as_bytes().len() + change.bytes() + CHANGE_OVERHEAD);
        BATCH_OVERHEAD + preconditions.sum::<usize>() + changes.sum::<usize>()
    }

    /// Whether committing it would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}
