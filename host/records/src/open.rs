//! What a start reads: which chunks and segments there are, not what is in them.

use std::collections::HashSet;
use std::sync::Arc;

use bellwether_kernel::OrganisationId;
use bellwether_store::{Digest, Key, StoreError, Walk, decode};

use crate::layout::{self, ChunkRow, Next, SegmentRow};
use crate::retention::Retention;
use crate::service::Parts;
use crate::shelf::{Chunk, Placed, State};

/// Ids that are passed over where the count of those that were used does not read: more than there can have been of records that
/// are gone, a million a second for an hour.
const PASSED_OVER: u64 = 1 << 32;

/// What there is, and the next segment's number.
pub(crate) async fn open(parts: &Parts) -> Result<(State, u64), StoreError> {
    let mut state = State::default();
    let at_least = |state: &mut State, organisation: OrganisationId, next: u64| {
        let known = state.next.entry(organisation).or_insert(1);
        *known = next.max(*known);
    };
    let mut rows = Walk::forward(&*parts.store, layout::chunks(parts.host).prefix());
    let unread = parts.store.unread();
    let read = |key: &Key, _: &[u8]| Ok((layout::organisation_of_chunk(key)?, layout::low_of_chunk(key)?));
    while let Some((key, value, (organisation, low))) = rows.next_read(read).await? {
        let Some(ChunkRow { kind, extent, appended }) = unread.decode(&key, &value) else {
            // How many records it holds is not known, but how many it can.
            at_least(&mut state, organisation, low.saturating_add(parts.limits.batch_records as u64));
            continue;
        };
        at_least(&mut state, organisation, extent.high + 1);
        let shelf = state.shelves.entry((organisation, kind)).or_default();
        shelf.chunks.push(Arc::new(Chunk::new(extent, appended)));
    }
    let (mut next_segment, mut used, mut all_read) = (1, HashSet::new(), true);
    let mut rows = Walk::forward(&*parts.store, layout::segments(parts.host).prefix());
    while let Some((key, value, number)) = rows.next_read(|key, _| layout::number_of_segment(key)).await? {
        next_segment = next_segment.max(number + 1);
        let Some(row) = unread.decode::<SegmentRow>(&key, &value) else {
            all_read = false;
            continue;
        };
        used.insert(row.digest);
        at_least(&mut state, row.organisation, row.extent.high + 1);
        let shelf = state.shelves.entry((row.organisation, row.kind)).or_default();
        shelf.segments.push(Arc::new(Placed { number, row }));
    }
    let mut rows = Walk::forward(&*parts.store, layout::all_next().prefix());
    while let Some((key, value, organisation)) =
        rows.next_read(|key, _| layout::organisation_of_next(key)).await?
    {
        let next = unread.decode::<Next>(&key, &value);
        let next =
            next.map_or_else(|| state.next(organisation).saturating_add(PASSED_OVER), |Next(next)| next);
        at_least(&mut state, organisation, next);
    }
    // Without its own, an organisation's records are kept as long as the host keeps any.
    let mut rows = Walk::forward(&*parts.store, layout::all_retentions().prefix());
    let read =
        |key: &Key, value: &[u8]| Ok((layout::organisation_of_retention(key)?, decode::<Retention>(value)?));
    while let Some((.., (organisation, retention))) = rows.next_read(read).await? {
        state.retentions.insert(organisation, retention);
    }
    // What an interrupted packing or merge left; unless a row that does not read may refer to it.
    if all_read {
        let is_used = |digest: &Digest| used.contains(digest);
        layout::loose(parts).clear(is_used).await?;
    }
    Ok((state, next_segment))
}
