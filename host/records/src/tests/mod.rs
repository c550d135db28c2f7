//! What the service as a whole promises, on the memory store.

mod crash;
mod damage;
mod erasing;
mod interrupted;
mod keeping;
mod nearest;
mod searching;

use std::sync::Arc;
use std::time::Duration;

use bellwether_kernel::{HostId, ManualClock, OrganisationId, RecordId, Timestamp};
use bellwether_store::{Batch, MemoryStore, Objects, StoreError};

use crate::{Content, Found, Limits, Order, Parts, RecordError, RecordKind, Records, Search, parse};

const OURS: OrganisationId = OrganisationId(1);
const THEIRS: OrganisationId = OrganisationId(2);
const NOW: &str = "2026-03-01T12:00:00Z";
const HOUR: i64 = 60 * 60 * 1000;
const DAY: i64 = 24 * HOUR;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// A log of so many milliseconds before [`NOW`].
fn log(ago: i64, message: &str) -> Content {
    Content { time: at(NOW).saturating_add(-ago), message: message.to_owned(), ..Content::default() }
}

fn search(query: &str) -> Search {
    Search {
        kind: RecordKind::Log,
        query: parse(query).unwrap(),
        start: Timestamp::MIN,
        end: Timestamp::MAX,
        order: Order::Newest,
        limit: 100,
        cursor: None,
    }
}

fn messages(found: &Found) -> Vec<&str> {
    found.records.iter().map(|record| record.content.message.as_str()).collect()
}

/// The records of one host, its store, its folder and its clock.
struct House {
    records: Records,
    store: Arc<MemoryStore>,
    objects: Objects,
    clock: Arc<ManualClock>,
    folder: Arc<tempfile::TempDir>,
}

impl House {
    async fn new() -> Self {
        Self::limited(Limits::default()).await
    }

    async fn limited(limits: Limits) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Self::on(Arc::default(), folder, Arc::new(ManualClock::new(at(NOW))), limits).await.unwrap()
    }

    async fn on(
        store: Arc<MemoryStore>,
        folder: Arc<tempfile::TempDir>,
        clock: Arc<ManualClock>,
        limits: Limits,
    ) -> Result<Self, RecordError> {
        let objects = Objects::open(folder.path()).unwrap();
        let parts = Parts {
            store: Arc::clone(&store) as _,
            objects: objects.clone(),
            clock: Arc::clone(&clock) as _,
            host: HostId(1),
            limits,
        };
        Ok(Self { records: Records::open(parts).await?, store, objects, clock, folder })
    }

    /// The same store after the process ended and began again.
    async fn restarted(&self) -> Self {
        let (store, limits) = (Arc::new(self.store.restart()), *self.records.limits());
        Self::on(store, Arc::clone(&self.folder), Arc::clone(&self.clock), limits).await.unwrap()
    }

    async fn append(&self, logs: Vec<Content>) -> Result<RecordId, RecordError> {
        self.records.append(OURS, RecordKind::Log, logs, Batch::new()).await
    }

    async fn found(&self, search: Search) -> Found {
        self.records.search(OURS, search).await.unwrap()
    }

    /// Every log that matches, page by page, and how many pages there were.
    async fn all(&self, mut search: Search) -> (Vec<crate::Record>, usize) {
        let (mut records, mut pages) = (Vec::new(), 0);
        loop {
            let found = self.found(search.clone()).await;
            pages += 1;
            records.extend(found.records);
            search.cursor = found.next;
            if search.cursor.is_none() {
                return (records, pages);
            }
        }
    }

    /// Bytes of the files in the folder of segments.
    fn bytes(&self) -> u64 {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }
}

#[tokio::test]
async fn what_is_appended_is_got_by_its_id_and_found_after_a_restart() {
    let house = House::new().await;
    let first = house.append(vec![log(2000, "one"), log(1000, "two")]).await.unwrap();
    assert_eq!(first, RecordId(1));
    let event = Content { title: "Deployed".to_owned(), ..log(0, "version 2") };
    let third =
        house.records.append(OURS, RecordKind::Event, vec![event.clone()], Batch::new()).await.unwrap();
    assert_eq!(third, RecordId(3));
    for house in [&house.restarted().await, &house.restarted().await] {
        let got = house.records.get(OURS, RecordKind::Log, RecordId(2)).await.unwrap();
        assert_eq!(got.content, log(1000, "two"));
        assert_eq!(house.records.get(OURS, RecordKind::Event, third).await.unwrap().content, event);
        assert_eq!(messages(&house.found(search("*")).await), ["two", "one"]);
        house.records.pack().await.unwrap();
        assert_eq!(messages(&house.found(search("*")).await), ["two", "one"]);
        for (kind, id) in [(RecordKind::Event, 1), (RecordKind::Log, 3), (RecordKind::Log, 99)] {
            let error = house.records.get(OURS, kind, RecordId(id)).await.unwrap_err();
            assert_eq!(error.to_string(), format!("there is no {kind} {id}"));
        }
    }
}

#[tokio::test]
async fn nobody_sees_another_organisations_records() {
    let house = House::new().await;
    house.append(vec![log(1, "ours")]).await.unwrap();
    let theirs =
        house.records.append(THEIRS, RecordKind::Log, vec![log(1, "ours")], Batch::new()).await.unwrap();
    assert_eq!(theirs, RecordId(1), "each organisation counts its own");
    house.records.pack().await.unwrap();
    // The same records of two organisations are two files.
    assert_eq!(house.objects.list().unwrap().len(), 2);
    assert_eq!(house.found(search("*")).await.records.len(), 1);
    let nobody = house.records.search(OrganisationId(3), search("*")).await.unwrap();
    assert_eq!(nobody, Found::default());
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_by_its_field_and_nothing_of_the_batch_is_kept() {
    let house = House::limited(Limits {
        record_bytes: 2000,
        batch_records: 3,
        batch_bytes: 3000,
        ..Limits::default()
    })
    .await;
    type Change = fn(&mut Content);
    let cases: [(&str, Change); 9] = [
        ("time", |content| content.time = at("1969-12-31")),
        ("time", |content| content.time = at("2026-03-03")),
        ("title", |content| content.title = "x".repeat(1001)),
        ("status", |content| content.status = "x".repeat(201)),
        ("host", |content| content.host = "a\nb".to_owned()),
        ("tags[1]", |content| content.tags = vec!["a".to_owned(), ":b".to_owned()]),
        ("tags", |content| content.tags = vec!["a".to_owned(); 201]),
        ("message", |content| content.message = "x".repeat(2000)),
        ("attributes", |content| content.attributes = "[1]".to_owned()),
    ];
    for (field, change) in cases {
        let mut wrong = log(0, "x");
        change(&mut wrong);
        match house.append(vec![log(0, "good"), wrong]).await {
            Err(RecordError::Invalid(error)) => assert_eq!(error.field, format!("records[1].{field}")),
            other => panic!("{field}: {other:?}"),
        }
    }
    let event = house.records.append(OURS, RecordKind::Event, vec![log(0, "no title")], Batch::new()).await;
    assert!(matches!(event, Err(RecordError::Invalid(error)) if error.field == "records[0].title"));
    assert!(matches!(house.append(Vec::new()).await, Err(RecordError::Invalid(_))));
    let many = house.append(vec![log(0, "x"); 4]).await.unwrap_err();
    assert_eq!(many.to_string(), "at most 3 records of one append");
    let large = house.append(vec![log(0, &"x".repeat(1500)); 2]).await.unwrap_err();
    assert_eq!(large.to_string(), "at most 3000 bytes of records in one append");
    assert!(house.found(search("*")).await.records.is_empty());
}
