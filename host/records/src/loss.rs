//! Segments whose files are missing or damaged, and chunks whose content is: what lies in them is not found, and who needs it
//! is told so.

use std::fs::File;
use std::sync::Arc;

use bellwether_kernel::{RecordId, Timestamp};
use bellwether_store::{Digest, LeftOut, StoreError, blocking};

use crate::layout::{self, Extent, SegmentRow};
use crate::service::Shared;
use crate::shelf::{Chunk, Owner, Placed};
use crate::{RecordError, Records};

/// Why a chunk whose row is there cannot be read.
pub(crate) const HAS_NO_CONTENT: &str = "it has no content";

impl Records {
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
    pub async fn look_for_segments(&self) -> Result<Vec<LeftOut>, RecordError> {
        let shared = Arc::clone(&self.shared);
        let looking = blocking("looking for segments of records", move || {
            for placed in shared.segments(|_| true) {
                shared.look(&placed);
            }
            Ok(shared.lost.all())
        });
        Ok(looking.await?)
    }

    /// Takes note that an object was found damaged, and how, if it is a segment of records; says what it is then.
    #[must_use]
    pub fn found_damaged(&self, digest: &Digest, how: &str) -> Option<LeftOut> {
        let placed = self.shared.segments(|placed| placed.row.digest == *digest).pop()?;
        Some(self.shared.lost.tell(digest, what(&placed.row), format!("is damaged ({how})")))
    }
}

impl Shared {
    /// Everybody's segments that are as `wanted`.
    pub(crate) fn segments(&self, wanted: impl Fn(&Placed) -> bool) -> Vec<Arc<Placed>> {
        let state = self.state.read();
        let all = state.shelves.values().flat_map(|shelf| &shelf.segments);
        all.filter(|placed| wanted(placed)).cloned().collect()
    }

    /// Opens a segment's file. Where that is not there, or not whole, this is told to who needs what is in it.
    pub(crate) fn open_file(&self, placed: &Placed) -> Result<File, StoreError> {
        let digest = &placed.row.digest;
        self.parts.objects.open_file(digest).map_err(|error| {
            self.look(placed);
            self.lost.error(digest).unwrap_or(error)
        })
    }

    /// Looks whether a segment's file is there; tells if not.
    pub(crate) fn look(&self, placed: &Placed) {
        let SegmentRow { digest, bytes, .. } = &placed.row;
        self.lost.look(digest, *bytes, || {
            // One that was merged into others meanwhile is not lost.
            let in_use = !self.segments(|there| there.number == placed.number).is_empty();
            in_use.then(|| what(&placed.row))
        });
    }

    /// Takes note that the content of a chunk is missing or damaged. It is packed no more, or nothing of its owner would be.
    pub(crate) fn lose(&self, owner: Owner, chunk: &Chunk, why: &str) {
        chunk.lose();
        let key = layout::chunk(self.parts.host, owner.0, RecordId(chunk.extent.low));
        let what = between(owner, &chunk.extent);
        self.parts.store.unread().tell(&key, &format!("{what} cannot be read: {why}"));
    }

    /// What is told to who needs what is in a chunk that does not read.
    pub(crate) fn lost_chunk(&self, owner: Owner, chunk: &Chunk, why: &str) -> StoreError {
        self.lose(owner, chunk, why);
        let what = between(owner, &chunk.extent);
        StoreError::Lost(format!("{what} cannot be read: {why}; the host's operator restores a backup"))
    }

    /// Why what was read of a segment does not read, as that is told to who needs it.
    pub(crate) fn damaged(&self, placed: &Placed, error: StoreError) -> StoreError {
        let digest = &placed.row.digest;
        if let StoreError::Damaged(how) | StoreError::Failed(how) = &error {
            self.lost.tell(digest, what(&placed.row), format!("is damaged ({how})"));
        }
        self.lost.error(digest).unwrap_or(error)
    }
}

/// What is in a segment.
fn what(row: &SegmentRow) -> String {
    between((row.organisation, row.kind), &row.extent)
}

fn between((organisation, kind): Owner, extent: &Extent) -> String {
    let time = |milliseconds| Timestamp::from_milliseconds(milliseconds).unwrap_or(Timestamp::MIN);
    format!("the {kind}s of organisation {organisation} from {} to {}", time(extent.first), time(extent.last))
}
