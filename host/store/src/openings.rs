//! Counts how often a store was opened: in the store, and in a file beside it. The two agree unless sled has lost
//! part of its log and not noticed: it takes a damaged log for one that ends there, in the worst case for an empty
//! one, which a host must not take for a new store.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use bytes::Bytes;

use crate::sled::{commit_now, io_failed};
use crate::{Batch, Key, Space, StoreError, view};

/// The file beside sled's own.
const FILE: &str = "openings";

/// How often the store in `folder` was opened at least; 0 for one that never was, or was restored since.
pub(crate) fn before(folder: &Path) -> Result<u64, StoreError> {
    let path = folder.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim_end().parse().map_err(|_| {
            StoreError::Damaged(format!("{} holds {text:?}, a number is expected", path.display()))
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(io_failed(&path, &error)),
    }
}

/// Compares what sled remembers with what the folder said before it was opened.
///
/// # Errors
/// [`StoreError::Damaged`] if the store has forgotten openings.
pub(crate) fn compare(db: &sled::Db, folder: &Path, before: u64) -> Result<(), StoreError> {
    let held = held(db)?;
    if held < before {
        return Err(StoreError::Damaged(format!(
            "{} was opened {before} times and remembers {held}: part of its log is gone; restore a backup",
            folder.display()
        )));
    }
    Ok(())
}

/// Counts one more, durably.
///
/// # Errors
/// [`StoreError::Failed`] also if counting did not sync the way it must: a program that is linked without the sync of
/// `sync.rs` loses acknowledged writes at the next power failure, and nothing else would tell.
pub(crate) fn count(db: &sled::Db, folder: &Path) -> Result<(), StoreError> {
    let number = held(db)? + 1;
    #[cfg(target_os = "linux")]
    let syncs = crate::sync::count();
    let mut batch = Batch::new();
    batch.put(key(), Bytes::copy_from_slice(&number.to_be_bytes()));
    commit_now(db, batch)?;
    #[cfg(target_os = "linux")]
    if crate::sync::count() == syncs {
        return Err(StoreError::Failed(
            "this program is linked without the store's own sync_file_range: sled's log would not survive a power \
             failure; link bellwether-store before the C library"
                .to_owned(),
        ));
    }
    write(folder, number)
}

fn key() -> Key {
    Key::new(Space::Meta).text("openings")
}

fn held(db: &sled::Db) -> Result<u64, StoreError> {
    let Some(bytes) = view::read(db, &key())? else { return Ok(0) };
    let number = bytes[..].try_into();
    number
        .map(u64::from_be_bytes)
        .map_err(|_| StoreError::Damaged(format!("the count of openings is {}", bytes.escape_ascii())))
}

fn write(folder: &Path, number: u64) -> Result<(), StoreError> {
    let (path, partial) = (folder.join(FILE), folder.join("openings.partial"));
    File::create(&partial)
        .and_then(|mut file| writeln!(file, "{number}").and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&partial, &path))
        .map_err(|error| io_failed(&path, &error))
}
