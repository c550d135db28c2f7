//! The plugins this binary carries, and their installation for every organisation.

use std::sync::atomic::{AtomicUsize, Ordering};

use bellwether_front::Progress;
use bellwether_plugins::{
    Grant, Instances, NewVersion, Owner, PluginError, Plugins, Privilege, ScopeKind, inspect,
};
use bellwether_store::Digest;
use bytes::Bytes;
use futures::StreamExt as _;

/// Plugins installed at once: a compilation is spread over the cores but for its ends, and waits for the disk.
const AT_ONCE: usize = 4;

/// Who installs what the binary carries, in the audit log: the host by itself.
const ACTOR: &str = "host";

/// A component the binary carries.
pub(super) struct Bundled {
    /// Its file's name, without the ending.
    pub(super) file: &'static str,
    /// Its bytes.
    pub(super) component: &'static [u8],
    /// SHA-256 of them.
    pub(super) digest: [u8; 32],
}

/// Every component the binary carries.
pub(super) const BUNDLED: &[Bundled] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// Installs what is not there yet, in whatever version, and makes newer versions the current ones where the host
/// installed the older ones itself. What the operator did stays: its own plugin of the same name, its changes to grants,
/// its going back to an earlier version, and its removing one. A plugin that does not install is told and left out; the
/// host starts all the same.
pub(super) async fn install(plugins: &Plugins, bundled: &[Bundled], progress: &Progress) {
    if bundled.is_empty() {
        tracing::warn!(
            "this binary carries no plugins: it was built without them; install some with `bellwether plugin install`"
        );
    }
    // A start that finds them all does not read them, so that they take no memory.
    let is_missing = |bundled: &&Bundled| !plugins.keeps(Owner::Host, &Digest::from_bytes(bundled.digest));
    let missing: Vec<&Bundled> = bundled.iter().filter(is_missing).collect();
    let all = missing.len();
    let told = |done: usize| progress.tell(format!("compiling plugin {} of {all}", (done + 1).min(all)));
    let done = AtomicUsize::new(0);
    told(0);
    let (told, done) = (&told, &done);
    let installs = missing.into_iter().map(|Bundled { file, component, .. }| async move {
        if let Err(error) = install_one(plugins, file, component).await {
            tracing::error!(plugin = file, %error, "a bundled plugin was not installed");
        }
        told(done.fetch_add(1, Ordering::Relaxed) + 1);
    });
    futures::stream::iter(installs).for_each_concurrent(AT_ONCE, |install| install).await;
}

async fn install_one(plugins: &Plugins, file: &str, component: &'static [u8]) -> Result<(), PluginError> {
    let inspection = inspect(component)?;
    let name = inspection.name.as_deref().unwrap_or(file);
    let before = plugins.get(Owner::Host, name);
    if let Some(own) = before.as_ref().filter(|before| before.actor != ACTOR) {
        tracing::info!(
            plugin = name,
            version = own.version,
            "the operator's own plugin stays in place of the bundled one"
        );
        return Ok(());
    }
    if before.is_none() && plugins.was_removed(name).await? {
        tracing::info!(plugin = name, "a bundled plugin stays removed until it is installed again");
        return Ok(());
    }
    let kept = before.as_ref().map_or(&[][..], |before| &before.grants);
    let grants = inspection.requests.iter().map(|request| grant(request.privilege, kept)).collect();
    let version = inspection.version.as_deref().unwrap_or_default();
    let replaces = before.as_ref().map(|before| before.version.as_str()).unwrap_or_default();
    tracing::info!(plugin = name, version, replaces, "compiling and installing a bundled plugin");
    // They keep nothing between calls, so that these may share instances.
    let (component, replace) = (Bytes::from_static(component), before.is_some());
    let new = NewVersion { component, grants, replace, instances: Instances::Warm };
    plugins.install_version(Owner::Host, ACTOR, new).await?;
    Ok(())
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
    use super::*;

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
