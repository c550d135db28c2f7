//! A call's data beside the meter that counts what its guest uses.

use std::any::Any;
use std::time::Instant;

use wasmtime::ResourceLimiter;

use crate::sandbox::Bounds;
use crate::{CallLimits, ErrorCase, Store};

/// What a call's data tells the sandbox.
pub trait CallData: Send + 'static {
    /// Bytes the guest handed over in host calls until now.
    fn handed_over(&self) -> u64 {
        0
    }

    /// Takes out of what the guest said when it trapped what nobody is to be shown.
    fn mask(&self, _said: &mut String) {}
}

impl CallData for () {}

/// What a store carries: the data host functions work on, and the meter.
#[derive(Debug)]
pub struct Guest<T> {
    /// None between the calls of a warm instance.
    data: Option<T>,
    pub(crate) meter: Meter,
    /// What [`exports`] found in the instance.
    exports: Vec<Box<dyn Any + Send + Sync>>,
}

/// The exports of the instance in `store`, as `load` finds them: once in its life, since their types are checked then,
/// which takes longer than a small call. They are told apart by their type.
///
/// # Errors
/// Those of `load`.
pub fn exports<T: 'static, E: Clone + Send + Sync + 'static>(
    store: &mut Store<T>,
    load: impl FnOnce(&mut Store<T>) -> wasmtime::Result<E>,
) -> wasmtime::Result<E> {
    if let Some(known) = store.data().exports.iter().find_map(|known| known.downcast_ref::<E>()) {
        return Ok(known.clone());
    }
    let loaded = load(store)?;
    store.data_mut().exports.push(Box::new(loaded.clone()));
    Ok(loaded)
}

/// Why there is data whenever guest code runs.
const AT_WORK: &str = "a guest at work has its call's data";

impl<T> Guest<T> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { data: None, meter: Meter::new(bounds), exports: Vec::new() }
    }

    /// Begins a call.
    pub(crate) fn begin(&mut self, data: T, limits: &CallLimits, deadline: Instant, tenant: u64) {
        self.data = Some(data);
        self.meter.begin(limits, deadline, tenant);
    }

    /// Ends it: its data.
    pub(crate) fn end(&mut self) -> T {
        self.data.take().expect(AT_WORK)
    }

    /// What host functions work on; counts a host call. Give this to the linker, so that every call is counted once.
    ///
    /// # Panics
    /// Never: guest code only runs within a call.
    pub fn host_call(&mut self) -> &mut T {
        self.meter.host_calls += 1;
        self.data_mut()
    }

    /// What host functions work on.
    ///
    /// # Panics
    /// Never: guest code only runs within a call.
    pub fn data_mut(&mut self) -> &mut T {
        self.data.as_mut().expect(AT_WORK)
    }
}

impl<T: CallData> Guest<T> {
    /// Which limit of host calls the guest has passed, if any.
    pub(crate) fn excess(&self) -> Option<ErrorCase> {
        self.meter.excess(self.handed_over())
    }

    /// Bytes the guest handed over in host calls until now.
    pub(crate) fn handed_over(&self) -> u64 {
        self.data.as_ref().map_or(0, CallData::handed_over)
    }
}

/// Counts what a call uses: the bytes and entries of all its memories and tables together, where wasmtime's own limiter
/// looks at each by itself, and its host calls.
#[derive(Debug)]
pub(crate) struct Meter {
    bounds: Bounds,
    pub(crate) limits: CallLimits,
    pub(crate) deadline: Instant,
    /// Whose call it is.
    pub(crate) tenant: u64,
    held: usize,
    peak: usize,
    entries: usize,
    refused: Option<ErrorCase>,
    host_calls: u64,
}

impl Meter {
    fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            limits: CallLimits::default(),
            deadline: Instant::now(),
            tenant: 0,
            held: 0,
            peak: 0,
            entries: 0,
            refused: None,
            host_calls: 0,
        }
    }

    /// Begins a call: what an instance holds from before still counts, what it did does not.
    fn begin(&mut self, limits: &CallLimits, deadline: Instant, tenant: u64) {
        (self.limits, self.deadline, self.tenant) = (*limits, deadline, tenant);
        (self.peak, self.refused, self.host_calls) = (self.held, None, 0);
    }

    /// The bytes held now.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// The stack guest code may use, in bytes.
    pub(crate) fn stack(&self) -> usize {
        self.bounds.stack
    }

    /// The most bytes held at any time.
    pub(crate) fn peak(&self) -> usize {
        self.peak
    }

    /// Why growth was refused last, if it was.
    pub(crate) fn refused(&self) -> Option<ErrorCase> {
        self.refused
    }

    /// How often the host was called.
    pub(crate) fn host_calls(&self) -> u64 {
        self.host_calls
    }

    pub(crate) fn excess(&self, handed_over: u64) -> Option<ErrorCase> {
        if self.host_calls > self.limits.host_calls {
            return Some(ErrorCase::HostCalls);
        }
        (handed_over > self.limits.host_bytes).then_some(ErrorCase::HostBytes)
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let held = desired.checked_sub(current).and_then(|more| self.held.checked_add(more));
        match held {
            Some(held) if held <= self.limits.memory => {
                self.held = held;
                self.peak = self.peak.max(held);
                true
            }
            _ => {
                self.refused = Some(ErrorCase::Memory);
                false
            }
        }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Growth above the maximum fails whatever is answered here, and must not be counted.
        if maximum.is_some_and(|maximum| desired > maximum) {
            if desired > self.limits.memory {
                self.refused = Some(ErrorCase::Memory);
            }
            return Ok(false);
        }
        Ok(self.grow(current, desired))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let entries = desired.checked_sub(current).and_then(|more| self.entries.checked_add(more));
        let Some(entries) = entries.filter(|entries| *entries <= self.limits.table_entries) else {
            self.refused = Some(ErrorCase::Tables);
            return Ok(false);
        };
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let entry = size_of::<usize>();
        let grows = self.grow(current.saturating_mul(entry), desired.saturating_mul(entry));
        if grows {
            self.entries = entries;
        }
        Ok(grows)
    }

    fn instances(&self) -> usize {
        self.bounds.instances as usize
    }

    fn tables(&self) -> usize {
        self.bounds.tables as usize
    }

    fn memories(&self) -> usize {
        self.bounds.memories as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sandbox;

    fn guest(limits: &CallLimits) -> Guest<()> {
        let mut guest = Guest::new(Sandbox::Small.bounds());
        guest.begin((), limits, Instant::now(), 1);
        guest
    }

    fn meter(memory: usize, table_entries: usize) -> Meter {
        guest(&CallLimits { memory, table_entries, ..CallLimits::default() }).meter
    }

    #[test]
    fn exports_are_looked_up_once_and_told_apart_by_their_type() {
        let mut store: Store<()> =
            wasmtime::Store::new(&wasmtime::Engine::default(), guest(&CallLimits::default()));
        assert!(exports::<(), u32>(&mut store, |_| Err(wasmtime::format_err!("not found"))).is_err());
        for _ in 0..2 {
            assert_eq!(exports(&mut store, |_| Ok(1_u32)).unwrap(), 1);
            assert_eq!(exports(&mut store, |_| Ok("other")).unwrap(), "other");
        }
        assert_eq!(exports(&mut store, |_| Ok(2_u32)).unwrap(), 1, "what was found stays");
    }

    #[test]
    fn all_memories_and_tables_count_together() {
        let mut meter = meter(1000, 100);
        assert!(meter.memory_growing(0, 600, None).unwrap());
        assert!(meter.table_growing(0, 50, None).unwrap());
        assert!(!meter.memory_growing(0, 1, None).unwrap(), "600 bytes and 50 entries fill 1000 bytes");
        assert_eq!(meter.refused(), Some(ErrorCase::Memory));
        assert_eq!(meter.peak(), 1000);
    }

    #[test]
    fn the_entries_of_all_tables_count_together() {
        let mut meter = meter(1 << 20, 100);
        assert!(meter.table_growing(0, 60, None).unwrap());
        assert!(!meter.table_growing(0, 41, None).unwrap());
        assert_eq!(meter.refused(), Some(ErrorCase::Tables));
        assert!(meter.table_growing(60, 100, None).unwrap());
    }

    #[test]
    fn growth_that_fails_anyway_is_not_counted() {
        let mut meter = meter(1000, 100);
        assert!(!meter.memory_growing(0, 900, Some(800)).unwrap());
        assert!(!meter.table_growing(0, 90, Some(80)).unwrap());
        assert_eq!(meter.refused(), None);
        assert!(meter.memory_growing(0, 1000, None).unwrap());
    }

    #[test]
    fn a_growth_that_overflows_is_refused() {
        let mut meter = meter(usize::MAX, usize::MAX);
        assert!(meter.memory_growing(0, 8, None).unwrap());
        assert!(!meter.table_growing(0, usize::MAX, None).unwrap());
    }

    #[test]
    fn host_calls_and_what_they_hand_over_are_limited() {
        let mut guest = guest(&CallLimits { host_calls: 2, ..CallLimits::default() });
        guest.host_call();
        guest.host_call();
        assert_eq!(guest.excess(), None);
        guest.host_call();
        assert_eq!(guest.excess(), Some(ErrorCase::HostCalls));
        let meter = meter(0, 0);
        assert_eq!(meter.excess(meter.limits.host_bytes), None);
        assert_eq!(meter.excess(meter.limits.host_bytes + 1), Some(ErrorCase::HostBytes));
    }

    #[test]
    fn what_an_instance_holds_from_before_still_counts_and_what_it_did_does_not() {
        let limits = CallLimits { memory: 1000, host_calls: 1, ..CallLimits::default() };
        let mut guest = guest(&limits);
        guest.host_call();
        guest.host_call();
        assert!(guest.meter.memory_growing(0, 600, None).unwrap());
        assert!(!guest.meter.memory_growing(600, 1200, None).unwrap());
        guest.end();
        guest.begin((), &limits, Instant::now(), 1);
        assert_eq!((guest.excess(), guest.meter.refused(), guest.meter.peak()), (None, None, 600));
        assert!(!guest.meter.memory_growing(600, 1200, None).unwrap());
    }
}
