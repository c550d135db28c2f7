//! Where somebody is who reads many series of a segment, in order of their numbers.

use std::sync::Arc;

use bellwether_store::StoreError;

use super::{Entry, Segment};

/// Bytes read at once where blocks are asked for one behind the other; of every segment a query goes through.
const AHEAD: u64 = 16 * 1024;

/// Bytes that may lie between two blocks for that: of series that were not asked for.
const GAP: u64 = 4 * 1024;

/// Keeps the page of entries and the bytes that were read last, so that series that lie together are read together.
#[derive(Default)]
pub(crate) struct Cursor {
    /// Which page, and what is on it.
    pub(super) page: Option<(usize, Arc<Vec<Entry>>)>,
    /// Where the bytes begin.
    offset: u64,
    bytes: Vec<u8>,
}

impl Cursor {
    /// The bytes of blocks of `segment` that lie behind each other.
    pub(crate) fn bytes(&mut self, segment: &Segment, offset: u64, length: u64) -> Result<&[u8], StoreError> {
        let end = self.offset + self.bytes.len() as u64;
        if offset < self.offset || offset.saturating_add(length) > end {
            let goes_on = (self.offset..=end.saturating_add(GAP)).contains(&offset);
            let most = segment.length.saturating_sub(offset);
            let read = if goes_on { length.max(AHEAD.min(most)) } else { length };
            // What was read before is of no use if this fails.
            self.bytes.clear();
            segment.read(offset, read, &mut self.bytes)?;
            self.offset = offset;
        }
        let start = (offset - self.offset) as usize;
        Ok(&self.bytes[start..start + length as usize])
    }
}
