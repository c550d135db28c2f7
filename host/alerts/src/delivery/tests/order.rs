//! At least once, in order, patiently.

use super::*;
use fakes::Fate::{Answered, Arrives, Away, Elsewhere, Later, Lost, Unanswered};

#[tokio::test(start_paused = true)]
async fn a_close_never_overtakes_its_open_and_channels_do_not_wait_for_each_other() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.put("d", json!({})).await;
    // The first looks for the card; what it sends then does not arrive.
    world.network.deal(&[Lost; 12]);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    world.tell("i", 2, Event::Updated, &["c"]).await;
    world.tell("i", 3, Event::Closed, &["c"]).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(world.network.sequences().is_empty());
    *world.network.fates.lock() = Box::new(|_| Arrives);
    world.tell("other", 1, Event::Opened, &["d"]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.network.sequences(), [1], "the other channel's");
    let last = world.ended(3).await;
    assert_eq!(last.delivery.state, DeliveryState::Delivered);
    assert_eq!(world.network.sequences(), [1, 1, 2, 3]);
    assert!(world.history(1).await.delivery.attempts > 1);
    assert_eq!(world.network.overlaps.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_server_asks_for_is_kept_to_and_waits_grow_without_it() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.network.deal(&[Later(90), Answered(500), Answered(500), Answered(500)]);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    let history = world.ended(1).await;
    let times: Vec<i64> = history.attempts.iter().map(|attempt| attempt.time.as_milliseconds()).collect();
    let waits: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits.len(), 4, "{history:?}");
    assert!((90_000..92_000).contains(&waits[0]), "{waits:?}");
    assert!((1_000..2_100).contains(&waits[1]) && (4_000..8_100).contains(&waits[3]), "{waits:?}");
    assert_eq!(history.attempts[0].outcome, Outcome::Retry);
    assert_eq!(history.attempts[0].exchanges[0].status, Some(429));
    assert_eq!(history.attempts[4].outcome, Outcome::Delivered);
}

#[tokio::test(start_paused = true)]
async fn however_long_a_receiver_asks_to_wait_it_is_tried_again_within_the_age() {
    // What it answers, what the channel allows, and after how many seconds the second attempt is made.
    for (fate, age, second) in [
        (Later(90_000), 86_400, 86_400),
        (Later(3_600), 86_400, 3_600),
        (Later(3_600), 60, 60),
        (Away(90_000), 86_400, 600),
        (Away(3_600), 60, 60),
        (Away(30), 60, 30),
    ] {
        let world = World::new().await;
        world.put("c", json!({"retry": {"max_age_seconds": age}})).await;
        world.network.deal(&[fate]);
        world.tell("i", 1, Event::Opened, &["c"]).await;
        let history = world.ended(1).await;
        assert_eq!(history.delivery.state, DeliveryState::Delivered, "{fate:?}: {history:?}");
        let [first, again] = &history.attempts[..] else { panic!("{fate:?}: {history:?}") };
        let wait = again.time.milliseconds_since(first.time);
        assert!((second * 1_000..=second * 1_000 + 1_100).contains(&wait), "{fate:?} in {age} s: {wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_given_up_says_what_ended_it_and_is_tried_last_as_its_time_ends() {
    let world = World::new().await;
    world.put("c", json!({"retry": {"max_age_seconds": 60}})).await;
    *world.network.fates.lock() = Box::new(|_| Away(3_600));
    world.tell("i", 1, Event::Opened, &["c"]).await;
    let history = world.ended(1).await;
    let reason = history.delivery.reason.unwrap();
    let expected =
        "given up after 2 attempts, as the channel's retry.max_age_seconds of 60 s were over: answered";
    assert!(reason.starts_with(expected), "{reason}");

    let world = World::new().await;
    world.put("c", json!({"retry": {"attempts": 1}})).await;
    world.network.deal(&[Lost]);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    let reason = world.ended(1).await.delivery.reason.unwrap();
    assert!(reason.starts_with("given up after 1 attempt, as many as"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_no_success_and_the_reason_says_where_it_leads() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.network.deal(&[Elsewhere]);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    let ended = world.ended(1).await.delivery;
    let reason = ended.reason.unwrap();
    assert_eq!(ended.state, DeliveryState::Dead);
    let expected = "; it redirects to https://elsewhere.example/hook, and redirects are not followed";
    assert!(reason.starts_with("answered 302") && reason.ends_with(expected), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_card_whose_making_was_not_answered_is_found_and_not_made_again() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.network.deal(&[Arrives, Unanswered]);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    assert_eq!(world.ended(1).await.delivery.state, DeliveryState::Delivered);
    assert_eq!(world.network.cards.lock().values().copied().collect::<Vec<_>>(), [1]);
    let methods: Vec<String> =
        world.network.effects.lock().iter().map(|effect| effect.method.clone()).collect();
    assert_eq!(methods, ["POST", "PUT"]);
    // What it was found under is kept: the next telling asks no more.
    world.network.requests.lock().clear();
    world.tell("i", 2, Event::Updated, &["c"]).await;
    world.ended(2).await;
    assert_eq!(world.network.requests.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_given_up_after_its_attempts_or_its_time_and_can_be_resent() {
    for (retry, most, why) in [
        (
            json!({"attempts": 3}),
            3,
            "given up after 3 attempts, as many as the channel's retry.attempts allows: ",
        ),
        (
            json!({"max_age_seconds": 10, "attempts": 1_000}),
            6,
            "attempts, as the channel's retry.max_age_seconds of 10 s were over: ",
        ),
    ] {
        let world = World::new().await;
        world.put("c", json!({"retry": retry})).await;
        *world.network.fates.lock() = Box::new(|_| Lost);
        world.tell("i", 1, Event::Opened, &["c"]).await;
        let given_up = world.ended(1).await;
        assert_eq!(given_up.delivery.state, DeliveryState::Dead);
        assert!(given_up.delivery.attempts <= most, "{given_up:?}");
        let reason = given_up.delivery.reason.unwrap();
        assert!(reason.contains("given up after") && reason.contains("refused"), "{reason}");
        assert!(reason.contains(why), "{reason}");
        let dead = DeliveryFilter { state: Some(DeliveryState::Dead), ..DeliveryFilter::default() };
        assert_eq!(world.list(&dead).await, ["i.c.1"]);

        world.network.deal(&[Lost]);
        world.deliveries.resend(&world.admin, &id("i", "c", 1)).await.unwrap();
        assert!(world.list(&dead).await.is_empty());
        let again = world.ended(1).await;
        assert_eq!(again.delivery.state, DeliveryState::Delivered);
        assert_eq!(again.delivery.attempts, given_up.delivery.attempts + 2, "as patiently as before");
        let refused = world.deliveries.resend(&world.admin, &id("i", "c", 1)).await.unwrap_err();
        assert!(refused.to_string().contains("no dead letter"), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_opening_is_not_resent_once_the_channel_took_its_closing() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.network.deal(&[Answered(400)]);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    assert_eq!(world.ended(1).await.delivery.state, DeliveryState::Dead);
    world.tell("i", 2, Event::Closed, &["c"]).await;
    assert_eq!(world.ended(2).await.delivery.state, DeliveryState::Delivered);
    let refused = world.deliveries.resend(&world.admin, &id("i", "c", 1)).await.unwrap_err();
    assert!(refused.to_string().contains("took i.c.2 since"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_committed_is_not_delivered_and_what_was_is_found_after_a_crash() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    let mut batch = Batch::new();
    world.deliveries.add(&mut batch, &world.telling("never", 1, Event::Opened, &["c"])).unwrap();
    world.deliveries.committed();
    world.deliveries.die();
    let mut batch = Batch::new();
    world.deliveries.add(&mut batch, &world.telling("i", 1, Event::Opened, &["c"])).unwrap();
    world.store.commit(batch).await.unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(world.network.requests.lock().is_empty());
    let world = world.on(Arc::new(world.store.restart())).await.unwrap();
    world.ended(1).await;
    assert_eq!(world.network.sequences(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_host_ends_what_is_on_its_way_and_begins_nothing_more() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.tell("i", 1, Event::Opened, &["c"]).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(world.network.requests.lock().len(), 1, "it is on its way");
    world.deliveries.stop(Duration::from_secs(10)).await;
    assert_eq!(world.history(1).await.delivery.state, DeliveryState::Delivered);
    world.tell("i", 2, Event::Closed, &["c"]).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(world.history(2).await.delivery.state, DeliveryState::Waiting);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_does_not_read_keeps_no_other_from_being_made() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.put("d", json!({})).await;
    world.network.deal(&[Lost; 2]);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    world.tell("i", 2, Event::Opened, &["d"]).await;
    let mut batch = Batch::new();
    let waiting = keys::waiting(world.organisation, &id("i", "c", 1));
    batch.put(waiting, b"?".to_vec());
    world.store.commit(batch).await.unwrap();
    let world = world.on(Arc::new(world.store.restart())).await.unwrap();
    *world.network.fates.lock() = Box::new(|_| Arrives);
    tokio::time::sleep(Duration::from_secs(200)).await;
    let told = world.deliveries.delivery(world.organisation, &id("i", "d", 2)).await.unwrap();
    assert_eq!(told.delivery.state, DeliveryState::Delivered);
    assert_eq!(world.store.unread().count(), 1);
}
