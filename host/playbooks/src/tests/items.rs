//! What the history says of the items of a step that was cut off, and of when things began.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bellwether_store::{Batch, Committed, Health, StoreError, Unread};
use bytes::Bytes;
use serde_json::json;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

async fn items(world: &World, run: RunId) -> Vec<(u32, StepState, Option<String>)> {
    let page = bellwether_kernel::PageRequest::first(100);
    let items = world.playbooks.items(world.organisation, run, "a", &page).await.unwrap().items;
    items.into_iter().map(|item| (item.item.unwrap(), item.state, item.error)).collect()
}

/// An app that answers at once for 0, fails for 1 if it is tried again, and hangs for others.
fn add_hangs(world: &World) {
    let inputs = vec![Input::new("of", ValueType::Integer)];
    world.apps.put("hangs", describe(inputs, &[]), |call| match given(&call, "of") {
        Value::Integer(0) => Box::pin(std::future::ready(gives(&[]))),
        Value::Integer(1) => {
            let error = AppError { message: "not yet".into(), retry: Retry::Yes };
            Box::pin(std::future::ready(AppReport { result: Err(error), log: Vec::new() }))
        }
        _ => Box::pin(std::future::pending()),
    });
}

#[tokio::test(start_paused = true)]
async fn items_that_are_cut_off_are_shown_as_cancelled_and_those_that_never_began_are_not() {
    use StepState::{Cancelled, Succeeded};
    for cut in ["cancelled", "out of time"] {
        let world = World::new().await;
        add_hangs(&world);
        let steps = json!([{"id": "a", "app": "hangs", "each": [0, 1, 2, 3, 4, 5, 6], "parallel": 2, "timeout": "1h",
            "retry": {"attempts": 3, "delay": "6h"}, "inputs": {"of": "{{ item }}"}}]);
        world
            .store_json(json!({"name": "a", "trigger": {"type": "manual"}, "timeout": "5m", "steps": steps}))
            .await;
        let began = world.clock.now();
        let run = world.playbooks.start(&world.admin, "a", json!({})).await.unwrap();
        tokio::time::sleep(60 * SECOND).await;
        if cut == "cancelled" {
            world.playbooks.cancel(&world.admin, run.id).await.unwrap();
        }
        let ended = run.ended.await.unwrap();
        let [step] = &ended.steps[..] else { panic!("{:?}", ended.steps) };
        let counts = ItemCounts { total: 7, succeeded: 1, failed: 0, cancelled: 3 };
        assert_eq!((step.state, step.items), (Cancelled, Some(counts)), "{cut}");
        assert!(step.started.milliseconds_since(began) < 1_000, "not when it was cut off");
        let reason = step.error.clone();
        assert!(reason.is_some());
        let expected = [
            (0, Succeeded, None),
            (1, Cancelled, reason.clone()),
            (2, Cancelled, reason.clone()),
            (3, Cancelled, reason),
        ];
        assert_eq!(items(&world, run.id).await, expected, "{cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_over_a_list_that_waits_as_its_run_is_cancelled_says_how_far_it_came() {
    let world = World::new().await;
    add_hangs(&world);
    let steps = json!([{"id": "a", "app": "hangs", "each": [0, 1, 0], "parallel": 3,
        "retry": {"attempts": 3, "delay": "6h"}, "inputs": {"of": "{{ item }}"}}]);
    world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
    let id = world.playbooks.start(&world.admin, "a", json!({})).await.unwrap().id;
    tokio::time::sleep(60 * SECOND).await;
    let world = world.reopened(world.store.restart()).await;
    world.playbooks.cancel(&world.admin, id).await.unwrap();
    let ended = world.ended(id).await;
    let counts = ItemCounts { total: 3, succeeded: 2, failed: 0, cancelled: 1 };
    assert_eq!((ended.steps[0].state, ended.steps[0].items), (StepState::Cancelled, Some(counts)));
    let item = &items(&world, id).await[1];
    assert_eq!((item.1, item.2.is_some()), (StepState::Cancelled, true), "with why");
}

#[tokio::test(start_paused = true)]
async fn items_that_wait_within_a_playbook_are_shown_as_cut_off_with_their_runs() {
    use StepState::{Cancelled, Failed};
    for restarts in [false, true] {
        let world = World::new().await;
        let wait = json!([{"id": "w", "delay": "{{ trigger.inputs.span }}"}]);
        let trigger = json!({"type": "playbook", "inputs": {"span": {}}});
        world.store_json(json!({"name": "kid", "trigger": trigger, "steps": wait})).await;
        let steps = json!([{"id": "a", "playbook": "kid", "each": ["2h", "x", "3h", "4h"], "parallel": 2,
            "on_item_error": "continue", "inputs": {"span": "{{ item }}"}}]);
        world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
        let began = world.clock.now();
        let id = world.playbooks.start(&world.admin, "a", json!({})).await.unwrap().id;
        tokio::time::sleep(60 * SECOND).await;
        let world = if restarts { world.reopened(world.store.restart()).await } else { world };
        world.playbooks.cancel(&world.admin, id).await.unwrap();
        let ended = world.ended(id).await;
        let counts = ItemCounts { total: 4, succeeded: 0, failed: 1, cancelled: 2 };
        assert_eq!(ended.steps[0].items, Some(counts), "{restarts}");
        assert!(ended.steps[0].started.milliseconds_since(began) < 1_000);
        let states: Vec<_> =
            items(&world, id).await.into_iter().map(|(item, state, _)| (item, state)).collect();
        assert_eq!(states, [(0, Cancelled), (1, Failed), (2, Cancelled)]);
        let page = bellwether_kernel::PageRequest::first(9);
        let shown = world.playbooks.items(world.organisation, id, "a", &page).await.unwrap().items;
        for item in shown {
            let within = world.playbooks.summary(world.organisation, item.run.unwrap()).await.unwrap();
            assert!(within.state.has_ended() && within.created == item.started, "{item:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_waited_within_a_playbook_began_when_it_first_did() {
    let world = World::new().await;
    let wait = json!([{"id": "w", "delay": "2h"}]);
    world.store_json(json!({"name": "kid", "trigger": {"type": "playbook"}, "steps": wait})).await;
    let steps = json!([{"id": "a", "playbook": "kid"}]);
    world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
    let run = world.run("a", json!({})).await;
    let [began, ended] =
        [run.steps[0].started, run.steps[0].ended].map(|at| at.milliseconds_since(run.summary.created));
    assert!(began < 1_000 && ended >= 7_200_000, "{began} {ended}");
}

#[tokio::test(start_paused = true)]
async fn an_item_that_waits_as_another_fails_its_step_is_shown_as_cut_off() {
    let world = World::new().await;
    let wait = json!([{"id": "w", "delay": "{{ trigger.inputs.span }}"}]);
    let trigger = json!({"type": "playbook", "inputs": {"span": {}}});
    world.store_json(json!({"name": "kid", "trigger": trigger, "steps": wait})).await;
    let steps = json!([{"id": "a", "playbook": "kid", "each": ["2h", "x", "3h"], "parallel": 2,
        "inputs": {"span": "{{ item }}"}}]);
    world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
    let run = world.run("a", json!({})).await;
    let counts = ItemCounts { total: 3, succeeded: 0, failed: 1, cancelled: 1 };
    assert_eq!((run.steps[0].state, run.steps[0].items), (StepState::Failed, Some(counts)));
    let [first, second] = &items(&world, run.summary.id).await[..] else { panic!("the third never began") };
    assert_eq!((first.1, first.2.as_deref()), (StepState::Cancelled, Some("another item failed")));
    assert_eq!(second.1, StepState::Failed);
}

#[tokio::test(start_paused = true)]
async fn items_that_wait_with_more_than_one_commit_takes_are_cut_off_all_the_same() {
    use StepState::{Cancelled, Failed};
    const ITEMS: u32 = 40;
    for (cut, crashes) in
        [("cancelled", false), ("cancelled", true), ("out of time", false), ("failed", false)]
    {
        let world = World::new().await;
        let inputs = vec![Input::new("of", ValueType::Integer), Input::new("text", ValueType::Text)];
        world.apps.put_quick("waits", describe(inputs, &[]), |call| {
            let retry =
                if *given(&call, "of") == Value::Integer(i64::from(ITEMS)) { Retry::No } else { Retry::Yes };
            AppReport { result: Err(AppError { message: "not yet".into(), retry }), log: Vec::new() }
        });
        let last = if cut == "failed" { ITEMS } else { ITEMS - 1 };
        let list: Vec<u32> = (0..=last).collect();
        let steps = json!([{"id": "a", "app": "waits", "each": list, "retry": {"attempts": 3, "delay": "6h"},
            "inputs": {"of": "{{ item }}", "text": "{{ trigger.inputs.text }}"}}]);
        let timeout = if cut == "out of time" { "5m" } else { "12h" };
        world
            .store_json(
                json!({"name": "a", "trigger": {"type": "manual"}, "timeout": timeout, "steps": steps}),
            )
            .await;
        let text = "x".repeat(600_000);
        let id = world.playbooks.start(&world.admin, "a", json!({ "text": text })).await.unwrap().id;
        tokio::time::sleep(60 * SECOND).await;
        if cut == "cancelled" {
            // That it is to end, that somebody took it up, and some of its items.
            world.store.take_only(crashes.then_some(5));
            world.playbooks.cancel(&world.admin, id).await.unwrap();
            tokio::time::sleep(SECOND).await;
        }
        let world = if crashes { world.reopened(world.store.restart()).await } else { world };
        tokio::time::sleep(360 * SECOND).await;
        let ended = world.ended(id).await;
        let [step] = &ended.steps[..] else { panic!("{:?}", ended.steps) };
        let counts = step.items.unwrap();
        let failed = u32::from(cut == "failed");
        assert_eq!((counts.cancelled, counts.failed), (ITEMS, failed), "{cut}");
        assert_eq!(step.state, if cut == "failed" { Failed } else { Cancelled }, "{cut}");
        let states: Vec<_> = items(&world, id).await.into_iter().map(|(_, state, _)| state).collect();
        assert_eq!(states.iter().filter(|state| **state == Cancelled).count(), ITEMS as usize, "{cut}");
        assert_eq!(world.rows_of(Space::RunOpen).await, 0);
    }
}

/// A store that makes commits one after the other, though who asked for one may be gone; the next one slowly, if that is said.
struct InOrder {
    store: Arc<MemoryStore>,
    slowly: Arc<AtomicBool>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[async_trait::async_trait]
impl Store for InOrder {
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
        let (store, slowly, turn) =
            (Arc::clone(&self.store), Arc::clone(&self.slowly), Arc::clone(&self.turn));
        let committing = tokio::spawn(async move {
            let _turn = turn.lock().await;
            if slowly.swap(false, Ordering::SeqCst) {
                tokio::time::sleep(5 * SECOND).await;
            }
            store.commit(batch).await
        });
        committing.await.expect("it does not panic")
    }

    fn health(&self) -> Health {
        self.store.health()
    }

    fn unread(&self) -> &Unread {
        self.store.unread()
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_that_succeeded_as_its_step_is_cut_off_stays_so_and_what_it_was_given_stays_secret() {
    use StepState::{Cancelled, Succeeded};
    let world = World::new().await;
    let slowly = Arc::new(AtomicBool::new(false));
    let store = InOrder { store: world.store.clone(), slowly: slowly.clone(), turn: Arc::default() };
    let password = Input { secret: true, ..Input::new("password", ValueType::Text) };
    world.apps.put("login", describe(vec![password], &[]), move |call| {
        let is_first = *given(&call, "password") == Value::Text("hunter2-0".into());
        let slowly = slowly.clone();
        Box::pin(async move {
            let seconds = if is_first { 8 } else { 60 };
            tokio::time::sleep(seconds * SECOND).await;
            // Recording it takes until the run's time is over.
            slowly.store(is_first, Ordering::SeqCst);
            gives(&[])
        })
    });
    let steps = json!([{"id": "a", "app": "login", "each": [1, 2], "parallel": 2, "timeout": "1h",
        "inputs": {"password": "{{ 'hunter2-' ~ index }}"}}]);
    let after = json!([{"id": "f", "app": "echo", "inputs": {"value": "{{ trigger.inputs.note }}"}}]);
    world
        .store_json(json!({"name": "a", "trigger": {"type": "manual"}, "timeout": "10s", "steps": steps, "on_failure": after}))
        .await;
    world.playbooks.die();
    let parts = world.parts(Arc::new(store), &world.access, 2, None);
    let playbooks = Playbooks::open(parts).await.unwrap();
    let started = playbooks.start(&world.admin, "a", json!({"note": "it was hunter2-0"})).await.unwrap();
    let run = started.ended.await.unwrap();
    let states: Vec<_> = items(&world, run.summary.id).await.into_iter().map(|(_, state, _)| state).collect();
    assert_eq!(states, [Succeeded, Cancelled]);
    let counts = ItemCounts { total: 2, succeeded: 1, failed: 0, cancelled: 1 };
    assert_eq!((run.summary.state, run.steps[0].items), (RunState::TimedOut, Some(counts)));
    assert_eq!(run.steps[1].outputs["value"], "it was •••");
}
