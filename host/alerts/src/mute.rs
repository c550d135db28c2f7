//! Mutes: who is not told of what, and until when. A mute with a start to come is a downtime.

use std::collections::BTreeMap;
use std::fmt;

use bellwether_kernel::{FieldError, Timestamp};
use bellwether_store::Versioned;
use serde::{Deserialize, Serialize};

use crate::{AlertError, limits};

/// A mute, counted from 1 within its organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MuteId(pub u64);

impl fmt::Display for MuteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a mute is about: a series must have all of it. A scope that says nothing is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// Names of monitors; any of them.
    pub monitors: Vec<String>,
    /// Labels of the monitor.
    pub labels: BTreeMap<String, String>,
    /// Tags of the series, among those its monitor groups by.
    pub tags: BTreeMap<String, String>,
}

/// What is asked for with a new mute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMute {
    /// What it is about.
    pub scope: Scope,
    /// Whether it is about everything: to be said, where the scope says nothing.
    pub everything: bool,
    /// From when on; from now on if it is not said.
    pub start: Option<Timestamp>,
    /// Until when; until it is deleted if it is not said.
    pub end: Option<Timestamp>,
    /// Whether it has no end: to be said of one of everything.
    pub until_deleted: bool,
    /// Why.
    pub reason: String,
}

/// A mute as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mute {
    /// Its id.
    pub id: MuteId,
    /// What it is about.
    pub scope: Scope,
    /// From when on.
    pub start: Timestamp,
    /// Until when.
    pub end: Option<Timestamp>,
    /// Why.
    pub reason: String,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it.
    pub created_by: String,
}

impl Versioned for Mute {
    const NAME: &'static str = "mute";
}

impl Mute {
    /// Whether it is in force.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.start <= now && self.end.is_none_or(|end| now < end)
    }

    /// Whether it is about a series of a monitor.
    pub(crate) fn covers(
        &self,
        monitor: &str,
        labels: &BTreeMap<String, String>,
        tags: &[(String, String)],
    ) -> bool {
        self.scope.covers_monitor(monitor, labels) && self.scope.covers_series(tags)
    }
}

impl Scope {
    /// Whether it says nothing, and so is everything.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.monitors.is_empty() && self.labels.is_empty() && self.tags.is_empty()
    }

    /// Whether it is about some of a monitor's series: all of them, where it names no tags.
    #[must_use]
    pub fn covers_monitor(&self, monitor: &str, labels: &BTreeMap<String, String>) -> bool {
        (self.monitors.is_empty() || self.monitors.iter().any(|name| name == monitor))
            && self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    /// Whether, of a monitor it is about, it is about this series.
    pub(crate) fn covers_series(&self, tags: &[(String, String)]) -> bool {
        self.tags.iter().all(|(key, value)| tags.iter().any(|(tag, own)| tag == key && own == value))
    }

    pub(crate) fn check(&self) -> Result<(), FieldError> {
        let Self { monitors, labels, tags } = self;
        let pairs = labels.iter().chain(tags).map(|(key, value)| key.len() + value.len());
        let size: usize = pairs.chain(monitors.iter().map(String::len)).sum();
        if size > limits::SCOPE {
            let expected = format!("at most {} bytes of text", limits::SCOPE);
            return Err(FieldError::new("scope", format!("{size} bytes"), expected));
        }
        Ok(())
    }
}

/// Whether who makes a whole organisation quiet says so: nobody is to be told of nothing by leaving something out.
pub(crate) fn check_said(is_everything: bool, said: bool) -> Result<(), FieldError> {
    match (is_everything, said) {
        (true, false) => {
            let expected = "monitors, labels or tags of what is to be quiet; or `everything` to be true";
            Err(FieldError::new("scope", "nothing", expected))
        }
        (false, true) => {
            let expected = "false beside a scope: either everything is quiet, or what has all of the scope";
            Err(FieldError::new("everything", true, expected))
        }
        _ => Ok(()),
    }
}

impl NewMute {
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), AlertError> {
        let start = self.start.unwrap_or(now);
        if let Some(end) = self.end.filter(|end| *end <= start || *end <= now) {
            return Err(FieldError::new("end", end, "an instant to come, after the start").into());
        }
        if self.reason.chars().count() > limits::TITLE {
            let expected = format!("at most {} characters", limits::TITLE);
            return Err(FieldError::new("reason", &self.reason, expected).into());
        }
        check_said(self.scope.is_everything(), self.everything)?;
        match self.end {
            None if self.everything && !self.until_deleted => {
                let expected = "an instant to come; or `until_deleted` to be true, for a mute of everything without an end";
                return Err(FieldError::new("end", "", expected).into());
            }
            Some(end) if self.until_deleted => {
                let expected =
                    format!("false beside an end, {end}: either it ends then, or when it is deleted");
                return Err(FieldError::new("until_deleted", true, expected).into());
            }
            _ => {}
        }
        self.scope.check()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mute_covers_what_has_all_of_its_scope_while_it_lasts() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let at = |milliseconds| Timestamp::from_milliseconds(milliseconds).unwrap();
        let tags = [("host".to_owned(), "web-1".to_owned())];
        for (monitors, labels, wanted, covers) in [
            (&[][..], map(&[]), map(&[]), true),
            (&["cpu"], map(&[]), map(&[]), true),
            (&["disk", "cpu"], map(&[]), map(&[]), true),
            (&["disk"], map(&[]), map(&[]), false),
            (&[], map(&[("team", "web")]), map(&[("host", "web-1")]), true),
            (&[], map(&[("team", "db")]), map(&[("host", "web-1")]), false),
            (&[], map(&[]), map(&[("host", "web-2")]), false),
            (&[], map(&[]), map(&[("zone", "a")]), false),
        ] {
            let monitors = monitors.iter().map(|name: &&str| (*name).to_owned()).collect();
            let scope = Scope { monitors, labels, tags: wanted };
            let mute = Mute {
                id: MuteId(1),
                scope,
                start: at(10),
                end: Some(at(20)),
                reason: String::new(),
                created: at(0),
                created_by: String::new(),
            };
            assert_eq!(mute.covers("cpu", &map(&[("team", "web")]), &tags), covers, "{:?}", mute.scope);
            let active: Vec<bool> = [9, 10, 19, 20].map(|now| mute.is_active(at(now))).to_vec();
            assert_eq!(active, [false, true, true, false]);
        }
    }
}
