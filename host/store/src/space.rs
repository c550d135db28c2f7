//! Stops writes before the disk is full: sled cannot be opened again on a full one.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::StoreError;

type Probe = dyn Fn(&Path) -> io::Result<u64> + Send + Sync;

/// Tells how many bytes are free for this process on the file system of a folder.
#[derive(Clone)]
pub struct FreeSpace(Arc<Probe>);

impl FreeSpace {
    /// Asks `probe`, for tests.
    pub fn new(probe: impl Fn(&Path) -> io::Result<u64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(probe))
    }

    /// Bytes free on the file system of `folder`; `None` if the system does not say.
    pub(crate) fn of(&self, folder: &Path) -> Option<u64> {
        self.0(folder).ok()
    }
}

/// Asks the system (`statvfs`).
impl Default for FreeSpace {
    fn default() -> Self {
        Self::new(free)
    }
}

/// Bytes free for this process on the file system of `folder`.
fn free(folder: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(folder)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

impl fmt::Debug for FreeSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FreeSpace")
    }
}

/// Free space against the watermark, asked for at most once per `interval` and once per `stride` bytes written.
#[derive(Debug)]
pub(crate) struct Watermark {
    folder: PathBuf,
    bytes: u64,
    interval: Duration,
    probe: FreeSpace,
    last: Mutex<Reading>,
}

#[derive(Debug)]
struct Reading {
    at: Instant,
    free: Option<u64>,
    written: u64,
}

impl Watermark {
    /// Watches `folder`'s file system for having at least `bytes` free.
    pub(crate) fn new(folder: &Path, bytes: u64, interval: Duration, probe: FreeSpace) -> Self {
        let free = probe.of(folder);
        let last = Mutex::new(Reading { at: Instant::now(), free, written: 0 });
        Self { folder: folder.to_owned(), bytes, interval, probe, last }
    }

    /// Bytes free; `None` if the system does not say.
    pub(crate) fn free(&self) -> Option<u64> {
        self.free_after(0)
    }

    /// Bytes free, now that `written` more bytes went to the disk.
    fn free_after(&self, written: u64) -> Option<u64> {
        let mut last = self.last.lock();
        last.written += written;
        // Between two probes no more than a quarter of the reserve is used up unseen.
        if last.at.elapsed() >= self.interval || last.written >= self.bytes / 4 {
            *last = Reading { at: Instant::now(), free: self.probe.of(&self.folder), written: 0 };
        }
        last.free
    }

    /// What writes are to be refused with, after `written` more bytes went to the disk. A system that does not say
    /// how much is free is trusted to fail the write itself.
    pub(crate) fn check(&self, written: u64) -> Result<(), StoreError> {
        match self.free_after(written) {
            Some(free) if free < self.bytes => Err(StoreError::DiskFull { free, needed: self.bytes }),
            _ => Ok(()),
        }
    }

    /// What a write is refused with that found no room on the disk.
    pub(crate) fn full(&self) -> StoreError {
        StoreError::DiskFull { free: self.free().unwrap_or(0), needed: self.bytes }
    }
}
