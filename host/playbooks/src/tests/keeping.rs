//! What is kept of runs, for how long, and where it is found.

use std::time::Duration;

use bellwether_kernel::{PageRequest, PlaybookId, RunIds};
use bellwether_store::{Batch, encode};
use serde_json::json;

use super::*;
use crate::rows::{Claim, PlaybookRef, RunRow, StartedBy};

const HOUR: Duration = Duration::from_secs(3_600);

/// A run that is cancelled in the second attempt at a step whose inputs are too large for a row.
async fn is_cancelled(world: &World) -> Run {
    let inputs = vec![Input::new("text", ValueType::Text)];
    world.apps.put("hangs", describe(inputs, &[]), |call| {
        let error = AppError { message: "not yet".into(), retry: Retry::Yes };
        match call.attempt {
            1 => Box::pin(std::future::ready(AppReport { result: Err(error), log: Vec::new() })),
            _ => Box::pin(std::future::pending()),
        }
    });
    let steps = json!([{"id": "a", "app": "hangs", "timeout": "1h", "retry": {"attempts": 3, "delay": "3s"},
        "inputs": {"text": "{{ 'x' * 20000 }}"}}]);
    world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
    let run = world.playbooks.start(&world.admin, "a", json!({})).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(world.rows_of(Space::Chunk).await > 0, "what it waited with is large");
    world.playbooks.cancel(&world.admin, run.id).await.unwrap();
    run.ended.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_removed_leaves_nothing_of_what_its_steps_once_held() {
    let world = World::new().await;
    let run = is_cancelled(&world).await;
    assert_eq!((run.summary.state, run.steps[0].inputs.len()), (RunState::Cancelled, 0));
    tokio::time::sleep(HOUR).await;
    assert_eq!(world.playbooks.sweep(HOUR / 2, 100).await.unwrap(), 1);
    for space in [Space::Run, Space::RunIndex, Space::RunStep, Space::Chunk] {
        assert_eq!(world.rows_of(space).await, 0, "{space:?}");
    }
}

/// Runs a playbook of eight hours with another in it for its last two; gives the outer run.
async fn long_run(world: &World, retention: serde_json::Value) -> Run {
    let wait = json!([{"id": "w", "delay": "2h"}]);
    let kid = json!({"name": "kid", "trigger": {"type": "playbook"}, "steps": wait, "retention": retention.clone()});
    world.store_json(kid).await;
    let steps = json!([{"id": "w", "delay": "6h"}, {"id": "k", "playbook": "kid"}]);
    let outer =
        json!({"name": "outer", "trigger": {"type": "manual"}, "steps": steps, "retention": retention});
    world.store_json(outer).await;
    world.run("outer", json!({})).await
}

#[tokio::test(start_paused = true)]
async fn a_run_is_kept_from_its_end_on_however_long_it_took() {
    // Those that ended early are not kept for it.
    for (retention, keep) in [(json!({}), 24 * HOUR), (json!({"days": 1}), Duration::MAX)] {
        let world = World::new().await;
        world.store_echo("manual", &[("a", "1")]).await;
        world.run("echo", json!({})).await;
        long_run(&world, retention).await;
        let kept = async || {
            world.playbooks.sweep(keep, 100).await.unwrap();
            world.all_runs().await.into_iter().map(|run| run.summary.playbook_name).collect::<Vec<_>>()
        };
        tokio::time::sleep(23 * HOUR).await;
        let mut names = kept().await;
        names.retain(|name| name != "echo");
        assert_eq!(names.len(), 2, "{keep:?}");
        tokio::time::sleep(2 * HOUR).await;
        assert!(kept().await.iter().all(|name| name == "echo"), "{keep:?}");
        assert_eq!(world.rows_of(Space::RunStep).await, 2 * kept().await.len());
    }
}

#[tokio::test(start_paused = true)]
async fn runs_are_listed_from_when_they_were_accepted_on_also_those_within_others() {
    let world = World::new().await;
    let outer = long_run(&world, json!({})).await;
    let within = outer.steps[1].run.unwrap();
    let at = |hours: i64| Some(outer.summary.created.saturating_add(hours * 3_600_000 + 1));
    for trigger in [None, Some(TriggerKind::Playbook)] {
        for (since, until, expected) in [
            (at(5), None, vec![within]),
            (at(5), at(7), vec![within]),
            (at(7), None, vec![]),
            (None, at(5), if trigger.is_none() { vec![outer.summary.id] } else { vec![] }),
        ] {
            let filter = RunFilter { since, until, trigger, ..RunFilter::default() };
            let page =
                world.playbooks.runs(world.organisation, &filter, &PageRequest::first(9)).await.unwrap();
            let found: Vec<RunId> = page.items.iter().map(|run| run.id).collect();
            assert_eq!((found, page.next), (expected, None), "{filter:?}");
        }
    }
    let kid = world.playbooks.get(world.organisation, "kid").await.unwrap().id;
    let filter = RunFilter { since: at(5), playbook: Some(kid), ..RunFilter::default() };
    let page = world.playbooks.runs(world.organisation, &filter, &PageRequest::first(9)).await.unwrap();
    assert_eq!((page.items[0].id, page.items.len(), page.next), (within, 1, None));
}

#[tokio::test(start_paused = true)]
async fn the_newest_runs_are_one_page_however_many_ran_before_them_that_are_within_no_others() {
    let world = World::new().await;
    let trigger = json!({"type": "every", "interval": "1h"});
    let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": 1}}]);
    let playbook = world.store_json(json!({"name": "a", "trigger": trigger, "steps": steps})).await.id;
    let mut batch = Batch::new();
    for number in 1..=12_000_u16 {
        let created = world.clock.now().saturating_add(i64::from(number) * -10_000);
        let time = u64::try_from(created.as_milliseconds()).unwrap();
        let id = RunId(uuid::Builder::from_unix_timestamp_millis(time, &[0; 10]).into_uuid());
        let of = (playbook, "a".to_owned(), 1);
        let row = RunRow::new(of, world.admin.key.clone(), StartedBy::Every(created), created);
        batch.put(rows::run(world.organisation, playbook, id), encode(&row));
        let reference = PlaybookRef { organisation: world.organisation, playbook };
        batch.put(rows::run_index(world.organisation, id), encode(&reference));
    }
    world.store.commit(batch).await.unwrap();
    let since = Some(world.clock.now().saturating_add(-60_000));
    for playbook in [None, Some(playbook)] {
        let filter = RunFilter { since, playbook, ..RunFilter::default() };
        let page = world.playbooks.runs(world.organisation, &filter, &PageRequest::first(99)).await.unwrap();
        assert_eq!((page.items.len(), page.next), (6, None), "{playbook:?}");
    }
}

/// Items of the run's only step, `a`.
const ITEMS: u32 = 40;

/// A run whose results are more than one commit takes, repeated from its last item on, and the calls of its app from here on.
async fn run_of_many_commits(world: &World) -> (Run, ReplayFrom, Arc<AtomicU64>) {
    let inputs = vec![Input::new("of", ValueType::Integer), Input::new("text", ValueType::Text)];
    let calls = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&calls);
    world.apps.put_quick("takes", describe(inputs, &[("n", ValueType::Integer)]), move |call| {
        seen.fetch_add(1, Ordering::SeqCst);
        gives(&[("n", given(&call, "of").clone())])
    });
    let list: Vec<u32> = (0..ITEMS).collect();
    let steps = json!([{"id": "a", "app": "takes", "each": list,
        "inputs": {"of": "{{ item }}", "text": "{{ trigger.inputs.text }}"}}]);
    world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
    let run = world.run("a", json!({"text": "x".repeat(600_000)})).await;
    assert_eq!(calls.swap(0, Ordering::SeqCst), u64::from(ITEMS));
    (run, ReplayFrom { step: "a".into(), item: Some(ITEMS - 1) }, calls)
}

#[tokio::test(start_paused = true)]
async fn a_repetition_asked_for_twice_at_once_under_one_name_leaves_no_part_of_another_open() {
    let world = World::new().await;
    let (run, from, calls) = run_of_many_commits(&world).await;
    let again = || world.playbooks.replay(&world.admin, run.summary.id, Some(&from), Some("again"));
    let (first, second) = tokio::join!(again(), again());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.id, first.repeated != second.repeated), (second.id, true));
    assert_eq!(world.ended(first.id).await.summary.state, RunState::Succeeded);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let runs = world.all_runs().await;
    let parts: Vec<_> = runs.iter().filter(|run| run.summary.state == RunState::Cancelled).collect();
    assert_eq!((runs.len(), parts.len(), world.rows_of(Space::RunOpen).await), (3, 1, 0));
    assert_eq!(parts[0].summary.error.as_deref(), Some("not all was recorded that it takes over"));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_repeated_whose_results_are_more_than_one_commit_takes() {
    for crashes in [false, true] {
        let world = World::new().await;
        let (run, from, calls) = run_of_many_commits(&world).await;
        if !crashes {
            let again =
                world.playbooks.replay(&world.admin, run.summary.id, Some(&from), None).await.unwrap();
            let again = again.ended.await.unwrap();
            assert_eq!(again.summary.state, RunState::Succeeded);
            assert_eq!(again.steps[0].outputs["n"], json!((0..ITEMS).collect::<Vec<_>>()));
            assert_eq!(calls.load(Ordering::SeqCst), 1);
            continue;
        }
        world.store.take_only(Some(3));
        world.playbooks.replay(&world.admin, run.summary.id, Some(&from), None).await.err().unwrap();
        let world = world.reopened(world.store.restart()).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        let [_, part] = &world.all_runs().await[..] else { panic!("what is recorded of it is found") };
        assert_eq!(world.ended(part.summary.id).await.summary.state, RunState::Cancelled);
        assert_eq!(calls.load(Ordering::SeqCst), 0, "it does nothing");
        tokio::time::sleep(HOUR).await;
        assert_eq!(world.playbooks.sweep(HOUR / 2, 100).await.unwrap(), 2);
        for space in [Space::RunOpen, Space::RunIndex, Space::RunStep, Space::Chunk] {
            assert_eq!(world.rows_of(space).await, 0, "{space:?}");
        }
    }
}

/// Counts how often runs are gone through.
#[derive(Default)]
struct Counting(AtomicU64);

#[async_trait::async_trait]
impl passing::Way for Counting {
    async fn before(&self, asked: &passing::Asked<'_>) -> Result<(), bellwether_store::StoreError> {
        if matches!(asked, passing::Asked::Scan(range) if range.start.space() == Some(Space::Run)) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn runs_that_stay_are_not_gone_through_each_minute_to_find_those_that_do_not() {
    const RUNS: usize = 3_000;
    for (retention, kept) in [(json!({"days": 1}), RUNS), (json!({"runs": 2_900}), 2_900)] {
        let world = World::new().await;
        let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": 1}}]);
        let trigger = json!({"type": "manual"});
        let document = json!({"name": "a", "trigger": trigger, "retention": retention, "steps": steps});
        let playbook = world.store_json(document).await.id;
        let (ids, chance, mut batch) = (RunIds::default(), world.chance.source(), Batch::new());
        for _ in 0..RUNS {
            let (id, now) = (ids.next(&*world.clock, &*chance), world.clock.now());
            let by = StartedBy::Manual(world.admin.key.clone());
            let mut row = RunRow::new((playbook, "a".to_owned(), 1), world.admin.key.clone(), by, now);
            (row.state, row.ended) = (RunState::Succeeded, Some(now));
            batch.put(rows::run(world.organisation, playbook, id), encode(&row));
            let reference = PlaybookRef { organisation: world.organisation, playbook };
            batch.put(rows::run_index(world.organisation, id), encode(&reference));
        }
        world.store.commit(batch).await.unwrap();
        let store = passing::Passing::new(&world.store, Counting::default());
        let playbooks = Playbooks::open(world.parts(store.clone(), &world.access, 2, None)).await.unwrap();
        playbooks.sweep(Duration::MAX, 10_000).await.unwrap();
        assert_eq!(world.rows_of(Space::Run).await, kept, "{retention}");
        world.clock.advance(1);
        playbooks.start(&world.admin, "a", json!({})).await.unwrap().ended.await.unwrap();
        store.way.0.store(0, Ordering::SeqCst);
        playbooks.sweep(Duration::MAX, 10_000).await.unwrap();
        assert_eq!(store.way.0.load(Ordering::SeqCst), 1, "{retention}");
        // Before long they are all the same.
        tokio::time::sleep(2 * HOUR).await;
        playbooks.sweep(Duration::MAX, 10_000).await.unwrap();
        assert_eq!(world.rows_of(Space::Run).await, if kept < RUNS { kept } else { kept + 1 }, "{retention}");
        tokio::time::sleep(23 * HOUR).await;
        playbooks.sweep(Duration::MAX, 10_000).await.unwrap();
        assert_eq!(world.rows_of(Space::Run).await, if kept < RUNS { kept } else { 0 }, "{retention}");
    }
}

#[tokio::test(start_paused = true)]
async fn runs_beyond_what_is_wanted_are_removed_as_soon_as_they_have_ended() {
    let world = World::new().await;
    let steps = json!([{"id": "w", "delay": "{{ trigger.inputs.span }}"}]);
    let trigger = json!({"type": "manual"});
    world
        .store_json(json!({"name": "a", "trigger": trigger, "retention": {"runs": 1}, "steps": steps}))
        .await;
    for span in ["2h", "1m", "1m"] {
        world.clock.advance(1);
        world.playbooks.start(&world.admin, "a", json!({ "span": span })).await.unwrap();
    }
    let kept = async || {
        world.playbooks.sweep(Duration::MAX, 100).await.unwrap();
        world.rows_of(Space::Run).await
    };
    tokio::time::sleep(HOUR).await;
    assert_eq!(kept().await, 2, "one has not ended");
    tokio::time::sleep(HOUR + Duration::from_secs(60)).await;
    assert_eq!(kept().await, 1);
}

#[tokio::test(start_paused = true)]
async fn firings_are_forgotten_after_a_week_however_many_there_are_and_a_part_of_them_is_looked_at_at_once() {
    let world = World::new().await;
    let now = world.clock.now();
    let (ids, chance, mut batch) = (RunIds::default(), world.chance.source(), Batch::new());
    for firing in 0..12_000 {
        let age = if firing % 4 == 0 { 8 } else { 6 };
        let claim =
            Claim { run: ids.next(&*world.clock, &*chance), at: now.saturating_add(-age * 86_400_000) };
        let key = rows::firing(world.organisation, PlaybookId(1), &firing.to_string());
        batch.put(key, encode(&claim));
    }
    world.store.commit(batch).await.unwrap();
    let kept = async || {
        world.playbooks.sweep(Duration::MAX, 100).await.unwrap();
        world.rows_of(Space::Firing).await
    };
    assert!(kept().await > 9_000, "not all are looked at");
    assert_eq!(kept().await, 9_000);
    // Then it begins anew.
    tokio::time::sleep(48 * HOUR).await;
    assert_eq!(kept().await, 0);
}
