//! Rows that do not read: passed over by whoever goes through many, so that one of them holds up nobody else's; told once in
//! the log, and counted for whoever asks how the host is.
//!
//! They stay as they are: what is damaged may be mended, what is deleted may not. So who writes where such a row may lie
//! requires that none does, or means to replace it.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::{Key, StoreError, Versioned, decode};

/// As many rows are told one by one and counted: a store of which more does not read is to be restored, not mended.
const MAX_TOLD: usize = 1000;

/// The rows of a store that do not read, as far as somebody came by them since it was opened.
#[derive(Debug, Default)]
pub struct Unread {
    known: Mutex<BTreeSet<Key>>,
}

impl Unread {
    /// The value of a row; nothing where it does not read, which is told.
    pub fn decode<T: Versioned>(&self, key: &Key, value: &[u8]) -> Option<T> {
        // Nothing but damage keeps a value from being read.
        self.unless_damaged(key, decode(value)).ok().flatten()
    }

    /// What was read of a row; nothing where it is damaged, which is told.
    ///
    /// # Errors
    /// Every other.
    pub fn unless_damaged<T>(&self, key: &Key, read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(StoreError::Damaged(why)) => {
                self.tell(key, &why);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Tells in the log, the first time, that a row does not read, and says why.
    pub fn tell(&self, key: &Key, why: &str) {
        let mut known = self.known.lock();
        if known.len() >= MAX_TOLD || !known.insert(key.clone()) {
            return;
        }
        let is_last = known.len() == MAX_TOLD;
        drop(known);
        let (space, organisation) = (key.space(), key.organisation());
        tracing::warn!(?space, organisation, ?key, why, "a row does not read and is passed over");
        if is_last {
            tracing::warn!(rows = MAX_TOLD, "no more rows that do not read are told; restore a backup");
        }
    }

    /// How many are known; it stays at 1000 where more are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.known.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, MemoryStore, Space, Store, Walk, encode};

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Number(u64);

    impl Versioned for Number {
        const NAME: &'static str = "number";
    }

    fn key(number: u64) -> Key {
        Key::new(Space::Monitor).number(7).number(number)
    }

    #[tokio::test]
    async fn a_walk_passes_over_what_does_not_read_and_counts_it_once() {
        let store = MemoryStore::new();
        let mut batch = Batch::new();
        for number in 0..600 {
            let damaged = number % 300 == 299;
            batch.put(key(number), if damaged { "?".into() } else { encode(&Number(number)) });
        }
        store.commit(batch).await.unwrap();
        for _ in 0..2 {
            let mut rows = Walk::forward(&store, Key::new(Space::Monitor).prefix());
            let mut met = Vec::new();
            while let Some((key_of, _, Number(number))) = rows.next_of().await.unwrap() {
                assert_eq!(key_of, key(number));
                met.push(number);
            }
            assert_eq!(met, (0..600).filter(|number| number % 300 != 299).collect::<Vec<_>>());
            assert_eq!(store.unread().count(), 2);
        }
        let there = store.get(&key(299)).await.unwrap();
        assert_eq!(there.as_deref(), Some(&b"?"[..]), "what is passed over stays");
    }

    #[tokio::test]
    async fn what_fails_for_another_reason_is_not_passed_over() {
        let store = MemoryStore::new();
        let failed = store.unread().unless_damaged::<()>(&key(1), Err(StoreError::Failed("disk".to_owned())));
        assert!(matches!(failed, Err(StoreError::Failed(_))));
        store.crash();
        let mut rows = Walk::forward(&store, Key::new(Space::Monitor).prefix());
        assert!(rows.next_of::<Number>().await.is_err());
        assert_eq!(store.unread().count(), 0);
    }

    #[test]
    fn no_more_are_kept_in_mind_than_anybody_would_mend() {
        let unread = Unread::default();
        (0..MAX_TOLD as u64 + 9).for_each(|number| unread.tell(&key(number), "not a number"));
        assert_eq!(unread.count(), MAX_TOLD);
    }
}
