//! The links notifications carry: each is sealed, so that nobody makes one up, and leads to this host, which counts that it
//! was followed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bellwether_access::Sealed;
use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, Versioned, decode, encode};
use serde::{Deserialize, Serialize};

use super::offer::add_one;
use super::{Action, Offer};
use crate::{AlertError, Alerts, Incident, IncidentId, Link, Purpose, StoredIncident, rows};

/// What a sealed link is bound to.
const PURPOSE: &str = "incident-link";

/// What a link leads to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Target {
    organisation: OrganisationId,
    incident: IncidentId,
    /// The action or link of its monitor.
    name: String,
}

impl Versioned for Target {
    const NAME: &'static str = "link of a notification";
}

/// Where a link leads.
#[derive(Clone, Debug, PartialEq)]
pub enum Followed {
    /// To a page elsewhere, at this URL.
    Elsewhere(String),
    /// To an action, which is to be confirmed.
    Action {
        /// Whose incident it is.
        organisation: OrganisationId,
        /// The incident it is about.
        incident: Box<StoredIncident>,
        /// The action.
        offer: Box<Offer>,
    },
}

impl Alerts {
    /// Adds the pages about an incident to what is told of it: its own, and as its monitor had them when it opened its
    /// links and the actions that may be done by link.
    pub(crate) async fn add_links(
        &self,
        organisation: OrganisationId,
        incident: &StoredIncident,
        told: &mut Incident,
    ) {
        let Some(url) = self.outward.public_url.as_deref().map(|url| url.trim_end_matches('/')) else {
            return;
        };
        let page = format!("{url}/alerts?incident={}", incident.id);
        told.links.push(Link { purpose: Purpose::Incident, label: "Incident".to_owned(), url: page });
        // A version that is not kept any more has no links to give.
        let Ok(compiled) = self.load(organisation, incident.monitor, incident.monitor_version).await else {
            return;
        };
        let monitor = &compiled.monitor;
        let by_link = monitor.actions.iter().filter(|action| action.by_link);
        let links = monitor.links.iter().map(|link| (&link.name, link.label()));
        let named = links.chain(by_link.map(|action| (&action.name, action.label())));
        for (name, label) in named {
            let target = Target { organisation, incident: incident.id, name: name.clone() };
            let Sealed(sealed) = self.access.seal(PURPOSE, &encode(&target));
            let url = format!("{url}/a/{}", URL_SAFE_NO_PAD.encode(sealed));
            let link = Link { purpose: Purpose::Action, label: label.to_owned(), url };
            told.alerts.iter_mut().for_each(|alert| alert.links.push(link.clone()));
        }
    }

    /// Where the link with this token leads. With `count` it is counted that it was followed.
    ///
    /// # Errors
    /// [`AlertError::NotFound`] for a token this host did not give, and where the incident, its monitor, or the link are not
    /// there any more.
    pub async fn follow(&self, token: &str, count: bool) -> Result<Followed, AlertError> {
        let Target { organisation, incident: id, name } = self.target(token)?;
        self.access.check_not_suspended(organisation)?;
        let incident = self.incident(organisation, id).await?;
        let monitor = self.monitor_of(organisation, &incident).await?.ok_or_else(|| unknown(&name))?;
        let link = monitor.links.into_iter().find(|link| link.name == name);
        let action = monitor.actions.into_iter().find(|action| action.name == name && action.by_link);
        if link.is_none() && action.is_none() {
            return Err(unknown(&name));
        }
        if count {
            let mut batch = Batch::new();
            batch.merge(rows::click(organisation, id, &name), Vec::new(), add_one);
            if let Err(error) = self.store.commit(batch).await {
                tracing::warn!(%error, incident = %id, name, "a link that was followed was not counted");
            }
        }
        match (link, action) {
            (Some(link), _) => Ok(Followed::Elsewhere(link.url)),
            (None, action) => {
                let action: Action = action.ok_or_else(|| unknown(&name))?;
                let clicks = self.clicks(organisation, id, &name).await?;
                let running = self.running(organisation, id).await?.contains(&name);
                let offer = Box::new(Offer { action, clicks, running });
                Ok(Followed::Action { organisation, incident: Box::new(incident), offer })
            }
        }
    }

    fn target(&self, token: &str) -> Result<Target, AlertError> {
        let unknown = || AlertError::unknown("link", "(it is not shown)");
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| unknown())?;
        let target = self.access.unseal(PURPOSE, &Sealed(sealed)).map_err(|_| unknown())?;
        decode(&target).map_err(|_| unknown())
    }
}

fn unknown(name: &str) -> AlertError {
    AlertError::unknown("link or action by link", name)
}
