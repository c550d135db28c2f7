//! Monitors as they are found and read.

use bellwether_kernel::{Cursor, FieldError, MonitorId, OrganisationId, Page, PageRequest, Timestamp};
use bellwether_store::{Direction, MAX_KEY, Store, StoreError, decode};
use bytes::Bytes;

use super::monitors::VersionRow;
use crate::calendar::Quiet;
use crate::delivery::keys;
use crate::engine::Decision;
use crate::feedback::FeedbackCounts;
use crate::incident::Interval;
use crate::monitor::Monitor;
use crate::route::no_channel;
use crate::rows::{self, DecisionRow, MonitorRef, MonitorRow, NextRow};
use crate::{AlertError, Alerts, Level};

/// A stored monitor.
#[derive(Clone, Debug)]
pub struct StoredMonitor {
    /// Its id.
    pub id: MonitorId,
    /// Counted from 1; each change makes the next.
    pub version: u32,
    /// What it says.
    pub document: Monitor,
    /// When it was first stored.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// By the key of this name.
    pub updated_by: String,
    /// When it is due next; absent while it is paused.
    pub next_due: Option<Timestamp>,
    /// When it was evaluated last.
    pub evaluated: Option<Timestamp>,
    /// How many series it knew then, or found when it was put.
    pub series: Option<u64>,
    /// Why that came to nothing, or what it left out; or what it names and is not there: channels, or what its actions take.
    pub problem: Option<String>,
    /// What of it cannot work as things are, a sentence each, whatever came of its evaluation.
    pub warnings: Vec<String>,
    /// How many opinions its incidents got.
    pub feedback: FeedbackCounts,
}

/// A version of a monitor.
#[derive(Clone, Debug)]
pub struct MonitorVersion {
    /// Counted from 1.
    pub version: u32,
    /// What it says.
    pub document: Monitor,
    /// When it was stored.
    pub created: Timestamp,
    /// By the key of this name.
    pub created_by: String,
}

/// How one series of a monitor stands.
#[derive(Clone, Debug)]
pub struct SeriesStatus {
    /// Its tags, or `*`.
    pub series: String,
    /// What it is grouped by.
    pub tags: Vec<(String, String)>,
    /// Its level.
    pub level: Level,
    /// Whether it stays away.
    pub missing: bool,
    /// When its last step with a point began.
    pub last_point: Timestamp,
    /// The first evaluation that saw it.
    pub first_seen: Timestamp,
    /// What was compared last.
    pub value: Option<f64>,
    /// Since when it breaches without being open.
    pub pending: Option<Timestamp>,
    /// Its breach, if it is open.
    pub breach: Option<Interval>,
    /// Why it is not looked at now.
    pub quiet: Option<String>,
}

/// A monitor as it was read, with the rows a change hangs on.
pub(super) struct Found {
    pub(super) id: MonitorId,
    pub(super) stored: Bytes,
    pub(super) row: MonitorRow,
}

impl Alerts {
    /// One monitor, by name or id.
    ///
    /// # Errors
    /// [`AlertError::NotFound`].
    pub async fn monitor(
        &self,
        organisation: OrganisationId,
        name_or_id: &str,
    ) -> Result<StoredMonitor, AlertError> {
        let Found { id, row, .. } = self.find(organisation, name_or_id).await?;
        self.assemble(organisation, id, &row).await
    }

    /// Every monitor, ordered by id.
    ///
    /// # Errors
    /// [`AlertError::Invalid`] for a cursor that is not of this list.
    pub async fn monitors(
        &self,
        organisation: OrganisationId,
        page: &PageRequest,
    ) -> Result<Page<StoredMonitor>, AlertError> {
        let found = self.numbered(rows::monitors(organisation), Direction::Forward, page).await?;
        let mut items = Vec::with_capacity(found.items.len());
        for (id, row) in found.items {
            items.push(self.assemble(organisation, MonitorId(id), &decode(&row)?).await?);
        }
        Ok(Page { items, next: found.next })
    }

    /// The versions of a monitor that are kept, newest first.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; [`AlertError::Invalid`] for a cursor that is not of this list.
    pub async fn monitor_versions(
        &self,
        organisation: OrganisationId,
        name_or_id: &str,
        page: &PageRequest,
    ) -> Result<Page<MonitorVersion>, AlertError> {
        let Found { id, .. } = self.find(organisation, name_or_id).await?;
        let found = self.numbered(rows::versions(organisation, id), Direction::Backward, page).await?;
        found.try_map(|(number, row)| {
            let row: VersionRow = decode(&row)?;
            Ok(MonitorVersion {
                version: u32::try_from(number).unwrap_or(u32::MAX),
                document: read_document(&row.document)?,
                created: row.created,
                created_by: row.created_by,
            })
        })
    }

    /// How the series of a monitor stand, ordered by tags.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; [`AlertError::Invalid`] for a cursor that is not of this list.
    pub async fn monitor_series(
        &self,
        organisation: OrganisationId,
        name_or_id: &str,
        page: &PageRequest,
    ) -> Result<Page<SeriesStatus>, AlertError> {
        let Found { id, row, .. } = self.find(organisation, name_or_id).await?;
        let (state, _) = self.read_state(organisation, id).await?;
        let compiled = self.load(organisation, id, row.version).await?;
        let now = self.clock.now();
        let quiet = self.quiet(organisation, &compiled, now, Some(now)).await?;
        let first = match &page.cursor {
            None => 0,
            Some(cursor) => {
                let tags = serde_json::from_slice::<Vec<(String, String)>>(&cursor.0);
                let tags = tags.map_err(|_| FieldError::wrong_cursor(cursor))?;
                state.series.partition_point(|series| series.tags < tags)
            }
        };
        let mut rest = state.series[first..].iter();
        let items = rest.by_ref().take(page.limit).map(|series| SeriesStatus::of(series, &quiet)).collect();
        let cursor = |tags| Cursor(serde_json::to_vec(tags).expect("tags are plain text"));
        Ok(Page { items, next: rest.next().map(|series| cursor(&series.tags)) })
    }

    /// What the evaluations of a monitor decided, newest first: those something came of, the latest
    /// [`crate::limits::DECISIONS`].
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; [`AlertError::Invalid`] for a cursor that is not of this list.
    pub async fn monitor_trace(
        &self,
        organisation: OrganisationId,
        name_or_id: &str,
        page: &PageRequest,
    ) -> Result<Page<Decision>, AlertError> {
        let Found { id, .. } = self.find(organisation, name_or_id).await?;
        let found = self.numbered(rows::decisions(organisation, id), Direction::Backward, page).await?;
        found.try_map(|(_, row)| {
            let DecisionRow(text) = decode(&row)?;
            let damaged = |_| StoreError::Damaged(format!("not a decision: {text}"));
            Ok(serde_json::from_str(&text).map_err(damaged)?)
        })
    }

    pub(super) async fn find(
        &self,
        organisation: OrganisationId,
        name_or_id: &str,
    ) -> Result<Found, AlertError> {
        let unknown = || AlertError::unknown("monitor", name_or_id);
        let id = monitor_id(&*self.store, organisation, name_or_id).await?.ok_or_else(unknown)?;
        let stored = self.store.get(&rows::monitor(organisation, id)).await?.ok_or_else(unknown)?;
        let row = decode(&stored)?;
        Ok(Found { id, stored, row })
    }

    async fn assemble(
        &self,
        organisation: OrganisationId,
        id: MonitorId,
        row: &MonitorRow,
    ) -> Result<StoredMonitor, AlertError> {
        let next = self.store.get(&rows::next(organisation, id)).await?;
        let next: Option<NextRow> = next.map(|row| decode(&row)).transpose()?;
        let feedback = self.feedback_counts(organisation, id).await?;
        let document = read_document(&row.document)?;
        self.shown(organisation, id, row, document, next.as_ref(), feedback).await
    }

    /// A monitor as it is shown.
    pub(super) async fn shown(
        &self,
        organisation: OrganisationId,
        id: MonitorId,
        row: &MonitorRow,
        document: Monitor,
        next: Option<&NextRow>,
        feedback: FeedbackCounts,
    ) -> Result<StoredMonitor, AlertError> {
        let missing = self.missing_channels(organisation, &document).await?;
        let mut warnings = self.undoable(organisation, &document).await?;
        let series = next.and_then(|next| next.series);
        if series == Some(0) && !document.paused {
            warnings.push("its query finds no series: until one has points, it opens no incident".into());
        }
        let problem = next.and_then(|next| next.problem.clone()).or_else(|| {
            let all: Vec<String> =
                no_channels(&missing).into_iter().chain(warnings.iter().cloned()).collect();
            (!all.is_empty()).then(|| all.join("; "))
        });
        warnings.splice(..0, missing.iter().map(|name| no_channel(name)));
        Ok(StoredMonitor {
            id,
            version: row.version,
            document,
            created: row.created,
            updated: row.updated,
            updated_by: row.updated_by.clone(),
            next_due: next.and_then(|next| next.at),
            evaluated: next.and_then(|next| next.evaluated),
            series,
            problem,
            warnings,
            feedback,
        })
    }

    /// Which of a monitor's channels are not there: what they would be told ends as a dead letter.
    pub(crate) async fn missing_channels(
        &self,
        organisation: OrganisationId,
        document: &Monitor,
    ) -> Result<Vec<String>, AlertError> {
        let mut missing = Vec::new();
        for name in &document.channels {
            if self.store.get(&keys::channel(organisation, name)).await?.is_none() {
                missing.push(name.clone());
            }
        }
        Ok(missing)
    }

    /// Which of a monitor's actions could not be done as things are, and why.
    async fn undoable(
        &self,
        organisation: OrganisationId,
        document: &Monitor,
    ) -> Result<Vec<String>, AlertError> {
        let Some(actions) = &self.outward.actions else { return Ok(Vec::new()) };
        let mut undoable = Vec::new();
        for action in &document.actions {
            if let Some(why) = actions.why_not(organisation, action).await? {
                undoable.push(format!("the action {:?} cannot be done: {why}", action.name));
            }
        }
        Ok(undoable)
    }
}

/// Which monitor a name or id stands for; there may be none of that id. A name is never digits alone, so neither can stand
/// for the other.
pub(crate) async fn monitor_id(
    store: &dyn Store,
    organisation: OrganisationId,
    name_or_id: &str,
) -> Result<Option<MonitorId>, AlertError> {
    match name_or_id.parse() {
        Ok(id) => Ok(Some(id)),
        Err(_) if name_or_id.len() > MAX_KEY / 4 => Ok(None),
        Err(_) => {
            let row = store.get(&rows::monitor_name(organisation, name_or_id)).await?;
            Ok(row.map(|row| decode::<MonitorRef>(&row)).transpose()?.map(|MonitorRef(id)| id))
        }
    }
}

/// What is wrong with a monitor whose channels are not there, if any are missing.
pub(crate) fn no_channels(missing: &[String]) -> Option<String> {
    let names: Vec<String> = missing.iter().map(|name| format!("{name:?}")).collect();
    (!names.is_empty()).then(|| format!("there is no channel {}", names.join(", ")))
}

fn read_document(text: &str) -> Result<Monitor, AlertError> {
    let damaged = |error| StoreError::Damaged(format!("a monitor's document: {error}"));
    Ok(serde_json::from_str(text).map_err(damaged)?)
}

impl SeriesStatus {
    fn of(series: &crate::state::SeriesState, quiet: &Quiet) -> Self {
        Self {
            series: series.id(),
            tags: series.tags.clone(),
            level: series.level,
            missing: series.missing,
            last_point: series.last_point,
            first_seen: series.first_seen,
            value: series.value,
            pending: series.pending,
            breach: crate::evaluate::interval(series),
            quiet: quiet.of(&series.tags, series.metric.as_deref()),
        }
    }
}
