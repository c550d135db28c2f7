//! One installed plugin, loaded: its component linked with what was granted, and the one way to call it.

use std::sync::Arc;
use std::time::Duration;

use bellwether_access::Principal;
use bellwether_engine::{
    CallError, CallLimits, CallMeters, CallTerms, Callee, Component, Finished, Guest, Instance, InstancePre,
    Instances, Store, Trapped, wasmtime,
};
use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_playbooks::{EffectScope, LogLevel, LogLine, Secrets};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tracing::Instrument;

use crate::grant::Grant;
use crate::host::{Call, Posted, Scope, Shared, linker};
use crate::inspect::PluginRole;
use crate::log::cut;
use crate::seen::{LoggedLine, PluginStats, RoleStats, TrapRecord};
use crate::wasi::{Moment, World};
use crate::{
    LimitOverrides, Owner, PluginError, app, backtrace, detector, dialect, forecaster, formatter,
    limits as bounds, wasi,
};

/// A plugin's component, linked with what was granted.
pub(crate) struct Loaded {
    owner: Owner,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) scope: Arc<Scope>,
    pub(crate) instance: InstancePre<Guest<Call>>,
    callee: Callee<Call>,
    /// Whether it needs a world, as the runtimes of some languages do.
    worldly: bool,
    meters: Mutex<Meters>,
}

/// The counters of each role a plugin was asked for.
#[derive(Default)]
struct Meters {
    roles: Vec<(PluginRole, Arc<CallMeters>)>,
    /// Whether `/metrics` shows them.
    shown: bool,
}

/// For whom a call takes place, and on what.
#[derive(Default)]
pub(crate) struct Caller<'a> {
    /// Without one nothing that belongs to an organisation can be reached.
    pub(crate) principal: Option<Arc<Principal>>,
    /// Where its effects are recorded.
    pub(crate) effects: Option<EffectScope>,
    /// What it is given that is masked in what it says.
    pub(crate) secrets: Secrets,
    /// The name of the work, the same for every attempt at it.
    pub(crate) work: &'a str,
    /// A pure call takes place at this time, that of what it is given, and has nothing of the host's.
    pub(crate) pure: Option<Timestamp>,
    /// Whose turn a call without a principal takes; nobody's if there is none.
    pub(crate) organisation: Option<OrganisationId>,
}

impl Caller<'_> {
    /// Nobody: the call is pure, takes place at `time` and is `organisation`'s turn.
    pub(crate) fn pure(time: Timestamp, organisation: OrganisationId) -> Self {
        Self { pure: Some(time), organisation: Some(organisation), ..Self::default() }
    }

    /// The present, on behalf of `principal`.
    pub(crate) fn on_behalf_of(principal: Option<Arc<Principal>>) -> Self {
        Self { principal, ..Self::default() }
    }
}

/// What a plugin is loaded as.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) owner: Owner,
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) grants: &'a [Grant],
    /// What its calls may use other than the host's defaults.
    pub(crate) limits: LimitOverrides,
    /// Whether its calls share instances.
    pub(crate) instances: Instances,
}

/// Which export is called, for errors, spans and counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Export {
    pub(crate) role: PluginRole,
    /// Role and function: `app.run`.
    pub(crate) name: &'static str,
}

/// A plugin that is loaded, with the roles it serves.
pub(crate) struct Served {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) app: Option<Arc<app::PluginApp>>,
    pub(crate) dialect: Option<Arc<dialect::Dialect>>,
    pub(crate) detector: Option<Arc<detector::PluginDetector>>,
    pub(crate) forecaster: Option<Arc<forecaster::PluginForecaster>>,
    pub(crate) formatter: Option<Arc<formatter::PluginFormatter>>,
}

impl Served {
    fn of(loaded: Arc<Loaded>) -> Self {
        Self { loaded, app: None, dialect: None, detector: None, forecaster: None, formatter: None }
    }
}

impl Loaded {
    /// Links `component` with what `load` grants.
    pub(crate) fn link(
        shared: &Arc<Shared>,
        component: &Component,
        load: Load<'_>,
    ) -> Result<Self, PluginError> {
        let Load { owner, name, version, grants, limits, instances } = load;
        let limits = limits.of(owner, &shared.limits);
        let privileges: Vec<_> = grants.iter().map(Grant::privilege).collect();
        let unlinked = |error: wasmtime::Error| bellwether_engine::EngineError::Link(format!("{error:#}"));
        let engine = &shared.services.engine;
        let mut linker = linker(engine, component.sandbox(), &privileges).map_err(unlinked)?;
        let worldly = component.imports_from(wasi::WASI);
        if worldly {
            wasi::link(&mut linker).map_err(unlinked)?;
        }
        // What a runtime holds of its world is gone with the call.
        let instances = if worldly { Instances::Fresh } else { instances };
        let mut scope = Scope::new(Arc::clone(shared), owner.state_name(name), grants, &limits);
        if owner != Owner::Host {
            scope.outlet.give_to_organisation();
        }
        let scope = Arc::new(scope);
        let callee = Callee::new(engine, component, &linker, scope.limits.concurrent_calls, instances)?;
        let (name, version, instance) = (name.to_owned(), version.to_owned(), callee.instance_pre().clone());
        Ok(Self { owner, name, version, scope, instance, callee, worldly, meters: Mutex::default() })
    }

    /// Asks what it takes and speaks, for each of `roles` this host serves.
    pub(crate) async fn serve(self, roles: &[PluginRole]) -> Result<Served, PluginError> {
        let loaded = Arc::new(self);
        let mut served = Served::of(Arc::clone(&loaded));
        for role in roles {
            match role {
                PluginRole::App => {
                    served.app = Some(Arc::new(app::PluginApp::describe(Arc::clone(&loaded)).await?));
                }
                PluginRole::Dialect => {
                    served.dialect = Some(Arc::new(dialect::Dialect::describe(Arc::clone(&loaded)).await?));
                }
                PluginRole::Detector => {
                    let detector = detector::PluginDetector::describe(Arc::clone(&loaded)).await?;
                    served.detector = Some(Arc::new(detector));
                }
                PluginRole::Forecaster => {
                    let forecaster = forecaster::PluginForecaster::describe(Arc::clone(&loaded)).await?;
                    served.forecaster = Some(Arc::new(forecaster));
                }
                PluginRole::Formatter => {
                    let formatter = formatter::PluginFormatter::describe(Arc::clone(&loaded)).await?;
                    served.formatter = Some(Arc::new(formatter));
                }
                PluginRole::Collector => {}
            }
        }
        Ok(served)
    }

    pub(crate) fn limits(&self) -> &CallLimits {
        &self.scope.limits.call
    }

    /// How long a call may take, where that was set for this plugin.
    pub(crate) fn own_wall(&self) -> Option<Duration> {
        self.scope.own_wall
    }

    fn describe_limits(&self) -> CallLimits {
        let limits = &self.scope.limits;
        CallLimits { wall: limits.describe.min(limits.call.wall), ..limits.call }
    }

    /// Finds the functions of a role, and asks the plugin what it is in that role.
    pub(crate) async fn described<I, R>(
        &self,
        export: Export,
        indices: impl FnOnce(&InstancePre<Guest<Call>>) -> wasmtime::Result<I>,
        ask: impl AsyncFnOnce(&I, &mut Store<Call>, &Instance) -> wasmtime::Result<R>,
    ) -> Result<(I, Arc<CallMeters>, R), PluginError> {
        let exports = indices(&self.instance)
            .map_err(|error| bellwether_engine::EngineError::Link(format!("{error:#}")))?;
        let meters = self.meters(export.role);
        let nobody = Caller { pure: Some(Timestamp::default()), ..Caller::default() };
        let asked = async |store: &mut Store<Call>, instance: &Instance| ask(&exports, store, instance).await;
        let (described, _) = self.call(export, &self.describe_limits(), &meters, nobody, asked).await;
        Ok((exports, meters, described?))
    }

    /// The counters of its calls in `role`.
    pub(crate) fn meters(&self, role: PluginRole) -> Arc<CallMeters> {
        let mut all = self.meters.lock();
        if let Some((_, meters)) = all.roles.iter().find(|(of, _)| *of == role) {
            return Arc::clone(meters);
        }
        let meters = Arc::new(CallMeters::new(&self.name, &self.owner.label(), role.interface()));
        if all.shown {
            meters.show();
        }
        all.roles.push((role, Arc::clone(&meters)));
        meters
    }

    /// Has `/metrics` show its calls from now on: it is installed. What is tried and refused leaves nothing there.
    pub(crate) fn show(&self) {
        let mut all = self.meters.lock();
        all.shown = true;
        all.roles.iter().for_each(|(_, meters)| meters.show());
    }

    /// How it does since it was loaded; its breaker as it is for `organisation`, if given.
    pub(crate) fn stats(&self, organisation: Option<OrganisationId>) -> PluginStats {
        let meters = self.meters.lock();
        let roles =
            meters.roles.iter().map(|(role, meters)| RoleStats { role: *role, calls: meters.stats() });
        PluginStats {
            name: self.name.clone(),
            version: self.version.clone(),
            engine: self.callee.sandbox(),
            instances: self.callee.instances(),
            limits: self.scope.limits.shown(),
            stack_bytes: self.callee.sandbox().stack() as u64,
            activity: self.callee.activity(&self.scope.shared.services.engine),
            breaker: self.callee.breaker(organisation.map(|organisation| organisation.0)),
            roles: roles.collect(),
            egress: self.scope.seen.egress(),
        }
    }

    /// What its calls for `organisation` logged last, oldest first; with none, those without a caller.
    pub(crate) fn logs(&self, organisation: Option<OrganisationId>) -> Vec<LoggedLine> {
        self.scope.seen.logs(organisation)
    }

    /// Keeps nothing of what its calls logged for an organisation that is gone.
    pub(crate) fn forget(&self, organisation: OrganisationId) {
        self.scope.seen.forget(organisation);
    }

    /// Its last traps, oldest first.
    pub(crate) fn traps(&self) -> Vec<TrapRecord> {
        let meters = self.meters.lock();
        let of = |(role, meters): &(PluginRole, Arc<CallMeters>)| {
            let role = *role;
            meters.traps().into_iter().map(move |trap| record(role, trap))
        };
        let mut traps: Vec<_> = meters.roles.iter().flat_map(of).collect();
        traps.sort_by_key(|trap| trap.time);
        traps
    }

    /// Runs `work` on an instance for `caller`; gives what it came to and what it logged.
    pub(crate) async fn call<R>(
        &self,
        export: Export,
        limits: &CallLimits,
        meters: &CallMeters,
        caller: Caller<'_>,
        work: impl AsyncFnOnce(&mut Store<Call>, &Instance) -> wasmtime::Result<R>,
    ) -> (Result<R, PluginError>, Vec<LogLine>) {
        let (result, lines, _) = self.attempt(export, limits, meters, caller, false, work).await;
        (result, lines)
    }

    /// As [`Self::call`], for who is answered by nothing but what this gives: no instance is held while the first write of
    /// the call becomes durable. If it does not, `work` is done again.
    pub(crate) async fn call_posting<
        R,
        W: AsyncFnOnce(&mut Store<Call>, &Instance) -> wasmtime::Result<R>,
    >(
        &self,
        export: Export,
        limits: &CallLimits,
        meters: &CallMeters,
        principal: Option<Arc<Principal>>,
        work: impl Fn() -> W,
    ) -> (Result<R, PluginError>, Vec<LogLine>) {
        let caller = Caller::on_behalf_of(principal.clone());
        match self.attempt(export, limits, meters, caller, !self.worldly, work()).await {
            (_, _, Posted::Lost) => {
                self.call(export, limits, meters, Caller::on_behalf_of(principal), work()).await
            }
            (result, lines, _) => (result, lines),
        }
    }

    /// One call, which posts its first write if `posts`: then what became of that is the last of what it gives.
    async fn attempt<R>(
        &self,
        export: Export,
        limits: &CallLimits,
        meters: &CallMeters,
        caller: Caller<'_>,
        posts: bool,
        work: impl AsyncFnOnce(&mut Store<Call>, &Instance) -> wasmtime::Result<R>,
    ) -> (Result<R, PluginError>, Vec<LogLine>, Posted) {
        // Every call's: made only where somebody wants to see it. What goes wrong names the plugin and the call itself.
        let span = tracing::debug_span!(
            "plugin_call",
            plugin = self.name,
            version = self.version,
            role = export.role.interface(),
            call = export.name
        );
        let world = self.worldly.then(|| self.moment(export, &caller));
        let principal = caller.principal.as_ref().map(|principal| principal.organisation);
        let organisation = principal.or(caller.organisation);
        let mut call = Call::new(Arc::clone(&self.scope), caller.principal, caller.effects);
        if let Some(moment) = world {
            let world = World::new(&self.scope, moment, call.spent());
            world.printed.hide(caller.secrets.clone());
            call.world = Some(Box::new(world));
        }
        let engine = &self.scope.shared.services.engine;
        let tenant = organisation.map_or(0, |organisation| organisation.0);
        call.secrets = caller.secrets;
        if posts {
            call.open_for_posting();
        }
        let terms = CallTerms { limits, meters, tenant };
        let finished = engine.call(&self.callee, terms, call, work).instrument(span).await;
        let Finished { mut data, mut result, spent, .. } = finished;
        let posted = data.posted(limits.wall.saturating_sub(spent)).await;
        if posted == Posted::Late && result.is_ok() {
            result = Err(CallError::Deadline { wall: limits.wall });
        }
        let result = result.map_err(|mut source| {
            if let CallError::Trap { message, backtrace } = &mut source {
                *backtrace = backtrace::readable(backtrace);
                // A runtime that gives up says why before it traps.
                if let Some(said) = data.world.as_ref().and_then(|world| world.printed.last_error()) {
                    message.push_str("; the last it printed was: ");
                    message.push_str(&said[..said.floor_char_boundary(bounds::LAST_WORDS)]);
                }
            }
            let error = PluginError::Call {
                name: self.name.clone(),
                version: self.version.clone(),
                call: export.name,
                source,
            };
            match &error {
                PluginError::Call { source: CallError::Trap { backtrace, .. }, .. } => {
                    tracing::warn!(%error, ?backtrace, "a plugin trapped");
                }
                // Refused calls come as often as their callers try, and are counted.
                PluginError::Call {
                    source: CallError::CoolingDown { .. } | CallError::Busy { .. }, ..
                } => {
                    tracing::debug!(%error, "a plugin was not called");
                }
                _ => tracing::warn!(%error, "a plugin's call came to nothing"),
            }
            error
        });
        let lines = data.into_log().into_lines();
        self.scope.seen.logged(organisation, export.name, &lines);
        (result, lines, posted)
    }

    /// Refuses an answer of `export` of more bytes than the plugin may give.
    pub(crate) fn check_output(&self, export: Export, bytes: usize) -> Result<(), PluginError> {
        let limit = self.scope.limits.output;
        if bytes <= limit {
            return Ok(());
        }
        Err(self.bad_answer(export, format!("it answered {bytes} bytes, at most {limit} are taken")))
    }

    /// When a call takes place, and where its chance starts.
    fn moment(&self, export: Export, caller: &Caller<'_>) -> Moment {
        let mut seed = Sha256::new();
        for part in [self.name.as_str(), &self.version, export.name, caller.work] {
            seed.update((part.len() as u64).to_be_bytes());
            seed.update(part);
        }
        let time = caller.pure.unwrap_or_else(|| self.scope.shared.services.clock.now());
        Moment { time, seed: seed.finalize().into(), pure: caller.pure.is_some() }
    }

    /// Refuses an answer of `export`: it is counted, and the plugin's owner finds the reason among its last logs.
    pub(crate) fn bad_answer(&self, export: Export, problem: String) -> PluginError {
        self.meters(export.role).refuse_answer();
        let time = self.scope.shared.services.clock.now();
        let message = cut(format!("the answer makes no sense: {problem}"));
        self.scope.seen.logged(None, export.name, &[LogLine { time, level: LogLevel::Error, message }]);
        let (name, version) = (self.name.clone(), self.version.clone());
        PluginError::Answer { name, version, call: export.name, problem }
    }

    /// What `export` says of the plugin makes no sense.
    pub(crate) fn bad_description(
        &self,
        export: Export,
        source: bellwether_kernel::FieldError,
    ) -> PluginError {
        let (name, version) = (self.name.clone(), self.version.clone());
        PluginError::Description { name, version, call: export.name, source: Box::new(source) }
    }
}

fn record(role: PluginRole, trap: Trapped) -> TrapRecord {
    let since = trap.time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let time = i64::try_from(since.as_millis()).ok().and_then(Timestamp::from_milliseconds);
    let time = time.unwrap_or(Timestamp::MAX);
    TrapRecord { role, time, message: trap.message, backtrace: backtrace::readable(&trap.backtrace) }
}
