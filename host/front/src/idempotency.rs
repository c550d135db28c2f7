//! `Idempotency-Key` on the native API's writes: one effect and one answer, however often a request is sent.
//!
//! Samples join their answer to the write's own commit, see [`crate::api::samples`]; everything else goes through
//! [`once`], which claims the key, runs the handler and keeps what it answered. Only successes are kept: a write
//! that failed had no effect and may be sent again with the same key. Answers are sealed before they are stored,
//! since that to a new key holds the key's token.

use std::pin::pin;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bellwether_access::{Begun, Idempotency, IdempotencyError, MAX_ANSWER, StoredAnswer, Ticket};
use bellwether_kernel::KeyId;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::extract::{CallerExt, bearer_of, read_body, recognised};
use crate::problem::{Problem, ProblemKind};
use crate::services::{Services, Shared};

/// The header a caller names its request with.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// Says that an answer was kept from before.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The largest body of a route that takes larger ones than others, in bytes: in a request's extensions.
#[derive(Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// A smaller answer to keep where the whole one may be too large: in a response's extensions.
#[derive(Clone)]
pub(crate) struct InShort(pub(crate) StatusCode, pub(crate) Bytes);

impl From<IdempotencyError> for Problem {
    fn from(error: IdempotencyError) -> Self {
        match error {
            IdempotencyError::Invalid(field) => field.into(),
            IdempotencyError::Store(error) => error.into(),
            IdempotencyError::InProgress => {
                Self::new(ProblemKind::IdempotencyInProgress, error.to_string()).retry_after(1)
            }
            IdempotencyError::Mismatch => Self::new(ProblemKind::IdempotencyMismatch, error.to_string()),
            IdempotencyError::TooLarge { .. } | IdempotencyError::Lost => {
                crate::causes::problem(error.kind(), &error)
            }
        }
    }
}

/// The request's key as it is remembered: which key of access sent it, and the header's value. The route is part of
/// the fingerprint, so that a value used again elsewhere is told from a repetition.
pub(crate) fn remembered_as(caller: &KeyId, headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let value = Idempotency::read_header(value.as_bytes())?;
    Ok(Some(format!("{caller}\n{value}")))
}

/// Answers as before.
pub(crate) fn replay(services: &Services, answer: StoredAnswer) -> Response {
    services.telemetry.replayed();
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = (status, Body::from(answer.body)).into_response();
    let headers = response.headers_mut();
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if let Ok(content_type) = HeaderValue::try_from(answer.content_type)
        && !content_type.is_empty()
    {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    response
}

/// Runs a write to its end even if its caller goes away, and once for each `Idempotency-Key`.
pub(crate) async fn once(
    State(services): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(next.run(request).await);
    }
    let span = tracing::Span::current();
    if !request.headers().contains_key(HEADER) {
        return finish_alone(services, next.run(request).instrument(span)).await;
    }
    let (parts, body) = request.into_parts();
    let caller = services.access().authenticate_token(bearer_of(&parts.headers)?)?;
    let Some(key) = remembered_as(caller.key(), &parts.headers)? else {
        let request = Request::from_parts(parts, body);
        return finish_alone(services, next.run(request).instrument(span)).await;
    };
    let limit =
        parts.extensions.get().map_or(services.settings().body_limit_bytes, |BodyLimit(limit)| *limit);
    let body = read_body(&parts.headers, body, limit).await?;
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let fingerprint = Idempotency::fingerprint(&[parts.method.as_str().as_bytes(), target.as_bytes(), &body]);
    let request = Request::from_parts(parts, Body::from(body));
    let claiming = services.clone();
    let work = async move {
        let idempotency = claiming.access().idempotency();
        match idempotency.begin(caller.organisation(), &key, fingerprint).await? {
            Begun::Replay(answer) => {
                recognised(&claiming, caller.key(), caller.organisation())?;
                Ok(replay(&claiming, answer))
            }
            Begun::New(ticket) => Ok(keep(ticket, next.run(request).await).await),
        }
    };
    finish_alone(services, work.instrument(span)).await?
}

/// Runs `work` as a task of its own: a caller that goes away, or a request that runs out of time, does not stop it
/// halfway.
async fn finish_alone<T: Send + 'static>(
    services: Shared,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    let (_caller, gone) = oneshot::channel::<()>();
    let work = async move {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            response = &mut work => response,
            // Still at work, and counted as such: who hangs up again and again gets no more done at once than who waits.
            _ = gone => {
                let _admission = services.limits.admit_anyway();
                work.await
            }
        }
    };
    tokio::spawn(work).await.map_err(Problem::internal)
}

/// Keeps an answer that tells of an effect; gives the key free after any other.
async fn keep(ticket: Ticket, response: Response) -> Response {
    if !response.status().is_success() {
        if let Err(error) = ticket.abandon().await {
            tracing::warn!(%error, "an Idempotency-Key stays claimed until its claim lapses");
        }
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let in_short = parts.extensions.remove::<InShort>();
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    // The handlers of writes answer from memory: this limit only guards against a fault.
    let body = match Limited::new(body, 64 << 20).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Problem::internal(error).into_response(),
    };
    let answer = if body.len() <= MAX_ANSWER {
        StoredAnswer { status: parts.status.as_u16(), content_type, body: body.clone() }
    } else if let Some(InShort(status, body)) = in_short {
        StoredAnswer { status: status.as_u16(), content_type, body }
    } else {
        let body =
            Bytes::from_static(br#"{"detail":"This was done before; its answer was too large to be kept."}"#);
        StoredAnswer { status: parts.status.as_u16(), content_type: "application/json".to_owned(), body }
    };
    match ticket.finish(&answer).await {
        Ok(()) => Response::from_parts(parts, Body::from(body)),
        // The effect is there; the claim keeps a repetition out until it lapses.
        Err(error) => {
            tracing::warn!(%error, "the answer to a request with an Idempotency-Key was not kept");
            Response::from_parts(parts, Body::from(body))
        }
    }
}
