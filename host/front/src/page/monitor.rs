//! The pages at `/monitors/{monitor}`: how one stands and why, what it says, and what may be done about it.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use bellwether_alerts::{
    Decision, IncidentFilter, Level, Monitor, SeriesStatus, StoredIncident, StoredMonitor, Thresholds,
};
use bellwether_kernel::{FieldError, PageRequest};
use maud::{Markup, html};
use serde::Deserialize;

use super::alerts::{link, mutes};
use super::change::{deed, mute, mute_fields};
use super::frame::{Frame, further, moment, problem, table, text, word};
use super::monitors::{Standing, Stands, TITLE};
use super::session::SignedIn;
use super::{Form, field};
use crate::api::monitors::SERIES;
use crate::api::mutes::mute_id;
use crate::extract::{Path, Query};
use crate::problem::Problem;
use crate::services::{Services, Shared};

/// Series of a page.
const ROWS: usize = 50;
/// Incidents shown: those that opened last.
const INCIDENTS: usize = 20;
/// Evaluations shown: the last that something came of.
const DECISIONS: usize = 10;
/// Bytes of a filled-in form.
const FORM: usize = 4 << 10;

/// Which of its series.
#[derive(Default, Deserialize)]
pub(crate) struct Wanted {
    /// Where the page of them begins.
    cursor: Option<String>,
}

/// Shows a monitor.
pub(crate) async fn show(
    signed_in: SignedIn,
    Path(monitor): Path<String>,
    Query(wanted): Query<Wanted>,
    State(services): State<Shared>,
) -> Response {
    answer(&services, &signed_in, &monitor, wanted.cursor.as_deref(), None).await
}

/// Does what a form of its page says, and goes back to it.
pub(crate) async fn change(
    signed_in: SignedIn,
    Path(monitor): Path<String>,
    State(services): State<Shared>,
    Form(form): Form<FORM>,
) -> Response {
    match done(&services, &signed_in, &monitor, &form).await {
        Ok(name) => Redirect::to(&format!("/monitors/{name}")).into_response(),
        Err(problem) => answer(&services, &signed_in, &monitor, None, Some(&problem)).await,
    }
}

/// The name of the monitor that something was done about.
async fn done(
    services: &Services,
    signed_in: &SignedIn,
    monitor: &str,
    form: &[(String, String)],
) -> Result<String, Problem> {
    signed_in.writes()?;
    let (alerts, who) = (services.alerts(), &signed_in.0);
    let name = alerts.monitor(who.organisation, monitor).await?.document.name;
    match field(form, "do") {
        "pause" => drop(alerts.pause_monitor(who, &name, true).await?),
        "resume" => drop(alerts.pause_monitor(who, &name, false).await?),
        "mute" => drop(alerts.create_mute(who, mute(services, name.clone(), form)?).await?),
        "unmute" => alerts.delete_mute(who, mute_id(field(form, "mute"))?).await?,
        other => return Err(FieldError::new("do", other, "what a button of this page does").into()),
    }
    Ok(name)
}

async fn answer(
    services: &Services,
    signed_in: &SignedIn,
    name_or_id: &str,
    cursor: Option<&str>,
    refused: Option<&Problem>,
) -> Response {
    let who = &*signed_in.0;
    let monitor = match services.alerts().monitor(who.organisation, name_or_id).await {
        Ok(monitor) => monitor,
        Err(error) => return Frame::new(TITLE, Some(who)).answer(Err(error.into())),
    };
    let frame = Frame::new(&monitor.document.name, Some(who)).within(TITLE);
    frame.shown(refused, body(services, signed_in, &monitor, cursor).await)
}

async fn body(
    services: &Services,
    signed_in: &SignedIn,
    monitor: &StoredMonitor,
    cursor: Option<&str>,
) -> Result<Markup, Problem> {
    let (alerts, organisation) = (services.alerts(), signed_in.0.organisation);
    let writes = signed_in.writes().is_ok();
    let (document, id) = (&monitor.document, monitor.id.to_string());
    let mut standing = Standing::of(services, organisation).await?;
    let stands = standing.of_monitor(monitor);
    standing.mutes.retain(|mute| mute.scope.covers_monitor(&document.name, &document.labels));
    let page = SERIES.page(Some(ROWS), cursor)?;
    let series = alerts.monitor_series(organisation, &id, &page).await?;
    let filter = IncidentFilter { monitor: Some(id.clone()), ..IncidentFilter::default() };
    let incidents = alerts.incidents(organisation, &filter, &PageRequest::first(INCIDENTS)).await?;
    let decisions = alerts.monitor_trace(organisation, &id, &PageRequest::first(DECISIONS)).await?;
    let path = format!("/monitors/{}", document.name);
    Ok(html! {
        @if let Some(title) = &document.title { p { (title) } }
        (known(monitor, &stands))
        (problems(monitor))
        @if writes { (deeds(document)) }
        (table("Series", SERIES_COLUMNS, &series.items.iter().map(of_series).collect::<Vec<_>>(), false))
        (further(&path, &[], SERIES.next(series.next)))
        (table("Incidents", INCIDENT_COLUMNS, &incidents.items.iter().map(of_incident).collect::<Vec<_>>(),
            incidents.next.is_some()))
        (mutes(&standing.mutes, services.parts.clock.now(), writes))
        (table("What it decided", DECISION_COLUMNS, &decisions.items.iter().flat_map(of_decision).collect::<Vec<_>>(),
            decisions.next.is_some()))
        (said(document))
        p.soft {
            "Monitor " (monitor.id) ", version " (monitor.version) ", by " (monitor.updated_by) " at "
            (moment(monitor.updated)) ". Times are in UTC."
        }
    })
}

fn known(monitor: &StoredMonitor, stands: &Stands) -> Markup {
    let row = [
        stands.shown(),
        text(word(monitor.document.kind)),
        text(monitor.evaluated.map(moment).unwrap_or_default()),
        text(monitor.next_due.map(moment).unwrap_or_default()),
        text(monitor.series.map(|count| count.to_string()).unwrap_or_default()),
    ];
    table("", ["State", "Kind", "Evaluated", "Due", "Series"], &[row], false)
}

/// What is wrong with it, and what of it cannot work.
fn problems(monitor: &StoredMonitor) -> Markup {
    let said = monitor.problem.as_deref().unwrap_or_default();
    html! {
        @if !said.is_empty() { (problem(said)) }
        @for warning in monitor.warnings.iter().filter(|warning| !said.contains(&***warning)) {
            p.soft { (warning) }
        }
    }
}

/// What whoever may write may do about it.
fn deeds(document: &Monitor) -> Markup {
    html! {
        div.deeds {
            @if document.paused { (deed("resume", "Go on with it", &html! {})) }
            @else { (deed("pause", "Pause", &html! {})) }
            (deed("mute", "Mute", &mute_fields()))
        }
    }
}

const SERIES_COLUMNS: [&str; 6] =
    ["Series", "Level", "Value", "Last point", "Breaches since", "Not looked at"];

fn of_series(series: &SeriesStatus) -> [Markup; 6] {
    let since = series.breach.as_ref().map(|breach| breach.started);
    let pending = series.pending.map(|since| format!("{} (not open yet)", moment(since)));
    [
        text(&series.series),
        html! { span.bad[series.level != Level::Ok] { (series.level.as_str()) @if series.missing { ", missing" } } },
        text(series.value.map(|value| value.to_string()).unwrap_or_default()),
        text(moment(series.last_point)),
        text(since.map(moment).or(pending).unwrap_or_default()),
        text(series.quiet.as_deref().unwrap_or_default()),
    ]
}

const INCIDENT_COLUMNS: [&str; 5] = ["Incident", "Severity", "Opened", "Closed", "Why"];

fn of_incident(incident: &StoredIncident) -> [Markup; 5] {
    [
        link(incident),
        html! { span.bad[incident.is_open()] { (word(incident.severity_to_find())) } },
        text(moment(incident.opened)),
        text(incident.closed.map_or_else(|| "open".to_owned(), moment)),
        text(incident.close_reason.as_deref().unwrap_or_default()),
    ]
}

const DECISION_COLUMNS: [&str; 4] = ["Time", "Of", "What", "Why"];

/// What an evaluation did, a row for each series or incident.
fn of_decision(decision: &Decision) -> Vec<[Markup; 4]> {
    let time = || text(moment(decision.time));
    let problem = decision.problem.iter().map(|why| [time(), html! {}, text("problem"), text(why)]);
    let lines =
        decision.lines.iter().map(|line| [time(), text(&line.subject), text(&line.what), text(&line.why)]);
    let more = (decision.more > 0)
        .then(|| [time(), html! {}, html! {}, text(format!("and {} more", decision.more))]);
    problem.chain(lines).chain(more).collect()
}

/// What the monitor says: the main of it in words, all of it as it is kept.
fn said(document: &Monitor) -> Markup {
    let period = |name: &str, of: Option<bellwether_alerts::Period>| of.map(|of| format!(", {name} {of}"));
    let looks = format!(
        "{} of {}{}{}",
        word(document.reduce),
        document.window,
        period("points of", document.step).unwrap_or_default(),
        period("every", document.every).unwrap_or_default(),
    );
    let after = document.missing_data.after.map(|after| format!(" after {after}")).unwrap_or_default();
    let labels = document.labels.iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>();
    let bounds = document.thresholds.as_ref();
    let rows = [
        ("Query", document.query.clone()),
        ("Compares", looks),
        (
            "Alert",
            bounds.map(|bounds| bound(bounds, bounds.critical, bounds.critical_recovery)).unwrap_or_default(),
        ),
        (
            "Warning",
            bounds
                .and_then(|bounds| Some(bound(bounds, bounds.warning?, bounds.warning_recovery)))
                .unwrap_or_default(),
        ),
        ("Detector", document.detector.as_ref().map(|detector| detector.name.clone()).unwrap_or_default()),
        ("Missing data", word(document.missing_data.policy) + &after),
        (
            "Severity",
            format!("{}, of a warning {}", word(document.severity), word(document.warning_severity)),
        ),
        ("Tells", document.channels.join(", ")),
        ("Labels", labels.join(", ")),
        ("Message", document.message.clone()),
    ];
    let rows = rows.iter().filter(|(_, says)| !says.is_empty()).map(|(what, says)| [text(what), text(says)]);
    html! {
        (table("What it says", ["What", "Says"], &rows.collect::<Vec<_>>(), false))
        details { summary { "The whole document" } pre { (serde_json::to_string_pretty(document).unwrap_or_default()) } }
    }
}

/// `> 90 until <= 85`
fn bound(thresholds: &Thresholds, bound: f64, recovery: Option<f64>) -> String {
    let comparator = thresholds.comparator;
    let until = recovery.map(|recovery| format!(", until {} {recovery}", comparator.mirrored().as_str()));
    format!("{} {bound}{}", comparator.as_str(), until.unwrap_or_default())
}
