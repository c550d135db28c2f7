//! How the sandbox is set up, and the measured choices behind it.

use std::path::PathBuf;

use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::{Sandbox, limits};

/// How the sandbox is set up.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Calls at the same time; more wait for a slot. Of pure components no more than [`limits::PURE_CALLS`].
    pub calls: u32,
    /// The same for large components.
    pub large_calls: u32,
    /// The private folder machine code is kept in; without one every start compiles anew.
    pub cache: Option<PathBuf>,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self { calls: limits::CALLS, large_calls: limits::LARGE_CALLS, cache: None }
    }
}

/// Bytes of a memory that stay mapped between calls and are wiped by writing zeros over those the call touched,
/// instead of being handed back to the system and faulted in again.
const KEEP_MEMORY: usize = 1 << 20;
/// The same for a table.
const KEEP_TABLE: usize = 64 << 10;
/// Slots used before and free now that are kept apart for the component they served; above that the oldest is taken
/// over, so that a quiet host does not hold the memory of its busiest moment for every plugin.
const WARM_SLOTS: u32 = 16;

/// The same for large components: what one call touches of an interpreter's memory, but of a single slot.
const LARGE_KEEP_MEMORY: usize = 16 << 20;
const LARGE_WARM_SLOTS: u32 = 2;

/// Address space of a memory between guard pages: all that 32 bits can address, so that no access needs a check.
const ADDRESSABLE: u64 = 4 << 30;

impl EngineSettings {
    /// Calls of components in `sandbox` at the same time.
    pub(crate) fn slots(&self, sandbox: Sandbox) -> u32 {
        match sandbox {
            Sandbox::Small => self.calls.max(1),
            Sandbox::Pure => self.calls.clamp(1, limits::PURE_CALLS),
            Sandbox::Large => self.large_calls.max(1),
        }
    }

    /// How wasmtime is set up for components in `sandbox`: public so that the engine can be measured against wasmtime
    /// alone with the same settings.
    #[must_use]
    pub fn config(&self, sandbox: Sandbox) -> Config {
        let bounds = sandbox.bounds();
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .max_wasm_stack(bounds.stack)
            .async_stack_size(bounds.call_stack)
            .cranelift_opt_level(OptLevel::Speed)
            .wasm_backtrace_details(WasmBacktraceDetails::Disable)
            // Names the instances that are left after a trap, so that their last words can be read; copies nothing.
            .coredump_on_trap(true)
            .wasm_memory64(false)
            .wasm_relaxed_simd(true)
            .relaxed_simd_deterministic(true)
            // No call of the contract is concurrent: none of what that takes is set up.
            .concurrency_support(false);
        match sandbox {
            // Explicit bounds checks in place of guard pages: growing and resetting a memory needs no system call.
            // It takes Spectre's mitigations out of the bounds checks; what a reader would need to make use of that,
            // a fine clock or a second thread, no plugin can have.
            Sandbox::Small => config
                .memory_reservation(bounds.memory as u64)
                .memory_reservation_for_growth(0)
                .memory_guard_size(0)
                .guard_before_linear_memory(false)
                .memory_init_cow(false)
                .signals_based_traps(false),
            Sandbox::Pure => config.memory_reservation(ADDRESSABLE).memory_init_cow(false),
            Sandbox::Large => config.memory_reservation(ADDRESSABLE).memory_init_cow(true),
        };
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(self.pool(sandbox)));
        config
    }

    /// The pool in it.
    #[must_use]
    pub fn pool(&self, sandbox: Sandbox) -> PoolingAllocationConfig {
        let bounds = sandbox.bounds();
        // What is warm has a place beside the slots, so that it never holds one that others wait for.
        let places = self.slots(sandbox).saturating_add(bounds.warm);
        let (keep_memory, warm_slots) = match sandbox {
            Sandbox::Small | Sandbox::Pure => (KEEP_MEMORY, WARM_SLOTS),
            Sandbox::Large => (LARGE_KEEP_MEMORY, LARGE_WARM_SLOTS),
        };
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(places)
            .total_core_instances(places.saturating_mul(bounds.instances))
            .total_memories(places.saturating_mul(bounds.memories))
            .total_tables(places.saturating_mul(bounds.tables))
            .total_stacks(places)
            .max_core_instances_per_component(bounds.instances)
            .max_memories_per_component(bounds.memories)
            .max_tables_per_component(bounds.tables)
            .max_memories_per_module(bounds.memories)
            .max_tables_per_module(bounds.tables)
            .max_component_instance_size(bounds.instance_bytes)
            .max_core_instance_size(bounds.instance_bytes)
            .max_memory_size(bounds.memory)
            .table_elements(bounds.table_entries)
            .max_unused_warm_slots(warm_slots)
            .linear_memory_keep_resident(keep_memory)
            .table_keep_resident(KEEP_TABLE)
            // Asks the kernel (Linux 6.7 on) which pages a call touched; older ones wipe all that is kept.
            .pagemap_scan(Enabled::Auto);
        pool
    }
}
