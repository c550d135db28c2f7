//! A host in memory, so that a plugin's own tests run under `cargo test` and need no WebAssembly.
//!
//! [`MemoryHost`] answers every privilege as the real host does: metrics with their intervals (in UTC), a clock that
//! stands still until it is moved, a log that can be read, answers from outside that the test writes. [`inputs`] and
//! [`outputs`] read and write an app's values as a playbook would, [`Client`] sends requests to a dialect's routes,
//! [`rehearse`] drives a formatter's exchange, [`detect`] feeds series to a detector, [`past`] is what a forecaster predicts
//! from.
//!
//! ```
//! use std::time::Duration;
//! use bellwether_sdk::host::{Clock, HttpClient, Level, Log, State};
//! use bellwether_sdk::http::Request;
//! use bellwether_sdk::testing::{MemoryHost, response};
//!
//! let host = MemoryHost::new();
//! host.answer_to("GET", "https://weather.example/", Ok(response(200, r#"{"celsius": 21}"#)));
//! assert_eq!(host.send(Request::get("https://weather.example/today"))?.status, 200);
//!
//! let before = host.now();
//! host.advance(Duration::from_secs(3600));
//! assert_eq!(host.now(), before + Duration::from_secs(3600));
//!
//! host.set("last", Some(b"21"))?;
//! assert_eq!(host.state_keys(), ["last"]);
//! host.warn("it is warm");
//! host.assert_logged(Level::Warn, "warm");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alerts;
mod app;
mod calendar;
mod client;
mod entry;
mod formatter;
mod http;
mod matching;
mod metrics;
mod points;
mod prepare;
mod records;
mod state;
mod tagged;
mod wrong;

use std::cell::{Cell, RefCell};
use std::time::Duration;

pub use app::{inputs, outputs};
pub use client::Client;
pub use formatter::{
    answer, extremes, filled_in, notification, rehearse, rehearse_with, sent, sent_json, settings,
};
pub use http::response;
pub use points::{detect, detect_in_pieces, past};

use crate::Timestamp;
use crate::host::{
    Clock, Level, Log, MetricsRead, MetricsWrite, Random, RecordsRead, RecordsWrite, SeriesRead, SeriesWrite,
};
use crate::metrics::{
    Defined, Definition, IntervalQuery, Metric, MetricError, MetricPage, MetricReference, Samples,
    SeriesValues, Written,
};
use crate::records::{Content, Found, Record, RecordError, RecordKind, Search};
use crate::series::{
    Counted, Line, Matcher, Metadata, Question, SampleTable, Selection, SeriesError, SeriesIdentity,
    SeriesSamples, TaggedMetric, TaggedSamples,
};

/// The host of a unit test. Its clock starts at 2024-04-09T14:44:00Z.
#[derive(Debug)]
pub struct MemoryHost {
    now: Cell<Timestamp>,
    metrics: RefCell<metrics::Metrics>,
    metric_calls: Cell<usize>,
    metric_failures: RefCell<Vec<(usize, MetricError)>>,
    series: RefCell<tagged::Series>,
    records: RefCell<records::Records>,
    alerts: RefCell<alerts::Alerts>,
    state: RefCell<state::Rows>,
    log: RefCell<Vec<(Level, String)>>,
    outside: RefCell<http::Outside>,
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
            series: RefCell::default(),
            records: RefCell::default(),
            alerts: RefCell::default(),
            state: RefCell::default(),
            log: RefCell::default(),
            outside: RefCell::default(),
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

    /// Answers a query on tagged series, as it is written, with these lines: its language is the host's.
    pub fn answer_query(&self, query: &str, lines: Vec<Line>) {
        self.series.borrow_mut().answer(query, lines);
    }

    /// Says which events and logs a query, as it is written, matches: its language is the host's. One that is empty, or `*`,
    /// matches all.
    pub fn answer_search(&self, query: &str, matches: fn(&Content) -> bool) {
        self.records.borrow_mut().answer(query, matches);
    }

    /// The value of the interval the present instant falls in, of a metric's series: with its key, or without one.
    ///
    /// # Errors
    /// If there is no such metric.
    pub fn value(&self, metric: &str, key: Option<&str>) -> Result<Option<f64>, MetricError> {
        let now = self.now.get();
        let series = self.metrics.borrow().query(&IntervalQuery::new(metric, now, now))?;
        let series = series.into_iter().find(|series| series.key.as_deref() == key);
        Ok(series.and_then(|series| series.points.first().and_then(|point| point.value)))
    }

    /// The lines logged so far.
    #[must_use]
    pub fn logged(&self) -> Vec<(Level, String)> {
        self.log.borrow().clone()
    }

    /// Holds that a line of that level was logged which contains `part`.
    ///
    /// # Panics
    /// If there is none; says what was logged.
    #[track_caller]
    pub fn assert_logged(&self, level: Level, part: &str) {
        let log = self.log.borrow();
        let found = log.iter().any(|(logged, message)| *logged == level && message.contains(part));
        assert!(found, "no line of level {level:?} contains {part:?}; logged was {log:#?}");
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

impl SeriesRead for MemoryHost {
    fn ask(&self, question: &Question) -> Result<Vec<Line>, SeriesError> {
        self.series.borrow().query(question)
    }

    fn samples(
        &self,
        metric: &str,
        filter: &str,
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Vec<SeriesSamples>, SeriesError> {
        self.series.borrow().samples(metric, filter, start, end)
    }

    fn select(
        &self,
        matchers: &[Matcher],
        start: Timestamp,
        end: Timestamp,
        limit: u32,
    ) -> Result<Vec<Selection>, SeriesError> {
        self.series.borrow().select(matchers, start, end, limit)
    }

    fn find(&self, matchers: &[Matcher], limit: u32) -> Result<Vec<SeriesIdentity>, SeriesError> {
        self.series.borrow().find(matchers, limit)
    }

    fn find_keys(&self, matchers: &[Matcher], limit: u32) -> Result<Vec<String>, SeriesError> {
        self.series.borrow().find_keys(matchers, limit)
    }

    fn find_values(
        &self,
        matchers: &[Matcher],
        key: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, SeriesError> {
        self.series.borrow().find_values(matchers, key, limit)
    }

    fn tagged_metrics(
        &self,
        part: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<TaggedMetric>, SeriesError> {
        self.series.borrow().list(part, after, limit)
    }

    fn tagged_metric(&self, metric: &str) -> Result<TaggedMetric, SeriesError> {
        self.series.borrow().get(metric)
    }

    fn tag_keys(&self, metric: &str) -> Result<Vec<Counted>, SeriesError> {
        self.series.borrow().tag_keys(metric)
    }

    fn tag_values(
        &self,
        metric: &str,
        key: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Counted>, SeriesError> {
        self.series.borrow().tag_values(metric, key, after, limit)
    }
}

impl SeriesWrite for MemoryHost {
    fn write_series(
        &self,
        shared_tags: &[&str],
        series: impl IntoIterator<Item = TaggedSamples>,
    ) -> Result<u64, SeriesError> {
        self.series.borrow_mut().write(shared_tags, series.into_iter().collect())
    }

    fn write_table(&self, table: &SampleTable) -> Result<u64, SeriesError> {
        if table.untold() > 0 {
            let expected = "no texts, times or values behind the last series";
            return Err(SeriesError::Invalid(wrong::field("table", table.untold(), expected)));
        }
        self.series.borrow_mut().write(&[], table.to_series())
    }

    fn describe(&self, metric: &str, metadata: &Metadata) -> Result<(), SeriesError> {
        self.series.borrow_mut().describe(metric, metadata)
    }

    fn delete_series(&self, metric: &str, filter: &str) -> Result<u64, SeriesError> {
        self.series.borrow_mut().delete(metric, filter)
    }
}

impl RecordsRead for MemoryHost {
    fn search(&self, search: &Search) -> Result<Found, RecordError> {
        self.records.borrow().search(search)
    }

    fn record(&self, kind: RecordKind, id: u64) -> Result<Record, RecordError> {
        self.records.borrow().get(kind, id)
    }
}

impl RecordsWrite for MemoryHost {
    fn append(&self, kind: RecordKind, contents: Vec<Content>) -> Result<u64, RecordError> {
        self.records.borrow_mut().append(kind, contents, self.now.get())
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
        assert!(length <= 65_536, "random.bytes was asked for {length} bytes, it gives at most 65536");
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
    fn tagged_series_are_read_back_as_written_and_queries_answered_as_told() {
        let host = MemoryHost::new();
        let at = Timestamp::from_seconds;
        let series = ["b", "a"].map(|name| {
            TaggedSamples::of("cpu").tag(format!("host:{name}")).at(at(2), 2.0).at(at(1), 1.0).at(at(2), 3.0)
        });
        assert_eq!(host.write_series(&["env:prod"], series), Ok(6));
        let read = host.samples("cpu", "env:prod,!host:b*", at(0), at(9)).expect("a filter");
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].tags, ["env:prod", "host:a"]);
        assert_eq!(read[0].samples, [(at(1), 1.0), (at(2), 3.0)], "of one time the last holds");
        assert_eq!(host.tag_values("cpu", "host", None, 10).expect("a metric").len(), 2);
        assert_eq!(host.tagged_metric("cpu").map(|metric| metric.series), Ok(2));
        assert_eq!(host.delete_series("cpu", "host:a"), Ok(1));
        let wrong = host.write_series(&[], [TaggedSamples::of("cpu").tag(":a").at(at(1), 1.0)]);
        assert!(matches!(wrong, Err(SeriesError::Invalid(error)) if error.field == "series[0].tags[0]"));

        let question = Question::new("avg:cpu{*}", at(0), at(9));
        assert!(host.ask(&question).is_err());
        let line = Line { metric: None, tags: Vec::new(), step: 1000, points: vec![(at(1), 1.0)] };
        host.answer_query("avg:cpu{*}", vec![line.clone()]);
        assert_eq!(host.ask(&question), Ok(vec![line]));
    }

    #[test]
    fn events_and_logs_are_found_as_appended_and_queries_match_what_the_test_says() {
        use crate::records::Order;
        let host = MemoryHost::new();
        let at = Timestamp::from_seconds;
        let log = |seconds, message: &str| Content {
            time: at(seconds),
            message: message.to_owned(),
            ..Content::default()
        };
        let appended = host.append(RecordKind::Log, vec![log(2, "b"), log(1, "a"), log(3, "c")]);
        assert_eq!(appended, Ok(1));
        let event = Content { title: "Deployed".into(), ..log(2, "") };
        assert_eq!(host.append(RecordKind::Event, vec![event.clone()]), Ok(4));
        assert_eq!(host.record(RecordKind::Event, 4).map(|record| record.content), Ok(event));
        assert_eq!(host.record(RecordKind::Log, 4), Err(RecordError::Unknown(4)));
        let search = Search { limit: 2, ..Search::all(RecordKind::Log, at(0), at(9)) };
        let page = host.search(&search).expect("a page");
        assert_eq!(page.records.iter().map(|record| record.id).collect::<Vec<_>>(), [3, 1]);
        let rest = host.search(&Search { cursor: page.next, ..search.clone() }).expect("a page");
        assert_eq!((rest.records[0].id, rest.next), (2, None));
        let search = Search { query: "a".into(), order: Order::Oldest, ..search };
        assert!(host.search(&search).is_err());
        host.answer_search("a", |content| content.message == "a");
        assert_eq!(host.search(&search).expect("a page").records.len(), 1);
        let wrong = host.append(RecordKind::Event, vec![log(1, "no title")]);
        assert!(matches!(wrong, Err(RecordError::Invalid(error)) if error.field == "records[0].title"));
    }

    #[test]
    fn series_are_selected_by_matchers_as_the_host_does() {
        use crate::series::Comparison::{Equal, Matches, NotEqual, NotMatches};
        let host = MemoryHost::new();
        let at = Timestamp::from_seconds;
        let series = [
            TaggedSamples::of("up").tag("job:api").at(at(1), 1.0).at(at(2), 0.0),
            TaggedSamples::of("up").tag("job:db").tag("zone:a:b").at(at(1), 1.0),
            TaggedSamples::of("down").at(at(1), 1.0),
        ];
        assert_eq!(host.write_series(&[], series), Ok(4));
        for (matchers, expected) in [
            (vec![], &["down", "up job:api", "up job:db zone:a:b"][..]),
            (vec![Matcher::metric(Equal, "up"), Matcher::tag("job", Matches, "a.*")], &["up job:api"]),
            (vec![Matcher::metric(NotMatches, "u.")], &["down"]),
            (vec![Matcher::tag("zone", Equal, "")], &["down", "up job:api"]),
            (vec![Matcher::tag("zone", NotEqual, "")], &["up job:db zone:a:b"]),
            (vec![Matcher::tag("job", NotEqual, "api")], &["down", "up job:db zone:a:b"]),
        ] {
            let shown = |identity: &SeriesIdentity| {
                format!("{} {}", identity.metric, identity.tags.join(" ")).trim_end().to_owned()
            };
            let found = host.find(&matchers, 10).expect("matchers");
            assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), expected, "{matchers:?}");
            let selected = host.select(&matchers, at(0), at(9), 10).expect("few samples");
            let identities = selected.iter().map(|selection| shown(&selection.identity));
            assert_eq!(identities.collect::<Vec<_>>(), expected, "{matchers:?}");
        }
        assert_eq!(host.find_keys(&[], 1), Ok(vec!["job".to_owned()]));
        assert_eq!(host.find_values(&[], Some("zone"), 9), Ok(vec!["a:b".to_owned()]));
        assert_eq!(host.find_values(&[], None, 9), Ok(vec!["down".to_owned(), "up".to_owned()]));
        assert!(matches!(host.select(&[], at(0), at(9), 3), Err(SeriesError::Limit(_))));
        let wrong = host.find(&[Matcher::metric(Matches, "(")], 9);
        assert!(matches!(wrong, Err(SeriesError::Invalid(error)) if error.field == "matchers[0].value"));
        assert!(matches!(host.find(&[], 0), Err(SeriesError::Invalid(error)) if error.field == "limit"));
    }

    #[test]
    fn a_value_is_the_one_of_the_present_interval() {
        let host = MemoryHost::new();
        host.define(&Definition::new("m", crate::metrics::DataType::Sum, crate::metrics::Interval::Daily))
            .expect("new");
        host.write_one(Samples::of("m").value(2.0)).expect("written");
        assert_eq!(host.value("m", None), Ok(Some(2.0)));
        host.advance(Duration::from_secs(86_400));
        assert_eq!(host.value("m", None), Ok(None), "another day");
        assert!(host.value("none", None).is_err());
    }

    #[test]
    #[should_panic(expected = "contains \"warm\"; logged was")]
    fn a_line_of_another_level_is_not_the_one_asked_for() {
        let host = MemoryHost::new();
        host.info("it is warm");
        host.assert_logged(Level::Warn, "warm");
    }

    #[test]
    fn chance_is_the_same_in_every_test_and_never_the_same_twice() {
        let (one, other) = (MemoryHost::new(), MemoryHost::new());
        assert_eq!(one.bytes(13), other.bytes(13));
        assert_eq!(one.bytes(13).len(), 13);
        assert_ne!(one.number(), one.number());
    }
}
