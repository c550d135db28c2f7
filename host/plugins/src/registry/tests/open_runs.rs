//! Who found a version some time ago, as an open run did, and calls it now.

use bellwether_alerts::{Points, Roles as _, Settings};
use bellwether_kernel::Timestamp;
use bellwether_playbooks::Apps as _;

use super::{OURS, answered, install, run, versions, with_versions};
use crate::testing::{House, detector};
use crate::{LimitOverrides, Owner, VersionState};

const HOST: Owner = Owner::Host;

#[tokio::test]
async fn a_plugin_that_is_switched_off_is_called_by_no_open_run_and_not_loaded_for_one() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    let app = plugins.app(OURS, "probe").unwrap();
    assert_eq!(answered(&*app).await, 1);
    plugins.set_enabled(HOST, "key", "probe", false).await.unwrap();
    let error = run(&*app).await.result.unwrap_err();
    assert_eq!(error.message, "the plugin probe is switched off");
    assert_eq!(versions(&plugins), [("1.0.0".to_owned(), VersionState::Current, false)]);
    plugins.set_enabled(HOST, "key", "probe", true).await.unwrap();
    assert_eq!(answered(&*app).await, 1);
}

#[tokio::test]
async fn an_open_run_calls_its_version_under_the_limits_it_has_now() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    let app = plugins.app(OURS, "probe").unwrap();
    assert_eq!(answered(&*app).await, 1);
    let limits = LimitOverrides { output_bytes: Some(1), ..LimitOverrides::default() };
    plugins.set_limits(HOST, "key", "probe", limits).await.unwrap();
    let error = run(&*app).await.result.unwrap_err();
    assert!(error.message.ends_with("at most 1 are taken"), "{error:?}");
}

#[tokio::test]
async fn an_open_run_learns_that_its_version_or_its_plugin_is_removed() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1, 2]).await;
    let (old, current) =
        (plugins.app_version(OURS, "probe", "1.0.0").unwrap(), plugins.app(OURS, "probe").unwrap());
    assert_eq!((answered(&*old).await, answered(&*current).await), (1, 2));
    plugins.remove_version(HOST, "key", "probe", "1.0.0", true).await.unwrap();
    let error = run(&*old).await.result.unwrap_err();
    assert_eq!(error.message, "there is no version \"1.0.0\" of the plugin probe: there is 2.0.0");
    plugins.remove_all(HOST, "key", "probe", true).await.unwrap();
    let error = run(&*current).await.result.unwrap_err();
    assert_eq!(error.message, "there is no plugin \"probe\"");
}

#[tokio::test]
async fn a_detector_that_is_switched_off_judges_nothing_more_of_what_was_begun() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, detector("1.0.0", 0, "")).await.unwrap();
    let judge = plugins.detector(OURS, "judge").unwrap();
    let points = Points { times: vec![Timestamp::MIN], step: None, values: vec![vec![1.0]], learn: true };
    assert!(judge.detect(&Settings::default(), &[], &points).await.is_ok());
    plugins.set_enabled(HOST, "key", "judge", false).await.unwrap();
    let error = judge.detect(&Settings::default(), &[], &points).await.unwrap_err();
    assert_eq!(error.to_string(), "the plugin judge is switched off");
}
