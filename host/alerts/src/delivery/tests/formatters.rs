//! Formatters that fail: it is not the receiver that is away.

use bellwether_kernel::ErrorKind;

use super::super::record::MemoryRow;
use super::fakes::Fate::Answered;
use super::*;

const MINUTE: i64 = 60_000;

impl World {
    /// From now on calls of the formatter fail so, until so many minutes from now.
    fn fail(&self, kind: ErrorKind, minutes: i64) {
        let until = self.clock.now().saturating_add(minutes * MINUTE);
        *self.network.formatter.lock() = Box::new(move |now| (now < until).then_some(kind));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_formatter_fails_at_for_minutes_is_a_dead_letter_that_says_so_and_can_be_resent() {
    for kind in [ErrorKind::Plugin, ErrorKind::Deadline] {
        let world = World::new().await;
        world.put("c", json!({})).await;
        world.fail(kind, 100_000);
        let began = world.clock.now();
        world.tell("i", 1, Event::Opened, &["c"]).await;
        let history = world.ended(1).await;
        let took = history.delivery.ended.unwrap().milliseconds_since(began);
        assert!((4 * MINUTE..=10 * MINUTE).contains(&took), "{took}");
        assert!((8..=12).contains(&history.delivery.attempts), "{history:?}");
        assert_eq!(history.delivery.state, DeliveryState::Dead);
        let reason = history.delivery.reason.unwrap();
        let parts = ["its formatter, not the receiver, has failed for 10m: plugin cards 1.0.0", "resend it"];
        assert!(parts.iter().all(|part| reason.contains(part)), "{reason}");

        // Resent too early, it is as patient again; once the formatter is mended, it is delivered.
        world.deliveries.resend(&world.admin, &id("i", "c", 1)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(world.history(1).await.delivery.state, DeliveryState::Waiting);
        assert_eq!(world.ended(1).await.delivery.state, DeliveryState::Dead);
        world.fail(kind, 0);
        world.deliveries.resend(&world.admin, &id("i", "c", 1)).await.unwrap();
        assert_eq!(world.ended(1).await.delivery.state, DeliveryState::Delivered);
    }
}

#[tokio::test(start_paused = true)]
async fn a_formatter_that_is_mended_within_minutes_loses_nothing_however_long_the_receiver_was_away() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    // Two hours in which the receiver fails, with a formatter that fails for three minutes of each twenty.
    let began = world.clock.now();
    *world.network.formatter.lock() = Box::new(move |now| {
        let minute = now.milliseconds_since(began) / MINUTE;
        (minute % 20 < 3).then_some(ErrorKind::Plugin)
    });
    *world.network.fates.lock() = Box::new(move |now| match now.milliseconds_since(began) < 120 * MINUTE {
        true => Answered(500),
        false => fakes::Fate::Arrives,
    });
    world.tell("i", 1, Event::Opened, &["c"]).await;
    let ended = world.ended(1).await.delivery;
    assert_eq!(ended.state, DeliveryState::Delivered, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_formatter_that_is_not_called_is_waited_for_unless_it_failed_at_this() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.fail(ErrorKind::Unavailable, 120);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    tokio::time::sleep(Duration::from_secs(119 * 60)).await;
    assert_eq!(world.history(1).await.delivery.state, DeliveryState::Waiting);
    assert_eq!(world.ended(1).await.delivery.state, DeliveryState::Delivered);

    // It fails at the next, and is left alone for it.
    let began = world.clock.now();
    let mut kinds = vec![ErrorKind::Plugin];
    *world.network.formatter.lock() = Box::new(move |_| kinds.pop().or(Some(ErrorKind::Unavailable)));
    world.tell("i", 2, Event::Updated, &["c"]).await;
    let ended = world.ended(2).await.delivery;
    assert_eq!(ended.state, DeliveryState::Dead);
    let took = ended.ended.unwrap().milliseconds_since(began);
    assert!(took <= 10 * MINUTE && ended.reason.unwrap().contains("its formatter"), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_formatter_that_wants_what_its_channel_does_not_set_is_tried_as_one_that_fails() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    *world.network.required.lock() = Some("thread");
    world.tell("i", 1, Event::Opened, &["c"]).await;
    tokio::time::sleep(Duration::from_secs(180)).await;
    assert_eq!(world.history(1).await.delivery.state, DeliveryState::Waiting);
    *world.network.required.lock() = None;
    assert_eq!(world.ended(1).await.delivery.state, DeliveryState::Delivered);

    *world.network.required.lock() = Some("thread");
    world.tell("i", 2, Event::Updated, &["c"]).await;
    let ended = world.ended(2).await.delivery;
    assert_eq!(ended.state, DeliveryState::Dead);
    assert!(ended.reason.unwrap().contains("thread"));
}

#[tokio::test(start_paused = true)]
async fn what_a_formatter_forgets_at_the_end_is_forgotten_whatever_it_kept_in_between() {
    let world = World::new().await;
    let settings = json!({"url": "https://cards.example", "token": "token", "signing": "forgets"});
    world.put("c", json!({"settings": settings})).await;
    world.network.cards.lock().insert(("c".into(), "i".into()), 1);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    assert_eq!(world.ended(1).await.delivery.state, DeliveryState::Delivered);
    let methods: Vec<String> =
        world.network.requests.lock().iter().map(|(_, text)| text.chars().take(3).collect()).collect();
    assert_eq!(methods, ["GET", "PUT"]);
    let row = world.store.get(&keys::memory(world.organisation, "c", "i")).await.unwrap().unwrap();
    let row: MemoryRow = bellwether_store::decode(&row).unwrap();
    assert_eq!(row.memory, b"");
}
