//! The embedded store: sled 0.34 behind a journal and one writer.

use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use crate::backup::Source;
use crate::checkpoint;
use crate::group::{self, Group, Rows};
use crate::journal::{self, AppendError, Held, Journal, Replay};
use crate::lock::FolderLock;
use crate::migrate::{self, Migration};
use crate::objects::{make_private, sync_folder};
use crate::openings;
use crate::queue::Queue;
use crate::space::{FreeSpace, Watermark};
use crate::view::{self, View};
use crate::writer::{self, CLOSED, GroupLimits, Job, Order, Shared, Writer};
use crate::{
    Batch, Committed, Direction, Health, Key, MAX_BATCH, MAX_KEY, MAX_VALUE, Refusal, Row, Store, StoreError,
    Unread,
};

/// sled's unit of space. A message over a quarter of it becomes a blob file, which sled never syncs; the largest
/// message is a leaf just before it is split or after it took in its neighbour, of at most 20 entries (sled splits
/// above 16, checks before it inserts, and merges leaves below 4).
///
/// Measured against sled's default of 512 KiB: 8 MB more memory and 7 MB more disk, an idle store at 5 MB and one with
/// 32 000 small and 300 of the largest rows at 35 MB resident, no difference in commits a second; and 37 blob files
/// after 2000 of the largest values with the default, none with this.
const SEGMENT: usize = 4 * 1024 * 1024;
const _: () = assert!(20 * (MAX_VALUE + MAX_KEY + 64) < SEGMENT / 4);

/// Bytes of a journal's file, by default.
const JOURNAL: u64 = 8 * 1024 * 1024;

/// The least watermark, in bytes, that leaves room for sled to be opened again: for what the journal's two files
/// hold, and two segments it is put into. A third of as much was too little after one in four fillings of a small disk.
pub const LEAST_WATERMARK: u64 = 2 * JOURNAL + 2 * SEGMENT as u64;

/// Rows read between two chances for other tasks to run.
const SCAN_STRETCH: usize = 256;

/// How a [`SledStore`] uses memory and disk.
#[derive(Clone, Debug)]
pub struct SledSettings {
    /// Bytes of rows sled keeps in memory. By default 16 MiB.
    pub cache_bytes: u64,
    /// Bytes that must stay free on the file system: below, only deletes are taken. By default 256 MiB; with less than
    /// [`LEAST_WATERMARK`] there may be no room for sled to be opened again.
    pub watermark_bytes: u64,
    /// How often free space is asked for at most; by default every second. It is asked for sooner when a quarter of
    /// the watermark has been written since.
    pub watermark_interval: Duration,
    /// Who is asked for the free space; by default the system.
    pub free_space: FreeSpace,
    /// Bytes of batches that wait to be written; callers beyond wait for a place. By default 32 MiB, never less
    /// than two of the largest batches.
    pub queue_bytes: usize,
    /// The most batches synced together. By default 4096.
    pub group_batches: usize,
    /// The bytes from which on a group takes no more batches. By default 4 MiB.
    pub group_bytes: usize,
    /// The bytes from which on one of the journal's two files takes no more groups and its rows settle in sled. By
    /// default 8 MiB: an opening after a crash reads back at most 16 MiB and two groups, and the rows in memory that
    /// have not settled are as many.
    pub journal_bytes: u64,
}

impl Default for SledSettings {
    fn default() -> Self {
        Self {
            cache_bytes: 16 * 1024 * 1024,
            watermark_bytes: 256 * 1024 * 1024,
            watermark_interval: Duration::from_secs(1),
            free_space: FreeSpace::default(),
            queue_bytes: 32 * 1024 * 1024,
            group_batches: 4096,
            group_bytes: 4 * 1024 * 1024,
            journal_bytes: JOURNAL,
        }
    }
}

/// A store in a folder of its own. Dropping it finishes what was accepted.
///
/// What a read sees is durable.
#[derive(Debug)]
pub struct SledStore {
    writer: Mutex<Writer>,
    orders: Arc<Queue<Order>>,
    shared: Arc<Shared>,
    view: View,
    path: PathBuf,
    disk_bytes: Mutex<Option<(Instant, u64)>>,
    unread: Unread,
    /// Given back last, when sled has let go of the folder.
    _lock: FolderLock,
}

impl SledStore {
    /// Opens the store in `path`, which is made if it is not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it open, [`StoreError::Newer`] if a newer host wrote it,
    /// [`StoreError::Damaged`] if it does not read, [`StoreError::Failed`] if the file system fails.
    pub fn open(path: &Path, settings: SledSettings) -> Result<Self, StoreError> {
        Self::open_with(path, settings, migrate::MIGRATIONS)
    }

    fn open_with(path: &Path, settings: SledSettings, migrations: &[Migration]) -> Result<Self, StoreError> {
        make_private(path)?;
        let lock = FolderLock::take(path)?;
        let openings = openings::before(path)?;
        let rows = path.join("db");
        if openings > 0 && !rows.exists() {
            let why = format!("{} is missing: put it back, or restore a backup", rows.display());
            return Err(StoreError::Damaged(why));
        }
        let db = open_sled(path, settings.cache_bytes)?;
        if openings > 0 && db.is_empty() {
            return Err(StoreError::Damaged(format!(
                "{} has lost every row; restore a backup",
                path.display()
            )));
        }
        let found = migrate::found(&db, migrations)?;
        openings::compare(&db, path, openings)?;
        let held = match found {
            migrate::SALTED.. if openings > 0 => Held::Salted,
            migrate::JOURNAL.. if openings > 0 => Held::Unsalted,
            _ => Held::Nothing,
        };
        let journal = open_journal(&db, path, settings.journal_bytes, held)?;
        migrate::migrate(&db, found, migrations, |batch| commit_now(&db, batch))?;
        openings::count(&db, path)?;
        sync_files(path)?;

        let watermark =
            Watermark::new(path, settings.watermark_bytes, settings.watermark_interval, settings.free_space);
        let queue = settings.queue_bytes.clamp(2 * MAX_BATCH, Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            queue: Semaphore::new(queue),
            closed: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            watermark,
        });
        let limits =
            GroupLimits { batches: settings.group_batches.max(1), bytes: settings.group_bytes.max(1) };
        let view = View::new(db.clone());
        let writer = Writer::start(db, view.clone(), journal, shared.clone(), limits)?;
        let orders = writer.orders.clone();
        Ok(Self {
            writer: Mutex::new(writer),
            orders,
            shared,
            view,
            path: path.to_owned(),
            disk_bytes: Mutex::new(None),
            unread: Unread::default(),
            _lock: lock,
        })
    }

    /// Takes no more writes and returns when everything accepted is durable. Reads go on until the store is dropped.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.queue.close();
        self.writer.lock().finish();
    }

    /// What a backup reads from. It keeps sled open until it is dropped.
    pub(crate) fn source(&self) -> Source {
        Source { view: self.view.clone(), orders: self.orders.clone(), shared: self.shared.clone() }
    }

    fn disk_bytes(&self) -> Option<u64> {
        let mut last = self.disk_bytes.lock();
        match *last {
            Some((at, bytes)) if at.elapsed() < Duration::from_secs(1) => Some(bytes),
            _ => {
                let bytes = folder_bytes(&self.path)?;
                *last = Some((Instant::now(), bytes));
                Some(bytes)
            }
        }
    }
}

#[async_trait]
impl Store for SledStore {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        guarded(|| self.view.get(key))
    }

    async fn scan(
        &self,
        range: Range<Key>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        let mut left = (limit > 0).then_some(range);
        let mut stretch = limit.min(SCAN_STRETCH);
        while let Some(range) = left.filter(|range| !range.is_empty()) {
            left = guarded(|| self.view.scan_stretch(&range, direction, stretch, &mut rows))?;
            if rows.len() >= limit {
                rows.truncate(limit);
                break;
            }
            // Removed rows were among those looked at, or it is a long scan.
            stretch = SCAN_STRETCH;
            tokio::task::yield_now().await;
        }
        Ok(rows)
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        let bytes = group::check_sizes(&batch)?;
        let cost = u32::try_from(bytes).expect("a batch is smaller than 4 GiB");
        // Given back by the writer with the answer, whether or not this caller still waits for it.
        self.shared.queue.acquire_many(cost).await.map_err(|_| CLOSED)?.forget();
        let (sender, answer) = oneshot::channel();
        if !self.orders.put(Order::Commit(Job { batch, cost, answer: sender })) {
            return Err(CLOSED);
        }
        // What was accepted and is not answered may have been written before the writer ended.
        answer.await.map_err(|_| writer::unsure(&"the writer ended"))?
    }

    fn health(&self) -> Health {
        let refusing = if self.shared.closed.load(Ordering::SeqCst) {
            Some(Refusal::Closed)
        } else {
            self.shared.watermark.check(0).is_err().then_some(Refusal::DiskFull)
        };
        let commits = self.shared.commits.load(Ordering::Relaxed);
        Health {
            refusing,
            free_bytes: self.shared.watermark.free(),
            disk_bytes: self.disk_bytes(),
            syncs: self.shared.syncs.load(Ordering::Relaxed),
            commits,
            damaged: journal::set_aside(&self.path),
        }
    }

    fn unread(&self) -> &Unread {
        &self.unread
    }

    /// The folder's lock keeps other processes out.
    fn is_exclusive(&self) -> bool {
        true
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// Opens sled's part of a store in `path`.
pub(crate) fn open_sled(path: &Path, cache_bytes: u64) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        .segment_size(SEGMENT)
        // Nothing is acknowledged on a timer.
        .flush_every_ms(None);
    remove_unfinished(path).map_err(|error| io_failed(path, &error))?;
    let started = Instant::now();
    loop {
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        match opened {
            Ok(Ok(db)) => return Ok(db),
            // A store of this process that was closed a moment ago: sled lets go of its file when its own threads
            // get round to it. Other processes are kept out by the folder's lock.
            Ok(Err(sled::Error::Io(error)))
                if error.to_string().contains("could not acquire lock")
                    && started.elapsed() < Duration::from_secs(10) =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(Err(sled::Error::Io(error))) if error.kind() == io::ErrorKind::StorageFull => {
                return Err(does_not_open(path));
            }
            Ok(Err(error)) => return Err(failed(error)),
            Err(panic) => {
                let why = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("it does not say why");
                return Err(StoreError::Damaged(format!("{} does not open: {why}", path.display())));
            }
        }
    }
}

/// Removes the snapshots that openings which were cut off, or found the disk full, left half written. sled reads the last
/// by name whether or not it is whole; the one before is there as long as that has not got its own name.
fn remove_unfinished(path: &Path) -> io::Result<()> {
    let Ok(files) = std::fs::read_dir(path) else { return Ok(()) };
    for file in files {
        let file = file?;
        let name = file.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

/// Makes durable what sled leaves to chance: its settings, and that the folder knows its files. Its log and its
/// snapshots it syncs itself.
pub(crate) fn sync_files(path: &Path) -> Result<(), StoreError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    for path in [Some(&*path.join("conf")), Some(path), parent].into_iter().flatten() {
        sync_folder(path).map_err(|error| io_failed(path, &error))?;
    }
    Ok(())
}

/// Commits a batch on this thread, before there is a writer.
pub(crate) fn commit_now(db: &sled::Db, batch: Batch) -> Result<(), StoreError> {
    let mut group = Group::default();
    group.add(batch, |key| view::read(db, key))?;
    apply(db, &group.into_rows())?;
    db.flush().map_err(failed)?;
    Ok(())
}

/// Applies the rows to sled as one atomic change, not durable yet.
pub(crate) fn apply(db: &sled::Db, rows: &Rows) -> Result<(), StoreError> {
    let mut batch = sled::Batch::default();
    for (key, row) in rows {
        match row {
            Some(value) => batch.insert(key.as_bytes(), &value[..]),
            None => batch.remove(key.as_bytes()),
        }
    }
    db.apply_batch(batch).map_err(failed)
}

/// Opens the journal of the store in `path`, of which there must be what is `held`, and settles what it holds.
fn open_journal(db: &sled::Db, path: &Path, full: u64, held: Held) -> Result<Journal, StoreError> {
    let missing = journal::missing(path);
    if held != Held::Nothing && !missing.is_empty() {
        let why = format!("part of the journal is missing: {missing:?}; put it back or restore a backup");
        return Err(StoreError::Damaged(why));
    }
    let durable = checkpoint::durable(db)?;
    let (mut journal, Replay { rows, last, lost }) = Journal::open(path, full, durable, held)?;
    if lost > 0 {
        tracing::error!(
            lost,
            "the journal is damaged: what was committed behind is lost, and the files are kept as they were found"
        );
    }
    // Before the store's version says that there is a journal, the folder knows its files.
    sync_files(path)?;
    if last > durable {
        // Also if it is but the record of a close: the file it is in may be the next to be overwritten.
        tracing::info!(rows = rows.len(), records = last - durable, "the journal's rows go to sled");
        guarded(|| checkpoint::settle(db, &rows, last))?;
    }
    if held == Held::Unsalted {
        // Before the store's version says that files without salt hold nothing, one with salt holds the last record.
        journal.append(&Rows::new()).map_err(|error| match error {
            AppendError::Full => does_not_open(path),
            AppendError::Unsure(error) => error,
        })?;
    }
    Ok(journal)
}

/// sled panics on some damage it meets while reading.
pub(crate) fn guarded<T>(read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(StoreError::Damaged("a page could not be read".to_owned())))
}

/// sled's errors in this crate's words.
pub(crate) fn failed(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } => StoreError::Damaged(format!(
            "what sled keeps (db, conf, snap.*) does not read; restore a backup: {error}"
        )),
        other => StoreError::Failed(other.to_string()),
    }
}

/// Why a store does not open that finds no room to.
fn does_not_open(path: &Path) -> StoreError {
    StoreError::Failed(format!("{} does not open on a full disk: free a few MiB of it", path.display()))
}

/// A file system's error with the file it is about.
pub(crate) fn io_failed(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Failed(format!("{}: {error}", path.display()))
}

fn folder_bytes(path: &Path) -> Option<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path).ok()?.flatten() {
        let Ok(about) = entry.metadata() else { continue };
        bytes += if about.is_dir() { folder_bytes(&entry.path()).unwrap_or(0) } else { about.len() };
    }
    Some(bytes)
}

#[cfg(test)]
#[path = "sled/tests.rs"]
mod tests;
