//! Where everything of series is kept in the store, and in what form.

use std::sync::Arc;

use bellwether_kernel::{HostId, OrganisationId};
use bellwether_store::{Digest, Key, Loose, Space, StoreError, Versioned};
use serde::{Deserialize, Serialize};

use crate::Parts;

/// Every series of every organisation.
pub(crate) fn all_series() -> Key {
    Key::new(Space::TaggedSeries)
}

/// The [`SeriesRow`] of one.
pub(crate) fn series(organisation: OrganisationId, number: u32) -> Key {
    all_series().number(organisation.0).number(u64::from(number))
}

/// Whose series it is, and its number.
pub(crate) fn organisation_and_number(row: &Key) -> Result<(OrganisationId, u32), StoreError> {
    let mut fields = row.fields();
    (|| Some((OrganisationId(fields.number()?), u32::try_from(fields.number()?).ok()?)))()
        .ok_or_else(|| strange("a series", row))
}

/// What is known of every metric.
pub(crate) fn all_metadata() -> Key {
    Key::new(Space::SeriesMetadata)
}

/// The [`crate::Metadata`] of one.
pub(crate) fn metadata(organisation: OrganisationId, metric: &str) -> Key {
    all_metadata().number(organisation.0).text(metric)
}

/// Whose metric it is, and its name.
pub(crate) fn organisation_and_metric(row: &Key) -> Result<(OrganisationId, String), StoreError> {
    let mut fields = row.fields();
    (|| Some((OrganisationId(fields.number()?), fields.text()?)))()
        .ok_or_else(|| strange("a metric's metadata", row))
}

/// Every row of a host's log.
pub(crate) fn log(host: HostId) -> Key {
    Key::new(Space::SeriesLog).number(host.0)
}

/// Every segment of a host.
pub(crate) fn segments(host: HostId) -> Key {
    Key::new(Space::SeriesSegment).number(host.0)
}

/// The number behind the host in a row of a log or of a segment.
pub(crate) fn number_behind_host(row: &Key) -> Result<u64, StoreError> {
    let mut fields = row.fields();
    (|| {
        fields.number()?;
        fields.number()
    })()
    .ok_or_else(|| strange("a numbered row of series", row))
}

/// The objects of a host's segments.
pub(crate) fn loose(parts: &Parts) -> Loose {
    let all = Key::new(Space::SeriesLoose).number(parts.host.0);
    Loose::new(Arc::clone(&parts.store), parts.objects.clone(), all)
}

/// The last row of a host's log whose samples are all in segments: a [`Number`].
pub(crate) fn packed(host: HostId) -> Key {
    Key::new(Space::SeriesPacked).number(host.0)
}

/// Above the numbers of all series that were ever deleted: a [`Number`].
pub(crate) fn next_series() -> Key {
    Key::new(Space::Counter).number(Space::TaggedSeries as u64)
}

fn strange(what: &str, row: &Key) -> StoreError {
    StoreError::Damaged(format!("not the key of {what}: {row:?}"))
}

/// A series: its metric, and its tags in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SeriesRow {
    pub(crate) metric: String,
    pub(crate) tags: Vec<String>,
}

impl Versioned for SeriesRow {
    const NAME: &'static str = "tagged series";
}

/// A segment that is in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SegmentRow {
    pub(crate) digest: Digest,
    /// The partition of all its samples; `None` if they are scattered.
    pub(crate) partition: Option<i64>,
    /// Writes of the log it covers, the last included.
    pub(crate) low: u64,
    pub(crate) high: u64,
    /// The times of its samples.
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
}

impl Versioned for SegmentRow {
    const NAME: &'static str = "segment of series";
}

/// A number that only grows.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Number(pub(crate) u64);

impl Versioned for Number {
    const NAME: &'static str = "counter of series";
}
