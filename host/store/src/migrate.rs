//! The store's version, and the steps that bring an older store to it.

use bytes::Bytes;
use sled::Tree;

use crate::value::{Versioned, decode, encode};
use crate::{Batch, Key, Space, StoreError};

/// The version this host writes. Version 1 is the first, version 2 has a journal, that of version 3 is salted.
pub(crate) const VERSION: u32 = 3;

/// From this version on part of the store is in its journal.
pub(crate) const JOURNAL: u32 = 2;

/// From this version on a file of the journal without salt holds no records.
pub(crate) const SALTED: u32 = 3;

/// One step from the version before to the next. Each batch is committed atomically before the next is asked for, so
/// a step that is interrupted is run again from its beginning over what it already did: it must be repeatable.
pub(crate) type Migration = fn(&Tree) -> Result<Step, StoreError>;

/// What a migration wants committed next.
pub(crate) enum Step {
    /// These changes; then it is asked again.
    #[cfg_attr(not(test), expect(dead_code, reason = "there is no migration yet that needs several batches"))]
    More(Batch),
    /// These changes, together with the new version.
    Last(Batch),
}

/// The steps in order: the first makes version 1 from an empty store; the others only keep hosts out that would not look
/// for a journal, or not read it.
pub(crate) const MIGRATIONS: &[Migration] = &[NOTHING; 3];
const NOTHING: Migration = |_| Ok(Step::Last(Batch::new()));
const _: () = assert!(MIGRATIONS.len() == VERSION as usize);

#[derive(serde::Serialize, serde::Deserialize)]
struct StoreVersion(u32);

impl Versioned for StoreVersion {
    const NAME: &'static str = "store version";
}

/// Where the version is kept.
pub(crate) fn version_key() -> Key {
    Key::new(Space::Meta).text("version")
}

/// Reads a version as it is stored under [`version_key`].
pub(crate) fn read_version(bytes: &[u8]) -> Result<u32, StoreError> {
    decode::<StoreVersion>(bytes).map(|version| version.0)
}

/// A version as it is stored.
pub(crate) fn encode_version(version: u32) -> Bytes {
    encode(&StoreVersion(version))
}

/// The version of the store, 0 if it is new.
///
/// # Errors
/// [`StoreError::Newer`] if it is beyond what `migrations` lead to, [`StoreError::Damaged`] if rows are there but no
/// version.
pub(crate) fn found(tree: &Tree, migrations: &[Migration]) -> Result<u32, StoreError> {
    let supported = u32::try_from(migrations.len()).expect("migrations are few");
    let found = match tree.get(version_key().as_bytes()).map_err(crate::sled::failed)? {
        Some(bytes) => read_version(&bytes)?,
        None if tree.is_empty() => 0,
        None => return Err(StoreError::Damaged("it holds rows but no version".to_owned())),
    };
    if found > supported { Err(StoreError::Newer { found, supported }) } else { Ok(found) }
}

/// Brings the store from version `found` to the one that `migrations` lead to; `commit` makes a batch durable.
pub(crate) fn migrate(
    tree: &Tree,
    found: u32,
    migrations: &[Migration],
    commit: impl Fn(Batch) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for (version, migration) in (1..).zip(migrations).skip(found as usize) {
        loop {
            match migration(tree)? {
                Step::More(batch) => commit(batch)?,
                Step::Last(mut batch) => {
                    batch.put(version_key(), encode_version(version));
                    commit(batch)?;
                    tracing::info!(version, "the store is of this version now");
                    break;
                }
            }
        }
    }
    Ok(())
}
