//! How plugins do, what they may use, what they logged and where they trapped.

use std::sync::Arc;

use bellwether_engine::CallError;
use bellwether_kernel::{FieldError, OrganisationId};
use serde::Serialize;

use super::{Entry, Plugins, Release, Told, VersionState};
use crate::row::{Installed, Owner};
use crate::seen::{LoggedLine, PluginStats, TrapRecord};
use crate::{LimitOverrides, PluginError};

/// How one version of a plugin does.
#[derive(Clone, Debug, Serialize)]
pub struct VersionStats {
    /// Whether it is called.
    pub state: VersionState,
    /// What its calls came to since this host loaded it.
    #[serde(flatten)]
    pub stats: PluginStats,
}

/// What the calls of a plugin's current version may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionLimits {
    /// The version.
    pub version: String,
    /// What was set for it; a version installed later begins with the same.
    pub set: LimitOverrides,
    /// What holds: that, and the host's limits for the rest.
    pub effective: LimitOverrides,
}

/// A line a version of a plugin logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionLine {
    /// The version.
    pub version: String,
    /// The line.
    #[serde(flatten)]
    pub logged: LoggedLine,
}

/// A trap of a version of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionTrap {
    /// The version.
    pub version: String,
    /// The trap.
    #[serde(flatten)]
    pub trap: TrapRecord,
}

impl Plugins {
    /// How the versions of a plugin do that are loaded, the current one first.
    ///
    /// # Errors
    /// If there is no such plugin.
    pub fn stats(&self, owner: Owner, name: &str) -> Result<Vec<VersionStats>, PluginError> {
        self.stats_for(owner, name, None)
    }

    /// As [`Self::stats`], but each breaker as it is for `organisation`, if given; else for whom it is worst.
    ///
    /// # Errors
    /// If there is no such plugin.
    pub fn stats_for(
        &self,
        owner: Owner,
        name: &str,
        organisation: Option<OrganisationId>,
    ) -> Result<Vec<VersionStats>, PluginError> {
        let entry = self.known(owner, name)?;
        let mut stats: Vec<_> = entry.loaded().collect();
        stats.sort_by_key(|(release, _)| entry.kept(release).state != VersionState::Current);
        let stats = stats.iter().map(|(release, served)| VersionStats {
            state: entry.kept(release).state,
            stats: served.loaded.stats(organisation),
        });
        Ok(stats.collect())
    }

    /// What a plugin's calls logged last, oldest first, as `organisation` may see it: the lines of its own calls. The
    /// operator sees those of calls without a caller, and why an answer was refused; whoever owns a plugin sees these
    /// too.
    ///
    /// # Errors
    /// If there is no such plugin.
    pub fn logs(
        &self,
        owner: Owner,
        name: &str,
        organisation: Option<OrganisationId>,
    ) -> Result<Vec<VersionLine>, PluginError> {
        let entry = self.known(owner, name)?;
        let mut lines = Vec::new();
        for (release, served) in entry.loaded() {
            let version = release.installed().version.clone();
            let mut logged = served.loaded.logs(organisation);
            if organisation.is_some() && owner != Owner::Host {
                logged.extend(served.loaded.logs(None));
            }
            lines.extend(logged.into_iter().map(|logged| VersionLine { version: version.clone(), logged }));
        }
        lines.sort_by_key(|line| line.logged.line.time);
        Ok(lines)
    }

    /// A plugin's last traps, oldest first.
    ///
    /// # Errors
    /// If there is no such plugin.
    pub fn traps(&self, owner: Owner, name: &str) -> Result<Vec<VersionTrap>, PluginError> {
        let entry = self.known(owner, name)?;
        let mut traps = Vec::new();
        for (release, served) in entry.loaded() {
            let version = release.installed().version.clone();
            let of = |trap| VersionTrap { version: version.clone(), trap };
            traps.extend(served.loaded.traps().into_iter().map(of));
        }
        traps.sort_by_key(|trap| trap.trap.time);
        Ok(traps)
    }

    /// What the calls of a plugin's current version may use.
    ///
    /// # Errors
    /// If there is no such plugin.
    pub fn limits(&self, owner: Owner, name: &str) -> Result<VersionLimits, PluginError> {
        let installed = self.known(owner, name)?.current().installed();
        Ok(self.limits_of(&installed))
    }

    fn limits_of(&self, installed: &Installed) -> VersionLimits {
        let host = &self.shared.limits;
        let effective = host.with(&installed.limits.of(installed.owner, host)).shown();
        VersionLimits { version: installed.version.clone(), set: installed.limits, effective }
    }

    /// Gives the current version limits of its own; what is not set is as the host has it. It is loaded with them before
    /// anybody is sent to it, so that none takes it out of service. Calls in flight finish under the old ones. An
    /// organisation can only tighten what the host allows.
    ///
    /// # Errors
    /// If there is no such plugin, a limit cannot be held or is above the host's, or the version does not load with them;
    /// nothing is changed then.
    pub async fn set_limits(
        &self,
        owner: Owner,
        actor: &str,
        name: &str,
        limits: LimitOverrides,
    ) -> Result<VersionLimits, PluginError> {
        limits.check()?;
        if owner != Owner::Host {
            check_within(&limits, &self.shared.limits.shown())?;
        }
        let (_change, before, release) = loop {
            let before = self.known(owner, name)?;
            let release = before.current().changed(|installed| installed.limits = limits);
            let loaded = release.served().await.map(drop);
            if let Some(change) = self.turn_for(&before).await {
                loaded.map_err(|error| too_tight(&limits, error))?;
                break (change, before, release);
            }
        };
        let installed = before.current().installed();
        let text = |limits: &LimitOverrides| serde_json::to_string(limits).expect("limits are plain data");
        let details = vec![
            ("version", installed.version.clone()),
            ("limits", text(&limits)),
            ("before", text(&installed.limits)),
        ];
        let told = Told { actor, action: "plugin.limits", details };
        let after = self.replace_current(&before, Arc::clone(&release), told).await?;
        if !after.enabled {
            release.unload();
        }
        Ok(self.limits_of(&after))
    }
}

impl Entry {
    pub(super) fn loaded(&self) -> impl Iterator<Item = (&Arc<Release>, Arc<crate::plugin::Served>)> {
        self.releases.values().filter_map(|release| Some((release, release.peek()?)))
    }
}

/// Whether each limit that is set is at most what the host has.
fn check_within(limits: &LimitOverrides, host: &LimitOverrides) -> Result<(), FieldError> {
    let (limits, host) = (fields(limits), fields(host));
    for (name, value) in limits {
        let most = host.iter().find(|(field, _)| *field == name).map_or(u64::MAX, |(_, most)| *most);
        if value > most {
            return Err(FieldError::new(name, value, format!("at most {most}, what the host allows")));
        }
    }
    Ok(())
}

/// Why a version did not load, told as the limit that was too low for it where it was one of `set`.
fn too_tight(set: &LimitOverrides, error: PluginError) -> PluginError {
    let PluginError::Call { source, version, name, .. } = &error else { return error };
    let field = match source {
        CallError::Deadline { .. } => "call_milliseconds",
        CallError::Processor { .. } => "processor_milliseconds",
        CallError::Memory { .. } => "memory_bytes",
        CallError::Tables { .. } => "table_entries",
        CallError::HostCalls { .. } => "host_calls",
        CallError::HostBytes { .. } => "host_call_bytes",
        CallError::Transfer { .. } => "transfer_bytes",
        _ => return error,
    };
    match fields(set).into_iter().find(|(limit, _)| limit == field) {
        Some((field, value)) => {
            let expected = format!(
                "enough for version {version} of {name} to load, which did not ({error}); nothing was changed"
            );
            FieldError::new(field, value, expected).into()
        }
        None => error,
    }
}

/// The limits that are set, by name.
fn fields(limits: &LimitOverrides) -> Vec<(String, u64)> {
    let value = serde_json::to_value(limits).expect("limits are plain data");
    let fields = value.as_object().into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.clone(), value.as_u64()?))).collect()
}
