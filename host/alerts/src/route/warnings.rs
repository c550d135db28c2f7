//! What routes name and is not there: they are kept all the same, as it may be put later.

use std::collections::BTreeSet;

use bellwether_kernel::{MonitorId, OrganisationId};
use bellwether_store::MAX_KEY;

use super::{RouteMatch, Routes};
use crate::delivery::keys;
use crate::{AlertError, rows};

/// Channels that are named; the rest are counted.
const NAMED: usize = 20;

/// Says of a channel that it is not there, as it is said of a monitor's and a route's.
pub(crate) fn no_channel(name: &str) -> String {
    format!("there is no channel {name:?}: until it is put, nobody is told by it")
}

impl Routes {
    /// What is not there of some channels and of the monitors a match names, a sentence each.
    pub(super) async fn warnings(
        &self,
        organisation: OrganisationId,
        channels: BTreeSet<&str>,
        matches: &RouteMatch,
    ) -> Result<Vec<String>, AlertError> {
        let (mut warnings, mut more) = (Vec::new(), 0);
        for name in channels {
            match self.store.get(&keys::channel(organisation, name)).await? {
                Some(_) => {}
                None if warnings.len() < NAMED => warnings.push(no_channel(name)),
                None => more += 1,
            }
        }
        if more > 0 {
            warnings.push(format!("nor are there {more} more of the channels it names"));
        }
        for name in &matches.monitors {
            if !self.has_monitor(organisation, name).await? {
                warnings.push(format!("there is no monitor {name:?}: until it is put, no incident is of it"));
            }
        }
        Ok(warnings)
    }

    /// Whether there is a monitor of that id or name.
    async fn has_monitor(&self, organisation: OrganisationId, name_or_id: &str) -> Result<bool, AlertError> {
        let key = match name_or_id.parse() {
            Ok(id) => rows::monitor(organisation, MonitorId(id)),
            // What cannot be a name need not be looked up, nor can it break the limit of a key.
            Err(_) if name_or_id.len() > MAX_KEY / 4 => return Ok(false),
            Err(_) => rows::monitor_name(organisation, name_or_id),
        };
        Ok(self.store.get(&key).await?.is_some())
    }
}
