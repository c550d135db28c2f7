//! What a start reads: which chunks and segments there are, not what is in them.

use std::collections::HashSet;
use std::sync::Arc;

use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, Direction, Key, Row, SharedStore, Store, StoreError, decode};

use crate::layout::{self, ChunkRow, Next, SegmentRow};
use crate::retention::Retention;
use crate::service::Parts;
use crate::shelf::{Chunk, Placed, State};

/// Rows read at once.
const PAGE: usize = 4096;

/// What there is, and the next segment's number.
pub(crate) async fn open(parts: &Parts) -> Result<(State, u64), StoreError> {
    let mut state = State::default();
    let at_least = |state: &mut State, organisation: OrganisationId, next: u64| {
        let known = state.next.entry(organisation).or_insert(1);
        *known = next.max(*known);
    };
    each_row(&parts.store, layout::chunks(parts.host), |(key, value)| {
        let organisation = layout::organisation_of_chunk(&key)?;
        let ChunkRow { kind, extent, appended } = decode(&value)?;
        at_least(&mut state, organisation, extent.high + 1);
        let shelf = state.shelves.entry((organisation, kind)).or_default();
        shelf.chunks.push(Arc::new(Chunk { extent, appended }));
        Ok(())
    })
    .await?;
    let (mut next_segment, mut used) = (1, HashSet::new());
    each_row(&parts.store, layout::segments(parts.host), |(key, value)| {
        let (number, row) = (layout::number_of_segment(&key)?, decode::<SegmentRow>(&value)?);
        next_segment = next_segment.max(number + 1);
        used.insert(row.digest);
        at_least(&mut state, row.organisation, row.extent.high + 1);
        let shelf = state.shelves.entry((row.organisation, row.kind)).or_default();
        shelf.segments.push(Arc::new(Placed { number, row }));
        Ok(())
    })
    .await?;
    each_row(&parts.store, layout::all_next(), |(key, value)| {
        at_least(&mut state, layout::organisation_of_next(&key)?, decode::<Next>(&value)?.0);
        Ok(())
    })
    .await?;
    each_row(&parts.store, layout::all_retentions(), |(key, value)| {
        state.retentions.insert(layout::organisation_of_retention(&key)?, decode::<Retention>(&value)?);
        Ok(())
    })
    .await?;
    // What an interrupted packing or merge left.
    let (mut batch, mut left) = (Batch::new(), Vec::new());
    each_row(&parts.store, layout::all_loose(parts.host), |(key, _)| {
        let digest = layout::digest_of_loose(&key)?;
        if !used.contains(&digest) {
            left.push(digest);
        }
        batch.delete(key);
        Ok(())
    })
    .await?;
    left.iter().try_for_each(|digest| parts.objects.remove(digest))?;
    if !batch.is_empty() {
        parts.store.commit(batch).await?;
    }
    Ok((state, next_segment))
}

/// Goes through every row that begins with `prefix`.
async fn each_row(
    store: &SharedStore,
    prefix: Key,
    mut row: impl FnMut(Row) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut range = prefix.prefix();
    loop {
        let page = Store::scan(&**store, range.clone(), Direction::Forward, PAGE).await?;
        let more = page.len() == PAGE;
        if let Some((last, _)) = page.last() {
            range.start = last.successor();
        }
        page.into_iter().try_for_each(&mut row)?;
        if !more {
            return Ok(());
        }
    }
}
