//! `bellwether:host/alerts-write`: the caller's role must be write or above, and the grant's patterns cover the monitor.
//!
//! What a step does to alerts is recorded in the same commit, so that a repeat of the step is given how it stands now instead
//! of doing it again.

use std::sync::Arc;

use bellwether_access::Role;
use bellwether_alerts::{AlertError as Refused, By, MuteId, NewMute, Subject};
use bellwether_kernel::FieldError;
use bellwether_store::{Batch, StoreError, to_the_end};

use super::alerts_convert::{
    alert_error, covers_mute, granted_incident, granted_monitor, incident, instant, invalid, monitor, mute,
    not_granted, scope,
};
use super::convert::covers;
use super::effects::{Answer, Effect};
use super::{Call, contract};
use contract::alerts_types::{AlertError, Incident, Monitor, Mute};
use contract::alerts_write as wit;

impl wit::Host for Call {
    async fn put_monitor(&mut self, document: String) -> Result<wit::Stored, AlertError> {
        self.takes(document.len());
        let (alerts, principal) = self.alerts(Role::Write).await?;
        let wrong = |error: serde_json::Error| {
            invalid(FieldError::new("document", "text", format!("a monitor as JSON: {error}")))
        };
        let json: serde_json::Value = serde_json::from_str(&document).map_err(wrong)?;
        let name = json["name"].as_str().unwrap_or_default();
        if !covers(&self.scope.alerts_write, name) {
            return Err(not_granted(name));
        }
        // A document that is stored again changes nothing, but a monitor that the step deleted behind would be there again.
        let effect = self.effect_on_alerts(&principal, "put-monitor", name, Some(&document));
        let put = {
            let (alerts, principal) = (Arc::clone(&alerts), Arc::clone(&principal));
            let (effect, name, json) = (effect.clone(), name.to_owned(), json.clone());
            async move {
                let put = |created| recorded(effect.clone(), move |monitor| Answer::Put { monitor, created });
                let (made, changed) = (put(true), put(false));
                match alerts.create_monitor(By::with(&principal, &made), &json).await {
                    Ok(stored) => Ok((stored, true)),
                    Err(Refused::Exists { .. }) => {
                        let by = By::with(&principal, &changed);
                        Ok((alerts.replace_monitor(by, &name, &json, None).await?, false))
                    }
                    Err(error) => Err(error),
                }
            }
        };
        let (id, created) = match self.do_once(effect.as_deref(), put).await? {
            Done::Now((stored, created)) => return Ok(wit::Stored { monitor: monitor(&stored), created }),
            Done::Before(Answer::Put { monitor, created }) => (monitor, created),
            Done::Before(answer) => return Err(misplaced(&answer)),
        };
        match alerts.monitor(principal.organisation, &id.to_string()).await {
            Ok(stored) => Ok(wit::Stored { monitor: monitor(&stored), created }),
            // It was deleted since; the step is told what it put.
            Err(Refused::NotFound { .. }) => {
                let now = self.services().clock.now().as_milliseconds();
                let monitor = Monitor {
                    id,
                    name: name.to_owned(),
                    version: 1,
                    paused: json["paused"].as_bool().unwrap_or_default(),
                    document,
                    created: now,
                    updated: now,
                    updated_by: principal.key_name.clone(),
                    next_due: None,
                    evaluated: None,
                    problem: None,
                };
                Ok(wit::Stored { monitor, created })
            }
            Err(error) => Err(alert_error(error)),
        }
    }

    async fn pause_monitor(&mut self, name_or_id: String, paused: bool) -> Result<Monitor, AlertError> {
        self.takes(name_or_id.len());
        let (alerts, principal) = self.alerts(Role::Write).await?;
        let patterns = &self.scope.alerts_write;
        let found = granted_monitor(&alerts, principal.organisation, patterns, &name_or_id).await?;
        let changed = alerts.pause_monitor(&principal, &found.id.to_string(), paused).await;
        changed.map(|changed| monitor(&changed)).map_err(alert_error)
    }

    async fn delete_monitor(&mut self, name_or_id: String) -> Result<(), AlertError> {
        self.takes(name_or_id.len());
        let (alerts, principal) = self.alerts(Role::Write).await?;
        let effect = self.effect_on_alerts(&principal, "delete-monitor", &name_or_id, None);
        if self.answered_before(effect.as_deref()).await?.is_some() {
            return Ok(());
        }
        let patterns = &self.scope.alerts_write;
        let found = granted_monitor(&alerts, principal.organisation, patterns, &name_or_id).await?;
        let record = recorded(effect.clone(), Answer::Alerted);
        let delete =
            async move { alerts.delete_monitor(By::with(&principal, &record), &found.id.to_string()).await };
        self.do_now(effect.as_deref(), delete).await.map(drop)
    }

    async fn acknowledge(&mut self, id: String) -> Result<Incident, AlertError> {
        self.change_incident(id, Change::Acknowledge).await
    }

    async fn assign(&mut self, id: String, assignee: Option<String>) -> Result<Incident, AlertError> {
        self.change_incident(id, Change::Assign(assignee)).await
    }

    async fn comment(&mut self, id: String, text: String) -> Result<Incident, AlertError> {
        self.change_incident(id, Change::Comment(text)).await
    }

    async fn resolve(&mut self, id: String) -> Result<Incident, AlertError> {
        self.change_incident(id, Change::Resolve).await
    }

    async fn add_mute(&mut self, new: wit::NewMute) -> Result<Mute, AlertError> {
        let pairs =
            new.scope.labels.iter().chain(&new.scope.tags).map(|pair| pair.name.len() + pair.value.len());
        let names = new.scope.monitors.iter().map(String::len);
        self.takes(new.reason.len() + pairs.chain(names).sum::<usize>());
        let (alerts, principal) = self.alerts(Role::Write).await?;
        // Not its times: a repeat reads another clock.
        let about = format!("{:?}", new.scope);
        let scope = scope(new.scope);
        let new = NewMute {
            // The contract has no other word for it, and the grant must be for every monitor.
            everything: scope.is_everything(),
            scope,
            start: new.start.map(|start| instant(start, "new.start")).transpose()?,
            end: new.end.map(|end| instant(end, "new.end")).transpose()?,
            // A plugin that mutes everything says until when.
            until_deleted: false,
            reason: new.reason,
        };
        if !covers_mute(&self.scope.alerts_write, &new.scope) {
            let monitors = new.scope.monitors.join(", ");
            return Err(not_granted(if monitors.is_empty() { "*" } else { &monitors }));
        }
        let effect = self.effect_on_alerts(&principal, "add-mute", &about, Some(&new.reason));
        let add = {
            let (alerts, principal, new) = (Arc::clone(&alerts), Arc::clone(&principal), new.clone());
            let record = recorded(effect.clone(), Answer::Alerted);
            async move { alerts.create_mute(By::with(&principal, &record), new).await }
        };
        let (id, now) = match self.do_once(effect.as_deref(), add).await? {
            Done::Now(made) => return Ok(mute(made)),
            Done::Before(Answer::Alerted(id)) => (MuteId(id), self.services().clock.now()),
            Done::Before(answer) => return Err(misplaced(&answer)),
        };
        match alerts.mute(principal.organisation, id).await {
            // It was removed since; the step is told what it made.
            Err(Refused::NotFound { .. }) => Ok(mute(bellwether_alerts::Mute {
                id,
                scope: new.scope,
                start: new.start.unwrap_or(now),
                end: new.end,
                reason: new.reason,
                created: now,
                created_by: principal.key_name.clone(),
            })),
            found => found.map(mute).map_err(alert_error),
        }
    }

    async fn remove_mute(&mut self, id: u64) -> Result<(), AlertError> {
        let (alerts, principal) = self.alerts(Role::Write).await?;
        let effect = self.effect_on_alerts(&principal, "remove-mute", &id.to_string(), None);
        if self.answered_before(effect.as_deref()).await?.is_some() {
            return Ok(());
        }
        let found = alerts.mute(principal.organisation, MuteId(id)).await.map_err(alert_error)?;
        if !covers_mute(&self.scope.alerts_write, &found.scope) {
            return Err(AlertError::Unknown(format!("there is no mute \"{id}\"")));
        }
        let record = recorded(effect.clone(), Answer::Alerted);
        let remove = async move { alerts.delete_mute(By::with(&principal, &record), found.id).await };
        self.do_now(effect.as_deref(), remove).await.map(drop)
    }
}

/// What is done to an incident.
enum Change {
    Acknowledge,
    Assign(Option<String>),
    Comment(String),
    Resolve,
}

impl Change {
    /// The function, and what it is given.
    fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Acknowledge => ("acknowledge", None),
            Self::Assign(assignee) => ("assign", assignee.as_deref()),
            Self::Comment(text) => ("comment", Some(text)),
            Self::Resolve => ("resolve", None),
        }
    }
}

impl Call {
    /// Changes an incident that is granted.
    async fn change_incident(&mut self, id: String, change: Change) -> Result<Incident, AlertError> {
        let (function, given) = change.parts();
        self.takes(id.len() + given.map_or(0, str::len));
        let (alerts, principal) = self.alerts(Role::Write).await?;
        let patterns = &self.scope.alerts_write;
        let found = granted_incident(&alerts, principal.organisation, patterns, &id).await?;
        let effect = self.effect_on_alerts(&principal, function, &id, given);
        let (id, record) = (found.id, recorded(effect.clone(), Answer::Alerted));
        let changed = async move {
            let by = By::with(&principal, &record);
            match change {
                Change::Acknowledge => alerts.acknowledge(by, id).await,
                Change::Assign(assignee) => alerts.assign(by, id, assignee).await,
                Change::Comment(text) => alerts.comment(by, id, &text).await,
                Change::Resolve => alerts.resolve(by, id).await,
            }
        };
        Ok(match self.do_once(effect.as_deref(), changed).await? {
            Done::Now(changed) => incident(changed),
            Done::Before(_) => incident(found),
        })
    }

    async fn answered_before(&mut self, effect: Option<&Effect>) -> Result<Option<Answer>, AlertError> {
        self.repeated(effect).await.map_err(|error| alert_error(error.into()))
    }

    /// As [`Self::do_now`], unless it happened before.
    async fn do_once<T: Send + 'static>(
        &mut self,
        effect: Option<&Effect>,
        work: impl Future<Output = Result<T, Refused>> + Send + 'static,
    ) -> Result<Done<T>, AlertError> {
        match self.answered_before(effect).await? {
            Some(answer) => Ok(Done::Before(answer)),
            None => self.do_now(effect, work).await,
        }
    }

    /// Does something to alerts, which records it, to the end: a call that runs out of time while it is committed is tried
    /// again, and must find that it was done.
    async fn do_now<T: Send + 'static>(
        &mut self,
        effect: Option<&Effect>,
        work: impl Future<Output = Result<T, Refused>> + Send + 'static,
    ) -> Result<Done<T>, AlertError> {
        match to_the_end(work).await {
            Ok(done) => {
                self.counted(effect);
                Ok(Done::Now(done))
            }
            // Two repeats at once: the other one may have been first.
            Err(error) => match self.answered_before(effect).await? {
                Some(answer) => Ok(Done::Before(answer)),
                None => Err(alert_error(error)),
            },
        }
    }
}

/// What came of something that a step does once.
enum Done<T> {
    Now(T),
    /// As it was recorded.
    Before(Answer),
}

/// What records an effect in the commit of what it does, if it is recorded. The answer is made of the id of the monitor or
/// mute that it is about, 0 for an incident.
fn recorded(
    effect: Option<Arc<Effect>>,
    answer: impl Fn(u64) -> Answer + Send + Sync + 'static,
) -> impl Fn(Subject) -> Batch + Send + Sync {
    move |subject| {
        let id = match subject {
            Subject::Monitor(id) => id.0,
            Subject::Mute(id) => id.0,
            Subject::Incident(_) => 0,
        };
        effect.as_ref().map_or_else(Batch::new, |effect| effect.batch(answer(id)))
    }
}

/// Another function's answer under this one's key, which only a damaged row can be.
fn misplaced(answer: &Answer) -> AlertError {
    alert_error(StoreError::Damaged(format!("{answer:?} is recorded of another effect")).into())
}
