//! The host's parts in this process, with the benchmark's plugin installed: what a call costs without HTTP around it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bellwether_access::{Principal, Role};
use bellwether_alerts::{Detector, Formatter, Roles as _};
use bellwether_engine::{Engine, EngineSettings};
use bellwether_kernel::{KeyId, OrganisationId, SystemClock, SystemRandomness};
use bellwether_playbooks::{App, AppCall, Apps, Value};
use bellwether_plugins::{Grant, Instances, Limits, NewVersion, Owner, Plugins, Services, inspect};
use bellwether_store::MemoryStore;

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
        let settings = EngineSettings { cache: Some(folder.join("code")), ..EngineSettings::default() };
        let (clock, randomness) = (Arc::new(SystemClock), Arc::new(SystemRandomness));
        let services = Services::alone(Arc::new(MemoryStore::new()), folder, &settings, clock, randomness);
        let services = services.await.map_err(anyhow::Error::from_boxed)?;
        let engine = services.engine.clone();
        let principal = Arc::new(Principal {
            organisation: ORGANISATION,
            organisation_name: "bench".to_owned(),
            time_zone: "UTC".to_owned(),
            key: KeyId::random(&SystemRandomness),
            key_name: "bench".to_owned(),
            role: Role::Write,
        });
        let plugins = Plugins::open(services, Limits::default()).await?;
        Ok(Self { plugins, engine, principal })
    }

    /// Installs a component with all it asks for; gives its name.
    async fn install(&self, bytes: Vec<u8>, instances: Instances) -> Result<String> {
        let inspection = inspect(&bytes)?;
        let whole = |privilege: bellwether_plugins::Privilege| -> Result<Grant> {
            let scope = if privilege.interface().starts_with("metrics-") { "=*" } else { "" };
            Ok(format!("{privilege}{scope}").parse()?)
        };
        let grants: Result<Vec<Grant>> =
            inspection.requests.iter().map(|request| whole(request.privilege)).collect();
        let new = NewVersion {
            component: bytes.into(),
            grants: grants?,
            replace: false,
            instances,
            carried: false,
        };
        let installed = self.plugins.install_version(Owner::Host, "bench", new).await?;
        Ok(installed.name.clone())
    }

    /// Installs a component, and gives its app.
    pub(crate) async fn install_app(&self, bytes: Vec<u8>, instances: Instances) -> Result<Arc<dyn App>> {
        let name = self.install(bytes, instances).await?;
        self.plugins.app(ORGANISATION, &name).context("the plugin is an app")
    }

    /// Installs a bundled formatter as the host does.
    pub(crate) async fn install_formatter(&self, file: &str) -> Result<Arc<dyn Formatter>> {
        let name = self.install(component(file)?, Instances::Warm).await?;
        self.plugins.formatter(ORGANISATION, &name).context("the plugin is a formatter")
    }

    /// Installs a bundled detector as the host does.
    pub(crate) async fn install_detector(&self, file: &str) -> Result<Arc<dyn Detector>> {
        let name = self.install(component(file)?, Instances::Warm).await?;
        self.plugins.detector(ORGANISATION, &name).context("the plugin is a detector")
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
pub(crate) fn component(file: &str) -> Result<Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(file);
    std::fs::read(&file).with_context(|| file.display().to_string())
}
