//! What was added by this process need not be read again, and is told only if it was committed.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_added_and_not_committed_is_not_told_in_place_of_what_was() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    let titled = |title: &str| {
        let mut telling = world.telling("i", 1, Event::Opened, &["c"]);
        telling.incident.title = title.to_owned();
        telling
    };
    world.deliveries.add(&mut Batch::new(), &titled("never")).unwrap();
    let mut batch = Batch::new();
    world.deliveries.add(&mut batch, &titled("committed")).unwrap();
    world.store.commit(batch).await.unwrap();
    world.deliveries.committed();
    world.ended(1).await;
    let requests = world.network.requests.lock();
    let told: Vec<&str> = requests.iter().filter_map(|(_, text)| text.rsplit("\n\n").next()).collect();
    assert!(!told.is_empty() && told.iter().all(|text| *text == "committed"), "{told:?}");
    assert_eq!(world.deliveries.at_hand.load(Ordering::Relaxed), 0, "nothing is kept of what was told");
}

#[tokio::test(start_paused = true)]
async fn what_is_more_than_is_kept_at_hand_is_told_all_the_same() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.deliveries.at_hand.store(8 << 20, Ordering::Relaxed);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    assert_eq!(world.ended(1).await.delivery.state, DeliveryState::Delivered);
    assert_eq!(world.deliveries.at_hand.load(Ordering::Relaxed), 8 << 20);
}

#[tokio::test(start_paused = true)]
async fn what_an_evaluation_added_that_came_to_nothing_is_not_waited_for_long() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    let mut telling = world.telling("i", 1, Event::Opened, &["c"]);
    telling.incident.alerts[0].monitor = "7".into();
    world.deliveries.add(&mut Batch::new(), &telling).unwrap();
    drop(telling);
    world.deliveries.failed(world.organisation, MonitorId(8));
    world.deliveries.take_pending().await.unwrap();
    assert_eq!(world.deliveries.pending.lock().len(), 1, "it may be committed yet");
    world.deliveries.failed(world.organisation, MonitorId(7));
    world.deliveries.take_pending().await.unwrap();
    let left = world.deliveries.pending.lock().len();
    assert_eq!(left, 1, "what another added beside it, that tells of the same monitor, may be committed yet");
    world.clock.advance(2_000);
    world.deliveries.take_pending().await.unwrap();
    assert_eq!(world.deliveries.pending.lock().len(), 0);
    assert_eq!(world.deliveries.at_hand.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_close_does_not_overtake_an_open_whose_commit_was_not_heard_of() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    let mut batch = Batch::new();
    world.deliveries.add(&mut batch, &world.telling("i", 1, Event::Opened, &["c"])).unwrap();
    world.deliveries.pending.lock().clear();
    world.store.commit(batch).await.unwrap();
    world.tell("i", 2, Event::Closed, &["c"]).await;
    assert_eq!(world.ended(2).await.delivery.state, DeliveryState::Delivered);
    assert_eq!(world.network.sequences(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_there_was_no_room_to_look_for_is_found_once_it_is_committed() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    let mut batch = Batch::new();
    world.deliveries.add(&mut batch, &world.telling("i", 1, Event::Opened, &["c"])).unwrap();
    world.deliveries.pending.lock().clear();
    world.deliveries.overflowed.store(true, Ordering::Relaxed);
    world.store.commit(batch).await.unwrap();
    world.deliveries.committed();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.network.sequences(), [1]);
}
