//! What routes name and is not there: they are kept all the same, as it may be put later.

use std::collections::{BTreeSet, HashSet};

use bellwether_kernel::OrganisationId;

use super::{RouteMatch, Routes};
use crate::service::monitor_id;
use crate::{AlertError, rows};

/// Channels that are named; the rest are counted.
const NAMED: usize = 20;

/// Says of a channel that it is not there, as it is said of a monitor's and a route's.
pub(crate) fn no_channel(name: &str) -> String {
    format!("there is no channel {name:?}: until it is put, nobody is told by it")
}

/// Names of channels in a sentence, as many as are named.
pub(crate) fn named(names: &[String]) -> String {
    match names.len().checked_sub(NAMED) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..NAMED].join(", ")),
    }
}

impl Routes {
    /// What is not `there` of some channels, or of the monitors a match names, a sentence each.
    pub(super) async fn warnings(
        &self,
        organisation: OrganisationId,
        there: &HashSet<String>,
        channels: BTreeSet<&str>,
        matches: &RouteMatch,
    ) -> Result<Vec<String>, AlertError> {
        let mut missing = channels.into_iter().filter(|name| !there.contains(*name));
        let mut warnings: Vec<String> = missing.by_ref().take(NAMED).map(no_channel).collect();
        let more = missing.count();
        if more > 0 {
            warnings.push(format!("nor are there {more} more of the channels it names"));
        }
        for name in &matches.monitors {
            let id = monitor_id(&*self.store, organisation, name).await?;
            let row = match id {
                Some(id) => self.store.get(&rows::monitor(organisation, id)).await?,
                None => None,
            };
            if row.is_none() {
                warnings.push(format!("there is no monitor {name:?}: until it is put, no incident is of it"));
            }
        }
        Ok(warnings)
    }
}
