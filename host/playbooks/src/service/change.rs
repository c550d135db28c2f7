//! One change to a playbook, built up as a batch and committed whole: its row, its versions, its webhook, when it is
//! due next, what it watches, and the entry in the audit log.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bellwether_access::{AuditScope, Principal};
use bellwether_kernel::{ErrorKind, OrganisationId, PlaybookId, Timestamp};
use bellwether_store::{Batch, Direction, Key, Precondition, StoreError, Walk, encode};
use sha2::{Digest, Sha256};

use super::find::{compiled, webhook_purpose};
use super::versions::version_of;
use super::{Loaded, Playbook, Playbooks, Status};
use crate::compile::Compiled;
use crate::rows::{
    Counter, Follower, NextDue, OpenRun, PUBLICATIONS, Part, Payload, PlaybookRef, PlaybookRow,
    PublicationRow, VersionRow, Watch, WebhookToken,
};
use crate::{Document, Format, PlaybookError, TriggerKind, TriggerOn, rows};

/// How many open runs are looked at for the versions they began with; where there are as many, no version is removed.
const OPEN_RUNS: usize = 10_000;

/// Which way a playbook goes as one of its versions is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// On, also to what ran before.
    On,
    /// Back: those that followed that version are no longer what ran before.
    Back,
}

pub(super) struct Change<'a> {
    playbooks: &'a Playbooks,
    principal: &'a Principal,
    id: PlaybookId,
    key: Key,
    pub(super) row: PlaybookRow,
    batch: Batch,
    is_new: bool,
    /// The version that is added.
    added: Option<Arc<Loaded>>,
    /// When it is due next, where it is enabled by this.
    due: Option<Option<Timestamp>>,
}

impl<'a> Change<'a> {
    /// The making of a new playbook.
    pub(super) async fn new(
        playbooks: &'a Playbooks,
        principal: &'a Principal,
        document: &Document,
    ) -> Result<Self, PlaybookError> {
        let organisation = principal.organisation;
        let counter = rows::playbook_counter(organisation);
        let counted = playbooks.store.get(&counter).await?;
        let last = match &counted {
            Some(row) => match playbooks.store.unread().decode(&counter, row) {
                Some(Counter(last)) => last,
                None => playbooks.last_number(organisation).await?,
            },
            None => 0,
        };
        let count = last + 1;
        let id = PlaybookId(count);
        let mut batch = Batch::new();
        let before = counted.map_or(Precondition::Absent, Precondition::ValueIs);
        batch.require(counter.clone(), before).put(counter, encode(&Counter(count)));
        let name = rows::playbook_name(organisation, &document.name);
        batch.require(name.clone(), Precondition::Absent);
        batch.put(name, encode(&PlaybookRef { organisation, playbook: id }));
        let now = playbooks.clock.now();
        let row = PlaybookRow {
            retention: (document.retention.days, document.retention.runs),
            ..PlaybookRow::new(document.name.clone(), principal.key.clone(), now)
        };
        let key = rows::playbook(organisation, id);
        Ok(Self { playbooks, principal, id, key, row, batch, is_new: true, added: None, due: None })
    }

    /// A change to a playbook that is there; `None` if it is not any more.
    pub(super) async fn of(
        playbooks: &'a Playbooks,
        principal: &'a Principal,
        id: PlaybookId,
    ) -> Result<Option<Self>, PlaybookError> {
        let key = rows::playbook(principal.organisation, id);
        let Some(stored) = playbooks.store.get(&key).await? else { return Ok(None) };
        let row = playbooks.store.unread().decode(&key, &stored).ok_or_else(|| {
            PlaybookError::Refused(format!(
                "the row of the playbook {id} does not read any more: delete it, and store it again"
            ))
        })?;
        let mut batch = Batch::new();
        batch.require(key.clone(), Precondition::ValueIs(stored));
        Ok(Some(Self { playbooks, principal, id, key, row, batch, is_new: false, added: None, due: None }))
    }

    /// The deletion of a playbook whose row does not read, with what is found of it by its number; `None` if it is not there
    /// any more.
    pub(super) async fn of_damaged(
        playbooks: &'a Playbooks,
        principal: &'a Principal,
        id: PlaybookId,
    ) -> Result<Option<Self>, StoreError> {
        let (store, organisation) = (&*playbooks.store, principal.organisation);
        let key = rows::playbook(organisation, id);
        let Some(stored) = store.get(&key).await? else { return Ok(None) };
        let mut batch = Batch::new();
        batch.require(key.clone(), Precondition::ValueIs(stored));
        let name = playbooks.name_that_leads_to(organisation, id).await?.unwrap_or_default();
        let mut webhooks = Walk::forward(store, rows::webhooks().prefix());
        while let Some((row, _, of)) = webhooks.next_of::<PlaybookRef>().await? {
            if (of.organisation, of.playbook) == (organisation, id) {
                batch.delete(row);
            }
        }
        let mut versions = Walk::backward(store, rows::versions(organisation, id).prefix()).at_once(1);
        let latest = versions.next_read(|row, _| version_of(row)).await?.map_or(0, |(.., latest)| latest);
        let row = PlaybookRow {
            latest,
            // Whatever an earlier host may have kept there.
            inherited: Some((0, Payload::Large(0), Format::Toml)),
            ..PlaybookRow::new(name, principal.key.clone(), playbooks.clock.now())
        };
        Ok(Some(Self { playbooks, principal, id, key, row, batch, is_new: false, added: None, due: None }))
    }

    fn organisation(&self) -> OrganisationId {
        self.principal.organisation
    }

    /// Adds a version, and drops the oldest if there are too many.
    pub(super) async fn add_version(&mut self, source: &str, format: Format) -> Result<(), PlaybookError> {
        self.row.latest += 1;
        let (id, version, text) = (self.id, self.row.latest, source.to_owned());
        let added = compiled(text.len(), move || Loaded::read(id, version, text, format)).await??;
        self.added = Some(Arc::new(added));
        let key = rows::version(self.organisation(), self.id, self.row.latest);
        let source = Payload::write(&mut self.batch, &key, Part::Shown, source.as_bytes().to_vec())?;
        let (created, created_by) = (self.playbooks.clock.now(), self.principal.key.clone());
        self.batch.put(key, encode(&VersionRow { source, format, created, created_by }));
        self.prune().await
    }

    /// Removes the oldest versions that are one too many, that do not run and that no open run began with.
    async fn prune(&mut self) -> Result<(), PlaybookError> {
        let (store, organisation) = (&*self.playbooks.store, self.organisation());
        let most = self.playbooks.limits.versions.max(2);
        let prefix = rows::versions(organisation, self.id);
        let kept = store.scan(prefix.prefix(), Direction::Forward, most + 1).await?;
        // The one that is being added is not among them yet.
        if kept.len() < most {
            return Ok(());
        }
        let mut in_use = Vec::new();
        let open_runs = rows::open_runs(organisation).prefix();
        let open_runs = store.scan(open_runs, Direction::Forward, OPEN_RUNS).await?;
        if open_runs.len() == OPEN_RUNS {
            // There may be more, and one that is not looked at may have begun with any of them.
            return Ok(());
        }
        for (key, row) in open_runs {
            let open: Option<OpenRun> = store.unread().decode(&key, &row);
            in_use.extend(open.filter(|open| open.playbook == self.id).map(|open| open.version));
        }
        for (key, row) in kept {
            let version = version_of(&key)?;
            if Some(version) != self.row.published && !in_use.contains(&version) {
                let Some(row) = store.unread().decode::<VersionRow>(&key, &row) else { continue };
                row.source.delete(store, &mut self.batch, &key, Part::Shown).await?;
                self.batch.delete(key);
                self.row.publications.retain(|publication| publication.version != version);
                self.row.past.retain(|past| *past != version);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Makes `version` the one that runs, by what its document says: after the one that does, or as it was before those
    /// that followed it.
    pub(super) async fn publish(
        &mut self,
        version: u32,
        compiled: &Compiled,
        course: Course,
    ) -> Result<(), PlaybookError> {
        let (at, by) = (self.playbooks.clock.now(), self.principal.key.clone());
        match course {
            Course::On => self.row.go_on_to(version),
            Course::Back => self.row.go_back_to(version),
        }
        self.row.publications.push(PublicationRow { version, at, by: by.clone() });
        let more = self.row.publications.len().saturating_sub(PUBLICATIONS);
        self.row.publications.drain(..more);
        self.row.runs_as = by;
        let retention = compiled.document.retention;
        self.row.retention = (retention.days, retention.runs);
        self.set_webhook(&compiled.document);
        self.batch.delete(rows::health(self.organisation(), self.id));
        self.set_due(version, Some(compiled)).await?;
        self.set_watch(version, Some(&compiled.document));
        Ok(())
    }

    pub(super) async fn enable(&mut self) -> Result<(), PlaybookError> {
        let (organisation, id) = (self.organisation(), self.id);
        self.batch.delete(rows::health(organisation, id));
        if let Some(version) = self.row.published
            && let Some(loaded) = self.playbooks.load(organisation, id, version).await?
        {
            self.set_due(version, Some(&loaded.compiled)).await?;
        }
        Ok(())
    }

    /// Makes its webhook, if it has none yet. One that it has is kept while versions without one run, for those that
    /// have one again.
    fn set_webhook(&mut self, document: &Document) {
        if self.row.webhook.is_none() && document.trigger.kind() == TriggerKind::Webhook {
            self.row.webhook = Some(self.new_webhook());
        }
    }

    fn new_webhook(&mut self) -> WebhookToken {
        let mut bytes = [0; 24];
        self.playbooks.randomness.fill(&mut bytes);
        let token = URL_SAFE_NO_PAD.encode(bytes);
        let digest = Sha256::digest(token.as_bytes()).into();
        let (organisation, playbook) = (self.organisation(), self.id);
        self.batch.put(rows::webhook(&digest), encode(&PlaybookRef { organisation, playbook }));
        let purpose = webhook_purpose(organisation, playbook);
        WebhookToken { digest, token: self.playbooks.access.seal(&purpose, token.as_bytes()) }
    }

    /// Replaces the time the playbook is due next: from this commit on no older version fires.
    async fn set_due(&mut self, version: u32, compiled: Option<&Compiled>) -> Result<(), PlaybookError> {
        let (organisation, id) = (self.organisation(), self.id);
        let key = rows::next(organisation, id);
        let stored = self.playbooks.store.get(&key).await?;
        let unread = self.playbooks.store.unread();
        let before: Option<NextDue> = stored.as_ref().and_then(|row| unread.decode(&key, row));
        self.batch.require(key.clone(), stored.map_or(Precondition::Absent, Precondition::ValueIs));
        // One that does not read is replaced too: what is due by it finds that it is not any more.
        self.batch.delete(key.clone());
        if let Some(before) = before {
            self.batch.delete(rows::due(before.at, organisation, id));
        }
        let schedule = compiled.and_then(|compiled| compiled.schedule.as_ref());
        let now = self.playbooks.clock.now();
        // A time that has come and was not acted on yet is not lost.
        let from = before.map_or(now, |before| now.min(before.at.saturating_add(-1)));
        let at = schedule.and_then(|schedule| schedule.next_after(from));
        self.due = Some(at);
        if let Some(at) = at {
            let next = encode(&NextDue { at, version });
            self.batch.put(key, next.clone()).put(rows::due(at, organisation, id), next);
        }
        Ok(())
    }

    fn set_watch(&mut self, version: u32, document: Option<&Document>) {
        let key = rows::watch(self.organisation(), self.id);
        match document.map(|document| &document.trigger.on) {
            Some(TriggerOn::Metric { metric, .. }) => {
                self.batch.put(key, encode(&Watch { version, metric: metric.clone() }));
            }
            _ => {
                self.batch.delete(key);
            }
        }
        let key = rows::follower(self.organisation(), self.id);
        match document.map(|document| document.trigger.kind()) {
            Some(TriggerKind::Alert) => self.batch.put(key, encode(&Follower { version })),
            _ => self.batch.delete(key),
        };
    }

    fn audit(&mut self, action: &str) {
        let details = [("id", self.id.to_string()), ("version", self.row.latest.to_string())];
        let scope = AuditScope::Organisation(self.organisation());
        let (access, actor) = (&self.playbooks.access, self.principal.key.as_str());
        access.audit(&mut self.batch, scope, actor, action, &self.row.name, &details);
    }

    /// The playbook as it is once this is committed.
    async fn changed(&self) -> Result<Playbook, PlaybookError> {
        let organisation = self.organisation();
        let added = self.added.clone().filter(|added| added.version == self.row.shown());
        let loaded = match added {
            Some(added) => Ok(added),
            None => self.playbooks.load_shown(organisation, self.id, &self.row).await,
        };
        let mut playbook = self.playbooks.assemble(organisation, self.id, &self.row, loaded).await?;
        if let Some(due) = self.due {
            playbook.next_due = due;
            if matches!(playbook.status, Status::Disabled { .. }) {
                playbook.status = Status::Active;
            }
        }
        Ok(playbook)
    }

    /// Commits the change and gives the playbook as it is then; `None` if somebody else changed it meanwhile.
    pub(super) async fn commit(mut self, action: &str) -> Result<Option<Arc<Playbook>>, PlaybookError> {
        let action = match (self.is_new, action) {
            (true, _) => "playbook.create".to_owned(),
            (false, "publish") => "playbook.replace".to_owned(),
            (false, action) => format!("playbook.{action}"),
        };
        self.row.updated = self.playbooks.clock.now().max(Timestamp::MIN);
        self.batch.put(self.key.clone(), encode(&self.row));
        self.audit(&action);
        // Before the commit: what is committed is told as done, whatever can be read then.
        let playbook = self.changed().await?;
        match self.playbooks.store.commit(std::mem::take(&mut self.batch)).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Conflict => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        self.playbooks.sooner.notify_one();
        let organisation = self.organisation();
        if let Some(added) = self.added {
            self.playbooks.loaded.insert((organisation, self.id, added.version), added);
        }
        self.playbooks.refresh_watches(organisation).await;
        Ok(Some(Arc::new(playbook)))
    }

    /// Commits the removal of the playbook and of everything that belongs to it but its runs.
    pub(super) async fn delete(mut self) -> Result<(), StoreError> {
        let (store, organisation, id) = (&*self.playbooks.store, self.organisation(), self.id);
        let mut versions = Walk::forward(store, rows::versions(organisation, id).prefix());
        while let Some((key, row)) = versions.next().await? {
            if let Some(row) = store.unread().decode::<VersionRow>(&key, &row) {
                row.source.delete(store, &mut self.batch, &key, Part::Shown).await?;
            }
            self.batch.delete(key);
        }
        if let Some((_, source, _)) = &self.row.inherited {
            source.delete(store, &mut self.batch, &self.key, Part::Shown).await?;
        }
        if let Some(webhook) = &self.row.webhook {
            self.batch.delete(rows::webhook(&webhook.digest));
        }
        let next = rows::next(organisation, id);
        if let Some(stored) = store.get(&next).await? {
            if let Some(due) = store.unread().decode::<NextDue>(&next, &stored) {
                self.batch.delete(rows::due(due.at, organisation, id));
            }
            self.batch.require(next.clone(), Precondition::ValueIs(stored)).delete(next);
        }
        self.batch.delete(rows::watch(organisation, id)).delete(rows::follower(organisation, id));
        self.batch.delete(rows::health(organisation, id));
        self.batch.delete(rows::playbook_name(organisation, &self.row.name)).delete(self.key.clone());
        self.audit("playbook.delete");
        // Its versions go, for an entry in the audit log.
        self.batch.frees();
        store.commit(std::mem::take(&mut self.batch)).await?;
        self.playbooks.unstarted.lock().remove(&(organisation, id));
        self.playbooks.trimmed.lock().remove(&(organisation, id));
        self.playbooks.refresh_watches(organisation).await;
        Ok(())
    }
}
