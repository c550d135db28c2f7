//! One installed plugin, loaded: its component linked with what was granted, and the one way to call it.

use std::sync::Arc;

use bellwether_access::Principal;
use bellwether_engine::{
    CallLimits, CallMeters, Component, Finished, Guest, Instance, InstancePre, Store, wasmtime,
};
use bellwether_playbooks::{EffectScope, LogLine};
use tracing::Instrument;

use crate::grant::Grant;
use crate::host::{Call, Scope, Shared, linker};
use crate::inspect::PluginRole;
use crate::{PluginError, app, dialect};

/// A plugin's component, linked with what was granted.
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) scope: Arc<Scope>,
    pub(crate) instance: InstancePre<Guest<Call>>,
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
    pub(crate) app: Option<Arc<app::PluginApp>>,
    pub(crate) dialect: Option<Arc<dialect::Dialect>>,
}

impl Loaded {
    /// Links `component` with what `grants` give.
    pub(crate) fn link(
        shared: &Arc<Shared>,
        component: &Component,
        name: &str,
        version: &str,
        state: String,
        grants: &[Grant],
    ) -> Result<Self, PluginError> {
        let privileges: Vec<_> = grants.iter().map(Grant::privilege).collect();
        let unlinked = |error: wasmtime::Error| bellwether_engine::EngineError::Link(format!("{error:#}"));
        let linker = linker(&shared.services.engine, &privileges).map_err(unlinked)?;
        let instance = linker.instantiate_pre(component).map_err(unlinked)?;
        let scope = Arc::new(Scope::new(Arc::clone(shared), state, grants));
        Ok(Self { name: name.to_owned(), version: version.to_owned(), scope, instance })
    }

    /// Asks what it takes and speaks, for each of `roles` this host serves.
    pub(crate) async fn serve(self, roles: &[PluginRole]) -> Result<Served, PluginError> {
        let loaded = Arc::new(self);
        let mut served = Served { app: None, dialect: None };
        for role in roles {
            match role {
                PluginRole::App => {
                    served.app = Some(Arc::new(app::PluginApp::describe(Arc::clone(&loaded)).await?));
                }
                PluginRole::Dialect => {
                    served.dialect = Some(Arc::new(dialect::Dialect::describe(Arc::clone(&loaded)).await?));
                }
                _ => {}
            }
        }
        Ok(served)
    }

    pub(crate) fn limits(&self) -> &CallLimits {
        &self.scope.shared.limits.call
    }

    pub(crate) fn describe_limits(&self) -> CallLimits {
        let limits = &self.scope.shared.limits;
        CallLimits { wall: limits.describe.min(limits.call.wall), ..limits.call }
    }

    pub(crate) fn meters(&self, role: PluginRole) -> CallMeters {
        CallMeters::new(&self.name, role.interface())
    }

    /// Runs `work` on a fresh instance for `caller`: the principal, and where effects are recorded; gives what it came to and what it logged.
    pub(crate) async fn call<R>(
        &self,
        export: Export,
        limits: &CallLimits,
        meters: &CallMeters,
        caller: (Option<Arc<Principal>>, Option<EffectScope>),
        work: impl AsyncFnOnce(&mut Store<Call>, &Instance) -> wasmtime::Result<R>,
    ) -> (Result<R, PluginError>, Vec<LogLine>) {
        let span = tracing::info_span!(
            "plugin_call",
            plugin = self.name,
            version = self.version,
            role = export.role.interface(),
            call = export.name
        );
        let call = Call::new(Arc::clone(&self.scope), caller.0, caller.1);
        let engine = &self.scope.shared.services.engine;
        let finished = engine.call(&self.instance, limits, meters, call, work).instrument(span).await;
        let Finished { data, result, .. } = finished;
        let result = result.map_err(|source| {
            let error = PluginError::Call {
                name: self.name.clone(),
                version: self.version.clone(),
                call: export.name,
                source,
            };
            if let PluginError::Call {
                source: bellwether_engine::CallError::Trap { backtrace, .. }, ..
            } = &error
            {
                tracing::warn!(%error, ?backtrace, "a plugin trapped");
            } else {
                tracing::warn!(%error, "a plugin's call came to nothing");
            }
            error
        });
        (result, data.into_log().into_lines())
    }

    /// An answer of `export` that is none.
    pub(crate) fn bad_answer(&self, export: Export, problem: String) -> PluginError {
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
