//! Installing versions, and changing what a plugin may do. A version is compiled, linked and asked what it is before
//! anybody is sent to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellwether_engine::Instances;
use bellwether_kernel::FieldError;
use bellwether_store::{Digest, StoreError};
use bytes::Bytes;

use super::bundled::HOST;
use super::components::read_component;
use super::{Entry, Plugins, Release, Told};
use crate::canary::Trial;
use crate::grant::{Grant, InvalidGrant, Privilege};
use crate::inspect::{CONTRACT, Inspection, PluginRole, Request, inspect};
use crate::plugin::{Load, Loaded};
use crate::row::{CanaryRow, Installed, Owner, Row};
use crate::{LimitOverrides, PluginError};

/// A version that is to be installed.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// Its component.
    pub component: Bytes,
    /// What it is granted: all that it asks for.
    pub grants: Vec<Grant>,
    /// Whether it takes the place of the installed one of the same version.
    pub replace: bool,
    /// Whether its calls share instances, if the plugin is new; else it begins as the version before it is.
    pub instances: Instances,
    /// Whether the host's binary carries it, so that the host brings it up to date by itself.
    pub carried: bool,
}

/// How a plugin shall be called from now on; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Whether it is.
    pub enabled: Option<bool>,
    /// Whether the calls of its current version share instances.
    pub instances: Option<Instances>,
}

/// What becomes of a version once it is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It is the current one.
    Current,
    /// It is tried on so many hundredths of the calls.
    Canary(u8),
}

impl Plugins {
    /// Installs a version, which is the current one from then on; the one before is kept. The same component again
    /// changes nothing but that it is the current one. With `replace` it takes the place of the installed one of the
    /// same version. Whatever is refused is refused before anything is changed; calls in flight finish on what they
    /// began with.
    ///
    /// # Errors
    /// If the file is no plugin this host can serve, if what it asks for and what is granted are not the same, if what
    /// it says of itself makes no sense; [`PluginError::Exists`] if another component of its version is installed, or
    /// the same with other grants; [`PluginError::CanaryOn`] while another version is tried.
    pub async fn install(
        &self,
        owner: Owner,
        actor: &str,
        bytes: Bytes,
        grants: Vec<Grant>,
        replace: bool,
    ) -> Result<Arc<Installed>, PluginError> {
        let new =
            NewVersion { component: bytes, grants, replace, instances: Instances::Fresh, carried: false };
        self.install_version(owner, actor, new).await
    }

    /// Installs a version as [`Self::install`] does.
    ///
    /// # Errors
    /// As [`Self::install`].
    pub async fn install_version(
        &self,
        owner: Owner,
        actor: &str,
        new: NewVersion,
    ) -> Result<Arc<Installed>, PluginError> {
        self.install_as(owner, actor, new, Then::Current).await
    }

    /// Installs a version as [`Self::install`] does and sends `share` hundredths of the calls to it; the others go on
    /// with the current one. With 0 it is only kept, ready to be tried.
    ///
    /// # Errors
    /// As [`Self::install`], and [`PluginError::Invalid`] if there is no other version to try it beside.
    pub async fn install_canary(
        &self,
        owner: Owner,
        actor: &str,
        bytes: Bytes,
        grants: Vec<Grant>,
        replace: bool,
        share: u8,
    ) -> Result<Arc<Installed>, PluginError> {
        super::canary::check_share(share)?;
        let new =
            NewVersion { component: bytes, grants, replace, instances: Instances::Fresh, carried: false };
        self.install_as(owner, actor, new, Then::Canary(share)).await
    }

    async fn install_as(
        &self,
        owner: Owner,
        actor: &str,
        new: NewVersion,
        then: Then,
    ) -> Result<Arc<Installed>, PluginError> {
        let inspected = tokio::task::spawn_blocking({
            let bytes = new.component.clone();
            move || inspect(&bytes)
        });
        let inspection = inspected.await.expect("inspecting does not panic")?;
        let digest = inspection.digest;
        let installed = self.install_inspected(owner, actor, new, inspection, then).await;
        if installed.is_err() {
            // Nobody installs the same meanwhile. What was compiled only to be refused would take room for nothing.
            let _change = self.changes.lock().await;
            self.forget_code(digest).await;
        }
        installed
    }

    async fn install_inspected(
        &self,
        owner: Owner,
        actor: &str,
        new: NewVersion,
        inspection: Inspection,
        then: Then,
    ) -> Result<Arc<Installed>, PluginError> {
        let NewVersion { component: bytes, grants, replace, instances: first, carried } = new;
        let (name, version) = ready(&inspection)?;
        let granted = check_grants(&name, &Wanted::of(&inspection), &grants);
        if owner != Owner::Host && inspection.roles.contains(&PluginRole::Dialect) {
            return Err(PluginError::HostOnly { name, besides: granted.err().map(Box::new) });
        }
        granted?;
        self.check_reach(owner, &grants)?;
        self.check_room(owner, &name)?;
        let (engine, host) = (&self.shared.services.engine, &self.shared.limits);
        let (_change, served, (limits, instances)) = loop {
            let settings = self.settings_before(owner, &name, &version, first);
            let (limits, instances) = settings;
            let memory = host.with(&limits.of(owner, host)).call.memory;
            let component = engine.compile_for(owner.number(), bytes.clone(), memory).await?;
            let load = Load { owner, name: &name, version: &version, grants: &grants, limits, instances };
            let served = Loaded::link(&self.shared, &component, load)?.serve(&inspection.roles).await?;
            // A removal that was cut off may have left what another of this name kept.
            let change = self.cleared(owner, &name).await?;
            // Somebody may have changed them meanwhile.
            if self.settings_before(owner, &name, &version, first) == settings {
                break (change, served, settings);
            }
        };
        let installed = Installed {
            owner,
            name: name.clone(),
            version: version.clone(),
            description: inspection.description,
            contract: inspection.contract.unwrap_or_else(|| CONTRACT.to_owned()),
            roles: inspection.roles,
            grants,
            digest: inspection.digest,
            size: inspection.size,
            installed: self.shared.services.clock.now(),
            actor: if carried { HOST } else { actor }.to_owned(),
            enabled: true,
            problem: None,
            app: None,
            dialect: None,
            detector: None,
            forecaster: None,
            formatter: None,
            limits,
            instances,
        };

        self.check_room(owner, &name)?;
        let before = self.find(owner, &name);
        let there = before.as_ref().and_then(|before| before.releases.get(&version));
        let same = match there.map(|there| there.installed()) {
            Some(there)
                if there.digest == installed.digest && same_grants(&there.grants, &installed.grants) =>
            {
                true
            }
            Some(there) if !replace => {
                let same_digest = there.digest == installed.digest;
                return Err(PluginError::Exists { name, version, same_digest });
            }
            _ => false,
        };
        let release = match there {
            // One that did not load before does now.
            Some(there) if same && there.peek().is_some() => Arc::clone(there),
            _ => Release::ready(&self.shared, installed, served),
        };
        let after = self.placed(before.as_deref(), Arc::clone(&release), then, actor)?;
        let digest = release.installed().digest;
        let Some(mut after) = after else {
            // Nothing changes, but that its file is there again where it was lost.
            self.keep(digest, bytes).await?;
            return Ok(before.map_or_else(|| release.installed(), |before| before.shown(&release)));
        };
        let mut details = vec![("version", version), ("digest", release.installed().digest.to_string())];
        if let Some(before) = &before {
            details.push(("before", before.row.current.clone()));
        }
        if let Then::Canary(share) = then {
            details.push(("canary", format!("{share} %")));
        }
        if release.installed().instances == Instances::Warm {
            details.push(("instances", "warm".to_owned()));
        }
        details.push(("grants", grants_text(&release.installed().grants)));
        let surplus = self.surplus(&after).await?;
        if !surplus.is_empty() {
            details.push(("dropped", surplus.join(" ")));
            after.releases.retain(|version, _| !surplus.contains(version));
        }
        self.keep(digest, bytes).await?;
        let told = Told { actor, action: "plugin.install", details };
        let committed = self.commit(before.as_deref(), after, told).await;
        if let Err(PluginError::Store(StoreError::DiskFull { .. } | StoreError::Conflict(_))) = committed {
            // It was not installed: its component would take room for nothing. After another failure it may have been,
            // and a start looks.
            self.forget(digest).await;
        }
        let after = committed?;
        if !after.row.enabled {
            // It was loaded only to see whether it would.
            release.unload();
        }
        Ok(after.shown(&release))
    }

    /// Puts a component on the disk. One that no version has yet is loose until a commit refers to it.
    async fn keep(&self, digest: Digest, component: Bytes) -> Result<(), StoreError> {
        if !self.is_installed(&digest) {
            return self.components.put(vec![(digest, component.into())]).await;
        }
        let objects = self.shared.services.objects.clone();
        let kept = tokio::task::spawn_blocking(move || objects.put(&component).map(drop));
        kept.await.expect("keeping an object does not panic")
    }

    /// Refuses what an organisation cannot grant.
    fn check_reach(&self, owner: Owner, grants: &[Grant]) -> Result<(), InvalidGrant> {
        if owner == Owner::Host { Ok(()) } else { self.shared.egress.private.check_grants(grants) }
    }

    /// Refuses a plugin that would be one too many of its organisation's.
    fn check_room(&self, owner: Owner, name: &str) -> Result<(), PluginError> {
        let (limit, table) = (self.shared.limits.per_organisation, self.table());
        let own = table.0.get(&owner);
        if owner == Owner::Host || own.is_none_or(|own| own.contains_key(name) || own.len() < limit) {
            return Ok(());
        }
        Err(PluginError::TooMany { name: name.to_owned(), limit })
    }

    /// What a version begins with: the limits and instances it had, or else those of the current one; of a plugin that
    /// is new the host's limits, and `first`.
    fn settings_before(
        &self,
        owner: Owner,
        name: &str,
        version: &str,
        first: Instances,
    ) -> (LimitOverrides, Instances) {
        let Some(before) = self.find(owner, name) else { return (LimitOverrides::default(), first) };
        let installed = before.releases.get(version).unwrap_or_else(|| before.current()).installed();
        (installed.limits, installed.instances)
    }

    /// The plugin with `release` in its place; `None` if that changes nothing.
    fn placed(
        &self,
        before: Option<&Entry>,
        release: Arc<Release>,
        then: Then,
        actor: &str,
    ) -> Result<Option<Entry>, PluginError> {
        let installed = release.installed();
        let Installed { owner, name, version, .. } = &*installed;
        let owner = *owner;
        let Some(before) = before else {
            if then != Then::Current {
                let expected = "another version that is installed, to try this one beside";
                return Err(FieldError::new("canary", version, expected).into());
            }
            let releases = BTreeMap::from([(version.clone(), release)]);
            let (row, name) = (Row::new(version), name.clone());
            return Ok(Some(Entry { owner, name, row, stored: Bytes::new(), releases, trial: None }));
        };
        let unchanged = before.releases.get(version).is_some_and(|there| Arc::ptr_eq(there, &release));
        if let Some(canary) = &before.row.canary
            && (canary.version != *version || then == Then::Current)
            && !(unchanged && before.row.current == *version)
        {
            let (name, version) = (name.clone(), canary.version.clone());
            return Err(PluginError::CanaryOn { name, version });
        }
        let mut after = match then {
            Then::Current if unchanged && before.row.current == *version => return Ok(None),
            Then::Current => before.with_row(|row| row.go_on_to(version)),
            Then::Canary(_) if before.row.current == *version => {
                return Err(FieldError::new("canary", version, "another version than the current one").into());
            }
            Then::Canary(share) => {
                let services = &self.shared.services;
                let (since, actor) = (services.clock.now(), actor.to_owned());
                let canary = CanaryRow { version: version.clone(), share, since, actor };
                let mut after = before.with_row(|row| row.canary = Some(canary));
                let (verdicts, clock) = (self.verdicts.clone(), Arc::clone(&services.clock));
                after.trial = Some(Arc::new(Trial::new(owner, name, version, share, verdicts, clock)));
                after
            }
        };
        after.releases.insert(version.clone(), release);
        Ok(Some(after))
    }

    /// Changes the scopes the privileges of a plugin's current version are granted within. Calls in flight finish
    /// under the old ones.
    ///
    /// # Errors
    /// If there is no such plugin, or what it asks for and what is granted are not the same.
    pub async fn set_grants(
        &self,
        owner: Owner,
        actor: &str,
        name: &str,
        grants: Vec<Grant>,
    ) -> Result<Arc<Installed>, PluginError> {
        let (_change, before, release) = loop {
            let before = self.known(owner, name)?;
            let bytes = read_component(&self.shared, before.current().installed().digest).await;
            let inspected = match bytes {
                Ok(bytes) => tokio::task::spawn_blocking(move || inspect(&bytes)).await,
                Err(error) => Ok(Err(error)),
            };
            let checked = inspected.expect("inspecting does not panic");
            let checked = checked.and_then(|found| {
                check_grants(name, &Wanted::of(&found), &grants)?;
                Ok(self.check_reach(owner, &grants)?)
            });
            let release = before.current().changed(|installed| installed.grants.clone_from(&grants));
            if checked.is_ok() && before.row.enabled {
                release.load().await;
            }
            if let Some(change) = self.turn_for(&before).await {
                checked?;
                break (change, before, release);
            }
        };
        let installed = before.current().installed();
        let details = vec![
            ("version", installed.version.clone()),
            ("grants", grants_text(&grants)),
            ("before", grants_text(&installed.grants)),
        ];
        self.replace_current(&before, release, Told { actor, action: "plugin.grant", details }).await
    }

    /// Puts `release`, which is loaded where it is to be called, in the place of the current version.
    pub(super) async fn replace_current(
        &self,
        before: &Entry,
        release: Arc<Release>,
        told: Told<'_>,
    ) -> Result<Arc<Installed>, PluginError> {
        let mut after = before.with_row(|_| {});
        after.releases.insert(before.row.current.clone(), release);
        let after = self.commit(Some(before), after, told).await?;
        Ok(after.shown(after.current()))
    }

    /// Switches a plugin on or off. Calls in flight finish.
    ///
    /// # Errors
    /// As [`Self::change`].
    pub async fn set_enabled(
        &self,
        owner: Owner,
        actor: &str,
        name: &str,
        enabled: bool,
    ) -> Result<Arc<Installed>, PluginError> {
        self.change(owner, actor, name, Change { enabled: Some(enabled), instances: None }).await
    }

    /// Changes how a plugin is called, all of it or nothing. A version installed later begins with the same. Calls in
    /// flight finish as they began.
    ///
    /// # Errors
    /// If there is no such plugin.
    pub async fn change(
        &self,
        owner: Owner,
        actor: &str,
        name: &str,
        change: Change,
    ) -> Result<Arc<Installed>, PluginError> {
        let Change { enabled, instances } = change;
        let action = match (enabled, instances) {
            (Some(true), _) => "plugin.enable",
            (Some(false), _) => "plugin.disable",
            (None, Some(_)) => "plugin.instances",
            (None, None) => {
                let there = self.known(owner, name)?;
                return Ok(there.shown(there.current()));
            }
        };
        let (_change, before, after) = loop {
            let before = self.known(owner, name)?;
            let mut after = before.with_row(|row| row.enabled = enabled.unwrap_or(row.enabled));
            if let Some(instances) = instances {
                let release = before.current().changed(|installed| installed.instances = instances);
                after.releases.insert(before.row.current.clone(), release);
            }
            if enabled == Some(true) {
                for release in after.called() {
                    release.load().await;
                }
            } else if after.row.enabled {
                after.current().load().await;
            }
            if let Some(change) = self.turn_for(&before).await {
                break (change, before, after);
            }
        };
        let installed = before.current().installed();
        let mut details = vec![("version", installed.version.clone())];
        if let Some(instances) = instances {
            details.push(("instances", word(instances)));
            details.push(("before", word(installed.instances)));
        }
        let after = self.commit(Some(&before), after, Told { actor, action, details }).await?;
        if !after.row.enabled {
            after.releases.values().for_each(|release| release.unload());
        }
        Ok(after.shown(after.current()))
    }
}

/// `fresh` or `warm`.
fn word(instances: Instances) -> String {
    let word = serde_json::to_value(instances).ok();
    word.and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default()
}

/// Name and version of a component that can be installed.
fn ready(inspection: &Inspection) -> Result<(String, String), PluginError> {
    match (&inspection.name, &inspection.version) {
        (Some(name), Some(version)) if inspection.problems.is_empty() => Ok((name.clone(), version.clone())),
        (name, _) => {
            let name = name.clone().unwrap_or_else(|| "without a name".to_owned());
            Err(PluginError::Problems { name, problems: inspection.problems.clone() })
        }
    }
}

/// What a component must be granted, and what it may be.
struct Wanted {
    requested: Vec<Privilege>,
    optional: Vec<Privilege>,
}

impl Wanted {
    fn of(inspection: &Inspection) -> Self {
        let privileges = |requests: &[Request]| requests.iter().map(|request| request.privilege).collect();
        Self { requested: privileges(&inspection.requests), optional: privileges(&inspection.optional) }
    }
}

/// Whether everything that is asked for is granted, and nothing that is of no use to it; each once.
fn check_grants(name: &str, wanted: &Wanted, grants: &[Grant]) -> Result<(), PluginError> {
    let Wanted { requested, optional } = wanted;
    let mut granted: Vec<Privilege> = Vec::new();
    for grant in grants {
        grant.check()?;
        let privilege = grant.privilege();
        if granted.contains(&privilege) {
            let reason = format!("{privilege} is granted twice; put everything into one");
            return Err(InvalidGrant { text: grant.to_string(), reason }.into());
        }
        granted.push(privilege);
    }
    let missing: Vec<_> =
        requested.iter().copied().filter(|privilege| !granted.contains(privilege)).collect();
    if !missing.is_empty() {
        return Err(PluginError::NotGranted { name: name.to_owned(), missing });
    }
    granted.retain(|privilege| !requested.contains(privilege) && !optional.contains(privilege));
    if !granted.is_empty() {
        return Err(PluginError::NotRequested { name: name.to_owned(), surplus: granted });
    }
    Ok(())
}

/// Whether the same is granted, in whatever order.
fn same_grants(one: &[Grant], other: &[Grant]) -> bool {
    one.len() == other.len() && one.iter().all(|grant| other.contains(grant))
}

pub(super) fn grants_text(grants: &[Grant]) -> String {
    grants.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
