//! Whoever calls may stop waiting at any moment, and what they called may fail: what is in memory is what is in the
//! store, and what is left undone is done by the next.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bellwether_kernel::Clock;
use bellwether_store::{
    Committed, Direction, Health, Key, Row, Store, Unread, decode, delete_large, given_up,
};
use bytes::Bytes;
use tokio::sync::Notify;

use super::*;
use crate::{Retention, layout};

const LOGS: (OrganisationId, RecordKind) = (OURS, RecordKind::Log);

/// Lets what nobody waits for go on.
async fn rest() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// What is found is what a start finds, and no file is there that nothing refers to.
async fn assert_as_after_a_restart(house: &House, polls: usize) {
    let (found, totals) = (house.found(search("*")).await, house.records.totals(RecordKind::Log));
    let restarted = house.restarted().await;
    assert_eq!(restarted.found(search("*")).await, found, "given up at the poll {polls}");
    assert_eq!(restarted.records.totals(RecordKind::Log), totals, "given up at the poll {polls}");
    assert_eq!(house.objects.list().unwrap().len() as u64, totals.segments, "given up at the poll {polls}");
}

/// Does something to a house and gives up waiting at each poll there is; afterwards the house is as a restarted one.
async fn at_each_poll(house: impl AsyncFn() -> House, work: impl AsyncFn(&House)) {
    for polls in 1.. {
        let house = house().await;
        house.store.answer_late();
        let ended = given_up(work(&house), polls).await;
        rest().await;
        house.append(vec![log(0, "later")]).await.unwrap();
        house.records.tend().await.unwrap();
        house.records.pack().await.unwrap();
        assert_as_after_a_restart(&house, polls).await;
        if ended {
            return;
        }
    }
}

/// So many chunks that the next append packs them before it goes on.
async fn backlog() -> House {
    let house = House::limited(Limits { chunks: 2, ..Limits::default() }).await;
    // Nobody else does.
    house.records.shared.packing.lock().insert(LOGS);
    for number in 0..8 {
        house.append(vec![log(number % 2 * DAY, "early")]).await.unwrap();
    }
    house
}

#[tokio::test]
async fn an_append_that_packs_may_be_given_up_at_any_moment() {
    at_each_poll(backlog, async |house| {
        house.append(vec![log(0, "given up")]).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_append_may_be_given_up_at_any_moment_and_is_found_if_it_is_durable() {
    at_each_poll(House::new, async |house| {
        house.append(vec![log(0, "given up")]).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_append_that_began_to_commit_is_found_though_nobody_waits_for_it() {
    let house = House::new().await;
    assert!(!given_up(house.append(vec![log(0, "given up")]), 1).await);
    rest().await;
    assert_eq!(messages(&house.found(search("*")).await), ["given up"]);
}

#[tokio::test]
async fn upkeep_may_be_given_up_at_any_moment() {
    let house = async || {
        let house = House::limited(Limits { keep_logs_days: 30, ..Limits::default() }).await;
        for age in [29, 29, 0, 0, 0, 0] {
            house.append(vec![log(age * DAY, "early")]).await.unwrap();
            house.records.pack().await.unwrap();
        }
        house.append(vec![log(0, "early")]).await.unwrap();
        house.clock.advance(2 * DAY);
        house
    };
    at_each_poll(house, async |house| house.records.tend().await.unwrap()).await;
}

#[tokio::test]
async fn a_packing_of_everything_may_be_given_up_at_any_moment() {
    at_each_poll(backlog, async |house| house.records.pack().await.unwrap()).await;
}

#[tokio::test]
async fn how_long_records_are_kept_is_known_if_it_is_durable() {
    let keep = Retention { logs_days: Some(3), events_days: None };
    for polls in 1.. {
        let house = House::new().await;
        house.store.answer_late();
        let ended = given_up(house.records.set_retention(OURS, keep, Batch::new()), polls).await;
        rest().await;
        let known = house.records.retention(OURS);
        assert_eq!(house.restarted().await.records.retention(OURS), known, "given up at the poll {polls}");
        if ended {
            break;
        }
    }
}

/// Answers its first commit when it is told to.
struct Late {
    store: Arc<MemoryStore>,
    has_first: AtomicBool,
    answer: Notify,
}

#[async_trait]
impl Store for Late {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.store.get(key).await
    }

    async fn scan(
        &self,
        range: Range<Key>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.store.scan(range, direction, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        let is_first = !self.has_first.swap(true, Ordering::Relaxed);
        let committed = self.store.commit(batch).await;
        if is_first {
            self.answer.notified().await;
        }
        committed
    }

    fn health(&self) -> Health {
        self.store.health()
    }

    fn unread(&self) -> &Unread {
        self.store.unread()
    }
}

#[tokio::test]
async fn of_two_changes_of_how_long_records_are_kept_the_one_that_is_stored_is_known() {
    let (folder, store) = (tempfile::tempdir().unwrap(), Arc::<MemoryStore>::default());
    let late = Late { store: Arc::clone(&store), has_first: AtomicBool::new(false), answer: Notify::new() };
    let late = Arc::new(late);
    let parts = Parts {
        store: Arc::clone(&late) as _,
        objects: Objects::open(folder.path()).unwrap(),
        clock: Arc::new(ManualClock::new(at(NOW))),
        host: HostId(1),
        limits: Limits::default(),
    };
    let records = Arc::new(Records::open(parts).await.unwrap());
    let change = |days| {
        let records = Arc::clone(&records);
        let keep = Retention { logs_days: Some(days), events_days: None };
        tokio::spawn(async move { records.set_retention(OURS, keep, Batch::new()).await })
    };
    let stored = async || store.get(&layout::retention(OURS)).await.unwrap();
    let first = change(5);
    while stored().await.is_none() {
        tokio::task::yield_now().await;
    }
    // It is durable and not known yet. The second has time to overtake it.
    let second = change(3);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    late.answer.notify_one();
    for change in [first, second] {
        change.await.unwrap().unwrap();
    }
    assert_eq!(records.retention(OURS), decode(&stored().await.unwrap()).unwrap());
}

/// Panics when it is asked once more than so often.
struct Stumbling {
    asked: AtomicUsize,
    stumbles: usize,
}

impl Clock for Stumbling {
    fn now(&self) -> Timestamp {
        assert_ne!(self.asked.fetch_add(1, Ordering::Relaxed), self.stumbles, "as it should");
        at(NOW)
    }
}

#[tokio::test]
async fn after_a_packing_that_panics_there_are_others() {
    let folder = tempfile::tempdir().unwrap();
    // Each append asks once, and then the packing.
    let clock = Stumbling { asked: AtomicUsize::new(0), stumbles: 3 };
    let records = Records::open(Parts {
        store: Arc::<MemoryStore>::default(),
        objects: Objects::open(folder.path()).unwrap(),
        clock: Arc::new(clock),
        host: HostId(1),
        limits: Limits { chunks: 2, ..Limits::default() },
    })
    .await
    .unwrap();
    let append = async || records.append(OURS, RecordKind::Log, vec![log(0, "x")], Batch::new()).await;
    for _ in 0..3 {
        append().await.unwrap();
    }
    rest().await;
    assert_eq!(records.totals(RecordKind::Log).chunks, 3, "nothing is packed");
    append().await.unwrap();
    while records.totals(RecordKind::Log).segments == 0 {
        rest().await;
    }
}

#[tokio::test]
async fn a_disk_that_fills_while_segments_are_made_keeps_none_of_them() {
    let full = |done| matches!(done, Err(RecordError::Store(StoreError::DiskFull { .. })));
    let house = House::new().await;
    // Segments are announced, put, and then their disk is full.
    for round in 0..4 {
        house.append(vec![log(0, "x"), log(DAY, "x")]).await.unwrap();
        house.store.fill_after(1);
        assert!(full(house.records.pack().await));
        assert_eq!(house.objects.list().unwrap().len(), 2 * round);
        house.store.set_disk_full(false);
        house.records.pack().await.unwrap();
        assert_eq!(house.objects.list().unwrap().len(), 2 * (round + 1));
    }
    house.store.fill_after(1);
    assert!(full(house.records.tend().await));
    assert_eq!(house.objects.list().unwrap().len(), 8, "what was to be merged");
    house.store.set_disk_full(false);
    house.records.tend().await.unwrap();
    assert_eq!(house.objects.list().unwrap().len(), 2);
    assert_as_after_a_restart(&house, 0).await;
}

#[tokio::test]
async fn what_is_damaged_keeps_nobody_else_from_upkeep() {
    let house = House::new().await;
    let all = || (1..20).map(OrganisationId);
    for organisation in all() {
        house.records.append(organisation, RecordKind::Log, vec![log(0, "x")], Batch::new()).await.unwrap();
    }
    for damaged in [OURS, THEIRS] {
        let mut batch = Batch::new();
        let chunk = layout::chunk(HostId(1), damaged, RecordId(1));
        delete_large(&*house.store, &mut batch, &chunk).await.unwrap();
        house.store.commit(batch).await.unwrap();
    }
    house.clock.advance(11 * 60 * 1000);
    house.records.tend().await.unwrap();
    assert_eq!(house.store.unread().count(), 2, "they are told");
    let totals = house.records.totals(RecordKind::Log);
    assert_eq!((totals.chunks, totals.segments), (2, 17));
}
