//! `bellwether:host/alerts-write`: the caller's role must be write or above, and the grant's patterns cover the monitor.
//!
//! What a step did to alerts is recorded right behind it, so that a repeat of the step is given how it stands now instead of
//! doing it again; only a host that died in between does it twice.

use bellwether_access::Role;
use bellwether_alerts::{AlertError as Refused, MuteId, NewMute};
use bellwether_kernel::FieldError;

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
        // A document that is stored again changes nothing, so that a repeat needs no record.
        let created = alerts.create_monitor(&principal, &json).await;
        let (stored, created) = match created {
            Ok(stored) => (stored, true),
            Err(Refused::Exists { .. }) => {
                let replaced = alerts.replace_monitor(&principal, name, &json, None).await;
                (replaced.map_err(alert_error)?, false)
            }
            Err(error) => return Err(alert_error(error)),
        };
        Ok(wit::Stored { monitor: monitor(&stored), created })
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
        if self.done_before(effect.as_ref()).await?.is_some() {
            return Ok(());
        }
        let patterns = &self.scope.alerts_write;
        let found = granted_monitor(&alerts, principal.organisation, patterns, &name_or_id).await?;
        alerts.delete_monitor(&principal, &found.id.to_string()).await.map_err(alert_error)?;
        self.done(effect.as_ref(), 0).await;
        Ok(())
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
        if let Some(id) = self.done_before(effect.as_ref()).await? {
            let (id, now) = (MuteId(id), self.services().clock.now());
            return match alerts.mute(principal.organisation, id).await {
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
            };
        }
        let made = alerts.create_mute(&principal, new).await.map_err(alert_error)?;
        self.done(effect.as_ref(), made.id.0).await;
        Ok(mute(made))
    }

    async fn remove_mute(&mut self, id: u64) -> Result<(), AlertError> {
        let (alerts, principal) = self.alerts(Role::Write).await?;
        let effect = self.effect_on_alerts(&principal, "remove-mute", &id.to_string(), None);
        if self.done_before(effect.as_ref()).await?.is_some() {
            return Ok(());
        }
        let found = alerts.mute(principal.organisation, MuteId(id)).await.map_err(alert_error)?;
        if !covers_mute(&self.scope.alerts_write, &found.scope) {
            return Err(AlertError::Unknown(format!("there is no mute \"{id}\"")));
        }
        alerts.delete_mute(&principal, found.id).await.map_err(alert_error)?;
        self.done(effect.as_ref(), id).await;
        Ok(())
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
        if self.done_before(effect.as_ref()).await?.is_some() {
            return Ok(incident(found));
        }
        let changed = match change {
            Change::Acknowledge => alerts.acknowledge(&principal, found.id).await,
            Change::Assign(assignee) => alerts.assign(&principal, found.id, assignee).await,
            Change::Comment(text) => alerts.comment(&principal, found.id, &text).await,
            Change::Resolve => alerts.resolve(&principal, found.id).await,
        };
        let changed = changed.map_err(alert_error)?;
        self.done(effect.as_ref(), 0).await;
        Ok(incident(changed))
    }

    /// What an effect on alerts that happened before was about: a mute's id, 0 for all else.
    async fn done_before(&mut self, effect: Option<&Effect>) -> Result<Option<u64>, AlertError> {
        match self.repeated(effect).await {
            Ok(Some(Answer::Alerted(id))) => Ok(Some(id)),
            Ok(_) => Ok(None),
            Err(error) => Err(alert_error(error.into())),
        }
    }

    /// Records an effect on alerts that has happened.
    async fn done(&mut self, effect: Option<&Effect>, id: u64) {
        let Some(effect) = effect else { return };
        if let Err(error) = self.services().store.commit(effect.batch(Answer::Alerted(id))).await {
            tracing::warn!(%error, "an effect on alerts was not recorded; a repeat of its step does it again");
        }
        self.counted(Some(effect));
    }
}
