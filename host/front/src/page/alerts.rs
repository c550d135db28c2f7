//! The page at `/alerts`: what is open, which monitors look, what is muted, what the calendar says, which channels are told,
//! what was not delivered. It asks for a key each time and changes nothing.

use std::cmp::Reverse;
use std::fmt::Write as _;

use axum::extract::{Query, Request, State};
use axum::response::Response;
use bellwether_alerts::{
    ChannelState, CorrelatedEvents, Delivery, DeliveryFilter, DeliveryState, IncidentFilter, IncidentState,
    Mute, Pace, Period, Reach, Scope,
};
use bellwether_kernel::{OrganisationId, PageRequest, Timestamp};
use serde::Deserialize;

use super::{escaped, field, filled, form_page, known, refused, word};
use crate::api::incidents::incident_id;
use crate::extract::read_body;
use crate::problem::Problem;
use crate::services::{Services, Shared};

/// Bytes of a filled-in form.
const FORM: usize = 4 << 10;
/// Rows of each table; the API lists the rest.
const ROWS: usize = 50;
/// Open incidents among which the worst are found.
const INCIDENTS: usize = 1_000;
/// Breaches of one incident; those that go on come first.
const BREACHES: usize = 20;
/// As many mutes as an organisation can have: those that are over are left out only once they are read.
const MUTES: usize = 1_000;
const TITLE: &str = "Alerts";

/// Which incident, where a link says so.
#[derive(Default, Deserialize)]
pub(crate) struct Link {
    #[serde(default)]
    incident: String,
}

/// Asks for a key.
pub(crate) async fn ask(Query(Link { incident }): Query<Link>) -> Response {
    form_page(TITLE, &form(&incident))
}

fn form(incident: &str) -> String {
    let incident = match incident {
        "" => String::new(),
        incident => format!("<input type=\"hidden\" name=\"incident\" value=\"{}\">\n", escaped(incident)),
    };
    format!(
        "<form method=\"post\" action=\"/alerts\">\n{incident}<label>Key <span>one that may read, bw_…</span>\
         <input type=\"password\" name=\"key\" autocomplete=\"current-password\" required></label>\n\
         <button>Show</button>\n</form>\n"
    )
}

/// Shows what the key's organisation may see.
pub(crate) async fn show(State(services): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = read_body(&parts.headers, body, FORM).await?;
    let form = filled(&body);
    let incident = field(&form, "incident");
    let shown = match known(&services, field(&form, "key")) {
        Ok(principal) if incident.is_empty() => tables(&services, principal.organisation).await,
        Ok(principal) => one(&services, principal.organisation, incident).await,
        Err(problem) => Err(problem),
    };
    Ok(match shown {
        Ok(tables) => form_page(TITLE, &tables),
        Err(problem) => refused(TITLE, &problem, &self::form(incident)),
    })
}

/// One incident: what is known of it, what may be done about it, and what happened.
async fn one(services: &Services, organisation: OrganisationId, id: &str) -> Result<String, Problem> {
    let (alerts, page) = (services.alerts(), PageRequest::first(ROWS));
    let id = incident_id(id)?;
    let incident = alerts.incident(organisation, id).await?;
    let state = incident.closed.map_or_else(|| "open".to_owned(), |at| format!("closed {}", moment(at)));
    let known = incident.acknowledgement.as_ref().map(|known| known.by.clone());
    let severity = if incident.worst > incident.severity {
        format!("{}, was {}", word(incident.severity), word(incident.worst))
    } else {
        word(incident.severity)
    };
    let since = moment(incident.started);
    let known = [severity, state, since, known.unwrap_or_default(), incident.assignee.unwrap_or_default()];
    let mut body = table(
        &escaped(&incident.title),
        ["Severity", "State", "Since", "Acknowledged by", "Assignee"],
        std::iter::once(known),
        false,
    );
    let (monitor, message) = (escaped(&incident.monitor_name), escaped(&incident.message));
    let _ = write!(body, "<p>Monitor {monitor}</p>\n<p class=\"said\">{message}</p>\n");
    let breaches = alerts.incident_intervals(organisation, id, BREACHES).await?;
    let more = breaches.len() == BREACHES;
    let rows = breaches.iter().map(|breach| {
        let lasted = breach.ended.map_or_else(String::new, |ended| format!(" to {}", moment(ended)));
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let peak = breach.upper.or(breach.lower).map(|beyond| beyond.peak);
        let since = moment(breach.started) + &lasted;
        [breach.series.clone(), since, number(breach.value), number(peak), number(breach.threshold)]
    });
    body += &table("Breaches", ["Series", "Since", "Value", "Peak", "Bound"], rows, more);
    let (offers, links) = alerts.offers(organisation, id).await?;
    let columns = ["Name", "Label", "Does", "Clicks", "State"];
    let offers = offers.iter().map(|offer| {
        let state = if offer.running { "running" } else { "" };
        let (name, label) = (offer.action.name.clone(), offer.action.label().to_owned());
        let cells = [name, label, offer.action.target(), offer.clicks.to_string(), state.to_owned()];
        row(columns, &cells.map(|cell| escaped(&cell)))
    });
    let links = links.iter().map(|offered| {
        let (name, label) = (offered.link.name.clone(), offered.link.label().to_owned());
        let url = linked(&offered.link.url);
        row(columns, &[escaped(&name), escaped(&label), url, offered.clicks.to_string(), String::new()])
    });
    let rows: String = offers.chain(links).collect();
    body += &headed("Actions", columns, &rows, false);
    body += &events(&alerts.incident_events(organisation, id).await?);
    let trace = alerts.incident_trace(organisation, id, &page).await?;
    let notes = trace.items.iter().map(|note| {
        let (time, by) = (moment(note.time), note.by.clone().unwrap_or_default());
        [time, word(note.what), by, note.text.clone(), String::new()]
    });
    body += &table("What happened", ["Time", "What", "By", "Text", ""], notes, trace.next.is_some());
    Ok(body + "<p class=\"soft\">Times are in UTC.</p>\n")
}

/// The events that belong to an incident.
fn events(found: &CorrelatedEvents) -> String {
    let rows = found.events.iter().map(|event| {
        let distance = Period::from_milliseconds(event.after.abs() / 1000 * 1000);
        let side = if event.after < 0 { "before" } else { "after" };
        let distance = format!("{distance} {side}");
        let (title, text) = (event.title.clone(), event.description.clone());
        [moment(event.started), distance, title, event.tags.join(", "), text]
    });
    let heading = if found.kept { "Events, as its end kept them" } else { "Events" };
    table(heading, ["Time", "First breach", "Event", "Tags", "Text"], rows, !found.complete)
}

async fn tables(services: &Services, organisation: OrganisationId) -> Result<String, Problem> {
    let page = PageRequest::first(ROWS);
    let (alerts, deliveries) = (services.alerts(), services.deliveries());
    let filter = IncidentFilter { state: Some(IncidentState::Open), ..IncidentFilter::default() };
    let mut incidents = alerts.incidents(organisation, &filter, &PageRequest::first(INCIDENTS)).await?;
    // The worst first, and of those the newest: in a storm the table holds only some.
    incidents.items.sort_by_key(|incident| Reverse(incident.severity));
    let columns = ["Severity", "Incident", "Since", "Acknowledged by", "Told"];
    let mut rows = String::new();
    for incident in incidents.items.iter().take(ROWS) {
        let known = incident.acknowledgement.as_ref().map(|known| known.by.clone());
        let told =
            alerts.reach(organisation, incident).await?.into_iter().map(|(channel, reach)| match reach {
                Reach::Told(at) => format!("{channel} at {}", moment(at)),
                Reach::Waits => format!("{channel} not yet"),
                Reach::NotTold => format!("not {channel}"),
                Reach::Forgotten => format!("{channel} (not kept)"),
            });
        let told = told.collect::<Vec<_>>().join(", ");
        let told = if told.is_empty() { "nobody".to_owned() } else { escaped(&told) };
        let title = format!("<a href=\"/alerts?incident={}\">{}</a>", incident.id, escaped(&incident.title));
        let known = escaped(&known.unwrap_or_default());
        rows += &row(columns, &[word(incident.severity), title, moment(incident.opened), known, told]);
    }
    let heading = match (incidents.items.len(), &incidents.next) {
        (count, None) if count <= ROWS => "Open incidents".to_owned(),
        (count, None) => format!("Open incidents: {count}, the worst {ROWS} of them"),
        (count, Some(_)) => format!("Open incidents: more than {count}, {ROWS} of them"),
    };
    let mut body = headed(&heading, columns, &rows, incidents.items.len() > ROWS);

    let monitors = alerts.monitors(organisation, &page).await?;
    let rows = monitors.items.iter().map(|monitor| {
        let last = monitor.evaluated.map(moment);
        let next = monitor.next_due.map_or_else(|| "paused".to_owned(), moment);
        let (name, kind) = (monitor.document.name.clone(), word(monitor.document.kind));
        [name, kind, last.unwrap_or_default(), next, monitor.problem.clone().unwrap_or_default()]
    });
    body +=
        &table("Monitors", ["Monitor", "Kind", "Evaluated", "Due", "Problem"], rows, monitors.next.is_some());

    body += &pace(&alerts.pace().await?);

    let now = services.parts.clock.now();
    let mutes = alerts.mutes(organisation, &PageRequest::first(MUTES)).await?.items;
    let lasting: Vec<&Mute> = mutes.iter().filter(|mute| mute.end.is_none_or(|end| now < end)).collect();
    let rows = lasting.iter().take(ROWS).map(|mute| {
        let lasts = match mute.end {
            _ if mute.start > now => format!("from {}", moment(mute.start)),
            Some(end) => format!("until {}", moment(end)),
            None => "until it is deleted".to_owned(),
        };
        let (by, reason) = (mute.created_by.clone(), mute.reason.clone());
        [mute.id.to_string(), about(&mute.scope, &[]), lasts, by, reason]
    });
    body += &table("Mutes", ["Mute", "About", "Lasts", "By", "Why"], rows, lasting.len() > ROWS);

    let entries = alerts.entries(organisation, &page).await?;
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
        let (kind, reason) = (entry.kind.as_str().to_owned(), entry.reason.clone());
        [entry.name.clone(), kind, about(&entry.scope, &entry.metrics), state, reason]
    });
    body += &table("Calendar", ["Entry", "Kind", "About", "Lasts", "Why"], rows, entries.next.is_some());

    let channels = deliveries.channels(organisation, &page).await?;
    let mut rows = Vec::new();
    for channel in &channels.items {
        let (state, why) = match &channel.state {
            ChannelState::Active => ("active".to_owned(), String::new()),
            ChannelState::Paused { since, reason } => {
                (format!("paused since {}", moment(*since)), reason.clone())
            }
            ChannelState::Disabled { since, reason } => {
                (format!("disabled since {}", moment(*since)), reason.clone())
            }
        };
        let problem = deliveries.channel_problem(organisation, channel).await?.unwrap_or_default();
        rows.push([channel.name.clone(), channel.spec.formatter.clone(), state, why, problem]);
    }
    let columns = ["Channel", "Formatter", "State", "Why", "Problem"];
    body += &table("Channels", columns, rows.into_iter(), channels.next.is_some());

    for (state, heading) in
        [(DeliveryState::Waiting, "Not delivered yet"), (DeliveryState::Dead, "Dead letters")]
    {
        let filter = DeliveryFilter { state: Some(state), ..DeliveryFilter::default() };
        let found = deliveries.deliveries(organisation, &filter, &page).await?;
        let columns = ["Delivery", "Event", "Of", "Attempts", "Why"];
        let mut rows = String::new();
        for found in &found.items {
            let title = match incident_id(&found.id.incident) {
                Ok(id) => alerts.incident(organisation, id).await.ok().map(|incident| incident.title),
                Err(_) => None,
            };
            rows += &row(columns, &delivery(found, title.as_deref()));
        }
        body += &headed(heading, columns, &rows, found.next.is_some());
    }
    Ok(body + "<p class=\"soft\">Times are in UTC.</p>\n")
}

/// What a scope says, or that it is everything.
fn about(scope: &Scope, metrics: &[String]) -> String {
    let pairs = scope.labels.iter().chain(&scope.tags).map(|(name, value)| format!("{name}:{value}"));
    let all: Vec<String> = scope.monitors.iter().chain(metrics).cloned().chain(pairs).collect();
    if all.is_empty() { "everything".to_owned() } else { all.join(", ") }
}

/// How evaluations keep their times.
fn pace(pace: &Pace) -> String {
    let within = |bound: Option<i64>| bound.map_or_else(|| "over an hour".to_owned(), span);
    let mut text = match pace.evaluations {
        0 => "Nothing was evaluated on this host in the last minute.".to_owned(),
        count => format!(
            "{count} evaluations on this host in the last minute, {} brought forward by writes: half within {} of their \
             time, 99 of 100 within {}.",
            pace.woken,
            within(pace.half_within),
            within(pace.most_within)
        ),
    };
    if pace.behind > 0 {
        let _ = write!(text, " The first that is due has waited for {}.", span(pace.behind));
    }
    format!("<p class=\"soft\">{text}</p>\n")
}

/// `20 ms`, `1.5 s`
fn span(milliseconds: i64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        _ => format!("{} s", milliseconds as f64 / 1000.0),
    }
}

/// A delivery's cells: the incident it tells of by its title, where it is there still.
fn delivery(delivery: &Delivery, title: Option<&str>) -> [String; 5] {
    let (id, event) = (escaped(&delivery.id.to_string()), word(delivery.event));
    let why = escaped(delivery.reason.as_deref().unwrap_or_default());
    let of = title.map_or(id.clone(), |title| {
        let (incident, channel) = (escaped(&delivery.id.incident), escaped(&delivery.id.channel));
        format!(
            "<a href=\"/alerts?incident={incident}\">{}</a> to {channel}<br><small>{id}</small>",
            escaped(title)
        )
    });
    [of, event, moment(delivery.time), delivery.attempts.to_string(), why]
}

/// A time in UTC, to the second.
fn moment(time: Timestamp) -> String {
    let text = time.to_string();
    text.split(['.', 'Z']).next().unwrap_or(&text).replace('T', " ")
}

/// A table of texts, or that there is nothing to put into it.
fn table(heading: &str, columns: [&str; 5], rows: impl Iterator<Item = [String; 5]>, is_cut: bool) -> String {
    let rows: String = rows.map(|cells| row(columns, &cells.map(|cell| escaped(&cell)))).collect();
    headed(heading, columns, &rows, is_cut)
}

/// A URL of the web as a link; anything else stays a text.
fn linked(url: &str) -> String {
    let text = escaped(url);
    let begins =
        |scheme: &str| url.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    match begins("https://") || begins("http://") {
        true => format!("<a href=\"{text}\" rel=\"noopener noreferrer\">{text}</a>"),
        false => text,
    }
}

/// A row of cells that are HTML. Each says of which column it is: a narrow screen shows them below each other.
fn row(columns: [&str; 5], cells: &[String; 5]) -> String {
    let cell = |(column, cell)| format!("<td data-column=\"{column}\">{cell}</td>");
    let cells: String = columns.iter().zip(cells).map(cell).collect();
    format!("<tr>{cells}</tr>\n")
}

/// The rows of a table under its heading, or that there are none.
fn headed(heading: &str, columns: [&str; 5], rows: &str, is_cut: bool) -> String {
    if rows.is_empty() {
        return format!("<h2>{heading}</h2>\n<p class=\"soft\">none</p>\n");
    }
    let titles: String = columns.iter().map(|title| format!("<th>{title}</th>")).collect();
    let more = if is_cut {
        "<p class=\"soft\">There are more; the API and the command line list them all.</p>\n"
    } else {
        ""
    };
    format!(
        "<h2>{heading}</h2>\n<div class=\"wide wrap\"><table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n{more}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_url_of_the_web_becomes_a_link() {
        for (url, shown) in [
            (
                "https://wiki.example/?a=1&b=\"",
                "<a href=\"https://wiki.example/?a=1&amp;b=&quot;\" rel=\"noopener noreferrer\">\
                 https://wiki.example/?a=1&amp;b=&quot;</a>",
            ),
            ("HTTP://a", "<a href=\"HTTP://a\" rel=\"noopener noreferrer\">HTTP://a</a>"),
            ("javascript:alert(\"https://a\")", "javascript:alert(&quot;https://a&quot;)"),
            ("httpé", "httpé"),
        ] {
            assert_eq!(linked(url), shown);
        }
    }
}
