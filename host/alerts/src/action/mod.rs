//! What may be done about an incident: the actions and links its monitor names, who runs the actions, and what came of
//! them.

mod acting;
mod link;
mod offer;

use std::sync::Arc;

use async_trait::async_trait;
use bellwether_access::Principal;
use bellwether_kernel::OrganisationId;
use bellwether_store::Versioned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::{AlertError, Incident, StoredIncident};

pub use acting::{Acting, Actor};
pub use link::Followed;
pub use offer::{Offer, OfferedLink};

/// Something that may be done about a monitor's incidents: a playbook that is started, or an app that is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// 1 to 100 characters of `a-z0-9-`, not digits alone; the monitor's other actions and links have others.
    pub name: String,
    /// What stands on the button; the name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The playbook that is started; its trigger is of type `manual`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbook: Option<String>,
    /// Or else the app that is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// What it is given besides the incident.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub inputs: Map<String, Json>,
    /// Whether whoever has a notification may do it by the link in it. Only a playbook: it acts for who published it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_link: bool,
}

impl Action {
    /// What stands on the button.
    #[must_use]
    pub fn label(&self) -> &str {
        self.label.as_ref().unwrap_or(&self.name)
    }

    /// What it does, in words: `playbook restart`, `app http`.
    #[must_use]
    pub fn target(&self) -> String {
        match (&self.playbook, &self.app) {
            (Some(playbook), _) => format!("playbook {playbook}"),
            (None, app) => format!("app {}", app.as_deref().unwrap_or_default()),
        }
    }
}

/// A page elsewhere that helps with a monitor's incidents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonitorLink {
    /// As an [`Action`]'s.
    pub name: String,
    /// What stands on the button; the name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `https://…` or `http://…`.
    pub url: String,
}

impl MonitorLink {
    /// What stands on the button.
    #[must_use]
    pub fn label(&self) -> &str {
        self.label.as_ref().unwrap_or(&self.name)
    }
}

/// An action that is to be done.
#[derive(Clone, Debug)]
pub struct Act {
    /// Whose incident it is.
    pub organisation: OrganisationId,
    /// The caller on whose behalf; absent for one who followed a link, and for an act that is taken up again.
    pub principal: Option<Arc<Principal>>,
    /// Who, in words.
    pub by: String,
    /// The number of the entry of the incident's timeline that says that it began: with the incident's id it names this
    /// act, and what comes a second time with both is the same act.
    pub sequence: u64,
    /// Whether a host that stopped had begun it.
    pub again: bool,
    /// What is to be done.
    pub action: Action,
    /// About what.
    pub incident: StoredIncident,
    /// The same with its series, the worst of those that breach first.
    pub as_told: Incident,
}

/// What came of an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acted {
    /// Whether it was done.
    pub succeeded: bool,
    /// What it gave, or why it was not done.
    pub text: String,
    /// The run of a playbook, by its id.
    pub run: Option<String>,
}

impl Acted {
    /// It was not done, and why.
    #[must_use]
    pub fn failed(why: impl Into<String>) -> Self {
        Self { succeeded: false, text: why.into(), run: None }
    }
}

/// Does what is to be done about incidents.
#[async_trait]
pub trait Actions: Send + Sync + 'static {
    /// Does it and waits for its end. Nothing if the host stops first and it goes on at its next start: then it is asked
    /// for again.
    async fn act(&self, act: Act) -> Option<Acted>;

    /// Why an action could not be done about an incident as things are; `None` if it could. By default nothing is known of
    /// that.
    ///
    /// # Errors
    /// The store's.
    async fn why_not(
        &self,
        organisation: OrganisationId,
        action: &Action,
    ) -> Result<Option<String>, AlertError> {
        let _ = (organisation, action);
        Ok(None)
    }
}

/// What leads from incidents to elsewhere.
#[derive(Clone, Default)]
pub struct Outward {
    /// The URL people reach this host at; without one notifications carry no links.
    pub public_url: Option<String>,
    /// Who does what is to be done about incidents; without it nothing is.
    pub actions: Option<Arc<dyn Actions>>,
}

/// An act that has not ended, as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ActRow {
    pub(crate) by: String,
    /// What is done, as JSON.
    pub(crate) action: String,
}

impl Versioned for ActRow {
    const NAME: &'static str = "act on an incident";
}
