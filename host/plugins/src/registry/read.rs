//! What a start reads of the plugins that are installed. What of one does not read keeps no other from being served: it is
//! listed with its problem and not called, until another version of it is installed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellwether_store::{Key, Space, StoreError, Walk, get_large};
use tokio::sync::mpsc::UnboundedSender;

use super::release::Release;
use super::{Entry, Table, canary};
use crate::PluginError;
use crate::canary::{Trial, Verdict};
use crate::host::Shared;
use crate::row::{CanaryRow, Described, Installed, Owner, Row, VersionRow};

/// The version of a plugin of which no row says any.
const NO_VERSION: &str = "unknown";

/// Versions of plugins, by owner and name.
type Kept = BTreeMap<(u64, String), BTreeMap<String, Arc<Release>>>;

/// Reads everything that is installed; nothing of it is loaded yet.
pub(super) async fn read_table(
    shared: &Arc<Shared>,
    verdicts: &UnboundedSender<Verdict>,
) -> Result<Table, PluginError> {
    let store = &shared.services.store;
    let (mut table, mut kept) = (Table::default(), read_versions(shared).await?);
    let mut plugins = Walk::forward(&**store, Key::new(Space::Plugin).prefix());
    while let Some((key, stored, (number, name))) = plugins.next_read(|key, _| plugin_of(key)).await? {
        let owner = Owner::from_number(number);
        let mut releases = kept.remove(&(number, name.clone())).unwrap_or_default();
        let row = match store.unread().decode::<Row>(&key, &stored) {
            Some(row) => row,
            None => unread_row(shared, owner, &name, &mut releases),
        };
        if let Some(inherited) = row.inherited.clone() {
            let release =
                release_of(shared, &key, owner, (&name, &row.current), inherited, Described::default());
            releases.insert(row.current.clone(), release);
        }
        let needed = std::iter::once(&row.current).chain(row.canary.iter().map(|canary| &canary.version));
        for version in needed {
            releases.entry(version.clone()).or_insert_with(|| {
                let why = format!("version {version} of the plugin {name} is missing");
                store.unread().tell(&key, &why);
                Release::not_read(shared, Installed::unknown(owner, &name, version), why)
            });
        }
        let trial = row.canary.as_ref().map(|CanaryRow { version, share, .. }| {
            let clock = Arc::clone(&shared.services.clock);
            Arc::new(Trial::new(owner, &name, version, *share, verdicts.clone(), clock))
        });
        let entry = Arc::new(Entry { owner, name, row, stored, releases, trial });
        canary::show(&entry);
        table.put(entry);
    }
    Ok(table)
}

async fn read_versions(shared: &Arc<Shared>) -> Result<Kept, PluginError> {
    let store = &shared.services.store;
    let mut kept = Kept::new();
    let mut versions = Walk::forward(&**store, Key::new(Space::PluginVersion).prefix());
    while let Some((key, value, (number, name, version))) =
        versions.next_read(|key, _| version_of(key)).await?
    {
        let owner = Owner::from_number(number);
        // It says so again when it is loaded.
        let described = store.unread().unless_damaged(&key, get_large(&**store, &key).await)?.flatten();
        let described = described.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let release = match store.unread().decode::<VersionRow>(&key, &value) {
            Some(row) => release_of(shared, &key, owner, (&name, &version), row, described),
            None => {
                let installed = Installed::unknown(owner, &name, &version);
                Release::not_read(shared, installed, does_not_read(&name, &version))
            }
        };
        kept.entry((number, name)).or_default().insert(version, release);
    }
    Ok(kept)
}

/// A version with what was set for it, unless that does not read.
fn release_of(
    shared: &Arc<Shared>,
    key: &Key,
    owner: Owner,
    (name, version): (&str, &str),
    row: VersionRow,
    described: Described,
) -> Arc<Release> {
    let digest = row.digest();
    match row.into_installed(owner, name, version, described) {
        Ok(installed) => Release::idle(shared, installed),
        Err(error) => {
            let why = match error {
                StoreError::Damaged(why) => why,
                error => error.to_string(),
            };
            shared.services.store.unread().tell(key, &why);
            Release::not_read(shared, Installed { digest, ..Installed::unknown(owner, name, version) }, why)
        }
    }
}

/// What a plugin is taken for whose row does not read: which version is the current one is not known, so the newest is
/// shown and not called.
fn unread_row(
    shared: &Arc<Shared>,
    owner: Owner,
    name: &str,
    releases: &mut BTreeMap<String, Arc<Release>>,
) -> Row {
    let newest = releases.values().map(|release| release.installed()).max_by_key(|version| version.installed);
    let newest = newest
        .map_or_else(|| Installed::unknown(owner, name, NO_VERSION), |newest| Installed::clone(&newest));
    let row = Row::new(&newest.version);
    let why = format!("the row of the plugin {name} does not read");
    releases.insert(row.current.clone(), Release::not_read(shared, newest, why));
    row
}

fn does_not_read(name: &str, version: &str) -> String {
    format!("the row of version {version} of the plugin {name} does not read")
}

fn plugin_of(key: &Key) -> Result<(u64, String), StoreError> {
    let mut fields = key.fields();
    fields.number().zip(fields.text()).ok_or_else(|| bad_key(key))
}

fn version_of(key: &Key) -> Result<(u64, String, String), StoreError> {
    let mut fields = key.fields();
    let place = fields.number().and_then(|owner| Some((owner, fields.text()?, fields.text()?)));
    place.ok_or_else(|| bad_key(key))
}

fn bad_key(key: &Key) -> StoreError {
    StoreError::Damaged(format!("the key of a plugin: {key:?}"))
}
