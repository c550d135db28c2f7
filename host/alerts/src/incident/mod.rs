//! Incidents: what is kept of one, what happened to it, and what is told of it.

mod told;
mod told_note;

use std::fmt;
use std::str::FromStr;

use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_store::Versioned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::state::{Breach, Direction};
use crate::{Event, Excursion, Incident, Level, MonitorId, MonitorKind, Notify, Severity, limits};

pub(crate) use told_note::ToldNote;

/// An incident: a version-7 UUID, so that ids sort by when their incidents opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(pub uuid::Uuid);

impl IncidentId {
    /// The id of a monitor's incident of that number. It follows from what opened it, so that an evaluation that is
    /// done again opens the same.
    pub(crate) fn of(
        organisation: OrganisationId,
        monitor: MonitorId,
        number: u64,
        opened: Timestamp,
    ) -> Self {
        let mut digest = Sha256::new();
        for part in [organisation.0, monitor.0, number] {
            digest.update(part.to_be_bytes());
        }
        let digest: [u8; 32] = digest.finalize().into();
        let mut random = [0; 10];
        random.copy_from_slice(&digest[..10]);
        let milliseconds = u64::try_from(opened.as_milliseconds()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid())
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for IncidentId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// An incident as it is kept. What is said of its monitor is as it was when it opened: so are its recipients, so that
/// every opening that was told gets its closing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredIncident {
    /// Stable over its life.
    pub id: IncidentId,
    /// The monitor it is of.
    pub monitor: MonitorId,
    /// That monitor's name.
    pub monitor_name: String,
    /// The version that opened it.
    pub monitor_version: u32,
    /// What the monitor looks for.
    pub kind: MonitorKind,
    /// One line.
    pub title: String,
    /// What those who are told should know.
    pub message: String,
    /// The tags all its series share.
    pub tags: Vec<(String, String)>,
    /// Labels of the monitor, ordered by name.
    pub labels: Vec<(String, String)>,
    /// The highest of its open series, or of the last that were.
    pub severity: Severity,
    /// The level of the worst of them.
    pub level: Level,
    /// The first breach.
    pub started: Timestamp,
    /// When it opened.
    pub opened: Timestamp,
    /// When something of it last changed.
    pub updated: Timestamp,
    /// When it closed.
    pub closed: Option<Timestamp>,
    /// Why: `recovered`, `no-data`, `timeout`, `resolved`, `monitor-changed`, `monitor-deleted`.
    pub close_reason: Option<String>,
    /// How long one point of its series gathers, in milliseconds.
    pub time_scale: u64,
    /// Who is told.
    pub channels: Vec<String>,
    /// What they are told.
    pub notify: Notify,
    /// When it was decided that they are told that it opened; absent while it was not. Whether it reached them is for
    /// their deliveries to say: [`Alerts::reach`](crate::Alerts::reach).
    pub told: Option<Timestamp>,
    /// When they were told last.
    pub last_told: Option<Timestamp>,
    /// How often they were told.
    pub tellings: u32,
    /// How often they were told again.
    pub renotified: u32,
    /// Who said that it is known.
    pub acknowledgement: Option<Acknowledgement>,
    /// Who looks after it.
    pub assignee: Option<String>,
    /// Series that breach.
    pub open_series: u32,
    /// Breaches of series that are over.
    pub intervals: u64,
    /// Entries of its timeline.
    pub notes: u64,
    /// The highest severity it ever had: it may recover by way of a lower one. Of one that a host before kept, the last.
    pub worst: Severity,
    /// How severe it was when its channels were told last. Of one that a host before kept, what it was last.
    pub told_severity: Severity,
}

impl Versioned for StoredIncident {
    const NAME: &'static str = "incident";
    const VERSION: u8 = 3;

    fn upgrade(version: u8, bytes: &[u8]) -> Option<Self> {
        let none = Severity::Info;
        let bytes = match version {
            1 => postcard::to_extend(&(none, none), bytes.to_vec()).ok()?,
            2 => postcard::to_extend(&none, bytes.to_vec()).ok()?,
            _ => return None,
        };
        let incident: Self = postcard::from_bytes(&bytes).ok()?;
        let worst = if version == 1 { incident.severity } else { incident.worst };
        Some(Self { worst, told_severity: incident.severity, ..incident })
    }
}

impl StoredIncident {
    /// How severe it is for whoever looks for severe ones. It mostly falls before its end, so that its last severity says little
    /// of one that is over.
    #[must_use]
    pub fn severity_to_find(&self) -> Severity {
        if self.is_open() { self.severity } else { self.worst }
    }

    /// A made-up one, as it would be kept, of what is told of it.
    #[must_use]
    pub fn sample(told: &Incident) -> Self {
        let alert = told.alerts.first();
        let tags = alert.and_then(|alert| alert.series.first()).map(|series| series.tags.clone());
        Self {
            id: IncidentId(uuid::Uuid::nil()),
            monitor: MonitorId(1),
            monitor_name: "checkout-errors".to_owned(),
            monitor_version: 1,
            kind: alert.map_or(MonitorKind::Anomaly, |alert| alert.kind),
            title: told.title.clone(),
            message: told.description.clone(),
            tags: tags.unwrap_or_default(),
            labels: alert.map(|alert| alert.labels.clone()).unwrap_or_default(),
            severity: told.severity,
            level: Level::Alert,
            started: told.started,
            opened: told.started,
            updated: told.ended.unwrap_or(told.started),
            closed: told.ended,
            close_reason: told.ended.map(|_| "recovered".to_owned()),
            time_scale: told.time_scale.unwrap_or_default(),
            channels: Vec::new(),
            notify: Notify::default(),
            told: Some(told.started),
            last_told: Some(told.started),
            tellings: 1,
            renotified: 0,
            acknowledgement: None,
            assignee: None,
            open_series: u32::from(told.ended.is_none()),
            intervals: u64::from(told.ended.is_some()),
            notes: 1,
            worst: told.severity,
            told_severity: told.severity,
        }
    }

    /// The trigger that opened it: stable over its life, and another for each recurrence.
    #[must_use]
    pub fn trigger(&self) -> String {
        Self::trigger_of(&self.id.to_string())
    }

    /// The same of the incident of this id.
    pub(crate) fn trigger_of(id: &str) -> String {
        format!("{id}-1")
    }

    /// Whether its channels are told how it goes on: they were told that it opened, or are told of no opening.
    pub(crate) fn is_followed(&self) -> bool {
        self.told.is_some() || !self.notify.open && !self.channels.is_empty()
    }

    /// Whether it goes on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }
}

/// That an incident is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who said so.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// How severe it was then: what is worse is told again.
    pub severity: Severity,
}

/// A breach of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The series: its tags, or `*`.
    pub series: String,
    /// Its metric, where it is of one alone.
    pub metric: Option<String>,
    /// What it is grouped by.
    pub tags: Vec<(String, String)>,
    /// The first breach; of missing data the last point.
    pub started: Timestamp,
    /// When it opened: later than `started` by the time it took to tell.
    pub triggered: Timestamp,
    /// When it was over.
    pub ended: Option<Timestamp>,
    /// Its level, the last one.
    pub level: Level,
    /// The side it breached to first.
    pub direction: Option<Direction>,
    /// Above the band or threshold.
    pub upper: Option<Excursion>,
    /// Below it.
    pub lower: Option<Excursion>,
    /// How strange it was at most, in [0, 1].
    pub score: Option<f64>,
    /// The threshold.
    pub threshold: Option<f64>,
    /// The distances of all its points beyond, added up.
    pub sum_of_deltas: f64,
    /// The last point, of missing data.
    pub last_seen: Option<Timestamp>,
    /// What was compared last.
    pub value: Option<f64>,
    /// The season the detector found, in milliseconds.
    pub season: Option<u64>,
    /// Why it is over.
    pub close_reason: Option<String>,
}

impl Versioned for Interval {
    const NAME: &'static str = "interval of an incident";
}

impl Interval {
    pub(crate) fn new(
        (series, tags, metric): (String, Vec<(String, String)>, Option<String>),
        breach: &Breach,
        value: Option<f64>,
        season: Option<u64>,
        end: Option<(Timestamp, &str)>,
    ) -> Self {
        Self {
            series,
            metric,
            tags,
            started: breach.started,
            triggered: breach.triggered,
            ended: end.map(|(ended, _)| ended.max(breach.started)),
            level: breach.level,
            direction: breach.direction,
            upper: breach.upper,
            lower: breach.lower,
            score: breach.score,
            threshold: breach.threshold,
            sum_of_deltas: breach.sum_of_deltas,
            last_seen: breach.last_seen,
            value,
            season,
            close_reason: end.map(|(_, reason)| reason.to_owned()),
        }
    }
}

/// Something that happened to an incident, or did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    pub time: Timestamp,
    /// Who did it; absent where the host did.
    pub by: Option<String>,
    /// What.
    pub what: NoteKind,
    /// More of it: why, to whom, what was said.
    pub text: String,
    /// What channels are told, of [`NoteKind::Told`].
    pub(crate) told: Option<ToldNote>,
}

impl Note {
    pub(crate) fn new(time: Timestamp, by: Option<String>, what: NoteKind, text: impl Into<String>) -> Self {
        Self { time, by, what, text: text.into(), told: None }
    }

    /// That the host has channels told of something.
    pub(crate) fn of_telling(time: Timestamp, event: Event, told: ToldNote) -> Self {
        let text = told.said(event);
        Self { told: Some(told), ..Self::new(time, None, NoteKind::Told, text) }
    }
}

impl Versioned for Note {
    const NAME: &'static str = "note of an incident";
    const VERSION: u8 = 2;

    fn upgrade(version: u8, bytes: &[u8]) -> Option<Self> {
        let first = (version == 1).then(|| postcard::from_bytes(bytes).ok()).flatten()?;
        let (time, by, what, text): (_, _, _, String) = first;
        let told = ToldNote::read(&text).filter(|_| what == NoteKind::Told);
        Some(Self { time, by, what, text, told })
    }
}

/// What can happen to an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteKind {
    /// It opened.
    Opened,
    /// Series joined, left, or changed.
    Updated,
    /// It closed.
    Closed,
    /// Channels are told.
    Told,
    /// They would have been told, and were not.
    Withheld,
    /// Somebody said that it is known.
    Acknowledged,
    /// It became worse than when somebody said so.
    Unacknowledged,
    /// Somebody looks after it, or nobody any more.
    Assigned,
    /// Somebody said something.
    Commented,
    /// Its series are not looked at until a time.
    Snoozed,
    /// Somebody said what they thought of it.
    Judged,
    /// It is told with another.
    Merged,
    /// Somebody has an action done.
    Acting,
    /// What came of it.
    Acted,
    /// Who is told is not what the routes say: a channel of theirs is not there, or they lead elsewhere by now.
    Routed,
}

/// A text that may have come from tags, shortened to 200 characters: many of them share a row.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(limits::TITLE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
