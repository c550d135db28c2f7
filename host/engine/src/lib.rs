//! The sandbox: compiles components, keeps their machine code in a private cache, and calls them with limits.
//!
//! The only crate that depends on wasmtime, which it passes on for the bindings made elsewhere. It knows neither
//! metrics nor grants: what a component may import is decided by the [`Linker`] it is given.
//!
//! Every call gets a fresh instance, a deadline, and a limit on all its memory together. Guest code is interrupted
//! and made to yield by epochs; a host function that waits is dropped at the deadline.

mod cache;
mod call;
mod engine;
mod error;
mod guest;
pub mod limits;
mod meters;
mod settings;
#[cfg(test)]
mod tests;

pub use call::{CallError, Finished};
pub use engine::{Engine, Status};
pub use error::EngineError;
pub use guest::Guest;
pub use limits::CallLimits;
pub use meters::CallMeters;
pub use settings::EngineSettings;
pub use wasmtime;
pub use wasmtime::component::{Component, Instance, InstancePre, Linker};

/// What a call runs in: the guest's data and its meter.
pub type Store<T> = wasmtime::Store<Guest<T>>;
