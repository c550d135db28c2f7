//! Segments whose files are missing or damaged: what lies in them is not found, and who needs it is told so.

use std::fs::File;
use std::sync::Arc;

use bellwether_kernel::Timestamp;
use bellwether_store::{Digest, LeftOut, StoreError, blocking};

use crate::layout::SegmentRow;
use crate::service::Shared;
use crate::shelf::Placed;
use crate::{RecordError, Records};

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
        // What is merged away meanwhile is not lost.
        let _turn = self.shared.upkeep.lock().await;
        let looking = blocking("looking for segments of records", move || {
            for placed in shared.segments(|_| true) {
                shared.lost.look(&placed.row.digest, placed.row.bytes, || what(&placed.row));
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
    fn segments(&self, wanted: impl Fn(&Placed) -> bool) -> Vec<Arc<Placed>> {
        let state = self.state.read();
        let all = state.shelves.values().flat_map(|shelf| &shelf.segments);
        all.filter(|placed| wanted(placed)).cloned().collect()
    }

    /// Opens a segment's file. Where that is not there, or not whole, this is told to who needs what is in it.
    pub(crate) fn open_file(&self, placed: &Placed) -> Result<File, StoreError> {
        let SegmentRow { digest, bytes, .. } = &placed.row;
        self.parts.objects.open_file(digest).map_err(|error| {
            // One that was merged into others meanwhile is not lost.
            if self.segments(|there| there.number == placed.number).is_empty() {
                return error;
            }
            self.lost.look(digest, *bytes, || what(&placed.row));
            self.lost.error(digest).unwrap_or(error)
        })
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
    let time = |milliseconds| Timestamp::from_milliseconds(milliseconds).unwrap_or(Timestamp::MIN);
    let SegmentRow { organisation, kind, extent, .. } = row;
    format!("the {kind}s of organisation {organisation} from {} to {}", time(extent.first), time(extent.last))
}
