//! What a playbook is started with by hand.

use bellwether_kernel::OrganisationId;

use super::find::unless_damaged;
use crate::engine::Described;
use crate::template::Template;
use crate::{Input, PlaybookError, Playbooks, TriggerOn, ValueType};

/// What reads one input, and the input's name behind it.
const INPUTS: &str = "trigger.inputs.";

impl Playbooks {
    /// The inputs a start by hand may give: as the trigger of the published version declares them or, where it
    /// declares none, as the apps and playbooks do whose inputs are nothing else. None for a playbook that takes none.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] if there is no such playbook.
    pub async fn start_inputs(
        &self,
        organisation: OrganisationId,
        name_or_id: &str,
    ) -> Result<Vec<Input>, PlaybookError> {
        let (id, _) = self.find(organisation, name_or_id).await?;
        let loaded = unless_damaged(self.load_published(organisation, id).await)?;
        let Some(loaded) = loaded else { return Ok(Vec::new()) };
        let compiled = &loaded.compiled;
        let (TriggerOn::Manual { inputs: declared } | TriggerOn::Playbook { inputs: declared }) =
            &compiled.document.trigger.on
        else {
            return Ok(Vec::new());
        };
        if !declared.is_empty() {
            return Ok(declared.iter().map(|(name, input)| input.to_input(name)).collect());
        }
        let described = self.described(organisation, compiled, &[]).await?;
        let mut inputs: Vec<Input> = Vec::new();
        for (step, described) in compiled.steps.iter().zip(&described) {
            for (of, given) in &step.inputs {
                for variable in &given.variables {
                    let Some(name) = variable.strip_prefix(INPUTS).and_then(|path| path.split('.').next())
                    else {
                        continue;
                    };
                    if inputs.iter().all(|known| known.name != name) {
                        let alone = matches!(&given.template, Template::Expression { path: Some(path), .. } if path.len() == 3);
                        inputs.push(read_by(name, alone.then_some(of.as_str()), described.as_ref()));
                    }
                }
            }
        }
        Ok(inputs)
    }
}

/// An input that is read as the whole of the input `of` of what is described; or somewhere in another.
fn read_by(name: &str, of: Option<&str>, described: Option<&Described>) -> Input {
    let inputs = described.map_or(&[][..], |described| &described.description().inputs);
    let known = of.and_then(|of| inputs.iter().find(|input| input.name == of));
    match known {
        // A template that reads what is not there fails, whatever its app would do without it.
        Some(known) => Input { name: name.to_owned(), required: true, default: None, ..known.clone() },
        None => Input { required: of.is_some(), ..Input::new(name, ValueType::Json) },
    }
}
