//! One call: a slot, a fresh instance, a deadline, and what became of it.

use std::time::{Duration, Instant};

use bellwether_kernel::ErrorKind;
use tokio::time::timeout_at;
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Trap, UpdateDeadline, WasmBacktrace};

use crate::{CallLimits, CallMeters, Engine, Guest, Store, limits};

/// Why a call came to nothing. The instance is gone; the next call gets a new one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No slot was free in time; the guest never ran.
    #[error("waited {} for one of the {slots} slots in vain", seconds(.waited))]
    Busy {
        /// How long.
        waited: Duration,
        /// How many slots there are.
        slots: u32,
    },
    /// It took longer than it may.
    #[error("ran out of its {}", seconds(.wall))]
    Deadline {
        /// How long it may take.
        wall: Duration,
    },
    /// It wanted more memory than it may have, and did not get over that.
    #[error("ran out of its {} MiB of memory", .limit >> 20)]
    MemoryLimit {
        /// Bytes it may have.
        limit: usize,
    },
    /// It trapped: a panic, a fault in its code, or an answer that does not read.
    #[error("trapped: {message}")]
    Trap {
        /// Why, in one line.
        message: String,
        /// The functions it was in, innermost first, as far as they have names.
        backtrace: Vec<String>,
    },
}

impl CallError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Busy { .. } => ErrorKind::Unavailable,
            Self::Deadline { .. } => ErrorKind::Deadline,
            Self::MemoryLimit { .. } | Self::Trap { .. } => ErrorKind::Plugin,
        }
    }
}

/// `5 s`, `1.5 s`, `20 ms`.
fn seconds(duration: &Duration) -> String {
    match duration.as_millis() {
        milliseconds if milliseconds < 1000 => format!("{milliseconds} ms"),
        milliseconds if milliseconds % 1000 == 0 => format!("{} s", milliseconds / 1000),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

/// A call that is over.
#[derive(Debug)]
pub struct Finished<T, R> {
    /// The data it began with, as host functions left it.
    pub data: T,
    /// What it came to.
    pub result: Result<R, CallError>,
    /// How long it took, waiting for a slot included.
    pub spent: Duration,
    /// The most bytes its memories and tables held.
    pub memory: usize,
}

/// The deadline passed while guest code ran.
#[derive(Debug, thiserror::Error)]
#[error("the deadline passed")]
struct DeadlinePassed;

impl Engine {
    /// Runs `work` on a fresh instance of `component`, within `limits`, and counts it.
    ///
    /// Must be called within a tokio runtime. When the future is dropped the call ends at its next await or yield.
    pub async fn call<T, R>(
        &self,
        component: &InstancePre<Guest<T>>,
        limits: &CallLimits,
        meters: &CallMeters,
        data: T,
        work: impl AsyncFnOnce(&mut Store<T>, &Instance) -> wasmtime::Result<R>,
    ) -> Finished<T, R>
    where
        T: Send + 'static,
    {
        let began = Instant::now();
        let deadline = began + limits.wall;
        let slot = match self.slots().try_acquire() {
            Ok(slot) => Ok(slot),
            Err(_) => timeout_at(deadline.into(), self.slots().acquire())
                .await
                .map_err(|_| ())
                .and_then(|slot| slot.map_err(|_| ())),
        };
        // Held until the store is gone: the pool has exactly as many places as there are slots.
        let Ok(_slot) = slot else {
            let error = CallError::Busy { waited: began.elapsed(), slots: self.calls() };
            meters.record(began.elapsed(), 0, Some(&error));
            return Finished { data, result: Err(error), spent: began.elapsed(), memory: 0 };
        };
        let mut store = self.store(data, limits, deadline);
        let result = timeout_at(deadline.into(), async {
            let instance = component.instantiate_async(&mut store).await?;
            work(&mut store, &instance).await
        })
        .await;
        let guest = store.into_data();
        let result = match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(classify(&error, &guest, limits)),
            Err(_) => Err(CallError::Deadline { wall: limits.wall }),
        };
        let (spent, memory) = (began.elapsed(), guest.meter.peak());
        meters.record(spent, memory, result.as_ref().err());
        Finished { data: guest.data, result, spent, memory }
    }

    fn store<T: Send + 'static>(&self, data: T, limits: &CallLimits, deadline: Instant) -> Store<T> {
        let mut store = wasmtime::Store::new(self.wasmtime(), Guest::new(data, limits.memory));
        store.limiter(|guest| &mut guest.meter);
        store.set_hostcall_fuel(limits.transfer);
        store.set_max_component_handles(limits::HANDLES);
        // A guest that computes yields at every tick, so that the other calls of its thread go on, and looks at the
        // clock itself: a timer would only fire once the runtime finds the time for it.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            if Instant::now() >= deadline { Err(DeadlinePassed.into()) } else { Ok(UpdateDeadline::Yield(1)) }
        });
        store
    }
}

fn classify<T>(error: &wasmtime::Error, guest: &Guest<T>, limits: &CallLimits) -> CallError {
    if error.is::<DeadlinePassed>() {
        return CallError::Deadline { wall: limits.wall };
    }
    // A guest whose growth was refused aborts, if it does not carry on with what it has.
    if guest.meter.refused() {
        return CallError::MemoryLimit { limit: limits.memory };
    }
    let message = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
        None => error.root_cause().to_string(),
    };
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
    CallError::Trap { message, backtrace }
}

fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => wasmtime_name(name),
        None => format!("function {}", frame.func_index()),
    };
    backtrace.frames().iter().map(name).collect()
}

/// A function's name without the hash Rust's mangling ends in.
fn wasmtime_name(name: &str) -> String {
    name.rsplit_once("::h").filter(|(_, hash)| hash.len() == 16).map_or(name, |(name, _)| name).to_owned()
}
