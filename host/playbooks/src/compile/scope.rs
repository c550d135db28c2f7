//! What the templates of a step may read: the variables there are at its place in the playbook.

use super::{Fault, fault, listed, steps};
use crate::position::Path;
use crate::template::Variables;
use crate::{AppDescription, Trigger, trigger};

/// What `run` holds for templates, and what more for on-failure steps.
pub(crate) const RUN_FIELDS: [&str; 3] = ["attempt", "created", "id"];
const FAILURE_FIELDS: [&str; 2] = ["error", "failed_step"];
/// What `playbook` holds for templates.
pub(crate) const PLAYBOOK_FIELDS: [&str; 2] = ["name", "version"];

/// What the engine itself has, whatever a playbook says.
const BUILT_IN: [&str; 3] = ["dict", "namespace", "range"];

/// What can be read at one place of a document.
pub(super) struct Scope<'a> {
    pub(super) trigger: &'a Trigger,
    /// Whether anything is checked: not for documents that were stored.
    checked: bool,
    /// Ids, outputs, and whether they are lists, of the steps so far.
    earlier: Vec<Earlier>,
    pub(super) in_each: bool,
    pub(super) on_failure: bool,
}

struct Earlier {
    id: String,
    /// `None` where the step calls nothing, or it was not looked up.
    description: Option<AppDescription>,
    is_list: bool,
}

impl<'a> Scope<'a> {
    pub(super) fn new(trigger: &'a Trigger, checked: bool) -> Self {
        Self { trigger, checked, earlier: Vec::new(), in_each: false, on_failure: false }
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.earlier.iter().any(|step| step.id == id)
    }

    pub(super) fn add(&mut self, id: &str, description: Option<AppDescription>, is_list: bool) {
        self.earlier.push(Earlier { id: id.to_owned(), description, is_list });
    }

    /// Holds what a template reads against what there is.
    pub(super) fn check(&self, path: &Path, variables: &Variables) -> Result<(), Fault> {
        if !self.checked {
            return Ok(());
        }
        variables.iter().try_for_each(|variable| self.check_one(path, variable))
    }

    fn roots(&self) -> Vec<&'static str> {
        let mut roots = vec!["trigger", "steps", "run", "playbook"];
        if self.in_each {
            roots.extend(["item", "index"]);
        }
        roots
    }

    fn check_one(&self, path: &Path, variable: &str) -> Result<(), Fault> {
        let mut parts = variable.split('.');
        let root = parts.next().unwrap_or_default();
        if root == "secrets" {
            // Whole inputs that are a secret were taken out before.
            return fault(
                path,
                variable,
                "a secret only as the whole of an input that its app declares secret: {{ secrets.name }}",
            );
        }
        let roots = self.roots();
        let unknown = || {
            let (last, others) = roots.split_last().expect("there are always some");
            fault(path, variable, format!("a variable that is there: {} or {last}", others.join(", ")))
        };
        if !roots.contains(&root) {
            return if BUILT_IN.contains(&root) { Ok(()) } else { unknown() };
        }
        let Some(field) = parts.next() else { return Ok(()) };
        let fields: Vec<&str> = match root {
            "trigger" => trigger::fields(self.trigger).to_vec(),
            "run" if self.on_failure => RUN_FIELDS.iter().chain(&FAILURE_FIELDS).copied().collect(),
            "run" => RUN_FIELDS.to_vec(),
            "playbook" => PLAYBOOK_FIELDS.to_vec(),
            "steps" => return self.check_output(path, variable, field, parts.next()),
            _ => return Ok(()),
        };
        if !fields.contains(&field) {
            return fault(path, variable, format!("a field of {root}: {}", listed(fields.iter().copied())));
        }
        match (root, field, self.trigger.inputs(), parts.next()) {
            ("trigger", "inputs", Some(declared), Some(name))
                if !declared.is_empty() && !declared.contains_key(name) =>
            {
                let names = listed(declared.keys().map(String::as_str));
                fault(path, variable, format!("an input the trigger declares: {names}"))
            }
            _ => Ok(()),
        }
    }

    fn check_output(&self, path: &Path, variable: &str, id: &str, output: Option<&str>) -> Result<(), Fault> {
        let Some(step) = self.earlier.iter().find(|step| step.id == id) else {
            let ids = self.earlier.iter().map(|step| step.id.as_str());
            return fault(path, variable, format!("an earlier step: {}", listed(ids)));
        };
        let Some(output) = output else { return Ok(()) };
        let Some(description) = &step.description else {
            return fault(path, variable, format!("a step that has outputs: {id} calls nothing"));
        };
        check_given(path, (variable, id, output), description, step.is_list)
    }
}

/// Refuses a variable, of a step's id and an output, whose output the step does not give.
pub(super) fn check_given(
    path: &Path,
    (variable, id, output): (&str, &str, &str),
    description: &AppDescription,
    is_list: bool,
) -> Result<(), Fault> {
    let is_declared = description.outputs.iter().any(|declared| declared.name == output);
    if is_declared || (is_list && output == ERRORS) {
        return Ok(());
    }
    let mut names = steps::output_names(description);
    if is_list {
        names.push_str(", ");
        names.push_str(ERRORS);
    }
    fault(path, variable, format!("an output of step {id}: {names}"))
}

/// What a step with a list gives besides its app's outputs: for each item why it failed, or `null`.
pub(crate) const ERRORS: &str = "errors";
