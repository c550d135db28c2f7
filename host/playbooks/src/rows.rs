//! What this crate keeps in the store, and under which keys.
//!
//! A run is one small row that its states rewrite, and one [`Record`] for its trigger (position 0) and each step
//! (from 1). Records may be large; see [`Payload`].

use bellwether_access::Sealed;
use bellwether_kernel::{KeyId, OrganisationId, PlaybookId, RunId, Timestamp};
use bellwether_store::{
    Batch, Key, MAX_VALUE, Space, Store, StoreError, Versioned, delete_large, get_large, put_large,
};
use serde::de::DeserializeOwned;
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

/// Bytes that belong to a row: within it where they are few, otherwise a large value of the store, written and removed
/// in the row's own batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Payload {
    Inline(Vec<u8>),
    /// How many bytes.
    Large(u32),
}

/// Tells the payloads of one row apart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Shown = 0,
    Sealed = 1,
}

/// The key a row's large value belongs to; there is no row of its own under it.
fn owner(row: &Key, part: Part) -> Key {
    row.clone().number(part as u64)
}

impl Payload {
    /// Adds `bytes` to `batch` as a part of `row`.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] over [`bellwether_store::MAX_LARGE`]; nothing was added.
    pub(crate) fn write(
        batch: &mut Batch,
        row: &Key,
        part: Part,
        bytes: Vec<u8>,
    ) -> Result<Self, StoreError> {
        if bytes.len() <= INLINE {
            return Ok(Self::Inline(bytes));
        }
        put_large(batch, &owner(row, part), &bytes)?;
        Ok(Self::Large(u32::try_from(bytes.len()).expect("a large value is below 4 GiB")))
    }

    /// Adds its removal to `batch`.
    pub(crate) async fn delete(
        &self,
        store: &dyn Store,
        batch: &mut Batch,
        row: &Key,
        part: Part,
    ) -> Result<(), StoreError> {
        match self {
            Self::Inline(_) => Ok(()),
            Self::Large(_) => delete_large(store, batch, &owner(row, part)).await,
        }
    }

    /// About how many keys it takes besides its row.
    pub(crate) fn keys(&self) -> usize {
        match self {
            Self::Inline(_) => 0,
            Self::Large(bytes) => *bytes as usize / MAX_VALUE + 2,
        }
    }

    /// The bytes; `None` if they were removed since the row was read.
    pub(crate) async fn read(
        &self,
        store: &dyn Store,
        row: &Key,
        part: Part,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Inline(bytes) => Ok(Some(bytes.clone())),
            Self::Large(_) => get_large(store, &owner(row, part)).await,
        }
    }
}

impl Record {
    /// Adds the removal of it and of what belongs to it to `batch`.
    pub(crate) async fn delete(
        &self,
        store: &dyn Store,
        batch: &mut Batch,
        row: Key,
    ) -> Result<(), StoreError> {
        self.shown.delete(store, batch, &row, Part::Shown).await?;
        if let Some(sealed) = &self.sealed {
            sealed.delete(store, batch, &row, Part::Sealed).await?;
        }
        batch.delete(row);
        Ok(())
    }

    /// About how many keys it takes in all.
    pub(crate) fn keys(&self) -> usize {
        1 + self.shown.keys() + self.sealed.as_ref().map_or(0, Payload::keys)
    }

    /// What is shown of it.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        store: &dyn Store,
        row: &Key,
    ) -> Result<T, StoreError> {
        let shown = self.shown.read(store, row, Part::Shown).await?.ok_or_else(|| missing(row))?;
        read_json(&shown)
    }

    /// What is sealed of it, still so.
    pub(crate) async fn read_sealed(
        &self,
        store: &dyn Store,
        row: &Key,
    ) -> Result<Option<Sealed>, StoreError> {
        let Some(sealed) = &self.sealed else { return Ok(None) };
        Ok(Some(Sealed(sealed.read(store, row, Part::Sealed).await?.ok_or_else(|| missing(row))?)))
    }
}

fn missing(row: &Key) -> StoreError {
    StoreError::Damaged(format!("a part of {row:?} is missing"))
}

/// Reads JSON of a record.
pub(crate) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError::Damaged(format!("a run's record does not read: {error}")))
}
