//! Segments whose files are missing or damaged: a host goes on without, and who needs what lies in them is told so.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bellwether_kernel::Timestamp;
use bellwether_store::{Digest, LeftOut, StoreError, blocking};

use crate::SeriesError;
use crate::layout::SegmentRow;
use crate::limits::ATTEMPTS;
use crate::segment::{Entry, Segment, damaged};
use crate::service::{Placed, Series, Shared};

impl Series {
    /// The segments that are known to be missing or damaged, with what an operator is to do about each.
    #[must_use]
    pub fn lost(&self) -> Vec<LeftOut> {
        self.shared.lost.all()
    }

    /// Looks whether every segment's file is there and as long as it was written; reads none. What a backup cannot hold
    /// is in the answer, with what is known to be damaged.
    ///
    /// # Errors
    /// The store's.
    pub async fn look_for_segments(&self) -> Result<Vec<LeftOut>, SeriesError> {
        let shared = Arc::clone(&self.shared);
        let looking = blocking("looking for segments", move || {
            let segments = Arc::clone(&shared.state.read().segments);
            for placed in segments.iter() {
                placed.look();
            }
            Ok(shared.lost.all())
        });
        Ok(looking.await?)
    }

    /// Takes note that an object was found damaged, and how, if it is a segment of series; says what it is then.
    #[must_use]
    pub fn found_damaged(&self, digest: &Digest, how: &str) -> Option<LeftOut> {
        let segments = Arc::clone(&self.shared.state.read().segments);
        let placed = segments.iter().find(|placed| placed.row.digest == *digest)?;
        Some(self.shared.lost.tell(digest, what(&placed.row), format!("is damaged ({how})")))
    }
}

impl Shared {
    /// Whether a segment is lost, as far as is known.
    pub(crate) fn is_lost(&self, placed: &Placed) -> bool {
        self.lost.has(&placed.row.digest)
    }
}

impl Placed {
    /// Looks whether its file is there; tells if not.
    pub(crate) fn look(&self) {
        let SegmentRow { digest, bytes, .. } = &self.row;
        // What was merged away meanwhile is not lost.
        self.lost.look(digest, *bytes, || (!self.gone.load(Ordering::Acquire)).then(|| what(&self.row)));
    }

    /// The segment, if it opened.
    ///
    /// # Errors
    /// [`StoreError::Lost`].
    pub(crate) fn segment(&self) -> Result<&Segment, StoreError> {
        self.segment.as_ref().ok_or_else(|| self.lost(damaged("all")))
    }

    /// Every block, in order of series and time.
    ///
    /// # Errors
    /// [`StoreError::Lost`].
    pub(crate) fn all(&self) -> Result<Vec<Entry>, StoreError> {
        self.segment()?.all().map_err(|error| self.lost(error))
    }

    /// The bytes of a block.
    ///
    /// # Errors
    /// [`StoreError::Lost`].
    pub(crate) fn block(&self, entry: &Entry) -> Result<Vec<u8>, StoreError> {
        self.segment()?.block(entry).map_err(|error| self.lost(error))
    }

    /// Says that a block does not read.
    pub(crate) fn damaged(&self) -> StoreError {
        self.lost(damaged("a block"))
    }

    /// Why the segment, or what was read of it, does not read: as that is told to who needs it.
    pub(crate) fn lost(&self, error: StoreError) -> StoreError {
        if self.gone.load(Ordering::Acquire) {
            return StoreError::Unavailable(MOVED);
        }
        let digest = &self.row.digest;
        if !self.lost.has(digest) {
            self.look();
        }
        if let StoreError::Damaged(how) | StoreError::Failed(how) = &error
            && !self.lost.has(digest)
        {
            self.lost.tell(digest, what(&self.row), format!("is damaged ({how})"));
        }
        self.lost.error(digest).unwrap_or(error)
    }
}

/// What a reader is told whose segment gave way to others: it is in them, for who looks again.
const MOVED: &str = "segments of series were merged again and again while they were read";

/// Does `work`, which reads segments, and does it again where they gave way to others meanwhile.
pub(crate) fn as_they_move<T>(mut work: impl FnMut() -> Result<T, SeriesError>) -> Result<T, SeriesError> {
    for _ in 1..ATTEMPTS {
        match work() {
            Err(SeriesError::Store(StoreError::Unavailable(MOVED))) => {}
            done => return done,
        }
    }
    work()
}

/// What is in a segment.
fn what(row: &SegmentRow) -> String {
    let time = |milliseconds| Timestamp::from_milliseconds(milliseconds).unwrap_or(Timestamp::MIN);
    format!("samples from {} to {}", time(row.first), time(row.last))
}
