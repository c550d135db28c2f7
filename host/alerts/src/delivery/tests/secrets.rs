//! Secrets go where they may and are seen nowhere.

use super::*;
use crate::tests::log::Log;
use fakes::Fate::{Answered, Arrives, Lost};

/// Every way the secret may be written.
fn forms() -> Vec<String> {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    let json = serde_json::Value::from(SECRET).to_string();
    vec![
        SECRET.to_owned(),
        engine.encode(SECRET),
        engine.encode(format!("me:{SECRET}")),
        percent_encoding::utf8_percent_encode(SECRET, percent_encoding::NON_ALPHANUMERIC).to_string(),
        json[1..json.len() - 1].to_owned(),
    ]
}

fn assert_clean(place: &str, text: &str) {
    let parts = ["correct horse", "correct%20horse", "correct+horse", "token-number"].map(str::to_owned);
    for form in forms().into_iter().chain(parts) {
        assert!(!text.contains(&form), "{place} holds {form:?}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_in_no_row_no_history_no_log_and_no_error() {
    let (log, _guard) = Log::listen();
    for signing in ["", "basic", "oauth"] {
        let world = World::new().await;
        let settings = json!({"url": "https://cards.example", "token": "token", "signing": signing});
        world.put("c", json!({"settings": settings})).await;
        // The server repeats what it was sent, in every form, with an answer of every kind.
        *world.network.echo.lock() = Some(forms().join(" | "));
        world.network.deal(&[Answered(500), Lost, Answered(400), Answered(410), Arrives]);
        world.tell("i", 1, Event::Opened, &["c"]).await;
        let first = world.ended(1).await;
        assert_eq!(first.delivery.state, DeliveryState::Dead);
        assert_eq!(first.attempts.len(), 3);
        world.tell("i", 2, Event::Updated, &["c"]).await;
        let second = world.ended(2).await;
        let trial = world.deliveries.try_channel(&world.admin, "c").await.unwrap();
        let sent = format!("{:?}", world.network.requests.lock());
        assert!(sent.contains("correct%20horse"), "it was sent: {sent}");
        for (place, text) in [
            ("the history", format!("{first:?}{second:?}")),
            ("the trial", format!("{trial:?}")),
            ("the channel", format!("{:?}", world.deliveries.channel(world.organisation, "c").await)),
        ] {
            assert_clean(place, &text);
        }
        for (key, row) in world.rows().await {
            assert_clean(&format!("the row {key:?}"), &String::from_utf8_lossy(&row));
        }
        assert!(format!("{first:?}").contains("‹secret token›"), "{first:?}");
    }
    let log = log.take();
    assert!(log.contains("dead letters"), "{log}");
    assert_clean("the log", &log);
}

#[tokio::test(start_paused = true)]
async fn a_secret_goes_to_no_host_it_is_not_bound_to() {
    for (hosts, expected) in [
        (vec![], "may be sent nowhere"),
        (
            vec!["https://other.example"],
            "may not be sent to https://cards.example, only to https://other.example",
        ),
        (vec!["http://cards.example"], "may not be sent to https://cards.example"),
    ] {
        let world = World::new().await;
        world.put("c", json!({})).await;
        let hosts: Vec<String> = hosts.into_iter().map(str::to_owned).collect();
        world.access.put_secret(&world.admin, "token", SECRET, hosts).await.unwrap();
        world.tell("i", 1, Event::Opened, &["c"]).await;
        let reason = world.ended(1).await.delivery.reason.unwrap();
        assert!(reason.contains(expected), "{reason}");
        assert!(world.network.requests.lock().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_goes_to_no_host_it_does_not_name_and_a_secret_that_is_gone_is_named() {
    let world = World::new().await;
    // It looks a card up, and may make none.
    world.put("c", json!({"hosts": ["GET https://cards.example"]})).await;
    world.tell("i", 1, Event::Opened, &["c"]).await;
    let reason = world.ended(1).await.delivery.reason.unwrap();
    assert!(reason.contains("does not POST https://cards.example"), "{reason}");
    world.access.delete_secret(&world.admin, "token").await.unwrap();
    world.tell("i", 2, Event::Updated, &["c"]).await;
    let reason = world.ended(2).await.delivery.reason.unwrap();
    assert!(reason.contains("there is no secret \"token\" any more"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_may_not_send_its_first_request_is_refused_and_its_test_says_why() {
    let world = World::new().await;
    let bound = async |hosts: &[&str]| {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        world.access.put_secret(&world.admin, "token", SECRET, hosts).await.unwrap();
    };
    let other = "this one may be sent only to https://other.example: put it again with that host";
    for (hosts, more, field, value, expected) in [
        (&["https://other.example"][..], json!({}), "settings.token", "token", other),
        (
            &["https://other.example"],
            json!({"settings": {"url": "https://cards.example", "token": "token", "signing": "oauth"}}),
            "settings.token",
            "token",
            "a secret that may be sent to https://cards.example;",
        ),
        (&[], json!({}), "settings.token", "token", "this one may be sent nowhere"),
        (
            &["https://cards.example"],
            json!({"hosts": ["https://a.example", "https://*.cards.example"]}),
            "hosts",
            "https://a.example, https://*.cards.example",
            "https://cards.example among them, where cards sends a GET request",
        ),
        (
            &["https://cards.example"],
            json!({"hosts": ["POST https://cards.example"]}),
            "hosts",
            "POST https://cards.example",
            "https://cards.example among them, where cards sends a GET request",
        ),
    ] {
        bound(hosts).await;
        let put = world.deliveries.put_channel(&world.admin, "c", spec(&more), None).await;
        let error = put.expect_err(field);
        let fault = error.field().unwrap_or_else(|| panic!("{error}"));
        assert_eq!((fault.field.as_str(), fault.value.as_str()), (field, value), "{error}");
        assert!(fault.expected.contains(expected), "{error}");
        assert_clean("the error", &error.to_string());
    }
    bound(&["https://cards.example"]).await;
    world.put("c", json!({})).await;
    bound(&["https://other.example"]).await;
    let trial = world.deliveries.try_channel(&world.admin, "c").await.unwrap();
    let reason =
        "the secret \"token\" may not be sent to https://cards.example, only to https://other.example";
    assert_eq!((trial.outcome, trial.reason.as_deref()), (Outcome::Failed, Some(reason)));
    assert!(world.network.requests.lock().is_empty(), "nothing is sent");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_kept_while_it_is_good_and_had_anew_when_it_is_refused() {
    let world = World::new().await;
    let settings = json!({"url": "https://cards.example", "token": "token", "signing": "oauth"});
    world.put("c", json!({"settings": settings})).await;
    let tokens = || {
        let requests = world.network.requests.lock();
        requests.iter().filter(|(_, request)| request.contains("/token")).count()
    };
    world.tell("i", 1, Event::Opened, &["c"]).await;
    world.ended(1).await;
    assert_eq!(tokens(), 1);
    let asked = world.network.requests.lock()[0].1.clone();
    assert!(
        asked.contains("grant_type=client_credentials&client_id=me&client_secret=correct+horse"),
        "{asked}"
    );
    world.network.deal(&[Answered(401)]);
    world.tell("i", 2, Event::Updated, &["c"]).await;
    assert_eq!(world.ended(2).await.delivery.attempts, 1, "it is repeated at once");
    assert_eq!(tokens(), 2);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    world.tell("i", 3, Event::Closed, &["c"]).await;
    world.ended(3).await;
    assert_eq!(tokens(), 3, "an hour later it is no longer good");
}

#[tokio::test(start_paused = true)]
async fn a_page_in_place_of_a_token_is_tried_again_and_an_answer_without_one_is_not() {
    let world = World::new().await;
    let settings = json!({"url": "https://cards.example", "token": "token", "signing": "oauth"});
    world.put("c", json!({"settings": settings})).await;
    *world.network.no_tokens.lock() = ["<html>\n Sign in", "", r#"{"access_tok"#].into();
    world.tell("i", 1, Event::Closed, &["c"]).await;
    let history = world.ended(1).await;
    assert_eq!((history.delivery.state, history.attempts.len()), (DeliveryState::Delivered, 4));
    let reason = "no token: https://cards.example/token answered 200, and what is no JSON";
    assert_eq!(history.attempts[0].reason.as_deref(), Some(reason));
    *world.network.no_tokens.lock() = [r#"{"token_type": "bearer"}"#].into();
    world.network.deal(&[Answered(401)]);
    world.tell("i", 2, Event::Opened, &["c"]).await;
    let history = world.ended(2).await;
    assert_eq!((history.delivery.state, history.attempts.len()), (DeliveryState::Dead, 1));
    let reason = "no token: https://cards.example/token answered no access_token";
    assert_eq!(history.delivery.reason.as_deref(), Some(reason));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_whose_secret_does_not_open_is_tried_until_its_patience_ends_and_says_why() {
    use bellwether_store::Space;
    let world = World::new().await;
    world.put("c", json!({"retry": {"attempts": 2}})).await;
    let secrets = Key::new(Space::Secret).number(world.organisation.0);
    let mut batch = Batch::new();
    batch.put(secrets.text("token"), "?");
    world.store.commit(batch).await.unwrap();
    world.tell("i", 1, Event::Opened, &["c"]).await;
    let history = world.ended(1).await;
    assert_eq!((history.delivery.state, history.attempts.len()), (DeliveryState::Dead, 2));
    let reason = history.delivery.reason.unwrap();
    assert!(reason.starts_with("given up after 2 attempts") && reason.contains("secret"), "{reason}");
    world.tell("i", 2, Event::Closed, &["c"]).await;
    let hosts = vec!["https://cards.example".to_owned()];
    world.access.put_secret(&world.admin, "token", SECRET, hosts).await.unwrap();
    assert_eq!(world.ended(2).await.delivery.state, DeliveryState::Delivered, "put again it opens");
}

#[tokio::test(start_paused = true)]
async fn a_channel_whose_secret_is_gone_says_so_and_who_names_a_secret_is_known() {
    let world = World::new().await;
    let channel = world.put("c", json!({})).await;
    // The same text in a setting that is no secret is not its name.
    world
        .put("d", json!({"settings": {"url": "https://cards.example", "signing": "basic", "token": "token"}}))
        .await;
    let organisation = world.organisation;
    let naming =
        async |secret: &str| world.deliveries.channels_naming_secret(organisation, secret).await.unwrap();
    assert_eq!(naming("token").await, ["c", "d"]);
    assert!(naming("basic").await.is_empty() && naming("other").await.is_empty());
    assert_eq!(world.deliveries.channel_problem(organisation, &channel).await.unwrap(), None);
    world.access.delete_secret(&world.admin, "token").await.unwrap();
    let problem = world.deliveries.channel_problem(organisation, &channel).await.unwrap();
    let expected = "there is no secret \"token\", which its setting token names";
    assert_eq!(problem.as_deref(), Some(expected));
}
