//! What a start reads.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bellwether_kernel::OrganisationId;
use bellwether_store::{Digest, Key, Lost, SharedStore, StoreError, Walk, decode};

use crate::SeriesNumber;
use crate::heads::Heads;
use crate::index::Index;
use crate::layout::{self, Number, SegmentRow, SeriesRow};
use crate::log::{self, Columns};
use crate::metadata::Metadata;
use crate::segment::{Cache, Segment};
use crate::service::{Parts, Placed, Shared, State};

pub(crate) async fn open(parts: Parts) -> Result<Shared, StoreError> {
    let indexes = read_indexes(&parts.store).await?;
    let host = parts.host;
    let packed = read_number(&parts.store, &layout::packed(host)).await?;
    let next_series = read_number(&parts.store, &layout::next_series()).await?;
    let (cache, lost) = (Cache::new(), Lost::new(parts.objects.clone()));
    let segments = open_segments(&parts, &cache, &lost).await?;
    // What an interrupted packing or merge left.
    let is_used = |digest: &Digest| segments.iter().any(|placed| placed.row.digest == *digest);
    layout::loose(&parts).clear(is_used).await?;

    let (mut active, mut applied, mut first) = (Heads::default(), packed, None);
    let mut rows = Walk::forward(&*parts.store, layout::log(host).prefix());
    while let Some((key, value)) = rows.next().await? {
        let number = layout::number_behind_host(&key)?;
        first.get_or_insert(number);
        // Rows of before are there because nobody came to remove them.
        if number > packed {
            let mut columns = Columns::default();
            log::read(&value, &mut columns).ok_or_else(|| {
                StoreError::Damaged(format!("row {number} of the log of samples does not read"))
            })?;
            active.add(&columns);
            applied = number;
        }
    }
    let since = (active.samples() > 0).then(|| parts.clock.now());
    let state = State { applied, active, since, packed, frozen: None, segments: Arc::new(segments) };
    let highest = indexes.values().filter_map(Index::highest).max().unwrap_or(0);
    let next_series = next_series.max(u64::from(highest) + 1);
    // Where every number is used, what there is goes on.
    let next_series = u32::try_from(next_series).unwrap_or(u32::MAX);
    let first_row = first.unwrap_or(applied + 1);
    Ok(Shared::new(parts, indexes, state, (cache, lost), next_series, first_row))
}

async fn read_number(store: &SharedStore, key: &Key) -> Result<u64, StoreError> {
    Ok(match store.get(key).await? {
        Some(row) => decode::<Number>(&row)?.0,
        None => 0,
    })
}

async fn read_indexes(store: &SharedStore) -> Result<HashMap<OrganisationId, Index>, StoreError> {
    let mut indexes: HashMap<OrganisationId, Index> = HashMap::new();
    let mut rows = Walk::forward(&**store, layout::all_series().prefix());
    while let Some((key, value)) = rows.next().await? {
        let (organisation, number) = layout::organisation_and_number(&key)?;
        let row: SeriesRow = decode(&value)?;
        let tags: Vec<&str> = row.tags.iter().map(String::as_str).collect();
        indexes.entry(organisation).or_default().add(SeriesNumber(number), &row.metric, &tags, true);
    }
    let mut rows = Walk::forward(&**store, layout::all_metadata().prefix());
    while let Some((key, value)) = rows.next().await? {
        let (organisation, metric) = layout::organisation_and_metric(&key)?;
        indexes.entry(organisation).or_default().set_metadata(&metric, decode::<Metadata>(&value)?);
    }
    Ok(indexes)
}

async fn open_segments(parts: &Parts, cache: &Cache, lost: &Lost) -> Result<Vec<Arc<Placed>>, StoreError> {
    let mut segments = Vec::new();
    let mut rows = Walk::forward(&*parts.store, layout::segments(parts.host).prefix());
    while let Some((key, value)) = rows.next().await? {
        let number = layout::number_behind_host(&key)?;
        segments.push(Arc::new(place(parts, (cache, lost), number, decode(&value)?)?));
    }
    segments.sort_by_key(|placed| (placed.row.high, placed.number));
    Ok(segments)
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
