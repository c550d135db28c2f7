//! What a guest said before it trapped.
//!
//! A panic ends in an `unreachable`, which says nothing, and a pure role has nobody to tell. So a module may export an
//! immutable global, [`EXPORT`], that holds the address of its last words in its memory: their length in bytes as 32
//! bits, lowest byte first, and the text behind it. They are read when it has trapped, and cost nothing before. The SDK
//! writes them.

use wasmtime::{Instance, WasmCoreDump};

use crate::{Store, limits};

/// The global that holds the address.
const EXPORT: &str = "bellwether_last_words";

/// What tells a module's memory from what else it exports, as every compiler for the component model names it.
const MEMORY: &str = "memory";

/// What the guest in `store` said before `error`, as it stands in its memory, if it said anything.
pub(crate) fn read<T>(error: &wasmtime::Error, store: &mut Store<T>) -> Option<String> {
    let dump = error.downcast_ref::<WasmCoreDump>()?;
    dump.instances().iter().find_map(|instance| said(instance, store))
}

fn said<T>(instance: &Instance, store: &mut Store<T>) -> Option<String> {
    let address = instance.get_global(&mut *store, EXPORT)?.get(&mut *store).i32()?;
    let memory = instance.get_memory(&mut *store, MEMORY)?.data(&*store);
    let (length, rest) = memory.get(address.cast_unsigned() as usize..)?.split_first_chunk()?;
    let length = (u32::from_le_bytes(*length) as usize).min(limits::LAST_WORDS_READ).min(rest.len());
    Some(String::from_utf8_lossy(&rest[..length]).into_owned())
}

/// As much of what was said as is told: its words, without what would break the line or move a terminal's cursor.
pub(crate) fn told(said: &str) -> String {
    let words = said.split(|sign: char| sign.is_whitespace() || sign.is_control());
    let mut line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.truncate(line.floor_char_boundary(limits::LAST_WORDS));
    line
}
