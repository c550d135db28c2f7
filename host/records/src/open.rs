//! What a start reads: which chunks and segments there are, not what is in them.

use std::collections::HashSet;
use std::sync::Arc;

use bellwether_kernel::OrganisationId;
use bellwether_store::{Digest, StoreError, Walk, decode};

use crate::layout::{self, ChunkRow, Next, SegmentRow};
use crate::retention::Retention;
use crate::service::Parts;
use crate::shelf::{Chunk, Placed, State};

/// What there is, and the next segment's number.
pub(crate) async fn open(parts: &Parts) -> Result<(State, u64), StoreError> {
    let mut state = State::default();
    let at_least = |state: &mut State, organisation: OrganisationId, next: u64| {
        let known = state.next.entry(organisation).or_insert(1);
        *known = next.max(*known);
    };
    let mut rows = Walk::forward(&*parts.store, layout::chunks(parts.host).prefix());
    while let Some((key, value)) = rows.next().await? {
        let organisation = layout::organisation_of_chunk(&key)?;
        let ChunkRow { kind, extent, appended } = decode(&value)?;
        at_least(&mut state, organisation, extent.high + 1);
        let shelf = state.shelves.entry((organisation, kind)).or_default();
        shelf.chunks.push(Arc::new(Chunk { extent, appended }));
    }
    let (mut next_segment, mut used) = (1, HashSet::new());
    let mut rows = Walk::forward(&*parts.store, layout::segments(parts.host).prefix());
    while let Some((key, value)) = rows.next().await? {
        let (number, row) = (layout::number_of_segment(&key)?, decode::<SegmentRow>(&value)?);
        next_segment = next_segment.max(number + 1);
        used.insert(row.digest);
        at_least(&mut state, row.organisation, row.extent.high + 1);
        let shelf = state.shelves.entry((row.organisation, row.kind)).or_default();
        shelf.segments.push(Arc::new(Placed { number, row }));
    }
    let mut rows = Walk::forward(&*parts.store, layout::all_next().prefix());
    while let Some((key, value)) = rows.next().await? {
        at_least(&mut state, layout::organisation_of_next(&key)?, decode::<Next>(&value)?.0);
    }
    let mut rows = Walk::forward(&*parts.store, layout::all_retentions().prefix());
    while let Some((key, value)) = rows.next().await? {
        state.retentions.insert(layout::organisation_of_retention(&key)?, decode::<Retention>(&value)?);
    }
    // What an interrupted packing or merge left.
    let is_used = |digest: &Digest| used.contains(digest);
    layout::loose(parts).clear(is_used).await?;
    Ok((state, next_segment))
}
