//! What `/metrics` says of plugins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bellwether_playbooks::Apps;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;

use super::{OURS, answered, probe, with_versions};
use crate::Owner;
use crate::testing::{House, named_app};

/// Counters and gauges by name and labels: `name{plugin=probe,owner=host}`.
#[derive(Default)]
struct Seen(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Seen {
    fn of(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::clone(self.0.lock().entry(name).or_default())
    }

    fn count(&self, name: &str) -> Option<u64> {
        self.0.lock().get(name).map(|value| value.load(Ordering::Relaxed))
    }

    fn share(&self, owner: &str, version: &str) -> Option<f64> {
        let name = format!("bellwether_plugin_version_share{{plugin=probe,owner={owner},version={version}}}");
        self.count(&name).map(f64::from_bits)
    }
}

impl Recorder for Seen {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.of(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.of(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn an_organisations_plugin_counts_apart_from_the_hosts_and_what_is_removed_gets_no_share() {
    let seen = Seen::default();
    let _seen = metrics::set_default_local_recorder(&seen);
    let house = House::new().await;
    let plugins = with_versions(&house, &[1, 2]).await;
    let own = Owner::Organisation(OURS);
    plugins.install(own, "key", probe(1), Vec::new(), false).await.unwrap();
    assert_eq!(answered(&*plugins.app(OURS, "probe").unwrap()).await, 1);
    // What a version answered before it was installed is not shown.
    for (owner, calls) in [("host", 0), ("organisation-1", 1)] {
        let name = format!("bellwether_plugin_calls_total{{plugin=probe,owner={owner},role=app}}");
        assert_eq!(seen.count(&name), Some(calls), "{owner}");
    }
    assert_eq!((seen.share("host", "1.0.0"), seen.share("host", "2.0.0")), (Some(0.0), Some(1.0)));
    assert_eq!(seen.share("organisation-1", "1.0.0"), Some(1.0));
    for owner in [own, Owner::Host] {
        plugins.remove(owner, "key", "probe").await.unwrap();
    }
    for (owner, version) in [("host", "2.0.0"), ("organisation-1", "1.0.0")] {
        assert_eq!(seen.share(owner, version), Some(0.0), "{owner}");
    }
}

#[tokio::test]
async fn a_plugin_that_is_refused_leaves_nothing_to_show() {
    let seen = Seen::default();
    let _seen = metrics::set_default_local_recorder(&seen);
    let house = House::new().await;
    let plugins = house.plugins().await;
    let own = Owner::Organisation(OURS);
    for name in ["one", "another"] {
        let broken = named_app(name, "1.0.0", "", "(unreachable)", "(global.get $ok)");
        assert!(plugins.install(own, "key", broken, Vec::new(), false).await.is_err());
        let shown = seen.0.lock().keys().filter(|key| key.contains(&format!("plugin={name}"))).count();
        assert_eq!(shown, 0, "{name}");
    }
}
