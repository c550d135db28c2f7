//! The one door to playbooks.

use std::sync::Arc;
use std::time::Duration;

use bellwether_access::{Access, Principal};
use bellwether_kernel::{Clock, OrganisationId, Page, PageRequest, PlaybookId, Randomness, RunId, Timestamp};
use bellwether_store::SharedStore;

use crate::{Apps, Document, Format, PlaybookError, Run, RunFilter, RunSummary};

/// A stored playbook.
#[derive(Clone, Debug)]
pub struct Playbook {
    /// Its id.
    pub id: PlaybookId,
    /// Counted from 1; each replacement is the next.
    pub version: u32,
    /// What it says.
    pub document: Document,
    /// As it was written.
    pub source: String,
    /// In which format it was written.
    pub format: Format,
    /// The token of its webhook's URL, for one that has a webhook.
    pub webhook_token: Option<String>,
    /// When it was first stored.
    pub created: Timestamp,
    /// When this version was stored.
    pub updated: Timestamp,
    /// The key on whose behalf it runs: the one it was stored with.
    pub runs_as: bellwether_kernel::KeyId,
}

/// How much there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Runs at work at once on this host.
    pub concurrent_runs: usize,
    /// Runs that wait for that.
    pub queued_runs: usize,
    /// Steps of one playbook.
    pub steps: usize,
    /// Bytes of a trigger's payload.
    pub payload: usize,
    /// How long a step may take.
    pub step_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { concurrent_runs: 64, queued_runs: 10_000, steps: 100, payload: 1 << 20, step_time: Duration::from_secs(30) }
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
    pub body: Vec<u8>,
}

/// A run that was accepted: it is recorded when this is returned.
pub struct StartedRun {
    /// Its id.
    pub id: RunId,
    /// Gives the run when it has ended; dropped without one if the host stops first.
    pub ended: tokio::sync::oneshot::Receiver<Run>,
}

/// The playbooks of every organisation on one store.
pub struct Playbooks {
    _store: SharedStore,
    _access: Arc<Access>,
    _apps: Arc<dyn Apps>,
    _clock: Arc<dyn Clock>,
    _randomness: Arc<dyn Randomness>,
    _limits: Limits,
}

#[expect(unused_variables)]
impl Playbooks {
    /// Opens the playbooks on `store`. Runs that were open when the host stopped are ended as interrupted.
    pub async fn open(store: SharedStore, access: Arc<Access>, apps: Arc<dyn Apps>, clock: Arc<dyn Clock>, randomness: Arc<dyn Randomness>, limits: Limits) -> Result<Arc<Self>, PlaybookError> {
        Ok(Arc::new(Self { _store: store, _access: access, _apps: apps, _clock: clock, _randomness: randomness, _limits: limits }))
    }

    /// Reads and checks a document against the apps the principal's organisation has, without storing it.
    pub fn validate(&self, organisation: OrganisationId, source: &str, format: Format) -> Result<Document, PlaybookError> {
        todo!()
    }

    /// Stores a new playbook, or with `replace` the next version of the one of that name.
    pub async fn store(&self, principal: &Principal, source: &str, format: Format, replace: bool) -> Result<Arc<Playbook>, PlaybookError> {
        todo!()
    }

    /// One playbook, by name or id.
    pub async fn get(&self, organisation: OrganisationId, name_or_id: &str) -> Result<Arc<Playbook>, PlaybookError> {
        todo!()
    }

    /// Every playbook, ordered by id.
    pub async fn list(&self, organisation: OrganisationId, page: &PageRequest) -> Result<Page<Arc<Playbook>>, PlaybookError> {
        todo!()
    }

    /// Deletes a playbook; its runs stay.
    pub async fn delete(&self, principal: &Principal, name_or_id: &str) -> Result<Arc<Playbook>, PlaybookError> {
        todo!()
    }

    /// Starts the playbook whose webhook has this token.
    pub async fn start_by_webhook(self: &Arc<Self>, token: &str, request: WebhookRequest) -> Result<StartedRun, PlaybookError> {
        todo!()
    }

    /// Starts a playbook by hand, with any JSON as its trigger's `inputs`.
    pub async fn start(self: &Arc<Self>, principal: &Principal, name_or_id: &str, inputs: serde_json::Value) -> Result<StartedRun, PlaybookError> {
        todo!()
    }

    /// Runs, newest first.
    pub async fn runs(&self, organisation: OrganisationId, filter: &RunFilter, page: &PageRequest) -> Result<Page<RunSummary>, PlaybookError> {
        todo!()
    }

    /// One run, whole.
    pub async fn run(&self, organisation: OrganisationId, id: RunId) -> Result<Run, PlaybookError> {
        todo!()
    }

    /// Takes no more runs and waits until those accepted have ended, at most so long; what is left then is recorded as
    /// interrupted.
    pub async fn stop(&self, patience: Duration) {
        todo!()
    }
}
