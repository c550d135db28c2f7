//! The page at `/plugins`: which the organisation may use, its own before the host's, and how they do.

use axum::extract::State;
use axum::response::Response;
use bellwether_access::Caller;
use bellwether_plugins::{BreakerPhase, BreakerState, Installed, Owner, PluginRole, RoleStats};
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::{Frame, further, table, text, word};
use super::session::SignedIn;
use crate::api::plugins::seen::statistics;
use crate::api::plugins::{PLUGINS, own_then_host};
use crate::extract::Query;
use crate::problem::Problem;
use crate::services::{Services, Shared};

pub(super) const TITLE: &str = "Plugins";
/// Plugins of a page.
const ROWS: usize = 50;

/// Which plugins.
#[derive(Default, Deserialize)]
pub(crate) struct Wanted {
    /// Where the page begins.
    cursor: Option<String>,
}

/// Lists plugins.
pub(crate) async fn list(
    signed_in: SignedIn,
    Query(wanted): Query<Wanted>,
    State(services): State<Shared>,
) -> Response {
    let caller = Caller::Principal(signed_in.0.clone());
    Frame::new(TITLE, Some(&signed_in.0)).answer(found(&services, &caller, wanted.cursor.as_deref()))
}

fn found(services: &Services, caller: &Caller, cursor: Option<&str>) -> Result<Markup, Problem> {
    let (plugins, next) = own_then_host(services, caller, &PLUGINS.page(Some(ROWS), cursor)?)?;
    // One that is removed meanwhile is left out.
    let rows: Vec<_> = plugins.iter().filter_map(|plugin| row(services, caller, plugin).ok()).collect();
    Ok(html! {
        (table("", ["Plugin", "Version", "Roles", "Whose", "State", "Calls"], &rows, false))
        (further("/plugins", &[], PLUGINS.next(next)))
        p.soft { "Calls are of this host since it loaded the version; how often others call the host's plugins is not shown." }
    })
}

fn row(services: &Services, caller: &Caller, plugin: &Installed) -> Result<[Markup; 6], Problem> {
    let stats = statistics(services, caller, plugin)?;
    let current = stats.versions.first();
    let counted = current.and_then(|current| current.roles.as_deref()).map(calls_and_errors);
    Ok([
        html! {
            a href={ "/plugins/" (plugin.name) } { (plugin.name) }
            @if let Some(description) = &plugin.description { br; span.soft { (description) } }
        },
        html! {
            (plugin.version)
            @if let Some(canary) = &stats.canary { span.mark { "canary, " (canary.share) " %" } }
        },
        text(roles(&plugin.roles)),
        text(whose(plugin.owner)),
        match current {
            Some(current) => breaker(&current.breaker),
            None => html! { span.bad[plugin.problem.is_some()] { (why_not_loaded(plugin)) } },
        },
        html! { @if let Some((calls, errors)) = counted { (calls) @if errors > 0 { ", " (errors) " failed" } } },
    ])
}

pub(super) fn roles(roles: &[PluginRole]) -> String {
    roles.iter().map(word).collect::<Vec<_>>().join(", ")
}

pub(super) fn whose(owner: Owner) -> &'static str {
    match owner {
        Owner::Host => "the host's",
        Owner::Organisation(_) => "your own",
    }
}

/// Why no version of a plugin is in memory.
pub(super) fn why_not_loaded(plugin: &Installed) -> &'static str {
    match (&plugin.problem, plugin.enabled) {
        (Some(_), _) => "does not load",
        // Those of pure roles are loaded by the call that needs them.
        (None, true) => "not loaded",
        (None, false) => "switched off",
    }
}

/// Whether a version is called, as a cell.
pub(super) fn breaker(breaker: &BreakerState) -> Markup {
    let word = breaker_word(breaker);
    html! { span.(word) { @if breaker.phase == BreakerPhase::Closed { "on" } @else { "breaker " (word) } } }
}

pub(super) fn breaker_word(breaker: &BreakerState) -> &'static str {
    match breaker.phase {
        BreakerPhase::Closed => "closed",
        BreakerPhase::Open => "open",
        BreakerPhase::HalfOpen => "half-open",
    }
}

/// Calls in all roles, and those of them that came to nothing.
pub(super) fn calls_and_errors(roles: &[RoleStats]) -> (u64, u64) {
    let errors = roles.iter().flat_map(|role| &role.calls.errors).map(|error| error.count);
    (roles.iter().map(|role| role.calls.calls).sum(), errors.sum())
}

/// `0.25 ms`, `12 ms`.
pub(super) fn milliseconds(microseconds: u64) -> String {
    let milliseconds = microseconds as f64 / 1000.0;
    if microseconds < 10_000 { format!("{milliseconds:.2} ms") } else { format!("{milliseconds:.0} ms") }
}
