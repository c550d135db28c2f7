//! Who calls a plugin: the channels whose formatter it is, and the monitors whose detector.

use std::fmt;

use bellwether_kernel::OrganisationId;
use bellwether_store::{StoreError, Walk, decode};
use serde::Deserialize;

use crate::Alerts;
use crate::channel::ChannelRow;
use crate::delivery::keys;
use crate::rows::{self, MonitorRow};

/// Who calls a plugin, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A channel: it is the channel's formatter.
    Channel(String),
    /// A monitor: it is the monitor's detector.
    Monitor(String),
}

/// `the channel ops`, `the monitor cpu`.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(name) => write!(f, "the channel {name}"),
            Self::Monitor(name) => write!(f, "the monitor {name}"),
        }
    }
}

/// What is read of a monitor's document.
#[derive(Deserialize)]
struct Named {
    detector: Option<NamedDetector>,
}

#[derive(Deserialize)]
struct NamedDetector {
    name: String,
}

impl Alerts {
    /// Who in an organisation calls the plugin of that name, paused or not: channels by name, then monitors in the order
    /// they were made.
    ///
    /// # Errors
    /// If the store does not answer or is damaged.
    pub async fn callers(
        &self,
        organisation: OrganisationId,
        plugin: &str,
    ) -> Result<Vec<Caller>, StoreError> {
        let mut callers = Vec::new();
        let mut channels = Walk::forward(&*self.store, keys::channels(organisation).prefix());
        while let Some((key, row)) = channels.next().await? {
            let channel = decode::<ChannelRow>(&row)?.channel(&keys::name_of(&key)?)?;
            if channel.spec.formatter == plugin {
                callers.push(Caller::Channel(channel.name));
            }
        }
        let mut monitors = Walk::forward(&*self.store, rows::monitors(organisation).prefix());
        while let Some((_, row)) = monitors.next().await? {
            let row: MonitorRow = decode(&row)?;
            let detector = serde_json::from_str::<Named>(&row.document).ok().and_then(|named| named.detector);
            if detector.is_some_and(|detector| detector.name == plugin) {
                callers.push(Caller::Monitor(row.name));
            }
        }
        Ok(callers)
    }
}
