//! Documents held against what an organisation has: its apps, and the published playbooks a document leads to.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bellwether_kernel::{ErrorKind, OrganisationId};

use super::find::compiled;
use super::{Loaded, SOURCE};
use crate::compile::{Catalogue, Compiled, called, component, wrong_at};
use crate::{Document, Format, PlaybookError, Playbooks, TriggerOn};

/// How many playbooks one may lead to; more than that is as good as a cycle.
const COMPONENTS: usize = 200;

/// Published playbooks by name.
type Components = BTreeMap<String, Arc<Loaded>>;

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
        let text: Arc<str> = source.into();
        let read = Arc::clone(&text);
        let document = compiled(text.len(), move || Document::read(&read, format)).await??;
        let components = self.components(organisation, &document).await?;
        let (catalogue, most) = (self.catalogue(organisation, &components), self.limits.steps);
        let compile = move || Compiled::read(&text, format, most, Some(&catalogue));
        let compiled = compiled(source.len(), compile).await??;
        self.check_secrets(organisation, source, format, &compiled).await?;
        Ok(compiled)
    }

    /// Why a run of a stored version fails, as far as that is known before: what it calls, or a secret it names, is not as
    /// it was when it was stored; or so it is with a playbook it leads to.
    pub(super) async fn problem(&self, organisation: OrganisationId, loaded: &Loaded) -> Option<String> {
        match self.find_problem(organisation, loaded).await {
            Ok(problem) => problem,
            // Playbooks are shown even if a secret, or a playbook they have as a step, does not read.
            Err(error) => {
                tracing::warn!(%organisation, playbook = %loaded.id, %error, "what a playbook calls could not be read");
                Some("what it calls could not be read; the host's log says why".to_owned())
            }
        }
    }

    async fn find_problem(
        &self,
        organisation: OrganisationId,
        loaded: &Loaded,
    ) -> Result<Option<String>, PlaybookError> {
        let components = self.components(organisation, &loaded.compiled.document).await?;
        let catalogue = self.catalogue(organisation, &components);
        if let Some(error) = self.misfit(&catalogue, loaded).await? {
            return Ok(Some(error.to_string()));
        }
        for (name, component) in &components {
            if let Some(error) = self.misfit(&catalogue, component).await? {
                return Ok(Some(format!("in the playbook {name:?}, which it runs: {error}")));
            }
        }
        Ok(None)
    }

    /// What of a stored version is not as it was checked, if anything.
    async fn misfit(
        &self,
        catalogue: &Catalogue,
        loaded: &Loaded,
    ) -> Result<Option<PlaybookError>, PlaybookError> {
        let Loaded { compiled, source, format, .. } = loaded;
        let fits = match compiled.check_fit(catalogue) {
            Ok(()) => self.check_secrets(catalogue.organisation, source, *format, compiled).await,
            Err(fault) => Err(fault.at(source, *format)),
        };
        match fits {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == ErrorKind::Invalid => Ok(Some(error)),
            Err(error) => Err(error),
        }
    }

    fn catalogue(&self, organisation: OrganisationId, components: &Components) -> Catalogue {
        let described =
            |(name, loaded): (&String, &Arc<Loaded>)| (name.clone(), component(&loaded.compiled.document));
        let playbooks = components.iter().map(described).collect();
        let (now, run_time) = (self.clock.now(), self.limits.run_time);
        Catalogue { apps: Arc::clone(&self.apps), organisation, playbooks, now, run_time }
    }

    /// The secrets a document names are there, and the one its webhook is signed with is of its scheme.
    async fn check_secrets(
        &self,
        organisation: OrganisationId,
        source: &str,
        format: Format,
        compiled: &Compiled,
    ) -> Result<(), PlaybookError> {
        for (path, name) in compiled.secret_places() {
            let Some(secret) = self.secrets.secret(organisation, name).await? else {
                return Err(wrong_at(source, format, &path, name, "the name of a secret that is there"));
            };
            if let TriggerOn::Webhook { signature: Some(check), .. } = &compiled.document.trigger.on
                && check.secret == name
                && let Err(error) = check.scheme.check_secret(&secret)
            {
                let expected = format!("a secret that is {}", error.expected);
                return Err(wrong_at(source, format, &path, name, expected));
            }
        }
        Ok(())
    }

    /// The published playbooks a document leads to.
    async fn components(
        &self,
        organisation: OrganisationId,
        document: &Document,
    ) -> Result<Components, PlaybookError> {
        let mut found = Components::new();
        let mut seen: HashSet<String> = HashSet::new();
        let mut to_see = called(document);
        while let Some(name) = to_see.pop() {
            if seen.len() >= COMPONENTS || !seen.insert(name.clone()) {
                continue;
            }
            let Some(id) = self.named(organisation, &name).await? else { continue };
            let Some(loaded) = self.load_published(organisation, id).await? else { continue };
            to_see.extend(called(&loaded.compiled.document));
            found.insert(name, loaded);
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
