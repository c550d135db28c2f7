//! Organisations that are deleted: nothing is known of their monitors any more.

use bellwether_store::{Direction, Erase, Row, erase};

use super::*;

async fn rows(world: &World) -> Vec<Row> {
    let everything = Key::from_bytes(Vec::new())..Key::from_bytes(vec![255; 2]);
    let all = world.store.scan(everything, Direction::Forward, usize::MAX).await.unwrap();
    all.into_iter().filter(|(key, _)| key.organisation() == Some(OURS.0)).collect()
}

#[tokio::test(start_paused = true)]
async fn of_an_organisation_that_is_erased_no_monitor_is_known_and_none_is_evaluated() {
    let world = World::new().await;
    world.put_channels(&["mail"]).await;
    world.create(cpu(json!({}))).await;
    world.create(cpu(json!({"name": "broken", "query": "avg:broken{*}"}))).await;
    world.figures.put("a", at(0), 99.0);
    world.evaluate(1).await;
    assert_eq!((world.incidents().await.len(), world.alerts.monitors_with_problem()), (1, 1));
    assert_eq!(world.alerts.kept_compiled(), 2);
    world.figures.put("a", at(1), 98.0);
    assert!(rows(&world).await.len() > 10);
    world.alerts.erase(OURS).await.unwrap();
    erase(&*world.store, OURS, Space::ALL).await.unwrap();
    assert_eq!((world.alerts.monitors_with_problem(), world.alerts.kept_compiled()), (0, 0));
    world.clock.set(at(9));
    assert_eq!(world.alerts.wakes.first(), None);
    assert_eq!(world.alerts.evaluate_due(at(9)).await.unwrap(), 0);
    assert_eq!(world.alerts.evaluate_woken(at(9)).await.unwrap(), 0);
    assert_eq!(world.alerts.sweep(at(99), 1_000).await.unwrap(), 0);
    assert_eq!((rows(&world).await, world.store.unread().count()), (Vec::new(), 0));
}
