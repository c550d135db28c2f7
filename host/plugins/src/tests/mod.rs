//! What plugins may do, what they get, and what becomes of them, on components made from text.

mod answers;
mod calls;
mod dialects;
mod installing;

use std::sync::Arc;

use bellwether_kernel::OrganisationId;
use bellwether_playbooks::{App, AppReport};
use bytes::Bytes;

use crate::testing::app_call;
use crate::{Grant, Installed, Owner, PluginError, Plugins};

const ANSWERS: &str = "(global.get $ok)";
const LOOPS: &str = "(loop (br 0)) (unreachable)";
const LOGS: &str = r#"(import "bellwether:host/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
const ORGANISATION: OrganisationId = OrganisationId(1);

fn grants(texts: &[&str]) -> Vec<Grant> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

async fn install(plugins: &Plugins, bytes: Bytes, granted: &[&str]) -> Result<Arc<Installed>, PluginError> {
    plugins.install(Owner::Host, "host", bytes, grants(granted), false).await
}

async fn run(app: &dyn App) -> AppReport {
    app.run(app_call()).await
}
