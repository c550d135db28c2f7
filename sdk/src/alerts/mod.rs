//! The words of the two privileges over alerts.

mod convert;

use std::fmt;

use crate::Timestamp;
pub use crate::bindings::imports::bellwether::host::alerts_types::{Level, Severity};
pub use crate::metrics::FieldError;

/// A label of a monitor or a tag of a series: its name and its value.
pub type Label = (String, String);

/// A monitor as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// Counted from 1 within the organisation, never used twice.
    pub id: u64,
    /// Unique in the organisation, never digits alone.
    pub name: String,
    /// Counted from 1; each change makes the next.
    pub version: u32,
    /// What it says, as JSON: the same document the host's HTTP API takes.
    pub document: String,
    /// Whether it is not evaluated.
    pub paused: bool,
    /// When it was first stored.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// The name of the key it was last changed with.
    pub updated_by: String,
    /// When it is evaluated next; absent while it is paused.
    pub next_due: Option<Timestamp>,
    /// When it was evaluated last.
    pub evaluated: Option<Timestamp>,
    /// Why that came to nothing.
    pub problem: Option<String>,
}

/// A monitor and whether the call made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The monitor.
    pub monitor: Monitor,
    /// Whether there was none of that name.
    pub created: bool,
}

/// Something a monitor found: series that breach together, from when they do until none does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// A UUID; ids sort by when their incidents opened.
    pub id: String,
    /// The monitor it is of.
    pub monitor: u64,
    /// That monitor's name when it opened.
    pub monitor_name: String,
    /// One line.
    pub title: String,
    /// What those who are told should know.
    pub message: String,
    /// How much it matters.
    pub severity: Severity,
    /// The level of its worst series.
    pub level: Level,
    /// The tags all its series share.
    pub tags: Vec<Label>,
    /// Labels of its monitor.
    pub labels: Vec<Label>,
    /// The first breach.
    pub started: Timestamp,
    /// When it opened.
    pub opened: Timestamp,
    /// When something of it last changed.
    pub updated: Timestamp,
    /// When it closed; absent while it is open.
    pub closed: Option<Timestamp>,
    /// Why: `recovered`, `no-data`, `timeout`, `resolved`, `monitor-changed`, `monitor-deleted`.
    pub close_reason: Option<String>,
    /// Who is told.
    pub channels: Vec<String>,
    /// When they were told that it opened; absent while nobody was.
    pub told: Option<Timestamp>,
    /// Who said that it is known.
    pub acknowledged_by: Option<String>,
    /// Who looks after it.
    pub assignee: Option<String>,
    /// How many series breach.
    pub open_series: u32,
}

impl Incident {
    /// Whether it goes on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }
}

/// Which incidents are wanted; each condition that is given must hold.
///
/// ```
/// use bellwether_sdk::alerts::{IncidentFilter, Severity};
///
/// let filter = IncidentFilter { open: Some(true), severity: Some(Severity::High), ..IncidentFilter::default() };
/// assert!(filter.labels.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentFilter {
    /// Only those that are open, or only those that are closed.
    pub open: Option<bool>,
    /// Only of the monitor of this name or id.
    pub monitor: Option<String>,
    /// Only so severe ones, or worse.
    pub severity: Option<Severity>,
    /// Only with these labels.
    pub labels: Vec<Label>,
    /// Only those somebody acknowledged, or nobody did.
    pub acknowledged: Option<bool>,
    /// Only those this one looks after.
    pub assignee: Option<String>,
    /// Only opened then or later.
    pub since: Option<Timestamp>,
    /// Only opened before.
    pub until: Option<Timestamp>,
}

/// A page of incidents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentPage {
    /// Those that opened last first.
    pub incidents: Vec<Incident>,
    /// Pass it as `cursor` for the next page; absent on the last one. A page may hold fewer than asked for and still have
    /// a next.
    pub next: Option<String>,
}

/// How one series of a monitor stands.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesStatus {
    /// Its tags, or `*` for the one of a monitor that groups by nothing.
    pub series: String,
    /// What it is grouped by.
    pub tags: Vec<Label>,
    /// Its level.
    pub level: Level,
    /// Whether it stays away.
    pub missing: bool,
    /// When its last step with a point began.
    pub last_point: Timestamp,
    /// What was compared last.
    pub value: Option<f64>,
    /// Since when it breaches, if it is part of an incident.
    pub since: Option<Timestamp>,
}

/// A page of how series stand.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesPage {
    /// Ordered by tags.
    pub series: Vec<SeriesStatus>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    pub next: Option<String>,
}

/// A breach of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Breach {
    /// The series: its tags, or `*`.
    pub series: String,
    /// What it is grouped by.
    pub tags: Vec<Label>,
    /// The first breach; of missing data the last point.
    pub started: Timestamp,
    /// When it was over; absent while it goes on.
    pub ended: Option<Timestamp>,
    /// Its level.
    pub level: Level,
    /// What was compared last.
    pub value: Option<f64>,
    /// The most extreme value above the band or threshold.
    pub peak_above: Option<f64>,
    /// The most extreme value below it.
    pub peak_below: Option<f64>,
    /// What would have been usual at the peak, or the threshold.
    pub expected: Option<f64>,
    /// How strange it was at most, in [0, 1].
    pub score: Option<f64>,
}

/// What a mute is about: a series must have all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MuteScope {
    /// Names of monitors; any of them. None means every monitor.
    pub monitors: Vec<String>,
    /// Labels of the monitor.
    pub labels: Vec<Label>,
    /// Tags of the series, among those its monitor groups by.
    pub tags: Vec<Label>,
}

/// What is asked for with a new mute.
///
/// ```
/// use bellwether_sdk::alerts::{MuteScope, NewMute};
///
/// let scope = MuteScope { monitors: vec!["checkout-errors".to_owned()], ..MuteScope::default() };
/// let mute = NewMute { scope, reason: "A release.".to_owned(), ..NewMute::default() };
/// assert_eq!(mute.end, None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMute {
    /// Without monitors only where every monitor is granted.
    pub scope: MuteScope,
    /// From when on; absent means now.
    pub start: Option<Timestamp>,
    /// Until when; absent means until it is removed.
    pub end: Option<Timestamp>,
    /// Why. At most 200 characters.
    pub reason: String,
}

/// Who is not told of what, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mute {
    /// Counted from 1 within the organisation, never used twice.
    pub id: u64,
    /// What it is about.
    pub scope: MuteScope,
    /// From when on.
    pub start: Timestamp,
    /// Until when; absent means until it is removed.
    pub end: Option<Timestamp>,
    /// Why.
    pub reason: String,
    /// The name of the key it was made with.
    pub created_by: String,
}

/// Why a call on alerts did not happen. Nothing of the call took effect.
#[derive(Clone, Debug, PartialEq)]
pub enum AlertError {
    /// There is no such monitor, incident or mute, or none the caller may see; says which.
    Unknown(String),
    /// Arguments, or fields of a document, are wrong: all of them.
    Invalid(Vec<FieldError>),
    /// It clashes with what is there, as an incident that is over; says how.
    Conflict(String),
    /// The caller or the plugin's grant does not allow it; says which.
    Forbidden(String),
    /// A limit of the organisation is reached; says which.
    Limit(String),
    /// The host cannot do it now; a later try may succeed.
    Unavailable(String),
    /// Something else.
    Other(String),
}

impl fmt::Display for AlertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(errors) => {
                for (at, error) in errors.iter().enumerate() {
                    write!(f, "{}{error}", if at == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
            Self::Unknown(message)
            | Self::Conflict(message)
            | Self::Forbidden(message)
            | Self::Limit(message)
            | Self::Unavailable(message)
            | Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for AlertError {}
