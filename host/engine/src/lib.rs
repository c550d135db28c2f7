//! The sandbox: compiles, caches, limits and calls components. The only crate that depends on wasmtime.
