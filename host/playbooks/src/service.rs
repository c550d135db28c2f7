//! The one door to playbooks: checked, stored, found. Their runs are in `runs.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bellwether_access::{Access, AuditScope, Principal, Role};
use bellwether_kernel::{
    Clock, Cursor, ErrorKind, KeyId, OrganisationId, Page, PageRequest, PlaybookId, Randomness, RunId,
    Timestamp,
};
use bellwether_store::{Batch, Direction, MAX_KEY, Precondition, SharedStore, StoreError, decode, encode};
use moka::sync::Cache;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, Semaphore};

use crate::compile::Compiled;
use crate::rows::{Counter, Part, Payload, PlaybookRef, PlaybookRow, WebhookToken};
use crate::runs::{Active, PAGE, invalid_cursor};
use crate::{Apps, Document, Format, PlaybookError, Run, Trigger, rows};

/// The largest document, in bytes: a hundred steps of two pages each.
const SOURCE: usize = 256 * 1024;
/// How much of the documents in use is kept ready to run, in bytes of source; what is compiled takes some times that.
const CACHE: u64 = 16 * 1024 * 1024;

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
    pub runs_as: KeyId,
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
        Self {
            concurrent_runs: 64,
            queued_runs: 10_000,
            steps: 100,
            payload: 1 << 20,
            step_time: Duration::from_secs(30),
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
    pub body: Vec<u8>,
}

/// A run that was accepted: it is recorded when this is returned.
pub struct StartedRun {
    /// Its id.
    pub id: RunId,
    /// Gives the run when it has ended; dropped without one if the host stops first.
    pub ended: tokio::sync::oneshot::Receiver<Run>,
}

/// A playbook with what runs it.
pub(crate) struct Loaded {
    pub(crate) playbook: Arc<Playbook>,
    pub(crate) compiled: Arc<Compiled>,
}

/// The playbooks of every organisation on one store.
pub struct Playbooks {
    pub(crate) store: SharedStore,
    pub(crate) access: Arc<Access>,
    pub(crate) apps: Arc<dyn Apps>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
    pub(crate) limits: Limits,
    /// Versions never change, so what is kept here is never stale.
    loaded: Cache<(OrganisationId, PlaybookId, u32), Arc<Loaded>>,
    /// One for each run accepted and not ended.
    pub(crate) slots: Arc<Semaphore>,
    /// One for each run at work.
    pub(crate) workers: Semaphore,
    /// The runs accepted and not ended.
    pub(crate) active: Mutex<HashMap<RunId, Active>>,
    /// Told each time one of them is.
    pub(crate) left: Notify,
    pub(crate) stopping: AtomicBool,
}

impl Playbooks {
    /// Opens the playbooks on `store`. Runs that were open when the host stopped are ended as interrupted.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(
        store: SharedStore,
        access: Arc<Access>,
        apps: Arc<dyn Apps>,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
        limits: Limits,
    ) -> Result<Arc<Self>, PlaybookError> {
        let slots = limits.concurrent_runs.saturating_add(limits.queued_runs).min(Semaphore::MAX_PERMITS);
        let playbooks = Self {
            store,
            access,
            apps,
            clock,
            randomness,
            limits,
            loaded: Cache::builder()
                .max_capacity(CACHE)
                .weigher(|_, loaded: &Arc<Loaded>| {
                    u32::try_from(loaded.playbook.source.len()).unwrap_or(u32::MAX)
                })
                .build(),
            slots: Arc::new(Semaphore::new(slots)),
            workers: Semaphore::new(limits.concurrent_runs.min(Semaphore::MAX_PERMITS)),
            active: Mutex::default(),
            left: Notify::new(),
            stopping: AtomicBool::new(false),
        };
        let interrupted = playbooks.interrupt_orphans().await?;
        if interrupted > 0 {
            tracing::warn!(
                runs = interrupted,
                "runs were open when the host stopped; they are ended as interrupted"
            );
        }
        Ok(Arc::new(playbooks))
    }

    /// How much there may be here.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Reads and checks a document against the apps the principal's organisation has, without storing it.
    ///
    /// # Errors
    /// [`PlaybookError::Syntax`] and [`PlaybookError::Document`] with the place of what is wrong;
    /// [`PlaybookError::TooLarge`].
    pub fn validate(
        &self,
        organisation: OrganisationId,
        source: &str,
        format: Format,
    ) -> Result<Document, PlaybookError> {
        Ok(self.compile(organisation, source, format)?.document)
    }

    fn compile(
        &self,
        organisation: OrganisationId,
        source: &str,
        format: Format,
    ) -> Result<Compiled, PlaybookError> {
        if source.len() > SOURCE {
            return Err(PlaybookError::TooLarge { what: "a playbook", size: source.len(), limit: SOURCE });
        }
        Compiled::read(source, format, self.limits.steps, Some((&*self.apps, organisation)))
    }

    /// Stores a new playbook, or with `replace` the next version of the one of that name, if there is one. A webhook
    /// keeps its token. From here on it runs as `principal`'s key.
    ///
    /// # Errors
    /// As [`Self::validate`]; [`PlaybookError::Forbidden`] unless the principal is an admin;
    /// [`PlaybookError::Exists`] without `replace`.
    pub async fn store(
        &self,
        principal: &Principal,
        source: &str,
        format: Format,
        replace: bool,
    ) -> Result<Arc<Playbook>, PlaybookError> {
        require_role(principal, Role::Admin, "store a playbook")?;
        let organisation = principal.organisation;
        let document = self.compile(organisation, source, format)?.document;
        loop {
            let (batch, id) = match self.named(organisation, &document.name).await? {
                Some(_) if !replace => return Err(PlaybookError::Exists(document.name)),
                Some(id) => (self.replacement(principal, id, &document, source, format).await?, id),
                None => self.creation(principal, &document, source, format).await?,
            };
            // Without a batch, or with a conflict, somebody else changed it meanwhile: look again.
            let Some(batch) = batch else { continue };
            match self.store.commit(batch).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Conflict => continue,
                Err(error) => return Err(error.into()),
            }
            let loaded = self.load(organisation, id).await?;
            let unknown = || PlaybookError::Unknown { what: "playbook", name: document.name.clone() };
            return Ok(Arc::clone(&loaded.ok_or_else(unknown)?.playbook));
        }
    }

    async fn creation(
        &self,
        principal: &Principal,
        document: &Document,
        source: &str,
        format: Format,
    ) -> Result<(Option<Batch>, PlaybookId), PlaybookError> {
        let organisation = principal.organisation;
        let counter = rows::playbook_counter(organisation);
        let counted = self.store.get(&counter).await?;
        let count = counted.as_ref().map_or(Ok(Counter::default()), |row| decode(row))?.0 + 1;
        let id = PlaybookId(count);
        let now = self.clock.now();
        let mut batch = Batch::new();
        let before = counted.map_or(Precondition::Absent, Precondition::ValueIs);
        batch.require(counter.clone(), before).put(counter, encode(&Counter(count)));
        let name = rows::playbook_name(organisation, &document.name);
        batch.require(name.clone(), Precondition::Absent);
        batch.put(name, encode(&PlaybookRef { organisation, playbook: id }));
        let webhook =
            (document.trigger == Trigger::Webhook {}).then(|| self.new_webhook(&mut batch, organisation, id));
        let key = rows::playbook(organisation, id);
        let source = Payload::write(&mut batch, &key, Part::Shown, source.as_bytes().to_vec())?;
        let row = PlaybookRow {
            name: document.name.clone(),
            version: 1,
            source,
            format,
            webhook,
            created: now,
            updated: now,
            runs_as: principal.key.clone(),
        };
        batch.put(key, encode(&row));
        self.audit(&mut batch, principal, "playbook.create", id, &row);
        Ok((Some(batch), id))
    }

    async fn replacement(
        &self,
        principal: &Principal,
        id: PlaybookId,
        document: &Document,
        source: &str,
        format: Format,
    ) -> Result<Option<Batch>, PlaybookError> {
        let organisation = principal.organisation;
        let key = rows::playbook(organisation, id);
        let Some(stored) = self.store.get(&key).await? else { return Ok(None) };
        let mut row: PlaybookRow = decode(&stored)?;
        let mut batch = Batch::new();
        batch.require(key.clone(), Precondition::ValueIs(stored));
        row.source.delete(&*self.store, &mut batch, &key, Part::Shown).await?;
        row.source = Payload::write(&mut batch, &key, Part::Shown, source.as_bytes().to_vec())?;
        row.webhook = match (&document.trigger, row.webhook.take()) {
            (Trigger::Webhook {}, Some(webhook)) => Some(webhook),
            (Trigger::Webhook {}, None) => Some(self.new_webhook(&mut batch, organisation, id)),
            (Trigger::Manual {}, Some(webhook)) => {
                batch.delete(rows::webhook(&webhook.digest));
                None
            }
            (Trigger::Manual {}, None) => None,
        };
        row.version += 1;
        row.format = format;
        row.updated = self.clock.now();
        row.runs_as = principal.key.clone();
        batch.put(key, encode(&row));
        self.audit(&mut batch, principal, "playbook.replace", id, &row);
        Ok(Some(batch))
    }

    fn new_webhook(&self, batch: &mut Batch, organisation: OrganisationId, id: PlaybookId) -> WebhookToken {
        let mut bytes = [0; 24];
        self.randomness.fill(&mut bytes);
        let token = URL_SAFE_NO_PAD.encode(bytes);
        let digest = Sha256::digest(token.as_bytes()).into();
        batch.put(rows::webhook(&digest), encode(&PlaybookRef { organisation, playbook: id }));
        WebhookToken { digest, token: self.access.seal(&webhook_purpose(organisation, id), token.as_bytes()) }
    }

    fn audit(
        &self,
        batch: &mut Batch,
        principal: &Principal,
        action: &str,
        id: PlaybookId,
        row: &PlaybookRow,
    ) {
        let details = [("id", id.to_string()), ("version", row.version.to_string())];
        let scope = AuditScope::Organisation(principal.organisation);
        self.access.audit(batch, scope, principal.key.as_str(), action, &row.name, &details);
    }

    /// One playbook, by name or id.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] if there is none.
    pub async fn get(
        &self,
        organisation: OrganisationId,
        name_or_id: &str,
    ) -> Result<Arc<Playbook>, PlaybookError> {
        Ok(Arc::clone(&self.find(organisation, name_or_id).await?.playbook))
    }

    /// Every playbook, ordered by id.
    ///
    /// # Errors
    /// [`PlaybookError::Invalid`] for a cursor that is not of this list.
    pub async fn list(
        &self,
        organisation: OrganisationId,
        page: &PageRequest,
    ) -> Result<Page<Arc<Playbook>>, PlaybookError> {
        let prefix = rows::playbooks(organisation);
        let mut range = prefix.prefix();
        if let Some(cursor) = &page.cursor {
            if cursor.0.len() != 8 {
                return Err(invalid_cursor(cursor));
            }
            range.start = prefix.fixed(&cursor.0);
        }
        let limit = page.limit.clamp(1, PAGE);
        let mut items = Vec::new();
        for (key, _) in self.store.scan(range, Direction::Forward, limit + 1).await? {
            let mut fields = key.fields();
            let id = fields.number().and_then(|_| fields.number()).map(PlaybookId);
            let id = id.ok_or_else(|| StoreError::Damaged(format!("{key:?} names no playbook")))?;
            if items.len() == limit {
                return Ok(Page { items, next: Some(Cursor(id.0.to_be_bytes().to_vec())) });
            }
            if let Some(loaded) = self.load(organisation, id).await? {
                items.push(Arc::clone(&loaded.playbook));
            }
        }
        Ok(Page { items, next: None })
    }

    /// Deletes a playbook; its runs stay, those at work too.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] if there is none, [`PlaybookError::Forbidden`] unless the principal is an admin.
    pub async fn delete(
        &self,
        principal: &Principal,
        name_or_id: &str,
    ) -> Result<Arc<Playbook>, PlaybookError> {
        require_role(principal, Role::Admin, "delete a playbook")?;
        let organisation = principal.organisation;
        loop {
            let playbook = self.get(organisation, name_or_id).await?;
            let key = rows::playbook(organisation, playbook.id);
            let Some(stored) = self.store.get(&key).await? else { continue };
            let row: PlaybookRow = decode(&stored)?;
            let mut batch = Batch::new();
            batch.require(key.clone(), Precondition::ValueIs(stored));
            row.source.delete(&*self.store, &mut batch, &key, Part::Shown).await?;
            if let Some(webhook) = &row.webhook {
                batch.delete(rows::webhook(&webhook.digest));
            }
            batch.delete(rows::playbook_name(organisation, &row.name)).delete(key);
            self.audit(&mut batch, principal, "playbook.delete", playbook.id, &row);
            match self.store.commit(batch).await {
                Ok(_) => return Ok(playbook),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The playbook of that name or id, ready to run.
    pub(crate) async fn find(
        &self,
        organisation: OrganisationId,
        name_or_id: &str,
    ) -> Result<Arc<Loaded>, PlaybookError> {
        // A name is never digits alone, so neither can stand for the other.
        let id = match name_or_id.parse() {
            Ok(id) => Some(id),
            Err(_) => self.named(organisation, name_or_id).await?,
        };
        let loaded = match id {
            Some(id) => self.load(organisation, id).await?,
            None => None,
        };
        loaded.ok_or_else(|| PlaybookError::Unknown { what: "playbook", name: name_or_id.to_owned() })
    }

    async fn named(
        &self,
        organisation: OrganisationId,
        name: &str,
    ) -> Result<Option<PlaybookId>, PlaybookError> {
        // What cannot be a name need not be looked up, nor can it break the limit of a key.
        if name.len() > MAX_KEY / 4 {
            return Ok(None);
        }
        let row = self.store.get(&rows::playbook_name(organisation, name)).await?;
        let reference = row.map(|row| decode::<PlaybookRef>(&row)).transpose()?;
        Ok(reference.map(|reference| reference.playbook))
    }

    /// The playbook of that id in its present version.
    pub(crate) async fn load(
        &self,
        organisation: OrganisationId,
        id: PlaybookId,
    ) -> Result<Option<Arc<Loaded>>, PlaybookError> {
        let key = rows::playbook(organisation, id);
        loop {
            let Some(stored) = self.store.get(&key).await? else { return Ok(None) };
            let row: PlaybookRow = decode(&stored)?;
            if let Some(loaded) = self.loaded.get(&(organisation, id, row.version)) {
                return Ok(Some(loaded));
            }
            let source = row.source.read(&*self.store, &key, Part::Shown).await?;
            // Read in pieces, it may be another version's by now, or gone.
            if matches!(row.source, Payload::Large(_))
                && self.store.get(&key).await?.as_ref() != Some(&stored)
            {
                continue;
            }
            let source =
                source.ok_or_else(|| StoreError::Damaged(format!("the source of {key:?} is missing")))?;
            let loaded = Arc::new(self.assemble(organisation, id, &row, source)?);
            self.loaded.insert((organisation, id, row.version), Arc::clone(&loaded));
            return Ok(Some(loaded));
        }
    }

    fn assemble(
        &self,
        organisation: OrganisationId,
        id: PlaybookId,
        row: &PlaybookRow,
        source: Vec<u8>,
    ) -> Result<Loaded, PlaybookError> {
        let damaged = |what: String| {
            StoreError::Damaged(format!("playbook {id} of organisation {organisation}: {what}"))
        };
        let source = String::from_utf8(source).map_err(|error| damaged(error.to_string()))?;
        let compiled = Compiled::read(&source, row.format, usize::MAX, None)
            .map_err(|error| damaged(error.to_string()))?;
        let webhook_token = match &row.webhook {
            Some(webhook) => {
                let token = self.access.unseal(&webhook_purpose(organisation, id), &webhook.token)?;
                Some(String::from_utf8(token).map_err(|_| damaged("its token is no text".into()))?)
            }
            None => None,
        };
        let playbook = Playbook {
            id,
            version: row.version,
            document: compiled.document.clone(),
            source,
            format: row.format,
            webhook_token,
            created: row.created,
            updated: row.updated,
            runs_as: row.runs_as.clone(),
        };
        Ok(Loaded { playbook: Arc::new(playbook), compiled: Arc::new(compiled) })
    }
}

/// What a webhook's sealed token is bound to.
fn webhook_purpose(organisation: OrganisationId, id: PlaybookId) -> String {
    format!("webhook:{organisation}:{id}")
}

/// Refuses a principal whose role is less than `needed`.
pub(crate) fn require_role(
    principal: &Principal,
    needed: Role,
    action: &'static str,
) -> Result<(), PlaybookError> {
    let name = |role| match role {
        Role::Read => "read",
        Role::Write => "write",
        Role::Admin => "admin",
    };
    if principal.role >= needed {
        return Ok(());
    }
    Err(PlaybookError::Forbidden { action, role: name(principal.role), needed: name(needed) })
}
