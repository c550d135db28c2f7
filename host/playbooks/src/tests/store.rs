//! Playbooks as they are kept: versions, tokens, roles, the audit log.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use bellwether_access::{AuditFilter, AuditScope};
use bellwether_alerts::Tellings;
use bellwether_kernel::{ErrorKind, PageRequest, PlaybookId};
use bellwether_store::{Batch, Precondition, StoreError};
use serde_json::json;
use tokio::sync::Notify;

use super::passing::{Asked, Passing, Way};
use super::*;

fn document(name: &str, trigger: &str) -> String {
    json!({"name": name, "trigger": {"type": trigger}, "steps": [{"id": "a", "app": "echo"}]}).to_string()
}

#[tokio::test]
async fn a_replaced_playbook_keeps_its_id_and_its_token_and_counts_on() {
    let world = World::new().await;
    let put = async |trigger| {
        world.playbooks.store(&world.admin, &document("a", trigger), Format::Json, true).await.unwrap()
    };
    let first = put("webhook").await;
    world.clock.advance(1_000);
    let second = put("webhook").await;
    assert_eq!((first.id, first.version), (PlaybookId(1), 1));
    assert_eq!((second.id, second.version, second.created), (first.id, 2, first.created));
    assert!(second.updated > second.created);
    let token = first.webhook_token.clone().unwrap();
    assert_eq!(token.len(), 32);
    assert_eq!(second.webhook_token, Some(token.clone()));
    assert!(world.playbooks.start_by_webhook(&token, post("", "")).await.is_ok());

    // A trigger by hand has no token, and a webhook after it the one there was.
    assert_eq!(put("manual").await.webhook_token, None);
    let refused = world.playbooks.start_by_webhook(&token, post("", "")).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert!(!refused.to_string().contains(&token), "a token is not repeated: {refused}");
    let back = world.playbooks.roll_back(&world.admin, "a", None).await.unwrap();
    assert_eq!((back.version, &back.webhook_token), (2, &Some(token.clone())));
    assert!(world.playbooks.start_by_webhook(&token, post("", "")).await.is_ok());
    assert_eq!(put("manual").await.webhook_token, None);
    assert_eq!(put("webhook").await.webhook_token, Some(token));
    put("manual").await;
    world.playbooks.delete(&world.admin, "a", false).await.unwrap();
    assert_eq!(world.rows_of(Space::Webhook).await, 0);
}

#[tokio::test]
async fn a_name_is_taken_until_its_playbook_is_deleted() {
    let world = World::new().await;
    let put =
        async || world.playbooks.store(&world.admin, &document("a", "webhook"), Format::Json, false).await;
    let first = put().await.unwrap();
    assert!(matches!(put().await, Err(PlaybookError::Exists(name)) if name == "a"));
    let deleted = world.playbooks.delete(&world.admin, "a", false).await.unwrap();
    assert_eq!(deleted.id, first.id);
    for name in ["a", "1"] {
        assert!(matches!(
            world.playbooks.get(world.organisation, name).await,
            Err(PlaybookError::Unknown { .. })
        ));
    }
    for space in [Space::Playbook, Space::PlaybookName, Space::Webhook, Space::Chunk] {
        assert_eq!(world.rows_of(space).await, 0, "{space:?}");
    }
    assert_eq!(put().await.unwrap().id, PlaybookId(2), "an id is never given twice");
}

#[tokio::test]
async fn every_change_is_in_the_audit_log() {
    let world = World::new().await;
    for replace in [false, true] {
        world.playbooks.store(&world.admin, &document("a", "manual"), Format::Json, replace).await.unwrap();
    }
    world.playbooks.delete(&world.admin, "a", false).await.unwrap();
    let filter = AuditFilter { action: Some("playbook".into()), ..AuditFilter::default() };
    let scope = AuditScope::Organisation(world.organisation);
    let log = world.access.audit_log(scope, &filter, &PageRequest::first(10)).await.unwrap();
    let log: Vec<_> = log.items.iter().map(|entry| (entry.action.as_str(), entry.target.as_str())).collect();
    assert_eq!(log, [("playbook.delete", "a"), ("playbook.replace", "a"), ("playbook.create", "a")]);
}

#[tokio::test]
async fn only_an_admin_changes_playbooks_and_a_reader_starts_none() {
    let world = World::new().await;
    world.playbooks.store(&world.admin, &document("a", "manual"), Format::Json, false).await.unwrap();
    let writer = new_principal(&world.access, world.organisation, Role::Write).await;
    let reader = new_principal(&world.access, world.organisation, Role::Read).await;
    for principal in [&writer, &reader] {
        let store =
            world.playbooks.store(principal, &document("b", "manual"), Format::Json, true).await.map(drop);
        let delete = world.playbooks.delete(principal, "a", false).await.map(drop);
        for refused in [store, delete] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Forbidden);
        }
    }
    assert!(world.playbooks.start(&writer, "a", json!({})).await.is_ok());
    let refused = world.playbooks.start(&reader, "a", json!({})).await.err().unwrap();
    let expected = "a key with the role read may not start a playbook; it takes a key with the role write";
    assert_eq!(refused.to_string(), expected);
}

#[tokio::test]
async fn one_organisation_sees_nothing_of_another() {
    let world = World::new().await;
    world.playbooks.store(&world.admin, &document("a", "manual"), Format::Json, false).await.unwrap();
    let run = world.run("a", json!({})).await;
    let stranger = world.other().await;
    let other = stranger.organisation;
    for name in ["a", "1"] {
        assert!(world.playbooks.get(other, name).await.is_err());
        assert!(world.playbooks.delete(&stranger, name, false).await.is_err());
        assert!(world.playbooks.start(&stranger, name, json!({})).await.is_err());
    }
    assert!(world.playbooks.run(other, run.summary.id).await.is_err());
    let page = PageRequest::first(10);
    assert!(world.playbooks.list(other, &page).await.unwrap().items.is_empty());
    assert!(world.playbooks.runs(other, &RunFilter::default(), &page).await.unwrap().items.is_empty());
    let of_first = RunFilter { playbook: Some(PlaybookId(1)), ..RunFilter::default() };
    assert!(world.playbooks.runs(other, &of_first, &page).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let world = World::new().await;
    for number in 0..7 {
        let source = document(&format!("p{number}"), "webhook");
        world.playbooks.store(&world.admin, &source, Format::Json, false).await.unwrap();
    }
    let mut request = PageRequest::first(3);
    let mut names = Vec::new();
    loop {
        let page = world.playbooks.list(world.organisation, &request).await.unwrap();
        names.extend(page.items.iter().map(|playbook| playbook.name.clone()));
        match page.next {
            Some(next) => request.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(names, ["p0", "p1", "p2", "p3", "p4", "p5", "p6"]);
    request.cursor = Some(bellwether_kernel::Cursor(vec![1]));
    let error = world.playbooks.list(world.organisation, &request).await.unwrap_err();
    assert_eq!(error.field().unwrap().field, "cursor");
}

#[tokio::test]
async fn a_large_document_is_kept_whole_through_versions_and_a_restart() {
    let world = World::new().await;
    let source = |length: usize| {
        let value = "é".repeat(length / 2);
        let steps = [json!({"id": "a", "app": "echo", "inputs": {"value": value}})];
        json!({"name": "large", "trigger": {"type": "webhook"}, "steps": steps}).to_string()
    };
    for length in [200_000, 10, 90_000] {
        let stored = world.playbooks.store(&world.admin, &source(length), Format::Json, true).await.unwrap();
        assert_eq!(stored.source, source(length));
    }
    let after = world.reopened(world.store.restart()).await;
    let read = after.playbooks.get(after.organisation, "large").await.unwrap();
    assert_eq!((read.version, &read.source), (3, &source(90_000)));
    assert!(read.webhook_token.is_some());
    after.playbooks.delete(&after.admin, "large", false).await.unwrap();
    assert_eq!(after.rows_of(Space::Chunk).await, 0);
}

#[tokio::test]
async fn of_many_who_store_one_name_at_once_each_is_a_version() {
    let world = World::new().await;
    let source = document("a", "webhook");
    let stores = (0..20).map(|_| world.playbooks.store(&world.admin, &source, Format::Json, true));
    for stored in futures::future::join_all(stores).await {
        stored.unwrap();
    }
    let playbook = world.playbooks.get(world.organisation, "a").await.unwrap();
    assert_eq!((playbook.id, playbook.version), (PlaybookId(1), 20));
    assert_eq!(world.rows_of(Space::Webhook).await, 1);
}

#[tokio::test]
async fn a_version_that_is_not_kept_is_not_shown() {
    let world = World::with_limits(Limits { versions: 2, ..Limits::default() }).await;
    for _ in 0..3 {
        world.playbooks.store(&world.admin, &document("a", "manual"), Format::Json, true).await.unwrap();
    }
    let listed = world.playbooks.versions(world.organisation, "a", &PageRequest::first(10)).await.unwrap();
    let listed: Vec<_> = listed.items.iter().map(|version| version.version).collect();
    assert_eq!(listed, [3, 2]);
    for version in 1..=3 {
        let shown = world.playbooks.version(world.organisation, "a", version).await.is_ok();
        assert_eq!(shown, listed.contains(&version), "{version}");
    }
}

#[tokio::test]
async fn a_damaged_row_is_an_error_that_says_so() {
    let world = World::new().await;
    world.playbooks.store(&world.admin, &document("a", "manual"), Format::Json, false).await.unwrap();
    let key = Key::new(Space::Playbook).number(world.organisation.0).number(1);
    let row = world.store.get(&key).await.unwrap().unwrap();
    let mut batch = Batch::new();
    batch.require(key.clone(), Precondition::ValueIs(row.clone())).put(key, row.slice(..row.len() / 2));
    world.store.commit(batch).await.unwrap();
    let error = world.playbooks.get(world.organisation, "a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn a_playbook_that_is_a_step_of_published_ones_is_not_deleted_unless_it_is_forced() {
    let world = World::new().await;
    world
        .store_json(
            json!({"name": "child", "trigger": {"type": "playbook"}, "steps": [{"id": "a", "app": "echo"}]}),
        )
        .await;
    let outer = |name: &str| json!({"name": name, "trigger": {"type": "manual"}, "steps": [{"id": "a", "app": "echo"}], "on_failure": [{"id": "b", "playbook": "child"}]});
    for name in ["one", "two"] {
        world.store_json(outer(name)).await;
    }
    // A draft keeps to nothing: it is checked when it is published.
    world.playbooks.save_draft(&world.admin, &outer("draft").to_string(), Format::Json).await.unwrap();
    let delete = async |name, force| world.playbooks.delete(&world.admin, name, force).await;
    for name in ["child", "1"] {
        let refused = delete(name, false).await.unwrap_err();
        let expected =
            "the playbook \"child\" is a step of one, two; change or delete those first, or force it";
        assert_eq!((refused.kind(), refused.to_string()), (ErrorKind::Conflict, expected.to_owned()));
    }
    delete("one", false).await.unwrap();
    delete("child", true).await.unwrap();
    assert!(world.playbooks.get(world.organisation, "child").await.is_err());
}

#[tokio::test]
async fn a_version_that_was_read_is_replaced_only_while_it_is_the_newest() {
    let world = World::new().await;
    let replace = async |publish, expected| {
        let source = document("a", "manual");
        let replaced = world.playbooks.replace(&world.admin, &source, Format::Json, publish, expected).await;
        replaced.map(|playbook| playbook.latest).map_err(|error| (error.kind(), error.to_string()))
    };
    let none = "there is no playbook \"a\": version 0 is the one to expect".to_owned();
    assert_eq!(replace(true, Some(1)).await, Err((ErrorKind::Conflict, none)));
    assert_eq!(replace(true, Some(0)).await, Ok(1));
    // A draft is a version too: whoever read the one before would take it back.
    assert_eq!(replace(false, Some(1)).await, Ok(2));
    for publish in [true, false] {
        let other = "the newest version of the playbook \"a\" is 2 now: read it again".to_owned();
        assert_eq!(replace(publish, Some(1)).await, Err((ErrorKind::Conflict, other)));
    }
    assert_eq!(replace(true, Some(2)).await, Ok(3));
    assert_eq!(replace(true, None).await, Ok(4));
}

/// Has a store not read after the next commit, from when it is told so until it is told otherwise.
#[derive(Default)]
struct Unreadable {
    is_next: AtomicBool,
    fails: AtomicBool,
}

#[async_trait]
impl Way for Unreadable {
    async fn before(&self, asked: &Asked<'_>) -> Result<(), StoreError> {
        match asked {
            Asked::Get(_) | Asked::Scan(_) if self.fails.load(Ordering::SeqCst) => {
                Err(StoreError::Failed("it does not read".to_owned()))
            }
            _ => Ok(()),
        }
    }

    async fn after(&self, asked: &Asked<'_>) -> Result<(), StoreError> {
        if matches!(asked, Asked::Commit) {
            self.fails.fetch_or(self.is_next.swap(false, Ordering::SeqCst), Ordering::SeqCst);
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_committed_is_told_as_done_whatever_can_be_read_after_it() {
    let world = World::new().await;
    let store = Passing::new(&world.store, Unreadable::default());
    let parts = world.parts(store.clone(), &world.access, 2, Some(&world.writes));
    let playbooks = Playbooks::open(parts).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let follows = json!({"type": "alert", "moves": ["open"]});
    let hourly = json!({"type": "every", "interval": "1h"});
    for (trigger, is_followed) in [(&follows, true), (&hourly, false), (&follows, true)] {
        let steps = json!([{"id": "a", "app": "echo"}]);
        let source = json!({"name": "a", "trigger": trigger, "steps": steps}).to_string();
        store.way.is_next.store(true, Ordering::SeqCst);
        let told = playbooks.store(&world.admin, &source, Format::Json, true).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        store.way.fails.store(false, Ordering::SeqCst);
        let found = playbooks.get(world.organisation, "a").await.unwrap();
        assert_eq!(
            (told.version, &told.source, told.next_due, &told.status, told.updated),
            (found.version, &found.source, found.next_due, &found.status, found.updated)
        );
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(playbooks.follows(world.organisation), is_followed, "it is read before long");
    }
}

/// Has one look at the playbooks that follow incidents stand still, with what it read, until it is let go.
#[derive(Default)]
struct Late(Mutex<Option<Arc<Notify>>>);

#[async_trait]
impl Way for Late {
    async fn after(&self, asked: &Asked<'_>) -> Result<(), StoreError> {
        let followers = Key::new(Space::PlaybookFollower).prefix();
        let gate = match asked {
            Asked::Scan(range) if followers.contains(&range.start) => self.0.lock().take(),
            _ => None,
        };
        if let Some(gate) = gate {
            gate.notified().await;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_at_triggers_that_began_before_a_playbook_was_published_does_not_undo_it() {
    let world = World::new().await;
    let store = Passing::new(&world.store, Late::default());
    let playbooks = Playbooks::open(world.parts(store.clone(), &world.access, 2, None)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let gate = Arc::new(Notify::new());
    *store.way.0.lock() = Some(Arc::clone(&gate));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(store.way.0.lock().is_none(), "the look has begun");
    let (publishing, admin) = (Arc::clone(&playbooks), Arc::clone(&world.admin));
    let publishing = tokio::spawn(async move {
        publishing.store(&admin, &document("a", "alert"), Format::Json, true).await.unwrap();
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    gate.notify_one();
    publishing.await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(playbooks.follows(world.organisation));
}

#[tokio::test(start_paused = true)]
async fn a_playbook_that_is_gone_is_told_as_deleted_and_a_sweep_ends_its_runs_that_could_not_be_cancelled() {
    let world = World::new().await;
    let store = Passing::new(&world.store, Unreadable::default());
    let playbooks = Playbooks::open(world.parts(store.clone(), &world.access, 2, None)).await.unwrap();
    for name in ["gone", "kept"] {
        let steps = json!([{"id": "wait", "delay": "12h"}]);
        world.store_json(json!({"name": name, "trigger": {"type": "manual"}, "steps": steps})).await;
    }
    let mut ids = Vec::new();
    for name in ["gone", "kept"] {
        ids.push(playbooks.start(&world.admin, name, json!({})).await.unwrap().id);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    store.way.is_next.store(true, Ordering::SeqCst);
    playbooks.delete(&world.admin, "gone", false).await.unwrap();
    store.way.fails.store(false, Ordering::SeqCst);
    let state = async |id| playbooks.run(world.organisation, id).await.unwrap().summary.state;
    assert_eq!([state(ids[0]).await, state(ids[1]).await], [RunState::Running; 2]);
    playbooks.sweep(Duration::MAX, 10).await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!([state(ids[0]).await, state(ids[1]).await], [RunState::Cancelled, RunState::Running]);
}
