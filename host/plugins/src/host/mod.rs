//! What plugins may call: one module per interface, each holding every call against the caller's role and the grant's
//! scope. An interface that was not granted is not linked, so it does not exist for the plugin.

mod alerts_convert;
mod alerts_read;
#[cfg(test)]
mod alerts_tests;
mod alerts_write;
mod clock;
mod convert;
mod effects;
#[cfg(test)]
mod effects_tests;
mod http_client;
mod log;
mod metrics_read;
mod metrics_write;
mod posting;
#[cfg(test)]
mod posting_tests;
mod random;
mod records_convert;
mod records_read;
#[cfg(test)]
mod records_tests;
mod records_write;
mod series_convert;
mod series_read;
#[cfg(test)]
mod series_tests;
mod series_write;
mod state;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bellwether_access::{Access, DataChange, HostKey, Principal};
use bellwether_alerts::Alerts;
use bellwether_engine::wasmtime::component::HasSelf;
use bellwether_engine::{CallData, Engine, EngineSettings, Guest, Linker, Sandbox, wasmtime};
use bellwether_kernel::{Clock, HostId, Randomness};
use bellwether_metrics::{Metrics, NamePattern};
use bellwether_playbooks::{EffectScope, LogLevel, Secrets};
use bellwether_records::{RecordKind, Records};
use bellwether_series::Series;
use bellwether_store::{Batch, Objects, SharedStore};

use crate::bindings::bellwether::host as contract;
use crate::egress::{Egress, Outlet, Spent};
use crate::grant::{Grant, Privilege};
use crate::limits::{self, Limits};
use crate::log::LogBook;
use crate::registry::Bundled;
use crate::seen::Seen;
use crate::settings::KeptSettings;
use crate::wasi::World;
use crate::{LimitOverrides, Plugins};
use effects::Effects;
use posting::Posting;

pub(crate) use posting::Posted;
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
    /// Tagged series.
    pub series: Arc<Series>,
    /// Events and logs.
    pub records: Arc<Records>,
    /// The sandbox.
    pub engine: Engine,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// Chance, fit for secrets.
    pub randomness: Arc<dyn Randomness>,
    /// The plugins the host's binary carries.
    pub bundled: &'static [Bundled],
}

impl Services {
    /// Those of a host that is in this process alone, as trials, benchmarks and tests want it: everything on `store`,
    /// components kept in `folder`. Its host key follows from `randomness`.
    ///
    /// # Errors
    /// If something does not open.
    pub async fn alone(
        store: SharedStore,
        folder: &Path,
        engine: &EngineSettings,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mut key = [0; 32];
        randomness.fill(&mut key);
        let key = HostKey::from_hex(&data_encoding::HEXLOWER.encode(&key))?;
        let access =
            Access::open(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&randomness), key).await?;
        let limits = bellwether_metrics::Limits::default();
        let metrics = Metrics::open(Arc::clone(&store), Arc::clone(&clock), HostId(1), limits).await?;
        let objects = Objects::open(&folder.join("components"))?;
        let series = Series::open(bellwether_series::Parts {
            store: Arc::clone(&store),
            objects: objects.clone(),
            clock: Arc::clone(&clock),
            host: HostId(1),
            limits: bellwether_series::Limits::default(),
        });
        let records = Records::open(bellwether_records::Parts {
            store: Arc::clone(&store),
            objects: objects.clone(),
            clock: Arc::clone(&clock),
            host: HostId(1),
            limits: bellwether_records::Limits::default(),
        });
        let (series, records, engine) = (series.await?, records.await?, Engine::new(engine)?);
        let (access, metrics, series) = (Arc::new(access), Arc::new(metrics), Arc::new(series));
        let records = Arc::new(records);
        let bundled = &[];
        Ok(Self { store, objects, access, metrics, series, records, engine, clock, randomness, bundled })
    }
}

/// What every call of every plugin shares.
pub(crate) struct Shared {
    pub(crate) services: Services,
    pub(crate) limits: Limits,
    pub(crate) egress: Egress,
    pub(crate) settings: KeptSettings,
    /// The monitors and incidents, once there are some: they are opened after the plugins they call.
    pub(crate) alerts: OnceLock<Weak<Alerts>>,
    /// The plugins themselves, once they are open.
    pub(crate) plugins: OnceLock<Weak<Plugins>>,
}

impl Shared {
    /// With nothing set, and without alerts yet.
    pub(crate) fn new(services: Services, limits: Limits) -> Self {
        let (settings, egress) = (KeptSettings::default(), Egress::default());
        Self { services, limits, egress, settings, alerts: OnceLock::new(), plugins: OnceLock::new() }
    }
}

/// What one installed plugin may do.
pub(crate) struct Scope {
    pub(crate) shared: Arc<Shared>,
    /// The name its state is kept under.
    pub(crate) state: String,
    /// What its calls may use.
    pub(crate) limits: Limits,
    /// How long they may take, where that was set for this plugin.
    pub(crate) own_wall: Option<Duration>,
    pub(crate) seen: Seen,
    metrics_read: Vec<NamePattern>,
    metrics_write: Vec<NamePattern>,
    series_read: Vec<NamePattern>,
    series_write: Vec<NamePattern>,
    records_read: Vec<RecordKind>,
    records_write: Vec<RecordKind>,
    alerts_read: Vec<NamePattern>,
    alerts_write: Vec<NamePattern>,
    quota: u64,
    pub(crate) outlet: Outlet,
    /// Whether the component may have the host's clock and chance in the words of WASI.
    pub(crate) clock: bool,
    pub(crate) random: bool,
}

impl Scope {
    pub(crate) fn new(
        shared: Arc<Shared>,
        state: String,
        grants: &[Grant],
        overrides: &LimitOverrides,
    ) -> Self {
        let limits = shared.limits.with(overrides);
        let mut scope = Self {
            shared,
            state,
            limits,
            own_wall: overrides.call_milliseconds.map(Duration::from_millis),
            seen: Seen::default(),
            metrics_read: Vec::new(),
            metrics_write: Vec::new(),
            series_read: Vec::new(),
            series_write: Vec::new(),
            records_read: Vec::new(),
            records_write: Vec::new(),
            alerts_read: Vec::new(),
            alerts_write: Vec::new(),
            quota: 0,
            outlet: Outlet::new(Vec::new()),
            clock: false,
            random: false,
        };
        for grant in grants {
            match grant {
                Grant::Log {} => {}
                Grant::Clock {} => scope.clock = true,
                Grant::Random {} => scope.random = true,
                Grant::MetricsRead { metrics } => scope.metrics_read.clone_from(metrics),
                Grant::MetricsWrite { metrics } => scope.metrics_write.clone_from(metrics),
                Grant::SeriesRead { metrics } => scope.series_read.clone_from(metrics),
                Grant::SeriesWrite { metrics } => scope.series_write.clone_from(metrics),
                Grant::RecordsRead { kinds } => scope.records_read.clone_from(kinds),
                Grant::RecordsWrite { kinds } => scope.records_write.clone_from(kinds),
                Grant::AlertsRead { monitors } => scope.alerts_read.clone_from(monitors),
                Grant::AlertsWrite { monitors } => scope.alerts_write.clone_from(monitors),
                Grant::State { quota } => scope.quota = (*quota).min(limits.state_quota),
                Grant::HttpClient { hosts } => scope.outlet = Outlet::new(hosts.clone()),
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
    posting: Posting,
    /// Shared with the world's own way out; most calls send nothing.
    spent: Option<Arc<Spent>>,
    /// Bytes the plugin handed over until now.
    handed_over: u64,
    /// What its language's runtime finds, if it has one that looks.
    pub(crate) world: Option<Box<World>>,
    /// What it was given that is masked in what it says.
    pub(crate) secrets: Secrets,
}

impl CallData for Call {
    fn handed_over(&self) -> u64 {
        self.handed_over
    }

    fn mask(&self, said: &mut String) {
        self.secrets.mask_in(said);
    }
}

impl Call {
    /// A call for `principal`; without one nothing that belongs to an organisation can be reached. Its effects are
    /// recorded for `effects`, if given.
    pub(crate) fn new(
        scope: Arc<Scope>,
        principal: Option<Arc<Principal>>,
        effects: Option<EffectScope>,
    ) -> Self {
        let log = LogBook::new(&scope.limits);
        let (posting, spent, handed_over, world, secrets) = Default::default();
        let effects = effects.map(Effects::new);
        Self { scope, principal, log, effects, posting, spent, handed_over, world, secrets }
    }

    /// What it has used of what it may send and get.
    pub(crate) fn spent(&mut self) -> Arc<Spent> {
        let organisation = self.principal.as_ref().map(|principal| principal.organisation);
        Arc::clone(self.spent.get_or_insert_with(|| Arc::new(Spent::of(organisation))))
    }

    /// Writes a line behind what was printed so far. It is masked before it is cut, which could divide a secret.
    fn log(&mut self, level: LogLevel, mut message: String) {
        if self.log.is_full() {
            return;
        }
        // Twice what is kept, so that a secret which the cut divides is seen whole.
        message.truncate(message.floor_char_boundary(2 * limits::LOG_LINE));
        self.secrets.mask_in(&mut message);
        if let Some(world) = &self.world {
            self.log.extend(world.printed.take());
        }
        let now = self.services().clock.now();
        self.log.write(now, level, message);
    }

    pub(crate) fn into_log(mut self) -> LogBook {
        if let Some(world) = &self.world {
            self.log.extend(world.printed.take_all());
        }
        self.log
    }

    /// Counts what a host call was given, in bytes. Every function that takes texts or lists says it first.
    pub(crate) fn takes(&mut self, bytes: usize) {
        self.handed_over = self.handed_over.saturating_add(bytes as u64);
    }

    fn services(&self) -> &Services {
        &self.scope.shared.services
    }

    /// The audit entry of a change of data that the plugin makes for its caller, for the change's commit to join.
    fn told(&self, change: &DataChange<'_>) -> Batch {
        let plugin = self.scope.state.rsplit('/').next();
        let access = &self.services().access;
        self.principal
            .as_ref()
            .map_or_else(Batch::new, |principal| access.data_changed(principal, change, plugin))
    }
}

/// A linker for components in `sandbox` with the interfaces of `privileges`, and those that only hold types.
pub(crate) fn linker(
    engine: &Engine,
    sandbox: Sandbox,
    privileges: &[Privilege],
) -> wasmtime::Result<Linker<Guest<Call>>> {
    fn call(guest: &mut Guest<Call>) -> &mut Call {
        guest.host_call()
    }
    let mut linker = engine.linker::<Call>(sandbox);
    contract::types::add_to_linker::<_, HasSelf<Call>>(&mut linker, call)?;
    contract::metrics_types::add_to_linker::<_, HasSelf<Call>>(&mut linker, call)?;
    contract::series_types::add_to_linker::<_, HasSelf<Call>>(&mut linker, call)?;
    contract::records_types::add_to_linker::<_, HasSelf<Call>>(&mut linker, call)?;
    contract::alerts_types::add_to_linker::<_, HasSelf<Call>>(&mut linker, call)?;
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
            Privilege::SeriesRead => contract::series_read::add_to_linker::<_, HasSelf<Call>>(linker, call),
            Privilege::SeriesWrite => contract::series_write::add_to_linker::<_, HasSelf<Call>>(linker, call),
            Privilege::RecordsRead => contract::records_read::add_to_linker::<_, HasSelf<Call>>(linker, call),
            Privilege::RecordsWrite => {
                contract::records_write::add_to_linker::<_, HasSelf<Call>>(linker, call)
            }
            Privilege::AlertsRead => contract::alerts_read::add_to_linker::<_, HasSelf<Call>>(linker, call),
            Privilege::AlertsWrite => contract::alerts_write::add_to_linker::<_, HasSelf<Call>>(linker, call),
            Privilege::State => contract::state::add_to_linker::<_, HasSelf<Call>>(linker, call),
            Privilege::HttpClient => contract::http_client::add_to_linker::<_, HasSelf<Call>>(linker, call),
        }?;
    }
    Ok(linker)
}
