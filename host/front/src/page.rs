//! The page at `/`: what this is, how it is, where to go on. And the forms at `/start` and `/alerts`, and
//! behind the links of notifications.

pub(crate) mod alerts;
pub(crate) mod link;
pub(crate) mod start;

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bellwether_access::{Caller, Principal};
use bellwether_kernel::PageRequest;
use bellwether_plugins::{BreakerPhase, BreakerState, Owner, VersionState, VersionStats};
use http::{HeaderValue, header};
use serde::Serialize;
use serde_json::Value;

use crate::envelope::origin;
use crate::extract::recognised;
use crate::health::Readiness;
use crate::problem::{Problem, ProblemKind};
use crate::services::{Services, Shared};
use crate::settings::MetricsAccess;

const PAGE: &str = include_str!("page.html");
/// What forms stand on.
const FORM: &str = include_str!("page/form.html");
const STYLE: &str = include_str!("page/style.css");

/// Plugins shown; the API lists the rest.
const PLUGINS: usize = 200;

/// A page holds its one style sheet itself and loads nothing; its forms go nowhere else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

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
    let page = PAGE
        .replace("{{style}}", STYLE)
        .replace("{{class}}", class)
        .replace("{{status}}", &escaped(&status))
        .replace("{{version}}", env!("CARGO_PKG_VERSION"))
        .replace("{{url}}", &escaped(url.as_deref().unwrap_or("$URL").trim_end_matches('/')))
        .replace("{{plugins}}", &plugins(&services));
    html(page)
}

/// A form as it was filled in.
fn filled(body: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(body).into_owned().collect()
}

/// What was filled into a field of it, without the spaces around; nothing if there is no such field.
fn field<'a>(form: &'a [(String, String)], name: &str) -> &'a str {
    form.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim())
}

/// A page with a form, or with what came of one.
fn form_page(title: &str, body: &str) -> Response {
    let page = FORM.replace("{{style}}", STYLE).replace("{{title}}", &escaped(title));
    html(page.replace("{{body}}", body))
}

/// Whose key was given in a form.
fn known(services: &Services, key: &str) -> Result<Arc<Principal>, Problem> {
    let Caller::Principal(principal) = services.access().authenticate_token(key)? else {
        let detail = "Use a key of the organisation, not the operator's";
        return Err(Problem::new(ProblemKind::Forbidden, detail));
    };
    recognised(services, &principal.key, Some(principal.organisation))?;
    Ok(principal)
}

/// Why nothing is shown, above the form to try again with; with the status the API has for it, so that what watches
/// requests sees refusals as such.
fn refused(title: &str, problem: &Problem, form: &str) -> Response {
    let told = format!("<p class=\"problem\">{}</p>\n", escaped(problem.detail()));
    (problem.kind().status(), form_page(title, &(told + form))).into_response()
}

/// The word the API has for a type or a state.
fn word(of: impl Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

fn html(page: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, page).into_response()
}

/// The host's plugins, each version that is loaded, for whoever may also read `/metrics`: nothing where that takes a key.
fn plugins(services: &Services) -> String {
    if services.settings().metrics_access == MetricsAccess::Operator {
        return String::new();
    }
    let plugins = services.plugins();
    let mut rows = String::new();
    for installed in
        plugins.list(Owner::Host, &PageRequest::first(PLUGINS)).map_or_else(|_| Vec::new(), |page| page.items)
    {
        let share = plugins.canary(Owner::Host, &installed.name).0.map(|canary| canary.share);
        let versions = plugins.stats(Owner::Host, &installed.name).unwrap_or_default();
        if versions.is_empty() {
            // Those of pure roles are loaded by the call that needs them.
            let state = match (&installed.problem, installed.enabled) {
                (Some(_), _) => "does not load",
                (None, true) => "not loaded",
                (None, false) => "switched off",
            };
            row(&mut rows, &installed.name, &installed.version, "", state, [None; 3]);
        }
        for VersionStats { state, stats } in versions {
            let mark = match (state, share) {
                (VersionState::Canary, Some(share)) => format!("canary, {share} %"),
                (VersionState::Kept, _) => "kept".to_owned(),
                _ => String::new(),
            };
            let calls = stats.roles.iter().map(|role| role.calls.calls).sum();
            let errors =
                stats.roles.iter().flat_map(|role| &role.calls.errors).map(|error| error.count).sum();
            let slowest = stats.roles.iter().map(|role| role.calls.latency.p99_microseconds).max();
            let breaker = breaker_word(&stats.breaker);
            let numbers = [Some(calls), Some(errors), slowest];
            row(&mut rows, &stats.name, &stats.version, &mark, breaker, numbers);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "  <h2>Plugins</h2>\n  <div class=\"wide\"><table>\n    <thead><tr><th>Plugin</th><th>Version</th><th>Breaker</th>\
         <th class=\"number\">Calls</th><th class=\"number\">Errors</th><th class=\"number\">p99</th></tr></thead>\n    \
         <tbody>\n{rows}    </tbody>\n  </table></div>\n"
    )
}

fn breaker_word(breaker: &BreakerState) -> &'static str {
    match breaker.phase {
        BreakerPhase::Closed => "closed",
        BreakerPhase::Open => "open",
        BreakerPhase::HalfOpen => "half-open",
    }
}

fn row(rows: &mut String, name: &str, version: &str, mark: &str, breaker: &str, numbers: [Option<u64>; 3]) {
    let [calls, errors, p99] = numbers;
    let number = |number: Option<u64>| number.map_or("–".to_owned(), |number| number.to_string());
    let mark = if mark.is_empty() {
        String::new()
    } else {
        format!("<span class=\"mark\">{}</span>", escaped(mark))
    };
    let p99 = p99.map_or("–".to_owned(), milliseconds);
    // Writing to a text does not fail.
    let _ = writeln!(
        rows,
        "      <tr><td>{}</td><td>{}{mark}</td><td class=\"{breaker}\">{breaker}</td><td class=\"number\">{}</td>\
         <td class=\"number\">{}</td><td class=\"number\">{p99}</td></tr>",
        escaped(name),
        escaped(version),
        number(calls),
        number(errors),
    );
}

/// `0.25 ms`, `12 ms`.
fn milliseconds(microseconds: u64) -> String {
    let milliseconds = microseconds as f64 / 1000.0;
    if microseconds < 10_000 { format!("{milliseconds:.2} ms") } else { format!("{milliseconds:.0} ms") }
}

/// The text as HTML. Marks that turn the direction of writing show as what they are: a tag's value is not to turn the words
/// around it.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => escaped.extend(character.escape_unicode()),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_markup_or_turns_the_words_around_it() {
        let shown = escaped("<b>\"a\"&\u{202e}\u{2067}مرحبا");
        assert_eq!(shown, "&lt;b&gt;&quot;a&quot;&amp;\\u{202e}\\u{2067}مرحبا");
    }

    #[test]
    fn the_page_loads_nothing_and_runs_nothing() {
        for outside in ["<script", "<link", "<img", "src=", "url(", "@import", " on"] {
            for page in [PAGE, STYLE, FORM] {
                let found = page
                    .match_indices(outside)
                    .find(|(at, _)| outside != " on" || page[*at..].starts_with(" onc"));
                assert!(found.is_none(), "{outside}");
            }
        }
    }

    #[test]
    fn what_is_put_into_the_page_stays_text() {
        assert_eq!(escaped("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}
