//! The contract as wasmtime alone reads it.

#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    unused_qualifications,
    dead_code,
    clippy::all,
    clippy::pedantic,
    reason = "generated"
)]

bellwether_engine::wasmtime::component::bindgen!({
    world: "bellwether:plugin/app-plugin",
    path: "../wit",
    wasmtime_crate: bellwether_engine::wasmtime,
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: true },
});
