//! The JSON of a notification as Anodot's webhook channel has it, for receivers that read that: its variants for
//! anomalies, static thresholds and no data, and the extended form of anomalies. Numbers of seconds are texts there, as
//! its samples have them; `triggereIds` is spelt as it is spelt there.

use bellwether_sdk::formatter::{
    AffectedSeries, Alert, Event, Excursion, Incident, Kind, Link, Notification, Purpose, Severity, UserEvent,
};
use bellwether_sdk::formatting::{duration, number};
use bellwether_sdk::serde_json::{Value as Json, json};
use bellwether_sdk::{Date, Timestamp};

/// How long a bucket of events is, in seconds, as in the samples.
const BUCKET: i64 = 600;

/// The whole body.
pub(crate) fn of(notification: &Notification, extended: bool) -> Json {
    let incident = &notification.incident;
    let kind = incident.alerts.first().map_or(Kind::Anomaly, |alert| alert.kind);
    let mut body = json!({
        "subject": subject(notification),
        "severity": severity(incident.severity),
        "description": incident.description,
    });
    if kind == Kind::Anomaly {
        set(&mut body, "investigationUrl", link(&incident.links, Purpose::Investigation));
    }
    set(&mut body, "triageUrl", link(&incident.links, Purpose::Incident));
    body["startTime"] = format!("{} (UTC)", written(incident.started, kind)).into();
    body["startTimeEpoch"] = seconds(incident.started).into();
    body["alertGroupId"] = incident.id.as_str().into();
    if kind != Kind::Anomaly || extended {
        body["alertGroupStatus"] = status(incident.ended.is_none()).into();
    }
    if kind == Kind::Anomaly {
        body["anomalyId"] = incident.id.as_str().into();
        body["mergedAnomalies"] = format!("[{}]", incident.merged.join(", ")).into();
        set(&mut body, "timeScale", incident.time_scale.map(time_scale));
    }
    body["type"] = kind_name(kind).into();
    let alerts = incident.alerts.iter().map(|given| alert(given, incident, notification.time, extended));
    body["alerts"] = alerts.collect();
    body
}

/// Sets a field, if there is a value.
fn set(body: &mut Json, name: &str, value: Option<String>) {
    if let Some(value) = value {
        body[name] = value.into();
    }
}

/// `Alert Close: title[severity][the group's first characters]`; of several alerts
/// `(2 Alerts) Close: [title] and [title] [severity][the group's first characters]`.
fn subject(notification: &Notification) -> String {
    let incident = &notification.incident;
    let event = match notification.event {
        Event::Opened | Event::Test => "Open",
        Event::Updated => "Update",
        Event::Closed => "Close",
    };
    let group: String = incident.id.chars().take(5).collect();
    let ending = format!("[{}][{group}]", severity(incident.severity));
    match &incident.alerts[..] {
        [] | [_] => format!("Alert {event}: {}{ending}", incident.title),
        alerts => {
            let titles: Vec<String> = alerts.iter().map(|alert| format!("[{}]", alert.title)).collect();
            format!("({} Alerts) {event}: {} {ending}", alerts.len(), titles.join(" and "))
        }
    }
}

fn alert(alert: &Alert, incident: &Incident, now: i64, extended: bool) -> Json {
    let mut body = json!({ "title": alert.title });
    if alert.kind != Kind::Anomaly || extended {
        body["alertStatus"] = status(alert.open).into();
    }
    body["metrics"] = alert.series.iter().map(|series| metric(series, alert.kind, now, extended)).collect();
    let anomaly = extended && alert.kind == Kind::Anomaly;
    if anomaly {
        body["triggereIds"] = alert.triggers.clone().into();
    }
    body["events"] = events(&incident.events);
    if anomaly {
        let actions = alert.links.iter().filter(|link| link.purpose == Purpose::Action).map(|link| {
            json!({"name": link.label, "url": link.url, "buttonName": link.label, "type": "OUTSIDE_LINK"})
        });
        body["actions"] = actions.collect();
    }
    body["alertId"] = alert.monitor.as_str().into();
    set(&mut body, "alertSettingsUrl", link(&alert.links, Purpose::Monitor));
    body["description"] = alert.description.as_str().into();
    body["severity"] = severity(alert.severity).into();
    body
}

fn metric(series: &AffectedSeries, kind: Kind, now: i64, extended: bool) -> Json {
    let lasted = u64::try_from(series.ended.unwrap_or(now).saturating_sub(series.started)).unwrap_or(0);
    let mut body = json!({});
    if let (Kind::NoData, Some(seen)) = (kind, series.last_seen) {
        body["lastSeen"] = written(seen, kind).into();
        body["lastSeenEpoch"] = seconds(seen).into();
    }
    set(&mut body, "closeReasonPhrase", series.close_reason.clone());
    body["duration"] = duration(lasted).into();
    body["durationInSeconds"] = (lasted / 1000).to_string().into();
    body["startTime"] = format!("{} (UTC)", written(series.started, kind)).into();
    body["startTimeEpoch"] = seconds(series.started).into();
    if kind != Kind::NoData {
        body["imageUrl"] = link(&series.links, Purpose::Image).unwrap_or_default().into();
        excursions(&mut body, series, kind, extended);
    }
    if let (Kind::Anomaly, Some(score)) = (kind, series.score) {
        body["significance"] = ((score * 100.0).round() as i64).into();
    }
    body["name"] = name(series).into();
    if kind == Kind::Anomaly {
        body["id"] = series.id.as_str().into();
    }
    body["state"] = if series.open { "OPEN" } else { "CLOSED" }.into();
    match kind {
        Kind::Anomaly => body["season"] = series.season.map_or_else(|| "None".to_owned(), time_scale).into(),
        Kind::Threshold => body["threshold"] = series.threshold.into(),
        Kind::NoData => {}
    }
    body
}

/// Peak, direction and deltas: of both sides where there are both, `peak` and `delta` being the upper one's.
fn excursions(body: &mut Json, series: &AffectedSeries, kind: Kind, extended: bool) {
    let direction = match (&series.upper, &series.lower) {
        (Some(_), Some(_)) => "BOTH",
        (None, Some(_)) => "DOWN",
        (Some(_) | None, None) => "UP",
    };
    if let Some(first) = series.upper.as_ref().or(series.lower.as_ref()) {
        body["peak"] = number(first.peak).into();
        if kind == Kind::Anomaly {
            body["delta"] = first.delta_percentage.into();
        }
    }
    body["direction"] = direction.into();
    if kind != Kind::Anomaly {
        return;
    }
    for (side, given) in [("upper", &series.upper), ("lower", &series.lower)] {
        let Some(Excursion { peak, expected, delta, delta_percentage }) = given else { continue };
        body[format!("{side}Peak")] = number(*peak).into();
        body[format!("{side}PercentageDelta")] = (*delta_percentage).into();
        if extended {
            body[format!("{side}AbsoluteDelta")] = (*delta).into();
            // Of both sides, the lower one's stand here: the names are the same there.
            (body["from"], body["to"]) = ((*expected).into(), (*peak).into());
        }
    }
}

/// Such as `what=total_sales.country=us`.
fn name(series: &AffectedSeries) -> String {
    let tags = series.tags.iter().map(|(name, value)| format!(".{name}={value}"));
    format!("what={}{}", series.metric, tags.collect::<String>())
}

fn events(events: &[UserEvent]) -> Json {
    let mut buckets: Vec<(i64, Vec<Json>)> = Vec::new();
    for event in events {
        let start = event.started.div_euclid(1000);
        let end = start.saturating_add(BUCKET - 1).div_euclid(BUCKET) * BUCKET;
        let told = json!({
            "title": event.title,
            "description": event.description,
            "source": event.source,
            "category": event.category,
            "startDate": start.to_string(),
            "endDate": seconds(event.ended.unwrap_or(event.started)),
        });
        match buckets.iter_mut().find(|(date, _)| *date == end) {
            Some((_, events)) => events.push(told),
            None => buckets.push((end, vec![told])),
        }
    }
    buckets.sort_by_key(|(date, _)| std::cmp::Reverse(*date));
    let buckets: Vec<Json> = buckets
        .into_iter()
        .map(|(date, events)| {
            json!({"date": date.to_string(), "total": events.len().to_string(), "topEvents": events})
        })
        .collect();
    json!({"total": events.len().to_string(), "buckets": buckets})
}

fn link(links: &[Link], purpose: Purpose) -> Option<String> {
    links.iter().find(|link| link.purpose == purpose).map(|link| link.url.clone())
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Anomaly => "Anomaly",
        Kind::Threshold => "static",
        Kind::NoData => "No Data",
    }
}

fn status(open: bool) -> &'static str {
    if open { "open" } else { "close" }
}

fn severity(given: Severity) -> String {
    bellwether_sdk::formatting::severity(given).to_lowercase()
}

fn seconds(milliseconds: i64) -> String {
    milliseconds.div_euclid(1000).to_string()
}

/// Such as `1m`, `1h`, `1d` or `1w`: in the largest unit that divides it.
fn time_scale(milliseconds: u64) -> String {
    let units = [(604_800_000, "w"), (86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let whole = units.iter().find(|(unit, _)| milliseconds >= *unit && milliseconds.is_multiple_of(*unit));
    whole.map_or_else(|| duration(milliseconds), |(unit, name)| format!("{}{name}", milliseconds / unit))
}

/// `14 Nov, 2018 9:17AM` of an anomaly, `11/19/2016 22:27:00` of the others.
fn written(milliseconds: i64, kind: Kind) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Date { year, month, day } = Timestamp::from_milliseconds(milliseconds).date();
    let second = milliseconds.div_euclid(1000).rem_euclid(86_400);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    match kind {
        Kind::Anomaly => {
            let name = MONTHS[usize::from(month) - 1];
            let half = if hour < 12 { "AM" } else { "PM" };
            format!("{day} {name}, {year} {}:{minute:02}{half}", (hour + 11) % 12 + 1)
        }
        Kind::Threshold | Kind::NoData => {
            format!("{month:02}/{day:02}/{year} {hour:02}:{minute:02}:{:02}", second % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use bellwether_sdk::serde_json::Map;
    use bellwether_sdk::testing::{extremes, notification};

    use super::*;

    /// The names of an object's fields.
    fn fields(json: &Json) -> Vec<&str> {
        let mut fields: Vec<&str> =
            json.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
        fields.sort_unstable();
        fields
    }

    fn told(kind: Kind, event: Event) -> Notification {
        let mut told = notification(event);
        let incident = &mut told.incident;
        let investigation = Link {
            purpose: Purpose::Investigation,
            label: String::new(),
            url: "https://bellwether.example/i".to_owned(),
        };
        incident.links.push(investigation);
        let alert = &mut incident.alerts[0];
        alert.kind = kind;
        let monitor = Link {
            purpose: Purpose::Monitor,
            label: String::new(),
            url: "https://bellwether.example/m".to_owned(),
        };
        alert.links.push(monitor);
        let series = &mut alert.series[0];
        series.threshold = (kind == Kind::Threshold).then_some(50.0);
        series.last_seen = (kind == Kind::NoData).then_some(1_479_761_412_000);
        told
    }

    #[test]
    fn an_anomaly_has_the_fields_of_anodots_sample() {
        let body = of(&told(Kind::Anomaly, Event::Closed), false);
        assert_eq!(
            fields(&body),
            [
                "alertGroupId",
                "alerts",
                "anomalyId",
                "description",
                "investigationUrl",
                "mergedAnomalies",
                "severity",
                "startTime",
                "startTimeEpoch",
                "subject",
                "timeScale",
                "triageUrl",
                "type"
            ]
        );
        assert_eq!(body["subject"], "Alert Close: Checkout fails more often than usual[high][incid]");
        assert_eq!((&body["type"], &body["timeScale"]), (&json!("Anomaly"), &json!("1m")));
        assert_eq!(body["startTime"], "9 Apr, 2024 2:44PM (UTC)");
        let alert = &body["alerts"][0];
        assert_eq!(
            fields(alert),
            ["alertId", "alertSettingsUrl", "description", "events", "metrics", "severity", "title"]
        );
        let metric = &alert["metrics"][0];
        assert_eq!(
            metric,
            &json!({
                "closeReasonPhrase": "back in its band", "duration": "25m", "durationInSeconds": "1500",
                "startTime": "9 Apr, 2024 2:44PM (UTC)", "startTimeEpoch": "1712673840", "imageUrl": "",
                "peak": "64", "delta": 300.0, "direction": "UP", "upperPeak": "64",
                "upperPercentageDelta": 300.0, "significance": 97, "name": "what=checkout.errors.country=de",
                "id": "series-1", "state": "CLOSED", "season": "1d",
            })
        );
    }

    #[test]
    fn a_subject_of_several_alerts_names_each() {
        let mut told = told(Kind::Anomaly, Event::Closed);
        let other = Alert { title: "Two".to_owned(), ..told.incident.alerts[0].clone() };
        told.incident.alerts[0].title = "One".to_owned();
        told.incident.alerts.push(other);
        assert_eq!(of(&told, false)["subject"], "(2 Alerts) Close: [One] and [Two] [high][incid]");
    }

    #[test]
    fn the_extended_form_adds_what_anodots_adds() {
        let body = of(&told(Kind::Anomaly, Event::Opened), true);
        assert_eq!(body["alertGroupStatus"], "open");
        let alert = &body["alerts"][0];
        assert_eq!((&alert["alertStatus"], &alert["triggereIds"]), (&json!("open"), &json!(["trigger-1"])));
        let action = json!({
            "name": "Roll back", "url": "https://bellwether.example/actions/action-1", "buttonName": "Roll back",
            "type": "OUTSIDE_LINK",
        });
        assert_eq!(alert["actions"], json!([action]));
        let metric = &alert["metrics"][0];
        assert_eq!(
            (&metric["upperAbsoluteDelta"], &metric["from"], &metric["to"]),
            (&json!(48.0), &json!(16.0), &json!(64.0))
        );
    }

    #[test]
    fn thresholds_and_silence_have_forms_of_their_own() {
        let body = of(&told(Kind::Threshold, Event::Opened), true);
        assert_eq!(
            fields(&body),
            [
                "alertGroupId",
                "alertGroupStatus",
                "alerts",
                "description",
                "severity",
                "startTime",
                "startTimeEpoch",
                "subject",
                "triageUrl",
                "type"
            ]
        );
        assert_eq!(
            (&body["type"], &body["startTime"]),
            (&json!("static"), &json!("04/09/2024 14:44:00 (UTC)"))
        );
        assert_eq!(
            fields(&body["alerts"][0]["metrics"][0]),
            [
                "direction",
                "duration",
                "durationInSeconds",
                "imageUrl",
                "name",
                "peak",
                "startTime",
                "startTimeEpoch",
                "state",
                "threshold"
            ]
        );
        let body = of(&told(Kind::NoData, Event::Opened), false);
        assert_eq!(body["type"], "No Data");
        let metric = &body["alerts"][0]["metrics"][0];
        assert_eq!(
            fields(metric),
            [
                "duration",
                "durationInSeconds",
                "lastSeen",
                "lastSeenEpoch",
                "name",
                "startTime",
                "startTimeEpoch",
                "state"
            ]
        );
        assert_eq!(
            (&metric["lastSeen"], &metric["lastSeenEpoch"]),
            (&json!("11/21/2016 20:50:12"), &json!("1479761412"))
        );
    }

    #[test]
    fn events_are_in_buckets_of_ten_minutes_as_in_the_sample() {
        let event = |title: &str, started: i64| UserEvent {
            title: title.to_owned(),
            description: String::new(),
            source: "jenkins".to_owned(),
            category: "deployments".to_owned(),
            started: started * 1000,
            ended: None,
        };
        let told = events(&[event("1", 1_472_626_597), event("2", 1_472_625_982)]);
        assert_eq!(told["total"], "2");
        let dates: Vec<&Json> =
            told["buckets"].as_array().expect("buckets").iter().map(|bucket| &bucket["date"]).collect();
        assert_eq!(dates, ["1472626800", "1472626200"]);
        assert_eq!(told["buckets"][0]["topEvents"][0]["startDate"], "1472626597");
    }

    #[test]
    fn whatever_is_told_has_a_form() {
        for (name, told) in extremes() {
            let body = of(&told, true);
            assert_eq!(body["alertGroupId"], told.incident.id, "{name}");
        }
        assert_eq!(
            ["0", "43200000", "7200000"].map(|ms| time_scale(ms.parse().expect("a number"))),
            ["0s", "12h", "2h"]
        );
        let noon = [0, 43_200_000].map(|at| written(at, Kind::Anomaly));
        assert_eq!(noon, ["1 Jan, 1970 12:00AM", "1 Jan, 1970 12:00PM"]);
    }
}
