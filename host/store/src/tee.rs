//! Shows a backup what is committed while it scans.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::StoreError;
use crate::group::Rows;

/// The writer's end: final rows of every group it applies, in order.
#[derive(Debug)]
pub(crate) struct Tee {
    groups: Sender<(Arc<Rows>, usize)>,
    backlog: Arc<Backlog>,
}

/// The reader's end.
#[derive(Debug)]
pub(crate) struct TeeReader {
    groups: Receiver<(Arc<Rows>, usize)>,
    backlog: Arc<Backlog>,
}

#[derive(Debug)]
struct Backlog {
    bytes: AtomicUsize,
    limit: usize,
    overflowed: AtomicBool,
}

/// A tee that holds at most `limit` bytes of rows not read yet.
pub(crate) fn tee(limit: usize) -> (Tee, TeeReader) {
    let (sender, receiver) = unbounded();
    let backlog = Arc::new(Backlog { bytes: AtomicUsize::new(0), limit, overflowed: AtomicBool::new(false) });
    (Tee { groups: sender, backlog: backlog.clone() }, TeeReader { groups: receiver, backlog })
}

impl Tee {
    /// Hands over a group of `bytes`; false if nobody reads or the reader is too far behind: the tee is over then.
    pub(crate) fn send(&self, rows: &Arc<Rows>, bytes: usize) -> bool {
        if self.backlog.bytes.fetch_add(bytes, Ordering::SeqCst) + bytes > self.backlog.limit {
            self.backlog.overflowed.store(true, Ordering::SeqCst);
            return false;
        }
        self.groups.send((rows.clone(), bytes)).is_ok()
    }
}

impl TeeReader {
    /// The next group that is already there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if more was committed meanwhile than is kept: groups are missing.
    pub(crate) fn next(&self) -> Result<Option<Arc<Rows>>, StoreError> {
        if self.backlog.overflowed.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable(
                "the backup is read more slowly than the store is written; read it faster, or at a quieter time",
            ));
        }
        Ok(self.groups.try_recv().ok().map(|(rows, bytes)| {
            self.backlog.bytes.fetch_sub(bytes, Ordering::SeqCst);
            rows
        }))
    }
}
