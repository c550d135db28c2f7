//! What readers see: sled's rows, and over them what the journal has made durable and sled has not got yet.
//!
//! The *recent* rows are those of the journal's current file; the *settling* ones those of its former file, on their
//! way into sled. Rows that are put and removed before they settle, as most of a run's are, never reach sled.

use std::ops::{Bound, Range};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::group::Rows;
use crate::journal::Table;
use crate::sled::failed;
use crate::{Direction, Key, Row, StoreError};

/// Removed rows that scans pass over at most before they settle.
pub(crate) const MAX_REMOVED: usize = 1024;

/// A store's rows.
#[derive(Clone, Debug)]
pub(crate) struct View {
    db: sled::Db,
    tables: Arc<RwLock<Tables>>,
}

#[derive(Debug, Default)]
struct Tables {
    recent: Table,
    /// How many of the recent rows are removed ones.
    removed: usize,
    settling: Arc<Table>,
}

impl View {
    pub(crate) fn new(db: sled::Db) -> Self {
        Self { db, tables: Arc::default() }
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        {
            let tables = self.tables.read();
            if let Some(row) = tables.recent.get(key).or_else(|| tables.settling.get(key)) {
                return Ok(row.clone());
            }
        }
        read(&self.db, key)
    }

    /// Makes `rows`, which are durable, visible. Only the writer does.
    pub(crate) fn apply(&self, rows: Rows) -> Result<(), StoreError> {
        let settling = self.tables.read().settling.clone();
        // A removed row needs to be remembered only over one that is there: a queue whose entries come and go
        // leaves nothing behind. Nobody else adds to what is below the recent rows, except what is settling.
        let mut there = Vec::with_capacity(rows.len());
        for (key, row) in rows {
            let remembered = row.is_some()
                || match settling.get(&key) {
                    Some(below) => below.is_some(),
                    None => self.db.contains_key(key.as_bytes()).map_err(failed)?,
                };
            there.push((key, row, remembered));
        }
        let mut tables = self.tables.write();
        for (key, row, remembered) in there {
            tables.removed += usize::from(remembered && row.is_none());
            let before = if remembered { tables.recent.insert(key, row) } else { tables.recent.remove(&key) };
            tables.removed -= usize::from(before == Some(None));
        }
        Ok(())
    }

    /// Whether there are so many removed rows that they shall settle.
    pub(crate) fn has_many_removed(&self) -> bool {
        self.tables.read().removed > MAX_REMOVED
    }

    /// Begins to settle the recent rows; what settled before is in sled.
    pub(crate) fn settle(&self) -> Arc<Table> {
        let mut tables = self.tables.write();
        tables.settling = Arc::new(std::mem::take(&mut tables.recent));
        tables.removed = 0;
        tables.settling.clone()
    }

    /// The settling rows are in sled now.
    pub(crate) fn settled(&self) {
        self.tables.write().settling = Arc::default();
    }

    /// Adds the rows at the beginning of `range` to `rows`, looking at up to `limit` of them, and says what of the
    /// range is left; `None` at its end.
    pub(crate) fn scan_stretch(
        &self,
        range: &Range<Key>,
        direction: Direction,
        limit: usize,
        rows: &mut Vec<Row>,
    ) -> Result<Option<Range<Key>>, StoreError> {
        // First what is over sled, then sled: a row that settles in between is seen twice, never not at all.
        let (mut merged, mut left) = self.over(range, direction, limit);
        let mut below = Vec::new();
        scan_sled(&self.db, &left.seen(range, direction), direction, limit, &mut below)?;
        if below.len() == limit {
            left.stop_at(below.last().map(|(key, _)| key), direction);
        }
        if merged.is_empty() {
            rows.append(&mut below);
            return Ok(left.rest(range, direction));
        }
        for (key, value) in below {
            merged.entry(key).or_insert(Some(value));
        }
        let seen = left.seen(range, direction);
        let found = merged.into_iter().filter(|(key, _)| seen.contains(key));
        let live = found.filter_map(|(key, row)| row.map(|value| (key, value)));
        match direction {
            Direction::Forward => rows.extend(live),
            Direction::Backward => {
                let begun = rows.len();
                rows.extend(live);
                rows[begun..].reverse();
            }
        }
        Ok(left.rest(range, direction))
    }

    /// The first rows of `range` over sled, at most `limit` of each table, and how far both were seen.
    fn over(&self, range: &Range<Key>, direction: Direction, limit: usize) -> (Table, Seen) {
        let tables = self.tables.read();
        let (mut merged, mut seen) = (Table::new(), Seen(None));
        for table in [&tables.recent, &*tables.settling] {
            if table.is_empty() {
                continue;
            }
            let found = table.range::<Key, _>((Bound::Included(&range.start), Bound::Excluded(&range.end)));
            let mut taken = 0;
            let mut last = None;
            let mut take = |(key, row): (&Key, &Option<Bytes>)| {
                merged.entry(key.clone()).or_insert_with(|| row.clone());
                taken += 1;
                last = Some(key.clone());
            };
            match direction {
                Direction::Forward => found.take(limit).for_each(&mut take),
                Direction::Backward => found.rev().take(limit).for_each(&mut take),
            }
            if taken == limit {
                seen.stop_at(last.as_ref(), direction);
            }
        }
        (merged, seen)
    }
}

/// The last key up to which every source of a scan was looked at; `None` is the end of the range.
struct Seen(Option<Key>);

impl Seen {
    /// One source was looked at up to `key` only.
    fn stop_at(&mut self, key: Option<&Key>, direction: Direction) {
        let Some(key) = key else { return };
        let nearer = self.0.as_ref().is_none_or(|last| match direction {
            Direction::Forward => key < last,
            Direction::Backward => key > last,
        });
        if nearer {
            self.0 = Some(key.clone());
        }
    }

    /// The part of `range` that was seen.
    fn seen(&self, range: &Range<Key>, direction: Direction) -> Range<Key> {
        match (&self.0, direction) {
            (None, _) => range.clone(),
            (Some(last), Direction::Forward) => range.start.clone()..last.successor(),
            (Some(last), Direction::Backward) => last.clone()..range.end.clone(),
        }
    }

    /// The part of `range` that was not.
    fn rest(self, range: &Range<Key>, direction: Direction) -> Option<Range<Key>> {
        let last = self.0?;
        Some(match direction {
            Direction::Forward => last.successor()..range.end.clone(),
            Direction::Backward => range.start.clone()..last,
        })
    }
}

/// A row as sled holds it.
pub(crate) fn read(tree: &sled::Tree, key: &Key) -> Result<Option<Bytes>, StoreError> {
    let value = tree.get(key.as_bytes()).map_err(failed)?;
    Ok(value.map(|value| Bytes::copy_from_slice(&value)))
}

/// Adds up to `limit` rows of `range` in sled to `rows`.
fn scan_sled(
    tree: &sled::Tree,
    range: &Range<Key>,
    direction: Direction,
    limit: usize,
    rows: &mut Vec<Row>,
) -> Result<(), StoreError> {
    let mut found = tree.range(range.start.as_bytes()..range.end.as_bytes());
    while rows.len() < limit {
        let row = match direction {
            Direction::Forward => found.next(),
            Direction::Backward => found.next_back(),
        };
        let Some(row) = row else { break };
        let (key, value) = row.map_err(failed)?;
        rows.push((Key::from_bytes(key.to_vec()), Bytes::copy_from_slice(&value)));
    }
    Ok(())
}

#[cfg(test)]
#[path = "view/tests.rs"]
mod tests;
