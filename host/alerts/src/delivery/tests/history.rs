//! What is known of deliveries, and for how long.

use super::*;
use fakes::Fate::{Answered, Lost};

#[tokio::test(start_paused = true)]
async fn deliveries_are_found_newest_first_by_what_they_are() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.put("d", json!({})).await;
    let began = world.clock.now();
    world.network.deal(&[Answered(400), Answered(400)]);
    world.tell("i", 1, Event::Opened, &["c", "d"]).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let middle = world.clock.now();
    world.tell("j", 1, Event::Opened, &["c"]).await;
    world.tell("i", 2, Event::Updated, &["c"]).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let none = DeliveryFilter::default;
    for (filter, expected) in [
        (none(), vec!["j.c.1", "i.c.2", "i.d.1", "i.c.1"]),
        (DeliveryFilter { state: Some(DeliveryState::Dead), ..none() }, vec!["i.d.1", "i.c.1"]),
        (DeliveryFilter { state: Some(DeliveryState::Delivered), ..none() }, vec!["j.c.1", "i.c.2"]),
        (DeliveryFilter { channel: Some("d".into()), ..none() }, vec!["i.d.1"]),
        (DeliveryFilter { incident: Some("j".into()), ..none() }, vec!["j.c.1"]),
        (DeliveryFilter { since: Some(middle), ..none() }, vec!["j.c.1", "i.c.2"]),
        (DeliveryFilter { until: Some(middle), since: Some(began), ..none() }, vec!["i.d.1", "i.c.1"]),
    ] {
        assert_eq!(world.list(&filter).await, expected, "{filter:?}");
    }
    let wrong = PageRequest { limit: 1, cursor: Some(bellwether_kernel::Cursor(vec![1, 2])) };
    let refused = world.deliveries.deliveries(world.organisation, &none(), &wrong).await;
    assert!(matches!(refused, Err(AlertError::Invalid(_))));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_keeps_its_first_attempts_and_its_latest() {
    let world = World::new().await;
    world.put("c", json!({"retry": {"attempts": 60, "max_age_seconds": 2_592_000}})).await;
    *world.network.fates.lock() = Box::new(|_| Lost);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    let history = world.ended(1).await;
    let numbers: Vec<u32> = history.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!((&numbers[..5], numbers.len(), numbers.last()), (&[1, 2, 3, 4, 5][..], 45, Some(&60)));
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_is_cut_and_the_rest_of_the_record_stays() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    *world.network.echo.lock() = Some("\"x\u{1}".repeat(80_000));
    world.network.deal(&[Answered(400)]);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    let history = world.ended(1).await;
    let answer = history.attempts[0].exchanges[0].answer.as_deref().unwrap();
    assert!(answer.len() < 9_000 && answer.contains("bytes more)"), "{}", answer.len());
    assert_eq!(history.attempts[0].exchanges[0].status, Some(400));
    assert!(history.delivery.reason.unwrap().len() < 1_100);
}

#[tokio::test(start_paused = true)]
async fn what_ended_long_ago_is_forgotten_and_what_waits_or_is_recent_is_not() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.put("d", json!({})).await;
    for (sequence, event) in [(1, Event::Opened), (2, Event::Closed)] {
        world.tell("i", sequence, event, &["c", "d"]).await;
        world.ended(sequence).await;
    }
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    world.tell("j", 1, Event::Opened, &["c"]).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.deliveries.sweep(Duration::from_secs(2_000), 100).await.unwrap(), 0);
    assert_eq!(world.deliveries.sweep(Duration::from_secs(500), 1).await.unwrap(), 1);
    assert_eq!(world.deliveries.sweep(Duration::from_secs(500), 100).await.unwrap(), 3);
    assert_eq!(world.list(&DeliveryFilter::default()).await, ["j.c.1"]);
    let left = |space| {
        let rows = world.store.scan(Key::new(space).prefix(), Direction::Forward, 99);
        async move { rows.await.unwrap().len() }
    };
    use bellwether_store::Space;
    for (space, rows) in [
        (Space::Delivery, 1),
        (Space::DeliveryOrder, 1),
        (Space::DeliveryEnded, 1),
        (Space::DeliveryAttempt, 1),
        (Space::FormatterMemory, 1),
        (Space::Chunk, 1),
    ] {
        assert_eq!(left(space).await, rows, "{space:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_formatter_kept_is_forgotten_with_the_last_that_was_told_of_an_incident_that_is_gone() {
    use bellwether_store::Space;
    let world = World::new().await;
    world.put("c", json!({})).await;
    let [kept, gone] = ["018f0000-0000-7000-8000-000000000001", "018f0000-0000-7000-8000-000000000002"];
    for incident in [kept, gone] {
        world.tell(incident, 1, Event::Opened, &["c"]).await;
    }
    let mut batch = Batch::new();
    batch.put(rows::incident(world.organisation, kept.parse().unwrap()), "");
    world.store.commit(batch).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    assert_eq!(world.deliveries.sweep(Duration::from_secs(500), 100).await.unwrap(), 2);
    let memory = Key::new(Space::FormatterMemory).prefix();
    let left = world.store.scan(memory, Direction::Forward, 9).await.unwrap();
    let left: Vec<Key> = left.into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, [keys::memory(world.organisation, "c", kept)], "more may be told of it");
}

impl World {
    /// Tells something whose telling does not read.
    async fn tell_damaged(&self, sequence: u32, event: Event) {
        let (mut batch, telling) = (Batch::new(), self.telling("i", sequence, event, &["c"]));
        self.deliveries.add(&mut batch, &telling).unwrap();
        self.store.commit(batch).await.unwrap();
        self.damage_telling(sequence).await;
        self.deliveries.committed();
    }

    async fn damage_telling(&self, sequence: u32) {
        let (mut batch, key) = (Batch::new(), keys::telling(self.organisation, "i", sequence));
        bellwether_store::delete_large(&*self.store, &mut batch, &key).await.unwrap();
        self.store.commit(batch).await.unwrap();
        let mut batch = Batch::new();
        bellwether_store::put_large(&mut batch, &key, b"?").unwrap();
        self.store.commit(batch).await.unwrap();
    }

    async fn damage(&self, keys: Vec<Key>) {
        let mut batch = Batch::new();
        for key in keys {
            batch.put(key, "?");
        }
        self.store.commit(batch).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_whose_row_does_not_read_holds_nothing_back_and_is_told_once() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    let (mut batch, telling) = (Batch::new(), world.telling("i", 1, Event::Opened, &["c"]));
    world.deliveries.add(&mut batch, &telling).unwrap();
    world.store.commit(batch).await.unwrap();
    world.damage(vec![keys::delivery(world.organisation, &id("i", "c", 1))]).await;
    world.tell("i", 2, Event::Closed, &["c"]).await;
    assert_eq!(world.ended(2).await.delivery.state, DeliveryState::Delivered);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.store.unread().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_read_of_what_is_told_is_a_dead_letter_that_says_so() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.tell_damaged(1, Event::Opened).await;
    world.tell("i", 2, Event::Closed, &["c"]).await;
    let dead = world.ended(1).await.delivery;
    let reason = dead.reason.unwrap();
    assert!(dead.state == DeliveryState::Dead && reason.contains("what i tells does not read"), "{reason}");
    assert_eq!(world.ended(2).await.delivery.state, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn what_a_formatter_keeps_and_earlier_attempts_that_do_not_read_keep_nothing_from_being_delivered() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.network.deal(&[Answered(500)]);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    while world.history(1).await.attempts.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let first = id("i", "c", 1);
    let attempt = keys::attempt(world.organisation, &first, 1);
    world.damage(vec![attempt, keys::memory(world.organisation, "c", "i")]).await;
    let mut fails = Some(bellwether_kernel::ErrorKind::Plugin);
    *world.network.formatter.lock() = Box::new(move |_| fails.take());
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(world.network.sequences(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_channel_whose_row_does_not_read_is_waited_for() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    let key = keys::channel(world.organisation, "c");
    let whole = world.store.get(&key).await.unwrap().unwrap();
    world.damage(vec![key.clone()]).await;
    world.tell("i", 1, Event::Opened, &["c"]).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!((world.history(1).await.delivery.attempts, world.store.unread().count()), (0, 1));
    let mut batch = Batch::new();
    batch.put(key, whole);
    world.store.commit(batch).await.unwrap();
    let world = world.on(world.store.clone()).await.unwrap();
    assert_eq!(world.ended(1).await.delivery.state, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_read_keeps_nothing_else_from_being_forgotten() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    for sequence in 1..=3 {
        world.tell("i", sequence, Event::Updated, &["c"]).await;
        world.ended(sequence).await;
    }
    let damaged = keys::delivery(world.organisation, &id("i", "c", 1));
    world.damage(vec![damaged.clone(), keys::all_ended().signed(0)]).await;
    world.damage_telling(2).await;
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    assert_eq!(world.deliveries.sweep(Duration::from_secs(500), 100).await.unwrap(), 2);
    let left = world
        .store
        .scan(keys::line(world.organisation, "c", "i").prefix(), Direction::Forward, 9)
        .await
        .unwrap();
    assert_eq!(left.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), [damaged], "it may be mended");
    assert_eq!(world.deliveries.sweep(Duration::from_secs(500), 100).await.unwrap(), 0);
}

#[test]
fn an_id_is_read_back_and_its_key_fits_what_services_take() {
    for text in ["i.c.1", "2024.04.incident.ops-mail.17"] {
        let id: DeliveryId = text.parse().unwrap();
        assert_eq!((id.to_string().as_str(), id.idempotency_key().as_str()), (text, text));
    }
    for text in ["", "i.c", "i.C.1", ".c.1", "i.c.x", "i.c.-1"] {
        assert!(text.parse::<DeliveryId>().is_err(), "{text}");
    }
    let long = |sequence| id(&"i".repeat(64), &"c".repeat(32), sequence).idempotency_key();
    assert!(long(u32::MAX).len() <= 64);
    assert_ne!(long(1), long(2));
    // Formatters tie together what has the same in front of the last dot.
    let line = |key: String| key.rsplit_once('.').map(|(line, _)| line.to_owned());
    assert_eq!(line(long(1)), line(long(2)));
    assert_ne!(line(long(1)), line(id(&"i".repeat(64), &"d".repeat(32), 1).idempotency_key()));
}
