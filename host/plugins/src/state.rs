//! What becomes of a plugin's state when the plugin is removed.

use std::collections::VecDeque;

use bellwether_kernel::{OrganisationId, PageRequest};
use bellwether_store::{Batch, Direction};

use crate::PluginError;
use crate::host::{Services, state_rows, state_size};
use crate::row::Owner;

/// Rows deleted in one commit, and organisations looked at for some.
const PAGE: usize = 500;

/// What a plugin kept that is not there any more, to be cleared a little at a time.
pub(crate) struct Left {
    state: String,
    /// The organisations that could call it and were not looked at to the end yet.
    organisations: VecDeque<OrganisationId>,
}

impl Left {
    /// What the plugin `name` of `owner` may have left in any organisation.
    pub(crate) fn of(services: &Services, owner: Owner, name: &str) -> Result<Self, PluginError> {
        let state = owner.state_name(name);
        if let Owner::Organisation(id) = owner {
            return Ok(Self { state, organisations: VecDeque::from([id]) });
        }
        let (mut page, mut organisations) = (PageRequest::first(PAGE), VecDeque::new());
        loop {
            let found = services.access.organisations(&page)?;
            organisations.extend(found.items.iter().map(|organisation| organisation.id));
            match found.next {
                Some(next) => page.cursor = Some(next),
                None => return Ok(Self { state, organisations }),
            }
        }
    }

    /// Deletes as much as one commit takes; gives whether nothing is left.
    pub(crate) async fn clear_some(&mut self, services: &Services) -> Result<bool, PluginError> {
        for _ in 0..PAGE {
            let Some(organisation) = self.organisations.front().copied() else { return Ok(true) };
            let rows = state_rows(organisation, &self.state).prefix();
            let size = state_size(organisation, &self.state);
            let rows = services.store.scan(rows, Direction::Forward, PAGE).await?;
            let is_last = rows.len() < PAGE;
            let is_empty = rows.is_empty() && services.store.get(&size).await?.is_none();
            if !is_empty {
                let mut batch = Batch::new();
                for (key, _) in rows {
                    batch.delete(key);
                }
                if is_last {
                    batch.delete(size);
                }
                services.store.commit(batch).await?;
            }
            if is_last {
                self.organisations.pop_front();
            }
            if !is_empty {
                break;
            }
        }
        Ok(self.organisations.is_empty())
    }
}
