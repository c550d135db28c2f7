//! The HTTP front: the native API under `/v1`, webhooks, dialect mounts, the page, health and metrics.
//!
//! The binary opens every service, hands them in as [`Parts`], and serves the routers of a [`Front`] on the sockets
//! it binds. Nothing here decides what a caller may read or write beyond its role: that is the domain crates' work.

mod api;
mod causes;
mod dialects;
mod doorway;
mod envelope;
mod extract;
mod health;
mod idempotency;
mod limits;
mod openapi;
mod page;
mod patience;
mod problem;
mod redact;
mod request_id;
mod services;
mod settings;
mod telemetry;
mod unread;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use doorway::{Doorway, Progress};
pub use services::{Backup, Parts, Stopping};
pub use settings::{FrontSettings, MetricsAccess, RateLimit};
pub use telemetry::{keep_up, prometheus};

use envelope::Envelope;
use problem::{Problem, ProblemKind};
use services::{Services, Shared};

/// The front of one host. Its routers share limits and counters, whichever socket each is served on. Serve them with
/// `into_make_service_with_connect_info::<SocketAddr>()`: without it no proxy is trusted.
pub struct Front {
    services: Shared,
}

impl Front {
    /// A front over these services.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { services: Arc::new(Services::new(parts)) }
    }

    /// Everything: the native API, webhooks, every dialect under its name, the page, health and metrics; and, for
    /// requests to a host name that belongs to a dialect, that dialect alone.
    pub fn router(&self) -> Router {
        let (schemas, paths, hooks) = routes!(webhooks::receive);
        let hooks = hooks.head(webhooks::other_methods).fallback(webhooks::other_methods);
        let native = OpenApiRouter::with_openapi(openapi::document())
            .merge(api::router(&self.services))
            .routes((schemas, paths, hooks));
        let (native, mut document) = native.split_for_parts();
        openapi::complete(&mut document);
        let everything = native
            .merge(page::router(&self.services))
            .merge(health::router())
            .merge(openapi::router(&document))
            .fallback(dialects::under_its_name)
            .method_not_allowed_fallback(other_methods)
            .layer(Envelope(Arc::clone(&self.services)))
            .with_state(Arc::clone(&self.services));
        dialects::by_host(&self.services, everything)
    }

    /// One dialect alone, at the root: for a port of its own. It is looked up at each request, so that it may be
    /// installed or replaced later.
    pub fn dialect_router(&self, name: &str) -> Router {
        dialects::alone(&self.services, name)
    }
}

async fn other_methods() -> Problem {
    Problem::new(
        ProblemKind::MethodNotAllowed,
        "Not with this method: the `Allow` header names those there are",
    )
}
