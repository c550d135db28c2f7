//! The page at `/`: what this is, how it is, where to go on.

use axum::extract::{Request, State};
use axum::response::Response;
use bellwether_kernel::PageRequest;
use bellwether_plugins::{Owner, VersionState, VersionStats};
use maud::{Markup, html};

use super::frame::{Frame, table, text};
use super::plugins::{breaker_word, calls_and_errors, milliseconds, why_not_loaded};
use super::session;
use crate::envelope::origin;
use crate::health::Readiness;
use crate::services::{Services, Shared};
use crate::settings::MetricsAccess;

/// Plugins shown; the API lists the rest.
const PLUGINS: usize = 200;
/// Where to go on, what that is, and what is there.
const LINKS: [(&str, &str, &str); 10] = [
    ("/alerts", "See alerts", "incidents, monitors, channels, what was not delivered"),
    ("/monitors", "Look at monitors", "how each stands, and why"),
    ("/series", "Look at metrics", "which there are, and how they went of late"),
    ("/start", "Start a playbook", "it asks for what it is started with"),
    ("/runs", "Look into runs", "what playbooks did, step by step"),
    ("/plugins", "Look at plugins", "what each is, may do, and how it does"),
    ("/docs/", "Try the API", "every operation, from the browser"),
    ("/openapi.json", "OpenAPI 3.1", "the document to make a client from"),
    ("/readyz", "Readiness", "and the reasons, if it is not"),
    ("/metrics", "Host metrics", "how the host does, for Prometheus"),
];

/// Shows the page.
pub(crate) async fn page(State(services): State<Shared>, request: Request) -> Response {
    let readiness = Readiness::of(&services);
    let (class, status) = if readiness.ready {
        ("ready", "Ready".to_owned())
    } else {
        ("not-ready", format!("Not ready: {}", readiness.reasons.join("; ")))
    };
    let url = services.settings().public_url.clone().or_else(|| {
        let (scheme, authority) = origin(&services, &request)?;
        Some(format!("{scheme}://{authority}"))
    });
    let who = session::of(&services, request.headers()).await;
    let body = html! {
        header {
            svg viewBox="0 0 48 48" fill="none" stroke="currentColor" stroke-width="2.5" stroke-linecap="round"
                stroke-linejoin="round" aria-hidden="true" {
                path d="M24 6v4M13 34c3-3 3-8 3-13a8 8 0 0 1 16 0c0 5 0 10 3 13z";
                path d="M10 34h28M21 39a3.2 3.2 0 0 0 6 0";
            }
            div {
                h1 { "Bellwether" }
                p.soft { "A plugin host for metrics, alerts and playbooks." }
            }
        }
        p.status.(class) { (status) }
        h2 { "Go on" }
        ul { @for (path, what, there) in LINKS {
            li { a href=(path) { b { (what) } span { (there) } } }
        } }
        (plugins(&services))
        (examples(url.as_deref().unwrap_or("$URL").trim_end_matches('/')))
        footer {
            "Version " (env!("CARGO_PKG_VERSION")) " · each answer carries an " code { "x-request-id" }
            "; quote it when something went wrong."
        }
    };
    Frame::new("Bellwether", who.as_deref()).whole(&body)
}

fn examples(url: &str) -> Markup {
    html! {
        h2 { "Write a metric and read it back" }
        pre {
            "export KEY=bw_…\n\n"
            "curl " (url) "/v1/metrics -H \"Authorization: Bearer $KEY\" \\\n"
            "  -H 'Content-Type: application/json' \\\n"
            "  -d '{\"name\": \"logins\", \"data_type\": \"sum\", \"interval\": \"daily\"}'\n\n"
            "curl " (url) "/v1/samples -H \"Authorization: Bearer $KEY\" \\\n"
            "  -H 'Content-Type: application/json' \\\n"
            "  -d '{\"samples\": [{\"metric\": \"logins\", \"value\": 3}]}'\n\n"
            "curl " (url) "/v1/metrics/logins/values -H \"Authorization: Bearer $KEY\""
        }
        h2 { "Start a playbook from a webhook" }
        pre {
            "curl " (url) "/v1/playbooks -H \"Authorization: Bearer $KEY\" \\\n"
            "  -H 'Content-Type: application/toml' --data-binary @playbook.toml\n\n"
            "curl \"$WEBHOOK_URL?wait\" -H 'Content-Type: application/json' -d '{\"who\": \"you\"}'"
        }
    }
}

/// The host's plugins, each version that is loaded, for whoever may also read `/metrics`: nothing where that takes a key.
fn plugins(services: &Services) -> Markup {
    if services.settings().metrics_access == MetricsAccess::Operator {
        return html! {};
    }
    let plugins = services.plugins();
    let mut rows = Vec::new();
    for installed in
        plugins.list(Owner::Host, &PageRequest::first(PLUGINS)).map_or_else(|_| Vec::new(), |page| page.items)
    {
        let share = plugins.canary(Owner::Host, &installed.name).0.map(|canary| canary.share);
        let versions = plugins.stats(Owner::Host, &installed.name).unwrap_or_default();
        if versions.is_empty() {
            rows.push(row(&installed.name, &installed.version, "", why_not_loaded(&installed), [None; 3]));
        }
        for VersionStats { state, stats } in versions {
            let mark = match (state, share) {
                (VersionState::Canary, Some(share)) => format!("canary, {share} %"),
                (VersionState::Kept, _) => "kept".to_owned(),
                _ => String::new(),
            };
            let (calls, errors) = calls_and_errors(&stats.roles);
            let slowest = stats.roles.iter().map(|role| role.calls.latency.p99_microseconds).max();
            let numbers = [Some(calls), Some(errors), slowest];
            rows.push(row(&stats.name, &stats.version, &mark, breaker_word(&stats.breaker), numbers));
        }
    }
    if rows.is_empty() {
        return html! {};
    }
    table("Plugins", ["Plugin", "Version", "Breaker", "Calls", "Errors", "p99"], &rows, false)
}

fn row(name: &str, version: &str, mark: &str, breaker: &str, numbers: [Option<u64>; 3]) -> [Markup; 6] {
    let [calls, errors, p99] = numbers;
    let number = |number: Option<u64>| text(number.map_or("–".to_owned(), |number| number.to_string()));
    [
        text(name),
        html! { (version) @if !mark.is_empty() { span.mark { (mark) } } },
        html! { span.(breaker) { (breaker) } },
        number(calls),
        number(errors),
        text(p99.map_or("–".to_owned(), milliseconds)),
    ]
}
