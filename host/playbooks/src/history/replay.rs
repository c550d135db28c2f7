//! A run repeated from one of its steps, or from one item of one: what lies before is taken over and not done again.

use std::sync::Arc;

use bellwether_access::{Principal, Role};
use bellwether_kernel::{FieldError, OrganisationId, RunId};
use bellwether_store::{Walk, decode};

use crate::engine::{Copied, Firing};
use crate::rows::{Record, RecordOf, RunRow};
use crate::service::{Loaded, require_role};
use crate::{PlaybookError, Playbooks, StartedRun, StepResult, StepState, rows};

/// Where a run is repeated from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayFrom {
    /// The step's id; not one of the on-failure steps.
    pub step: String,
    /// For a step over a list: the item, counted from 0. Those before it that succeeded are taken over.
    pub item: Option<u32>,
}

impl Playbooks {
    /// Starts a run again that has ended: a new run of the same version with the same trigger, from the beginning, or
    /// from a step on with the results of those before it. The apps are those there are now, and the key it runs as is
    /// the playbook's present one.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] if there is no such run, or its version is gone; [`PlaybookError::Refused`] if it has
    /// not ended; [`PlaybookError::Invalid`] for a step it does not have, or that has others before it that gave
    /// nothing; [`PlaybookError::Forbidden`] for a key that may only read; otherwise as [`Self::start`].
    pub async fn replay(
        self: &Arc<Self>,
        principal: &Principal,
        id: RunId,
        from: Option<&ReplayFrom>,
        name: Option<&str>,
    ) -> Result<StartedRun, PlaybookError> {
        require_role(principal, Role::Write, "replay a run")?;
        let organisation = principal.organisation;
        let row = self.run_row(organisation, id).await?;
        if !row.state.has_ended() {
            return Err(PlaybookError::Refused(format!("the run {id} has not ended; cancel it first")));
        }
        let version = row.playbook_version;
        let unknown = || PlaybookError::Unknown {
            what: "version",
            name: format!("{version} of {}", row.playbook_name),
        };
        let loaded = self.load(organisation, row.playbook, version).await?.ok_or_else(unknown)?;
        let trigger = self.read_whole(organisation, id, RecordOf::Trigger).await?.unwrap_or_default();
        let copied = match from {
            Some(from) => self.copies(organisation, id, &row, &loaded, from).await?,
            None => Vec::new(),
        };
        let mut firing = Firing::new(row.triggered_by, trigger);
        firing.name_by_hand(principal, name);
        firing.replay_of = Some(id);
        firing.secrets = self.read_secrets(organisation, id).await?.for_another();
        firing.copied = copied;
        self.accept(organisation, loaded, firing).await
    }

    /// What a repetition takes over.
    async fn copies(
        &self,
        organisation: OrganisationId,
        id: RunId,
        row: &RunRow,
        loaded: &Loaded,
        from: &ReplayFrom,
    ) -> Result<Vec<Copied>, PlaybookError> {
        let compiled = &loaded.compiled;
        let steps = &compiled.steps[..compiled.main];
        let Some(position) = steps.iter().position(|step| step.id == from.step) else {
            let ids: Vec<&str> = steps.iter().map(|step| step.id.as_str()).collect();
            let expected = format!(
                "a step of version {} of {}: {}",
                row.playbook_version,
                row.playbook_name,
                ids.join(", ")
            );
            return Err(FieldError::new("step", &from.step, expected).into());
        };
        if let Some(item) = from.item {
            if steps[position].each.is_none() {
                let expected = format!("none: the step {} has no `each`", from.step);
                return Err(FieldError::new("item", item, expected).into());
            }
            self.check_item(organisation, id, position, item).await?;
        }
        let mut copied = Vec::new();
        for (before, step) in steps[..position].iter().enumerate() {
            let result = self.copy(organisation, id, before, None).await?;
            let result = result
                .filter(|copied| matches!(copied.result.state, StepState::Succeeded | StepState::Skipped));
            let Some(result) = result else {
                let expected =
                    format!("{} or a step before it, which gave nothing that could be taken over", step.id);
                return Err(FieldError::new("step", &from.step, expected).into());
            };
            copied.push(result);
        }
        for (key, _) in match from.item {
            Some(_) => self.all(rows::items(organisation, id, position)).await?,
            None => Vec::new(),
        } {
            let RecordOf::Item(_, item) = rows::record_of(&key)? else { continue };
            if from.item.is_some_and(|first| item >= first) {
                break;
            }
            let result = self.copy(organisation, id, position, Some(item)).await?;
            copied.extend(result.filter(|copied| copied.result.state == StepState::Succeeded));
        }
        Ok(copied)
    }

    /// Refuses an item the step's list did not have. Where a run ended within the list, its length is not known: then the
    /// items are counted that were begun.
    async fn check_item(
        &self,
        organisation: OrganisationId,
        id: RunId,
        position: usize,
        item: u32,
    ) -> Result<(), PlaybookError> {
        let step = self.copy(organisation, id, position, None).await?;
        let total = match step.and_then(|step| step.result.items) {
            Some(items) => items.total,
            None => {
                let items = rows::items(organisation, id, position).prefix();
                let last = Walk::backward(&*self.store, items).next().await?;
                match last.map(|(key, _)| rows::record_of(&key)).transpose()? {
                    Some(RecordOf::Item(_, item)) => item + 1,
                    _ => 0,
                }
            }
        };
        if item == 0 || item < total {
            return Ok(());
        }
        let expected = match total {
            0 => "0: the step came to no item".to_owned(),
            _ => format!("0 to {}: the step's list had {total}", total - 1),
        };
        Err(FieldError::new("item", item, expected).into())
    }

    async fn copy(
        &self,
        organisation: OrganisationId,
        id: RunId,
        position: usize,
        item: Option<u32>,
    ) -> Result<Option<Copied>, PlaybookError> {
        let (key, of) = match item {
            None => (rows::step(organisation, id, position), RecordOf::Step(position)),
            Some(item) => (rows::item(organisation, id, position, item), RecordOf::Item(position, item)),
        };
        let Some(row) = self.store.get(&key).await? else { return Ok(None) };
        let record: Record = decode(&row)?;
        let mut result: StepResult = record.read(&*self.store, &key).await?;
        result.copied = true;
        let whole = match record.sealed {
            Some(_) => self.read_whole(organisation, id, of).await?,
            None => None,
        };
        Ok(Some(Copied { position, item, result, whole }))
    }
}
