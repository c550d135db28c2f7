//! How the host is, for its operator: `/v1/host`, and its backup.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_access::AuditScope;
use bellwether_plugins::Dialect;
use bellwether_store::Refusal;
use futures::stream;
use http::{HeaderName, HeaderValue, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::{Json, OperatorOnly};
use crate::health::Readiness;
use crate::openapi::{Clash, Refusals};
use crate::patience::Patience;
use crate::problem::{Problem, ProblemKind};
use crate::services::{Services, Shared};
use crate::telemetry;

/// How the host is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Host {
    version: &'static str,
    uptime_seconds: u64,
    /// As `/readyz` answers.
    ready: bool,
    /// Why it is not ready.
    reasons: Vec<String>,
    store: StoreHealth,
    /// What is not as it should be and does not keep work away.
    warnings: Vec<String>,
    /// Monitors that could not be evaluated, or not whole, when they last were, or named channels that were not there; each
    /// says why itself.
    monitors_with_problem: usize,
    /// Dialects that are served, and so what is mounted.
    dialects: Vec<Mounted>,
    /// Requests at work.
    requests_at_work: usize,
    /// Memory the process holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
}

/// How the store is.
#[derive(Serialize, ToSchema)]
struct StoreHealth {
    /// Why writes are refused at present: `disk_full` or `closed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusing: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_bytes: Option<u64>,
    /// How often the log was made durable since the start.
    syncs: u64,
    /// Batches committed since the start.
    commits: u64,
}

/// A dialect that is served.
#[derive(Serialize, ToSchema)]
struct Mounted {
    name: String,
    version: String,
    /// Where it is mounted.
    #[schema(example = "/threatconnect/")]
    path: String,
    /// Host names that are its alone.
    hosts: Vec<String>,
}

impl Mounted {
    fn of(services: &Services, dialect: &Dialect) -> Self {
        let name = dialect.name().to_owned();
        let hosts = services.settings().dialect_hosts.get(&name).cloned().unwrap_or_default();
        Self { version: dialect.version().to_owned(), path: format!("/{name}/"), hosts, name }
    }
}

/// Shows how the host is.
#[utoipa::path(get, path = "/v1/host", tag = "host", security(("key" = [])),
    responses((status = 200, description = "How the host is", body = Host), Refusals))]
pub(crate) async fn get(
    OperatorOnly(_): OperatorOnly,
    State(services): State<Shared>,
) -> Result<Json<Host>, Problem> {
    let health = services.parts.store.health();
    let Readiness { ready, reasons, warnings } = Readiness::of(&services);
    Ok(Json(Host {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: services.started.elapsed().as_secs(),
        ready,
        reasons,
        store: StoreHealth {
            refusing: health.refusing.map(|refusal| match refusal {
                Refusal::DiskFull => "disk_full",
                Refusal::Closed => "closed",
            }),
            free_bytes: health.free_bytes,
            disk_bytes: health.disk_bytes,
            syncs: health.syncs,
            commits: health.commits,
        },
        warnings,
        monitors_with_problem: services.alerts().monitors_with_problem(),
        dialects: services
            .plugins()
            .dialects()
            .iter()
            .map(|dialect| Mounted::of(&services, dialect))
            .collect(),
        requests_at_work: services.limits.at_work(),
        memory_bytes: telemetry::resident_memory(),
    }))
}

/// What a backup does not hold: one header for each, in words.
const LEFT_OUT: HeaderName = HeaderName::from_static("bellwether-left-out");

/// How long a backup may take to begin: every component is read, and every segment's file looked for.
const LOOKING: Duration = Duration::from_secs(300);

/// Streams a backup of the running host. A backup that fails on its way breaks the connection off: what came is then
/// no backup, and `bellwether restore` says so, and why. A plugin's component that is missing or damaged, and a segment of
/// series, events or logs that is missing, is left out, and said in a header `Bellwether-Left-Out`, one for each: what it
/// is, which file and what to do. A segment that is found damaged on the way is left out too, and named in the backup alone.
#[utoipa::path(get, path = "/v1/host/backup", tag = "host", security(("key" = [])),
    responses((status = 200, description = "The backup", body = Vec<u8>, content_type = "application/octet-stream"),
        Refusals, Clash))]
pub(crate) async fn backup(
    OperatorOnly(operator): OperatorOnly,
    State(services): State<Shared>,
    patience: Patience,
) -> Result<Response, Problem> {
    patience.at_least(LOOKING);
    let Some(backup) = &services.parts.backup else {
        return Err(Problem::new(ProblemKind::Conflict, "This host's store has no backup: it is in memory"));
    };
    tracing::info!(key = %operator.key, "a backup begins");
    let mut left_out = services.plugins().lost_components().await?;
    left_out.extend(services.parts.series.look_for_segments().await?);
    left_out.extend(services.parts.records.look_for_segments().await?);
    let details = [("left_out", left_out.len().to_string())];
    services.audit(AuditScope::Host, operator.key.as_str(), "host.backup", "host", &details).await;
    // A header takes no other.
    let plain = |sign: char| if sign.is_ascii_graphic() || sign == ' ' { sign } else { '?' };
    let told: Vec<HeaderValue> = left_out
        .iter()
        .filter_map(|left_out| {
            HeaderValue::from_str(&left_out.why.chars().map(plain).collect::<String>()).ok()
        })
        .collect();
    let parts = stream::unfold(backup(left_out), |mut parts| async move {
        let part = parts.recv().await?;
        if let Err(error) = &part {
            tracing::error!(%error, "a backup failed");
        }
        Some((part, parts))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"bellwether.backup\"")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let mut response = (headers, Body::from_stream(parts)).into_response();
    for why in told {
        response.headers_mut().append(LEFT_OUT, why);
    }
    Ok(response)
}
