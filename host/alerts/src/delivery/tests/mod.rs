//! A small world to deliver in: an organisation on a store in memory, a formatter, and a network that does as it is told.

mod at_hand;
mod channels;
mod email;
mod erasing;
mod fakes;
mod formatters;
mod history;
mod order;
mod secrets;
mod simulation;
mod storms;
mod together;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bellwether_access::{Access, HostKey, NewKey, Principal, Role};
use bellwether_kernel::{Clock, KeyId, OrganisationId, PageRequest, Randomness, SeededRandomness, Timestamp};
use bellwether_store::{Batch, Direction, Key, MemoryStore, SharedStore, Store};
use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::*;
use fakes::{Cards, Network, Post, TestClock};

/// What an organisation's secret is, in every test.
const SECRET: &str = "correct horse/battery+staple\"é";

#[derive(Clone)]
struct World {
    store: Arc<MemoryStore>,
    access: Arc<Access>,
    clock: Arc<TestClock>,
    chance: Arc<AtomicU64>,
    network: Arc<Network>,
    post: Arc<Post>,
    deliveries: Arc<Deliveries>,
    organisation: OrganisationId,
    admin: Arc<Principal>,
}

fn host_key() -> HostKey {
    HostKey::from_hex(&"5a".repeat(32)).unwrap()
}

fn chance(from: &AtomicU64) -> Arc<dyn Randomness> {
    Arc::new(SeededRandomness::new(from.fetch_add(1, Ordering::SeqCst)))
}

async fn open_access(
    store: SharedStore,
    clock: &Arc<TestClock>,
    from: &AtomicU64,
) -> Result<Arc<Access>, bellwether_access::AccessError> {
    let clock: Arc<dyn Clock> = clock.clone();
    Ok(Arc::new(Access::open(store, clock, chance(from), host_key()).await?))
}

/// An organisation with a key and the secret of its channels.
async fn organisation(access: &Access, name: &str) -> (OrganisationId, Arc<Principal>) {
    let organisation = access.create_organisation("host", name, "UTC").await.unwrap().id;
    let key = NewKey { name: "test".into(), role: Role::Admin, expires: None, signing: false };
    let key: KeyId = access.create_key("host", organisation, key).await.unwrap().key.id;
    let admin = access.principal(&key).unwrap();
    let hosts = vec!["https://cards.example".to_owned()];
    access.put_secret(&admin, "token", SECRET, hosts).await.unwrap();
    (organisation, admin)
}

impl World {
    async fn new() -> Self {
        Self::seeded(0, DeliveryLimits::default()).await
    }

    async fn with_limits(limits: DeliveryLimits) -> Self {
        Self::seeded(0, limits).await
    }

    async fn seeded(seed: u64, limits: DeliveryLimits) -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock = Arc::new(TestClock::new(Timestamp::parse("2024-04-09T14:44:00Z").unwrap()));
        let chance = Arc::new(AtomicU64::new(seed));
        let access = open_access(store.clone(), &clock, &chance).await.unwrap();
        let (organisation, admin) = organisation(&access, "acme").await;
        let (network, post) = (Arc::new(Network::new(Arc::clone(&clock))), Arc::new(Post::default()));
        let parts = parts(store.clone(), &access, &clock, &chance, (&network, &post), limits);
        let deliveries = Deliveries::open(parts).await.unwrap();
        Self { store, access, clock, chance, network, post, deliveries, organisation, admin }
    }

    /// The same world on `store`, as a process finds it that starts.
    async fn on(&self, store: Arc<MemoryStore>) -> Result<Self, AlertError> {
        self.deliveries.die();
        let access = open_access(store.clone(), &self.clock, &self.chance).await?;
        let limits = self.deliveries.limits;
        let fakes = (&self.network, &self.post);
        let parts = parts(store.clone(), &access, &self.clock, &self.chance, fakes, limits);
        let deliveries = Deliveries::open(parts).await?;
        Ok(Self {
            store,
            access,
            clock: Arc::clone(&self.clock),
            chance: Arc::clone(&self.chance),
            network: Arc::clone(&self.network),
            post: Arc::clone(&self.post),
            deliveries,
            organisation: self.organisation,
            admin: Arc::clone(&self.admin),
        })
    }

    /// Puts a channel of cards, with what is said otherwise.
    async fn put(&self, name: &str, otherwise: serde_json::Value) -> Channel {
        let spec = spec(&otherwise);
        self.deliveries.put_channel(&self.admin, name, spec, None).await.unwrap().0
    }

    fn telling(&self, incident: &str, sequence: u32, event: Event, channels: &[&str]) -> Telling {
        let mut sample = Notification::sample(event).incident;
        sample.id = incident.to_owned();
        Telling {
            organisation: self.organisation,
            channels: channels.iter().map(|name| (*name).to_owned()).collect(),
            sequence,
            event,
            time: self.clock.now(),
            incident: sample,
        }
    }

    async fn tell(&self, incident: &str, sequence: u32, event: Event, channels: &[&str]) {
        let mut batch = Batch::new();
        let telling = self.telling(incident, sequence, event, channels);
        self.deliveries.add(&mut batch, &telling).unwrap();
        self.store.commit(batch).await.unwrap();
        self.deliveries.committed();
    }

    /// How a delivery to the channel `c` of the incident `i` stands.
    async fn history(&self, sequence: u32) -> DeliveryHistory {
        let id = id("i", "c", sequence);
        self.deliveries.delivery(self.organisation, &id).await.unwrap()
    }

    /// As [`Self::history`], once it has ended.
    async fn ended(&self, sequence: u32) -> DeliveryHistory {
        for _ in 0..100_000 {
            let history = self.history(sequence).await;
            if history.delivery.ended.is_some() {
                return history;
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        panic!("it does not end: {:?}", self.history(sequence).await);
    }

    async fn rows(&self) -> Vec<bellwether_store::Row> {
        let range = Key::from_bytes(Vec::new())..Key::from_bytes(vec![0xff]);
        self.store.scan(range, Direction::Forward, usize::MAX).await.unwrap()
    }

    async fn list(&self, filter: &DeliveryFilter) -> Vec<String> {
        let (mut page, mut found) = (PageRequest::first(2), Vec::new());
        loop {
            let part = self.deliveries.deliveries(self.organisation, filter, &page).await.unwrap();
            found.extend(part.items.iter().map(|delivery| delivery.id.to_string()));
            page.cursor = part.next;
            if page.cursor.is_none() {
                return found;
            }
        }
    }
}

fn parts(
    store: SharedStore,
    access: &Arc<Access>,
    clock: &Arc<TestClock>,
    from: &AtomicU64,
    (network, post): (&Arc<Network>, &Arc<Post>),
    limits: DeliveryLimits,
) -> DeliveryParts {
    DeliveryParts {
        store,
        access: Arc::clone(access),
        roles: Arc::new(Cards(Arc::clone(network))),
        http: network.clone(),
        mail: post.is_there.load(Ordering::SeqCst).then(|| -> Arc<dyn Mailer> { post.clone() }),
        clock: clock.clone(),
        randomness: chance(from),
        limits,
    }
}

fn spec(otherwise: &serde_json::Value) -> ChannelSpec {
    let mut spec = json!({
        "formatter": "cards",
        "settings": {"url": "https://cards.example", "token": "token"},
        "rate": {"per_minute": 60_000, "burst": 10_000},
    });
    for (name, value) in otherwise.as_object().expect("an object") {
        spec[name] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn id(incident: &str, channel: &str, sequence: u32) -> DeliveryId {
    DeliveryId { channel: channel.to_owned(), incident: incident.to_owned(), sequence }
}
