//! What a plugin may ask the host for: one trait per privilege.
//!
//! A function that takes `host: &(impl MetricsWrite + Log)` states what it may do, the compiler holds it to that, and
//! the component built from it imports those two interfaces and no other. A host borrows nothing (`'static`), so that
//! routes may name it. [`Live`] is the host a component meets,
//! [`testing::MemoryHost`](crate::testing::MemoryHost) the one of a unit test.

mod live;
mod state;

use crate::Timestamp;
use crate::alerts::{
    AlertError, Breach, Incident, IncidentFilter, IncidentPage, Monitor, Mute, NewMute, SeriesPage, Stored,
};
pub use crate::bindings::imports::bellwether::host::log::Level;
use crate::http::{HttpError, Request, Response};
use crate::metrics::{
    Defined, Definition, IntervalQuery, Metric, MetricError, MetricPage, MetricReference, Samples,
    SeriesValues, Written,
};
use crate::records::{Content, Found, Record, RecordError, RecordKind, Search};
use crate::series::{
    Counted, Line, Matcher, Metadata, Question, SampleTable, Selection, SeriesError, SeriesIdentity,
    SeriesSamples, TaggedMetric, TaggedSamples,
};
pub use live::Live;
pub use state::{State, StateError};

/// Reading metrics. Scope of a grant: metric name patterns.
pub trait MetricsRead: 'static {
    /// One metric, by its id or name.
    ///
    /// # Errors
    /// [`MetricError::UnknownMetric`] and what any call may answer.
    fn metric(&self, metric: impl Into<MetricReference>) -> Result<Metric, MetricError>;

    /// Metrics ordered by id: `limit` (1 to 1,000) of them after the first `offset`.
    ///
    /// # Errors
    /// [`MetricError::Invalid`] for another limit.
    fn metrics(&self, offset: u64, limit: u32) -> Result<MetricPage, MetricError>;

    /// The values of a range of intervals. At most 100,000 values in all.
    ///
    /// # Errors
    /// [`MetricError::Limit`] for a larger answer.
    fn query(&self, query: &IntervalQuery) -> Result<Vec<SeriesValues>, MetricError>;
}

/// Creating, feeding and deleting metrics. Scope of a grant: metric name patterns.
pub trait MetricsWrite: 'static {
    /// Creates a metric, or returns the one of that name if its definition is the same.
    ///
    /// # Errors
    /// [`MetricError::Conflict`] if its definition is another, [`MetricError::Invalid`] for one that cannot be.
    fn define(&self, definition: &Definition) -> Result<Defined, MetricError>;

    /// Deletes a metric with all its data.
    ///
    /// # Errors
    /// [`MetricError::UnknownMetric`] if there is none.
    fn delete(&self, metric: impl Into<MetricReference>) -> Result<Metric, MetricError>;

    /// Adds samples: one answer for each entry. All are durable when this returns, or none is.
    ///
    /// # Errors
    /// [`MetricError::Invalid`] names the first wrong sample.
    fn write(&self, samples: impl IntoIterator<Item = Samples>) -> Result<Vec<Written>, MetricError>;

    /// Adds the samples of one series.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn write_one(&self, samples: Samples) -> Result<Written, MetricError> {
        let written = self.write([samples])?.pop();
        written.ok_or_else(|| MetricError::Other("the host answered nothing to one entry".into()))
    }

    /// As [`Self::write`], for who does not need to know what it amounts to: cheaper, as nothing is waited for. All are
    /// durable before the call's answer goes out, and what the call reads later has them in.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn add(&self, samples: impl IntoIterator<Item = Samples>) -> Result<(), MetricError> {
        self.write(samples).map(drop)
    }
}

/// Reading tagged series. Scope of a grant: metric name patterns.
pub trait SeriesRead: 'static {
    /// Asks a question. Every metric it names must be granted.
    ///
    /// # Errors
    /// [`SeriesError::Syntax`] where it does not read, [`SeriesError::Limit`] for what is too much.
    fn ask(&self, question: &Question) -> Result<Vec<Line>, SeriesError>;

    /// The samples of each series of a metric that `filter` means, `*` for all; from `start` to `end`, both included.
    ///
    /// # Errors
    /// As [`Self::ask`].
    fn samples(
        &self,
        metric: &str,
        filter: &str,
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Vec<SeriesSamples>, SeriesError>;

    /// The samples of each granted series that all matchers mean, from `start` to `end`, both included; those without
    /// any left out. In order of metrics, then tags; in columns, as they cross the boundary.
    ///
    /// # Errors
    /// [`SeriesError::Limit`] for more than `limit` samples in all; [`SeriesError::Invalid`] for a regular expression
    /// that does not read.
    fn select(
        &self,
        matchers: &[Matcher],
        start: Timestamp,
        end: Timestamp,
        limit: u32,
    ) -> Result<Vec<Selection>, SeriesError>;

    /// The first `limit` (1 to 20,000) granted series that all matchers mean, whenever they had samples; in order of
    /// metrics.
    ///
    /// # Errors
    /// [`SeriesError::Invalid`] for another limit, or a regular expression that does not read.
    fn find(&self, matchers: &[Matcher], limit: u32) -> Result<Vec<SeriesIdentity>, SeriesError>;

    /// The first `limit` (1 to 20,000) keys of the tags that those series have, in order.
    ///
    /// # Errors
    /// As [`Self::find`].
    fn find_keys(&self, matchers: &[Matcher], limit: u32) -> Result<Vec<String>, SeriesError>;

    /// The first `limit` (1 to 20,000) values that those series have of a tag's key, in order; of none, the names of
    /// their metrics.
    ///
    /// # Errors
    /// As [`Self::find`].
    fn find_values(
        &self,
        matchers: &[Matcher],
        key: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, SeriesError>;

    /// Up to `limit` (1 to 1,000) metrics that are granted and whose names contain `part`, letter case ignored; in
    /// order, after `after`.
    ///
    /// # Errors
    /// [`SeriesError::Invalid`] for another limit.
    fn tagged_metrics(
        &self,
        part: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<TaggedMetric>, SeriesError>;

    /// One metric with tagged series.
    ///
    /// # Errors
    /// [`SeriesError::UnknownMetric`] if there is none.
    fn tagged_metric(&self, metric: &str) -> Result<TaggedMetric, SeriesError>;

    /// The keys of the tags that a metric's series have.
    ///
    /// # Errors
    /// [`SeriesError::UnknownMetric`] if there is none.
    fn tag_keys(&self, metric: &str) -> Result<Vec<Counted>, SeriesError>;

    /// Up to `limit` (1 to 1,000) values of a tag's key that a metric's series have, in order, after `after`.
    ///
    /// # Errors
    /// [`SeriesError::UnknownMetric`] if there is none.
    fn tag_values(
        &self,
        metric: &str,
        key: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Counted>, SeriesError>;
}

/// Writing and deleting tagged series. Scope of a grant: metric name patterns.
pub trait SeriesWrite: 'static {
    /// Adds samples; series that are not there are made, each with the shared tags beside its own. Gives how many
    /// samples there were. All are durable, or none is, before the call's answer goes out, and what the call reads later
    /// has them in. The same write again changes nothing.
    ///
    /// # Errors
    /// [`SeriesError::Invalid`] names what is wrong, [`SeriesError::Limit`] what is too much.
    fn write_series(
        &self,
        shared_tags: &[&str],
        series: impl IntoIterator<Item = TaggedSamples>,
    ) -> Result<u64, SeriesError>;

    /// As [`Self::write_series`], for many series of few samples each: nothing of the table is copied one by one.
    ///
    /// # Errors
    /// As [`Self::write_series`]; series are counted in the order they were told.
    fn write_table(&self, table: &SampleTable) -> Result<u64, SeriesError>;

    /// Sets what is known of a metric, samples or not.
    ///
    /// # Errors
    /// [`SeriesError::Invalid`] names what is wrong.
    fn describe(&self, metric: &str, metadata: &Metadata) -> Result<(), SeriesError>;

    /// Deletes the series of a metric that `filter` means, `*` for all, with their samples; gives how many.
    ///
    /// # Errors
    /// [`SeriesError::UnknownMetric`] if there is none.
    fn delete_series(&self, metric: &str, filter: &str) -> Result<u64, SeriesError>;
}

/// Searching events and logs. Scope of a grant: which of the two.
pub trait RecordsRead: 'static {
    /// A page of what matches.
    ///
    /// # Errors
    /// [`RecordError::Syntax`] where the query does not read, [`RecordError::Limit`] where one moment has too many records.
    fn search(&self, search: &Search) -> Result<Found, RecordError>;

    /// One event or log.
    ///
    /// # Errors
    /// [`RecordError::Unknown`] if there is none.
    fn record(&self, kind: RecordKind, id: u64) -> Result<Record, RecordError>;
}

/// Appending events and logs. Scope of a grant: which of the two.
pub trait RecordsWrite: 'static {
    /// Appends records and gives the first one's id; the others' follow it, in order. All are durable when this returns,
    /// or none is.
    ///
    /// # Errors
    /// [`RecordError::Invalid`] names what is wrong, [`RecordError::Limit`] what is too much.
    fn append(&self, kind: RecordKind, contents: Vec<Content>) -> Result<u64, RecordError>;
}

/// Reading monitors and incidents. Scope of a grant: patterns over monitors' names.
pub trait AlertsRead: 'static {
    /// One monitor, by its name or the digits of its id.
    ///
    /// # Errors
    /// [`AlertError::Unknown`] and what any call may answer.
    fn monitor(&self, monitor: &str) -> Result<Monitor, AlertError>;

    /// Up to `limit` (1 to 1,000) monitors that are granted, ordered by id, after the one with the id `after`.
    ///
    /// # Errors
    /// [`AlertError::Invalid`] for another limit.
    fn monitors(&self, after: Option<u64>, limit: u32) -> Result<Vec<Monitor>, AlertError>;

    /// How the series of a monitor stand: up to `limit` (1 to 1,000).
    ///
    /// # Errors
    /// [`AlertError::Unknown`]; [`AlertError::Invalid`] for another limit, or a cursor that is not of this list.
    fn monitor_series(
        &self,
        monitor: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<SeriesPage, AlertError>;

    /// Incidents of monitors that are granted: up to `limit` (1 to 1,000), those that opened last first.
    ///
    /// # Errors
    /// [`AlertError::Invalid`] for another limit, or a cursor that is not of this list.
    fn incidents(
        &self,
        filter: &IncidentFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<IncidentPage, AlertError>;

    /// One incident.
    ///
    /// # Errors
    /// [`AlertError::Unknown`] and what any call may answer.
    fn incident(&self, incident: &str) -> Result<Incident, AlertError>;

    /// The breaches an incident is made of: those that go on, then the latest that are over, up to `limit` (1 to 1,000).
    ///
    /// # Errors
    /// [`AlertError::Unknown`]; [`AlertError::Invalid`] for another limit.
    fn breaches(&self, incident: &str, limit: u32) -> Result<Vec<Breach>, AlertError>;

    /// Every mute of monitors that are granted, those that are over included: up to `limit` (1 to 1,000) ordered by id,
    /// after the one with the id `after`.
    ///
    /// # Errors
    /// [`AlertError::Invalid`] for another limit.
    fn mutes(&self, after: Option<u64>, limit: u32) -> Result<Vec<Mute>, AlertError>;
}

/// Making monitors, and working on their incidents. Scope of a grant: patterns over monitors' names.
pub trait AlertsWrite: 'static {
    /// Stores the monitor of a document (JSON, as the host's HTTP API takes it): a new one, or the next version of the one
    /// of its name. The same document again changes nothing.
    ///
    /// # Errors
    /// [`AlertError::Invalid`] names everything that is wrong with the document.
    fn put_monitor(&self, document: &str) -> Result<Stored, AlertError>;

    /// Pauses a monitor, or goes on with it. Its incidents stay as they are meanwhile.
    ///
    /// # Errors
    /// [`AlertError::Unknown`] if there is none.
    fn pause_monitor(&self, monitor: &str, paused: bool) -> Result<Monitor, AlertError>;

    /// Deletes a monitor and closes its incidents, which stay.
    ///
    /// # Errors
    /// [`AlertError::Unknown`] if there is none.
    fn delete_monitor(&self, monitor: &str) -> Result<(), AlertError>;

    /// Says that an open incident is known: it is not told again until it becomes worse.
    ///
    /// # Errors
    /// [`AlertError::Unknown`]; [`AlertError::Conflict`] if it is over.
    fn acknowledge(&self, incident: &str) -> Result<Incident, AlertError>;

    /// Says who looks after an open incident; nobody, if it is absent. 1 to 100 bytes.
    ///
    /// # Errors
    /// As [`Self::acknowledge`]; [`AlertError::Invalid`] for a name that is too long.
    fn assign(&self, incident: &str, assignee: Option<&str>) -> Result<Incident, AlertError>;

    /// Says something about an incident, also after it is over. 1 to 2,000 characters.
    ///
    /// # Errors
    /// [`AlertError::Unknown`]; [`AlertError::Invalid`] for a text that is too long.
    fn comment(&self, incident: &str, text: &str) -> Result<Incident, AlertError>;

    /// Closes an open incident. What breaches still at its monitor's next evaluation opens another.
    ///
    /// # Errors
    /// As [`Self::acknowledge`].
    fn resolve(&self, incident: &str) -> Result<Incident, AlertError>;

    /// Mutes something: nobody is told of it while that lasts.
    ///
    /// # Errors
    /// [`AlertError::Forbidden`] for monitors that are not granted; [`AlertError::Invalid`] for an end that is past.
    fn add_mute(&self, new: &NewMute) -> Result<Mute, AlertError>;

    /// Removes a mute. What is bad still is told at the next evaluation.
    ///
    /// # Errors
    /// [`AlertError::Unknown`] if there is none.
    fn remove_mute(&self, id: u64) -> Result<(), AlertError>;
}

/// Requests to the outside. Scope of a grant: hosts, with their scheme and port, and methods.
pub trait HttpClient: 'static {
    /// Sends a request and waits for its answer, whatever its status.
    ///
    /// # Errors
    /// If there is none.
    fn send(&self, request: Request) -> Result<Response, HttpError>;
}

/// Lines for whoever operates the plugin, kept with the run or call they belong to.
pub trait Log: 'static {
    /// Writes one line. Beyond the host's limit lines are dropped and the drop is noted once.
    fn log(&self, level: Level, message: &str);

    /// For following a plugin step by step.
    fn debug(&self, message: &str) {
        self.log(Level::Debug, message);
    }

    /// Something worth knowing.
    fn info(&self, message: &str) {
        self.log(Level::Info, message);
    }

    /// Something is odd, and the work goes on.
    fn warn(&self, message: &str) {
        self.log(Level::Warn, message);
    }

    /// Something failed.
    fn error(&self, message: &str) {
        self.log(Level::Error, message);
    }
}

/// The host's clock: in a component `std::time` has none.
pub trait Clock: 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// Chance, from the operating system's generator; fit for secrets.
pub trait Random: 'static {
    /// `length` random bytes, at most 65,536; more traps.
    fn bytes(&self, length: u32) -> Vec<u8>;

    /// Any number, each as likely.
    fn number(&self) -> u64 {
        let mut number = [0; 8];
        for (byte, random) in number.iter_mut().zip(self.bytes(8)) {
            *byte = random;
        }
        u64::from_le_bytes(number)
    }
}
