//! Who calls a plugin.

use bellwether_store::encode;

use super::anomalies::strange;
use super::*;
use crate::Called;
use crate::channel::ChannelRow;
use crate::delivery::keys;

impl World {
    async fn channel(&self, organisation: OrganisationId, name: &str, formatter: &str, state: ChannelState) {
        let spec = serde_json::from_value(json!({"formatter": formatter})).unwrap();
        let channel =
            Channel { name: name.to_owned(), version: 1, spec, state, created: at(0), updated: at(0) };
        let mut batch = Batch::new();
        batch.put(keys::channel(organisation, name), encode(&ChannelRow::of(&channel)));
        self.store.commit(batch).await.unwrap();
    }

    async fn callers(&self, called: Called<'_>) -> Vec<String> {
        let callers = self.alerts.callers(OURS, called).await.unwrap();
        callers.iter().map(ToString::to_string).collect()
    }
}

#[tokio::test]
async fn a_plugin_is_called_by_the_channels_it_formats_for_and_the_monitors_it_judges_for_paused_or_not() {
    let world = World::with_roles(FakeRoles(Some(anomalies::Bound::new()))).await;
    let paused = ChannelState::Paused { since: at(0), reason: String::new() };
    world.channel(OURS, "ops", "webhook", paused).await;
    world.channel(OURS, "chat", "bound", ChannelState::Active).await;
    world.channel(OrganisationId(2), "theirs", "webhook", ChannelState::Active).await;
    world.create(cpu(json!({"name": "bound"}))).await;
    world.create(strange(json!({"name": "odd"}))).await;
    world.create(strange(json!({"name": "odder", "paused": true}))).await;
    assert_eq!(world.callers(Called::Plugin("webhook")).await, ["the channel ops"]);
    assert_eq!(
        world.callers(Called::Plugin("bound")).await,
        ["the channel chat", "the monitor odd", "the monitor odder"]
    );
    assert!(world.callers(Called::Plugin("email")).await.is_empty());
}

#[tokio::test]
async fn an_app_is_called_and_a_playbook_started_by_the_monitors_with_an_action_that_does() {
    let world = World::new().await;
    let actions = json!([{"name": "restart", "playbook": "restart"}, {"name": "look", "app": "probe"}]);
    world.create(cpu(json!({"name": "acting", "actions": actions}))).await;
    world.create(cpu(json!({"name": "idle"}))).await;
    assert_eq!(world.callers(Called::Plugin("probe")).await, ["the monitor acting"]);
    assert_eq!(world.callers(Called::Playbook("restart")).await, ["the monitor acting"]);
    for other in [Called::Plugin("restart"), Called::Playbook("probe")] {
        assert!(world.callers(other).await.is_empty(), "{other:?}");
    }
}
