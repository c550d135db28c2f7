//! Actions on incidents: each starts a playbook, once under its name, or calls an app.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bellwether_alerts::{Act, Acted, Action, Actions, AlertError, Event, Notification, StoredIncident};
use bellwether_kernel::{FieldError, OrganisationId};
use serde_json::{Map, Value as Json};

use super::Firing;
use super::begin::declared_inputs;
use super::step::not_called;
use crate::rows::{PlaybookRow, StartedBy};
use crate::service::Loaded;
use crate::{
    App, AppCall, Input, PlaybookError, Playbooks, Run, RunState, StartedRun, TriggerOn, Value, convert,
    trigger,
};

/// How long an app may take that is called about an incident.
const APP_TIME: Duration = Duration::from_secs(60);

/// What is done about incidents, by the playbooks of their organisations and the apps these call.
pub struct IncidentActions {
    playbooks: Arc<Playbooks>,
}

impl IncidentActions {
    /// By these playbooks.
    #[must_use]
    pub fn new(playbooks: Arc<Playbooks>) -> Self {
        Self { playbooks }
    }
}

#[async_trait]
impl Actions for IncidentActions {
    async fn act(&self, act: Act) -> Option<Acted> {
        match (&act.action.playbook, &act.action.app) {
            (Some(playbook), _) => match self.playbooks.start_by_action(&act, playbook).await {
                // It is dropped if the host stops, and the run goes on at its next start.
                Ok(started) => Some(ended(&started.ended.await.ok()?)),
                Err(PlaybookError::Stopping) => None,
                Err(error) => Some(Acted::failed(error.to_string())),
            },
            (None, Some(app)) => Some(self.playbooks.call_by_action(&act, app).await),
            (None, None) => Some(Acted::failed("it names neither a playbook nor an app")),
        }
    }

    async fn why_not(
        &self,
        organisation: OrganisationId,
        action: &Action,
    ) -> Result<Option<String>, AlertError> {
        let act = made_up(organisation, action);
        let playbooks = &self.playbooks;
        Ok(match (&action.playbook, &action.app) {
            (Some(playbook), _) => match playbooks.playbook_of(&act, playbook).await {
                Ok(_) => None,
                Err(PlaybookError::Store(error)) => return Err(error.into()),
                Err(error) => Some(error.to_string()),
            },
            (None, Some(app)) => playbooks.app_of(&act, app).err(),
            // A monitor that says so is refused.
            (None, None) => None,
        })
    }
}

/// An action as it would be done about an incident such as there may be.
fn made_up(organisation: OrganisationId, action: &Action) -> Act {
    let as_told = Notification::sample(Event::Opened).incident;
    let incident = StoredIncident::sample(&as_told);
    let (action, by) = (action.clone(), String::new());
    Act { organisation, principal: None, by, sequence: 0, again: false, action, incident, as_told }
}

/// An app's inputs by name, as it is called with them.
type Inputs = Vec<(String, Value)>;

fn ended(run: &Run) -> Acted {
    let summary = &run.summary;
    let succeeded = summary.state == RunState::Succeeded;
    let text = match (&summary.error, succeeded) {
        (Some(error), _) => error.clone(),
        (None, true) => String::new(),
        (None, false) => format!("{:?}", summary.state).to_lowercase(),
    };
    Acted { succeeded, text, run: Some(summary.id.to_string()) }
}

impl Playbooks {
    /// Starts a playbook with an incident; the same act again starts nothing and gives the run it started.
    async fn start_by_action(
        self: &Arc<Self>,
        act: &Act,
        playbook: &str,
    ) -> Result<StartedRun, PlaybookError> {
        let (loaded, row, trigger) = self.playbook_of(act, playbook).await?;
        let incident = act.incident.id.to_string();
        let name = format!("act:{incident}:{}", act.sequence);
        let mut firing = Firing::new(StartedBy::Alert(incident, act.sequence), trigger);
        firing.name = Some(name);
        firing.playbook = Some(row);
        self.accept(act.organisation, loaded, firing).await
    }

    /// The published playbook an act starts, and what its run has as its trigger.
    async fn playbook_of(
        &self,
        act: &Act,
        playbook: &str,
    ) -> Result<(Arc<Loaded>, PlaybookRow, Json), PlaybookError> {
        let organisation = act.organisation;
        let (id, row) = self.find(organisation, playbook).await?;
        let loaded = self.published(organisation, id, &row).await?.ok_or_else(|| {
            PlaybookError::Refused(format!("the playbook {:?} has no published version", row.name))
        })?;
        let TriggerOn::Manual { inputs: declared } = &loaded.compiled.document.trigger.on else {
            return Err(PlaybookError::Refused(format!(
                "the playbook {:?} is no action: only one with a trigger of type manual is",
                row.name
            )));
        };
        let mut given = about(act);
        given.retain(|name, _| declared.is_empty() || declared.contains_key(name));
        given.extend(act.action.inputs.clone());
        let trigger = trigger::manual(&declared_inputs(declared, Json::Object(given))?);
        Ok((loaded, row, trigger))
    }

    /// Calls an app with an incident. One that a host had begun which stopped is not called again: what it did is not
    /// known.
    async fn call_by_action(&self, act: &Act, app: &str) -> Acted {
        if act.again {
            return Acted::failed("the host stopped meanwhile; what the app had done by then is not known");
        }
        let Some(principal) = act.principal.clone() else {
            return Acted::failed("an app acts for who calls it, and nobody did");
        };
        let (found, inputs) = match self.app_of(act, app) {
            Ok(found) => found,
            Err(why) => return Acted::failed(why),
        };
        let call = AppCall {
            principal,
            idempotency_key: format!("act:{}:{}", act.incident.id, act.sequence),
            attempt: 1,
            inputs,
            time_limit: APP_TIME,
            effects: None,
        };
        let result = self.call(&found, app, call).await.result.map_err(|error| error.message);
        match result.and_then(|outputs| self.outputs(&found, app, outputs)) {
            Ok(mut outputs) => {
                outputs.retain(|_, value| !value.is_null());
                Acted { succeeded: true, text: Json::Object(outputs).to_string(), run: None }
            }
            Err(why) => Acted::failed(why),
        }
    }

    /// The app an act calls, and what it is given; or why it is not called.
    fn app_of(&self, act: &Act, app: &str) -> Result<(Arc<dyn App>, Inputs), String> {
        let found = self.apps.app(act.organisation, app);
        let found = found.ok_or_else(|| match self.apps.why_not(act.organisation, app, None) {
            Some(why) => not_called(app, &why),
            None => format!("there is no app {app:?}"),
        })?;
        let inputs = app_inputs(&*found, act).map_err(|error| error.to_string())?;
        Ok((found, inputs))
    }
}

/// The incident, by the names an alert trigger has, and who has something done.
fn about(act: &Act) -> Map<String, Json> {
    let mut about = trigger::alert::about(&act.incident, &act.as_told);
    about.insert("by".into(), act.by.clone().into());
    about
}

/// What an app takes of what the action says and, by the same names, of the incident; a secret only of the former. What the
/// incident has by an input's name and does not fit it is another thing: `expected` is a number here, and may be a list there.
fn app_inputs(app: &dyn App, act: &Act) -> Result<Inputs, FieldError> {
    let declared = &app.description().inputs;
    let mut given = about(act);
    given.retain(|name, value| {
        let alone = Map::from_iter([(name.clone(), value.clone())]);
        let fits = |input: &Input| convert::from_object(slice::from_ref(input), "inputs", &alone).is_ok();
        declared.iter().any(|input| input.name == *name && !input.secret && fits(input))
    });
    given.extend(act.action.inputs.clone().into_iter().filter(|(_, value)| !value.is_null()));
    convert::from_object(declared, "inputs", &given)
}
