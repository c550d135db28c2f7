//! From buckets to the values of a query, and the list of a metric's keys.

use std::ops::Range;

use bellwether_kernel::{Cursor, FieldError, Moment, OrganisationId, Page, PageRequest, SeriesId, Timestamp};
use bellwether_store::{Direction, Key, Walk, decode};

use crate::catalogue::Known;
use crate::entry::{check_key, within};
use crate::interval::Span;
use crate::layout::{self, SeriesRow};
use crate::{
    DataType, Fill, IntervalQuery, KeyFilter, KeySelection, MetricError, MetricReference, Metrics, Partial,
    SeriesPoint, SeriesValues,
};

/// A query being answered.
struct Answer<'a> {
    query: &'a IntervalQuery,
    data_type: DataType,
    /// From the beginning of the first interval to the end of the last, in milliseconds.
    range: Range<i64>,
    /// Where each interval begins; empty where gaps are left out, as then only those with samples matter.
    starts: Vec<Timestamp>,
    /// Values that may be answered, and those that still may.
    limit: usize,
    left: usize,
    series: Vec<SeriesValues>,
}

impl Metrics {
    /// Answers a query, series ordered by key. The parts of several hosts are merged.
    ///
    /// # Errors
    /// If the query is wrong, there is no such metric, or the answer would have more values than it may.
    pub async fn query(
        &self,
        organisation: OrganisationId,
        query: &IntervalQuery,
    ) -> Result<Vec<SeriesValues>, MetricError> {
        let known = self.catalogue.find(organisation, &query.metric).await?;
        let mut answer = self.begin(&known, query)?;
        let definition = &known.metric.definition;
        match &query.keys {
            KeySelection::Keys(keys) if !definition.keyed => {
                let expected = format!("no key: the metric {:?} is not keyed", definition.name);
                return Err(FieldError::new("keys", keys.join(", "), expected).into());
            }
            KeySelection::Keys(keys) => {
                if keys.len() > answer.limit {
                    return Err(MetricError::limit(answer.limit as u64, "keys in one query"));
                }
                for (number, key) in keys.iter().enumerate() {
                    check_key(format!("keys[{number}]"), key)?;
                }
                let mut keys: Vec<&String> = keys.iter().collect();
                keys.sort();
                keys.dedup();
                for key in keys {
                    let series = self.series(&layout::series(organisation, known.metric.id, key)).await?;
                    self.answer_series(organisation, &known, &mut answer, Some(key.clone()), series).await?;
                }
            }
            KeySelection::All if !definition.keyed => {
                let series = Some(layout::ONLY_SERIES);
                self.answer_series(organisation, &known, &mut answer, None, series).await?;
            }
            KeySelection::All => {
                let mut rows =
                    Walk::forward(&*self.store, layout::all_series(organisation, known.metric.id).prefix());
                while let Some((row, value)) = rows.next().await? {
                    let (key, SeriesRow { id }) = (layout::key_of_series(&row)?, decode(&value)?);
                    self.answer_series(organisation, &known, &mut answer, Some(key), Some(id)).await?;
                    if query.fill == Fill::Gaps
                        && answer.series.last().is_some_and(|last| last.points.is_empty())
                    {
                        answer.series.pop();
                    }
                }
            }
        }
        Ok(answer.series)
    }

    /// The instant a time is in the time zone of `metric`.
    ///
    /// # Errors
    /// If there is no such metric.
    pub async fn instant(
        &self,
        organisation: OrganisationId,
        metric: &MetricReference,
        moment: Moment,
    ) -> Result<Timestamp, MetricError> {
        let known = self.catalogue.find(organisation, metric).await?;
        Ok(moment.in_zone(known.calendar()?.zone()))
    }

    /// Checks a query and works out its intervals.
    fn begin<'a>(&self, known: &Known, query: &'a IntervalQuery) -> Result<Answer<'a>, MetricError> {
        for (field, instant) in [("start", query.start), ("end", query.end)] {
            if !(Timestamp::MIN..=Timestamp::MAX).contains(&instant) {
                let value = instant.as_milliseconds();
                return Err(FieldError::new(field, value, within()).into());
            }
        }
        if query.start > query.end {
            let expected = format!("an instant not after the end, {}", query.end);
            return Err(FieldError::new("start", query.start, expected).into());
        }
        let calendar = known.calendar()?;
        let range = calendar.containing(query.start).start..calendar.containing(query.end).end;
        let limit = self.limits.values;
        let starts: Vec<Timestamp> = match query.fill {
            Fill::Gaps => Vec::new(),
            Fill::Zero | Fill::Previous => {
                let spans = calendar.between(query.start, query.end);
                spans.take(limit.saturating_add(1)).map(Span::start).collect()
            }
        };
        let data_type = known.metric.definition.data_type;
        Ok(Answer { query, data_type, range, starts, limit, left: limit, series: Vec::new() })
    }

    async fn answer_series(
        &self,
        organisation: OrganisationId,
        known: &Known,
        answer: &mut Answer<'_>,
        key: Option<String>,
        series: Option<SeriesId>,
    ) -> Result<(), MetricError> {
        // A filled series has a value for each interval, whatever there is in the store.
        answer.spend(answer.starts.len())?;
        let (mut points, mut before) = (Vec::new(), None);
        if let Some(series) = series {
            let bound = |at| layout::all_buckets(organisation, known.metric.id).number(series.0).signed(at);
            let mut rows = Walk::forward(&*self.store, bound(answer.range.start)..bound(answer.range.end));
            let mut gathered: Option<(Timestamp, Partial)> = None;
            while let Some((row, value)) = rows.next().await? {
                let (start, host) = layout::start_and_host_of_bucket(&row)?;
                let start = answer.present_start(start);
                let partial = decode::<Partial>(&value)?.at(host);
                match &mut gathered {
                    Some((at, all)) if *at == start => all.merge(&partial),
                    _ => {
                        if answer.starts.is_empty() {
                            answer.spend(1)?;
                        }
                        points.extend(gathered.replace((start, partial)).map(|at| answer.point(at)));
                    }
                }
            }
            points.extend(gathered.map(|at| answer.point(at)));
            let first = points.first().map(|point: &SeriesPoint| point.start);
            if answer.query.fill == Fill::Previous && first != answer.starts.first().copied() {
                let earlier = bound(Timestamp::MIN.as_milliseconds())..bound(answer.range.start);
                before = self.last_in(earlier).await?.map(|partial| partial.value(answer.data_type));
            }
        }
        let points = answer.filled(points, before);
        answer.series.push(SeriesValues { key, points });
        Ok(())
    }

    /// What the last interval of a range of buckets holds, if there is one.
    async fn last_in(&self, mut buckets: Range<Key>) -> Result<Option<Partial>, MetricError> {
        let mut gathered: Option<(Timestamp, Partial)> = None;
        // One row for each host that wrote the interval, mostly one.
        while let Some((row, value)) = self.store.scan(buckets.clone(), Direction::Backward, 1).await?.pop() {
            let (start, host) = layout::start_and_host_of_bucket(&row)?;
            let partial = decode::<Partial>(&value)?.at(host);
            match &mut gathered {
                None => gathered = Some((start, partial)),
                Some((at, all)) if *at == start => all.merge(&partial),
                Some(_) => break,
            }
            buckets.end = row;
        }
        Ok(gathered.map(|(_, partial)| partial))
    }

    /// A page of a metric's keys, in order; none for a metric without keys.
    ///
    /// # Errors
    /// If the page is wrong, or there is no such metric.
    pub async fn keys(
        &self,
        organisation: OrganisationId,
        metric: &MetricReference,
        filter: &KeyFilter,
        page: &PageRequest,
    ) -> Result<Page<String>, MetricError> {
        let known = self.catalogue.find(organisation, metric).await?;
        if page.limit == 0 {
            return Err(FieldError::new("limit", 0, "at least 1").into());
        }
        let all = layout::all_series(organisation, known.metric.id);
        let mut range = all.text_prefix(filter.prefix.as_deref().unwrap_or_default()).prefix();
        if let Some(cursor @ Cursor(bytes)) = &page.cursor {
            let after = String::from_utf8(bytes.clone()).map_err(|_| FieldError::wrong_cursor(cursor))?;
            let after = layout::series(organisation, known.metric.id, &after).successor();
            range.start = range.start.max(after);
        }
        let mut rows = Walk::forward(&*self.store, range);
        let mut items: Vec<String> = Vec::new();
        while let Some((row, _)) = rows.next().await? {
            let key = layout::key_of_series(&row)?;
            if filter.contains.as_ref().is_none_or(|part| key.contains(part.as_str())) {
                if items.len() == page.limit {
                    let next = items.last().map(|last| Cursor(last.clone().into_bytes()));
                    return Ok(Page { items, next });
                }
                items.push(key);
            }
        }
        Ok(Page { items, next: None })
    }
}

impl Answer<'_> {
    /// Refuses more values than an answer may have.
    fn spend(&mut self, values: usize) -> Result<(), MetricError> {
        let what = "values in one answer: narrow the range or name fewer keys";
        self.left =
            self.left.checked_sub(values).ok_or_else(|| MetricError::limit(self.limit as u64, what))?;
        Ok(())
    }

    /// Where the interval begins that holds what was stored for one that began at `start`. That is the same, unless
    /// the rules of the time zone changed since.
    fn present_start(&self, start: Timestamp) -> Timestamp {
        let before = self.starts.partition_point(|present| *present <= start);
        before.checked_sub(1).map_or(start, |index| self.starts[index])
    }

    fn point(&self, (start, partial): (Timestamp, Partial)) -> SeriesPoint {
        let value = Some(partial.value(self.data_type));
        SeriesPoint { start, value, count: partial.count(), aggregate: Some(partial.aggregate()) }
    }

    /// The points with the intervals between them as the query wants them; `before` is the last value ahead of them.
    fn filled(&self, points: Vec<SeriesPoint>, before: Option<f64>) -> Vec<SeriesPoint> {
        if self.starts.is_empty() {
            return points;
        }
        let mut previous = match (self.query.fill, self.data_type) {
            (Fill::Zero, DataType::Sum | DataType::Count) => Some(0.0),
            _ => before,
        };
        let mut points = points.into_iter().peekable();
        let fill = |start: &Timestamp| match points.next_if(|point| point.start == *start) {
            Some(point) => {
                if self.query.fill == Fill::Previous {
                    previous = point.value;
                }
                point
            }
            None => SeriesPoint { start: *start, value: previous, count: 0, aggregate: None },
        };
        self.starts.iter().map(fill).collect()
    }
}
