//! Writing: from texts to series, then to the writer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bellwether_kernel::{FieldError, OrganisationId, Timestamp};
use bellwether_store::{Batch, StoreError, encode};
use parking_lot::RwLock;
use tokio::sync::oneshot;

use crate::brought::Brought;
use crate::index::Index;
use crate::layout::{self, SeriesRow};
use crate::limits::WRITE_BYTES;
use crate::listen::Hint;
use crate::log::{self, Columns};
use crate::service::{Series, Shared};
use crate::writer::{self, Order, WriteOrder, closed};
use crate::{Samples, SeriesError, SeriesNumber, identity};

/// Samples of one series to write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesSamples {
    /// The metric.
    pub metric: String,
    /// The tags, in any order: `key:value`, or a word. A key may come with several values.
    pub tags: Vec<String>,
    /// At least one sample, in any order. Any double is taken; what is no number is kept and left out of queries.
    pub samples: Samples,
}

/// Samples of one series to write, held by somebody else; as [`SeriesSamples`].
#[derive(Clone, Copy, Debug)]
pub struct SeriesSlice<'a> {
    /// The metric.
    pub metric: &'a str,
    /// The tags.
    pub tags: &'a [&'a str],
    /// When each sample was taken, in milliseconds since the epoch.
    pub times: &'a [i64],
    /// What was measured.
    pub values: &'a [f64],
}

/// A write on its way. It happens, whether or not it is waited for.
#[must_use]
pub struct Sent {
    outcome: Option<oneshot::Receiver<Result<(), StoreError>>>,
    hints: Vec<Hint>,
}

impl Sent {
    /// Waits until the samples are durable and can be read.
    ///
    /// # Errors
    /// [`SeriesError::Store`] if the store refuses, as where what joins the write conflicts.
    pub async fn done(self) -> Result<(), SeriesError> {
        if let Some(outcome) = self.outcome {
            outcome.await.map_err(|_| closed())??;
        }
        self.hints.into_iter().for_each(|hint| hint());
        Ok(())
    }
}

impl Series {
    /// Writes samples: all are durable when this returns, and can be read; or none is written. `join` is committed with
    /// them.
    ///
    /// # Errors
    /// [`SeriesError::Invalid`] names the field as `series[3].tags[1]`; [`SeriesError::Limit`] if there would be too
    /// many series or samples; [`SeriesError::Store`] if the store refuses, as where `join` conflicts.
    pub async fn write(
        &self,
        organisation: OrganisationId,
        series: &[SeriesSamples],
        join: Batch,
    ) -> Result<(), SeriesError> {
        self.send(organisation, series, join).await?.done().await
    }

    /// As [`Self::write`], as far as the write is on its way: what is wrong with it is told here, what the store says
    /// by [`Sent::done`].
    ///
    /// # Errors
    /// As of [`Self::write`], but for the store's.
    pub async fn send(
        &self,
        organisation: OrganisationId,
        series: &[SeriesSamples],
        join: Batch,
    ) -> Result<Sent, SeriesError> {
        let tags: Vec<&str> = series.iter().flat_map(|entry| &entry.tags).map(String::as_str).collect();
        let mut rest = tags.as_slice();
        let slices: Vec<SeriesSlice<'_>> = series
            .iter()
            .map(|SeriesSamples { metric, tags, samples: Samples { times, values } }| {
                let (own, others) = rest.split_at(tags.len());
                rest = others;
                SeriesSlice { metric, tags: own, times, values }
            })
            .collect();
        self.send_slices(organisation, &slices, join).await
    }

    /// As [`Self::send`], without owning what is written.
    ///
    /// # Errors
    /// As of [`Self::send`].
    pub async fn send_slices(
        &self,
        organisation: OrganisationId,
        series: &[SeriesSlice<'_>],
        join: Batch,
    ) -> Result<Sent, SeriesError> {
        check(series, &self.shared.parts.limits)?;
        let index = self.shared.index(organisation);
        let Resolved { columns, rows, deletions, epoch, new } =
            self.shared.resolve(organisation, &index, series)?;
        let parts = log::parts(&columns);
        if writer::bytes(&parts, &rows, &join) > WRITE_BYTES {
            let what = "bytes of one write and the series it makes; send fewer at once";
            return Err(SeriesError::limit(what, WRITE_BYTES));
        }
        // A writer that fails tells callers, not the log alone.
        let waits = !self.early || !join.is_empty() || self.shared.failing.load(Ordering::Relaxed);
        let (reply, outcome) = if waits {
            let (reply, outcome) = oneshot::channel();
            (Some(reply), Some(outcome))
        } else {
            (None, None)
        };
        let order =
            WriteOrder { organisation, columns, parts, rows, new, join, index, deletions, epoch, reply };
        let hints = self.shared.listeners.hints(organisation, series);
        self.orders.send(Order::Write(order)).await.map_err(|_| closed())?;
        Ok(Sent { outcome, hints })
    }

    /// Waits until every write so far is on the disk, acknowledged or not, or refused.
    pub async fn flush(&self) {
        let (reply, done) = oneshot::channel();
        if self.orders.send(Order::Flush(reply)).await.is_ok() {
            let _ = done.await;
        }
    }

    /// Whether writes that join nothing are acknowledged before they are on the disk and can be read: as soon as the
    /// writer has them in its queue, some milliseconds earlier. If the process or the machine dies in that moment, or
    /// the store refuses, samples that were acknowledged are lost; the latter is logged, and from then on writes wait
    /// again until one succeeds. By default, they always wait.
    #[must_use]
    pub fn acknowledge_before_sync(self, early: bool) -> Self {
        Self { early, ..self }
    }
}

fn check(series: &[SeriesSlice<'_>], limits: &crate::Limits) -> Result<(), SeriesError> {
    let mut total = 0;
    for (at, SeriesSlice { times, values, .. }) in series.iter().enumerate() {
        if times.len() != values.len() {
            let expected = format!("as many as times, {}", times.len());
            return Err(FieldError::new(format!("series[{at}].values"), values.len(), expected).into());
        }
        if times.is_empty() {
            return Err(FieldError::new(format!("series[{at}]"), "", "at least one sample").into());
        }
        let strange = |time: &i64| Timestamp::from_milliseconds(*time).is_none();
        if let Some(index) = times.iter().position(strange) {
            let expected = format!("milliseconds since 1970 of an instant {}", Timestamp::bounds());
            let field = format!("series[{at}].times[{index}]");
            return Err(FieldError::new(field, times[index], expected).into());
        }
        total += times.len();
    }
    if total > limits.samples {
        return Err(SeriesError::limit("samples of one write", limits.samples as u64));
    }
    if series.is_empty() {
        return Err(FieldError::new("series", "", "at least one series").into());
    }
    Ok(())
}

/// What a write comes to.
struct Resolved {
    columns: Columns,
    /// Of series that are not surely in the store.
    rows: Batch,
    /// Those.
    new: Brought,
    /// The state of the index it was worked out from.
    deletions: u64,
    epoch: Arc<u8>,
}

/// The row of a series.
pub(crate) fn put_row(
    rows: &mut Batch,
    organisation: OrganisationId,
    number: SeriesNumber,
    metric: &str,
    tags: &[impl AsRef<str>],
) {
    let tags = tags.iter().map(|tag| tag.as_ref().to_owned()).collect();
    rows.put(layout::series(organisation, number.0), encode(&SeriesRow { metric: metric.to_owned(), tags }));
}

impl Shared {
    /// A number no series had.
    fn next_number(&self) -> Result<SeriesNumber, SeriesError> {
        let next =
            self.next_series.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| next.checked_add(1));
        next.map(SeriesNumber).map_err(|last| {
            let what = "series in the life of one store, those that went included; begin another";
            SeriesError::limit(what, last)
        })
    }

    fn resolve(
        &self,
        organisation: OrganisationId,
        index: &Arc<RwLock<Index>>,
        series: &[SeriesSlice<'_>],
    ) -> Result<Resolved, SeriesError> {
        let limits = &self.parts.limits;
        let mut columns = Columns::default();
        // Dropped, where this ends early, once the index is let go of.
        let (mut rows, mut new, mut missing) = (Batch::new(), Brought::none(index), Vec::new());
        let mut tags = Vec::new();
        let mut is_new = |index: &Index, number: SeriesNumber, metric: &str, tags: &[&str]| {
            put_row(&mut rows, organisation, number, metric, tags);
            new.add(index, number);
        };
        let samples = series.iter().map(|entry| entry.times.len()).sum();
        columns.runs.reserve_exact(series.len());
        columns.times.reserve_exact(samples);
        columns.values.reserve_exact(samples);
        let (deletions, epoch) = {
            let index = index.read();
            for (at, entry) in series.iter().enumerate() {
                let name = |tag: usize| format!("series[{at}].tags[{tag}]");
                identity::canonical(entry.tags, limits, name, &mut tags)?;
                let number = match index.find(entry.metric, &tags) {
                    Some(found) => {
                        if !found.durable {
                            is_new(&index, found.number, entry.metric, &tags);
                        }
                        found.number.0
                    }
                    None => {
                        identity::check_metric(entry.metric, limits, || format!("series[{at}].metric"))?;
                        missing.push(at);
                        0
                    }
                };
                columns.runs.push((number, entry.times.len() as u32));
                columns.times.extend_from_slice(entry.times);
                columns.values.extend_from_slice(entry.values);
            }
            (index.deletions, Arc::clone(&index.epoch))
        };
        if !missing.is_empty() {
            let mut index = index.write();
            for at in missing {
                let entry = &series[at];
                identity::canonical(entry.tags, limits, |_| String::new(), &mut tags)?;
                // Another entry, or another write, may have made it by now.
                let number = match index.find(entry.metric, &tags) {
                    Some(found) => found.number,
                    None => {
                        index.check_room(entry.metric, limits)?;
                        let number = self.next_number()?;
                        index.add(number, entry.metric, &tags, false);
                        number
                    }
                };
                is_new(&index, number, entry.metric, &tags);
                columns.runs[at].0 = number.0;
            }
        }
        Ok(Resolved { columns, rows, new, deletions, epoch })
    }
}
