//! The page at `/monitors`: which there are, and how each stands.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use bellwether_alerts::{Level, MonitorId, Mute, StoredMonitor};
use bellwether_kernel::{FieldError, OrganisationId, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;

use super::alerts::lasting_mutes;
use super::frame::{Frame, further, moment, table, text, word};
use super::session::SignedIn;
use crate::api::monitors::MONITORS;
use crate::extract::Query;
use crate::problem::Problem;
use crate::services::{Services, Shared};

pub(super) const TITLE: &str = "Monitors";
/// Monitors of a page, at least, if there are so many of those wanted.
const ROWS: usize = 50;
/// Monitors looked at for one page of those wanted.
const LOOKED_AT: usize = 1_000;
/// Every word that says how a monitor stands.
const STATES: [&str; 8] = ["alert", "warning", "no-data", "ok", "waiting", "paused", "muted", "problem"];

/// Which monitors.
#[derive(Default, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    name: String,
    #[serde(default)]
    state: String,
    /// Where the page begins.
    cursor: Option<String>,
}

impl Wanted {
    fn takes(&self, monitor: &StoredMonitor, stands: &Stands) -> bool {
        let part = self.name.trim().to_lowercase();
        let title = monitor.document.title.as_deref().unwrap_or_default();
        (monitor.document.name.contains(&part) || title.to_lowercase().contains(&part))
            && (self.state.is_empty() || stands.has(&self.state))
    }
}

/// Lists monitors.
pub(crate) async fn list(
    signed_in: SignedIn,
    Query(wanted): Query<Wanted>,
    State(services): State<Shared>,
) -> Response {
    let who = &*signed_in.0;
    Frame::new(TITLE, Some(who)).answer(found(&services, who.organisation, &wanted).await)
}

async fn found(
    services: &Services,
    organisation: OrganisationId,
    wanted: &Wanted,
) -> Result<Markup, Problem> {
    if !wanted.state.is_empty() && !STATES.contains(&&*wanted.state) {
        return Err(FieldError::new("state", &wanted.state, STATES.join(", ")).into());
    }
    let mut page = MONITORS.page(Some(ROWS), wanted.cursor.as_deref())?;
    let standing = Standing::of(services, organisation).await?;
    let (mut rows, mut looked_at) = (Vec::new(), 0);
    let next = loop {
        let found = services.alerts().monitors(organisation, &page).await?;
        looked_at += found.items.len();
        for monitor in &found.items {
            let stands = standing.of_monitor(monitor);
            if wanted.takes(monitor, &stands) {
                rows.push(row(monitor, &stands));
            }
        }
        if rows.len() >= ROWS || looked_at >= LOOKED_AT || found.next.is_none() {
            break found.next;
        }
        page.cursor = found.next;
    };
    let columns = ["Monitor", "State", "Kind", "Evaluated", "Due", "Problem"];
    Ok(html! {
        form.inline method="get" action="/monitors" {
            input name="name" value=(wanted.name) aria-label="Name or title" placeholder="Name or title";
            select name="state" aria-label="State" {
                option value="" { "any state" }
                @for known in STATES { option selected[known == wanted.state] { (known) } }
            }
            button { "Show" }
        }
        (table("", columns, &rows, false))
        (further("/monitors", &[("name", &wanted.name), ("state", &wanted.state)], MONITORS.next(next)))
        p.soft { "Times are in UTC." }
    })
}

fn row(monitor: &StoredMonitor, stands: &Stands) -> [Markup; 6] {
    let document = &monitor.document;
    [
        html! {
            (link(&document.name))
            @if let Some(title) = &document.title { br; span.soft { (title) } }
        },
        stands.shown(),
        text(word(document.kind)),
        text(monitor.evaluated.map(moment).unwrap_or_default()),
        text(monitor.next_due.map(moment).unwrap_or_default()),
        text(monitor.problem.as_deref().unwrap_or_default()),
    ]
}

/// A monitor by its name, which needs no escape in a path.
pub(super) fn link(name: &str) -> Markup {
    html! { a href={ "/monitors/" (name) } { (name) } }
}

/// What says how an organisation's monitors stand, beside what each knows itself.
pub(super) struct Standing {
    levels: HashMap<MonitorId, Level>,
    pub(super) mutes: Vec<Mute>,
    now: Timestamp,
}

impl Standing {
    pub(super) async fn of(services: &Services, organisation: OrganisationId) -> Result<Self, Problem> {
        let levels = services.alerts().open_levels(organisation).await?;
        let mutes = lasting_mutes(services, organisation).await?;
        Ok(Self { levels, mutes, now: services.parts.clock.now() })
    }

    /// How a monitor stands.
    pub(super) fn of_monitor(&self, monitor: &StoredMonitor) -> Stands {
        let document = &monitor.document;
        let open = self.levels.get(&monitor.id);
        let level = match open {
            Some(level) => Some(level.as_str()),
            None if document.paused => None,
            None if monitor.evaluated.is_none() => Some("waiting"),
            None => Some("ok"),
        };
        let is_muted = self.mutes.iter().any(|mute| {
            let whole =
                mute.scope.tags.is_empty() && mute.scope.covers_monitor(&document.name, &document.labels);
            whole && mute.is_active(self.now)
        });
        let besides =
            [(document.paused, "paused"), (is_muted, "muted"), (monitor.problem.is_some(), "problem")];
        let besides = besides.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word);
        Stands { level, is_bad: open.is_some(), besides: besides.collect() }
    }
}

/// How a monitor stands, in the words of [`STATES`].
pub(super) struct Stands {
    /// The level of its worst open incident, or what it is without one; nothing while it is paused.
    level: Option<&'static str>,
    is_bad: bool,
    /// What else holds of it.
    besides: Vec<&'static str>,
}

impl Stands {
    fn has(&self, word: &str) -> bool {
        self.level == Some(word) || self.besides.contains(&word)
    }

    /// As a cell.
    pub(super) fn shown(&self) -> Markup {
        html! {
            @if let Some(level) = self.level { span.bad[self.is_bad] { (level) } }
            @for word in &self.besides { span.mark { (word) } }
        }
    }
}
