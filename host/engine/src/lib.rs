//! The sandbox: compiles components, keeps their machine code in a private cache, and calls them with limits.
//!
//! The only crate that depends on wasmtime and its implementation of WASI, which it passes on for the bindings made
//! elsewhere. It knows neither metrics nor grants: what a component may import is decided by the [`Linker`] it is given.
//!
//! A call waits for one of the slots, which organisations and plugins share out fairly, and runs on an instance of its
//! own, or on one its organisation's last call has left. It has a deadline and limits on all it uses. Guest code is
//! interrupted by epochs; long computations take turns, so that short calls always find a core; a host function that
//! waits is dropped at the deadline. A plugin that fails again and again is left alone for a while.

mod breaker;
mod cache;
mod call;
mod call_error;
mod callee;
mod engine;
mod error;
mod gate;
mod guest;
mod interruptible;
mod last_words;
pub mod limits;
mod meters;
mod processor;
mod room;
mod sandbox;
mod settings;
mod stats;
#[cfg(test)]
mod tests;
mod turns;
mod warm;

pub use breaker::{BreakerPhase, BreakerReason, BreakerState};
pub use call::{CallTerms, Finished};
pub use call_error::CallError;
pub use callee::{Activity, Callee, Instances};
pub use engine::{Component, Engine, Status};
pub use error::EngineError;
pub use gate::{Gate, NoSlot, Place, Slot};
pub use guest::{CallData, Guest, exports};
pub use limits::CallLimits;
pub use meters::{CallMeters, Trapped};
pub use sandbox::Sandbox;
pub use settings::EngineSettings;
pub use stats::{CallStats, Distribution, ErrorCase, ErrorCount};
pub use wasmtime;
pub use wasmtime::component::{Instance, InstancePre, Linker};
pub use {wasmtime_wasi, wasmtime_wasi_http, wasmtime_wasi_io};

/// What a call runs in: the guest's data and its meter.
pub type Store<T> = wasmtime::Store<Guest<T>>;
