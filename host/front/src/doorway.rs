//! What a socket answers before its host is ready: a first start compiles plugins for minutes, and whoever watches it
//! is to see that it lives and how far it is.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::extract::connect_info::{self, ConnectInfo};
use axum::middleware::AddExtension;
use axum::response::{IntoResponse, Response};
use bellwether_kernel::Randomness;
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::json;
use tower::{Service, ServiceExt};

use crate::extract::Json;
use crate::health::Readiness;
use crate::problem::Problem;
use crate::request_id::{self, RequestIds};

/// When a client is to come again, in seconds.
const RETRY_AFTER: u64 = 5;

/// How far a start has come, in words: "compiling plugin 7 of 26".
#[derive(Clone, Default)]
pub struct Progress(Arc<Mutex<String>>);

impl Progress {
    /// Says what is being done from now on.
    pub fn tell(&self, doing: impl Into<String>) {
        *self.0.lock() = doing.into();
    }
}

/// Stands before a router that is not there yet. Serve it from the beginning, and open it once the host is ready: then each
/// new connection is the router's own, and those that are open already are led to it.
#[derive(Clone)]
pub struct Doorway(Arc<Inner>);

struct Inner {
    behind: OnceLock<Router>,
    progress: Progress,
    request_ids: RequestIds,
    /// Whether the host's health is told here: not where a dialect has a socket of its own, whose paths are all its.
    tells_health: bool,
}

impl Doorway {
    /// Before everything a host answers.
    #[must_use]
    pub fn new(progress: &Progress, randomness: &dyn Randomness) -> Self {
        Self::before(progress, randomness, true)
    }

    /// Before a dialect on a socket of its own.
    #[must_use]
    pub fn of_dialect(progress: &Progress, randomness: &dyn Randomness) -> Self {
        Self::before(progress, randomness, false)
    }

    fn before(progress: &Progress, randomness: &dyn Randomness, tells_health: bool) -> Self {
        let (progress, request_ids) = (progress.clone(), RequestIds::new(randomness));
        Self(Arc::new(Inner { behind: OnceLock::new(), progress, request_ids, tells_health }))
    }

    /// From now on `router` answers.
    pub fn open(&self, router: Router) {
        // Nobody opens it twice.
        let _ = self.0.behind.set(router);
    }

    /// What a connection that begins now is served by.
    fn router(&self) -> Router {
        if let Some(router) = self.0.behind.get() {
            return router.clone();
        }
        let inner = Arc::clone(&self.0);
        Router::new().fallback(move |request: Request| {
            let inner = Arc::clone(&inner);
            async move {
                match inner.behind.get() {
                    Some(router) => router.clone().oneshot(request).await,
                    None => Ok::<_, Infallible>(inner.starting(request.uri().path())),
                }
            }
        })
    }
}

/// A connection's service, which knows the peer's address.
impl Service<SocketAddr> for Doorway {
    type Response = AddExtension<Router, ConnectInfo<SocketAddr>>;
    type Error = Infallible;
    type Future = connect_info::ResponseFuture<Router, SocketAddr>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, peer: SocketAddr) -> Self::Future {
        self.router().into_make_service_with_connect_info::<SocketAddr>().call(peer)
    }
}

impl Inner {
    fn starting(&self, path: &str) -> Response {
        let doing = self.progress.0.lock().clone();
        match path {
            "/healthz" if self.tells_health => Json(json!({ "status": "ok" })).into_response(),
            "/readyz" if self.tells_health => {
                let reasons = vec![format!("starting: {doing}")];
                let readiness = Readiness { ready: false, reasons, warnings: Vec::new() };
                (StatusCode::SERVICE_UNAVAILABLE, Json(readiness)).into_response()
            }
            _ => self.refused(&Problem::unavailable(format!("The host is starting: {doing}"), RETRY_AFTER)),
        }
    }

    /// A problem as the envelope would write it, which is there only once the host is.
    fn refused(&self, problem: &Problem) -> Response {
        let id = self.request_ids.fresh();
        let mut response = problem.clone().into_response();
        problem.write_into(&mut response, &id);
        response.headers_mut().insert(request_id::HEADER, id);
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use bellwether_kernel::SeededRandomness;
    use http::header;
    use http_body_util::BodyExt;

    use super::*;

    async fn asked(router: &Router, path: &str) -> (u16, String, Option<String>) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let again = parts.headers.get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        (parts.status.as_u16(), String::from_utf8(body.to_vec()).unwrap(), again)
    }

    #[tokio::test]
    async fn a_host_that_starts_lives_is_not_ready_and_asks_to_come_again() {
        let (progress, randomness) = (Progress::default(), SeededRandomness::new(1));
        let door = Doorway::new(&progress, &randomness);
        let router = door.router();
        progress.tell("compiling plugin 7 of 26");
        assert_eq!(asked(&router, "/healthz").await, (200, r#"{"status":"ok"}"#.to_owned(), None));
        let (status, body, _) = asked(&router, "/readyz").await;
        assert_eq!(
            (status, body.as_str()),
            (503, r#"{"ready":false,"reasons":["starting: compiling plugin 7 of 26"],"warnings":[]}"#)
        );
        let (status, body, again) = asked(&router, "/v1/samples").await;
        assert_eq!((status, again.as_deref()), (503, Some("5")));
        assert!(body.contains("The host is starting: compiling plugin 7 of 26"), "{body}");

        door.open(Router::new().route("/v1/samples", get(|| async { "there" })));
        assert_eq!(asked(&router, "/v1/samples").await, (200, "there".to_owned(), None));
        assert_eq!(asked(&router, "/readyz").await.0, 404, "the router that is there answers everything");
    }

    #[tokio::test]
    async fn on_a_dialect_s_socket_every_path_is_the_dialect_s() {
        let door = Doorway::of_dialect(&Progress::default(), &SeededRandomness::new(1));
        for path in ["/healthz", "/readyz", "/api/v2"] {
            assert_eq!(asked(&door.router(), path).await.0, 503, "{path}");
        }
    }
}
