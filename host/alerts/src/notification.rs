//! What a channel is told: an incident, the alerts it is made of, and the series they are about.

use bellwether_kernel::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// Instants as RFC 3339, in JSON and in TOML.
mod instant {
    use bellwether_kernel::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong =
            || D::Error::custom(format!("{text:?}, expected an instant such as 2024-04-09T14:44:00Z"));
        Timestamp::parse(&text).ok_or_else(wrong)
    }

    pub(super) mod option {
        use super::{Deserialize, Deserializer, Serializer, Timestamp};

        #[derive(Deserialize)]
        struct Given(#[serde(with = "super")] Timestamp);

        pub(crate) fn serialize<S: Serializer>(
            time: &Option<Timestamp>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            Ok(Option::<Given>::deserialize(deserializer)?.map(|Given(time)| time))
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// It began.
    Opened,
    /// It changed.
    Updated,
    /// It is over.
    Closed,
    /// Somebody tries the channel; the incident is made up.
    Test,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// For the record.
    Info,
    /// Some day.
    Low,
    /// Today.
    Medium,
    /// Soon.
    High,
    /// Now.
    Critical,
}

/// What a monitor looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MonitorKind {
    /// Values beyond a bound.
    Threshold,
    /// Values that stay away.
    NoData,
    /// Values a detector finds strange.
    Anomaly,
}

/// What a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// The incident.
    Incident,
    /// The figures behind it.
    Investigation,
    /// The monitor.
    Monitor,
    /// A picture of a series.
    Image,
    /// Something to be done about it.
    Action,
}

/// A page for a human.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What it leads to.
    pub purpose: Purpose,
    /// What stands on the button.
    pub label: String,
    /// Where it is.
    pub url: String,
}

/// How far a series went beyond its band or bound, to one side; in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excursion {
    /// The most extreme value.
    pub peak: f64,
    /// What would have been usual then, or the bound.
    pub expected: Option<f64>,
    /// Distance of the peak from that, not negative.
    pub delta: Option<f64>,
    /// The same in percent of what would have been usual.
    pub delta_percentage: Option<f64>,
}

/// A series that breaches, or did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Stable over the incident's life.
    pub id: String,
    /// The metric's name.
    pub metric: String,
    /// Ordered by name.
    #[serde(default)]
    pub tags: Vec<(String, String)>,
    /// The metric's unit.
    pub unit: Option<String>,
    /// Whether it breaches still.
    pub open: bool,
    /// The first point in breach.
    #[serde(with = "instant")]
    pub started: Timestamp,
    /// The end of the breach.
    #[serde(default, with = "instant::option")]
    pub ended: Option<Timestamp>,
    /// The newest value.
    pub value: Option<f64>,
    /// Above the band or bound.
    pub upper: Option<Excursion>,
    /// Below it.
    pub lower: Option<Excursion>,
    /// How strange it was at most, in [0, 1].
    pub score: Option<f64>,
    /// The bound of a threshold.
    pub threshold: Option<f64>,
    /// The last point, of no data.
    #[serde(default, with = "instant::option")]
    pub last_seen: Option<Timestamp>,
    /// The season the detector found, in milliseconds.
    pub season: Option<u64>,
    /// Why it is closed.
    pub close_reason: Option<String>,
    /// Pages about it.
    #[serde(default)]
    pub links: Vec<Link>,
    /// Whatever else is known.
    #[serde(default)]
    pub details: Map<String, Json>,
}

/// What one monitor contributes to an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// The monitor's id.
    pub monitor: String,
    /// The ids of its triggers.
    #[serde(default)]
    pub triggers: Vec<String>,
    /// What the monitor looks for.
    pub kind: MonitorKind,
    /// How much it matters.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// More of it.
    #[serde(default)]
    pub description: String,
    /// Whether a series of it breaches still.
    pub open: bool,
    /// Labels of the monitor, ordered by name.
    #[serde(default)]
    pub labels: Vec<(String, String)>,
    /// The worst first, at most [`limits::AFFECTED`](crate::limits::AFFECTED).
    #[serde(default)]
    pub series: Vec<Series>,
    /// Series beyond those.
    #[serde(default)]
    pub left_out: u32,
    /// Pages about it.
    #[serde(default)]
    pub links: Vec<Link>,
}

/// Something users said had happened at about that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserEvent {
    /// One line.
    pub title: String,
    /// More of it.
    #[serde(default)]
    pub description: String,
    /// Who told.
    #[serde(default)]
    pub source: String,
    /// What sort of thing.
    #[serde(default)]
    pub category: String,
    /// When it began.
    #[serde(with = "instant")]
    pub started: Timestamp,
    /// When it was over.
    #[serde(default, with = "instant::option")]
    pub ended: Option<Timestamp>,
}

/// What is told of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incident {
    /// Stable over its life.
    pub id: String,
    /// One line.
    pub title: String,
    /// More of it.
    #[serde(default)]
    pub description: String,
    /// The highest of its alerts.
    pub severity: Severity,
    /// When it began.
    #[serde(with = "instant")]
    pub started: Timestamp,
    /// When it was over.
    #[serde(default, with = "instant::option")]
    pub ended: Option<Timestamp>,
    /// How long one point of its series gathers, in milliseconds.
    pub time_scale: Option<u64>,
    /// Ids of incidents that were merged into it.
    #[serde(default)]
    pub merged: Vec<String>,
    /// Who looks after it.
    pub assignee: Option<String>,
    /// Who said that it is known.
    pub acknowledged_by: Option<String>,
    /// What it is made of.
    #[serde(default)]
    pub alerts: Vec<Alert>,
    /// Pages about it.
    #[serde(default)]
    pub links: Vec<Link>,
    /// What happened at about that time.
    #[serde(default)]
    pub events: Vec<UserEvent>,
}

/// What is to be told to one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    /// What happened.
    pub event: Event,
    /// Counts what this channel is told of this incident, from 1.
    pub sequence: u32,
    /// The same for every attempt at this notification.
    pub idempotency_key: String,
    /// When what is told of came about.
    #[serde(with = "instant")]
    pub time: Timestamp,
    /// The organisation's name.
    pub organisation: String,
    /// What is told of.
    pub incident: Incident,
}

/// A notification that is none: the field and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the notification does not read: {0}")]
pub struct InvalidNotification(String);

impl Notification {
    /// A made-up one, whole in every part, to try a channel with. An opening, an update and a closing are of the same
    /// incident.
    #[must_use]
    pub fn sample(event: Event) -> Self {
        let begun = Timestamp::from_milliseconds(1_712_673_840_000).expect("a minute of 2024");
        Self::sample_of(event, begun)
    }

    /// The same of an incident that begins then.
    #[must_use]
    pub(crate) fn sample_of(event: Event, begun: Timestamp) -> Self {
        let at = |minutes: i64| begun.saturating_add(minutes * 60_000);
        let (sequence, now) = match event {
            Event::Opened | Event::Test => (1, 5),
            Event::Updated => (2, 15),
            Event::Closed => (3, 25),
        };
        let closed = event == Event::Closed;
        let link = |purpose, label: &str, page: &str| Link {
            purpose,
            label: label.to_owned(),
            url: format!("https://bellwether.example/{page}"),
        };
        let series = Series {
            id: "series-1".to_owned(),
            metric: "checkout.errors".to_owned(),
            tags: vec![("country".to_owned(), "de".to_owned()), ("host".to_owned(), "web-1".to_owned())],
            unit: Some("errors".to_owned()),
            open: !closed,
            started: at(0),
            ended: closed.then(|| at(25)),
            value: Some(if closed { 11.0 } else { 64.0 }),
            upper: Some(Excursion {
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
            links: vec![link(Purpose::Image, "checkout.errors", "images/series-1.png")],
            details: Map::new(),
        };
        let alert = Alert {
            monitor: "1".to_owned(),
            triggers: vec!["incident-1-1".to_owned()],
            kind: MonitorKind::Anomaly,
            severity: Severity::High,
            title: "Checkout fails more often than usual".to_owned(),
            description: "Errors of the checkout by country and host.".to_owned(),
            open: !closed,
            labels: vec![("team".to_owned(), "payments".to_owned())],
            series: vec![series],
            left_out: 0,
            links: vec![
                link(Purpose::Monitor, "Monitor", "monitors/1"),
                link(Purpose::Action, "Roll back", "actions/action-1"),
            ],
        };
        Self {
            event,
            sequence,
            idempotency_key: format!("incident-1.channel-1.{sequence}"),
            time: at(now),
            organisation: "Example".to_owned(),
            incident: Incident {
                id: "incident-1".to_owned(),
                title: "Checkout fails more often than usual".to_owned(),
                description: "64 errors a minute where 16 are usual.".to_owned(),
                severity: Severity::High,
                started: at(0),
                ended: closed.then(|| at(25)),
                time_scale: Some(60_000),
                merged: Vec::new(),
                assignee: None,
                acknowledged_by: None,
                alerts: vec![alert],
                links: vec![
                    link(Purpose::Incident, "Incident", "incidents/incident-1"),
                    link(Purpose::Investigation, "Investigate", "investigate/incident-1"),
                ],
                events: vec![UserEvent {
                    title: "Release 4.2".to_owned(),
                    description: "The checkout's new form.".to_owned(),
                    source: "deployments".to_owned(),
                    category: "release".to_owned(),
                    started: at(-2),
                    ended: None,
                }],
            },
        }
    }

    /// The made-up one with what `given` says otherwise: objects are merged, everything else is replaced, `null` takes
    /// a field away.
    ///
    /// # Errors
    /// If it is no notification then: names the field.
    pub fn of_json(given: &Json) -> Result<Self, InvalidNotification> {
        let event = match given.get("event") {
            None => Event::Opened,
            Some(event) => {
                Event::deserialize(event).map_err(|error| InvalidNotification(format!("event: {error}")))?
            }
        };
        let mut json = serde_json::to_value(Self::sample(event)).expect("a notification is plain data");
        merge(&mut json, given);
        serde_json::from_value(json).map_err(|error| InvalidNotification(error.to_string()))
    }
}

/// Merges JSON into JSON (RFC 7396).
fn merge(target: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Json::Object(Map::new());
    }
    let Json::Object(target) = target else { return };
    for (name, value) in patch {
        match value {
            Json::Null => drop(target.remove(name)),
            value => merge(target.entry(name.as_str()).or_insert(Json::Null), value),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_notification_written_down_is_read_back() {
        for event in [Event::Opened, Event::Updated, Event::Closed, Event::Test] {
            let sample = Notification::sample(event);
            let json = serde_json::to_value(&sample).expect("plain data");
            assert_eq!(serde_json::from_value::<Notification>(json).expect("the same"), sample);
        }
    }

    #[test]
    fn a_made_up_incident_began_when_it_is_said_to() {
        let begun = Timestamp::parse("2026-11-26T07:00:00Z").expect("an instant");
        let told = Notification::sample_of(Event::Test, begun);
        let after = |minutes: i64| begun.saturating_add(minutes * 60_000);
        let Incident { started, alerts, events, .. } = &told.incident;
        assert_eq!((*started, alerts[0].series[0].started, told.time), (begun, begun, after(5)));
        assert_eq!(events[0].started, after(-2));
    }

    #[test]
    fn a_made_up_one_names_its_monitor_and_trigger_as_a_real_one_does() {
        let incident = Notification::sample(Event::Test).incident;
        let alert = &incident.alerts[0];
        assert!(alert.monitor.parse::<crate::MonitorId>().is_ok(), "{}", alert.monitor);
        assert_eq!(alert.triggers, [crate::StoredIncident::trigger_of(&incident.id)]);
    }

    #[test]
    fn what_is_given_stands_in_the_place_of_what_is_made_up() {
        let given =
            json!({"event": "closed", "incident": {"title": "Mine", "links": [], "time_scale": null}});
        let notification = Notification::of_json(&given).expect("it is one");
        assert_eq!((notification.event, notification.sequence), (Event::Closed, 3));
        assert_eq!(notification.incident.title, "Mine");
        assert!(notification.incident.links.is_empty() && notification.incident.time_scale.is_none());
        assert_eq!(notification.incident.id, "incident-1");
        for (given, expected) in [
            (json!({"event": "exploded"}), "unknown variant `exploded`"),
            (json!({"incident": {"titel": "a"}}), "unknown field `titel`"),
            (json!({"time": "noon"}), "2024-04-09T14:44:00Z"),
            (json!([]), "expected struct Notification"),
        ] {
            let error = Notification::of_json(&given).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
