//! Documents: what reads, and what is told of those that do not.

use super::*;
use crate::monitor::Compiled;

fn faults(more: Json) -> Vec<String> {
    match Compiled::read(&cpu(more)) {
        Err(AlertError::Document(Faults(faults))) => faults.into_iter().map(|fault| fault.field).collect(),
        Err(other) => panic!("{other}"),
        Ok(_) => Vec::new(),
    }
}

#[test]
fn what_is_wrong_is_named_all_of_it() {
    for (more, fields) in [
        (json!({}), &[][..]),
        (json!({"name": "No Name"}), &["name"]),
        (json!({"name": "12"}), &["name"]),
        (json!({"window": "5s"}), &["window"]),
        (json!({"window": "5 moons"}), &["window"]),
        (json!({"step": "7s"}), &["step"]),
        (json!({"every": "1s"}), &["every"]),
        (json!({"thresholds": null}), &["thresholds"]),
        (json!({"thresholds": {"comparator": "=", "critical": 1}}), &["thresholds.comparator"]),
        (json!({"thresholds": {"comparator": ">", "critical": 90, "warning": 95}}), &["thresholds.warning"]),
        (json!({"thresholds": {"comparator": "<", "critical": 90, "warning": 80}}), &["thresholds.warning"]),
        (
            json!({"thresholds": {"comparator": ">", "critical": 90, "critical_recovery": 91, "warning_recovery": 3}}),
            &["thresholds.critical_recovery", "thresholds.warning_recovery"],
        ),
        (json!({"query": "avg:cpu{*"}), &["query (line 1, column 10)"]),
        (json!({"query": "1 + 1"}), &["query"]),
        (json!({"notify_by": ["zone"]}), &["notify_by[0]"]),
        (json!({"conditions": [{"type": "significance", "at_least": 0.5}]}), &["conditions[0].type"]),
        (json!({"conditions": [{"type": "delta"}]}), &["conditions[0]"]),
        (json!({"conditions": [{"type": "volume", "points": 5, "at_least": 1}]}), &["conditions[0].points"]),
        (json!({"conditions": [{"type": "duration", "at_least": "0s"}]}), &["conditions[0].at_least"]),
        (json!({"merge": {"by": ["team"]}}), &["merge.by[0]"]),
        (json!({"merge": {"by": ["host"], "within": "2d"}}), &["merge.within"]),
        (json!({"merge": {"by": ["host", "host"]}}), &["merge.by[1]"]),
        (json!({"merge": {"by": ["host"]}, "notify_by": []}), &["merge.by[0]"]),
        (json!({"channels": ["a", "a"]}), &["channels[1]"]),
        (json!({"kind": "anomaly", "thresholds": null}), &["detector"]),
        (json!({"kind": "no-data"}), &["thresholds"]),
        (json!({"colour": "red"}), &["colour"]),
        (json!({"renotify": {"every": "1s"}}), &["renotify.every"]),
        (json!({"name": "X", "every": "1s", "delay": "3d"}), &["name", "delay", "every"]),
        (
            json!({"name": "X", "query": "avg:cpu{*", "notify_by": ["zone"]}),
            &["name", "query (line 1, column 10)"],
        ),
        (
            json!({"notify_by": ["zone", "host", "rack"], "merge": {"by": ["a", "b"]},
                "events": {"query": "(", "by": ["c", "d"], "before": "8d"}}),
            &[
                "notify_by[0]",
                "notify_by[2]",
                "merge.by[0]",
                "merge.by[1]",
                "events.query (line 1, column 2)",
                "events.by[0]",
                "events.by[1]",
                "events.before",
            ],
        ),
        // What does not read comes first, and all of it.
        (
            json!({"kind": 5, "name": 7, "window": true, "colour": "red", "every": "1s", "channels": "ops"}),
            &["channels", "colour", "kind", "name", "window"],
        ),
        (
            json!({"name": null, "conditions": [{"type": "delta"}, {"type": "nothing"}, 3], "labels": {"a": 1}}),
            &["conditions[1].type", "labels.a", "name"],
        ),
    ] {
        let (mut found, mut fields) = (faults(more.clone()), fields.to_vec());
        found.sort();
        fields.sort_unstable();
        assert_eq!(found, fields, "{more}");
    }
}

#[test]
fn an_error_names_the_value_and_what_would_be_right() {
    let error = Compiled::read(&cpu(json!({"every": "1s"}))).unwrap_err().to_string();
    assert_eq!(error, "every is \"1s\", expected a span from 10s to 24h");
    let error = Compiled::read(&cpu(json!({"conditions": [{"type": "duration"}]}))).unwrap_err().to_string();
    assert_eq!(error, "conditions[0].at_least is \"\", expected to be there");
    for (more, error) in [
        (json!({"kind": "treshold"}), "kind is \"treshold\", expected one of threshold, no-data, anomaly"),
        (
            json!({"thresholds": {"comparator": ">", "critical": "90"}}),
            "thresholds.critical is \"90\", expected a number",
        ),
        (json!({"kind": 5}), "kind is \"5\", expected one of threshold, no-data, anomaly"),
        (json!({"window": 5}), "window is \"5\", expected a text: put it in quotes"),
        (json!({"thresholds": 90}), "thresholds is \"90\", expected an object"),
        (json!({"channels": "ops"}), "channels is \"ops\", expected a list"),
        (
            json!({"notify": {"opens": true}}),
            "notify.opens is \"true\", expected another name: one of open, update, close",
        ),
    ] {
        assert_eq!(Compiled::read(&cpu(more)).unwrap_err().to_string(), error);
    }
    let error = Compiled::read(&json!([])).unwrap_err().to_string();
    assert_eq!(error, "the document is \"[]\", expected an object");
    let error = Compiled::read(&json!({})).unwrap_err().to_string();
    let missing = ["kind", "name", "query"].map(|name| format!("{name} is \"\", expected to be there"));
    assert!(missing.iter().all(|missing| error.contains(missing)), "{error}");
}

#[test]
fn what_is_wrong_in_a_condition_is_named_with_its_value() {
    let duration = r#"is "-5m", expected one such as "30s", "5m" or "1h 30m""#;
    for (condition, error) in [
        (json!({"type": "duration", "at_least": "-5m"}), format!("conditions[0].at_least {duration}")),
        (json!({"at_least": "-5m", "type": "duration"}), format!("conditions[0].at_least {duration}")),
        (
            json!({"type": "duration", "at_least": 5}),
            "conditions[0].at_least is \"5\", expected a text: put it in quotes".to_owned(),
        ),
        (
            json!({"type": "volume", "points": 3, "at_least": 1, "at_most": "many"}),
            "conditions[0].at_most is \"many\", expected a number".to_owned(),
        ),
        (
            json!({"type": "direction", "side": "left"}),
            "conditions[0].side is \"left\", expected one of up, down, both".to_owned(),
        ),
    ] {
        let found = Compiled::read(&cpu(json!({"conditions": [condition]}))).unwrap_err().to_string();
        assert_eq!(found.replace('\\', ""), error);
    }
}

#[test]
fn what_a_no_data_monitor_cannot_have_is_shown() {
    let read = |more: Json| Compiled::read(&cpu(more)).unwrap_err().to_string();
    let error = read(json!({"kind": "no-data"}));
    assert!(error.contains("thresholds is") && error.contains("90"), "{error}");
    let detector = json!({"kind": "no-data", "thresholds": null, "detector": {"name": "bound"}});
    let error = read(detector);
    assert!(error.contains("detector is") && error.contains("bound"), "{error}");
    let policy = json!({"kind": "no-data", "thresholds": null, "missing_data": {"policy": "resolve"}});
    assert!(read(policy).contains("missing_data.policy is \"resolve\", expected none"));
}

#[tokio::test]
async fn a_document_that_contradicts_itself_is_refused_and_both_fields_are_named() {
    let world = World::new().await;
    let thresholds = |comparator: &str| json!({"comparator": comparator, "critical": 90});
    let side = |side: &str| json!([{"type": "direction", "side": side}]);
    for (comparator, sided, refused) in [
        (">", "down", true),
        (">=", "down", true),
        ("<", "up", true),
        (">", "up", false),
        ("<=", "down", false),
        ("<", "both", false),
    ] {
        let document = cpu(json!({"thresholds": thresholds(comparator), "conditions": side(sided)}));
        let made = world.alerts.create_monitor(&world.principal, &document).await;
        assert_eq!(made.is_err(), refused, "{comparator} {sided}");
        match made {
            Ok(_) => world.alerts.delete_monitor(&world.principal, "cpu").await.unwrap(),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("conditions[0].side is"), "{error}");
                assert!(error.contains("thresholds.comparator"), "{error}");
            }
        }
    }
    let detector = json!({"name": "bound", "recovery_points": 2, "recovery_window": "5m"});
    let document = cpu(json!({"kind": "anomaly", "thresholds": null, "detector": detector}));
    let error = world.alerts.create_monitor(&world.principal, &document).await.unwrap_err().to_string();
    assert!(
        error.contains("detector.recovery_points") && error.contains("detector.recovery_window"),
        "{error}"
    );
}

#[tokio::test]
async fn a_monitor_names_nothing_that_no_channel_can_be_called() {
    let world = World::new().await;
    let long = "c".repeat(33);
    for wrong in ["", "Ops Team", "ops/mail", &long] {
        let document = cpu(json!({"channels": ["ops", wrong]}));
        let error = world.alerts.create_monitor(&world.principal, &document).await.unwrap_err().to_string();
        let expected = format!("channels[1] is {wrong:?}, expected 1 to 32 characters of a-z, 0-9, _ and -");
        assert!(error.contains(&expected) && error.matches("channels[1]").count() == 1, "{error}");
    }
    // A channel may be made later than what names it.
    world.alerts.create_monitor(&world.principal, &cpu(json!({"channels": ["ops"]}))).await.unwrap();
}

#[test]
fn defaults_follow_the_window_and_the_kind() {
    for (more, every, step) in [
        (json!({"window": "1m"}), MINUTE, MINUTE),
        (json!({"window": "5m"}), MINUTE, MINUTE),
        (json!({"window": "23h"}), MINUTE, 5 * MINUTE),
        (json!({"window": "24h"}), 10 * MINUTE, 5 * MINUTE),
        (json!({"window": "2d"}), 30 * MINUTE, 10 * MINUTE),
        (json!({"window": "90s"}), MINUTE, 30_000),
        (json!({"every": "10s"}), 10_000, MINUTE),
    ] {
        let compiled = Compiled::read(&cpu(more.clone())).unwrap();
        assert_eq!((compiled.every, compiled.step), (every, step), "{more}");
    }
    let timeout = |more: Json| Compiled::read(&cpu(more)).unwrap().timeout / (60 * MINUTE);
    assert_eq!(timeout(json!({})), 7 * 24);
    assert_eq!(timeout(json!({"step": "1h", "window": "2h"})), 30 * 24);
    let anomaly = json!({"kind": "anomaly", "thresholds": null, "detector": {"name": "bound"}});
    assert_eq!(timeout(anomaly), 5);
}

#[test]
fn a_document_is_written_as_it_reads() {
    let full = json!({
        "title": "Load", "message": "Look at it.", "window": "10m", "delay": "30s", "reduce": "maximum",
        "conditions": [
            {"type": "duration", "at_least": "5m"}, {"type": "direction", "side": "up"},
            {"type": "delta", "percentage": 10.0}, {"type": "volume", "points": 3, "at_most": 4.0},
            {"type": "participating", "at_least": 50.0, "percentage": true},
        ],
        "missing_data": {"policy": "show-and-notify-no-data", "after": "30m"}, "timeout": "12h",
        "renotify": {"every": "1h", "times": 3, "statuses": ["warning"]}, "notify": {"update": true},
        "notify_by": [], "severity": "critical", "labels": {"team": "web"}, "require_full_window": true,
    });
    let monitor = Monitor::read(&cpu(full)).unwrap();
    let written = serde_json::to_value(&monitor).unwrap();
    assert_eq!(Monitor::read(&written).unwrap(), monitor);
    Compiled::new(monitor).unwrap();
}

/// What the repository shows people must read.
#[test]
fn the_examples_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/monitors");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let document = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        Compiled::read(&document).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        count += 1;
    }
    assert!(count >= 3);
}
