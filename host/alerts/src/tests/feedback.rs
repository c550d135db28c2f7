//! What people think of incidents.

use super::*;

#[tokio::test]
async fn each_key_thinks_one_thing_of_an_incident_and_its_monitor_counts_them() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    world.live(0, &[("a", 95.0), ("b", 95.0)]).await;
    let ids: Vec<IncidentId> = world.incidents().await.iter().map(|incident| incident.id).collect();
    let (alerts, ada) = (&world.alerts, &world.principal);
    let grace = Principal {
        key: KeyId::random(&SeededRandomness::new(2)),
        key_name: "grace".into(),
        ..world.principal.clone()
    };
    let counts = async || alerts.monitor(OURS, "cpu").await.unwrap().feedback;
    alerts.judge(ada, ids[0], Opinion::GoodCatch, "").await.unwrap();
    alerts.judge(&grace, ids[0], Opinion::NotAnAnomaly, "It is Monday.").await.unwrap();
    alerts.judge(&grace, ids[1], Opinion::IncorrectData, "").await.unwrap();
    assert_eq!(counts().await, FeedbackCounts { good_catch: 1, not_interesting: 2, not_an_anomaly: 1 });
    // She thinks again, after it is over too.
    world.live(1, &[("a", 50.0), ("b", 50.0)]).await;
    let again = alerts.judge(&grace, ids[0], Opinion::GoodCatch, "After all.").await.unwrap();
    assert_eq!((again.created, again.updated, again.by.1.as_str()), (at(1), at(2), "grace"));
    assert_eq!(counts().await, FeedbackCounts { good_catch: 2, not_interesting: 1, not_an_anomaly: 0 });
    alerts.withdraw(ada, ids[0]).await.unwrap();
    let nothing = alerts.withdraw(ada, ids[0]).await.unwrap_err();
    assert!(matches!(nothing, AlertError::NotFound { .. }), "{nothing}");
    assert_eq!(counts().await, FeedbackCounts { good_catch: 1, not_interesting: 1, not_an_anomaly: 0 });
    let mut notes = world.notes(ids[0]).await;
    notes.retain(|(kind, _)| *kind == NoteKind::Judged);
    let notes: Vec<String> = notes.into_iter().map(|(_, text)| text).collect();
    assert_eq!(
        notes,
        ["good-catch", "not-an-anomaly: It is Monday.", "good-catch: After all.", "it is taken back"]
    );
    // Nobody is told of opinions.
    assert_eq!(world.told().await, [["opened 1", "closed 2"], ["opened 1", "closed 2"]]);
}

#[tokio::test]
async fn what_people_thought_is_found_page_by_page_and_goes_with_its_incident() {
    let world = World::new().await;
    world.create(cpu(json!({}))).await;
    let alerts = &world.alerts;
    for minute in [0, 2, 4] {
        world.live(minute, &[("a", 95.0)]).await;
        let id = world.incidents().await[0].id;
        alerts.judge(&world.principal, id, Opinion::NotAnAnomaly, "").await.unwrap();
        world.live(minute + 1, &[("a", 50.0)]).await;
    }
    let all = alerts.feedback(OURS, &FeedbackFilter::default(), &PageRequest::first(10)).await.unwrap().items;
    let ids: Vec<IncidentId> = world.incidents().await.iter().map(|incident| incident.id).collect();
    assert_eq!(all.iter().map(|feedback| feedback.incident).collect::<Vec<_>>(), ids);
    let (mut page, mut found) = (PageRequest::first(1), Vec::new());
    loop {
        let part = alerts.feedback(OURS, &FeedbackFilter::default(), &page).await.unwrap();
        found.extend(part.items);
        match part.next {
            Some(next) => page.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(found, all);
    for (filter, count) in [
        (FeedbackFilter { incident: Some(ids[1]), ..FeedbackFilter::default() }, 1),
        (FeedbackFilter { monitor: Some("cpu".into()), ..FeedbackFilter::default() }, 3),
        (FeedbackFilter { monitor: Some("disk".into()), ..FeedbackFilter::default() }, 0),
        (FeedbackFilter { opinion: Some(Opinion::GoodCatch), ..FeedbackFilter::default() }, 0),
        (FeedbackFilter { from: Some(at(3)), ..FeedbackFilter::default() }, 2),
        (FeedbackFilter { to: Some(at(3)), ..FeedbackFilter::default() }, 1),
    ] {
        let found = alerts.feedback(OURS, &filter, &PageRequest::first(10)).await.unwrap().items;
        assert_eq!(found.len(), count, "{filter:?}");
    }
    let long = "x".repeat(limits::MESSAGE + 1);
    assert!(alerts.judge(&world.principal, ids[0], Opinion::GoodCatch, &long).await.is_err());
    alerts.sweep(at(5), 1_000).await.unwrap();
    let left =
        alerts.feedback(OURS, &FeedbackFilter::default(), &PageRequest::first(10)).await.unwrap().items;
    assert_eq!(left.len(), 1, "with its incident goes what was thought of it");
    assert_eq!(alerts.monitor(OURS, "cpu").await.unwrap().feedback.not_an_anomaly, 3, "the count stays");
    alerts.delete_monitor(&world.principal, "cpu").await.unwrap();
    // It is over, and its monitor is gone; it can be judged all the same.
    alerts.judge(&world.principal, ids[0], Opinion::GoodCatch, "").await.unwrap();
}
