//! From a breach to an incident and back.

use super::*;

#[tokio::test]
async fn a_breach_opens_an_incident_and_its_end_closes_it_and_both_are_told_once() {
    let world = World::new().await;
    world.create(cpu(json!({"title": "Load", "labels": {"team": "web"}}))).await;
    world.live(0, &[("a", 50.0), ("b", 50.0)]).await;
    assert!(world.incidents().await.is_empty());
    world.live(1, &[("a", 95.0), ("b", 50.0)]).await;
    world.live(2, &[("a", 99.0), ("b", 50.0)]).await;
    let [incident] = &world.incidents().await[..] else { panic!("one is open") };
    assert_eq!((incident.title.as_str(), incident.started, incident.opened), ("Load: host:a", at(1), at(2)));
    assert!(incident.is_open() && incident.severity == Severity::High);
    world.live(3, &[("a", 50.0), ("b", 50.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
    let [incident] = &world.incidents().await[..] else { panic!("it is kept") };
    assert_eq!((incident.closed, incident.close_reason.as_deref()), (Some(at(4)), Some("recovered")));
    let intervals = world.alerts.incident_intervals(OURS, incident.id, 10).await.unwrap();
    let [interval] = &intervals[..] else { panic!("one breach") };
    let upper = interval.upper.unwrap();
    assert_eq!((upper.peak, upper.expected, upper.delta), (99.0, Some(90.0), Some(9.0)));
    assert_eq!((interval.sum_of_deltas, interval.direction), (14.0, Some(Direction::Up)));
    // A recurrence is another one.
    world.live(4, &[("a", 95.0)]).await;
    let all = world.incidents().await;
    assert_eq!(all.len(), 2);
    assert_ne!(all[0].trigger(), all[1].trigger());
    assert!(all[0].id > all[1].id, "ids sort by when they opened");
    let whole = world.told_whole().await;
    let told: Incident = serde_json::from_value(whole[0][1]["whole"].clone()).unwrap();
    assert_eq!((told.ended, told.alerts[0].open, told.alerts[0].series.len()), (Some(at(4)), false, 1));
    assert_eq!(told.alerts[0].labels, [("team".to_owned(), "web".to_owned())]);
}

#[tokio::test]
async fn series_of_one_tuple_share_an_incident_and_updates_are_told_where_wanted() {
    let world = World::new().await;
    world.create(cpu(json!({"notify_by": [], "notify": {"update": true}}))).await;
    world.live(0, &[("a", 95.0), ("b", 50.0)]).await;
    world.live(1, &[("a", 95.0), ("b", 97.0)]).await;
    world.live(2, &[("a", 50.0), ("b", 97.0)]).await;
    world.live(3, &[("a", 50.0), ("b", 97.0)]).await;
    world.live(4, &[("a", 50.0), ("b", 50.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "updated 2", "updated 3", "closed 4"]]);
    let told: Incident = serde_json::from_value(world.told_whole().await[0][3]["whole"].clone()).unwrap();
    assert_eq!(told.alerts[0].series.len(), 2, "all that were in it");
}

#[tokio::test]
async fn a_warning_that_becomes_an_alert_is_told_and_recovery_thresholds_hold_it() {
    let world = World::new().await;
    let thresholds = json!({"comparator": ">", "critical": 90, "warning": 70, "critical_recovery": 80, "warning_recovery": 60});
    world.create(cpu(json!({"thresholds": thresholds}))).await;
    let mut minute = 0;
    for (value, level) in [
        (75.0, Level::Warning),
        (95.0, Level::Alert),
        (85.0, Level::Alert),
        (65.0, Level::Warning),
        (60.0, Level::Ok),
    ] {
        minute = world.live(minute, &[("a", value)]).await;
        let series = world.alerts.monitor_series(OURS, "cpu", &PageRequest::first(100)).await.unwrap().items;
        assert_eq!(series[0].level, level, "{value}");
    }
    assert_eq!(world.told().await, [["opened 1", "updated 2", "closed 3"]]);
}

#[tokio::test]
async fn a_duration_is_waited_for_and_a_recovery_before_it_cancels_silently() {
    let world = World::new().await;
    world.create(cpu(json!({"conditions": [{"type": "duration", "at_least": "3m"}]}))).await;
    let mut minute = 0;
    for value in [95.0, 95.0, 50.0, 95.0, 95.0] {
        minute = world.live(minute, &[("a", value)]).await;
        assert!(world.incidents().await.is_empty());
    }
    world.live(minute, &[("a", 95.0)]).await;
    let [incident] = &world.incidents().await[..] else { panic!("it is open") };
    assert_eq!((incident.started, incident.opened), (at(3), at(6)), "the first breach, and when it was told");
    let trace = world.alerts.monitor_trace(OURS, "cpu", &PageRequest::first(10)).await.unwrap().items;
    let held: Vec<&str> =
        trace.iter().flat_map(|decision| &decision.lines).map(|line| line.what.as_str()).collect();
    assert!(held.contains(&"held") && held.contains(&"told"), "{held:?}");
}

#[tokio::test]
async fn conditions_are_anded_and_say_what_they_miss() {
    for (condition, values, opens) in [
        (json!({"type": "delta", "absolute": 5}), (94.0, 95.0), (false, true)),
        (json!({"type": "delta", "percentage": 10}), (98.0, 99.0), (false, true)),
        (json!({"type": "volume", "points": 1, "at_least": 96}), (95.0, 96.0), (false, true)),
        (json!({"type": "volume", "points": 1, "at_most": 96}), (97.0, 96.0), (false, true)),
        (json!({"type": "direction", "side": "up"}), (95.0, 99.0), (true, true)),
        (json!({"type": "participating", "at_least": 2}), (95.0, 95.0), (false, false)),
        (json!({"type": "participating", "at_least": 50, "percentage": true}), (95.0, 95.0), (true, true)),
        (json!({"type": "participating", "at_most": 40, "percentage": true}), (95.0, 95.0), (false, false)),
    ] {
        let world = World::new().await;
        world.create(cpu(json!({"conditions": [condition]}))).await;
        world.live(0, &[("a", values.0), ("b", 10.0)]).await;
        assert_eq!(!world.incidents().await.is_empty(), opens.0, "{condition} at {}", values.0);
        world.live(1, &[("a", values.1), ("b", 10.0)]).await;
        assert_eq!(!world.incidents().await.is_empty(), opens.1, "{condition} at {}", values.1);
    }
}

#[tokio::test]
async fn versions_are_kept_and_a_change_somebody_else_made_is_not_overwritten() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    let (alerts, principal) = (&world.alerts, &world.principal);
    let changed = cpu(json!({"message": "Now."}));
    let second = alerts.replace_monitor(principal, "cpu", &changed, Some(1)).await.unwrap();
    assert_eq!(second.version, 2);
    let error = alerts.replace_monitor(principal, "cpu", &cpu(json!({})), Some(1)).await.unwrap_err();
    assert!(matches!(error, AlertError::Conflict(_)), "{error}");
    // The same document again is no version.
    assert_eq!(alerts.replace_monitor(principal, "cpu", &changed, None).await.unwrap().version, 2);
    let versions = alerts.monitor_versions(OURS, "cpu", &PageRequest::first(10)).await.unwrap().items;
    let messages: Vec<&str> = versions.iter().map(|version| version.document.message.as_str()).collect();
    assert_eq!(messages, ["Now.", ""]);
    let error = alerts.create_monitor(principal, &cpu(json!({}))).await.unwrap_err();
    assert!(matches!(error, AlertError::Exists { .. }), "{error}");
    let renamed = cpu(json!({"name": "load"}));
    alerts.replace_monitor(principal, "cpu", &renamed, None).await.unwrap();
    assert!(matches!(alerts.monitor(OURS, "cpu").await, Err(AlertError::NotFound { .. })));
    assert_eq!(alerts.monitor(OURS, "load").await.unwrap().version, 3);
}

#[tokio::test]
async fn a_change_of_what_is_looked_at_and_a_deletion_close_what_is_open() {
    for deleted in [false, true] {
        let world = World::new().await;
        world.create(cpu(json!({}))).await;
        world.live(0, &[("a", 95.0)]).await;
        let (alerts, principal) = (&world.alerts, &world.principal);
        let reason = if deleted {
            alerts.delete_monitor(principal, "cpu").await.unwrap();
            "monitor-deleted"
        } else {
            let other = cpu(json!({"query": "max:cpu{*} by {host}"}));
            alerts.replace_monitor(principal, "cpu", &other, None).await.unwrap();
            "monitor-changed"
        };
        assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
        let incident = &world.incidents().await[0];
        assert_eq!(incident.close_reason.as_deref(), Some(reason));
        world.live(1, &[("a", 95.0)]).await;
        assert_eq!(world.incidents().await.len(), if deleted { 1 } else { 2 });
    }
}

#[tokio::test]
async fn a_paused_monitor_is_not_evaluated_and_goes_on_where_it_was() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.live(0, &[("a", 95.0)]).await;
    let paused = world.alerts.pause_monitor(&world.principal, "cpu", true).await.unwrap();
    assert!(paused.next_due.is_none() && paused.document.paused);
    world.live(1, &[("a", 50.0)]).await;
    assert!(world.incidents().await[0].is_open());
    world.alerts.pause_monitor(&world.principal, "cpu", false).await.unwrap();
    world.live(2, &[("a", 50.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
}

#[tokio::test]
async fn two_hosts_that_evaluate_at_once_open_one_incident() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    let other = world.beside();
    for minute in 0..6 {
        world.figures.put("a", at(minute), if minute % 2 == 0 { 95.0 } else { 5.0 });
        world.clock.set(at(minute + 1));
        let (one, two) =
            tokio::join!(world.alerts.evaluate_due(at(minute + 1)), other.evaluate_due(at(minute + 1)));
        one.unwrap();
        two.unwrap();
    }
    assert_eq!(world.told().await, [["opened 1", "closed 2"]; 3]);
}

#[tokio::test]
async fn a_host_that_stood_still_commits_nothing_over_what_another_did_since() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.evaluate(0).await;
    world.figures.put("a", at(0), 50.0);
    world.figures.put("a", at(1), 95.0);
    let gate = Arc::new(Notify::new());
    *world.figures.1.lock() = Some(gate.clone());
    world.clock.set(at(1));
    let stalled = world.alerts.clone();
    let stalled = tokio::spawn(async move { stalled.evaluate_due(at(1)).await });
    while world.figures.1.lock().is_some() {
        tokio::task::yield_now().await;
    }
    world.clock.set(at(2));
    world.beside().evaluate_due(at(2)).await.unwrap();
    assert_eq!(world.told().await, [["opened 1"]]);
    gate.notify_one();
    stalled.await.unwrap().unwrap();
    let series = world.alerts.monitor_series(OURS, "cpu", &PageRequest::first(1)).await.unwrap().items;
    assert_eq!(series[0].level, Level::Alert, "what it saw is of before");
    assert_eq!(world.alerts.monitor(OURS, "cpu").await.unwrap().next_due, Some(at(3)));
    world.live(2, &[("a", 50.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
}

#[tokio::test]
async fn what_does_not_answer_is_a_problem_of_its_monitor_alone_and_is_tried_at_the_next_time() {
    let world = World::new().await;
    world.create(cpu(json!({"name": "broken", "query": "avg:broken{*}"}))).await;
    world.create(cpu(json!({}))).await;
    world.live(0, &[("a", 95.0)]).await;
    assert_eq!(world.incidents().await.len(), 1);
    let broken = world.alerts.monitor(OURS, "broken").await.unwrap();
    assert!(broken.problem.unwrap().contains("series in one query"));
    assert_eq!(broken.next_due, Some(at(2)));
}

#[tokio::test]
async fn times_that_were_missed_are_passed_over() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.evaluate(0).await;
    world.figures.put("a", at(9), 95.0);
    world.evaluate(10).await;
    let monitor = world.alerts.monitor(OURS, "cpu").await.unwrap();
    assert_eq!((monitor.evaluated, monitor.next_due), (Some(at(10)), Some(at(11))));
    assert_eq!(world.incidents().await.len(), 1);
}

#[tokio::test]
async fn a_back_test_says_where_a_monitor_would_have_fired() {
    let world = World::new().await;
    for minute in 0..60 {
        world.figures.put("a", at(minute), if (20..30).contains(&minute) { 95.0 } else { 50.0 });
    }
    let request = BacktestRequest { document: cpu(json!({})), from: Some(at(1)), to: at(60) };
    let tested = world.alerts.backtest(OURS, &request).await.unwrap();
    assert_eq!((tested.evaluations, tested.series, tested.incidents.len()), (59, 1, 1));
    let incident = &tested.incidents[0];
    assert_eq!((incident.incident.opened, incident.incident.closed), (at(21), Some(at(31))));
    assert_eq!(incident.tellings, [(at(21), Event::Opened), (at(31), Event::Closed)]);
    assert_eq!(incident.intervals.len(), 1);
    assert!(world.told().await.is_empty() && world.incidents().await.is_empty(), "nothing of it happened");
    let day = BacktestRequest { from: None, to: at(10_000), ..request.clone() };
    assert_eq!(world.alerts.backtest(OURS, &day).await.unwrap().evaluations, 24 * 60);
    let often = BacktestRequest { document: cpu(json!({"every": "10s"})), ..day };
    let often = world.alerts.backtest(OURS, &often).await.unwrap().evaluations;
    assert_eq!(often, limits::BACKTEST as u64 - 1);
    let long = BacktestRequest { to: at(10_000), ..request };
    let error = world.alerts.backtest(OURS, &long).await.unwrap_err();
    assert_eq!(error.field().map(|error| error.field.as_str()), Some("from"), "{error}");
    assert!(error.to_string().contains("a later from, or a longer every than 1m"), "{error}");
}

#[tokio::test]
async fn routes_add_to_the_channels_of_an_incident_that_opens_and_to_no_other() {
    let world = World::new().await;
    world.put_channels(&["mail", "pager", "other"]).await;
    world.create(cpu(json!({"labels": {"team": "web"}}))).await;
    let routed = |channel: &str| -> RouteRules {
        let rule = json!({"match": {"labels": {"team": "web"}, "monitors": ["cpu"]}, "channels": [channel]});
        serde_json::from_value(json!({ "rules": [rule] })).unwrap()
    };
    world.alerts.routes.put_rules(&world.principal, &routed("pager"), None).await.unwrap();
    world.live(0, &[("a", 95.0)]).await;
    // Recipients are those of the opening, so that each hears of the end.
    world.alerts.routes.put_rules(&world.principal, &routed("other"), None).await.unwrap();
    world.live(1, &[("a", 50.0)]).await;
    for told in &world.told_whole().await[0] {
        assert_eq!(told["channels"], json!(["mail", "pager"]), "{told}");
    }
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
}

#[tokio::test]
async fn an_incident_whose_route_leads_nowhere_is_told_to_its_monitors_channels_and_its_trace_says_so() {
    let world = World::new().await;
    world.put_channels(&["mail"]).await;
    world.create(cpu(json!({}))).await;
    let put = world.alerts.routes.put_table(
        &world.principal,
        "hosts",
        RouteMatch::default(),
        "host,channels\na,nochan\n",
        None,
    );
    put.await.unwrap();
    world.live(0, &[("a", 95.0)]).await;
    let incident = &world.incidents().await[0];
    assert_eq!(incident.channels, ["mail"]);
    let notes = world.notes(incident.id).await;
    let expected = "a route leads to \"nochan\", which is not there and passed over; the monitor's own channels are told \
                    instead";
    assert!(notes.contains(&(NoteKind::Routed, expected.to_owned())), "{notes:?}");
}

#[tokio::test]
async fn an_incident_that_becomes_worse_keeps_its_channels_and_its_trace_says_who_else_would_be_told() {
    let world = World::new().await;
    world.put_channels(&["mail", "pager"]).await;
    let thresholds = json!({"comparator": ">", "critical": 90, "warning": 70});
    world.create(cpu(json!({"thresholds": thresholds, "severity": "critical"}))).await;
    let rules = json!({"rules": [{"match": {"severity": "critical"}, "channels": ["pager"]}]});
    let rules: RouteRules = serde_json::from_value(rules).unwrap();
    world.alerts.routes.put_rules(&world.principal, &rules, None).await.unwrap();
    world.live(0, &[("a", 75.0)]).await;
    let id = world.incidents().await[0].id;
    let routed = |notes: Vec<(NoteKind, String)>| -> Vec<String> {
        notes.into_iter().filter(|(kind, _)| *kind == NoteKind::Routed).map(|(_, text)| text).collect()
    };
    assert!(routed(world.notes(id).await).is_empty());
    world.live(1, &[("a", 95.0)]).await;
    assert_eq!(world.incidents().await[0].channels, ["mail"]);
    let expected = "it is critical now, and one that opens so would be told to pager too; who is told of this one was \
                    decided when it opened";
    assert_eq!(routed(world.notes(id).await), [expected]);
}

#[tokio::test]
async fn a_channel_that_is_not_there_is_shown_as_the_monitors_problem() {
    let world = World::new().await;
    world.figures.put("a", at(-1), 1.0);
    let made = world.create(cpu(json!({"channels": ["pager", "mail"]}))).await;
    assert_eq!(made.problem.as_deref(), Some(r#"there is no channel "pager", "mail""#));
    let warned = ["pager", "mail"]
        .map(|name| format!("there is no channel {name:?}: until it is put, nobody is told by it"));
    assert_eq!(made.warnings, warned);
    let found = world.alerts.monitor(OURS, "cpu").await.unwrap();
    assert_eq!((found.problem, found.warnings), (made.problem, made.warnings));
    assert_eq!(world.create(cpu(json!({"name": "other", "channels": []}))).await.problem, None);
}

#[tokio::test]
async fn a_monitor_whose_query_finds_no_series_says_so_from_the_start() {
    let world = World::new().await;
    let warning = "its query finds no series: until one has points, it opens no incident";
    let made = world.create(cpu(json!({"channels": []}))).await;
    assert_eq!((made.series, made.problem.as_deref()), (Some(0), Some(warning)));
    assert_eq!(made.warnings, [warning]);
    world.evaluate(0).await;
    let found = async || world.alerts.monitor(OURS, "cpu").await.unwrap();
    assert_eq!(found().await.warnings, [warning]);
    world.live(1, &[("a", 5.0), ("b", 5.0)]).await;
    assert_eq!((found().await.series, found().await.warnings), (Some(2), vec![]));

    let other = cpu(json!({"channels": [], "query": "avg:nowhere{*} by {host}"}));
    let changed = world.alerts.replace_monitor(&world.principal, "cpu", &other, None).await.unwrap();
    assert_eq!(changed.warnings, [warning], "it looks at something else now");
    let paused = world.alerts.pause_monitor(&world.principal, "cpu", true).await.unwrap();
    assert_eq!(paused.warnings, Vec::<String>::new(), "nobody expects one of it");
}

#[tokio::test]
async fn the_trace_says_what_became_of_what_was_told() {
    use crate::delivery::{DeliveryRow, keys};
    let world = World::new().await;
    world.create(cpu(json!({"channels": ["chat", "mail", "pager", "ops", "web", "old"]}))).await;
    world.live(0, &[("a", 95.0)]).await;
    let incident = world.incidents().await.remove(0).id;
    for (channel, state, attempts, reason) in [
        ("chat", DeliveryState::Delivered, 1, None),
        ("mail", DeliveryState::Delivered, 9, Some("told, but not to a@acme.example: busy")),
        ("pager", DeliveryState::Dead, 1, Some("answered 403: no")),
        ("ops", DeliveryState::Waiting, 2, Some("answered 500")),
        ("web", DeliveryState::Waiting, 0, None),
    ] {
        let mut row = DeliveryRow::new(Event::Opened, at(1));
        (row.state, row.attempts, row.reason) = (state, attempts, reason.map(str::to_owned));
        let id = DeliveryId { channel: channel.to_owned(), incident: incident.to_string(), sequence: 1 };
        let mut batch = Batch::new();
        batch.put(keys::delivery(OURS, &id), bellwether_store::encode(&row));
        world.store.commit(batch).await.unwrap();
    }
    let (what, text) = world.notes(incident).await.pop().unwrap();
    assert_eq!(what, NoteKind::Told);
    let expected = [
        "opened, as number 1, to chat, mail, pager, ops, web, old",
        "mail: told, but not to a@acme.example: busy",
        "pager: not delivered, a dead letter: answered 403: no",
        "ops: not delivered yet, attempts so far 2: answered 500",
        "web: waits to be delivered",
    ];
    assert_eq!(text, expected.join("; "));
}

#[tokio::test]
async fn a_channel_counts_as_told_once_it_took_something_of_the_incident_and_no_sooner() {
    use crate::delivery::{DeliveryRow, keys};
    use DeliveryState::{Dead, Delivered, Waiting};
    let world = World::new().await;
    let channels = ["chat", "late", "pager", "web", "resent", "old"];
    world.create(cpu(json!({"channels": channels, "notify": {"update": true}}))).await;
    world.live(0, &[("a", 95.0)]).await;
    world.live(1, &[("a", 50.0)]).await;
    let incident = world.incidents().await.remove(0);
    for (channel, sequence, state) in [
        ("chat", 1, Delivered),
        ("chat", 2, Dead),
        ("late", 1, Dead),
        ("late", 2, Delivered),
        ("pager", 1, Dead),
        ("pager", 2, Dead),
        ("web", 1, Dead),
        ("web", 2, Waiting),
        ("resent", 1, Waiting),
        ("resent", 2, Waiting),
    ] {
        let mut row = DeliveryRow::new(Event::Opened, at(sequence.into()));
        row.state = state;
        row.ended = (state != Waiting).then_some(at(10 + i64::from(sequence)));
        let id = DeliveryId { channel: channel.to_owned(), incident: incident.id.to_string(), sequence };
        let mut batch = Batch::new();
        batch.put(keys::delivery(OURS, &id), bellwether_store::encode(&row));
        world.store.commit(batch).await.unwrap();
    }
    let reach = world.alerts.reach(OURS, &incident).await.unwrap();
    let expected = [
        ("chat", Reach::Told(at(11))),
        ("late", Reach::Told(at(12))),
        ("pager", Reach::NotTold),
        ("web", Reach::Waits),
        ("resent", Reach::Waits),
        ("old", Reach::Forgotten),
    ];
    assert_eq!(reach, expected.map(|(channel, reach)| (channel.to_owned(), reach)));
}

#[tokio::test]
async fn channels_of_what_nobody_was_told_of_are_not_told() {
    let world = World::new().await;
    world.create(cpu(json!({"notify": {"open": false}}))).await;
    world.live(0, &[("a", 95.0)]).await;
    let incident = world.incidents().await.remove(0);
    let reach = world.alerts.reach(OURS, &incident).await.unwrap();
    assert_eq!(reach, [("mail".to_owned(), Reach::NotTold)]);
}

#[tokio::test]
async fn a_row_that_does_not_read_is_a_problem_of_its_monitor_alone() {
    let world = World::new().await;
    let version = world.create(cpu(json!({"name": "version"}))).await.id;
    let next = world.create(cpu(json!({"name": "next"}))).await.id;
    world.create(cpu(json!({}))).await;
    let mut batch = Batch::new();
    batch.put(rows::version(OURS, version, 1), vec![0xff]);
    batch.put(rows::next(OURS, next), vec![0xff]);
    batch.put(Key::new(Space::MonitorDue).number(0), "");
    batch.put(rows::mute(OURS, MuteId(1)), vec![0xff]);
    world.store.commit(batch).await.unwrap();
    world.live(0, &[("a", 95.0)]).await;
    assert_eq!(world.incidents().await.len(), 1);
    let found = world.alerts.monitor(OURS, "version").await.unwrap();
    assert_eq!(found.next_due, Some(at(2)));
    assert!(found.problem.is_some());
    // Neither is due again at once.
    assert_eq!(world.alerts.evaluate_due(at(1)).await.unwrap(), 0);
}

#[tokio::test]
async fn an_incident_that_is_forgotten_takes_with_it_all_that_belongs_to_it_and_goes_last() {
    use bellwether_store::{Crash, Direction};
    let mut world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.live(0, &[("a", 95.0)]).await;
    world.live(1, &[("a", 50.0)]).await;
    let id = world.incidents().await[0].id;
    let mut batch = Batch::new();
    for number in 100..1_300 {
        batch.put(rows::note(OURS, id, number), "");
    }
    batch.put(keys::memory(OURS, "mail", &id.to_string()), "");
    world.store.commit(batch).await.unwrap();
    // A host that dies of it leaves the rest to the next.
    world.restart_on(world.store.restart_with_crashes(Crash::After(1)));
    assert!(world.alerts.sweep(at(9), 100).await.is_err());
    world.restart_on(world.store.restart());
    assert_eq!(world.incidents().await.len(), 1);
    assert!(world.alerts.sweep(at(9), 100).await.unwrap() > 0);
    for space in [Space::Incident, Space::IncidentNote, Space::IncidentInterval, Space::FormatterMemory] {
        let left = world.store.scan(Key::new(space).prefix(), Direction::Forward, 10).await.unwrap();
        assert!(left.is_empty(), "{space:?}");
    }
}

#[tokio::test]
async fn an_incident_that_does_not_read_is_passed_over_by_lists_and_by_the_sweep() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    for minute in [0, 2] {
        world.live(minute, &[("a", 95.0)]).await;
        world.live(minute + 1, &[("a", 50.0)]).await;
    }
    world.live(4, &[("a", 95.0)]).await;
    let oldest = world.incidents().await.pop().unwrap().id;
    let mut batch = Batch::new();
    batch.put(rows::incident(OURS, oldest), vec![0xff]);
    batch.put(rows::open_incident(OURS, oldest), "").put(rows::open_incidents(OURS).number(1), "");
    world.store.commit(batch).await.unwrap();
    let open = IncidentFilter { state: Some(IncidentState::Open), ..IncidentFilter::default() };
    let open = world.alerts.incidents(OURS, &open, &PageRequest::first(10)).await.unwrap().items;
    assert_eq!((world.incidents().await.len(), open.len()), (2, 1));
    assert!(world.alerts.sweep(at(99), 100).await.unwrap() > 0);
    assert_eq!(world.incidents().await.len(), 1, "the one that is open");
    let damaged = world.store.get(&rows::incident(OURS, oldest)).await.unwrap();
    assert_eq!(damaged.as_deref(), Some(&[0xff][..]), "it may be mended");
}

#[tokio::test]
async fn a_sweep_goes_on_behind_what_the_last_one_did_and_looks_at_every_organisation() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.live(0, &[("first", 95.0), ("a", 50.0)]).await;
    for minute in [1, 3, 5, 7] {
        world.live(minute, &[("first", 95.0), ("a", 95.0)]).await;
        world.live(minute + 1, &[("first", 95.0), ("a", 50.0)]).await;
    }
    let hosts = async || -> Vec<String> {
        let incidents = world.incidents().await;
        incidents.iter().map(|incident| format!("{} {}", incident.tags[0].1, incident.opened)).collect()
    };
    let all = hosts().await;
    let closed = world.incidents().await[0].clone();
    // Of another organisation, and opened before all that are too young to be removed.
    let other = OrganisationId(2);
    let mut batch = Batch::new();
    let old = StoredIncident { opened: at(2), closed: Some(at(3)), ..closed.clone() };
    batch.put(rows::incident(other, closed.id), bellwether_store::encode(&old));
    world.store.commit(batch).await.unwrap();
    assert!(world.alerts.sweep(at(99), 1).await.unwrap() > 0);
    assert_eq!(hosts().await, [&all[..3], &all[4..]].concat(), "the oldest that is over");
    world.live(9, &[("first", 50.0), ("a", 50.0)]).await;
    assert!(world.alerts.sweep(at(99), 1).await.unwrap() > 0);
    assert_eq!(hosts().await, [&all[..2], &all[4..]].concat(), "not the first, which is over since");
    assert!(world.alerts.sweep(at(5), 1_000).await.unwrap() > 0);
    assert_eq!(world.store.get(&rows::incident(other, closed.id)).await.unwrap(), None);
    assert_eq!(hosts().await.len(), 3);
    assert!(world.alerts.sweep(at(99), 1_000).await.unwrap() > 0);
    assert!(hosts().await.is_empty());
}

#[tokio::test]
async fn what_was_told_by_an_update_alone_is_told_again() {
    let world = World::new().await;
    let notify = json!({"open": false, "update": true});
    world.create(cpu(json!({"notify_by": [], "notify": notify, "renotify": {"every": "5m"}}))).await;
    world.live(0, &[("a", 95.0), ("b", 50.0)]).await;
    for minute in 1..12 {
        world.live(minute, &[("a", 95.0), ("b", 95.0)]).await;
    }
    assert_eq!(world.told().await, [["updated 1", "updated 2", "updated 3"]]);
}

#[tokio::test]
async fn a_series_first_seen_by_a_clock_that_was_ahead_opens_once_the_clock_is_right_again() {
    for delay in ["0s", "1m"] {
        let world = World::new().await;
        world.create(cpu(json!({"new_group_delay": delay}))).await;
        let minute = world.live(60, &[("a", 50.0)]).await;
        world.live(minute, &[("a", 50.0)]).await;
        world.clock.set(at(1));
        world.alerts.bring_back().await.unwrap();
        let mut minute = world.live(1, &[("a", 50.0)]).await;
        for _ in 0..3 {
            minute = world.live(minute, &[("a", 95.0)]).await;
        }
        assert_eq!(world.told().await, [["opened 1"]], "{delay}");
    }
}

#[tokio::test]
async fn what_opened_by_a_clock_that_was_ahead_is_told_again_and_closes_once_the_clock_is_right_again() {
    let world = World::new().await;
    world.create(cpu(json!({"renotify": {"every": "10m", "statuses": ["alert"]}}))).await;
    let minute = world.live(60, &[("a", 50.0)]).await;
    world.live(minute, &[("a", 95.0)]).await;
    assert_eq!(world.told().await, [["opened 1"]]);
    world.clock.set(at(1));
    world.alerts.bring_back().await.unwrap();
    let mut minute = 1;
    for _ in 0..12 {
        minute = world.live(minute, &[("a", 96.0)]).await;
    }
    assert_eq!(world.told().await, [["opened 1", "updated 2"]]);
    let id = world.incidents().await[0].id;
    let interval = &world.alerts.incident_intervals(OURS, id, 10).await.unwrap()[0];
    assert!(interval.started <= at(2), "{interval:?}");
    assert_eq!(interval.upper.map(|upper| upper.peak), Some(96.0), "points count again");
    world.live(minute, &[("a", 50.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "updated 2", "closed 3"]]);
}

#[tokio::test]
async fn a_series_last_seen_by_a_clock_that_was_ahead_is_missed_in_its_time() {
    let world = World::new().await;
    let missing = json!({"policy": "show-and-notify-no-data", "after": "5m"});
    world.create(cpu(json!({"missing_data": missing}))).await;
    let minute = world.live(60, &[("a", 50.0)]).await;
    world.live(minute, &[("a", 50.0)]).await;
    world.clock.set(at(1));
    world.alerts.bring_back().await.unwrap();
    for minute in 1..10 {
        world.evaluate(minute).await;
    }
    assert_eq!(world.told().await, [["opened 1"]]);
}

#[tokio::test]
async fn the_bound_and_the_distance_from_it_are_those_of_the_level_a_series_is_at() {
    let thresholds = json!({"comparator": ">", "critical": 50, "warning": 20});
    for (upwards, sign) in [(true, 1.0), (false, -1.0)] {
        let world = World::new().await;
        let mut document = cpu(json!({"notify": {"update": true}}));
        document["thresholds"] = thresholds.clone();
        if !upwards {
            document["thresholds"] = json!({"comparator": "<", "critical": -50, "warning": -20});
        }
        world.create(document).await;
        let mut minute = 0;
        for (value, bound, peak, percentage) in
            [(30.0, 20.0, 30.0, 50.0), (90.0, 50.0, 90.0, 80.0), (25.0, 20.0, 90.0, 350.0)]
        {
            minute = world.live(minute, &[("a", sign * value)]).await;
            let told = world.told_whole().await[0].last().unwrap()["whole"].clone();
            let series = &told["alerts"][0]["series"][0];
            let side = if upwards { "upper" } else { "lower" };
            assert_eq!(series["threshold"], json!(sign * bound), "{value}");
            let expected = json!({"peak": sign * peak, "expected": sign * bound, "delta": peak - bound,
                "delta_percentage": percentage});
            assert_eq!(series[side], expected, "{value}");
        }
    }
}

#[tokio::test]
async fn an_incident_keeps_the_worst_severity_it_had_beside_its_last() {
    let world = World::new().await;
    let mut document = cpu(json!({"severity": "critical"}));
    document["thresholds"]["warning"] = 70.into();
    world.create(document).await;
    let mut minute = 0;
    for (value, severity, worst) in [
        (80.0, Severity::Medium, Severity::Medium),
        (95.0, Severity::Critical, Severity::Critical),
        (80.0, Severity::Medium, Severity::Critical),
        (50.0, Severity::Medium, Severity::Critical),
    ] {
        minute = world.live(minute, &[("a", value)]).await;
        let incident = &world.incidents().await[0];
        assert_eq!((incident.severity, incident.worst), (severity, worst), "{value}");
        // Looked for by severity it is found by what it is while it goes on, and by the worst it was once it is over.
        let counts = if incident.is_open() { severity } else { worst };
        for wanted in [Severity::Medium, Severity::High, Severity::Critical] {
            let filter = IncidentFilter { severity: Some(wanted), ..IncidentFilter::default() };
            let found = world.alerts.incidents(OURS, &filter, &PageRequest::first(9)).await.unwrap().items;
            assert_eq!(found.len(), usize::from(wanted <= counts), "{value}: {wanted:?}");
        }
    }
    assert!(!world.incidents().await[0].is_open());
}

#[test]
fn an_incident_that_a_host_before_kept_is_read_with_its_last_severity_for_what_was_not_kept() {
    let told = Notification::sample(Event::Closed).incident;
    let incident = StoredIncident::sample(&told);
    for (version, missing) in [(1, 2), (2, 1)] {
        let mut bytes = bellwether_store::encode(&incident).to_vec();
        // The version byte and, at the end, what was not kept then.
        bytes[0] = version;
        bytes.truncate(bytes.len() - missing);
        let read: StoredIncident = bellwether_store::decode(&bytes).unwrap();
        assert_eq!(read, incident);
    }
}
