//! Versions of a playbook: drafted, published, rolled back, listed.

use std::sync::Arc;

use bellwether_access::{Principal, Role};
use bellwether_kernel::{Cursor, ErrorKind, FieldError, KeyId, OrganisationId, Page, PageRequest, Timestamp};
use bellwether_store::{Direction, Key, Space, StoreError, Walk, decode};

use super::change::{Change, Course};
use super::{Playbook, Status, require_role};
use crate::history::PAGE;
use crate::rows::{PlaybookRow, VersionRow};
use crate::{Document, Format, PlaybookError, Playbooks, rows};

/// How a document is stored.
struct Saving {
    /// Also as the next version of a playbook that is there.
    replace: bool,
    /// So that it runs.
    publish: bool,
    /// Only while the newest version is this one.
    expected: Option<u32>,
}

/// One version of a playbook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Counted from 1.
    pub version: u32,
    /// In which format it was written.
    pub format: Format,
    /// When it was stored.
    pub created: Timestamp,
    /// With which key.
    pub created_by: KeyId,
    /// When it was last published; absent for a draft.
    pub published: Option<Timestamp>,
    /// Whether it is the one that runs.
    pub current: bool,
}

impl Playbooks {
    /// Stores and publishes a document: a new playbook, or with `replace` the next version of the one of that name, if
    /// there is one. A webhook keeps its token. From here on it runs as `principal`'s key.
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
        self.save(principal, source, format, Saving { replace, publish: true, expected: None }).await
    }

    /// Stores a document as the next version of the playbook of its name, or as the first of a new one, without
    /// publishing it: what runs stays what it was.
    ///
    /// # Errors
    /// As [`Self::store`].
    pub async fn save_draft(
        &self,
        principal: &Principal,
        source: &str,
        format: Format,
    ) -> Result<Arc<Playbook>, PlaybookError> {
        self.save(principal, source, format, Saving { replace: true, publish: false, expected: None }).await
    }

    /// Stores a document as the next version, as [`Self::store`] does with `replace` or, without `publish`,
    /// [`Self::save_draft`]; and only while the newest version there is, published or not, is the `expected` one: 0 for a
    /// playbook that is not there.
    ///
    /// # Errors
    /// As [`Self::store`]; [`PlaybookError::Refused`] if it is another by now.
    pub async fn replace(
        &self,
        principal: &Principal,
        source: &str,
        format: Format,
        publish: bool,
        expected: Option<u32>,
    ) -> Result<Arc<Playbook>, PlaybookError> {
        self.save(principal, source, format, Saving { replace: true, publish, expected }).await
    }

    async fn save(
        &self,
        principal: &Principal,
        source: &str,
        format: Format,
        Saving { replace, publish, expected }: Saving,
    ) -> Result<Arc<Playbook>, PlaybookError> {
        require_role(principal, Role::Admin, "store a playbook")?;
        let organisation = principal.organisation;
        let compiled = self.check(organisation, source, format).await?;
        let document = &compiled.document;
        loop {
            let id = self.named(organisation, &document.name).await?;
            if id.is_some() && !replace {
                return Err(PlaybookError::Exists(document.name.clone()));
            }
            let mut change = match id {
                Some(id) => match Change::of(self, principal, id).await? {
                    Some(change) => change,
                    None => continue,
                },
                None => Change::new(self, principal, document).await?,
            };
            let latest = change.row.latest;
            if expected.is_some_and(|expected| expected != latest) {
                let name = &document.name;
                return Err(PlaybookError::Refused(match latest {
                    0 => format!("there is no playbook {name:?}: version 0 is the one to expect"),
                    _ => {
                        format!("the newest version of the playbook {name:?} is {latest} now: read it again")
                    }
                }));
            }
            change.add_version(source, format).await?;
            if publish {
                let version = change.row.latest;
                change.publish(version, &compiled, Course::On).await?;
            }
            if let Some(playbook) = change.commit(if publish { "publish" } else { "draft" }).await? {
                return Ok(playbook);
            }
        }
    }

    /// Publishes a version: it runs from here on, as `principal`'s key. It is held against the apps and playbooks
    /// there are now. A playbook that was disabled is enabled.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] for a playbook or version that is not there; otherwise as [`Self::store`].
    pub async fn publish(
        &self,
        principal: &Principal,
        name_or_id: &str,
        version: u32,
    ) -> Result<Arc<Playbook>, PlaybookError> {
        self.publish_as(principal, name_or_id, Some(version), Course::On).await
    }

    /// Publishes the version that runs once more: from here on as `principal`'s key. Drafts stay drafts.
    ///
    /// # Errors
    /// [`PlaybookError::Refused`] for one that was never published; otherwise as [`Self::publish`].
    pub async fn publish_again(
        &self,
        principal: &Principal,
        name_or_id: &str,
    ) -> Result<Arc<Playbook>, PlaybookError> {
        self.publish_as(principal, name_or_id, None, Course::On).await
    }

    /// Publishes again what ran before the present version, or `version`. A version that is rolled back from is none that
    /// ran before: rolling back again goes further back.
    ///
    /// # Errors
    /// [`PlaybookError::Refused`] if no version ran before that is still kept; otherwise as [`Self::publish`].
    pub async fn roll_back(
        &self,
        principal: &Principal,
        name_or_id: &str,
        version: Option<u32>,
    ) -> Result<Arc<Playbook>, PlaybookError> {
        self.publish_as(principal, name_or_id, version, Course::Back).await
    }

    /// Publishes `version` or, where none is given, the one that runs, or ran before that.
    async fn publish_as(
        &self,
        principal: &Principal,
        name_or_id: &str,
        given: Option<u32>,
        course: Course,
    ) -> Result<Arc<Playbook>, PlaybookError> {
        require_role(principal, Role::Admin, "publish a playbook")?;
        let action = match course {
            Course::On => "publish",
            Course::Back => "roll_back",
        };
        let organisation = principal.organisation;
        loop {
            let (id, _) = self.find(organisation, name_or_id).await?;
            let Some(mut change) = Change::of(self, principal, id).await? else { continue };
            let row = &change.row;
            let version = match (given, course) {
                (Some(version), _) => version,
                (None, Course::On) => present(row)?,
                (None, Course::Back) => earlier(row)?,
            };
            let (source, format) = self
                .source(organisation, id, version)
                .await?
                .ok_or_else(|| unknown_version(&row.name, version))?;
            let compiled = self.check(organisation, &source, format).await?;
            let document = &compiled.document;
            if document.name != row.name {
                let expected = format!("{:?}, the playbook's own", row.name);
                return Err(FieldError::new("name", &document.name, expected).into());
            }
            change.publish(version, &compiled, course).await?;
            if let Some(playbook) = change.commit(action).await? {
                return Ok(playbook);
            }
        }
    }

    /// Starts a playbook's trigger again that was disabled because runs failed.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] if there is none, [`PlaybookError::Forbidden`] unless the principal is an admin,
    /// [`PlaybookError::Blocked`] if the key it runs as works no more: it has to be published again.
    pub async fn enable(
        &self,
        principal: &Principal,
        name_or_id: &str,
    ) -> Result<Arc<Playbook>, PlaybookError> {
        require_role(principal, Role::Admin, "enable a playbook")?;
        let organisation = principal.organisation;
        loop {
            let (id, _) = self.find(organisation, name_or_id).await?;
            let Some(mut change) = Change::of(self, principal, id).await? else { continue };
            if let Status::Blocked { reason } = self.status(organisation, id, &change.row).await? {
                return Err(PlaybookError::Blocked { name: change.row.name, reason });
            }
            change.enable().await?;
            if let Some(playbook) = change.commit("enable").await? {
                return Ok(playbook);
            }
        }
    }

    /// Deletes a playbook with all its versions, also one of which nothing reads any more; its runs stay, those at work are
    /// cancelled. With `force` also one that is a step of published playbooks: that step fails then, and says why.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] if there is none, [`PlaybookError::Forbidden`] unless the principal is an admin,
    /// [`PlaybookError::IsStep`] without `force`.
    pub async fn delete(
        &self,
        principal: &Principal,
        name_or_id: &str,
        force: bool,
    ) -> Result<Arc<Playbook>, PlaybookError> {
        require_role(principal, Role::Admin, "delete a playbook")?;
        let organisation = principal.organisation;
        loop {
            let (playbook, change) = match self.get(organisation, name_or_id).await {
                Err(PlaybookError::Store(damage @ StoreError::Damaged(_))) => {
                    self.damaged(principal, name_or_id, damage).await?
                }
                playbook => {
                    let playbook = playbook?;
                    let Some(change) = Change::of(self, principal, playbook.id).await? else { continue };
                    (playbook, change)
                }
            };
            let name = &playbook.name;
            let of = if force { Vec::new() } else { self.has_as_step(organisation, name).await? };
            if !of.is_empty() {
                return Err(PlaybookError::IsStep { name: name.clone(), of });
            }
            match change.delete().await {
                Ok(()) => {
                    // Only now, as no more of them can begin.
                    if let Err(error) = self.cancel_all(organisation, playbook.id).await {
                        let id = playbook.id;
                        tracing::warn!(%organisation, playbook = %id, %error, "not all runs of a deleted playbook are cancelled; the next sweep cancels them");
                    }
                    return Ok(playbook);
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A playbook whose own row does not read, as far as it is known, and the change that deletes it.
    async fn damaged<'a>(
        &'a self,
        principal: &'a Principal,
        name_or_id: &str,
        damage: StoreError,
    ) -> Result<(Arc<Playbook>, Change<'a>), PlaybookError> {
        let organisation = principal.organisation;
        let id = match self.id_of(organisation, name_or_id).await {
            Err(PlaybookError::Store(StoreError::Damaged(_))) => {
                return Err(PlaybookError::Refused(format!(
                    "which playbook is called {name_or_id:?} does not read any more: name it by its id"
                )));
            }
            id => id?,
        };
        let unknown = || PlaybookError::Unknown { what: "playbook", name: name_or_id.to_owned() };
        let change = Change::of_damaged(self, principal, id).await?.ok_or_else(unknown)?;
        let playbook = self.assemble(organisation, id, &change.row, Err(damage.into())).await?;
        Ok((Arc::new(playbook), change))
    }

    /// The highest number that a playbook of an organisation has or had, as far as rows tell. Under that of one that is deleted
    /// its runs and claims are kept for a while; one that left nothing may have its number given again, which the audit log alone
    /// still names.
    pub(super) async fn last_number(&self, organisation: OrganisationId) -> Result<u64, StoreError> {
        let mut last = 0;
        for space in [Space::Playbook, Space::PlaybookVersion, Space::Run, Space::Firing] {
            let rows_of = Key::new(space).number(organisation.0).prefix();
            let mut rows_of = Walk::backward(&*self.store, rows_of).at_once(1);
            let found = rows_of.next_read(|key, _| rows::organisation_and_playbook(key)).await?;
            last = found.map_or(last, |(.., (_, id))| last.max(id.0));
        }
        Ok(last)
    }

    /// The versions of a playbook, newest first.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] if there is no such playbook, [`PlaybookError::Invalid`] for a cursor that is not
    /// of this list.
    pub async fn versions(
        &self,
        organisation: OrganisationId,
        name_or_id: &str,
        page: &PageRequest,
    ) -> Result<Page<Version>, PlaybookError> {
        let (id, playbook) = self.find(organisation, name_or_id).await?;
        let prefix = rows::versions(organisation, id);
        let mut range = prefix.prefix();
        if let Some(cursor) = &page.cursor {
            if cursor.0.len() != 8 {
                return Err(FieldError::wrong_cursor(cursor).into());
            }
            range.end = prefix.fixed(&cursor.0);
        }
        let limit = page.limit.clamp(1, PAGE);
        let mut items: Vec<Version> = Vec::new();
        for (key, row) in self.store.scan(range, Direction::Backward, limit + 1).await? {
            let number = version_of(&key)?;
            if items.len() == limit {
                let after = u64::from(number) + 1;
                return Ok(Page { items, next: Some(Cursor(after.to_be_bytes().to_vec())) });
            }
            items.push(described(number, &decode(&row)?, &playbook));
        }
        // What an earlier host kept in the playbook's own row is the oldest there is.
        if let Some((number, _, format)) = &playbook.inherited {
            let row = VersionRow {
                source: rows::Payload::Inline(bytes::Bytes::new()),
                format: *format,
                created: playbook.created,
                created_by: playbook
                    .publications
                    .first()
                    .map_or(&playbook.runs_as, |first| &first.by)
                    .clone(),
            };
            if items.last().is_none_or(|last| last.version > *number) {
                items.push(described(*number, &row, &playbook));
            }
        }
        Ok(Page { items, next: None })
    }

    /// One version of a playbook: what it says, and as it was written.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] if there is no such playbook or version.
    pub async fn version(
        &self,
        organisation: OrganisationId,
        name_or_id: &str,
        version: u32,
    ) -> Result<(Document, String, Format), PlaybookError> {
        let (id, row) = self.find(organisation, name_or_id).await?;
        // What is loaded may be of a version that is kept no more.
        let loaded = match self.source(organisation, id, version).await? {
            Some(_) => self.load(organisation, id, version).await?,
            None => None,
        };
        let loaded = loaded.ok_or_else(|| unknown_version(&row.name, version))?;
        Ok((loaded.compiled.document.clone(), loaded.source.clone(), loaded.format))
    }
}

/// The version that runs.
fn present(row: &PlaybookRow) -> Result<u32, PlaybookError> {
    row.published.ok_or_else(|| {
        PlaybookError::Refused(format!("the playbook {:?} has no published version: say which", row.name))
    })
}

/// The version a roll back leads to.
fn earlier(row: &PlaybookRow) -> Result<u32, PlaybookError> {
    let before = row.past.last().copied();
    before.ok_or_else(|| {
        PlaybookError::Refused(format!("no version of the playbook {:?} ran before this one", row.name))
    })
}

fn unknown_version(name: &str, version: u32) -> PlaybookError {
    PlaybookError::Unknown { what: "version", name: format!("{version} of {name}") }
}

fn described(version: u32, row: &VersionRow, playbook: &PlaybookRow) -> Version {
    let published = playbook.publications.iter().rev().find(|publication| publication.version == version);
    Version {
        version,
        format: row.format,
        created: row.created,
        created_by: row.created_by.clone(),
        published: published.map(|publication| publication.at),
        current: playbook.published == Some(version),
    }
}

/// Reads the version at the end of its key.
pub(super) fn version_of(key: &Key) -> Result<u32, StoreError> {
    let mut fields = key.fields();
    let number = fields.number().and_then(|_| fields.number()).and_then(|_| fields.number());
    let number = number.and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| StoreError::Damaged(format!("{key:?} names no version")))
}
