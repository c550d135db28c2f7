//! How the sandbox is set up, and the measured choices behind it.

use std::path::PathBuf;

use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::limits;

/// How the sandbox is set up.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Calls at the same time; more wait for a slot.
    pub calls: u32,
    /// The private folder machine code is kept in; without one every start compiles anew.
    pub cache: Option<PathBuf>,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self { calls: limits::CALLS, cache: None }
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

impl EngineSettings {
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .max_wasm_stack(limits::STACK)
            .async_stack_size(limits::CALL_STACK)
            .cranelift_opt_level(OptLevel::Speed)
            .wasm_backtrace_details(WasmBacktraceDetails::Disable)
            .wasm_memory64(false)
            .wasm_relaxed_simd(true)
            .relaxed_simd_deterministic(true)
            // Explicit bounds checks in place of guard pages: growing and resetting a memory needs no system call.
            // It takes Spectre's mitigations out of the bounds checks; what a reader would need to make use of that,
            // a fine clock or a second thread, no plugin can have.
            .memory_reservation(limits::MEMORY_CEILING as u64)
            .memory_reservation_for_growth(0)
            .memory_guard_size(0)
            .guard_before_linear_memory(false)
            .memory_init_cow(false)
            .signals_based_traps(false);
        let calls = self.calls;
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(calls)
            .total_core_instances(calls.saturating_mul(limits::INSTANCES))
            .total_memories(calls.saturating_mul(limits::MEMORIES))
            .total_tables(calls.saturating_mul(limits::TABLES))
            .total_stacks(calls)
            .max_core_instances_per_component(limits::INSTANCES)
            .max_memories_per_component(limits::MEMORIES)
            .max_tables_per_component(limits::TABLES)
            .max_memories_per_module(limits::MEMORIES)
            .max_tables_per_module(limits::TABLES)
            .max_component_instance_size(limits::INSTANCE_BYTES)
            .max_core_instance_size(limits::INSTANCE_BYTES)
            .max_memory_size(limits::MEMORY_CEILING)
            .table_elements(limits::TABLE_ENTRIES)
            .max_unused_warm_slots(WARM_SLOTS)
            .linear_memory_keep_resident(KEEP_MEMORY)
            .table_keep_resident(KEEP_TABLE)
            // Asks the kernel (Linux 6.7 on) which pages a call touched; older ones wipe all that is kept.
            .pagemap_scan(Enabled::Auto);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        config
    }
}
