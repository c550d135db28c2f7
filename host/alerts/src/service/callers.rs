//! Who calls a plugin or starts a playbook: the channels whose formatter it is, and the monitors whose detector or action.

use std::fmt;

use bellwether_kernel::OrganisationId;
use bellwether_store::{StoreError, Walk, decode};
use serde::Deserialize;

use crate::Alerts;
use crate::channel::ChannelRow;
use crate::delivery::keys;
use crate::rows::{self, MonitorRow};

/// What is called, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called<'a> {
    /// A plugin: a channel's formatter, a monitor's detector, the app of an action.
    Plugin(&'a str),
    /// A playbook that an action starts.
    Playbook(&'a str),
}

/// Who calls it, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A channel: it is the channel's formatter.
    Channel(String),
    /// A monitor: it is the monitor's detector, or one of its actions.
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
    #[serde(default)]
    actions: Vec<NamedAction>,
}

#[derive(Deserialize)]
struct NamedDetector {
    name: String,
}

#[derive(Deserialize)]
struct NamedAction {
    app: Option<String>,
    playbook: Option<String>,
}

impl Named {
    fn calls(&self, called: Called<'_>) -> bool {
        let mut actions = self.actions.iter();
        match called {
            Called::Plugin(name) => {
                self.detector.as_ref().is_some_and(|detector| detector.name == name)
                    || actions.any(|action| action.app.as_deref() == Some(name))
            }
            Called::Playbook(name) => actions.any(|action| action.playbook.as_deref() == Some(name)),
        }
    }
}

impl Alerts {
    /// Who in an organisation calls what has that name, paused or not: channels by name, then monitors in the order they
    /// were made.
    ///
    /// # Errors
    /// If the store does not answer or is damaged.
    pub async fn callers(
        &self,
        organisation: OrganisationId,
        called: Called<'_>,
    ) -> Result<Vec<Caller>, StoreError> {
        let mut callers = Vec::new();
        if let Called::Plugin(plugin) = called {
            let mut channels = Walk::forward(&*self.store, keys::channels(organisation).prefix());
            while let Some((key, row)) = channels.next().await? {
                let channel = decode::<ChannelRow>(&row)?.channel(&keys::name_of(&key)?)?;
                if channel.spec.formatter == plugin {
                    callers.push(Caller::Channel(channel.name));
                }
            }
        }
        let mut monitors = Walk::forward(&*self.store, rows::monitors(organisation).prefix());
        while let Some((_, row)) = monitors.next().await? {
            let row: MonitorRow = decode(&row)?;
            if serde_json::from_str::<Named>(&row.document).is_ok_and(|named| named.calls(called)) {
                callers.push(Caller::Monitor(row.name));
            }
        }
        Ok(callers)
    }
}
