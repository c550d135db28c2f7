//! The page at `/alerts`: what is open, which monitors look, what is muted, what the calendar says, which channels are told,
//! what was not delivered. With an incident in its address, that one.

use std::cmp::Reverse;
use std::fmt::Write as _;

use axum::extract::State;
use axum::response::Response;
use bellwether_access::Principal;
use bellwether_alerts::{
    ChannelState, Delivery, DeliveryFilter, DeliveryState, IncidentFilter, IncidentState, Mute, Pace, Reach,
    Scope, StoredIncident,
};
use bellwether_kernel::{OrganisationId, PageRequest, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;

use super::change::deed;
use super::frame::{Frame, moment, table, text, word};
use super::session::SignedIn;
use super::{incident, monitors};
use crate::api::incidents::incident_id;
use crate::extract::Query;
use crate::problem::Problem;
use crate::services::{Services, Shared};

/// Rows of each table; the API lists the rest.
pub(super) const ROWS: usize = 50;
/// Open incidents among which the worst are found.
const INCIDENTS: usize = 1_000;
/// As many mutes as an organisation can have, and as many that are over: those are left out only once they are read.
const MUTES: usize = 2 * bellwether_alerts::limits::MUTES;
pub(super) const TITLE: &str = "Alerts";

/// Which incident, where a link says so.
#[derive(Default, Deserialize)]
pub(crate) struct Link {
    #[serde(default)]
    pub(super) incident: String,
}

/// Shows what whoever is signed in may see.
pub(crate) async fn show(
    signed_in: SignedIn,
    Query(Link { incident }): Query<Link>,
    State(services): State<Shared>,
) -> Response {
    let who = &*signed_in.0;
    if !incident.is_empty() {
        return incident::shown(&services, &signed_in, &incident, None).await;
    }
    Frame::new(TITLE, Some(who)).answer(tables(&services, &signed_in).await)
}

pub(super) async fn tables(services: &Services, signed_in: &SignedIn) -> Result<Markup, Problem> {
    let (who, writes) = (&*signed_in.0, signed_in.writes().is_ok());
    Ok(html! {
        (open(services, who.organisation).await?)
        (watching(services, who.organisation).await?)
        (pace(&services.alerts().pace().await?))
        (mutes(&lasting_mutes(services, who.organisation).await?, services.parts.clock.now(), writes))
        (calendar(services, who.organisation).await?)
        (channels(services, who.organisation).await?)
        (undelivered(services, who, writes, DeliveryState::Waiting, "Not delivered yet").await?)
        (undelivered(services, who, writes, DeliveryState::Dead, "Dead letters").await?)
        p.soft { "Times are in UTC." }
    })
}

async fn open(services: &Services, organisation: OrganisationId) -> Result<Markup, Problem> {
    let alerts = services.alerts();
    let filter = IncidentFilter { state: Some(IncidentState::Open), ..IncidentFilter::default() };
    let mut incidents = alerts.incidents(organisation, &filter, &PageRequest::first(INCIDENTS)).await?;
    // The worst first, and of those the newest: in a storm the table holds only some.
    incidents.items.sort_by_key(|incident| Reverse(incident.severity));
    let mut rows = Vec::new();
    for incident in incidents.items.iter().take(ROWS) {
        let told =
            alerts.reach(organisation, incident).await?.into_iter().map(|(channel, reach)| match reach {
                Reach::Told(at) => format!("{channel} at {}", moment(at)),
                Reach::Waits => format!("{channel} not yet"),
                Reach::NotTold => format!("not {channel}"),
                Reach::Forgotten => format!("{channel} (not kept)"),
            });
        let told = told.collect::<Vec<_>>().join(", ");
        let known = incident.acknowledgement.as_ref().map_or("", |known| &known.by);
        rows.push([
            text(word(incident.severity)),
            link(incident),
            text(moment(incident.opened)),
            text(known),
            text(if told.is_empty() { "nobody" } else { &told }),
        ]);
    }
    let heading = match (incidents.items.len(), &incidents.next) {
        (count, None) if count <= ROWS => "Open incidents".to_owned(),
        (count, None) => format!("Open incidents: {count}, the worst {ROWS} of them"),
        (count, Some(_)) => format!("Open incidents: more than {count}, {ROWS} of them"),
    };
    let columns = ["Severity", "Incident", "Since", "Acknowledged by", "Told"];
    Ok(table(&heading, columns, &rows, incidents.items.len() > ROWS))
}

pub(super) fn link(incident: &StoredIncident) -> Markup {
    html! { a href={ "/alerts?incident=" (incident.id) } { (incident.title) } }
}

async fn watching(services: &Services, organisation: OrganisationId) -> Result<Markup, Problem> {
    let monitors = services.alerts().monitors(organisation, &PageRequest::first(ROWS)).await?;
    let rows = monitors.items.iter().map(|monitor| {
        [
            monitors::link(&monitor.document.name),
            text(word(monitor.document.kind)),
            text(monitor.evaluated.map(moment).unwrap_or_default()),
            text(monitor.next_due.map_or_else(|| "paused".to_owned(), moment)),
            text(monitor.problem.as_deref().unwrap_or_default()),
        ]
    });
    let (rows, columns) = (rows.collect::<Vec<_>>(), ["Monitor", "Kind", "Evaluated", "Due", "Problem"]);
    Ok(table("Monitors", columns, &rows, monitors.next.is_some()))
}

/// The mutes that are not over.
pub(super) async fn lasting_mutes(
    services: &Services,
    organisation: OrganisationId,
) -> Result<Vec<Mute>, Problem> {
    let now = services.parts.clock.now();
    let mut mutes = services.alerts().mutes(organisation, &PageRequest::first(MUTES)).await?.items;
    mutes.retain(|mute| mute.end.is_none_or(|end| now < end));
    Ok(mutes)
}

/// Mutes as a table, with what ends them for whoever may write.
pub(super) fn mutes(mutes: &[Mute], now: Timestamp, writes: bool) -> Markup {
    let rows = mutes.iter().take(ROWS).map(|mute| {
        let lasts = match mute.end {
            _ if mute.start > now => format!("from {}", moment(mute.start)),
            Some(end) => format!("until {}", moment(end)),
            None => "until it is deleted".to_owned(),
        };
        let unmute = deed("unmute", "Delete", &html! { input type="hidden" name="mute" value=(mute.id); });
        [
            html! { (mute.id) " " @if writes { (unmute) } },
            text(about(&mute.scope, &[])),
            text(lasts),
            text(&mute.created_by),
            text(&mute.reason),
        ]
    });
    let (rows, columns) = (rows.collect::<Vec<_>>(), ["Mute", "About", "Lasts", "By", "Why"]);
    table("Mutes", columns, &rows, mutes.len() > ROWS)
}

async fn calendar(services: &Services, organisation: OrganisationId) -> Result<Markup, Problem> {
    let now = services.parts.clock.now();
    let entries = services.alerts().entries(organisation, &PageRequest::first(ROWS)).await?;
    let rows = entries.items.iter().map(|entry| {
        let state = match (entry.lasting(now), &entry.repeat) {
            (Ok(Some(until)), _) => format!("until {}", moment(until)),
            (Ok(None), _) => "until it is deleted".to_owned(),
            (Err(_), None) if entry.start <= now => "over".to_owned(),
            (Err(_), None) => format!("from {}", moment(entry.start)),
            (Err(_), Some(repeat)) => {
                format!("not now: {}, {} from {}", repeat.rule, repeat.zone, repeat.from)
            }
        };
        let about = about(&entry.scope, &entry.metrics);
        [text(&entry.name), text(entry.kind.as_str()), text(about), text(state), text(&entry.reason)]
    });
    let (rows, columns) = (rows.collect::<Vec<_>>(), ["Entry", "Kind", "About", "Lasts", "Why"]);
    Ok(table("Calendar", columns, &rows, entries.next.is_some()))
}

async fn channels(services: &Services, organisation: OrganisationId) -> Result<Markup, Problem> {
    let deliveries = services.deliveries();
    let channels = deliveries.channels(organisation, &PageRequest::first(ROWS)).await?;
    let mut rows = Vec::new();
    for channel in &channels.items {
        let (state, why) = match &channel.state {
            ChannelState::Active => ("active".to_owned(), ""),
            ChannelState::Paused { since, reason } => {
                (format!("paused since {}", moment(*since)), reason.as_str())
            }
            ChannelState::Disabled { since, reason } => {
                (format!("disabled since {}", moment(*since)), reason.as_str())
            }
        };
        let problem = deliveries.channel_problem(organisation, channel).await?.unwrap_or_default();
        let (name, formatter) = (text(&channel.name), text(&channel.spec.formatter));
        rows.push([name, formatter, text(state), text(why), text(problem)]);
    }
    let columns = ["Channel", "Formatter", "State", "Why", "Problem"];
    Ok(table("Channels", columns, &rows, channels.next.is_some()))
}

async fn undelivered(
    services: &Services,
    who: &Principal,
    writes: bool,
    state: DeliveryState,
    heading: &str,
) -> Result<Markup, Problem> {
    let filter = DeliveryFilter { state: Some(state), ..DeliveryFilter::default() };
    let page = PageRequest::first(ROWS);
    let found = services.deliveries().deliveries(who.organisation, &filter, &page).await?;
    let mut rows = Vec::new();
    for delivery in &found.items {
        let incident = match incident_id(&delivery.id.incident) {
            Ok(id) => services.alerts().incident(who.organisation, id).await.ok(),
            Err(_) => None,
        };
        rows.push(cells(delivery, incident.as_ref(), writes && state == DeliveryState::Dead));
    }
    Ok(table(heading, ["Delivery", "Event", "Of", "Attempts", "Why"], &rows, found.next.is_some()))
}

/// A delivery's cells: the incident it tells of by its title, where it is there still.
fn cells(delivery: &Delivery, incident: Option<&StoredIncident>, resend: bool) -> [Markup; 5] {
    let which = html! { input type="hidden" name="delivery" value=(delivery.id); };
    [
        html! {
            @match incident {
                Some(incident) => { (link(incident)) " to " (delivery.id.channel) br; small { (delivery.id) } }
                None => (delivery.id),
            }
            @if resend { (deed("resend", "Send again", &which)) }
        },
        text(word(delivery.event)),
        text(moment(delivery.time)),
        text(delivery.attempts.to_string()),
        text(delivery.reason.as_deref().unwrap_or_default()),
    ]
}

/// What a scope says, or that it is everything.
fn about(scope: &Scope, metrics: &[String]) -> String {
    let pairs = scope.labels.iter().chain(&scope.tags).map(|(name, value)| format!("{name}:{value}"));
    let all: Vec<String> = scope.monitors.iter().chain(metrics).cloned().chain(pairs).collect();
    if all.is_empty() { "everything".to_owned() } else { all.join(", ") }
}

/// How evaluations keep their times.
fn pace(pace: &Pace) -> Markup {
    let within = |bound: Option<i64>| bound.map_or_else(|| "over an hour".to_owned(), span);
    let mut text = match pace.evaluations {
        0 => "Nothing was evaluated on this host in the last minute.".to_owned(),
        count => format!(
            "{count} evaluation{} on this host in the last minute, {} brought forward by writes: half within {} of their \
             time, 99 of 100 within {}.",
            if count == 1 { "" } else { "s" },
            pace.woken,
            within(pace.half_within),
            within(pace.most_within)
        ),
    };
    if pace.behind > 0 {
        let _ = write!(text, " The first that is due has waited for {}.", span(pace.behind));
    }
    html! { p.soft { (text) } }
}

/// `20 ms`, `1.5 s`
fn span(milliseconds: i64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        _ => format!("{} s", milliseconds as f64 / 1000.0),
    }
}
