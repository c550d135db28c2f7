//! Erasing what is an organisation's, a bounded piece at a time.

use std::time::Instant;

use async_trait::async_trait;
use bellwether_kernel::OrganisationId;

use crate::owned::Owned;
use crate::{Batch, Key, Space, Store, StoreError, Versioned, Walk, decode};

/// Rows deleted in one commit, and read at once: with the largest values 8 MiB.
const ROWS: usize = 256;

/// The same of large values, whose rows are nearly all as large as a row may be.
const CHUNKS: usize = 32;

/// Whoever keeps something of organisations that the keys of rows do not tell: in memory, in files, in rows of spaces that
/// are [`Owned::Elsewhere`]. What keys tell is erased by [`erase`], of all spaces alike.
#[async_trait]
pub trait Erase: Send + Sync + 'static {
    /// Erases what is kept of an organisation that is being deleted: it is suspended, nothing is at work for it, and its id is
    /// never given again. Gives how much it found. It is called until nothing is found, and goes on where a call was cut off,
    /// also by the end of the process.
    ///
    /// # Errors
    /// If the store's; what was erased by then stays so.
    async fn erase(&self, organisation: OrganisationId) -> Result<u64, StoreError>;
}

/// Deletes the rows of `spaces` whose keys say that they are the organisation's, and gives how many there were. Each commit is
/// small, and between two of them the store is left to others for as long as the first took. What is cut off is gone on with
/// by the next call.
///
/// # Errors
/// The store's; what was deleted by then stays so.
pub async fn erase(
    store: &dyn Store,
    organisation: OrganisationId,
    spaces: &[Space],
) -> Result<u64, StoreError> {
    let mut erased = 0;
    for space in spaces {
        let all = Key::new(*space).prefix();
        let (range, most) = match space.owned() {
            Owned::Elsewhere | Owned::Host => continue,
            Owned::First => (Key::new(*space).number(organisation.0).prefix(), ROWS),
            Owned::BehindNumber | Owned::BehindText | Owned::BehindSpace => (all, ROWS),
            Owned::AsOther => (all, CHUNKS),
        };
        let rows = Walk::forward(store, range).at_once(most);
        let is_own = |key: &Key, _: &[u8]| Ok(key.organisation() == Some(organisation.0));
        erased += delete_those(store, rows, most, is_own, |key| key.next_of(organisation.0)).await?;
    }
    Ok(erased)
}

/// As [`erase`], of a space whose values say whose they are: deletes those that `is_own` means. One that does not read stays.
///
/// # Errors
/// The store's; what was deleted by then stays so.
pub async fn erase_of<T: Versioned>(
    store: &dyn Store,
    space: Space,
    is_own: impl Fn(&T) -> bool + Send + Sync,
) -> Result<u64, StoreError> {
    let rows = Walk::forward(store, Key::new(space).prefix());
    let is_own = |_: &Key, value: &[u8]| Ok(is_own(&decode(value)?));
    delete_those(store, rows, ROWS, is_own, Key::successor).await
}

/// Deletes the rows of a walk that `is_own` means, up to `most` in one commit, and gives how many there were. Behind one that is
/// another's it goes on from `next` of its key.
async fn delete_those(
    store: &dyn Store,
    mut rows: Walk<'_>,
    most: usize,
    is_own: impl Fn(&Key, &[u8]) -> Result<bool, StoreError> + Send + Sync,
    next: impl Fn(&Key) -> Key + Send + Sync,
) -> Result<u64, StoreError> {
    let mut erased = 0;
    loop {
        let (mut batch, mut found) = (Batch::new(), 0);
        while found < most
            && let Some((key, _, own)) = rows.next_read(&is_own).await?
        {
            if own {
                batch.delete(key);
                found += 1;
            } else {
                rows.skip_to(next(&key));
                tokio::task::consume_budget().await;
            }
        }
        if found == 0 {
            return Ok(erased);
        }
        commit_gently(store, batch).await?;
        erased += found as u64;
    }
}

/// Commits, and leaves the store to others for as long as that took.
///
/// # Errors
/// The store's.
pub async fn commit_gently(store: &dyn Store, batch: Batch) -> Result<(), StoreError> {
    let began = Instant::now();
    store.commit(batch).await?;
    tokio::time::sleep(began.elapsed()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Crash, MemoryStore, put_large};

    const GONE: OrganisationId = OrganisationId(7);

    /// A key of the space that is the organisation's, `number` of them; `None` where keys do not say it.
    fn key_of(space: Space, organisation: u64, number: u64) -> Option<Key> {
        let key = Key::new(space);
        Some(match space.owned() {
            Owned::First => key.number(organisation).number(number),
            Owned::BehindNumber => key.number(number).number(organisation),
            Owned::BehindText => key.text(&number.to_string()).number(organisation),
            Owned::BehindSpace => key.number(Space::Monitor as u64).number(organisation).number(number),
            Owned::AsOther => {
                let owner = Key::new(Space::Monitor).number(organisation).number(number);
                key.number(owner.as_bytes().len() as u64).fixed(owner.as_bytes()).number(0)
            }
            Owned::Elsewhere | Owned::Host => return None,
        })
    }

    /// Rows of three organisations in every space, and of the host.
    async fn filled(store: MemoryStore) -> MemoryStore {
        for organisation in [0, GONE.0 - 1, GONE.0, GONE.0 + 1] {
            let mut batch = Batch::new();
            for space in Space::ALL {
                for number in 0..3 {
                    if let Some(key) = key_of(*space, organisation, number) {
                        batch.put(key, "a row");
                    }
                }
            }
            let large = Key::new(Space::MonitorState).number(organisation);
            put_large(&mut batch, &large, &vec![1; 200_000]).unwrap();
            let chunk = Key::new(Space::RecordChunk).number(1).number(organisation).number(9);
            put_large(&mut batch, &chunk, &[1; 40_000]).unwrap();
            store.commit(batch).await.unwrap();
        }
        let mut batch = Batch::new();
        for number in 0..1_000_u64 {
            batch.put(Key::new(Space::Bucket).number(GONE.0).number(100 + number), "many");
        }
        batch.put(Key::new(Space::Monitor).fixed(b"?"), "a key that does not read");
        batch.put(Key::new(Space::Webhook).fixed(&[0; 32]), "another's");
        store.commit(batch).await.unwrap();
        store
    }

    #[tokio::test]
    async fn what_keys_say_is_an_organisations_is_erased_and_nothing_else() {
        let store = filled(MemoryStore::new()).await;
        let before = store.rows().await.unwrap();
        let (own, others): (Vec<_>, Vec<_>) =
            before.into_iter().partition(|(key, _)| key.organisation() == Some(GONE.0));
        assert!(own.len() > 1_200);
        assert_eq!(erase(&store, GONE, Space::ALL).await.unwrap(), own.len() as u64);
        assert_eq!(store.rows().await.unwrap(), others);
        assert_eq!(erase(&store, GONE, Space::ALL).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_a_crash_cut_off_is_gone_on_with() {
        let whole = filled(MemoryStore::new()).await;
        erase(&whole, GONE, Space::ALL).await.unwrap();
        let expected = whole.rows().await.unwrap();
        for commits in 1.. {
            let store = filled(MemoryStore::new()).await.restart_with_crashes(Crash::After(commits));
            let done = erase(&store, GONE, Space::ALL).await.is_ok();
            let store = store.restart();
            erase(&store, GONE, Space::ALL).await.unwrap();
            assert_eq!(store.rows().await.unwrap(), expected, "after {commits} commits");
            if done {
                assert!(commits > 50);
                return;
            }
        }
    }

    #[tokio::test]
    async fn an_organisation_is_erased_on_a_full_disk() {
        let store = filled(MemoryStore::new()).await;
        store.set_disk_full(true);
        assert!(erase(&store, GONE, Space::ALL).await.unwrap() > 1_200);
    }
}
