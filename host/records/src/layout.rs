//! Where everything of records is kept in the store, and in what form.

use std::sync::Arc;

use bellwether_kernel::{HostId, OrganisationId, RecordId, Timestamp};
use bellwether_store::{Digest, Key, Loose, Space, StoreError, Versioned};
use serde::{Deserialize, Serialize};

use crate::retention::Retention;
use crate::{Parts, RecordKind};

/// Every chunk of a host.
pub(crate) fn chunks(host: HostId) -> Key {
    Key::new(Space::RecordChunk).number(host.0)
}

/// The [`ChunkRow`] of the chunk whose first record this is, and the owner of its content.
pub(crate) fn chunk(host: HostId, organisation: OrganisationId, low: RecordId) -> Key {
    chunks(host).number(organisation.0).number(low.0)
}

/// Whose chunk it is.
pub(crate) fn organisation_of_chunk(row: &Key) -> Result<OrganisationId, StoreError> {
    second(row).map(OrganisationId).ok_or_else(|| strange("a chunk of records", row))
}

/// The id of its first record.
pub(crate) fn low_of_chunk(row: &Key) -> Result<u64, StoreError> {
    let mut fields = row.fields();
    let low = fields.number().and_then(|_| fields.number()).and_then(|_| fields.number());
    low.ok_or_else(|| strange("a chunk of records", row))
}

/// Every segment of a host.
pub(crate) fn segments(host: HostId) -> Key {
    Key::new(Space::RecordSegment).number(host.0)
}

/// The number of a segment.
pub(crate) fn number_of_segment(row: &Key) -> Result<u64, StoreError> {
    second(row).ok_or_else(|| strange("a segment of records", row))
}

/// The objects of a host's segments.
pub(crate) fn loose(parts: &Parts) -> Loose {
    let all = Key::new(Space::RecordLoose).number(parts.host.0);
    Loose::new(Arc::clone(&parts.store), parts.objects.clone(), all)
}

/// How long each organisation keeps its records.
pub(crate) fn all_retentions() -> Key {
    Key::new(Space::RecordRetention)
}

/// How long one does: a [`Retention`].
pub(crate) fn retention(organisation: OrganisationId) -> Key {
    all_retentions().number(organisation.0)
}

/// The next id of every organisation that ever had records removed or packed.
pub(crate) fn all_next() -> Key {
    Key::new(Space::Counter).number(Space::RecordChunk as u64)
}

/// Above every id an organisation ever used: a [`Next`].
pub(crate) fn next(organisation: OrganisationId) -> Key {
    all_next().number(organisation.0)
}

/// Whose retention it is.
pub(crate) fn organisation_of_retention(row: &Key) -> Result<OrganisationId, StoreError> {
    row.fields().number().map(OrganisationId).ok_or_else(|| strange("a retention", row))
}

/// Whose counter it is.
pub(crate) fn organisation_of_next(row: &Key) -> Result<OrganisationId, StoreError> {
    second(row).map(OrganisationId).ok_or_else(|| strange("a counter of records", row))
}

fn second(row: &Key) -> Option<u64> {
    let mut fields = row.fields();
    fields.number()?;
    fields.number()
}

fn strange(what: &str, row: &Key) -> StoreError {
    StoreError::Damaged(format!("not the key of {what}: {row:?}"))
}

/// What is known of records that lie together, without reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    /// The times of its records.
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// Their ids.
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) records: u64,
    /// Bytes of their texts.
    pub(crate) size: u64,
}

/// A chunk in the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ChunkRow {
    pub(crate) kind: RecordKind,
    pub(crate) extent: Extent,
    pub(crate) appended: Timestamp,
}

impl Versioned for ChunkRow {
    const NAME: &'static str = "chunk of records";
}

/// A segment that is in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SegmentRow {
    pub(crate) organisation: OrganisationId,
    pub(crate) kind: RecordKind,
    pub(crate) digest: Digest,
    pub(crate) extent: Extent,
    /// Bytes of its file.
    pub(crate) bytes: u64,
}

impl Versioned for SegmentRow {
    const NAME: &'static str = "segment of records";
}

/// A number that only grows.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Next(pub(crate) u64);

impl Versioned for Next {
    const NAME: &'static str = "counter of records";
}

impl Versioned for Retention {
    const NAME: &'static str = "retention of records";
}
