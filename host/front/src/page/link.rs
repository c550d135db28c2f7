//! The links of notifications, at `/a/{token}`: the token is the credential. To follow one counts and changes nothing else,
//! for mail scanners follow every link there is; what it offers to do is done by the form behind it.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_alerts::{Acting, Actor, Followed};
use bellwether_kernel::ErrorKind;
use http::{HeaderValue, Method, StatusCode, header};

use super::{escaped, form_page, word};
use crate::extract::Path;
use crate::problem::Problem;
use crate::services::Shared;

/// How long the page waits for the end of what is done.
const WAIT: Duration = Duration::from_secs(10);
const TITLE: &str = "Incident";
const GONE: &str = "<p class=\"problem\">This link leads nowhere, or nowhere any more: the incident was removed, or its \
    monitor does not offer this now.</p>\n";

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
    let mut body = format!(
        "<p>{}</p>\n<p class=\"soft\">{}, since {}</p>\n",
        escaped(&incident.title),
        word(incident.severity),
        incident.started
    );
    let label = escaped(offer.action.label());
    body += &if !incident.is_open() {
        "<p>It is over: there is nothing to be done.</p>\n".to_owned()
    } else if offer.running {
        format!("<p>{label}: this is being done.</p>\n")
    } else {
        format!(
            "<form method=\"post\" action=\"/a/{}\">\n<button>{label}</button>\n</form>\n",
            escaped(&token)
        )
    };
    Ok(form_page(TITLE, &body))
}

/// Does what a link offers.
pub(crate) async fn act(
    Path(token): Path<String>,
    State(services): State<Shared>,
) -> Result<Response, Problem> {
    let alerts = services.alerts();
    let done = match alerts.follow(&token, false).await {
        Ok(Followed::Action { organisation, incident, offer }) => {
            let acting = alerts.act(Actor::Link(organisation), incident.id, &offer.action.name).await;
            acting.map(|acting| (acting, offer))
        }
        Ok(Followed::Elsewhere(_)) => return Ok(gone()),
        Err(error) => Err(error),
    };
    let (Acting { ended, .. }, offer) = match done {
        Ok(done) => done,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(gone()),
        Err(error) if error.kind() == ErrorKind::Conflict => {
            let body = format!("<p class=\"problem\">{}</p>\n", escaped(&error.to_string()));
            return Ok((StatusCode::CONFLICT, form_page(TITLE, &body)).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    let label = escaped(offer.action.label());
    // What it gave may be more than whoever has the link is to see; the incident's trace has it.
    let body = match tokio::time::timeout(WAIT, ended).await {
        Ok(Ok(acted)) if acted.succeeded => format!("<p>{label}: done.</p>\n"),
        Ok(Ok(_)) => format!("<p class=\"problem\">{label}: it failed; the incident says why.</p>\n"),
        _ => format!("<p>{label}: it goes on; the incident will say what comes of it.</p>\n"),
    };
    Ok(form_page(TITLE, &body))
}

fn gone() -> Response {
    (StatusCode::NOT_FOUND, form_page(TITLE, GONE)).into_response()
}
