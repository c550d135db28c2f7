//! The plugins the host's binary carries, and their installation for every organisation.

use std::sync::Arc;

use bellwether_engine::Instances;
use bellwether_kernel::FieldError;
use bytes::Bytes;

use super::{NewVersion, Plugins};
use crate::grant::{Grant, Privilege, ScopeKind};
use crate::inspect::inspect;
use crate::row::{Installed, Owner};
use crate::{Inspection, PluginError};

/// Who installed what the binary carries: the host, which brings it up to date by itself.
pub(super) const HOST: &str = "host";

/// A component the host's binary carries.
#[derive(Clone, Copy)]
pub struct Bundled {
    /// The plugin's name.
    pub name: &'static str,
    /// SHA-256 of the component.
    pub digest: [u8; 32],
    /// The component.
    pub component: &'static [u8],
}

impl Plugins {
    /// What the binary carries and the host does not have in this version. They are not read, so that they take no memory.
    #[must_use]
    pub fn unlike_bundled(&self) -> Vec<&'static Bundled> {
        let installed = self.table().installed();
        let of_host = installed.iter().filter(|installed| installed.owner == Owner::Host);
        let kept: Vec<_> = of_host.map(|installed| *installed.digest.as_bytes()).collect();
        self.shared.services.bundled.iter().filter(|bundled| !kept.contains(&bundled.digest)).collect()
    }

    /// Installs what the binary carries if the host does not have it, in whatever version, and makes a newer version the
    /// current one where the host installed the older one itself. What the operator did stays: its own plugin of the same
    /// name, its changes to grants, its going back to an earlier version, and its removing one.
    ///
    /// # Errors
    /// As [`Self::install`].
    pub async fn keep_up_with(&self, bundled: &'static Bundled) -> Result<(), PluginError> {
        let plugin = bundled.name;
        let before = self.get(Owner::Host, plugin);
        if let Some(own) = before.as_ref().filter(|before| before.actor != HOST) {
            let version = &own.version;
            tracing::info!(plugin, version, "the operator's own plugin stays in place of the bundled one");
            return Ok(());
        }
        if before.is_none() && self.was_removed(plugin).await? {
            tracing::info!(plugin, "a bundled plugin stays removed until it is installed again");
            return Ok(());
        }
        // A field that is `None` is not written.
        let replaces = before.as_ref().map(|before| before.version.as_str());
        tracing::info!(plugin, replaces, "compiling and installing a bundled plugin");
        self.install_carried(bundled, HOST, Vec::new(), before.is_some()).await.map(drop)
    }

    /// Installs a plugin the binary carries anew, or in place of another version, as when the host first started: with the
    /// grants it is given, those it had, and the widest of the rest; the host keeps it up to date from then on.
    ///
    /// # Errors
    /// As [`Self::install`], and if the binary carries none of that name.
    pub async fn install_bundled(
        &self,
        actor: &str,
        name: &str,
        grants: Vec<Grant>,
        replace: bool,
    ) -> Result<Arc<Installed>, PluginError> {
        let all = self.shared.services.bundled;
        let found = all.iter().find(|bundled| bundled.name == name);
        let bundled = found.ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|bundled| bundled.name).collect();
            let known = if names.is_empty() {
                "none: this binary carries no plugins".to_owned()
            } else {
                names.join(", ")
            };
            FieldError::new("bundled", name, format!("a plugin this binary carries, which are {known}"))
        })?;
        self.install_carried(bundled, actor, grants, replace).await
    }

    async fn install_carried(
        &self,
        bundled: &'static Bundled,
        actor: &str,
        mut grants: Vec<Grant>,
        replace: bool,
    ) -> Result<Arc<Installed>, PluginError> {
        let component = Bytes::from_static(bundled.component);
        let inspected = tokio::task::spawn_blocking(move || inspect(bundled.component));
        let Inspection { requests, .. } = inspected.await.expect("inspecting does not panic")?;
        let before = self.get(Owner::Host, bundled.name);
        let kept = before.as_ref().map_or(&[][..], |before| &before.grants);
        let given: Vec<_> = grants.iter().map(Grant::privilege).collect();
        let rest = requests.iter().map(|request| request.privilege).filter(|asked| !given.contains(asked));
        grants.extend(rest.map(|privilege| grant(privilege, kept)));
        // They keep nothing between calls, so that these may share instances.
        let new = NewVersion { component, grants, replace, instances: Instances::Warm, carried: true };
        self.install_version(Owner::Host, actor, new).await
    }

    /// Whether a plugin of the host's of that name was removed, and none has been installed since.
    pub(super) async fn was_removed(&self, name: &str) -> Result<bool, PluginError> {
        let Some(row) = Owner::Host.removed_row(name) else { return Ok(false) };
        Ok(self.shared.services.store.get(&row).await?.is_some())
    }
}

/// What a bundled plugin is granted: what it was before, or the widest scope; but no host to connect to, which only an
/// operator can say.
fn grant(privilege: Privilege, kept: &[Grant]) -> Grant {
    if let Some(kept) = kept.iter().find(|grant| grant.privilege() == privilege) {
        return kept.clone();
    }
    let text = match privilege.scope() {
        ScopeKind::None | ScopeKind::Quota => privilege.interface().to_owned(),
        ScopeKind::Metrics | ScopeKind::Monitors => format!("{privilege}=*"),
        ScopeKind::Kinds => format!("{privilege}=events,logs"),
        ScopeKind::Hosts => format!("{privilege}=none"),
    };
    text.parse().expect("a privilege with all of its scope, or with none, is a grant")
}

#[cfg(test)]
mod tests {
    use bellwether_access::{AuditFilter, AuditScope};
    use bellwether_kernel::PageRequest;
    use bellwether_store::Digest;

    use super::*;
    use crate::testing::{House, app, named_app};

    /// A house whose binary carries these.
    async fn house(carried: &[(&'static str, Bytes)]) -> House {
        let mut house = House::new().await;
        let carry = |(name, component): &(&'static str, Bytes)| Bundled {
            name,
            digest: *Digest::of(component).as_bytes(),
            component: component.to_vec().leak(),
        };
        house.services.bundled = carried.iter().map(carry).collect::<Vec<_>>().leak();
        house
    }

    const LOG: &str = r#"(import "bellwether:host/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;

    #[tokio::test]
    async fn a_bundled_plugin_stays_removed_until_it_is_installed_by_its_name_and_is_the_hosts_again() {
        let house = house(&[("probe", app(LOG, "", "(global.get $ok)"))]).await;
        let plugins = house.plugins().await;
        let keep_up = async || {
            for bundled in plugins.unlike_bundled() {
                plugins.keep_up_with(bundled).await.unwrap();
            }
        };
        keep_up().await;
        let first = plugins.get(Owner::Host, "probe").unwrap();
        assert_eq!((first.actor.as_str(), first.grants.len()), (HOST, 1));
        assert!(plugins.unlike_bundled().is_empty());

        plugins.remove(Owner::Host, "key", "probe").await.unwrap();
        keep_up().await;
        assert!(plugins.get(Owner::Host, "probe").is_none());
        let again = plugins.install_bundled("key", "probe", Vec::new(), false).await.unwrap();
        assert_eq!((again.actor.as_str(), again.grants.len()), (HOST, 1));
        assert_eq!(again.instances, Instances::Warm);
        let filter = AuditFilter { action: Some("plugin.install".to_owned()), ..AuditFilter::default() };
        let access = &house.services.access;
        let log = access.audit_log(AuditScope::Host, &filter, &PageRequest::first(10)).await.unwrap();
        let actors: Vec<_> = log.items.iter().map(|entry| entry.actor.as_str()).collect();
        assert_eq!(actors, ["key", HOST]);

        let unknown =
            plugins.install_bundled("key", "prob", Vec::new(), false).await.unwrap_err().to_string();
        assert!(unknown.contains("\"prob\"") && unknown.contains("which are probe"), "{unknown}");
    }

    #[tokio::test]
    async fn the_operators_own_plugin_of_that_name_stays_until_the_bundled_one_is_asked_for() {
        let house = house(&[("probe", named_app("probe", "2.0.0", "", "", "(global.get $ok)"))]).await;
        let plugins = house.plugins().await;
        let own = named_app("probe", "1.0.0", "", "", "(global.get $ok)");
        plugins.install(Owner::Host, "key", own, Vec::new(), false).await.unwrap();
        plugins.keep_up_with(plugins.unlike_bundled()[0]).await.unwrap();
        assert_eq!(plugins.get(Owner::Host, "probe").unwrap().version, "1.0.0");
        plugins.install_bundled("key", "probe", Vec::new(), false).await.unwrap();
        assert_eq!(plugins.get(Owner::Host, "probe").unwrap().version, "2.0.0");
    }

    #[test]
    fn a_grant_the_operator_changed_stays_as_it_is() {
        let kept: [Grant; 2] =
            ["metrics-write=web.*", "http-client=https://api.example.com"].map(|text| text.parse().unwrap());
        for (privilege, kept_as, fresh) in [
            (Privilege::MetricsWrite, "metrics-write=web.*", "metrics-write=*"),
            (Privilege::MetricsRead, "metrics-read=*", "metrics-read=*"),
            (Privilege::Log, "log", "log"),
            (Privilege::HttpClient, "http-client=https://api.example.com", "http-client=none"),
        ] {
            assert_eq!(grant(privilege, &kept).to_string(), kept_as);
            assert_eq!(grant(privilege, &[]).to_string(), fresh);
        }
    }

    #[test]
    fn every_privilege_has_a_grant_to_begin_with() {
        for privilege in Privilege::ALL {
            assert_eq!(grant(privilege, &[]).privilege(), privilege);
        }
    }
}
