//! What is installed, as it is shown and as it is stored.

use bellwether_alerts::{DetectorDescription, ForecasterDescription, FormatterDescription};
use bellwether_engine::Instances;
use bellwether_kernel::value::Input;
use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_playbooks::AppDescription;
use bellwether_store::{Digest, Key, Space, StoreError, Versioned};
use serde::{Deserialize, Serialize};

use crate::LimitOverrides;
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

    /// Whose a plugin is, as a label on `/metrics`.
    pub(crate) fn label(self) -> String {
        match self {
            Self::Host => "host".to_owned(),
            Self::Organisation(id) => format!("organisation-{id}"),
        }
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

    /// Where it is kept that a plugin was removed, if it is: only of the host's, which come with the binary.
    pub(crate) fn removed_row(self, name: &str) -> Option<Key> {
        (self == Self::Host).then(|| Key::new(Space::PluginRemoved).text(name))
    }

    pub(crate) fn version_row(self, name: &str, version: &str) -> Key {
        Key::new(Space::PluginVersion).number(self.number()).text(name).text(version)
    }
}

/// One version of a plugin that is installed.
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
    /// What it is as a detector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detector: Option<DetectorDescription>,
    /// What it is as a forecaster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecaster: Option<ForecasterDescription>,
    /// What it is as a formatter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formatter: Option<FormatterDescription>,
    /// What it may use where it is other than the host's limits.
    pub limits: LimitOverrides,
    /// Whether its calls share instances.
    pub instances: Instances,
}

/// No component has this digest.
const UNKNOWN: [u8; 32] = [0; 32];

impl Installed {
    /// A version of which nothing reads, for whom it can be shown to.
    pub(crate) fn unknown(owner: Owner, name: &str, version: &str) -> Self {
        Self {
            owner,
            name: name.to_owned(),
            version: version.to_owned(),
            description: None,
            contract: String::new(),
            roles: Vec::new(),
            grants: Vec::new(),
            digest: Digest::from_bytes(UNKNOWN),
            size: 0,
            installed: Timestamp::MIN,
            // Not the host, which would bring it up to date without the grants it had.
            actor: String::new(),
            enabled: true,
            problem: None,
            app: None,
            dialect: None,
            detector: None,
            forecaster: None,
            formatter: None,
            limits: LimitOverrides::default(),
            instances: Instances::default(),
        }
    }

    /// Whether it is known which component it is.
    pub(crate) fn is_known(&self) -> bool {
        *self.digest.as_bytes() != UNKNOWN
    }

    /// Forgets what it said of itself when it was loaded last.
    pub(crate) fn forget_roles(&mut self) {
        (self.app, self.dialect) = (None, None);
        (self.detector, self.forecaster, self.formatter) = (None, None, None);
    }
}

/// What a dialect speaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DialectSummary {
    /// One sentence.
    pub summary: String,
    /// Its routes as `GET /path`, in the order they are tried.
    pub routes: Vec<String>,
    /// What each organisation can set.
    #[serde(default)]
    pub settings: Vec<Input>,
}

/// A plugin in the store: which of its versions are called. Each version has a row of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The version that is called.
    pub(crate) current: String,
    pub(crate) enabled: bool,
    pub(crate) canary: Option<CanaryRow>,
    /// How the canary before ended.
    pub(crate) ended: Option<CanaryEnd>,
    /// The only version of a plugin that a host of an earlier version installed, which kept it here.
    pub(crate) inherited: Option<VersionRow>,
    /// Which kept versions were current before, the latest last. A canary that was taken back never was.
    pub(crate) past: Vec<String>,
}

impl Row {
    pub(crate) fn new(current: &str) -> Self {
        Self {
            current: current.to_owned(),
            enabled: true,
            canary: None,
            ended: None,
            inherited: None,
            past: Vec::new(),
        }
    }

    /// Makes a version the current one, after the one that is.
    pub(crate) fn go_on_to(&mut self, version: &str) {
        let before = std::mem::replace(&mut self.current, version.to_owned());
        self.past.retain(|past| *past != before && past != version);
        if before != version {
            self.past.push(before);
        }
    }

    /// Makes a version the current one, as it was before those that followed it.
    pub(crate) fn go_back_to(&mut self, version: &str) {
        version.clone_into(&mut self.current);
        let at = self.past.iter().position(|past| past == version);
        self.past.truncate(at.unwrap_or(self.past.len()));
    }
}

impl Versioned for Row {
    const NAME: &'static str = "plugin";
    const VERSION: u8 = 3;

    fn upgrade(version: u8, bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Second {
            current: String,
            enabled: bool,
            canary: Option<CanaryRow>,
            ended: Option<CanaryEnd>,
            inherited: Option<VersionRow>,
        }
        if version == 2 {
            let Second { current, enabled, canary, ended, inherited } = postcard::from_bytes(bytes).ok()?;
            return Some(Self { current, enabled, canary, ended, inherited, past: Vec::new() });
        }
        #[derive(Deserialize)]
        struct First {
            version: String,
            description: Option<String>,
            contract: String,
            roles: Vec<PluginRole>,
            grants: Vec<String>,
            digest: Digest,
            size: u64,
            installed: Timestamp,
            actor: String,
            enabled: bool,
        }
        let first: First = (version == 1).then(|| postcard::from_bytes(bytes).ok()).flatten()?;
        let inherited = VersionRow {
            description: first.description,
            contract: first.contract,
            roles: first.roles,
            grants: first.grants,
            digest: first.digest,
            size: first.size,
            installed: first.installed,
            actor: first.actor,
            settings: "{}".to_owned(),
        };
        let enabled = first.enabled;
        Some(Self { enabled, inherited: Some(inherited), ..Self::new(&first.version) })
    }
}

/// A new version that is tried on a share of the calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CanaryRow {
    pub(crate) version: String,
    /// Hundredths of the calls.
    pub(crate) share: u8,
    pub(crate) since: Timestamp,
    pub(crate) actor: String,
}

/// How a canary ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryEnd {
    /// Which version it was.
    pub version: String,
    /// When it ended.
    pub at: Timestamp,
    /// How.
    pub how: CanaryOutcome,
    /// Why, if the host ended it.
    #[serde(default)]
    pub reason: Option<String>,
}

/// How a canary ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CanaryOutcome {
    /// It became the current version.
    Promoted,
    /// Somebody ended it.
    Aborted,
    /// The host ended it: it failed too often.
    RolledBack,
}

/// One version of a plugin in the store. What it says of itself lies beside it as a large value, see [`Described`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VersionRow {
    description: Option<String>,
    contract: String,
    roles: Vec<PluginRole>,
    /// Each as JSON, whose form is documented and read back by every later host.
    grants: Vec<String>,
    digest: Digest,
    size: u64,
    installed: Timestamp,
    actor: String,
    /// [`VersionSettings`] as JSON.
    settings: String,
}

/// What was set for a version: JSON, so that a later host can add to it.
#[derive(Default, Serialize, Deserialize)]
struct VersionSettings {
    #[serde(default)]
    limits: LimitOverrides,
    #[serde(default)]
    instances: Instances,
}

impl Versioned for VersionRow {
    const NAME: &'static str = "version of a plugin";
}

/// What a version said of itself when it was installed, as JSON: so that it need not be loaded to be found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Described {
    #[serde(default)]
    pub(crate) app: Option<AppDescription>,
    #[serde(default)]
    pub(crate) dialect: Option<DialectSummary>,
    #[serde(default)]
    pub(crate) detector: Option<DetectorDescription>,
    #[serde(default)]
    pub(crate) forecaster: Option<ForecasterDescription>,
    #[serde(default)]
    pub(crate) formatter: Option<FormatterDescription>,
}

impl Described {
    pub(crate) fn of(plugin: &Installed) -> Self {
        let Installed { app, dialect, detector, forecaster, formatter, .. } = plugin.clone();
        Self { app, dialect, detector, forecaster, formatter }
    }
}

impl VersionRow {
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn of(plugin: &Installed) -> Self {
        let json = |grant: &Grant| serde_json::to_string(grant).expect("a grant is plain data");
        Self {
            description: plugin.description.clone(),
            contract: plugin.contract.clone(),
            roles: plugin.roles.clone(),
            grants: plugin.grants.iter().map(json).collect(),
            digest: plugin.digest,
            size: plugin.size,
            installed: plugin.installed,
            actor: plugin.actor.clone(),
            settings: serde_json::to_string(&VersionSettings {
                limits: plugin.limits,
                instances: plugin.instances,
            })
            .expect("settings are plain data"),
        }
    }

    pub(crate) fn into_installed(
        self,
        owner: Owner,
        name: &str,
        version: &str,
        described: Described,
    ) -> Result<Installed, StoreError> {
        let damaged = |what: &str, error: serde_json::Error| {
            StoreError::Damaged(format!("{what} of the plugin {name} {version}: {error}"))
        };
        let settings: VersionSettings =
            serde_json::from_str(&self.settings).map_err(|error| damaged("the settings", error))?;
        let grants: Result<Vec<Grant>, _> =
            self.grants.iter().map(|json| serde_json::from_str(json)).collect();
        Ok(Installed {
            owner,
            name: name.to_owned(),
            version: version.to_owned(),
            description: self.description,
            contract: self.contract,
            roles: self.roles,
            grants: grants.map_err(|error| damaged("a grant", error))?,
            digest: self.digest,
            size: self.size,
            installed: self.installed,
            actor: self.actor,
            enabled: true,
            problem: None,
            app: described.app,
            dialect: described.dialect,
            detector: described.detector,
            forecaster: described.forecaster,
            formatter: described.formatter,
            limits: settings.limits,
            instances: settings.instances,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_does_not_say_what_was_current_before_is_read() {
        let second = ("1.0.0", true, None::<CanaryRow>, None::<CanaryEnd>, None::<VersionRow>);
        let bytes = postcard::to_extend(&second, vec![2]).unwrap();
        assert_eq!(bellwether_store::decode::<Row>(&bytes).unwrap(), Row::new("1.0.0"));
    }
}
