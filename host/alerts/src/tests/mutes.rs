//! Mutes, acknowledgements, and telling again.

use bellwether_access::{AuditFilter, AuditScope};

use super::*;

impl World {
    async fn mute(&self, scope: Scope, start: Option<i64>, end: Option<i64>) -> Mute {
        let (everything, reason) = (scope.is_everything(), "work".to_owned());
        let until_deleted = end.is_none();
        let new =
            NewMute { scope, everything, start: start.map(at), end: end.map(at), until_deleted, reason };
        self.alerts.create_mute(&self.principal, new).await.unwrap()
    }
}

#[tokio::test]
async fn a_muted_breach_moves_and_is_told_when_the_mute_is_over_while_it_lasts() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.mute(Scope::default(), None, Some(3)).await;
    world.live(0, &[("a", 95.0)]).await;
    let incident = &world.incidents().await[0];
    assert!(incident.is_open() && world.told().await.is_empty());
    let notes = world.notes(incident.id).await;
    assert_eq!(notes[1], (NoteKind::Withheld, format!("opened: mute 1 until {}", at(3))));
    world.live(1, &[("a", 95.0)]).await;
    assert!(world.told().await.is_empty());
    world.live(2, &[("a", 95.0)]).await;
    world.live(3, &[("a", 50.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
}

#[tokio::test]
async fn what_becomes_worse_while_it_is_muted_is_told_when_the_mute_is_over_while_it_lasts() {
    for (last, told) in [(95.0, vec!["opened 1", "updated 2"]), (75.0, vec!["opened 1"])] {
        let world = World::new().await;
        let thresholds = json!({"comparator": ">", "critical": 90, "warning": 70});
        world.create(cpu(json!({"thresholds": thresholds, "severity": "critical"}))).await;
        world.live(0, &[("a", 75.0)]).await;
        world.clock.set(at(1));
        world.mute(Scope::default(), None, Some(4)).await;
        world.live(1, &[("a", 95.0)]).await;
        world.live(2, &[("a", 95.0)]).await;
        assert_eq!(world.told().await, [["opened 1"]]);
        let notes = world.notes(world.incidents().await[0].id).await;
        assert_eq!(notes.iter().filter(|(what, _)| *what == NoteKind::Withheld).count(), 1, "{notes:?}");
        world.live(3, &[("a", last)]).await;
        world.live(4, &[("a", last)]).await;
        assert_eq!(world.told().await, [told]);
    }
}

#[tokio::test]
async fn who_is_told_of_updates_alone_is_told_of_each() {
    let world = World::new().await;
    let notify = json!({"open": false, "update": true, "close": true});
    world.create(cpu(json!({"notify": notify, "notify_by": []}))).await;
    world.live(0, &[("a", 95.0), ("b", 50.0)]).await;
    assert!(world.told().await.is_empty());
    world.live(1, &[("a", 95.0), ("b", 95.0)]).await;
    world.live(2, &[("a", 95.0), ("b", 95.0)]).await;
    world.alerts.acknowledge(&world.principal, world.incidents().await[0].id).await.unwrap();
    world.mute(Scope::default(), None, None).await;
    world.live(3, &[("a", 50.0), ("b", 50.0)]).await;
    assert_eq!(
        world.told().await,
        [["updated 1", "updated 2", "closed 3"]],
        "what was told is ended, muted or not"
    );
}

#[tokio::test]
async fn a_recovery_while_muted_resets_what_is_told_next() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    let mute = world.mute(Scope::default(), None, None).await;
    world.live(0, &[("a", 95.0)]).await;
    world.live(1, &[("a", 50.0)]).await;
    assert!(world.told().await.is_empty(), "what nobody was told of needs no end");
    world.alerts.delete_mute(&world.principal, mute.id).await.unwrap();
    world.live(2, &[("a", 95.0)]).await;
    assert_eq!(world.told().await, [["opened 1"]]);
    assert_eq!(world.incidents().await.len(), 2);
}

#[tokio::test]
async fn the_recovery_of_what_was_told_before_a_downtime_is_told_within_it() {
    let world = World::new().await;
    world.create(cpu(json!({"notify": {"update": true}, "notify_by": []}))).await;
    world.mute(Scope::default(), Some(2), Some(60)).await;
    world.live(0, &[("a", 95.0), ("b", 50.0)]).await;
    world.live(1, &[("a", 95.0), ("b", 95.0)]).await;
    assert_eq!(world.told().await, [["opened 1"]], "the update is within it");
    world.live(2, &[("a", 50.0), ("b", 50.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
}

#[tokio::test]
async fn mutes_that_are_set_changed_and_deleted_at_once_do_not_stand_in_each_others_way() {
    let world = World::new().await;
    let (alerts, principal) = (&world.alerts, &world.principal);
    let new = || NewMute { everything: true, until_deleted: true, ..NewMute::default() };
    let made = futures::future::join_all((0..32).map(|_| alerts.create_mute(principal, new()))).await;
    let mut numbers: Vec<u64> = made.into_iter().map(|mute| mute.unwrap().id.0).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=32).collect::<Vec<_>>());
    let (one, other) = tokio::join!(
        alerts.change_mute(principal, MuteId(1), Some(at(5))),
        alerts.change_mute(principal, MuteId(1), Some(at(6))),
    );
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    let (one, other) =
        tokio::join!(alerts.delete_mute(principal, MuteId(1)), alerts.delete_mute(principal, MuteId(1)));
    let found = [one, other].into_iter().filter(Result::is_ok).count();
    assert_eq!(found, 1, "the other finds that there is none");
}

#[tokio::test]
async fn a_mute_of_one_host_leaves_the_others_alone() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    let tags = [("host".to_owned(), "a".to_owned())].into();
    world.mute(Scope { tags, monitors: vec!["cpu".into()], ..Scope::default() }, None, None).await;
    world.live(0, &[("a", 95.0), ("b", 95.0)]).await;
    assert_eq!((world.told().await.len(), world.incidents().await.len()), (1, 2));
    let new = NewMute { everything: true, end: Some(at(0)), ..NewMute::default() };
    assert!(matches!(world.alerts.create_mute(&world.principal, new).await, Err(AlertError::Invalid(_))));
}

#[tokio::test]
async fn a_mute_of_everything_is_said_to_be_one() {
    let world = World::new().await;
    let of = |monitors: &[&str], everything| {
        let monitors = monitors.iter().map(|name| (*name).to_owned()).collect();
        let scope = Scope { monitors, ..Scope::default() };
        NewMute { scope, everything, until_deleted: true, ..NewMute::default() }
    };
    for (new, field) in [(of(&[], false), "scope"), (of(&["cpu"], true), "everything")] {
        let error = world.alerts.create_mute(&world.principal, new).await.unwrap_err();
        assert_eq!(error.field().map(|error| error.field.as_str()), Some(field), "{error}");
        assert!(error.to_string().contains("everything"), "{error}");
    }
    let made = world.alerts.create_mute(&world.principal, of(&[], true)).await.unwrap();
    assert!(made.scope.is_everything());
    // It is changed as any other.
    world.alerts.change_mute(&world.principal, made.id, Some(at(9))).await.unwrap();
}

#[tokio::test]
async fn a_mute_of_everything_has_an_end_or_is_said_to_have_none() {
    let world = World::new().await;
    let everything = || NewMute { everything: true, ..NewMute::default() };
    let of_one = || NewMute {
        scope: Scope { monitors: vec!["cpu".into()], ..Scope::default() },
        ..NewMute::default()
    };
    for (new, refused) in [
        (everything(), Some("end")),
        (NewMute { until_deleted: true, ..everything() }, None),
        (NewMute { end: Some(at(9)), ..everything() }, None),
        (NewMute { end: Some(at(9)), until_deleted: true, ..everything() }, Some("until_deleted")),
        (of_one(), None),
        (NewMute { until_deleted: true, ..of_one() }, None),
    ] {
        let made = world.alerts.create_mute(&world.principal, new.clone()).await;
        let field = made.as_ref().err().and_then(|error| error.field()).map(|error| error.field.as_str());
        assert_eq!(field, refused, "{new:?}");
    }
}

#[tokio::test]
async fn an_incident_that_goes_on_is_told_again_until_somebody_knows_or_it_was_often_enough() {
    let renotify = json!({"every": "2m", "times": 3, "message": "Still."});
    for acknowledged in [false, true] {
        let world = World::new().await;
        let thresholds = json!({"comparator": ">", "critical": 90, "warning": 70});
        let document = json!({"renotify": renotify.clone(), "thresholds": thresholds});
        world.create(cpu(document)).await;
        world.live(0, &[("a", 95.0)]).await;
        world.live(1, &[("a", 95.0)]).await;
        world.live(2, &[("a", 95.0)]).await;
        assert_eq!(world.told().await, [["opened 1", "updated 2"]]);
        let whole = world.told_whole().await;
        assert_eq!(whole[0][1]["whole"]["description"], "Still.");
        let id = world.incidents().await[0].id;
        if acknowledged {
            let known = world.alerts.acknowledge(&world.principal, id).await.unwrap();
            assert_eq!(known.acknowledgement.unwrap().by, "ada");
        }
        for minute in 3..12 {
            world.live(minute, &[("a", 95.0)]).await;
        }
        let count = world.told().await[0].len();
        assert_eq!(count, if acknowledged { 2 } else { 4 });
    }
}

#[tokio::test]
async fn an_acknowledgement_is_over_when_it_becomes_worse() {
    let world = World::new().await;
    let thresholds = json!({"comparator": ">", "critical": 90, "warning": 70});
    world.create(cpu(json!({"thresholds": thresholds}))).await;
    world.live(0, &[("a", 75.0)]).await;
    let id = world.incidents().await[0].id;
    world.alerts.acknowledge(&world.principal, id).await.unwrap();
    world.live(1, &[("a", 95.0)]).await;
    assert_eq!(world.incidents().await[0].acknowledgement, None);
    assert_eq!(world.told().await, [["opened 1", "updated 2"]]);
    let kinds: Vec<NoteKind> = world.notes(id).await.into_iter().map(|(kind, _)| kind).collect();
    assert!(
        kinds.contains(&NoteKind::Acknowledged) && kinds.contains(&NoteKind::Unacknowledged),
        "{kinds:?}"
    );
}

#[tokio::test]
async fn an_acknowledgement_and_a_closing_at_once_lose_neither() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.live(0, &[("a", 95.0)]).await;
    let id = world.incidents().await[0].id;
    world.figures.put("a", at(1), 50.0);
    world.clock.set(at(2));
    let (evaluated, acknowledged) =
        tokio::join!(world.alerts.evaluate_due(at(2)), world.alerts.acknowledge(&world.principal, id));
    evaluated.unwrap();
    // Whichever was overtaken: an evaluation is due still, an acknowledgement finds that the incident is over.
    world.evaluate(2).await;
    let incident = &world.incidents().await[0];
    assert!(!incident.is_open());
    assert_eq!(incident.acknowledgement.is_some(), acknowledged.is_ok(), "{acknowledged:?}");
    let acknowledged_by_trace = world.notes(id).await.iter().any(|(kind, _)| *kind == NoteKind::Acknowledged);
    assert_eq!(acknowledged_by_trace, acknowledged.is_ok());
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
}

#[tokio::test]
async fn what_is_said_again_of_an_incident_is_neither_told_nor_noted_again() {
    let world = World::new().await;
    world.create(cpu(json!({"notify": {"update": true}}))).await;
    world.live(0, &[("a", 95.0)]).await;
    let id = world.incidents().await[0].id;
    let (alerts, principal) = (&world.alerts, &world.principal);
    for _ in 0..2 {
        alerts.acknowledge(principal, id).await.unwrap();
        alerts.assign(principal, id, Some("grace".into())).await.unwrap();
    }
    assert_eq!(world.told().await, [["opened 1", "updated 2", "updated 3"]]);
    let other = Principal { key_name: "bob".into(), ..principal.clone() };
    let known = alerts.acknowledge(&other, id).await.unwrap();
    assert_eq!(known.acknowledgement.unwrap().by, "bob", "another may take it over");
    let kinds: Vec<NoteKind> = world.notes(id).await.into_iter().map(|(kind, _)| kind).collect();
    let count = |kind| kinds.iter().filter(|found| **found == kind).count();
    assert_eq!((count(NoteKind::Acknowledged), count(NoteKind::Assigned)), (2, 1));
}

#[tokio::test]
async fn people_assign_and_comment_and_the_trace_says_who() {
    let world = World::new().await;
    world.create(cpu(json!({"notify": {"update": true}}))).await;
    world.live(0, &[("a", 95.0)]).await;
    let id = world.incidents().await[0].id;
    let (alerts, principal) = (&world.alerts, &world.principal);
    alerts.assign(principal, id, Some("grace".into())).await.unwrap();
    alerts.comment(principal, id, "A disk is full.").await.unwrap();
    assert_eq!(world.told().await, [["opened 1", "updated 2"]]);
    world.live(1, &[("a", 50.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "updated 2", "closed 3"]]);
    let error = alerts.acknowledge(principal, id).await.unwrap_err();
    assert!(matches!(error, AlertError::Conflict(_)), "{error}");
    alerts.comment(principal, id, "It was.").await.unwrap();
    let page = PageRequest::first(100);
    let notes = alerts.incident_trace(OURS, id, &page).await.unwrap().items;
    let by: Vec<(NoteKind, Option<&str>)> =
        notes.iter().map(|note| (note.what, note.by.as_deref())).collect();
    assert!(
        by.contains(&(NoteKind::Assigned, Some("ada"))) && by.contains(&(NoteKind::Commented, Some("ada")))
    );
    let filter = IncidentFilter { assignee: Some("grace".into()), ..IncidentFilter::default() };
    assert_eq!(alerts.incidents(OURS, &filter, &page).await.unwrap().items.len(), 1);
    let open = IncidentFilter { state: Some(IncidentState::Open), ..IncidentFilter::default() };
    assert!(alerts.incidents(OURS, &open, &page).await.unwrap().items.is_empty());
    assert_eq!(alerts.sweep(at(1), 100).await.unwrap(), 0);
    assert!(alerts.sweep(at(5), 100).await.unwrap() > 0);
    assert!(world.incidents().await.is_empty());
}

#[tokio::test]
async fn recipients_are_those_of_the_opening() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.live(0, &[("a", 95.0)]).await;
    let changed = cpu(json!({"channels": ["pager"]}));
    world.alerts.replace_monitor(&world.principal, "cpu", &changed, None).await.unwrap();
    // A change is evaluated at once, and each minute from then on.
    for (minute, value) in [(1, 50.0), (2, 50.0), (3, 95.0), (4, 95.0)] {
        world.live(minute, &[("a", value)]).await;
    }
    let channels: Vec<Json> =
        world.told_whole().await.iter().flatten().map(|line| line["channels"][0].clone()).collect();
    assert_eq!(channels, ["mail", "mail", "pager"]);
}

#[tokio::test]
async fn the_audit_log_keeps_what_a_mute_was_about_when_the_mute_is_gone() {
    let world = World::new().await;
    let tags = BTreeMap::from([("host".to_owned(), "a".to_owned())]);
    for scope in [Scope::default(), Scope { tags, ..Scope::default() }] {
        let mute = world.mute(scope, None, None).await;
        world.alerts.delete_mute(&world.principal, mute.id).await.unwrap();
    }
    let (chance, host_key) = (SeededRandomness::new(2), HostKey::from_hex(&"5a".repeat(32)).unwrap());
    let store = Arc::clone(&world.store);
    let reader = Access::open(store, world.clock.clone(), Arc::new(chance), host_key).await.unwrap();
    let filter = AuditFilter { action: Some("mute.create".into()), ..AuditFilter::default() };
    let log =
        reader.audit_log(AuditScope::Organisation(OURS), &filter, &PageRequest::first(9)).await.unwrap();
    let mut told: Vec<_> = log.items.into_iter().map(|entry| entry.details).collect();
    told.sort();
    let of = |scope: &str| {
        let details = [("scope", scope), ("end", "until it is deleted"), ("reason", "work")];
        Vec::from(details.map(|(name, text)| (name.to_owned(), text.to_owned())))
    };
    assert_eq!(told, [of("everything"), of(r#"{"monitors":[],"labels":{},"tags":{"host":"a"}}"#)]);
}

#[tokio::test]
async fn what_is_in_force_is_deleted_on_a_full_disk_too() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.live(0, &[("a", 95.0)]).await;
    let incident = world.incidents().await[0].id;
    let (alerts, principal) = (&world.alerts, &world.principal);
    let entry = alerts.snooze(principal, incident, None, at(60)).await.unwrap();
    let mute = world.mute(Scope::default(), None, None).await;
    world.store.set_disk_full(true);
    alerts.change_mute(principal, mute.id, Some(at(90))).await.unwrap_err();
    alerts.delete_mute(principal, mute.id).await.unwrap();
    alerts.delete_entry(principal, entry.id).await.unwrap();
    alerts.delete_monitor(principal, "cpu").await.unwrap();
    assert!(!world.incidents().await[0].is_open());
}
