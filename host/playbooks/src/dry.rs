//! A playbook tried without doing anything: everything is checked and rendered as far as it can be known, no app is
//! called, nothing is recorded.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_access::{Principal, Role};
use bellwether_kernel::{FieldError, OrganisationId};
use serde_json::{Map, Value as Json, json};

use crate::compile::{Action, Compiled, CompiledInput, CompiledStep, is_within};
use crate::engine::{Described, declared_inputs, taken};
use crate::secrets::{MASK, Secrets};
use crate::service::require_role;
use crate::template::{Room, Template, from_json, is_true, size};
use crate::{AlertMove, DeclaredInput, Format, PlaybookError, Playbooks, StepKind, TriggerOn, trigger};

/// Templates of one dry run that may cost more than little, about 10 ms each: a second in all. A run has its steps' time
/// for them; who tries a playbook waits, and may do so again and again.
const COSTLY: u32 = 100;
/// Bytes of inputs one dry run shows: as many as a run has for one step, sixteen times.
const SHOWN: usize = 16 << 20;

/// What a run would do.
#[derive(Clone, Debug, PartialEq)]
pub struct DryRun {
    /// Its steps in order, the on-failure steps behind the others.
    pub steps: Vec<DryStep>,
}

/// What a step would do.
#[derive(Clone, Debug, PartialEq)]
pub struct DryStep {
    /// Its id.
    pub step: String,
    /// What it does.
    pub kind: StepKind,
    /// Its app, or the playbook it runs; empty where it has neither.
    pub app: String,
    /// That app's version.
    pub app_version: String,
    /// Whether it is one of the on-failure steps.
    pub on_failure: bool,
    /// Whether its condition holds; absent where that depends on what is not known before the run.
    pub runs: Option<bool>,
    /// Over how many items it is taken; absent for a step without a list, or where that is not known before the run.
    pub items: Option<usize>,
    /// What it would be given, secrets masked. What depends on an earlier step is `{"unknown": "{{ steps.a.b }}"}`.
    pub inputs: Map<String, Json>,
    /// What would be wrong with it.
    pub problem: Option<String>,
}

impl Playbooks {
    /// Checks a document as [`Self::validate`] does, and says what a run of it with `trigger` would do. `trigger` is
    /// what its templates read as `trigger`, `{"inputs": …}` for a manual one. Of what is not given, a trigger by time
    /// is as when it is due next, an incident is made up, and declared inputs have their defaults. Inputs that are given
    /// are held against what is declared, as at a start.
    ///
    /// # Errors
    /// As [`Self::validate`]; [`PlaybookError::Forbidden`] for a key that may only read; [`PlaybookError::Invalid`] for
    /// inputs that are not as they are declared.
    pub async fn dry_run(
        &self,
        principal: &Principal,
        source: &str,
        format: Format,
        mut trigger: Map<String, Json>,
    ) -> Result<DryRun, PlaybookError> {
        require_role(principal, Role::Write, "try a playbook")?;
        let organisation = principal.organisation;
        let compiled = self.check(organisation, source, format).await?;
        let described = self.described(organisation, &compiled, &[]).await?;
        for (name, value) in self.expected(&compiled) {
            trigger.entry(name).or_insert(value);
        }
        if let Some(declared) = compiled.document.trigger.inputs() {
            let given = trigger.remove("inputs");
            trigger.insert("inputs".into(), inputs(declared, given)?);
        }
        let trigger = Json::Object(trigger);
        let mut secrets = Secrets::default();
        let mut shown = trigger.clone();
        secrets.take("trigger", &mut shown, &compiled.secret_variables(&described));
        let context = from_json(&json!({
            "trigger": trigger,
            "run": {"id": "00000000-0000-7000-8000-000000000000", "created": self.clock.now().to_string(), "attempt": 1, "error": null, "failed_step": null},
            "playbook": {"name": compiled.document.name, "version": 0},
        }));
        let missing = self.missing_secrets(organisation, &compiled).await?;
        let payload = self.limits.payload;
        // Apart from other tasks: all of it together may take a second.
        let trying = tokio::task::spawn_blocking(move || {
            let (compiled, context, secrets, missing) = (&compiled, &context, &secrets, &missing);
            let mut dry = Dry { compiled, context, secrets, missing, payload, costly: COSTLY, shown: SHOWN };
            let steps = compiled.steps.iter().zip(&described);
            steps.map(|(step, described)| dry.step(step, described.as_ref())).collect()
        });
        match trying.await {
            Ok(steps) => Ok(DryRun { steps }),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(PlaybookError::Stopping),
            },
        }
    }

    /// The secrets a playbook names that are not there.
    async fn missing_secrets(
        &self,
        organisation: OrganisationId,
        compiled: &Compiled,
    ) -> Result<BTreeSet<String>, PlaybookError> {
        let mut missing = BTreeSet::new();
        for input in compiled.steps.iter().flat_map(|step| step.inputs.values()) {
            if let Template::Secret(secret) = &input.template
                && !missing.contains(secret)
                && self.secrets.secret(organisation, secret).await?.is_none()
            {
                missing.insert(secret.clone());
            }
        }
        Ok(missing)
    }

    /// What a trigger holds as far as its document says it, inputs aside.
    fn expected(&self, compiled: &Compiled) -> Map<String, Json> {
        let now = self.clock.now();
        let expected = match (&compiled.schedule, &compiled.document.trigger.on) {
            (Some(schedule), _) => trigger::scheduled(schedule.next_after(now).unwrap_or(now), false),
            (None, TriggerOn::Alert { moves, .. }) => {
                trigger::alert::made_up(moves.first().copied().unwrap_or(AlertMove::Open))
            }
            (None, _) => Json::Null,
        };
        match expected {
            Json::Object(expected) => expected,
            _ => Map::new(),
        }
    }
}

/// The inputs of a start with what is given. Of a start with nothing only what is required is missing, which is for the
/// steps that read it to say.
fn inputs(declared: &BTreeMap<String, DeclaredInput>, given: Option<Json>) -> Result<Json, FieldError> {
    let optional;
    let (declared, given) = match given {
        Some(given) => (declared, given),
        None => {
            let mut inputs = declared.clone();
            inputs.retain(|_, input| !input.required || input.default.is_some());
            optional = inputs;
            (&optional, Json::Object(Map::new()))
        }
    };
    declared_inputs(declared, given).map_err(|mut error| {
        error.field = format!("trigger.{}", error.field);
        error
    })
}

struct Dry<'a> {
    compiled: &'a Compiled,
    context: &'a minijinja::Value,
    secrets: &'a Secrets,
    /// The secrets it names that are not there.
    missing: &'a BTreeSet<String>,
    /// Bytes one value may have.
    payload: usize,
    /// Templates that may still cost more than little.
    costly: u32,
    /// Bytes that may still be shown.
    shown: usize,
}

impl Dry<'_> {
    fn step(&mut self, step: &CompiledStep, described: Option<&Described>) -> DryStep {
        let mut dry = DryStep {
            step: step.id.clone(),
            kind: step.action.kind(),
            app: step.action.target().to_owned(),
            app_version: String::new(),
            on_failure: step.on_failure,
            runs: Some(true),
            items: None,
            inputs: Map::new(),
            problem: None,
        };
        if let Some(Described::App(app)) = described {
            dry.app_version = app.version().to_owned();
        }
        if let Some(when) = &step.when {
            dry.runs = self.value(when, "when", &mut dry.problem).map(|value| is_true(&value));
        }
        if let Some(each) = &step.each {
            match self.value(&each.list, "each", &mut dry.problem) {
                Some(Json::Array(list)) => dry.items = Some(list.len()),
                Some(_) => dry.problem = Some("each: expected a list".into()),
                None => {}
            }
        }
        match &step.action {
            Action::Delay(delay) => self.show("delay", delay, &mut dry),
            Action::Stop(_, Some(message)) => self.show("message", message, &mut dry),
            _ => {}
        }
        for (name, input) in &step.inputs {
            let declared = described.and_then(|described| {
                described.description().inputs.iter().find(|declared| declared.name == *name)
            });
            if let Template::Secret(secret) = &input.template {
                if self.missing.contains(secret) {
                    dry.problem = Some(format!("input {name}: there is no secret {secret:?}"));
                }
                dry.inputs.insert(name.clone(), MASK.into());
                continue;
            }
            if declared.is_some_and(|declared| declared.secret) {
                dry.inputs.insert(name.clone(), MASK.into());
                continue;
            }
            if let Some(value) = self.value_at(name, input, &mut dry)
                && let Some(declared) = declared
                && let Err(error) = taken(declared, value, step.action.target())
            {
                dry.problem = Some(error.text(self.secrets));
            }
        }
        dry
    }

    fn show(&mut self, name: &str, value: &CompiledInput, dry: &mut DryStep) {
        self.value_at(name, value, dry);
    }

    /// Renders a value and shows it; `None` if it is not known before the run, or does not render.
    fn value_at(&mut self, name: &str, value: &CompiledInput, dry: &mut DryStep) -> Option<Json> {
        if let Some(unknown) = unknown(value) {
            dry.inputs.insert(name.to_owned(), json!({ "unknown": unknown }));
            return None;
        }
        let mut problem = None;
        let rendered = self.value(value, &format!("input {name}"), &mut problem);
        if problem.is_some() {
            dry.problem = problem;
        }
        let mut shown = rendered.clone()?;
        self.secrets.mask(&mut shown);
        let Some(left) = self.shown.checked_sub(size(&shown)) else {
            dry.problem = Some(format!(
                "input {name}: the inputs of all steps are larger than {SHOWN} bytes, more than a dry run shows"
            ));
            return rendered;
        };
        self.shown = left;
        dry.inputs.insert(name.to_owned(), shown);
        rendered
    }

    fn value(&mut self, value: &CompiledInput, what: &str, problem: &mut Option<String>) -> Option<Json> {
        if unknown(value).is_some() {
            return None;
        }
        let mut room = Room::with_costly(self.payload, self.costly);
        let rendered = self.compiled.compiler.render(&value.template, self.context, &mut room);
        self.costly = room.costly();
        match rendered {
            Ok(value) => Some(value),
            Err(error) => {
                *problem = Some(self.secrets.mask_text(&error.of(what)).into_owned());
                None
            }
        }
    }
}

/// What a value reads that is not known before the run.
fn unknown(value: &CompiledInput) -> Option<String> {
    const UNKNOWN: [&str; 5] = ["steps", "item", "index", "run.error", "run.failed_step"];
    let unknown = |variable: &&String| UNKNOWN.iter().any(|root| is_within(variable, root));
    let read: Vec<String> =
        value.variables.iter().filter(unknown).map(|variable| format!("{{{{ {variable} }}}}")).collect();
    (!read.is_empty()).then(|| read.join(" "))
}
