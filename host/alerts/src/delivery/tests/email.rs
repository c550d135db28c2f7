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
