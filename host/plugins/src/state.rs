//! What becomes of a plugin's state when the plugin is removed.

use bellwether_kernel::{OrganisationId, PageRequest};
use bellwether_store::{Batch, Direction};

use crate::PluginError;
use crate::host::{Services, state_rows, state_size};
use crate::row::Owner;

/// Rows deleted in one commit.
const PAGE: usize = 500;

/// Deletes everything a plugin kept, in every organisation that could call it.
pub(crate) async fn clear(services: &Services, owner: Owner, name: &str) -> Result<(), PluginError> {
    let state = owner.state_name(name);
    match owner {
        Owner::Organisation(id) => clear_one(services, id, &state).await,
        Owner::Host => {
            let mut page = PageRequest::first(PAGE);
            loop {
                let organisations = services.access.organisations(&page)?;
                for organisation in &organisations.items {
                    clear_one(services, organisation.id, &state).await?;
                }
                match organisations.next {
                    Some(next) => page.cursor = Some(next),
                    None => return Ok(()),
                }
            }
        }
    }
}

async fn clear_one(
    services: &Services,
    organisation: OrganisationId,
    state: &str,
) -> Result<(), PluginError> {
    let (range, size) = (state_rows(organisation, state).prefix(), state_size(organisation, state));
    loop {
        let rows = services.store.scan(range.clone(), Direction::Forward, PAGE).await?;
        if rows.is_empty() && services.store.get(&size).await?.is_none() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for (key, _) in &rows {
            batch.delete(key.clone());
        }
        if rows.len() < PAGE {
            batch.delete(size);
            services.store.commit(batch).await?;
            return Ok(());
        }
        services.store.commit(batch).await?;
    }
}
