//! What is promised of a plugin's versions, on components made from text.

mod canary;
mod damage;
mod erasing;
mod limits;
mod meters;
mod open_runs;
mod pins;
mod removal;
mod versions;

use std::sync::Arc;

use bellwether_access::{AuditFilter, AuditScope};
use bellwether_kernel::{OrganisationId, PageRequest, RunId};
use bellwether_playbooks::{App, AppReport, Value};
use bytes::Bytes;

use crate::testing::{House, app_call, named_app};
use crate::{Installed, Owner, PluginError, Plugins, VersionState};

const OURS: OrganisationId = OrganisationId(1);

/// The app `probe` of version `number.0.0`, which answers `number`.
fn probe(number: u8) -> Bytes {
    let answer = format!("(i64.store (i32.const 1264) (i64.const {number})) (global.get $ok)");
    named_app("probe", &format!("{number}.0.0"), "", "", &answer)
}

/// The same, and it fails.
fn failing(number: u8) -> Bytes {
    named_app("probe", &format!("{number}.0.0"), "", "", "(global.get $failed)")
}

async fn install(plugins: &Plugins, bytes: Bytes) -> Result<Arc<Installed>, PluginError> {
    plugins.install(Owner::Host, "key", bytes, Vec::new(), false).await
}

/// A host with these versions of `probe`, installed in this order.
async fn with_versions(house: &House, numbers: &[u8]) -> Arc<Plugins> {
    let plugins = house.plugins().await;
    for number in numbers {
        install(&plugins, probe(*number)).await.unwrap();
        house.clock.advance(1_000);
    }
    plugins
}

async fn run(app: &dyn App) -> AppReport {
    app.run(app_call()).await
}

/// Which version answered.
async fn answered(app: &dyn App) -> i64 {
    match &run(app).await.result.unwrap()[..] {
        [(name, Value::Integer(answer))] if name == "answer" => *answer,
        other => panic!("{other:?}"),
    }
}

fn current(plugins: &Plugins) -> String {
    plugins.get(Owner::Host, "probe").unwrap().version.clone()
}

fn versions(plugins: &Plugins) -> Vec<(String, VersionState, bool)> {
    let kept = plugins.versions(Owner::Host, "probe", &PageRequest::first(100)).unwrap().items;
    kept.into_iter().map(|kept| (kept.installed.version.clone(), kept.state, kept.loaded)).collect()
}

fn run_id(number: u128) -> RunId {
    format!("{number:032x}").parse().unwrap()
}

async fn actions(house: &House) -> Vec<(String, String)> {
    let filter = AuditFilter::default();
    let log =
        house.services.access.audit_log(AuditScope::Host, &filter, &PageRequest::first(100)).await.unwrap();
    log.items.into_iter().map(|entry| (entry.action, entry.actor)).collect()
}
