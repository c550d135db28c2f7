//! Organisations that are deleted: their playbooks and runs go, and nobody else's.

use std::time::Duration;

use bellwether_alerts::{Event, Severity};
use bellwether_store::{Crash, Erase, erase};
use serde_json::json;

use super::incidents::{commit, following, moved};
use super::*;

impl World {
    /// Gives an organisation a playbook of every trigger, runs that ended, and one that waits for its time.
    async fn fill(&self, admin: &Principal) -> Arc<Playbook> {
        let put = async |document: serde_json::Value| {
            self.playbooks.store(admin, &document.to_string(), Format::Json, true).await.unwrap()
        };
        let steps = |delay: &str| json!([{"id": "a", "app": "echo"}, {"id": "wait", "delay": delay}]);
        for (name, trigger) in [
            ("metric", json!({"type": "metric", "metric": "m"})),
            ("every", json!({"type": "every", "interval": "1h"})),
        ] {
            put(json!({"name": name, "trigger": trigger, "steps": steps("1s")})).await;
        }
        put(following("alert", json!({}), "x")).await;
        put(json!({"name": "manual", "trigger": {"type": "manual"}, "steps": steps("9h")})).await;
        let hook = put(json!({"name": "hook", "trigger": {"type": "webhook"}, "steps": steps("1s")})).await;
        let token = hook.webhook_token.clone().unwrap();
        let large = vec![b'x'; 100_000];
        self.playbooks
            .start_by_webhook(&token, post("text/plain", large))
            .await
            .unwrap()
            .ended
            .await
            .unwrap();
        self.playbooks.start(admin, "manual", json!({})).await.unwrap();
        hook
    }

    async fn suspended(&self) -> Self {
        self.access.suspend_organisation("host", self.organisation).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
        self.reopened(self.store.restart()).await
    }

    async fn erase(&self) -> Result<(), bellwether_store::StoreError> {
        let spaces: Vec<_> =
            Space::ALL.iter().copied().filter(|space| *space != Space::Organisation).collect();
        while self.playbooks.erase(self.organisation).await?
            + erase(&*self.store, self.organisation, &spaces).await?
            > 0
        {}
        Ok(())
    }

    fn is_empty(&self) -> bool {
        let (own, playbooks) = (self.organisation, &self.playbooks);
        !playbooks.watches.read().contains_key(&own)
            && !playbooks.followers.read().contains_key(&own)
            && !playbooks.queued.recorded().contains_key(&own)
            && !playbooks.placeless.recorded().contains_key(&own)
            && playbooks.loaded.iter().all(|(version, _)| version.0 != own)
    }
}

#[tokio::test(start_paused = true)]
async fn of_an_organisation_that_is_erased_no_playbook_or_run_is_left_and_its_neighbours_go_on() {
    let world = World::new().await;
    let other = world.other().await;
    let gone = world.fill(&world.admin).await;
    let stays = world.fill(&other).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.access.suspend_organisation("host", world.organisation).await.unwrap();
    // What starts by itself while it is suspended waits in its queue.
    world.writes.push(world.organisation, "m", None, 1.0);
    commit(&world, &[moved(&world, 1, Event::Opened, Severity::High)]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!world.is_empty());
    let of = |rows: Vec<Row>, id: OrganisationId| -> Vec<Row> {
        rows.into_iter().filter(|(key, _)| key.organisation() == Some(id.0)).collect()
    };
    let theirs = of(world.rows().await, other.organisation);
    assert!(of(world.rows().await, world.organisation).len() > 30);
    world.erase().await.unwrap();

    assert!(world.is_empty());
    assert_eq!(world.writes.watched.lock()[&world.organisation], Vec::<String>::new());
    assert_eq!(world.rows_of(Space::Webhook).await, 1);
    assert_eq!(of(world.rows().await, other.organisation), theirs);
    let left: Vec<_> = of(world.rows().await, world.organisation);
    assert!(left.iter().all(|(key, _)| key.space() == Some(Space::Organisation)), "{left:?}");
    // Nothing begins any more, now or after a restart, and the neighbour's goes on.
    world.writes.push(world.organisation, "m", Some(1.0), 2.0);
    world.writes.push(other.organisation, "m", Some(1.0), 2.0);
    let mut world = world;
    for restarts in [false, true] {
        if restarts {
            world = world.reopened(world.store.restart()).await;
        }
        tokio::time::sleep(Duration::from_secs(2 * 3_600)).await;
        world.playbooks.measure().await.unwrap();
        world.playbooks.sweep(Duration::MAX, 100).await.unwrap();
        assert_eq!(of(world.rows().await, world.organisation), left);
        let token = gone.webhook_token.clone().unwrap();
        assert!(world.playbooks.start_by_webhook(&token, post("text/plain", "a")).await.is_err());
        let token = stays.webhook_token.clone().unwrap();
        world.playbooks.start_by_webhook(&token, post("text/plain", "a")).await.unwrap();
        assert_eq!(world.store.unread().count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_cut_off_of_an_erasing_is_gone_on_with() {
    let filled = World::new().await;
    filled.fill(&filled.admin).await;
    let filled = filled.suspended().await;
    let mut seen = 0;
    for after in (1..).step_by(3) {
        // As whoever looks at it and moves nothing, so that the commits are those of the erasing.
        let store = filled.store.restart();
        let copy = store.restart_with_crashes(Crash::After(after));
        let on = async |store: Arc<MemoryStore>| {
            let access = open_access(store.clone(), &filled.clock, &filled.chance).await.unwrap();
            let playbooks = Playbooks::idle(filled.parts(store.clone(), &access, 1, None));
            filled.with(store, access, playbooks)
        };
        let store = Arc::new(copy);
        let done = on(Arc::clone(&store)).await.erase().await.is_ok();
        let world = on(Arc::new(store.restart())).await;
        world.playbooks.sweep(Duration::from_secs(1), 100).await.unwrap();
        world.playbooks.measure().await.unwrap();
        seen = seen.max(world.store.unread().count());
        world.erase().await.unwrap();
        let left = world.rows().await.into_iter().filter(|(key, _)| key.organisation() == Some(1)).count();
        assert_eq!((left, world.rows_of(Space::Webhook).await), (1, 0), "after {after} commits");
        if done {
            assert!(after > 15, "{after}");
            break;
        }
    }
    assert_eq!(seen, 0, "what is half erased is taken for no damage");
}
