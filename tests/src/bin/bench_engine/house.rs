//! The host's parts in this process, with the benchmark's plugin installed: what a call costs without HTTP around it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bellwether_access::{Access, HostKey, Principal, Role};
use bellwether_engine::{Engine, EngineSettings};
use bellwether_kernel::{Clock, HostId, KeyId, OrganisationId, Randomness, SystemClock, SystemRandomness};
use bellwether_metrics::Metrics;
use bellwether_playbooks::{App, AppCall, Apps, Value};
use bellwether_plugins::{Grant, Limits, Owner, Plugins, Services, inspect};
use bellwether_series::Series;
use bellwether_store::{MemoryStore, Objects, SharedStore};

/// Whose calls they are.
const ORGANISATION: OrganisationId = OrganisationId(1);

/// Plugins on a store in memory.
pub(crate) struct House {
    pub(crate) plugins: Arc<Plugins>,
    pub(crate) engine: Engine,
    principal: Arc<Principal>,
}

impl House {
    /// Opens one with its compile cache in `folder`.
    pub(crate) async fn open(folder: &Path) -> Result<Self> {
        let store: SharedStore = Arc::new(MemoryStore::new());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let randomness: Arc<dyn Randomness> = Arc::new(SystemRandomness);
        let key = HostKey::from_hex(&"00".repeat(32))?;
        let access = Access::open(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&randomness), key);
        let metrics =
            Metrics::open(Arc::clone(&store), Arc::clone(&clock), HostId(1), Default::default()).await?;
        let settings = EngineSettings { cache: Some(folder.join("code")), ..EngineSettings::default() };
        let engine = Engine::new(&settings)?;
        let principal = Arc::new(Principal {
            organisation: ORGANISATION,
            organisation_name: "bench".to_owned(),
            time_zone: "UTC".to_owned(),
            key: KeyId::random(&SystemRandomness),
            key_name: "bench".to_owned(),
            role: Role::Write,
        });
        let objects = Objects::open(&folder.join("components"))?;
        let series = Series::open(bellwether_series::Parts {
            store: Arc::clone(&store),
            objects: objects.clone(),
            clock: Arc::clone(&clock),
            host: HostId(1),
            limits: bellwether_series::Limits::default(),
        });
        let services = Services {
            objects,
            access: Arc::new(access.await?),
            metrics: Arc::new(metrics),
            series: Arc::new(series.await?),
            engine: engine.clone(),
            store,
            clock,
            randomness,
        };
        let plugins = Plugins::open(services, Limits::default()).await?;
        Ok(Self { plugins, engine, principal })
    }

    /// Installs a component with all it asks for, and gives its app.
    pub(crate) async fn install_app(&self, file: &Path) -> Result<Arc<dyn App>> {
        let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
        let inspection = inspect(&bytes)?;
        let whole = |privilege: bellwether_plugins::Privilege| -> Result<Grant> {
            let scope = if privilege.interface().starts_with("metrics-") { "=*" } else { "" };
            Ok(format!("{privilege}{scope}").parse()?)
        };
        let grants: Result<Vec<Grant>> =
            inspection.requests.iter().map(|request| whole(request.privilege)).collect();
        let installed = self.plugins.install(Owner::Host, "bench", bytes.into(), grants?, false).await?;
        self.plugins.app(ORGANISATION, &installed.name).context("the plugin is an app")
    }

    /// A call of an app.
    pub(crate) fn call(&self, inputs: Vec<(String, Value)>) -> AppCall {
        AppCall {
            principal: Arc::clone(&self.principal),
            idempotency_key: "bench".to_owned(),
            attempt: 1,
            inputs,
            time_limit: Duration::from_secs(60),
            effects: None,
        }
    }
}

/// What the benchmark's plugin is given: a text, and how often it asks for the time.
pub(crate) fn order(text: &str, calls: u32) -> Vec<(String, Value)> {
    vec![
        ("text".to_owned(), Value::Text(text.to_owned())),
        ("calls".to_owned(), Value::Integer(i64::from(calls))),
    ]
}

/// A component that `xtask` built: `components/metric.wasm`, `bench/bench-guest.wasm`.
pub(crate) fn component(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(file)
}
