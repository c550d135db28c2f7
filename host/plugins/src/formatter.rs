//! A plugin that drives the exchange of a notification with a channel.

mod lift;
mod lower;

use std::sync::Arc;

use bellwether_alerts::{Answer, FormatterDescription, Notification, RoleError, Settings, Step};
use bellwether_engine::{CallMeters, exports};
use bellwether_kernel::value::ValueType;
use bellwether_kernel::{FieldError, OrganisationId};

use crate::PluginError;
use crate::bindings::exports::bellwether::plugin::formatter as wit;
use crate::declared::{bounded, inputs};
use crate::inspect::PluginRole;
use crate::plugin::{Caller, Export, Loaded};
use crate::role::{SettingsBacking, bad_answer, refused, wrong_setting};

const DESCRIBE: Export = Export { role: PluginRole::Formatter, name: "formatter.describe" };
const NEXT: Export = Export { role: PluginRole::Formatter, name: "formatter.next" };

/// A plugin that exports `formatter`.
pub(crate) struct PluginFormatter {
    loaded: Arc<Loaded>,
    exports: wit::GuestIndices,
    meters: Arc<CallMeters>,
    description: FormatterDescription,
}

impl PluginFormatter {
    pub(crate) fn description(&self) -> &FormatterDescription {
        &self.description
    }

    /// Asks the plugin what it is, and makes sure that it makes sense.
    pub(crate) async fn describe(loaded: Arc<Loaded>) -> Result<Self, PluginError> {
        let (exports, meters, described) = loaded
            .described(DESCRIBE, wit::GuestIndices::new, async |exports, store, instance| {
                exports.load(&mut *store, instance)?.call_describe(store).await
            })
            .await?;
        let description = description(described).map_err(|error| loaded.bad_description(DESCRIBE, error))?;
        Ok(Self { loaded, exports, meters, description })
    }

    /// [`Formatter::next`](bellwether_alerts::Formatter::next) in the service of an organisation, whose turns
    /// it takes, and whose instances are kept for the next calls.
    pub(crate) async fn next(
        &self,
        organisation: OrganisationId,
        notification: &Notification,
        settings: &Settings,
        memory: &[u8],
        last: Option<&Answer>,
    ) -> Result<Step, RoleError> {
        let (secrets, time) = (settings.secrets(), notification.time);
        let settings = SettingsBacking::new(settings);
        let settings = settings.lower();
        let texts = lower::texts(notification);
        let lists = lower::lists(notification, &texts);
        let series = lower::series(notification, &lists);
        let alerts = lower::alerts(notification, &lists, &series);
        let notification = lower::notification(notification, &lists, &alerts);
        let answer_lists = last.map(lower::answer_lists).unwrap_or_default();
        let last = last.map(|answer| lower::answer(answer, &answer_lists));
        let (answer, _) = self
            .loaded
            .call(
                NEXT,
                self.loaded.limits(),
                &self.meters,
                Caller::pure(time, organisation),
                async |store, instance| {
                    let found = exports(store, |store| self.exports.load(store, instance))?;
                    found.call_next(store, notification, &settings, memory, last).await
                },
            )
            .await;
        match answer? {
            Ok(step) => {
                let known = |name: &str| secrets.iter().any(|(secret, _)| secret == name);
                lift::step(step, &known).map_err(|problem| bad_answer(&self.loaded, NEXT, problem))
            }
            Err(wit::FormatterError::InvalidSettings(error)) => Err(wrong_setting(error)),
            Err(wit::FormatterError::Other(reason)) => Err(refused(&self.loaded, NEXT, reason)),
        }
    }
}

fn description(given: wit::Description) -> Result<FormatterDescription, FieldError> {
    bounded("summary", &given.summary)?;
    let settings = inputs("settings", given.settings)?;
    for (index, setting) in settings.iter().enumerate().filter(|(_, setting)| setting.secret) {
        let field = |name: &str| format!("settings[{index}].{name}");
        if setting.value_type != ValueType::Text {
            let found = format!("{:?}", setting.value_type);
            return Err(FieldError::new(field("value-type"), found, "text, as every secret is"));
        }
        if setting.default.is_some() || !setting.choices.is_empty() {
            return Err(FieldError::new(
                field("default"),
                "given",
                "neither a default nor choices of a secret",
            ));
        }
    }
    Ok(FormatterDescription { summary: given.summary, settings })
}
