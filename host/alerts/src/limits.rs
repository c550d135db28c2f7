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

/// Characters of a subject: a header's line may have 998 (RFC 5322, section 2.1.1).
pub const SUBJECT: usize = 900;

/// Affected series of one alert that a notification tells of: the worst; the rest is counted.
pub const AFFECTED: usize = 100;
