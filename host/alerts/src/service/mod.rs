//! The one door to monitors, incidents, mutes and the calendar: what it is made of, how it opens and stops.

mod backtest;
mod by;
mod calendar;
mod callers;
mod ending;
mod fates;
mod feedback;
mod find;
mod incidents;
mod monitors;
mod mutes;
mod resolve;

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use bellwether_access::{Access, AuditScope, Principal};
use bellwether_kernel::{Clock, Cursor, FieldError, MonitorId, OrganisationId, Page, PageRequest, Timestamp};
use bellwether_series::Listener;
use bellwether_store::{Batch, Direction, Key, Precondition, SharedStore, Space, StoreError, decode, encode};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::{Pacing, ProblemKind};
use crate::meters::Meters;
use crate::monitor::Compiled;
use crate::rows::{self, Counter};
use crate::wake::Wakes;
use crate::{AlertError, EventSource, Figures, Outward, Roles, Routes, Tellings};

pub use backtest::{Backtest, BacktestIncident, BacktestRequest};
pub use by::{By, Join, Subject};
pub use callers::{Called, Caller};
pub use fates::Reach;
pub use feedback::FeedbackFilter;
pub use find::{MonitorVersion, SeriesStatus, StoredMonitor};
pub(crate) use find::{monitor_id, no_channels};
pub use incidents::{IncidentFilter, IncidentState};

/// How often a change is made anew because somebody else, as an evaluation, changed the same meanwhile; each time theirs
/// went through. Of so many who take a number of one count at once, the last is overtaken by all others.
const ATTEMPTS: usize = 64;

/// How long a mute or an entry of the calendar that is over is shown, in milliseconds: 30 days.
const SHOWN: i64 = 30 * 24 * 60 * 60 * 1000;

/// Bytes of a number at the end of a key.
const NUMBER: usize = 8;

/// Compiled monitors kept in memory.
const COMPILED: usize = 50_000;

/// How much is done at once, and how much there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Monitors evaluated at once on this host; an organisation's at most as many as are left free.
    pub at_once: usize,
    /// Monitors of one organisation.
    pub monitors: u64,
    /// Series of one monitor; of an anomaly monitor [`crate::limits::ANOMALY_SERIES`] at most.
    pub series: usize,
    /// Bytes of incidents in one commit; another incident joins it as long as it has fewer.
    pub incidents_at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let (monitors, series) = (crate::limits::MONITORS, crate::limits::MONITOR_SERIES);
        Self { at_once: 32, monitors, series, incidents_at_once: crate::limits::INCIDENTS_AT_ONCE }
    }
}

/// What alerts stand on.
pub struct Parts {
    /// Where everything is kept.
    pub store: SharedStore,
    /// The audit log.
    pub access: Arc<Access>,
    /// Where monitors read their figures.
    pub figures: Arc<dyn Figures>,
    /// Where events are found that may belong to incidents.
    pub events: Arc<dyn EventSource>,
    /// The detectors there are.
    pub roles: Arc<dyn Roles>,
    /// Where what is told goes.
    pub tellings: Arc<dyn Tellings>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How much is done at once.
    pub limits: Limits,
    /// What leads from incidents to elsewhere.
    pub outward: Outward,
}

/// A version of a monitor, and its number.
type Version = (u32, Arc<Compiled>);

/// The monitors of every organisation on one store, their incidents and mutes.
pub struct Alerts {
    pub(crate) store: SharedStore,
    pub(crate) access: Arc<Access>,
    pub(crate) figures: Arc<dyn Figures>,
    pub(crate) events: Arc<dyn EventSource>,
    /// Until when nothing that is told waits for events.
    pub(crate) events_rest: AtomicI64,
    pub(crate) roles: Arc<dyn Roles>,
    pub(crate) tellings: Arc<dyn Tellings>,
    pub(crate) routes: Routes,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) outward: Outward,
    pub(crate) meters: Meters,
    pub(crate) pacing: Pacing,
    /// Monitors that have a problem.
    pub(crate) problems: Mutex<HashMap<(OrganisationId, MonitorId), ProblemKind>>,
    /// Monitors that writes wake.
    pub(crate) wakes: Arc<Wakes>,
    /// The version of each monitor that was evaluated last; a version never changes.
    compiled: Mutex<HashMap<(OrganisationId, MonitorId), Version>>,
    /// The calendars that were asked last.
    pub(crate) calendars: Mutex<HashMap<OrganisationId, calendar::Kept>>,
    /// Told when a monitor is due earlier than was known.
    pub(crate) sooner: Arc<Notify>,
    /// Behind which incident the next sweep goes on, where the last did not get to the end.
    swept: Mutex<Option<Key>>,
    /// The acts that this life of the host does, by their rows.
    pub(crate) acting: Mutex<BTreeSet<Key>>,
    /// Those of them that call apps.
    pub(crate) app_acts: TaskTracker,
    /// Ends the evaluations.
    pub(crate) halt: CancellationToken,
    at_work: Mutex<Option<JoinHandle<()>>>,
}

impl Alerts {
    /// Opens the alerts on `parts` and goes on with the evaluations that are due. Needs a Tokio runtime.
    #[must_use]
    pub fn open(parts: Parts) -> Arc<Self> {
        let alerts = Self::idle(parts);
        *alerts.at_work.lock() = Some(alerts.begin());
        tokio::spawn(Arc::clone(&alerts).resume_acts());
        alerts
    }

    /// Alerts that evaluate nothing by themselves.
    pub(crate) fn idle(parts: Parts) -> Arc<Self> {
        let Parts { store, access, figures, events, roles, tellings, clock, limits, outward } = parts;
        let sooner = Arc::new(Notify::new());
        let wakes = Arc::new(Wakes::new(Arc::clone(&clock), Arc::clone(&sooner)));
        figures.tell(&(Arc::clone(&wakes) as Arc<dyn Listener>));
        let routes = Routes::new(Arc::clone(&store), Arc::clone(&access), Arc::clone(&clock));
        Arc::new(Self {
            store,
            access,
            figures,
            events,
            events_rest: AtomicI64::new(i64::MIN),
            roles,
            tellings,
            routes,
            clock,
            limits,
            outward,
            meters: Meters::new(),
            pacing: Pacing::default(),
            problems: Mutex::default(),
            wakes,
            compiled: Mutex::default(),
            calendars: Mutex::default(),
            sooner,
            swept: Mutex::default(),
            acting: Mutex::default(),
            app_acts: TaskTracker::new(),
            halt: CancellationToken::new(),
            at_work: Mutex::default(),
        })
    }

    /// Which channels incidents go to, beyond those their monitors name.
    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Begins no more evaluations and waits for those at work, at most so long. Where one that is cut
    /// off then has not committed all that it does, whoever opens the store next evaluates the monitor. What is done about
    /// incidents goes on: see [`Self::end_acts`].
    pub async fn stop(&self, patience: Duration) {
        self.halt.cancel();
        let Some(mut at_work) = self.at_work.lock().take() else { return };
        if tokio::time::timeout(patience, &mut at_work).await.is_err() {
            at_work.abort();
        }
    }

    /// A version of a monitor, ready to be evaluated.
    pub(crate) async fn load(
        &self,
        organisation: OrganisationId,
        id: MonitorId,
        version: u32,
    ) -> Result<Arc<Compiled>, StoreError> {
        let found = self.find_version(organisation, id, version).await?;
        found.ok_or_else(|| damaged_version((organisation, id, version), "it is not there"))
    }

    /// The same, if it is there still: versions go one by one, and all with their monitor.
    pub(crate) async fn find_version(
        &self,
        organisation: OrganisationId,
        id: MonitorId,
        version: u32,
    ) -> Result<Option<Arc<Compiled>>, StoreError> {
        if let Some((kept, compiled)) = self.compiled.lock().get(&(organisation, id))
            && *kept == version
        {
            return Ok(Some(Arc::clone(compiled)));
        }
        let damaged = |error: &dyn Display| damaged_version((organisation, id, version), error);
        let row = self.store.get(&rows::version(organisation, id, version)).await?;
        let Some(row) = row else { return Ok(None) };
        let row: monitors::VersionRow = decode(&row)?;
        let document = serde_json::from_str(&row.document).map_err(|error| damaged(&error))?;
        let compiled = Arc::new(Compiled::read(&document).map_err(|error| damaged(&error))?);
        let mut kept = self.compiled.lock();
        if kept.len() >= COMPILED {
            kept.clear();
        }
        // An earlier one, which an incident opened by, does not take the place of what is evaluated.
        if kept.get(&(organisation, id)).is_none_or(|(known, _)| *known < version) {
            kept.insert((organisation, id), (version, Arc::clone(&compiled)));
        }
        Ok(Some(compiled))
    }

    /// Keeps nothing in memory of a monitor that was deleted.
    fn forget_compiled(&self, organisation: OrganisationId, id: MonitorId) {
        self.compiled.lock().remove(&(organisation, id));
    }

    /// Keeps none of an organisation's in memory.
    pub(crate) fn forget_compiled_of(&self, organisation: OrganisationId) {
        self.compiled.lock().retain(|(own, _), _| *own != organisation);
    }

    /// How many monitors are kept in memory.
    #[cfg(test)]
    pub(crate) fn kept_compiled(&self) -> usize {
        self.compiled.lock().len()
    }

    /// A page of the rows under `prefix`, whose keys end in a number: each with its number, in `direction`.
    pub(crate) async fn numbered(
        &self,
        prefix: Key,
        direction: Direction,
        page: &PageRequest,
    ) -> Result<Page<(u64, Bytes)>, AlertError> {
        let mut range = prefix.prefix();
        if let Some(place) = place_of(page, NUMBER)? {
            match direction {
                Direction::Forward => range.start = prefix.fixed(place),
                Direction::Backward => range.end = prefix.fixed(place).successor(),
            }
        }
        let rows = self.store.scan(range, direction, page.limit + 1).await?;
        let next = rows.get(page.limit).map(|(key, _)| cursor_to(key, NUMBER));
        let numbered = |(key, row): (Key, Bytes)| {
            let number = key.as_bytes().last_chunk().copied().map(u64::from_be_bytes);
            let number = number.ok_or_else(|| StoreError::Damaged(format!("{key:?} has no number")))?;
            Ok::<_, AlertError>((number, row))
        };
        let items = rows.into_iter().take(page.limit).map(numbered).collect::<Result<_, _>>()?;
        Ok(Page { items, next })
    }

    /// The next number of what is counted, required and counted in the batch.
    pub(crate) async fn count(
        &self,
        batch: &mut Batch,
        of: Space,
        organisation: OrganisationId,
    ) -> Result<u64, StoreError> {
        self.add_one(batch, rows::counter(of, organisation)).await
    }

    /// Adds one to a count in `batch`, which requires it as it was read; gives the count.
    pub(crate) async fn add_one(&self, batch: &mut Batch, key: Key) -> Result<u64, StoreError> {
        let stored = self.store.get(&key).await?;
        let Counter(count) = stored.as_ref().map_or(Ok(Counter::default()), |row| decode(row))?;
        let before = stored.map_or(Precondition::Absent, Precondition::ValueIs);
        batch.require(key.clone(), before).put(key, encode(&Counter(count + 1)));
        Ok(count + 1)
    }

    pub(crate) fn audit(
        &self,
        batch: &mut Batch,
        principal: &Principal,
        action: &str,
        target: &str,
        details: &[(&str, String)],
    ) {
        let scope = AuditScope::Organisation(principal.organisation);
        self.access.audit(batch, scope, principal.key.as_str(), action, target, details);
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        self.halt.cancel();
    }
}

fn damaged_version(
    (organisation, id, version): (OrganisationId, MonitorId, u32),
    why: impl Display,
) -> StoreError {
    StoreError::Damaged(format!("version {version} of monitor {id} of organisation {organisation}: {why}"))
}

/// Makes a change, anew as long as it is overtaken.
pub(crate) async fn until_it_holds<T, C>(change: impl Fn() -> C) -> Result<T, AlertError>
where
    C: Future<Output = Result<T, AlertError>>,
{
    let mut attempts = 0;
    loop {
        attempts += 1;
        let done = change().await;
        let overtaken = matches!(done, Err(AlertError::Store(StoreError::Conflict(_))));
        if !overtaken || attempts == ATTEMPTS {
            return done;
        }
    }
}

/// Of those that are over, by when, which are shown no more: what has been over for 30 days, and the oldest beyond `most`,
/// for everything that is kept is read at once.
fn forgotten<I>(mut over: Vec<(Timestamp, I)>, now: Timestamp, most: usize) -> Vec<I>
where
    I: Copy + Ord,
{
    over.sort_unstable();
    let beyond = over.len().saturating_sub(most);
    let is_old =
        |(at, (end, _)): &(usize, (Timestamp, I))| *at < beyond || now.milliseconds_since(*end) > SHOWN;
    over.into_iter().enumerate().filter(is_old).map(|(_, (_, id))| id).collect()
}

/// Where a page begins, for a list whose cursor is the last `length` bytes of a key.
pub(crate) fn place_of(page: &PageRequest, length: usize) -> Result<Option<&[u8]>, AlertError> {
    match &page.cursor {
        None => Ok(None),
        Some(cursor) if cursor.0.len() == length => Ok(Some(&cursor.0)),
        Some(cursor) => Err(FieldError::wrong_cursor(cursor).into()),
    }
}

/// The cursor that leads to a key.
pub(crate) fn cursor_to(key: &Key, length: usize) -> Cursor {
    let bytes = key.as_bytes();
    Cursor(bytes[bytes.len() - length..].to_vec())
}
