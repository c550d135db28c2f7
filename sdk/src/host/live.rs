//! The host a component meets: every call is an import.

use super::{
    AlertsRead, AlertsWrite, Clock, HttpClient, Level, Log, MetricsRead, MetricsWrite, Random, RecordsRead,
    RecordsWrite, SeriesRead, SeriesWrite, State, StateError,
};
use crate::Timestamp;
use crate::alerts::{
    AlertError, Breach, Incident, IncidentFilter, IncidentPage, Monitor, Mute, NewMute, SeriesPage, Stored,
};
use crate::bindings::imports::bellwether::host as raw;
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

/// The host a component runs in. It is nothing but a name: every function called on it becomes one import, and
/// those never called are not in the component. Outside a component every call panics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Live;

impl MetricsRead for Live {
    fn metric(&self, metric: impl Into<MetricReference>) -> Result<Metric, MetricError> {
        Ok(raw::metrics_read::get(&metric.into())?.into())
    }

    fn metrics(&self, offset: u64, limit: u32) -> Result<MetricPage, MetricError> {
        Ok(raw::metrics_read::list_metrics(offset, limit)?.into())
    }

    fn query(&self, query: &IntervalQuery) -> Result<Vec<SeriesValues>, MetricError> {
        Ok(raw::metrics_read::query(&query.into())?.into_iter().map(Into::into).collect())
    }
}

impl MetricsWrite for Live {
    fn define(&self, definition: &Definition) -> Result<Defined, MetricError> {
        Ok(raw::metrics_write::define(&definition.into())?.into())
    }

    fn delete(&self, metric: impl Into<MetricReference>) -> Result<Metric, MetricError> {
        Ok(raw::metrics_write::delete(&metric.into())?.into())
    }

    fn write(&self, samples: impl IntoIterator<Item = Samples>) -> Result<Vec<Written>, MetricError> {
        let samples: Vec<_> = samples.into_iter().map(Into::into).collect();
        Ok(raw::metrics_write::write(&samples)?.into_iter().map(Into::into).collect())
    }

    fn add(&self, samples: impl IntoIterator<Item = Samples>) -> Result<(), MetricError> {
        let samples: Vec<_> = samples.into_iter().map(Into::into).collect();
        Ok(raw::metrics_write::add(&samples)?)
    }
}

impl SeriesRead for Live {
    fn ask(&self, question: &Question) -> Result<Vec<Line>, SeriesError> {
        Ok(raw::series_read::query(&question.into())?.into_iter().map(Into::into).collect())
    }

    fn samples(
        &self,
        metric: &str,
        filter: &str,
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Vec<SeriesSamples>, SeriesError> {
        let found = raw::series_read::samples(metric, filter, start.milliseconds(), end.milliseconds())?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    fn select(
        &self,
        matchers: &[Matcher],
        start: Timestamp,
        end: Timestamp,
        limit: u32,
    ) -> Result<Vec<Selection>, SeriesError> {
        Ok(raw::series_read::select(matchers, start.milliseconds(), end.milliseconds(), limit)?)
    }

    fn find(&self, matchers: &[Matcher], limit: u32) -> Result<Vec<SeriesIdentity>, SeriesError> {
        Ok(raw::series_read::find(matchers, limit)?)
    }

    fn find_keys(&self, matchers: &[Matcher], limit: u32) -> Result<Vec<String>, SeriesError> {
        Ok(raw::series_read::find_keys(matchers, limit)?)
    }

    fn find_values(
        &self,
        matchers: &[Matcher],
        key: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, SeriesError> {
        Ok(raw::series_read::find_values(matchers, key, limit)?)
    }

    fn tagged_metrics(
        &self,
        part: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<TaggedMetric>, SeriesError> {
        Ok(raw::series_read::list_metrics(part, after, limit)?.into_iter().map(Into::into).collect())
    }

    fn tagged_metric(&self, metric: &str) -> Result<TaggedMetric, SeriesError> {
        Ok(raw::series_read::get(metric)?.into())
    }

    fn tag_keys(&self, metric: &str) -> Result<Vec<Counted>, SeriesError> {
        Ok(raw::series_read::tag_keys(metric)?)
    }

    fn tag_values(
        &self,
        metric: &str,
        key: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Counted>, SeriesError> {
        Ok(raw::series_read::tag_values(metric, key, after, limit)?)
    }
}

impl SeriesWrite for Live {
    fn write_series(
        &self,
        shared_tags: &[&str],
        series: impl IntoIterator<Item = TaggedSamples>,
    ) -> Result<u64, SeriesError> {
        let shared: Vec<String> = shared_tags.iter().map(|tag| (*tag).to_owned()).collect();
        let series: Vec<_> = series.into_iter().map(Into::into).collect();
        Ok(raw::series_write::write(&shared, &series)?)
    }

    fn write_table(&self, table: &SampleTable) -> Result<u64, SeriesError> {
        Ok(raw::series_write::write_table(&table.raw)?)
    }

    fn describe(&self, metric: &str, metadata: &Metadata) -> Result<(), SeriesError> {
        Ok(raw::series_write::describe(metric, metadata)?)
    }

    fn delete_series(&self, metric: &str, filter: &str) -> Result<u64, SeriesError> {
        Ok(raw::series_write::delete(metric, filter)?)
    }
}

impl RecordsRead for Live {
    fn search(&self, search: &Search) -> Result<Found, RecordError> {
        Ok(raw::records_read::find(&search.into())?.into())
    }

    fn record(&self, kind: RecordKind, id: u64) -> Result<Record, RecordError> {
        Ok(raw::records_read::get(kind, id)?.into())
    }
}

impl RecordsWrite for Live {
    fn append(&self, kind: RecordKind, contents: Vec<Content>) -> Result<u64, RecordError> {
        let contents: Vec<_> = contents.into_iter().map(Into::into).collect();
        Ok(raw::records_write::append(kind, &contents)?)
    }
}

impl AlertsRead for Live {
    fn monitor(&self, monitor: &str) -> Result<Monitor, AlertError> {
        Ok(raw::alerts_read::get_monitor(monitor)?.into())
    }

    fn monitors(&self, after: Option<u64>, limit: u32) -> Result<Vec<Monitor>, AlertError> {
        Ok(raw::alerts_read::list_monitors(after, limit)?.into_iter().map(Into::into).collect())
    }

    fn monitor_series(
        &self,
        monitor: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<SeriesPage, AlertError> {
        Ok(raw::alerts_read::list_series(monitor, cursor, limit)?.into())
    }

    fn incidents(
        &self,
        filter: &IncidentFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<IncidentPage, AlertError> {
        Ok(raw::alerts_read::list_incidents(&filter.into(), cursor, limit)?.into())
    }

    fn incident(&self, incident: &str) -> Result<Incident, AlertError> {
        Ok(raw::alerts_read::get_incident(incident)?.into())
    }

    fn breaches(&self, incident: &str, limit: u32) -> Result<Vec<Breach>, AlertError> {
        Ok(raw::alerts_read::list_breaches(incident, limit)?.into_iter().map(Into::into).collect())
    }

    fn mutes(&self, after: Option<u64>, limit: u32) -> Result<Vec<Mute>, AlertError> {
        Ok(raw::alerts_read::list_mutes(after, limit)?.into_iter().map(Into::into).collect())
    }
}

impl AlertsWrite for Live {
    fn put_monitor(&self, document: &str) -> Result<Stored, AlertError> {
        Ok(raw::alerts_write::put_monitor(document)?.into())
    }

    fn pause_monitor(&self, monitor: &str, paused: bool) -> Result<Monitor, AlertError> {
        Ok(raw::alerts_write::pause_monitor(monitor, paused)?.into())
    }

    fn delete_monitor(&self, monitor: &str) -> Result<(), AlertError> {
        Ok(raw::alerts_write::delete_monitor(monitor)?)
    }

    fn acknowledge(&self, incident: &str) -> Result<Incident, AlertError> {
        Ok(raw::alerts_write::acknowledge(incident)?.into())
    }

    fn assign(&self, incident: &str, assignee: Option<&str>) -> Result<Incident, AlertError> {
        Ok(raw::alerts_write::assign(incident, assignee)?.into())
    }

    fn comment(&self, incident: &str, text: &str) -> Result<Incident, AlertError> {
        Ok(raw::alerts_write::comment(incident, text)?.into())
    }

    fn resolve(&self, incident: &str) -> Result<Incident, AlertError> {
        Ok(raw::alerts_write::resolve(incident)?.into())
    }

    fn add_mute(&self, new: &NewMute) -> Result<Mute, AlertError> {
        Ok(raw::alerts_write::add_mute(&new.into())?.into())
    }

    fn remove_mute(&self, id: u64) -> Result<(), AlertError> {
        Ok(raw::alerts_write::remove_mute(id)?)
    }
}

impl State for Live {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(raw::state::get(key)?)
    }

    fn set(&self, key: &str, value: Option<&[u8]>) -> Result<(), StateError> {
        Ok(raw::state::set(key, value)?)
    }

    fn swap(&self, key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), StateError> {
        Ok(raw::state::swap(key, expected, value)?)
    }

    fn list_keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StateError> {
        Ok(raw::state::list_keys(prefix, after, limit)?)
    }
}

impl HttpClient for Live {
    fn send(&self, request: Request) -> Result<Response, HttpError> {
        Ok(raw::http_client::send(&request.into())?.into())
    }
}

impl Log for Live {
    fn log(&self, level: Level, message: &str) {
        raw::log::write(level, message);
    }
}

impl Clock for Live {
    fn now(&self) -> Timestamp {
        Timestamp::from_milliseconds(raw::clock::now())
    }
}

impl Random for Live {
    fn bytes(&self, length: u32) -> Vec<u8> {
        raw::random::bytes(length)
    }
}
