//! An exchange with answers a test writes, and notifications to begin it with.

use serde_json::Value as Json;

use crate::bindings::formatter::exports::bellwether::plugin::formatter as raw;
use crate::formatter::{
    Answer, Event, Exchange, FormatterError, HttpAnswer, Notification, Outgoing, Part, Request,
    SecretEncoding, Step, Text,
};
use crate::{SettingError, Settings};

/// Reads settings from a JSON object of names and values, as the host does: defaults stand in for what is absent, a
/// wrong name, type or choice is refused. A [`Secret`](crate::Secret) is given by whatever text.
///
/// # Errors
/// Names the setting that is missing, unknown or wrong.
pub fn settings<C: Settings>(given: &Json) -> Result<C, SettingError> {
    let mut values = super::app::named(&C::describe(), given)
        .map_err(|(name, value, expected)| SettingError::new(name, value, expected))?;
    // What a formatter is given of a secret is the setting's name.
    for (value, declared) in values.iter_mut().zip(C::describe()) {
        if let (crate::Value::Text(text), true) = (&mut value.value, declared.secret) {
            text.clone_from(&declared.name);
        }
    }
    C::read(values)
}

/// An answer to an HTTP request.
#[must_use]
pub fn answer(status: u16, body: &str) -> Answer {
    Answer::Http(HttpAnswer { status, headers: Vec::new(), body: body.into(), retry_after: None })
}

/// Drives an exchange with these answers, in order, and gives its steps: the last is the end, or what waits for an
/// answer.
///
/// # Errors
/// What the formatter fails with; a wrong setting.
///
/// # Panics
/// If an answer is left over, or the exchange goes on past its eight steps.
pub fn rehearse<C: Settings>(
    next: impl Fn(&Exchange, C) -> Result<Step, FormatterError>,
    given: &Json,
    notification: Notification,
    answers: &[Answer],
) -> Result<Vec<Step>, FormatterError> {
    rehearse_with(next, given, &mut Exchange::new(notification, Vec::new()), answers)
}

/// The same from an exchange's beginning with a memory; leaves there what it remembers in the end.
///
/// # Errors
/// What the formatter fails with; a wrong setting.
///
/// # Panics
/// If an answer is left over, or the exchange goes on past its eight steps.
pub fn rehearse_with<C: Settings>(
    next: impl Fn(&Exchange, C) -> Result<Step, FormatterError>,
    given: &Json,
    exchange: &mut Exchange,
    answers: &[Answer],
) -> Result<Vec<Step>, FormatterError> {
    let mut steps = Vec::new();
    let mut answers = answers.iter();
    exchange.last = None;
    loop {
        let step = match next(exchange, settings(given)?) {
            Err(FormatterError::Step(step)) => *step,
            step => step?,
        };
        if let Step::Send { memory: Some(kept), .. } | Step::Done { memory: Some(kept) } = &step {
            exchange.memory.clone_from(kept);
        }
        let goes_on = matches!(step, Step::Send { .. });
        steps.push(step);
        if !goes_on {
            assert!(answers.next().is_none(), "an answer is left over: the exchange is over with {steps:?}");
            return Ok(steps);
        }
        assert!(steps.len() < 8, "an exchange has at most 8 steps");
        let Some(answer) = answers.next() else { return Ok(steps) };
        exchange.last = Some(answer.clone());
    }
}

/// The request a step sends.
///
/// # Panics
/// If it sends none.
#[must_use]
#[track_caller]
pub fn sent(step: &Step) -> &Request {
    match step {
        Step::Send { outgoing: Outgoing::Http(request), .. } => request,
        other => panic!("it sends a request and is not {other:?}"),
    }
}

/// The JSON body of the request a step sends, each secret's name in its place.
///
/// # Panics
/// If it sends none, or one whose body is no JSON.
#[must_use]
#[track_caller]
pub fn sent_json(step: &Step) -> Json {
    let body = filled_in(sent(step).body());
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("the body is JSON: {error}: {body}"))
}

/// A text with each secret's name in its place, and the time of sending as 0.
#[must_use]
pub fn filled_in(text: &Text) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Secret((name, SecretEncoding::Json)) => format!("{name:?}"),
        Part::Secret((name, _)) => name.clone(),
        Part::Now(_) => "0".to_owned(),
    };
    text.parts().iter().map(part).collect()
}

/// Notifications to hold a formatter against, each with what is odd about it: every event; hardly anything; texts far
/// beyond any limit, with hundreds of series; texts that try every markup, and control characters.
#[must_use]
pub fn extremes() -> Vec<(&'static str, Notification)> {
    let mut all = vec![
        ("opened", notification(Event::Opened)),
        ("updated", notification(Event::Updated)),
        ("closed", notification(Event::Closed)),
        ("test", notification(Event::Test)),
    ];
    let mut bare = notification(Event::Opened);
    let incident = &mut bare.incident;
    (incident.title, incident.description) = (String::new(), String::new());
    (incident.alerts, incident.links, incident.time_scale) = (Vec::new(), Vec::new(), None);
    bare.organisation = String::new();
    all.push(("bare", bare));

    let mut huge = notification(Event::Opened);
    let llamas = |count| "🦙 long & <b>ré*sumé</b> ".repeat(count);
    tell(&mut huge, &llamas(12));
    (huge.incident.title, huge.incident.description) = (llamas(400), llamas(400));
    let alert = &mut huge.incident.alerts[0];
    (alert.title, alert.description) = (llamas(400), llamas(400));
    alert.series = vec![alert.series[0].clone(); 100];
    alert.left_out = u32::MAX;
    huge.incident.alerts = vec![alert.clone(); 60];
    for index in 0..200 {
        let url = format!("https://bellwether.example/{index}/{}", "p".repeat(100));
        huge.incident.links.push(raw::Link { purpose: raw::Purpose::Action, label: llamas(12), url });
    }
    all.push(("huge", huge));

    for (name, text) in [
        (
            "markup",
            "</b><script>*_~`[x](https://evil.example)|&amp;<!channel> @all {{secret}} ${key} \\ \" '",
        ),
        ("control", "a\0b\u{1}\u{7f}\u{85}\r\nc\u{2028}\u{202e}d\t\u{fffd}e\u{301}"),
    ] {
        let mut hostile = notification(Event::Opened);
        tell(&mut hostile, text);
        all.push((name, hostile));
    }
    all
}

/// Puts a text wherever a person writes one.
fn tell(notification: &mut Notification, text: &str) {
    let set = |place: &mut String| text.clone_into(place);
    set(&mut notification.organisation);
    let incident = &mut notification.incident;
    (incident.assignee, incident.acknowledged_by) = (Some(text.to_owned()), Some(text.to_owned()));
    set(&mut incident.title);
    set(&mut incident.description);
    incident.links.iter_mut().for_each(|link| set(&mut link.label));
    incident.events.push(raw::UserEvent {
        title: text.to_owned(),
        description: text.to_owned(),
        source: text.to_owned(),
        category: text.to_owned(),
        started: incident.started,
        ended: None,
    });
    for alert in &mut incident.alerts {
        set(&mut alert.title);
        set(&mut alert.description);
        alert.labels.iter_mut().for_each(|(_, value)| set(value));
        for series in &mut alert.series {
            set(&mut series.metric);
            series.tags.iter_mut().for_each(|(_, value)| set(value));
            series.unit = Some(text.to_owned());
            series.close_reason = Some(text.to_owned());
        }
    }
}

/// A made-up notification of an incident with one alert and one series. Its opening, its updates and its closing are of
/// the same incident. Change what a test is about.
#[must_use]
pub fn notification(event: Event) -> Notification {
    let minute = |minute: i64| 1_712_673_840_000 + minute * 60_000;
    let closed = event == Event::Closed;
    let (sequence, now) = match event {
        Event::Opened | Event::Test => (1, 5),
        Event::Updated => (2, 15),
        Event::Closed => (3, 25),
    };
    let link = |purpose, label: &str, page: &str| raw::Link {
        purpose,
        label: label.to_owned(),
        url: format!("https://bellwether.example/{page}"),
    };
    let series = raw::AffectedSeries {
        id: "series-1".to_owned(),
        metric: "checkout.errors".to_owned(),
        tags: vec![("country".to_owned(), "de".to_owned())],
        unit: Some("errors".to_owned()),
        open: !closed,
        started: minute(0),
        ended: closed.then(|| minute(25)),
        value: Some(if closed { 11.0 } else { 64.0 }),
        upper: Some(raw::Excursion {
            peak: 64.0,
            expected: Some(16.0),
            delta: Some(48.0),
            delta_percentage: Some(300.0),
        }),
        lower: None,
        score: Some(0.97),
        threshold: None,
        last_seen: None,
        season: Some(86_400_000),
        close_reason: closed.then(|| "back in its band".to_owned()),
        links: Vec::new(),
        details: Vec::new(),
    };
    let alert = raw::Alert {
        monitor: "monitor-1".to_owned(),
        triggers: vec!["trigger-1".to_owned()],
        kind: raw::Kind::Anomaly,
        severity: raw::Severity::High,
        title: "Checkout fails more often than usual".to_owned(),
        description: "Errors of the checkout by country.".to_owned(),
        open: !closed,
        labels: vec![("team".to_owned(), "payments".to_owned())],
        series: vec![series],
        left_out: 0,
        links: vec![link(raw::Purpose::Action, "Roll back", "actions/action-1")],
    };
    Notification {
        event,
        sequence,
        idempotency_key: format!("incident-1.channel-1.{sequence}"),
        time: minute(now),
        organisation: "Example".to_owned(),
        incident: raw::Incident {
            id: "incident-1".to_owned(),
            title: "Checkout fails more often than usual".to_owned(),
            description: "64 errors a minute where 16 are usual.".to_owned(),
            severity: raw::Severity::High,
            started: minute(0),
            ended: closed.then(|| minute(25)),
            time_scale: Some(60_000),
            merged: Vec::new(),
            assignee: None,
            acknowledged_by: None,
            alerts: vec![alert],
            links: vec![link(raw::Purpose::Incident, "Incident", "incidents/incident-1")],
            events: Vec::new(),
        },
    }
}
