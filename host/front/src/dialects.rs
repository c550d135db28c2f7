//! Dialect mounts: a vendor's API under the dialect's name, on host names or on a port of its own.
//!
//! The host finds the route, checks the caller's proof on the request as its client sent it, and hands both to the
//! plugin, which words every answer it can. What it cannot word, since it did not answer, is a problem.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use bellwether_access::{AuthFailure, Principal, RawRequest};
use bellwether_kernel::ErrorKind;
use bellwether_plugins::{Dialect, DialectRequest, DialectVersions, PickedDialect, PluginError, RouteMatch};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use tower::ServiceExt;

use crate::causes;
use crate::envelope::{Envelope, ServedBy, from_trusted_proxy, origin};
use crate::extract::{read_body_of, recognised};
use crate::page::session::{withhold, withhold_answer};
use crate::problem::{Problem, ProblemKind};
use crate::services::{Services, Shared};

/// Answers what no route of the host's own matched: the first segment of the path may be a dialect's name.
pub(crate) async fn under_its_name(State(services): State<Shared>, request: Request) -> Response {
    let path = request.uri().path();
    let rest = path.strip_prefix('/').unwrap_or(path);
    let name = rest.split('/').next().unwrap_or_default();
    match services.plugins().dialect_versions(name) {
        Some(versions) => answer(&services, &versions, 1 + name.len(), request).await,
        // Who is told that nothing is there may drop what it has, and not come again.
        None if services.plugins().dialect_is_out(name) => not_served(name),
        None => {
            Problem::not_found("There is nothing at this path; /docs shows what there is").into_response()
        }
    }
}

/// What is to be here and cannot answer: the client is to come again.
fn not_served(name: &str) -> Response {
    let problem = Problem::unavailable("What is served here is not there at present", 60)
        .cause(format_args!("there is no dialect {name:?}, it is switched off, or it does not load"));
    let mut response = problem.into_response();
    response.extensions_mut().insert(ServedBy(format!("/{name}").into()));
    response
}

/// A router that is one dialect, mounted at the root.
pub(crate) fn alone(services: &Shared, name: &str) -> Router {
    let name: Arc<str> = name.into();
    let serve = move |State(services): State<Shared>, request: Request| {
        let name = Arc::clone(&name);
        async move {
            match services.plugins().dialect_versions(&name) {
                Some(versions) => answer(&services, &versions, 0, request).await,
                None => not_served(&name),
            }
        }
    };
    Router::new().fallback(serve).layer(Envelope(Arc::clone(services))).with_state(Arc::clone(services))
}

/// Gives the requests to some host names to routers of their own, the others to `rest`.
pub(crate) fn by_host(services: &Shared, rest: Router) -> Router {
    let hosts: HashMap<String, Router> = services
        .settings()
        .dialect_hosts
        .iter()
        .flat_map(|(name, hosts)| {
            let alone = alone(services, name);
            hosts.iter().map(move |host| (host.to_ascii_lowercase(), alone.clone()))
        })
        .collect();
    if hosts.is_empty() {
        return rest;
    }
    let (hosts, services) = (Arc::new(hosts), Arc::clone(services));
    Router::new().fallback(move |request: Request| {
        let host = host_of(&services, &request);
        let router = host.and_then(|host| hosts.get(&host)).unwrap_or(&rest).clone();
        async move { router.oneshot(request).await }
    })
}

/// The host name a request is for, without its port.
fn host_of(services: &Services, request: &Request) -> Option<String> {
    origin(services, request).map(|(_, authority)| without_port(authority).to_ascii_lowercase())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // What is left of an IPv6 address without a port ends in a bracket.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Answers a request with one of a dialect's versions, mounted at the first `mount` bytes of the path.
async fn answer(services: &Services, versions: &DialectVersions, mount: usize, request: Request) -> Response {
    let reached = reached_at(services, &request, mount);
    let (mut parts, body) = request.into_parts();
    withhold(&mut parts.headers);
    for (name, value) in REACHED_AT.into_iter().zip(reached) {
        match value {
            Some(value) => drop(parts.headers.insert(name, value)),
            None => drop(parts.headers.remove(name)),
        }
    }
    let path = &parts.uri.path()[mount..];
    let dialect = &pick(services, versions, &parts, path);
    let (served_by, result) = match dialect.route(parts.method.as_str(), path) {
        RouteMatch::NotFound => {
            let detail = format!("{} has nothing at this path", dialect.name());
            (label(dialect, None), Err(Problem::not_found(detail)))
        }
        RouteMatch::OtherMethods(methods) => (label(dialect, None), Err(other_methods(dialect, &methods))),
        RouteMatch::Found(matched) => {
            let route = dialect.routes().get(matched.index as usize).map(bellwether_plugins::Route::path);
            let label = label(dialect, route);
            tracing::Span::current().record("route", &*label);
            let work = async {
                // Who is nobody is so without a body too; a signature that does not match may be somebody's.
                let is_known = async || match matched.authentication {
                    [] => true,
                    schemes => matches!(
                        services.access().authenticate(schemes, &raw(services, &parts, &[])),
                        Ok(_) | Err(AuthFailure::SignatureMismatch)
                    ),
                };
                let settings = services.settings();
                // Where anybody may call there is only a refusal to be worded.
                let limit = match matched.authentication {
                    [] => settings.body_limit_bytes,
                    _ => settings.dialect_body_limit_bytes,
                };
                let body = read_body_of(is_known, &parts.headers, body, limit).await?;
                let caller = match matched.authentication {
                    [] => None,
                    schemes => {
                        let caller = services.access().authenticate(schemes, &raw(services, &parts, &body));
                        if let Ok(principal) = &caller {
                            known(services, principal)?;
                        }
                        Some(caller)
                    }
                };
                let request = DialectRequest {
                    matched: &matched,
                    method: parts.method.as_str(),
                    query: parts.uri.query().unwrap_or_default(),
                    headers: &parts.headers,
                    body: &body,
                };
                let mut answer = dialect.handle(caller, request).await.map_err(|error| failed(&error))?;
                withhold_answer(&mut answer.headers);
                Ok(answer)
            };
            let result = work.await;
            (label, result)
        }
    };
    let mut response = match result {
        // Bytes are answered with a type even where the dialect names none; what is not there has none.
        Ok(answer) if answer.body.is_empty() => (answer.status, answer.headers).into_response(),
        Ok(answer) => (answer.status, answer.headers, answer.body).into_response(),
        Err(problem) => problem.into_response(),
    };
    // Whatever it answers, no browser runs it in the pages' name.
    response.headers_mut().append(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    response.extensions_mut().insert(ServedBy(served_by));
    response
}

/// The headers by which a dialect learns where its client reaches it, so that its answers can link to more: those by which
/// proxies say it, for to the dialect this host is one.
const REACHED_AT: [HeaderName; 3] = [
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-prefix"),
];

/// What they say of a dialect that is mounted at the first `mount` bytes of the path. Under its name that is below the
/// `public_url`, if there is one; on an address of its own it is where the request was sent.
fn reached_at(services: &Services, request: &Request, mount: usize) -> [Option<HeaderValue>; 3] {
    let mount = &request.uri().path()[..mount];
    let public = services.settings().public_url.as_deref().filter(|_| !mount.is_empty());
    let (scheme, rest) = match public.and_then(|url| url.split_once("://")) {
        Some((scheme, rest)) => (Some(scheme), Some(rest.trim_end_matches('/'))),
        None => origin(services, request).unzip(),
    };
    let (authority, path) = rest.map_or((None, ""), |rest| {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        (Some(authority), path)
    });
    let told = |text: &str| HeaderValue::from_str(text).ok();
    [scheme.and_then(told), authority.and_then(told), told(&format!("{path}{mount}"))]
}

/// The version that answers a request: where one is tried, the one for the key that the request names, proven or not,
/// or, where it names none, for the client's address.
fn pick(services: &Services, versions: &DialectVersions, parts: &Parts, path: &str) -> PickedDialect {
    if !versions.has_canary() {
        return versions.pick(None, &[]);
    }
    let schemes = match versions.current().route(parts.method.as_str(), path) {
        RouteMatch::Found(matched) => matched.authentication,
        _ => &[],
    };
    let key = bellwether_access::claimed_by(schemes, &raw(services, parts, &[]));
    versions.pick(None, &key.unwrap_or_else(|| client_of(services, parts)))
}

/// The client's address: as a trusted proxy says, or as the connection does.
fn client_of(services: &Services, parts: &Parts) -> Vec<u8> {
    if from_trusted_proxy(services, &parts.extensions)
        && let Some(forwarded) = parts.headers.get("x-forwarded-for")
    {
        return forwarded.as_bytes().to_vec();
    }
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or_else(Vec::new, |ConnectInfo(peer)| peer.ip().to_string().into_bytes())
}

fn label(dialect: &Dialect, route: Option<&str>) -> Arc<str> {
    format!("/{}{}", dialect.name(), route.unwrap_or_default()).into()
}

fn known(services: &Services, principal: &Principal) -> Result<(), Problem> {
    recognised(services, &principal.key, Some(principal.organisation))
}

/// The request as its client sent it: what a signature was made over.
fn raw<'a>(services: &Services, parts: &'a Parts, body: &'a [u8]) -> RawRequest<'a> {
    let original = if from_trusted_proxy(services, &parts.extensions) {
        original(&parts.headers, &services.settings().original_uri_header)
    } else {
        None
    };
    RawRequest {
        method: &parts.method,
        target: original.unwrap_or_else(|| target(&parts.uri)),
        headers: &parts.headers,
        body,
        received: services.parts.clock.now(),
    }
}

/// Path and query byte for byte as they came.
fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

/// The client's own path and query, as a proxy tells them. One that tells the whole URL is cut to that.
fn original<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let told = headers.get(name)?.to_str().ok()?;
    match told.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map(|at| &rest[at..]),
        _ => Some(told),
    }
}

fn other_methods(dialect: &Dialect, methods: &[&str]) -> Problem {
    let methods = methods.join(", ");
    let detail = format!("{} takes {methods} at this path", dialect.name());
    let problem = Problem::new(ProblemKind::MethodNotAllowed, detail);
    match HeaderValue::try_from(methods) {
        Ok(methods) => problem.header(header::ALLOW, methods),
        Err(_) => problem,
    }
}

/// What a caller is told of a plugin that did not answer: its name, its version and the call; the log has the rest.
fn failed(error: &PluginError) -> Problem {
    let kind = error.kind();
    let problem = match kind {
        ErrorKind::Unavailable => {
            Problem::unavailable(error.told(), error.retry_after().map_or(1, causes::seconds))
        }
        ErrorKind::Deadline | ErrorKind::Plugin => Problem::new(kind.into(), error.told()),
        _ => causes::problem(kind, error),
    };
    problem.cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_told_from_its_port() {
        for (host, name) in [
            ("tc.example.com", "tc.example.com"),
            ("tc.example.com:8443", "tc.example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }

    #[test]
    fn the_client_s_own_target_is_taken_byte_for_byte() {
        for (told, taken) in [
            ("/api/v2/x?a=%2f&b=+", Some("/api/v2/x?a=%2f&b=+")),
            ("https://tc.example.com/api/v2/x?u=http://y/", Some("/api/v2/x?u=http://y/")),
            ("/redirect?to=https://elsewhere/", Some("/redirect?to=https://elsewhere/")),
            ("https://tc.example.com", None),
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(told))]);
            assert_eq!(original(&headers, "host"), taken, "{told}");
        }
    }
}
