//! From a document to what can be run: names checked, templates compiled, and everything held against the apps and
//! playbooks its steps call.

mod bounds;
mod fit;
mod inputs;
mod reference;
mod scope;
mod steps;
mod trigger;
mod values;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bellwether_kernel::{FieldError, OrganisationId, Timestamp};

use crate::document::{check_names, unmarked};
use crate::engine::Described;
use crate::position::{Path, locate};
use crate::schedule::Schedule;
use crate::template::{Compiler, Template, Variables};
use crate::{
    AppDescription, Apps, Document, Format, OnItemError, PlaybookError, RetryRule, Step, StepKind, Stop,
    ValueType,
};

pub(crate) use bounds::{DEPTH, FAILURE_TIME, shorter};
pub(crate) use scope::ERRORS;
use scope::Scope;
pub(crate) use steps::delay_of;

/// The longest name, in characters.
const NAME: usize = 100;
/// The longest description, in characters.
const DESCRIPTION: usize = 1_000;
/// The longest a run may be allowed to take.
pub(crate) const LONGEST_RUN: Duration = Duration::from_secs(31 * 86_400);
/// The most runs of one playbook a policy may allow at once.
const MOST_AT_ONCE: u32 = 1_000;

/// A playbook ready to run.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) document: Document,
    /// The steps as in the document, then the on-failure steps.
    pub(crate) steps: Vec<CompiledStep>,
    /// How many of them are no on-failure steps.
    pub(crate) main: usize,
    pub(crate) outputs: Vec<(String, CompiledInput)>,
    /// The condition of a metric or alert trigger.
    pub(crate) when: Option<Template>,
    /// When a trigger by time fires.
    pub(crate) schedule: Option<Schedule>,
    pub(crate) compiler: Compiler,
}

/// A step ready to run.
#[derive(Debug)]
pub(crate) struct CompiledStep {
    pub(crate) id: String,
    pub(crate) action: Action,
    pub(crate) inputs: BTreeMap<String, CompiledInput>,
    pub(crate) when: Option<CompiledInput>,
    pub(crate) each: Option<Each>,
    pub(crate) retry: Option<RetryRule>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) on_failure: bool,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum Action {
    /// An app, and the version if the document names one.
    App(String, Option<String>),
    Playbook(String),
    Delay(CompiledInput),
    Stop(Stop, Option<CompiledInput>),
}

impl Action {
    pub(crate) fn kind(&self) -> StepKind {
        match self {
            Self::App(..) => StepKind::App,
            Self::Playbook(_) => StepKind::Playbook,
            Self::Delay(_) => StepKind::Delay,
            Self::Stop(..) => StepKind::Stop,
        }
    }

    /// The app or the playbook.
    pub(crate) fn target(&self) -> &str {
        match self {
            Self::App(name, _) | Self::Playbook(name) => name,
            Self::Delay(_) | Self::Stop(..) => "",
        }
    }
}

/// The list a step is taken over.
#[derive(Debug)]
pub(crate) struct Each {
    pub(crate) list: CompiledInput,
    pub(crate) parallel: usize,
    pub(crate) on_item_error: OnItemError,
}

/// A value ready to be rendered.
#[derive(Debug)]
pub(crate) struct CompiledInput {
    pub(crate) template: Template,
    /// What the template reads.
    pub(crate) variables: Variables,
}

impl CompiledInput {
    /// What is read for a part of the value, such as `.user.name`: of a value that is one variable the same part of that, of
    /// any other all it is made of.
    fn read_for(&self, part: &str) -> Variables {
        match &self.template {
            Template::Expression { path: Some(path), .. } => [path.join(".") + part].into(),
            _ => self.variables.clone(),
        }
    }
}

/// Something wrong in a document, before its place is looked up.
#[derive(Debug)]
pub(crate) struct Fault {
    path: Path,
    pub(crate) error: FieldError,
}

impl Fault {
    /// The same with its place in the document.
    pub(crate) fn at(self, source: &str, format: Format) -> PlaybookError {
        let (line, column) = locate(unmarked(source), format, &self.path);
        PlaybookError::Document { line, column, error: self.error }
    }
}

fn fault<T>(path: &Path, value: impl Display, expected: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { path: path.clone(), error: FieldError::new(path.to_string(), value, expected) })
}

/// What a document is held against: the apps an organisation has, the published playbooks the document leads to, the
/// present time, and the host's bound.
pub(crate) struct Catalogue {
    pub(crate) apps: Arc<dyn Apps>,
    pub(crate) organisation: OrganisationId,
    pub(crate) playbooks: HashMap<String, Component>,
    pub(crate) now: Timestamp,
    /// How long a run may take whose playbook does not say.
    pub(crate) run_time: Duration,
}

/// A published playbook that can be a step.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    /// `None` for a playbook with another trigger.
    pub(crate) description: Option<AppDescription>,
    /// The playbooks it has as steps.
    pub(crate) calls: Vec<String>,
}

/// What a playbook takes and gives as a step of another.
pub(crate) fn component(document: &Document) -> Component {
    let is_component = document.trigger.kind() == crate::TriggerKind::Playbook;
    let description = is_component.then(|| AppDescription {
        summary: document.description.clone().unwrap_or_default(),
        inputs: document
            .trigger
            .inputs()
            .into_iter()
            .flatten()
            .map(|(name, input)| input.to_input(name))
            .collect(),
        outputs: document
            .outputs
            .keys()
            .map(|name| crate::Output {
                name: name.clone(),
                value_type: ValueType::Json,
                help: String::new(),
            })
            .collect(),
    });
    Component { description, calls: called(document) }
}

/// The playbooks a document has as steps.
pub(crate) fn called(document: &Document) -> Vec<String> {
    all_steps(document).filter_map(|step| step.playbook.clone()).collect()
}

fn all_steps(document: &Document) -> impl Iterator<Item = &Step> {
    document.steps.iter().chain(&document.on_failure)
}

impl Compiled {
    /// Reads, checks and compiles a document. Without a catalogue only what the document itself can show is checked:
    /// for documents that were stored, whose apps may have changed since.
    pub(crate) fn read(
        source: &str,
        format: Format,
        most_steps: usize,
        catalogue: Option<&Catalogue>,
    ) -> Result<Self, PlaybookError> {
        let source = unmarked(source);
        let document = Document::read(source, format)?;
        // One that was stored before there was a bound, or names given twice were refused, is run as it is.
        if catalogue.is_some() && format == Format::Json {
            check_names(source)?;
        }
        let depths = catalogue.map_or(Ok(()), |_| values::check_depths(&document));
        let checked = depths
            .and_then(|()| values::check_numbers(&document, format))
            .and_then(|()| compile(document, most_steps, catalogue));
        checked.map_err(|fault| fault.at(source, format))
    }

    /// What secret inputs read, by what each step calls: `trigger.body.token`, `steps.login.session`; and the secret
    /// inputs the playbook declares itself. What is read of an item is read of the list it is of.
    pub(crate) fn secret_variables(&self, described: &[Option<Described>]) -> Variables {
        let mut variables = Variables::new();
        for (name, input) in self.document.trigger.inputs().into_iter().flatten() {
            if input.secret {
                variables.insert(format!("trigger.inputs.{name}"));
            }
        }
        for (step, described) in self.steps.iter().zip(described) {
            let Some(described) = described else { continue };
            let given = |(name, part): (&str, &str)| Some(step.inputs.get(name)?.read_for(part));
            for variable in described.secret_parts().filter_map(given).flatten() {
                match (&step.each, behind("item", &variable)) {
                    (Some(each), Some(part)) => variables.extend(each.list.read_for(part)),
                    _ => {
                        variables.insert(variable);
                    }
                }
            }
        }
        variables
    }

    /// The named secrets its inputs are given.
    pub(crate) fn secret_names(&self) -> impl Iterator<Item = &str> {
        let inputs = self.steps.iter().flat_map(|step| step.inputs.values());
        inputs.filter_map(|input| match &input.template {
            Template::Secret(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The secrets it names, each with where.
    pub(crate) fn secret_places(&self) -> Vec<(Path, &str)> {
        let root = Path::default();
        let mut places = Vec::new();
        if let crate::TriggerOn::Webhook { signature: Some(check), .. } = &self.document.trigger.on {
            places.push((root.field("trigger").field("signature").field("secret"), check.secret.as_str()));
        }
        for (position, step) in self.steps.iter().enumerate() {
            let path = self.path_of(position);
            for (name, input) in &step.inputs {
                if let Template::Secret(secret) = &input.template {
                    places.push((path.field("inputs").field(name), secret));
                }
            }
        }
        places
    }

    /// Where the document says the step at `position`.
    fn path_of(&self, position: usize) -> Path {
        let root = Path::default();
        match position.checked_sub(self.main) {
            None => root.field("steps").item(position),
            Some(position) => root.field("on_failure").item(position),
        }
    }

    /// Whether any template reads `variable`, a part of it, or all of what it is part of.
    pub(crate) fn reads(&self, variable: &str) -> bool {
        self.variables().any(|read| is_within(read, variable) || is_within(variable, read))
    }

    /// What its templates read.
    fn variables(&self) -> impl Iterator<Item = &String> {
        let values = self.steps.iter().flat_map(|step| {
            let action = match &step.action {
                Action::Delay(value) | Action::Stop(_, Some(value)) => Some(value),
                _ => None,
            };
            step.inputs
                .values()
                .chain(&step.when)
                .chain(step.each.as_ref().map(|each| &each.list))
                .chain(action)
        });
        values.chain(self.outputs.iter().map(|(_, value)| value)).flat_map(|value| &value.variables)
    }

    /// How many of its runs there may be at once; `None` if there is no bound.
    pub(crate) fn places(&self) -> Option<usize> {
        let concurrency = self.document.concurrency;
        (concurrency.policy != crate::Policy::Allow).then(|| concurrency.limit.unwrap_or(1) as usize)
    }
}

/// What is wrong at one place of a document that reads.
pub(crate) fn wrong_at(
    source: &str,
    format: Format,
    path: &Path,
    value: &str,
    expected: impl Into<String>,
) -> PlaybookError {
    Fault { path: path.clone(), error: FieldError::new(path.to_string(), value, expected) }.at(source, format)
}

/// Whether the dotted path `inner` is `outer` or a part of it.
pub(crate) fn is_within(inner: &str, outer: &str) -> bool {
    behind(outer, inner).is_some()
}

/// Which part of `outer` the dotted path `inner` is, such as `.user.name`; empty if it is the whole of it, `None` if it is
/// no part.
pub(crate) fn behind<'a>(outer: &str, inner: &'a str) -> Option<&'a str> {
    inner.strip_prefix(outer).filter(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn compile(document: Document, most_steps: usize, catalogue: Option<&Catalogue>) -> Result<Compiled, Fault> {
    let root = Path::default();
    check_head(&root, &document)?;
    let mut compiler = Compiler::new();
    let now = catalogue.map(|catalogue| catalogue.now);
    let (when, schedule) = trigger::compile(&root.field("trigger"), &document.trigger, &mut compiler, now)?;
    if let Some(catalogue) = catalogue {
        check_cycles(&root, &document, catalogue)?;
        bounds::check_depth(&document, catalogue)?;
        bounds::check_delays(&document, catalogue.run_time)?;
    }
    let mut scope = Scope::new(&document.trigger, catalogue.is_some());
    let mut compiled = Vec::new();
    for (name, list) in [("steps", &document.steps), ("on_failure", &document.on_failure)] {
        let path = root.field(name);
        let least = usize::from(name == "steps");
        if list.len() < least || list.len() > most_steps {
            return fault(&path, list.len(), format!("{least} to {most_steps} steps"));
        }
        scope.on_failure = name == "on_failure";
        for (index, step) in list.iter().enumerate() {
            let step = steps::compile(&path.item(index), step, catalogue, &mut scope, &mut compiler)?;
            compiled.push(step);
        }
    }
    scope.on_failure = false;
    let mut outputs = Vec::new();
    for (name, value) in &document.outputs {
        let path = root.field("outputs").field(name);
        let value = inputs::compile_value(&path, value, &mut compiler, &scope)?;
        scope.check(&path, &value.variables)?;
        outputs.push((name.clone(), value));
    }
    let main = document.steps.len();
    Ok(Compiled { steps: compiled, main, outputs, when, schedule, compiler, document })
}

fn check_head(root: &Path, document: &Document) -> Result<(), Fault> {
    check_name(&root.field("name"), &document.name)?;
    if let Some(description) = &document.description
        && description.chars().count() > DESCRIPTION
    {
        return fault(&root.field("description"), description, format!("at most {DESCRIPTION} characters"));
    }
    if let Some(timeout) = document.timeout
        && !(Duration::from_secs(1)..=LONGEST_RUN).contains(&timeout.0)
    {
        return fault(&root.field("timeout"), timeout, "1 second to 31 days");
    }
    let concurrency = root.field("concurrency");
    if let Some(limit) = document.concurrency.limit {
        let path = concurrency.field("limit");
        if document.concurrency.policy == crate::Policy::Allow {
            return fault(&path, limit, "a limit with the policy queue, skip or replace");
        }
        if limit == 0 || limit > MOST_AT_ONCE {
            return fault(&path, limit, format!("1 to {MOST_AT_ONCE}"));
        }
    }
    for (name, kept) in [("days", document.retention.days), ("runs", document.retention.runs)] {
        if kept == Some(0) {
            return fault(&root.field("retention").field(name), 0, "1 or more");
        }
    }
    if !document.outputs.is_empty() && document.trigger.kind() != crate::TriggerKind::Playbook {
        return fault(
            &root.field("outputs"),
            document.outputs.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            format!(
                "none: nobody reads them, as its trigger is of type {} and not playbook",
                document.trigger.kind().as_str()
            ),
        );
    }
    document.outputs.keys().try_for_each(|name| steps::check_id(&root.field("outputs").field(name), name))
}

fn check_name(path: &Path, name: &str) -> Result<(), Fault> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    // Digits alone would read as an id where either is taken.
    if (1..=NAME).contains(&name.len())
        && name.bytes().all(good)
        && !name.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Ok(());
    }
    fault(path, name, format!("1 to {NAME} characters of a-z, 0-9 and -, not digits alone"))
}

/// A playbook that leads back to itself would never end.
fn check_cycles(root: &Path, document: &Document, catalogue: &Catalogue) -> Result<(), Fault> {
    let steps = [("steps", &document.steps), ("on_failure", &document.on_failure)];
    for (list, steps) in steps {
        for (index, step) in steps.iter().enumerate() {
            let Some(called) = &step.playbook else { continue };
            if let Some(way) = way_back(document, called, catalogue) {
                let path = root.field(list).item(index).field("playbook");
                let way = way.join(" → ");
                return fault(
                    &path,
                    called,
                    format!("a playbook that does not lead back to this one ({way})"),
                );
            }
        }
    }
    Ok(())
}

/// The playbooks on a way from `called` to the document's own, both included.
fn way_back(document: &Document, called: &str, catalogue: &Catalogue) -> Option<Vec<String>> {
    let mut ways = vec![vec![called.to_owned()]];
    let mut seen = vec![called.to_owned()];
    while let Some(way) = ways.pop() {
        let last = way.last()?;
        if *last == document.name {
            return Some(way);
        }
        let calls = catalogue.playbooks.get(last).map_or(&[][..], |component| &component.calls);
        for next in calls {
            if *next == document.name || !seen.contains(next) {
                seen.push(next.clone());
                ways.push(way.iter().chain([next]).cloned().collect());
            }
        }
    }
    None
}

/// Names as a phrase of an error.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "there is none".into() } else { names.join(", ") }
}
