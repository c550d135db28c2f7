//! The page at `/alerts`: what is open, which monitors look, which channels are told, what was not delivered. It asks for a
//! key each time and changes nothing.

use std::fmt::Write as _;

use axum::extract::{Request, State};
use axum::response::Response;
use bellwether_alerts::{
    ChannelState, Delivery, DeliveryFilter, DeliveryState, IncidentFilter, IncidentState,
};
use bellwether_kernel::{OrganisationId, PageRequest, Timestamp};

use super::{escaped, form_page, known, told, word};
use crate::extract::read_body;
use crate::problem::Problem;
use crate::services::{Services, Shared};

/// Bytes of a filled-in form.
const FORM: usize = 4 << 10;
/// Rows of each table; the API lists the rest.
const ROWS: usize = 50;
const TITLE: &str = "Alerts";

const ASK: &str = "<form method=\"post\" action=\"/alerts\">\n<label>Key <span>one that may read, bw_…</span>\
    <input type=\"password\" name=\"key\" autocomplete=\"current-password\" required></label>\n\
    <button>Show</button>\n</form>\n";

/// Asks for a key.
pub(crate) async fn ask() -> Response {
    form_page(TITLE, ASK)
}

/// Shows what the key's organisation may see.
pub(crate) async fn show(State(services): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = read_body(&parts.headers, body, FORM).await?;
    let mut fields = form_urlencoded::parse(&body);
    let key =
        fields.find(|(name, _)| name == "key").map_or_else(String::new, |(_, key)| key.trim().to_owned());
    let shown = match known(&services, &key) {
        Ok(principal) => tables(&services, principal.organisation).await,
        Err(problem) => Err(problem),
    };
    Ok(form_page(TITLE, &shown.unwrap_or_else(|problem| told(&problem) + ASK)))
}

async fn tables(services: &Services, organisation: OrganisationId) -> Result<String, Problem> {
    let page = PageRequest::first(ROWS);
    let (alerts, deliveries) = (services.alerts(), services.deliveries());
    let filter = IncidentFilter { state: Some(IncidentState::Open), ..IncidentFilter::default() };
    let incidents = alerts.incidents(organisation, &filter, &page).await?;
    let rows = incidents.items.iter().map(|incident| {
        let known = incident.acknowledgement.as_ref().map(|known| known.by.clone());
        let told = match incident.told {
            Some(told) => format!("{} at {}", incident.channels.join(", "), moment(told)),
            None => "nobody".to_owned(),
        };
        let (severity, title) = (word(incident.severity), incident.title.clone());
        [severity, title, moment(incident.opened), known.unwrap_or_default(), told]
    });
    let mut body = table(
        "Open incidents",
        ["Severity", "Incident", "Since", "Acknowledged by", "Told"],
        rows,
        incidents.next.is_some(),
    );

    let monitors = alerts.monitors(organisation, &page).await?;
    let rows = monitors.items.iter().map(|monitor| {
        let last = monitor.evaluated.map(moment);
        let next = monitor.next_due.map_or_else(|| "paused".to_owned(), moment);
        let (name, kind) = (monitor.document.name.clone(), word(monitor.document.kind));
        [name, kind, last.unwrap_or_default(), next, monitor.problem.clone().unwrap_or_default()]
    });
    body +=
        &table("Monitors", ["Monitor", "Kind", "Evaluated", "Due", "Problem"], rows, monitors.next.is_some());

    let channels = deliveries.channels(organisation, &page).await?;
    let rows = channels.items.iter().map(|channel| {
        let (state, since, why) = match &channel.state {
            ChannelState::Active => ("active", String::new(), String::new()),
            ChannelState::Paused { since, reason } => ("paused", moment(*since), reason.clone()),
            ChannelState::Disabled { since, reason } => ("disabled", moment(*since), reason.clone()),
        };
        [channel.name.clone(), channel.spec.formatter.clone(), state.to_owned(), since, why]
    });
    body +=
        &table("Channels", ["Channel", "Formatter", "State", "Since", "Why"], rows, channels.next.is_some());

    for (state, heading) in
        [(DeliveryState::Waiting, "Not delivered yet"), (DeliveryState::Dead, "Dead letters")]
    {
        let filter = DeliveryFilter { state: Some(state), ..DeliveryFilter::default() };
        let found = deliveries.deliveries(organisation, &filter, &page).await?;
        let rows = found.items.iter().map(delivery);
        body += &table(heading, ["Delivery", "Event", "Of", "Attempts", "Why"], rows, found.next.is_some());
    }
    Ok(body + "<p class=\"soft\">Times are in UTC.</p>\n")
}

fn delivery(delivery: &Delivery) -> [String; 5] {
    let (id, event) = (delivery.id.to_string(), word(delivery.event));
    let why = delivery.reason.clone().unwrap_or_default();
    [id, event, moment(delivery.time), delivery.attempts.to_string(), why]
}

/// A time in UTC, to the second.
fn moment(time: Timestamp) -> String {
    let text = time.to_string();
    text.split(['.', 'Z']).next().unwrap_or(&text).replace('T', " ")
}

/// A table, or that there is nothing to put into it.
fn table(heading: &str, columns: [&str; 5], rows: impl Iterator<Item = [String; 5]>, is_cut: bool) -> String {
    let mut body = String::new();
    for row in rows {
        let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        let _ = writeln!(body, "<tr>{cells}</tr>");
    }
    if body.is_empty() {
        return format!("<h2>{heading}</h2>\n<p class=\"soft\">none</p>\n");
    }
    let titles: String = columns.iter().map(|title| format!("<th>{title}</th>")).collect();
    let more = if is_cut {
        "<p class=\"soft\">There are more; the API and the command line list them all.</p>\n"
    } else {
        ""
    };
    format!(
        "<h2>{heading}</h2>\n<div class=\"wide wrap\"><table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n{more}"
    )
}
