//! What a detector, a forecaster and a formatter may be given and may give, each limit with its unit and reason.

/// Points of one call, of all its series together: four months of minutes, and their verdicts stay within what a call
/// may hand over.
pub const POINTS: usize = 200_000;

/// Aligned series of one call: more is a fleet to be split up, and their state would be more than a call may hand over.
pub const SERIES: usize = 500;

/// Points a forecast may reach ahead: a year of hours.
pub const HORIZON: u32 = 8_784;

/// Bytes of a detector's state for each series: a host keeps a hundred thousand of them.
pub const STATE: usize = 16 << 10;

/// Bytes a formatter keeps for a channel and incident: an id or two and what was said last.
pub const MEMORY: usize = 4 << 10;

/// Steps of one exchange: to look up, to create, to change and to move on, with one to spare for each.
pub const STEPS: usize = 8;

/// How long a test of a channel may take: twice what one request waits for its answer, so that a receiver that never answers
/// is reported as that. A route that tests one waits so long besides its own time.
pub const TRIAL: std::time::Duration = std::time::Duration::from_secs(60);

/// Bytes of one request's parts together, before secrets are filled in: the largest any channel takes is 512 KiB.
pub const REQUEST: usize = 1 << 20;

/// Parts of one text: a text of single characters is not put together, it is an attack.
pub const PARTS: usize = 1_000;

/// Headers of a request.
pub const HEADERS: usize = 50;

/// Signing directives of a request.
pub const SIGNINGS: usize = 4;

/// Bytes of an HTTP answer's body that a formatter is given.
pub const ANSWER: usize = 256 << 10;

/// Recipients of an e-mail, copies included: mail servers take a hundred at least (RFC 5321, section 4.5.3.1.8).
pub const RECIPIENTS: usize = 100;

/// How long recipients a mail server does not take yet are tried again for once others have the e-mail: mail servers that
/// put strangers off (greylisting) ask for half an hour at most. What follows of the incident is not held back meanwhile.
pub const DEFERRED: crate::Period = crate::Period::hours(1);

/// How long a delivery is tried again whose formatter fails at it: within that a canary is rolled back, or somebody who is at
/// hand upgrades the plugin. It is not the receiver that is away, so more patience would only hold back what follows.
pub const FORMATTER_FAILS: crate::Period = crate::Period::minutes(10);

/// Characters of a subject: a header's line may have 998 (RFC 5322, section 2.1.1).
pub const SUBJECT: usize = 900;

/// Affected series of one alert that a notification tells of: the worst; the rest is counted.
pub const AFFECTED: usize = 100;

/// How often a monitor is evaluated at most: data comes no more often, and each evaluation is a commit.
pub const CADENCE: crate::Period = crate::Period::seconds(10);

/// How many times as often as its schedule says a monitor is evaluated at most, for what is written.
pub const HASTE: i64 = 6;

/// How far behind what is kept a host's clock may be and that still be taken for true. Beyond, a clock was ahead that wrote it.
pub const CLOCK_AHEAD: crate::Period = crate::Period::minutes(10);

/// Of a count's window, the share that nobody may have looked at and it still be told what was counted: one part of so many.
/// A restart costs a long window nothing that matters, a short one too much.
pub const UNSEEN: i64 = 10;

/// Steps of one window: a day of minutes. More detail decides nothing and is read each time.
pub const WINDOW_STEPS: i64 = 1_440;

/// Series of one monitor that are looked at: how they all stand is read and written as one value.
pub const MONITOR_SERIES: usize = 10_000;

/// Series of one anomaly monitor: what the detector keeps of each joins the evaluation's commit.
pub const ANOMALY_SERIES: usize = 500;

/// Points a detector is shown of a new series before it judges: the commit waits for it.
pub const HISTORY: i64 = 10_000;

/// How long a detector may take to say whether it takes its settings, while somebody waits who puts a monitor: it is shown no
/// points, so that one that is well does within milliseconds, a first start and a queue included within seconds.
pub const ASKED: std::time::Duration = std::time::Duration::from_secs(10);

/// Bytes of incidents in one commit, all that belongs to them included: with how the monitor's series stand, and one more
/// incident of any size, it is one the store takes, and others' commits do not wait long for it. What is beyond follows at
/// once in commits of its own.
pub const INCIDENTS_AT_ONCE: usize = 4 << 20;

/// How long an evaluation may take before it is committed: a detector that is shown the history of 500 new series takes half
/// of that where it needs a third of a second for each. Beyond, it hangs, or will never keep its times.
pub const EVALUATION: std::time::Duration = std::time::Duration::from_secs(300);

/// How long a monitor whose evaluations take too long is put off at most: they then hold a place for a twelfth of the time,
/// and whoever mends what hangs waits for it no longer than that.
pub const PUT_OFF: crate::Period = crate::Period::hours(1);

/// Monitors of one organisation.
pub const MONITORS: u64 = 100_000;

/// Characters of a title.
pub const TITLE: usize = 200;

/// Characters of a message or comment; with four bytes each, two of them and the rest fit a row.
pub const MESSAGE: usize = 2_000;

/// Channels of one monitor.
pub const MONITOR_CHANNELS: usize = 50;

/// Labels of one monitor.
pub const LABELS: usize = 32;

/// Conditions of one monitor.
pub const CONDITIONS: usize = 16;

/// Bytes of a channel's or label's name.
pub const NAME: usize = 100;

/// Bytes of a label's value.
pub const LABEL: usize = 200;

/// Bytes of a monitor's document: it is one row.
pub const DOCUMENT: usize = 24 << 10;

/// Versions kept of one monitor.
pub const VERSIONS: u32 = 100;

/// Decisions kept of one monitor: the evaluations something came of.
pub const DECISIONS: u64 = 200;

/// Lines of one decision; what is beyond is counted.
pub const DECISION_LINES: usize = 50;

/// Bytes of a decision, as JSON; lines beyond are counted too. With its problem it fits a row.
pub const DECISION: usize = 24 << 10;

/// Bytes of an entry of an incident's trace that the host writes: the names of a hundred channels fit it.
pub const NOTE: usize = 8 << 10;

/// Mutes of one organisation that are in force or to come, and as many that are over: each evaluation looks at all of them.
pub const MUTES: usize = 1_000;

/// Incidents that are told as one: each telling reads all of them.
pub const MERGED: usize = 20;

/// How long an evaluation waits for the events of all that it tells of together, be it told as one or each by itself: twice what
/// those of one may take, so that a thousand keep it no longer than two do. The rest is told without.
pub const EVENTS_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Names a monitor's incidents are merged by.
pub const MERGE_BY: usize = 8;

/// Bytes of the names and values of a scope: with the rest it fits a row.
pub const SCOPE: usize = 8 << 10;

/// How long before an incident's first breach events may have happened that belong to it, unless its monitor says
/// otherwise: what is deployed shows within that, and few things else have happened.
pub const EVENTS_BEFORE: crate::Period = crate::Period::hours(1);

/// Events of one incident that are shown and kept: the nearest.
pub const EVENTS: usize = 50;

/// Events of one incident that channels are told: few have room for more.
pub const EVENTS_TOLD: usize = 20;

/// Events looked at for those of one incident, before its first breach, and as many after: a tenth of a second.
pub const EVENTS_LOOKED_AT: u64 = 50_000;

/// Characters of an event's text that are shown and kept with an incident.
pub const EVENT_TEXT: usize = 500;

/// Tags of an event that are.
pub const EVENT_TAGS: usize = 20;

/// Entries of one organisation's calendar that are in force or to come, and as many that are over: each evaluation looks at
/// all of them.
pub const CALENDAR: usize = 1_000;

/// Bytes of a rule of days: all that iCalendar lets one name fits, and each day that is looked at is held against it.
pub const RULE: usize = 500;

/// Calendars kept ready.
pub const CALENDARS_IN_MEMORY: usize = 1_024;

/// Evaluations of one back-test: a day and a half of minutes.
pub const BACKTEST: i64 = 2_000;

/// Points whose verdicts are kept of each series of an anomaly monitor: they are read and written each time.
pub const VERDICTS: i64 = 100;
/// Channels of one organisation.
pub const CHANNELS: usize = 1_000;

/// Characters of a channel's name: with an incident's id it fits the 64 characters of an idempotency key.
pub const CHANNEL_NAME: usize = 32;

/// Bytes of a channel's specification: it fits one row.
pub const CHANNEL: usize = 16 << 10;

/// Hosts of one channel.
pub const CHANNEL_HOSTS: usize = 20;

/// Bytes of a reason that is kept.
pub const REASON: usize = 1_000;

/// Characters of an incident's id.
pub const INCIDENT_ID: usize = 64;

/// Channels one telling goes to.
pub const TELLING_CHANNELS: usize = 100;

/// Routing rules of one organisation.
pub const ROUTE_RULES: usize = 1_000;

/// Routing tables of one organisation.
pub const ROUTE_TABLES: usize = 20;

/// Rows of one routing table.
pub const ROUTE_ROWS: usize = 100_000;

/// Bytes of one routing table's CSV: with what JSON adds it is a large value of the store.
pub const ROUTE_TABLE: usize = 2 << 20;

/// Routing rules and tables kept ready, of all organisations together.
pub const ROUTES_IN_MEMORY: usize = 256;

/// Actions of one monitor, and links: buttons beyond that are not looked at.
pub const ACTIONS: usize = 10;

/// Bytes of a link's URL.
pub const URL: usize = 2_000;
