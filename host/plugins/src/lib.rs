//! The only crate that names the contract: what is installed and what it may do; answers plugins' imports from the
//! other crates, and serves their roles to them.
//!
//! A plugin's imports are its permission request ([`inspect`]); an install grants each within a scope ([`Grant`]);
//! nothing else is linked. Every call runs within limits ([`Limits`]), on an instance of its own unless its plugin's
//! are kept warm, and every error names the plugin, its version and the call.

mod app;
mod backtrace;
mod bindings;
mod canary;
mod declared;
mod detector;
mod dialect;
#[cfg(test)]
mod durable_tests;
mod egress;
mod error;
mod forecaster;
mod formatter;
mod grant;
mod host;
#[cfg(test)]
mod hostile_tests;
mod inspect;
pub mod limits;
mod log;
mod manifest;
mod overrides;
mod plugin;
mod registry;
mod role;
mod route;
mod row;
mod seen;
mod settings;
mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod value;
mod wasi;

pub use bellwether_access::{Destination, InvalidDestination};
pub use bellwether_engine::{BreakerPhase, BreakerState, Instances};
pub use bellwether_metrics::{InvalidPattern, NamePattern};
pub use canary::Tally;
pub use dialect::{Dialect, DialectRequest, DialectResponse};
pub use error::PluginError;
pub use grant::{Grant, InvalidGrant, Privilege, ScopeKind};
pub use host::Services;
pub use inspect::{CONTRACT, Inspection, PluginRole, Request, inspect};
pub use limits::Limits;
pub use manifest::{AppManifest, DetectorManifest, ForecasterManifest, FormatterManifest, Manifest};
pub use overrides::LimitOverrides;
pub use registry::{
    Bundled, Canary, Change, DialectSettings, DialectVersions, KeptVersion, NewVersion, PickedDialect,
    Plugins, Removed, VersionLimits, VersionLine, VersionState, VersionStats, VersionTrap,
};
pub use route::{Matched, Route, RouteMatch};
pub use row::{CanaryEnd, CanaryOutcome, DialectSummary, Installed, Owner};
pub use seen::{EgressStats, LoggedLine, PluginStats, RoleStats, TrapRecord};
