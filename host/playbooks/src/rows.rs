//! What this crate keeps in the store, and under which keys.
//!
//! A run is one small row that its states rewrite, and one [`Record`] for its trigger (position 0) and each step
//! (from 1). Records may be large; see [`Payload`].

use bellwether_access::Sealed;
use bellwether_kernel::{KeyId, OrganisationId, PlaybookId, RunId, Timestamp};
use bellwether_store::{Batch, Key, MAX_VALUE, Space, Store, StoreError, Versioned};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Format, RunState, RunSummary, TriggeredBy};

/// Bytes a record may have to be kept within its own row: what is smaller needs no second read.
const INLINE: usize = MAX_VALUE / 4;

pub(crate) fn playbooks(organisation: OrganisationId) -> Key {
    Key::new(Space::Playbook).number(organisation.0)
}

pub(crate) fn playbook(organisation: OrganisationId, id: PlaybookId) -> Key {
    playbooks(organisation).number(id.0)
}

pub(crate) fn playbook_name(organisation: OrganisationId, name: &str) -> Key {
    Key::new(Space::PlaybookName).number(organisation.0).text(name)
}

pub(crate) fn playbook_counter(organisation: OrganisationId) -> Key {
    Key::new(Space::Counter).number(Space::Playbook as u64).number(organisation.0)
}

pub(crate) fn webhook(digest: &[u8; 32]) -> Key {
    Key::new(Space::Webhook).fixed(digest)
}

/// All runs of a playbook.
pub(crate) fn runs(organisation: OrganisationId, playbook: PlaybookId) -> Key {
    Key::new(Space::Run).number(organisation.0).number(playbook.0)
}

pub(crate) fn run(organisation: OrganisationId, playbook: PlaybookId, run: RunId) -> Key {
    runs(organisation, playbook).fixed(run.0.as_bytes())
}

/// All runs of an organisation.
pub(crate) fn run_indexes(organisation: OrganisationId) -> Key {
    Key::new(Space::RunIndex).number(organisation.0)
}

pub(crate) fn run_index(organisation: OrganisationId, run: RunId) -> Key {
    run_indexes(organisation).fixed(run.0.as_bytes())
}

pub(crate) fn run_open(organisation: OrganisationId, run: RunId) -> Key {
    Key::new(Space::RunOpen).number(organisation.0).fixed(run.0.as_bytes())
}

/// All records of a run.
pub(crate) fn records(organisation: OrganisationId, run: RunId) -> Key {
    Key::new(Space::RunStep).number(organisation.0).fixed(run.0.as_bytes())
}

/// The record of a run's trigger (0) or of a step (from 1).
pub(crate) fn record(organisation: OrganisationId, run: RunId, position: usize) -> Key {
    records(organisation, run).number(position as u64)
}

/// Reads the organisation and the run a [`run_index`] or [`run_open`] key is about.
pub(crate) fn organisation_and_run(key: &Key) -> Result<(OrganisationId, RunId), StoreError> {
    let mut fields = key.fields();
    let read = fields.number().and_then(|organisation| {
        let run = fields.fixed(16).and_then(|bytes| uuid::Uuid::from_slice(bytes).ok())?;
        Some((OrganisationId(organisation), RunId(run)))
    });
    read.ok_or_else(|| StoreError::Damaged(format!("{key:?} names no run")))
}

/// Reads the run a [`run`] key is about.
pub(crate) fn run_of(key: &Key) -> Result<RunId, StoreError> {
    let mut fields = key.fields();
    let read = fields.number().and_then(|_| fields.number()).and_then(|_| fields.fixed(16));
    let run = read.and_then(|bytes| uuid::Uuid::from_slice(bytes).ok());
    run.map(RunId).ok_or_else(|| StoreError::Damaged(format!("{key:?} names no run")))
}

/// A playbook as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PlaybookRow {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) source: Payload,
    pub(crate) format: Format,
    pub(crate) webhook: Option<WebhookToken>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) runs_as: KeyId,
}

impl Versioned for PlaybookRow {
    const NAME: &'static str = "playbook";
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
}

impl Versioned for RunRow {
    const NAME: &'static str = "run";
}

impl RunRow {
    pub(crate) fn summary(&self, id: RunId) -> RunSummary {
        RunSummary {
            id,
            playbook: self.playbook,
            playbook_name: self.playbook_name.clone(),
            playbook_version: self.playbook_version,
            state: self.state,
            triggered_by: match &self.triggered_by {
                StartedBy::Webhook => TriggeredBy::Webhook,
                StartedBy::Manual(key) => TriggeredBy::Manual { key: key.clone() },
            },
            created: self.created,
            started: self.started,
            ended: self.ended,
            error: self.error.clone(),
        }
    }

    /// Whether nothing more happens to it.
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.state, RunState::Queued | RunState::Running)
    }
}

/// [`TriggeredBy`], whose tagged form the store's encoding cannot read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum StartedBy {
    Webhook,
    Manual(KeyId),
}

/// What a run was started with, or what one of its steps came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// JSON, secrets masked.
    pub(crate) shown: Payload,
    /// The JSON before anything was masked, sealed; absent where nothing was, or nothing needs it again.
    pub(crate) sealed: Option<Payload>,
}

impl Versioned for Record {
    const NAME: &'static str = "record of a run";
}

/// Bytes of any length that belong to a row: within it where they are few, otherwise in chunks of their own, written
/// and removed in the row's own batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Payload {
    Inline(Vec<u8>),
    Chunks(u32),
}

/// Tells the payloads of one row apart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Shown = 0,
    Sealed = 1,
}

fn chunk(owner: &Key, part: Part, index: u32) -> Key {
    Key::new(Space::Chunk).fixed(owner.as_bytes()).number(part as u64).number(u64::from(index))
}

impl Payload {
    /// Adds `bytes` to `batch` as a part of `owner`'s row.
    pub(crate) fn write(batch: &mut Batch, owner: &Key, part: Part, bytes: Vec<u8>) -> Self {
        if bytes.len() <= INLINE {
            return Self::Inline(bytes);
        }
        let bytes = Bytes::from(bytes);
        let mut chunks = 0;
        for begin in (0..bytes.len()).step_by(MAX_VALUE) {
            let end = bytes.len().min(begin + MAX_VALUE);
            batch.put(chunk(owner, part, chunks), bytes.slice(begin..end));
            chunks += 1;
        }
        Self::Chunks(chunks)
    }

    /// Removes the chunks.
    pub(crate) fn delete(&self, batch: &mut Batch, owner: &Key, part: Part) {
        if let Self::Chunks(chunks) = self {
            for index in 0..*chunks {
                batch.delete(chunk(owner, part, index));
            }
        }
    }

    /// How many keys it takes besides its row.
    pub(crate) fn keys(&self) -> usize {
        match self {
            Self::Inline(_) => 0,
            Self::Chunks(chunks) => *chunks as usize,
        }
    }

    /// The bytes.
    pub(crate) async fn read(&self, store: &dyn Store, owner: &Key, part: Part) -> Result<Vec<u8>, StoreError> {
        let chunks = match self {
            Self::Inline(bytes) => return Ok(bytes.clone()),
            Self::Chunks(chunks) => *chunks,
        };
        let mut bytes = Vec::with_capacity(chunks as usize * MAX_VALUE);
        for index in 0..chunks {
            let key = chunk(owner, part, index);
            let Some(chunk) = store.get(&key).await? else {
                return Err(StoreError::Damaged(format!("{key:?} is missing")));
            };
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

impl Record {
    /// Removes it and what belongs to it.
    pub(crate) fn delete(&self, batch: &mut Batch, owner: Key) {
        self.shown.delete(batch, &owner, Part::Shown);
        if let Some(sealed) = &self.sealed {
            sealed.delete(batch, &owner, Part::Sealed);
        }
        batch.delete(owner);
    }

    /// How many keys it takes in all.
    pub(crate) fn keys(&self) -> usize {
        1 + self.shown.keys() + self.sealed.as_ref().map_or(0, Payload::keys)
    }
}
