//! What is relied on in a dialect.

use bellwether_access::Role;
use http::HeaderMap;

use super::{Battery, Bench, Seen};
use crate::author::sandbox::{Asking, Sandbox};

const OF: &str = "dialect";

/// A body larger than most, in bytes.
const LARGE: usize = 1 << 20;

pub(super) async fn check(battery: &mut Battery, bench: &Bench<'_>) {
    let sandbox = match bench.sandbox().await {
        Ok(sandbox) => sandbox,
        Err(error) => return battery.tell(OF, "it can be called", Err(error)),
    };
    let Some(dialect) = &sandbox.installed().dialect else { return };
    let routes: Vec<(String, String)> = dialect
        .routes
        .iter()
        .filter_map(|route| route.split_once(' '))
        .map(|(method, path)| (if method == "*" { "GET" } else { method }.to_owned(), filled_in(path)))
        .collect();
    let large = "[".repeat(LARGE);
    for (promise, asking, body) in [
        ("every route answers a request with nothing in it", Asking::Known(Role::Write), ""),
        ("every route answers somebody it does not know", Asking::Unknown, ""),
        ("every route answers a body that does not read", Asking::Known(Role::Write), "\u{0}{\"a\": "),
        ("every route answers a large body", Asking::Known(Role::Write), large.as_str()),
    ] {
        battery.tell(OF, promise, answers(&sandbox, &routes, asking, body).await);
    }
}

/// A path with something in the place of each parameter.
fn filled_in(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "x%20y" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

async fn answers(sandbox: &Sandbox, routes: &[(String, String)], asking: Asking, body: &str) -> Seen {
    let mut statuses = Vec::new();
    for (method, path) in routes {
        let target = format!("{path}?a=b");
        let answer = sandbox.request(asking, method, &target, &HeaderMap::new(), body.as_bytes()).await;
        let answer = answer.map_err(|error| super::plain(&error)).and_then(|answer| answer);
        let answer = answer.map_err(|error| format!("{method} {path}: {error}"))?;
        statuses.push(answer.status.as_u16());
    }
    statuses.sort_unstable();
    statuses.dedup();
    let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
    Ok(format!("{} routes: {}", routes.len(), statuses.join(", ")))
}
