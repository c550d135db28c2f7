//! Sessions that are left before their end.

use bellwether_store::{Direction, Key, Space, Store};

use super::{Fixture, START, seconds};
use crate::Sealed;

#[tokio::test]
async fn a_session_that_was_left_stays_so_until_it_would_have_ended_and_is_forgotten_then() {
    let fixture = Fixture::new().await;
    let [left, other] = [1, 2].map(|byte| Sealed(vec![byte]));
    let ends = seconds(START + 60);
    fixture.access.leave_session(&left, ends).await.unwrap();
    // Twice is once.
    fixture.access.leave_session(&left, ends).await.unwrap();
    let fixture = fixture.restart().await;
    assert!(fixture.access.was_left(&left, ends).await.unwrap());
    assert!(!fixture.access.was_left(&other, ends).await.unwrap());
    fixture.clock.advance(60_001);
    fixture.access.leave_session(&other, seconds(START + 120)).await.unwrap();
    let rows = Key::new(Space::SessionLeft).prefix();
    assert_eq!(fixture.store.scan(rows, Direction::Forward, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_session_is_left_on_a_full_disk_too() {
    let fixture = Fixture::new().await;
    fixture.store.set_disk_full(true);
    let (left, ends) = (Sealed(vec![1]), seconds(START + 60));
    fixture.access.leave_session(&left, ends).await.unwrap();
    assert!(fixture.access.was_left(&left, ends).await.unwrap());
}

#[tokio::test]
async fn a_clock_that_is_ahead_for_a_while_brings_no_session_back_that_was_left() {
    let fixture = Fixture::new().await;
    let [left, other] = [1, 2].map(|byte| Sealed(vec![byte]));
    let ends = seconds(START + 3600);
    fixture.access.leave_session(&left, ends).await.unwrap();
    fixture.clock.advance(365 * 24 * 3_600_000);
    fixture.clock.distrust(true);
    fixture.access.leave_session(&other, ends).await.unwrap();
    assert!(fixture.access.was_left(&left, ends).await.unwrap());
}
