//! What this crate keeps in the store, and under which keys.

use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_store::{Batch, Key, MAX_VALUE, Space, StoreError, Versioned};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{EntryId, IncidentId, MonitorId, MuteId};

/// A monitor as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MonitorRow {
    pub(crate) name: String,
    /// Counted from 1; each change makes the next.
    pub(crate) version: u32,
    /// The document, as JSON.
    pub(crate) document: String,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) updated_by: String,
}

impl Versioned for MonitorRow {
    const NAME: &'static str = "monitor";
}

/// When a monitor is due next: the fence of its evaluations. Each commit of one requires this row as it was read and
/// writes the next, whose turn is one higher, so that whoever evaluated beside it, or changed the monitor meanwhile,
/// commits nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NextRow {
    /// Counts evaluations and changes; the same turn never comes twice.
    pub(crate) turn: u64,
    /// Absent while it is paused.
    pub(crate) at: Option<Timestamp>,
    /// The version it is evaluated by.
    pub(crate) version: u32,
    /// When it was evaluated last.
    pub(crate) evaluated: Option<Timestamp>,
    /// Why that came to nothing, or what it left out.
    pub(crate) problem: Option<String>,
    /// Entries of its trace there ever were.
    pub(crate) decisions: u64,
    /// How many series it knew then, or found when it was put.
    pub(crate) series: Option<u64>,
    /// Which of its incidents are to be closed before it is evaluated again: more than one commit holds were open.
    pub(crate) ending: Option<Ending>,
    /// When it was evaluated last and that came to something.
    pub(crate) looked: Option<Timestamp>,
}

/// That a monitor's incidents end, though their series do not recover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ending {
    pub(crate) why: EndingCause,
    /// The version their series were grouped by.
    pub(crate) version: u32,
}

/// Why they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EndingCause {
    /// The monitor looks at something else from now on.
    Changed,
    /// There is no such monitor any more: what is left of it goes with the last of them.
    Deleted,
}

impl EndingCause {
    /// What incidents say of it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Changed => "monitor-changed",
            Self::Deleted => "monitor-deleted",
        }
    }
}

impl NextRow {
    /// The version that says which series share an incident.
    pub(crate) fn grouped_by(&self) -> u32 {
        self.ending.map_or(self.version, |ending| ending.version)
    }
}

impl Versioned for NextRow {
    const NAME: &'static str = "next evaluation of a monitor";
    const VERSION: u8 = 4;

    fn upgrade(version: u8, bytes: &[u8]) -> Option<Self> {
        // What came to it later was nothing.
        let none = match version {
            1 => &[0, 0, 0][..],
            2 => &[0, 0],
            3 => &[0],
            _ => return None,
        };
        let row: Self = postcard::from_bytes(&[bytes, none].concat()).ok()?;
        // Whether that came to something was not kept.
        Some(Self { looked: row.evaluated, ..row })
    }
}

/// What an evaluation decided, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DecisionRow(pub(crate) String);

impl Versioned for DecisionRow {
    const NAME: &'static str = "decision of a monitor";
}

/// What a detector keeps of a series.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DetectorRow {
    /// The detector's version.
    pub(crate) version: String,
    pub(crate) state: Vec<u8>,
}

impl Versioned for DetectorRow {
    const NAME: &'static str = "state of a detector";
}

/// What a detector keeps of series it is shown together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PeersRow {
    /// The detector's version.
    pub(crate) version: String,
    /// The tags of the series, in the order they are shown.
    pub(crate) members: Vec<Vec<(String, String)>>,
    pub(crate) state: Vec<u8>,
}

impl Versioned for PeersRow {
    const NAME: &'static str = "state of a detector of several series";
}

/// Where a monitor's name leads.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct MonitorRef(pub(crate) MonitorId);

impl Versioned for MonitorRef {
    const NAME: &'static str = "reference to a monitor";
}

/// How many there have been.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counter(pub(crate) u64);

impl Versioned for Counter {
    const NAME: &'static str = "counter";
}

pub(crate) fn counter(of: Space, organisation: OrganisationId) -> Key {
    Key::new(Space::Counter).number(of as u64).number(organisation.0)
}

pub(crate) fn monitors(organisation: OrganisationId) -> Key {
    Key::new(Space::Monitor).number(organisation.0)
}

pub(crate) fn monitor(organisation: OrganisationId, id: MonitorId) -> Key {
    monitors(organisation).number(id.0)
}

pub(crate) fn monitor_names(organisation: OrganisationId) -> Key {
    Key::new(Space::MonitorName).number(organisation.0)
}

pub(crate) fn monitor_name(organisation: OrganisationId, name: &str) -> Key {
    monitor_names(organisation).text(name)
}

pub(crate) fn versions(organisation: OrganisationId, id: MonitorId) -> Key {
    Key::new(Space::MonitorVersion).number(organisation.0).number(id.0)
}

pub(crate) fn version(organisation: OrganisationId, id: MonitorId, version: u32) -> Key {
    versions(organisation, id).number(u64::from(version))
}

pub(crate) fn due(at: Timestamp, organisation: OrganisationId, id: MonitorId) -> Key {
    Key::new(Space::MonitorDue).signed(at.as_milliseconds()).number(organisation.0).number(id.0)
}

/// When, whose and which monitor a row of [`Space::MonitorDue`] is about.
pub(crate) fn due_of(key: &Key) -> Result<(Timestamp, OrganisationId, MonitorId), StoreError> {
    let mut fields = key.fields();
    let read = (|| {
        let at = Timestamp::from_milliseconds(fields.signed()?)?;
        Some((at, OrganisationId(fields.number()?), MonitorId(fields.number()?)))
    })();
    read.ok_or_else(|| StoreError::Damaged(format!("{key:?} is not when a monitor is due")))
}

/// The first key behind everything due up to `now`.
pub(crate) fn due_behind(now: Timestamp) -> Key {
    Key::new(Space::MonitorDue).signed(now.as_milliseconds().saturating_add(1))
}

pub(crate) fn next(organisation: OrganisationId, id: MonitorId) -> Key {
    Key::new(Space::MonitorNext).number(organisation.0).number(id.0)
}

/// The owner of the large value that is a monitor's state.
pub(crate) fn state(organisation: OrganisationId, id: MonitorId) -> Key {
    Key::new(Space::MonitorState).number(organisation.0).number(id.0)
}

pub(crate) fn detectors(organisation: OrganisationId, id: MonitorId) -> Key {
    Key::new(Space::DetectorState).number(organisation.0).number(id.0)
}

pub(crate) fn detector(organisation: OrganisationId, id: MonitorId, series: &str) -> Key {
    let digest: [u8; 32] = Sha256::digest(series.as_bytes()).into();
    detectors(organisation, id).fixed(&digest[..16])
}

/// What a detector keeps of series it is shown together: the owner of a large value, and a row without a value, so that
/// it is found.
pub(crate) fn peers(organisation: OrganisationId, id: MonitorId, group: &str) -> Key {
    detector(organisation, id, group).number(0)
}

/// Whether a row under [`detectors`] is one of [`peers`].
pub(crate) fn is_peers(key: &Key) -> bool {
    let mut fields = key.fields();
    let mut behind = || {
        fields.number().and_then(|_| fields.number())?;
        fields.fixed(16)?;
        fields.number()
    };
    behind().is_some()
}

pub(crate) fn decisions(organisation: OrganisationId, id: MonitorId) -> Key {
    Key::new(Space::MonitorDecision).number(organisation.0).number(id.0)
}

pub(crate) fn decision(organisation: OrganisationId, id: MonitorId, number: u64) -> Key {
    decisions(organisation, id).number(number)
}

pub(crate) fn incidents(organisation: OrganisationId) -> Key {
    Key::new(Space::Incident).number(organisation.0)
}

pub(crate) fn incident(organisation: OrganisationId, id: IncidentId) -> Key {
    incidents(organisation).fixed(id.0.as_bytes())
}

pub(crate) fn open_incidents(organisation: OrganisationId) -> Key {
    Key::new(Space::IncidentOpen).number(organisation.0)
}

pub(crate) fn open_incident(organisation: OrganisationId, id: IncidentId) -> Key {
    open_incidents(organisation).fixed(id.0.as_bytes())
}

pub(crate) fn intervals(organisation: OrganisationId, id: IncidentId) -> Key {
    Key::new(Space::IncidentInterval).number(organisation.0).fixed(id.0.as_bytes())
}

pub(crate) fn interval(organisation: OrganisationId, id: IncidentId, number: u64) -> Key {
    intervals(organisation, id).number(number)
}

pub(crate) fn notes(organisation: OrganisationId, id: IncidentId) -> Key {
    Key::new(Space::IncidentNote).number(organisation.0).fixed(id.0.as_bytes())
}

pub(crate) fn note(organisation: OrganisationId, id: IncidentId, number: u64) -> Key {
    notes(organisation, id).number(number)
}

/// The owner of the large value that is the events an incident's end kept.
pub(crate) fn incident_events(organisation: OrganisationId, id: IncidentId) -> Key {
    Key::new(Space::IncidentEvents).number(organisation.0).fixed(id.0.as_bytes())
}

/// The actions on an incident that have not ended.
pub(crate) fn acts(organisation: OrganisationId, id: IncidentId) -> Key {
    Key::new(Space::IncidentAct).number(organisation.0).fixed(id.0.as_bytes())
}

/// Whose action on which incident a row is of, and its number.
pub(crate) fn act_of(key: &Key) -> Result<(OrganisationId, IncidentId, u64), StoreError> {
    let mut fields = key.fields();
    let read = (|| {
        let organisation = OrganisationId(fields.number()?);
        let id = uuid::Uuid::from_slice(fields.fixed(16)?).ok()?;
        Some((organisation, IncidentId(id), fields.number()?))
    })();
    read.ok_or_else(|| StoreError::Damaged(format!("{key:?} is not of an action on an incident")))
}

/// How often the links of an incident were followed.
pub(crate) fn clicks(organisation: OrganisationId, id: IncidentId) -> Key {
    Key::new(Space::IncidentClick).number(organisation.0).fixed(id.0.as_bytes())
}

pub(crate) fn click(organisation: OrganisationId, id: IncidentId, name: &str) -> Key {
    clicks(organisation, id).text(name)
}

pub(crate) fn mutes(organisation: OrganisationId) -> Key {
    Key::new(Space::Mute).number(organisation.0)
}

pub(crate) fn mute(organisation: OrganisationId, id: MuteId) -> Key {
    mutes(organisation).number(id.0)
}

pub(crate) fn calendar(organisation: OrganisationId) -> Key {
    Key::new(Space::Calendar).number(organisation.0)
}

pub(crate) fn calendar_entry(organisation: OrganisationId, id: EntryId) -> Key {
    calendar(organisation).number(id.0)
}

/// Counts the changes of a calendar.
pub(crate) fn calendar_version(organisation: OrganisationId) -> Key {
    Key::new(Space::CalendarVersion).number(organisation.0)
}

/// Which incident others are told with that share this.
pub(crate) fn merging(organisation: OrganisationId, digest: &[u8; 16]) -> Key {
    Key::new(Space::Merging).number(organisation.0).fixed(digest)
}

/// Which incidents are told as one, by the first of them.
pub(crate) fn merged(organisation: OrganisationId, lead: IncidentId) -> Key {
    Key::new(Space::Merged).number(organisation.0).fixed(lead.0.as_bytes())
}

/// With which incident one is told.
pub(crate) fn merged_into(organisation: OrganisationId, id: IncidentId) -> Key {
    Key::new(Space::MergedInto).number(organisation.0).fixed(id.0.as_bytes())
}

pub(crate) fn all_feedback(organisation: OrganisationId) -> Key {
    Key::new(Space::Feedback).number(organisation.0)
}

pub(crate) fn feedback_on(organisation: OrganisationId, id: IncidentId) -> Key {
    all_feedback(organisation).fixed(id.0.as_bytes())
}

/// What the key of this id thinks of an incident.
pub(crate) fn feedback(organisation: OrganisationId, id: IncidentId, key: &str) -> Key {
    let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    feedback_on(organisation, id).fixed(&digest[..16])
}

pub(crate) fn feedback_count(organisation: OrganisationId, id: MonitorId) -> Key {
    Key::new(Space::FeedbackCount).number(organisation.0).number(id.0)
}

/// The incident of a row that is about one.
pub(crate) fn incident_of(key: &Key) -> Result<IncidentId, StoreError> {
    let mut fields = key.fields();
    let id =
        fields.number().and_then(|_| fields.fixed(16)).and_then(|bytes| uuid::Uuid::from_slice(bytes).ok());
    id.map(IncidentId).ok_or_else(|| StoreError::Damaged(format!("{key:?} is not of an incident")))
}

/// Puts a row, or says what is too large.
pub(crate) fn put(batch: &mut Batch, key: Key, value: bytes::Bytes) -> Result<(), StoreError> {
    if value.len() > MAX_VALUE {
        return Err(StoreError::TooLarge { what: "a row of an alert", size: value.len(), limit: MAX_VALUE });
    }
    batch.put(key, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use bellwether_store::{decode, encode};

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct FirstNextRow(u64, Option<Timestamp>, u32, Option<Timestamp>, Option<String>, u64);

    impl Versioned for FirstNextRow {
        const NAME: &'static str = "next evaluation of a monitor";
    }

    #[derive(Serialize, Deserialize)]
    struct SecondNextRow(FirstNextRow, Option<u64>);

    impl Versioned for SecondNextRow {
        const NAME: &'static str = "next evaluation of a monitor";
        const VERSION: u8 = 2;
    }

    #[derive(Serialize, Deserialize)]
    struct ThirdNextRow(SecondNextRow, Option<Ending>);

    impl Versioned for ThirdNextRow {
        const NAME: &'static str = "next evaluation of a monitor";
        const VERSION: u8 = 3;
    }

    #[test]
    fn a_monitor_that_an_earlier_host_scheduled_is_due_as_before() {
        let at = Timestamp::from_milliseconds(60_000);
        let evaluated = Timestamp::from_milliseconds(50_000);
        let first = || FirstNextRow(7, at, 3, evaluated, Some("no detector".into()), 2);
        let expected = |series| NextRow {
            turn: 7,
            at,
            version: 3,
            evaluated,
            problem: Some("no detector".into()),
            decisions: 2,
            series,
            ending: None,
            looked: evaluated,
        };
        let row: NextRow = decode(&encode(&first())).unwrap();
        assert_eq!(row, expected(None));
        let row: NextRow = decode(&encode(&SecondNextRow(first(), Some(5)))).unwrap();
        assert_eq!(row, expected(Some(5)));
        let ending = Some(Ending { why: EndingCause::Changed, version: 2 });
        let row: NextRow = decode(&encode(&ThirdNextRow(SecondNextRow(first(), None), ending))).unwrap();
        assert_eq!(row, NextRow { ending, ..expected(None) });
        assert_eq!(decode::<NextRow>(&encode(&row)).unwrap(), row);
    }
}
