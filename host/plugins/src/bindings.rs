//! The contract as Rust, made from `wit/`: one trait per interface a plugin may import, one set of types per role.

#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    unused_qualifications,
    dead_code,
    clippy::all,
    clippy::pedantic,
    reason = "generated; what drafted roles have is not called yet"
)]

bellwether_engine::wasmtime::component::bindgen!({
    world: "bellwether:plugin/everything",
    path: "../../wit",
    wasmtime_crate: bellwether_engine::wasmtime,
    imports: {
        "bellwether:host/metrics-read": async,
        "bellwether:host/metrics-write": async,
        "bellwether:host/series-read": async,
        "bellwether:host/series-write": async,
        "bellwether:host/records-read": async,
        "bellwether:host/records-write": async,
        "bellwether:host/alerts-read": async,
        "bellwether:host/alerts-write": async,
        "bellwether:host/state": async,
        "bellwether:host/http-client": async,
        "bellwether:host/random": trappable,
    },
    exports: { default: async },
    // What goes into a guest is borrowed: a request's body and headers are copied once, into its memory.
    ownership: Borrowing { duplicate_if_necessary: true },
});
