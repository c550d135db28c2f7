//! `Idempotency-Key`: one effect, one answer.

use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, Key, Space, Store};
use bytes::Bytes;

use super::Fixture;
use crate::{
    ANSWER_KEPT, Begun, CLAIM_KEPT, Idempotency, IdempotencyError, MAX_ANSWER, StoredAnswer, Ticket,
};

const ACME: Option<OrganisationId> = Some(OrganisationId(1));
const FIRST: [u8; 32] = [1; 32];
const OTHER: [u8; 32] = [2; 32];

fn answer(text: &str) -> StoredAnswer {
    StoredAnswer { status: 201, content_type: "application/json".into(), body: Bytes::from(text.to_owned()) }
}

fn ticket(begun: Begun) -> Ticket {
    match begun {
        Begun::New(ticket) => ticket,
        Begun::Replay(answer) => panic!("replayed {answer:?}"),
    }
}

fn replayed(begun: Begun) -> StoredAnswer {
    match begun {
        Begun::New(ticket) => panic!("new {ticket:?}"),
        Begun::Replay(answer) => answer,
    }
}

fn effect(value: &'static str) -> (Key, Batch) {
    let key = Key::new(Space::Metric).text("effect");
    let mut batch = Batch::new();
    batch.put(key.clone(), value);
    (key, batch)
}

#[tokio::test]
async fn a_repetition_gets_the_first_answer_even_after_a_restart() {
    let fixture = Fixture::new().await;
    let requests = fixture.access.idempotency();
    let begun = ticket(requests.begin(ACME, "k", FIRST).await.unwrap());
    begun.finish(&answer("made")).await.unwrap();
    replay(&fixture).await;
    replay(&fixture.restart().await).await;
}

async fn replay(fixture: &Fixture) {
    let requests = fixture.access.idempotency();
    assert_eq!(replayed(requests.begin(ACME, "k", FIRST).await.unwrap()), answer("made"));
    assert_eq!(replayed(requests.lookup(ACME, "k", FIRST).await.unwrap()), answer("made"));
    assert!(matches!(requests.begin(ACME, "k", OTHER).await, Err(IdempotencyError::Mismatch)));
    ticket(requests.lookup(ACME, "l", FIRST).await.unwrap());
    ticket(requests.lookup(Some(OrganisationId(2)), "k", OTHER).await.unwrap());
    ticket(requests.lookup(None, "k", OTHER).await.unwrap());
}

#[tokio::test]
async fn a_claimed_request_is_in_progress_until_it_ends() {
    let fixture = Fixture::new().await;
    let requests = fixture.access.idempotency();
    let begun = ticket(requests.begin(ACME, "k", FIRST).await.unwrap());
    assert!(matches!(requests.begin(ACME, "k", FIRST).await, Err(IdempotencyError::InProgress)));
    assert!(matches!(requests.begin(ACME, "k", OTHER).await, Err(IdempotencyError::Mismatch)));
    begun.abandon().await.unwrap();
    let again = ticket(requests.begin(ACME, "k", OTHER).await.unwrap());
    again.finish(&answer("second")).await.unwrap();
    assert_eq!(replayed(requests.begin(ACME, "k", OTHER).await.unwrap()), answer("second"));
}

#[tokio::test]
async fn of_many_at_once_one_begins() {
    let fixture = Fixture::new().await;
    let requests = fixture.access.idempotency();
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let requests = requests.clone();
            tokio::spawn(async move { requests.begin(ACME, "k", FIRST).await })
        })
        .collect();
    let mut begun = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(Begun::New(_)) => begun += 1,
            Err(IdempotencyError::InProgress) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(begun, 1);
}

#[tokio::test]
async fn an_answer_joins_the_commit_of_its_effect() {
    let fixture = Fixture::new().await;
    let requests = fixture.access.idempotency();
    let commits = || fixture.store.health().commits;
    let before = commits();
    let first = ticket(requests.lookup(ACME, "k", FIRST).await.unwrap());
    let second = ticket(requests.lookup(ACME, "k", FIRST).await.unwrap());

    let (row, mut write) = effect("first");
    write.append(first.finish_batch(&answer("first")).unwrap());
    fixture.store.commit(write).await.unwrap();
    assert_eq!(commits() - before, 1, "one commit does both");

    let (_, mut late) = effect("second");
    late.append(second.finish_batch(&answer("second")).unwrap());
    let error = fixture.store.commit(late).await.unwrap_err();
    assert!(second.lost(&error), "{error}");
    assert_eq!(fixture.store.get(&row).await.unwrap().unwrap(), "first", "no second effect");
    assert_eq!(replayed(requests.lookup(ACME, "k", FIRST).await.unwrap()), answer("first"));
    let elsewhere = bellwether_store::StoreError::Conflict(row);
    assert!(!second.lost(&elsewhere), "a conflict of the write itself is not the ticket's");
}

#[tokio::test]
async fn a_lapsed_claim_is_taken_over_and_its_owner_told() {
    let fixture = Fixture::new().await;
    let requests = fixture.access.idempotency();
    let slow = ticket(requests.begin(ACME, "k", FIRST).await.unwrap());
    fixture.clock.advance(CLAIM_KEPT - 1);
    assert!(matches!(requests.begin(ACME, "k", FIRST).await, Err(IdempotencyError::InProgress)));
    fixture.clock.advance(1);
    let quick = ticket(requests.begin(ACME, "k", FIRST).await.unwrap());
    assert!(matches!(slow.finish(&answer("slow")).await, Err(IdempotencyError::Lost)));
    quick.finish(&answer("quick")).await.unwrap();
    assert_eq!(replayed(requests.begin(ACME, "k", FIRST).await.unwrap()), answer("quick"));
}

#[tokio::test]
async fn who_lost_a_claim_takes_nothing_from_its_new_owner() {
    let fixture = Fixture::new().await;
    let requests = fixture.access.idempotency();
    let slow = ticket(requests.begin(ACME, "k", FIRST).await.unwrap());
    fixture.clock.advance(CLAIM_KEPT);
    let quick = ticket(requests.begin(ACME, "k", FIRST).await.unwrap());
    slow.abandon().await.unwrap();
    assert!(matches!(requests.begin(ACME, "k", FIRST).await, Err(IdempotencyError::InProgress)));
    quick.finish(&answer("quick")).await.unwrap();
}

#[tokio::test]
async fn an_answer_is_forgotten_after_a_day_and_swept() {
    let fixture = Fixture::new().await;
    let requests = fixture.access.idempotency();
    for number in 0..100 {
        let begun = ticket(requests.begin(ACME, &format!("old {number}"), FIRST).await.unwrap());
        begun.finish(&answer("old")).await.unwrap();
    }
    fixture.clock.advance(ANSWER_KEPT - 1);
    ticket(requests.begin(ACME, "new", FIRST).await.unwrap()).finish(&answer("new")).await.unwrap();
    assert_eq!(replayed(requests.begin(ACME, "old 1", FIRST).await.unwrap()), answer("old"));
    assert_eq!(requests.sweep().await.unwrap(), 0);
    fixture.clock.advance(1);
    fixture.clock.distrust(true);
    assert_eq!(requests.sweep().await.unwrap(), 0, "the clock may be wrong");
    fixture.clock.distrust(false);
    ticket(requests.begin(ACME, "old 1", OTHER).await.unwrap()).finish(&answer("again")).await.unwrap();
    assert_eq!(requests.sweep().await.unwrap(), 99);
    assert_eq!(replayed(requests.begin(ACME, "old 1", OTHER).await.unwrap()), answer("again"));
    assert_eq!(replayed(requests.begin(ACME, "new", FIRST).await.unwrap()), answer("new"));
}

#[tokio::test]
async fn the_largest_answer_fits_a_row_and_a_larger_one_is_refused_before_anything_happens() {
    let fixture = Fixture::new().await;
    let requests = fixture.access.idempotency();
    let begun = ticket(requests.begin(ACME, "k", FIRST).await.unwrap());
    let sized = |body: usize, kind: usize| StoredAnswer {
        status: 200,
        content_type: "x".repeat(kind),
        body: Bytes::from(vec![7; body]),
    };
    for (body, kind) in [(MAX_ANSWER + 1, 0), (0, 1025)] {
        let refused = begun.finish_batch(&sized(body, kind));
        assert!(matches!(refused, Err(IdempotencyError::TooLarge { .. })), "{body} {kind}");
    }
    begun.finish(&sized(MAX_ANSWER, 1024)).await.unwrap();
    assert_eq!(replayed(requests.begin(ACME, "k", FIRST).await.unwrap()), sized(MAX_ANSWER, 1024));
}

#[tokio::test]
async fn what_is_beside_an_answer_is_found_and_forgotten_with_it() {
    let fixture = Fixture::new().await;
    let requests = fixture.access.idempotency();
    let begun = ticket(requests.lookup(ACME, "k", FIRST).await.unwrap());
    assert_eq!(requests.beside(ACME, "k").await.unwrap(), None);
    let (mut batch, key) = begun.finish_beside(&answer("first")).unwrap();
    batch.put(key.clone().number(0), "more").put(key.clone().number(1), "still more");
    fixture.store.commit(batch).await.unwrap();
    assert_eq!(requests.beside(ACME, "k").await.unwrap(), Some(key.clone()));
    let rows = async || {
        fixture.store.scan(key.prefix(), bellwether_store::Direction::Forward, 10).await.unwrap().len()
    };
    fixture.clock.advance(ANSWER_KEPT - 1);
    assert_eq!((requests.sweep().await.unwrap(), rows().await), (0, 2));
    fixture.clock.advance(2);
    assert_eq!((requests.sweep().await.unwrap(), rows().await), (1, 0));
}

#[tokio::test]
async fn a_remembered_answer_is_sealed() {
    let fixture = Fixture::new().await;
    let begun = ticket(fixture.access.idempotency().begin(ACME, "k", FIRST).await.unwrap());
    begun.finish(&answer("bw_a-new-keys-token")).await.unwrap();
    let range = Key::new(Space::Idempotency).prefix();
    let rows = fixture.store.scan(range, bellwether_store::Direction::Forward, 10).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert!(!rows[0].1.windows(5).any(|window| window == b"token"));
}

#[test]
fn the_header_is_read_in_quotes_and_without() {
    let longest = "k".repeat(255);
    for (text, expected) in [
        (r#""8e03978e-40d5""#, Some("8e03978e-40d5")),
        ("8e03978e-40d5", Some("8e03978e-40d5")),
        (r#"  "a b"  "#, Some("a b")),
        (r#""a\"b\\c""#, Some(r#"a"b\c"#)),
        (longest.as_str(), Some(longest.as_str())),
        ("", None),
        (r#""""#, None),
        (r#"""#, None),
        (r#""a"#, None),
        (r#""a"b""#, None),
        (r#""a\b""#, None),
        (r#""a\""#, None),
        ("tab\there", None),
        ("é", None),
        (&"k".repeat(256), None),
    ] {
        let read = Idempotency::read_header(text.as_bytes());
        assert_eq!(read.ok().as_deref(), expected, "{text}");
    }
}

#[test]
fn a_fingerprint_tells_parts_from_each_other() {
    let of = Idempotency::fingerprint;
    assert_eq!(of(&[b"POST", b"/x", b"{}"]), of(&[b"POST", b"/x", b"{}"]));
    assert_ne!(of(&[b"POST", b"/x", b"{}"]), of(&[b"POST/x", b"", b"{}"]));
    assert_ne!(of(&[b"POST", b"/x"]), of(&[b"POST", b"/x", b""]));
}
