//! A host in memory, so that a plugin's own tests run under `cargo test` and need no WebAssembly.
//!
//! [`MemoryHost`] answers every privilege as the real host does: metrics with their intervals (in UTC), a clock that
//! stands still until it is moved, a log that can be read. [`Client`] sends requests to a dialect's routes.

mod client;
mod metrics;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub use client::Client;

use crate::Timestamp;
use crate::host::{Clock, HttpClient, Level, Log, MetricsRead, MetricsWrite, Random, State, StateError};
use crate::http::{HttpError, Request, Response};
use crate::metrics::{
    Defined, Definition, IntervalQuery, Metric, MetricError, MetricPage, MetricReference, Samples,
    SeriesValues, Written,
};

/// The host of a unit test. Its clock starts at 2024-04-09T14:44:00Z.
#[derive(Debug)]
pub struct MemoryHost {
    now: Cell<Timestamp>,
    metrics: RefCell<metrics::Metrics>,
    metric_calls: Cell<usize>,
    metric_failures: RefCell<Vec<(usize, MetricError)>>,
    state: RefCell<BTreeMap<String, Vec<u8>>>,
    log: RefCell<Vec<(Level, String)>>,
    sent: RefCell<Vec<Request>>,
    answers: RefCell<VecDeque<Result<Response, HttpError>>>,
    random: Cell<u64>,
}

impl Default for MemoryHost {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryHost {
    /// A host with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            now: Cell::new(Timestamp::from_seconds(1_712_673_840)),
            metrics: RefCell::default(),
            metric_calls: Cell::default(),
            metric_failures: RefCell::default(),
            state: RefCell::default(),
            log: RefCell::default(),
            sent: RefCell::default(),
            answers: RefCell::default(),
            random: Cell::new(0x5eed),
        }
    }

    /// Sets the clock.
    pub fn set_now(&self, now: Timestamp) {
        self.now.set(now);
    }

    /// Moves the clock on.
    pub fn advance(&self, duration: Duration) {
        self.now.set(self.now.get() + duration);
    }

    /// Lets one of the metric calls to come fail: after `calls` that do not, 0 being the next one.
    pub fn fail_metrics_after(&self, calls: usize, error: MetricError) {
        self.metric_failures.borrow_mut().push((self.metric_calls.get() + calls, error));
    }

    /// What the next request to the outside is answered that has no answer yet.
    pub fn answer(&self, answer: Result<Response, HttpError>) {
        self.answers.borrow_mut().push_back(answer);
    }

    /// The requests sent to the outside so far.
    #[must_use]
    pub fn sent(&self) -> Vec<Request> {
        self.sent.borrow().clone()
    }

    /// The lines logged so far.
    #[must_use]
    pub fn logged(&self) -> Vec<(Level, String)> {
        self.log.borrow().clone()
    }

    fn metric_failure(&self) -> Result<(), MetricError> {
        let call = self.metric_calls.replace(self.metric_calls.get() + 1);
        let mut failures = self.metric_failures.borrow_mut();
        match failures.iter().position(|(failing, _)| *failing == call) {
            Some(position) => Err(failures.swap_remove(position).1),
            None => Ok(()),
        }
    }
}

impl MetricsRead for MemoryHost {
    fn metric(&self, metric: impl Into<MetricReference>) -> Result<Metric, MetricError> {
        self.metric_failure()?;
        self.metrics.borrow().get(&metric.into()).cloned()
    }

    fn metrics(&self, offset: u64, limit: u32) -> Result<MetricPage, MetricError> {
        self.metric_failure()?;
        self.metrics.borrow().list(offset, limit)
    }

    fn query(&self, query: &IntervalQuery) -> Result<Vec<SeriesValues>, MetricError> {
        self.metric_failure()?;
        self.metrics.borrow().query(query)
    }
}

impl MetricsWrite for MemoryHost {
    fn define(&self, definition: &Definition) -> Result<Defined, MetricError> {
        self.metric_failure()?;
        self.metrics.borrow_mut().define(definition, self.now.get())
    }

    fn delete(&self, metric: impl Into<MetricReference>) -> Result<Metric, MetricError> {
        self.metric_failure()?;
        self.metrics.borrow_mut().delete(&metric.into())
    }

    fn write(&self, samples: impl IntoIterator<Item = Samples>) -> Result<Vec<Written>, MetricError> {
        self.metric_failure()?;
        let samples: Vec<Samples> = samples.into_iter().collect();
        self.metrics.borrow_mut().write(&samples, self.now.get())
    }
}

impl State for MemoryHost {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        state_bounds(key, None)?;
        Ok(self.state.borrow().get(key).cloned())
    }

    fn set(&self, key: &str, value: Option<&[u8]>) -> Result<(), StateError> {
        state_bounds(key, value)?;
        let mut state = self.state.borrow_mut();
        match value {
            Some(value) => state.insert(key.to_owned(), value.to_vec()),
            None => state.remove(key),
        };
        Ok(())
    }

    fn swap(&self, key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), StateError> {
        let present = self.get(key)?;
        if present.as_deref() != expected {
            return Err(StateError::Changed(present));
        }
        self.set(key, value)
    }

    fn list_keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StateError> {
        if !(1..=1000).contains(&limit) {
            return Err(StateError::Other(format!("limit is {limit}, expected 1 to 1,000")));
        }
        let state = self.state.borrow();
        let keys = state
            .keys()
            .filter(|key| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
        Ok(keys.take(limit as usize).cloned().collect())
    }
}

fn state_bounds(key: &str, value: Option<&[u8]>) -> Result<(), StateError> {
    if key.len() > 200 {
        return Err(StateError::TooLarge(format!("a key of {} bytes, of at most 200", key.len())));
    }
    match value.map_or(0, <[u8]>::len) {
        0..=32_768 => Ok(()),
        length => Err(StateError::TooLarge(format!("a value of {length} bytes, of at most 32,768"))),
    }
}

/// Answers in the order they were given with [`MemoryHost::answer`]; a request without one finds no connection.
impl HttpClient for MemoryHost {
    fn send(&self, request: Request) -> Result<Response, HttpError> {
        let unreachable = || Err(HttpError::Connection(format!("no answer was given for {}", request.url)));
        let answer = self.answers.borrow_mut().pop_front().unwrap_or_else(unreachable);
        self.sent.borrow_mut().push(request);
        answer
    }
}

impl Log for MemoryHost {
    fn log(&self, level: Level, message: &str) {
        self.log.borrow_mut().push((level, message.to_owned()));
    }
}

impl Clock for MemoryHost {
    fn now(&self) -> Timestamp {
        self.now.get()
    }
}

/// The same numbers in every test (SplitMix64).
impl Random for MemoryHost {
    fn bytes(&self, length: u32) -> Vec<u8> {
        assert!(length <= 65_536, "the host gives at most 65,536 random bytes, not {length}");
        let mut bytes = Vec::with_capacity(length as usize + 8);
        while bytes.len() < length as usize {
            let mut number = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
            self.random.set(number);
            number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.extend((number ^ (number >> 31)).to_le_bytes());
        }
        bytes.truncate(length as usize);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_swaps_only_what_it_expects() {
        let host = MemoryHost::new();
        assert_eq!(host.swap("turn", None, Some(b"1")), Ok(()));
        assert_eq!(host.swap("turn", None, Some(b"2")), Err(StateError::Changed(Some(b"1".to_vec()))));
        assert_eq!(host.swap("turn", Some(b"1"), None), Ok(()));
        assert_eq!(host.get("turn"), Ok(None));
    }

    #[test]
    fn state_lists_keys_by_prefix_in_pages() {
        let host = MemoryHost::new();
        for key in ["a/2", "b", "a/1", "a/3"] {
            host.set(key, Some(b"")).expect("within bounds");
        }
        assert_eq!(host.list_keys("a/", None, 2), Ok(vec!["a/1".into(), "a/2".into()]));
        assert_eq!(host.list_keys("a/", Some("a/2"), 2), Ok(vec!["a/3".into()]));
        assert!(host.list_keys("", None, 0).is_err());
        assert!(matches!(host.set(&"k".repeat(201), None), Err(StateError::TooLarge(_))));
        assert!(matches!(host.set("k", Some(&[0; 32_769])), Err(StateError::TooLarge(_))));
    }

    #[test]
    fn requests_meet_their_answers_in_order() {
        let host = MemoryHost::new();
        host.answer(Ok(Response { status: 202, headers: Vec::new(), body: Vec::new() }));
        host.answer(Err(HttpError::Timeout));
        assert_eq!(host.send(Request::get("https://a.example/")).map(|answer| answer.status), Ok(202));
        assert_eq!(host.send(Request::get("https://a.example/")), Err(HttpError::Timeout));
        assert!(matches!(host.send(Request::get("https://a.example/")), Err(HttpError::Connection(_))));
        assert_eq!(host.sent().len(), 3);
    }

    #[test]
    fn chance_is_the_same_in_every_test_and_never_the_same_twice() {
        let (one, other) = (MemoryHost::new(), MemoryHost::new());
        assert_eq!(one.bytes(13), other.bytes(13));
        assert_eq!(one.bytes(13).len(), 13);
        assert_ne!(one.number(), one.number());
    }
}
