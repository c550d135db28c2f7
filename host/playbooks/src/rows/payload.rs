//! Records of runs and what else may be too large for one row.

use bellwether_access::Sealed;
use bellwether_store::{
    Batch, Key, MAX_VALUE, Store, StoreError, Versioned, delete_large, get_large, put_large,
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes a record may have to be kept within its own row: what is smaller needs no second read.
const INLINE: usize = MAX_VALUE / 4;

/// What a run was started with, or what one of its steps came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// JSON, secrets masked.
    pub(crate) shown: Payload,
    /// The JSON before anything was masked, sealed; absent where nothing was, or nothing needs it again.
    pub(crate) sealed: Option<Payload>,
}

impl Versioned for Record {
    const NAME: &'static str = "record of a run";
}

/// Bytes that belong to a row: within it where they are few, otherwise a large value of the store, written and removed
/// in the row's own batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Payload {
    Inline(Bytes),
    /// How many bytes.
    Large(u32),
}

/// Tells the payloads of one row apart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Shown = 0,
    Sealed = 1,
}

/// The key a row's large value belongs to; there is no row of its own under it.
fn owner(row: &Key, part: Part) -> Key {
    row.clone().number(part as u64)
}

impl Payload {
    /// Adds `bytes` to `batch` as a part of `row`.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] over [`bellwether_store::MAX_LARGE`]; nothing was added.
    pub(crate) fn write(
        batch: &mut Batch,
        row: &Key,
        part: Part,
        bytes: Vec<u8>,
    ) -> Result<Self, StoreError> {
        if bytes.len() <= INLINE {
            return Ok(Self::Inline(bytes.into()));
        }
        put_large(batch, &owner(row, part), &bytes)?;
        Ok(Self::Large(u32::try_from(bytes.len()).expect("a large value is below 4 GiB")))
    }

    /// Adds its removal to `batch`.
    pub(crate) async fn delete(
        &self,
        store: &dyn Store,
        batch: &mut Batch,
        row: &Key,
        part: Part,
    ) -> Result<(), StoreError> {
        match self {
            Self::Inline(_) => Ok(()),
            Self::Large(_) => delete_large(store, batch, &owner(row, part)).await,
        }
    }

    /// About how many keys it takes besides its row.
    pub(crate) fn keys(&self) -> usize {
        match self {
            Self::Inline(_) => 0,
            Self::Large(bytes) => *bytes as usize / MAX_VALUE + 2,
        }
    }

    /// The bytes; `None` if they were removed since the row was read.
    pub(crate) async fn read(
        &self,
        store: &dyn Store,
        row: &Key,
        part: Part,
    ) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Inline(bytes) => Ok(Some(bytes.clone())),
            Self::Large(_) => Ok(get_large(store, &owner(row, part)).await?.map(Bytes::from)),
        }
    }
}

impl Record {
    /// Adds the removal of it and of what belongs to it to `batch`: of large values too that an earlier state of it had, which
    /// are still there where a smaller one took its place.
    pub(crate) async fn delete(
        &self,
        store: &dyn Store,
        batch: &mut Batch,
        row: Key,
    ) -> Result<(), StoreError> {
        for part in [Part::Shown, Part::Sealed] {
            delete_large(store, batch, &owner(&row, part)).await?;
        }
        batch.delete(row);
        Ok(())
    }

    /// About how many keys it takes in all.
    pub(crate) fn keys(&self) -> usize {
        1 + self.shown.keys() + self.sealed.as_ref().map_or(0, Payload::keys)
    }

    /// What is shown of it.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        store: &dyn Store,
        row: &Key,
    ) -> Result<T, StoreError> {
        let shown = self.shown.read(store, row, Part::Shown).await?.ok_or_else(|| missing(row))?;
        read_json(&shown)
    }

    /// What is sealed of it, still so.
    pub(crate) async fn read_sealed(
        &self,
        store: &dyn Store,
        row: &Key,
    ) -> Result<Option<Sealed>, StoreError> {
        let Some(sealed) = &self.sealed else { return Ok(None) };
        let sealed = sealed.read(store, row, Part::Sealed).await?.ok_or_else(|| missing(row))?;
        Ok(Some(Sealed(sealed.into())))
    }
}

fn missing(row: &Key) -> StoreError {
    StoreError::Damaged(format!("a part of {row:?} is missing"))
}

/// Reads JSON of a record.
pub(crate) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError::Damaged(format!("a run's record does not read: {error}")))
}

#[cfg(test)]
mod tests {
    use bellwether_store::{Key, MemoryStore, Space, decode, encode};

    use super::*;

    /// [`Payload`] as it was written before its bytes were written as bytes.
    #[derive(Serialize, Deserialize)]
    enum Earlier {
        Inline(Vec<u8>),
        Large(u32),
    }

    #[derive(Serialize, Deserialize)]
    struct EarlierRecord {
        shown: Earlier,
        sealed: Option<Earlier>,
    }

    impl Versioned for EarlierRecord {
        const NAME: &'static str = "record of a run";
    }

    #[tokio::test]
    async fn a_record_is_written_as_it_always_was() {
        let shown = br#"{"text":"a \"record\""}"#.repeat(9);
        let record =
            Record { shown: Payload::Inline(shown.clone().into()), sealed: Some(Payload::Large(70_000)) };
        let earlier =
            EarlierRecord { shown: Earlier::Inline(shown.clone()), sealed: Some(Earlier::Large(70_000)) };
        assert_eq!(encode(&record), encode(&earlier));
        let read: Record = decode(&encode(&earlier)).unwrap();
        let key = Key::new(Space::RunStep);
        let bytes = read.shown.read(&MemoryStore::new(), &key, Part::Shown).await.unwrap();
        assert_eq!(bytes.as_deref(), Some(&shown[..]));
    }
}
