//! Under which keys playbooks and runs are kept.

use bellwether_kernel::{HostId, OrganisationId, PlaybookId, RunId, Timestamp};
use bellwether_store::{Key, Space, StoreError, Versioned, decode};
use sha2::{Digest, Sha256};

pub(crate) fn playbooks(organisation: OrganisationId) -> Key {
    Key::new(Space::Playbook).number(organisation.0)
}

pub(crate) fn playbook(organisation: OrganisationId, id: PlaybookId) -> Key {
    playbooks(organisation).number(id.0)
}

pub(crate) fn playbook_names(organisation: OrganisationId) -> Key {
    Key::new(Space::PlaybookName).number(organisation.0)
}

pub(crate) fn playbook_name(organisation: OrganisationId, name: &str) -> Key {
    playbook_names(organisation).text(name)
}

/// Reads which name a row is about.
pub(crate) fn name_of_playbook(key: &Key) -> Result<String, StoreError> {
    let mut fields = key.fields();
    read(key, fields.number().and_then(|_| fields.text()))
}

pub(crate) fn playbook_counter(organisation: OrganisationId) -> Key {
    Key::new(Space::Counter).number(Space::Playbook as u64).number(organisation.0)
}

/// The webhooks of every organisation.
pub(crate) fn webhooks() -> Key {
    Key::new(Space::Webhook)
}

pub(crate) fn webhook(digest: &[u8; 32]) -> Key {
    webhooks().fixed(digest)
}

pub(crate) fn versions(organisation: OrganisationId, id: PlaybookId) -> Key {
    Key::new(Space::PlaybookVersion).number(organisation.0).number(id.0)
}

pub(crate) fn version(organisation: OrganisationId, id: PlaybookId, version: u32) -> Key {
    versions(organisation, id).number(u64::from(version))
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

/// The runs of an organisation that have not ended.
pub(crate) fn open_runs(organisation: OrganisationId) -> Key {
    Key::new(Space::RunOpen).number(organisation.0)
}

pub(crate) fn run_open(organisation: OrganisationId, run: RunId) -> Key {
    open_runs(organisation).fixed(run.0.as_bytes())
}

/// The runs of an organisation that are ready.
pub(crate) fn queue(organisation: OrganisationId) -> Key {
    Key::new(Space::RunQueue).number(organisation.0)
}

pub(crate) fn queued(organisation: OrganisationId, run: RunId) -> Key {
    queue(organisation).fixed(run.0.as_bytes())
}

pub(crate) fn wake(at: Timestamp, organisation: OrganisationId, run: RunId) -> Key {
    Key::new(Space::RunWake).signed(at.as_milliseconds()).number(organisation.0).fixed(run.0.as_bytes())
}

pub(crate) fn due(at: Timestamp, organisation: OrganisationId, playbook: PlaybookId) -> Key {
    Key::new(Space::PlaybookDue).signed(at.as_milliseconds()).number(organisation.0).number(playbook.0)
}

pub(crate) fn next(organisation: OrganisationId, playbook: PlaybookId) -> Key {
    Key::new(Space::PlaybookNext).number(organisation.0).number(playbook.0)
}

pub(crate) fn gate(organisation: OrganisationId, playbook: PlaybookId) -> Key {
    Key::new(Space::PlaybookGate).number(organisation.0).number(playbook.0)
}

/// The runs that wait for a place of their playbook's.
pub(crate) fn waiting(organisation: OrganisationId, playbook: PlaybookId) -> Key {
    Key::new(Space::PlaybookQueue).number(organisation.0).number(playbook.0)
}

pub(crate) fn waits(organisation: OrganisationId, playbook: PlaybookId, run: RunId) -> Key {
    waiting(organisation, playbook).fixed(run.0.as_bytes())
}

pub(crate) fn health(organisation: OrganisationId, playbook: PlaybookId) -> Key {
    Key::new(Space::PlaybookHealth).number(organisation.0).number(playbook.0)
}

pub(crate) fn watch(organisation: OrganisationId, playbook: PlaybookId) -> Key {
    Key::new(Space::PlaybookWatch).number(organisation.0).number(playbook.0)
}

pub(crate) fn watch_cursor(host: HostId) -> Key {
    Key::new(Space::PlaybookWatchCursor).number(host.0)
}

pub(crate) fn follower(organisation: OrganisationId, playbook: PlaybookId) -> Key {
    Key::new(Space::PlaybookFollower).number(organisation.0).number(playbook.0)
}

/// Everything incidents did that is still to be acted on.
pub(crate) fn incident_moves() -> Key {
    Key::new(Space::PlaybookIncident)
}

/// What precedes every move of an organisation's incidents.
pub(crate) fn moves_of(organisation: OrganisationId) -> Key {
    incident_moves().number(organisation.0)
}

pub(crate) fn incident_move(organisation: OrganisationId, incident: &[u8; 16], sequence: u64) -> Key {
    moves_of(organisation).fixed(incident).number(sequence)
}

/// Reads whose incident a move is of.
pub(crate) fn organisation_of_move(key: &Key) -> Result<OrganisationId, StoreError> {
    read(key, key.fields().number().map(OrganisationId))
}

pub(crate) fn host(host: HostId) -> Key {
    Key::new(Space::RunHost).number(host.0)
}

/// A firing, by whatever names it: hashed, for it comes from outside.
pub(crate) fn firing(organisation: OrganisationId, playbook: PlaybookId, name: &str) -> Key {
    let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    Key::new(Space::Firing).number(organisation.0).number(playbook.0).fixed(&digest[..16])
}

/// All records of a run.
pub(crate) fn records(organisation: OrganisationId, run: RunId) -> Key {
    Key::new(Space::RunStep).number(organisation.0).fixed(run.0.as_bytes())
}

/// The record of a run's trigger.
pub(crate) fn trigger(organisation: OrganisationId, run: RunId) -> Key {
    records(organisation, run).number(0)
}

/// The record of the step at `position`, counted from 0, on-failure steps behind the others.
pub(crate) fn step(organisation: OrganisationId, run: RunId, position: usize) -> Key {
    records(organisation, run).number(position as u64 + 1)
}

/// The records of a step's items, behind the step's own.
pub(crate) fn items(organisation: OrganisationId, run: RunId, position: usize) -> Key {
    step(organisation, run, position).number(1)
}

pub(crate) fn item(organisation: OrganisationId, run: RunId, position: usize, item: u32) -> Key {
    items(organisation, run, position).number(u64::from(item))
}

/// What a run gives a run it is a step of, behind all its steps.
pub(crate) fn outputs(organisation: OrganisationId, run: RunId) -> Key {
    records(organisation, run).number(u64::MAX)
}

/// The records of the secrets a run knows of, behind all its steps.
pub(crate) fn secrets(organisation: OrganisationId, run: RunId) -> Key {
    records(organisation, run).number(SECRETS)
}

/// The record of those it came to know of when it knew of so many.
pub(crate) fn secrets_from(organisation: OrganisationId, run: RunId, known: usize) -> Key {
    secrets(organisation, run).number(known as u64)
}

/// The place of the secrets of a run among its records.
const SECRETS: u64 = u64::MAX - 1;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordOf {
    Trigger,
    Step(usize),
    Item(usize, u32),
    Secrets,
    Outputs,
}

/// Reads what a record's key is about.
pub(crate) fn record_of(key: &Key) -> Result<RecordOf, StoreError> {
    let mut fields = key.fields();
    let read = fields.number().and_then(|_| fields.fixed(16)).and_then(|_| {
        let place = fields.number()?;
        if place == u64::MAX {
            return Some(RecordOf::Outputs);
        }
        if place == SECRETS {
            return Some(RecordOf::Secrets);
        }
        let place = usize::try_from(place).ok()?;
        let Some(position) = place.checked_sub(1) else { return Some(RecordOf::Trigger) };
        match fields.number() {
            None => Some(RecordOf::Step(position)),
            Some(_) => Some(RecordOf::Item(position, u32::try_from(fields.number()?).ok()?)),
        }
    });
    read.ok_or_else(|| StoreError::Damaged(format!("{key:?} names no record of a run")))
}

fn read<T>(key: &Key, fields: Option<T>) -> Result<T, StoreError> {
    fields.ok_or_else(|| StoreError::Damaged(format!("{key:?} does not read")))
}

fn run_in(bytes: &[u8]) -> Option<RunId> {
    uuid::Uuid::from_slice(bytes).ok().map(RunId)
}

/// Reads the organisation and the run a key is about that begins with them.
pub(crate) fn organisation_and_run(key: &Key) -> Result<(OrganisationId, RunId), StoreError> {
    let mut fields = key.fields();
    let found = fields
        .number()
        .and_then(|organisation| Some((OrganisationId(organisation), run_in(fields.fixed(16)?)?)));
    read(key, found)
}

/// Reads the organisation and the playbook a key is about that begins with them.
pub(crate) fn organisation_and_playbook(key: &Key) -> Result<(OrganisationId, PlaybookId), StoreError> {
    let mut fields = key.fields();
    let found = fields
        .number()
        .and_then(|organisation| Some((OrganisationId(organisation), PlaybookId(fields.number()?))));
    read(key, found)
}

/// Reads a row about a run: which, and its value.
pub(crate) fn of_run<T: Versioned>(
    key: &Key,
    row: &[u8],
) -> Result<((OrganisationId, RunId), T), StoreError> {
    Ok((organisation_and_run(key)?, decode(row)?))
}

/// Reads a row about a playbook: which, and its value.
pub(crate) fn of_playbook<T: Versioned>(
    key: &Key,
    row: &[u8],
) -> Result<((OrganisationId, PlaybookId), T), StoreError> {
    Ok((organisation_and_playbook(key)?, decode(row)?))
}

/// Reads the run at the end of a key that begins with organisation and playbook.
pub(crate) fn run_of(key: &Key) -> Result<RunId, StoreError> {
    let mut fields = key.fields();
    let found = fields.number().and_then(|_| fields.number()).and_then(|_| run_in(fields.fixed(16)?));
    read(key, found)
}

/// Reads when which run wakes.
pub(crate) fn wake_of(key: &Key) -> Result<(Timestamp, OrganisationId, RunId), StoreError> {
    let mut fields = key.fields();
    let found = fields.signed().and_then(|at| {
        let at = Timestamp::from_milliseconds(at)?;
        Some((at, OrganisationId(fields.number()?), run_in(fields.fixed(16)?)?))
    });
    read(key, found)
}

/// Reads when which playbook is due.
pub(crate) fn due_of(key: &Key) -> Result<(Timestamp, OrganisationId, PlaybookId), StoreError> {
    let mut fields = key.fields();
    let found = fields.signed().and_then(|at| {
        let at = Timestamp::from_milliseconds(at)?;
        Some((at, OrganisationId(fields.number()?), PlaybookId(fields.number()?)))
    });
    read(key, found)
}
