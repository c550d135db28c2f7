//! The only crate that names the contract: what is installed and what it may do; answers plugins' imports from the
//! other crates, and serves their roles to them.
//!
//! A plugin's imports are its permission request ([`inspect`]); an install grants each within a scope ([`Grant`]);
//! nothing else is linked. Every call runs on a fresh instance with a deadline and a memory limit, and every error
//! names the plugin, its version and the call.

mod app;
mod bindings;
mod destination;
mod dialect;
#[cfg(test)]
mod durable_tests;
mod egress;
mod error;
mod grant;
mod host;
mod inspect;
pub mod limits;
mod log;
mod manifest;
mod plugin;
mod registry;
mod route;
mod row;
mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod value;

pub use bellwether_metrics::{InvalidPattern, NamePattern};
pub use destination::{Destination, InvalidDestination};
pub use dialect::{Dialect, DialectRequest, DialectResponse};
pub use error::PluginError;
pub use grant::{Grant, InvalidGrant, Privilege, ScopeKind};
pub use host::Services;
pub use inspect::{CONTRACT, Inspection, PluginRole, Request, inspect};
pub use limits::Limits;
pub use manifest::{AppManifest, Manifest};
pub use registry::Plugins;
pub use route::{Matched, Route, RouteMatch};
pub use row::{DialectSummary, Installed, Owner};
