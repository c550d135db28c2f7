//! The versions of a plugin: going back to one, removing one or all, and how many are kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bellwether_alerts::{Called, Caller};
use bellwether_kernel::{Cursor, FieldError, OrganisationId, Page, PageRequest, counted};
use bellwether_playbooks::{Pin, PinnedBy};
use bellwether_store::Batch;
use serde::Serialize;
use tokio::sync::MutexGuard;

use super::{Entry, Plugins, Release, Told, audit_scope};
use crate::row::{CanaryEnd, CanaryOutcome, Installed, Owner};
use crate::state::Left;
use crate::{PluginError, limits};

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

/// What went with a plugin that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Who called it all the same and fails from now on, a sentence each, as its owner is told: by name, or of the host's how
    /// many of which organisation.
    pub broken: Vec<String>,
    /// How many organisations had settings of it, which are gone.
    pub set: usize,
}

impl Plugins {
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
                let unknown = || FieldError::wrong_cursor(cursor);
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

    /// Makes an earlier version the current one: the one given, or the one that was current before. It is loaded before
    /// anybody is sent to it. A canary ends.
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
        let is_named = version.is_some();
        let (_change, before, release) = loop {
            let before = self.known(owner, name)?;
            let release = match version {
                Some(version) => before.release(version)?,
                None => before.earlier().ok_or_else(|| PluginError::NothingBefore(name.to_owned()))?,
            };
            let release = Arc::clone(release);
            let loaded = release.served().await.map(drop);
            if let Some(change) = self.turn_for(&before).await {
                loaded?;
                break (change, before, release);
            }
        };
        let version = release.installed().version.clone();
        if version == before.row.current {
            let expected = "another version than the current one";
            return Err(FieldError::new("version", version, expected).into());
        }
        let details = vec![("version", version.clone()), ("before", before.row.current.clone())];
        let at = self.shared.services.clock.now();
        let mut after = before.with_row(|row| {
            // Who names a version that was not current before goes on to it, and may come back.
            if is_named && !row.past.contains(&version) {
                row.go_on_to(&version);
            } else {
                row.go_back_to(&version);
            }
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
    /// If there is no such plugin; [`PluginError::Pinned`] while a published playbook, a monitor or a channel calls it, or
    /// an open run keeps to a version of it; [`PluginError::Set`] while organisations have settings of it.
    pub async fn remove(&self, owner: Owner, actor: &str, name: &str) -> Result<(), PluginError> {
        self.remove_all(owner, actor, name, false).await.map(drop)
    }

    /// As [`Self::remove`]; with `force` whoever keeps to it. Their next step, evaluation or delivery fails and says why.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub async fn remove_all(
        &self,
        owner: Owner,
        actor: &str,
        name: &str,
        force: bool,
    ) -> Result<Removed, PluginError> {
        let change = self.changes.lock().await;
        let before = self.known(owner, name)?;
        let set = if owner == Owner::Host { self.shared.settings.organisations(name) } else { 0 };
        // Who names no version of an organisation's own, as no monitor or channel does, gets the host's of that name.
        let goes_on = owner != Owner::Host && self.find(Owner::Host, name).is_some();
        let concerns =
            |version: Option<&str>| version.map_or(!goes_on, |version| before.releases.contains_key(version));
        let broken = self.broken_without(&before, concerns, force).await?;
        if force {
            before.releases.values().for_each(|release| release.take_away());
        }
        if set > 0 && !force {
            return Err(PluginError::Set { name: name.to_owned(), organisations: set });
        }
        let mut batch = Batch::new();
        if let Some(removed) = owner.removed_row(name) {
            batch.put(removed, Vec::new());
        }
        let versions: Vec<&str> = before.releases.keys().map(String::as_str).collect();
        let mut details = vec![("version", before.row.current.clone()), ("versions", versions.join(" "))];
        if set > 0 {
            details.push(("settings", format!("of {}", counted(set, "organisation"))));
        }
        let access = &self.shared.services.access;
        access.audit(&mut batch, audit_scope(owner), actor, "plugin.remove", name, &details);
        self.uninstall(&before, batch).await?;
        drop(change);
        if let Err(error) = self.cleared(owner, name).await {
            tracing::warn!(plugin = name, %error, "what a removed plugin kept is not all gone; it is tried again");
        }
        Ok(Removed { broken, set })
    }

    /// Forgets what removed plugins left that could not be forgotten with them; to be called every minute. What a host
    /// leaves that ends before goes once a plugin of that name is installed.
    ///
    /// # Errors
    /// The store's; what is left is tried again.
    pub async fn clear_left(&self) -> Result<(), PluginError> {
        let left = self.uncleared.lock().clone();
        for (owner, name) in left {
            drop(self.cleared(owner, &name).await?);
        }
        Ok(())
    }

    /// The published playbooks that call an app and whose steps do not fit a version of it, as its owner is told: by name
    /// and why; of the host's the operator learns how many of which organisation. None for what is no app, or not called.
    ///
    /// # Errors
    /// If there is no such plugin, or the store does not answer.
    pub async fn misfits(&self, owner: Owner, name: &str, version: &str) -> Result<Vec<String>, PluginError> {
        let entry = self.known(owner, name)?;
        let app = entry.releases.get(version).and_then(|release| entry.app(release));
        let source = self.pins.get().and_then(Weak::upgrade);
        let (Some(app), Some(source)) = (app, source) else { return Ok(Vec::new()) };
        let mut told = Vec::new();
        for id in self.finders(&entry)? {
            let misfits = source.misfits(id, name, app.description()).await;
            let misfits = misfits.map_err(|error| PluginError::Pins(Box::new(error)))?;
            match owner {
                Owner::Organisation(_) => {
                    let does_not =
                        |(playbook, why)| format!("the playbook {playbook} does not fit it: {why}");
                    told.extend(misfits.into_iter().map(does_not));
                }
                Owner::Host if misfits.is_empty() => {}
                Owner::Host => {
                    let playbooks = counted(misfits.len(), "playbook");
                    let organisation = self.organisation_name(id);
                    told.push(format!("it does not fit {playbooks} of the organisation {organisation}"));
                }
            }
        }
        Ok(shortened(told.into_iter()))
    }

    /// Forgets all that a plugin kept that is not there any more, and all that was set of it, unless there is one of that
    /// name; and gives the turn to change, in which nothing is left. Others have theirs between any two commits of that.
    pub(super) async fn cleared(&self, owner: Owner, name: &str) -> Result<MutexGuard<'_, ()>, PluginError> {
        let mut left = None;
        loop {
            let change = self.changes.lock().await;
            let is_there = self.find(owner, name).is_some();
            if is_there || self.clear_some(owner, name, &mut left).await? {
                self.uncleared.lock().remove(&(owner, name.to_owned()));
                return Ok(change);
            }
        }
    }

    /// What one commit takes of that; gives whether nothing is left.
    async fn clear_some(
        &self,
        owner: Owner,
        name: &str,
        left: &mut Option<Left>,
    ) -> Result<bool, PluginError> {
        let services = &self.shared.services;
        if owner == Owner::Host && !self.shared.settings.clear_some(&services.store, name).await? {
            return Ok(false);
        }
        let left = match left {
            Some(left) => left,
            None => left.insert(Left::of(services, owner, name)?),
        };
        left.clear_some(services).await
    }

    /// Removes one version that is neither the current one nor the canary; with `force` whoever keeps to it. Gives who
    /// does, as [`Removed::broken`].
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
    ) -> Result<Vec<String>, PluginError> {
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
        let broken = self.broken_without(&before, |pinned| pinned == Some(version), force).await?;
        if force {
            before.release(version)?.take_away();
        }
        let mut after = before.with_row(|_| {});
        after.releases.remove(version);
        let details = vec![("version", version.to_owned())];
        let told = Told { actor, action: "plugin.remove-version", details };
        self.commit(Some(&before), after, told).await?;
        Ok(broken)
    }

    /// Unloads versions that only those call who keep to them, once nobody does; to be called every minute.
    pub fn rest(&self) {
        for entry in self.table().0.values().flat_map(BTreeMap::values) {
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

    /// Refuses if anybody keeps to a version that `concerns`; with `force` it says who, and what cannot be read of them is
    /// no failure of what is done.
    async fn broken_without(
        &self,
        entry: &Entry,
        concerns: impl Fn(Option<&str>) -> bool,
        force: bool,
    ) -> Result<Vec<String>, PluginError> {
        let keepers = match self.keepers(entry, concerns).await {
            Err(error) if force => {
                tracing::warn!(plugin = entry.name, %error, "who keeps to what is removed could not be read");
                Vec::new()
            }
            keepers => keepers?,
        };
        let names = |say: &dyn Fn(&str, &str) -> String| match entry.owner {
            Owner::Organisation(_) => by_name(&keepers, say),
            Owner::Host => self.by_organisation(&keepers, say),
        };
        if keepers.is_empty() || force {
            return Ok(names(&|version, who| format!("this breaks {who}, which called {version}")));
        }
        let by = names(&|version, who| format!("{version} by {who}"));
        Err(PluginError::Pinned { name: entry.name.clone(), by })
    }

    /// Who keeps to a version that `concerns`.
    async fn keepers(
        &self,
        entry: &Entry,
        concerns: impl Fn(Option<&str>) -> bool,
    ) -> Result<Vec<Keeper>, PluginError> {
        let mut keepers: Vec<Keeper> = self.pinned(entry).await?.into_iter().map(Keeper::from).collect();
        keepers.retain(|keeper| concerns(keeper.version.as_deref()));
        if concerns(None) {
            keepers.extend(self.called_by_alerts(entry).await?);
        }
        Ok(keepers)
    }

    /// Which playbooks and runs keep to versions of a plugin, in every organisation that finds it.
    async fn pinned(&self, entry: &Entry) -> Result<Vec<(OrganisationId, Pin)>, PluginError> {
        let Some(source) = self.pins.get().and_then(Weak::upgrade) else { return Ok(Vec::new()) };
        let mut pins = Vec::new();
        for id in self.finders(entry)? {
            let found = source.pins(id, &entry.name).await;
            let found = found.map_err(|error| PluginError::Pins(Box::new(error)))?;
            pins.extend(found.into_iter().map(|pin| (id, pin)));
        }
        Ok(pins)
    }

    /// Which channels and monitors call a plugin, in every organisation that finds it.
    async fn called_by_alerts(&self, entry: &Entry) -> Result<Vec<Keeper>, PluginError> {
        let Some(alerts) = self.shared.alerts.get().and_then(Weak::upgrade) else { return Ok(Vec::new()) };
        let mut keepers = Vec::new();
        for organisation in self.finders(entry)? {
            let callers = alerts.callers(organisation, Called::Plugin(&entry.name)).await?;
            keepers.extend(callers.into_iter().map(|caller| Keeper {
                organisation,
                version: None,
                by: caller.to_string(),
                kind: match caller {
                    Caller::Channel(_) => "channel",
                    Caller::Monitor(_) => "monitor",
                },
            }));
        }
        Ok(keepers)
    }

    /// The organisations that find a plugin: its owner, or of the host's all that have none of their own of that name.
    fn finders(&self, entry: &Entry) -> Result<Vec<OrganisationId>, PluginError> {
        if let Owner::Organisation(id) = entry.owner {
            return Ok(vec![id]);
        }
        let mut finders = Vec::new();
        let mut page = PageRequest::first(ORGANISATIONS);
        loop {
            let found = self.shared.services.access.organisations(&page)?;
            let ids = found.items.iter().map(|organisation| organisation.id);
            finders.extend(ids.filter(|id| self.find(Owner::Organisation(*id), &entry.name).is_none()));
            match found.next {
                Some(next) => page.cursor = Some(next),
                None => return Ok(finders),
            }
        }
    }

    fn organisation_name(&self, id: OrganisationId) -> String {
        let organisation = self.shared.services.access.organisation(id);
        organisation.map_or_else(|_| id.to_string(), |organisation| organisation.name)
    }

    /// As [`by_name`]: the operator learns which organisations keep to a plugin of the host's, and by how many of what.
    fn by_organisation(&self, keepers: &[Keeper], say: &dyn Fn(&str, &str) -> String) -> Vec<String> {
        let mut counts = BTreeMap::<(OrganisationId, &str), BTreeMap<&str, usize>>::new();
        for keeper in keepers {
            let kinds = counts.entry((keeper.organisation, keeper.version())).or_default();
            *kinds.entry(keeper.kind).or_default() += 1;
        }
        let told = counts.iter().map(|((id, version), kinds)| {
            let kinds: Vec<String> = kinds.iter().map(|(kind, count)| counted(*count, kind)).collect();
            let organisation = self.organisation_name(*id);
            say(version, &format!("{} of the organisation {organisation}", kinds.join(" and ")))
        });
        shortened(told)
    }
}

/// Who keeps to a plugin.
struct Keeper {
    organisation: OrganisationId,
    /// The version; `None` for whichever is current.
    version: Option<String>,
    /// As its owner knows it: `the playbook nightly`.
    by: String,
    /// What the operator is told it is one of.
    kind: &'static str,
}

impl Keeper {
    fn version(&self) -> &str {
        self.version.as_deref().unwrap_or("the current version")
    }
}

impl From<(OrganisationId, Pin)> for Keeper {
    fn from((organisation, pin): (OrganisationId, Pin)) -> Self {
        let (kind, by) = match pin.by {
            PinnedBy::Playbook(name) => ("playbook", format!("the playbook {name}")),
            PinnedBy::Run(id) => ("run", format!("the run {id}")),
        };
        Self { organisation, version: pin.version, by, kind }
    }
}

/// What `say` makes of a version and who keeps to it.
fn by_name(keepers: &[Keeper], say: &dyn Fn(&str, &str) -> String) -> Vec<String> {
    shortened(keepers.iter().map(|keeper| say(keeper.version(), &keeper.by)))
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

    /// The version that was current before; of a plugin of which that is not known, as a host of an earlier version did
    /// not keep it, the newest that was installed before the current one.
    fn earlier(&self) -> Option<&Arc<Release>> {
        if let Some(past) = self.row.past.last() {
            return self.releases.get(past);
        }
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

#[cfg(test)]
mod tests {
    use bellwether_access::Role;
    use bellwether_alerts::{Alerts, NoTellings, Outward, Parts};
    use serde_json::json;

    use super::*;
    use crate::testing::{House, detector, principal};

    async fn world() -> (House, Arc<Plugins>, Arc<Alerts>) {
        let house = House::new().await;
        let plugins = house.plugins().await;
        let services = house.services.clone();
        services.access.create_organisation("host", "acme", "UTC").await.unwrap();
        let alerts = Alerts::open(Parts {
            store: services.store,
            access: services.access,
            figures: services.series,
            events: services.records,
            roles: plugins.clone(),
            tellings: Arc::new(NoTellings),
            clock: services.clock,
            limits: bellwether_alerts::Limits::default(),
            outward: Outward::default(),
        });
        plugins.answer_with_alerts(&alerts);
        (house, plugins, alerts)
    }

    #[tokio::test]
    async fn what_monitors_call_is_not_removed_unless_forced_and_their_names_are_told_to_its_owner() {
        let (_house, plugins, alerts) = world().await;
        let (host, own) = (Owner::Host, Owner::Organisation(OrganisationId(1)));
        let install = async |owner, version| {
            plugins.install(owner, "key", detector(version, 0, ""), Vec::new(), false).await.unwrap();
        };
        install(host, "1.0.0").await;
        install(host, "2.0.0").await;
        let document =
            json!({"name": "odd", "kind": "anomaly", "query": "avg:load{*}", "detector": {"name": "judge"}});
        alerts.create_monitor(&principal(1, Role::Write), &document).await.unwrap();
        let refused = async |owner| plugins.remove(owner, "key", "judge").await.unwrap_err().to_string();
        assert_eq!(
            refused(host).await,
            "the plugin judge is kept to: the current version by 1 monitor of the organisation acme; \
             end or change that first, or force it"
        );
        plugins.remove_version(host, "key", "judge", "1.0.0", false).await.unwrap();

        // Whoever has one of its own does not call the host's, and gets it where that one goes.
        install(own, "1.0.0").await;
        plugins.remove(own, "key", "judge").await.unwrap();
        install(own, "1.0.0").await;
        plugins.remove(host, "key", "judge").await.unwrap();
        let told = refused(own).await;
        assert!(told.contains("kept to: the current version by the monitor odd; end or"), "{told}");
        let last = plugins.remove_version(own, "key", "judge", "1.0.0", false).await.unwrap_err();
        assert!(matches!(last, PluginError::InUse { .. }), "{last}");
        let removed = plugins.remove_all(own, "key", "judge", true).await.unwrap();
        assert_eq!(removed.broken, ["this breaks the monitor odd, which called the current version"]);

        install(own, "1.0.0").await;
        alerts.delete_monitor(&principal(1, Role::Write), "odd").await.unwrap();
        plugins.remove(own, "key", "judge").await.unwrap();
    }
}
