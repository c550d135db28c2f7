//! Notifications and answers as a plugin takes them: borrowed, so that a text is copied once, into the guest. What lends
//! a list is made before what borrows it, so there is one function for each depth.

use bellwether_alerts::{
    Alert, Answer, Event, Excursion, Link, MonitorKind, Notification, Purpose, Series, Severity, UserEvent,
};
use bellwether_kernel::Timestamp;
use serde_json::Value as Json;

use crate::bindings::bellwether::host::types::{NamedValueParam, ValueParam};
use crate::bindings::exports::bellwether::plugin::formatter as wit;

/// The details of every series of every alert that have to be written out: nested ones.
pub(super) type Texts = Vec<Vec<Vec<String>>>;

/// Writes nested details out; an empty text stands for one that is not nested.
pub(super) fn texts(notification: &Notification) -> Texts {
    let nested = |json: &Json| match json {
        Json::Array(_) | Json::Object(_) => json.to_string(),
        _ => String::new(),
    };
    let of_series = |series: &Series| series.details.values().map(nested).collect();
    notification.incident.alerts.iter().map(|alert| alert.series.iter().map(of_series).collect()).collect()
}

/// The lists at every depth.
pub(super) struct Lists<'a> {
    merged: Vec<&'a str>,
    links: Vec<wit::Link<'a>>,
    events: Vec<wit::UserEvent<'a>>,
    alerts: Vec<AlertLists<'a>>,
}

struct AlertLists<'a> {
    triggers: Vec<&'a str>,
    labels: Vec<(&'a str, &'a str)>,
    links: Vec<wit::Link<'a>>,
    series: Vec<SeriesLists<'a>>,
}

struct SeriesLists<'a> {
    tags: Vec<(&'a str, &'a str)>,
    links: Vec<wit::Link<'a>>,
    details: Vec<NamedValueParam<'a>>,
}

/// The innermost lists.
pub(super) fn lists<'a>(notification: &'a Notification, texts: &'a [Vec<Vec<String>>]) -> Lists<'a> {
    let incident = &notification.incident;
    let of_series = |(series, texts): (&'a Series, &'a Vec<String>)| SeriesLists {
        tags: pairs(&series.tags),
        links: links(&series.links),
        details: series.details.iter().zip(texts).map(detail).collect(),
    };
    let of_alert = |(alert, texts): (&'a Alert, &'a Vec<Vec<String>>)| AlertLists {
        triggers: alert.triggers.iter().map(String::as_str).collect(),
        labels: pairs(&alert.labels),
        links: links(&alert.links),
        series: alert.series.iter().zip(texts).map(of_series).collect(),
    };
    Lists {
        merged: incident.merged.iter().map(String::as_str).collect(),
        links: links(&incident.links),
        events: incident.events.iter().map(user_event).collect(),
        alerts: incident.alerts.iter().zip(texts).map(of_alert).collect(),
    }
}

/// The series of every alert.
pub(super) fn series<'a>(
    notification: &'a Notification,
    lists: &'a Lists<'a>,
) -> Vec<Vec<wit::AffectedSeries<'a>>> {
    let of_alert = |(alert, lists): (&'a Alert, &'a AlertLists<'a>)| {
        alert.series.iter().zip(&lists.series).map(|(series, lists)| affected(series, lists)).collect()
    };
    notification.incident.alerts.iter().zip(&lists.alerts).map(of_alert).collect()
}

/// The alerts.
pub(super) fn alerts<'a>(
    notification: &'a Notification,
    lists: &'a Lists<'a>,
    series: &'a [Vec<wit::AffectedSeries<'a>>],
) -> Vec<wit::Alert<'a>> {
    let alerts = notification.incident.alerts.iter().zip(&lists.alerts).zip(series);
    let lowered = alerts.map(|((alert, lists), series)| wit::Alert {
        monitor: &alert.monitor,
        triggers: &lists.triggers,
        kind: match alert.kind {
            MonitorKind::Threshold => wit::Kind::Threshold,
            MonitorKind::NoData => wit::Kind::NoData,
            MonitorKind::Anomaly => wit::Kind::Anomaly,
        },
        severity: severity(alert.severity),
        title: &alert.title,
        description: &alert.description,
        open: alert.open,
        labels: &lists.labels,
        series,
        left_out: alert.left_out,
        links: &lists.links,
    });
    lowered.collect()
}

/// The whole.
pub(super) fn notification<'a>(
    notification: &'a Notification,
    lists: &'a Lists<'a>,
    alerts: &'a [wit::Alert<'a>],
) -> wit::Notification<'a> {
    let incident = &notification.incident;
    wit::Notification {
        event: match notification.event {
            Event::Opened => wit::Event::Opened,
            Event::Updated => wit::Event::Updated,
            Event::Closed => wit::Event::Closed,
            Event::Test => wit::Event::Test,
        },
        sequence: notification.sequence,
        idempotency_key: &notification.idempotency_key,
        time: notification.time.as_milliseconds(),
        organisation: &notification.organisation,
        incident: wit::Incident {
            id: &incident.id,
            title: &incident.title,
            description: &incident.description,
            severity: severity(incident.severity),
            started: incident.started.as_milliseconds(),
            ended: milliseconds(incident.ended),
            time_scale: incident.time_scale,
            merged: &lists.merged,
            assignee: incident.assignee.as_deref(),
            acknowledged_by: incident.acknowledged_by.as_deref(),
            alerts,
            links: &lists.links,
            events: &lists.events,
        },
    }
}

fn affected<'a>(series: &'a Series, lists: &'a SeriesLists<'a>) -> wit::AffectedSeries<'a> {
    wit::AffectedSeries {
        id: &series.id,
        metric: &series.metric,
        tags: &lists.tags,
        unit: series.unit.as_deref(),
        open: series.open,
        started: series.started.as_milliseconds(),
        ended: milliseconds(series.ended),
        value: series.value,
        upper: series.upper.map(excursion),
        lower: series.lower.map(excursion),
        score: series.score,
        threshold: series.threshold,
        last_seen: milliseconds(series.last_seen),
        season: series.season,
        close_reason: series.close_reason.as_deref(),
        links: &lists.links,
        details: &lists.details,
    }
}

fn excursion(given: Excursion) -> wit::Excursion {
    let Excursion { peak, expected, delta, delta_percentage } = given;
    wit::Excursion { peak, expected, delta, delta_percentage }
}

fn severity(given: Severity) -> wit::Severity {
    match given {
        Severity::Info => wit::Severity::Info,
        Severity::Low => wit::Severity::Low,
        Severity::Medium => wit::Severity::Medium,
        Severity::High => wit::Severity::High,
        Severity::Critical => wit::Severity::Critical,
    }
}

fn milliseconds(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_milliseconds)
}

fn pairs(given: &[(String, String)]) -> Vec<(&str, &str)> {
    given.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn links(given: &[Link]) -> Vec<wit::Link<'_>> {
    let link = |link: &Link| match link.purpose {
        Purpose::Incident => wit::Purpose::Incident,
        Purpose::Investigation => wit::Purpose::Investigation,
        Purpose::Monitor => wit::Purpose::Monitor,
        Purpose::Image => wit::Purpose::Image,
        Purpose::Action => wit::Purpose::Action,
    };
    given
        .iter()
        .map(|given| wit::Link { purpose: link(given), label: &given.label, url: &given.url })
        .collect()
}

fn user_event(given: &UserEvent) -> wit::UserEvent<'_> {
    wit::UserEvent {
        title: &given.title,
        description: &given.description,
        source: &given.source,
        category: &given.category,
        started: given.started.as_milliseconds(),
        ended: milliseconds(given.ended),
    }
}

/// A detail by the type its JSON has; a nested one by the text that was written out.
fn detail<'a>(((name, json), text): ((&'a String, &'a Json), &'a String)) -> NamedValueParam<'a> {
    let value = match json {
        Json::Null => ValueParam::None,
        Json::String(text) => ValueParam::Text(text),
        Json::Bool(boolean) => ValueParam::Boolean(*boolean),
        Json::Number(number) => match number.as_i64() {
            Some(number) => ValueParam::Integer(number),
            None => ValueParam::Number(number.as_f64().unwrap_or(f64::MAX)),
        },
        Json::Array(_) | Json::Object(_) => ValueParam::Json(text),
    };
    NamedValueParam { name, value }
}

/// The lists of an answer: one of the two is empty.
#[derive(Default)]
pub(super) struct AnswerLists<'a> {
    headers: Vec<(&'a str, &'a str)>,
    refused: Vec<wit::Refusal<'a>>,
}

/// The lists of an answer.
pub(super) fn answer_lists(answer: &Answer) -> AnswerLists<'_> {
    match answer {
        Answer::Http(answer) => AnswerLists { headers: pairs(&answer.headers), ..AnswerLists::default() },
        Answer::Email(answer) => {
            let refused = answer.refused.iter().map(|refusal| wit::Refusal {
                address: &refusal.address,
                code: refusal.code,
                reply: &refusal.reply,
            });
            AnswerLists { refused: refused.collect(), ..AnswerLists::default() }
        }
    }
}

/// An answer.
pub(super) fn answer<'a>(given: &'a Answer, lists: &'a AnswerLists<'a>) -> wit::Answer<'a> {
    match given {
        Answer::Http(answer) => wit::Answer::Http(wit::HttpAnswer {
            status: answer.status,
            headers: &lists.headers,
            body: &answer.body,
            retry_after: answer.retry_after,
        }),
        Answer::Email(answer) => {
            wit::Answer::Email(wit::EmailAnswer { message_id: &answer.message_id, refused: &lists.refused })
        }
    }
}
