//! Which channels an incident goes to, beyond those its monitor names: rules that match labels, severity and monitors, and
//! tables by a tag's value. Asked once, when an incident opens: its channels stay the same from then on.

mod service;
mod table;
#[cfg(test)]
mod tests;
mod warnings;

use std::collections::BTreeMap;

use bellwether_kernel::FieldError;
use serde::{Deserialize, Serialize};

use crate::{Severity, channel, limits};

pub use service::{OrganisationRoutes, RouteTable, RouteTableRecord, Routes};
pub use table::InvalidTable;
pub(crate) use warnings::{named, no_channel};

/// Which incidents: those for which everything that is given holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteMatch {
    /// Labels it has, each with the value here; a value that ends in `*` stands for all that begin so.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// It matters at least so much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// One of its alerts is of one of these monitors, by id or name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub monitors: Vec<String>,
}

/// Channels for the incidents that match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteRule {
    /// What it is for, in a line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Which incidents; all, if nothing is given.
    #[serde(default, rename = "match")]
    pub matches: RouteMatch,
    /// Names of channels, at least one.
    pub channels: Vec<String>,
}

/// The rules of an organisation: those that match add their channels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteRules {
    /// In no order that matters.
    #[serde(default)]
    pub rules: Vec<RouteRule>,
}

/// What is asked for an incident that opens.
#[derive(Clone, Copy, Debug)]
pub struct Routed<'a> {
    /// Labels of its alerts.
    pub labels: &'a [(String, String)],
    /// How much it matters.
    pub severity: Severity,
    /// Its alerts' monitors, each by its id and by its name.
    pub monitors: &'a [String],
    /// The tags of each of its series.
    pub tags: &'a [Vec<(String, String)>],
    /// The channels its monitors name.
    pub own: &'a [String],
}

/// Who is told of an incident that opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipients {
    /// Names of channels, each once.
    pub channels: Vec<String>,
    /// Channels that a table or rule names for it and that are not there.
    pub passed_over: Vec<String>,
    /// Whether the channels its monitors name stay only because none of its tables' is there.
    pub fell_back: bool,
}

impl Recipients {
    /// What of it is not as the routes say, in words; `None` if all is.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        if self.passed_over.is_empty() {
            return None;
        }
        let quoted: Vec<String> = self.passed_over.iter().map(|name| format!("{name:?}")).collect();
        let mut why = format!("a route leads to {}, which is not there and passed over", named(&quoted));
        if self.fell_back {
            why.push_str("; the monitor's own channels are told instead");
        }
        Some(why)
    }
}

impl RouteMatch {
    pub(crate) fn holds(&self, routed: &Routed<'_>) -> bool {
        let label = |(name, value): (&String, &String)| {
            routed.labels.iter().any(|(own, held)| {
                own == name
                    && match value.strip_suffix('*') {
                        Some(beginning) => held.starts_with(beginning),
                        None => held == value,
                    }
            })
        };
        self.labels.iter().all(label)
            && self.severity.is_none_or(|least| routed.severity >= least)
            && (self.monitors.is_empty() || self.monitors.iter().any(|one| routed.monitors.contains(one)))
    }
}

impl RouteRules {
    fn check(&self) -> Result<(), FieldError> {
        if self.rules.len() > limits::ROUTE_RULES {
            let expected = format!("at most {}", limits::ROUTE_RULES);
            return Err(FieldError::new("rules", self.rules.len(), expected));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            check_channels(&format!("rules[{index}].channels"), &rule.channels)?;
        }
        Ok(())
    }
}

/// Names that can be channels', at least one.
fn check_channels(field: &str, names: &[String]) -> Result<(), FieldError> {
    if !(1..=limits::TELLING_CHANNELS).contains(&names.len()) {
        let expected = format!("1 to {} names of channels", limits::TELLING_CHANNELS);
        return Err(FieldError::new(field, names.len(), expected));
    }
    names.iter().enumerate().try_for_each(|(at, name)| channel::check_name(&format!("{field}[{at}]"), name))
}
