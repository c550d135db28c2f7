//! A small world to test in: an organisation with its keys on a store in memory, and apps made of closures.

mod crashes;
mod documents;
mod examples;
mod runs;
mod secrets;
mod shapes;
mod store;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bellwether_access::{Access, HostKey, NewKey, Principal, Role};
use bellwether_kernel::{Clock, KeyId, ManualClock, OrganisationId, Randomness, SeededRandomness, Timestamp};
use bellwether_store::{Direction, Key, MemoryStore, Row, SharedStore, Space, Store};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;

use crate::*;

/// What an app does with a call.
type Work = dyn Fn(AppCall) -> BoxFuture<'static, AppReport> + Send + Sync;

struct FakeApp {
    version: &'static str,
    description: AppDescription,
    work: Box<Work>,
}

#[async_trait]
impl App for FakeApp {
    fn version(&self) -> &str {
        self.version
    }

    fn description(&self) -> &AppDescription {
        &self.description
    }

    async fn run(&self, call: AppCall) -> AppReport {
        (self.work)(call).await
    }
}

/// The apps of every organisation; they outlive a crash, as plugins do.
#[derive(Default)]
struct FakeApps(Mutex<HashMap<String, Arc<dyn App>>>);

impl Apps for FakeApps {
    fn app(&self, _organisation: OrganisationId, name: &str) -> Option<Arc<dyn App>> {
        self.0.lock().get(name).cloned()
    }
}

impl FakeApps {
    fn put(
        &self,
        name: &str,
        description: AppDescription,
        work: impl Fn(AppCall) -> BoxFuture<'static, AppReport> + Send + Sync + 'static,
    ) {
        let app = FakeApp { version: "1.2.0", description, work: Box::new(work) };
        self.0.lock().insert(name.to_owned(), Arc::new(app));
    }

    /// An app that answers at once.
    fn put_quick(
        &self,
        name: &str,
        description: AppDescription,
        work: impl Fn(AppCall) -> AppReport + Send + Sync + 'static,
    ) {
        self.put(name, description, move |call| Box::pin(std::future::ready(work(call))));
    }

    fn remove(&self, name: &str) {
        self.0.lock().remove(name);
    }
}

fn input(name: &str, value_type: ValueType) -> Input {
    Input {
        name: name.into(),
        value_type,
        required: false,
        default: None,
        choices: Vec::new(),
        secret: false,
        help: String::new(),
    }
}

fn describe(inputs: Vec<Input>, outputs: &[(&str, ValueType)]) -> AppDescription {
    let outputs = outputs.iter();
    let outputs = outputs.map(|(name, value_type)| Output {
        name: (*name).into(),
        value_type: *value_type,
        help: String::new(),
    });
    AppDescription { summary: "Does something.".into(), inputs, outputs: outputs.collect() }
}

fn gives(outputs: &[(&str, Value)]) -> AppReport {
    let outputs = outputs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    AppReport { result: Ok(outputs), log: Vec::new() }
}

fn fails(message: &str) -> AppReport {
    AppReport { result: Err(AppError { message: message.into(), retry: Retry::No }), log: Vec::new() }
}

fn given<'a>(call: &'a AppCall, name: &str) -> &'a Value {
    &call.inputs.iter().find(|(input, _)| input == name).expect("every declared input is given").1
}

struct World {
    store: Arc<MemoryStore>,
    access: Arc<Access>,
    apps: Arc<FakeApps>,
    clock: Arc<ManualClock>,
    playbooks: Arc<Playbooks>,
    organisation: OrganisationId,
    admin: Arc<Principal>,
}

impl World {
    async fn new() -> Self {
        Self::with_limits(Limits::default()).await
    }

    async fn with_limits(limits: Limits) -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock = Arc::new(ManualClock::new(Timestamp::parse("2024-04-09T14:44:00Z").unwrap()));
        let access = open_access(&store, &clock).await;
        let organisation = access.create_organisation("host", "acme", "UTC").await.unwrap().id;
        let admin = new_principal(&access, organisation, Role::Admin).await;
        let apps = Arc::new(FakeApps::default());
        apps.put_quick(
            "echo",
            describe(vec![input("value", ValueType::Json)], &[("value", ValueType::Json)]),
            |call| gives(&[("value", given(&call, "value").clone())]),
        );
        let playbooks = open(&store, &access, &apps, &clock, limits).await;
        Self { store, access, apps, clock, playbooks, organisation, admin }
    }

    /// The same world on what `store` kept.
    async fn reopened(&self, store: MemoryStore) -> Self {
        let store = Arc::new(store);
        let access = open_access(&store, &self.clock).await;
        let playbooks = open(&store, &access, &self.apps, &self.clock, Limits::default()).await;
        Self {
            store,
            access,
            apps: Arc::clone(&self.apps),
            clock: Arc::clone(&self.clock),
            playbooks,
            organisation: self.organisation,
            admin: Arc::clone(&self.admin),
        }
    }

    /// Stores a playbook of steps that all run `echo`, each given the template beside its id.
    async fn store_echo(&self, trigger: &str, steps: &[(&str, &str)]) -> Arc<Playbook> {
        let steps: Vec<_> = steps
            .iter()
            .map(|(id, value)| json!({"id": id, "app": "echo", "inputs": {"value": value}}))
            .collect();
        self.store_json(json!({"name": "echo", "trigger": {"type": trigger}, "steps": steps})).await
    }

    async fn store_json(&self, document: serde_json::Value) -> Arc<Playbook> {
        self.playbooks.store(&self.admin, &document.to_string(), Format::Json, true).await.unwrap()
    }

    /// Starts a playbook by hand and waits for its end.
    async fn run(&self, name: &str, inputs: serde_json::Value) -> Run {
        let started = self.playbooks.start(&self.admin, name, inputs).await.unwrap();
        started.ended.await.unwrap()
    }

    async fn rows(&self) -> Vec<Row> {
        let range = Key::from_bytes(Vec::new())..Key::from_bytes(vec![0xff]);
        self.store.scan(range, Direction::Forward, usize::MAX).await.unwrap()
    }

    async fn rows_of(&self, space: Space) -> usize {
        self.store.scan(Key::new(space).prefix(), Direction::Forward, usize::MAX).await.unwrap().len()
    }
}

async fn open(
    store: &Arc<MemoryStore>,
    access: &Arc<Access>,
    apps: &Arc<FakeApps>,
    clock: &Arc<ManualClock>,
    limits: Limits,
) -> Arc<Playbooks> {
    let store: SharedStore = store.clone();
    Playbooks::open(store, access.clone(), apps.clone(), clock.clone(), randomness(), limits).await.unwrap()
}

fn randomness() -> Arc<dyn Randomness> {
    // Never the same ids twice in one test process, as after a restart.
    static SEED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    Arc::new(SeededRandomness::new(SEED.fetch_add(1, std::sync::atomic::Ordering::SeqCst)))
}

async fn open_access(store: &Arc<MemoryStore>, clock: &Arc<ManualClock>) -> Arc<Access> {
    let store: SharedStore = store.clone();
    let clock: Arc<dyn Clock> = clock.clone();
    let host_key = HostKey::from_hex(&"5a".repeat(32)).unwrap();
    Arc::new(Access::open(store, clock, randomness(), host_key).await.unwrap())
}

async fn new_principal(access: &Access, organisation: OrganisationId, role: Role) -> Arc<Principal> {
    let key = NewKey { name: "test".into(), role, expires: None, signing: false };
    let key: KeyId = access.create_key("host", organisation, key).await.unwrap().key.id;
    access.principal(&key).unwrap()
}

fn post(content_type: &str, body: impl Into<Vec<u8>>) -> WebhookRequest {
    WebhookRequest {
        method: "POST".into(),
        query: Vec::new(),
        headers: vec![("content-type".into(), content_type.into())],
        body: body.into(),
    }
}
