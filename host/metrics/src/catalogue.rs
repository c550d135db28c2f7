//! Every metric of every organisation in use, in memory: what a write or a query needs to know costs no read.
//!
//! An organisation's metrics are loaded together, once, and followed by every define and delete of this process.
//! What another process on the same store did is found out late but never too late: a write requires that its
//! metrics' rows still are what is remembered here, and a name that is not known here is looked for in the store.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bellwether_kernel::{MetricId, OrganisationId};
use bellwether_store::{Batch, Row, SharedStore, StoreError, Walk, decode, to_the_end};
use jiff::tz::TimeZone;
use parking_lot::RwLock;
use tokio::sync::OwnedMutexGuard;

use crate::interval::Calendar;
use crate::layout::{self, MetricRow};
use crate::{MAX_NAME, Metric, MetricError, MetricReference};

/// A metric and what is worked out from it once.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) metric: Arc<Metric>,
    /// Its row: a write requires it unchanged, so that nothing is ever added to a deleted metric.
    pub(crate) row: Row,
    /// Its intervals; absent where this host does not know its time zone.
    calendar: Option<Calendar>,
}

impl Known {
    pub(crate) fn read(row: Row) -> Result<Arc<Self>, StoreError> {
        let metric: Metric = decode(&row.1)?;
        let zone = TimeZone::get(&metric.time_zone).ok();
        let calendar = zone.map(|zone| Calendar::new(zone, metric.definition.interval));
        Ok(Arc::new(Self { metric: Arc::new(metric), row, calendar }))
    }

    /// Its intervals.
    pub(crate) fn calendar(&self) -> Result<&Calendar, MetricError> {
        self.calendar.as_ref().ok_or_else(|| {
            let Metric { definition, time_zone, .. } = &*self.metric;
            let text =
                format!("the time zone {time_zone} of the metric {:?} is not known here", definition.name);
            StoreError::Failed(text).into()
        })
    }
}

/// The metrics of one organisation.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    by_id: BTreeMap<MetricId, Arc<Known>>,
    by_name: HashMap<String, Arc<Known>>,
}

impl Directory {
    fn find(&self, metric: &MetricReference) -> Option<&Arc<Known>> {
        match metric {
            MetricReference::Id(id) => self.by_id.get(id),
            MetricReference::Name(name) => self.by_name.get(name),
        }
    }

    fn insert(&mut self, known: Arc<Known>) {
        self.remove(known.metric.id);
        self.by_name.insert(known.metric.definition.name.clone(), Arc::clone(&known));
        self.by_id.insert(known.metric.id, known);
    }

    fn remove(&mut self, id: MetricId) {
        if let Some(known) = self.by_id.remove(&id)
            && self.by_name.get(&known.metric.definition.name).is_some_and(|named| named.metric.id == id)
        {
            self.by_name.remove(&known.metric.definition.name);
        }
    }

    /// Its metrics behind `after`, by id.
    pub(crate) fn metrics_after(&self, after: Option<MetricId>) -> impl Iterator<Item = &Arc<Metric>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range((from, Bound::Unbounded)).map(|(_, known)| &known.metric)
    }
}

/// One organisation's place in the catalogue.
#[derive(Debug, Default)]
struct Shelf {
    /// Held by whoever changes what is in the store, or brings what is remembered in line with it.
    changing: Arc<tokio::sync::Mutex<()>>,
    directory: RwLock<Option<Directory>>,
}

/// The metrics of every organisation in use.
pub(crate) struct Catalogue {
    store: SharedStore,
    shelves: RwLock<HashMap<OrganisationId, Arc<Shelf>>>,
}

impl Catalogue {
    pub(crate) fn new(store: SharedStore) -> Self {
        Self { store, shelves: RwLock::default() }
    }

    fn shelf(&self, organisation: OrganisationId) -> Arc<Shelf> {
        if let Some(shelf) = self.shelves.read().get(&organisation) {
            return Arc::clone(shelf);
        }
        Arc::clone(self.shelves.write().entry(organisation).or_default())
    }

    /// One metric.
    pub(crate) async fn find(
        &self,
        organisation: OrganisationId,
        metric: &MetricReference,
    ) -> Result<Arc<Known>, MetricError> {
        let shelf = self.shelf(organisation);
        if let Some(known) = shelf.directory.read().as_ref().and_then(|directory| directory.find(metric)) {
            return Ok(Arc::clone(known));
        }
        self.change(organisation).await?.find(metric).await
    }

    /// What `read` makes of the organisation's metrics.
    pub(crate) async fn read<T>(
        &self,
        organisation: OrganisationId,
        read: impl FnOnce(&Directory) -> T,
    ) -> Result<T, MetricError> {
        let shelf = self.shelf(organisation);
        if shelf.directory.read().is_none() {
            self.change(organisation).await?;
        }
        let directory = shelf.directory.read();
        Ok(read(directory.as_ref().expect("a loaded directory stays loaded")))
    }

    /// Knows no more of an organisation that is gone.
    pub(crate) fn forget(&self, organisation: OrganisationId) {
        self.shelves.write().remove(&organisation);
    }

    /// Waits until nobody else changes the organisation's metrics, and keeps others from it.
    pub(crate) async fn change(&self, organisation: OrganisationId) -> Result<Arc<Change>, MetricError> {
        let shelf = self.shelf(organisation);
        let turn = Arc::clone(&shelf.changing).lock_owned().await;
        let change = Change { store: Arc::clone(&self.store), organisation, shelf, _turn: turn };
        if change.shelf.directory.read().is_none() {
            change.reload().await?;
        }
        Ok(Arc::new(change))
    }
}

/// The right to change one organisation's metrics in the store, and in memory after that.
pub(crate) struct Change {
    store: SharedStore,
    organisation: OrganisationId,
    shelf: Arc<Shelf>,
    _turn: OwnedMutexGuard<()>,
}

impl Change {
    /// One metric, looked for in the store if it is not known.
    pub(crate) async fn find(&self, metric: &MetricReference) -> Result<Arc<Known>, MetricError> {
        if let Some(known) = self.remembered(metric) {
            return Ok(known);
        }
        let id = match metric {
            MetricReference::Id(id) => Some(*id),
            MetricReference::Name(name) if name.len() > 4 * MAX_NAME => None,
            MetricReference::Name(name) => {
                let row = self.store.get(&layout::metric_name(self.organisation, name)).await?;
                row.map(|row| decode::<MetricRow>(&row)).transpose()?.map(|row| row.id)
            }
        };
        if let Some(id) = id {
            self.refresh(id).await?;
        }
        self.remembered(metric).ok_or_else(|| MetricError::unknown(metric))
    }

    fn remembered(&self, metric: &MetricReference) -> Option<Arc<Known>> {
        self.shelf.directory.read().as_ref()?.find(metric).cloned()
    }

    /// Commits a batch and does `then` in memory, if it is durable, also where nobody waits for it any more. Nobody else
    /// changes the organisation's metrics before both are done.
    pub(crate) async fn commit(
        self: &Arc<Self>,
        batch: Batch,
        then: impl FnOnce(&Self) + Send + 'static,
    ) -> Result<(), StoreError> {
        let change = Arc::clone(self);
        to_the_end(async move {
            change.store.commit(batch).await?;
            then(&change);
            Ok(())
        })
        .await
    }

    /// How many metrics there are.
    pub(crate) fn count(&self) -> usize {
        self.shelf.directory.read().as_ref().map_or(0, |directory| directory.by_id.len())
    }

    /// Remembers a metric as it now is in the store.
    pub(crate) fn remember(&self, known: Arc<Known>) {
        self.shelf.directory.write().get_or_insert_default().insert(known);
    }

    /// Forgets a metric that was deleted.
    pub(crate) fn forget(&self, id: MetricId) {
        self.shelf.directory.write().get_or_insert_default().remove(id);
    }

    /// Brings what is remembered of one metric in line with the store.
    pub(crate) async fn refresh(&self, id: MetricId) -> Result<(), MetricError> {
        let key = layout::metric(self.organisation, id);
        match self.store.get(&key).await? {
            Some(value) => self.remember(Known::read((key, value))?),
            None => self.forget(id),
        }
        Ok(())
    }

    /// Brings what is remembered of every metric in line with the store.
    pub(crate) async fn reload(&self) -> Result<(), MetricError> {
        let mut directory = Directory::default();
        let mut rows = Walk::forward(&*self.store, layout::metrics(self.organisation).prefix());
        while let Some(row) = rows.next().await? {
            directory.insert(Known::read(row)?);
        }
        *self.shelf.directory.write() = Some(directory);
        Ok(())
    }
}
