//! The write-ahead log in front of sled: what makes a commit durable is one record here and one `fdatasync`. sled
//! gets the rows later, many groups at a time (`checkpoint.rs`).
//!
//! Two files take turns. Records are appended to one until it is full; then the other is overwritten from its
//! beginning, once all it held is durable in sled. A record (`journal/record.rs`) holds the final rows of one group
//! (`rows.rs`). Records are numbered without a gap, and salted by a secret that each turn draws: so what an overwritten
//! file still holds of its former turn is told from what follows, whatever was written then.
//!
//! Files are filled with zeros a stretch ahead: an append that writes over them changes nothing but data, and the sync
//! has no metadata to write.
//!
//! Our own because what there is on crates.io brings threads and segment files of its own, and this is all we need.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::group::Rows;
use crate::rows::{put_row, split_row};
use crate::{Key, StoreError};

mod record;
mod turn;

use record::HEAD;
pub(crate) use turn::AppendError;
use turn::{STRETCH, Turn};

/// Final rows by key; `None` is a removed one.
pub(crate) type Table = BTreeMap<Key, Option<Bytes>>;

const NAMES: [&str; 2] = ["journal.0", "journal.1"];

/// The journal of an open store.
#[derive(Debug)]
pub(crate) struct Journal {
    files: [Turn; 2],
    /// Which of them takes records.
    current: usize,
    /// From so many bytes of records on a file takes no more.
    full: u64,
    /// The number of the last record.
    last: u64,
    /// The record being made, kept for its memory.
    record: Vec<u8>,
}

/// What there must be of a journal before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// The store had none.
    Nothing,
    /// Records, if any were written; in files without salt too.
    Unsalted,
    /// Records, if any were written; a file without salt holds none.
    Salted,
}

/// What an opened journal holds that sled does not.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// The rows as the last record leaves them.
    pub(crate) rows: Table,
    /// The number of the last record, whether or not sled has it.
    pub(crate) last: u64,
    /// How many records there were behind that one, of which the next is damaged: they were durable, and are lost.
    pub(crate) lost: u64,
}

/// The files in `folder` that were found damaged, kept as they were found, and not yet removed by anybody.
pub(crate) fn set_aside(folder: &Path) -> Vec<PathBuf> {
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_kept = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        NAMES
            .iter()
            .any(|of| name.strip_prefix(of).is_some_and(|added| added.split('.').any(|one| one == DAMAGED)))
    };
    let mut kept: Vec<_> = files.flatten().map(|file| file.path()).filter(is_kept).collect();
    kept.sort_unstable();
    kept
}

/// What is added to the name of a file that was damaged and is kept; a number is too where that name is taken.
const DAMAGED: &str = "damaged";

/// Where a damaged file is to be kept, beside those of before.
fn aside(path: &Path) -> PathBuf {
    let first = path.with_added_extension(DAMAGED);
    let (mut kept, mut number) = (first.clone(), 1);
    while kept.exists() {
        number += 1;
        kept = first.with_added_extension(number.to_string());
    }
    kept
}

/// The files in `folder` that are missing.
pub(crate) fn missing(folder: &Path) -> Vec<PathBuf> {
    NAMES.iter().map(|name| folder.join(name)).filter(|path| !path.exists()).collect()
}

impl Journal {
    /// Opens the journal in `folder`, whose files are made if they are not there, and reads what comes after record
    /// `durable`, the last that sled has. Files with `full` bytes of records take no more. A torn record is the last; where
    /// whole ones lie behind it was no crash that tore it, and the file is kept beside as it was found.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if records are missing in between, or none at all reads where `durable` says that
    /// there were some and `held` that they must be here.
    pub(crate) fn open(
        folder: &Path,
        full: u64,
        durable: u64,
        held: Held,
    ) -> Result<(Self, Replay), StoreError> {
        let [first, second] = NAMES.map(|name| Turn::open(folder.join(name), held == Held::Unsalted));
        let mut journal =
            Self { files: [first?, second?], current: 0, full, last: durable, record: Vec::new() };
        let mut begins = Vec::new();
        for (at, turn) in journal.files.iter().enumerate() {
            if let Some(number) = turn.first()? {
                begins.push((number, at));
            }
        }
        begins.sort_unstable();
        let Some(&(_, newest)) = begins.last() else {
            if held != Held::Nothing && durable > 0 {
                return Err(damaged(folder, "the journal is empty"));
            }
            return Ok((journal, Replay { last: durable, ..Replay::default() }));
        };
        let mut replay = Replay { last: durable, ..Replay::default() };
        let mut read = Vec::with_capacity(2);
        for (place, &(first, at)) in begins.iter().enumerate() {
            if begins.get(place + 1).is_some_and(|(next, _)| next.saturating_sub(1) <= durable) {
                continue; // sled has all of this one
            }
            let Some(salt) = journal.files[at].salt else { continue };
            let bytes = journal.files[at].bytes()?;
            let end = salt.read_records(&bytes, |number, content| {
                if number <= durable {
                    return Ok(());
                }
                if number != replay.last + 1 {
                    let why =
                        format!("sled and the journal hold records up to {}, then {first}", replay.last);
                    return Err(damaged(folder, &why));
                }
                replay.last = number;
                take_rows(content, &mut replay.rows).ok_or_else(|| damaged(folder, "a record has no rows"))
            })?;
            read.push((at, salt, bytes, end));
        }
        if let [(_, begun)] = begins[..]
            && let Some(salt) = journal.files[1 - begun].salt
        {
            // The first record of the other is what is damaged, if that holds any of its turn.
            read.push((1 - begun, salt, journal.files[1 - begun].bytes()?, 0));
        }
        for (at, salt, bytes, end) in read {
            if let Some(newest) = salt.newest_behind(&bytes, end, replay.last) {
                replay.lost = replay.lost.max(newest - replay.last);
                journal.files[at].set_aside(end)?;
            }
        }
        journal.last = replay.last;
        // The newest record stays until one behind it is on the disk: a journal that was used is never empty.
        journal.current = 1 - newest;
        Ok((journal, replay))
    }

    /// The number of the last record.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Whether the current file takes no more records.
    pub(crate) fn is_full(&self) -> bool {
        self.files[self.current].length() >= self.full
    }

    /// Whether the current file has a record of its turn.
    pub(crate) fn is_begun(&self) -> bool {
        self.files[self.current].length() > 0
    }

    /// Goes on in the other file, of which every record is durable in sled.
    pub(crate) fn turn(&mut self) {
        self.current = 1 - self.current;
        self.files[self.current].end = 0;
    }

    /// Appends a record of `rows`. It is durable when this returns.
    pub(crate) fn append(&mut self, rows: &Rows) -> Result<(), AppendError> {
        let turn = &mut self.files[self.current];
        let salt = turn.begin()?;
        self.record.clear();
        self.record.resize(HEAD, 0);
        for (key, row) in rows {
            put_row(&mut self.record, key, row.as_ref());
        }
        salt.seal(&mut self.record, self.last + 1);
        turn.append(&self.record)?;
        self.last += 1;
        self.record.shrink_to(STRETCH as usize);
        Ok(())
    }
}

/// Adds a record's rows to `rows`; `None` if they do not read.
fn take_rows(content: &[u8], rows: &mut Table) -> Option<()> {
    let mut rest = content;
    while !rest.is_empty() {
        let (key, value, after) = split_row(rest)?;
        rows.insert(Key::from_bytes(key.to_vec()), value.map(Bytes::copy_from_slice));
        rest = after;
    }
    Some(())
}

fn damaged(folder: &Path, why: &str) -> StoreError {
    StoreError::Damaged(format!("{}: {why}; restore a backup", folder.display()))
}

#[cfg(test)]
#[path = "journal/tests.rs"]
pub(crate) mod tests;
