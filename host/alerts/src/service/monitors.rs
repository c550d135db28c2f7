//! Monitors as they are stored, changed and read.

use std::time::Duration;

use bellwether_access::Principal;
use bellwether_kernel::{ErrorKind, FieldError, MonitorId, OrganisationId, Timestamp};
use bellwether_store::{Batch, Precondition, Space, Versioned, Walk, decode, encode};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::ending::Ended;
use super::find::{Found, StoredMonitor};
use super::{By, Subject, until_it_holds};
use crate::calendar::Quiet;
use crate::engine::{Looking, check_peers};
use crate::feedback::FeedbackCounts;
use crate::monitor::{Compiled, check_written, step_of, written};
use crate::rows::{self, Ending, EndingCause, MonitorRef, MonitorRow, NextRow};
use crate::state::is_ahead;
use crate::{
    AlertError, Alerts, DetectorChoice, Faults, Monitor, MonitorKind, Period, Points, RoleError, RoleKind,
    Settings, limits,
};

/// One version of a monitor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VersionRow {
    pub(crate) document: String,
    pub(crate) created: Timestamp,
    pub(crate) created_by: String,
}

impl Versioned for VersionRow {
    const NAME: &'static str = "version of a monitor";
}

impl Alerts {
    /// Compiles a document and holds it against the detector it names, which is shown no points: settings it would
    /// refuse in an evaluation are refused now.
    pub(crate) async fn compile(
        &self,
        organisation: OrganisationId,
        document: &Json,
    ) -> Result<Compiled, AlertError> {
        let monitor = Monitor::read(document)?;
        let asked = match &monitor.detector {
            Some(choice) if monitor.kind == MonitorKind::Anomaly => {
                self.ask_detector(organisation, choice, step_of(&monitor)).await
            }
            _ => Ok(()),
        };
        let mut more: Vec<FieldError> = check_written(&monitor);
        let unanswered = match asked {
            Err(RoleError::Invalid(refused)) => {
                more.push(refused);
                Ok(())
            }
            asked => asked,
        };
        match Compiled::new(monitor) {
            // What the document says wrong is named first: it stays wrong when the detector answers.
            compiled if more.is_empty() => {
                let compiled = compiled?;
                unanswered?;
                Ok(compiled)
            }
            Err(AlertError::Document(Faults(mut faults))) => {
                faults.append(&mut more);
                Err(Faults(faults).into())
            }
            _ => Err(Faults(more).into()),
        }
    }

    /// Names what is wrong with how a detector is chosen, if something is, or that it did not say so in time. What else it
    /// fails with may be over when it is evaluated, and is the monitor's problem then.
    async fn ask_detector(
        &self,
        organisation: OrganisationId,
        choice: &DetectorChoice,
        step: Period,
    ) -> Result<(), RoleError> {
        let not_called = || self.roles.not_called(organisation, &choice.name, RoleKind::Detector);
        let detector = self.roles.detector(organisation, &choice.name);
        let detector = detector.ok_or_else(|| not_called().in_field("detector.name"))?;
        check_peers(&*detector, &choice.peers_by)?;
        let wrong = |error: FieldError| FieldError { field: format!("detector.{}", error.field), ..error };
        let settings = Settings::read(&detector.description().settings, &choice.settings).map_err(wrong)?;
        let nothing = Points {
            times: Vec::new(),
            step: Some(Duration::from_millis(step.milliseconds().unsigned_abs())),
            values: vec![Vec::new()],
            learn: false,
        };
        match tokio::time::timeout(limits::ASKED, detector.detect(&settings, &[], &nothing)).await {
            Ok(Err(RoleError::Invalid(error))) if error.field.starts_with("settings.") => {
                Err(wrong(error).into())
            }
            Ok(_) => Ok(()),
            Err(_) => {
                let (name, seconds) = (&choice.name, limits::ASKED.as_secs());
                let message = format!(
                    "the detector {name:?} did not say within {seconds} s whether it takes these settings; nothing was \
                     stored: try again, or choose another"
                );
                Err(RoleError::Failed { message, kind: ErrorKind::Deadline })
            }
        }
    }

    /// Stores a new monitor.
    ///
    /// # Errors
    /// [`AlertError::Document`]; [`AlertError::Exists`] if there is one of that name.
    pub async fn create_monitor(
        &self,
        by: impl Into<By<'_>>,
        document: &Json,
    ) -> Result<StoredMonitor, AlertError> {
        let by = by.into();
        let compiled = self.compile(by.organisation, document).await?;
        let series = self.finds(by.organisation, &compiled).await;
        until_it_holds(|| self.try_create(by, &compiled, series)).await
    }

    /// How many series a monitor that is put finds in its window; unknown if the query fails, which its evaluation tells.
    async fn finds(&self, organisation: OrganisationId, compiled: &Compiled) -> Option<u64> {
        let quiet = &Quiet::default();
        let looking = Looking {
            figures: &*self.figures,
            roles: &*self.roles,
            organisation,
            monitor: None,
            compiled,
            quiet,
            series: self.limits.series,
        };
        let end = compiled.end(self.clock.now().as_milliseconds());
        looking.query(end - compiled.window, end).await.ok().map(|lines| lines.len() as u64)
    }

    async fn try_create(
        &self,
        by: By<'_>,
        compiled: &Compiled,
        series: Option<u64>,
    ) -> Result<StoredMonitor, AlertError> {
        let organisation = by.organisation;
        let text = written(&compiled.monitor)?;
        let name = compiled.monitor.name.clone();
        let name_key = rows::monitor_name(organisation, &name);
        if self.store.get(&name_key).await?.is_some() {
            return Err(AlertError::Exists { what: "monitor", name });
        }
        let mut batch = Batch::new();
        let id = MonitorId(self.count(&mut batch, Space::Monitor, organisation).await?);
        // As long as fewer were ever made, none needs counting.
        if id.0 > self.limits.monitors && self.are_too_many(organisation).await? {
            return Err(AlertError::Limit {
                what: "monitors of one organisation",
                limit: self.limits.monitors,
            });
        }
        batch.require(name_key.clone(), Precondition::Absent).put(name_key, encode(&MonitorRef(id)));
        let now = self.clock.now();
        let row = MonitorRow {
            name: name.clone(),
            version: 1,
            document: text,
            created: now,
            updated: now,
            updated_by: by.key_name.clone(),
        };
        let key = rows::monitor(organisation, id);
        batch.require(key.clone(), Precondition::Absent);
        self.put_version(&mut batch, organisation, id, &row)?;
        let mut next = NextRow {
            turn: 0,
            at: None,
            version: 1,
            evaluated: None,
            problem: None,
            decisions: 0,
            series,
            ending: None,
            looked: None,
        };
        self.schedule(&mut batch, organisation, id, compiled.monitor.paused, &mut next);
        self.audit(&mut batch, &by, "monitor.create", &name, &[("id", id.to_string())]);
        batch.append(by.joined(Subject::Monitor(id)));
        self.store.commit(batch).await?;
        self.sooner.notify_one();
        self.shown(organisation, id, &row, compiled.monitor.clone(), Some(&next), FeedbackCounts::default())
            .await
    }

    /// Whether an organisation has as many monitors as it may have.
    async fn are_too_many(&self, organisation: OrganisationId) -> Result<bool, AlertError> {
        // A name is the smallest row that each has.
        let mut names = Walk::forward(&*self.store, rows::monitor_names(organisation).prefix());
        let mut count = 0;
        while count < self.limits.monitors && names.next().await?.is_some() {
            count += 1;
        }
        Ok(count >= self.limits.monitors)
    }

    /// Stores the next version of a monitor. `expected` is the version the caller changed, if it wants to be told that
    /// somebody else was quicker. If the monitor looks at something else than before, its incidents are closed.
    ///
    /// # Errors
    /// [`AlertError::Conflict`] if the version is not the expected one.
    pub async fn replace_monitor(
        &self,
        by: impl Into<By<'_>>,
        name_or_id: &str,
        document: &Json,
        expected: Option<u32>,
    ) -> Result<StoredMonitor, AlertError> {
        let by = by.into();
        let compiled = self.compile(by.organisation, document).await?;
        self.change(by, name_or_id, expected, "monitor.change", |_| Ok(compiled.clone())).await
    }

    /// Pauses a monitor, or goes on with it. Its incidents stay as they are meanwhile.
    ///
    /// # Errors
    /// [`AlertError::NotFound`].
    pub async fn pause_monitor(
        &self,
        principal: &Principal,
        name_or_id: &str,
        paused: bool,
    ) -> Result<StoredMonitor, AlertError> {
        let action = if paused { "monitor.pause" } else { "monitor.resume" };
        let changed = |before: &Compiled| {
            let mut monitor = before.monitor.clone();
            monitor.paused = paused;
            Compiled::new(monitor)
        };
        self.change(principal.into(), name_or_id, None, action, changed).await
    }

    async fn change(
        &self,
        by: By<'_>,
        name_or_id: &str,
        expected: Option<u32>,
        action: &str,
        changed: impl Fn(&Compiled) -> Result<Compiled, AlertError>,
    ) -> Result<StoredMonitor, AlertError> {
        until_it_holds(|| self.try_change(by, name_or_id, expected, action, &changed)).await
    }

    async fn try_change(
        &self,
        by: By<'_>,
        name_or_id: &str,
        expected: Option<u32>,
        action: &str,
        changed: impl Fn(&Compiled) -> Result<Compiled, AlertError>,
    ) -> Result<StoredMonitor, AlertError> {
        let organisation = by.organisation;
        let Found { id, stored, row } = self.find(organisation, name_or_id).await?;
        if let Some(expected) = expected.filter(|expected| *expected != row.version) {
            let version = row.version;
            return Err(AlertError::Conflict(format!(
                "the monitor {:?} is at version {version}, not {expected}: somebody else changed it",
                row.name
            )));
        }
        let before = self.load(organisation, id, row.version).await?;
        let compiled = changed(&before)?;
        let looks_elsewhere = compiled.looks_at_other_than(&before);
        // Before the row is read that evaluations write too: a query may take its time.
        let series = if looks_elsewhere { self.finds(organisation, &compiled).await } else { None };
        let now = self.clock.now();
        let text = written(&compiled.monitor)?;
        let (next_key, next_stored, mut next) = self.next(organisation, id).await?;
        let feedback = self.feedback_counts(organisation, id).await?;
        let mut batch = by.joined(Subject::Monitor(id));
        if text == row.document {
            if !batch.is_empty() {
                self.store.commit(batch).await?;
            }
            return self.shown(organisation, id, &row, compiled.monitor, Some(&next), feedback).await;
        }
        batch.require(rows::monitor(organisation, id), Precondition::ValueIs(stored));
        batch.require(next_key, Precondition::ValueIs(next_stored));
        if compiled.monitor.name != row.name {
            let key = rows::monitor_name(organisation, &compiled.monitor.name);
            if self.store.get(&key).await?.is_some() {
                return Err(AlertError::Exists { what: "monitor", name: compiled.monitor.name });
            }
            batch.require(key.clone(), Precondition::Absent).put(key, encode(&MonitorRef(id)));
            batch.delete(rows::monitor_name(organisation, &row.name));
        }
        let row = MonitorRow {
            name: compiled.monitor.name.clone(),
            version: row.version + 1,
            document: text,
            updated: now,
            updated_by: by.key_name.clone(),
            ..row
        };
        self.put_version(&mut batch, organisation, id, &row)?;
        if let Some(old) = row.version.checked_sub(limits::VERSIONS).filter(|old| *old > 0) {
            batch.delete(rows::version(organisation, id, old));
        }
        let grouped_by = next.grouped_by();
        next.version = row.version;
        let mut is_told = false;
        if looks_elsewhere {
            next.series = series;
            let ending = Ending { why: EndingCause::Changed, version: grouped_by };
            let ended = self.end_some(&mut batch, (organisation, id), ending).await?;
            next.ending = (!ended.is_all).then_some(ending);
            is_told = ended.is_told;
        }
        self.schedule(&mut batch, organisation, id, compiled.monitor.paused, &mut next);
        let details = [("id", id.to_string()), ("version", row.version.to_string())];
        self.audit(&mut batch, &by, action, &row.name, &details);
        self.store.commit(batch).await?;
        self.sooner.notify_one();
        if compiled.monitor.paused {
            self.forget_problem(organisation, id);
            self.wakes.forget(organisation, id);
        }
        if is_told {
            self.tellings.committed();
        }
        self.shown(organisation, id, &row, compiled.monitor, Some(&next), feedback).await
    }

    /// Deletes a monitor and closes its incidents, which stay; of very many some a moment later.
    ///
    /// # Errors
    /// [`AlertError::NotFound`].
    pub async fn delete_monitor(&self, by: impl Into<By<'_>>, name_or_id: &str) -> Result<(), AlertError> {
        let by = by.into();
        until_it_holds(|| self.try_delete(by, name_or_id)).await
    }

    async fn try_delete(&self, by: By<'_>, name_or_id: &str) -> Result<(), AlertError> {
        let organisation = by.organisation;
        let Found { id, stored, row } = self.find(organisation, name_or_id).await?;
        let (next_key, next_stored, mut next) = self.next(organisation, id).await?;
        let mut batch = by.joined(Subject::Monitor(id));
        let key = rows::monitor(organisation, id);
        batch.require(key.clone(), Precondition::ValueIs(stored)).delete(key);
        batch.require(next_key, Precondition::ValueIs(next_stored));
        batch.delete(rows::monitor_name(organisation, &row.name));
        batch.delete(rows::feedback_count(organisation, id));
        let ending = Ending { why: EndingCause::Deleted, version: next.grouped_by() };
        let Ended { is_told, is_all } = self.end_some(&mut batch, (organisation, id), ending).await?;
        if is_all {
            self.delete_rest(&mut batch, organisation, id, &next).await?;
            // Its versions and the state of its series go, for what is told of its incidents.
            batch.frees();
        } else {
            next.ending = Some(ending);
            self.schedule(&mut batch, organisation, id, false, &mut next);
        }
        self.audit(&mut batch, &by, "monitor.delete", &row.name, &[("id", id.to_string())]);
        self.store.commit(batch).await?;
        self.sooner.notify_one();
        self.forget_compiled(organisation, id);
        self.forget_problem(organisation, id);
        self.wakes.forget(organisation, id);
        if is_told {
            self.tellings.committed();
        }
        Ok(())
    }

    /// Puts a monitor's row and its version.
    fn put_version(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        id: MonitorId,
        row: &MonitorRow,
    ) -> Result<(), AlertError> {
        rows::put(batch, rows::monitor(organisation, id), encode(row))?;
        let version = VersionRow {
            document: row.document.clone(),
            created: row.updated,
            created_by: row.updated_by.clone(),
        };
        Ok(rows::put(batch, rows::version(organisation, id, row.version), encode(&version))?)
    }

    /// Puts when a monitor is due next: at once after a change, never while it is paused, unless incidents of it are to be
    /// closed yet.
    pub(crate) fn schedule(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        id: MonitorId,
        paused: bool,
        next: &mut NextRow,
    ) {
        if let Some(before) = next.at {
            batch.delete(rows::due(before, organisation, id));
        }
        // No evaluation comes twice: the next is behind the last even where the clock was set back, unless by far.
        let now = self.clock.now();
        for last in [&mut next.evaluated, &mut next.looked] {
            *last = last.filter(|last| !is_ahead(*last, now));
        }
        let soonest = next.evaluated.map_or(now, |last| now.max(last.saturating_add(1)));
        next.at = (!paused || next.ending.is_some()).then_some(soonest);
        next.turn += 1;
        if let Some(at) = next.at {
            batch.put(rows::due(at, organisation, id), Vec::new());
        }
        batch.put(rows::next(organisation, id), encode(next));
    }

    async fn next(
        &self,
        organisation: OrganisationId,
        id: MonitorId,
    ) -> Result<(bellwether_store::Key, Bytes, NextRow), AlertError> {
        let key = rows::next(organisation, id);
        let stored =
            self.store.get(&key).await?.ok_or_else(|| AlertError::unknown("monitor", id.to_string()))?;
        let next = decode(&stored)?;
        Ok((key, stored, next))
    }
}
