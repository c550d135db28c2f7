//! `bellwether:host/series-write`: the caller's role must be write or above, and the grant's patterns cover the metric.
//!
//! A step that is repeated writes the same samples again, and the last of one time holds: it needs no record.

use bellwether_access::{DataChange, Role};
use bellwether_kernel::{FieldError, OrganisationId};
use bellwether_series::SeriesSlice;
use bellwether_store::Batch;

use super::convert::field_error;
use super::series_convert::{filter, granted, known, series_error};
use super::{Call, contract};
use contract::series_types::{Metadata, SeriesError};
use contract::series_write as wit;

impl wit::Host for Call {
    async fn write(
        &mut self,
        shared_tags: Vec<String>,
        series: Vec<wit::SeriesSamples>,
    ) -> Result<u64, SeriesError> {
        let samples = |entry: &wit::SeriesSamples| {
            entry.metric.len()
                + texts_size(&entry.tags)
                + size_of_val(&*entry.times)
                + size_of_val(&*entry.values)
        };
        self.takes(texts_size(&shared_tags) + series.iter().map(samples).sum::<usize>());
        let organisation = self.writer().await?;
        // Every series has them: what is too many for one is not put beside each of thousands first.
        let most = self.services().series.limits().tags;
        if shared_tags.len() > most {
            return Err(wrong("shared-tags", shared_tags.len(), &format!("at most {most} tags")));
        }
        let mut written = 0;
        let mut tags = Vec::with_capacity(series.len());
        for entry in &series {
            granted(&self.scope.series_write, &entry.metric)?;
            written += entry.times.len() as u64;
            tags.push(entry.tags.iter().chain(&shared_tags).map(String::as_str).collect::<Vec<_>>());
        }
        let slices: Vec<_> = series
            .iter()
            .zip(&tags)
            .map(|(wit::SeriesSamples { metric, times, values, .. }, tags)| SeriesSlice {
                metric,
                tags,
                times,
                values,
            })
            .collect();
        let write = self.services().series.send_slices(organisation, &slices, Batch::new()).await;
        self.post(write.map_err(series_error)?.done()).await.map_err(series_error)?;
        Ok(written)
    }

    async fn write_table(&mut self, table: wit::Table) -> Result<u64, SeriesError> {
        let lengths =
            [&table.text_lengths, &table.tag_counts, &table.sample_counts].map(|list| size_of_val(&**list));
        let samples = size_of_val(&*table.times) + size_of_val(&*table.values);
        self.takes(table.texts.len() + lengths.iter().sum::<usize>() + samples);
        let organisation = self.writer().await?;
        let texts = texts(&table)?;
        let series = slices(&table, &texts)?;
        let mut before = None;
        for entry in &series {
            if before != Some(entry.metric) {
                granted(&self.scope.series_write, entry.metric)?;
                before = Some(entry.metric);
            }
        }
        let write = self.services().series.send_slices(organisation, &series, Batch::new()).await;
        self.post(write.map_err(series_error)?.done()).await.map_err(series_error)?;
        Ok(table.times.len() as u64)
    }

    async fn describe(&mut self, metric: String, metadata: Metadata) -> Result<(), SeriesError> {
        let Metadata { unit, per_unit, description, short_name, integration, .. } = &metadata;
        let texts = [unit, per_unit, description, short_name, integration].into_iter().flatten();
        self.takes(metric.len() + texts.map(String::len).sum::<usize>());
        let organisation = self.series_caller(Role::Write).await?;
        granted(&self.scope.series_write, &metric)?;
        let series = &self.services().series;
        let before = series.metric(organisation, &metric).map(|before| before.metadata).unwrap_or_default();
        let known = known(metadata, before.roll_ups.clone());
        // Clients describe their metrics in passing; what is told is how long samples are kept, where that is another.
        let told = match known.keep_days == before.keep_days {
            true => Batch::new(),
            false => {
                let roll_ups = known.roll_ups.iter().map(|step| (step.after_days, step.step_seconds));
                let (keep_days, roll_ups) = (known.keep_days, roll_ups.collect::<Vec<_>>());
                self.told(&DataChange::DescribeSeries { metric: &metric, keep_days, roll_ups: &roll_ups })
            }
        };
        series.describe(organisation, &metric, known, told).await.map_err(series_error)
    }

    async fn delete(&mut self, metric: String, text: String) -> Result<u64, SeriesError> {
        self.takes(metric.len() + text.len());
        let organisation = self.series_caller(Role::Write).await?;
        granted(&self.scope.series_write, &metric)?;
        let filter = filter(&text)?;
        let told = self.told(&DataChange::DeleteSeries { metric: &metric, filter: &text });
        self.services().series.delete(organisation, &metric, filter, told).await.map_err(series_error)
    }
}

impl Call {
    /// The organisation of a caller who may write samples.
    async fn writer(&mut self) -> Result<OrganisationId, SeriesError> {
        let caller = self.reach_to_post().await;
        caller.map(|caller| caller.organisation).map_err(SeriesError::Forbidden)
    }
}

/// Bytes of a list of texts.
fn texts_size(texts: &[String]) -> usize {
    texts.iter().map(String::len).sum()
}

/// The texts of a table, one by one.
fn texts(table: &wit::Table) -> Result<Vec<&str>, SeriesError> {
    let mut rest = table.texts.as_str();
    let mut texts = Vec::with_capacity(table.text_lengths.len());
    for (at, length) in table.text_lengths.iter().enumerate() {
        let Some((text, others)) = rest.split_at_checked(*length as usize) else {
            let expected = "the bytes of a text, within texts and between its characters";
            return Err(wrong(format!("table.text-lengths[{at}]"), *length as usize, expected));
        };
        texts.push(text);
        rest = others;
    }
    if rest.is_empty() {
        Ok(texts)
    } else {
        Err(wrong("table.texts", rest.len(), "no bytes behind the last text"))
    }
}

/// The series of a table whose texts are `texts`.
fn slices<'a>(table: &'a wit::Table, texts: &'a [&'a str]) -> Result<Vec<SeriesSlice<'a>>, SeriesError> {
    let count = table.tag_counts.len();
    if table.sample_counts.len() != count {
        let expected = format!("as many as tag-counts, {count}");
        return Err(wrong("table.sample-counts", table.sample_counts.len(), &expected));
    }
    let (mut texts, mut times, mut values) = (texts, &*table.times, &*table.values);
    let mut series = Vec::with_capacity(count);
    for (at, (tags, samples)) in table.tag_counts.iter().zip(&table.sample_counts).enumerate() {
        let taken = texts.split_first().and_then(|(metric, rest)| {
            let (tags, rest) = rest.split_at_checked(*tags as usize)?;
            texts = rest;
            Some((*metric, tags))
        });
        let Some((metric, tags)) = taken else {
            return Err(wrong(
                format!("table.tag-counts[{at}]"),
                *tags as usize,
                "as many texts as are left",
            ));
        };
        let samples = *samples as usize;
        let (Some((own_times, rest_times)), Some((own_values, rest_values))) =
            (times.split_at_checked(samples), values.split_at_checked(samples))
        else {
            let expected = "as many times and values as are left";
            return Err(wrong(format!("table.sample-counts[{at}]"), samples, expected));
        };
        (times, values) = (rest_times, rest_values);
        series.push(SeriesSlice { metric, tags, times: own_times, values: own_values });
    }
    match texts.len().max(times.len()).max(values.len()) {
        0 => Ok(series),
        left => Err(wrong("table", left, "no texts, times or values behind the last series")),
    }
}

fn wrong(field: impl Into<String>, value: usize, expected: &str) -> SeriesError {
    SeriesError::Invalid(field_error(FieldError::new(field, value, expected)))
}
