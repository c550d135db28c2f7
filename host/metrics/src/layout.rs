//! Where everything of a metric is kept in the store, and in what form.

use bellwether_kernel::{HostId, MetricId, OrganisationId, SeriesId, Timestamp};
use bellwether_store::{Key, MergeError, Space, StoreError, Versioned, decode, encode};
use serde::{Deserialize, Serialize};

use crate::Metric;
use crate::refusal::Refusal;

/// The one series of a metric without keys. It has no row; those of keys are counted from 1.
pub(crate) const ONLY_SERIES: SeriesId = SeriesId(0);

/// Every metric of an organisation, by id.
pub(crate) fn metrics(organisation: OrganisationId) -> Key {
    Key::new(Space::Metric).number(organisation.0)
}

/// A [`Metric`].
pub(crate) fn metric(organisation: OrganisationId, metric: MetricId) -> Key {
    metrics(organisation).number(metric.0)
}

/// The [`MetricRow`] of a name.
pub(crate) fn metric_name(organisation: OrganisationId, name: &str) -> Key {
    Key::new(Space::MetricName).number(organisation.0).text(name)
}

/// Every key's series of a metric, by key.
pub(crate) fn all_series(organisation: OrganisationId, metric: MetricId) -> Key {
    Key::new(Space::Series).number(organisation.0).number(metric.0)
}

/// The [`SeriesRow`] of a key.
pub(crate) fn series(organisation: OrganisationId, metric: MetricId, key: &str) -> Key {
    all_series(organisation, metric).text(key)
}

/// The key a series' row stands under.
pub(crate) fn key_of_series(row: &Key) -> Result<String, StoreError> {
    let mut fields = row.fields();
    (|| {
        fields.number()?;
        fields.number()?;
        fields.text()
    })()
    .ok_or_else(|| StoreError::Damaged(format!("not the key of a series: {row:?}")))
}

/// Every bucket of a metric.
pub(crate) fn all_buckets(organisation: OrganisationId, metric: MetricId) -> Key {
    Key::new(Space::Bucket).number(organisation.0).number(metric.0)
}

/// Every host's bucket of the interval of `series` that begins at `start`.
pub(crate) fn buckets(
    organisation: OrganisationId,
    metric: MetricId,
    series: SeriesId,
    start: Timestamp,
) -> Key {
    all_buckets(organisation, metric).number(series.0).signed(start.as_milliseconds())
}

/// Where a bucket's interval begins, and whose it is.
pub(crate) fn start_and_host_of_bucket(row: &Key) -> Result<(Timestamp, HostId), StoreError> {
    let mut fields = row.fields();
    (|| {
        fields.number()?;
        fields.number()?;
        fields.number()?;
        Some((Timestamp::from_milliseconds(fields.signed()?)?, HostId(fields.number()?)))
    })()
    .ok_or_else(|| StoreError::Damaged(format!("not the key of a bucket: {row:?}")))
}

/// Every deletion whose data is still to be freed.
pub(crate) fn deletions() -> Key {
    Key::new(Space::MetricDeletion)
}

/// Those of one organisation.
pub(crate) fn deletions_of(organisation: OrganisationId) -> Key {
    deletions().number(organisation.0)
}

/// The deletion of one metric.
pub(crate) fn deletion(organisation: OrganisationId, metric: MetricId) -> Key {
    deletions_of(organisation).number(metric.0)
}

/// The metric that a row of one is of, or of a deletion.
pub(crate) fn metric_of(row: &Key) -> Result<(OrganisationId, MetricId), StoreError> {
    let mut fields = row.fields();
    (|| Some((OrganisationId(fields.number()?), MetricId(fields.number()?))))()
        .ok_or_else(|| StoreError::Damaged(format!("not the key of a metric or its deletion: {row:?}")))
}

/// The hosts that ever wrote metrics here.
pub(crate) fn hosts() -> Key {
    Key::new(Space::MetricHost)
}

/// One of them.
pub(crate) fn host(host: HostId) -> Key {
    hosts().number(host.0)
}

/// The log of watched writes of one host.
pub(crate) fn log(host: HostId) -> Key {
    Key::new(Space::MetricLog).number(host.0)
}

/// The highest number given out in a host's log; a [`Number`].
pub(crate) fn last_logged(host: HostId) -> Key {
    Key::new(Space::Counter).number(Space::MetricLog as u64).number(host.0)
}

/// The highest metric id given out; a [`Number`].
pub(crate) fn last_metric(organisation: OrganisationId) -> Key {
    Key::new(Space::Counter).number(Space::Metric as u64).number(organisation.0)
}

/// The highest series id given out; a [`Number`].
pub(crate) fn last_series(organisation: OrganisationId) -> Key {
    Key::new(Space::Counter).number(Space::Series as u64).number(organisation.0)
}

/// How many keys a metric has; a [`Number`].
pub(crate) fn key_count(organisation: OrganisationId, metric: MetricId) -> Key {
    last_series(organisation).number(metric.0)
}

impl Versioned for Metric {
    const NAME: &'static str = "metric";
}

/// Which metric has a name.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct MetricRow {
    pub(crate) id: MetricId,
}

impl Versioned for MetricRow {
    const NAME: &'static str = "metric's name";
}

/// Which series has a key.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct SeriesRow {
    pub(crate) id: SeriesId,
}

impl Versioned for SeriesRow {
    const NAME: &'static str = "series";
}

/// A metric that was deleted and whose data is still to be freed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Deletion {
    pub(crate) name: String,
    pub(crate) deleted: Timestamp,
}

impl Versioned for Deletion {
    const NAME: &'static str = "metric's deletion";
}

/// A host that wrote metrics.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct HostRow {
    pub(crate) since: Timestamp,
}

impl Versioned for HostRow {
    const NAME: &'static str = "host of metrics";
}

/// A number that only grows.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Number(pub(crate) u64);

impl Versioned for Number {
    const NAME: &'static str = "counter";
}

/// Adds a [`Number`] to a stored one.
pub(crate) fn count_up(existing: Option<&[u8]>, operand: &[u8]) -> Result<Vec<u8>, MergeError> {
    let read = |bytes| decode::<Number>(bytes).map_err(|error| MergeError(error.to_string()));
    let before = existing.map(read).transpose()?.unwrap_or_default();
    let sum = before.0.checked_add(read(operand)?.0);
    let sum = sum.ok_or_else(|| MergeError("a counter is used up".to_owned()))?;
    Ok(encode(&Number(sum)).into())
}

/// More keys of one metric.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct MoreKeys {
    pub(crate) more: u64,
    pub(crate) limit: u64,
    /// Which target of the write, so that a refusal can name it.
    pub(crate) target: u32,
}

impl Versioned for MoreKeys {
    const NAME: &'static str = "addition to a count of keys";
}

/// Adds [`MoreKeys`] to a stored [`Number`], up to their limit.
pub(crate) fn count_keys(existing: Option<&[u8]>, operand: &[u8]) -> Result<Vec<u8>, MergeError> {
    let damaged = |error: StoreError| MergeError(error.to_string());
    let MoreKeys { more, limit, target } = decode(operand).map_err(damaged)?;
    let before = existing.map(decode::<Number>).transpose().map_err(damaged)?.unwrap_or_default();
    match before.0.checked_add(more) {
        Some(sum) if sum <= limit => Ok(encode(&Number(sum)).into()),
        _ => Err(Refusal::TooManyKeys { target }.into()),
    }
}
