//! One incident: what is known of it, what may be done about it, and what happened.

use axum::response::Response;
use bellwether_alerts::{CorrelatedEvents, IncidentId, Offer, OfferedLink, Period, StoredIncident};
use bellwether_kernel::{OrganisationId, PageRequest};
use maud::{Markup, html};

use super::alerts::ROWS;
use super::change::{deed, mute_fields};
use super::frame::{Frame, linked, moment, table, text, word};
use super::monitors;
use super::session::SignedIn;
use crate::api::incidents::incident_id;
use crate::problem::Problem;
use crate::services::Services;

/// Breaches of one incident; those that go on come first.
const BREACHES: usize = 20;

/// The incident's page; above it why something was not done, with the status of that.
pub(super) async fn shown(
    services: &Services,
    signed_in: &SignedIn,
    id: &str,
    refused: Option<&Problem>,
) -> Response {
    let organisation = signed_in.0.organisation;
    let found = async {
        let id = incident_id(id)?;
        Ok((id, services.alerts().incident(organisation, id).await?))
    };
    let (id, incident) = match found.await {
        Ok(found) => found,
        Err(problem) => return Frame::new(super::alerts::TITLE, Some(&signed_in.0)).answer(Err(problem)),
    };
    let body = body(services, organisation, (id, &incident), signed_in.writes().is_ok()).await;
    let frame = Frame::new(&incident.title, Some(&signed_in.0)).within(super::alerts::TITLE);
    frame.shown(refused, body)
}

async fn body(
    services: &Services,
    organisation: OrganisationId,
    (id, incident): (IncidentId, &StoredIncident),
    writes: bool,
) -> Result<Markup, Problem> {
    let alerts = services.alerts();
    let breaches = alerts.incident_intervals(organisation, id, BREACHES).await?;
    let (offers, links) = alerts.offers(organisation, id).await?;
    let events = alerts.incident_events(organisation, id).await?;
    let trace = alerts.incident_trace(organisation, id, &PageRequest::first(ROWS)).await?;
    let (more, is_open) = (breaches.len() == BREACHES, incident.is_open());
    let breaches = breaches.into_iter().map(|breach| {
        let lasted = breach.ended.map_or_else(String::new, |ended| format!(" to {}", moment(ended)));
        let number = |value: Option<f64>| text(value.map_or_else(String::new, |value| value.to_string()));
        let peak = breach.upper.or(breach.lower).map(|beyond| beyond.peak);
        let since = moment(breach.started) + &lasted;
        [text(breach.series), text(since), number(breach.value), number(peak), number(breach.threshold)]
    });
    let notes = trace.items.iter().map(|note| {
        let by = note.by.as_deref().unwrap_or_default();
        [text(moment(note.time)), text(word(note.what)), text(by), text(&note.text)]
    });
    Ok(html! {
        (known(incident))
        p { "Monitor " (monitors::link(&incident.monitor_name)) }
        p.said { (incident.message) }
        @if writes { (deeds(incident)) }
        (table("Breaches", ["Series", "Since", "Value", "Peak", "Bound"], &breaches.collect::<Vec<_>>(), more))
        (offered(&offers, &links, writes && is_open))
        (near(&events))
        (table("What happened", ["Time", "What", "By", "Text"], &notes.collect::<Vec<_>>(), trace.next.is_some()))
        p.soft { "Times are in UTC." }
    })
}

fn known(incident: &StoredIncident) -> Markup {
    let state = incident.closed.map_or_else(|| "open".to_owned(), |at| format!("closed {}", moment(at)));
    let severity = if incident.worst > incident.severity {
        format!("{}, was {}", word(incident.severity), word(incident.worst))
    } else {
        word(incident.severity)
    };
    let by = incident.acknowledgement.as_ref().map_or("", |known| &known.by);
    let assignee = incident.assignee.as_deref().unwrap_or_default();
    let row = [text(severity), text(state), text(moment(incident.started)), text(by), text(assignee)];
    table("", ["Severity", "State", "Since", "Acknowledged by", "Assignee"], &[row], false)
}

/// What whoever may write may do about it.
fn deeds(incident: &StoredIncident) -> Markup {
    let comment = html! { input name="text" aria-label="Comment" placeholder="What you found" required; };
    if !incident.is_open() {
        return html! { div.deeds { (deed("comment", "Comment", &comment)) } };
    }
    let assignee = incident.assignee.as_deref().unwrap_or_default();
    let assignee = html! {
        input name="assignee" value=(assignee) aria-label="Assignee" placeholder="Who looks after it";
    };
    html! {
        div.deeds {
            @if incident.acknowledgement.is_none() { (deed("acknowledge", "Acknowledge", &html! {})) }
            (deed("resolve", "Resolve", &html! {}))
            (deed("assign", "Assign", &assignee))
            (deed("comment", "Comment", &comment))
            (deed("mute", "Mute its monitor", &mute_fields()))
        }
    }
}

/// What its monitor offers to do, and where it leads to.
fn offered(offers: &[Offer], links: &[OfferedLink], act: bool) -> Markup {
    let offers = offers.iter().map(|offer| {
        let which = html! { input type="hidden" name="action" value=(offer.action.name); };
        let does = html! {
            (offer.action.target()) " "
            @if act && !offer.running { (deed("act", offer.action.label(), &which)) }
        };
        let state = if offer.running { "running" } else { "" };
        let (name, label) = (text(&offer.action.name), text(offer.action.label()));
        [name, label, does, text(offer.clicks.to_string()), text(state)]
    });
    let links = links.iter().map(|offered| {
        let (name, label) = (text(&offered.link.name), text(offered.link.label()));
        [name, label, linked(&offered.link.url), text(offered.clicks.to_string()), html! {}]
    });
    let rows: Vec<_> = offers.chain(links).collect();
    table("Actions", ["Name", "Label", "Does", "Clicks", "State"], &rows, false)
}

/// The events that belong to an incident.
fn near(found: &CorrelatedEvents) -> Markup {
    let rows = found.events.iter().map(|event| {
        let distance = Period::from_milliseconds(event.after.abs() / 1000 * 1000);
        let side = if event.after < 0 { "before" } else { "after" };
        let distance = text(format!("{distance} {side}"));
        let (title, said) = (text(&event.title), text(&event.description));
        [text(moment(event.started)), distance, title, text(event.tags.join(", ")), said]
    });
    let heading = if found.kept { "Events, as its end kept them" } else { "Events" };
    let rows: Vec<_> = rows.collect();
    table(heading, ["Time", "First breach", "Event", "Tags", "Text"], &rows, !found.complete)
}
