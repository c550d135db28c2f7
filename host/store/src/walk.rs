//! The rows of a range, one after another.

use std::ops::Range;

use bytes::Bytes;

use crate::{Direction, Key, Row, Store, StoreError, Versioned, decode};

/// Rows read at once: as many as a store reads between two chances for other tasks to run. With the largest values
/// 8 MiB.
const PAGE: usize = 256;

/// Goes through the rows of a range. They are read a page at a time and are no snapshot: rows committed behind the page
/// that was read last may or may not be met.
#[must_use]
pub struct Walk<'a> {
    store: &'a dyn Store,
    direction: Direction,
    /// Rows read at once.
    at_once: usize,
    page: std::vec::IntoIter<Row>,
    rest: Range<Key>,
}

impl<'a> Walk<'a> {
    /// From the lowest key of `range` up.
    pub fn forward(store: &'a dyn Store, range: Range<Key>) -> Self {
        let page = Vec::new().into_iter();
        Self { store, direction: Direction::Forward, at_once: PAGE, page, rest: range }
    }

    /// From the highest key of `range` down.
    pub fn backward(store: &'a dyn Store, range: Range<Key>) -> Self {
        Self { direction: Direction::Backward, ..Self::forward(store, range) }
    }

    /// Reads so many rows at once, for who hardly wants more. By default 256, and never more.
    pub fn at_once(mut self, rows: usize) -> Self {
        self.at_once = rows.clamp(1, PAGE);
        self
    }

    /// The next row; `None` behind the last.
    ///
    /// # Errors
    /// The store's.
    pub async fn next(&mut self) -> Result<Option<Row>, StoreError> {
        if let Some(row) = self.page.next() {
            return Ok(Some(row));
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let page = self.store.scan(self.rest.clone(), self.direction, self.at_once).await?;
        match (page.last(), self.direction) {
            (Some((last, _)), Direction::Forward) if page.len() == self.at_once => {
                self.rest.start = last.successor();
            }
            (Some((last, _)), Direction::Backward) if page.len() == self.at_once => {
                self.rest.end = last.clone();
            }
            _ => self.rest.start = self.rest.end.clone(),
        }
        if page.len() == PAGE {
            // A long walk holds nobody up.
            tokio::task::yield_now().await;
        }
        self.page = page.into_iter();
        Ok(self.page.next())
    }

    /// The next row that `read` makes something of, with that. One that is damaged is told and passed over
    /// ([`crate::Unread`]).
    ///
    /// # Errors
    /// The store's, and what else `read` fails with.
    pub async fn next_read<T>(
        &mut self,
        read: impl Fn(&Key, &[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<(Key, Bytes, T)>, StoreError> {
        while let Some((key, value)) = self.next().await? {
            let made = read(&key, &value);
            if let Some(made) = self.store.unread().unless_damaged(&key, made)? {
                return Ok(Some((key, value, made)));
            }
        }
        Ok(None)
    }

    /// The next row whose value reads, with that; as [`Self::next_read`].
    ///
    /// # Errors
    /// The store's.
    pub async fn next_of<T: Versioned>(&mut self) -> Result<Option<(Key, Bytes, T)>, StoreError> {
        self.next_read(|_, value| decode(value)).await
    }

    /// How many rows there are yet, those that do not read among them.
    ///
    /// # Errors
    /// The store's.
    pub async fn count(mut self) -> Result<usize, StoreError> {
        let mut count = 0;
        while self.next().await?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// Passes over the rows before `key`, of a walk forward.
    pub fn skip_to(&mut self, key: Key) {
        debug_assert_eq!(self.direction, Direction::Forward, "only a walk forward skips");
        let passed = self.page.as_slice().partition_point(|(next, _)| *next < key);
        self.page.by_ref().take(passed).for_each(drop);
        if self.rest.start < key {
            self.rest.start = key;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Batch, MemoryStore, Space};

    fn key(number: u64) -> Key {
        Key::new(Space::Counter).text("walk").number(number)
    }

    async fn store_of(rows: u64) -> Arc<MemoryStore> {
        let store = Arc::new(MemoryStore::new());
        let mut batch = Batch::new();
        for number in 0..rows {
            batch.put(key(number), number.to_string());
        }
        // A neighbour of the range.
        batch.put(Key::new(Space::Counter).text("walks"), "other");
        store.commit(batch).await.unwrap();
        store
    }

    fn all() -> Range<Key> {
        Key::new(Space::Counter).text("walk").prefix()
    }

    async fn met(mut walk: Walk<'_>) -> Vec<Key> {
        let mut met = Vec::new();
        while let Some((key, _)) = walk.next().await.unwrap() {
            met.push(key);
        }
        assert_eq!(walk.next().await.unwrap(), None, "a walk that is over stays so");
        met
    }

    #[tokio::test]
    async fn every_row_is_met_once_however_many_pages_they_make() {
        for rows in [0, 1, 255, 256, 257, 512, 513] {
            let store = store_of(rows).await;
            let mut expected: Vec<Key> = (0..rows).map(key).collect();
            assert_eq!(met(Walk::forward(&*store, all())).await, expected, "forward, {rows}");
            let by_few = Walk::forward(&*store, all()).at_once(3);
            assert_eq!(met(by_few).await, expected, "forward and three at once, {rows}");
            expected.reverse();
            assert_eq!(met(Walk::backward(&*store, all())).await, expected, "backward, {rows}");
        }
    }

    #[tokio::test]
    async fn what_is_skipped_is_not_met_and_all_behind_it_is() {
        let store = store_of(600).await;
        for target in [0, 1, 2, 100, 255, 256, 300, 599, 600, 700] {
            let mut walk = Walk::forward(&*store, all());
            assert_eq!(walk.next().await.unwrap().unwrap().0, key(0));
            walk.skip_to(key(target));
            let expected: Vec<Key> = (target.max(1)..600).map(key).collect();
            assert_eq!(met(walk).await, expected, "to {target}");
        }
        let mut walk = Walk::forward(&*store, all());
        walk.skip_to(all().end);
        assert_eq!(met(walk).await, Vec::<Key>::new(), "to the end");
    }
}
