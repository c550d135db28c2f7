//! Sending a share of the calls to a version, and ending that: by hand, or by itself when the version fails.

use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bellwether_access::{AuthFailure, Principal};
use bellwether_kernel::{FieldError, OrganisationId, Timestamp};
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use serde::Serialize;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Entry, Plugins, Told};
use crate::PluginError;
use crate::canary::{Side, Tally, Trial, Verdict, Watched};
use crate::dialect::{Dialect, DialectRequest, DialectResponse};
use crate::row::{CanaryEnd, CanaryOutcome, CanaryRow, Installed, Owner};

/// Who ends a canary that failed, in the audit log: the host by itself.
const HOST: &str = "host";

/// How long after a store that did not take it the end of a canary is written again, at first and at most. Meanwhile
/// nobody is sent to it.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

const ENDED: &str = "bellwether_plugin_canaries_ended_total";
const SHARE: &str = "bellwether_plugin_version_share";

/// Says in `/metrics` what is counted here. The recorder must be installed before.
pub(super) fn describe() {
    describe_counter!(ENDED, Unit::Count, "Canaries that ended, by plugin, owner and how.");
    describe_gauge!(
        SHARE,
        Unit::Count,
        "Which share of a plugin's calls each version that is kept gets, of 1."
    );
}

/// A version that is tried on a share of the calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Canary {
    /// The version.
    pub version: String,
    /// Hundredths of the calls.
    pub share: u8,
    /// Since when.
    pub since: Timestamp,
    /// The id of the key that set it.
    pub actor: String,
    /// What its calls came to lately.
    pub canary: Tally,
    /// What the current version's calls came to meanwhile.
    pub current: Tally,
}

impl Plugins {
    /// Sends `share` hundredths of the calls to a version that is installed, or changes the share. A run keeps to the
    /// version it began with; another caller gets one version as long as the share does not change.
    ///
    /// # Errors
    /// If there is no such plugin or version, if it is the current one, does not load, or another is tried already.
    pub async fn set_canary(
        &self,
        owner: Owner,
        actor: &str,
        name: &str,
        version: &str,
        share: u8,
    ) -> Result<Canary, PluginError> {
        check_share(share)?;
        let (_change, before) = loop {
            let before = self.known(owner, name)?;
            let loaded = before.release(version)?.served().await.map(drop);
            if let Some(change) = self.turn_for(&before).await {
                loaded?;
                break (change, before);
            }
        };
        if before.row.current == version {
            let expected = "another version than the current one";
            return Err(FieldError::new("version", version, expected).into());
        }
        let services = &self.shared.services;
        let (trial, since) = match (&before.row.canary, &before.trial) {
            (Some(canary), Some(trial)) if canary.version == version => {
                (trial.with_share(share), canary.since)
            }
            (Some(canary), _) => {
                let (name, version) = (name.to_owned(), canary.version.clone());
                return Err(PluginError::CanaryOn { name, version });
            }
            (None, _) => {
                let (verdicts, clock) = (self.verdicts.clone(), Arc::clone(&services.clock));
                (Trial::new(owner, name, version, share, verdicts, clock), services.clock.now())
            }
        };
        let canary = CanaryRow { version: version.to_owned(), share, since, actor: actor.to_owned() };
        let mut after = before.with_row(|row| row.canary = Some(canary));
        after.trial = Some(Arc::new(trial));
        let details = vec![
            ("version", version.to_owned()),
            ("share", format!("{share} %")),
            ("current", before.row.current.clone()),
        ];
        let after =
            self.commit(Some(&before), after, Told { actor, action: "plugin.canary", details }).await?;
        after.canary_status().ok_or_else(|| PluginError::NoCanary(name.to_owned()))
    }

    /// Makes the canary the current version.
    ///
    /// # Errors
    /// If there is no such plugin, or it has no canary.
    pub async fn promote(
        &self,
        owner: Owner,
        actor: &str,
        name: &str,
    ) -> Result<Arc<Installed>, PluginError> {
        self.end_canary(owner, actor, name, None, CanaryOutcome::Promoted, None).await
    }

    /// Sends nobody to the canary any more; it is kept.
    ///
    /// # Errors
    /// If there is no such plugin, or it has no canary.
    pub async fn abort(&self, owner: Owner, actor: &str, name: &str) -> Result<Arc<Installed>, PluginError> {
        self.end_canary(owner, actor, name, None, CanaryOutcome::Aborted, None).await
    }

    /// The canary of a plugin if it has one, and how the one before ended.
    #[must_use]
    pub fn canary(&self, owner: Owner, name: &str) -> (Option<Canary>, Option<CanaryEnd>) {
        let entry = self.find(owner, name);
        entry.map_or((None, None), |entry| (entry.canary_status(), entry.row.ended.clone()))
    }

    /// Ends the canary; where `trial` is given, only that one.
    pub(super) async fn end_canary(
        &self,
        owner: Owner,
        actor: &str,
        name: &str,
        trial: Option<u64>,
        how: CanaryOutcome,
        reason: Option<String>,
    ) -> Result<Arc<Installed>, PluginError> {
        let _change = self.changes.lock().await;
        let before = self.known(owner, name)?;
        let is_meant = trial.is_none_or(|id| before.trial.as_ref().is_some_and(|trial| trial.id == id));
        let canary = before.row.canary.as_ref().filter(|_| is_meant);
        let canary = canary.ok_or_else(|| PluginError::NoCanary(name.to_owned()))?.clone();
        let at = self.shared.services.clock.now();
        let mut details = vec![("version", canary.version.clone()), ("current", before.row.current.clone())];
        details.extend(reason.clone().map(|reason| ("reason", reason)));
        let mut after = before.with_row(|row| {
            row.canary = None;
            if how == CanaryOutcome::Promoted {
                row.go_on_to(&canary.version);
            }
            row.ended = Some(CanaryEnd { version: canary.version, at, how, reason });
        });
        after.trial = None;
        let action = match how {
            CanaryOutcome::Promoted => "plugin.promote",
            CanaryOutcome::Aborted => "plugin.abort",
            CanaryOutcome::RolledBack => "plugin.canary-roll-back",
        };
        let after = self.commit(Some(&before), after, Told { actor, action, details }).await?;
        let labels = [("plugin", name.to_owned()), ("owner", owner.label()), ("how", how.name().to_owned())];
        counter!(ENDED, &labels).increment(1);
        Ok(after.shown(after.current()))
    }

    /// The versions a dialect's requests may be answered by.
    #[must_use]
    pub fn dialect_versions(&self, name: &str) -> Option<DialectVersions> {
        let entry = self.find(Owner::Host, name)?;
        let current = entry.dialect()?;
        let canary = entry.trial.clone().and_then(|trial| {
            let dialect = entry.releases.get(&trial.version)?.held()?.dialect.clone()?;
            Some((trial, dialect))
        });
        Some(DialectVersions { current, canary })
    }
}

impl CanaryOutcome {
    /// Its name in labels.
    fn name(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled-back",
        }
    }
}

impl Entry {
    fn canary_status(&self) -> Option<Canary> {
        let CanaryRow { version, share, since, actor } = self.row.canary.clone()?;
        let (canary, current) = self.trial.as_ref()?.tallies();
        Some(Canary { version, share, since, actor, canary, current })
    }
}

/// A dialect whose requests are answered by its current version or, for some callers, by its canary.
pub struct DialectVersions {
    current: Arc<Dialect>,
    canary: Option<(Arc<Trial>, Arc<Dialect>)>,
}

impl DialectVersions {
    /// The current version.
    #[must_use]
    pub fn current(&self) -> &Dialect {
        &self.current
    }

    /// Whether it depends on the caller which version answers.
    #[must_use]
    pub fn has_canary(&self) -> bool {
        self.canary.is_some()
    }

    /// The version that answers a caller: always the same one for the same organisation and `caller`, whatever names
    /// one best, as long as the share does not change.
    #[must_use]
    pub fn pick(&self, organisation: Option<OrganisationId>, caller: &[u8]) -> PickedDialect {
        let current = Arc::clone(&self.current);
        let Some((trial, canary)) = &self.canary else {
            return PickedDialect { dialect: Arc::clone(&current), current, watched: None };
        };
        let side = trial.side(organisation, caller);
        let dialect = Arc::clone(if side == Side::Canary { canary } else { &current });
        let watched = Some(Watched::new(Arc::clone(trial), side));
        PickedDialect { dialect, current, watched }
    }
}

/// The version of a dialect that answers a caller.
pub struct PickedDialect {
    dialect: Arc<Dialect>,
    /// The current version.
    current: Arc<Dialect>,
    watched: Option<Watched>,
}

impl PickedDialect {
    /// Answers a request, see [`Dialect::handle`], and counts it while a canary is tried.
    ///
    /// # Errors
    /// As [`Dialect::handle`].
    pub async fn handle(
        &self,
        caller: Option<Result<Arc<Principal>, AuthFailure>>,
        request: DialectRequest<'_>,
    ) -> Result<DialectResponse, PluginError> {
        let Some(watched) = &self.watched else { return self.dialect.handle(caller, request).await };
        let organisation = caller.as_ref().and_then(|caller| Some(caller.as_ref().ok()?.organisation));
        let answer = self.dialect.handle(caller, request).await;
        let failed = match &answer {
            Ok(answer) => Some(answer.status.is_server_error()),
            // What no version takes, nobody failed to take.
            Err(PluginError::Settings { .. }) => {
                self.current.takes_what_was_set(organisation).then_some(true)
            }
            Err(error) => error.is_fault().then_some(true),
        };
        failed.into_iter().for_each(|failed| watched.count(failed));
        answer
    }
}

impl Deref for PickedDialect {
    type Target = Dialect;

    fn deref(&self) -> &Dialect {
        &self.dialect
    }
}

pub(super) fn check_share(share: u8) -> Result<(), FieldError> {
    if share <= 100 {
        return Ok(());
    }
    Err(FieldError::new("share", share, "0 to 100, hundredths of the calls"))
}

/// Ends canaries that failed, as long as there is a host.
pub(super) async fn take_back(plugins: Weak<Plugins>, mut failed: UnboundedReceiver<Verdict>) {
    while let Some(verdict) = failed.recv().await {
        let Verdict { owner, name, version, trial, .. } = &verdict;
        let reason = verdict.reason();
        tracing::error!(plugin = name, version, reason, "a canary failed and is rolled back");
        let (mut wait, longest) = AGAIN;
        loop {
            let Some(plugins) = plugins.upgrade() else { return };
            let (how, reason) = (CanaryOutcome::RolledBack, Some(reason.clone()));
            match plugins.end_canary(*owner, HOST, name, Some(*trial), how, reason).await {
                // Somebody was quicker.
                Ok(_) | Err(PluginError::NoCanary(_) | PluginError::Unknown(_)) => break,
                Err(error) => {
                    tracing::error!(plugin = name, version, %error, "the end of a canary is not recorded yet");
                }
            }
            drop(plugins);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }
}

/// Shows on `/metrics` which version is current and what share of the calls a canary has.
pub(super) fn show(entry: &Entry) {
    for version in entry.releases.keys() {
        let share = match &entry.row.canary {
            Some(canary) if canary.version == *version => f64::from(canary.share) / 100.0,
            Some(canary) if entry.row.current == *version => 1.0 - f64::from(canary.share) / 100.0,
            None if entry.row.current == *version => 1.0,
            _ => 0.0,
        };
        show_share(entry, version, share);
    }
}

/// Shows that the versions of `before` get no calls any more that are not among those of `after`.
pub(super) fn show_gone(before: &Entry, after: Option<&Entry>) {
    let gone = |version: &&String| after.is_none_or(|after| !after.releases.contains_key(*version));
    for version in before.releases.keys().filter(gone) {
        show_share(before, version, 0.0);
    }
}

fn show_share(entry: &Entry, version: &str, share: f64) {
    let labels =
        [("plugin", entry.name.clone()), ("owner", entry.owner.label()), ("version", version.to_owned())];
    gauge!(SHARE, &labels).set(share);
}
