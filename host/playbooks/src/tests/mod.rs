//! A small world to test in: an organisation with its keys on a store in memory, and apps made of closures.

mod bounds;
mod complaints;
mod cost;
mod crashes;
mod damage;
mod damaged_rows;
mod depth;
mod documents;
mod dry_runs;
mod erasing;
mod examples;
mod fakes;
mod fit;
mod incidents;
mod items;
mod keeping;
mod log;
mod meters;
mod passing;
mod places;
mod runs;
mod secrets;
mod shapes;
mod simulation;
mod stopping;
mod store;
mod suspension;
mod triggers;
mod versions;
mod workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bellwether_access::{Access, AccessError, HostKey, NewKey, Principal, Role};
use bellwether_kernel::{
    Clock, HostId, KeyId, OrganisationId, Randomness, RunId, SeededRandomness, Timestamp,
};
use bellwether_store::{Direction, Key, MemoryStore, Row, SharedStore, Space, Store};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;

use crate::*;
use fakes::{FakeApps, FakeSecrets, FakeWrites, TestClock};

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
    chance: Arc<Chance>,
    playbooks: Arc<Playbooks>,
    organisation: OrganisationId,
    admin: Arc<Principal>,
}

impl World {
    async fn new() -> Self {
        Self::with_limits(Limits::default()).await
    }

    /// An admin of another organisation.
    async fn other(&self) -> Arc<Principal> {
        let other = self.access.create_organisation("host", "other", "UTC").await.unwrap().id;
        new_principal(&self.access, other, Role::Admin).await
    }

    /// The runs of somebody's organisation, as far as they are in one list.
    async fn runs_of(&self, who: &Principal) -> Vec<RunSummary> {
        let page = bellwether_kernel::PageRequest::first(1_000);
        self.playbooks.runs(who.organisation, &RunFilter::default(), &page).await.unwrap().items
    }

    /// How many runs our organisation has once the first of another is there.
    async fn runs_before_one_of(&self, other: &Principal) -> usize {
        while self.runs_of(other).await.is_empty() {
            tokio::task::yield_now().await;
        }
        self.runs_of(&self.admin).await.len()
    }

    async fn with_limits(limits: Limits) -> Self {
        Self::seeded(limits, 0).await
    }

    /// A world in which the same happens for the same seed.
    async fn seeded(limits: Limits, seed: u64) -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock = Arc::new(TestClock::new(Timestamp::parse("2024-04-09T14:44:00Z").unwrap()));
        let chance = Arc::new(Chance(AtomicU64::new(seed)));
        let access = open_access(store.clone(), &clock, &chance).await.unwrap();
        let organisation = access.create_organisation("host", "acme", "UTC").await.unwrap().id;
        let admin = new_principal(&access, organisation, Role::Admin).await;
        let apps = Arc::new(FakeApps::default());
        apps.put_quick(
            "echo",
            describe(vec![Input::new("value", ValueType::Json)], &[("value", ValueType::Json)]),
            |call| gives(&[("value", given(&call, "value").clone())]),
        );
        let (secrets, writes) = (Arc::new(FakeSecrets::default()), Arc::new(FakeWrites::default()));
        let parts = Parts {
            store: store.clone(),
            access: access.clone(),
            apps: apps.clone(),
            secrets: secrets.clone(),
            writes: Some(writes.clone()),
            clock: clock.clone(),
            randomness: chance.source(),
            host: HostId(1),
            limits,
        };
        let playbooks = Playbooks::open(parts).await.unwrap();
        Self { store, access, apps, secrets, writes, clock, chance, playbooks, organisation, admin }
    }

    /// What a host stands on that opens `store`.
    fn parts(
        &self,
        store: SharedStore,
        access: &Arc<Access>,
        host: u64,
        writes: Option<&Arc<FakeWrites>>,
    ) -> Parts {
        Parts {
            store,
            access: Arc::clone(access),
            apps: self.apps.clone(),
            secrets: self.secrets.clone(),
            writes: writes.map(|writes| Arc::clone(writes) as Arc<dyn Writes>),
            clock: self.clock.clone(),
            randomness: self.chance.source(),
            host: HostId(host),
            limits: self.playbooks.limits(),
        }
    }

    /// The same world on what `store` kept.
    async fn reopened(&self, store: MemoryStore) -> Self {
        self.playbooks.die();
        let store = Arc::new(store);
        let access = open_access(store.clone(), &self.clock, &self.chance).await.unwrap();
        let parts = self.parts(store.clone(), &access, 1, Some(&self.writes));
        let playbooks = Playbooks::open(parts).await.unwrap();
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
            chance: Arc::clone(&self.chance),
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
        let parts = self.parts(self.store.clone(), &self.access, host, None);
        let playbooks = Playbooks::open(parts).await.unwrap();
        self.with(Arc::clone(&self.store), Arc::clone(&self.access), playbooks)
    }

    /// The same world for looking at what its store holds: nothing in it moves.
    async fn reading(&self) -> Self {
        let store = Arc::new(self.store.restart());
        let access = open_access(store.clone(), &self.clock, &self.chance).await.unwrap();
        let playbooks = Playbooks::idle(self.parts(store.clone(), &access, 1, None));
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
        self.store.rows().await.unwrap()
    }

    async fn rows_of(&self, space: Space) -> usize {
        self.store.scan(Key::new(space).prefix(), Direction::Forward, usize::MAX).await.unwrap().len()
    }
}

/// Where a world's chance comes from: never the same ids twice, also after a restart.
struct Chance(AtomicU64);

impl Chance {
    fn source(&self) -> Arc<dyn Randomness> {
        Arc::new(SeededRandomness::new(self.0.fetch_add(1, Ordering::SeqCst)))
    }
}

async fn open_access(
    store: SharedStore,
    clock: &Arc<TestClock>,
    chance: &Chance,
) -> Result<Arc<Access>, AccessError> {
    let clock: Arc<dyn Clock> = clock.clone();
    let host_key = HostKey::from_hex(&"5a".repeat(32)).unwrap();
    Ok(Arc::new(Access::open(store, clock, chance.source(), host_key).await?))
}

async fn new_principal(access: &Access, organisation: OrganisationId, role: Role) -> Arc<Principal> {
    let key = NewKey { name: "test".into(), role, expires: None, signing: false };
    let key: KeyId = access.create_key("host", organisation, key).await.unwrap().key.id;
    access.principal(&key).unwrap()
}

fn post(content_type: &str, body: impl Into<Bytes>) -> WebhookRequest {
    WebhookRequest {
        method: "POST".into(),
        query: Vec::new(),
        headers: vec![("content-type".into(), content_type.into())],
        body: body.into(),
    }
}
