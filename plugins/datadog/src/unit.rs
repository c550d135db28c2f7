//! Units, as Datadog shows them beside a query's answer.

use bellwether_sdk::series::Metadata;
use serde::Serialize;

/// A unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Unit {
    family: &'static str,
    scale_factor: f64,
    name: String,
    short_name: String,
    plural: String,
}

/// Family, name, short name, and how many of the family's first it is.
const KNOWN: [(&str, &str, &str, f64); 29] = [
    ("bytes", "byte", "B", 1.0),
    ("bytes", "kibibyte", "KiB", 1024.0),
    ("bytes", "mebibyte", "MiB", 1_048_576.0),
    ("bytes", "gibibyte", "GiB", 1_073_741_824.0),
    ("bytes", "bit", "b", 0.125),
    ("time", "nanosecond", "ns", 1e-9),
    ("time", "microsecond", "μs", 1e-6),
    ("time", "millisecond", "ms", 1e-3),
    ("time", "second", "s", 1.0),
    ("time", "minute", "min", 60.0),
    ("time", "hour", "hr", 3600.0),
    ("time", "day", "day", 86_400.0),
    ("percentage", "percent", "%", 1.0),
    ("percentage", "fraction", "fraction", 100.0),
    ("network", "request", "req", 1.0),
    ("network", "connection", "conn", 1.0),
    ("network", "packet", "pkt", 1.0),
    ("network", "response", "rsp", 1.0),
    ("network", "message", "msg", 1.0),
    ("system", "process", "proc", 1.0),
    ("system", "core", "core", 1.0),
    ("system", "thread", "thread", 1.0),
    ("system", "host", "host", 1.0),
    ("db", "query", "query", 1.0),
    ("db", "row", "row", 1.0),
    ("general", "error", "err", 1.0),
    ("general", "event", "event", 1.0),
    ("general", "operation", "op", 1.0),
    ("temperature", "degree celsius", "°C", 1.0),
];

/// What a metric is measured in, and by what that is divided, each if it is known.
pub(crate) fn of(metadata: &Metadata) -> Option<[Option<Unit>; 2]> {
    let name = metadata.unit.as_deref()?;
    Some([Some(unit(name)), metadata.per_unit.as_deref().map(unit)])
}

fn unit(name: &str) -> Unit {
    let known = KNOWN.iter().find(|(_, known, ..)| *known == name);
    let (family, short_name, scale_factor) =
        known.map_or(("general", name, 1.0), |(family, _, short, scale)| (*family, *short, *scale));
    let plural = match name {
        "percent" => name.to_owned(),
        "query" => "queries".to_owned(),
        "process" => "processes".to_owned(),
        "degree celsius" => "degrees celsius".to_owned(),
        _ => format!("{name}s"),
    };
    Unit { family, scale_factor, name: name.to_owned(), short_name: short_name.to_owned(), plural }
}
