//! Changes of an organisation's data that its audit log tells of. What they are called lies here, below the host's own
//! API and the plugins that speak others, so that a change is told alike whichever it came by.

use bellwether_kernel::MetricId;
use bellwether_store::Batch;

use crate::{Access, AuditScope, Principal};

/// A change of data that is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataChange<'a> {
    /// A metric is deleted, with everything written to it.
    DeleteMetric {
        /// What it was called.
        name: &'a str,
        /// Its id.
        id: MetricId,
    },
    /// Series of a metric are deleted, with their samples.
    DeleteSeries {
        /// The metric.
        metric: &'a str,
        /// Which: `*` for all.
        filter: &'a str,
    },
    /// What is known of a tagged metric is set, how long its samples are kept among it.
    DescribeSeries {
        /// The metric.
        metric: &'a str,
        /// Days they are kept; as long as the host keeps them, if not said.
        keep_days: Option<u32>,
        /// From which age in days on they are kept as roll-ups of so many seconds.
        roll_ups: &'a [(u32, u32)],
    },
    /// How long events and logs are kept is set; as long as the host keeps them, if not said.
    SetRetention {
        /// Days of events.
        events_days: Option<u32>,
        /// Days of logs.
        logs_days: Option<u32>,
    },
}

impl DataChange<'_> {
    /// What is done, to what, and what else matters.
    fn entry(&self) -> (&'static str, &str, Vec<(&'static str, String)>) {
        let days =
            |days: Option<u32>| days.map_or_else(|| "the host's".to_owned(), |days: u32| days.to_string());
        match *self {
            Self::DeleteMetric { name, id } => ("metric.delete", name, vec![("id", id.to_string())]),
            Self::DeleteSeries { metric, filter } => {
                ("series.delete", metric, vec![("filter", filter.to_owned())])
            }
            Self::DescribeSeries { metric, keep_days, roll_ups } => {
                let steps: Vec<_> = roll_ups.iter().map(|(after, step)| format!("{after}:{step}")).collect();
                let details = vec![("keep_days", days(keep_days)), ("roll_ups", steps.join(" "))];
                ("series.describe", metric, details)
            }
            Self::SetRetention { events_days, logs_days } => {
                let details = vec![("events_days", days(events_days)), ("logs_days", days(logs_days))];
                ("retention.set", "records", details)
            }
        }
    }
}

impl Access {
    /// The audit entry of a change that `principal` makes, by itself or by way of `plugin`: for the change's commit to
    /// join, so that it is there exactly if what it tells of is.
    #[must_use]
    pub fn data_changed(
        &self,
        principal: &Principal,
        change: &DataChange<'_>,
        plugin: Option<&str>,
    ) -> Batch {
        let (action, target, mut details) = change.entry();
        details.extend(plugin.map(|plugin| ("plugin", plugin.to_owned())));
        let scope = AuditScope::Organisation(principal.organisation);
        let mut batch = Batch::new();
        self.audit(&mut batch, scope, principal.key.as_str(), action, target, &details);
        batch
    }
}
