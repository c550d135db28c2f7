//! Many attempts at once: what comes of them is recorded together.

use super::*;
use crate::delivery::record::DeliveryRow;

#[tokio::test(start_paused = true)]
async fn what_comes_of_attempts_at_the_same_time_is_recorded_in_few_commits() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    let mut batch = Batch::new();
    for incident in 0..40 {
        let telling = world.telling(&format!("i{incident}"), 1, Event::Opened, &["c"]);
        world.deliveries.add(&mut batch, &telling).unwrap();
    }
    world.store.commit(batch).await.unwrap();
    let before = world.store.health().commits;
    world.deliveries.committed();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let delivered = DeliveryFilter { state: Some(DeliveryState::Delivered), ..DeliveryFilter::default() };
    assert_eq!(world.list(&delivered).await.len(), 40);
    let commits = world.store.health().commits - before;
    // Eight at a time.
    assert!((5..=10).contains(&commits), "{commits} commits");
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_recorded_keeps_no_other_from_it() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    for incident in ["i", "j", "k"] {
        world.tell(incident, 1, Event::Opened, &["c"]).await;
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    // All are on their way when somebody changes one of them.
    let key = keys::delivery(world.organisation, &id("j", "c", 1));
    let mut row: DeliveryRow =
        bellwether_store::decode(&world.store.get(&key).await.unwrap().unwrap()).unwrap();
    row.reason = Some("changed".to_owned());
    let mut batch = Batch::new();
    batch.put(key, bellwether_store::encode(&row));
    world.store.commit(batch).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    for (incident, times) in [("i", 1), ("j", 2), ("k", 1)] {
        let effects =
            world.network.effects.lock().iter().filter(|effect| effect.incident == incident).count();
        assert_eq!(effects, times, "{incident}");
        let history = world.deliveries.delivery(world.organisation, &id(incident, "c", 1)).await.unwrap();
        assert_eq!(history.delivery.state, DeliveryState::Delivered, "{incident}");
    }
}
