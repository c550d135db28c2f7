//! Builds a plugin's crate into a component: finds a Rust toolchain for WebAssembly, builds the crate, encodes the
//! module with its name and version, and reads off it what it asks for.
//!
//! The command line's `plugin build` and the repository's own tasks do the same work by this crate. What it has to
//! say meanwhile goes to the error stream, so that a program can read what its caller prints.

mod command;
mod component;
mod error;
mod foreign;
mod make;
mod package;
mod toolchain;

pub use component::{Identity, Surface, encode, functions, identify, surface};
pub use error::BuildError;
pub use make::{Built, build};
pub use package::{NAME_PREFIX, Package, packages};
pub use toolchain::{InstallPackages, TARGET, Toolchain};
