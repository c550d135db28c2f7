//! What organisations set of the host's dialects.

use std::sync::Arc;

use bellwether_access::{AuditScope, Principal};
use bellwether_alerts::Settings;
use bellwether_kernel::value::{Input, to_object};
use bellwether_kernel::{FieldError, OrganisationId};
use bellwether_store::Batch;
use serde_json::{Map, Value as Json};

use super::{Owner, Plugins};
use crate::dialect::Dialect;
use crate::settings::KeptSettings;
use crate::{PluginError, limits};

/// How a dialect is set for an organisation.
#[derive(Clone, Debug, PartialEq)]
pub struct DialectSettings {
    /// What the organisation has set.
    pub given: Map<String, Json>,
    /// What holds, defaults filled in.
    pub effective: Map<String, Json>,
    /// What can be set.
    pub declared: Vec<Input>,
}

impl Plugins {
    /// How a dialect is set for an organisation.
    ///
    /// # Errors
    /// If there is no such plugin, it is no dialect, or what was set does not fit its current version.
    pub fn settings(&self, organisation: OrganisationId, name: &str) -> Result<DialectSettings, PluginError> {
        let given = self.shared.settings.get(organisation, name).unwrap_or_default();
        let dialect = self.settable(organisation, name)?;
        read(&dialect, Map::clone(&given)).map(|(shown, _)| shown)
    }

    /// Sets a dialect for the organisation of `principal`, in the place of what was set before; an empty object leaves
    /// every default. Holds from the next call on.
    ///
    /// # Errors
    /// As [`Self::settings`]; [`PluginError::Invalid`] names the setting that is unknown, of another type, none of its
    /// choices or refused by the plugin.
    pub async fn set_settings(
        &self,
        principal: &Principal,
        name: &str,
        given: Map<String, Json>,
    ) -> Result<DialectSettings, PluginError> {
        let organisation = principal.organisation;
        let dialect = self.settable(organisation, name)?;
        let (shown, settings) = read(&dialect, given)?;
        let text = Json::Object(shown.given.clone()).to_string();
        if text.len() > limits::SETTINGS {
            let expected = format!("at most {} KiB of JSON", limits::SETTINGS >> 10);
            return Err(FieldError::new("settings", format!("{} bytes", text.len()), expected).into());
        }
        dialect.check(&settings, organisation).await?;
        let kept = (!shown.given.is_empty()).then(|| shown.given.clone());
        let _change = self.changes.lock().await;
        // It may have been removed while it was asked.
        self.known(Owner::Host, name)?;
        let (mut batch, services) = (Batch::new(), &self.shared.services);
        KeptSettings::put(&mut batch, organisation, name, kept.as_ref());
        let scope = AuditScope::Organisation(organisation);
        let details = [("settings", text)];
        services.access.audit(&mut batch, scope, principal.key.as_str(), "plugin.settings", name, &details);
        services.store.commit(batch).await?;
        self.shared.settings.keep(organisation, name, kept);
        Ok(shown)
    }

    /// The dialect in its current version.
    fn settable(&self, organisation: OrganisationId, name: &str) -> Result<Arc<Dialect>, PluginError> {
        if let Some(dialect) = self.dialect(name) {
            return Ok(dialect);
        }
        if self.seen(organisation, name).is_none() {
            return Err(PluginError::Unknown(name.to_owned()));
        }
        let expected = "a dialect that is switched on and loads: only dialects are set for an organisation";
        Err(FieldError::new("plugin", name, expected).into())
    }
}

fn read(dialect: &Dialect, given: Map<String, Json>) -> Result<(DialectSettings, Settings), PluginError> {
    let settings = Settings::read(dialect.settings(), &given)?;
    let effective = to_object(settings.values());
    Ok((DialectSettings { given, effective, declared: dialect.settings().to_vec() }, settings))
}

#[cfg(test)]
mod tests {
    use bellwether_access::{AuditFilter, Authentication, Role};
    use bellwether_kernel::{ErrorKind, PageRequest};
    use bellwether_store::MemoryStore;
    use http::HeaderMap;
    use serde_json::json;

    use super::*;
    use crate::testing::{House, configurable_dialect, named_app, principal};
    use crate::{DialectRequest, RouteMatch};

    fn object(json: &Json) -> Map<String, Json> {
        json.as_object().cloned().unwrap()
    }

    /// What the dialect answers a caller of an organisation.
    async fn answer(plugins: &Plugins, organisation: u64) -> Result<String, PluginError> {
        let dialect = plugins.dialect("greeter").unwrap();
        let RouteMatch::Found(matched) = dialect.route("GET", "/word") else { panic!("there is a route") };
        let headers = HeaderMap::new();
        let request =
            DialectRequest { matched: &matched, method: "GET", query: "", headers: &headers, body: b"" };
        let caller = Some(Ok(principal(organisation, Role::Read)));
        let answer = dialect.handle(caller, request).await?;
        Ok(String::from_utf8(answer.body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_dialect_is_given_what_its_callers_organisation_has_set() {
        let store = Arc::new(MemoryStore::new());
        let house = House::on(Arc::clone(&store)).await;
        let plugins = house.plugins().await;
        let bytes = configurable_dialect();
        let installed = plugins.install(Owner::Host, "host", bytes.clone(), Vec::new(), false).await.unwrap();
        let summary = installed.dialect.clone().unwrap();
        assert_eq!((summary.routes.len(), summary.settings[0].name.as_str()), (1, "word"));
        let dialect = plugins.dialect("greeter").unwrap();
        let together =
            vec![Authentication::HeaderKey("X-Key".into()), Authentication::QueryKey("key".into())];
        assert_eq!(dialect.routes()[0].authentication(), [together]);

        let (admin, ours) = (principal(5, Role::Admin), OrganisationId(5));
        assert_eq!(answer(&plugins, 5).await.unwrap(), "hello");
        for (wrong, field) in [
            (json!({"word": "abc"}), "settings.word"),
            (json!({"worm": "x"}), "settings.worm"),
            (json!({"word": "x".repeat(9000)}), "settings"),
        ] {
            let refused = plugins.set_settings(&admin, "greeter", object(&wrong)).await.unwrap_err();
            let PluginError::Invalid(error) = &refused else { panic!("{refused}") };
            assert_eq!((error.field.as_str(), refused.kind()), (field, ErrorKind::Invalid));
        }
        let given = object(&json!({"word": "moin"}));
        let shown = plugins.set_settings(&admin, "greeter", given.clone()).await.unwrap();
        assert_eq!((&shown.given, &shown.effective), (&given, &given));
        assert_eq!(answer(&plugins, 5).await.unwrap(), "moin");
        assert_eq!(answer(&plugins, 6).await.unwrap(), "hello", "each organisation has its own");
        let unknown = plugins.set_settings(&admin, "nobody", Map::new()).await.unwrap_err();
        assert!(matches!(unknown, PluginError::Unknown(_)), "{unknown}");

        // Of what is there and is no dialect it is told so, whoever's it is, and nobody learns of another's.
        let app = || named_app("mine", "1.0.0", "", "", "(global.get $ok)");
        plugins.install(Owner::Organisation(ours), "key", app(), Vec::new(), false).await.unwrap();
        let own = plugins.set_settings(&admin, "mine", Map::new()).await.unwrap_err();
        assert!(own.kind() == ErrorKind::Invalid && own.to_string().contains("expected a dialect"), "{own}");
        let other = |name| plugins.settings(OrganisationId(6), name).unwrap_err();
        assert!(matches!(other("mine"), PluginError::Unknown(_)));
        plugins.install(Owner::Host, "host", app(), Vec::new(), false).await.unwrap();
        assert_eq!(other("mine").to_string(), own.to_string());

        // Another process finds them, and a plugin that is removed takes them with it.
        let again = house.again(store).await;
        let plugins = again.plugins().await;
        assert_eq!(answer(&plugins, 5).await.unwrap(), "moin");
        assert_eq!(plugins.settings(ours, "greeter").unwrap().given, given);
        let refused = plugins.remove(Owner::Host, "host", "greeter").await.unwrap_err();
        let expected = "the settings that 1 organisation had of the plugin greeter would be gone with it; \
             have them reset, or force it";
        assert_eq!((refused.kind(), refused.to_string().as_str()), (ErrorKind::Conflict, expected));
        assert_eq!(answer(&plugins, 5).await.unwrap(), "moin");
        assert_eq!(plugins.remove_all(Owner::Host, "host", "greeter", true).await.unwrap().set, 1);
        let filter = AuditFilter { action: Some("plugin.remove".to_owned()), ..AuditFilter::default() };
        let log = again.services.access.audit_log(AuditScope::Host, &filter, &PageRequest::first(1)).await;
        let told = ("settings".to_owned(), "of 1 organisation".to_owned());
        assert!(log.unwrap().items[0].details.contains(&told));
        plugins.install(Owner::Host, "host", bytes, Vec::new(), false).await.unwrap();
        assert_eq!(answer(&plugins, 5).await.unwrap(), "hello");
        plugins.set_settings(&admin, "greeter", given).await.unwrap();
        plugins.set_settings(&admin, "greeter", Map::new()).await.unwrap();
        assert_eq!(plugins.settings(ours, "greeter").unwrap().effective, object(&json!({"word": "hello"})));
        plugins.remove(Owner::Host, "host", "greeter").await.unwrap();
    }
}
