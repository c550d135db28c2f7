//! The three ways the sandbox is set up, and which of them a component needs.

use std::fmt;

use serde::Serialize;
use wasmparser::{CanonicalFunction, Parser, Payload};

use crate::limits;

/// How the sandbox is set up for a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sandbox {
    /// For short calls, many at a time: memory is bounds-checked by code and copied, so that a fresh instance needs no
    /// system call.
    Small,
    /// For what works on what it is given and calls nothing of the host, as detectors and formatters: memory lies between
    /// guard pages, so that no access needs a check. Its code is a quarter faster; a fresh instance takes half as long
    /// again, and a call 1.5 µs more.
    Pure,
    /// For components that carry a language's runtime, few at a time: memory lies between guard pages, and an image of
    /// tens of megabytes is mapped instead of copied.
    Large,
}

/// What one call's instances may be made of in one sandbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes of one memory: what the pool reserves for each.
    pub(crate) memory: usize,
    pub(crate) memories: u32,
    pub(crate) tables: u32,
    /// Entries of one table.
    pub(crate) table_entries: usize,
    /// Core instances.
    pub(crate) instances: u32,
    /// Bytes of bookkeeping for one core instance, and for one component.
    pub(crate) instance_bytes: usize,
    /// Bytes of stack guest code may use, and a call in all.
    pub(crate) stack: usize,
    pub(crate) call_stack: usize,
    /// Instances kept between calls, and bytes each may hold.
    pub(crate) warm: u32,
    pub(crate) warm_memory: usize,
}

impl Sandbox {
    /// All.
    pub const ALL: [Self; 3] = [Self::Small, Self::Pure, Self::Large];

    pub(crate) const fn bounds(self) -> Bounds {
        match self {
            Self::Pure => Bounds { memories: limits::PURE_MEMORIES, ..Self::Small.bounds() },
            Self::Small => Bounds {
                memory: limits::SMALL_MEMORY,
                memories: limits::MEMORIES,
                tables: limits::TABLES,
                table_entries: limits::SMALL_TABLE_ENTRIES,
                instances: limits::INSTANCES,
                instance_bytes: limits::INSTANCE_BYTES,
                stack: limits::STACK,
                call_stack: limits::CALL_STACK,
                warm: limits::WARM,
                warm_memory: limits::WARM_MEMORY,
            },
            Self::Large => Bounds {
                memory: limits::MEMORY_CEILING,
                memories: limits::LARGE_MEMORIES,
                tables: limits::LARGE_TABLES,
                table_entries: limits::TABLE_ENTRIES_CEILING,
                instances: limits::LARGE_INSTANCES,
                instance_bytes: limits::LARGE_INSTANCE_BYTES,
                stack: limits::LARGE_STACK,
                call_stack: limits::LARGE_CALL_STACK,
                warm: limits::LARGE_WARM,
                warm_memory: limits::LARGE_WARM_MEMORY,
            },
        }
    }

    /// Bytes of stack a call's guest code may use.
    #[must_use]
    pub const fn stack(self) -> usize {
        self.bounds().stack
    }

    /// What a component needs whose calls may hold `memory` bytes: small or pure, if it fits. One that does not read is
    /// small, and refused by the compiler, which says why.
    #[must_use]
    pub fn needed(component: &[u8], memory: usize) -> Self {
        let needs = Needs::of(component);
        let bounds = Self::Small.bounds();
        let fits = component.len() <= limits::SMALL_COMPONENT
            && memory <= bounds.memory
            && needs.memory <= limits::SMALL_MEMORY_AT_START
            && needs.memories <= bounds.memories
            && needs.tables <= bounds.tables
            && needs.entries <= bounds.table_entries as u64
            && needs.instances <= bounds.instances;
        match fits {
            true if needs.calls_host || needs.memories > limits::PURE_MEMORIES => Self::Small,
            true => Self::Pure,
            false => Self::Large,
        }
    }
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "small",
            Self::Pure => "pure",
            Self::Large => "large",
        })
    }
}

/// What a component's modules declare, each counted once for every module in it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    /// Bytes all memories begin with.
    memory: u64,
    memories: u32,
    tables: u32,
    /// Entries of the largest table at its beginning.
    entries: u64,
    instances: u32,
    /// Whether any function of the host is lowered to be called.
    calls_host: bool,
}

impl Needs {
    fn of(component: &[u8]) -> Self {
        let mut needs = Self::default();
        for payload in Parser::new(0).parse_all(component) {
            match payload {
                Ok(Payload::MemorySection(memories)) => {
                    for memory in memories.into_iter().flatten() {
                        let page = 1_u64 << memory.page_size_log2.unwrap_or(16);
                        needs.memory = needs.memory.saturating_add(memory.initial.saturating_mul(page));
                        needs.memories += 1;
                    }
                }
                Ok(Payload::TableSection(tables)) => {
                    for table in tables.into_iter().flatten() {
                        needs.entries = needs.entries.max(table.ty.initial);
                        needs.tables += 1;
                    }
                }
                Ok(Payload::InstanceSection(instances)) => needs.instances += instances.count(),
                Ok(Payload::ComponentCanonicalSection(functions)) => {
                    let is_lowered = |function| matches!(function, CanonicalFunction::Lower { .. });
                    needs.calls_host |= functions.into_iter().flatten().any(is_lowered);
                }
                Ok(_) => {}
                Err(_) => {
                    needs.calls_host = true;
                    break;
                }
            }
        }
        needs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(module: &str) -> Vec<u8> {
        wat::parse_str(format!("(component (core module $m {module}) (core instance (instantiate $m)))"))
            .unwrap()
    }

    #[test]
    fn a_component_that_calls_the_host_is_not_pure_and_one_that_only_knows_of_it_is() {
        let component = |lowered: &str| {
            wat::parse_str(format!(
                "(component (import \"host\" (instance $host (export \"f\" (func)))) {lowered})"
            ))
            .unwrap()
        };
        let lowered = "(alias export $host \"f\" (func $f)) (core func (canon lower (func $f)))";
        assert_eq!(Sandbox::needed(&component(lowered), limits::MEMORY), Sandbox::Small);
        assert_eq!(Sandbox::needed(&component(""), limits::MEMORY), Sandbox::Pure);
    }

    #[test]
    fn a_component_that_needs_little_is_small_or_pure_and_one_that_needs_much_is_large() {
        let tables = "(table 1 funcref)".repeat(limits::TABLES as usize + 1);
        let many_entries = format!("(table {} funcref)", limits::SMALL_TABLE_ENTRIES + 1);
        for (module, size) in [
            ("(memory 17) (table 3 funcref)", Sandbox::Pure),
            ("(memory 1) (memory 1)", Sandbox::Small),
            ("(memory 4000)", Sandbox::Large),
            ("(memory 1) (memory 1) (memory 1) (memory 1) (memory 1)", Sandbox::Large),
            (&*tables, Sandbox::Large),
            (&*many_entries, Sandbox::Large),
        ] {
            assert_eq!(Sandbox::needed(&component(module), limits::MEMORY), size, "{module}");
        }
        assert_eq!(Sandbox::needed(&component("(memory 1)"), limits::SMALL_MEMORY + 1), Sandbox::Large);
        assert_eq!(Sandbox::needed(&vec![0; limits::SMALL_COMPONENT + 1], limits::MEMORY), Sandbox::Large);
        assert_eq!(Sandbox::needed(b"not wasm", limits::MEMORY), Sandbox::Small);
    }
}
