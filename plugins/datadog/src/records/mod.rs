//! Events and logs: taken in, and found again by the syntax Datadog's log search has.

mod events;
mod intake;
mod logs;
mod page;
mod stream;

use bellwether_sdk::dialect::{Request, Response, Router};
use bellwether_sdk::host::{Clock, RecordsRead, RecordsWrite};
use bellwether_sdk::records::{FieldError, RecordError, SyntaxError};

use crate::failure::Failure;

const EVENTS_V1: &str = "/api/v1/events";
const EVENT_V1: &str = "/api/v1/events/{id}";
const EVENTS_V2: &str = "/api/v2/events";
const EVENT_V2: &str = "/api/v2/events/{id}";
const EVENT_SEARCH: &str = "/api/v2/events/search";
const LOGS_V1: &str = "/v1/input";
const LOGS_V2: &str = "/api/v2/logs";
const LOG_LIST: &str = "/api/v1/logs-queries/list";
const LOG_EVENTS: &str = "/api/v2/logs/events";
const LOG_SEARCH: &str = "/api/v2/logs/events/search";

/// Bytes of a payload, unpacked: Datadog's limit.
const LARGEST: usize = 5 << 20;

/// Whether a request is to the intake of logs, which has a format of its own for what goes wrong.
pub(crate) fn takes_logs(request: &Request<'_>) -> bool {
    [LOGS_V1, LOGS_V2].contains(&request.route())
}

/// Adds the routes of who submits.
pub(crate) fn submissions<H: RecordsWrite + Clock>(router: Router<H>) -> Router<H> {
    router
        .post(EVENTS_V1, stream::create)
        .post(EVENTS_V2, events::create)
        .post(LOGS_V2, intake::take)
        .post(LOGS_V1, intake::take)
}

/// Adds those of who reads.
pub(crate) fn reads<H: RecordsRead + Clock>(router: Router<H>) -> Router<H> {
    router
        .get(EVENTS_V1, stream::list)
        .get(EVENT_V1, stream::get)
        .get(EVENTS_V2, events::list)
        .post(EVENT_SEARCH, events::search)
        .get(EVENT_V2, events::get)
        .get(LOG_EVENTS, logs::list)
        .post(LOG_SEARCH, logs::search)
        .post(LOG_LIST, logs::list_v1)
}

/// Adds what answers other methods.
pub(crate) fn others<H: 'static>(router: Router<H>) -> Router<H> {
    router
        .any(EVENTS_V1, |_, request| Failure::method(request, "GET, POST"))
        .any(EVENTS_V2, |_, request| Failure::method(request, "GET, POST"))
        .any(LOGS_V1, |_, request| Failure::method(request, "POST").detailed())
        .any(LOGS_V2, |_, request| Failure::method(request, "POST").detailed())
}

/// The URL of a path of this API, for who asks.
fn url_of(request: &Request<'_>, path: &str) -> String {
    format!("{}{path}", request.base_url())
}

fn accepted(body: &serde_json::Value) -> Response {
    Response::json(202, body)
}

/// What the host says of an event, by the name that its field has for the caller: `names` has those that differ, behind the
/// host's own.
fn of_event(error: RecordError, within: &str, names: &[(&str, &str)]) -> Failure {
    let RecordError::Invalid(FieldError { field, value, expected }) = error else { return error.into() };
    let own = field.trim_start_matches("records[0].");
    let (name, rest) = own.split_at(own.find('[').unwrap_or(own.len()));
    let name = names.iter().find(|(own, _)| *own == name).map_or(name, |(_, name)| name);
    Failure::parameter(&format!("{within}{name}{rest}"), format_args!("it is {value:?}, expected {expected}"))
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Unknown(_) => Self::new(404, "No event matches that event_id."),
            RecordError::Invalid(FieldError { field, value, expected }) => {
                Self::bad(format_args!("{field} is {value:?}, expected {expected}"))
            }
            RecordError::Syntax(SyntaxError { line, column, message }) => {
                Self::parameter("query", format_args!("{message} (line {line}, column {column})"))
            }
            RecordError::Forbidden(reason) => Self::new(403, format_args!("Forbidden: {reason}")),
            RecordError::Limit(reason) => Self::too_large(reason),
            RecordError::Unavailable(reason) => Self::later(reason),
            RecordError::Other(reason) => Self::new(500, reason),
        }
    }
}
