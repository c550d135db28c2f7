//! Many at once: folded where a later one tells the same, bounded, and no faster than a channel takes them.

use super::*;
use fakes::Fate::{Arrives, Away, Hangs, Later, Lost};

fn limits() -> DeliveryLimits {
    DeliveryLimits { at_once: 8, of_channel: 2, fold_above: 5, waiting: 10 }
}

#[tokio::test(start_paused = true)]
async fn updates_that_later_ones_make_needless_are_folded_and_never_an_opening_or_closing() {
    let world = World::with_limits(limits()).await;
    world.put("c", json!({})).await;
    *world.network.fates.lock() = Box::new(|_| Lost);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    for sequence in 2..8 {
        world.tell("i", sequence, Event::Updated, &["c"]).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    world.tell("i", 8, Event::Closed, &["c"]).await;
    *world.network.fates.lock() = Box::new(|_| Arrives);
    world.ended(8).await;
    let mut states = Vec::new();
    for sequence in 1..=8 {
        let delivery = world.ended(sequence).await.delivery;
        if delivery.state == DeliveryState::Folded {
            assert_eq!(delivery.event, Event::Updated);
            let reason = delivery.reason.unwrap();
            assert!(reason.contains("more than 5 deliveries waited"), "{reason}");
        } else {
            states.push((sequence, delivery.state));
        }
    }
    assert!(
        states.contains(&(1, DeliveryState::Delivered)) && states.contains(&(8, DeliveryState::Delivered))
    );
    assert!(states.len() < 5, "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_full_takes_closings_only_and_says_so() {
    let world = World::with_limits(limits()).await;
    world.put("c", json!({})).await;
    world.deliveries.pause_channel(&world.admin, "c", "").await.unwrap();
    for incident in 0..12 {
        world.tell(&format!("i{incident}"), 1, Event::Opened, &["c"]).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.tell("i0", 2, Event::Closed, &["c"]).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let dead = DeliveryFilter { state: Some(DeliveryState::Dead), ..DeliveryFilter::default() };
    assert_eq!(world.list(&dead).await, ["i11.c.1", "i10.c.1"]);
    let history = world.deliveries.delivery(world.organisation, &id("i11", "c", 1)).await.unwrap();
    assert!(history.delivery.reason.unwrap().contains("queue was full: 10 deliveries"));
    world.deliveries.resume_channel(&world.admin, "c").await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let waiting = DeliveryFilter { state: Some(DeliveryState::Waiting), ..DeliveryFilter::default() };
    assert!(world.list(&waiting).await.is_empty());
    assert_eq!(world.network.effects.lock().len(), 11);
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_sent_no_more_requests_than_its_rate_and_others_are_not_slowed() {
    let world = World::new().await;
    world.put("c", json!({"rate": {"per_minute": 60, "burst": 1}})).await;
    world.put("d", json!({})).await;
    for incident in 0..20 {
        world.tell(&format!("i{incident}"), 1, Event::Opened, &["c", "d"]).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let of = |channel: &str| {
        world.network.effects.lock().iter().filter(|effect| effect.channel == channel).count()
    };
    assert_eq!(of("d"), 20);
    assert!(of("c") < 3);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(of("c"), 20);
    // Two requests each, one a second.
    let times: Vec<i64> = world
        .network
        .requests
        .lock()
        .iter()
        .filter(|(_, text)| text.contains(".c.1"))
        .map(|(at, _)| at.as_milliseconds())
        .collect();
    assert_eq!(times.len(), 40);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 990), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn an_organisation_whose_receivers_all_hang_leaves_workers_to_others() {
    let world = World::with_limits(limits()).await;
    let (organisation, admin) = organisation(&world.access, "other").await;
    let other = World { organisation, admin, ..world.clone() };
    other.put("z", json!({})).await;
    let channels = ["a", "b", "c", "d", "e", "f"];
    for channel in channels {
        world.put(channel, json!({})).await;
    }
    *world.network.fates.lock() = Box::new(|_| Hangs);
    for incident in ["i", "j"] {
        world.tell(incident, 1, Event::Opened, &channels).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    *world.network.fates.lock() = Box::new(|_| Arrives);
    other.tell("k", 1, Event::Opened, &["z"]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let told = |channel: &str| world.network.effects.lock().iter().any(|effect| effect.channel == channel);
    assert!(told("z"), "it does not wait for those that hang");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(channels.iter().all(|channel| told(channel)));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_waits_for_the_rate_of_its_channel_keeps_no_worker_and_its_place() {
    let world = World::with_limits(limits()).await;
    let slow = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for channel in slow {
        world.put(channel, json!({"rate": {"per_minute": 1, "burst": 1}})).await;
    }
    world.put("z", json!({})).await;
    // Each looks for the card, and what it makes of the answer has to wait for a minute.
    world.tell("i", 1, Event::Opened, &slow).await;
    world.tell("i", 2, Event::Closed, &slow).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.tell("j", 1, Event::Opened, &["z"]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.network.effects.lock().len(), 1, "the one that need not wait");
    tokio::time::sleep(Duration::from_secs(180)).await;
    for channel in slow {
        let effects = world.network.effects.lock();
        let own: Vec<u32> =
            effects.iter().filter(|effect| effect.channel == channel).map(|effect| effect.sequence).collect();
        assert_eq!(own, [1, 2], "{channel}");
    }
    assert_eq!(world.network.overlaps.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_for_a_while_limits_no_channel() {
    const HOUR: i64 = 3_600_000;
    let world = World::new().await;
    world.put("c", json!({"rate": {"per_minute": 60, "burst": 1}})).await;
    world.clock.advance(HOUR);
    for incident in ["i", "j", "k"] {
        world.tell(incident, 1, Event::Opened, &["c"]).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.clock.advance(-HOUR);
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(world.network.effects.lock().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_retry_set_by_a_clock_that_was_ahead_is_made_once_the_clock_is_right_again_and_after_a_restart_too()
{
    const HOUR: i64 = 3_600_000;
    for restarts in [false, true] {
        for (fate, ahead) in [(Lost, HOUR), (Away(1_200), 2 * HOUR), (Later(60), HOUR), (Lost, 26 * HOUR)] {
            let mut world = World::new().await;
            world.put("c", json!({})).await;
            world.clock.advance(ahead);
            world.network.deal(&[fate]);
            world.tell("i", 1, Event::Opened, &["c"]).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(world.history(1).await.delivery.state, DeliveryState::Waiting);
            world.clock.advance(-ahead);
            if restarts {
                world = world.on(Arc::new(world.store.restart())).await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(if restarts { 1 } else { 130 })).await;
            let state = world.history(1).await.delivery.state;
            assert_eq!(state, DeliveryState::Delivered, "{ahead}, {restarts}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_limits_requests_is_left_alone_for_as_long_as_it_says_while_the_clock_is_right() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.network.deal(&[Later(3_600)]);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    tokio::time::sleep(Duration::from_secs(3_500)).await;
    assert_eq!(world.history(1).await.attempts.len(), 1);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(world.history(1).await.delivery.state, DeliveryState::Delivered);
}
