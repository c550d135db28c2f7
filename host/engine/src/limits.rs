//! What a plugin may use, each limit with its unit and reason.

use std::time::Duration;

/// How long a call may take in all, waiting for a slot and for host calls included: longer than any first-party
/// plugin needs by three orders of magnitude, shorter than an HTTP client's patience.
pub const WALL: Duration = Duration::from_secs(5);

/// Bytes of linear memory and tables one call may hold: a Rust plugin starts at about 1.1 MiB, and a batch of 10,000
/// samples with its JSON fits with room to spare.
pub const MEMORY: usize = 64 << 20;

/// The largest memory of any call, in bytes: what the pool reserves in address space for each memory. No limit of a
/// call can be above it.
pub const MEMORY_CEILING: usize = 128 << 20;

/// Bytes a guest may hand over in one host call, or return: the host copies them. Above the largest body (8 MiB) and
/// its framing.
pub const TRANSFER: usize = 16 << 20;

/// Handles a call may hold at once.
pub const HANDLES: usize = 1_000;

/// Calls at the same time. Most of them wait for the store's next sync, so there are far more than cores: at 4 ms a
/// sync, 512 let 128,000 writes a second through.
pub const CALLS: u32 = 512;

/// Memories of one call: one for a compiled language, a few for one put together from several modules.
pub const MEMORIES: u32 = 4;

/// Tables of one call: a compiled language has two, its own and the one its imports are called through.
pub const TABLES: u32 = 8;

/// Entries of one table, 8 bytes each.
pub const TABLE_ENTRIES: usize = 20_000;

/// Core instances of one call: a compiled language has three.
pub const INSTANCES: u32 = 32;

/// Bytes of bookkeeping for one core instance, and for one component.
pub const INSTANCE_BYTES: usize = 1 << 20;

/// Bytes of stack guest code may use.
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

/// What one call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// How long it may take in all, waiting for a slot included.
    pub wall: Duration,
    /// Bytes of all its memories and tables together, at most [`MEMORY_CEILING`] for each memory.
    pub memory: usize,
    /// Bytes it may hand to the host in one host call, or return.
    pub transfer: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { wall: WALL, memory: MEMORY, transfer: TRANSFER }
    }
}
