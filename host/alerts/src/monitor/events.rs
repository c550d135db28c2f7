//! Which events belong to the incidents of a monitor: what its document says of them, and whether one does.

use bellwether_kernel::FieldError;
use bellwether_records::{Content, Query, Record, RecordError, parse};
use bellwether_series::{Expression, Filter, TagPattern};
use serde::{Deserialize, Serialize};

use super::Monitor;
use crate::{Period, StoredIncident, limits};

/// The tag of an event that says what sort of thing it is: no scope, so that nothing contradicts it.
pub(crate) const CATEGORY: &str = "category";

/// Which events belong to the incidents of a monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventChoice {
    /// Which, in the language of a search of events; all by default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// Names of tags it notifies by or its query asks for, or of its labels: an event has the same values. By default an
    /// event has one of the incident's tags and contradicts none, or has no tags at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Vec<String>>,
    /// How long before the first breach they may have happened; by default an hour, or the window where that is longer, a
    /// day at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Period>,
    /// Whether channels are told of them.
    #[serde(default = "yes")]
    pub tell: bool,
}

fn yes() -> bool {
    true
}

/// The same, ready.
#[derive(Clone, Debug)]
pub(crate) struct EventRule {
    query: Query,
    by: Option<Vec<String>>,
    /// The tags its query asks all its series for.
    scope: Vec<(String, String)>,
    /// The metrics it looks at.
    pub(crate) metrics: Vec<String>,
    /// How long before the first breach, in milliseconds.
    pub(crate) before: i64,
    /// Whether channels are told.
    pub(crate) tell: bool,
}

/// Of a monitor that is not there any more.
impl Default for EventRule {
    fn default() -> Self {
        let (scope, metrics, before) = (Vec::new(), Vec::new(), limits::EVENTS_BEFORE.milliseconds());
        Self { query: Query::All, by: None, scope, metrics, before, tell: true }
    }
}

impl EventRule {
    /// Reads what a document says; `told_by` are the tags it notifies by. Names everything that is wrong.
    pub(super) fn read(
        monitor: &Monitor,
        expression: &Expression,
        told_by: &[String],
    ) -> Result<Self, Vec<FieldError>> {
        let mut rule = Self {
            scope: scope(expression).unwrap_or_default(),
            metrics: expression.metrics().into_iter().map(Into::into).collect(),
            before: monitor.window.clamp(limits::EVENTS_BEFORE, Period::days(1)).milliseconds(),
            ..Self::default()
        };
        let Some(choice) = &monitor.events else { return Ok(rule) };
        let mut faults = Vec::new();
        let length = choice.query.chars().count();
        if length > limits::MESSAGE {
            let expected = format!("at most {} characters", limits::MESSAGE);
            faults.push(FieldError::new("events.query", format!("{length} characters"), expected));
        } else {
            match parse(&choice.query) {
                Ok(query) => rule.query = query,
                Err(error) => faults.push(query_fault(&choice.query, &error)),
            }
        }
        for (at, name) in choice.by.iter().flatten().enumerate() {
            let asked = rule.scope.iter().map(|(key, _)| key);
            let mut known = told_by.iter().chain(asked).chain(monitor.labels.keys());
            if !known.any(|known| known == name) {
                let expected = "a tag it notifies by or its query asks for, or one of its labels";
                faults.push(FieldError::new(format!("events.by[{at}]"), name, expected));
            }
        }
        rule.by.clone_from(&choice.by);
        if let Some(before) = choice.before {
            if !(Period::default()..=Period::days(7)).contains(&before) {
                faults.push(FieldError::new("events.before", before, "a span from 0s to 7d"));
            }
            rule.before = before.milliseconds();
        }
        rule.tell = choice.tell;
        if faults.is_empty() { Ok(rule) } else { Err(faults) }
    }

    /// What an event is held against: the tags of an incident, and those its monitor's query asks for.
    pub(crate) fn subject(&self, incident: &StoredIncident) -> Subject {
        let tags = incident.tags.iter().filter(|(_, value)| !value.is_empty());
        let mut all: Vec<_> = tags.cloned().collect();
        let further = self.scope.iter().filter(|(key, _)| incident.tags.iter().all(|(own, _)| own != key));
        all.extend(further.cloned());
        let Some(by) = &self.by else { return Subject::Agreeing(all) };
        all.extend(incident.labels.iter().cloned());
        let value = |name: &String| all.iter().find(|(key, _)| key == name).cloned();
        by.iter().map(value).collect::<Option<_>>().map_or(Subject::Nothing, Subject::Same)
    }

    /// Whether an event belongs to an incident by what it says.
    pub(crate) fn wants(&self, subject: &Subject, record: &Record) -> bool {
        subject.is_of(&record.content) && self.query.matches(record)
    }
}

/// What an event must say to belong to an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// One of these, and the contrary of none; or nothing at all of what it is about.
    Agreeing(Vec<(String, String)>),
    /// All of these.
    Same(Vec<(String, String)>),
    /// What no event says: the incident has no value of a tag that must be the same.
    Nothing,
}

impl Subject {
    fn is_of(&self, content: &Content) -> bool {
        match self {
            Self::Nothing => false,
            Self::Same(tags) => {
                tags.iter().all(|(key, value)| content.values(key).any(|own| own == value.as_str()))
            }
            Self::Agreeing(tags) => {
                let mut shares = tags.is_empty();
                for (key, value) in tags {
                    let mut own = content.values(key).peekable();
                    if own.peek().is_none() {
                        continue;
                    }
                    if !own.any(|own| own == value.as_str()) {
                        return false;
                    }
                    shares = true;
                }
                shares || is_of_everything(content)
            }
        }
    }
}

/// Whether it says nothing of what it is about: a holiday, a failure of the whole network.
fn is_of_everything(content: &Content) -> bool {
    let pair = |tag: &String| tag.split_once(':').is_some_and(|(key, _)| key != CATEGORY);
    content.service.is_empty() && content.host.is_empty() && !content.tags.iter().any(pair)
}

/// The tags all series of an expression have, since its filters ask for them; `None` of a number.
fn scope(expression: &Expression) -> Option<Vec<(String, String)>> {
    match expression {
        Expression::Number(_) => None,
        Expression::Apply(_, argument) => scope(argument),
        Expression::Select(selection) => {
            let mut tags = Vec::new();
            asked(&selection.filter, &mut tags);
            Some(tags)
        }
        Expression::Binary(_, left, right) => match (scope(left), scope(right)) {
            (Some(mut left), Some(right)) => {
                left.retain(|tag| right.contains(tag));
                Some(left)
            }
            (left, right) => left.or(right),
        },
    }
}

fn asked(filter: &Filter, tags: &mut Vec<(String, String)>) {
    match filter {
        Filter::Tag(key, TagPattern::Exact(value)) => tags.push((key.clone(), value.clone())),
        Filter::And(all) => all.iter().for_each(|filter| asked(filter, tags)),
        _ => {}
    }
}

fn query_fault(query: &str, error: &RecordError) -> FieldError {
    match error {
        RecordError::Syntax { line, column, message } => {
            let message = message.trim_start_matches("expected ");
            FieldError::new(format!("events.query (line {line}, column {column})"), query, message)
        }
        other => FieldError::new("events.query", query, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use bellwether_kernel::{RecordId, Timestamp};
    use serde_json::json;

    use super::*;
    use crate::{Incident, Notification, monitor::Compiled};

    /// An incident of host a with that label, and the rule of its monitor.
    fn rule(query: &str, events: &serde_json::Value) -> (Subject, EventRule) {
        let document = json!({
            "name": "cpu", "kind": "threshold", "query": query, "labels": {"team": "web"},
            "thresholds": {"comparator": ">", "critical": 90}, "events": events,
        });
        let compiled = Compiled::read(&document).unwrap();
        let told: Incident = Notification::sample(crate::Event::Opened).incident;
        let mut incident = StoredIncident::sample(&told);
        incident.tags = vec![("host".into(), "a".into()), ("zone".into(), String::new())];
        incident.tags.truncate(compiled.notify_by.len());
        incident.labels = vec![("team".into(), "web".into())];
        let rule = EventRule::clone(&compiled.events);
        (rule.subject(&incident), rule)
    }

    fn event(tags: &[&str], service: &str, host: &str) -> Record {
        let content = Content {
            time: Timestamp::MIN,
            title: "Deployed 1.4".into(),
            service: service.into(),
            host: host.into(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..Content::default()
        };
        Record { id: RecordId(1), content }
    }

    #[test]
    fn an_event_belongs_that_shares_a_tag_and_contradicts_none_or_is_about_everything() {
        let query = "avg:cpu{env:prod AND NOT rack:r1} by {host,zone}";
        for (events, tags, service, host, belongs) in [
            (json!(null), &["host:a"][..], "", "", true),
            (json!(null), &[], "", "a", true),
            (json!(null), &["env:prod"], "shop", "", true),
            (json!(null), &["host:b", "host:a"], "", "", true),
            (json!(null), &["host:b"], "", "", false),
            (json!(null), &["host:a", "env:dev"], "", "", false),
            (json!(null), &["env:prod"], "", "b", false),
            // Of something else, or of nothing that says so: only the second is about everything.
            (json!(null), &[], "shop", "", false),
            (json!(null), &["rack:r2"], "", "", false),
            (json!(null), &["urgent", "category:holiday"], "", "", true),
            (json!({"by": []}), &["host:b"], "", "", true),
            (json!({"by": ["env"]}), &["env:prod", "host:b"], "", "", true),
            (json!({"by": ["env"]}), &[], "", "", false),
            (json!({"by": ["team", "host"]}), &["team:web"], "", "a", true),
            (json!({"by": ["team", "host"]}), &["team:web"], "", "", false),
            // It has no zone, so no event has the same.
            (json!({"by": ["zone"]}), &["zone:"], "", "", false),
            (json!({"query": "title:deployed service:shop"}), &["env:prod"], "shop", "", true),
            (json!({"query": "title:deployed service:shop"}), &["env:prod"], "api", "", false),
        ] {
            let (subject, rule) = rule(query, &events);
            let record = event(tags, service, host);
            assert_eq!(rule.wants(&subject, &record), belongs, "{events} {tags:?} {service:?} {host:?}");
        }
        let (subject, rule) = rule("avg:cpu{*}", &json!(null));
        assert!(rule.wants(&subject, &event(&["host:b"], "shop", "c")), "an incident without tags takes all");
    }

    #[test]
    fn the_tags_a_query_asks_for_are_those_all_its_series_have() {
        for (query, expected) in [
            ("avg:a{env:prod,service:shop}", &["env:prod", "service:shop"][..]),
            ("avg:a{env:prod OR env:dev}", &[]),
            ("avg:a{env:p*}", &[]),
            ("100 * avg:a{env:prod,x:y} / avg:b{env:prod}", &["env:prod"]),
            ("abs(avg:a{env:prod})", &["env:prod"]),
        ] {
            let (subject, _) = rule(query, &json!(null));
            let tags = expected.iter().filter_map(|tag| tag.split_once(':'));
            let expected = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            assert_eq!(subject, Subject::Agreeing(expected), "{query}");
        }
    }

    #[test]
    fn what_a_document_says_of_events_is_checked_and_has_defaults_that_follow_the_window() {
        let read = |window: &str, events: serde_json::Value| {
            Compiled::read(&json!({
                "name": "cpu", "kind": "threshold", "query": "avg:cpu{env:prod} by {host}", "window": window,
                "thresholds": {"comparator": ">", "critical": 90}, "events": events,
            }))
        };
        for (window, events, hours) in [
            ("5m", json!(null), 1),
            ("4h", json!({"tell": false}), 4),
            ("2d", json!(null), 24),
            ("5m", json!({"before": "3d"}), 72),
        ] {
            let rule = read(window, events).unwrap().events;
            assert_eq!(rule.before, Period::hours(hours).milliseconds(), "{window}");
        }
        for (events, expected) in [
            (json!({"query": "(deploy"}), "events.query (line 1, column"),
            (json!({"query": "x".repeat(2001)}), "at most 2000 characters"),
            (json!({"by": ["host", "service"]}), "events.by[1]"),
            (json!({"before": "8d"}), "events.before"),
            (json!({"within": "1h"}), "events.within is \"1h\", expected another name: one of query"),
        ] {
            let error = read("5m", events).map(drop).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
