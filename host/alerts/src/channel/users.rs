//! Who names a channel: the monitors and routes that would tell it. And which channels name a secret.

use std::fmt;

use bellwether_kernel::OrganisationId;
use bellwether_store::{Direction, Walk, decode};
use serde::Deserialize;

use super::{Channel, ChannelRow, ChannelSpec};
use crate::delivery::{Deliveries, NO_MAIL_SERVER, keys};
use crate::rows::{self, MonitorRow};
use crate::{AlertError, Outgoing, RoleKind, Routes, Settings, Step, limits};

/// Monitors that are named; the rest are counted.
const NAMED: usize = 20;

/// Who names a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Users {
    /// The first of the monitors, in the order they were made.
    monitors: Vec<String>,
    /// Monitors beyond those.
    more: usize,
    /// Routing tables by their names, and rules by their places.
    routes: Vec<String>,
}

impl Users {
    pub(crate) fn is_empty(&self) -> bool {
        self.monitors.is_empty() && self.routes.is_empty()
    }
}

/// `monitors cpu, disk and 3 more, and routing table countries, rules[2]`.
impl fmt::Display for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [first, rest @ ..] = &self.monitors[..] {
            let word = if rest.is_empty() { "the monitor" } else { "the monitors" };
            write!(f, "{word} {first}")?;
            rest.iter().try_for_each(|name| write!(f, ", {name}"))?;
            if self.more > 0 {
                write!(f, " and {} more", self.more)?;
            }
        }
        if !self.monitors.is_empty() && !self.routes.is_empty() {
            write!(f, ", and by ")?;
        }
        match self.routes.is_empty() {
            true => Ok(()),
            false => write!(f, "the routes {}", self.routes.join(", ")),
        }
    }
}

/// What is read of a monitor's document.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    channels: Vec<String>,
}

impl Deliveries {
    /// Who names a channel, paused or not.
    pub(super) async fn users(
        &self,
        organisation: OrganisationId,
        channel: &str,
    ) -> Result<Users, AlertError> {
        let mut users = Users::default();
        let quoted = format!("\"{channel}\"");
        let mut monitors = Walk::forward(&*self.store, rows::monitors(organisation).prefix());
        while let Some((_, row)) = monitors.next().await? {
            let row: MonitorRow = decode(&row)?;
            // Most documents need not be read for it.
            let names = row.document.contains(&quoted)
                && serde_json::from_str::<Named>(&row.document)
                    .is_ok_and(|named| named.channels.iter().any(|name| name == channel));
            match names {
                true if users.monitors.len() < NAMED => users.monitors.push(row.name),
                true => users.more += 1,
                false => {}
            }
        }
        let (store, access, clock) = (self.store.clone(), self.access.clone(), self.clock.clone());
        users.routes = Routes::new(store, access, clock).naming(organisation, channel).await?;
        Ok(users)
    }

    /// The names of the channels whose settings name a secret.
    ///
    /// # Errors
    /// The store's.
    pub async fn channels_naming_secret(
        &self,
        organisation: OrganisationId,
        secret: &str,
    ) -> Result<Vec<String>, AlertError> {
        let mut naming = Vec::new();
        let range = keys::channels(organisation).prefix();
        for (key, row) in self.store.scan(range, Direction::Forward, limits::CHANNELS).await? {
            let channel = decode::<ChannelRow>(&row)?.channel(&keys::name_of(&key)?)?;
            // Of a formatter that is not called it is not known which settings are secrets: it may be this one.
            let names = |setting: &str| match self.formatter(organisation, &channel.spec.formatter) {
                Some(formatter) => {
                    let inputs = &formatter.description().settings;
                    inputs.iter().any(|input| input.secret && input.name == setting)
                }
                None => true,
            };
            let mut settings = channel.spec.settings.iter();
            if settings.any(|(setting, value)| value.as_str() == Some(secret) && names(setting)) {
                naming.push(channel.name);
            }
        }
        Ok(naming)
    }

    /// Why a channel cannot be told anything as things are, whatever its receiver does: a secret it names is not there, its
    /// formatter is not called, or it sends e-mail and the host has no mail server.
    ///
    /// # Errors
    /// The store's.
    pub async fn channel_problem(
        &self,
        organisation: OrganisationId,
        channel: &Channel,
    ) -> Result<Option<String>, AlertError> {
        let ChannelSpec { formatter: name, settings, .. } = &channel.spec;
        let Some(formatter) = self.formatter(organisation, name) else {
            return Ok(Some(self.roles.not_called(organisation, name, RoleKind::Formatter).to_string()));
        };
        let settings = match Settings::read(&formatter.description().settings, settings) {
            Ok(settings) => settings,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let mut missing = Vec::new();
        // Only the formatter knows what it sends, and is asked only where that matters.
        if self.mail.is_none()
            && let Ok(Step::Send { outgoing: Outgoing::Email(_), .. }) =
                self.first_step(&*formatter, &settings).await
        {
            missing.push(NO_MAIL_SERVER.to_owned());
        }
        for (setting, (kept, secret)) in &self.secrets(organisation, &settings).await?.0 {
            if secret.is_none() {
                missing.push(format!("there is no secret {kept:?}, which its setting {setting} names"));
            }
        }
        Ok((!missing.is_empty()).then(|| missing.join("; ")))
    }
}
