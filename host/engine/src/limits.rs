//! What a plugin may use, each limit with its unit and reason.

use std::time::Duration;

/// How long a call may take in all, waiting for a slot and for host calls included: longer than any first-party
/// plugin needs by three orders of magnitude, shorter than an HTTP client's patience.
pub const WALL: Duration = Duration::from_secs(5);

/// How long a call may compute, in guest code and in the host functions it calls, waiting left out: a hundred times what
/// a detector needs for a million points, and still no burden for the others if many calls take it all.
pub const PROCESSOR: Duration = Duration::from_secs(2);

/// Bytes of linear memory and tables one call may hold: a Rust plugin starts at about 1.1 MiB, and a batch of 10,000
/// samples with its JSON fits with room to spare.
pub const MEMORY: usize = 64 << 20;

/// The largest memory of any call, in bytes: what the pool of large components reserves in address space for each
/// memory. No limit of a call can be above it.
pub const MEMORY_CEILING: usize = 1 << 30;

/// The same for small components: a plugin that may hold more is a large one.
pub const SMALL_MEMORY: usize = 128 << 20;

/// Bytes a small component's memories may begin with: they are copied for each fresh instance.
pub const SMALL_MEMORY_AT_START: u64 = 16 << 20;

/// Bytes of the largest small component: more is no plugin of a compiled language, but carries another's runtime.
pub const SMALL_COMPONENT: usize = 8 << 20;

/// Bytes a guest may hand over in one host call, or return: the host copies them. Above the largest body (8 MiB) and
/// its framing.
pub const TRANSFER: usize = 16 << 20;

/// The largest [`TRANSFER`] a call can be given, in bytes: the host holds them beside the guest's own copy.
pub const TRANSFER_CEILING: usize = 64 << 20;

/// Host calls of one call: an app that walks a list with one call each has none to fear, a loop of nothing else ends
/// after some 30 ms.
pub const HOST_CALLS: u64 = 100_000;

/// Bytes a guest may hand over in all its host calls together: four times the largest single one.
pub const HOST_BYTES: u64 = 64 << 20;

/// The longest any limit can allow a call to take: as long as an HTTP client waits at most. A playbook's step may allow
/// its own calls more.
pub const WALL_CEILING: Duration = Duration::from_secs(600);

/// Handles a call may hold at once.
pub const HANDLES: usize = 1_000;

/// Calls at the same time. Most of them wait for the store's next sync, so there are far more than cores: at 4 ms a
/// sync, 512 let 128,000 writes a second through.
pub const CALLS: u32 = 512;

/// Percent of the slots that no single organisation can take: what others find free while one floods the host.
pub const SHARE_LEFT: u64 = 25;

/// Callers that may wait for a slot in all: eight for each, so that whoever waits longer than a call takes is told to
/// come back instead.
pub const QUEUE: usize = 8 * CALLS as usize;

/// Callers of one organisation that may wait: a quarter of all.
pub const QUEUE_OF_ONE: usize = QUEUE / 4;

/// Calls of pure components at the same time: they wait for nothing but a processor, so more would only make all of them
/// take longer.
pub const PURE_CALLS: u32 = 64;

/// Memories of a pure component's call: each takes 4 GiB of address space.
pub const PURE_MEMORIES: u32 = 1;

/// Calls of large components at the same time: each may hold hundreds of megabytes.
pub const LARGE_CALLS: u32 = 16;

/// Instances kept warm in all, those that are called among them, for every plugin together: they have places beside the
/// slots and hold a megabyte or two each. One organisation leaves [`SHARE_LEFT`] percent of them to others.
pub const WARM: u32 = 64;

/// The same of large components.
pub const LARGE_WARM: u32 = 4;

/// Bytes an instance may hold and still be kept: one that grew for a large call gives its memory back.
pub const WARM_MEMORY: usize = 8 << 20;

/// The same of a large component.
pub const LARGE_WARM_MEMORY: usize = 256 << 20;

/// Calls after which a warm instance is replaced, at most; each draws its own number from the upper half, so that not
/// all go at once. Bounds what a leak in a plugin adds up to.
pub const WARM_CALLS: u32 = 1_000;

/// How old a warm instance becomes.
pub const WARM_AGE: Duration = Duration::from_secs(60);

/// How long a warm instance waits for its next call.
pub const WARM_IDLE: Duration = Duration::from_secs(10);

/// Memories of one call: one for a compiled language, a few for one put together from several modules.
pub const MEMORIES: u32 = 4;

/// Tables of one call: a compiled language has two, its own and the one its imports are called through.
pub const TABLES: u32 = 8;

/// Entries of all tables of a call together, 8 bytes each: an entry is a function whose address is taken. A large Rust
/// plugin has some thousands, a language's runtime some ten thousands.
pub const TABLE_ENTRIES: usize = 100_000;

/// Entries of one table of a large component: what its pool reserves for each. No limit of a call can be above it.
pub const TABLE_ENTRIES_CEILING: usize = 200_000;

/// Entries of one table of a small component.
pub const SMALL_TABLE_ENTRIES: usize = 20_000;

/// Core instances of one call: a compiled language has three.
pub const INSTANCES: u32 = 32;

/// Bytes of bookkeeping for one core instance, and for one component.
pub const INSTANCE_BYTES: usize = 1 << 20;

/// The same for a large component, which is linked from many modules.
pub const LARGE_MEMORIES: u32 = 4;
/// Its tables.
pub const LARGE_TABLES: u32 = 32;
/// Its core instances.
pub const LARGE_INSTANCES: u32 = 256;
/// Its bookkeeping.
pub const LARGE_INSTANCE_BYTES: usize = 4 << 20;
/// Its stack: an interpreter's own recursion is deep.
pub const LARGE_STACK: usize = 2 << 20;
/// Its stack in all.
pub const LARGE_CALL_STACK: usize = 4 << 20;

/// Bytes of stack guest code may use. It is the same for every plugin in a sandbox: wasmtime sets it once for an engine.
pub const STACK: usize = 512 << 10;

/// Bytes of stack a call has in all: what guest code may use and as much for the host functions it calls.
pub const CALL_STACK: usize = 1 << 20;

/// The largest component, in bytes: one that carries a Python interpreter has about 40 MB.
pub const COMPONENT: usize = 64 << 20;

/// How often a running guest yields to the host and has its deadline looked at.
pub const TICK: Duration = Duration::from_millis(1);

/// How often the ticker looks up while nothing runs: 50 wake-ups a second cost nothing one could measure, and a call
/// that begins meanwhile has its first look at most this late.
pub const IDLE_TICK: Duration = Duration::from_millis(20);

/// Failures in a row after which a plugin is left alone: fewer may be one caller's bad input tried again.
pub const BREAKER_FAILURES: u32 = 5;

/// How far back the calls lie whose shares count: long enough to gather some of what fails between calls that go well,
/// short enough that a fault that is over does not count.
pub const BREAKER_WINDOW: Duration = Duration::from_secs(60);

/// Percent of the calls, or of what they compute, from which on failures are too large a share: below, the plugin is of
/// more use to its callers than it costs them.
pub const BREAKER_SHARE: u32 = 50;

/// Calls within the window before their share of failures counts: of fewer, chance is half.
pub const BREAKER_CALLS: u32 = 20;

/// How long a plugin may compute within the window in calls that come to nothing before their share counts: as long as
/// those that open it in a row may, a sixth of a core. Fewer loops, as one monitor's every minute, cost others too
/// little to take the plugin from them.
pub const BREAKER_WASTE: Duration = Duration::from_secs(BREAKER_FAILURES as u64 * PROCESSOR.as_secs());

/// How long a call whose time is over must have computed to count as a failure: less is a call that waited, which costs
/// others nothing but a slot of its organisation's share.
pub const BREAKER_COMPUTED: Duration = Duration::from_millis(100);

/// How long a plugin is left alone at first: long enough that a loop of callers costs nothing, short enough that nobody
/// misses it once it is mended. Each failed try doubles it.
pub const BREAKER_PAUSE: Duration = Duration::from_secs(1);

/// The longest a plugin is left alone before it is tried again.
pub const BREAKER_LONGEST: Duration = Duration::from_secs(60);

/// How long a try may take before another is let through: longer than most calls, so that one is at work at a time.
pub const BREAKER_PROBE: Duration = Duration::from_secs(10);

/// Bytes of a trap's message that are the guest's own words: a failed assertion with both of its sides fits.
pub const LAST_WORDS: usize = 1_000;

/// Bytes read of them, so that a secret which [`LAST_WORDS`] divides is seen whole, and masked.
pub const LAST_WORDS_READ: usize = 64 << 10;

/// Traps kept of a plugin in one role, the last ones: enough to see whether they are one fault or several.
pub const TRAPS: usize = 20;

/// What one call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// How long it may take in all, waiting for a slot included.
    pub wall: Duration,
    /// How long it may compute, waiting left out; looked at once a [`TICK`].
    pub processor: Duration,
    /// Bytes of all its memories and tables together, at most [`MEMORY_CEILING`] for each memory.
    pub memory: usize,
    /// Entries of all its tables together, at most [`TABLE_ENTRIES_CEILING`] for each.
    pub table_entries: usize,
    /// How often it may call the host; looked at once a [`TICK`] and at its end.
    pub host_calls: u64,
    /// Bytes it may hand to the host in all its host calls together; looked at once a [`TICK`] and at its end.
    pub host_bytes: u64,
    /// Bytes it may hand to the host in one host call, or return.
    pub transfer: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            wall: WALL,
            processor: PROCESSOR,
            memory: MEMORY,
            table_entries: TABLE_ENTRIES,
            host_calls: HOST_CALLS,
            host_bytes: HOST_BYTES,
            transfer: TRANSFER,
        }
    }
}
