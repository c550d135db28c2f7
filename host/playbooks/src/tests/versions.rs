//! Which version runs after one was withdrawn.

use serde_json::json;

use super::*;

/// Stores and publishes the next version of the playbook `a`.
async fn put(world: &World) -> u32 {
    let steps = json!([{"id": "a", "app": "echo"}]);
    world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await.latest
}

async fn back(world: &World) -> Option<u32> {
    world.playbooks.roll_back(&world.admin, "a", None).await.ok()?.published
}

async fn publish(world: &World, version: u32) {
    world.playbooks.publish(&world.admin, "a", version).await.unwrap();
}

#[tokio::test]
async fn a_roll_back_leads_to_what_ran_before_and_never_to_what_was_rolled_back_from() {
    let mut world = World::new().await;
    put(&world).await;
    put(&world).await;
    assert_eq!(back(&world).await, Some(1));
    put(&world).await;
    assert_eq!(back(&world).await, Some(1), "2 was withdrawn");
    world = world.reopened(world.store.restart()).await;
    assert_eq!(back(&world).await, None, "nothing ran before 1");
    for _ in 0..3 {
        put(&world).await;
    }
    assert_eq!(back(&world).await, Some(5));
    world = world.reopened(world.store.restart()).await;
    assert_eq!((back(&world).await, back(&world).await, back(&world).await), (Some(4), Some(1), None));
}

#[tokio::test]
async fn a_version_that_is_published_again_runs_as_another_key_and_nothing_else_changes() {
    let world = World::new().await;
    let second = new_principal(&world.access, world.organisation, Role::Admin).await;
    let steps = json!([{"id": "a", "app": "echo"}]);
    let document = json!({"name": "a", "trigger": {"type": "webhook"}, "steps": steps}).to_string();
    world.playbooks.save_draft(&world.admin, &document, Format::Json).await.unwrap();
    let refused = world.playbooks.publish_again(&second, "a").await.unwrap_err();
    assert!(refused.to_string().contains("has no published version"), "{refused}");
    publish(&world, 1).await;
    for _ in 0..2 {
        world.playbooks.save_draft(&world.admin, &document, Format::Json).await.unwrap();
    }
    publish(&world, 2).await;
    let before = world.playbooks.get(world.organisation, "a").await.unwrap();
    let after = world.playbooks.publish_again(&second, "a").await.unwrap();
    assert_eq!((after.published, after.latest, &after.runs_as), (Some(2), 3, &second.key));
    assert_eq!((before.published, &before.runs_as), (Some(2), &world.admin.key));
    assert_eq!(after.webhook_token, before.webhook_token);
    assert_eq!(back(&world).await, Some(1), "it is still what ran before");
}

#[tokio::test]
async fn what_ran_before_is_what_ran_last_whatever_its_number() {
    let world = World::new().await;
    for _ in 0..3 {
        put(&world).await;
    }
    publish(&world, 1).await;
    assert_eq!(back(&world).await, Some(3), "it ran until 1 was published");
    publish(&world, 3).await;
    assert_eq!(back(&world).await, Some(2), "a version that is published again ran not before itself");
    put(&world).await;
    let to_first = world.playbooks.roll_back(&world.admin, "a", Some(2)).await.unwrap();
    assert_eq!(to_first.published, Some(2));
    assert_eq!(back(&world).await, None, "1 was rolled back from");
}

#[tokio::test(start_paused = true)]
async fn no_version_is_removed_while_more_runs_are_open_than_are_looked_at() {
    let world = World::with_limits(Limits { versions: 2, ..Limits::default() }).await;
    let steps = json!([{"id": "wait", "delay": "1h"}, {"id": "a", "app": "echo"}]);
    let document = json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps});
    world.store_json(document.clone()).await;
    let run = world.playbooks.start(&world.admin, "a", json!({})).await.unwrap();
    // Those of other playbooks, which lie before it.
    let mut batch = bellwether_store::Batch::new();
    for number in 0..10_000 {
        let (playbook, cancel) = (bellwether_kernel::PlaybookId(9), Some("it ends".to_owned()));
        let open = rows::OpenRun {
            playbook,
            version: 1,
            owner: None,
            wake: None,
            waits: false,
            cancel,
            parent: None,
        };
        let key = rows::run_open(world.organisation, RunId(uuid::Uuid::from_u128(number)));
        batch.put(key, bellwether_store::encode(&open));
    }
    world.store.commit(batch).await.unwrap();
    for _ in 0..3 {
        world.store_json(document.clone()).await;
    }
    // What is kept in memory of its version is gone.
    let world = world.reopened(world.store.restart()).await;
    tokio::time::sleep(std::time::Duration::from_secs(3_600)).await;
    let run = world.ended(run.id).await;
    assert_eq!((run.summary.state, run.summary.playbook_version), (RunState::Succeeded, 1));
}

#[tokio::test]
async fn a_key_is_told_with_the_published_playbooks_that_run_as_it_while_it_works() {
    let world = World::new().await;
    let second = new_principal(&world.access, world.organisation, Role::Admin).await;
    let source = |name| {
        let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": 1}}]);
        json!({"name": name, "trigger": {"type": "manual"}, "steps": steps}).to_string()
    };
    for name in ["a", "b"] {
        world.playbooks.store(&world.admin, &source(name), Format::Json, false).await.unwrap();
    }
    world.playbooks.save_draft(&second, &source("draft"), Format::Json).await.unwrap();
    world.playbooks.save_draft(&second, &source("a"), Format::Json).await.unwrap();
    let published = async |key: &KeyId| world.playbooks.published_by(world.organisation, key).await.unwrap();
    assert_eq!(
        (published(&world.admin.key).await, published(&second.key).await.len()),
        (vec!["a".into(), "b".into()], 0)
    );
    world.playbooks.publish(&second, "b", 1).await.unwrap();
    assert_eq!(published(&world.admin.key).await, ["a"]);
    assert_eq!(published(&second.key).await, ["b"]);
    world.access.revoke_key("host", Some(world.organisation), &second.key).await.unwrap();
    assert_eq!(published(&second.key).await.len(), 0, "nothing more is lost with it");
}
