//! What a start reads: which chunks and segments there are, not what is in them.

use std::collections::HashSet;
use std::sync::Arc;

use bellwether_kernel::OrganisationId;
use bellwether_store::{Digest, StoreError, decode, each_row, remove_loose};

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
    each_row(&*parts.store, layout::chunks(parts.host), |(key, value)| {
        let organisation = layout::organisation_of_chunk(&key)?;
        let ChunkRow { kind, extent, appended } = decode(&value)?;
        at_least(&mut state, organisation, extent.high + 1);
        let shelf = state.shelves.entry((organisation, kind)).or_default();
        shelf.chunks.push(Arc::new(Chunk { extent, appended }));
        Ok(())
    })
    .await?;
    let (mut next_segment, mut used) = (1, HashSet::new());
    each_row(&*parts.store, layout::segments(parts.host), |(key, value)| {
        let (number, row) = (layout::number_of_segment(&key)?, decode::<SegmentRow>(&value)?);
        next_segment = next_segment.max(number + 1);
        used.insert(row.digest);
        at_least(&mut state, row.organisation, row.extent.high + 1);
        let shelf = state.shelves.entry((row.organisation, row.kind)).or_default();
        shelf.segments.push(Arc::new(Placed { number, row }));
        Ok(())
    })
    .await?;
    each_row(&*parts.store, layout::all_next(), |(key, value)| {
        at_least(&mut state, layout::organisation_of_next(&key)?, decode::<Next>(&value)?.0);
        Ok(())
    })
    .await?;
    each_row(&*parts.store, layout::all_retentions(), |(key, value)| {
        state.retentions.insert(layout::organisation_of_retention(&key)?, decode::<Retention>(&value)?);
        Ok(())
    })
    .await?;
    // What an interrupted packing or merge left.
    let is_used = |digest: &Digest| used.contains(digest);
    remove_loose(&*parts.store, &parts.objects, layout::all_loose(parts.host), is_used).await?;
    Ok((state, next_segment))
}
