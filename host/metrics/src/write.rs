//! From samples to one batch: which buckets a write touches, what it adds to each, and what it answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bellwether_kernel::{FieldError, MetricId, OrganisationId, SeriesId, Timestamp};
use bellwether_store::{Batch, Committed, Direction, Key, Precondition, StoreError, decode, encode};

use crate::catalogue::Known;
use crate::entry::{Entries, Entry};
use crate::layout::{self, MoreKeys, Number, SeriesRow};
use crate::log;
use crate::once::Answer;
use crate::partial::{Addition, add, add_to_sum};
use crate::refusal::Refusal;
use crate::{DataType, MetricError, Metrics, Partial, Record, RecordedWrite, Sample, SampleColumns, Written};

/// How often a write is tried again because another made one of its new series first or changed its metric. Each
/// time somebody else's write went through, so a write is only starved by as many others in a row.
const ATTEMPTS: usize = 16;

/// One series a write adds to.
struct Target<'a> {
    known: Arc<Known>,
    key: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn name(&self) -> (MetricId, &'a str) {
        (self.known.metric.id, self.key.unwrap_or_default())
    }
}

/// Where a target's samples go.
struct Place {
    series: SeriesId,
    /// The row that makes the series, if the write is the first to name its key.
    new: Option<Key>,
}

/// What a write adds to one interval of one series.
struct Bucket {
    target: usize,
    start: Timestamp,
    partial: Partial,
    /// The entry of the value that weighs most, to be named if the sum overflows.
    entry: usize,
    weightiest: f64,
}

/// A write worked out: nothing in it depends on what others do meanwhile.
#[derive(Default)]
struct Plan<'a> {
    targets: Vec<Target<'a>>,
    buckets: Vec<Bucket>,
    /// The bucket of each entry's last sample.
    answers: Vec<usize>,
    target_index: HashMap<(MetricId, &'a str), usize>,
    bucket_index: HashMap<(usize, Timestamp), usize>,
}

impl<'a> Plan<'a> {
    fn target(&mut self, known: &Arc<Known>, key: Option<&'a str>) -> usize {
        let same = |target: &Target<'_>| target.known.metric.id == known.metric.id && target.key == key;
        if self.targets.last().is_some_and(same) {
            return self.targets.len() - 1;
        }
        let target = Target { known: Arc::clone(known), key };
        let Some(first) = self.targets.first() else {
            self.targets.push(target);
            return 0;
        };
        // The first is indexed when there is a second: most writes have one.
        if self.target_index.is_empty() {
            self.target_index.insert(first.name(), 0);
        }
        let targets = &mut self.targets;
        *self.target_index.entry(target.name()).or_insert_with(|| {
            targets.push(target);
            targets.len() - 1
        })
    }

    fn add(&mut self, target: usize, start: Timestamp, entry: usize, value: f64, partial: Partial) {
        let same = |bucket: &Bucket| bucket.target == target && bucket.start == start;
        let number = if self.buckets.last().is_none_or(same) {
            self.buckets.len().saturating_sub(1)
        } else {
            let next = self.buckets.len();
            if self.bucket_index.is_empty() {
                let first = &self.buckets[0];
                self.bucket_index.insert((first.target, first.start), 0);
            }
            *self.bucket_index.entry((target, start)).or_insert(next)
        };
        if let Some(bucket) = self.buckets.get_mut(number) {
            bucket.partial.append(partial);
            if value.abs() > bucket.weightiest {
                (bucket.entry, bucket.weightiest) = (entry, value.abs());
            }
        } else {
            if self.buckets.is_empty() {
                self.buckets.reserve_exact(1); // a bucket is large, and most writes have one
            }
            self.buckets.push(Bucket { target, start, partial, entry, weightiest: value.abs() });
        }
        if self.answers.len() == entry {
            self.answers.push(number);
        } else {
            self.answers[entry] = number;
        }
    }

    /// What the log says about it: one entry for each bucket of a watched metric.
    fn logged(&self, metrics: &Metrics, organisation: OrganisationId) -> Vec<log::Entry> {
        let Some(watched) = metrics.watches.of(organisation) else { return Vec::new() };
        let mut entries = Vec::new();
        for (merge, bucket) in self.buckets.iter().enumerate() {
            let Target { known, key } = &self.targets[bucket.target];
            if watched.has(&known.metric) {
                entries.push(log::Entry {
                    organisation,
                    metric: known.metric.id,
                    name: known.metric.definition.name.clone(),
                    key: key.map(str::to_owned),
                    interval_start: bucket.start,
                    time: bucket.partial.latest(),
                    data_type: known.metric.definition.data_type,
                    merge,
                });
            }
        }
        entries
    }

    /// What each entry of the write is answered with.
    fn recorded(&self) -> Vec<Answer> {
        let answer = |merge: &usize| {
            let bucket = &self.buckets[*merge];
            let data_type = self.targets[bucket.target].known.metric.definition.data_type;
            Answer { interval_start: bucket.start, data_type, merge: *merge }
        };
        self.answers.iter().map(answer).collect()
    }

    /// The batch that does it, each bucket one merge, in order, before everything else.
    fn batch(&self, metrics: &Metrics, organisation: OrganisationId, places: &[Place]) -> Batch {
        let mut batch = Batch::new();
        for bucket in &self.buckets {
            let metric = &self.targets[bucket.target].known.metric;
            let series = places[bucket.target].series;
            let key = layout::buckets(organisation, metric.id, series, bucket.start).number(metrics.host.0);
            let sums = metric.definition.data_type == DataType::Sum;
            let entry = u32::try_from(bucket.entry).unwrap_or(u32::MAX);
            let operand = encode(&Addition { entry, partial: bucket.partial });
            batch.merge(key, operand, if sums { add_to_sum } else { add });
        }
        let mut required: Vec<MetricId> = Vec::new();
        let mut new_keys: Vec<(MetricId, MoreKeys)> = Vec::new();
        for (number, (target, place)) in self.targets.iter().zip(places).enumerate() {
            let id = target.known.metric.id;
            if self.targets.len() == 1 || !required.contains(&id) {
                let (key, value) = target.known.row.clone();
                batch.require(key, Precondition::ValueIs(value));
                required.push(id);
            }
            if let Some(row) = &place.new {
                batch.require(row.clone(), Precondition::Absent);
                batch.put(row.clone(), encode(&SeriesRow { id: place.series }));
                match new_keys.iter_mut().find(|(metric, _)| *metric == id) {
                    Some((_, keys)) => keys.more += 1,
                    None => {
                        let target = u32::try_from(number).unwrap_or(u32::MAX);
                        new_keys.push((id, MoreKeys { more: 1, limit: metrics.limits.keys, target }));
                    }
                }
            }
        }
        for (id, keys) in new_keys {
            batch.merge(layout::key_count(organisation, id), encode(&keys), layout::count_keys);
        }
        batch
    }
}

impl Metrics {
    /// Adds samples and whatever `join` holds in one commit: all are durable when this returns, or none is. One
    /// answer per sample, in order; samples of one interval are answered alike, with all of them in. Where other
    /// hosts write to the same store, the answer has their parts too, from one sweep after they first opened it.
    ///
    /// # Errors
    /// Of the first sample that is wrong, by field (`samples[3].value`); or if a limit is reached, or the store's,
    /// a precondition of `join` that does not hold among them.
    pub async fn write(
        &self,
        organisation: OrganisationId,
        samples: &[Sample],
        join: Batch,
    ) -> Result<Vec<Written>, MetricError> {
        Ok(self.add(organisation, Entries::Samples(samples), join, None).await?.written)
    }

    /// As [`Self::write`], for samples in columns: one answer per entry, and fields as `samples[3].values[7]`.
    ///
    /// # Errors
    /// As of [`Self::write`].
    pub async fn write_columns(
        &self,
        organisation: OrganisationId,
        samples: &[SampleColumns],
        join: Batch,
    ) -> Result<Vec<Written>, MetricError> {
        Ok(self.add(organisation, Entries::Columns(samples), join, None).await?.written)
    }

    /// As [`Self::write`], with its answers kept under `record`, which nothing was recorded under before. `join` holds what
    /// tells whether it happened.
    ///
    /// # Errors
    /// As of [`Self::write`].
    pub async fn write_recorded(
        &self,
        organisation: OrganisationId,
        samples: &[Sample],
        join: Batch,
        record: &Record,
    ) -> Result<Vec<Written>, MetricError> {
        Ok(self.add(organisation, Entries::Samples(samples), join, Some(record)).await?.written)
    }

    /// As [`Self::write_columns`], once for `record`: if a write under it has happened, whatever it wrote, nothing is
    /// written now and its answers are given again. Exact however many ask at once.
    ///
    /// # Errors
    /// As of [`Self::write`]. Nothing is recorded then.
    pub async fn write_once(
        &self,
        organisation: OrganisationId,
        samples: &[SampleColumns],
        record: &Record,
    ) -> Result<RecordedWrite, MetricError> {
        // Most writes are asked for once, so it is tried first: the commit fails if it has happened.
        let added = self.add(organisation, Entries::Columns(samples), Batch::new(), Some(record)).await;
        match added {
            // It may have happened to what is not there any more, or not as it was.
            Err(error) => self.recorded(record).await?.ok_or(error),
            added => added,
        }
    }

    /// What a write under `record` came to, if one has happened.
    ///
    /// # Errors
    /// If the store's.
    pub async fn recorded(&self, record: &Record) -> Result<Option<RecordedWrite>, MetricError> {
        Ok(record.read(&self.store).await?)
    }

    async fn add(
        &self,
        organisation: OrganisationId,
        entries: Entries<'_>,
        join: Batch,
        record: Option<&Record>,
    ) -> Result<RecordedWrite, MetricError> {
        if entries.samples() > self.limits.samples {
            return Err(MetricError::limit(self.limits.samples as u64, "samples in one write"));
        }
        let now = self.clock.now();
        for _ in 0..ATTEMPTS {
            let plan = self.plan(organisation, entries, now).await?;
            let places = self.places(organisation, &plan).await?;
            let mut batch = plan.batch(self, organisation, &places);
            let logged = self.join_log(plan.logged(self, organisation), &mut batch);
            if let Some(record) = record {
                record.join(&mut batch, &plan.recorded());
            }
            batch.append(join.clone());
            match self.store.commit(batch).await {
                Ok(committed) => {
                    if let Some(logged) = logged {
                        self.log.committed(&logged, &committed)?;
                    }
                    let written = self.answer(organisation, &plan, &places, &committed).await?;
                    return Ok(RecordedWrite { written, repeats: None });
                }
                Err(StoreError::Conflict(key)) => {
                    if let Some(record) = record.filter(|record| record.head() == key) {
                        // Another made it meanwhile; or it was freed again, and then this one has to.
                        match record.read(&self.store).await? {
                            Some(repeated) => return Ok(repeated),
                            None => continue,
                        }
                    }
                    let changed = plan.targets.iter().find(|target| target.known.row.0 == key);
                    if let Some(target) = changed {
                        let change = self.catalogue.change(organisation).await?;
                        change.refresh(target.known.metric.id).await?;
                    } else if !places.iter().any(|place| place.new.as_ref() == Some(&key)) {
                        return Err(StoreError::Conflict(key).into());
                    }
                }
                Err(StoreError::Merge(error)) => {
                    return Err(match Refusal::read(&error) {
                        Some(Refusal::SumOverflows { entry }) => entries.sum_overflows(entry).into(),
                        Some(Refusal::TooManyKeys { target }) => {
                            let target = plan.targets.get(target as usize);
                            let name = target.map_or("", |target| &target.known.metric.definition.name);
                            MetricError::limit(self.limits.keys, format!("keys of the metric {name}"))
                        }
                        None => StoreError::Merge(error).into(),
                    });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Unavailable("other writes keep creating the same series").into())
    }

    /// Checks every entry and works out what it adds where.
    async fn plan<'a>(
        &self,
        organisation: OrganisationId,
        entries: Entries<'a>,
        now: Timestamp,
    ) -> Result<Plan<'a>, MetricError> {
        let mut plan = Plan::default();
        let mut previous: Option<(Entry<'a>, Arc<Known>)> = None;
        for (number, entry) in entries.iter().enumerate() {
            let known = match previous.take() {
                Some((before, known)) if before.metric == entry.metric => known,
                _ => self.catalogue.find(organisation, entry.metric).await?,
            };
            let definition = &known.metric.definition;
            entry.check_key(definition)?;
            let count = entry.count(definition)?;
            let calendar = known.calendar()?;
            let target = plan.target(&known, entry.key);
            for index in 0..count {
                let (time, value, weight) =
                    entry.sample(index, definition.data_type, calendar.zone(), now)?;
                let start = calendar.containing(time).start();
                plan.add(target, start, number, value, Partial::of(time, value, weight));
            }
            previous = Some((entry, known));
        }
        Ok(plan)
    }

    /// Finds the series of each target, or gives it a number to be made with.
    async fn places(&self, organisation: OrganisationId, plan: &Plan<'_>) -> Result<Vec<Place>, MetricError> {
        let mut places = Vec::with_capacity(plan.targets.len());
        let mut new = 0;
        for Target { known, key } in &plan.targets {
            places.push(match key {
                None => Place { series: layout::ONLY_SERIES, new: None },
                Some(key) => {
                    let row = layout::series(organisation, known.metric.id, key);
                    match self.series(&row).await? {
                        Some(series) => Place { series, new: None },
                        None => {
                            new += 1;
                            Place { series: layout::ONLY_SERIES, new: Some(row) }
                        }
                    }
                }
            });
        }
        if new > 0 {
            // A commit of its own: a number must be known before it can be part of a key. One that is not used in
            // the end is skipped.
            let mut batch = Batch::new();
            batch.merge(layout::last_series(organisation), encode(&Number(new)), layout::count_up);
            let Committed { merged } = self.store.commit(batch).await?;
            let Number(last) = decode(merged.first().expect("a merge for each merge of the batch"))?;
            let fresh = (last - new + 1..=last).map(SeriesId);
            for (place, series) in places.iter_mut().filter(|place| place.new.is_some()).zip(fresh) {
                place.series = series;
            }
        }
        Ok(places)
    }

    /// The series of a key's row.
    pub(crate) async fn series(&self, row: &Key) -> Result<Option<SeriesId>, StoreError> {
        if let Some(series) = self.series.get(row) {
            return Ok(Some(series));
        }
        let Some(value) = self.store.get(row).await? else { return Ok(None) };
        let SeriesRow { id } = decode(&value)?;
        self.series.insert(row.clone(), id);
        Ok(Some(id))
    }

    async fn answer(
        &self,
        organisation: OrganisationId,
        plan: &Plan<'_>,
        places: &[Place],
        committed: &Committed,
    ) -> Result<Vec<Written>, MetricError> {
        for place in places {
            if let Some(row) = &place.new {
                self.series.insert(row.clone(), place.series);
            }
        }
        let mut values = Vec::with_capacity(plan.buckets.len());
        for (bucket, merged) in plan.buckets.iter().zip(&committed.merged) {
            let metric = &plan.targets[bucket.target].known.metric;
            let mut partial: Partial = decode(merged)?;
            if self.other_hosts.load(Ordering::Relaxed) {
                partial = partial.at(self.host);
                let series = places[bucket.target].series;
                let all = layout::buckets(organisation, metric.id, series, bucket.start);
                for (key, value) in self.store.scan(all.prefix(), Direction::Forward, usize::MAX).await? {
                    let (_, host) = layout::start_and_host_of_bucket(&key)?;
                    if host != self.host {
                        partial.merge(&decode::<Partial>(&value)?.at(host));
                    }
                }
            }
            let value = partial.value(metric.definition.data_type);
            values.push(Written { interval_start: bucket.start, value });
        }
        Ok(plan.answers.iter().map(|bucket| values[*bucket]).collect())
    }
}

impl Entries<'_> {
    /// The sum of an interval that `entry` has a part in is beyond the range of a double.
    fn sum_overflows(self, entry: u32) -> FieldError {
        let entry = self.get(entry as usize);
        let weightiest = entry.values.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()));
        let expected = "a value that keeps the sum of its interval within the range of a double, ±1.8e308";
        FieldError::new(entry.field_of_all("value"), weightiest.unwrap_or_default(), expected)
    }
}
