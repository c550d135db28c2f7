//! The words of the API, each tied to the domain's own by the compiler: a case added there does not compile here
//! until it has a word.

/// An enum of the API that mirrors a domain's, in lower case on the wire.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $domain:path { $($(#[$case_doc:meta])* $case:ident),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum $name { $($(#[$case_doc])* $case,)* }

        impl From<$domain> for $name {
            fn from(word: $domain) -> Self {
                use $domain as Domain;
                match word { $(Domain::$case => Self::$case,)* }
            }
        }

        impl From<$name> for $domain {
            fn from(word: $name) -> Self {
                match word { $($name::$case => Self::$case,)* }
            }
        }
    )*};
}

words! {
    /// Whether an incident goes on.
    IncidentState = bellwether_alerts::IncidentState {
        /// It does.
        Open,
        /// It is over.
        Closed,
    }

    /// How much an incident matters.
    Severity = bellwether_alerts::Severity {
        /// For the record.
        Info,
        /// Some day.
        Low,
        /// Today.
        Medium,
        /// Soon.
        High,
        /// Now.
        Critical,
    }

    /// How the samples of one interval become its one value.
    DataType = bellwether_metrics::DataType {
        /// The sum of the values.
        Sum,
        /// How many samples there were.
        Count,
        /// The smallest value.
        Min,
        /// The largest value.
        Max,
        /// The value of the earliest sample.
        First,
        /// The value of the latest sample.
        Last,
        /// The mean of the values, weighted where samples carry weights.
        Average,
    }

    /// How a metric's values came about.
    MetricKind = bellwether_series::MetricKind {
        /// A measurement at a moment.
        Gauge,
        /// How many happened since the sample before.
        Count,
        /// How many happen a second.
        Rate,
        /// Measurements of many things, to be looked at together.
        Distribution,
    }

    /// How long one value gathers samples.
    Interval = bellwether_metrics::Interval {
        /// Begins on the hour.
        Hourly,
        /// Begins at midnight.
        Daily,
        /// Begins on Monday.
        Weekly,
        /// Begins on the first of the month.
        Monthly,
        /// Begins on the first of January.
        Yearly,
    }

    /// Which of several events or logs come first.
    RecordOrder = bellwether_records::Order {
        /// The latest.
        Newest,
        /// The earliest.
        Oldest,
    }

    /// What an interval without samples answers.
    Fill = bellwether_metrics::Fill {
        /// It is left out.
        Gaps,
        /// 0 for sum and count; null for the others.
        Zero,
        /// The value of the last interval before it that has samples, ahead of the range too.
        Previous,
    }

    /// What a key of an organisation may do; each role may do what those before it may.
    Role = bellwether_access::Role {
        /// Read everything but secrets, keys and the audit log.
        Read,
        /// Also write and delete metrics, series, events and logs; change monitors, mutes and the calendar, work on
        /// incidents; start playbooks.
        Write,
        /// Also channels, routes, secrets, keys, plugins of the organisation, playbooks, settings.
        Admin,
    }

    /// How a playbook is written.
    Format = bellwether_playbooks::Format {
        /// TOML.
        Toml,
        /// JSON.
        Json,
    }

    /// How a run stands.
    RunState = bellwether_playbooks::RunState {
        /// Accepted, not yet begun.
        Queued,
        /// At work.
        Running,
        /// Every step succeeded or was skipped.
        Succeeded,
        /// A step failed.
        Failed,
        /// A host of an earlier version stopped before it ended; nothing ends so any more.
        Interrupted,
        /// Somebody ended it, or a newer run took its place.
        Cancelled,
        /// It took longer than it may.
        TimedOut,
        /// Its playbook ran already, and its policy is to skip.
        Skipped,
        /// The key it runs as lost the right to.
        Blocked,
    }

    /// How a delivery stands.
    DeliveryState = bellwether_alerts::DeliveryState {
        /// It is still to be delivered.
        Waiting,
        /// The channel took it.
        Delivered,
        /// It was given up: it can be resent.
        Dead,
        /// A later one told the same and more, while too many waited.
        Folded,
    }

    /// What came of an attempt at a delivery.
    DeliveryOutcome = bellwether_alerts::Outcome {
        /// The channel took it.
        Delivered,
        /// It may succeed later.
        Retry,
        /// It was given up.
        Failed,
        /// The channel is no more.
        Gone,
    }

    /// What is told of an incident.
    IncidentEvent = bellwether_alerts::Event {
        /// It began.
        Opened,
        /// It changed.
        Updated,
        /// It is over.
        Closed,
        /// Somebody tries the channel.
        Test,
    }

    /// How a step stands.
    StepState = bellwether_playbooks::StepState {
        /// It gave its outputs.
        Succeeded,
        /// It did not.
        Failed,
        /// Its condition did not hold; its outputs are `null`.
        Skipped,
        /// It waits for its time, or for its next attempt.
        Waiting,
        /// It was cut off when its run was cancelled or ran out of time.
        Cancelled,
    }

    /// What a step does.
    StepKind = bellwether_playbooks::StepKind {
        /// Calls an app.
        App,
        /// Runs a playbook.
        Playbook,
        /// Waits.
        Delay,
        /// Ends the run.
        Stop,
    }

    /// A kind of trigger.
    TriggerKind = bellwether_playbooks::TriggerKind {
        /// A request to the playbook's own URL.
        Webhook,
        /// The calendar.
        Cron,
        /// The same interval again and again.
        Every,
        /// A write to a metric.
        Metric,
        /// A call of the API or the command line.
        Manual,
        /// A step of another playbook.
        Playbook,
        /// Something an incident did.
        Alert,
    }

    /// How much a log line matters.
    LogLevel = bellwether_playbooks::LogLevel {
        /// For the author.
        Debug,
        /// Usual.
        Info,
        /// Odd.
        Warn,
        /// Wrong.
        Error,
    }
}
