//! What there is: metrics, series, tags; what is known of a metric; deleting.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, StoreError, encode, to_the_end};
use parking_lot::RwLock;
use roaring::RoaringBitmap;
use tokio::sync::oneshot;

use crate::index::{GoOn, Index, keys_of, select, values_of};
use crate::limits::DELETED_ROWS;
use crate::query::check_wanted;
use crate::service::{Series, Shared};
use crate::writer::{DeleteOrder, Order, closed};
use crate::{Filter, Metadata, SeriesError, identity, layout};

/// A metric that has series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedMetric {
    /// Its name.
    pub name: Arc<str>,
    /// How many series it has.
    pub series: u64,
    /// What is known of it.
    pub metadata: Arc<Metadata>,
}

/// A tag's key among the series of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagKey {
    /// The key.
    pub key: Arc<str>,
    /// How many values it has.
    pub values: u64,
    /// How many series have it.
    pub series: u64,
}

/// A series' number and its tags, in order.
pub type NumberedSeries = (u32, Vec<Arc<str>>);

/// Some of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<T> {
    /// The items, in order.
    pub items: Vec<T>,
    /// Whether there are more behind them.
    pub more: bool,
}

impl<T> Part<T> {
    fn of(items: impl Iterator<Item = T>, limit: usize) -> Self {
        let mut items: Vec<T> = items.take(limit.saturating_add(1)).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        Self { items, more }
    }
}

impl Series {
    /// Up to `limit` metrics with series whose names contain `part`, letter case ignored, and are `visible`; in order,
    /// behind `after`.
    #[must_use]
    pub fn metrics(
        &self,
        organisation: OrganisationId,
        part: Option<&str>,
        visible: &dyn Fn(&str) -> bool,
        after: Option<&str>,
        limit: usize,
    ) -> Part<TaggedMetric> {
        let index = self.shared.index(organisation);
        let index = index.read();
        let metric = |(name, series): (Arc<str>, u64)| {
            let metadata = index.metadata(&name).unwrap_or_default();
            TaggedMetric { name, series, metadata }
        };
        Part::of(index.metrics_like(part, after).filter(|(name, _)| visible(name)).map(metric), limit)
    }

    /// A metric with series.
    ///
    /// # Errors
    /// [`SeriesError::UnknownMetric`].
    pub fn metric(&self, organisation: OrganisationId, metric: &str) -> Result<TaggedMetric, SeriesError> {
        let index = self.shared.index(organisation);
        let index = index.read();
        let (series, metadata) = index
            .series_of(metric)
            .zip(index.metadata(metric))
            .ok_or_else(|| SeriesError::UnknownMetric(metric.to_owned()))?;
        Ok(TaggedMetric { name: metric.into(), series, metadata })
    }

    /// The tags of up to `limit` series of a metric that `filter` means, behind the one numbered `after`; in order of
    /// their numbers, which is that of their first samples.
    ///
    /// # Errors
    /// [`SeriesError::UnknownMetric`]; [`SeriesError::Invalid`] for a filter of too many patterns; the store's, when it is
    /// busy.
    pub async fn series(
        &self,
        organisation: OrganisationId,
        metric: &str,
        filter: Filter,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Part<NumberedSeries>, SeriesError> {
        let found = self.found(organisation, metric, filter).await?;
        let index = self.shared.index(organisation);
        let index = index.read();
        let behind = found.range(after.map_or(0, |after| after.saturating_add(1))..);
        let tags = behind.filter_map(|number| Some((number, index.identity(number)?.1)));
        Ok(Part::of(tags, limit))
    }

    /// The series of a metric that `filter` means.
    async fn found(
        &self,
        organisation: OrganisationId,
        metric: &str,
        filter: Filter,
    ) -> Result<RoaringBitmap, SeriesError> {
        let is_quick = filter.is_exact();
        if !is_quick {
            filter.check()?;
        }
        let find =
            move |index: &RwLock<Index>, metric: &str, go_on: GoOn<'_>| select(index, metric, &filter, go_on);
        self.look(organisation, metric, is_quick, find).await
    }

    /// What `look` finds of a metric: here where that is quick, else in the organisation's turn, on a thread that may be
    /// held up, until nobody waits for it any more.
    async fn look<T: Send + 'static>(
        &self,
        organisation: OrganisationId,
        metric: &str,
        is_quick: bool,
        look: impl FnOnce(&RwLock<Index>, &str, GoOn<'_>) -> Result<Option<T>, SeriesError> + Send + 'static,
    ) -> Result<T, SeriesError> {
        let index = self.shared.index(organisation);
        let found = if is_quick {
            look(&index, metric, &|| Ok(()))?
        } else {
            let name = metric.to_owned();
            let work = move |cancelled: &AtomicBool| look(&index, &name, &|| check_wanted(cancelled));
            self.work(organisation, work).await?
        };
        found.ok_or_else(|| SeriesError::UnknownMetric(metric.to_owned()))
    }

    /// The keys of the tags that a metric's series have.
    ///
    /// # Errors
    /// [`SeriesError::UnknownMetric`]; the store's, when it is busy.
    pub async fn tag_keys(
        &self,
        organisation: OrganisationId,
        metric: &str,
    ) -> Result<Vec<TagKey>, SeriesError> {
        let is_quick = self.shared.index(organisation).read().has_few_tags();
        let keys = self.look(organisation, metric, is_quick, keys_of).await?;
        Ok(keys.into_iter().map(|(key, values, series)| TagKey { key, values, series }).collect())
    }

    /// Up to `limit` values of a tag's key that a metric's series have, behind `after`, each with how many series have
    /// it.
    ///
    /// # Errors
    /// [`SeriesError::UnknownMetric`]; the store's, when it is busy.
    pub async fn tag_values(
        &self,
        organisation: OrganisationId,
        metric: &str,
        key: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Part<(Arc<str>, u64)>, SeriesError> {
        let is_quick = self.shared.index(organisation).read().has_few_tags();
        let (key, after) = (key.to_owned(), after.map(str::to_owned));
        let list = move |index: &RwLock<Index>, metric: &str, go_on: GoOn<'_>| {
            values_of(index, metric, &key, after.as_deref(), limit.saturating_add(1), go_on)
        };
        let values = self.look(organisation, metric, is_quick, list).await?;
        Ok(Part::of(values.into_iter(), limit))
    }

    /// Sets what is known of a metric, which need have no samples yet. Durable when this returns.
    ///
    /// # Errors
    /// [`SeriesError::Invalid`] names the field; [`SeriesError::Limit`] if too many metrics without samples are known.
    pub async fn describe(
        &self,
        organisation: OrganisationId,
        metric: &str,
        metadata: Metadata,
        mut join: Batch,
    ) -> Result<(), SeriesError> {
        let limits = &self.shared.parts.limits;
        identity::check_metric(metric, limits, || "metric".to_owned())?;
        metadata.check()?;
        let index = self.shared.index(organisation);
        index.read().check_said(metric, limits)?;
        join.put(layout::metadata(organisation, metric), encode(&metadata));
        let (shared, metric) = (Arc::clone(&self.shared), metric.to_owned());
        to_the_end(async move {
            let _saying = shared.saying.read().await;
            shared.parts.store.commit(join).await?;
            index.write().set_metadata(&metric, metadata);
            Ok(())
        })
        .await
    }

    /// Deletes series of a metric that `filter` means, with their samples, and tells how many. If that is all of them, what
    /// is known of the metric goes too, unless it says how samples are kept. Their space is free after a [`Self::tend`]
    /// where they were a quarter of their segment. Writes acknowledged before are gone; one at the same moment may make a
    /// series anew.
    ///
    /// # Errors
    /// [`SeriesError::UnknownMetric`]; [`SeriesError::Invalid`] for a filter of too many patterns; the store's, when some
    /// may be deleted and others not: delete again.
    pub async fn delete(
        &self,
        organisation: OrganisationId,
        metric: &str,
        filter: Filter,
        join: Batch,
    ) -> Result<u64, SeriesError> {
        let is_all = filter == Filter::All;
        // Before the writer's turn, in which every write would wait for it.
        let found = self.found(organisation, metric, filter).await?;
        let index = self.shared.index(organisation);
        let select = move |index: &Index| found.into_iter().filter(|number| index.has(*number)).collect();
        let (reply, deleted) = oneshot::channel();
        let (own, select) = (Arc::clone(&index), Box::new(select));
        let order = DeleteOrder { organisation, index: own, select, spares: false, join, reply };
        self.orders.send(Order::Delete(order)).await.map_err(|_| closed())?;
        let (shared, metric) = (Arc::clone(&self.shared), Arc::<str>::from(metric));
        to_the_end(async move {
            let deleted = deleted.await.map_err(|_| closed())??;
            if is_all {
                shared.forget_said(organisation, &index, &[metric]).await?;
            }
            Ok(deleted)
        })
        .await
    }
}

impl Shared {
    /// Forgets what was said of those of these metrics that have no series; what says how samples are kept stays.
    pub(crate) async fn forget_said(
        &self,
        organisation: OrganisationId,
        index: &RwLock<Index>,
        metrics: &[Arc<str>],
    ) -> Result<(), StoreError> {
        let _saying = self.saying.write().await;
        for metrics in metrics.chunks(DELETED_ROWS) {
            let (mut batch, mut forgotten) = (Batch::new(), Vec::new());
            {
                let mut index = index.write();
                for metric in metrics {
                    if let Some(said) = index.forget_said(metric) {
                        batch.delete(layout::metadata(organisation, metric));
                        forgotten.push((metric, said));
                    }
                }
            }
            if forgotten.is_empty() {
                continue;
            }
            if let Err(error) = self.parts.store.commit(batch).await {
                let mut index = index.write();
                forgotten.into_iter().for_each(|(metric, said)| index.set_metadata(metric, said));
                return Err(error);
            }
        }
        Ok(())
    }
}
