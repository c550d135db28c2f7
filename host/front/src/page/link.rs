//! The links of notifications, at `/a/{token}`: the token is the credential. To follow one counts and changes nothing else,
//! for mail scanners follow every link there is; what it offers to do is done by the form behind it.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_alerts::{Acting, Actor, Followed};
use bellwether_kernel::ErrorKind;
use http::{HeaderValue, Method, StatusCode, header};
use maud::{Markup, html};

use super::came_of;
use super::frame::{Frame, moment, problem, word};
use crate::extract::Path;
use crate::patience::Patience;
use crate::problem::Problem;
use crate::services::Shared;

const GONE: &str = "This link leads nowhere, or nowhere any more: the incident was removed, or its monitor does not offer \
    this now.";

/// Follows a link: goes on to the page it leads to, or asks whether what it offers is to be done.
pub(crate) async fn follow(
    method: Method,
    Path(token): Path<String>,
    State(services): State<Shared>,
) -> Result<Response, Problem> {
    let followed = match services.alerts().follow(&token, method == Method::GET).await {
        Ok(followed) => followed,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(gone()),
        Err(error) => return Err(error.into()),
    };
    let (incident, offer) = match followed {
        Followed::Elsewhere(url) => {
            let location = HeaderValue::try_from(&url).map_err(Problem::internal)?;
            let headers = [
                (header::LOCATION, location),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
                (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            ];
            return Ok((StatusCode::FOUND, headers).into_response());
        }
        Followed::Action { incident, offer, .. } => (incident, offer),
    };
    let label = offer.action.label();
    let body = html! {
        p.soft { (word(incident.severity)) ", since " (moment(incident.started)) " UTC" }
        @if !incident.is_open() {
            p { "It is over: there is nothing to be done." }
        } @else if offer.running {
            p { (label) ": this is being done." }
        } @else {
            form method="post" action={ "/a/" (token) } { button { (label) } }
        }
    };
    Ok(page(&incident.title, &body))
}

/// Does what a link offers.
pub(crate) async fn act(
    Path(token): Path<String>,
    State(services): State<Shared>,
    patience: Patience,
) -> Result<Response, Problem> {
    let alerts = services.alerts();
    let done = match alerts.follow(&token, false).await {
        Ok(Followed::Action { organisation, incident, offer }) => {
            let acting = alerts.act(Actor::Link(organisation), incident.id, &offer.action.name).await;
            acting.map(|acting| (acting, offer, incident.title))
        }
        Ok(Followed::Elsewhere(_)) => return Ok(gone()),
        Err(error) => Err(error),
    };
    let (Acting { ended, .. }, offer, title) = match done {
        Ok(done) => done,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(gone()),
        Err(error) if error.kind() == ErrorKind::Conflict => {
            return Ok(Frame::new("Not done", None).answer(Err(error.into())));
        }
        Err(error) => return Err(error.into()),
    };
    let label = offer.action.label();
    // What it gave may be more than whoever has the link is to see; the incident's trace has it.
    let body = match came_of(&patience, ended).await {
        Some(acted) if acted.succeeded => html! { p { (label) ": done." } },
        Some(_) => problem(&format!("{label}: it failed; the incident says why.")),
        None => html! { p { (label) ": it goes on; the incident will say what comes of it." } },
    };
    Ok(page(&title, &body))
}

fn page(title: &str, body: &Markup) -> Response {
    Frame::new(title, None).titled(body)
}

fn gone() -> Response {
    (StatusCode::NOT_FOUND, page("Gone", &problem(GONE))).into_response()
}
