//! Privileges a plugin requests by importing an interface, and grants that give them within a scope.
//!
//! As JSON a grant is an object: `{"interface": "metrics-write", "metrics": ["web.*"]}`,
//! `{"interface": "http-client", "hosts": ["GET+POST https://api.example.com"]}`,
//! `{"interface": "records-write", "kinds": ["logs"]}`, `{"interface": "state", "quota": 10485760}`, `{"interface": "log"}`. On the command line it is
//! `metrics-write=web.*,api.*`, `http-client=GET+POST https://api.example.com`, `records-write=logs`, `state=20MiB`,
//! `state`, `log`.

use std::fmt;
use std::str::FromStr;

use bellwether_access::Destination;
use bellwether_metrics::{NamePattern, split_at_commas};
use bellwether_records::RecordKind;
use serde::{Deserialize, Serialize};

use crate::limits;

/// What importing one of the host's interfaces asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Privilege {
    /// Writing lines for the operator.
    Log,
    /// Telling the time.
    Clock,
    /// Random bytes.
    Random,
    /// Reading metrics.
    MetricsRead,
    /// Creating, feeding and deleting metrics.
    MetricsWrite,
    /// Reading tagged series.
    SeriesRead,
    /// Writing and deleting tagged series.
    SeriesWrite,
    /// Searching events and logs.
    RecordsRead,
    /// Appending events and logs.
    RecordsWrite,
    /// Reading monitors and incidents.
    AlertsRead,
    /// Making monitors, and working on their incidents.
    AlertsWrite,
    /// A small store of its own.
    State,
    /// Requests to the outside.
    HttpClient,
}

impl Privilege {
    /// Every one there is.
    pub const ALL: [Self; 13] = [
        Self::Log,
        Self::Clock,
        Self::Random,
        Self::MetricsRead,
        Self::MetricsWrite,
        Self::SeriesRead,
        Self::SeriesWrite,
        Self::RecordsRead,
        Self::RecordsWrite,
        Self::AlertsRead,
        Self::AlertsWrite,
        Self::State,
        Self::HttpClient,
    ];

    /// The interface's name in the package `bellwether:host`.
    #[must_use]
    pub fn interface(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Clock => "clock",
            Self::Random => "random",
            Self::MetricsRead => "metrics-read",
            Self::MetricsWrite => "metrics-write",
            Self::SeriesRead => "series-read",
            Self::SeriesWrite => "series-write",
            Self::RecordsRead => "records-read",
            Self::RecordsWrite => "records-write",
            Self::AlertsRead => "alerts-read",
            Self::AlertsWrite => "alerts-write",
            Self::State => "state",
            Self::HttpClient => "http-client",
        }
    }

    /// What it lets a plugin do, for whoever reviews the request.
    #[must_use]
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Log => "write lines to the log of its calls",
            Self::Clock => "tell the time",
            Self::Random => "draw random bytes",
            Self::MetricsRead => "read the metrics of the caller's organisation",
            Self::MetricsWrite => "create, feed and delete metrics of the caller's organisation",
            Self::SeriesRead => "read tagged series of the caller's organisation",
            Self::SeriesWrite => "write and delete tagged series of the caller's organisation",
            Self::RecordsRead => "search events or logs of the caller's organisation",
            Self::RecordsWrite => "append events or logs of the caller's organisation",
            Self::AlertsRead => "read the monitors, incidents and mutes of the caller's organisation",
            Self::AlertsWrite => {
                "make, change and delete monitors and mutes of the caller's organisation, and work on its incidents"
            }
            Self::State => "keep a small store of its own, apart for every organisation",
            Self::HttpClient => "send requests to other hosts",
        }
    }

    /// What its grant is limited by.
    #[must_use]
    pub fn scope(self) -> ScopeKind {
        match self {
            Self::Log | Self::Clock | Self::Random => ScopeKind::None,
            Self::MetricsRead | Self::MetricsWrite | Self::SeriesRead | Self::SeriesWrite => {
                ScopeKind::Metrics
            }
            Self::RecordsRead | Self::RecordsWrite => ScopeKind::Kinds,
            Self::AlertsRead | Self::AlertsWrite => ScopeKind::Monitors,
            Self::State => ScopeKind::Quota,
            Self::HttpClient => ScopeKind::Hosts,
        }
    }

    /// A grant of it as one would write it on the command line.
    #[must_use]
    pub fn example(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Clock => "clock",
            Self::Random => "random",
            Self::MetricsRead => "metrics-read=web.*",
            Self::MetricsWrite => "metrics-write=web.*",
            Self::SeriesRead => "series-read=web.*",
            Self::SeriesWrite => "series-write=web.*",
            Self::RecordsRead => "records-read=events,logs",
            Self::RecordsWrite => "records-write=events,logs",
            Self::AlertsRead => "alerts-read=checkout-*",
            Self::AlertsWrite => "alerts-write=checkout-*",
            Self::State => "state=10MiB",
            Self::HttpClient => "http-client=https://api.example.com",
        }
    }
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.interface())
    }
}

/// What a grant is limited by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopeKind {
    /// Nothing: it is given or not.
    None,
    /// Patterns over metric names.
    Metrics,
    /// Events, logs, or both.
    Kinds,
    /// Patterns over monitors' names.
    Monitors,
    /// Bytes.
    Quota,
    /// Methods, schemes, hosts and ports.
    Hosts,
}

/// A privilege, given within a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "interface", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Grant {
    /// Log lines.
    Log {},
    /// The time.
    Clock {},
    /// Random bytes.
    Random {},
    /// Reading metrics.
    MetricsRead {
        /// Those whose name matches one of these; at least one.
        metrics: Vec<NamePattern>,
    },
    /// Creating, feeding and deleting metrics.
    MetricsWrite {
        /// Those whose name matches one of these; at least one.
        metrics: Vec<NamePattern>,
    },
    /// Reading tagged series.
    SeriesRead {
        /// Of metrics whose name matches one of these; at least one.
        metrics: Vec<NamePattern>,
    },
    /// Writing and deleting tagged series.
    SeriesWrite {
        /// Of metrics whose name matches one of these; at least one.
        metrics: Vec<NamePattern>,
    },
    /// Searching events and logs.
    RecordsRead {
        /// Which of them; at least one.
        kinds: Vec<RecordKind>,
    },
    /// Appending events and logs.
    RecordsWrite {
        /// Which of them; at least one.
        kinds: Vec<RecordKind>,
    },
    /// Reading monitors and incidents.
    AlertsRead {
        /// Of monitors whose name matches one of these; at least one.
        monitors: Vec<NamePattern>,
    },
    /// Making monitors, and working on their incidents.
    AlertsWrite {
        /// Of monitors whose name matches one of these; at least one.
        monitors: Vec<NamePattern>,
    },
    /// A store of its own.
    State {
        /// Bytes of keys and values in each organisation, at most 1 GiB.
        #[serde(default = "default_quota")]
        quota: u64,
    },
    /// Requests to the outside.
    HttpClient {
        /// Where to and with which methods; none for nowhere, until somebody says where.
        hosts: Vec<Destination>,
    },
}

/// How a grant of no host at all is written.
const NOWHERE: &str = "none";

fn default_quota() -> u64 {
    limits::STATE_QUOTA
}

/// The text or JSON is not a grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the grant {text:?}: {reason}")]
pub struct InvalidGrant {
    /// What was given.
    pub text: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl Grant {
    /// What it gives.
    #[must_use]
    pub fn privilege(&self) -> Privilege {
        match self {
            Self::Log {} => Privilege::Log,
            Self::Clock {} => Privilege::Clock,
            Self::Random {} => Privilege::Random,
            Self::MetricsRead { .. } => Privilege::MetricsRead,
            Self::MetricsWrite { .. } => Privilege::MetricsWrite,
            Self::SeriesRead { .. } => Privilege::SeriesRead,
            Self::SeriesWrite { .. } => Privilege::SeriesWrite,
            Self::RecordsRead { .. } => Privilege::RecordsRead,
            Self::RecordsWrite { .. } => Privilege::RecordsWrite,
            Self::AlertsRead { .. } => Privilege::AlertsRead,
            Self::AlertsWrite { .. } => Privilege::AlertsWrite,
            Self::State { .. } => Privilege::State,
            Self::HttpClient { .. } => Privilege::HttpClient,
        }
    }

    /// Whether its scope is one: a grant from JSON may name no metric, or too large a quota.
    pub(crate) fn check(&self) -> Result<(), InvalidGrant> {
        let reason = match self {
            Self::MetricsRead { metrics }
            | Self::MetricsWrite { metrics }
            | Self::SeriesRead { metrics }
            | Self::SeriesWrite { metrics }
                if metrics.is_empty() =>
            {
                format!("say which metrics, as in {}, or =* for all", self.privilege().example())
            }
            Self::RecordsRead { kinds } | Self::RecordsWrite { kinds } if kinds.is_empty() => {
                format!("say which records, as in {}", self.privilege().example())
            }
            Self::AlertsRead { monitors } | Self::AlertsWrite { monitors } if monitors.is_empty() => {
                format!("say which monitors, as in {}, or =* for all", self.privilege().example())
            }
            Self::State { quota } if *quota > limits::STATE_QUOTA_MAXIMUM => {
                format!(
                    "{quota} bytes are too many, at most {} MiB can be given",
                    limits::STATE_QUOTA_MAXIMUM >> 20
                )
            }
            _ => return Ok(()),
        };
        Err(InvalidGrant { text: self.to_string(), reason })
    }
}

impl FromStr for Grant {
    type Err = InvalidGrant;

    fn from_str(text: &str) -> Result<Self, InvalidGrant> {
        let invalid = |reason: String| InvalidGrant { text: text.to_owned(), reason };
        let (name, scope) = text.split_once('=').map_or((text, None), |(name, scope)| (name, Some(scope)));
        let known = Privilege::ALL.into_iter().find(|privilege| privilege.interface() == name);
        let privilege = known.ok_or_else(|| {
            let names: Vec<_> = Privilege::ALL.map(Privilege::interface).into();
            invalid(format!("there is no privilege {name:?}, expected one of {}", names.join(", ")))
        })?;
        let patterns = |what: &str| {
            let scope = scope.ok_or_else(|| {
                invalid(format!("say which {what}, as in {}, or {name}=* for all", privilege.example()))
            })?;
            split_at_commas(scope)
                .into_iter()
                .map(str::parse)
                .collect::<Result<Vec<NamePattern>, _>>()
                .map_err(|error| invalid(error.to_string()))
        };
        let kinds = || {
            let scope =
                scope.ok_or_else(|| invalid(format!("say which records, as in {}", privilege.example())))?;
            let kinds = scope.split(',').map(str::parse::<RecordKind>).collect::<Result<Vec<_>, _>>();
            kinds.map_err(|error| invalid(error.to_string()))
        };
        let (metrics, monitors) = (|| patterns("metrics"), || patterns("monitors"));
        let grant = match privilege {
            Privilege::Log | Privilege::Clock | Privilege::Random if scope.is_some() => {
                return Err(invalid(format!("{name} has no scope, write just {name}")));
            }
            Privilege::Log => Self::Log {},
            Privilege::Clock => Self::Clock {},
            Privilege::Random => Self::Random {},
            Privilege::MetricsRead => Self::MetricsRead { metrics: metrics()? },
            Privilege::MetricsWrite => Self::MetricsWrite { metrics: metrics()? },
            Privilege::SeriesRead => Self::SeriesRead { metrics: metrics()? },
            Privilege::SeriesWrite => Self::SeriesWrite { metrics: metrics()? },
            Privilege::RecordsRead => Self::RecordsRead { kinds: kinds()? },
            Privilege::RecordsWrite => Self::RecordsWrite { kinds: kinds()? },
            Privilege::AlertsRead => Self::AlertsRead { monitors: monitors()? },
            Privilege::AlertsWrite => Self::AlertsWrite { monitors: monitors()? },
            Privilege::State => {
                let quota = scope.map_or(Some(limits::STATE_QUOTA), bytes);
                Self::State {
                    quota: quota
                        .ok_or_else(|| invalid("expected a number of bytes, as in state=20MiB".to_owned()))?,
                }
            }
            Privilege::HttpClient => {
                let scope = scope.ok_or_else(|| {
                    invalid(format!("say which hosts, as in {}, or {name}={NOWHERE}", privilege.example()))
                })?;
                let hosts: Result<Vec<Destination>, _> = match scope {
                    NOWHERE => Ok(Vec::new()),
                    scope => scope.split(',').map(str::parse).collect(),
                };
                Self::HttpClient { hosts: hosts.map_err(|error| invalid(error.to_string()))? }
            }
        };
        grant.check()?;
        Ok(grant)
    }
}

/// `20MiB`, `512KiB` or a plain number of bytes.
fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match (text.strip_suffix("KiB"), text.strip_suffix("MiB")) {
        (Some(digits), _) => (digits, 10),
        (_, Some(digits)) => (digits, 20),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// As on the command line.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
            for (index, item) in items.iter().enumerate() {
                write!(f, "{}{item}", if index == 0 { "=" } else { "," })?;
            }
            Ok(())
        }
        f.write_str(self.privilege().interface())?;
        match self {
            Self::Log {} | Self::Clock {} | Self::Random {} => Ok(()),
            Self::MetricsRead { metrics }
            | Self::MetricsWrite { metrics }
            | Self::SeriesRead { metrics }
            | Self::SeriesWrite { metrics } => list(f, metrics),
            Self::RecordsRead { kinds } | Self::RecordsWrite { kinds } => {
                let kinds: Vec<&str> = kinds.iter().map(|kind| kind.plural()).collect();
                list(f, &kinds)
            }
            Self::AlertsRead { monitors } | Self::AlertsWrite { monitors } => list(f, monitors),
            Self::State { quota } if quota % (1 << 20) == 0 => write!(f, "={}MiB", quota >> 20),
            Self::State { quota } => write!(f, "={quota}"),
            Self::HttpClient { hosts } if hosts.is_empty() => write!(f, "={NOWHERE}"),
            Self::HttpClient { hosts } => list(f, hosts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_reads_the_same_from_the_command_line_and_from_json() {
        for (text, json) in [
            ("log", r#"{"interface":"log"}"#),
            ("metrics-write=web.*,api.*", r#"{"interface":"metrics-write","metrics":["web.*","api.*"]}"#),
            (r"metrics-read=a\,b", r#"{"interface":"metrics-read","metrics":["a\\,b"]}"#),
            ("series-read=web.*", r#"{"interface":"series-read","metrics":["web.*"]}"#),
            ("records-read=logs", r#"{"interface":"records-read","kinds":["logs"]}"#),
            ("records-write=events,logs", r#"{"interface":"records-write","kinds":["events","logs"]}"#),
            ("alerts-read=checkout-*", r#"{"interface":"alerts-read","monitors":["checkout-*"]}"#),
            ("alerts-write=*", r#"{"interface":"alerts-write","monitors":["*"]}"#),
            ("state=20MiB", r#"{"interface":"state","quota":20971520}"#),
            ("http-client=none", r#"{"interface":"http-client","hosts":[]}"#),
            (
                "http-client=https://api.github.com,http://10.0.0.7:81",
                r#"{"interface":"http-client","hosts":["https://api.github.com","http://10.0.0.7:81"]}"#,
            ),
            (
                "http-client=GET+POST https://api.github.com,https://*:8443",
                r#"{"interface":"http-client","hosts":["GET+POST https://api.github.com","https://*:8443"]}"#,
            ),
        ] {
            let grant: Grant = text.parse().unwrap();
            assert_eq!(grant.to_string(), text);
            assert_eq!(serde_json::to_string(&grant).unwrap(), json);
            assert_eq!(serde_json::from_str::<Grant>(json).unwrap(), grant);
        }
        assert_eq!("state".parse::<Grant>().unwrap(), Grant::State { quota: 10 << 20 });
        assert_eq!("state=100".parse::<Grant>().unwrap().to_string(), "state=100");
    }

    #[test]
    fn every_privilege_s_example_is_a_grant_of_it() {
        for privilege in Privilege::ALL {
            assert_eq!(privilege.example().parse::<Grant>().unwrap().privilege(), privilege);
        }
    }

    #[test]
    fn what_is_not_a_grant_says_what_would_be_right() {
        for (text, hint) in [
            ("metrics", "expected one of log, clock"),
            ("metrics-write", "metrics-write=*"),
            ("alerts-read", "say which monitors, as in alerts-read=checkout-*"),
            ("metrics-write=", "at least one character"),
            ("records-read", "records-read=events,logs"),
            ("records-read=traces", "expected events or logs"),
            ("log=everything", "no scope"),
            ("state=lots", "state=20MiB"),
            ("state=5000MiB", "at most 1024 MiB"),
            ("http-client", "http-client=https://api.example.com"),
            ("http-client=example.com", "is not a destination"),
            ("http-client=GET,POST https://example.com", "GET+POST https://api.example.com"),
        ] {
            let error = text.parse::<Grant>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
        for json in
            [r#"{"interface":"log","scope":1}"#, r#"{"interface":"metrics-read"}"#, r#"{"interface":"x"}"#]
        {
            assert!(serde_json::from_str::<Grant>(json).is_err(), "{json}");
        }
    }
}
