//! What a plugin may use where it is other than the host's defaults: what an installer sets and the settings give.

use std::time::Duration;

use bellwether_engine::limits as engine;
use bellwether_kernel::FieldError;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::{Limits, Owner};

/// Limits of one plugin's calls; what is not set is as the host has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitOverrides {
    /// How long a call may take, waiting included, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_milliseconds: Option<u64>,
    /// How long a call may compute, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processor_milliseconds: Option<u64>,
    /// Memory a call may hold, all its memories and tables together, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Entries a call's tables may have together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_entries: Option<u64>,
    /// How often a call may call the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_calls: Option<u64>,
    /// Bytes a call may hand to the host in all its host calls together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_call_bytes: Option<u64>,
    /// Bytes a call may hand to the host at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer_bytes: Option<u64>,
    /// Bytes a call may answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Lines a call may log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_lines: Option<u64>,
    /// Bytes a call may log in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
    /// Calls of the plugin at once; more wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_calls: Option<u64>,
    /// Bytes of state the plugin may have in one organisation; the grant may give less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_quota_bytes: Option<u64>,
}

impl LimitOverrides {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What holds of these for a plugin of `owner`: an organisation's never has more than the host allows, also where it
    /// was set while the host allowed more.
    pub(crate) fn of(&self, owner: Owner, host: &Limits) -> Self {
        if owner == Owner::Host {
            return *self;
        }
        let most = host.shown();
        let least =
            |set: Option<u64>, most: Option<u64>| set.map(|set| most.map_or(set, |most| set.min(most)));
        Self {
            call_milliseconds: least(self.call_milliseconds, most.call_milliseconds),
            processor_milliseconds: least(self.processor_milliseconds, most.processor_milliseconds),
            memory_bytes: least(self.memory_bytes, most.memory_bytes),
            table_entries: least(self.table_entries, most.table_entries),
            host_calls: least(self.host_calls, most.host_calls),
            host_call_bytes: least(self.host_call_bytes, most.host_call_bytes),
            transfer_bytes: least(self.transfer_bytes, most.transfer_bytes),
            output_bytes: least(self.output_bytes, most.output_bytes),
            log_lines: least(self.log_lines, most.log_lines),
            log_bytes: least(self.log_bytes, most.log_bytes),
            concurrent_calls: least(self.concurrent_calls, most.concurrent_calls),
            state_quota_bytes: least(self.state_quota_bytes, most.state_quota_bytes),
        }
    }

    /// Whether each limit that is set can be held.
    ///
    /// # Errors
    /// The first that cannot, with its name, its value, and what would be right.
    pub fn check(&self) -> Result<(), FieldError> {
        self.check_as(str::to_owned).into_iter().next().map_or(Ok(()), Err)
    }

    /// Everything that is wrong, each field called what `name` makes of it.
    pub fn check_as(&self, name: impl Fn(&str) -> String) -> Vec<FieldError> {
        let wall = milliseconds(engine::WALL_CEILING);
        let transfer = engine::TRANSFER_CEILING as u64;
        let all = [
            ("call_milliseconds", self.call_milliseconds, 1, wall),
            ("processor_milliseconds", self.processor_milliseconds, 1, wall),
            ("memory_bytes", self.memory_bytes, PAGE, engine::MEMORY_CEILING as u64),
            ("table_entries", self.table_entries, 0, engine::TABLE_ENTRIES as u64),
            ("host_calls", self.host_calls, 0, u64::MAX),
            ("host_call_bytes", self.host_call_bytes, 0, u64::MAX),
            ("transfer_bytes", self.transfer_bytes, 1, transfer),
            ("output_bytes", self.output_bytes, 1, transfer),
            ("log_lines", self.log_lines, 0, limits::LOG_LINES_MAXIMUM),
            ("log_bytes", self.log_bytes, 0, limits::LOG_BYTES_MAXIMUM),
            ("concurrent_calls", self.concurrent_calls, 1, u64::from(u32::MAX)),
            ("state_quota_bytes", self.state_quota_bytes, 0, limits::STATE_QUOTA_MAXIMUM),
        ];
        let wrong = all.into_iter().filter_map(|(field, value, least, most)| {
            let value = value.filter(|value| !(least..=most).contains(value))?;
            let expected = match most {
                u64::MAX => format!("at least {least}"),
                _ => format!("a number from {least} to {most}"),
            };
            Some(FieldError::new(name(field), value, expected))
        });
        wrong.collect()
    }
}

/// Bytes of a page of memory: less no component can begin with.
const PAGE: u64 = 64 << 10;

impl Limits {
    /// These limits with what `overrides` sets in their place.
    #[must_use]
    pub fn with(mut self, overrides: &LimitOverrides) -> Self {
        let set = |limit: &mut usize, value: Option<u64>| {
            if let Some(value) = value {
                *limit = usize::try_from(value).unwrap_or(usize::MAX);
            }
        };
        let call = &mut self.call;
        call.wall = overrides.call_milliseconds.map_or(call.wall, Duration::from_millis);
        call.processor = overrides.processor_milliseconds.map_or(call.processor, Duration::from_millis);
        set(&mut call.memory, overrides.memory_bytes);
        set(&mut call.table_entries, overrides.table_entries);
        call.host_calls = overrides.host_calls.unwrap_or(call.host_calls);
        call.host_bytes = overrides.host_call_bytes.unwrap_or(call.host_bytes);
        set(&mut call.transfer, overrides.transfer_bytes);
        set(&mut self.output, overrides.output_bytes);
        set(&mut self.log_lines, overrides.log_lines);
        set(&mut self.log_bytes, overrides.log_bytes);
        if let Some(calls) = overrides.concurrent_calls {
            self.concurrent_calls = u32::try_from(calls).unwrap_or(u32::MAX);
        }
        self.state_quota = overrides.state_quota_bytes.unwrap_or(self.state_quota);
        self
    }

    /// These limits as they are set: every one of them.
    #[must_use]
    pub fn shown(&self) -> LimitOverrides {
        let call = &self.call;
        LimitOverrides {
            call_milliseconds: Some(milliseconds(call.wall)),
            processor_milliseconds: Some(milliseconds(call.processor)),
            memory_bytes: Some(call.memory as u64),
            table_entries: Some(call.table_entries as u64),
            host_calls: Some(call.host_calls),
            host_call_bytes: Some(call.host_bytes),
            transfer_bytes: Some(call.transfer as u64),
            output_bytes: Some(self.output as u64),
            log_lines: Some(self.log_lines as u64),
            log_bytes: Some(self.log_bytes as u64),
            concurrent_calls: Some(u64::from(self.concurrent_calls)),
            state_quota_bytes: Some(self.state_quota),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use bellwether_kernel::OrganisationId;

    use super::*;

    #[test]
    fn what_is_set_takes_the_place_of_the_default_and_nothing_else_does() {
        let defaults = Limits::default();
        assert_eq!(defaults.with(&LimitOverrides::default()), defaults);
        let overrides =
            LimitOverrides { memory_bytes: Some(1 << 20), log_lines: Some(0), ..Default::default() };
        let limits = defaults.with(&overrides);
        assert_eq!((limits.call.memory, limits.log_lines), (1 << 20, 0));
        assert_eq!(limits.call.wall, defaults.call.wall);
        assert_eq!(Limits::default().with(&limits.shown()), limits, "what is shown is what holds");
    }

    #[test]
    fn an_organisations_plugin_keeps_no_limit_above_the_hosts() {
        let overrides = LimitOverrides {
            memory_bytes: Some(8 << 20),
            call_milliseconds: Some(1_000),
            log_lines: Some(5),
            ..Default::default()
        };
        let mut host = Limits::default();
        host.call.memory = 1 << 20;
        host.call.wall = Duration::from_millis(100);
        assert_eq!(overrides.of(Owner::Host, &host), overrides, "the operator may allow a plugin more");
        let own = overrides.of(Owner::Organisation(OrganisationId(1)), &host);
        let expected = LimitOverrides {
            memory_bytes: Some(1 << 20),
            call_milliseconds: Some(100),
            log_lines: Some(5),
            ..Default::default()
        };
        assert_eq!(own, expected);
    }

    #[test]
    fn the_defaults_can_be_held() {
        assert_eq!(Limits::default().shown().check(), Ok(()));
    }

    #[test]
    fn what_cannot_be_held_is_refused_by_name_value_and_what_would_be_right() {
        let told = |overrides: LimitOverrides| overrides.check().unwrap_err().to_string();
        let overrides = LimitOverrides { memory_bytes: Some(1), ..Default::default() };
        assert!(told(overrides).starts_with("memory_bytes is \"1\", expected a number from 65536 to "));
        let overrides = LimitOverrides { call_milliseconds: Some(0), ..Default::default() };
        assert_eq!(told(overrides), "call_milliseconds is \"0\", expected a number from 1 to 600000");
        let all = LimitOverrides { output_bytes: Some(0), concurrent_calls: Some(0), ..Default::default() };
        assert_eq!(all.check_as(|name| format!("limits.{name}")).len(), 2);
    }

    #[test]
    fn a_limit_nobody_knows_is_refused() {
        assert!(serde_json::from_str::<LimitOverrides>(r#"{"memory": 1}"#).is_err());
        let read: LimitOverrides = serde_json::from_str(r#"{"memory_bytes": 1}"#).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"{"memory_bytes":1}"#);
    }
}
