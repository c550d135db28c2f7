//! Versions that somebody keeps to.

use std::sync::Arc;

use async_trait::async_trait;
use bellwether_kernel::{FieldError, OrganisationId};
use bellwether_playbooks::{AppDescription, Apps as _, Pin, PinnedBy, Pins, PlaybookError};
use parking_lot::Mutex;

use super::{OURS, install, probe, run_id, versions, with_versions};
use crate::testing::{House, named_app};
use crate::{Owner, Plugins};

/// Keeps to what it is told.
#[derive(Default)]
struct Keeping(Mutex<Vec<Pin>>);

#[async_trait]
impl Pins for Keeping {
    async fn pins(&self, organisation: OrganisationId, app: &str) -> Result<Vec<Pin>, PlaybookError> {
        let ours = organisation == OURS && app == "probe";
        Ok(if ours { self.0.lock().clone() } else { Vec::new() })
    }

    /// Two playbooks call `probe` and want it to be called so.
    async fn misfits(
        &self,
        organisation: OrganisationId,
        app: &str,
        description: &AppDescription,
    ) -> Result<Vec<(String, FieldError)>, PlaybookError> {
        if organisation != OURS || app != "probe" || description.summary == "a probe" {
            return Ok(Vec::new());
        }
        let why = FieldError::new("steps[0]", &description.summary, "a probe");
        Ok(["nightly", "daily"].map(|name| (name.to_owned(), why.clone())).into())
    }
}

#[tokio::test]
async fn whoever_installs_a_version_learns_which_playbooks_do_not_fit_it() {
    let house = House::new().await;
    house.services.access.create_organisation("host", "acme", "UTC").await.unwrap();
    house.services.access.create_organisation("host", "other", "UTC").await.unwrap();
    let plugins = with_versions(&house, &[1]).await;
    let _keeping = keep(&plugins, "1.0.0");
    let own = Owner::Organisation(OURS);
    let other =
        named_app("probe", "2.0.0", "", "(i32.store (i32.const 1104) (i32.const 6))", "(global.get $ok)");
    let misfits = async |owner, version| plugins.misfits(owner, "probe", version).await.unwrap();
    install(&plugins, other.clone()).await.unwrap();
    assert!(misfits(Owner::Host, "1.0.0").await.is_empty());
    assert_eq!(misfits(Owner::Host, "2.0.0").await, ["it does not fit 2 playbooks of the organisation acme"]);
    plugins.install(own, "key", other, Vec::new(), false).await.unwrap();
    let expected = ["nightly", "daily"]
        .map(|name| format!("the playbook {name} does not fit it: steps[0] is \"a prob\", expected a probe"));
    assert_eq!(misfits(own, "2.0.0").await, expected);
    assert!(
        misfits(Owner::Host, "2.0.0").await.is_empty(),
        "who has one of its own does not call the host's"
    );
}

fn keep(plugins: &Plugins, version: &str) -> Arc<Keeping> {
    let keeping = Arc::new(Keeping::default());
    let pin = |by| Pin { version: Some(version.to_owned()), by };
    *keeping.0.lock() = vec![pin(PinnedBy::Playbook("nightly".into())), pin(PinnedBy::Run(run_id(7)))];
    let pins: std::sync::Weak<Keeping> = Arc::downgrade(&keeping);
    plugins.ask_for_pins(pins);
    keeping
}

#[tokio::test]
async fn the_newest_versions_are_kept_and_those_that_somebody_keeps_to() {
    let house = House::new().await;
    house.services.access.create_organisation("host", "acme", "UTC").await.unwrap();
    let plugins = with_versions(&house, &[1]).await;
    let _keeping = keep(&plugins, "1.0.0");
    for number in 2..=6 {
        install(&plugins, probe(number)).await.unwrap();
        house.clock.advance(1_000);
    }
    let kept: Vec<String> = versions(&plugins).into_iter().map(|(version, ..)| version).collect();
    assert_eq!(kept, ["6.0.0", "5.0.0", "1.0.0"]);
    assert_eq!(house.services.objects.list().unwrap().len(), 3);
}

#[tokio::test]
async fn what_somebody_keeps_to_is_not_removed_unless_forced_and_the_names_are_told_to_its_owner() {
    let house = House::new().await;
    house.services.access.create_organisation("host", "acme", "UTC").await.unwrap();
    let plugins = with_versions(&house, &[1, 2]).await;
    let own = Owner::Organisation(OURS);
    let keeping = keep(&plugins, "1.0.0");
    let told = async |owner, version: Option<&str>| {
        let refused = match version {
            Some(version) => plugins.remove_version(owner, "key", "probe", version, false).await.map(drop),
            None => plugins.remove(owner, "key", "probe").await,
        };
        refused.unwrap_err().to_string()
    };
    let hosts = "the plugin probe is kept to: 1.0.0 by 1 playbook and 1 run of the organisation acme; \
         end or change that first, or force it";
    assert_eq!([told(Owner::Host, Some("1.0.0")).await, told(Owner::Host, None).await], [hosts, hosts]);
    assert!(told(Owner::Host, Some("2.0.0")).await.contains("the current one: roll back"));

    for number in 1..=2 {
        plugins.install(own, "key", probe(number), Vec::new(), false).await.unwrap();
    }
    let error = told(own, Some("1.0.0")).await;
    let run = run_id(7);
    assert!(error.contains(&format!("1.0.0 by the playbook nightly, 1.0.0 by the run {run}")), "{error}");
    // Who calls whichever is current would get the host's.
    let pins = std::mem::take(&mut *keeping.0.lock());
    keeping.0.lock().push(Pin { version: None, by: PinnedBy::Playbook("nightly".into()) });
    plugins.remove(own, "key", "probe").await.unwrap();
    let told_of_current = told(Owner::Host, None).await;
    assert!(told_of_current.contains("the current version by 1 playbook of"), "{told_of_current}");
    for number in 1..=2 {
        plugins.install(own, "key", probe(number), Vec::new(), false).await.unwrap();
    }
    // Who has a plugin of its own does not keep to the host's.
    plugins.remove(Owner::Host, "key", "probe").await.unwrap();
    assert!(told(own, None).await.contains("the current version by the playbook nightly"));
    plugins.remove_version(own, "key", "probe", "1.0.0", false).await.unwrap();
    *keeping.0.lock() = pins;
    plugins.install(own, "key", probe(1), Vec::new(), false).await.unwrap();
    plugins.install(own, "key", probe(2), Vec::new(), false).await.unwrap();
    let broken = plugins.remove_version(own, "key", "probe", "1.0.0", true).await.unwrap();
    let breaks = |who: &str| format!("this breaks {who}, which called 1.0.0");
    assert_eq!(broken, [breaks("the playbook nightly"), breaks(&format!("the run {run}"))]);
    assert!(plugins.app_version(OURS, "probe", "1.0.0").is_none());
    plugins.remove(own, "key", "probe").await.unwrap();
    assert!(house.services.objects.list().unwrap().is_empty());
}
