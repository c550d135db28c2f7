//! An action as it is done: that it began is committed before anything happens, what came of it once it has ended, and
//! what a host that stopped had begun is taken up at the next start.

use std::sync::Arc;
use std::time::Duration;

use bellwether_access::Principal;
use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, Key, Precondition, Space, Walk, decode, encode, to_the_end};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::offer::action_of;
use super::{Act, ActRow, Acted, Actions};
use crate::evaluate::Changed;
use crate::incident::{Note, NoteKind};
use crate::service::until_it_holds;
use crate::{AlertError, Alerts, Incident, IncidentId, StoredIncident, limits, rows};

/// How long after a start an act of an app is left to whoever does it, where that may be another host; longer than apps may
/// take.
const OTHERS: Duration = Duration::from_secs(120);
/// How long after a failure the store is asked again what was begun.
const AGAIN: Duration = Duration::from_secs(5);

/// Who does something.
#[derive(Clone, Debug)]
pub enum Actor {
    /// A caller with a key.
    Caller(Arc<Principal>),
    /// Whoever followed a link that says that they may.
    Link(OrganisationId),
}

/// An act that began.
#[derive(Debug)]
pub struct Acting {
    /// The entry of the incident's timeline that says so.
    pub sequence: u64,
    /// Gives what came of it; dropped without if the host stops first.
    pub ended: oneshot::Receiver<Acted>,
}

/// An act whose beginning is committed: its row, and what it is.
struct Begun {
    key: Key,
    row: Bytes,
    id: IncidentId,
    act: Act,
    /// That this life of the host does it; `None` for one that is taken up.
    _own: Option<Own>,
}

/// Keeps an act on the list of those that this life of the host does.
struct Own {
    alerts: Arc<Alerts>,
    key: Key,
}

impl Own {
    fn new(alerts: &Arc<Alerts>, key: &Key) -> Self {
        alerts.acting.lock().insert(key.clone());
        Self { alerts: Arc::clone(alerts), key: key.clone() }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.alerts.acting.lock().remove(&self.key);
    }
}

impl Alerts {
    /// Does something about an incident that goes on. Once this was polled, it is done whether the caller waits or not.
    ///
    /// # Errors
    /// [`AlertError::NotFound`] for another action than its monitor names, or one that may not be done this way;
    /// [`AlertError::Conflict`] if the incident is over, the same is being done, or this host does nothing.
    pub async fn act(
        self: &Arc<Self>,
        actor: Actor,
        id: IncidentId,
        name: &str,
    ) -> Result<Acting, AlertError> {
        let actions = self.outward.actions.clone();
        let actions = actions.ok_or_else(|| AlertError::Conflict("this host does no actions".to_owned()))?;
        let (alerts, name, at_work) = (Arc::clone(self), name.to_owned(), self.app_acts.token());
        let begun_and_done = async move {
            let begun = until_it_holds(|| alerts.begin_act(&actor, id, &name)).await?;
            let (sender, ended) = oneshot::channel();
            let sequence = begun.act.sequence;
            let at_work = begun.act.action.app.is_some().then_some(at_work);
            tokio::spawn(async move {
                if let Some(acted) = alerts.perform(&*actions, begun).await {
                    // Nobody may wait for it.
                    let _ = sender.send(acted);
                }
                drop(at_work);
            });
            Ok(Acting { sequence, ended })
        };
        to_the_end(begun_and_done).await
    }

    /// Waits until no app is called about an incident any more, at most so long. What an app did that is cut off would not be
    /// known; the run of a playbook goes on at the next start.
    pub async fn end_acts(&self, patience: Duration) {
        self.app_acts.close();
        if tokio::time::timeout(patience, self.app_acts.wait()).await.is_err() {
            tracing::warn!(apps = self.app_acts.len(), "apps that are called about incidents are cut off");
        }
    }

    async fn begin_act(
        self: &Arc<Self>,
        actor: &Actor,
        id: IncidentId,
        name: &str,
    ) -> Result<Begun, AlertError> {
        let (organisation, principal, by) = match actor {
            Actor::Caller(principal) => {
                (principal.organisation, Some(Arc::clone(principal)), principal.key_name.clone())
            }
            Actor::Link(organisation) => (*organisation, None, "a link".to_owned()),
        };
        let (mut incident, stored) = self.read_incident(organisation, id).await?;
        if !incident.is_open() {
            return Err(AlertError::Conflict(format!("the incident {id} is over")));
        }
        let monitor = self.monitor_of(organisation, &incident).await?;
        let mut actions = monitor.map(|monitor| monitor.actions).unwrap_or_default().into_iter();
        let action = actions
            .find(|action| action.name == name && (principal.is_some() || action.by_link))
            .ok_or_else(|| AlertError::unknown("action", name))?;
        if self.running(organisation, id).await?.iter().any(|running| running == name) {
            return Err(AlertError::Conflict(format!("{name:?} is being done about the incident {id}")));
        }
        let now = self.clock.now();
        incident.updated = now;
        let sequence = incident.notes;
        let as_told = self.told_now(organisation, &incident).await?;
        let mut changed = Changed::of(incident.clone(), false);
        let text = format!("{name}: {}", action.target());
        changed.notes.push(Note::new(now, Some(by.clone()), NoteKind::Acting, text));
        let mut batch = Batch::new();
        self.put_incident(&mut batch, organisation, changed, Some(stored)).await?;
        let document = serde_json::to_string(&action).expect("an action is plain data");
        let row = encode(&ActRow { by: by.clone(), action: document });
        let key = rows::acts(organisation, id).number(sequence);
        rows::put(&mut batch, key.clone(), row.clone())?;
        let own = Some(Own::new(self, &key));
        self.store.commit(batch).await?;
        let act = Act { organisation, principal, by, sequence, again: false, action, incident, as_told };
        Ok(Begun { key, row, id, act, _own: own })
    }

    /// Does what began and records what came of it, if it ends in this host's life.
    async fn perform(&self, actions: &dyn Actions, begun: Begun) -> Option<Acted> {
        let (organisation, name) = (begun.act.organisation, begun.act.action.name.clone());
        let by = begun.act.by.clone();
        let acted = actions.act(begun.act.clone()).await?;
        let done = until_it_holds(|| self.end_act(&begun, organisation, &name, &by, &acted)).await;
        if let Err(error) = done {
            tracing::warn!(%error, incident = %begun.id, name, "what came of an action was not recorded");
        }
        Some(acted)
    }

    async fn end_act(
        &self,
        begun: &Begun,
        organisation: OrganisationId,
        name: &str,
        by: &str,
        acted: &Acted,
    ) -> Result<(), AlertError> {
        let mut batch = Batch::new();
        if self.store.get(&begun.key).await?.is_none() {
            // Another host was quicker, or the incident is removed.
            return Ok(());
        }
        batch.require(begun.key.clone(), Precondition::ValueIs(begun.row.clone()));
        batch.delete(begun.key.clone());
        let (mut incident, stored) = self.read_incident(organisation, begun.id).await?;
        let now = self.clock.now();
        incident.updated = now;
        let mut changed = Changed::of(incident, false);
        let how = if acted.succeeded { "succeeded" } else { "failed" };
        let run = acted.run.as_ref().map(|run| format!(", run {run}")).unwrap_or_default();
        let said = if acted.text.is_empty() { String::new() } else { format!(": {}", acted.text) };
        let text: String = format!("{name} {how}{run}{said}").chars().take(limits::MESSAGE).collect();
        changed.notes.push(Note::new(now, Some(by.to_owned()), NoteKind::Acted, text));
        self.put_incident(&mut batch, organisation, changed, Some(stored)).await?;
        Ok(self.store.commit(batch).await.map(drop)?)
    }

    /// Takes up what a host that stopped had begun: at once, unless another host may be doing it.
    pub(crate) async fn resume_acts(self: Arc<Self>) {
        let Some(actions) = self.outward.actions.clone() else { return };
        let begun = loop {
            match self.begun_acts().await {
                Ok(begun) => break begun,
                Err(error) => {
                    tracing::warn!(%error, "what was begun about incidents is not read; it is tried again");
                }
            }
            tokio::select! {
                () = self.halt.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        };
        for begun in begun {
            let (alerts, actions) = (Arc::clone(&self), Arc::clone(&actions));
            tokio::spawn(async move {
                if begun.act.action.app.is_some() && !alerts.store.is_exclusive() {
                    tokio::select! {
                        () = alerts.halt.cancelled() => return,
                        () = tokio::time::sleep(OTHERS) => {}
                    }
                }
                alerts.perform(&*actions, begun).await;
            });
        }
    }

    /// An incident as its channels would be told of it now.
    async fn told_now(
        &self,
        organisation: OrganisationId,
        incident: &StoredIncident,
    ) -> Result<Incident, AlertError> {
        let intervals = self.all_intervals(organisation, incident, limits::AFFECTED).await?;
        let mut told = incident.as_told(intervals, None);
        self.add_links(organisation, incident, &mut told).await;
        let events = self.events_in_haste(organisation, incident).await;
        told.events = events.map(|events| events.told()).unwrap_or_default();
        Ok(told)
    }

    async fn begun_acts(&self) -> Result<Vec<Begun>, AlertError> {
        let mut acts = Walk::forward(&*self.store, Key::new(Space::IncidentAct).prefix());
        let mut found = Vec::new();
        while let Some((key, row)) = acts.next().await? {
            if self.acting.lock().contains(&key) {
                continue;
            }
            let (organisation, id, sequence) = rows::act_of(&key)?;
            let incident = match self.read_incident(organisation, id).await {
                Ok((incident, _)) => incident,
                // It was removed just now, and what was begun about it.
                Err(AlertError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            let stored: ActRow = decode(&row)?;
            let action = action_of(&stored)?;
            let as_told = self.told_now(organisation, &incident).await?;
            let (principal, by, again) = (None, stored.by, true);
            let act = Act { organisation, principal, by, sequence, again, action, incident, as_told };
            found.push(Begun { key, row, id, act, _own: None });
        }
        Ok(found)
    }
}
