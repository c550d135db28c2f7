//! Whether a playbook that was stored still fits what its steps call, and the host's bounds: apps, playbooks and settings
//! change after it was checked.

use super::inputs::check_inputs;
use super::scope::check_given;
use super::{Action, Catalogue, Compiled, Fault, all_steps, bounds, steps};
use crate::AppDescription;

impl Compiled {
    /// Holds every step against what it calls now.
    pub(crate) fn check_fit(&self, catalogue: &Catalogue) -> Result<(), Fault> {
        for (position, step) in all_steps(&self.document).enumerate() {
            if let Some(description) = steps::describe(&self.path_of(position), step, catalogue)? {
                self.check_call(position, &description)?;
            }
        }
        bounds::check_depth(&self.document, catalogue)?;
        bounds::check_delays(&self.document, catalogue.run_time)
    }

    /// Holds the steps that call an app in whichever version is current against a version of it.
    pub(crate) fn check_app(&self, name: &str, description: &AppDescription) -> Result<(), Fault> {
        let calls = |position: &usize| matches!(&self.steps[*position].action, Action::App(called, None) if called == name);
        (0..self.steps.len()).filter(calls).try_for_each(|position| self.check_call(position, description))
    }

    /// Holds a step against what it calls: what it is given, and what is read of what it gives.
    fn check_call(&self, position: usize, description: &AppDescription) -> Result<(), Fault> {
        let step = &self.steps[position];
        let path = self.path_of(position);
        check_inputs(&path.field("inputs"), step.action.target(), description, &step.inputs)?;
        self.variables().try_for_each(|variable| {
            let mut parts = variable.split('.');
            match (parts.next(), parts.next(), parts.next()) {
                (Some("steps"), Some(id), Some(output)) if id == step.id => {
                    check_given(&path, (variable, id, output), description, step.each.is_some())
                }
                _ => Ok(()),
            }
        })
    }
}
