//! A row that does not read keeps the host from nothing but what is in it: it opens, everybody else's triggers fire, upkeep
//! goes on, and lists go on behind it.

use std::time::Duration;

use bellwether_alerts::{Event, Severity};
use bellwether_kernel::{ErrorKind, PageRequest, PlaybookId};
use bellwether_store::{Batch, encode};
use serde_json::json;

use super::incidents::{commit, following, moved};
use super::log::Log;
use super::*;
use crate::rows::{OpenRun, Owner};

const PASSED_OVER: &str = "a row does not read and is passed over";

async fn damage(world: &World, row: &Key) {
    let mut batch = Batch::new();
    batch.put(row.clone(), "?");
    world.store.commit(batch).await.unwrap();
}

/// An organisation in which something of every kind has happened, and goes on.
async fn busy(world: &World, admin: &Principal) {
    world.apps.put_quick("fails", describe(vec![], &[]), |_| fails("it is over"));
    let echo = json!([{"id": "a", "app": "echo"}]);
    let waits = json!([{"id": "wait", "delay": "1h"}, {"id": "a", "app": "echo"}]);
    for document in [
        json!({"name": "every", "trigger": {"type": "every", "interval": "10s"}, "steps": echo,
               "retention": {"runs": 100}}),
        json!({"name": "watch", "trigger": {"type": "metric", "metric": "m"}, "steps": echo}),
        following("follow", json!({}), "{{ trigger.incident }}"),
        json!({"name": "wait", "trigger": {"type": "manual"}, "steps": waits,
               "concurrency": {"policy": "queue", "limit": 1}}),
        json!({"name": "fails", "trigger": {"type": "manual", "on_error": "disable", "on_error_times": 5},
               "steps": [{"id": "a", "app": "fails"}]}),
    ] {
        world.playbooks.store(admin, &document.to_string(), Format::Json, true).await.unwrap();
    }
    for name in ["wait", "wait", "fails"] {
        world.playbooks.start(admin, name, json!({})).await.unwrap();
    }
    world.writes.push(admin.organisation, "m", None, 1.0);
}

/// How many runs a playbook of an organisation has.
async fn runs(world: &World, organisation: OrganisationId, playbook: &str) -> usize {
    let page = PageRequest::first(1000);
    let runs = world.playbooks.runs(organisation, &RunFilter::default(), &page).await.unwrap().items;
    runs.into_iter().filter(|run| run.playbook_name == playbook).count()
}

/// A row of ours in this space, or of the host's.
async fn row_in(world: &World, space: Space) -> Key {
    let rows = world.store.scan(Key::new(space).prefix(), Direction::Forward, usize::MAX).await.unwrap();
    let ours = |key: &Key| key.organisation().is_none_or(|id| id == world.organisation.0);
    rows.into_iter().map(|(key, _)| key).find(ours).unwrap_or_else(|| panic!("there is no {space:?}"))
}

#[tokio::test(start_paused = true)]
async fn one_row_that_does_not_read_keeps_nobody_elses_playbooks_from_their_work() {
    for space in [
        Space::Playbook,
        Space::PlaybookName,
        Space::PlaybookVersion,
        Space::Run,
        Space::RunIndex,
        Space::RunStep,
        Space::RunOpen,
        Space::RunWake,
        Space::RunHost,
        Space::Firing,
        Space::PlaybookDue,
        Space::PlaybookNext,
        Space::PlaybookGate,
        Space::PlaybookQueue,
        Space::PlaybookHealth,
        Space::PlaybookWatch,
        Space::PlaybookWatchCursor,
        Space::PlaybookFollower,
    ] {
        let world = World::new().await;
        let other = world.other().await;
        let organisation = other.organisation;
        busy(&world, &world.admin).await;
        busy(&world, &other).await;
        tokio::time::sleep(Duration::from_secs(15)).await;
        damage(&world, &row_in(&world, space).await).await;

        let (log, _listening) = Log::listen();
        let world = world.reopened(world.store.restart()).await;
        let before = (runs(&world, organisation, "every").await, runs(&world, organisation, "watch").await);
        world.writes.push(organisation, "m", None, 2.0);
        let mut opened = moved(&world, 1, Event::Opened, Severity::High);
        opened.organisation = organisation;
        commit(&world, &[opened]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(100)).await;
        let (every, watch) =
            (runs(&world, organisation, "every").await, runs(&world, organisation, "watch").await);
        assert!(every >= before.0 + 9, "{space:?}: {every} after {}", before.0);
        assert_eq!(watch, before.1 + 1, "{space:?}");
        assert_eq!(runs(&world, organisation, "follow").await, 1, "{space:?}");

        // What is ours is listed as far as it reads, and upkeep goes on.
        let page = PageRequest::first(99);
        let listed = world.playbooks.list(world.organisation, &page).await.unwrap().items.len();
        assert_eq!(listed, if space == Space::Playbook { 4 } else { 5 }, "{space:?}");
        runs(&world, world.organisation, "every").await;
        world.playbooks.measure().await.unwrap();
        world.playbooks.naming_secret(world.organisation, "token").await.unwrap();
        let published = world.playbooks.published_by(world.organisation, &world.admin.key).await.unwrap();
        assert_eq!(published.len(), listed, "{space:?}");
        world.playbooks.pins(world.organisation, "echo").await.unwrap();
        world.clock.advance(8 * 24 * 3_600_000);
        world.playbooks.sweep(Duration::from_secs(24 * 3_600), 1_000).await.unwrap();
        assert!(
            runs(&world, organisation, "every").await < every,
            "{space:?}: those of before are forgotten"
        );
        let told = log.lines(PASSED_OVER);
        assert_eq!(told.len(), world.store.unread().count(), "{space:?}: {told:?}");
        assert!(told.len() <= 2, "{space:?}: {told:?}");
    }
}

/// A host on whose store two runs of a playbook with one place wait for an hour, the second for the first.
async fn two_of_one_place() -> (World, [RunId; 2]) {
    let world = World::new().await;
    busy(&world, &world.admin.clone()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let page = PageRequest::first(1000);
    let all = world.playbooks.runs(world.organisation, &RunFilter::default(), &page).await.unwrap().items;
    let mut waiting: Vec<_> =
        all.iter().filter(|run| run.playbook_name == "wait").map(|run| run.id).collect();
    waiting.sort_by_key(|run| run.0);
    (world, waiting.try_into().unwrap())
}

/// How a run ended, for which an hour is no time.
async fn ended(world: &World, run: RunId) -> RunSummary {
    loop {
        let summary = world.playbooks.summary(world.organisation, run).await.unwrap();
        if summary.state.has_ended() {
            return summary;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

/// The fourth that is stored.
const WAIT: PlaybookId = PlaybookId(4);

#[tokio::test(start_paused = true)]
async fn who_holds_a_place_is_found_out_again_where_that_does_not_read() {
    let (world, [first, second]) = two_of_one_place().await;
    damage(&world, &rows::gate(world.organisation, WAIT)).await;
    let world = world.reopened(world.store.restart()).await;
    let third = world.playbooks.start(&world.admin, "wait", json!({})).await.unwrap().id;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let state = async |run| world.playbooks.summary(world.organisation, run).await.unwrap().state;
    assert_eq!(state(first).await, RunState::Running);
    assert_eq!((state(second).await, state(third).await), (RunState::Queued, RunState::Queued));
    for run in [first, second, third] {
        assert_eq!(ended(&world, run).await.state, RunState::Succeeded);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_row_does_not_read_leaves_its_place_to_the_next() {
    let (world, [first, second]) = two_of_one_place().await;
    damage(&world, &rows::run(world.organisation, WAIT, first)).await;
    let world = world.reopened(world.store.restart()).await;
    assert_eq!(ended(&world, second).await.state, RunState::Succeeded);
    let row = world.store.get(&rows::run(world.organisation, WAIT, first)).await.unwrap();
    assert_eq!(row.as_deref(), Some(&b"?"[..]), "it stays as it is");
}

#[tokio::test(start_paused = true)]
async fn a_run_nobody_can_take_up_is_cancelled_and_leaves_its_place_to_the_next() {
    let (world, [first, second]) = two_of_one_place().await;
    damage(&world, &rows::run_open(world.organisation, first)).await;
    let world = world.reopened(world.store.restart()).await;
    tokio::time::sleep(Duration::from_secs(2 * 3_600)).await;
    world.playbooks.cancel(&world.admin, first).await.unwrap();
    assert!(ended(&world, first).await.error.unwrap().contains("it was cancelled"));
    assert_eq!(ended(&world, second).await.state, RunState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_another_host_that_does_not_read_leaves_its_runs_to_who_has_the_store_alone() {
    for is_exclusive in [true, false] {
        let (world, [first, _]) = two_of_one_place().await;
        let key = rows::run_open(world.organisation, first);
        let stored = world.store.get(&key).await.unwrap().unwrap();
        let mut open: OpenRun = bellwether_store::decode(&stored).unwrap();
        open.owner = Some(Owner { host: HostId(2), life: 7 });
        world.playbooks.die();
        let store = world.store.restart();
        store.set_exclusive(is_exclusive);
        let mut batch = Batch::new();
        batch.put(key.clone(), encode(&open)).put(rows::host(HostId(2)), "?");
        store.commit(batch).await.unwrap();
        let world = world.reopened(store).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let stored = world.store.get(&key).await.unwrap().unwrap();
        let open: OpenRun = bellwether_store::decode(&stored).unwrap();
        assert_eq!(open.owner.is_some_and(|owner| owner.host == HostId(2)), !is_exclusive);
        let lease = world.store.get(&rows::host(HostId(2))).await.unwrap();
        assert_eq!(lease.as_deref(), Some(&b"?"[..]), "it is the other host's to replace");
    }
}

#[tokio::test(start_paused = true)]
async fn a_playbook_whose_own_row_does_not_read_is_deleted_with_all_it_has_and_stored_again() {
    let every = json!({"type": "every", "interval": "10s"});
    for (trigger, by_name) in [
        (json!({"type": "webhook"}), true),
        (json!({"type": "metric", "metric": "m"}), false),
        (json!({"type": "alert"}), true),
        (every, false),
    ] {
        let world = World::new().await;
        let document =
            json!({"name": "a", "trigger": trigger, "steps": [{"id": "a", "app": "echo"}]}).to_string();
        let store = async || world.playbooks.store(&world.admin, &document, Format::Json, true).await;
        let before = store().await.unwrap();
        damage(&world, &rows::playbook(world.organisation, before.id)).await;
        let refused = store().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        let expected = "the row of the playbook 1 does not read any more: delete it, and store it again";
        assert_eq!(refused.to_string(), expected);
        let name = if by_name { "a".to_owned() } else { before.id.to_string() };
        assert_eq!(world.playbooks.name(world.organisation, &name).await.unwrap(), "a");
        let deleted = world.playbooks.delete(&world.admin, &name, false).await.unwrap();
        assert_eq!((deleted.id, deleted.name.as_str(), deleted.document.is_none()), (before.id, "a", true));
        tokio::time::sleep(Duration::from_secs(30)).await;
        for space in [
            Space::Playbook,
            Space::PlaybookName,
            Space::PlaybookVersion,
            Space::PlaybookNext,
            Space::PlaybookDue,
            Space::PlaybookWatch,
            Space::PlaybookFollower,
            Space::Webhook,
        ] {
            assert_eq!(world.rows_of(space).await, 0, "{space:?}");
        }
        let unknown = world.playbooks.delete(&world.admin, &name, false).await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::NotFound);
        let again = store().await.unwrap();
        assert!(again.id > before.id && again.status == Status::Active);
    }
}

#[tokio::test(start_paused = true)]
async fn a_count_of_playbooks_that_does_not_read_gives_no_number_again_under_which_something_is_kept() {
    let world = World::new().await;
    for name in ["a", "b"] {
        let steps = json!([{"id": "a", "app": "echo"}]);
        world.store_json(json!({"name": name, "trigger": {"type": "manual"}, "steps": steps})).await;
        world.run(name, json!({})).await;
    }
    world.playbooks.delete(&world.admin, "b", false).await.unwrap();
    damage(&world, &rows::playbook_counter(world.organisation)).await;
    let steps = json!([{"id": "a", "app": "echo"}]);
    let stored = async |name: &str| {
        world.store_json(json!({"name": name, "trigger": {"type": "manual"}, "steps": steps})).await.id
    };
    assert_eq!((stored("c").await, stored("d").await), (PlaybookId(3), PlaybookId(4)));
}
