//! Organisations that are deleted: nothing is sent for them any more, and nobody else waits.

use bellwether_store::{Erase, Space, erase};

use super::*;
use fakes::Fate::Lost;

#[tokio::test(start_paused = true)]
async fn of_an_organisation_that_is_erased_nothing_is_delivered_any_more() {
    let world = World::new().await;
    let (other, admin) = organisation(&world.access, "other").await;
    let theirs = World { organisation: other, admin, ..world.clone() };
    *world.network.fates.lock() = Box::new(|_| Lost);
    for world in [&world, &theirs] {
        world.put("c", json!({})).await;
        world.tell("i", 1, Event::Opened, &["c"]).await;
        world.tell("j", 1, Event::Opened, &["c"]).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.deliveries.schedule.lock().waiting(), 4);
    world.access.suspend_organisation("host", world.organisation).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let spaces: Vec<_> = Space::ALL.iter().copied().filter(|space| *space != Space::Organisation).collect();
    for _ in 0..2 {
        assert_eq!(world.deliveries.erase(world.organisation).await.unwrap(), 0);
        erase(&*world.store, world.organisation, &spaces).await.unwrap();
    }
    assert_eq!(world.deliveries.schedule.lock().waiting(), 2);
    assert!(world.deliveries.known_channels.lock().keys().all(|(own, _)| *own == other));
    assert!(world.deliveries.limiters.lock().keys().all(|(own, _)| *own == other));
    // A minute later everything that waits is looked for.
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(world.deliveries.schedule.lock().waiting(), 2);
    assert_eq!(theirs.list(&DeliveryFilter::default()).await.len(), 2);
    assert!(world.list(&DeliveryFilter::default()).await.is_empty());
    assert_eq!(world.store.unread().count(), 0);
}
