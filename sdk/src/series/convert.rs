//! Between the words of this module and the bindings'.

use super::{Line, Question, SeriesError, SeriesSamples, TaggedMetric, TaggedSamples};
use crate::Timestamp;
use crate::bindings::imports::bellwether::host::{series_read, series_types, series_write};

impl From<series_types::SeriesError> for SeriesError {
    fn from(error: series_types::SeriesError) -> Self {
        use series_types::SeriesError as Raw;
        match error {
            Raw::UnknownMetric(metric) => Self::UnknownMetric(metric),
            Raw::Invalid(error) => Self::Invalid(error),
            Raw::Syntax(error) => Self::Syntax(error),
            Raw::Forbidden(message) => Self::Forbidden(message),
            Raw::Limit(message) => Self::Limit(message),
            Raw::Unavailable(message) => Self::Unavailable(message),
            Raw::Other(message) => Self::Other(message),
        }
    }
}

impl From<TaggedSamples> for series_write::SeriesSamples {
    fn from(samples: TaggedSamples) -> Self {
        let TaggedSamples { metric, tags, times, values } = samples;
        // In place: both sides of the map have one layout.
        let times = times.into_iter().map(Timestamp::milliseconds).collect();
        Self { metric, tags, times, values }
    }
}

impl From<&Question> for series_read::Question {
    fn from(question: &Question) -> Self {
        let Question { query, start, end, step } = question.clone();
        Self { query, start: start.milliseconds(), end: end.milliseconds(), step }
    }
}

fn pairs(times: Vec<i64>, values: Vec<f64>) -> Vec<(Timestamp, f64)> {
    times.into_iter().map(Timestamp::from_milliseconds).zip(values).collect()
}

impl From<series_read::Line> for Line {
    fn from(line: series_read::Line) -> Self {
        let series_read::Line { metric, tags, step, starts, values } = line;
        let tags = tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
        Self { metric, tags, step, points: pairs(starts, values) }
    }
}

impl From<series_read::Series> for SeriesSamples {
    fn from(series: series_read::Series) -> Self {
        Self { tags: series.tags, samples: pairs(series.times, series.values) }
    }
}

impl From<series_read::TaggedMetric> for TaggedMetric {
    fn from(metric: series_read::TaggedMetric) -> Self {
        Self { name: metric.name, series: metric.series, metadata: metric.metadata }
    }
}
