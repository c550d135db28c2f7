//! What this crate keeps in the store. A run is one small row that its states rewrite, one [`OpenRun`] while it has
//! not ended, and one [`Record`] for its trigger and each of its steps and items. Records may be large; see
//! [`Payload`].

mod keys;
mod payload;

use bellwether_access::Sealed;
use bellwether_kernel::{HostId, KeyId, OrganisationId, PlaybookId, RunId, Timestamp};
use bellwether_store::Versioned;
use serde::{Deserialize, Serialize};

use crate::{Format, RunState, RunSummary, TriggerKind, TriggeredBy};

pub(crate) use keys::*;
pub(crate) use payload::{Part, Payload, Record, read_json};

/// A playbook as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PlaybookRow {
    pub(crate) name: String,
    /// The newest version there is, published or not.
    pub(crate) latest: u32,
    /// The version that runs; absent for one that was never published.
    pub(crate) published: Option<u32>,
    /// Which version was published when by whom, the latest [`PUBLICATIONS`].
    pub(crate) publications: Vec<PublicationRow>,
    pub(crate) webhook: Option<WebhookToken>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    /// The key on whose behalf it runs: the one that published it.
    pub(crate) runs_as: KeyId,
    /// For how many days, and how many, the published version wants its runs kept.
    pub(crate) retention: (Option<u32>, Option<u32>),
    /// The source of a playbook that a host of an earlier version stored, which kept one version and that here.
    pub(crate) inherited: Option<(u32, Payload, Format)>,
    /// Which kept versions ran before the one that runs, each once, the latest last; [`PUBLICATIONS`] at most. One
    /// that was rolled back from is none of them.
    pub(crate) past: Vec<u32>,
}

impl PlaybookRow {
    /// One that has no version yet.
    pub(crate) fn new(name: String, runs_as: KeyId, now: Timestamp) -> Self {
        Self {
            name,
            latest: 0,
            published: None,
            publications: Vec::new(),
            webhook: None,
            created: now,
            updated: now,
            runs_as,
            retention: (None, None),
            inherited: None,
            past: Vec::new(),
        }
    }

    /// Makes `version` the one that runs, after the one that does.
    pub(crate) fn go_on_to(&mut self, version: u32) {
        let before = self.published.replace(version);
        self.past.retain(|past| Some(*past) != before && *past != version);
        self.past.extend(before.filter(|before| *before != version));
        let more = self.past.len().saturating_sub(PUBLICATIONS);
        self.past.drain(..more);
    }

    /// Makes `version` the one that runs, as before those that followed it.
    pub(crate) fn go_back_to(&mut self, version: u32) {
        self.published = Some(version);
        let at = self.past.iter().position(|past| *past == version);
        self.past.truncate(at.unwrap_or(self.past.len()));
    }

    /// The version that is shown of it: the one that runs, or the newest draft.
    pub(crate) fn shown(&self) -> u32 {
        self.published.unwrap_or(self.latest)
    }
}

/// How many publications of a playbook are remembered.
pub(crate) const PUBLICATIONS: usize = 50;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PublicationRow {
    pub(crate) version: u32,
    pub(crate) at: Timestamp,
    pub(crate) by: KeyId,
}

/// [`PlaybookRow`] as its second version had it.
#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
struct SecondPlaybookRow {
    name: String,
    latest: u32,
    published: Option<u32>,
    publications: Vec<PublicationRow>,
    webhook: Option<WebhookToken>,
    created: Timestamp,
    updated: Timestamp,
    runs_as: KeyId,
    retention: (Option<u32>, Option<u32>),
    inherited: Option<(u32, Payload, Format)>,
}

impl Versioned for PlaybookRow {
    const NAME: &'static str = "playbook";
    const VERSION: u8 = 3;

    fn upgrade(version: u8, bytes: &[u8]) -> Option<Self> {
        if version == 2 {
            let second: SecondPlaybookRow = postcard::from_bytes(bytes).ok()?;
            let mut row = Self {
                name: second.name,
                latest: second.latest,
                published: None,
                publications: second.publications,
                webhook: second.webhook,
                created: second.created,
                updated: second.updated,
                runs_as: second.runs_as,
                retention: second.retention,
                inherited: second.inherited,
                past: Vec::new(),
            };
            // Which of them were roll backs was not kept: those to a version that had run before.
            for version in row.publications.iter().map(|publication| publication.version).collect::<Vec<_>>()
            {
                if row.past.contains(&version) { row.go_back_to(version) } else { row.go_on_to(version) }
            }
            row.published = second.published;
            return Some(row);
        }
        #[derive(Deserialize)]
        struct First {
            name: String,
            version: u32,
            source: Payload,
            format: Format,
            webhook: Option<WebhookToken>,
            created: Timestamp,
            updated: Timestamp,
            runs_as: KeyId,
        }
        let first: First = (version == 1).then(|| postcard::from_bytes(bytes).ok()).flatten()?;
        let publication =
            PublicationRow { version: first.version, at: first.updated, by: first.runs_as.clone() };
        Some(Self {
            name: first.name,
            latest: first.version,
            published: Some(first.version),
            publications: vec![publication],
            webhook: first.webhook,
            created: first.created,
            updated: first.updated,
            runs_as: first.runs_as,
            retention: (None, None),
            inherited: Some((first.version, first.source, first.format)),
            past: Vec::new(),
        })
    }
}

/// One version of a playbook.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VersionRow {
    pub(crate) source: Payload,
    pub(crate) format: Format,
    pub(crate) created: Timestamp,
    pub(crate) created_by: KeyId,
}

impl Versioned for VersionRow {
    const NAME: &'static str = "version of a playbook";
}

/// The token of a webhook's URL: its digest finds the playbook, the token itself is shown to those who may see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WebhookToken {
    pub(crate) digest: [u8; 32],
    pub(crate) token: Sealed,
}

/// Where a name, a token or a run leads.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct PlaybookRef {
    pub(crate) organisation: OrganisationId,
    pub(crate) playbook: PlaybookId,
}

impl Versioned for PlaybookRef {
    const NAME: &'static str = "reference to a playbook";
}

/// How many playbooks an organisation has had.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counter(pub(crate) u64);

impl Versioned for Counter {
    const NAME: &'static str = "counter";
}

/// A run as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunRow {
    pub(crate) playbook: PlaybookId,
    pub(crate) playbook_name: String,
    pub(crate) playbook_version: u32,
    /// The key on whose behalf it runs.
    pub(crate) runs_as: KeyId,
    pub(crate) state: RunState,
    pub(crate) triggered_by: StartedBy,
    pub(crate) created: Timestamp,
    pub(crate) started: Option<Timestamp>,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) error: Option<String>,
    pub(crate) failed_step: Option<String>,
    /// How it will end, once its on-failure steps are through.
    pub(crate) outcome: Option<RunState>,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) waits_until: Option<Timestamp>,
    /// Which run of its firing it is.
    pub(crate) attempt: u32,
    pub(crate) replay_of: Option<RunId>,
    /// The version of each app it calls, as they were when it began.
    pub(crate) pins: Vec<(String, String)>,
    /// How many playbooks it lies within.
    pub(crate) depth: u32,
}

impl Versioned for RunRow {
    const NAME: &'static str = "run";
    const VERSION: u8 = 2;

    fn upgrade(version: u8, bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct First {
            playbook: PlaybookId,
            playbook_name: String,
            playbook_version: u32,
            runs_as: KeyId,
            state: RunState,
            triggered_by: StartedBy,
            created: Timestamp,
            started: Option<Timestamp>,
            ended: Option<Timestamp>,
            error: Option<String>,
        }
        let first: First = (version == 1).then(|| postcard::from_bytes(bytes).ok()).flatten()?;
        let playbook = (first.playbook, first.playbook_name, first.playbook_version);
        let mut row = Self::new(playbook, first.runs_as, first.triggered_by, first.created);
        (row.state, row.started) = (first.state, first.started);
        (row.ended, row.error) = (first.ended, first.error);
        Some(row)
    }
}

impl RunRow {
    /// A run that was accepted, of the playbook with this id and name in this version.
    pub(crate) fn new(
        (playbook, playbook_name, playbook_version): (PlaybookId, String, u32),
        runs_as: KeyId,
        triggered_by: StartedBy,
        created: Timestamp,
    ) -> Self {
        Self {
            playbook,
            playbook_name,
            playbook_version,
            runs_as,
            state: RunState::Queued,
            triggered_by,
            created,
            started: None,
            ended: None,
            error: None,
            failed_step: None,
            outcome: None,
            deadline: None,
            waits_until: None,
            attempt: 1,
            replay_of: None,
            pins: Vec::new(),
            depth: 0,
        }
    }

    /// Says that it never begins, as its playbook ran already.
    pub(crate) fn skip(&mut self, now: Timestamp) {
        self.state = RunState::Skipped;
        self.ended = Some(now);
        self.error = Some("the playbook ran already".into());
    }

    /// Why it cannot go on without its version.
    pub(crate) fn version_gone(&self) -> String {
        format!("version {} of the playbook, with which the run began, is gone", self.playbook_version)
    }

    pub(crate) fn summary(&self, id: RunId) -> RunSummary {
        RunSummary {
            id,
            playbook: self.playbook,
            playbook_name: self.playbook_name.clone(),
            playbook_version: self.playbook_version,
            state: self.state,
            triggered_by: self.triggered_by.shown(),
            created: self.created,
            started: self.started,
            ended: self.ended,
            deadline: self.deadline,
            waits_until: self.waits_until,
            error: self.error.clone(),
            failed_step: self.failed_step.clone(),
            attempt: self.attempt,
            replay_of: self.replay_of,
        }
    }
}

/// [`TriggeredBy`], whose tagged form the store's encoding cannot read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum StartedBy {
    Webhook,
    Manual(KeyId),
    Cron(Timestamp),
    Every(Timestamp),
    /// A metric and a key, which is empty for a metric without keys.
    Metric(String, String),
    Playbook(RunId, String),
    /// An incident, and the number of what it did or of the action on it.
    Alert(String, u64),
}

impl StartedBy {
    pub(crate) fn kind(&self) -> TriggerKind {
        match self {
            Self::Webhook => TriggerKind::Webhook,
            Self::Manual(_) => TriggerKind::Manual,
            Self::Cron(_) => TriggerKind::Cron,
            Self::Every(_) => TriggerKind::Every,
            Self::Metric(..) => TriggerKind::Metric,
            Self::Playbook(..) => TriggerKind::Playbook,
            Self::Alert(..) => TriggerKind::Alert,
        }
    }

    fn shown(&self) -> TriggeredBy {
        match self {
            Self::Webhook => TriggeredBy::Webhook,
            Self::Manual(key) => TriggeredBy::Manual { key: key.clone() },
            Self::Cron(scheduled) => TriggeredBy::Cron { scheduled: *scheduled },
            Self::Every(scheduled) => TriggeredBy::Every { scheduled: *scheduled },
            Self::Metric(metric, key) => TriggeredBy::Metric {
                metric: metric.clone(),
                key: Some(key.clone()).filter(|key| !key.is_empty()),
            },
            Self::Playbook(run, step) => TriggeredBy::Playbook { run: *run, step: step.clone() },
            Self::Alert(incident, sequence) => {
                TriggeredBy::Alert { incident: incident.clone(), sequence: *sequence }
            }
        }
    }
}

/// A run that has not ended. Its bytes are the fence: whoever works at the run commits nothing unless they are still
/// as it left them, so that of two hosts that believe a run theirs only one can be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenRun {
    pub(crate) playbook: PlaybookId,
    pub(crate) version: u32,
    /// Who works at it; nobody while it is queued or waits.
    pub(crate) owner: Option<Owner>,
    /// When it goes on, while it waits.
    pub(crate) wake: Option<Timestamp>,
    /// Whether it waits for a place of its playbook's.
    pub(crate) waits: bool,
    /// Why it is to end, once somebody said so.
    pub(crate) cancel: Option<String>,
    /// The run one of whose steps it is.
    pub(crate) parent: Option<RunId>,
}

impl Versioned for OpenRun {
    const NAME: &'static str = "open run";
    const VERSION: u8 = 2;

    fn upgrade(version: u8, bytes: &[u8]) -> Option<Self> {
        // A host of an earlier version kept where the run is found, and resumed none.
        let PlaybookRef { playbook, .. } =
            (version == 1).then(|| postcard::from_bytes(bytes).ok()).flatten()?;
        let cancel = Some("a host of an earlier version stopped before it ended".into());
        Some(Self { playbook, version: 0, owner: None, wake: None, waits: false, cancel, parent: None })
    }
}

/// One life of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) host: HostId,
    /// Drawn anew whenever the host starts.
    pub(crate) life: u64,
}

/// Until when a host's runs are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub(crate) life: u64,
    pub(crate) until: Timestamp,
}

impl Versioned for Lease {
    const NAME: &'static str = "lease of a host";
}

/// A firing that has been claimed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) run: RunId,
    pub(crate) at: Timestamp,
}

impl Versioned for Claim {
    const NAME: &'static str = "claim of a firing";
}

/// When a playbook is due next, by which version of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NextDue {
    pub(crate) at: Timestamp,
    pub(crate) version: u32,
}

impl Versioned for NextDue {
    const NAME: &'static str = "next time of a playbook";
}

/// The runs that hold a place of a playbook whose runs are bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gate {
    pub(crate) running: Vec<RunId>,
    /// Counts those that came to wait: whoever frees a place must notice one that comes meanwhile, although it changes
    /// nothing about who holds one.
    pub(crate) came: u64,
}

impl Versioned for Gate {
    const NAME: &'static str = "places of a playbook";
    const VERSION: u8 = 2;

    fn upgrade(version: u8, bytes: &[u8]) -> Option<Self> {
        let running = (version == 1).then(|| postcard::from_bytes(bytes).ok()).flatten()?;
        Some(Self { running, came: 0 })
    }
}

/// How a playbook's runs have fared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// Runs in a row that failed.
    pub(crate) failed: u32,
    /// Since when and why nothing starts it.
    pub(crate) disabled: Option<(Timestamp, String)>,
}

impl Versioned for Health {
    const NAME: &'static str = "health of a playbook";
}

/// A playbook that watches metrics.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Watch {
    pub(crate) version: u32,
    pub(crate) metric: String,
}

impl Versioned for Watch {
    const NAME: &'static str = "watch of a playbook";
}

/// The last entry of a host's log of writes that was acted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WatchCursor(pub(crate) u64);

impl Versioned for WatchCursor {
    const NAME: &'static str = "cursor of the watching playbooks";
}

/// A playbook that follows incidents.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Follower {
    pub(crate) version: u32,
}

impl Versioned for Follower {
    const NAME: &'static str = "follower of incidents";
}

/// Something an incident did that playbooks are still to be started by; what they are started with is the large value of
/// this row's key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct IncidentRow {
    /// The incident's id.
    pub(crate) incident: String,
    /// The number of what it did.
    pub(crate) sequence: u64,
}

impl Versioned for IncidentRow {
    const NAME: &'static str = "move of an incident";
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellwether_store::{decode, encode};

    impl Versioned for SecondPlaybookRow {
        const NAME: &'static str = "playbook";
        const VERSION: u8 = 2;
    }

    #[test]
    fn a_playbook_that_an_earlier_host_stored_is_rolled_back_to_what_ran_before() {
        let by: KeyId = "AAAAAAAAAAAAAAAA".parse().unwrap();
        let cases: [(&[u32], &[u32]); 5] =
            [(&[], &[]), (&[1], &[]), (&[1, 2, 4], &[1, 2]), (&[1, 2, 1, 3], &[1]), (&[2, 3, 3, 2], &[])];
        for (published, past) in cases {
            let at = Timestamp::default();
            let publication = |version: &u32| PublicationRow { version: *version, at, by: by.clone() };
            let second = SecondPlaybookRow {
                name: "a".into(),
                latest: 5,
                published: published.last().copied(),
                publications: published.iter().map(publication).collect(),
                webhook: None,
                created: at,
                updated: at,
                runs_as: by.clone(),
                retention: (Some(7), None),
                inherited: None,
            };
            let row: PlaybookRow = decode(&encode(&second)).unwrap();
            assert_eq!((row.published, &row.past[..]), (published.last().copied(), past), "{published:?}");
            assert_eq!((row.latest, row.retention), (5, (Some(7), None)));
            assert_eq!(decode::<PlaybookRow>(&encode(&row)).unwrap().past, past);
        }
    }

    #[test]
    fn what_ran_before_is_remembered_up_to_a_bound() {
        let key = "AAAAAAAAAAAAAAAA".parse().unwrap();
        let mut row = PlaybookRow { latest: 1, ..PlaybookRow::new("a".into(), key, Timestamp::default()) };
        (1..=200).for_each(|version| row.go_on_to(version));
        assert_eq!((row.past.len(), row.past.last()), (PUBLICATIONS, Some(&199)));
        row.go_back_to(198);
        assert_eq!((row.published, row.past.last()), (Some(198), Some(&197)));
    }

    #[test]
    fn what_started_a_run_is_called_as_its_kind_of_trigger_is() {
        let run = RunId("0198c0de-0000-7000-8000-000000000000".parse().unwrap());
        for by in [
            StartedBy::Webhook,
            StartedBy::Manual("AAAAAAAAAAAAAAAA".parse().unwrap()),
            StartedBy::Cron(Timestamp::default()),
            StartedBy::Every(Timestamp::default()),
            StartedBy::Metric("m".into(), "k".into()),
            StartedBy::Playbook(run, "step".into()),
            StartedBy::Alert("i".into(), 1),
        ] {
            let shown = serde_json::to_value(by.shown()).unwrap();
            assert_eq!(shown["type"], by.kind().as_str(), "{shown}");
        }
    }
}
