//! The plugins of a host: what is installed in which versions, and who finds which.

mod bundled;
mod canary;
mod components;
mod erase;
mod install;
mod pure;
mod read;
mod release;
mod seen;
mod settings;
#[cfg(test)]
mod tests;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, Weak};

use bellwether_access::AuditScope;
use bellwether_alerts::{Alerts, Detector, Forecaster, Formatter, Regular, RoleKind, Roles, Settings};
use bellwether_kernel::value::Input;
use bellwether_kernel::{Cursor, FieldError, OrganisationId, Page, PageRequest, RunId};
use bellwether_playbooks::{App, AppDescription, Apps, Pins};
use bellwether_store::{Batch, Digest, Loose, Precondition, StoreError, delete_large, encode, put_large};
use bytes::Bytes;
use futures::StreamExt as _;
use ipnet::IpNet;
use parking_lot::{Mutex, RwLock};
use tokio::sync::MutexGuard;
use tokio::sync::mpsc::UnboundedSender;

use crate::canary::{Side, Trial, Verdict, Watched};
use crate::dialect::Dialect;
use crate::egress::Egress;
use crate::host::{Services, Shared};
use crate::inspect::PluginRole;
use crate::limits::Limits;
use crate::row::{Described, Installed, Owner, Row, VersionRow};
use crate::settings::KeptSettings;
use crate::{PluginError, limits};
use pure::ReleasedRole;
use read::read_table;
use release::{Release, ReleasedApp};

pub use bundled::Bundled;
pub use canary::{Canary, DialectVersions, PickedDialect};
pub use install::{Change, NewVersion};
pub use seen::{VersionLimits, VersionLine, VersionStats, VersionTrap};
pub use settings::DialectSettings;
pub use versions::{KeptVersion, Removed, VersionState};

/// Every plugin that is installed, its current version loaded and ready. A change replaces a plugin whole: calls in
/// flight finish on what they began with.
pub struct Plugins {
    pub(crate) shared: Arc<Shared>,
    table: RwLock<Arc<Table>>,
    /// One change at a time, so that the table and the store tell the same. Held for no work whose length somebody else
    /// chooses: who has something to load, does it before, and looks again afterwards.
    changes: tokio::sync::Mutex<()>,
    /// Where canaries tell that they failed.
    verdicts: UnboundedSender<Verdict>,
    /// Which playbooks and runs keep to which version, once some may.
    pins: OnceLock<Weak<dyn Pins>>,
    /// Removed, and what they kept is not all gone yet.
    uncleared: Mutex<BTreeSet<(Owner, String)>>,
    /// The files of components, with a row for each that nothing may refer to: a start removes what a crash left.
    components: Loose,
}

/// What is found by whom.
#[derive(Clone, Default)]
struct Table(BTreeMap<Owner, BTreeMap<String, Arc<Entry>>>);

/// One plugin, and which of its versions are called.
struct Entry {
    owner: Owner,
    name: String,
    row: Row,
    /// The row as it is in the store.
    stored: Bytes,
    /// By version; the current one and the canary are among them.
    releases: BTreeMap<String, Arc<Release>>,
    trial: Option<Arc<Trial>>,
}

/// What the audit log tells of a change.
struct Told<'a> {
    actor: &'a str,
    action: &'a str,
    details: Vec<(&'static str, String)>,
}

impl Plugins {
    /// Opens the plugins that are installed on the store. One that does not load is kept, with its problem, and not
    /// called: the host starts all the same. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the store does not answer or is damaged.
    pub async fn open(services: Services, limits: Limits) -> Result<Arc<Self>, PluginError> {
        canary::describe();
        let settings = KeptSettings::read(&services.store).await?;
        let shared = Arc::new(Shared { settings, ..Shared::new(services, limits) });
        let (verdicts, failed) = tokio::sync::mpsc::unbounded_channel();
        let table = read_table(&shared, &verdicts).await?;
        let components = components::loose(&shared.services);
        components::clear(&shared, &components, &table).await?;
        components::put_back(&shared, &table).await?;
        let enabled = table.0.values().flat_map(BTreeMap::values).filter(|entry| entry.row.enabled);
        // Some at a time and each in a task of its own: reading machine code waits for the disk, the rest computes.
        let loads = enabled.flat_map(|entry| entry.called()).map(|release| {
            let release = Arc::clone(release);
            let load = async move {
                release.load().await;
                // That it loads is known now; most are never called, and a call loads what it needs in a millisecond.
                if release.installed().roles.iter().all(|role| role.is_pure()) {
                    release.unload();
                }
            };
            async move { tokio::spawn(load).await }
        });
        let mut loads = futures::stream::iter(loads.collect::<Vec<_>>()).buffer_unordered(limits::LOADS);
        while let Some(loaded) = loads.next().await {
            loaded.expect("loading a plugin does not panic");
        }
        drop(loads);
        let plugins = Arc::new(Self {
            shared,
            table: RwLock::new(Arc::new(table)),
            changes: tokio::sync::Mutex::default(),
            verdicts,
            pins: OnceLock::new(),
            uncleared: Mutex::default(),
            components,
        });
        // It is this one's alone.
        let _ = plugins.shared.plugins.set(Arc::downgrade(&plugins));
        tokio::spawn(canary::take_back(Arc::downgrade(&plugins), failed));
        Ok(plugins)
    }

    /// The one way out, for what the host itself sends.
    pub(crate) fn egress(&self) -> &Egress {
        &self.shared.egress
    }

    /// From now on an organisation's plugins and channels reach of the addresses that are not public those in `networks`
    /// alone, whatever its admin grants; the operator's plugins reach what they are granted. Until then an organisation's
    /// reach what is granted, but for link-local addresses. Only the first are taken.
    pub fn keep_to_private_networks(&self, networks: Vec<IpNet>) {
        self.shared.egress.private.keep_to(networks);
    }

    /// From now on plugins that are granted so read `alerts` and write to them, and none is removed that their channels or
    /// monitors call. Only the first are.
    pub fn answer_with_alerts(&self, alerts: &Arc<Alerts>) {
        // A host has one.
        let _ = self.shared.alerts.set(Arc::downgrade(alerts));
    }

    /// From now on no version is removed that `pins` says somebody keeps to. Only the first is asked.
    pub fn ask_for_pins(&self, pins: Weak<dyn Pins>) {
        // A host has one.
        let _ = self.pins.set(pins);
    }

    /// An owner's plugins in their current versions, ordered by name.
    ///
    /// # Errors
    /// If the cursor is not of this list.
    pub fn list(&self, owner: Owner, page: &PageRequest) -> Result<Page<Arc<Installed>>, PluginError> {
        let after = page.cursor.as_ref().map(|cursor| {
            let name = std::str::from_utf8(&cursor.0).ok();
            name.ok_or_else(|| FieldError::wrong_cursor(cursor))
        });
        let after = after.transpose()?;
        let table = self.table();
        let own = table.0.get(&owner).into_iter().flatten();
        let mut rest = own
            .filter(|(name, _)| after.is_none_or(|after| name.as_str() > after))
            .map(|(_, entry)| entry.shown(entry.current()));
        let items: Vec<_> = rest.by_ref().take(page.limit.max(1)).collect();
        let next = rest.next().and(items.last()).map(|last| Cursor(last.name.clone().into_bytes()));
        Ok(Page { items, next })
    }

    /// One of an owner's plugins in its current version.
    #[must_use]
    pub fn get(&self, owner: Owner, name: &str) -> Option<Arc<Installed>> {
        self.find(owner, name).map(|entry| entry.shown(entry.current()))
    }

    /// The dialects that are served, in their current versions, ordered by name.
    #[must_use]
    pub fn dialects(&self) -> Vec<Arc<Dialect>> {
        let table = self.table();
        let entries = table.0.get(&Owner::Host).into_iter().flatten();
        entries.filter_map(|(_, entry)| entry.dialect()).collect()
    }

    /// Whether a dialect of that name is installed and yet not served: it is switched off, or does not load.
    #[must_use]
    pub fn dialect_is_out(&self, name: &str) -> bool {
        self.find(Owner::Host, name).is_some_and(|entry| {
            entry.dialect().is_none() && entry.why_not(entry.current(), PluginRole::Dialect).is_some()
        })
    }

    /// The dialect of that name in its current version.
    #[must_use]
    pub fn dialect(&self, name: &str) -> Option<Arc<Dialect>> {
        self.find(Owner::Host, name)?.dialect()
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read())
    }

    fn find(&self, owner: Owner, name: &str) -> Option<Arc<Entry>> {
        self.table.read().0.get(&owner)?.get(name).cloned()
    }

    fn known(&self, owner: Owner, name: &str) -> Result<Arc<Entry>, PluginError> {
        self.find(owner, name).ok_or_else(|| PluginError::Unknown(name.to_owned()))
    }

    /// An organisation's own plugin stands before the host's, even while it is switched off or broken: nobody should
    /// be given another program than the one they chose.
    fn seen(&self, organisation: OrganisationId, name: &str) -> Option<Arc<Entry>> {
        let own = self.find(Owner::Organisation(organisation), name);
        own.or_else(|| self.find(Owner::Host, name))
    }

    /// The turn to change a plugin that was looked at before: none if it is not as it was then.
    async fn turn_for(&self, before: &Arc<Entry>) -> Option<MutexGuard<'_, ()>> {
        let change = self.changes.lock().await;
        let there = self.find(before.owner, &before.name);
        if there.is_some_and(|there| Arc::ptr_eq(&there, before)) {
            return Some(change);
        }
        // What was loaded of one that is gone would leave its machine code.
        for release in before.releases.values() {
            self.forget_code(release.installed().digest).await;
        }
        None
    }

    /// Only under `changes`, so that no change is lost.
    fn change_table(&self, change: impl FnOnce(&mut Table)) {
        let mut table = Table::clone(&self.table());
        change(&mut table);
        *self.table.write() = Arc::new(table);
    }

    /// Removes a plugin with all versions, in a batch that may say more of it; what it kept for callers stays. Only under
    /// `changes`.
    async fn uninstall(&self, entry: &Entry, mut batch: Batch) -> Result<(), StoreError> {
        let (owner, name) = (entry.owner, &*entry.name);
        batch.delete(owner.row(name));
        for version in entry.releases.keys() {
            self.delete_version(&mut batch, owner, name, version).await?;
        }
        let gone = self.unused(Some(entry), None);
        self.components.join(&mut batch, &[], &gone);
        // Its versions' rows and components go, and its state.
        batch.frees();
        self.shared.services.store.commit(batch).await?;
        self.change_table(|table| table.remove(owner, name));
        // Before anybody else's change: none is installed of that name until nothing is left of this one.
        self.uncleared.lock().insert((owner, name.to_owned()));
        canary::show_gone(entry, None);
        for digest in gone {
            self.forget(digest).await;
        }
        Ok(())
    }

    /// Writes what is other in `after`, with its audit entry, lets it be found, and drops the components nobody refers
    /// to any more.
    async fn commit(
        &self,
        before: Option<&Entry>,
        mut after: Entry,
        told: Told<'_>,
    ) -> Result<Arc<Entry>, PluginError> {
        let Entry { owner, ref name, .. } = after;
        let Services { access, store, .. } = &self.shared.services;
        let inherited = before.is_some_and(|before| before.row.inherited.is_some());
        after.row.inherited = None;
        after.row.past.retain(|past| after.releases.contains_key(past));
        after.stored = encode(&after.row);
        let mut batch = Batch::new();
        let there =
            before.map_or(Precondition::Absent, |before| Precondition::ValueIs(before.stored.clone()));
        batch.require(owner.row(name), there).put(owner.row(name), after.stored.clone());
        if before.is_none()
            && let Some(removed) = owner.removed_row(name)
        {
            batch.delete(removed);
        }
        for (version, release) in &after.releases {
            let same = before.and_then(|before| before.releases.get(version));
            let same = same.is_some_and(|same| Arc::ptr_eq(same, release));
            if let Some(why) = release.unread() {
                // Nobody knows what is to be written: its row stays as it is.
                if same {
                    continue;
                }
                return Err(StoreError::Damaged(format!("{why}: install another version")).into());
            }
            if inherited || !same {
                let key = owner.version_row(name, version);
                let installed = release.installed();
                delete_large(&**store, &mut batch, &key).await?;
                batch.put(key.clone(), encode(&VersionRow::of(&installed)));
                let described =
                    serde_json::to_vec(&Described::of(&installed)).expect("a description is plain data");
                put_large(&mut batch, &key, &described)?;
            }
        }
        for version in before.into_iter().flat_map(|before| before.releases.keys()) {
            if !after.releases.contains_key(version) {
                self.delete_version(&mut batch, owner, name, version).await?;
            }
        }
        let gone = self.unused(before, Some(&after));
        let new = after.releases.values().map(|release| release.installed().digest);
        let new: Vec<_> = new.filter(|digest| !before.is_some_and(|before| before.has(digest))).collect();
        self.components.join(&mut batch, &new, &gone);
        access.audit(&mut batch, audit_scope(owner), told.actor, told.action, name, &told.details);
        if told.action == "plugin.disable" {
            // What does harm must be stopped on a full disk too.
            batch.frees();
        }
        store.commit(batch).await?;
        let after = Arc::new(after);
        self.change_table(|table| table.put(Arc::clone(&after)));
        after.loaded().for_each(|(_, served)| served.loaded.show());
        canary::show(&after);
        if let Some(before) = before {
            canary::show_gone(before, Some(&after));
        }
        for digest in gone {
            self.forget(digest).await;
        }
        Ok(after)
    }

    async fn delete_version(
        &self,
        batch: &mut Batch,
        owner: Owner,
        name: &str,
        version: &str,
    ) -> Result<(), StoreError> {
        let key = owner.version_row(name, version);
        delete_large(&*self.shared.services.store, batch, &key).await?;
        batch.delete(key);
        Ok(())
    }
}

impl Apps for Plugins {
    fn app(&self, organisation: OrganisationId, name: &str) -> Option<Arc<dyn App>> {
        let entry = self.seen(organisation, name)?;
        entry.app(entry.current())
    }

    fn app_version(&self, organisation: OrganisationId, name: &str, version: &str) -> Option<Arc<dyn App>> {
        let entry = self.seen(organisation, name)?;
        entry.app(entry.releases.get(version)?)
    }

    fn app_for(
        &self,
        organisation: OrganisationId,
        name: &str,
        run: RunId,
        fits: &dyn Fn(&AppDescription) -> bool,
    ) -> Option<Arc<dyn App>> {
        let entry = self.seen(organisation, name)?;
        let current = entry.app(entry.current());
        let canary = entry
            .trial
            .as_ref()
            .filter(|trial| trial.side(Some(organisation), run.0.as_bytes()) == Side::Canary);
        // A canary that does not load is no choice.
        let Some(canary) = canary.and_then(|trial| entry.app(entry.releases.get(&trial.version)?)) else {
            return current;
        };
        let is_fit_for = |app: &Arc<dyn App>| fits(app.description());
        if is_fit_for(&canary) || !current.as_ref().is_some_and(is_fit_for) {
            return Some(canary);
        }
        // As one that refuses the settings of a monitor: see `Entry::role_for`.
        canary.was_not_called();
        current
    }

    fn why_not(&self, organisation: OrganisationId, name: &str, version: Option<&str>) -> Option<String> {
        let entry = self.seen(organisation, name)?;
        let release = match version {
            Some(version) => entry.releases.get(version)?,
            None => entry.current(),
        };
        entry.why_not(release, PluginRole::App)
    }

    fn app_versions(&self, organisation: OrganisationId, name: &str) -> Vec<String> {
        let Some(entry) = self.seen(organisation, name) else { return Vec::new() };
        let newest_first = entry.newest_first();
        newest_first.iter().map(|release| release.installed().version.clone()).collect()
    }
}

impl Roles for Plugins {
    fn detector(&self, organisation: OrganisationId, name: &str) -> Option<Arc<dyn Detector>> {
        let role = self.seen(organisation, name)?.role(organisation, |installed| &installed.detector)?;
        Some(role)
    }

    fn forecaster(&self, organisation: OrganisationId, name: &str) -> Option<Arc<dyn Forecaster>> {
        let role = self.seen(organisation, name)?.role(organisation, |installed| &installed.forecaster)?;
        Some(role)
    }

    fn formatter(&self, organisation: OrganisationId, name: &str) -> Option<Arc<dyn Formatter>> {
        let role = self.seen(organisation, name)?.role(organisation, |installed| &installed.formatter)?;
        Some(role)
    }

    fn why_not_called(&self, organisation: OrganisationId, name: &str, role: RoleKind) -> Option<String> {
        let entry = self.seen(organisation, name)?;
        let role = match role {
            RoleKind::Detector => PluginRole::Detector,
            RoleKind::Forecaster => PluginRole::Forecaster,
            RoleKind::Formatter => PluginRole::Formatter,
        };
        let roles = &entry.current().installed().roles;
        if roles.contains(&role) {
            return entry.why_not(entry.current(), role);
        }
        let others: Vec<_> = roles.iter().map(|role| role.with_article()).collect();
        Some(format!("it is {}", others.join(" and ")))
    }

    fn detector_for(
        &self,
        organisation: OrganisationId,
        name: &str,
        regular: &Regular<'_>,
    ) -> Option<Arc<dyn Detector>> {
        let entry = self.seen(organisation, name)?;
        let role = entry.role_for(
            organisation,
            regular,
            |installed| &installed.detector,
            |description| &description.settings,
        )?;
        Some(role)
    }

    fn forecaster_for(
        &self,
        organisation: OrganisationId,
        name: &str,
        regular: &Regular<'_>,
    ) -> Option<Arc<dyn Forecaster>> {
        let entry = self.seen(organisation, name)?;
        let role = entry.role_for(
            organisation,
            regular,
            |installed| &installed.forecaster,
            |description| &description.settings,
        )?;
        Some(role)
    }

    fn formatter_for(
        &self,
        organisation: OrganisationId,
        name: &str,
        regular: &Regular<'_>,
    ) -> Option<Arc<dyn Formatter>> {
        let entry = self.seen(organisation, name)?;
        let role = entry.role_for(
            organisation,
            regular,
            |installed| &installed.formatter,
            |description| &description.settings,
        )?;
        Some(role)
    }
}

impl Table {
    /// Every version of every plugin.
    fn installed(&self) -> Vec<Arc<Installed>> {
        let entries = self.0.values().flat_map(BTreeMap::values);
        entries.flat_map(|entry| entry.releases.values()).map(|release| release.installed()).collect()
    }

    fn put(&mut self, entry: Arc<Entry>) {
        self.0.entry(entry.owner).or_default().insert(entry.name.clone(), entry);
    }

    fn remove(&mut self, owner: Owner, name: &str) {
        if let Some(own) = self.0.get_mut(&owner) {
            own.remove(name);
            if own.is_empty() {
                self.0.remove(&owner);
            }
        }
    }
}

impl Entry {
    /// Whether a version of it has that component.
    fn has(&self, digest: &Digest) -> bool {
        self.releases.values().any(|release| release.installed().digest == *digest)
    }

    fn current(&self) -> &Arc<Release> {
        self.releases.get(&self.row.current).expect("the current version is among those kept")
    }

    fn canary(&self) -> Option<&Arc<Release>> {
        self.releases.get(&self.row.canary.as_ref()?.version)
    }

    /// The versions that are loaded: the current one, and a canary.
    fn called(&self) -> impl Iterator<Item = &Arc<Release>> {
        std::iter::once(self.current()).chain(self.canary())
    }

    fn newest_first(&self) -> Vec<&Arc<Release>> {
        let mut releases: Vec<_> = self.releases.values().collect();
        releases.sort_by_key(|release| std::cmp::Reverse(release.installed().installed));
        releases
    }

    /// A version as it is shown: whether it is called is the plugin's.
    fn shown(&self, release: &Release) -> Arc<Installed> {
        let installed = release.installed();
        if installed.enabled == self.row.enabled {
            return installed;
        }
        let mut installed = Installed::clone(&installed);
        installed.enabled = self.row.enabled;
        if !installed.enabled {
            installed.problem = None;
            installed.forget_roles();
        }
        Arc::new(installed)
    }

    /// Where a version's calls are counted, while a canary is at work.
    fn watched(&self, version: &str) -> Option<Watched> {
        let trial = self.trial.as_ref()?;
        let side = match version {
            version if version == self.row.current => Side::Current,
            version if version == trial.version => Side::Canary,
            _ => return None,
        };
        Some(Watched::new(Arc::clone(trial), side))
    }

    fn app(&self, release: &Arc<Release>) -> Option<Arc<dyn App>> {
        if !self.row.enabled {
            return None;
        }
        let watched = self.watched(&release.installed().version);
        ReleasedApp::new(release, watched).map(|app| Arc::new(app) as Arc<dyn App>)
    }

    /// The current version in a pure role that it describes, if it is switched on.
    fn role<D>(
        &self,
        organisation: OrganisationId,
        described: impl Fn(&Installed) -> &Option<D>,
    ) -> Option<Arc<ReleasedRole>> {
        let enabled = self.row.enabled;
        enabled.then(|| ReleasedRole::new(self.current(), organisation, described, None)).flatten()
    }

    /// The version in a pure role that somebody calls again and again: the current one or, for some, the canary. A
    /// canary that refuses what the current one takes of them has failed them, and the current one serves them.
    fn role_for<D>(
        &self,
        organisation: OrganisationId,
        regular: &Regular<'_>,
        described: impl Fn(&Installed) -> &Option<D>,
        settings: impl Fn(&D) -> &[Input],
    ) -> Option<Arc<ReleasedRole>> {
        let Some(trial) = self.trial.as_ref().filter(|_| self.row.enabled) else {
            return self.role(organisation, described);
        };
        let takes = |release: &Release| {
            let installed = release.installed();
            let description = described(&installed).as_ref();
            description.is_some_and(|given| Settings::read(settings(given), regular.settings).is_ok())
        };
        let current = self.current();
        let canary =
            (trial.side(Some(organisation), regular.name) == Side::Canary).then(|| self.canary()).flatten();
        let (release, side) = match canary {
            Some(canary) if takes(canary) => (canary, Side::Canary),
            Some(_) if takes(current) => {
                trial.count(Side::Canary, true);
                (current, Side::Current)
            }
            _ => (current, Side::Current),
        };
        let watched = Watched::new(Arc::clone(trial), side);
        ReleasedRole::new(release, organisation, described, Some(watched))
    }

    /// Why a version that has this role is not called in it, if it is not: the plugin is switched off, or it did not load.
    fn why_not(&self, release: &Release, role: PluginRole) -> Option<String> {
        let installed = release.installed();
        if !installed.roles.contains(&role) {
            return None;
        }
        if !self.row.enabled {
            return Some("it is switched off".to_owned());
        }
        installed.problem.as_ref().map(|problem| format!("it does not load: {problem}"))
    }

    fn dialect(&self) -> Option<Arc<Dialect>> {
        if self.row.enabled { self.current().held()?.dialect.clone() } else { None }
    }

    /// This plugin after `change` of its row, with the same versions.
    fn with_row(&self, change: impl FnOnce(&mut Row)) -> Self {
        let mut row = self.row.clone();
        change(&mut row);
        let (releases, trial) = (self.releases.clone(), self.trial.clone());
        Self { owner: self.owner, name: self.name.clone(), row, stored: self.stored.clone(), releases, trial }
    }
}

fn audit_scope(owner: Owner) -> AuditScope {
    match owner {
        Owner::Host => AuditScope::Host,
        Owner::Organisation(id) => AuditScope::Organisation(id),
    }
}
