//! E-mail: recipients one by one, and ids that stay.

use super::*;

async fn sent(says: Vec<Vec<(&'static str, u16)>>) -> (DeliveryHistory, Vec<Letter>) {
    let world = World::new().await;
    world.put("c", json!({"formatter": "letters", "settings": {}})).await;
    *world.post.says.lock() = says.into();
    world.tell("i", 1, Event::Opened, &["c"]).await;
    let history = world.ended(1).await;
    let letters = world.post.letters.lock().clone();
    (history, letters)
}

#[tokio::test(start_paused = true)]
async fn recipients_refused_for_now_get_it_later_and_nobody_gets_it_twice() {
    let (a, b, c) = ("a@acme.example", "b@acme.example", "c@acme.example");
    let (history, letters) = sent(vec![vec![(a, 450), (c, 550)], vec![(a, 451)]]).await;
    assert_eq!(history.delivery.state, DeliveryState::Delivered, "{history:?}");
    let done: Vec<Vec<String>> = letters.iter().map(|letter| letter.done.clone()).collect();
    assert_eq!(done, [vec![], vec![b.to_owned(), c.to_owned()], vec![b.to_owned(), c.to_owned()]]);
    let ids: Vec<&str> = letters.iter().map(|letter| letter.message_id.as_str()).collect();
    assert_eq!(ids, ["i.c.1@mail.example"; 3]);
    assert_eq!(letters[0].references, ["i.c@mail.example"]);
    let said = history.attempts[2].exchanges[0].answer.as_deref().unwrap();
    assert!(said.contains("c@acme.example: 550 unknown"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn an_email_nobody_may_get_is_a_dead_letter() {
    let (a, b, c) = ("a@acme.example", "b@acme.example", "c@acme.example");
    let (history, letters) = sent(vec![vec![(a, 550), (b, 551), (c, 553)]]).await;
    assert_eq!((history.delivery.state, letters.len()), (DeliveryState::Dead, 1));
    assert_eq!(history.delivery.reason.as_deref(), Some("refused for everybody"));
}

const A: &str = "a@acme.example";
const B: &str = "b@acme.example";
const C: &str = "c@acme.example";

async fn letters() -> World {
    let world = World::new().await;
    world.put("c", json!({"formatter": "letters", "settings": {}})).await;
    world
}

/// To whom each e-mail went, and when.
fn posted(world: &World) -> Vec<Vec<String>> {
    let letters = world.post.letters.lock();
    let open =
        |letter: &Letter| letter.email.to.iter().filter(|to| !letter.done.contains(to)).cloned().collect();
    letters.iter().map(open).collect()
}

#[tokio::test(start_paused = true)]
async fn one_who_is_put_off_is_waited_for_an_hour_once_others_have_it_and_is_named_then() {
    let world = letters().await;
    // Now and then the server is not there at all.
    *world.post.says.lock() = (0..99).map(|at| vec![(if at == 3 { "*" } else { A }, 451)]).collect();
    let began = world.clock.now();
    world.tell("i", 1, Event::Opened, &["c"]).await;
    let history = world.ended(1).await;
    let took = history.delivery.ended.unwrap().milliseconds_since(began);
    assert_eq!(history.delivery.state, DeliveryState::Delivered, "{history:?}");
    assert!((3_600_000..3_610_000).contains(&took), "{took} ms");
    assert_eq!(history.delivery.reason.as_deref(), Some("told, but not to a@acme.example: busy"));
    let last = history.attempts.last().unwrap();
    assert_eq!(
        (last.outcome, last.reason.as_deref()),
        (Outcome::Delivered, history.delivery.reason.as_deref())
    );
    let said = last.exchanges[0].answer.as_deref();
    assert_eq!(said, Some("not taken for a@acme.example: busy"));
    assert_eq!(history.attempts[3].outcome, Outcome::Retry, "{:?}", history.attempts[3]);
    let posted = posted(&world);
    assert_eq!(posted[0], [A, B, C]);
    assert!(posted.len() > 10 && posted[1..].iter().all(|to| *to == [A]), "nobody gets it twice: {posted:?}");
}

#[tokio::test(start_paused = true)]
async fn one_who_is_put_off_does_not_hold_back_what_follows() {
    for crashes in [false, true] {
        let mut world = letters().await;
        *world.post.says.lock() = (0..12).map(|_| vec![(A, 451)]).collect();
        world.tell("i", 1, Event::Opened, &["c"]).await;
        // It is to be tried again in minutes.
        tokio::time::sleep(Duration::from_secs(400)).await;
        let before = world.history(1).await.delivery;
        assert_eq!(before.state, DeliveryState::Waiting);
        let wait = before.due.unwrap().milliseconds_since(world.clock.now());
        assert!(wait > 30_000, "{wait} ms");
        if crashes {
            world.deliveries.die();
        }
        world.tell("i", 2, Event::Closed, &["c"]).await;
        if crashes {
            world = world.on(Arc::new(world.store.restart())).await.unwrap();
        }
        // Less than the first try of what follows waits for the next.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let opening = world.history(1).await.delivery;
        assert_eq!(opening.state, DeliveryState::Delivered, "{crashes}");
        assert_eq!(opening.attempts, before.attempts + 1, "it is tried a last time");
        assert!(opening.reason.unwrap().contains("not to a@acme.example"));
        assert_eq!(world.history(2).await.delivery.attempts, 1, "{crashes}");
        let posted = posted(&world);
        assert_eq!(posted.last().unwrap(), &[A, B, C], "what follows is for everybody");
    }
}

#[tokio::test(start_paused = true)]
async fn what_follows_while_the_first_is_on_its_way_or_waits_already_is_not_held_back_either() {
    let world = letters().await;
    *world.post.says.lock() = (0..9).map(|_| vec![(A, 451)]).collect();
    for (sequence, event) in [(1, Event::Opened), (2, Event::Updated), (3, Event::Closed)] {
        world.tell("i", sequence, event, &["c"]).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let states = [world.history(1).await, world.history(2).await].map(|history| history.delivery);
    assert!(states.iter().all(|delivery| delivery.state == DeliveryState::Delivered), "{states:?}");
    // The first was tried before anything followed it, and once more when something did.
    assert_eq!(states.map(|delivery| delivery.attempts), [2, 1]);
    // Nothing follows the last: it waits for whom it does not reach.
    assert_eq!(world.history(3).await.delivery.state, DeliveryState::Waiting);
}

#[tokio::test(start_paused = true)]
async fn while_nobody_has_it_an_email_is_as_patient_as_any_delivery_and_holds_back_what_follows() {
    let world = letters().await;
    *world.post.says.lock() = (0..20).map(|_| vec![(A, 451), (B, 550), (C, 451)]).collect();
    world.tell("i", 1, Event::Opened, &["c"]).await;
    world.tell("i", 2, Event::Closed, &["c"]).await;
    tokio::time::sleep(Duration::from_secs(3_700)).await;
    assert_eq!(world.history(1).await.delivery.state, DeliveryState::Waiting);
    assert_eq!(world.history(2).await.delivery.attempts, 0);
    assert_eq!(world.ended(2).await.delivery.state, DeliveryState::Delivered);
    let reason = world.history(1).await.delivery.reason;
    assert_eq!(reason.as_deref(), Some("told, but not to b@acme.example: 550 unknown"), "the others have it");
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_less_patient_gives_up_on_those_who_are_put_off_as_it_says() {
    for (retry, most) in [(json!({"attempts": 3}), 10_000), (json!({"max_age_seconds": 60}), 65_000)] {
        let world = World::new().await;
        let channel = json!({"formatter": "letters", "settings": {}, "retry": retry});
        world.put("c", channel).await;
        *world.post.says.lock() = (0..99).map(|_| vec![(A, 451)]).collect();
        let began = world.clock.now();
        world.tell("i", 1, Event::Opened, &["c"]).await;
        let delivery = world.ended(1).await.delivery;
        assert_eq!(delivery.state, DeliveryState::Delivered);
        assert!(delivery.ended.unwrap().milliseconds_since(began) <= most, "{delivery:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_the_email_of_a_dead_letter_does_not_get_it_again_when_that_is_resent() {
    let world = letters().await;
    *world.post.says.lock() = vec![vec![(A, 451), (C, 550)]].into();
    world.tell("i", 1, Event::Opened, &["c"]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.deliveries.delete_channel(&world.admin, "c", false).await.unwrap();
    assert_eq!(world.ended(1).await.delivery.state, DeliveryState::Dead);
    world.put("c", json!({"formatter": "letters", "settings": {}})).await;
    world.deliveries.resend(&world.admin, &id("i", "c", 1)).await.unwrap();
    assert_eq!(world.ended(1).await.delivery.state, DeliveryState::Delivered);
    // Whom it was refused for is asked for again: the address may be known by now.
    assert_eq!(posted(&world), [vec![A, B, C], vec![A, C]]);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_sends_email_where_no_mail_server_is_set_says_so_and_what_it_is_told_waits_for_one() {
    let world = World::new().await;
    world.post.is_there.store(false, Ordering::SeqCst);
    let world = world.on(Arc::new(world.store.restart())).await.unwrap();
    let problem = async |world: &World, name| {
        let channel = world.deliveries.channel(world.organisation, name).await.unwrap();
        world.deliveries.channel_problem(world.organisation, &channel).await.unwrap()
    };
    world.put("c", json!({"formatter": "letters", "settings": {}})).await;
    world.put("cards", json!({})).await;
    let why = problem(&world, "c").await.unwrap();
    assert!(why.contains("no mail server") && why.contains("email.server"), "{why}");
    assert_eq!(problem(&world, "cards").await, None, "it needs none");
    let trial = world.deliveries.try_channel(&world.admin, "c").await.unwrap();
    assert_eq!((trial.outcome, trial.reason.as_deref()), (Outcome::Retry, Some(why.as_str())));

    world.tell("i", 1, Event::Opened, &["c"]).await;
    tokio::time::sleep(Duration::from_secs(7_200)).await;
    let waiting = world.history(1).await.delivery;
    assert_eq!((waiting.state, waiting.reason.as_deref()), (DeliveryState::Waiting, Some(why.as_str())));
    world.post.is_there.store(true, Ordering::SeqCst);
    let world = world.on(Arc::new(world.store.restart())).await.unwrap();
    assert_eq!(world.ended(1).await.delivery.state, DeliveryState::Delivered);
    assert_eq!(problem(&world, "c").await, None);
    assert_eq!(world.post.letters.lock().len(), 1);
}
