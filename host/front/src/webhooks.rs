//! Webhooks: `/hooks/{token}`. The URL is the credential; the answer comes as soon as the run is recorded.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use bellwether_kernel::FieldError;
use bellwether_playbooks::WebhookRequest;
use http::{HeaderMap, HeaderValue, header};
use serde::de::{Deserialize, Deserializer, Error};
use tokio::sync::oneshot;

use crate::api::runs;
use crate::extract::{Path, read_body_of};
use crate::openapi::{Busy, Clash, HookRefusals, NotFound};
use crate::patience::Patience;
use crate::problem::Problem;
use crate::services::Shared;

/// How long `?wait` waits where it names no number.
const DEFAULT_WAIT: Duration = Duration::from_secs(10);

/// The longest that can be waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long a caller waits for its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait(Duration);

impl Wait {
    fn read(text: &str) -> Result<Self, FieldError> {
        if text.is_empty() {
            return Ok(Self(DEFAULT_WAIT));
        }
        let most = LONGEST_WAIT.as_secs();
        let seconds = text.parse::<u64>().ok().filter(|seconds| *seconds <= most);
        let wrong = || FieldError::new("wait", text, format!("a number of seconds from 0 to {most}"));
        seconds.map(|seconds| Self(Duration::from_secs(seconds))).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text)
            .map_err(|error| D::Error::custom(format_args!("invalid value, expected {}", error.expected)))
    }
}

/// What ends within the wait, by which the request may take longer.
pub(crate) async fn within<T>(
    wait: Option<Wait>,
    patience: &Patience,
    ended: oneshot::Receiver<T>,
) -> Option<T> {
    let Wait(wait) = wait?;
    patience.lengthen(wait);
    tokio::time::timeout(wait, ended).await.ok()?.ok()
}

/// Starts the playbook this URL belongs to with a request of GET, POST or PUT: each of them starts a run, HEAD is refused.
///
/// `?wait=SECONDS` waits for the run's end as at `/v1/playbooks/{playbook}/runs`; everything else of the request is
/// the playbook's to read.
#[utoipa::path(method(get, post, put), path = "/hooks/{token}", tag = "webhooks", security(()),
    params(
        ("token" = String, Path, description = "The secret part of the playbook's webhook URL"),
        ("wait" = Option<u64>, Query, description = "Wait up to so many seconds, at most 60; 10 if no number is given")),
    request_body(content_type = "*/*", description = "Anything"),
    responses(
        (status = 202, description = "Accepted; the run goes on by itself", body = runs::Accepted),
        (status = 200, description = "It ended within the wait", body = runs::Run),
        HookRefusals, NotFound, Busy, Clash))]
pub(crate) async fn receive(
    Path(token): Path<String>,
    State(services): State<Shared>,
    patience: Patience,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let mut wait = None;
    let mut query = Vec::new();
    for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        if name == "wait" {
            wait = Some(Wait::read(&value)?);
        } else {
            query.push((name.into_owned(), value.into_owned()));
        }
    }
    let playbooks = services.playbooks();
    let is_known = async || playbooks.has_webhook(&token).await;
    let body = read_body_of(is_known, &parts.headers, body, playbooks.limits().payload).await?;
    let request = WebhookRequest {
        method: parts.method.as_str().to_owned(),
        query,
        headers: headers(&parts.headers),
        body,
    };
    let started = playbooks.start_by_webhook(&token, request).await?;
    Ok(runs::answer(started, wait, &patience).await)
}

/// Refuses other methods. HEAD, which would be taken for GET, is one: who looks at what is there means to start nothing.
pub(crate) async fn other_methods() -> Problem {
    crate::other_methods().await.header(header::ALLOW, HeaderValue::from_static("GET, POST, PUT"))
}

/// The headers as text, names in lower case. What is not UTF-8 is shown as far as it is.
fn headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_bounded_and_has_a_default() {
        for (text, seconds) in
            [("", Some(10)), ("0", Some(0)), ("60", Some(60)), ("61", None), ("-1", None), ("soon", None)]
        {
            let read = Wait::read(text).ok().map(|Wait(wait)| wait.as_secs());
            assert_eq!(read, seconds, "{text:?}");
        }
    }
}
