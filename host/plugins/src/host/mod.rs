//! What plugins may call: one module per interface, each holding every call against the caller's role and the grant's
//! scope. An interface that was not granted is not linked, so it does not exist for the plugin.

mod clock;
mod convert;
mod effects;
#[cfg(test)]
mod effects_tests;
mod http_client;
mod log;
mod metrics_read;
mod metrics_write;
mod random;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bellwether_access::{Access, Principal};
use bellwether_engine::wasmtime::component::HasSelf;
use bellwether_engine::{Engine, Guest, Linker, wasmtime};
use bellwether_kernel::{Clock, Randomness};
use bellwether_metrics::{Metrics, NamePattern};
use bellwether_playbooks::EffectScope;
use bellwether_store::{Objects, SharedStore};

use crate::bindings::bellwether::host as contract;
use crate::destination::Destination;
use crate::egress::Egress;
use crate::grant::{Grant, Privilege};
use crate::limits::Limits;
use crate::log::LogBook;
use effects::Effects;

pub(crate) use state::{rows as state_rows, size as state_size};

/// What plugins are served from.
#[derive(Clone)]
pub struct Services {
    /// Where installed plugins and their state are kept.
    pub store: SharedStore,
    /// Where components are kept.
    pub objects: Objects,
    /// The audit log, and the organisations.
    pub access: Arc<Access>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// The sandbox.
    pub engine: Engine,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// Chance, fit for secrets.
    pub randomness: Arc<dyn Randomness>,
}

/// What every call of every plugin shares.
pub(crate) struct Shared {
    pub(crate) services: Services,
    pub(crate) limits: Limits,
    pub(crate) egress: Egress,
}

/// What one installed plugin may do.
pub(crate) struct Scope {
    pub(crate) shared: Arc<Shared>,
    /// The name its state is kept under.
    pub(crate) state: String,
    metrics_read: Vec<NamePattern>,
    metrics_write: Vec<NamePattern>,
    quota: u64,
    hosts: Vec<Destination>,
}

impl Scope {
    pub(crate) fn new(shared: Arc<Shared>, state: String, grants: &[Grant]) -> Self {
        let mut scope = Self {
            shared,
            state,
            metrics_read: Vec::new(),
            metrics_write: Vec::new(),
            quota: 0,
            hosts: Vec::new(),
        };
        for grant in grants {
            match grant {
                Grant::Log {} | Grant::Clock {} | Grant::Random {} => {}
                Grant::MetricsRead { metrics } => scope.metrics_read.clone_from(metrics),
                Grant::MetricsWrite { metrics } => scope.metrics_write.clone_from(metrics),
                Grant::State { quota } => scope.quota = *quota,
                Grant::HttpClient { hosts } => scope.hosts.clone_from(hosts),
            }
        }
        scope
    }
}

/// What a call carries: what it may do, for whom, and what it logged.
pub(crate) struct Call {
    scope: Arc<Scope>,
    principal: Option<Arc<Principal>>,
    log: LogBook,
    effects: Option<Effects>,
}

impl Call {
    /// A call for `principal`; without one nothing that belongs to an organisation can be reached. Its effects are
    /// recorded for `effects`, if given.
    pub(crate) fn new(
        scope: Arc<Scope>,
        principal: Option<Arc<Principal>>,
        effects: Option<EffectScope>,
    ) -> Self {
        Self { scope, principal, log: LogBook::default(), effects: effects.map(Effects::new) }
    }

    pub(crate) fn into_log(self) -> LogBook {
        self.log
    }

    fn services(&self) -> &Services {
        &self.scope.shared.services
    }
}

/// A linker with the interfaces of `privileges`, and those that only hold types.
pub(crate) fn linker(engine: &Engine, privileges: &[Privilege]) -> wasmtime::Result<Linker<Guest<Call>>> {
    fn call(guest: &mut Guest<Call>) -> &mut Call {
        &mut guest.data
    }
    let mut linker = engine.linker::<Call>();
    contract::types::add_to_linker::<_, HasSelf<Call>>(&mut linker, call)?;
    contract::metrics_types::add_to_linker::<_, HasSelf<Call>>(&mut linker, call)?;
    for privilege in privileges {
        let linker = &mut linker;
        match privilege {
            Privilege::Log => contract::log::add_to_linker::<_, HasSelf<Call>>(linker, call),
            Privilege::Clock => contract::clock::add_to_linker::<_, HasSelf<Call>>(linker, call),
            Privilege::Random => contract::random::add_to_linker::<_, HasSelf<Call>>(linker, call),
            Privilege::MetricsRead => contract::metrics_read::add_to_linker::<_, HasSelf<Call>>(linker, call),
            Privilege::MetricsWrite => {
                contract::metrics_write::add_to_linker::<_, HasSelf<Call>>(linker, call)
            }
            Privilege::State => contract::state::add_to_linker::<_, HasSelf<Call>>(linker, call),
            Privilege::HttpClient => contract::http_client::add_to_linker::<_, HasSelf<Call>>(linker, call),
        }?;
    }
    Ok(linker)
}
