//! What a plugin may ask of the host, each limit with its unit and reason. What it may use of the machine is in
//! [`bellwether_engine::limits`].

use std::time::Duration;

use bellwether_engine::CallLimits;

/// Characters of a plugin's name: it is part of URLs, metric labels and file names.
pub const NAME: usize = 64;

/// Characters of a plugin's version and of its description.
pub const VERSION: usize = 64;

/// How long `describe` may take: it returns constants.
pub const DESCRIBE: Duration = Duration::from_secs(1);

/// Routes of one dialect: each request is held against them in order.
pub const ROUTES: usize = 500;

/// Inputs, and outputs, of one app: more no human fills in.
pub const FIELDS: usize = 200;

/// Bytes of any one text in a description.
pub const TEXT: usize = 4 << 10;

/// Lines one call may log; beyond it lines are dropped and the drop is noted once.
pub const LOG_LINES: usize = 1_000;

/// Bytes one call may log in all.
pub const LOG_BYTES: usize = 64 << 10;

/// Bytes of one line; the rest of a longer one is cut off.
pub const LOG_LINE: usize = 4 << 10;

/// Random bytes of one request.
pub const RANDOM: u32 = 65_536;

/// Bytes of a key of the state.
pub const STATE_KEY: usize = 200;

/// Bytes of a value of the state: what the store takes in one row.
pub const STATE_VALUE: usize = bellwether_store::MAX_VALUE;

/// Bytes of state a plugin has in one organisation, where its grant says nothing else.
pub const STATE_QUOTA: u64 = 10 << 20;

/// The largest state quota a grant can give.
pub const STATE_QUOTA_MAXIMUM: u64 = 1 << 30;

/// How often a state call is tried again when others change the same key at the same time.
pub const STATE_ATTEMPTS: usize = 32;

/// Keys of one list, and metrics of one page.
pub const PAGE: u32 = 1_000;

/// Bytes of the body of an answer to a plugin's request.
pub const HTTP_ANSWER: usize = 4 << 20;

/// Headers of a plugin's request, and bytes of each of its values.
pub const HTTP_HEADERS: usize = 100;

/// How long a plugin's request may take. The call's own deadline holds all the same.
pub const HTTP_TIME: Duration = Duration::from_secs(30);

/// How long a connection may take to be made.
pub const HTTP_CONNECT: Duration = Duration::from_secs(5);

/// Bytes of the body a dialect answers.
pub const RESPONSE: usize = 8 << 20;

/// Headers a dialect answers.
pub const RESPONSE_HEADERS: usize = 100;

/// What plugins may use; the default is what each limit's own words say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of every call of an app or a dialect.
    pub call: CallLimits,
    /// How long `describe` may take.
    pub describe: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { call: CallLimits::default(), describe: DESCRIBE }
    }
}
