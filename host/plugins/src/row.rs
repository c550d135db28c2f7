//! What is installed, as it is shown and as it is stored.

use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_playbooks::AppDescription;
use bellwether_store::{Digest, Key, Space, StoreError, Versioned};
use serde::{Deserialize, Serialize};

use crate::grant::Grant;
use crate::inspect::PluginRole;

/// Who installed a plugin and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The host's operator, for every organisation.
    Host,
    /// An organisation, for itself.
    Organisation(OrganisationId),
}

impl Owner {
    /// The owner in keys: organisations count from 1.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Host => 0,
            Self::Organisation(id) => id.0,
        }
    }

    pub(crate) fn from_number(number: u64) -> Self {
        if number == 0 { Self::Host } else { Self::Organisation(OrganisationId(number)) }
    }

    /// The name a plugin's state is kept under. An organisation's own plugin does not get at the state of the host's
    /// of the same name.
    pub(crate) fn state_name(self, plugin: &str) -> String {
        match self {
            Self::Host => plugin.to_owned(),
            Self::Organisation(_) => format!("own/{plugin}"),
        }
    }

    pub(crate) fn rows(self) -> Key {
        Key::new(Space::Plugin).number(self.number())
    }

    pub(crate) fn row(self, name: &str) -> Key {
        self.rows().text(name)
    }
}

/// A plugin that is installed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Installed {
    /// Whose it is.
    pub owner: Owner,
    /// Its name, unique among its owner's.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it says it is.
    pub description: Option<String>,
    /// The version of the contract it was made for.
    pub contract: String,
    /// The roles it takes.
    pub roles: Vec<PluginRole>,
    /// What it was granted: exactly what it asks for.
    pub grants: Vec<Grant>,
    /// SHA-256 of the component.
    pub digest: Digest,
    /// Bytes of the component.
    pub size: u64,
    /// When this version was installed.
    pub installed: Timestamp,
    /// The id of the key it was installed with, or `host`.
    pub actor: String,
    /// Whether it is called.
    pub enabled: bool,
    /// Why it is not called although it is enabled: it did not load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What it takes and gives as an app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<AppDescription>,
    /// What it speaks as a dialect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<DialectSummary>,
}

/// What a dialect speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DialectSummary {
    /// One sentence.
    pub summary: String,
    /// Its routes as `GET /path`, in the order they are tried.
    pub routes: Vec<String>,
}

/// An installed plugin in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) version: String,
    pub(crate) description: Option<String>,
    pub(crate) contract: String,
    pub(crate) roles: Vec<PluginRole>,
    /// Each as JSON, whose form is documented and read back by every later host.
    grants: Vec<String>,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) installed: Timestamp,
    pub(crate) actor: String,
    pub(crate) enabled: bool,
}

impl Versioned for Row {
    const NAME: &'static str = "plugin";
}

impl Row {
    pub(crate) fn of(plugin: &Installed) -> Self {
        let json = |grant: &Grant| serde_json::to_string(grant).expect("a grant is plain data");
        Self {
            version: plugin.version.clone(),
            description: plugin.description.clone(),
            contract: plugin.contract.clone(),
            roles: plugin.roles.clone(),
            grants: plugin.grants.iter().map(json).collect(),
            digest: plugin.digest,
            size: plugin.size,
            installed: plugin.installed,
            actor: plugin.actor.clone(),
            enabled: plugin.enabled,
        }
    }

    pub(crate) fn into_installed(self, owner: Owner, name: String) -> Result<Installed, StoreError> {
        let grants: Result<Vec<Grant>, _> =
            self.grants.iter().map(|json| serde_json::from_str(json)).collect();
        let grants =
            grants.map_err(|error| StoreError::Damaged(format!("a grant of the plugin {name}: {error}")))?;
        Ok(Installed {
            owner,
            name,
            version: self.version,
            description: self.description,
            contract: self.contract,
            roles: self.roles,
            grants,
            digest: self.digest,
            size: self.size,
            installed: self.installed,
            actor: self.actor,
            enabled: self.enabled,
            problem: None,
            app: None,
            dialect: None,
        })
    }
}
