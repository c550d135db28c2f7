//! The ways a run is started from outside: a webhook's request, a caller's hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellwether_access::{Principal, Role};
use bellwether_kernel::value::check_nesting;
use bellwether_kernel::{FieldError, OrganisationId, Period, RunId};
use bellwether_store::{Key, decode};
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use super::Firing;
use super::recall::pinned;
use crate::compile::{Action, Compiled};
use crate::rows::{PlaybookRef, PlaybookRow, RunRow, StartedBy};
use crate::service::{Loaded, require_role};
use crate::{
    DeclaredInput, PlaybookError, Playbooks, RunState, StartedRun, TriggerOn, WebhookRequest, convert, rows,
    signature, trigger,
};

/// The row of the webhook with this token.
fn webhook(token: &str) -> Key {
    rows::webhook(&Sha256::digest(token.as_bytes()).into())
}

impl Playbooks {
    /// Whether a playbook's webhook has this token, as far as the store can say.
    pub async fn has_webhook(&self, token: &str) -> bool {
        !matches!(self.store.get(&webhook(token)).await, Ok(None))
    }

    /// Starts the playbook whose webhook has this token. A delivery that came before starts nothing again: the run it
    /// started is given.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] for another token, [`PlaybookError::Signature`] for a request that is not signed as
    /// its trigger says, [`PlaybookError::TooLarge`] and [`PlaybookError::Invalid`] for a body that is too large,
    /// not the JSON it says it is, or nested too deep; [`PlaybookError::Disabled`], [`PlaybookError::Blocked`], [`PlaybookError::Busy`]
    /// and [`PlaybookError::Stopping`] before anything is recorded.
    pub async fn start_by_webhook(
        self: &Arc<Self>,
        token: &str,
        request: WebhookRequest,
    ) -> Result<StartedRun, PlaybookError> {
        // The token is as good as a password: it is not repeated.
        let unknown = || PlaybookError::Unknown { what: "webhook", name: "(the token is not shown)".into() };
        let row = self.store.get(&webhook(token)).await?.ok_or_else(unknown)?;
        let PlaybookRef { organisation, playbook } = decode(&row)?;
        self.access.check_not_suspended(organisation)?;
        let row = self.store.get(&rows::playbook(organisation, playbook)).await?.ok_or_else(unknown)?;
        let row: PlaybookRow = decode(&row)?;
        let loaded = self.published(organisation, playbook, &row).await?.ok_or_else(unknown)?;
        let TriggerOn::Webhook { signature: check, delivery_id } = &loaded.compiled.document.trigger.on
        else {
            return Err(unknown());
        };
        self.check_payload(request.body.len())?;
        if let Some(check) = check {
            let secret = self.secrets.secret(organisation, &check.secret).await?.ok_or_else(|| {
                // Its name is the operator's to know, not a stranger's.
                let (playbook, secret) = (&loaded.compiled.document.name, &check.secret);
                tracing::warn!(
                    playbook,
                    secret,
                    "a webhook's signature cannot be checked: its secret is not there"
                );
                PlaybookError::Signature("the secret it is checked with is not there".to_owned())
            })?;
            let verified = check.scheme.verify(&secret, &request.headers, &request.body, self.clock.now());
            verified.map_err(|error| PlaybookError::Signature(error.to_string()))?;
        }
        let scheme = check.as_ref().map(|check| check.scheme);
        let delivery = signature::delivery_id(scheme, delivery_id.as_deref(), &request.headers)?;
        let trigger = trigger::webhook(request, token, loaded.compiled.reads("trigger.text"))?;
        let mut firing = Firing::new(StartedBy::Webhook, trigger);
        firing.name = delivery.map(|delivery| format!("delivery:{delivery}"));
        firing.playbook = Some(row);
        let accepted = self.accept(organisation, Arc::clone(&loaded), firing).await;
        match &accepted {
            Ok(_) => self.is_started(organisation, &loaded),
            // Whoever calls it can do nothing about that.
            Err(error @ PlaybookError::Blocked { .. }) => self.was_refused(organisation, &loaded, error),
            Err(_) => {}
        }
        accepted
    }

    /// Starts a playbook by hand: one with a trigger of type `manual` or `playbook` with `inputs` of the caller's
    /// choice, or one with a trigger by time as if its time had come.
    ///
    /// # Errors
    /// [`PlaybookError::Forbidden`] for a key that may only read, [`PlaybookError::Refused`] for a playbook with
    /// another trigger or that was never published, [`PlaybookError::Invalid`] for inputs that are not as they are
    /// declared; otherwise as [`Self::start_by_webhook`].
    pub async fn start(
        self: &Arc<Self>,
        principal: &Principal,
        name_or_id: &str,
        inputs: Json,
    ) -> Result<StartedRun, PlaybookError> {
        self.start_named(principal, name_or_id, inputs, None).await
    }

    /// As [`Self::start`], under a name of the caller's, if there is one: when the same key starts the same playbook under it
    /// again within a day, also after a crash, nothing is started and the run that was is given, whatever the inputs are.
    /// Another key's names are others.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_named(
        self: &Arc<Self>,
        principal: &Principal,
        name_or_id: &str,
        inputs: Json,
        name: Option<&str>,
    ) -> Result<StartedRun, PlaybookError> {
        require_role(principal, Role::Write, "start a playbook")?;
        let organisation = principal.organisation;
        let (id, row) = self.find(organisation, name_or_id).await?;
        let loaded = self.published(organisation, id, &row).await?.ok_or_else(|| {
            PlaybookError::Refused(format!("the playbook {:?} has no published version", row.name))
        })?;
        self.check_payload(crate::template::size(&inputs))?;
        let trigger = self.by_hand(&loaded, inputs)?;
        let mut firing = Firing::new(StartedBy::Manual(principal.key.clone()), trigger);
        firing.name_by_hand(principal, name);
        firing.playbook = Some(row);
        self.accept(organisation, loaded, firing).await
    }

    /// What a run started by hand has as its trigger.
    fn by_hand(&self, loaded: &Loaded, inputs: Json) -> Result<Json, PlaybookError> {
        let document = &loaded.compiled.document;
        let by = match &document.trigger.on {
            TriggerOn::Manual { inputs: declared } | TriggerOn::Playbook { inputs: declared } => {
                return Ok(trigger::manual(&declared_inputs(declared, inputs)?));
            }
            TriggerOn::Cron { .. } | TriggerOn::Every { .. } => {
                return Ok(trigger::scheduled(self.clock.now(), false));
            }
            TriggerOn::Webhook { .. } => "its webhook",
            TriggerOn::Metric { .. } => "writes to a metric",
            TriggerOn::Alert { .. } => "incidents",
        };
        Err(PlaybookError::Refused(format!(
            "the playbook {:?} is started by {by}; only one with a trigger of type manual, playbook, cron or every is started by hand",
            document.name
        )))
    }

    fn check_payload(&self, size: usize) -> Result<(), PlaybookError> {
        let limit = self.limits.payload;
        if size > limit { Err(PlaybookError::TooLarge { what: "a payload", size, limit }) } else { Ok(()) }
    }

    /// Says in a run's row that it begins now, with the apps as they are now.
    pub(super) fn begin(&self, organisation: OrganisationId, id: RunId, loaded: &Loaded, row: &mut RunRow) {
        let now = self.clock.now();
        let own = now.saturating_add(self.run_time(&loaded.compiled).milliseconds());
        row.state = RunState::Running;
        row.started = Some(now);
        // As a step of another it may have less.
        row.deadline = Some(row.deadline.map_or(own, |deadline| deadline.min(own)));
        row.pins = self.pins_of(organisation, id, &loaded.compiled);
    }

    /// How long a run may take from its first step on.
    pub(super) fn run_time(&self, compiled: &Compiled) -> Period {
        compiled.document.timeout.unwrap_or(Period(self.limits.run_time))
    }

    fn pins_of(&self, organisation: OrganisationId, id: RunId, compiled: &Compiled) -> Vec<(String, String)> {
        let mut pins: Vec<(String, String)> = Vec::new();
        for step in &compiled.steps {
            if let Action::App(name, None) = &step.action
                && pinned(&pins, name).is_none()
                && let Some(app) = self.apps.app_for(organisation, name, id, &|description| {
                    compiled.check_app(name, description).is_ok()
                })
            {
                pins.push((name.clone(), app.version().to_owned()));
            }
        }
        pins
    }
}

/// What a caller gave, an object held against what is declared, defaults filled in; with anything at all in it if nothing
/// is declared, but nothing nested too deep.
pub(crate) fn declared_inputs(
    declared: &BTreeMap<String, DeclaredInput>,
    inputs: Json,
) -> Result<Json, FieldError> {
    match &inputs {
        Json::Object(given) => {
            given.iter().try_for_each(|(name, value)| check_nesting(&format!("inputs.{name}"), value))?;
        }
        _ if declared.is_empty() => return Err(FieldError::new("inputs", "no object", "an object")),
        _ => {}
    }
    if declared.is_empty() {
        return Ok(inputs);
    }
    let names = || declared.keys().cloned().collect::<Vec<_>>().join(", ");
    let Json::Object(mut given) = inputs else {
        return Err(FieldError::new("inputs", "no object", format!("an object with {}", names())));
    };
    if let Some((name, value)) = given.iter().find(|(name, _)| !declared.contains_key(*name)) {
        let names: Vec<&str> = declared.keys().map(String::as_str).collect();
        let secret = declared.values().any(|input| input.secret);
        return Err(convert::undeclared(&format!("inputs.{name}"), value, secret, &names));
    }
    let mut taken = Map::new();
    for (name, input) in declared {
        let value = given.remove(name).filter(|value| !value.is_null()).or_else(|| input.default.clone());
        taken.insert(name.clone(), declared_input(&format!("inputs.{name}"), input, value)?);
    }
    Ok(Json::Object(taken))
}

fn declared_input(field: &str, input: &DeclaredInput, value: Option<Json>) -> Result<Json, FieldError> {
    let expected = convert::expectation(input.value_type);
    let Some(value) = value else {
        if input.required {
            return Err(FieldError::new(field, "nothing", format!("{expected}: it is required")));
        }
        return Ok(Json::Null);
    };
    let shown = || if input.secret { crate::secrets::MASK.to_owned() } else { value.to_string() };
    let converted = convert::to_value(&value, input.value_type);
    let converted = converted.ok_or_else(|| FieldError::new(field, shown(), expected))?;
    let converted = convert::to_json(&converted);
    match converted.as_str() {
        Some(text) if !input.choices.is_empty() && !input.choices.iter().any(|choice| choice == text) => {
            Err(FieldError::new(field, shown(), format!("one of {}", input.choices.join(", "))))
        }
        _ => Ok(converted),
    }
}
