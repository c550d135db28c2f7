//! What a group of batches leaves behind: preconditions and merges are worked out over the store plus the batches
//! before, and a batch that is refused leaves no trace. Every backend commits through this.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use crate::batch::Change;
use crate::{Batch, Committed, Key, MAX_KEY, MAX_VALUE, MergeError, Precondition, StoreError};

/// Final rows of a group, one for each key it touches; `None` is a removed row.
pub(crate) type Rows = HashMap<Key, Option<Bytes>>;

/// Batches that will be applied together.
#[derive(Debug, Default)]
pub(crate) struct Group {
    rows: Rows,
    /// What the rows of the batch being added were before it, so that it can be taken back.
    undo: Vec<(Key, Option<Option<Bytes>>)>,
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
        let mut committed = Committed::default();
        let result = batch
            .changes
            .into_iter()
            .try_for_each(|(key, change)| self.change(key, change, &read, &mut committed.merged));
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
                    return Err(StoreError::TooLarge { what: "a value", size: value.len(), limit: MAX_VALUE });
                }
                let value = Bytes::from(value);
                merged.push(value.clone());
                Some(value)
            }
        };
        self.bytes += key.as_bytes().len() + row.as_ref().map_or(0, Bytes::len);
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

    /// The final rows.
    pub(crate) fn into_rows(self) -> Rows {
        self.rows
    }
}

/// Refuses keys and values beyond the limits, before the batch takes a place in any queue.
pub(crate) fn check_sizes(batch: &Batch) -> Result<(), StoreError> {
    let keys = batch.preconditions.iter().map(|(key, _)| key).chain(batch.changes.iter().map(|(key, _)| key));
    for key in keys {
        let size = key.as_bytes().len();
        if size > MAX_KEY {
            return Err(StoreError::TooLarge { what: "a key", size, limit: MAX_KEY });
        }
    }
    for (_, change) in &batch.changes {
        if let Change::Put(value) = change
            && value.len() > MAX_VALUE
        {
            return Err(StoreError::TooLarge { what: "a value", size: value.len(), limit: MAX_VALUE });
        }
    }
    Ok(())
}

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
