//! What a step calls.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bellwether_access::Principal;
use bellwether_kernel::value::{Input, Value, ValueType};
use bellwether_kernel::{FieldError, OrganisationId, RunId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::PlaybookError;
/// One output of an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
    /// For whoever reads it.
    pub help: String,
}

/// What an app takes and gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppDescription {
    /// One sentence.
    pub summary: String,
    /// What it takes.
    pub inputs: Vec<Input>,
    /// What it gives.
    pub outputs: Vec<Output>,
}

/// Which step a call's effects belong to: a repeat with the same gets their recorded answers, not a second effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EffectScope {
    /// The run.
    pub run: RunId,
    /// The step's id; the path to it where playbooks are steps themselves.
    pub step: String,
    /// Which item of the list the step iterates over, from 0; absent where it does not.
    pub item: Option<u32>,
}

/// One call of an app.
#[derive(Clone, Debug)]
pub struct AppCall {
    /// On whose behalf.
    pub principal: Arc<Principal>,
    /// The same for every attempt at the same step, and item of it, of the same run.
    pub idempotency_key: String,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// Checked against the description, defaults filled in.
    pub inputs: Vec<(String, Value)>,
    /// How long it may take, waiting included; a limit that was set for the plugin itself holds all the same.
    pub time_limit: Duration,
    /// Where its effects are recorded; absent where there is no run to repeat.
    pub effects: Option<EffectScope>,
}

/// Whether a failed call may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// The same call will fail the same way.
    No,
    /// Later it may succeed.
    Yes,
    /// Later it may succeed, and not before so many milliseconds.
    After(u64),
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AppError {
    /// One line; names the plugin, its version and the call where the fault is the plugin's or the host's.
    pub message: String,
    /// Whether to try again.
    pub retry: Retry,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For the author.
    Debug,
    /// Usual.
    Info,
    /// Odd.
    Warn,
    /// Wrong.
    Error,
}

/// A line an app logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub time: Timestamp,
    /// How much it matters.
    pub level: LogLevel,
    /// What it says.
    pub message: String,
}

/// What a call came to.
#[derive(Clone, Debug)]
pub struct AppReport {
    /// Outputs in the app's order, or why not.
    pub result: Result<Vec<(String, Value)>, AppError>,
    /// What it logged, bounded by the host.
    pub log: Vec<LogLine>,
}

/// One version of one app.
#[async_trait]
pub trait App: Send + Sync {
    /// The plugin's version.
    fn version(&self) -> &str;
    /// What it takes and gives.
    fn description(&self) -> &AppDescription;
    /// Does the work once.
    async fn run(&self, call: AppCall) -> AppReport;
    /// Tells that a call came to nothing before it was made, as what it was to be given is not what this version takes. By
    /// default nobody wants to know.
    fn was_not_called(&self) {}
}

/// Finds apps.
pub trait Apps: Send + Sync + 'static {
    /// The app of that name an organisation sees: its own, or the host's.
    fn app(&self, organisation: OrganisationId, name: &str) -> Option<Arc<dyn App>>;

    /// That version of it, with which a run began; `None` if it is gone. By default only the present version is
    /// there.
    fn app_version(&self, organisation: OrganisationId, name: &str, version: &str) -> Option<Arc<dyn App>> {
        self.app(organisation, name).filter(|app| app.version() == version)
    }

    /// The app for a run that begins now: while a new version is tried on a share of the runs, the same version
    /// whenever the same run asks. A new version that the run's steps do not fit, as `fits` says, has failed it, and the
    /// run gets the present one. By default the present version.
    fn app_for(
        &self,
        organisation: OrganisationId,
        name: &str,
        run: RunId,
        fits: &dyn Fn(&AppDescription) -> bool,
    ) -> Option<Arc<dyn App>> {
        let _ = (run, fits);
        self.app(organisation, name)
    }

    /// Why an app that is installed is not called, its present version or the one given: it is switched off, or it does
    /// not load. `None` if it is called, or if there is none. By default none is installed that is not called.
    fn why_not(&self, organisation: OrganisationId, name: &str, version: Option<&str>) -> Option<String> {
        let _ = (organisation, name, version);
        None
    }

    /// The versions of it that are there, newest first. By default the present version.
    fn app_versions(&self, organisation: OrganisationId, name: &str) -> Vec<String> {
        self.app(organisation, name).iter().map(|app| app.version().to_owned()).collect()
    }
}

/// An app as a document names it: `metric`, or one version of it, `metric@0.1.0`.
pub(crate) fn named_version(app: &str) -> (&str, Option<&str>) {
    app.split_once('@').map_or((app, None), |(name, version)| (name, Some(version)))
}

/// Who keeps to an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The version; `None` for whichever is current.
    pub version: Option<String>,
    /// Who.
    pub by: PinnedBy,
}

/// Who keeps to an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinnedBy {
    /// The published version of the playbook of this name, whose steps call it.
    Playbook(String),
    /// A run that has not ended and began with that version.
    Run(RunId),
}

/// Knows who keeps to an app, and to which version of it.
#[async_trait]
pub trait Pins: Send + Sync + 'static {
    /// Who in an organisation keeps to the app of that name.
    ///
    /// # Errors
    /// If the store does not answer or is damaged.
    async fn pins(&self, organisation: OrganisationId, app: &str) -> Result<Vec<Pin>, PlaybookError>;

    /// The names of an organisation's published playbooks that call the app of that name in whichever version is current,
    /// and whose steps do not fit one that is as described, each with why.
    ///
    /// # Errors
    /// If the store does not answer or is damaged.
    async fn misfits(
        &self,
        organisation: OrganisationId,
        app: &str,
        description: &AppDescription,
    ) -> Result<Vec<(String, FieldError)>, PlaybookError>;
}
