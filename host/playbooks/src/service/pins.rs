//! Who keeps to an app, so that nobody removes it under a run or a published playbook; who has a playbook as
//! a step, who names a secret, and who runs as a key.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bellwether_kernel::{FieldError, KeyId, OrganisationId};
use bellwether_store::Walk;

use super::find::unless_damaged;
use crate::app::{Pin, PinnedBy, Pins};
use crate::compile::{self, Action, Compiled};
use crate::engine::pinned;
use crate::rows::{OpenRun, PlaybookRow, RunRow};
use crate::{AppDescription, PlaybookError, Playbooks, rows};

#[async_trait]
impl Pins for Playbooks {
    async fn pins(&self, organisation: OrganisationId, app: &str) -> Result<Vec<Pin>, PlaybookError> {
        let mut pins = Vec::new();
        let look_at = |compiled: &Compiled| {
            let by = || PinnedBy::Playbook(compiled.document.name.clone());
            let versions = called(compiled, app).into_iter();
            pins.extend(versions.map(|version| Pin { version: version.map(str::to_owned), by: by() }));
        };
        self.each_published(organisation, look_at).await?;
        self.pins_of_runs(organisation, app, &mut pins).await?;
        Ok(pins)
    }

    async fn misfits(
        &self,
        organisation: OrganisationId,
        app: &str,
        description: &AppDescription,
    ) -> Result<Vec<(String, FieldError)>, PlaybookError> {
        let mut misfits = Vec::new();
        let look_at = |compiled: &Compiled| {
            if let Err(fault) = compiled.check_app(app, description) {
                misfits.push((compiled.document.name.clone(), fault.error));
            }
        };
        self.each_published(organisation, look_at).await?;
        Ok(misfits)
    }
}

impl Playbooks {
    /// The names of the published playbooks that have the one of that name as a step, but itself.
    pub(super) async fn has_as_step(
        &self,
        organisation: OrganisationId,
        name: &str,
    ) -> Result<Vec<String>, PlaybookError> {
        let mut having = Vec::new();
        let look_at = |compiled: &Compiled| {
            let document = &compiled.document;
            if document.name != name && compile::called(document).iter().any(|called| called == name) {
                having.push(document.name.clone());
            }
        };
        self.each_published(organisation, look_at).await?;
        Ok(having)
    }

    /// The names of the playbooks that name a secret: in the version that is published, or in the newest draft, which
    /// could not be published without it.
    ///
    /// # Errors
    /// The store's.
    pub async fn naming_secret(
        &self,
        organisation: OrganisationId,
        secret: &str,
    ) -> Result<Vec<String>, PlaybookError> {
        let mut naming = Vec::new();
        let mut playbooks = Walk::forward(&*self.store, rows::playbooks(organisation).prefix());
        while let Some((.., ((_, id), row))) = playbooks.next_read(rows::of_playbook::<PlaybookRow>).await? {
            for version in BTreeSet::from([row.shown(), row.latest]) {
                let loaded = unless_damaged(self.load(organisation, id, version).await)?;
                let Some(loaded) = loaded else { continue };
                if loaded.compiled.secret_places().iter().any(|(_, name)| *name == secret) {
                    naming.push(row.name.clone());
                    break;
                }
            }
        }
        Ok(naming)
    }

    /// The names of the published playbooks that run as a key, which would not be started without it. As one that does not
    /// work already none is started.
    ///
    /// # Errors
    /// The store's.
    pub async fn published_by(
        &self,
        organisation: OrganisationId,
        key: &KeyId,
    ) -> Result<Vec<String>, PlaybookError> {
        let mut published = Vec::new();
        if self.principal(organisation, key).is_err() {
            return Ok(published);
        }
        let mut playbooks = Walk::forward(&*self.store, rows::playbooks(organisation).prefix());
        while let Some((.., (_, row))) = playbooks.next_read(rows::of_playbook::<PlaybookRow>).await? {
            if row.published.is_some() && row.runs_as == *key {
                published.push(row.name);
            }
        }
        Ok(published)
    }

    /// Looks at the published version of every playbook that has one.
    async fn each_published(
        &self,
        organisation: OrganisationId,
        mut look_at: impl FnMut(&Compiled) + Send,
    ) -> Result<(), PlaybookError> {
        let mut playbooks = Walk::forward(&*self.store, rows::playbooks(organisation).prefix());
        while let Some((.., ((_, id), row))) = playbooks.next_read(rows::of_playbook::<PlaybookRow>).await? {
            let loaded = self.published(organisation, id, &row).await;
            if let Some(loaded) = unless_damaged(loaded)? {
                look_at(&loaded.compiled);
            }
        }
        Ok(())
    }

    async fn pins_of_runs(
        &self,
        organisation: OrganisationId,
        app: &str,
        pins: &mut Vec<Pin>,
    ) -> Result<(), PlaybookError> {
        let mut open_runs = Walk::forward(&*self.store, rows::open_runs(organisation).prefix());
        while let Some((.., ((_, run), open))) = open_runs.next_read(rows::of_run::<OpenRun>).await? {
            // One that ended meanwhile keeps to nothing, and one that does not read goes on no more.
            let key = rows::run(organisation, open.playbook, run);
            let row = self.store.get(&key).await?;
            let row: Option<RunRow> = row.and_then(|row| self.store.unread().decode(&key, &row));
            let Some(row) = row else { continue };
            let mut versions: Vec<String> = pinned(&row.pins, app).map(str::to_owned).into_iter().collect();
            let loaded = self.load(organisation, open.playbook, row.playbook_version).await;
            if let Some(loaded) = unless_damaged(loaded)? {
                versions.extend(called(&loaded.compiled, app).into_iter().flatten().map(str::to_owned));
            }
            let by = || PinnedBy::Run(run);
            pins.extend(versions.into_iter().map(|version| Pin { version: Some(version), by: by() }));
        }
        Ok(())
    }
}

/// The versions of an app that a playbook calls, each once: `None` for whichever is current.
fn called<'a>(compiled: &'a Compiled, app: &str) -> BTreeSet<Option<&'a str>> {
    let versions = compiled.steps.iter().filter_map(|step| match &step.action {
        Action::App(name, version) if name == app => Some(version.as_deref()),
        _ => None,
    });
    versions.collect()
}
