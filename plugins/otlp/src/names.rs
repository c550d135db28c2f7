//! What metrics, attributes and units are called here.
//!
//! By default as OpenTelemetry's "Prometheus and OpenMetrics compatibility" says: letters, digits and single underscores,
//! the unit as a word behind the name, `_total` behind a counter.

use std::borrow::Cow;

use crate::settings::Names;

/// What a metric's data says of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A gauge: one of the unit `1` is a ratio.
    Gauge,
    /// It counts from a beginning, and only up.
    Total,
    /// Nothing.
    None,
}

/// Units of UCUM that metrics have, and Prometheus' words for them.
const UNITS: [(&str, &str); 31] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tebibytes"),
    ("KBy", "kilobytes"),
    ("kBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("B", "bytes"),
    ("KB", "kilobytes"),
    ("MB", "megabytes"),
    ("GB", "gigabytes"),
    ("TB", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("%", "percent"),
];

/// What something is counted in the time of.
const PER: [(&str, &str); 7] = [
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// A tag of this name would be taken for the metric by whoever asks in PromQL.
const METRIC_LABEL: &str = "__name__";

fn word<'a>(words: &[(&str, &'static str)], unit: &'a str) -> &'a str {
    words.iter().find(|(symbol, _)| *symbol == unit).map_or(unit, |(_, word)| word)
}

/// The words of a unit, and of what it is per. What stands in braces says what is counted, and is no unit.
fn words(unit: &str) -> (&str, &str) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let bare = |unit: &str| !unit.contains(['{', '}']);
    let (main, per) = (main.trim(), per.trim());
    let main = if bare(main) && main != "1" { word(&UNITS, main) } else { "" };
    (main, if bare(per) { word(&PER, per) } else { "" })
}

/// What is left of a text between what no name may have in it.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == ':'))
        .filter(|token| !token.is_empty())
}

/// A metric's name. Empty if nothing of it can be in one.
pub(crate) fn metric<'a>(names: Names, name: &'a str, unit: &str, ending: Ending) -> Cow<'a, str> {
    if names == Names::OpenTelemetry {
        return Cow::Borrowed(name);
    }
    let mut all: Vec<&str> = tokens(name).collect();
    if all.is_empty() {
        return Cow::Borrowed("");
    }
    let (main, per) = words(unit);
    for token in tokens(main) {
        if !all.contains(&token) {
            all.push(token);
        }
    }
    if tokens(per).next().is_some_and(|per| !all.contains(&per)) {
        all.push("per");
        all.extend(tokens(per));
    }
    let last = match ending {
        Ending::Gauge if unit.trim() == "1" => Some("ratio"),
        Ending::Total => Some("total"),
        _ => None,
    };
    if let Some(last) = last {
        all.retain(|token| *token != last);
        all.push(last);
    }
    let joined = all.join("_");
    Cow::Owned(if joined.starts_with(|first: char| first.is_ascii_digit()) {
        format!("_{joined}")
    } else {
        joined
    })
}

/// The key of an attribute's tag. Empty if there is none.
pub(crate) fn attribute(names: Names, key: &str) -> Cow<'_, str> {
    match names {
        Names::Prometheus => label(key),
        Names::OpenTelemetry if key == METRIC_LABEL => label(key),
        // A colon ends a tag's key.
        Names::OpenTelemetry if key.contains(|letter: char| letter == ':' || letter.is_control()) => {
            Cow::Owned(key.replace(|letter: char| letter == ':' || letter.is_control(), "_"))
        }
        Names::OpenTelemetry => Cow::Borrowed(key),
    }
}

/// Letters, digits and single underscores; `key` or `key_` before what may not begin one.
fn label(key: &str) -> Cow<'_, str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins = key.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
    if key.is_empty() || begins && key.bytes().all(fits) && !key.contains("__") {
        return Cow::Borrowed(key);
    }
    let mut label = String::with_capacity(key.len() + 4);
    for letter in key.chars() {
        match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' => label.push(letter),
            _ if label.ends_with('_') => {}
            _ => label.push('_'),
        }
    }
    match label.as_bytes() {
        [b'0'..=b'9', ..] => label.insert_str(0, "key_"),
        [b'_', ..] => label.insert_str(0, "key"),
        _ => {}
    }
    Cow::Owned(label)
}

/// What is kept as a metric's unit: words where there are some, else what stands in braces, or the unit itself.
pub(crate) fn unit(unit: &str) -> Option<String> {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let said = |unit: &str| unit.trim().trim_start_matches('{').trim_end_matches('}').to_owned();
    let (main, per) = (said(word(&UNITS, main.trim())), said(word(&PER, per.trim())));
    match (main.as_str(), per.as_str()) {
        ("" | "1", "") => None,
        (_, "") => Some(main),
        ("" | "1", _) => Some(format!("per {per}")),
        _ => Some(format!("{main} per {per}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_metric_is_called_as_prometheus_would_call_it() {
        use Ending::{Gauge, None, Total};
        for (name, unit, ending, expected) in [
            ("http.server.request.duration", "s", None, "http_server_request_duration_seconds"),
            ("http.server.active_requests", "{request}", None, "http_server_active_requests"),
            ("system.cpu.time", "s", Total, "system_cpu_time_seconds_total"),
            ("system.cpu.utilization", "1", Gauge, "system_cpu_utilization_ratio"),
            ("system.cpu.utilization", "1", None, "system_cpu_utilization"),
            ("process.memory.usage", "By", None, "process_memory_usage_bytes"),
            ("network.io", "By/s", Gauge, "network_io_bytes_per_second"),
            ("orders", "{order}/min", Gauge, "orders_per_min"),
            ("requests.total", "1", Total, "requests_total"),
            ("total.requests", "", Total, "requests_total"),
            ("wait.seconds", "s", Total, "wait_seconds_total"),
            ("a..b--c", "", Gauge, "a_b_c"),
            ("_x_", "", Gauge, "x"),
            ("2xx", "", Gauge, "_2xx"),
            ("job:rate", "", Gauge, "job:rate"),
            ("größe", "widgets", Gauge, "gr_e_widgets"),
            ("ж", "s", Gauge, ""),
            ("", "s", Gauge, ""),
        ] {
            assert_eq!(metric(Names::Prometheus, name, unit, ending), expected, "{name} in {unit}");
            assert_eq!(metric(Names::OpenTelemetry, name, unit, ending), name);
        }
    }

    #[test]
    fn an_attribute_is_a_label_or_stays_what_it_is() {
        for (key, label, unchanged) in [
            ("http.route", "http_route", "http.route"),
            ("host", "host", "host"),
            ("k8s.pod.labels.a/b", "k8s_pod_labels_a_b", "k8s.pod.labels.a/b"),
            ("a__b", "a_b", "a__b"),
            ("_a", "key_a", "_a"),
            ("0a", "key_0a", "0a"),
            ("a:b\n", "a_b_", "a_b_"),
            ("ä", "key_", "ä"),
            ("__name__", "key_name_", "key_name_"),
            ("", "", ""),
        ] {
            assert_eq!(attribute(Names::Prometheus, key), label);
            assert_eq!(attribute(Names::OpenTelemetry, key), unchanged);
        }
    }

    #[test]
    fn a_unit_is_told_in_words() {
        for (given, expected) in [
            ("s", Some("seconds")),
            ("By/s", Some("bytes per second")),
            ("{request}", Some("request")),
            ("{request}/m", Some("request per minute")),
            ("1", None),
            ("", None),
            ("1/s", Some("per second")),
            ("widgets", Some("widgets")),
        ] {
            assert_eq!(unit(given).as_deref(), expected, "{given}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_its_name_and_label_are_ones(text in ".{0,40}", unit in ".{0,8}") {
            let name = metric(Names::Prometheus, &text, &unit, Ending::Total);
            let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
            prop_assert!(name.chars().all(fits) && !name.contains("__") && !name.starts_with(char::is_numeric), "{}", name);
            let label = attribute(Names::Prometheus, &text);
            prop_assert!(label.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_'));
            prop_assert!(!label.contains("__") && !label.starts_with(|first: char| !first.is_ascii_alphabetic()));
            prop_assert_eq!(label.is_empty(), text.is_empty());
        }
    }
}
