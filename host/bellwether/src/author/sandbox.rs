//! A host in memory with one plugin on it, in the real engine: what a plugin's author tries it on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bellwether_access::{Access, AuthFailure, NewKey, Principal, Role};
use bellwether_alerts::{Detector, Forecaster, Formatter, Roles};
use bellwether_engine::EngineSettings;
use bellwether_kernel::value::{from_object, to_object};
use bellwether_kernel::{
    Clock, ManualClock, OrganisationId, Randomness, SystemClock, SystemRandomness, Timestamp,
};
use bellwether_metrics::{
    Fill, IntervalQuery, KeySelection, ListFilter, MetricReference, Metrics, SeriesPoint,
};
use bellwether_playbooks::{AppCall, AppReport, Apps, LogLine};
use bellwether_plugins::{
    DialectRequest, DialectResponse, Grant, Installed, Owner, PluginError, Plugins, RouteMatch, Services,
};
use bellwether_store::{MemoryStore, SharedStore};
use serde_json::{Map, Value};

use super::build::Component;
use super::grants::{Otherwise, complete};
use crate::failure::Failure;

/// How long a call may take: as long as a step of a playbook.
const CALL: Duration = Duration::from_secs(30);

/// Metrics told of after a trial, and intervals of each.
const TOLD: usize = 1_000;

/// A host in memory with one plugin on it.
pub(crate) struct Sandbox {
    plugins: Arc<Plugins>,
    metrics: Arc<Metrics>,
    access: Arc<Access>,
    clock: Arc<ManualClock>,
    organisation: OrganisationId,
    installed: Arc<Installed>,
    calls: u32,
    /// Components are files wherever the rest is kept.
    _folder: tempfile::TempDir,
}

/// What an app came to.
pub(crate) struct Ran {
    /// Its outputs, or why not.
    pub(crate) result: Result<Map<String, Value>, String>,
    /// What it logged.
    pub(crate) log: Vec<LogLine>,
}

/// Who asks a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// A key with this role.
    Known(Role),
    /// A key that is none.
    Unknown,
}

/// A value of a metric, as it is told.
pub(crate) struct Told {
    /// The metric's name.
    pub(crate) metric: String,
    /// Which of a keyed metric's series.
    pub(crate) key: Option<String>,
    /// The interval and its value.
    pub(crate) point: SeriesPoint,
}

impl Sandbox {
    /// A host with the component on it, granted what was given and, for the metrics, which are its own, everything.
    pub(crate) async fn open(component: &Component, given: &[Grant]) -> Result<Self, Failure> {
        Self::with_grants(component, complete(&component.inspection, given, Otherwise::AllMetrics)?).await
    }

    /// A host that only asks the component what it is.
    pub(crate) async fn describing(component: &Component) -> Result<Self, Failure> {
        Self::with_grants(component, complete(&component.inspection, &[], Otherwise::Anything)?).await
    }

    async fn with_grants(component: &Component, grants: Vec<Grant>) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().context("there is no folder for temporary files")?;
        let store: SharedStore = Arc::new(MemoryStore::new());
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let time = Arc::clone(&clock) as Arc<dyn Clock>;
        let randomness: Arc<dyn Randomness> = Arc::new(SystemRandomness);
        let engine = EngineSettings { calls: 4, large_calls: 1, cache: None };
        let services = Services::alone(store, folder.path(), &engine, time, randomness).await;
        let services =
            services.map_err(anyhow::Error::from_boxed).context("the host in memory does not open")?;
        let (access, metrics) = (Arc::clone(&services.access), Arc::clone(&services.metrics));
        let organisation = access.create_organisation("trial", "trial", "UTC").await;
        let organisation = organisation.context("the trial's organisation is not made")?.id;
        let plugins = Plugins::open(services, bellwether_plugins::Limits::default()).await;
        let plugins = plugins.context("the host in memory does not open")?;
        let bytes = component.bytes.clone().into();
        let installed = plugins.install(Owner::Host, "trial", bytes, grants, false).await;
        let installed = installed.map_err(|error| Failure::Failed(anyhow::Error::msg(error.to_string())))?;
        Ok(Self { plugins, metrics, access, clock, organisation, installed, calls: 0, _folder: folder })
    }

    /// The plugin.
    pub(crate) fn installed(&self) -> &Installed {
        &self.installed
    }

    /// What the plugin can be given by name in the roles a battery calls: an app's inputs, the settings of the others.
    pub(crate) fn settable(&self) -> Vec<&str> {
        let Installed { app, dialect, detector, forecaster, formatter, .. } = &*self.installed;
        let declared = [
            app.as_ref().map(|app| &app.inputs),
            dialect.as_ref().map(|dialect| &dialect.settings),
            detector.as_ref().map(|detector| &detector.settings),
            forecaster.as_ref().map(|forecaster| &forecaster.settings),
            formatter.as_ref().map(|formatter| &formatter.settings),
        ];
        declared.into_iter().flatten().flatten().map(|input| input.name.as_str()).collect()
    }

    /// The plugin as a formatter.
    pub(crate) fn formatter(&self) -> Result<Arc<dyn Formatter>, Failure> {
        self.role("formatter", |plugins, name| plugins.formatter(self.organisation, name))
    }

    /// The plugin as a detector.
    pub(crate) fn detector(&self) -> Result<Arc<dyn Detector>, Failure> {
        self.role("detector", |plugins, name| plugins.detector(self.organisation, name))
    }

    /// The plugin as a forecaster.
    pub(crate) fn forecaster(&self) -> Result<Arc<dyn Forecaster>, Failure> {
        self.role("forecaster", |plugins, name| plugins.forecaster(self.organisation, name))
    }

    fn role<R>(&self, role: &str, find: impl Fn(&Plugins, &str) -> Option<R>) -> Result<R, Failure> {
        let name = &self.installed.name;
        let missing = || match role {
            "detector" if self.plugins.forecaster(self.organisation, name).is_some() => {
                format!("{name} is a forecaster: a case of it says the horizon too")
            }
            _ => format!("{name} is no {role}"),
        };
        find(&self.plugins, name).ok_or_else(|| Failure::Usage(missing()))
    }

    /// That the plugin has not the role that takes what was given.
    fn has_not(&self, role: &str, given: &str) -> Failure {
        let Installed { name, roles, .. } = &*self.installed;
        let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
        Failure::Usage(format!("{name} is no {role}, which takes {given}: its role is {}", roles.join(", ")))
    }

    /// Puts the clock at an instant; it stands still until it is put at another.
    pub(crate) fn set_now(&self, now: Timestamp) {
        self.clock.set(now);
    }

    /// Calls the plugin as an app.
    pub(crate) async fn run(&mut self, inputs: &Map<String, Value>) -> Result<Ran, Failure> {
        let name = self.installed.name.clone();
        let app = self.plugins.app(self.organisation, &name);
        let app = app.ok_or_else(|| self.has_not("app", "inputs"))?;
        let inputs = match from_object(&app.description().inputs, "inputs", inputs) {
            Ok(inputs) => inputs,
            Err(error) => return Ok(Ran { result: Err(error.to_string()), log: Vec::new() }),
        };
        self.calls += 1;
        let call = AppCall {
            principal: self.principal(Role::Write).await?,
            idempotency_key: format!("trial.{}", self.calls),
            attempt: 1,
            inputs,
            effects: None,
            time_limit: CALL,
        };
        let AppReport { result, log } = app.run(call).await;
        let result = result.map(|outputs| to_object(&outputs)).map_err(|error| error.message);
        Ok(Ran { result, log })
    }

    /// Sends the plugin a request as a dialect: its answer, or why it gave none. `target` is the path below its mount, with
    /// its query.
    pub(crate) async fn request(
        &self,
        asking: Asking,
        method: &str,
        target: &str,
        headers: &http::HeaderMap,
        body: &[u8],
    ) -> Result<Result<DialectResponse, String>, Failure> {
        let name = &self.installed.name;
        let dialect = self.plugins.dialect(name);
        let dialect = dialect.ok_or_else(|| self.has_not("dialect", "requests"))?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let RouteMatch::Found(matched) = dialect.route(method, path) else {
            return Err(Failure::Usage(format!("{name} has no route for {method} {path}")));
        };
        let caller = match asking {
            _ if matched.authentication.is_empty() => None,
            Asking::Unknown => Some(Err(AuthFailure::Unknown)),
            Asking::Known(role) => Some(Ok(self.principal(role).await?)),
        };
        let request = DialectRequest { matched: &matched, method, query, headers, body };
        Ok(dialect.handle(caller, request).await.map_err(|error| error.to_string()))
    }

    /// Sets the plugin as a dialect. Gives whether it, or the host by what it declares, took it.
    pub(crate) async fn set(&self, settings: Map<String, Value>) -> Result<bool, Failure> {
        let admin = self.principal(Role::Admin).await?;
        match self.plugins.set_settings(&admin, &self.installed.name, settings).await {
            Ok(_) => Ok(true),
            Err(PluginError::Invalid(_)) => Ok(false),
            Err(error) => Err(Failure::Failed(anyhow::Error::msg(error.to_string()))),
        }
    }

    /// Every value of every metric, as far as a person reads.
    pub(crate) async fn values(&self) -> anyhow::Result<Vec<Told>> {
        let page = self.metrics.list(self.organisation, &ListFilter::default(), &|_| true, 0, TOLD).await?;
        let mut told = Vec::new();
        for metric in page.metrics {
            let query = IntervalQuery {
                metric: MetricReference::Id(metric.id),
                keys: KeySelection::All,
                start: Timestamp::MIN,
                end: Timestamp::MAX,
                fill: Fill::Gaps,
            };
            for series in self.metrics.query(self.organisation, &query).await? {
                let points = series.points.into_iter().take(TOLD);
                told.extend(points.map(|point| Told {
                    metric: metric.definition.name.clone(),
                    key: series.key.clone(),
                    point,
                }));
            }
        }
        Ok(told)
    }

    /// The holder of a new key with this role.
    async fn principal(&self, role: Role) -> Result<Arc<Principal>, Failure> {
        let key = NewKey { name: role.as_str().to_owned(), role, expires: None, signing: false };
        let key =
            self.access.create_key("trial", self.organisation, key).await.context("a key is not made")?;
        Ok(self.access.principal(&key.key.id).context("the key is not known")?)
    }
}
