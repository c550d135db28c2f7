//! A batch: what is committed together or not at all.

use bytes::Bytes;

use crate::Key;

/// Combines what a key holds with an operand into what it shall hold. Pure and total order-respecting: the
/// writer calls it on the value as the batches before this one leave it, so that any number of concurrent
/// batches can add to one key and none loses its addition.
pub type Merge = fn(existing: Option<&[u8]>, operand: &[u8]) -> Result<Vec<u8>, MergeError>;

/// A merge that cannot be done; the whole batch is refused and nothing of it happens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MergeError(pub String);

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
}

/// Changes and the preconditions they hang on. Domain crates build batches; a caller may join several with
/// [`Batch::append`] and commit them as one.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) preconditions: Vec<(Key, Precondition)>,
    pub(crate) changes: Vec<(Key, Change)>,
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

    /// Adds everything of `other` behind what is here.
    pub fn append(&mut self, other: Self) -> &mut Self {
        self.preconditions.extend(other.preconditions);
        self.changes.extend(other.changes);
        self
    }

    /// Whether committing it would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}
