//! The versions of a plugin: going back to one, removing one or all, and how many are kept.

use std::sync::Arc;

use bellwether_kernel::{Cursor, FieldError, OrganisationId, Page, PageRequest};
use bellwether_playbooks::{Pin, PinnedBy};
use bellwether_store::{Batch, Digest};
use serde::Serialize;

use super::{Entry, Plugins, Release, Told, audit_scope};
use crate::row::{CanaryEnd, CanaryOutcome, Installed, Owner};
use crate::{PluginError, limits, state};

/// Organisations asked at once for what they pin.
const ORGANISATIONS: usize = 100;

/// A version of a plugin that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptVersion {
    /// The version.
    pub installed: Arc<Installed>,
    /// Whether it is called.
    pub state: VersionState,
    /// Whether it is loaded at present.
    pub loaded: bool,
}

/// Whether a version is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionState {
    /// By everybody.
    Current,
    /// By a share of the callers.
    Canary,
    /// Only by those that keep to it.
    Kept,
}

impl Plugins {
    /// Whether this component is a version of one of an owner's plugins, the current one or another.
    #[must_use]
    pub fn keeps(&self, owner: Owner, digest: &Digest) -> bool {
        let table = self.table();
        let mut releases =
            table.0.get(&owner).into_iter().flatten().flat_map(|(_, entry)| entry.releases.values());
        releases.any(|release| release.installed().digest == *digest)
    }

    /// Whether a plugin of the host's of that name was removed, and none has been installed since.
    ///
    /// # Errors
    /// The store's.
    pub async fn was_removed(&self, name: &str) -> Result<bool, PluginError> {
        let Some(row) = Owner::Host.removed_row(name) else { return Ok(false) };
        Ok(self.shared.services.store.get(&row).await?.is_some())
    }

    /// The versions of a plugin that are kept, newest first.
    ///
    /// # Errors
    /// If there is no such plugin, or the cursor is not of this list.
    pub fn versions(
        &self,
        owner: Owner,
        name: &str,
        page: &PageRequest,
    ) -> Result<Page<KeptVersion>, PluginError> {
        let entry = self.known(owner, name)?;
        let all = entry.newest_first();
        let from = match &page.cursor {
            None => 0,
            Some(cursor) => {
                let at = all.iter().position(|release| release.installed().version.as_bytes() == cursor.0);
                let unknown = || FieldError::new("cursor", cursor, "`next` of the previous page, unchanged");
                at.ok_or_else(unknown)? + 1
            }
        };
        let mut rest = all[from..].iter();
        let items: Vec<_> =
            rest.by_ref().take(page.limit.max(1)).map(|release| entry.kept(release)).collect();
        let next =
            rest.next().and(items.last()).map(|last| Cursor(last.installed.version.clone().into_bytes()));
        Ok(Page { items, next })
    }

    /// Makes an earlier version the current one: the one given, or the newest that was installed before the current
    /// one. It is loaded before anybody is sent to it. A canary ends.
    ///
    /// # Errors
    /// If there is no such plugin or version, no earlier one, or it does not load.
    pub async fn roll_back(
        &self,
        owner: Owner,
        actor: &str,
        name: &str,
        version: Option<&str>,
    ) -> Result<Arc<Installed>, PluginError> {
        let _change = self.changes.lock().await;
        let before = self.known(owner, name)?;
        let release = match version {
            Some(version) => before.release(version)?,
            None => before.earlier().ok_or_else(|| PluginError::NothingBefore(name.to_owned()))?,
        };
        release.served().await?;
        let version = release.installed().version.clone();
        if version == before.row.current {
            let expected = "another version than the current one";
            return Err(FieldError::new("version", version, expected).into());
        }
        let details = vec![("version", version.clone()), ("before", before.row.current.clone())];
        let at = self.shared.services.clock.now();
        let mut after = before.with_row(|row| {
            row.current.clone_from(&version);
            if let Some(canary) = row.canary.take() {
                let (version, how) = (canary.version, CanaryOutcome::Aborted);
                row.ended = Some(CanaryEnd { version, at, how, reason: None });
            }
        });
        after.trial = None;
        let after =
            self.commit(Some(&before), after, Told { actor, action: "plugin.roll-back", details }).await?;
        Ok(after.shown(after.current()))
    }

    /// Removes a plugin, all its versions, all state it kept and all that was set of it. Calls in flight finish. Of the
    /// host's own it is kept that they were removed.
    ///
    /// # Errors
    /// If there is no such plugin; [`PluginError::Pinned`] while a published playbook calls it or an open run keeps to a
    /// version of it.
    pub async fn remove(&self, owner: Owner, actor: &str, name: &str) -> Result<(), PluginError> {
        self.remove_all(owner, actor, name, false).await
    }

    /// As [`Self::remove`]; with `force` whoever keeps to it. Their next step fails and says why.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub async fn remove_all(
        &self,
        owner: Owner,
        actor: &str,
        name: &str,
        force: bool,
    ) -> Result<(), PluginError> {
        let _change = self.changes.lock().await;
        let before = self.known(owner, name)?;
        if !force {
            // Who names no version of an organisation's own gets the host's of the same name.
            let goes_on = owner != Owner::Host && self.find(Owner::Host, name).is_some();
            let concerns = |version: Option<&str>| {
                version.map_or(!goes_on, |version| before.releases.contains_key(version))
            };
            self.check_pins(&before, concerns).await?;
        }
        let mut batch = Batch::new();
        batch.delete(owner.row(name));
        for version in before.releases.keys() {
            self.delete_version(&mut batch, owner, name, version).await?;
        }
        if let Some(removed) = owner.removed_row(name) {
            batch.put(removed, Vec::new());
        }
        let versions: Vec<&str> = before.releases.keys().map(String::as_str).collect();
        let details = [("version", before.row.current.clone()), ("versions", versions.join(" "))];
        let services = &self.shared.services;
        services.access.audit(&mut batch, audit_scope(owner), actor, "plugin.remove", name, &details);
        // Its versions' rows and components go, and its state.
        batch.frees();
        services.store.commit(batch).await?;
        self.change_table(|table| table.remove(owner, name));
        for release in before.releases.values() {
            self.forget(&release.installed()).await;
        }
        if owner == Owner::Host {
            self.shared.settings.clear(&services.store, name).await?;
        }
        state::clear(services, owner, name).await
    }

    /// Removes one version that is neither the current one nor the canary; with `force` whoever keeps to it.
    ///
    /// # Errors
    /// If there is no such plugin or version, if it is called; [`PluginError::Pinned`] as [`Self::remove`].
    pub async fn remove_version(
        &self,
        owner: Owner,
        actor: &str,
        name: &str,
        version: &str,
        force: bool,
    ) -> Result<(), PluginError> {
        let _change = self.changes.lock().await;
        let before = self.known(owner, name)?;
        before.release(version)?;
        let in_use = |what| {
            let (name, version) = (name.to_owned(), version.to_owned());
            Err(PluginError::InUse { name, version, what })
        };
        if version == before.row.current {
            return in_use("the current one: roll back or install another first, or remove the whole plugin");
        }
        if before.row.canary.as_ref().is_some_and(|canary| canary.version == version) {
            return in_use("its canary: promote or abort it first");
        }
        if !force {
            self.check_pins(&before, |pinned| pinned == Some(version)).await?;
        }
        let mut after = before.with_row(|_| {});
        after.releases.remove(version);
        let details = vec![("version", version.to_owned())];
        let told = Told { actor, action: "plugin.remove-version", details };
        self.commit(Some(&before), after, told).await.map(drop)
    }

    /// Unloads versions that only those call who keep to them, once nobody does; to be called every minute.
    pub fn rest(&self) {
        for entry in self.table().0.values().flat_map(std::collections::BTreeMap::values) {
            let called = |release: &Arc<Release>| entry.called().any(|called| Arc::ptr_eq(called, release));
            entry.releases.values().filter(|release| !called(release)).for_each(|release| release.rest());
        }
    }

    /// The versions beyond those that are kept, oldest first; never one that is called or kept to.
    pub(super) async fn surplus(&self, entry: &Entry) -> Result<Vec<String>, PluginError> {
        let beyond = entry.releases.len().saturating_sub(self.shared.limits.versions.max(1));
        if beyond == 0 {
            return Ok(Vec::new());
        }
        let pins = self.pinned(entry).await?;
        let called: Vec<String> = entry.called().map(|release| release.installed().version.clone()).collect();
        let oldest_first =
            entry.newest_first().into_iter().rev().map(|release| release.installed().version.clone());
        let free = oldest_first.filter(|version| {
            !called.contains(version) && pins.iter().all(|(_, pin)| pin.version.as_ref() != Some(version))
        });
        Ok(free.take(beyond).collect())
    }

    /// Refuses if anybody keeps to a version that `concerns`.
    async fn check_pins(
        &self,
        entry: &Entry,
        concerns: impl Fn(Option<&str>) -> bool,
    ) -> Result<(), PluginError> {
        let mut pins = self.pinned(entry).await?;
        pins.retain(|(_, pin)| concerns(pin.version.as_deref()));
        if pins.is_empty() {
            return Ok(());
        }
        let by = match entry.owner {
            Owner::Organisation(_) => by_name(&pins),
            Owner::Host => self.by_organisation(&pins),
        };
        Err(PluginError::Pinned { name: entry.name.clone(), by })
    }

    /// Who keeps to versions of a plugin, in every organisation that finds it.
    async fn pinned(&self, entry: &Entry) -> Result<Vec<(OrganisationId, Pin)>, PluginError> {
        let Some(source) = self.pins.get().and_then(std::sync::Weak::upgrade) else { return Ok(Vec::new()) };
        let mut pins = Vec::new();
        let mut page = PageRequest::first(ORGANISATIONS);
        loop {
            let organisations = match entry.owner {
                Owner::Organisation(id) => Page { items: vec![id], next: None },
                Owner::Host => {
                    let found = self.shared.services.access.organisations(&page)?;
                    let ids = found.items.iter().map(|organisation| organisation.id);
                    // One with a plugin of its own of that name does not find the host's.
                    let finds =
                        |id: &OrganisationId| self.find(Owner::Organisation(*id), &entry.name).is_none();
                    Page { items: ids.filter(finds).collect(), next: found.next }
                }
            };
            for id in organisations.items {
                let found = source.pins(id, &entry.name).await;
                let found = found.map_err(|error| PluginError::Pins(Box::new(error)))?;
                pins.extend(found.into_iter().map(|pin| (id, pin)));
            }
            match organisations.next {
                Some(next) => page.cursor = Some(next),
                None => return Ok(pins),
            }
        }
    }

    /// The operator learns which organisations keep to a plugin of the host's, not by what.
    fn by_organisation(&self, pins: &[(OrganisationId, Pin)]) -> Vec<String> {
        let mut counts = std::collections::BTreeMap::<(OrganisationId, &str), usize>::new();
        for (organisation, pin) in pins {
            *counts.entry((*organisation, version_of(pin))).or_default() += 1;
        }
        let told = counts.iter().map(|((id, version), count)| {
            let organisation = self.shared.services.access.organisation(*id);
            let organisation = organisation.map_or_else(|_| id.to_string(), |organisation| organisation.name);
            format!("{version} by {count} playbooks and runs of the organisation {organisation}")
        });
        shortened(told)
    }
}

fn by_name(pins: &[(OrganisationId, Pin)]) -> Vec<String> {
    shortened(pins.iter().map(|(_, pin)| match &pin.by {
        PinnedBy::Playbook(name) => format!("{} by the playbook {name}", version_of(pin)),
        PinnedBy::Run(id) => format!("{} by the run {id}", version_of(pin)),
    }))
}

fn version_of(pin: &Pin) -> &str {
    pin.version.as_deref().unwrap_or("the current version")
}

/// The first few, and how many there are besides.
fn shortened(mut told: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let mut shown: Vec<String> = told.by_ref().take(limits::PINS_SHOWN).collect();
    let left = told.len();
    if left > 0 {
        shown.push(format!("and {left} more"));
    }
    shown
}

impl Entry {
    pub(super) fn release(&self, version: &str) -> Result<&Arc<Release>, PluginError> {
        self.releases.get(version).ok_or_else(|| PluginError::UnknownVersion {
            name: self.name.clone(),
            version: version.to_owned(),
            installed: self
                .newest_first()
                .iter()
                .map(|release| release.installed().version.clone())
                .collect(),
        })
    }

    /// The newest version that was installed before the current one.
    fn earlier(&self) -> Option<&Arc<Release>> {
        let mut newest_first = self.newest_first().into_iter();
        newest_first.find(|release| Arc::ptr_eq(release, self.current()))?;
        newest_first.next()
    }

    pub(super) fn kept(&self, release: &Arc<Release>) -> KeptVersion {
        let installed = self.shown(release);
        let state = match &self.row {
            row if row.current == installed.version => VersionState::Current,
            row if row.canary.as_ref().is_some_and(|canary| canary.version == installed.version) => {
                VersionState::Canary
            }
            _ => VersionState::Kept,
        };
        KeptVersion { loaded: release.peek().is_some(), installed, state }
    }
}
