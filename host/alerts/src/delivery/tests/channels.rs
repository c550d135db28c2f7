//! Channels as they are put, held back, said to be no more, and removed.

use super::*;
use fakes::Fate::{Answered, Hangs, Lost};

#[tokio::test(start_paused = true)]
async fn a_channel_is_checked_when_it_is_put_and_its_hosts_follow_from_its_settings() {
    let world = World::new().await;
    let channel = world.put("c", json!({})).await;
    let hosts: Vec<String> = channel.spec.hosts.iter().map(ToString::to_string).collect();
    assert_eq!((channel.version, hosts), (1, vec!["https://cards.example".to_owned()]));
    for (name, otherwise, field) in [
        ("C d", json!({}), "name"),
        ("", json!({}), "name"),
        ("c", json!({"formatter": "none"}), "formatter"),
        ("c", json!({"settings": {"nothing": 1}}), "settings.nothing"),
        ("c", json!({"settings": {"token": "unknown"}}), "settings.token"),
        ("c", json!({"rate": {"per_minute": 0}}), "rate.per_minute"),
        ("c", json!({"retry": {"attempts": 0}}), "retry.attempts"),
        ("c", json!({"retry": {"max_age_seconds": 9_999_999}}), "retry.max_age_seconds"),
        ("c", json!({"hosts": vec!["https://a.example"; 21]}), "hosts"),
    ] {
        let put = world.deliveries.put_channel(&world.admin, name, spec(&otherwise), None).await;
        let error = put.expect_err(field);
        assert_eq!(error.field().map(|error| error.field.as_str()), Some(field), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn settings_the_formatter_refuses_are_refused_when_the_channel_is_put_and_nothing_is_sent_or_kept() {
    let world = World::new().await;
    for (signing, field, why) in [
        ("rot13", "settings.signing", "expected basic or oauth"),
        ("never", "settings", "settings cards can tell an incident with; it says: nothing is signed so"),
        ("broken", "settings", "it says: cards does not sign"),
    ] {
        let otherwise = json!({"settings": {"url": "https://cards.example", "signing": signing}});
        let put = world.deliveries.put_channel(&world.admin, "c", spec(&otherwise), None).await;
        let error = put.expect_err(signing);
        assert_eq!(error.kind(), bellwether_kernel::ErrorKind::Invalid);
        assert_eq!(error.field().map(|error| error.field.as_str()), Some(field), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
    assert!(world.deliveries.channel(world.organisation, "c").await.is_err(), "nothing is kept");
    // What is there stays as it is, too.
    let before = world.put("c", json!({})).await;
    let otherwise = json!({"settings": {"url": "https://cards.example", "signing": "rot13"}});
    world.deliveries.put_channel(&world.admin, "c", spec(&otherwise), None).await.unwrap_err();
    assert_eq!(world.deliveries.channel(world.organisation, "c").await.unwrap(), before);
    assert!(world.network.requests.lock().is_empty(), "nothing is sent");
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_delivered_waits_while_its_organisation_is_suspended_and_comes_in_order_behind_that() {
    for restarts in [false, true] {
        let mut world = World::new().await;
        world.put("c", json!({})).await;
        world.tell("i", 1, Event::Opened, &["c"]).await;
        world.ended(1).await;
        let sent = world.network.requests.lock().len();
        world.access.suspend_organisation("host", world.organisation).await.unwrap();
        world.tell("i", 2, Event::Updated, &["c"]).await;
        world.tell("i", 3, Event::Closed, &["c"]).await;
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        if restarts {
            world = world.on(Arc::new(world.store.restart())).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3_600)).await;
        }
        assert_eq!(world.network.requests.lock().len(), sent, "{restarts}");
        for sequence in [2, 3] {
            assert_eq!(world.history(sequence).await.delivery.state, DeliveryState::Waiting, "{restarts}");
        }
        world.access.resume_organisation("host", world.organisation).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        for sequence in [2, 3] {
            let history = world.history(sequence).await;
            assert_eq!((history.delivery.state, history.attempts.len()), (DeliveryState::Delivered, 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_changes_that_know_the_same_version_one_is_refused() {
    let world = World::new().await;
    let put = |expected| world.deliveries.put_channel(&world.admin, "c", spec(&json!({})), expected);
    assert!(matches!(put(Some(1)).await, Err(AlertError::Conflict(_))), "there is none yet");
    assert!(put(Some(0)).await.unwrap().1);
    assert_eq!(put(Some(1)).await.unwrap().0.version, 2);
    assert!(matches!(put(Some(1)).await, Err(AlertError::Conflict(_))));
    assert_eq!(put(None).await.unwrap().0.version, 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_told_to_a_paused_channel_waits_until_it_is_resumed() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.deliveries.pause_channel(&world.admin, "c", "maintenance").await.unwrap();
    world.tell("i", 1, Event::Opened, &["c"]).await;
    tokio::time::sleep(Duration::from_secs(200_000)).await;
    assert_eq!(world.history(1).await.delivery.state, DeliveryState::Waiting);
    assert!(world.network.requests.lock().is_empty());
    world.deliveries.resume_channel(&world.admin, "c").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.history(1).await.delivery.state, DeliveryState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_says_it_is_no_more_is_told_nothing_until_it_is_resumed() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.network.deal(&[Answered(410)]);
    for sequence in [1, 2] {
        world.tell("i", sequence, Event::Opened, &["c"]).await;
        assert_eq!(world.ended(sequence).await.delivery.state, DeliveryState::Dead);
    }
    assert_eq!(world.network.requests.lock().len(), 1);
    let channel = world.deliveries.channel(world.organisation, "c").await.unwrap();
    assert!(
        matches!(&channel.state, ChannelState::Disabled { reason, .. } if reason == "gone: no"),
        "{channel:?}"
    );
    assert!(world.history(2).await.delivery.reason.unwrap().contains("disabled: gone: no"));
    let refused = world.deliveries.resend(&world.admin, &id("i", "c", 1)).await.unwrap_err();
    assert!(refused.to_string().contains("resume it first"), "{refused}");
    world.deliveries.resume_channel(&world.admin, "c").await.unwrap();
    for sequence in [1, 2] {
        world.deliveries.resend(&world.admin, &id("i", "c", sequence)).await.unwrap();
    }
    assert_eq!(world.ended(2).await.delivery.state, DeliveryState::Delivered);
    assert_eq!(world.network.sequences(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_was_mended_is_not_disabled_by_what_was_answered_before() {
    let world = World::new().await;
    let before = world.put("c", json!({})).await;
    world.put("c", json!({"settings": {"url": "https://cards.example/new", "token": "token"}})).await;
    world.deliveries.disable_gone(world.organisation, &before, "gone").await.unwrap();
    let channel = world.deliveries.channel(world.organisation, "c").await.unwrap();
    assert_eq!(channel.state, ChannelState::Active);
    world.deliveries.disable_gone(world.organisation, &channel, "gone").await.unwrap();
    let channel = world.deliveries.channel(world.organisation, "c").await.unwrap();
    assert!(matches!(channel.state, ChannelState::Disabled { .. }), "{channel:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_told_to_a_channel_that_was_deleted_is_a_dead_letter_that_says_so() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.network.deal(&[Lost]);
    world.tell("i", 1, Event::Opened, &["c"]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.deliveries.delete_channel(&world.admin, "c", false).await.unwrap();
    let ended = world.ended(1).await.delivery;
    assert_eq!(ended.state, DeliveryState::Dead);
    assert!(ended.reason.unwrap().contains("deleted"));
    assert!(matches!(
        world.deliveries.channel(world.organisation, "c").await,
        Err(AlertError::NotFound { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_monitors_or_routes_name_is_not_deleted_unless_it_is_forced() {
    use crate::rows::{self, MonitorRow};
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.put("d", json!({})).await;
    let mut batch = Batch::new();
    for number in 1..=23 {
        let channels = if number == 2 { json!(["d"]) } else { json!(["d", "c"]) };
        let now = world.clock.now();
        let row = MonitorRow {
            name: format!("m{number}"),
            version: 1,
            // What is only like it is not it.
            document: json!({"title": "c", "labels": {"c": "c"}, "channels": channels}).to_string(),
            created: now,
            updated: now,
            updated_by: "test".to_owned(),
        };
        batch.put(rows::monitor(world.organisation, MonitorId(number)), bellwether_store::encode(&row));
    }
    world.store.commit(batch).await.unwrap();
    let clock: Arc<dyn Clock> = world.clock.clone();
    let routes = Routes::new(world.store.clone(), world.access.clone(), clock);
    let matches = RouteMatch::default();
    for (name, csv) in [("countries", "country,channels\nde,d;c\n"), ("zones", "zone,channels\na,d\n")] {
        routes.put_table(&world.admin, name, matches.clone(), csv, None).await.unwrap();
    }
    let rule = |channel: &str| RouteRule {
        description: String::new(),
        matches: matches.clone(),
        channels: vec![channel.to_owned()],
    };
    let rules = RouteRules { rules: vec![rule("d"), rule("c")] };
    routes.put_rules(&world.admin, &rules, None).await.unwrap();
    let refused = world.deliveries.delete_channel(&world.admin, "c", false).await.unwrap_err();
    assert!(matches!(refused, AlertError::Conflict(_)), "{refused}");
    let text = refused.to_string();
    for part in ["the monitors m1, m3, m4, ", "m21 and 2 more", "by the routes table countries, rules[1]: "] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains("m2,") && !text.contains("zones"), "{text}");
    assert!(world.deliveries.channel(world.organisation, "c").await.is_ok());
    world.deliveries.delete_channel(&world.admin, "c", true).await.unwrap();
    assert!(world.deliveries.channel(world.organisation, "c").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn another_channel_of_that_name_does_not_go_on_with_what_the_first_kept() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.tell("i", 1, Event::Opened, &["c"]).await;
    world.ended(1).await;
    world.deliveries.delete_channel(&world.admin, "c", false).await.unwrap();
    world.put("c", json!({})).await;
    world.network.requests.lock().clear();
    world.tell("i", 2, Event::Updated, &["c"]).await;
    world.ended(2).await;
    let requests = world.network.requests.lock();
    assert!(requests[0].1.starts_with("GET https://cards.example/find/i\n"), "{}", requests[0].1);
}

#[tokio::test(start_paused = true)]
async fn channels_are_listed_by_name_in_pages() {
    let world = World::new().await;
    for name in ["b", "a", "c"] {
        world.put(name, json!({})).await;
    }
    let mut page = PageRequest::first(2);
    let first = world.deliveries.channels(world.organisation, &page).await.unwrap();
    page.cursor = first.next;
    let second = world.deliveries.channels(world.organisation, &page).await.unwrap();
    let names: Vec<String> =
        first.items.into_iter().chain(second.items).map(|channel| channel.name).collect();
    assert_eq!((names, second.next), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], None));
}

#[tokio::test(start_paused = true)]
async fn a_channel_can_be_tried_paused_or_not_and_shows_what_it_was_sent() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.deliveries.pause_channel(&world.admin, "c", "").await.unwrap();
    let trial = world.deliveries.try_channel(&world.admin, "c").await.unwrap();
    assert_eq!((trial.outcome, trial.formatter.as_str()), (Outcome::Delivered, "cards 1.0.0"));
    assert_eq!(trial.exchanges.len(), 2);
    assert_eq!(trial.exchanges[1].request["http"]["headers"][1]["value"], "‹secret token as percent›");
    assert_eq!(trial.exchanges[1].status, Some(201));
    world.network.deal(&[Answered(403)]);
    let trial = world.deliveries.try_channel(&world.admin, "c").await.unwrap();
    assert_eq!((trial.outcome, trial.reason.as_deref()), (Outcome::Failed, Some("answered 403: no")));
    assert!(world.list(&DeliveryFilter::default()).await.is_empty(), "nothing of it is kept");
    world.network.deal(&[Hangs]);
    let trial = world.deliveries.try_channel(&world.admin, "c").await.unwrap();
    let reason = trial.reason.unwrap_or_default();
    assert!(reason.contains("no answer came in time"), "one that never answers is reported: {reason}");
    // One that may be sent a request a minute is not waited for.
    world.put("c", json!({"rate": {"per_minute": 1, "burst": 1}})).await;
    let began = world.clock.now();
    let mut reasons = Vec::new();
    for _ in 0..3 {
        reasons.extend(world.deliveries.try_channel(&world.admin, "c").await.unwrap().reason);
    }
    assert!(reasons.iter().any(|reason| reason.contains("not over within 60 seconds")), "{reasons:?}");
    assert!(world.clock.now().milliseconds_since(began) <= 181_000, "it takes a bounded time");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_in_memory_of_a_channel_that_is_gone() {
    let world = World::new().await;
    for channel in ["c", "d"] {
        world.put(channel, json!({})).await;
    }
    world.tell("i", 1, Event::Opened, &["c", "d"]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let kept = || {
        let limiters = world.deliveries.limiters.lock();
        limiters.keys().map(|(_, name)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(kept(), ["c", "d"]);
    world.deliveries.delete_channel(&world.admin, "c", false).await.unwrap();
    assert_eq!(kept(), ["d"]);
    // Another host removes it.
    let mut batch = Batch::new();
    batch.delete(keys::channel(world.organisation, "d"));
    world.store.commit(batch).await.unwrap();
    world.tell("i", 2, Event::Closed, &["d"]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(kept().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_deleted_on_a_full_disk_too() {
    let world = World::new().await;
    world.put("c", json!({})).await;
    world.store.set_disk_full(true);
    world.deliveries.put_channel(&world.admin, "d", spec(&json!({})), None).await.unwrap_err();
    world.deliveries.delete_channel(&world.admin, "c", false).await.unwrap();
    assert!(world.deliveries.channel(world.organisation, "c").await.is_err());
}
