//! Where records are: the chunks and segments of one organisation and kind.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bellwether_kernel::{OrganisationId, Timestamp};

use crate::layout::{Extent, SegmentRow};
use crate::retention::{Retention, first_kept};
use crate::{Limits, RecordKind};

/// A chunk in the store.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) extent: Extent,
    pub(crate) appended: Timestamp,
    /// Whether its content was found missing or damaged: then it is left where it is, and the others are packed without it.
    is_lost: AtomicBool,
}

impl Chunk {
    pub(crate) fn new(extent: Extent, appended: Timestamp) -> Self {
        Self { extent, appended, is_lost: AtomicBool::new(false) }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    pub(crate) fn lose(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
    }
}

/// A segment in use.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) number: u64,
    pub(crate) row: SegmentRow,
}

/// The chunks and segments of one organisation and kind. Changes as a whole, so that no reader misses a record.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// In no order.
    pub(crate) chunks: Vec<Arc<Chunk>>,
    pub(crate) segments: Vec<Arc<Placed>>,
}

impl Shelf {
    /// The chunks that can be packed.
    pub(crate) fn packable(&self) -> impl Iterator<Item = &Arc<Chunk>> {
        self.chunks.iter().filter(|chunk| !chunk.is_lost())
    }

    /// Bytes of the records in chunks.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        self.packable().map(|chunk| chunk.extent.size).sum()
    }

    /// Whether chunks are so many, or so large, `times` what calls for a packing.
    pub(crate) fn is_full(&self, limits: &Limits, times: usize) -> bool {
        self.packable().count() >= limits.chunks.saturating_mul(times)
            || self.chunk_bytes() >= limits.chunk_bytes.saturating_mul(times as u64)
    }
}

/// Whose shelf.
pub(crate) type Owner = (OrganisationId, RecordKind);

/// What is known in memory.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) shelves: HashMap<Owner, Shelf>,
    pub(crate) retentions: HashMap<OrganisationId, Retention>,
    /// The next id of each organisation.
    pub(crate) next: HashMap<OrganisationId, u64>,
}

impl State {
    /// The first time an owner's records are kept from.
    pub(crate) fn first_kept(&self, owner: Owner, limits: &Limits, now: Timestamp) -> i64 {
        let retention = self.retentions.get(&owner.0).copied().unwrap_or_default();
        first_kept(now, retention.days(owner.1, limits))
    }

    /// The next id of an organisation that has had none is 1.
    pub(crate) fn next(&self, organisation: OrganisationId) -> u64 {
        self.next.get(&organisation).copied().unwrap_or(1)
    }
}
