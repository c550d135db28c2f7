//! A small world to test in: an organisation with its keys on a store in memory, and apps made of closures.

mod complaints;
mod crashes;
mod documents;
mod examples;
mod fakes;
mod runs;
mod secrets;
mod shapes;
mod simulation;
mod store;
mod triggers;

use std::sync::Arc;

use bellwether_access::{Access, HostKey, NewKey, Principal, Role};
use bellwether_kernel::{
    Clock, HostId, KeyId, OrganisationId, Randomness, RunId, SeededRandomness, Timestamp,
};
use bellwether_store::{Direction, Key, MemoryStore, Row, SharedStore, Space, Store};
use parking_lot::Mutex;
use serde_json::json;

use crate::*;
use fakes::{FakeApps, FakeSecrets, FakeWrites, TestClock};

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
    secrets: Arc<FakeSecrets>,
    writes: Arc<FakeWrites>,
    clock: Arc<TestClock>,
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
        let clock = Arc::new(TestClock::new(Timestamp::parse("2024-04-09T14:44:00Z").unwrap()));
        let access = open_access(&store, &clock).await;
        let organisation = access.create_organisation("host", "acme", "UTC").await.unwrap().id;
        let admin = new_principal(&access, organisation, Role::Admin).await;
        let apps = Arc::new(FakeApps::default());
        apps.put_quick(
            "echo",
            describe(vec![input("value", ValueType::Json)], &[("value", ValueType::Json)]),
            |call| gives(&[("value", given(&call, "value").clone())]),
        );
        let (secrets, writes) = (Arc::new(FakeSecrets::default()), Arc::new(FakeWrites::default()));
        let playbooks =
            open(&store, &access, &apps, &secrets, Some(Arc::clone(&writes)), &clock, limits).await;
        Self { store, access, apps, secrets, writes, clock, playbooks, organisation, admin }
    }

    /// The same world on what `store` kept.
    async fn reopened(&self, store: MemoryStore) -> Self {
        self.playbooks.die();
        let store = Arc::new(store);
        let access = open_access(&store, &self.clock).await;
        let (apps, secrets, writes) = (&self.apps, &self.secrets, Some(Arc::clone(&self.writes)));
        let limits = self.playbooks.limits();
        let playbooks = open(&store, &access, apps, secrets, writes, &self.clock, limits).await;
        self.with(store, access, playbooks)
    }

    /// This world on other services, its apps, secrets, writes and clock shared.
    fn with(&self, store: Arc<MemoryStore>, access: Arc<Access>, playbooks: Arc<Playbooks>) -> Self {
        Self {
            store,
            access,
            apps: Arc::clone(&self.apps),
            secrets: Arc::clone(&self.secrets),
            writes: Arc::clone(&self.writes),
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

    /// As [`Self::reopened`], as another host beside this one, which stays.
    async fn joined(&self, host: u64) -> Self {
        let (apps, secrets) = (&self.apps, &self.secrets);
        let limits = self.playbooks.limits();
        let playbooks =
            open_as(HostId(host), &self.store, &self.access, apps, secrets, None, &self.clock, limits).await;
        self.with(Arc::clone(&self.store), Arc::clone(&self.access), playbooks.unwrap())
    }

    /// The same world for looking at what its store holds: nothing in it moves.
    async fn reading(&self) -> Self {
        let store = Arc::new(self.store.restart());
        let limits = self.playbooks.limits();
        let access = open_access(&store, &self.clock).await;
        let playbooks = open(&store, &access, &self.apps, &self.secrets, None, &self.clock, limits).await;
        playbooks.die();
        self.with(store, access, playbooks)
    }

    /// Waits until the store has died.
    async fn until_crashed(&self) {
        while self.store.health().refusing.is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// Every run there is, oldest first.
    async fn all_runs(&self) -> Vec<Run> {
        let (mut request, mut ids) = (bellwether_kernel::PageRequest::first(1_000), Vec::new());
        loop {
            let page = self.playbooks.runs(self.organisation, &RunFilter::default(), &request).await.unwrap();
            ids.extend(page.items.iter().map(|run| run.id));
            match page.next {
                Some(next) => request.cursor = Some(next),
                None => break,
            }
        }
        let mut runs = Vec::new();
        for id in ids.into_iter().rev() {
            runs.push(self.playbooks.run(self.organisation, id).await.unwrap());
        }
        runs
    }

    /// Waits for the end of a run that is recorded.
    async fn ended(&self, id: RunId) -> Run {
        loop {
            let run = self.playbooks.run(self.organisation, id).await.unwrap();
            if run.summary.state.has_ended() {
                return run;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
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
    secrets: &Arc<FakeSecrets>,
    writes: Option<Arc<FakeWrites>>,
    clock: &Arc<TestClock>,
    limits: Limits,
) -> Arc<Playbooks> {
    open_as(HostId(1), store, access, apps, secrets, writes, clock, limits).await.unwrap()
}

#[allow(clippy::too_many_arguments)] // one for each thing the world is made of
async fn open_as(
    host: HostId,
    store: &Arc<MemoryStore>,
    access: &Arc<Access>,
    apps: &Arc<FakeApps>,
    secrets: &Arc<FakeSecrets>,
    writes: Option<Arc<FakeWrites>>,
    clock: &Arc<TestClock>,
    limits: Limits,
) -> Result<Arc<Playbooks>, PlaybookError> {
    let parts = Parts {
        store: store.clone(),
        access: access.clone(),
        apps: apps.clone(),
        secrets: secrets.clone(),
        writes: writes.map(|writes| writes as Arc<dyn Writes>),
        clock: clock.clone(),
        randomness: randomness(),
        host,
        limits,
    };
    Playbooks::open(parts).await
}

fn randomness() -> Arc<dyn Randomness> {
    // Never the same ids twice in one test process, as after a restart.
    static SEED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    Arc::new(SeededRandomness::new(SEED.fetch_add(1, std::sync::atomic::Ordering::SeqCst)))
}

async fn open_access(store: &Arc<MemoryStore>, clock: &Arc<TestClock>) -> Arc<Access> {
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
