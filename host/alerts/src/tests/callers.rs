//! Who calls a plugin.

use bellwether_store::encode;

use super::anomalies::strange;
use super::*;
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

    async fn callers(&self, plugin: &str) -> Vec<String> {
        let callers = self.alerts.callers(OURS, plugin).await.unwrap();
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
    assert_eq!(world.callers("webhook").await, ["the channel ops"]);
    assert_eq!(world.callers("bound").await, ["the channel chat", "the monitor odd", "the monitor odder"]);
    assert!(world.callers("email").await.is_empty());
}
