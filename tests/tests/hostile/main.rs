//! Nobody gets hurt: a plugin does its worst, one mode a test, against the real binary. Each costs its caller one
//! clear error, keeps the host's memory within the plugin's budget, and leaves the other plugins answering.

mod computing;
mod loading;
mod memory;
mod outside;
mod talking;
mod world;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// The hostile component, as `cargo xtask test` leaves it.
fn component() -> Result<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/hostile/hostile.wasm");
    ensure!(path.is_file(), "{} is not there: run `cargo xtask test`, which builds it", path.display());
    path.canonicalize().context("the component has a path")
}
