//! The pages for people: what this is at `/`, incidents at `/alerts`, what looks for them at `/monitors`, metrics at `/series`
//! and `/intervals`, playbooks at `/start`, what they did at `/runs`, plugins at `/plugins`, and what is behind the links of
//! notifications. They show and do nothing that the API does not.

pub(crate) mod alerts;
mod change;
mod frame;
mod incident;
pub(crate) mod intervals;
mod kept;
pub(crate) mod link;
pub(crate) mod monitor;
pub(crate) mod monitors;
mod overview;
mod plot;
pub(crate) mod plugin;
pub(crate) mod plugins;
pub(crate) mod runs;
mod sealed;
pub(crate) mod series;
pub(crate) mod session;
pub(crate) mod start;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequest, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use http::{Uri, header};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tower_http::csrf::CsrfLayer;

use frame::Frame;

use crate::extract::read_body;
use crate::patience::Patience;
use crate::problem::{Problem, ProblemKind};
use crate::services::Shared;

/// How long a page waits for the end of an action.
const WAIT: Duration = Duration::from_secs(10);

/// Every page.
pub(crate) fn router(services: &Shared) -> Router<Shared> {
    // A browser sends the cookie with other sites' forms too: those are refused.
    let mut own_forms = CsrfLayer::new();
    if let Some(origin) = services.settings().public_url.as_deref().and_then(origin_of) {
        own_forms = own_forms.add_trusted_origin(&origin).unwrap_or_else(|_| CsrfLayer::new());
    }
    let own_forms = own_forms.with_rejection_response(|_| from_elsewhere());
    let behind_a_key = Router::new()
        .route("/alerts", get(alerts::show).post(change::change))
        .route("/monitors", get(monitors::list))
        .route("/monitors/{monitor}", get(monitor::show).post(monitor::change))
        .route("/series", get(series::show))
        .route("/intervals", get(intervals::show))
        .route("/start", get(start::ask).post(start::start))
        .route("/runs", get(runs::list))
        .route("/runs/{run}", get(runs::show).post(runs::cancel))
        .route("/plugins", get(plugins::list))
        .route("/plugins/{plugin}", get(plugin::show))
        .layer(from_fn_with_state(Arc::clone(services), kept::keep));
    Router::new()
        .merge(behind_a_key)
        .route("/", get(overview::page))
        .route("/sign-in", get(session::ask).post(session::sign_in))
        .route("/sign-out", post(session::sign_out))
        .layer(own_forms)
        .route("/a/{token}", get(link::follow).post(link::act))
        .layer(from_fn_with_state(Arc::clone(services), on_a_page))
}

/// Says on a page what a request was refused for before a page had it: a query that does not read, a form that is too large.
/// Who is signed in, every page is told here by one cookie.
async fn on_a_page(State(services): State<Shared>, mut request: Request, next: Next) -> Response {
    // Whoever signs out leaves every session there is.
    if request.uri().path() != "/sign-out" && session::is_secure(&services, &request) {
        session::keep_to_own(request.headers_mut());
    }
    let headers = request.headers().clone();
    let response = next.run(request).await;
    let is_said = response.headers().contains_key(header::CONTENT_TYPE);
    match response.extensions().get::<Problem>().filter(|_| !is_said) {
        Some(problem) => {
            let who = session::of(&services, &headers).await;
            Frame::new("Not done", who.as_deref()).answer(Err(problem.clone()))
        }
        None => response,
    }
}

/// Scheme and authority of a URL, as browsers send them with a form.
fn origin_of(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    Some(format!("{}://{}", url.scheme_str()?, url.authority()?.as_str().to_ascii_lowercase()))
}

fn from_elsewhere() -> Response {
    let detail = "This form was not sent by a page of this host, as its browser knows it. Behind a proxy: pass on `Host` \
        as it came, or set `public_url`";
    Frame::new("Not done", None).answer(Err(Problem::new(ProblemKind::Forbidden, detail)))
}

/// A form as it was filled in, of at most so many bytes.
pub(crate) struct Form<const BYTES: usize>(Vec<(String, String)>);

impl<const BYTES: usize> FromRequest<Shared> for Form<BYTES> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        read_body(&parts.headers, body, BYTES).await.map(|body| Self(filled_in(&body)))
    }
}

/// The fields of a form.
fn filled_in(body: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(body).into_owned().collect()
}

/// What was filled into a field of a form, without the spaces around; nothing if there is no such field.
fn field<'a>(form: &'a [(String, String)], name: &str) -> &'a str {
    form.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim())
}

/// What comes of what was done within as long as a page waits for it, by which the request may take longer.
async fn came_of<T>(patience: &Patience, ended: oneshot::Receiver<T>) -> Option<T> {
    patience.lengthen(WAIT);
    timeout(WAIT, ended).await.ok()?.ok()
}

/// A query of these parameters.
fn query<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}
