//! Creating, finding, changing and deleting metrics.

use std::sync::Arc;

use bellwether_kernel::{Cursor, FieldError, MetricId, OrganisationId, Page, PageRequest};
use bellwether_store::{Batch, Precondition, StoreError, Walk, encode};
use jiff::tz::TimeZone;

use crate::catalogue::{Change, Directory, Known};
use crate::definition::check_description;
use crate::layout::{self, Deletion, MetricRow, Number};
use crate::{Defined, Definition, ListFilter, Metric, MetricError, MetricPage, MetricReference, Metrics};

/// How often a change is tried again because another host on the same store changed the same thing.
const ATTEMPTS: usize = 16;

/// Ids that are passed over where the count of those given out does not read: more than there can have been of metrics whose
/// rows are gone, and which a monitor or somebody's notes may still name.
const PASSED_OVER: u64 = 1 << 32;

const CONTENDED: StoreError = StoreError::Unavailable("other hosts keep changing the same metrics");

impl Metrics {
    /// Creates a metric whose intervals begin in `time_zone` (an IANA name), or returns the one of that name if its
    /// definition is the same. A different description or time zone is no other definition: the metric keeps its
    /// own, [`Self::update_description`] changes the one, nothing the other.
    ///
    /// # Errors
    /// [`MetricError::Conflict`] if there is one of that name with another definition.
    pub async fn define(
        &self,
        organisation: OrganisationId,
        time_zone: &str,
        definition: Definition,
    ) -> Result<Defined, MetricError> {
        self.define_with(organisation, time_zone, definition, |_| Batch::new()).await
    }

    /// As [`Self::define`], together with what `join` makes of its answer: both are committed or neither.
    ///
    /// # Errors
    /// As of [`Self::define`]; and the store's conflict of a precondition of `join` that does not hold.
    pub async fn define_with(
        &self,
        organisation: OrganisationId,
        time_zone: &str,
        definition: Definition,
        join: impl Fn(&Defined) -> Batch,
    ) -> Result<Defined, MetricError> {
        definition.check()?;
        let time_zone = zone_name(time_zone)?;
        let change = self.catalogue.change(organisation).await?;
        let reference = MetricReference::Name(definition.name.clone());
        for _ in 0..ATTEMPTS {
            match change.find(&reference).await {
                Ok(known) => {
                    let defined = same(&known.metric, &definition)?;
                    let join = join(&defined);
                    if !join.is_empty() {
                        self.store.commit(join).await?;
                    }
                    return Ok(defined);
                }
                Err(MetricError::UnknownMetric(_)) => {}
                Err(error) => return Err(error),
            }
            if change.count() as u64 >= self.limits.metrics {
                return Err(MetricError::limit(self.limits.metrics, "metrics of an organisation"));
            }
            let own =
                [layout::last_metric(organisation), layout::metric_name(organisation, &definition.name)];
            match self.create(organisation, &change, &time_zone, &definition, &join).await {
                Ok(defined) => return Ok(defined),
                Err(StoreError::Conflict(key)) if own.contains(&key) => change.reload().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(CONTENDED.into())
    }

    async fn create(
        &self,
        organisation: OrganisationId,
        change: &Arc<Change>,
        time_zone: &str,
        definition: &Definition,
        join: &impl Fn(&Defined) -> Batch,
    ) -> Result<Defined, StoreError> {
        let counter = layout::last_metric(organisation);
        let counted = self.store.get(&counter).await?;
        let last = match &counted {
            Some(row) => match self.store.unread().decode(&counter, row) {
                Some(Number(last)) => last,
                None => self.count_on(organisation).await?,
            },
            None => 0,
        };
        let metric = Metric {
            id: MetricId(last + 1),
            definition: definition.clone(),
            time_zone: time_zone.to_owned(),
            created: self.clock.now(),
        };
        let name = layout::metric_name(organisation, &definition.name);
        let row = (layout::metric(organisation, metric.id), encode(&metric));
        let known = Known::read(row.clone())?;
        let defined = Defined { metric: Arc::clone(&known.metric), created: true };
        let mut batch = Batch::new();
        batch
            .require(counter.clone(), counted.map_or(Precondition::Absent, Precondition::ValueIs))
            .require(name.clone(), Precondition::Absent)
            .put(counter, encode(&Number(metric.id.0)))
            .put(name, encode(&MetricRow { id: metric.id }))
            .put(row.0, row.1)
            .append(join(&defined));
        change.commit(batch, |change| change.remember(known)).await?;
        Ok(defined)
    }

    /// The number behind which the metrics of an organisation go on whose count does not read.
    async fn count_on(&self, organisation: OrganisationId) -> Result<u64, StoreError> {
        let mut highest = 0;
        for rows in [layout::metrics(organisation), layout::deletions_of(organisation)] {
            let mut rows = Walk::backward(&*self.store, rows.prefix()).at_once(1);
            if let Some((.., (_, MetricId(id)))) = rows.next_read(|key, _| layout::metric_of(key)).await? {
                highest = id.max(highest);
            }
        }
        Ok(highest.saturating_add(PASSED_OVER))
    }

    /// One metric.
    ///
    /// # Errors
    /// [`MetricError::UnknownMetric`] if there is none.
    pub async fn get(
        &self,
        organisation: OrganisationId,
        metric: &MetricReference,
    ) -> Result<Arc<Metric>, MetricError> {
        Ok(Arc::clone(&self.catalogue.find(organisation, metric).await?.metric))
    }

    /// `limit` of the metrics that match `filter` and `visible`, ordered by id, after the first `offset` such.
    ///
    /// # Errors
    /// If the store's.
    pub async fn list(
        &self,
        organisation: OrganisationId,
        filter: &ListFilter,
        visible: &(dyn Fn(&Metric) -> bool + Sync),
        offset: u64,
        limit: usize,
    ) -> Result<MetricPage, MetricError> {
        let named = filter.matcher();
        let matches = |metric: &&Arc<Metric>| named(metric) && visible(metric);
        let page = |metrics: &mut dyn Iterator<Item = &Arc<Metric>>| {
            let mut page = MetricPage { metrics: Vec::new(), total: 0 };
            for metric in metrics {
                if page.total >= offset && page.metrics.len() < limit {
                    page.metrics.push(Arc::clone(metric));
                }
                page.total += 1;
            }
            page
        };
        self.catalogue
            .read(organisation, |directory| page(&mut directory.metrics_after(None).filter(matches)))
            .await
    }

    /// A page of the metrics that match `filter`, ordered by id. Its cursor names the last one, so that what is made or
    /// deleted between two pages hides none of the others.
    ///
    /// # Errors
    /// If the cursor is not of this list, or the store's.
    pub async fn page(
        &self,
        organisation: OrganisationId,
        filter: &ListFilter,
        page: &PageRequest,
    ) -> Result<Page<Arc<Metric>>, MetricError> {
        let after = page.cursor.as_ref().map(|cursor| {
            let id = cursor.0.as_slice().try_into().map(u64::from_be_bytes);
            id.map(MetricId).map_err(|_| FieldError::wrong_cursor(cursor))
        });
        let after = after.transpose()?;
        let matches = filter.matcher();
        let read = |directory: &Directory| {
            let mut found = directory.metrics_after(after).filter(|metric| matches(metric)).cloned();
            let items: Vec<_> = found.by_ref().take(page.limit).collect();
            let more = found.next().and(items.last());
            let next = more.map(|last| Cursor(last.id.0.to_be_bytes().to_vec()));
            Page { items, next }
        };
        self.catalogue.read(organisation, read).await
    }

    /// Gives a metric another description, or none.
    ///
    /// # Errors
    /// If it is too long, or there is no such metric.
    pub async fn update_description(
        &self,
        organisation: OrganisationId,
        metric: &MetricReference,
        description: Option<String>,
    ) -> Result<Arc<Metric>, MetricError> {
        check_description("description", description.as_deref())?;
        let change = self.catalogue.change(organisation).await?;
        for _ in 0..ATTEMPTS {
            let known = change.find(metric).await?;
            let mut changed = Metric::clone(&known.metric);
            changed.definition.description.clone_from(&description);
            let (key, before) = known.row.clone();
            let after = Known::read((key.clone(), encode(&changed)))?;
            let metric = Arc::clone(&after.metric);
            let mut batch = Batch::new();
            batch.require(key.clone(), Precondition::ValueIs(before)).put(key, after.row.1.clone());
            match change.commit(batch, |change| change.remember(after)).await {
                Ok(()) => return Ok(metric),
                Err(StoreError::Conflict(_)) => change.refresh(known.metric.id).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(CONTENDED.into())
    }

    /// Deletes a metric: it is gone when this returns, and its name is free. Its data is freed by [`Self::sweep`].
    ///
    /// # Errors
    /// [`MetricError::UnknownMetric`] if there is none.
    pub async fn delete(
        &self,
        organisation: OrganisationId,
        metric: &MetricReference,
    ) -> Result<Arc<Metric>, MetricError> {
        self.delete_with(organisation, metric, |_| Batch::new()).await
    }

    /// As [`Self::delete`], together with what `join` makes of the metric: both are committed or neither.
    ///
    /// # Errors
    /// As of [`Self::delete`]; and the store's conflict of a precondition of `join` that does not hold.
    pub async fn delete_with(
        &self,
        organisation: OrganisationId,
        metric: &MetricReference,
        join: impl Fn(&Metric) -> Batch,
    ) -> Result<Arc<Metric>, MetricError> {
        let change = self.catalogue.change(organisation).await?;
        for _ in 0..ATTEMPTS {
            let known = change.find(metric).await?;
            let Metric { id, definition, .. } = &*known.metric;
            let (key, before) = known.row.clone();
            let deletion = Deletion { name: definition.name.clone(), deleted: self.clock.now() };
            let mut batch = Batch::new();
            batch
                .require(key.clone(), Precondition::ValueIs(before))
                .delete(key.clone())
                .delete(layout::metric_name(organisation, &definition.name))
                .delete(layout::key_count(organisation, *id))
                .put(layout::deletion(organisation, *id), encode(&deletion))
                .append(join(&known.metric))
                // A sweep frees its data for what this puts.
                .frees();
            let deleted = *id;
            match change.commit(batch, move |change| change.forget(deleted)).await {
                Ok(()) => return Ok(Arc::clone(&known.metric)),
                Err(StoreError::Conflict(conflict)) if conflict == key => change.refresh(*id).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(CONTENDED.into())
    }
}

/// The time zone's name as the database spells it.
fn zone_name(name: &str) -> Result<String, FieldError> {
    let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown());
    zone.as_ref()
        .and_then(TimeZone::iana_name)
        .map(str::to_owned)
        .ok_or_else(|| FieldError::new("time_zone", name, "an IANA time zone such as UTC or Europe/Berlin"))
}

/// The answer of a define that finds a metric of its name.
fn same(metric: &Arc<Metric>, definition: &Definition) -> Result<Defined, MetricError> {
    match metric.definition.difference(definition) {
        None => Ok(Defined { metric: Arc::clone(metric), created: false }),
        Some((field, present)) => {
            Err(MetricError::Conflict { name: definition.name.clone(), field, present })
        }
    }
}
