//! Playbooks as they are found and read.

use std::sync::Arc;

use bellwether_kernel::{Cursor, FieldError, OrganisationId, Page, PageRequest, PlaybookId};
use bellwether_store::{MAX_KEY, StoreError, Walk, blocking, decode};

use super::{Loaded, Playbook, Status};
use crate::compile::Compiled;
use crate::engine::{WHY_BYTES, shortened};
use crate::history::PAGE;
use crate::rows::{Health, NextDue, Part, Payload, PlaybookRef, PlaybookRow, VersionRow};
use crate::{Format, PlaybookError, Playbooks, TriggerKind, rows};

/// Bytes of a document that is compiled between other tasks: a few steps, about a millisecond.
const SHORT: usize = 8 * 1024;

impl Playbooks {
    /// One playbook, by name or id.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] if there is none.
    pub async fn get(
        &self,
        organisation: OrganisationId,
        name_or_id: &str,
    ) -> Result<Arc<Playbook>, PlaybookError> {
        let (id, row) = self.find(organisation, name_or_id).await?;
        let loaded = self.load_shown(organisation, id, &row).await;
        Ok(Arc::new(self.assemble(organisation, id, &row, loaded).await?))
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
                return Err(FieldError::wrong_cursor(cursor).into());
            }
            range.start = prefix.fixed(&cursor.0);
        }
        let limit = page.limit.clamp(1, PAGE);
        let mut items = Vec::new();
        let mut playbooks = Walk::forward(&*self.store, range).at_once(limit + 1);
        while let Some((.., ((_, id), row))) = playbooks.next_read(rows::of_playbook::<PlaybookRow>).await? {
            if items.len() == limit {
                return Ok(Page { items, next: Some(Cursor(id.0.to_be_bytes().to_vec())) });
            }
            let loaded = self.load_shown(organisation, id, &row).await;
            items.push(Arc::new(self.assemble(organisation, id, &row, loaded).await?));
        }
        Ok(Page { items, next: None })
    }

    /// The id of the playbook of that name or id; of an id, whether or not there is one.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] if there is none of that name.
    pub async fn id_of(
        &self,
        organisation: OrganisationId,
        name_or_id: &str,
    ) -> Result<PlaybookId, PlaybookError> {
        // A name is never digits alone, so neither can stand for the other.
        if let Ok(id) = name_or_id.parse() {
            return Ok(id);
        }
        let unknown = || PlaybookError::Unknown { what: "playbook", name: name_or_id.to_owned() };
        self.named(organisation, name_or_id).await?.ok_or_else(unknown)
    }

    /// The row of the playbook of that name or id.
    pub(crate) async fn find(
        &self,
        organisation: OrganisationId,
        name_or_id: &str,
    ) -> Result<(PlaybookId, PlaybookRow), PlaybookError> {
        let id = self.id_of(organisation, name_or_id).await?;
        let unknown = || PlaybookError::Unknown { what: "playbook", name: name_or_id.to_owned() };
        let row = self.store.get(&rows::playbook(organisation, id)).await?.ok_or_else(unknown)?;
        Ok((id, decode(&row)?))
    }

    /// What a playbook is called, also one whose own row does not read, as far as that is known.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] if there is none.
    pub async fn name(
        &self,
        organisation: OrganisationId,
        name_or_id: &str,
    ) -> Result<String, PlaybookError> {
        match self.find(organisation, name_or_id).await {
            Err(PlaybookError::Store(StoreError::Damaged(_))) => match name_or_id.parse() {
                Ok(id) => Ok(self.name_that_leads_to(organisation, id).await?.unwrap_or_default()),
                Err(_) => Ok(name_or_id.to_owned()),
            },
            found => found.map(|(_, row)| row.name),
        }
    }

    /// The name under which a playbook is found, where its own row does not say it.
    pub(super) async fn name_that_leads_to(
        &self,
        organisation: OrganisationId,
        id: PlaybookId,
    ) -> Result<Option<String>, StoreError> {
        let mut names = Walk::forward(&*self.store, rows::playbook_names(organisation).prefix());
        while let Some((key, _, of)) = names.next_of::<PlaybookRef>().await? {
            if of.playbook == id {
                return rows::name_of_playbook(&key).map(Some);
            }
        }
        Ok(None)
    }

    pub(crate) async fn named(
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

    /// The published version of a playbook, if it has one.
    pub(crate) async fn load_published(
        &self,
        organisation: OrganisationId,
        id: PlaybookId,
    ) -> Result<Option<Arc<Loaded>>, PlaybookError> {
        let Some(row) = self.store.get(&rows::playbook(organisation, id)).await? else { return Ok(None) };
        self.published(organisation, id, &decode(&row)?).await
    }

    /// The published version of the playbook whose row this is, if it has one.
    pub(crate) async fn published(
        &self,
        organisation: OrganisationId,
        id: PlaybookId,
        row: &PlaybookRow,
    ) -> Result<Option<Arc<Loaded>>, PlaybookError> {
        match row.published {
            Some(version) => self.load(organisation, id, version).await,
            None => Ok(None),
        }
    }

    /// One version of a playbook, ready to run; `None` if it is not kept any more.
    pub(crate) async fn load(
        &self,
        organisation: OrganisationId,
        id: PlaybookId,
        version: u32,
    ) -> Result<Option<Arc<Loaded>>, PlaybookError> {
        if let Some(loaded) = self.loaded.get(&(organisation, id, version)) {
            return Ok(Some(loaded));
        }
        let Some((source, format)) = self.source(organisation, id, version).await? else { return Ok(None) };
        let read = compiled(source.len(), move || Loaded::read(id, version, source, format)).await?;
        let loaded = Arc::new(read.map_err(|error| {
            let what = format!("version {version} of playbook {id} of organisation {organisation}: {error}");
            StoreError::Damaged(what)
        })?);
        self.loaded.insert((organisation, id, version), Arc::clone(&loaded));
        Ok(Some(loaded))
    }

    /// Whether runs of a playbook may have been within others, as far as its versions tell: what is a step of another is given
    /// inputs.
    pub(crate) async fn may_run_within(
        &self,
        organisation: OrganisationId,
        id: PlaybookId,
    ) -> Result<bool, PlaybookError> {
        let key = rows::playbook(organisation, id);
        let row = self.store.get(&key).await?;
        let row: Option<PlaybookRow> = row.and_then(|row| self.store.unread().decode(&key, &row));
        // Of one that was deleted nothing tells, and of versions that are kept no more neither: those are the oldest.
        let Some(row) = row else { return Ok(true) };
        for version in 1..=row.latest {
            let loaded = unless_damaged(self.load(organisation, id, version).await)?;
            if loaded.is_none_or(|loaded| loaded.compiled.document.trigger.inputs().is_some()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A version as it was written.
    pub(super) async fn source(
        &self,
        organisation: OrganisationId,
        id: PlaybookId,
        version: u32,
    ) -> Result<Option<(String, Format)>, PlaybookError> {
        let key = rows::version(organisation, id, version);
        let (key, source, format) = match self.store.get(&key).await? {
            Some(row) => {
                let row: VersionRow = decode(&row)?;
                (key, row.source, row.format)
            }
            None => match self.inherited(organisation, id, version).await? {
                Some((source, format)) => (rows::playbook(organisation, id), source, format),
                None => return Ok(None),
            },
        };
        let Some(bytes) = source.read(&*self.store, &key, Part::Shown).await? else { return Ok(None) };
        let source = String::from_utf8(bytes.into())
            .map_err(|error| StoreError::Damaged(format!("the source under {key:?}: {error}")))?;
        Ok(Some((source, format)))
    }

    /// The version a host of an earlier version kept within the playbook's own row.
    async fn inherited(
        &self,
        organisation: OrganisationId,
        id: PlaybookId,
        version: u32,
    ) -> Result<Option<(Payload, Format)>, PlaybookError> {
        let Some(row) = self.store.get(&rows::playbook(organisation, id)).await? else { return Ok(None) };
        let inherited = decode::<PlaybookRow>(&row)?.inherited.filter(|(kept, ..)| *kept == version);
        Ok(inherited.map(|(_, source, format)| (source, format)))
    }

    /// The version of a playbook that is shown.
    pub(super) async fn load_shown(
        &self,
        organisation: OrganisationId,
        id: PlaybookId,
        row: &PlaybookRow,
    ) -> Result<Arc<Loaded>, PlaybookError> {
        let version = row.shown();
        let gone = || format!("version {version} of playbook {id} of organisation {organisation} is gone");
        let loaded = self.load(organisation, id, version).await?;
        Ok(loaded.ok_or_else(|| StoreError::Damaged(gone()))?)
    }

    /// A playbook whose row this is, and the version that is shown of it, which need not read.
    pub(super) async fn assemble(
        &self,
        organisation: OrganisationId,
        id: PlaybookId,
        row: &PlaybookRow,
        loaded: Result<Arc<Loaded>, PlaybookError>,
    ) -> Result<Playbook, PlaybookError> {
        let version = row.shown();
        let (document, source, format, problem) = match loaded {
            Ok(loaded) => {
                let problem = self.problem(organisation, &loaded).await;
                (Some(loaded.compiled.document.clone()), loaded.source.clone(), loaded.format, problem)
            }
            Err(PlaybookError::Store(damage @ StoreError::Damaged(_))) => {
                let source = unless_damaged(self.source(organisation, id, version).await)?;
                let (source, format) = source.unwrap_or((String::new(), Format::Toml));
                let why = shortened(damage.to_string(), WHY_BYTES);
                (None, source, format, Some(format!("it is not started: {why}; store its next version")))
            }
            Err(error) => return Err(error),
        };
        let kind = document.as_ref().map(|document| document.trigger.kind());
        let unread = self.store.unread();
        let webhook_token = match &row.webhook {
            Some(webhook) if kind == Some(TriggerKind::Webhook) => {
                let token = self.access.unseal(&webhook_purpose(organisation, id), &webhook.token);
                let token = token.ok().and_then(|token| String::from_utf8(token).ok());
                if token.is_none() {
                    // It is called by its address all the same, which nobody can be shown.
                    unread.tell(&rows::playbook(organisation, id), "the token of its webhook does not open");
                }
                token
            }
            _ => None,
        };
        let status = self.status(organisation, id, row).await?;
        // The times of one whose key works no more pass, and start nothing.
        let next_due = match status {
            Status::Blocked { .. } => None,
            _ => {
                let key = rows::next(organisation, id);
                let next = self.store.get(&key).await?;
                next.and_then(|row| unread.decode::<NextDue>(&key, &row)).map(|next| next.at)
            }
        };
        Ok(Playbook {
            id,
            name: row.name.clone(),
            version,
            published: row.published,
            latest: row.latest,
            status,
            problem,
            next_due,
            document,
            source,
            format,
            webhook_token,
            created: row.created,
            updated: row.updated,
            runs_as: row.runs_as.clone(),
        })
    }

    /// Whether a playbook's trigger starts it.
    pub(crate) async fn status(
        &self,
        organisation: OrganisationId,
        id: PlaybookId,
        row: &PlaybookRow,
    ) -> Result<Status, PlaybookError> {
        if row.published.is_none() {
            return Ok(Status::Draft);
        }
        if let Err(reason) = self.principal(organisation, &row.runs_as) {
            return Ok(Status::Blocked { reason });
        }
        let key = rows::health(organisation, id);
        let health = match self.store.get(&key).await? {
            Some(stored) => self.store.unread().decode(&key, &stored).unwrap_or_else(|| {
                let why = "how its runs have fared does not read: enable it to begin anew".to_owned();
                Health { disabled: Some((row.updated, why)), ..Health::default() }
            }),
            None => Health::default(),
        };
        Ok(match health.disabled {
            Some((since, reason)) => Status::Disabled { since, reason },
            None => Status::Active,
        })
    }
}

impl Loaded {
    /// A version as it was written, ready to run; it was checked when it was stored.
    pub(crate) fn read(
        id: PlaybookId,
        version: u32,
        source: String,
        format: Format,
    ) -> Result<Self, PlaybookError> {
        let compiled = Compiled::read(&source, format, usize::MAX, None)?;
        Ok(Self { id, version, source, format, compiled })
    }
}

/// Compiles a document of so many bytes: at once, where it is short, and otherwise apart, for it takes milliseconds and other
/// tasks do not wait for it.
pub(super) async fn compiled<T: Send + 'static>(
    bytes: usize,
    compile: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PlaybookError> {
    if bytes <= SHORT {
        return Ok(compile());
    }
    Ok(blocking("compiling a playbook", move || Ok(compile())).await?)
}

/// What was read; nothing where it is damaged, which runs nothing and keeps to nothing.
pub(crate) fn unless_damaged<T>(read: Result<Option<T>, PlaybookError>) -> Result<Option<T>, PlaybookError> {
    match read {
        Err(PlaybookError::Store(StoreError::Damaged(_))) => Ok(None),
        read => read,
    }
}

/// What a webhook's sealed token is bound to.
pub(super) fn webhook_purpose(organisation: OrganisationId, id: PlaybookId) -> String {
    format!("webhook:{organisation}:{id}")
}
