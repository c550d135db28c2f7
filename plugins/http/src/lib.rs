//! The playbook app that calls a service over HTTP: sends one request, holds the answer's status against what is
//! expected, gives back the answer and how long it took.
//!
//! Where it may send to is for the operator to grant; it comes with no host at all.

use std::time::Duration;

use bellwether_sdk::app::Call;
use bellwether_sdk::host::{Clock, HttpClient};
use bellwether_sdk::http::{Request, Response};
use bellwether_sdk::serde_json::{self, Value as Tree};
use bellwether_sdk::{AppError, Binary, Inputs, Json, KeyValue, Outputs, app};

/// How much of an answer nobody expected its error repeats, in characters: enough for a service's own words.
const QUOTED: usize = 200;

/// Statuses by which a service says that the same request may succeed later: RFC 9110 (408, 500, 502, 503, 504),
/// RFC 8470 (425) and RFC 6585 (429).
const PASSING: [u16; 7] = [408, 425, 429, 500, 502, 503, 504];

/// Methods of which a repetition does nothing more than the first request (RFC 9110, 9.2.1).
const SAFE: [&str; 2] = ["GET", "HEAD"];

/// What a playbook says.
#[derive(Clone, Debug, Inputs)]
pub struct Exchange {
    /// Where to, such as `https://api.example.com/v1/health`. The operator grants which hosts.
    pub url: String,
    /// What is asked.
    #[input(default = "GET", choices("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))]
    pub method: String,
    /// Headers to send, such as {key = "accept", value = "application/json"}.
    pub headers: Option<Vec<KeyValue>>,
    /// The Authorization header, such as a secret that holds `Bearer …`.
    #[input(secret)]
    pub authorization: Option<String>,
    /// What to send: text as it is, anything else as JSON.
    pub body: Option<Json<Tree>>,
    /// The statuses that are a success; 200 to 299, if absent. Any other is an error.
    pub expected: Option<Vec<i64>>,
    /// How long the whole exchange may take, in milliseconds, within what the host allows.
    pub timeout: Option<u64>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Outputs)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// How long it took from the request to the end of the answer, in milliseconds.
    pub latency: u64,
    /// The answer's text; nothing, if it is none.
    pub body: Option<String>,
    /// The answer's bytes, if they are no text.
    pub binary: Option<Binary>,
    /// The answer as JSON, if it says that it is.
    pub json: Option<Json<Tree>>,
    /// Its headers, in the order they came.
    pub headers: Vec<KeyValue>,
}

/// Sends a request to a service and gives back its answer and how long it took.
#[app]
pub fn exchange(
    host: &(impl HttpClient + Clock),
    call: &Call,
    exchange: Exchange,
) -> Result<Answer, AppError> {
    let (asked, expected) = (asked(&exchange), exchange.expected.clone());
    let request = request(call, exchange)?;
    let began = host.now();
    let response = host.send(request).map_err(|error| AppError::from(error).context(&asked))?;
    // A clock that was set back meanwhile makes no negative time.
    let latency = u64::try_from(host.now().milliseconds() - began.milliseconds()).unwrap_or(0);
    if !is_expected(response.status, expected.as_deref()) {
        return Err(unexpected(&response, &asked, expected.as_deref()));
    }
    let json = if says_json(&response) {
        let read = response.json().map_err(|error| {
            AppError::fatal(format!("{asked}: the answer says it is JSON, and is not: {error}"))
        })?;
        Some(Json(read))
    } else {
        None
    };
    let headers =
        response.headers.iter().map(|header| KeyValue::new(&*header.name, &*header.value)).collect();
    let status = response.status;
    let (body, binary) = match String::from_utf8(response.body) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(Binary(error.into_bytes()))),
    };
    Ok(Answer { status, latency, body, binary, json, headers })
}

/// What an error says was asked: without the query and the user's name and password, which may hold secrets.
fn asked(exchange: &Exchange) -> String {
    const SLASHES: [char; 2] = ['/', '\\'];
    let Exchange { method, url, .. } = exchange;
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match url.split_once(':') {
        Some((scheme, rest)) if rest.starts_with(SLASHES) => {
            (format!("{scheme}://"), rest.trim_start_matches(SLASHES))
        }
        _ => (String::new(), url),
    };
    let (authority, path) = rest.split_at(rest.find(SLASHES).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{method} {scheme}{host}{path}")
}

fn request(call: &Call, exchange: Exchange) -> Result<Request, AppError> {
    let Exchange { url, method, headers, authorization, body, timeout, .. } = exchange;
    let given = headers.unwrap_or_default();
    let has = |name: &str| given.iter().any(|header| header.key.eq_ignore_ascii_case(name));
    let is_safe = SAFE.contains(&&*method);
    let mut request = Request::new(&*method, url);
    for header in &given {
        request = request.header(&*header.key, header.text());
    }
    if let Some(authorization) = authorization {
        if has("authorization") {
            return Err(AppError::fatal(
                "headers has Authorization and so has the input authorization; leave one of them out",
            ));
        }
        request = request.header("authorization", authorization);
    }
    // A repeated call carries the key of the first, so that a service that heeds it does nothing twice.
    if !is_safe && !has("idempotency-key") {
        request = request.header("idempotency-key", &*call.idempotency_key);
    }
    request = match body {
        None | Some(Json(Tree::Null)) => request,
        Some(_) if is_safe => {
            let message = format!("a request of method {method} has no body; leave body out, or use POST");
            return Err(AppError::fatal(message));
        }
        Some(Json(Tree::String(text))) => request.body(text),
        Some(Json(json)) if has("content-type") => request.body(json.to_string()),
        Some(Json(json)) => request.json(&json),
    };
    Ok(match timeout {
        Some(milliseconds) => request.timeout(Duration::from_millis(milliseconds)),
        None => request,
    })
}

fn is_expected(status: u16, expected: Option<&[i64]>) -> bool {
    match expected {
        Some(expected) => expected.contains(&i64::from(status)),
        None => (200..300).contains(&status),
    }
}

fn says_json(response: &Response) -> bool {
    let media_type = response.header("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (media_type == "application/json" || media_type.ends_with("+json")) && !response.body.is_empty()
}

/// Why an answer is none that was wanted, and whether to ask again.
fn unexpected(response: &Response, asked: &str, expected: Option<&[i64]>) -> AppError {
    let expected = match expected {
        Some(expected) => serde_json::json!(expected).to_string(),
        None => "200 to 299".to_owned(),
    };
    let said: String = String::from_utf8_lossy(&response.body).trim().chars().take(QUOTED).collect();
    let said = if said.is_empty() { said } else { format!(": {said}") };
    let error = AppError::fatal(format!("{asked} answered {}, expected {expected}{said}", response.status));
    if !PASSING.contains(&response.status) {
        return error;
    }
    // In seconds; a date, which the field may be as well, is as good as none.
    match response.header("retry-after").and_then(|after| after.trim().parse().ok()) {
        Some(seconds) => error.retry_after(Duration::from_secs(seconds)),
        None => error.retry(),
    }
}

#[cfg(test)]
mod tests;
