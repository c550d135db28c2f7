//! Values too large for one key, cut into chunks that are written in their owner's batch.
//!
//! The chunks of an owner lie under [`Space::Chunk`], the owner's bytes and a number. The first one begins with the
//! length and checksum of the whole: chunks are read one by one, and a value overwritten meanwhile must show.

use bytes::Bytes;

use crate::{Batch, Direction, Key, MAX_KEY, MAX_VALUE, Space, Store, StoreError};

/// The largest value [`put_large`] takes, in bytes.
pub const MAX_LARGE: usize = 4 * 1024 * 1024;

/// Bytes of the value in one chunk, so that the first fits its header too.
const CHUNK: usize = MAX_VALUE - HEADER;
/// Length and CRC-32 of the whole, little-endian.
const HEADER: usize = 8;
/// How often a value that is overwritten all the time is read before giving up.
const ATTEMPTS: usize = 8;
/// What the key of a chunk has besides its owner: the space, the owner's length, the number.
const KEY_OVERHEAD: usize = 1 + 8 + 8;

/// Sets the large value of `owner`, which need not be a row itself. Whatever it had before is overwritten; if that
/// may have been longer, put [`delete_large`] into the batch first.
///
/// # Errors
/// [`StoreError::TooLarge`] if the value is over [`MAX_LARGE`] or the owner's key leaves no room for a chunk's.
pub fn put_large(batch: &mut Batch, owner: &Key, bytes: &[u8]) -> Result<(), StoreError> {
    if bytes.len() > MAX_LARGE {
        return Err(StoreError::TooLarge { what: "a large value", size: bytes.len(), limit: MAX_LARGE });
    }
    let limit = MAX_KEY - KEY_OVERHEAD;
    if owner.as_bytes().len() > limit {
        return Err(StoreError::TooLarge {
            what: "the key of a large value",
            size: owner.as_bytes().len(),
            limit,
        });
    }
    let (first, rest) = bytes.split_at(bytes.len().min(CHUNK));
    let mut head = Vec::with_capacity(HEADER + first.len());
    let length = u32::try_from(bytes.len()).expect("MAX_LARGE is below 4 GiB");
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    head.extend_from_slice(first);
    batch.put(chunk_key(owner, 0), head);
    for (number, chunk) in (1..).zip(rest.chunks(CHUNK)) {
        batch.put(chunk_key(owner, number), Bytes::copy_from_slice(chunk));
    }
    Ok(())
}

/// The large value of `owner`.
///
/// # Errors
/// [`StoreError::Conflict`] if it was overwritten again and again while it was read. Whatever the store fails with.
pub async fn get_large(store: &dyn Store, owner: &Key) -> Result<Option<Vec<u8>>, StoreError> {
    let mut head = store.get(&chunk_key(owner, 0)).await?;
    for _ in 0..ATTEMPTS {
        let Some(read) = &head else { return Ok(None) };
        if let Some(bytes) = read_chunks(store, owner, read).await? {
            return Ok(Some(bytes));
        }
        // The chunks do not fit together. If the first is still the same, nobody changed them: they are damaged.
        let again = store.get(&chunk_key(owner, 0)).await?;
        if again == head {
            return Err(StoreError::Damaged(format!(
                "the large value of {owner:?} does not fit its checksum"
            )));
        }
        head = again;
    }
    Err(StoreError::Conflict(owner.clone()))
}

/// The value whose first chunk is `head`; `None` if its chunks are not, or not all, of one value.
async fn read_chunks(store: &dyn Store, owner: &Key, head: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let Some((length, rest)) = head.split_first_chunk::<4>() else { return Ok(None) };
    let Some((checksum, first)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_LARGE {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(first);
    let mut number = 1;
    while bytes.len() < length {
        let Some(chunk) = store.get(&chunk_key(owner, number)).await? else { return Ok(None) };
        bytes.extend_from_slice(&chunk);
        number += 1;
    }
    Ok((bytes.len() == length && crc32fast::hash(&bytes) == u32::from_le_bytes(*checksum)).then_some(bytes))
}

/// Removes the large value of `owner`, if it has one.
///
/// # Errors
/// Whatever the store fails with.
pub async fn delete_large(store: &dyn Store, batch: &mut Batch, owner: &Key) -> Result<(), StoreError> {
    let most = MAX_LARGE / CHUNK + 2;
    for (key, _) in store.scan(chunks_of(owner).prefix(), Direction::Forward, most).await? {
        batch.delete(key);
    }
    Ok(())
}

fn chunks_of(owner: &Key) -> Key {
    // The length first, so that no owner's chunks begin with another's.
    Key::new(Space::Chunk).number(owner.as_bytes().len() as u64).fixed(owner.as_bytes())
}

fn chunk_key(owner: &Key, number: u64) -> Key {
    chunks_of(owner).number(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    async fn set(store: &MemoryStore, owner: &Key, bytes: &[u8]) {
        let mut batch = Batch::new();
        delete_large(store, &mut batch, owner).await.unwrap();
        put_large(&mut batch, owner, bytes).unwrap();
        store.commit(batch).await.unwrap();
    }

    #[tokio::test]
    async fn a_large_value_is_read_back_whole_and_deleted_whole() {
        let store = MemoryStore::new();
        let (owner, neighbour) = (Key::new(Space::Run).number(1), Key::new(Space::Run).number(1).number(0));
        set(&store, &neighbour, b"neighbour").await;
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, MAX_LARGE, 3] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            set(&store, &owner, &bytes).await;
            assert_eq!(get_large(&store, &owner).await.unwrap(), Some(bytes), "{length}");
        }
        let mut batch = Batch::new();
        delete_large(&store, &mut batch, &owner).await.unwrap();
        store.commit(batch).await.unwrap();
        assert_eq!(get_large(&store, &owner).await.unwrap(), None);
        assert_eq!(get_large(&store, &neighbour).await.unwrap(), Some(b"neighbour".to_vec()));
        let left = store.scan(Key::new(Space::Chunk).prefix(), Direction::Forward, 9).await.unwrap();
        assert_eq!(left.len(), 1, "only the neighbour's");
    }

    #[tokio::test]
    async fn chunks_of_two_values_are_never_taken_for_one() {
        let store = MemoryStore::new();
        let owner = Key::new(Space::Run).number(1);
        set(&store, &owner, &vec![1; 3 * CHUNK]).await;
        let mut batch = Batch::new();
        batch.put(chunk_key(&owner, 1), vec![2; CHUNK]);
        store.commit(batch).await.unwrap();
        assert!(matches!(get_large(&store, &owner).await, Err(StoreError::Damaged(_))));
    }

    #[test]
    fn what_is_too_large_is_refused_with_nothing_in_the_batch() {
        let mut batch = Batch::new();
        let short = Key::new(Space::Run);
        let long = Key::new(Space::Run).fixed(&[1; MAX_KEY - KEY_OVERHEAD]);
        assert!(matches!(
            put_large(&mut batch, &short, &vec![0; MAX_LARGE + 1]),
            Err(StoreError::TooLarge { .. })
        ));
        assert!(matches!(put_large(&mut batch, &long, b"x"), Err(StoreError::TooLarge { .. })));
        assert!(batch.is_empty());
    }
}
