//! Reads off a component, without running it, what it is and what it asks for.

use std::collections::BTreeSet;
use std::fmt;

use bellwether_store::Digest;
use serde::{Deserialize, Serialize};
use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::Types;
use wasmparser::{ComponentName, KnownCustom, Parser, Payload, Validator, WasmFeatures};

use crate::grant::{Privilege, ScopeKind};
use crate::{PluginError, limits, wasi};

/// The contract this host speaks: the version of both packages.
pub const CONTRACT: &str = "0.1.0";

const HOST_PACKAGE: &str = "bellwether:host/";
const PLUGIN_PACKAGE: &str = "bellwether:plugin/";

/// Interfaces that only hold types, so that importing them asks for nothing.
const WORDS: [&str; 5] = ["types", "metrics-types", "series-types", "records-types", "alerts-types"];

/// The fuller form of the role `dialect`.
const CONFIGURABLE_DIALECT: &str = "configurable-dialect";

/// What a plugin may be: the interface it exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginRole {
    /// Typed inputs become typed outputs.
    App,
    /// Speaks a vendor's HTTP API.
    Dialect,
    /// Drives the exchange of one notification with one channel.
    Formatter,
    /// Scores the points of series.
    Detector,
    /// Predicts the next points of a series.
    Forecaster,
    /// Pulls a batch from outside.
    Collector,
}

impl PluginRole {
    /// Every one there is.
    pub const ALL: [Self; 6] =
        [Self::App, Self::Dialect, Self::Formatter, Self::Detector, Self::Forecaster, Self::Collector];

    /// The interface's name in the package `bellwether:plugin`.
    #[must_use]
    pub fn interface(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Dialect => "dialect",
            Self::Formatter => "formatter",
            Self::Detector => "detector",
            Self::Forecaster => "forecaster",
            Self::Collector => "collector",
        }
    }

    /// Its name in a sentence.
    pub(crate) fn with_article(self) -> String {
        let article = if self == Self::App { "an" } else { "a" };
        format!("{article} {self}")
    }

    /// The role a component takes that exports an interface of the package `bellwether:plugin`.
    fn of_interface(interface: &str) -> Option<Self> {
        match interface {
            CONFIGURABLE_DIALECT => Some(Self::Dialect),
            _ => Self::ALL.into_iter().find(|role| role.interface() == interface),
        }
    }

    /// Whether this version of the host serves it; the others are drafts.
    #[must_use]
    pub fn is_served(self) -> bool {
        self != Self::Collector
    }

    /// Whether its answers depend on nothing but what a call is given: a component that takes such a role may ask for
    /// nothing.
    #[must_use]
    pub fn is_pure(self) -> bool {
        matches!(self, Self::Formatter | Self::Detector | Self::Forecaster)
    }
}

impl fmt::Display for PluginRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.interface())
    }
}

/// A privilege a component asks for, with what a reviewer needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Which.
    pub privilege: Privilege,
    /// What it lets the plugin do.
    pub purpose: &'static str,
    /// What its grant is limited by.
    pub scope: ScopeKind,
    /// A grant of it, as written on the command line.
    pub example: &'static str,
}

impl From<Privilege> for Request {
    fn from(privilege: Privilege) -> Self {
        Self {
            privilege,
            purpose: privilege.purpose(),
            scope: privilege.scope(),
            example: privilege.example(),
        }
    }
}

/// What a component is and asks for, read off its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Its name, from its metadata.
    pub name: Option<String>,
    /// Its version, from its metadata.
    pub version: Option<String>,
    /// What it says it is.
    pub description: Option<String>,
    /// The version of the contract it was made for.
    pub contract: Option<String>,
    /// The roles it takes.
    pub roles: Vec<PluginRole>,
    /// The privileges it asks for.
    pub requests: Vec<Request>,
    /// The privileges it may be given besides, and does without: its language's runtime imports their likes of WASI,
    /// whether its author uses them or not.
    pub optional: Vec<Request>,
    /// What its language's runtime imports of WASI, answered by an empty world.
    pub baseline: Vec<String>,
    /// Why it cannot be installed on this host; empty if nothing stands in the way.
    pub problems: Vec<String>,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Bytes of the file.
    pub size: u64,
}

/// Reads off a component what it is and asks for. It is checked whole and not run.
///
/// # Errors
/// [`PluginError::NotAComponent`] if the bytes are none, [`PluginError::TooLarge`] if there are too many.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, PluginError> {
    let limit = bellwether_engine::limits::COMPONENT;
    if bytes.len() > limit {
        return Err(PluginError::TooLarge { size: bytes.len(), limit });
    }
    if Parser::is_core_wasm(bytes) {
        return Err(PluginError::NotAComponent(
            "it is a core WebAssembly module; make it a component (`bellwether plugin build` or `wasm-tools component new` does)".into(),
        ));
    }
    if !Parser::is_component(bytes) {
        return Err(PluginError::NotAComponent("it does not begin as a WebAssembly component does".into()));
    }
    let malformed = |error: wasmparser::BinaryReaderError| {
        PluginError::NotAComponent(format!("it is malformed: {error}"))
    };
    let types =
        Validator::new_with_features(WasmFeatures::default()).validate_all(bytes).map_err(malformed)?;
    let mut found = Found::default();
    found.read(bytes, &types).map_err(malformed)?;
    Ok(found.judge(Digest::of(bytes), bytes.len() as u64))
}

/// What a component's own sections hold.
#[derive(Default)]
struct Found {
    name: Option<String>,
    version: Option<String>,
    description: Option<String>,
    /// Names of what is imported, and whether there is a function in it.
    imports: Vec<(String, bool)>,
    exports: Vec<String>,
}

impl Found {
    /// Reads the sections of the outermost component; what is nested in it is its own affair.
    fn read(&mut self, bytes: &[u8], types: &Types) -> wasmparser::Result<()> {
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                _ if depth > 1 => {}
                Payload::ComponentImportSection(section) => {
                    for import in section {
                        let name = import?.name.name;
                        self.imports.push((name.to_owned(), holds_functions(types, name)));
                    }
                }
                Payload::ComponentExportSection(section) => {
                    for export in section {
                        self.exports.push(export?.name.name.to_owned());
                    }
                }
                Payload::CustomSection(section) => match (section.as_known(), section.name()) {
                    (KnownCustom::ComponentName(names), _) => {
                        for name in names {
                            if let Ok(ComponentName::Component { name, .. }) = name {
                                self.name = Some(name.to_owned());
                            }
                        }
                    }
                    (_, "version") => self.version = text(section.data()),
                    (_, "description") => self.description = text(section.data()),
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(())
    }

    fn judge(self, digest: Digest, size: u64) -> Inspection {
        let mut problems = Vec::new();
        let mut versions = BTreeSet::new();
        let mut requests = BTreeSet::new();
        let mut optional = BTreeSet::new();
        let mut baseline = BTreeSet::new();
        let mut roles = BTreeSet::new();
        for (import, functions) in &self.imports {
            if wasi::is_baseline(import) {
                optional.extend(wasi::optional(import));
                baseline.insert(import.clone());
                continue;
            }
            let Some((interface, version)) =
                import.strip_prefix(HOST_PACKAGE).and_then(|rest| rest.split_once('@'))
            else {
                // An interface of the plugin package is imported for its types alone.
                if *functions || !import.starts_with(PLUGIN_PACKAGE) {
                    problems.push(format!("it imports {import}, which this host does not offer"));
                }
                continue;
            };
            versions.insert(version.to_owned());
            let privilege = Privilege::ALL.into_iter().find(|privilege| privilege.interface() == interface);
            match privilege {
                Some(privilege) if *functions => drop(requests.insert(privilege)),
                Some(_) => {}
                None if WORDS.contains(&interface) => {}
                None => problems.push(format!("it imports {import}, which this host does not offer")),
            }
        }
        for export in &self.exports {
            let Some((interface, version)) =
                export.strip_prefix(PLUGIN_PACKAGE).and_then(|rest| rest.split_once('@'))
            else {
                continue;
            };
            versions.insert(version.to_owned());
            match PluginRole::of_interface(interface) {
                Some(role) => {
                    roles.insert(role);
                    if !role.is_served() {
                        problems.push(format!(
                            "it is a {role}, a role this version of the host does not serve yet"
                        ));
                    }
                }
                None => problems.push(format!("it exports {export}, a role this host does not know")),
            }
        }
        for version in versions.iter().filter(|version| *version != CONTRACT) {
            problems.push(format!(
                "it is made for version {version} of the contract, this host speaks {CONTRACT}"
            ));
        }
        if let Some(pure) = roles.iter().find(|role| role.is_pure())
            && !requests.is_empty()
        {
            let asked: Vec<_> = requests.iter().map(|privilege: &Privilege| privilege.interface()).collect();
            problems.push(format!(
                "it is a {pure}, whose answers may depend on nothing but what it is given, and asks for {}: a {pure} imports nothing; put what needs more into a plugin of its own",
                asked.join(", ")
            ));
        }
        if roles.is_empty() {
            let known = PluginRole::ALL.map(PluginRole::interface).join(", ");
            problems.push(format!(
                "it takes no role: it exports none of {known} of bellwether:plugin@{CONTRACT}"
            ));
        }
        problems.extend(check_name(self.name.as_deref()));
        problems.extend(check_version(self.version.as_deref()));
        // What it asks for it must have.
        let optional = optional.difference(&requests).copied().map(Request::from).collect();
        // The newest tells most about a component put together from several.
        let contract = versions.into_iter().next_back();
        Inspection {
            name: self.name,
            version: self.version,
            description: self.description,
            contract,
            roles: roles.into_iter().collect(),
            requests: requests.into_iter().map(Request::from).collect(),
            optional,
            baseline: baseline.into_iter().collect(),
            problems,
            digest,
            size,
        }
    }
}

/// Whether what is imported under `name` is, or holds, anything but types.
fn holds_functions(types: &Types, name: &str) -> bool {
    match types.as_ref().component_item_for_import(name).map(|item| item.ty) {
        Some(ComponentEntityType::Instance(instance)) => {
            types[instance].exports.values().any(|item| !matches!(item.ty, ComponentEntityType::Type { .. }))
        }
        Some(ComponentEntityType::Type { .. }) => false,
        _ => true,
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(text.chars().take(limits::TEXT).collect())
}

fn check_name(name: Option<&str>) -> Option<String> {
    let expected = format!("expected 1 to {} characters of a-z, 0-9 and -, a letter first", limits::NAME);
    let good = |name: &str| {
        (1..=limits::NAME).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    match name {
        None => Some(format!("it has no name in its metadata, {expected}")),
        Some(name) if !good(name) => Some(format!("its name is {name:?}, {expected}")),
        Some(_) => None,
    }
}

fn check_version(version: Option<&str>) -> Option<String> {
    let expected = format!("expected 1 to {} characters as in 1.4.2", limits::VERSION);
    let good = |version: &str| {
        (1..=limits::VERSION).contains(&version.len())
            && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte))
    };
    match version {
        None => Some(format!("it has no version in its metadata, {expected}")),
        Some(version) if !good(version) => Some(format!("its version is {version:?}, {expected}")),
        Some(_) => None,
    }
}
