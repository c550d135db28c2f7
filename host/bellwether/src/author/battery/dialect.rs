//! What is relied on in a dialect.

use bellwether_access::Role;
use http::HeaderMap;
use serde_json::{Map, Value};

use super::settings::{made_up, odd};
use super::{Battery, Bench, Seen};
use crate::author::sandbox::{Asking, Sandbox};

const OF: &str = "dialect";

/// A body larger than most, in bytes.
const LARGE: usize = 1 << 20;

/// A method no route is declared for, so that what is left to a route for every method is asked of that route and not of
/// one before it.
const UNDECLARED: &str = "BATTERY";

pub(super) async fn check(battery: &mut Battery, bench: &Bench<'_>) {
    let sandbox = match bench.sandbox().await {
        Ok(sandbox) => sandbox,
        Err(error) => return battery.tell(OF, "it can be called", Err(error)),
    };
    let Some(dialect) = &sandbox.installed().dialect else { return };
    let routes = requests(&dialect.routes);
    let large = "[".repeat(LARGE);
    for (promise, asking, body) in [
        ("every route answers a request with nothing in it", Asking::Known(Role::Write), ""),
        ("every route answers somebody it does not know", Asking::Unknown, ""),
        ("every route answers a body that does not read", Asking::Known(Role::Write), "\u{0}{\"a\": "),
        ("every route answers a large body", Asking::Known(Role::Write), large.as_str()),
    ] {
        battery.tell(OF, promise, answers(&sandbox, &routes, asking, body).await);
    }
    let promise = "a wrong setting comes to a clear error, and what it takes to answers";
    let sets = odd(&dialect.settings, &made_up(&dialect.settings, bench.given));
    if sets.is_empty() {
        battery.idle(OF, promise, "it has no settings that could be wrong");
    } else {
        battery.tell(OF, promise, odd_settings(&sandbox, &routes, sets).await);
    }
}

/// Methods and paths that ask every route; one for every method by a method that is usual and by one that is not.
fn requests(routes: &[String]) -> Vec<(String, String)> {
    let routes = routes.iter().filter_map(|route| route.split_once(' '));
    let asked = routes.flat_map(|(method, path)| {
        let methods = if method == "*" { vec!["GET", UNDECLARED] } else { vec![method] };
        methods.into_iter().map(move |method| (method.to_owned(), filled_in(path)))
    });
    asked.collect()
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
    Ok(format!("{} requests: {}", routes.len(), statuses.join(", ")))
}

async fn odd_settings(
    sandbox: &Sandbox,
    routes: &[(String, String)],
    sets: Vec<(String, Map<String, Value>)>,
) -> Seen {
    let (count, mut refused) = (sets.len(), 0);
    for (name, given) in sets {
        let taken = sandbox.set(given).await.map_err(|error| format!("{name}: {}", super::plain(&error)))?;
        if taken {
            let answered = answers(sandbox, routes, Asking::Known(Role::Write), "").await;
            answered.map_err(|error| format!("{name}: {error}"))?;
        } else {
            refused += 1;
        }
    }
    Ok(format!("{count} sets, {refused} refused"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_for_every_method_is_asked_though_another_has_its_path() {
        let routes = ["GET /a/{id}", "* /a/{id}", "POST /b"].map(str::to_owned);
        let asked = requests(&routes);
        let asked: Vec<_> = asked.iter().map(|(method, path)| format!("{method} {path}")).collect();
        assert_eq!(asked, ["GET /a/x%20y", "GET /a/x%20y", "BATTERY /a/x%20y", "POST /b"]);
    }
}
