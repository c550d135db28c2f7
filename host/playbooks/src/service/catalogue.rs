//! Documents held against what an organisation has: its apps, and the published playbooks a document leads to.

use std::collections::{HashMap, HashSet};

use bellwether_kernel::OrganisationId;

use super::SOURCE;
use crate::compile::{Catalogue, Compiled, called, component};
use crate::{Document, Format, PlaybookError, Playbooks};

/// How many playbooks one may lead to; more than that is as good as a cycle.
const COMPONENTS: usize = 200;

impl Playbooks {
    /// Reads and checks a document against the apps and playbooks the organisation has, without storing it.
    ///
    /// # Errors
    /// [`PlaybookError::Syntax`] and [`PlaybookError::Document`] with the place of what is wrong;
    /// [`PlaybookError::TooLarge`].
    pub async fn validate(
        &self,
        organisation: OrganisationId,
        source: &str,
        format: Format,
    ) -> Result<Document, PlaybookError> {
        Ok(self.check(organisation, source, format).await?.document)
    }

    /// As [`Self::validate`], and gives what runs it.
    pub(crate) async fn check(
        &self,
        organisation: OrganisationId,
        source: &str,
        format: Format,
    ) -> Result<Compiled, PlaybookError> {
        check_size(source)?;
        let playbooks = self.components(organisation, &Document::read(source, format)?).await?;
        let catalogue = Catalogue { apps: &*self.apps, organisation, playbooks };
        Compiled::read(source, format, self.limits.steps, Some(&catalogue))
    }

    /// The published playbooks a document leads to, by name.
    async fn components(
        &self,
        organisation: OrganisationId,
        document: &Document,
    ) -> Result<HashMap<String, crate::compile::Component>, PlaybookError> {
        let mut found = HashMap::new();
        let mut seen: HashSet<String> = HashSet::new();
        let mut to_see = called(document);
        while let Some(name) = to_see.pop() {
            if seen.len() >= COMPONENTS || !seen.insert(name.clone()) {
                continue;
            }
            let Some(id) = self.named(organisation, &name).await? else { continue };
            let Some(loaded) = self.load_published(organisation, id).await? else { continue };
            let component = component(&loaded.compiled.document);
            to_see.extend(component.calls.iter().cloned());
            found.insert(name, component);
        }
        Ok(found)
    }
}

/// Refuses a document that is too large.
pub(super) fn check_size(source: &str) -> Result<(), PlaybookError> {
    if source.len() > SOURCE {
        return Err(PlaybookError::TooLarge { what: "a playbook", size: source.len(), limit: SOURCE });
    }
    Ok(())
}
