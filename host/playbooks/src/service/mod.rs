//! The one door to playbooks and their runs: what it is made of, how it opens and stops.

mod catalogue;
mod change;
mod find;
mod inputs;
mod pins;
mod versions;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use bellwether_access::{Access, Principal, Role};
use bellwether_kernel::{
    Clock, HostId, KeyId, OrganisationId, PlaybookId, Randomness, RunId, RunIds, Timestamp,
};
use bellwether_store::{Key, SharedStore};
use bytes::Bytes;
use moka::sync::Cache;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::compile::Compiled;
use crate::engine::{Active, Following, Unstarted, Waiting, Watching, Workers};
use crate::history::Trimmed;
use crate::meters::Meters;
use crate::rows::Owner;
use crate::{Apps, Document, Format, PlaybookError, Run, SecretSource, Writes};

pub(crate) use find::unless_damaged;
pub use versions::Version;

/// The largest document, in bytes: a hundred steps of two pages each.
const SOURCE: usize = 256 * 1024;
/// How much of the documents in use is kept ready to run, in bytes of source; what is compiled takes some times that.
const CACHE: u64 = 16 * 1024 * 1024;
/// Conditions of triggers that cost much and are worked out at once, each on a thread for some ten milliseconds: few enough to
/// leave the processors to what people wait for.
const CONDITIONS: usize = 2;

/// Whether a playbook is started by what its trigger says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is.
    Active,
    /// It has no published version yet.
    Draft,
    /// Its runs failed too often: nothing starts it until it is enabled or published again.
    Disabled {
        /// Since when.
        since: Timestamp,
        /// Why.
        reason: String,
    },
    /// The key it runs as lost the right to: nothing starts it until it is published with another.
    Blocked {
        /// Why.
        reason: String,
    },
}

/// A stored playbook.
#[derive(Clone, Debug)]
pub struct Playbook {
    /// Its id.
    pub id: PlaybookId,
    /// What it is called.
    pub name: String,
    /// The version this is: the published one, or, before there is one, the newest draft. Counted from 1.
    pub version: u32,
    /// The version that runs; absent for one that was never published.
    pub published: Option<u32>,
    /// The newest version there is; greater than `published` where there is a draft.
    pub latest: u32,
    /// Whether its trigger starts it.
    pub status: Status,
    /// Why a run of this version fails, as far as that is known before: an app changed, or is not there any more; or why
    /// none begins, where the version does not read.
    pub problem: Option<String>,
    /// When it is due next, for one with a trigger by time that starts it.
    pub next_due: Option<Timestamp>,
    /// What it says; absent where that does not read.
    pub document: Option<Document>,
    /// As it was written; empty where not even that reads.
    pub source: String,
    /// In which format it was written.
    pub format: Format,
    /// The token of its webhook's URL, for one that has a webhook: the same in all its versions that have one.
    pub webhook_token: Option<String>,
    /// When it was first stored.
    pub created: Timestamp,
    /// When it last was changed.
    pub updated: Timestamp,
    /// The key on whose behalf it runs: the one that published it.
    pub runs_as: KeyId,
}

impl Playbook {
    /// Why its trigger does not start it; or, where it does, why a run of it fails, as far as that is known before.
    #[must_use]
    pub fn why_not(&self) -> Option<&str> {
        match &self.status {
            Status::Disabled { reason, .. } | Status::Blocked { reason } => Some(reason),
            Status::Active | Status::Draft => self.problem.as_deref(),
        }
    }
}

/// How much there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Runs at work at once on this host. One organisation leaves a quarter of that, at least one, to others, and each of those
    /// half of what is left: so that, however long runs take, those of the first few others find a worker.
    pub concurrent_runs: usize,
    /// Runs of one organisation that wait for that; and, apart from them, runs of it that wait for a place of their
    /// playbook's. So no organisation's wait keeps another from starting a run.
    pub queued_runs: usize,
    /// Steps of one playbook, and on-failure steps.
    pub steps: usize,
    /// Bytes of a trigger's payload, of a step's inputs, and of a list it goes over.
    pub payload: usize,
    /// Bytes of a step's outputs, those of all its items together. What is recorded of a step, inputs and outputs in one
    /// large value of the store, has at most [`bellwether_store::MAX_LARGE`].
    pub outputs: usize,
    /// How long one call of a step may take, where the step does not say.
    pub step_time: Duration,
    /// How long a run may take from its first step on, where its playbook does not say.
    pub run_time: Duration,
    /// Items of one step's list.
    pub items: usize,
    /// Versions kept of one playbook.
    pub versions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrent_runs: 64,
            queued_runs: 10_000,
            steps: 100,
            payload: 1 << 20,
            outputs: 5 << 19,
            step_time: Duration::from_secs(30),
            run_time: Duration::from_secs(86_400),
            items: 10_000,
            versions: 100,
        }
    }
}

/// A request to a webhook.
#[derive(Clone, Debug)]
pub struct WebhookRequest {
    /// The method.
    pub method: String,
    /// The query's pairs, decoded.
    pub query: Vec<(String, String)>,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// A run that was accepted: it is recorded when this is returned.
pub struct StartedRun {
    /// Its id.
    pub id: RunId,
    /// Whether it was accepted before, for the same delivery, and nothing was started now.
    pub repeated: bool,
    /// Gives the run when it has ended; dropped without one if the host stops first.
    pub ended: oneshot::Receiver<Run>,
}

/// What playbooks stand on.
pub struct Parts {
    /// Where everything is kept.
    pub store: SharedStore,
    /// Who may do what, and what seals.
    pub access: Arc<Access>,
    /// What steps call.
    pub apps: Arc<dyn Apps>,
    /// The secrets steps are given by name.
    pub secrets: Arc<dyn SecretSource>,
    /// What metric triggers watch; without it none of them fires.
    pub writes: Option<Arc<dyn Writes>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub randomness: Arc<dyn Randomness>,
    /// Which host this is: two that work on one store at once must differ.
    pub host: HostId,
    /// How much there may be.
    pub limits: Limits,
}

/// A version of a playbook with what runs it.
pub(crate) struct Loaded {
    pub(crate) id: PlaybookId,
    pub(crate) version: u32,
    pub(crate) source: String,
    pub(crate) format: Format,
    pub(crate) compiled: Compiled,
}

/// Somebody who wants to know of a run's end, and whose run it is.
type Waiter = (OrganisationId, oneshot::Sender<Run>);

/// The playbooks of every organisation on one store, and this host's part in their runs.
pub struct Playbooks {
    pub(crate) store: SharedStore,
    pub(crate) access: Arc<Access>,
    pub(crate) apps: Arc<dyn Apps>,
    pub(crate) secrets: Arc<dyn SecretSource>,
    pub(crate) writes: Option<Arc<dyn Writes>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
    pub(crate) run_ids: RunIds,
    pub(crate) limits: Limits,
    pub(crate) meters: Meters,
    pub(crate) owner: Owner,
    /// The host's lease as it is stored: no run becomes this host's without it.
    pub(crate) lease: Mutex<Bytes>,
    /// Whether that lease, and what earlier lives of the host left, has been taken: not yet where a start found the disk
    /// full.
    pub(crate) has_begun: tokio::sync::Mutex<bool>,
    /// Versions never change, so what is kept here is never stale.
    pub(crate) loaded: Cache<(OrganisationId, PlaybookId, u32), Arc<Loaded>>,
    /// One for each run at work.
    pub(crate) workers: Arc<Workers>,
    /// The runs at work here.
    pub(crate) active: Mutex<HashMap<RunId, Active>>,
    /// Whether a run that is ready was passed over because it is at work here; changed under the lock of `active`.
    pub(crate) passed_over: AtomicBool,
    /// Who wants to know of a run's end.
    pub(crate) waiters: Mutex<HashMap<RunId, Vec<Waiter>>>,
    /// Runs that are ready and wait to begin.
    pub(crate) queued: Arc<Waiting>,
    /// Runs that wait for a place of their playbook's.
    pub(crate) placeless: Arc<Waiting>,
    /// The organisation whose run was taken from the queue last.
    pub(crate) served: AtomicU64,
    /// Told when a run is ready.
    pub(crate) ready: Notify,
    /// Told when something is to happen earlier than was known.
    pub(crate) sooner: Notify,
    /// Told when a run at work is no longer so.
    pub(crate) left: Notify,
    /// Runs of this host that could not be recorded and are to be taken up again.
    pub(crate) dropped: Mutex<Vec<(OrganisationId, RunId)>>,
    pub(crate) watches: RwLock<HashMap<OrganisationId, Vec<Watching>>>,
    /// Turns for conditions of triggers that cost much.
    pub(crate) conditions: Semaphore,
    /// The playbooks that follow incidents.
    pub(crate) followers: RwLock<HashMap<OrganisationId, Vec<Following>>>,
    /// Held while either is read and kept, so that what was read before a change never takes the place of what was read
    /// after it.
    pub(crate) reading_triggers: tokio::sync::Mutex<()>,
    /// The playbooks that their triggers do not start, as was said of them.
    pub(crate) unstarted: Mutex<HashMap<(OrganisationId, PlaybookId), Unstarted>>,
    /// From where on claims of firings are looked at next for those to be forgotten; from the first where none is named.
    pub(crate) claims_from: Mutex<Option<Key>>,
    /// The playbooks of whose runs no more were left than they want kept.
    pub(crate) trimmed: Mutex<HashMap<(OrganisationId, PlaybookId), Trimmed>>,
    /// Told when incidents did something.
    pub(crate) moved: Notify,
    /// Told when what a changed playbook watches or follows could not be read.
    pub(crate) unread: Notify,
    /// Whether the clock seems to have been ahead, and runs that wait have not looked again since.
    pub(crate) was_ahead: AtomicBool,
    /// Takes no more runs.
    pub(crate) stopping: AtomicBool,
    /// Ends the loops that begin runs.
    pub(crate) halt: CancellationToken,
    /// Ends every loop.
    pub(crate) end: CancellationToken,
}

impl Playbooks {
    /// Opens the playbooks on `parts` and goes on with the runs that were open: those of an earlier life of this host,
    /// and, when their lease runs out, those of hosts that are gone.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(parts: Parts) -> Result<Arc<Self>, PlaybookError> {
        let playbooks = Self::idle(parts);
        playbooks.take_up().await?;
        playbooks.begin_loops();
        if let Err(error) = playbooks.measure().await {
            tracing::warn!(%error, "playbooks and runs could not be counted; it is tried again");
        }
        Ok(playbooks)
    }

    /// Playbooks that take up nothing by themselves.
    pub(crate) fn idle(parts: Parts) -> Arc<Self> {
        let Parts { store, access, apps, secrets, writes, clock, randomness, host, limits } = parts;
        let mut life = [0; 8];
        randomness.fill(&mut life);
        let end = CancellationToken::new();
        Arc::new(Self {
            store,
            access,
            apps,
            secrets,
            writes,
            clock,
            randomness,
            run_ids: RunIds::default(),
            limits,
            meters: Meters::new(),
            owner: Owner { host, life: u64::from_le_bytes(life) },
            lease: Mutex::default(),
            has_begun: tokio::sync::Mutex::default(),
            loaded: Cache::builder()
                .max_capacity(CACHE)
                .weigher(|_, loaded: &Arc<Loaded>| u32::try_from(loaded.source.len()).unwrap_or(u32::MAX))
                .build(),
            workers: Workers::new(limits.concurrent_runs),
            active: Mutex::default(),
            passed_over: AtomicBool::default(),
            waiters: Mutex::default(),
            queued: Waiting::new(limits.queued_runs),
            placeless: Waiting::new(limits.queued_runs),
            served: AtomicU64::new(0),
            ready: Notify::new(),
            sooner: Notify::new(),
            left: Notify::new(),
            dropped: Mutex::default(),
            watches: RwLock::default(),
            conditions: Semaphore::new(CONDITIONS),
            followers: RwLock::default(),
            reading_triggers: tokio::sync::Mutex::default(),
            unstarted: Mutex::default(),
            claims_from: Mutex::default(),
            trimmed: Mutex::default(),
            moved: Notify::new(),
            unread: Notify::new(),
            was_ahead: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            halt: end.child_token(),
            end,
        })
    }

    /// How much there may be here.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// On whose behalf a playbook acts, if that key still may.
    pub(crate) fn principal(
        &self,
        organisation: OrganisationId,
        key: &KeyId,
    ) -> Result<Arc<Principal>, String> {
        let principal = self
            .access
            .principal(key)
            .map_err(|failure| format!("the key {key} it runs as does not work: {failure}"))?;
        if principal.organisation != organisation || principal.role < Role::Write {
            return Err(format!("the key {key} it runs as may not run it"));
        }
        Ok(principal)
    }
}

impl Drop for Playbooks {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// Refuses a principal whose role is less than `needed`.
pub(crate) fn require_role(
    principal: &Principal,
    needed: Role,
    action: &'static str,
) -> Result<(), PlaybookError> {
    if principal.role >= needed {
        return Ok(());
    }
    Err(PlaybookError::Forbidden { action, role: principal.role.as_str(), needed: needed.as_str() })
}
