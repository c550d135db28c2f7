//! What a group of batches leaves behind: preconditions and merges are worked out over the store plus the batches
//! before, and a batch that is refused leaves no trace. Every backend commits through this.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use crate::batch::Change;
use crate::{Batch, Committed, Key, MAX_BATCH, MAX_KEY, MAX_VALUE, MergeError, Precondition, StoreError};

/// Final rows of a group, one for each key it touches; `None` is a removed row.
pub(crate) type Rows = HashMap<Key, Option<Bytes>>;

/// Batches that will be applied together.
#[derive(Debug, Default)]
pub(crate) struct Group {
    rows: Rows,
    /// What the rows of the batch being added were before it, so that it can be taken back.
    undo: Vec<(Key, Option<Option<Bytes>>)>,
    /// Where in the batch being added the last change that may fail is.
    fallible: usize,
    /// Bytes of all keys and values taken in, the overwritten ones too.
    bytes: usize,
}

impl Group {
    /// Adds `batch` behind what is here. `read` gives a row as it stands below the group.
    ///
    /// # Errors
    /// A precondition, a merge or `read` failed; the group is as it was before.
    pub(crate) fn add(
        &mut self,
        batch: Batch,
        read: impl Fn(&Key) -> Result<Option<Bytes>, StoreError>,
    ) -> Result<Committed, StoreError> {
        for (key, precondition) in &batch.preconditions {
            let held = match self.rows.get(key) {
                Some(row) => row.clone(),
                None => read(key)?,
            };
            let holds = match precondition {
                Precondition::Absent => held.is_none(),
                Precondition::ValueIs(value) => held.as_ref() == Some(value),
            };
            if !holds {
                return Err(StoreError::Conflict(key.clone()));
            }
        }
        self.undo.clear();
        // Only a merge can fail, so what comes behind the last one need not be taken back.
        self.fallible =
            batch.changes.iter().rposition(|(_, change)| matches!(change, Change::Merge { .. })).unwrap_or(0);
        let mut committed = Committed::default();
        let result =
            batch.changes.into_iter().enumerate().try_for_each(|(at, (key, change))| {
                self.change(at, key, change, &read, &mut committed.merged)
            });
        if let Err(error) = result {
            while let Some((key, before)) = self.undo.pop() {
                match before {
                    Some(row) => self.rows.insert(key, row),
                    None => self.rows.remove(&key),
                };
            }
            return Err(error);
        }
        Ok(committed)
    }

    fn change(
        &mut self,
        at: usize,
        key: Key,
        change: Change,
        read: impl Fn(&Key) -> Result<Option<Bytes>, StoreError>,
        merged: &mut Vec<Bytes>,
    ) -> Result<(), StoreError> {
        let row = match change {
            Change::Put(value) => Some(value),
            Change::Delete => None,
            Change::Merge { operand, merge } => {
                let stored;
                let existing = match self.rows.get(&key) {
                    Some(row) => row.as_deref(),
                    None => {
                        stored = read(&key)?;
                        stored.as_deref()
                    }
                };
                // A merge is a domain crate's code running in the store's only writer: its panic is its batch's
                // failure, not everybody's.
                let value = catch_unwind(AssertUnwindSafe(|| merge(existing, &operand)))
                    .map_err(|_| MergeError(format!("the merge of {key:?} panicked")))??;
                if value.len() > MAX_VALUE {
                    return Err(StoreError::TooLarge {
                        what: "a value",
                        size: value.len(),
                        limit: MAX_VALUE,
                    });
                }
                let value = Bytes::from(value);
                merged.push(value.clone());
                Some(value)
            }
        };
        self.bytes += key.as_bytes().len() + row.as_ref().map_or(0, Bytes::len);
        if at >= self.fallible {
            self.rows.insert(key, row);
            return Ok(());
        }
        match self.rows.entry(key) {
            Entry::Occupied(mut entry) => {
                self.undo.push((entry.key().clone(), Some(entry.insert(row))));
            }
            Entry::Vacant(entry) => {
                self.undo.push((entry.key().clone(), None));
                entry.insert(row);
            }
        }
        Ok(())
    }

    /// Bytes of all keys and values it took in.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The final rows.
    pub(crate) fn into_rows(self) -> Rows {
        self.rows
    }
}

/// Refuses keys and values beyond the limits, before the batch takes a place in any queue.
/// Says how much of a queue the batch takes, in bytes: its keys, values and operands, and what holds them.
pub(crate) fn check_sizes(batch: &Batch) -> Result<usize, StoreError> {
    let within = |what, size, limit| {
        if size > limit { Err(StoreError::TooLarge { what, size, limit }) } else { Ok(()) }
    };
    let mut total = BATCH_OVERHEAD;
    for (key, precondition) in &batch.preconditions {
        within("a key", key.as_bytes().len(), MAX_KEY)?;
        let value = if let Precondition::ValueIs(value) = precondition { value.len() } else { 0 };
        total += key.as_bytes().len() + value + CHANGE_OVERHEAD;
    }
    for (key, change) in &batch.changes {
        within("a key", key.as_bytes().len(), MAX_KEY)?;
        let value = match change {
            Change::Put(value) => value.len(),
            Change::Merge { operand, .. } => operand.len(),
            Change::Delete => 0,
        };
        within(if matches!(change, Change::Put(_)) { "a value" } else { "an operand" }, value, MAX_VALUE)?;
        total += key.as_bytes().len() + value + CHANGE_OVERHEAD;
    }
    within("a batch", total, MAX_BATCH)?;
    Ok(total)
}

/// What a batch takes besides its changes, and a change besides its key and value; roughly, in bytes.
const BATCH_OVERHEAD: usize = 256;
const CHANGE_OVERHEAD: usize = 128;

/// Whether every change of `batch` is a removal: let through while the disk is full.
pub(crate) fn only_deletes(batch: &Batch) -> bool {
    batch.changes.iter().all(|(_, change)| matches!(change, Change::Delete))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Space;

    fn key(number: u64) -> Key {
        Key::new(Space::Meta).number(number)
    }

    fn nothing(_: &Key) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }

    #[test]
    fn a_refused_batch_leaves_no_trace_in_its_group() {
        let mut group = Group::default();
        let mut first = Batch::new();
        first.put(key(1), "one");
        group.add(first, nothing).unwrap();

        let mut refused = Batch::new();
        refused.put(key(1), "two").put(key(1), "three").delete(key(2)).put(key(3), "x");
        refused.merge(key(3), "", |_, _| Err(MergeError("no".into())));
        assert!(matches!(group.add(refused, nothing), Err(StoreError::Merge(_))));

        let mut panicking = Batch::new();
        panicking.delete(key(1)).merge(key(4), "", |_, _| panic!("a fault of the merge"));
        assert!(matches!(group.add(panicking, nothing), Err(StoreError::Merge(_))));

        assert_eq!(group.into_rows(), Rows::from([(key(1), Some(Bytes::from("one")))]));
    }
}
