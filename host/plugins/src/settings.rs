//! What organisations have set of the host's dialects: a row each, and all of them in memory, since every call asks.

use std::collections::HashMap;
use std::sync::Arc;

use bellwether_kernel::OrganisationId;
use bellwether_store::{
    Batch, Direction, Key, SharedStore, Space, StoreError, Versioned, Walk, decode, encode,
};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// Rows deleted in one commit.
const PAGE: usize = 500;

/// What was set, as JSON: the settings that are not given have their defaults.
pub(crate) type Given = Map<String, Json>;

/// What organisations have set, by organisation and plugin.
#[derive(Default)]
pub(crate) struct KeptSettings(RwLock<HashMap<OrganisationId, HashMap<String, Arc<Given>>>>);

/// What an organisation has set of a plugin in the store: JSON, whose form is documented.
#[derive(Serialize, Deserialize)]
struct SettingsRow(String);

impl Versioned for SettingsRow {
    const NAME: &'static str = "settings of a plugin";
}

impl KeptSettings {
    /// All there are in the store.
    pub(crate) async fn read(store: &SharedStore) -> Result<Self, StoreError> {
        let kept = Self::default();
        let mut rows = Walk::forward(&**store, Key::new(Space::PluginSettings).prefix());
        let read = |key: &Key, value: &[u8]| {
            let damaged = || StoreError::Damaged(format!("the settings of a plugin: {key:?}"));
            let SettingsRow(text) = decode(value)?;
            let given: Given = serde_json::from_str(&text).map_err(|_| damaged())?;
            Ok((place(key).ok_or_else(damaged)?, given))
        };
        // Those whose settings do not read have the defaults.
        while let Some((.., ((plugin, organisation), given))) = rows.next_read(read).await? {
            kept.keep(organisation, &plugin, Some(given));
        }
        Ok(kept)
    }

    pub(crate) fn get(&self, organisation: OrganisationId, plugin: &str) -> Option<Arc<Given>> {
        self.0.read().get(&organisation)?.get(plugin).cloned()
    }

    /// How many organisations have set anything of a plugin.
    pub(crate) fn organisations(&self, plugin: &str) -> usize {
        self.0.read().values().filter(|own| own.contains_key(plugin)).count()
    }

    /// Lets what was committed be found; `None` for what is set no more.
    pub(crate) fn keep(&self, organisation: OrganisationId, plugin: &str, given: Option<Given>) {
        let mut all = self.0.write();
        let own = all.entry(organisation).or_default();
        match given {
            Some(given) => drop(own.insert(plugin.to_owned(), Arc::new(given))),
            None => drop(own.remove(plugin)),
        }
    }

    /// Knows no more of an organisation that is gone.
    pub(crate) fn forget(&self, organisation: OrganisationId) {
        self.0.write().remove(&organisation);
    }

    /// Writes what an organisation sets.
    pub(crate) fn put(batch: &mut Batch, organisation: OrganisationId, plugin: &str, given: Option<&Given>) {
        let key = of_plugin(plugin).number(organisation.0);
        match given {
            Some(given) => {
                let text = serde_json::to_string(given).expect("what was JSON is JSON");
                batch.put(key, encode(&SettingsRow(text)));
            }
            None => {
                batch.delete(key);
            }
        }
    }

    /// Forgets what any organisation has set of a plugin, as much as one commit takes; gives whether nothing is left.
    pub(crate) async fn clear_some(&self, store: &SharedStore, plugin: &str) -> Result<bool, StoreError> {
        let rows = store.scan(of_plugin(plugin).prefix(), Direction::Forward, PAGE).await?;
        if rows.is_empty() {
            return Ok(true);
        }
        let mut batch = Batch::new();
        for (key, _) in &rows {
            batch.delete(key.clone());
        }
        store.commit(batch).await?;
        for (_, organisation) in rows.iter().filter_map(|(key, _)| place(key)) {
            self.keep(organisation, plugin, None);
        }
        Ok(rows.len() < PAGE)
    }
}

fn of_plugin(plugin: &str) -> Key {
    Key::new(Space::PluginSettings).text(plugin)
}

fn place(key: &Key) -> Option<(String, OrganisationId)> {
    let mut fields = key.fields();
    Some((fields.text()?, OrganisationId(fields.number()?)))
}
