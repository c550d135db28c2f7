//! What surrounds every request, in one layer: its id and span, the limit on requests at once, the limit on time,
//! panics, bodies nobody reads, problem bodies, counters.
//!
//! One layer and one allocation, where a tower of ready-made ones would cost each request several: the native write
//! is measured against a bare route.

use std::any::Any;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::uri::Authority;
use http::{Extensions, HeaderValue, Method, StatusCode, Uri, header};
use tokio::time::Instant;
use tower::{Layer, Service};
use tracing::{Instrument, Level, Span, field};

use crate::patience::Patience;
use crate::problem::{Problem, ProblemKind};
use crate::request_id::{self, RequestIds};
use crate::services::{Services, Shared};
use crate::telemetry::RouteMeters;
use crate::{redact, unread};

/// What a request is counted under where it matched no route.
const UNMATCHED: &str = "none";

/// Names who answered where the router does not: a dialect. In a response's extensions.
#[derive(Clone)]
pub(crate) struct ServedBy(pub(crate) Arc<str>);

/// The layer.
#[derive(Clone)]
pub(crate) struct Envelope(pub(crate) Shared);

impl<S> Layer<S> for Envelope {
    type Service = Enveloped<S>;

    fn layer(&self, inner: S) -> Enveloped<S> {
        Enveloped { services: Arc::clone(&self.0), inner }
    }
}

/// A route in its envelope.
#[derive(Clone)]
pub(crate) struct Enveloped<S> {
    services: Shared,
    inner: S,
}

impl<S> Service<Request> for Enveloped<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let services = Arc::clone(&self.services);
        let seen = Seen::of(&services, &request);
        request.extensions_mut().insert(seen.patience.clone());
        // Nothing of the request is done before the future is polled.
        let answer = self.inner.call(unread::taken_whole(request));
        Box::pin(async move { Ok(seen.answer(&services, answer).await) })
    }
}

/// Whether the connection's other end is a proxy that is believed.
pub(crate) fn from_trusted_proxy(services: &Services, extensions: &Extensions) -> bool {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    peer.is_some_and(|ConnectInfo(peer)| services.settings().trusts(peer.ip()))
}

/// Where a request was sent, host and port, and by which scheme: as a trusted proxy says, or as the client did. Where neither
/// says a scheme it is the socket's.
pub(crate) fn origin<'a>(services: &Services, request: &'a Request) -> Option<(&'a str, &'a str)> {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let from_proxy = from_trusted_proxy(services, request.extensions());
    // A proxy behind another adds what it was itself asked for: the first is the client's.
    let first = |told: &'a str| told.split(',').next().map(str::trim);
    let forwarded = |name: &str| if from_proxy { text(name).and_then(first) } else { None };
    let uri = request.uri();
    let authority = forwarded("x-forwarded-host")
        .or_else(|| uri.authority().map(Authority::as_str))
        .or_else(|| text("host"))?;
    let of_socket = if services.settings().tls { "https" } else { "http" };
    let scheme = forwarded("x-forwarded-proto").or_else(|| uri.scheme_str()).unwrap_or(of_socket);
    Some((scheme, authority))
}

/// What is kept of a request while it is answered.
struct Seen {
    arrived: Instant,
    id: HeaderValue,
    method: Method,
    route: Option<MatchedPath>,
    /// For the log, where there is no route.
    uri: Uri,
    patience: Patience,
    span: Span,
}

impl Seen {
    fn of(services: &Services, request: &Request) -> Self {
        let arrived = Instant::now();
        let given = if from_trusted_proxy(services, request.extensions()) {
            RequestIds::given(request.headers())
        } else {
            None
        };
        let id = given.unwrap_or_else(|| services.request_ids.fresh());
        let route = request.extensions().get::<MatchedPath>().cloned();
        let span = tracing::info_span!(
            "request",
            id = id.to_str().unwrap_or_default(),
            method = request.method().as_str(),
            route = route.as_ref().map(MatchedPath::as_str),
            status = field::Empty,
            key = field::Empty,
            organisation = field::Empty,
        );
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let patience = Patience::new(services.settings().request_time());
        Self { arrived, id, method, route, uri, patience, span }
    }

    fn route(&self) -> Option<&str> {
        self.route.as_ref().map(MatchedPath::as_str)
    }

    async fn answer(
        self,
        services: &Services,
        answer: impl Future<Output = Result<Response, Infallible>>,
    ) -> Response {
        // How the host is must be seen when it is busiest.
        let admission = match self.route() {
            Some("/healthz" | "/readyz" | "/metrics") => None,
            _ => Some(services.limits.admit()),
        };
        let response = match admission {
            Some(Err(problem)) => problem.into_response(),
            _ => {
                let answer = AssertUnwindSafe(answer).catch_unwind().instrument(self.span.clone());
                tokio::select! {
                    biased;
                    answered = answer => match answered {
                        Ok(Ok(response)) => response,
                        Err(panic) => panicked(&*panic).into_response(),
                    },
                    () = self.patience.over(self.arrived) => out_of_time(self.patience.limit()).into_response(),
                }
            }
        };
        self.finish(services, response)
    }

    fn finish(self, services: &Services, mut response: Response) -> Response {
        let took = self.arrived.elapsed();
        let served_by = response.extensions_mut().remove::<ServedBy>();
        let problem = response.extensions_mut().remove::<Problem>();
        let status = response.status();
        let route = served_by.as_ref().map(|ServedBy(route)| &**route).or(self.route());
        let meters = services.telemetry.route(route.unwrap_or(UNMATCHED));
        meters.answered(&self.method, status, took);
        self.log(status, took, problem.as_ref(), &meters);
        let headers = response.headers_mut();
        if served_by.is_none() || problem.is_some() {
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        // A page says it in its own words.
        let is_said = headers.contains_key(header::CONTENT_TYPE);
        if let Some(problem) = problem.filter(|_| !is_said) {
            problem.write_into(&mut response, &self.id);
        }
        response.headers_mut().insert(request_id::HEADER, self.id);
        response
    }

    fn log(&self, status: StatusCode, took: Duration, problem: Option<&Problem>, meters: &RouteMeters) {
        let _entered = self.span.enter();
        // Always: spans may be sent to a collector, whatever is logged.
        self.span.record("status", status.as_u16());
        let failed = problem.is_some() && status.is_server_error();
        if !failed && !tracing::enabled!(Level::DEBUG) {
            return;
        }
        let milliseconds = took.as_secs_f64() * 1000.0;
        let path = redact::path(self.uri.path());
        match problem {
            Some(problem) if problem.kind() == ProblemKind::Internal => {
                tracing::error!(milliseconds, %path, cause = problem.log_line(), "the host failed");
            }
            Some(problem) if status == StatusCode::SERVICE_UNAVAILABLE => {
                let cause = problem.log_line();
                match meters.unavailable.happened() {
                    Some(unsaid) => {
                        tracing::warn!(milliseconds, %path, cause, unsaid, "not answered as asked");
                    }
                    None => tracing::debug!(milliseconds, %path, cause, "not answered as asked"),
                }
            }
            Some(problem) if status.is_server_error() => {
                tracing::warn!(milliseconds, %path, cause = problem.log_line(), "not answered as asked");
            }
            Some(problem) => tracing::debug!(milliseconds, %path, cause = problem.log_line(), "refused"),
            None => tracing::debug!(milliseconds, %path, "answered"),
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Problem {
    let message =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Problem::internal(format_args!("a handler panicked: {}", message.unwrap_or("without a message")))
}

fn out_of_time(limit: Duration) -> Problem {
    let detail = format!(
        "The request took longer than {} s and was given up; what it was about to write may or may not be there",
        limit.as_secs()
    );
    Problem::new(ProblemKind::Deadline, detail)
}
