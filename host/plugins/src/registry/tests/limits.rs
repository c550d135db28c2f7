//! What the calls of a version may use.

use bellwether_playbooks::Apps;

use super::{OURS, answered, install, probe, versions, with_versions};
use crate::testing::{House, named_app};
use crate::{LimitOverrides, Owner, PluginError};

#[tokio::test]
async fn limits_hold_for_the_current_version_and_those_after_it_and_an_organisation_only_tightens_them() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    let own = Owner::Organisation(OURS);
    plugins.install(own, "key", probe(1), Vec::new(), false).await.unwrap();
    let host = house.limits.shown();
    let tight = LimitOverrides { memory_bytes: Some(1 << 20), ..LimitOverrides::default() };
    let wide = LimitOverrides { memory_bytes: host.memory_bytes.map(|bytes| bytes * 2), ..tight };
    for owner in [own, Owner::Host] {
        let limits = plugins.set_limits(owner, "key", "probe", tight).await.unwrap();
        assert_eq!((limits.set, limits.effective.memory_bytes), (tight, tight.memory_bytes));
        assert_eq!(limits.effective.log_lines, host.log_lines);
    }
    let error = plugins.set_limits(own, "key", "probe", wide).await.unwrap_err();
    assert!(error.to_string().contains("what the host allows"), "{error}");
    plugins.set_limits(Owner::Host, "key", "probe", wide).await.unwrap();
    install(&plugins, probe(2)).await.unwrap();
    let again = house.plugins().await;
    assert_eq!(again.limits(Owner::Host, "probe").unwrap().set, wide);
    assert_eq!(again.limits(own, "probe").unwrap().set, tight);
    assert_eq!(answered(&*again.app(OURS, "probe").unwrap()).await, 1);
    let too_tight = LimitOverrides { memory_bytes: Some(0), ..tight };
    assert!(matches!(again.set_limits(own, "key", "probe", too_tight).await, Err(PluginError::Invalid(_))));
}

#[tokio::test]
async fn an_organisations_plugin_loses_what_the_host_allows_no_more_and_the_operators_keeps_it() {
    let mut house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    let own = Owner::Organisation(OURS);
    plugins.install(own, "key", probe(1), Vec::new(), false).await.unwrap();
    let set = LimitOverrides { memory_bytes: Some(4 << 20), ..LimitOverrides::default() };
    for owner in [own, Owner::Host] {
        plugins.set_limits(owner, "key", "probe", set).await.unwrap();
    }
    house.limits.call.memory = 2 << 20;
    let again = house.plugins().await;
    for (owner, holds) in [(own, 2 << 20), (Owner::Host, 4 << 20)] {
        let limits = again.limits(owner, "probe").unwrap();
        assert_eq!((limits.set, limits.effective.memory_bytes), (set, Some(holds)), "{owner:?}");
        let stats = again.stats(owner, "probe").unwrap();
        assert_eq!(stats[0].stats.limits.memory_bytes, Some(holds), "{owner:?}");
    }
}

#[tokio::test]
async fn a_limit_it_does_not_load_with_is_refused_and_it_goes_on_with_what_it_had() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let grows = "(if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))";
    let answer = "(i64.store (i32.const 1264) (i64.const 1)) (global.get $ok)";
    install(&plugins, named_app("probe", "1.0.0", "", grows, answer)).await.unwrap();
    let tight = |bytes| LimitOverrides { memory_bytes: Some(bytes), ..LimitOverrides::default() };
    plugins.set_limits(Owner::Host, "key", "probe", tight(2 << 20)).await.unwrap();
    for enabled in [true, false] {
        plugins.set_enabled(Owner::Host, "key", "probe", enabled).await.unwrap();
        let error = plugins.set_limits(Owner::Host, "key", "probe", tight(128 << 10)).await.unwrap_err();
        let PluginError::Invalid(error) = error else { panic!("{error}") };
        assert_eq!((error.field.as_str(), error.value.as_str()), ("memory_bytes", "131072"));
        assert_eq!(
            error.expected,
            "enough for version 1.0.0 of probe to load, which did not (plugin probe 1.0.0: app.describe: ran out of \
             its 128 KiB of memory); nothing was changed"
        );
        assert_eq!(plugins.limits(Owner::Host, "probe").unwrap().set, tight(2 << 20));
    }
    plugins.set_limits(Owner::Host, "key", "probe", tight(3 << 20)).await.unwrap();
    assert!(!versions(&plugins)[0].2, "one that is switched off is loaded only to see whether it would");
    plugins.set_enabled(Owner::Host, "key", "probe", true).await.unwrap();
    assert_eq!(answered(&*plugins.app(OURS, "probe").unwrap()).await, 1);
}
