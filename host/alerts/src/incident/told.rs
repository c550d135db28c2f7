//! An incident as channels are told of it.

use super::{Interval, StoredIncident};
use crate::{Alert, Incident, Series, limits};

impl StoredIncident {
    /// As it is told, with the series that breach or did: the open ones first, the worst of them first.
    #[must_use]
    pub fn as_told(&self, mut intervals: Vec<Interval>, message: Option<&str>) -> Incident {
        let badness = |interval: &Interval| {
            let delta = [interval.upper, interval.lower].into_iter().flatten().filter_map(|side| side.delta);
            delta.fold(interval.score.unwrap_or(0.0), f64::max)
        };
        intervals.sort_by(|a, b| {
            let order = a.ended.is_some().cmp(&b.ended.is_some()).then(b.level.cmp(&a.level));
            order.then(badness(b).total_cmp(&badness(a))).then(a.series.cmp(&b.series))
        });
        let all = u64::from(self.open_series) + self.intervals;
        intervals.truncate(limits::AFFECTED);
        let left_out = all.saturating_sub(intervals.len() as u64);
        let description = message.unwrap_or(&self.message).to_owned();
        let alert = Alert {
            monitor: self.monitor.to_string(),
            triggers: vec![self.trigger()],
            kind: self.kind,
            severity: self.severity,
            title: self.title.clone(),
            description: description.clone(),
            open: self.is_open(),
            labels: self.labels.clone(),
            series: intervals.into_iter().map(|interval| self.series(interval)).collect(),
            left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
            links: Vec::new(),
        };
        Incident {
            id: self.id.to_string(),
            title: self.title.clone(),
            description,
            severity: self.severity,
            started: self.started,
            ended: self.closed,
            time_scale: Some(self.time_scale),
            merged: Vec::new(),
            assignee: self.assignee.clone(),
            acknowledged_by: self.acknowledgement.as_ref().map(|known| known.by.clone()),
            alerts: vec![alert],
            links: Vec::new(),
            events: Vec::new(),
        }
    }

    fn series(&self, interval: Interval) -> Series {
        let mut tags = interval.tags;
        tags.sort();
        Series {
            id: interval.series,
            metric: interval.metric.unwrap_or_else(|| self.monitor_name.clone()),
            tags,
            unit: None,
            open: interval.ended.is_none(),
            started: interval.started,
            ended: interval.ended,
            value: interval.value,
            upper: interval.upper,
            lower: interval.lower,
            score: interval.score,
            threshold: interval.threshold,
            last_seen: interval.last_seen,
            season: interval.season,
            close_reason: interval.close_reason,
            links: Vec::new(),
            details: serde_json::Map::new(),
        }
    }
}
