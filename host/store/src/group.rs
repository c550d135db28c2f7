//! What a group of batches leaves behind: preconditions and merges are worked out over the store plus the batches
//! before, and a batch that is refused leaves no trace. Every backend commits through this.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use crate::batch::{Change, Merged};
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
        // Only a merge or a derived row can fail, so what comes behind the last one need not be taken back.
        let can_fail = |change: &Change| matches!(change, Change::Merge { .. } | Change::Derive { .. });
        self.fallible = batch.changes.iter().rposition(|(_, change)| can_fail(change)).unwrap_or(0);
        let mut merged = Vec::new();
        let result = batch
            .changes
            .into_iter()
            .enumerate()
            .try_for_each(|(at, (key, change))| self.change(at, key, change, &read, &mut merged));
        if let Err(error) = result {
            while let Some((key, before)) = self.undo.pop() {
                match before {
                    Some(row) => self.rows.insert(key, row),
                    None => self.rows.remove(&key),
                };
            }
            return Err(error);
        }
        Ok(Committed { merged: merged.into_iter().map(|merged| merged.after).collect() })
    }

    fn change(
        &mut self,
        at: usize,
        mut key: Key,
        change: Change,
        read: impl Fn(&Key) -> Result<Option<Bytes>, StoreError>,
        merged: &mut Vec<Merged>,
    ) -> Result<(), StoreError> {
        let row = match change {
            Change::Put(value) => Some(value),
            Change::Delete => None,
            Change::Merge { operand, merge } => {
                let before = match self.rows.get(&key) {
                    Some(row) => row.clone(),
                    None => read(&key)?,
                };
                // A merge is a domain crate's code running in the store's only writer: its panic is its batch's
                // failure, not everybody's.
                let value = catch_unwind(AssertUnwindSafe(|| merge(before.as_deref(), &operand)))
                    .map_err(|_| MergeError(format!("the merge of {key:?} panicked")))??;
                within("a value", value.len(), MAX_VALUE)?;
                let value = Bytes::from(value);
                merged.push(Merged { before, after: value.clone() });
                Some(value)
            }
            Change::Derive { operand, derive } => {
                let begun = key.clone();
                let row = catch_unwind(AssertUnwindSafe(|| derive(begun, merged, &operand)))
                    .map_err(|_| MergeError(format!("what derives {key:?} panicked")))??;
                within("a key", row.0.as_bytes().len(), MAX_KEY)?;
                within("a value", row.1.len(), MAX_VALUE)?;
                key = row.0;
                Some(row.1)
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
///
/// Says how much of a queue the batch takes, in bytes: its keys, values and operands, and what holds them.
pub(crate) fn check_sizes(batch: &Batch) -> Result<usize, StoreError> {
    for (key, _) in &batch.preconditions {
        within("a key", key.as_bytes().len(), MAX_KEY)?;
    }
    for (key, change) in &batch.changes {
        within("a key", key.as_bytes().len(), MAX_KEY)?;
        let what = if matches!(change, Change::Put(_)) { "a value" } else { "an operand" };
        within(what, change.bytes(), MAX_VALUE)?;
    }
    let total = batch.bytes();
    within("a batch", total, MAX_BATCH)?;
    Ok(total)
}

fn within(what: &'static str, size: usize, limit: usize) -> Result<(), StoreError> {
    if size > limit { Err(StoreError::TooLarge { what, size, limit }) } else { Ok(()) }
}

/// Whether `batch` is let through while the disk is full: every change of it is a removal, or it says so.
pub(crate) fn frees_space(batch: &Batch) -> bool {
    batch.frees || batch.changes.iter().all(|(_, change)| matches!(change, Change::Delete))
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

        let mut deriving = Batch::new();
        deriving.put(key(1), "four").derive(key(5), "", |_, _, _| Err(MergeError("no".into())));
        assert!(matches!(group.add(deriving, nothing), Err(StoreError::Merge(_))));

        let mut too_large = Batch::new();
        too_large
            .put(key(1), "five")
            .derive(key(5), "", |key, _, _| Ok((key, vec![0; MAX_VALUE + 1].into())));
        assert!(matches!(group.add(too_large, nothing), Err(StoreError::TooLarge { .. })));

        assert_eq!(group.into_rows(), Rows::from([(key(1), Some(Bytes::from("one")))]));
    }
}
