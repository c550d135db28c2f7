//! What is known of a run besides its row: its trigger, what its steps gave, which secrets are to be kept out of
//! sight. Read from its records, sealed parts opened.

use std::collections::HashMap;
use std::sync::Arc;

use bellwether_kernel::{OrganisationId, PlaybookId, RunId};
use bellwether_store::{Walk, decode};
use serde_json::{Map, Value as Json};

use super::context::Known;
use super::runner::Work;
use crate::compile::{Action, Compiled, CompiledStep, DEPTH, ERRORS, behind, component, is_within};
use crate::rows::{Record, RecordOf, read_json};
use crate::secrets::Secrets;
use crate::service::unless_damaged;
use crate::template::Variables;
use crate::{App, AppDescription, PlaybookError, Playbooks, StepResult, StepState, rows};

/// Playbooks that are looked up as steps, for one run, at most; of others every input is taken for secret.
const LOOKED_UP: usize = 1_000;

/// Parts of a playbook's inputs that are told apart as secret; of one with more, those inputs are secret as a whole.
const PARTS: usize = 100;

/// The playbooks that were looked up as steps.
#[derive(Default)]
struct Lookup {
    /// Each, by how deep it lies: what is deeper than runs go is not looked at.
    known: HashMap<(PlaybookId, usize), Option<Described>>,
    /// Those that are being looked up, each a step of the one before.
    path: Vec<PlaybookId>,
}

/// What a step calls, looked up.
#[derive(Clone)]
pub(crate) enum Described {
    App(Arc<dyn App>),
    /// A playbook: an input it hands to a secret one is as secret. Beside it, parts of its other inputs of which it does the
    /// same: of which, and which part, such as `.user.token`.
    Component(AppDescription, Vec<(String, String)>),
}

impl Described {
    pub(crate) fn description(&self) -> &AppDescription {
        match self {
            Self::App(app) => app.description(),
            Self::Component(description, _) => description,
        }
    }

    /// What of its inputs is secret: of which, and which part, empty for the whole.
    pub(crate) fn secret_parts(&self) -> impl Iterator<Item = (&str, &str)> {
        let whole = self.description().inputs.iter().filter(|input| input.secret);
        let parts: &[(String, String)] = match self {
            Self::App(_) => &[],
            Self::Component(_, parts) => parts,
        };
        let parts = parts.iter().map(|(name, part)| (name.as_str(), part.as_str()));
        whole.map(|input| (input.name.as_str(), "")).chain(parts)
    }
}

/// The version of an app that is pinned, if one is.
pub(crate) fn pinned<'a>(pins: &'a [(String, String)], app: &str) -> Option<&'a str> {
    pins.iter().find(|(pinned, _)| pinned == app).map(|(_, version)| version.as_str())
}

/// What is at hand of a run that begins here.
pub(super) struct Begun {
    /// Its trigger, nothing masked.
    pub(super) trigger: Json,
    /// What each of its steps calls, by position, in the versions that are pinned.
    pub(super) described: Vec<Option<Described>>,
    /// What secret inputs read.
    pub(super) secret_variables: Variables,
    /// What was known to be secret when it was recorded.
    pub(super) secrets: Secrets,
}

/// What is known of a run besides its row.
pub(super) struct Recalled {
    /// The trigger, nothing masked.
    pub(super) trigger: Known,
    /// Outputs by step, nothing masked.
    pub(super) outputs: Vec<(String, Known)>,
    /// What is recorded of each step, by position.
    pub(super) results: Vec<Option<StepResult>>,
    pub(super) secrets: Secrets,
    /// What secret inputs read.
    pub(super) secret_variables: Variables,
    /// What each step calls, by position.
    pub(super) described: Arc<Vec<Option<Described>>>,
}

impl Recalled {
    /// A step's outputs, none of them given.
    pub(super) fn nothing(&self, position: usize) -> Map<String, Json> {
        let outputs = self.described[position].iter().flat_map(|described| &described.description().outputs);
        outputs.map(|output| (output.name.clone(), Json::Null)).collect()
    }

    /// What a step gives that is skipped or never reached: nothing, or of a list an empty one.
    pub(super) fn skipped(&self, step: &CompiledStep, position: usize) -> Map<String, Json> {
        let mut outputs = self.nothing(position);
        if step.each.is_some() {
            outputs.entry(ERRORS).or_insert(Json::Null);
            outputs.values_mut().for_each(|output| *output = Json::Array(Vec::new()));
        }
        outputs
    }

    /// Makes a step's outputs known to the templates behind it.
    pub(super) fn know(&mut self, step: &str, outputs: Json) {
        self.outputs.retain(|(known, _)| known != step);
        self.outputs.push((step.to_owned(), Known::new(outputs)));
    }
}

impl Playbooks {
    /// What each step of a playbook calls, by position: an app in the version it names, that is
    /// pinned, or as it is.
    pub(crate) async fn described(
        &self,
        organisation: OrganisationId,
        compiled: &Compiled,
        pins: &[(String, String)],
    ) -> Result<Vec<Option<Described>>, PlaybookError> {
        self.describe(organisation, compiled, pins, &mut Lookup::default()).await
    }

    /// As [`Self::described`], with the playbooks that were looked up by then: each is once.
    async fn describe(
        &self,
        organisation: OrganisationId,
        compiled: &Compiled,
        pins: &[(String, String)],
        lookup: &mut Lookup,
    ) -> Result<Vec<Option<Described>>, PlaybookError> {
        let mut described = Vec::with_capacity(compiled.steps.len());
        for step in &compiled.steps {
            described.push(match &step.action {
                Action::App(name, named) => {
                    let app = match named.as_deref().or_else(|| pinned(pins, name)) {
                        Some(version) => self.apps.app_version(organisation, name, version),
                        None => self.apps.app(organisation, name),
                    };
                    app.map(Described::App)
                }
                Action::Playbook(name) => match self.named(organisation, name).await? {
                    Some(id) => self.describe_component(organisation, id, lookup).await?,
                    None => None,
                },
                Action::Delay(_) | Action::Stop(..) => None,
            });
        }
        Ok(described)
    }

    /// A playbook as a step of another, if it can be one. Of one that comes to be within itself, or deeper than runs go, which
    /// is not run, no more is looked up.
    async fn describe_component(
        &self,
        organisation: OrganisationId,
        id: PlaybookId,
        lookup: &mut Lookup,
    ) -> Result<Option<Described>, PlaybookError> {
        let level = lookup.path.len();
        if lookup.path.contains(&id) {
            return Ok(None);
        }
        if let Some(described) = lookup.known.get(&(id, level)) {
            return Ok(described.clone());
        }
        lookup.known.insert((id, level), None);
        let Some(loaded) = self.load_published(organisation, id).await? else { return Ok(None) };
        let Some(mut description) = component(&loaded.compiled.document).description else { return Ok(None) };
        let are_too_many = lookup.known.len() > LOOKED_UP;
        let within = if are_too_many || level + 1 >= DEPTH as usize {
            Vec::new()
        } else {
            lookup.path.push(id);
            let within = Box::pin(self.describe(organisation, &loaded.compiled, &[], lookup)).await;
            lookup.path.pop();
            // Where something deeper down does not read, the run says so that comes to it.
            unless_damaged(within.map(Some))?.unwrap_or_default()
        };
        let (secret, mut parts) = (loaded.compiled.secret_variables(&within), Vec::new());
        for input in &mut description.inputs {
            let whole = format!("trigger.inputs.{}", input.name);
            input.secret |= are_too_many || secret.iter().any(|read| is_within(&whole, read));
            let read = secret.iter().filter_map(|read| behind(&whole, read));
            parts.extend(read.map(|part| (input.name.clone(), part.to_owned())));
        }
        if parts.len() > PARTS {
            for input in &mut description.inputs {
                input.secret |= parts.iter().any(|(name, _)| *name == input.name);
            }
            parts.clear();
        }
        let described = Some(Described::Component(description, parts));
        lookup.known.insert((id, level), described.clone());
        Ok(described)
    }

    /// Reads what is recorded of a run and not at hand.
    pub(super) async fn recall(&self, work: &Work, begun: Option<Begun>) -> Result<Recalled, PlaybookError> {
        let compiled = &work.loaded.compiled;
        let Begun { trigger, described, secret_variables, secrets } = match begun {
            Some(begun) => begun,
            None => {
                let described = self.described(work.organisation, compiled, &work.row.pins).await?;
                let secret_variables = compiled.secret_variables(&described);
                let trigger = self.read_whole(work.organisation, work.id, RecordOf::Trigger).await?;
                let secrets = self.read_secrets(work.organisation, work.id).await?;
                Begun { trigger: trigger.unwrap_or_default(), described, secret_variables, secrets }
            }
        };
        let mut recalled = Recalled {
            trigger: Known::new(Json::Null),
            outputs: Vec::new(),
            results: vec![None; compiled.steps.len()],
            secrets,
            secret_variables,
            described: Arc::new(described),
        };
        for name in compiled.secret_names() {
            if let Some(secret) = self.secrets.secret(work.organisation, name).await? {
                recalled.secrets.learn(&Json::from(secret.as_str()));
            }
        }
        if !recalled.secret_variables.is_empty() {
            recalled.secrets.take("trigger", &mut trigger.clone(), &recalled.secret_variables);
        }
        recalled.trigger = Known::new(trigger);
        if work.untouched {
            return Ok(recalled);
        }
        for (position, step) in compiled.steps.iter().enumerate() {
            let key = rows::step(work.organisation, work.id, position);
            let Some(row) = self.store.get(&key).await? else { continue };
            let result: StepResult = decode::<Record>(&row)?.read(&*self.store, &key).await?;
            if result.state != StepState::Waiting {
                let of = RecordOf::Step(position);
                let whole = self.read_whole(work.organisation, work.id, of).await?;
                let outputs = whole.unwrap_or_else(|| result.outputs.clone().into());
                if !recalled.secret_variables.is_empty() {
                    let path = format!("steps.{}", step.id);
                    recalled.secrets.take(&path, &mut outputs.clone(), &recalled.secret_variables);
                }
                recalled.know(&step.id, outputs);
            }
            recalled.results[position] = Some(result);
        }
        Ok(recalled)
    }

    /// The secrets recorded with a run.
    pub(crate) async fn read_secrets(
        &self,
        organisation: OrganisationId,
        run: RunId,
    ) -> Result<Secrets, PlaybookError> {
        let mut secrets = Secrets::default();
        let mut records = Walk::forward(&*self.store, rows::secrets(organisation, run).prefix());
        while let Some((key, row)) = records.next().await? {
            let purpose = purpose(organisation, run, SECRETS, None);
            if let Some(sealed) = decode::<Record>(&row)?.read_sealed(&*self.store, &key).await? {
                secrets.learn(&read_json(&self.access.unseal(&purpose, &sealed)?)?);
            }
        }
        Ok(secrets.into_recorded())
    }

    /// A record's outputs, or the trigger, before anything was masked: what is sealed of it, or else what is shown.
    pub(crate) async fn read_whole(
        &self,
        organisation: OrganisationId,
        run: RunId,
        of: RecordOf,
    ) -> Result<Option<Json>, PlaybookError> {
        let (key, purpose) = match of {
            RecordOf::Trigger => (rows::trigger(organisation, run), purpose(organisation, run, 0, None)),
            RecordOf::Outputs => {
                (rows::outputs(organisation, run), purpose(organisation, run, usize::MAX, None))
            }
            RecordOf::Secrets => return Ok(None),
            RecordOf::Step(position) => {
                (rows::step(organisation, run, position), purpose(organisation, run, position + 1, None))
            }
            RecordOf::Item(position, item) => {
                let key = rows::item(organisation, run, position, item);
                (key, purpose(organisation, run, position + 1, Some(item)))
            }
        };
        let Some(row) = self.store.get(&key).await? else { return Ok(None) };
        let record: Record = decode(&row)?;
        if let Some(sealed) = record.read_sealed(&*self.store, &key).await? {
            return Ok(Some(read_json(&self.access.unseal(&purpose, &sealed)?)?));
        }
        if matches!(of, RecordOf::Trigger | RecordOf::Outputs) {
            return Ok(Some(record.read(&*self.store, &key).await?));
        }
        let result: StepResult = record.read(&*self.store, &key).await?;
        Ok(Some(result.outputs.into()))
    }
}

/// The place of a run's secrets, see [`purpose`].
pub(super) const SECRETS: usize = usize::MAX - 1;

/// What a sealed record is bound to: `place` is 0 for the trigger, counts the steps from 1, is the greatest there is
/// for the outputs, and [`SECRETS`].
pub(crate) fn purpose(organisation: OrganisationId, run: RunId, place: usize, item: Option<u32>) -> String {
    match item {
        None => format!("run:{organisation}:{run}:{place}"),
        Some(item) => format!("run:{organisation}:{run}:{place}:{item}"),
    }
}
