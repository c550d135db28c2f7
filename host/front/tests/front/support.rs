//! A whole host in memory behind a router: what the tests of the front ask.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use bellwether_access::{Access, NewKey, Role};
use bellwether_alerts::Alerts;
use bellwether_engine::{CallLimits, EngineSettings};
use bellwether_front::{Front, FrontSettings, Parts, Stopping};
use bellwether_kernel::{HostId, ManualClock, OrganisationId, SeededRandomness, Timestamp};
use bellwether_playbooks::{
    App, AppCall, AppDescription, AppReport, Apps, IncidentActions, Input, Output, Playbooks, Value,
    ValueType,
};
use bellwether_plugins::{Plugins, Services};
use bellwether_store::{Erase, MemoryStore};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

/// Noon of an April day.
pub(crate) const NOW: &str = "2024-04-01T12:00:00Z";

/// A host and a key of every kind.
pub(crate) struct Host {
    pub(crate) front: Front,
    pub(crate) router: Router,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) stopping: Stopping,
    pub(crate) operator: String,
    pub(crate) admin: String,
    pub(crate) write: String,
    pub(crate) read: String,
    /// The admin of another organisation.
    pub(crate) stranger: String,
    pub(crate) access: Arc<Access>,
    /// Whoever erases what a deleted organisation had.
    pub(crate) keepers: [Arc<dyn Erase>; 7],
    /// Where components are kept; goes with the host.
    pub(crate) folder: Arc<tempfile::TempDir>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is a problem of this status and type, and gives it.
    pub(crate) fn problem(&self, status: u16, kind: &str) -> serde_json::Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{kind}"), "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{problem}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem
    }
}

impl Host {
    pub(crate) async fn new() -> Self {
        Self::with(FrontSettings::default()).await
    }

    pub(crate) async fn with(settings: FrontSettings) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::parse(NOW).unwrap()));
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let mut host = Self::on(Arc::default(), clock, folder, settings).await;
        let access = &host.access;
        host.operator = access.create_operator_key("host", "operator", None).await.unwrap().token;
        let own = access.create_organisation("host", "own", "UTC").await.unwrap().id;
        let other = access.create_organisation("host", "other", "UTC").await.unwrap().id;
        host.admin = key(access, own, Role::Admin).await;
        host.write = key(access, own, Role::Write).await;
        host.read = key(access, own, Role::Read).await;
        host.stranger = key(access, other, Role::Admin).await;
        host
    }

    /// What a new process finds in a store, with the keys of this one.
    pub(crate) async fn reopened(&self, store: MemoryStore) -> Self {
        let (clock, folder) = (Arc::clone(&self.clock), Arc::clone(&self.folder));
        let host = Self::on(Arc::new(store), clock, folder, FrontSettings::default()).await;
        Self {
            operator: self.operator.clone(),
            admin: self.admin.clone(),
            write: self.write.clone(),
            read: self.read.clone(),
            stranger: self.stranger.clone(),
            ..host
        }
    }

    /// A host on a store and a folder of components, without any keys.
    async fn on(
        store: Arc<MemoryStore>,
        clock: Arc<ManualClock>,
        folder: Arc<tempfile::TempDir>,
        settings: FrontSettings,
    ) -> Self {
        let randomness = Arc::new(SeededRandomness::new(1));
        let engine = EngineSettings { calls: 8, ..EngineSettings::default() };
        let services =
            Services::alone(store.clone(), folder.path(), &engine, clock.clone(), randomness.clone());
        let services = services.await.unwrap();
        let Services { access, metrics, series, records, .. } = services.clone();
        let call = CallLimits { wall: Duration::from_secs(30), ..CallLimits::default() };
        let limits = bellwether_plugins::Limits { call, ..bellwether_plugins::Limits::default() };
        let plugins = Plugins::open(services, limits).await.unwrap();
        let playbooks = Playbooks::open(bellwether_playbooks::Parts {
            store: store.clone(),
            access: access.clone(),
            apps: Arc::new(OneApp),
            secrets: access.clone(),
            writes: None,
            clock: clock.clone(),
            randomness: randomness.clone(),
            host: HostId(1),
            limits: bellwether_playbooks::Limits::default(),
        });
        let playbooks = playbooks.await.unwrap();
        let alerts = Alerts::open(bellwether_alerts::Parts {
            store: store.clone(),
            access: access.clone(),
            figures: series.clone(),
            events: records.clone(),
            roles: plugins.clone(),
            tellings: playbooks.clone(),
            clock: clock.clone(),
            limits: bellwether_alerts::Limits::default(),
            outward: bellwether_alerts::Outward {
                public_url: settings.public_url.clone(),
                actions: Some(Arc::new(IncidentActions::new(playbooks.clone()))),
            },
        });
        plugins.answer_with_alerts(&alerts);
        let pins: std::sync::Weak<Playbooks> = Arc::downgrade(&playbooks);
        plugins.ask_for_pins(pins);
        let deliveries = bellwether_alerts::Deliveries::open(bellwether_alerts::DeliveryParts {
            store: store.clone(),
            access: access.clone(),
            roles: plugins.clone(),
            http: plugins.clone(),
            mail: None,
            clock: clock.clone(),
            randomness: randomness.clone(),
            limits: bellwether_alerts::DeliveryLimits::default(),
        });
        let deliveries = deliveries.await.unwrap();
        let stopping = Stopping::default();
        let parts = Parts {
            store: store.clone(),
            access: access.clone(),
            metrics,
            series,
            records,
            deliveries,
            playbooks,
            alerts,
            plugins,
            clock: clock.clone(),
            randomness,
            recorder: bellwether_front::prometheus().build_recorder().handle(),
            stopping: stopping.clone(),
            backup: None,
            settings,
        };
        let keepers = parts.keepers();
        let front = Front::new(parts);
        Self {
            router: front.router(),
            front,
            store,
            clock,
            stopping,
            operator: String::new(),
            admin: String::new(),
            write: String::new(),
            read: String::new(),
            stranger: String::new(),
            access,
            keepers,
            folder,
        }
    }

    /// A request with a key and a JSON body; `Null` for none.
    pub(crate) async fn ask(&self, method: &str, path: &str, key: &str, body: serde_json::Value) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let body = match body {
            serde_json::Value::Null => Body::empty(),
            body => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
        };
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str, key: &str) -> Answer {
        self.ask("GET", path, key, serde_json::Value::Null).await
    }

    /// Posts a component, as who installs or inspects it does.
    pub(crate) async fn post_component(&self, path: &str, key: &str, component: Vec<u8>) -> Answer {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/wasm")
            .body(Body::from(component));
        self.send(request.unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        read(self.router.clone().oneshot(request).await.unwrap()).await
    }

    /// The same write twice under one `Idempotency-Key`, or different ones under the same.
    pub(crate) async fn once(
        &self,
        name: &str,
        method: Method,
        path: &str,
        key: &str,
        body: &serde_json::Value,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .header("idempotency-key", name)
            .body(Body::from(body.to_string()));
        self.send(request.unwrap()).await
    }
}

pub(crate) async fn read(response: axum::response::Response) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

async fn key(access: &Access, organisation: OrganisationId, role: Role) -> String {
    let key = NewKey { name: format!("{role:?}"), role, expires: None, signing: false };
    access.create_key("host", organisation, key).await.unwrap().token
}

/// The app `echo` gives back its input `text`.
struct OneApp;

impl Apps for OneApp {
    fn app(&self, _: OrganisationId, name: &str) -> Option<Arc<dyn App>> {
        (name == "echo").then(|| Arc::new(Echo(description())) as Arc<dyn App>)
    }
}

struct Echo(AppDescription);

/// What the app takes one and a half seconds to give back.
pub(crate) const SLOWLY: &str = "slowly";

fn description() -> AppDescription {
    let help = String::new();
    AppDescription {
        summary: "Gives back what it is given.".to_owned(),
        inputs: vec![Input {
            name: "text".to_owned(),
            value_type: ValueType::Text,
            required: true,
            default: None,
            choices: Vec::new(),
            secret: false,
            help: help.clone(),
        }],
        outputs: vec![Output { name: "text".to_owned(), value_type: ValueType::Text, help }],
    }
}

#[async_trait]
impl App for Echo {
    fn version(&self) -> &str {
        "1.0.0"
    }

    fn description(&self) -> &AppDescription {
        &self.0
    }

    async fn run(&self, call: AppCall) -> AppReport {
        let text =
            call.inputs.into_iter().find(|(name, _)| name == "text").map_or(Value::None, |(_, text)| text);
        if text == Value::Text(SLOWLY.to_owned()) {
            tokio::time::sleep(Duration::from_millis(1500)).await;
        }
        AppReport { result: Ok(vec![("text".to_owned(), text)]), log: Vec::new() }
    }
}

/// A playbook that echoes what its webhook's body or its inputs say.
pub(crate) fn playbook(name: &str, trigger: &str, text: &str) -> serde_json::Value {
    serde_json::json!({
        "name": name,
        "trigger": {"type": trigger},
        "steps": [{"id": "say", "app": "echo", "inputs": {"text": text}}],
    })
}
