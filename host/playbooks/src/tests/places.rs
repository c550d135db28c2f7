//! How many runs of one playbook there are at once.

use std::time::Duration;

use serde_json::json;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_run_too_many_replaces_the_oldest_and_no_more() {
    use RunState::{Cancelled, Running, Succeeded};
    let world = World::new().await;
    let concurrency = json!({"policy": "replace", "limit": 3});
    let steps = json!([{"id": "wait", "delay": "20s"}]);
    world
        .store_json(
            json!({"name": "a", "trigger": {"type": "manual"}, "concurrency": concurrency, "steps": steps}),
        )
        .await;
    let mut ids = Vec::new();
    let states = async |ids: &[RunId]| {
        let mut states = Vec::new();
        for id in ids {
            states.push(world.playbooks.summary(world.organisation, *id).await.unwrap().state);
        }
        states
    };
    for number in 0..5_usize {
        ids.push(world.playbooks.start(&world.admin, "a", json!({})).await.unwrap().id);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let gone = (number + 1).saturating_sub(3);
        let expected = [vec![Cancelled; gone], vec![Running; number + 1 - gone]].concat();
        assert_eq!(states(&ids).await, expected, "after start {number}");
    }
    // Several in one moment: those that wait for the places of runs that end are no more than there are places.
    for _ in 0..4 {
        world.clock.advance(1);
        ids.push(world.playbooks.start(&world.admin, "a", json!({})).await.unwrap().id);
    }
    for id in &ids {
        world.ended(*id).await;
    }
    assert_eq!(states(&ids).await, [vec![Cancelled; 6], vec![Succeeded; 3]].concat());
    for space in [Space::RunOpen, Space::PlaybookGate, Space::PlaybookQueue, Space::RunQueue] {
        assert_eq!(world.rows_of(space).await, 0, "{space:?}");
    }
}
