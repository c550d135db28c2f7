//! What a start reads.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bellwether_kernel::OrganisationId;
use bellwether_store::{Digest, Key, Lost, SharedStore, StoreError, Walk, blocking, decode};

use crate::SeriesNumber;
use crate::heads::Heads;
use crate::index::Index;
use crate::layout::{self, Number, SegmentRow, SeriesRow};
use crate::log::{self, Columns};
use crate::metadata::Metadata;
use crate::segment::{Cache, Segment};
use crate::service::{Parts, Placed, Shared, State};

pub(crate) async fn open(parts: Parts) -> Result<Shared, StoreError> {
    let (indexes, highest) = read_indexes(&parts.store).await?;
    let host = parts.host;
    let (cache, lost) = (Cache::new(), Lost::new(parts.objects.clone()));
    let (segments, next_segment) = open_segments(&parts, &cache, &lost).await?;
    // What an interrupted packing or merge left; unless a row that does not read may refer to it.
    if segments.len() as u64 == segment_rows(&parts).await? {
        let is_used = |digest: &Digest| segments.iter().any(|placed| placed.row.digest == *digest);
        layout::loose(&parts).clear(is_used).await?;
    }
    // Each packing commits its segment and this together.
    let in_segments = || segments.iter().map(|placed| placed.row.high).max().unwrap_or(0);
    let packed = read_number(&parts.store, &layout::packed(host)).await?.unwrap_or_else(in_segments);
    let next_series = match read_number(&parts.store, &layout::next_series()).await? {
        Some(next) => next,
        // Series that were deleted may be in segments still, and their numbers are not to be another's.
        None => {
            let segments = segments.clone();
            blocking("looking for the numbers of series", move || Ok(highest_in(&segments) + 1)).await?
        }
    };

    let (mut active, mut applied, mut first) = (Heads::default(), packed, None);
    let mut rows = Walk::forward(&*parts.store, layout::log(host).prefix());
    while let Some((key, value, number)) = rows.next_read(|key, _| layout::number_behind_host(key)).await? {
        first.get_or_insert(number);
        // Rows of before are there because nobody came to remove them.
        if number > packed {
            let mut columns = Columns::default();
            match log::read(&value, &mut columns) {
                Some(()) => active.add(&columns),
                None => parts.store.unread().tell(&key, log::DOES_NOT_READ),
            }
            // Its number is used, whether it reads or not.
            applied = number;
        }
    }
    let since = (active.samples() > 0).then(|| parts.clock.now());
    let state = State { applied, active, since, packed, frozen: None, segments: Arc::new(segments) };
    let next_series = next_series.max(u64::from(highest) + 1);
    // Where every number is used, what there is goes on.
    let next_series = u32::try_from(next_series).unwrap_or(u32::MAX);
    let first_row = first.unwrap_or(applied + 1);
    Ok(Shared::new(parts, indexes, state, (cache, lost), (next_series, next_segment), first_row))
}

/// A counter; `None` if it does not read.
async fn read_number(store: &SharedStore, key: &Key) -> Result<Option<u64>, StoreError> {
    Ok(match store.get(key).await? {
        Some(row) => store.unread().decode::<Number>(key, &row).map(|Number(number)| number),
        None => Some(0),
    })
}

/// Which series there are, and the highest number that one has, though it may not read.
async fn read_indexes(store: &SharedStore) -> Result<(HashMap<OrganisationId, Index>, u32), StoreError> {
    let (mut indexes, mut highest): (HashMap<OrganisationId, Index>, u32) = (HashMap::new(), 0);
    let mut rows = Walk::forward(&**store, layout::all_series().prefix());
    while let Some((key, value, place)) =
        rows.next_read(|key, _| layout::organisation_and_number(key)).await?
    {
        let (organisation, number) = place;
        highest = highest.max(number);
        let Some(row) = store.unread().decode::<SeriesRow>(&key, &value) else { continue };
        let tags: Vec<&str> = row.tags.iter().map(String::as_str).collect();
        indexes.entry(organisation).or_default().add(SeriesNumber(number), &row.metric, &tags, true);
    }
    let mut rows = Walk::forward(&**store, layout::all_metadata().prefix());
    let read =
        |key: &Key, value: &[u8]| Ok((layout::organisation_and_metric(key)?, decode::<Metadata>(value)?));
    while let Some((.., ((organisation, metric), metadata))) = rows.next_read(read).await? {
        indexes.entry(organisation).or_default().set_metadata(&metric, metadata);
    }
    Ok((indexes, highest))
}

/// The segments, and the number of the next.
async fn open_segments(
    parts: &Parts,
    cache: &Cache,
    lost: &Lost,
) -> Result<(Vec<Arc<Placed>>, u64), StoreError> {
    let (mut segments, mut next) = (Vec::new(), 1);
    let mut rows = Walk::forward(&*parts.store, layout::segments(parts.host).prefix());
    while let Some((key, value, number)) = rows.next_read(|key, _| layout::number_behind_host(key)).await? {
        next = next.max(number + 1);
        let Some(row) = parts.store.unread().decode(&key, &value) else { continue };
        segments.push(Arc::new(place(parts, (cache, lost), number, row)?));
    }
    segments.sort_by_key(|placed| (placed.row.high, placed.number));
    Ok((segments, next))
}

/// How many rows of segments there are, those that do not read among them.
async fn segment_rows(parts: &Parts) -> Result<u64, StoreError> {
    Ok(Walk::forward(&*parts.store, layout::segments(parts.host).prefix()).count().await? as u64)
}

/// The highest number of a series that has samples in segments that read.
fn highest_in(segments: &[Arc<Placed>]) -> u64 {
    let entries = segments.iter().filter_map(|placed| placed.all().ok()).flatten();
    entries.map(|entry| u64::from(entry.series)).max().unwrap_or(0)
}

/// Opens the segment of a row. One that is missing or damaged is told to be lost.
///
/// # Errors
/// [`StoreError::Unavailable`] where the system lets no more files be open: what is in it is not lost.
pub(crate) fn place(
    parts: &Parts,
    (cache, lost): (&Cache, &Lost),
    number: u64,
    row: SegmentRow,
) -> Result<Placed, StoreError> {
    let base = row.partition.unwrap_or(0);
    let opened = Segment::open((parts.objects.clone(), row.digest), number, base, cache.clone());
    let mut placed = Placed { number, row, segment: None, lost: lost.clone(), gone: AtomicBool::new(false) };
    match opened {
        Ok(segment) => placed.segment = Some(segment),
        Err(error @ StoreError::Unavailable(_)) => return Err(error),
        Err(error) => drop(placed.lost(error)),
    }
    Ok(placed)
}
