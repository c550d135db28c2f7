//! The page at `/`: what this is, how it is, where to go on.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

use crate::health::Readiness;
use crate::services::Shared;

const PAGE: &str = include_str!("page.html");

/// The page holds its one style sheet itself and loads nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Shows the page.
pub(crate) async fn page(State(services): State<Shared>) -> Response {
    let readiness = Readiness::of(&services);
    let (class, status) = if readiness.ready {
        ("ready", "Ready".to_owned())
    } else {
        ("not-ready", format!("Not ready: {}", readiness.reasons.join("; ")))
    };
    let url = services.settings().public_url.as_deref().unwrap_or("http://localhost:8780");
    let page = PAGE
        .replace("{{class}}", class)
        .replace("{{status}}", &escaped(&status))
        .replace("{{version}}", env!("CARGO_PKG_VERSION"))
        .replace("{{url}}", &escaped(url.trim_end_matches('/')));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, page).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_and_runs_nothing() {
        for outside in ["<script", "<link", "<img", "src=", "url(", "@import", " on"] {
            let found = PAGE
                .match_indices(outside)
                .find(|(at, _)| outside != " on" || PAGE[*at..].starts_with(" onc"));
            assert!(found.is_none(), "{outside}");
        }
    }

    #[test]
    fn what_is_put_into_the_page_stays_text() {
        assert_eq!(escaped("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}
