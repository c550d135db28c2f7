//! How the host is: `/healthz`, `/readyz`, `/metrics`.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bellwether_kernel::PageRequest;
use bellwether_plugins::{Installed, Owner};
use bellwether_store::Refusal;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::extract::{Json, OperatorOnly};
use crate::problem::Problem;
use crate::services::{Services, Shared};
use crate::settings::MetricsAccess;
use crate::telemetry;

/// The routes an orchestrator and a scraper ask.
pub(crate) fn router() -> Router<Shared> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).route("/metrics", get(metrics))
}

/// It serves: whoever reads this has the proof.
async fn alive() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

#[derive(Serialize)]
struct Alive {
    status: &'static str,
}

/// Whether work should be sent here, and why not.
#[derive(Serialize)]
pub(crate) struct Readiness {
    /// Whether it should.
    pub(crate) ready: bool,
    /// Why not; empty if it should.
    pub(crate) reasons: Vec<String>,
    /// What is not as it should be and does not keep work away.
    pub(crate) warnings: Vec<String>,
}

impl Readiness {
    pub(crate) fn of(services: &Services) -> Self {
        let mut reasons = Vec::new();
        if services.parts.stopping.has_begun() {
            reasons.push("the host is stopping".to_owned());
        }
        let health = services.parts.store.health();
        match health.refusing {
            None => {}
            Some(Refusal::DiskFull) => {
                let free = health
                    .free_bytes
                    .map_or(String::new(), |bytes| format!(", {} MiB are free", bytes >> 20));
                reasons.push(format!("the store takes no writes: the disk is nearly full{free}"));
            }
            Some(Refusal::Closed) => {
                reasons.push(
                    "the store takes no writes: it is closed, or a sync failed; restart the host".to_owned(),
                );
            }
        }
        let damaged = health.damaged.iter().map(|path| {
            format!(
                "the store's journal was damaged and commits are lost: restore a backup, or remove {}, as it was found",
                path.display()
            )
        });
        let lost = services.parts.series.lost().into_iter().chain(services.parts.records.lost());
        let lost = lost.map(|left_out| left_out.why);
        let unread = match services.parts.store.unread().count() {
            0 => None,
            rows => Some(format!(
                "{rows} rows of the store did not read when they were looked at, and are passed over: the host's log names each; \
                 restore a backup"
            )),
        };
        let passive = services.access().is_passive();
        let passive =
            passive.then(|| "the host is passive: no run, evaluation or delivery begins".to_owned());
        let missing = services.plugins().missing_components(Owner::Host);
        let warnings = damaged
            .chain(lost)
            .chain(unread)
            .chain(passive)
            .chain(broken_plugins(services))
            .chain(missing)
            .collect();
        Self { ready: reasons.is_empty(), reasons, warnings }
    }
}

/// The host's own plugins that are switched on and did not load. The rest of the host works, and the API to mend them
/// must be reachable: no reason to send no work here.
fn broken_plugins(services: &Services) -> Vec<String> {
    let all = PageRequest::first(usize::MAX);
    let plugins = services.plugins().list(Owner::Host, &all).map(|page| page.items).unwrap_or_default();
    let problem = |plugin: &Installed| {
        Some(format!("the plugin {} {}: {}", plugin.name, plugin.version, plugin.problem.as_ref()?))
    };
    plugins.iter().filter(|plugin| plugin.enabled).filter_map(|plugin| problem(plugin)).collect()
}

async fn ready(State(services): State<Shared>) -> Response {
    let readiness = Readiness::of(&services);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(services): State<Shared>, mut parts: Parts) -> Result<Response, Problem> {
    use axum::extract::FromRequestParts;
    if services.settings().metrics_access == MetricsAccess::Operator {
        OperatorOnly::from_request_parts(&mut parts, &services).await?;
    }
    telemetry::refresh(&services);
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, content_type)], services.parts.recorder.render()).into_response())
}
