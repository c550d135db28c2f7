//! The page at `/plugins/{plugin}`: what a plugin is, what it may do, how it does, and what it said last.

use axum::extract::State;
use axum::response::Response;
use bellwether_access::Caller;
use bellwether_kernel::PageRequest;
use bellwether_plugins::{Installed, KeptVersion, RoleStats, VersionLimits, VersionLine, VersionTrap};
use maud::{Markup, html};
use serde::Serialize;
use serde_json::{Map, Value};

use super::frame::{Frame, moment, problem, table, text, word};
use super::plugins::{TITLE, breaker, milliseconds, roles, whose, why_not_loaded};
use super::session::SignedIn;
use crate::api::plugins::seen::{VersionStatistics, statistics};
use crate::api::plugins::{concerns_alone, seen};
use crate::extract::{CallerExt, Path};
use crate::problem::Problem;
use crate::services::{Services, Shared};

/// Versions shown, the newest.
const VERSIONS: usize = 20;
/// Lines of its log shown, and traps: the last.
const LAST: usize = 50;

/// Shows a plugin.
pub(crate) async fn show(
    signed_in: SignedIn,
    Path(plugin): Path<String>,
    State(services): State<Shared>,
) -> Response {
    let (who, caller) = (&*signed_in.0, Caller::Principal(signed_in.0.clone()));
    match seen(&services, &caller, &plugin) {
        Ok(plugin) => {
            Frame::new(&plugin.name, Some(who)).within(TITLE).answer(body(&services, &caller, &plugin))
        }
        Err(problem) => Frame::new(TITLE, Some(who)).answer(Err(problem)),
    }
}

fn body(services: &Services, caller: &Caller, plugin: &Installed) -> Result<Markup, Problem> {
    let (plugins, owner, name) = (services.plugins(), plugin.owner, &plugin.name);
    let stats = statistics(services, caller, plugin)?;
    let versions = plugins.versions(owner, name, &PageRequest::first(VERSIONS))?;
    let lines = plugins.logs(owner, name, caller.organisation())?;
    let state = match stats.versions.first() {
        Some(current) => breaker(&current.breaker),
        None => text(why_not_loaded(plugin)),
    };
    let known = [
        text(&plugin.version),
        state,
        text(roles(&plugin.roles)),
        text(whose(owner)),
        text(&plugin.contract),
    ];
    Ok(html! {
        @if let Some(description) = &plugin.description { p { (description) } }
        (table("", ["Version", "State", "Roles", "Whose", "Contract"], &[known], false))
        @if let Some(why) = &plugin.problem { (problem(why)) }
        @if let Some(canary) = &stats.canary {
            p { "A canary gets " (canary.share) " % of the calls." }
        }
        (calls(&stats.versions))
        (granted(plugin))
        (limits(plugins.limits(owner, name)?))
        (table("Versions", VERSION_COLUMNS, &versions.items.iter().map(version).collect::<Vec<_>>(), versions.next.is_some()))
        (table("Last lines of its log", LINE_COLUMNS, &last(&lines).map(line).collect::<Vec<_>>(), lines.len() > LAST))
        @if concerns_alone(caller, owner) {
            @let traps = plugins.traps(owner, name)?;
            (table("Last traps", TRAP_COLUMNS, &last(&traps).map(trap).collect::<Vec<_>>(), traps.len() > LAST))
        } @else {
            p.soft { "How others call a plugin of the host's, and where it trapped, only its operator sees." }
        }
        p.soft { "Times are in UTC." }
    })
}

/// The last of a list that ends with the newest, that first.
fn last<T>(all: &[T]) -> impl Iterator<Item = &T> {
    all.iter().rev().take(LAST)
}

/// How its loaded versions are called, role by role; nothing where that is not the caller's to know.
fn calls(versions: &[VersionStatistics]) -> Markup {
    if versions.iter().all(|version| version.roles.is_none()) {
        return html! {};
    }
    let rows = versions.iter().flat_map(|version| {
        let of_role = |role: &RoleStats| {
            let errors =
                role.calls.errors.iter().map(|error| format!("{} {}", error.count, word(error.kind)));
            [
                html! { (version.version) " " span.soft { (word(version.state)) } },
                text(word(role.role)),
                text(role.calls.calls.to_string()),
                text(errors.collect::<Vec<_>>().join(", ")),
                text(milliseconds(role.calls.latency.p50_microseconds)),
                text(milliseconds(role.calls.latency.p99_microseconds)),
            ]
        };
        version.roles.iter().flatten().map(of_role).collect::<Vec<_>>()
    });
    table(
        "Calls since it was loaded",
        ["Version", "Role", "Calls", "Errors", "Half within", "99 % within"],
        &rows.collect::<Vec<_>>(),
        false,
    )
}

fn granted(plugin: &Installed) -> Markup {
    let rows = plugin.grants.iter().map(|grant| {
        let grant = grant.to_string();
        let (privilege, scope) = grant.split_once('=').unwrap_or((&grant, ""));
        [text(privilege), text(scope.replace(',', ", "))]
    });
    table("What it was granted", ["Privilege", "Scope"], &rows.collect::<Vec<_>>(), false)
}

/// What a call may use: what was set for the plugin is told from what the host has for all.
fn limits(VersionLimits { set, effective, .. }: VersionLimits) -> Markup {
    let set = fields(set);
    let rows = fields(effective).into_iter().map(|(name, most)| {
        let whose = if set.contains_key(&name) { "set for it" } else { "the host's" };
        [text(name.replace('_', " ")), text(most.to_string()), text(whose)]
    });
    html! {
        details {
            summary { "What a call may use" }
            (table("", ["Limit", "At most", "Whose"], &rows.collect::<Vec<_>>(), false))
        }
    }
}

fn fields(of: impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(of) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

const VERSION_COLUMNS: [&str; 5] = ["Version", "State", "Installed", "By", "Problem"];

fn version(KeptVersion { installed, state, loaded }: &KeptVersion) -> [Markup; 5] {
    [
        text(&installed.version),
        html! { (word(state)) @if *loaded { ", loaded" } },
        text(moment(installed.installed)),
        text(&installed.actor),
        text(installed.problem.as_deref().unwrap_or_default()),
    ]
}

const LINE_COLUMNS: [&str; 5] = ["Time", "Level", "Call", "Version", "Line"];

fn line(VersionLine { version, logged }: &VersionLine) -> [Markup; 5] {
    let line = &logged.line;
    [text(moment(line.time)), text(word(line.level)), text(logged.call), text(version), text(&line.message)]
}

const TRAP_COLUMNS: [&str; 5] = ["Time", "Role", "Version", "Why", "Within"];

fn trap(VersionTrap { version, trap }: &VersionTrap) -> [Markup; 5] {
    let within = trap.backtrace.join(", ");
    [text(moment(trap.time)), text(word(trap.role)), text(version), text(&trap.message), text(within)]
}
