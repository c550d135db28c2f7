//! One of the journal's two files.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::aside;
use super::record::{HEAD, RECORDS, Salt};
use crate::StoreError;
use crate::sled::io_failed;
use crate::sync::sync_data;

/// How much is filled with zeros at a time.
pub(super) const STRETCH: u64 = 1024 * 1024;

/// One of the two files.
#[derive(Debug)]
pub(super) struct Turn {
    file: File,
    pub(super) path: PathBuf,
    /// That of the turn whose records are in it; without, there are none.
    pub(super) salt: Option<Salt>,
    /// Where the next record goes; 0 before the turn has a header.
    pub(super) end: u64,
    /// How far the file is filled: zeros or what is overwritten.
    filled: u64,
}

/// Why a record was not appended.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The disk is full. No record was written, and the journal holds what it held.
    Full,
    /// It is not known whether the record will be there. Nothing may be appended any more.
    Unsure(StoreError),
}

impl Turn {
    /// Opens the file at `path`, which is made if it is not there. Where it has no header, its records are `unsalted`, or
    /// none.
    pub(super) fn open(path: PathBuf, unsalted: bool) -> Result<Self, StoreError> {
        let read = || {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            let mut beginning = Vec::with_capacity(RECORDS);
            (&file).take(RECORDS as u64).read_to_end(&mut beginning)?;
            Ok((file.metadata()?.len(), Salt::of_header(&beginning), file))
        };
        let (filled, salt, file) = read().map_err(|error| io_failed(&path, &error))?;
        Ok(Self { file, path, salt: salt.or(unsalted.then_some(Salt::NONE)), end: 0, filled })
    }

    /// The number of the first record, if one is whole.
    pub(super) fn first(&self) -> Result<Option<u64>, StoreError> {
        let Some(salt) = self.salt else { return Ok(None) };
        let at = salt.begin() as u64;
        let mut head = [0; HEAD];
        let read = self.file.read_exact_at(&mut head, at).and_then(|()| {
            let mut bytes = head.to_vec();
            bytes.resize(HEAD + self.content_length(&head, at).unwrap_or(0), 0);
            self.file.read_exact_at(&mut bytes[HEAD..], at + HEAD as u64).map(|()| bytes)
        });
        match read {
            Ok(bytes) => Ok(salt.record(&bytes).map(|(number, _)| number)),
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

    pub(super) fn bytes(&self) -> Result<Vec<u8>, StoreError> {
        std::fs::read(&self.path).map_err(|error| io_failed(&self.path, &error))
    }

    /// Keeps a copy of the file as it is, and takes what is behind `end` out of it: what is lost is told once.
    pub(super) fn set_aside(&self, end: usize) -> Result<(), StoreError> {
        let aside = aside(&self.path);
        std::fs::copy(&self.path, &aside).and_then(|_| File::open(&aside)?.sync_all()).map_err(|error| {
            // Half a copy is no evidence, and the next try would leave another.
            let _ = std::fs::remove_file(&aside);
            io_failed(&aside, &error)
        })?;
        let zeros = vec![0; (self.filled as usize).saturating_sub(end)];
        self.file
            .write_all_at(&zeros, end as u64)
            .and_then(|()| self.file.sync_all())
            .map_err(|error| io_failed(&self.path, &error))
    }

    /// How many bytes of records of its turn were appended since the opening.
    pub(super) fn length(&self) -> u64 {
        self.end.saturating_sub(RECORDS as u64)
    }

    /// The salt of the turn, which begins if it has not. Its header is durable with the first record.
    pub(super) fn begin(&mut self) -> Result<Salt, AppendError> {
        if let (Some(salt), 1..) = (self.salt, self.end) {
            return Ok(salt);
        }
        let salt = Salt::draw();
        self.write(&salt.header(), 0)?;
        self.salt = Some(salt);
        self.end = RECORDS as u64;
        Ok(salt)
    }

    /// Appends a record made with the salt of the turn. It is durable when this returns.
    pub(super) fn append(&mut self, record: &[u8]) -> Result<(), AppendError> {
        self.write(record, self.end)?;
        sync_data(&self.file).map_err(|error| AppendError::Unsure(io_failed(&self.path, &error)))?;
        self.end += record.len() as u64;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], at: u64) -> Result<(), AppendError> {
        self.fill(at + bytes.len() as u64).map_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => AppendError::Full,
            _ => AppendError::Unsure(io_failed(&self.path, &error)),
        })?;
        let written = self.file.write_all_at(bytes, at);
        written.map_err(|error| AppendError::Unsure(io_failed(&self.path, &error)))
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
