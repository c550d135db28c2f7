//! Channels: where incidents are told, by which formatter, and how patiently.

mod service;
mod users;

use bellwether_access::{Destination, Secret};
use bellwether_kernel::{FieldError, Timestamp};
use bellwether_store::Versioned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::Settings;
use crate::limits;
use crate::sending::Secrets;

/// What a channel is set to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelSpec {
    /// What it is for, in a line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The name of the plugin that is its formatter.
    pub formatter: String,
    /// What the formatter is set to, as it declares; a secret setting is the name of a secret of the organisation.
    #[serde(default)]
    pub settings: Map<String, Json>,
    /// Where its requests may go. Left out, where its settings that are URLs lead.
    #[serde(default)]
    pub hosts: Vec<Destination>,
    /// How fast.
    #[serde(default)]
    pub rate: Rate,
    /// How patiently.
    #[serde(default)]
    pub retry: RetryPolicy,
}

/// How many requests a channel is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rate {
    /// In the long run, 1 to 60,000.
    pub per_minute: u32,
    /// At once, after a pause: 1 to 10,000.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_minute: 600, burst: 60 }
    }
}

/// When a delivery that does not succeed is given up: at whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Seconds from its first attempt on, up to 30 days.
    pub max_age_seconds: u64,
    /// Attempts, 1 to 10,000.
    pub attempts: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        // A day of attempts ten minutes apart, and those before them that are closer.
        Self { max_age_seconds: 86_400, attempts: 200 }
    }
}

/// Whether a channel is told anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum ChannelState {
    /// It is.
    Active,
    /// Somebody holds it back: what is to be delivered waits.
    Paused {
        /// Since when.
        since: Timestamp,
        /// Why, if that was said.
        reason: String,
    },
    /// It is no more: what is to be delivered becomes a dead letter, until it is resumed.
    Disabled {
        /// Since when.
        since: Timestamp,
        /// What it said.
        reason: String,
    },
}

/// A channel of an organisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// 1 to 32 characters of `a-z0-9_-`, unique in the organisation.
    pub name: String,
    /// Counts its changes, from 1.
    pub version: u32,
    /// What it is set to.
    pub spec: ChannelSpec,
    /// Whether it is told anything.
    pub state: ChannelState,
    /// When it was first put.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// A channel as it is stored; organisation and name are in its key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChannelRow {
    pub(crate) version: u32,
    /// The specification as JSON: settings are of any shape.
    spec: String,
    state: StoredState,
    pub(crate) created: Timestamp,
    updated: Timestamp,
}

impl Versioned for ChannelRow {
    const NAME: &'static str = "channel";
}

/// The state as it is stored: this form has no tagged enums.
#[derive(Debug, Serialize, Deserialize)]
enum StoredState {
    Active,
    Paused(Timestamp, String),
    Disabled(Timestamp, String),
}

impl ChannelRow {
    pub(crate) fn of(channel: &Channel) -> Self {
        Self {
            version: channel.version,
            spec: serde_json::to_string(&channel.spec).expect("a specification is plain data"),
            state: match channel.state.clone() {
                ChannelState::Active => StoredState::Active,
                ChannelState::Paused { since, reason } => StoredState::Paused(since, reason),
                ChannelState::Disabled { since, reason } => StoredState::Disabled(since, reason),
            },
            created: channel.created,
            updated: channel.updated,
        }
    }

    pub(crate) fn channel(self, name: &str) -> Result<Channel, bellwether_store::StoreError> {
        let spec = serde_json::from_str(&self.spec).map_err(|error| {
            bellwether_store::StoreError::Damaged(format!("the channel {name} does not read: {error}"))
        })?;
        let state = match self.state {
            StoredState::Active => ChannelState::Active,
            StoredState::Paused(since, reason) => ChannelState::Paused { since, reason },
            StoredState::Disabled(since, reason) => ChannelState::Disabled { since, reason },
        };
        let Self { version, created, updated, .. } = self;
        Ok(Channel { name: name.to_owned(), version, spec, state, created, updated })
    }
}

/// Refuses a name that can be no channel's: with an incident's id it is part of headers and ids.
pub(crate) fn check_name(field: &str, name: &str) -> Result<(), FieldError> {
    let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if (1..=limits::CHANNEL_NAME).contains(&name.len()) && name.bytes().all(good) {
        return Ok(());
    }
    let expected = format!("1 to {} characters of a-z, 0-9, _ and -", limits::CHANNEL_NAME);
    Err(FieldError::new(field, name, expected))
}

impl ChannelSpec {
    /// What is wrong apart from the formatter's settings.
    fn check(&self) -> Result<(), FieldError> {
        let within =
            |field: &str, number: u64, range: std::ops::RangeInclusive<u64>| match range.contains(&number) {
                true => Ok(()),
                false => {
                    let expected = format!("a number from {} to {}", range.start(), range.end());
                    Err(FieldError::new(field, number, expected))
                }
            };
        within("rate.per_minute", self.rate.per_minute.into(), 1..=60_000)?;
        within("rate.burst", self.rate.burst.into(), 1..=10_000)?;
        within("retry.max_age_seconds", self.retry.max_age_seconds, 1..=30 * 86_400)?;
        within("retry.attempts", self.retry.attempts.into(), 1..=10_000)?;
        within("hosts", self.hosts.len() as u64, 0..=limits::CHANNEL_HOSTS as u64)?;
        within("description", self.description.len() as u64, 0..=1_000)
            .map_err(|_| FieldError::new("description", &self.description, "at most 1000 bytes"))?;
        let size = serde_json::to_vec(self).map_or(usize::MAX, |json| json.len());
        if size > limits::CHANNEL {
            let expected = format!("settings that take at most {} bytes", limits::CHANNEL);
            return Err(FieldError::new("settings", format!("{size} bytes"), expected));
        }
        Ok(())
    }

    /// Where its settings that are URLs lead, for one that names no hosts: of a URL that is a secret the hosts this may be sent
    /// to. Without such a setting, as where the formatter makes the URL itself, the hosts its secrets may be sent to. An
    /// e-mail's formatter has none.
    fn hosts_of(settings: &Settings, secrets: &Secrets) -> Vec<Destination> {
        let is_url = |text: &str| text.starts_with("https://") || text.starts_with("http://");
        let kept = || secrets.0.values().filter_map(|(_, secret)| secret.as_ref());
        let bound =
            |secret: &Secret| secret.hosts.iter().filter_map(|host| host.parse().ok()).collect::<Vec<_>>();
        let texts = settings.values().iter().filter_map(|(name, value)| match value {
            bellwether_kernel::value::Value::Text(text)
                if settings.secrets().iter().all(|(secret, _)| secret != name) =>
            {
                Some(text)
            }
            _ => None,
        });
        let mut hosts: Vec<Destination> = texts
            .filter(|text| is_url(text))
            .filter_map(|text| url::Url::parse(text).ok()?.origin().ascii_serialization().parse().ok())
            .collect();
        hosts.extend(kept().filter(|secret| is_url(secret.value.expose())).flat_map(bound));
        if hosts.is_empty() {
            hosts.extend(kept().flat_map(bound));
        }
        hosts.sort();
        hosts.dedup();
        hosts
    }
}

#[cfg(test)]
mod tests {
    use bellwether_kernel::value::{Input, ValueType};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn hosts_that_are_left_out_are_those_its_urls_lead_to_and_of_a_secret_url_those_it_is_bound_to() {
        let input = |name: &str, secret| Input { secret, ..Input::new(name, ValueType::Text) };
        let declared = [input("url", true), input("key", true), input("api_url", false)];
        let mut secrets =
            crate::sending::tests::secrets(&[("url", "https://hooks.example/T0"), ("key", "hush")]).await;
        for (setting, hosts) in
            [("url", &["https://hooks.example"][..]), ("key", &["https://a.example", "https://b.example"])]
        {
            let (_, secret) = secrets.0.get_mut(setting).unwrap();
            secret.as_mut().unwrap().hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        }
        for (given, expected) in [
            (json!({"url": "hook"}), &["https://hooks.example"][..]),
            (json!({"url": "hook", "key": "token"}), &["https://hooks.example"]),
            (json!({"key": "token", "api_url": "https://api.example/v1"}), &["https://api.example"]),
            (
                json!({"url": "hook", "api_url": "https://api.example/v1"}),
                &["https://api.example", "https://hooks.example"],
            ),
            (json!({"key": "token"}), &["https://a.example", "https://b.example"]),
            (json!({}), &[]),
        ] {
            let settings = Settings::read(&declared, given.as_object().unwrap()).unwrap();
            let named = |setting: &String| settings.secrets().iter().any(|(name, _)| name == setting);
            let known = secrets.0.iter().filter(|(setting, _)| named(setting));
            let known = Secrets(known.map(|(setting, kept)| (setting.clone(), kept.clone())).collect());
            let hosts: Vec<String> =
                ChannelSpec::hosts_of(&settings, &known).iter().map(ToString::to_string).collect();
            assert_eq!(hosts, expected, "{given}");
        }
    }
}
