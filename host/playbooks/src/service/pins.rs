//! Who keeps to an app, so that nobody removes it under a run or a published playbook.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bellwether_kernel::{OrganisationId, PageRequest};
use bellwether_store::{Walk, decode};

use crate::app::{Pin, PinnedBy, Pins};
use crate::compile::{Action, Compiled};
use crate::engine::pinned;
use crate::rows::{OpenRun, RunRow};
use crate::{PlaybookError, Playbooks, rows};

/// Playbooks looked at at once.
const PLAYBOOKS: usize = 256;

#[async_trait]
impl Pins for Playbooks {
    async fn pins(&self, organisation: OrganisationId, app: &str) -> Result<Vec<Pin>, PlaybookError> {
        let mut pins = Vec::new();
        let mut page = PageRequest::first(PLAYBOOKS);
        loop {
            let playbooks = self.list(organisation, &page).await?;
            for playbook in &playbooks.items {
                let Some(loaded) = self.load_published(organisation, playbook.id).await? else { continue };
                let by = || PinnedBy::Playbook(playbook.document.name.clone());
                let versions = called(&loaded.compiled, app).into_iter();
                pins.extend(versions.map(|version| Pin { version: version.map(str::to_owned), by: by() }));
            }
            match playbooks.next {
                Some(next) => page.cursor = Some(next),
                None => break,
            }
        }
        self.pins_of_runs(organisation, app, &mut pins).await?;
        Ok(pins)
    }
}

impl Playbooks {
    async fn pins_of_runs(
        &self,
        organisation: OrganisationId,
        app: &str,
        pins: &mut Vec<Pin>,
    ) -> Result<(), PlaybookError> {
        let mut open_runs = Walk::forward(&*self.store, rows::open_runs(organisation).prefix());
        while let Some((key, row)) = open_runs.next().await? {
            let (_, run) = rows::organisation_and_run(&key)?;
            let open: OpenRun = decode(&row)?;
            // One that ended meanwhile keeps to nothing.
            let Some(row) = self.store.get(&rows::run(organisation, open.playbook, run)).await? else {
                continue;
            };
            let row: RunRow = decode(&row)?;
            let mut versions: Vec<String> = pinned(&row.pins, app).map(str::to_owned).into_iter().collect();
            if let Some(loaded) = self.load(organisation, open.playbook, row.playbook_version).await? {
                versions.extend(called(&loaded.compiled, app).into_iter().flatten().map(str::to_owned));
            }
            let by = || PinnedBy::Run(run);
            pins.extend(versions.into_iter().map(|version| Pin { version: Some(version), by: by() }));
        }
        Ok(())
    }
}

/// The versions of an app that a playbook calls, each once: `None` for whichever is current.
fn called<'a>(compiled: &'a Compiled, app: &str) -> BTreeSet<Option<&'a str>> {
    let versions = compiled.steps.iter().filter_map(|step| match &step.action {
        Action::App(name, version) if name == app => Some(version.as_deref()),
        _ => None,
    });
    versions.collect()
}
