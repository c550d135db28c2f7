//! Incidents that are told as one.

use super::*;

/// A monitor of its own name and threshold, merged with those of its team.
fn of_team(name: &str, critical: f64, mut more: Json) -> Json {
    let mut document = cpu(json!({
        "name": name, "thresholds": {"comparator": ">", "critical": critical}, "labels": {"team": "web"},
        "merge": {"by": ["team"], "within": "10m"},
    }));
    document.as_object_mut().unwrap().append(more.as_object_mut().unwrap());
    document
}

impl World {
    async fn of(&self, monitor: &str) -> StoredIncident {
        let all = self.incidents().await;
        all.into_iter().find(|incident| incident.monitor_name == monitor).unwrap()
    }
}

#[tokio::test]
async fn incidents_of_two_monitors_that_share_a_label_are_told_as_one() {
    let world = World::new().await;
    world.create(of_team("disk", 80.0, json!({"severity": "low"}))).await;
    world.create(of_team("cpu", 90.0, json!({"severity": "critical"}))).await;
    for (minute, value) in [(0, 85.0), (1, 95.0), (2, 85.0), (3, 50.0)] {
        world.live(minute, &[("a", value)]).await;
    }
    assert_eq!(world.told().await, [["opened 1", "updated 2", "closed 3"]]);
    let (disk, cpu) = (world.of("disk").await, world.of("cpu").await);
    assert_eq!((disk.closed, cpu.closed), (Some(at(4)), Some(at(3))), "each has its own course");
    let both = Some((disk.id, vec![disk.id, cpu.id]));
    assert_eq!(world.alerts.merged(OURS, cpu.id).await.unwrap(), both);
    assert_eq!(world.alerts.merged(OURS, disk.id).await.unwrap(), both);
    let told: Vec<Incident> = world.told_whole().await[0]
        .iter()
        .map(|line| serde_json::from_value(line["whole"].clone()).unwrap())
        .collect();
    assert!(told.iter().all(|told| told.id == disk.id.to_string() && told.title == "disk: host:a"));
    let alerts = |at: usize| told[at].alerts.iter().map(|alert| alert.open).collect::<Vec<_>>();
    assert_eq!((alerts(0), alerts(1), alerts(2)), (vec![true], vec![true, true], vec![false, false]));
    assert_eq!((told[0].severity, told[1].severity), (Severity::Low, Severity::Critical));
    assert_eq!((told[1].ended, told[2].ended), (None, Some(at(4))));
    assert_eq!(told[1].merged, [cpu.id.to_string()]);
    let notes = world.notes(cpu.id).await;
    assert!(
        notes.contains(&(NoteKind::Merged, format!("it is told with incident {}", disk.id))),
        "{notes:?}"
    );
    let text = format!("updated, as number 2 of incident {}, to mail", disk.id);
    assert!(notes.contains(&(NoteKind::Told, text)), "{notes:?}");
    // What recurs is told anew.
    world.live(4, &[("a", 85.0)]).await;
    assert_eq!(world.told().await.len(), 2);
}

#[tokio::test]
async fn what_became_of_it_is_said_of_incidents_that_are_told_as_one_too() {
    use crate::delivery::{DeliveryRow, keys};
    let world = World::new().await;
    world.create(of_team("disk", 80.0, json!({}))).await;
    world.create(of_team("cpu", 90.0, json!({}))).await;
    for (minute, value) in [(0, 85.0), (1, 95.0)] {
        world.live(minute, &[("a", value)]).await;
    }
    let (disk, cpu) = (world.of("disk").await.id, world.of("cpu").await.id);
    let mut row = DeliveryRow::new(Event::Updated, at(2));
    (row.state, row.reason) = (DeliveryState::Dead, Some("answered 403".to_owned()));
    let id = DeliveryId { channel: "mail".to_owned(), incident: disk.to_string(), sequence: 2 };
    let mut batch = Batch::new();
    batch.put(keys::delivery(OURS, &id), bellwether_store::encode(&row));
    world.store.commit(batch).await.unwrap();
    let said = "mail: not delivered, a dead letter: answered 403";
    let dead = |notes: Vec<(NoteKind, String)>| notes.iter().filter(|(_, text)| text.ends_with(said)).count();
    assert_eq!((dead(world.notes(disk).await), dead(world.notes(cpu).await)), (0, 1));
}

#[tokio::test]
async fn the_end_is_told_when_the_last_is_over_whichever_was_the_first() {
    let world = World::new().await;
    let document = json!({"merge": {"by": []}, "notify": {"update": true}});
    world.create(of_team("cpu", 90.0, document)).await;
    world.live(0, &[("a", 95.0), ("b", 50.0), ("c", 50.0)]).await;
    world.live(1, &[("a", 95.0), ("b", 95.0), ("c", 95.0)]).await;
    world.live(2, &[("a", 50.0), ("b", 50.0), ("c", 95.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "updated 2", "updated 3", "updated 4", "updated 5"]]);
    world.live(3, &[("a", 50.0), ("b", 50.0), ("c", 50.0)]).await;
    assert_eq!(world.told().await[0].last().unwrap(), "closed 6");
}

#[tokio::test]
async fn what_differs_in_what_they_merge_by_or_who_is_told_or_opens_later_is_told_alone() {
    for (more, within, count) in [
        (json!({}), 5, 1),
        (json!({"labels": {"team": "db"}}), 5, 2),
        (json!({"channels": ["pager"]}), 5, 2),
        (json!({"merge": null}), 5, 2),
        (json!({"merge": {"by": ["team", "host"]}}), 5, 2),
        (json!({}), 10, 1),
        (json!({}), 11, 2),
    ] {
        let world = World::new().await;
        world.create(of_team("disk", 80.0, json!({}))).await;
        world.create(of_team("cpu", 90.0, more.clone())).await;
        for minute in 0..within {
            world.live(minute, &[("a", 85.0)]).await;
        }
        world.live(within, &[("a", 95.0)]).await;
        assert_eq!((world.incidents().await.len(), world.told().await.len()), (2, count), "{more} {within}");
    }
}

#[tokio::test]
async fn two_that_open_at_once_are_one_whoever_comes_first() {
    let world = World::new().await;
    world.create(of_team("disk", 80.0, json!({}))).await;
    world.create(of_team("cpu", 90.0, json!({}))).await;
    for (minute, value) in [(0, 95.0), (1, 50.0)] {
        world.live(minute, &[("a", value)]).await;
        // Whoever was overtaken is due still.
        world.evaluate(minute + 1).await;
    }
    assert_eq!(world.told().await, [["opened 1", "updated 2", "closed 3"]]);
    assert!(world.incidents().await.iter().all(|incident| !incident.is_open()));
}

#[tokio::test]
async fn the_first_that_is_not_muted_tells_of_all_of_them() {
    let world = World::new().await;
    world.create(of_team("disk", 80.0, json!({}))).await;
    world.create(of_team("cpu", 90.0, json!({}))).await;
    let scope = Scope { monitors: vec!["disk".into()], ..Scope::default() };
    world.alerts.create_mute(&world.principal, NewMute { scope, ..NewMute::default() }).await.unwrap();
    for (minute, value) in [(0, 85.0), (1, 95.0), (2, 85.0)] {
        world.live(minute, &[("a", value)]).await;
    }
    let whole = world.told_whole().await;
    assert_eq!(whole[0][0]["incident"], world.of("disk").await.id.to_string());
    assert_eq!(world.told().await, [["opened 1"]]);
    // Nobody was told of the first by itself; what was told is ended all the same.
    world.live(3, &[("a", 50.0)]).await;
    assert_eq!(world.told().await, [["opened 1", "closed 2"]]);
}

#[tokio::test]
async fn what_is_told_with_an_incident_goes_with_it() {
    let world = World::new().await;
    world.create(of_team("cpu", 90.0, json!({}))).await;
    world.live(0, &[("a", 95.0)]).await;
    world.live(1, &[("a", 50.0)]).await;
    assert!(world.alerts.sweep(at(9), 1_000).await.unwrap() > 0);
    for space in [Space::Merging, Space::Merged, Space::MergedInto] {
        let rows = world.store.scan(Key::new(space).prefix(), bellwether_store::Direction::Forward, 10).await;
        assert!(rows.unwrap().is_empty(), "{space:?}");
    }
}

#[tokio::test]
async fn the_first_is_kept_while_others_go_on_and_those_that_outlast_it_stay_whole() {
    let world = World::new().await;
    world.create(of_team("cpu", 90.0, json!({"merge": {"by": []}}))).await;
    world.live(0, &[("a", 95.0), ("b", 50.0)]).await;
    world.live(1, &[("a", 95.0), ("b", 95.0)]).await;
    world.live(2, &[("a", 50.0), ("b", 95.0)]).await;
    let any = world.incidents().await[0].id;
    let (first, all) = world.alerts.merged(OURS, any).await.unwrap().unwrap();
    let [_, other] = all[..] else { panic!("{all:?}") };
    assert_eq!(world.alerts.sweep(at(99), 1_000).await.unwrap(), 0, "the other goes on");
    world.live(3, &[("a", 50.0), ("b", 50.0)]).await;
    assert_eq!(world.told().await[0].last().unwrap(), "closed 3");
    // The first closed a minute earlier.
    assert!(world.alerts.sweep(at(4), 1_000).await.unwrap() > 0);
    let left: Vec<IncidentId> = world.incidents().await.iter().map(|incident| incident.id).collect();
    assert_eq!((left, first != other), (vec![other], true));
    world.alerts.comment(&world.principal, other, "What was it?").await.unwrap();
}
