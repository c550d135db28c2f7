//! One call: a slot, an instance, a deadline, and what became of it.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;
use wasmtime::component::Instance;
use wasmtime::{StoreContextMut, Trap, UpdateDeadline, WasmBacktrace};

use crate::callee::Admitted;
use crate::gate::{NoSlot, Slot};
use crate::meters::Used;
use crate::processor::Computed;
use crate::warm::Kept;
use crate::{
    BreakerPhase, CallData, CallError, CallLimits, CallMeters, Callee, Engine, ErrorCase, Guest, Store,
    last_words, limits, processor, turns,
};

/// Under what a call runs.
#[derive(Clone, Copy)]
pub struct CallTerms<'a> {
    /// What it may use.
    pub limits: &'a CallLimits,
    /// Where it is counted.
    pub meters: &'a CallMeters,
    /// Whose call it is: the organisation, or 0 for nobody's. Slots and processor time are shared out by it.
    pub tenant: u64,
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
    /// How long it computed.
    pub processor: Duration,
    /// The most bytes its memories and tables held.
    pub memory: usize,
}

/// A call at work. Dropped before it has ended, its caller gave it up: then its time was over.
struct AtWork<'a> {
    meters: &'a CallMeters,
    admitted: Option<Admitted<'a>>,
    began: Instant,
    queued: Duration,
    warm: bool,
    computed: Computed,
}

impl AtWork<'_> {
    /// Takes note of what became of it.
    fn end(&mut self, used: &Used, error: Option<&CallError>) {
        let Some(admitted) = self.admitted.take() else { return };
        self.noted(used, error, admitted.note(error, used.processor));
    }

    fn noted(&self, used: &Used, error: Option<&CallError>, changed: Option<BreakerPhase>) {
        self.meters.record(used, error);
        if let Some(phase) = changed {
            self.meters.tell(phase);
        }
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let Some(admitted) = self.admitted.take() else { return };
        let spent = self.began.elapsed();
        let (queued, processor, warm) = (self.queued, self.computed.spent, self.warm);
        let used = Used { spent, queued, processor, warm, ..Used::default() };
        let error = CallError::Deadline { wall: spent };
        self.noted(&used, Some(&error), admitted.give_up(processor));
    }
}

/// Why the sandbox ended a guest at work.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the sandbox ended the call: {0}")]
struct Ended(ErrorCase);

impl Engine {
    /// Runs `work` on an instance of `callee`, under `terms`, and counts it.
    ///
    /// Must be called within a tokio runtime. When the future is dropped the call ends at its next await or yield, and counts
    /// as one whose time was over.
    pub async fn call<T: CallData, R>(
        &self,
        callee: &Callee<T>,
        terms: CallTerms<'_>,
        data: T,
        work: impl AsyncFnOnce(&mut Store<T>, &Instance) -> wasmtime::Result<R>,
    ) -> Finished<T, R> {
        let began = Instant::now();
        let CallTerms { limits, meters, tenant } = terms;
        let deadline = began + limits.wall;
        let refused = |data, error: CallError| {
            let used = Used { spent: began.elapsed(), queued: began.elapsed(), ..Used::default() };
            meters.record(&used, Some(&error));
            Finished { data, result: Err(error), spent: used.spent, processor: Duration::ZERO, memory: 0 }
        };
        let admitted = match callee.admit(tenant) {
            Ok(admitted) => admitted,
            Err(error) => return refused(data, error),
        };
        // Held until the store is gone or kept: the pool has exactly as many places as there are slots and warm ones.
        let (_slot, queued) = match self.slot(callee, tenant, began, deadline).await {
            Ok(slot) => slot,
            Err(error) => return refused(data, error),
        };
        // The clock is looked at as seldom as can be: when a call begins, after it waited, and when it has ended.
        let entered = began + queued;
        let kept = callee.warm.as_ref().and_then(|warm| warm.take(tenant, entered));
        let warm = kept.is_some();
        // Before the store, so that it is dropped after it.
        let computed = Computed::from(entered);
        let mut at_work = AtWork { meters, admitted: Some(admitted), began, queued, warm, computed };
        let (mut store, instance, age, place) = match kept {
            Some(Kept { store, instance, age, place }) => (store, Some(instance), Some(age), place),
            None => (self.store(callee), None, None, None),
        };
        store.data_mut().begin(data, limits, deadline, tenant);
        store.set_hostcall_fuel(limits.transfer);
        store.set_epoch_deadline(1);
        let result = {
            let work = processor::measured(&mut at_work.computed, async {
                let instance = match instance {
                    Some(instance) => instance,
                    None => callee.instance.instantiate_async(&mut store).await?,
                };
                Ok((work(&mut store, &instance).await?, instance))
            });
            let mut work = pin!(work);
            // Most calls are over with the first poll: only the others need a timer.
            match poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
                Poll::Ready(result) => Ok(result),
                Poll::Pending => timeout_at(deadline.into(), work).await,
            }
        };
        let guest = store.data();
        let (excess, host_bytes) = (guest.excess(), guest.handed_over());
        let result = match (result, excess) {
            (Ok(Ok(_)), Some(excess)) => Err(ended(excess, limits)),
            (Ok(Ok(done)), None) => Ok(done),
            (Ok(Err(error)), _) => Err(classify(&error, &mut store)),
            (Err(_), _) => Err(ended(ErrorCase::Deadline, limits)),
        };
        let guest = store.data_mut();
        let data = guest.end();
        let (memory, host_calls) = (guest.meter.peak(), guest.meter.host_calls());
        let (result, ended) = match (result, &callee.warm) {
            (Ok((value, instance)), Some(warm))
                if guest.meter.held() <= callee.sandbox().bounds().warm_memory =>
            {
                let ended = at_work.computed.ended();
                warm.put(tenant, Kept { store, instance, age: age.unwrap_or_default(), place }, ended);
                (Ok(value), ended)
            }
            (result, _) => {
                drop(store);
                (result.map(|(value, _)| value), Instant::now())
            }
        };
        let (spent, processor) = (ended.duration_since(began), at_work.computed.spent);
        let used = Used { spent, queued, processor, memory, host_calls, host_bytes, warm };
        at_work.end(&used, result.as_ref().err());
        Finished { data, result, spent, processor, memory }
    }

    /// A slot, and how long it was waited for.
    async fn slot<T: CallData>(
        &self,
        callee: &Callee<T>,
        tenant: u64,
        began: Instant,
        deadline: Instant,
    ) -> Result<(Slot<'_>, Duration), CallError> {
        let gate = &self.room(callee.sandbox()).gate;
        let place = callee.place(tenant);
        if let Some(slot) = gate.try_enter(place) {
            return Ok((slot, Duration::ZERO));
        }
        let slot = gate.enter(place, deadline.into()).await;
        let waited = began.elapsed();
        slot.map(|slot| (slot, waited)).map_err(|why| CallError::Busy {
            waited,
            slots: gate.slots(),
            over_share: why == NoSlot::OverShare,
        })
    }

    fn store<T: CallData>(&self, callee: &Callee<T>) -> Store<T> {
        let sandbox = callee.sandbox();
        let mut store = wasmtime::Store::new(&self.room(sandbox).engine, Guest::new(sandbox.bounds()));
        store.limiter(|guest| &mut guest.meter);
        store.set_max_component_handles(limits::HANDLES);
        store.epoch_deadline_callback(tick);
        store
    }
}

/// Looks at the limits a guest at work may have passed. One that computes yields at every tick, so that the other calls
/// of its thread go on, and the clock is looked at here: a timer would only fire once the runtime finds the time for it.
#[expect(clippy::needless_pass_by_value, reason = "it is the callback wasmtime takes")]
fn tick<T: CallData>(store: StoreContextMut<'_, Guest<T>>) -> wasmtime::Result<UpdateDeadline> {
    let guest = store.data();
    if Instant::now() >= guest.meter.deadline {
        return Err(Ended(ErrorCase::Deadline).into());
    }
    let spent = processor::spent_so_far();
    if spent > guest.meter.limits.processor {
        return Err(Ended(ErrorCase::Processor).into());
    }
    if let Some(excess) = guest.excess() {
        return Err(Ended(excess).into());
    }
    // A tick comes at any moment: a call that has only begun need not make way yet.
    if spent < limits::TICK {
        return Ok(UpdateDeadline::Continue(1));
    }
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(turns::take(guest.meter.tenant))))
}

fn ended(case: ErrorCase, limits: &CallLimits) -> CallError {
    match case {
        ErrorCase::Processor => CallError::Processor { limit: limits.processor },
        ErrorCase::HostCalls => CallError::HostCalls { limit: limits.host_calls },
        ErrorCase::HostBytes => CallError::HostBytes { limit: limits.host_bytes },
        _ => CallError::Deadline { wall: limits.wall },
    }
}

/// What wasmtime says, in a type of its own, when more is handed over at once than the store allows.
const TRANSFER_EXHAUSTED: &str = "too much data is being copied between the host and the guest";

fn classify<T: CallData>(error: &wasmtime::Error, store: &mut Store<T>) -> CallError {
    let meter = &store.data().meter;
    let limits = &meter.limits;
    if let Some(Ended(case)) = error.downcast_ref::<Ended>() {
        return ended(*case, limits);
    }
    // A guest whose growth was refused aborts, if it does not carry on with what it has.
    match meter.refused() {
        Some(ErrorCase::Tables) => return CallError::Tables { limit: limits.table_entries },
        Some(_) => return CallError::Memory { limit: limits.memory },
        None => {}
    }
    let trap = error.downcast_ref::<Trap>();
    if let Some(Trap::StackOverflow) = trap {
        return CallError::Stack { limit: meter.stack() };
    }
    let mut message = match trap {
        Some(trap) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
        None => error.root_cause().to_string(),
    };
    if message.starts_with(TRANSFER_EXHAUSTED) {
        return CallError::Transfer { limit: limits.transfer };
    }
    let said = last_words::read(error, store);
    let data = store.data_mut().data_mut();
    data.mask(&mut message);
    // What is masked is masked before anything is cut or joined: half a secret would not be found.
    let said = said.map(|mut said| {
        data.mask(&mut said);
        last_words::told(&said)
    });
    let message = said.filter(|said| !said.is_empty()).unwrap_or(message);
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
    CallError::Trap { message, backtrace }
}

fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => name.to_owned(),
        None => format!("function {}", frame.func_index()),
    };
    backtrace.frames().iter().map(name).collect()
}
