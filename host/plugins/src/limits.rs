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

/// Lines of one call of a dialect that go to the host's own log; how many more there were is said. Each is a write to a
/// pipe or file by the thread that serves others, some microseconds long.
pub const LOG_LINES_TOLD: usize = 100;

/// The most lines one call can be allowed to log: they are kept with the run.
pub const LOG_LINES_MAXIMUM: u64 = 100_000;

/// The most bytes one call can be allowed to log.
pub const LOG_BYTES_MAXIMUM: u64 = 16 << 20;

/// Lines kept of a plugin's calls for one organisation to be looked at, the last ones.
pub const LOGS_KEPT: usize = 200;

/// Lines kept of all its calls: 8 MiB at most. Beyond, whoever has the most of them loses its oldest.
pub const LOGS_KEPT_OF_ALL: usize = 10 * LOGS_KEPT;

/// Bytes of one line; the rest of a longer one is cut off.
pub const LOG_LINE: usize = 4 << 10;

/// Bytes of the last line a runtime printed, as an error says it.
pub const LAST_WORDS: usize = 200;

/// Random bytes of one request.
pub const RANDOM: u32 = 65_536;

/// Bytes of a key of the state.
pub const STATE_KEY: usize = 200;

/// Bytes of a value of the state: what the store takes in one row.
pub const STATE_VALUE: usize = bellwether_store::MAX_VALUE;

/// Bytes that a row of the state counts with beside its key and value: about what the store keeps with each, so that many
/// small ones cost what they take.
pub const STATE_ROW: usize = 64;

/// Bytes of JSON an organisation may set of one plugin: they are in memory, and in the audit log.
pub const SETTINGS: usize = 8 << 10;

/// Bytes of state a plugin has in one organisation, where its grant says nothing else: keys, values and [`STATE_ROW`] for
/// each.
pub const STATE_QUOTA: u64 = 10 << 20;

/// The largest state quota a grant can give.
pub const STATE_QUOTA_MAXIMUM: u64 = 1 << 30;

/// How often a state call is tried again when others change the same key at the same time.
pub const STATE_ATTEMPTS: usize = 32;

/// Keys of one list, and metrics of one page.
pub const PAGE: u32 = 1_000;

/// Series, keys or values of one answer that names them without samples: some 10 MB of texts in the guest.
pub const IDENTITIES: u32 = 20_000;

/// Matchers of one selection: each is a set of series, or an expression to be compiled.
pub const MATCHERS: usize = 100;

/// Bytes of the body of an answer to a plugin's request.
pub const HTTP_ANSWER: usize = 4 << 20;

/// Bytes of the body of a plugin's request.
pub const HTTP_BODY: usize = 8 << 20;

/// Requests of one call on their way at the same time; more wait. A runtime that sends without waiting keeps no more
/// bodies than these in the host's memory.
pub const HTTP_AT_ONCE: usize = 8;

/// Bytes of such a body that a runtime writes at once, in WASI's words: what is written to requests that are never sent
/// stays with the host, two of these for each of the [`bellwether_engine::limits::HANDLES`].
pub const HTTP_CHUNK: usize = 16 << 10;

/// Bytes of its URL: more few servers take.
pub const HTTP_URL: usize = 8 << 10;

/// Headers of a plugin's request.
pub const HTTP_HEADERS: usize = 100;

/// Bytes of all their names and values.
pub const HTTP_HEADER_BYTES: usize = 64 << 10;

/// Requests one call may send: what asks for more pages than that has a cursor and comes again.
pub const HTTP_REQUESTS: u32 = 100;

/// Bytes of bodies one call may send and receive, all its requests together.
pub const HTTP_BYTES: usize = 32 << 20;

/// Requests of one plugin on their way at the same time; more wait within their own time. An outside service that
/// hangs costs the host so many connections. One organisation leaves [`bellwether_engine::limits::SHARE_LEFT`] percent of
/// them to others.
pub const HTTP_CONNECTIONS: u32 = 32;

/// Connections kept to a host for the next request: as many as a plugin, or a few channels, have on their way at once.
/// With fewer, every third request of a storm had to connect, which takes longer than the request.
pub const HTTP_IDLE: usize = 32;

/// How long a plugin's request may take that does not say. The call's own deadline holds all the same.
pub const HTTP_TIME: Duration = Duration::from_secs(30);

/// How long one may take that says: as long as the longest call of a step.
pub const HTTP_TIME_MAXIMUM: Duration = Duration::from_secs(3_600);

/// How long a connection may take to be made.
pub const HTTP_CONNECT: Duration = Duration::from_secs(5);

/// Bytes a call answers: a dialect's body, an app's outputs. A larger answer is a fault of the plugin.
pub const OUTPUT: usize = 8 << 20;

/// Calls of one plugin at once: half of all, so that one plugin's slow calls leave room for the others.
pub const CONCURRENT_CALLS: u32 = bellwether_engine::limits::CALLS / 2;

/// Headers a dialect answers.
pub const RESPONSE_HEADERS: usize = 100;

/// Versions kept of one plugin, the current one among them: enough to go back to what ran before a bad week of releases.
/// Those that somebody keeps to stay beyond it.
pub const VERSIONS: usize = 10;

/// Plugins an organisation may install for itself: each may keep [`VERSIONS`] components of up to 64 MiB, and is loaded at
/// every start.
pub const PER_ORGANISATION: usize = 100;

/// Plugins loaded at once when a host starts: while one waits for the disk others compute, and the more there are, the
/// more machine code is held twice, as it was read and as it is mapped.
pub const LOADS: usize = 8;

/// How often in a row, a minute apart, a version that is not the current one is found without a call before it is
/// unloaded: a run that keeps to it calls it again within seconds or not for long, and loading takes milliseconds.
pub const VERSION_RESTS: u32 = 10;

/// How far back the calls lie that a canary is judged by: long enough to gather some from a share of little traffic,
/// short enough that an outage that is over does not count.
pub const CANARY_WINDOW: Duration = Duration::from_secs(5 * 60);

/// Calls of a canary before it is judged: of fewer, a single failure is more than [`CANARY_EXCESS`].
pub const CANARY_CALLS: u64 = 20;

/// By how much, as a share of its calls from 0 to 1, a canary may fail more often than the current version: below, it is
/// left to a person.
pub const CANARY_EXCESS: f64 = 0.05;

/// By how many standard errors it must fail more often. Its calls are judged one after the other, which gives chance
/// many tries: with three, simulated over 4,000 calls of two equal versions that fail at 1 to 50 %, it ends none to four
/// of a hundred canaries.
pub const CANARY_ERRORS: f64 = 3.0;

/// Names of those who keep to a version that an error lists; the rest is counted.
pub const PINS_SHOWN: usize = 10;

/// What plugins may use; the default is what each limit's own words say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of every call.
    pub call: CallLimits,
    /// How long `describe` may take.
    pub describe: Duration,
    /// Bytes a call may answer.
    pub output: usize,
    /// Lines a call may log.
    pub log_lines: usize,
    /// Bytes a call may log in all.
    pub log_bytes: usize,
    /// Calls of a plugin at once.
    pub concurrent_calls: u32,
    /// Bytes of state a plugin may have in one organisation, whatever its grant says.
    pub state_quota: u64,
    /// Versions kept of one plugin.
    pub versions: usize,
    /// Plugins an organisation may have of its own.
    pub per_organisation: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call: CallLimits::default(),
            describe: DESCRIBE,
            output: OUTPUT,
            log_lines: LOG_LINES,
            log_bytes: LOG_BYTES,
            concurrent_calls: CONCURRENT_CALLS,
            state_quota: STATE_QUOTA_MAXIMUM,
            versions: VERSIONS,
            per_organisation: PER_ORGANISATION,
        }
    }
}
