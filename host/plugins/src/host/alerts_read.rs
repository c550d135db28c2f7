//! `bellwether:host/alerts-read`: every caller's role may read; the grant's patterns decide which monitors there are.

use bellwether_access::Role;
use bellwether_alerts::{IncidentFilter, IncidentState, Interval, SeriesStatus};
use bellwether_kernel::{Cursor, PageRequest, Timestamp};

use super::alerts_convert::{
    alert_error, covers_mute, granted_incident, granted_monitor, incident, instant, labels, least_severity,
    level, monitor, mute, page,
};
use super::convert::covers;
use super::{Call, contract};
use contract::alerts_read as wit;
use contract::alerts_types::{AlertError, Incident, Monitor, Mute};

impl wit::Host for Call {
    async fn get_monitor(&mut self, name_or_id: String) -> Result<Monitor, AlertError> {
        self.takes(name_or_id.len());
        let (alerts, principal) = self.alerts(Role::Read).await?;
        let patterns = &self.scope.alerts_read;
        let found = granted_monitor(&alerts, principal.organisation, patterns, &name_or_id).await?;
        Ok(monitor(&found))
    }

    async fn list_monitors(&mut self, after: Option<u64>, limit: u32) -> Result<Vec<Monitor>, AlertError> {
        let (alerts, principal) = self.alerts(Role::Read).await?;
        let (mut asked, mut found) = (page(None, limit)?, Vec::new());
        asked.cursor = behind(after);
        loop {
            let part = alerts.monitors(principal.organisation, &asked).await.map_err(alert_error)?;
            let granted =
                part.items.iter().filter(|found| covers(&self.scope.alerts_read, &found.document.name));
            found.extend(granted.take(limit as usize - found.len()).map(monitor));
            match part.next {
                Some(next) if found.len() < limit as usize => asked.cursor = Some(next),
                _ => return Ok(found),
            }
        }
    }

    async fn list_series(
        &mut self,
        name_or_id: String,
        cursor: Option<String>,
        limit: u32,
    ) -> Result<wit::SeriesPage, AlertError> {
        self.takes(name_or_id.len() + cursor.as_ref().map_or(0, String::len));
        let (alerts, principal) = self.alerts(Role::Read).await?;
        let asked = page(cursor.as_deref(), limit)?;
        let patterns = &self.scope.alerts_read;
        let found = granted_monitor(&alerts, principal.organisation, patterns, &name_or_id).await?;
        let series = alerts.monitor_series(principal.organisation, &found.id.to_string(), &asked).await;
        let series = series.map_err(alert_error)?;
        let next = series.next.map(|next| next.to_string());
        Ok(wit::SeriesPage { series: series.items.into_iter().map(status).collect(), next })
    }

    async fn list_incidents(
        &mut self,
        filter: wit::IncidentFilter,
        cursor: Option<String>,
        limit: u32,
    ) -> Result<wit::IncidentPage, AlertError> {
        let texts = [&filter.monitor, &filter.assignee, &cursor].into_iter().flatten().map(String::len);
        let pairs = filter.labels.iter().map(|label| label.name.len() + label.value.len());
        self.takes(texts.chain(pairs).sum());
        let (alerts, principal) = self.alerts(Role::Read).await?;
        let asked = page(cursor.as_deref(), limit)?;
        let time = |time: Option<i64>, field| time.map(|time| instant(time, field)).transpose();
        let filter = IncidentFilter {
            state: filter.open.map(|open| if open { IncidentState::Open } else { IncidentState::Closed }),
            monitor: filter.monitor,
            severity: filter.severity.map(least_severity),
            labels: filter.labels.into_iter().map(|label| (label.name, label.value)).collect(),
            acknowledged: filter.acknowledged,
            assignee: filter.assignee,
            from: time(filter.since, "filter.since")?,
            to: time(filter.until, "filter.until")?,
        };
        let found = alerts.incidents(principal.organisation, &filter, &asked).await.map_err(alert_error)?;
        let mut incidents = found.items;
        incidents.retain(|found| covers(&self.scope.alerts_read, &found.monitor_name));
        let next = found.next.map(|next| next.to_string());
        Ok(wit::IncidentPage { incidents: incidents.into_iter().map(incident).collect(), next })
    }

    async fn get_incident(&mut self, id: String) -> Result<Incident, AlertError> {
        self.takes(id.len());
        let (alerts, principal) = self.alerts(Role::Read).await?;
        granted_incident(&alerts, principal.organisation, &self.scope.alerts_read, &id).await.map(incident)
    }

    async fn list_breaches(&mut self, id: String, limit: u32) -> Result<Vec<wit::Breach>, AlertError> {
        self.takes(id.len());
        let (alerts, principal) = self.alerts(Role::Read).await?;
        let PageRequest { limit, .. } = page(None, limit)?;
        let found = granted_incident(&alerts, principal.organisation, &self.scope.alerts_read, &id).await?;
        let breaches = alerts.incident_intervals(principal.organisation, found.id, limit).await;
        Ok(breaches.map_err(alert_error)?.into_iter().map(breach).collect())
    }

    async fn list_mutes(&mut self, after: Option<u64>, limit: u32) -> Result<Vec<Mute>, AlertError> {
        let (alerts, principal) = self.alerts(Role::Read).await?;
        let (mut asked, mut found) = (page(None, limit)?, Vec::new());
        asked.cursor = behind(after);
        loop {
            let part = alerts.mutes(principal.organisation, &asked).await.map_err(alert_error)?;
            let granted =
                part.items.into_iter().filter(|mute| covers_mute(&self.scope.alerts_read, &mute.scope));
            found.extend(granted.take(limit as usize - found.len()).map(mute));
            match part.next {
                Some(next) if found.len() < limit as usize => asked.cursor = Some(next),
                _ => return Ok(found),
            }
        }
    }
}

/// The place behind a number, in a list that is ordered by one.
fn behind(after: Option<u64>) -> Option<Cursor> {
    after.map(|after| Cursor(after.saturating_add(1).to_be_bytes().to_vec()))
}

fn status(status: SeriesStatus) -> wit::SeriesStatus {
    wit::SeriesStatus {
        series: status.series,
        tags: labels(status.tags),
        level: level(status.level),
        missing: status.missing,
        last_point: status.last_point.as_milliseconds(),
        value: status.value,
        since: status.breach.map(|breach| breach.started.as_milliseconds()),
    }
}

fn breach(interval: Interval) -> wit::Breach {
    let beyond = interval.upper.or(interval.lower);
    let expected = beyond.and_then(|side| side.expected).or(interval.threshold);
    wit::Breach {
        series: interval.series,
        tags: labels(interval.tags),
        started: interval.started.as_milliseconds(),
        ended: interval.ended.map(Timestamp::as_milliseconds),
        level: level(interval.level),
        value: interval.value,
        peak_above: interval.upper.map(|side| side.peak),
        peak_below: interval.lower.map(|side| side.peak),
        expected,
        score: interval.score,
    }
}
