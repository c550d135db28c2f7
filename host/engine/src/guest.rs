//! A call's data beside the meter that counts what its guest holds.

use wasmtime::ResourceLimiter;

use crate::limits;

/// What a store carries: the data host functions work on, and the meter.
#[derive(Debug)]
pub struct Guest<T> {
    /// What host functions work on.
    pub data: T,
    pub(crate) meter: Meter,
}

impl<T> Guest<T> {
    pub(crate) fn new(data: T, memory: usize) -> Self {
        Self { data, meter: Meter { limit: memory, held: 0, peak: 0, refused: false } }
    }
}

/// Counts the bytes of all memories and tables of a call together; wasmtime's own limiter looks at each by itself.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: usize,
    held: usize,
    peak: usize,
    refused: bool,
}

impl Meter {
    /// The most bytes held at any time.
    pub(crate) fn peak(&self) -> usize {
        self.peak
    }

    /// Whether growth was refused.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let held = desired.checked_sub(current).and_then(|more| self.held.checked_add(more));
        match held {
            Some(held) if held <= self.limit => {
                self.held = held;
                self.peak = self.peak.max(held);
                true
            }
            _ => {
                self.refused = true;
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
            self.refused |= desired > limits::MEMORY_CEILING;
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
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let entry = size_of::<usize>();
        Ok(self.grow(current.saturating_mul(entry), desired.saturating_mul(entry)))
    }

    fn instances(&self) -> usize {
        limits::INSTANCES as usize
    }

    fn tables(&self) -> usize {
        limits::TABLES as usize
    }

    fn memories(&self) -> usize {
        limits::MEMORIES as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_and_tables_count_together() {
        let mut meter = Guest::new((), 1000).meter;
        assert!(meter.memory_growing(0, 600, None).unwrap());
        assert!(meter.table_growing(0, 50, None).unwrap());
        assert!(!meter.memory_growing(0, 1, None).unwrap(), "600 bytes and 50 entries fill 1000 bytes");
        assert!(meter.refused());
        assert_eq!(meter.peak(), 1000);
    }

    #[test]
    fn growth_that_fails_anyway_is_not_counted() {
        let mut meter = Guest::new((), 1000).meter;
        assert!(!meter.memory_growing(0, 900, Some(800)).unwrap());
        assert!(!meter.table_growing(0, 90, Some(80)).unwrap());
        assert!(!meter.refused());
        assert!(meter.memory_growing(0, 1000, None).unwrap());
    }

    #[test]
    fn a_growth_that_overflows_is_refused() {
        let mut meter = Guest::new((), usize::MAX).meter;
        assert!(meter.memory_growing(0, 8, None).unwrap());
        assert!(!meter.table_growing(0, usize::MAX, None).unwrap());
    }
}
