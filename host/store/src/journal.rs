//! The write-ahead log in front of sled: what makes a commit durable is one record here and one `fdatasync`. sled
//! gets the rows later, many groups at a time (`checkpoint.rs`).
//!
//! Two files take turns. Records are appended to one until it is full; then the other is overwritten from its
//! beginning, once all it held is durable in sled. Records are numbered without a gap, so what an overwritten file
//! still holds of its former turn is told from what follows. A record is the CRC-32 of what comes after it (u32), the
//! length of its content (u32), its number (u64), and the final rows of one group (`rows.rs`); numbers are
//! little-endian. Files are filled with zeros a stretch ahead: an append that writes over them changes nothing but
//! data, and the sync has no metadata to write.
//!
//! Our own because what there is on crates.io brings threads and segment files of its own, and this is all we need.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::group::Rows;
use crate::rows::{put_row, split_row};
use crate::sled::io_failed;
use crate::sync::sync_data;
use crate::{Key, StoreError};

/// Final rows by key; `None` is a removed one.
pub(crate) type Table = BTreeMap<Key, Option<Bytes>>;

/// How much is filled with zeros at a time.
const STRETCH: u64 = 1024 * 1024;
const HEAD: usize = 16;
const NAMES: [&str; 2] = ["journal.0", "journal.1"];

/// The journal of an open store.
#[derive(Debug)]
pub(crate) struct Journal {
    files: [Turn; 2],
    /// Which of them takes records.
    current: usize,
    /// From this size on a file takes no more records.
    full: u64,
    /// The number of the last record.
    last: u64,
    /// The record being made, kept for its memory.
    record: Vec<u8>,
}

/// One of the two files.
#[derive(Debug)]
struct Turn {
    file: File,
    path: PathBuf,
    /// Where the next record goes.
    end: u64,
    /// How far the file is filled: zeros or what is overwritten.
    filled: u64,
}

/// Why a record was not appended.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The disk is full. Nothing was written, and the journal is as it was.
    Full,
    /// It is not known whether the record will be there. Nothing may be appended any more.
    Unsure(StoreError),
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
    NAMES.iter().map(|name| aside(&folder.join(name))).filter(|path| path.exists()).collect()
}

/// Where a damaged file is kept.
fn aside(path: &Path) -> PathBuf {
    path.with_added_extension("damaged")
}

/// The files in `folder` that are missing.
pub(crate) fn missing(folder: &Path) -> Vec<PathBuf> {
    NAMES.iter().map(|name| folder.join(name)).filter(|path| !path.exists()).collect()
}

impl Journal {
    /// Opens the journal in `folder`, whose files are made if they are not there, and reads what comes after record
    /// `durable`, the last that sled has. Files of `full` bytes take no more. A torn record is the last; where whole ones
    /// lie behind it was no crash that tore it, and the file is kept beside as it was found.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if records are missing in between, or none at all reads where `durable` says that
    /// there were some and `whole` that they must be here.
    pub(crate) fn open(
        folder: &Path,
        full: u64,
        durable: u64,
        whole: bool,
    ) -> Result<(Self, Replay), StoreError> {
        let [first, second] = NAMES.map(|name| Turn::open(folder.join(name)));
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
            if whole && durable > 0 {
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
            let bytes = journal.files[at].bytes()?;
            let end = read_records(&bytes, |number, content| {
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
            read.push((at, bytes, end));
        }
        if let [(_, begun)] = begins[..] {
            // The first record of the other is what is damaged, if that holds any of its turn.
            read.push((1 - begun, journal.files[1 - begun].bytes()?, 0));
        }
        for (at, bytes, end) in read {
            if let Some(newest) = newest_behind(&bytes, end, replay.last) {
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
        self.files[self.current].end >= self.full
    }

    /// Whether the current file has a record of its turn.
    pub(crate) fn is_begun(&self) -> bool {
        self.files[self.current].end > 0
    }

    /// Goes on in the other file, of which every record is durable in sled.
    pub(crate) fn turn(&mut self) {
        self.current = 1 - self.current;
        self.files[self.current].end = 0;
    }

    /// Appends a record of `rows`. It is durable when this returns.
    pub(crate) fn append(&mut self, rows: &Rows) -> Result<(), AppendError> {
        self.record.clear();
        self.record.resize(HEAD, 0);
        for (key, row) in rows {
            put_row(&mut self.record, key, row.as_ref());
        }
        let length = u32::try_from(self.record.len() - HEAD).expect("groups are limited");
        self.record[4..8].copy_from_slice(&length.to_le_bytes());
        self.record[8..HEAD].copy_from_slice(&(self.last + 1).to_le_bytes());
        let checksum = crc32fast::hash(&self.record[4..]);
        self.record[..4].copy_from_slice(&checksum.to_le_bytes());
        self.files[self.current].append(&self.record)?;
        self.last += 1;
        self.record.shrink_to(STRETCH as usize);
        Ok(())
    }
}

impl Turn {
    fn open(path: PathBuf) -> Result<Self, StoreError> {
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let read = opened.and_then(|file| Ok((file.metadata()?.len(), file)));
        let (filled, file) = read.map_err(|error| io_failed(&path, &error))?;
        Ok(Self { file, path, end: 0, filled })
    }

    /// The number of the first record, if one is whole.
    fn first(&self) -> Result<Option<u64>, StoreError> {
        let mut head = [0; HEAD];
        let read = self.file.read_exact_at(&mut head, 0).and_then(|()| {
            let mut bytes = head.to_vec();
            bytes.resize(HEAD + self.content_length(&head, 0).unwrap_or(0), 0);
            self.file.read_exact_at(&mut bytes[HEAD..], HEAD as u64).map(|()| bytes)
        });
        match read {
            Ok(bytes) => Ok(whole_record(&bytes).map(|(number, _)| number)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(io_failed(&self.path, &error)),
        }
    }

    /// The length that the head of a record at `at` says its content has, if the file is that long.
    fn content_length(&self, head: &[u8; HEAD], at: u64) -> Option<usize> {
        let [_, _, _, _, a, b, c, d, ..] = *head;
        let length = u32::from_le_bytes([a, b, c, d]);
        (at + HEAD as u64 + u64::from(length) <= self.filled).then_some(length as usize)
    }

    fn bytes(&self) -> Result<Vec<u8>, StoreError> {
        std::fs::read(&self.path).map_err(|error| io_failed(&self.path, &error))
    }

    /// Keeps a copy of the file as it is, and takes what is behind `end` out of it: a new record could else be followed by
    /// old ones whose numbers go on from it.
    fn set_aside(&self, end: usize) -> Result<(), StoreError> {
        let aside = aside(&self.path);
        std::fs::copy(&self.path, &aside)
            .and_then(|_| File::open(&aside)?.sync_all())
            .map_err(|error| io_failed(&aside, &error))?;
        let zeros = vec![0; (self.filled as usize).saturating_sub(end)];
        self.file
            .write_all_at(&zeros, end as u64)
            .and_then(|()| self.file.sync_all())
            .map_err(|error| io_failed(&self.path, &error))
    }

    fn append(&mut self, record: &[u8]) -> Result<(), AppendError> {
        let end = self.end + record.len() as u64;
        self.fill(end).map_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => AppendError::Full,
            _ => AppendError::Unsure(io_failed(&self.path, &error)),
        })?;
        self.file
            .write_all_at(record, self.end)
            .and_then(|()| sync_data(&self.file))
            .map_err(|error| AppendError::Unsure(io_failed(&self.path, &error)))?;
        self.end = end;
        Ok(())
    }

    /// Fills the file with zeros to beyond `end`.
    fn fill(&mut self, end: u64) -> io::Result<()> {
        while self.filled < end {
            #[cfg(all(test, target_os = "linux"))]
            crate::sync::faults::fail_if_full(&self.file)?;
            self.file.write_all_at(&vec![0; STRETCH as usize], self.filled)?;
            self.filled += STRETCH;
        }
        Ok(())
    }
}

/// Hands over numbers and contents of a file's records from the beginning to the first that is torn or of another turn;
/// gives where that is.
fn read_records(
    bytes: &[u8],
    mut record: impl FnMut(u64, &[u8]) -> Result<(), StoreError>,
) -> Result<usize, StoreError> {
    let mut rest = bytes;
    let mut expected = None;
    while let Some((number, content)) = whole_record(rest) {
        if expected.is_some_and(|expected| number != expected) {
            break;
        }
        record(number, content)?;
        expected = Some(number + 1);
        rest = &rest[HEAD + content.len()..];
    }
    Ok(bytes.len() - rest.len())
}

/// The greatest number of a whole record of a file behind `end`, wherever it begins, that is newer than `last`.
fn newest_behind(bytes: &[u8], end: usize, last: u64) -> Option<u64> {
    // So many records fit into a file.
    let newer = last + 1..=last + (bytes.len() / HEAD) as u64;
    let mut newest = None;
    let mut at = end;
    while let Some(head) = bytes.get(at..at + HEAD) {
        let [.., a, b, c, d, e, f, g, h] = *head else { break };
        let whole = newer
            .contains(&u64::from_le_bytes([a, b, c, d, e, f, g, h]))
            .then(|| whole_record(&bytes[at..]))
            .flatten();
        match whole {
            Some((number, content)) => {
                newest = newest.max(Some(number));
                at += HEAD + content.len();
            }
            None => at += 1,
        }
    }
    newest
}

/// Number and content of the record that `bytes` begin with, if it is whole.
fn whole_record(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (checksum, rest) = bytes.split_first_chunk::<4>()?;
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (number, after) = after.split_first_chunk::<8>()?;
    let content = after.get(..u32::from_le_bytes(*length) as usize)?;
    let checked = &rest[..HEAD - 4 + content.len()];
    (crc32fast::hash(checked) == u32::from_le_bytes(*checksum))
        .then_some((u64::from_le_bytes(*number), content))
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
mod tests;
