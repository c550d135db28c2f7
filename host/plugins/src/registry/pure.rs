//! The pure roles of plugins, as alerts call them.

use std::sync::Arc;

use async_trait::async_trait;
use bellwether_alerts::{
    Answer, Detection, Detector, DetectorDescription, Forecast, Forecaster, ForecasterDescription, Formatter,
    FormatterDescription, Notification, Past, Points, RoleError, Settings, Step,
};
use bellwether_kernel::{ErrorKind, OrganisationId};

use super::Release;
use crate::PluginError;
use crate::canary::Watched;
use crate::plugin::Served;
use crate::row::Installed;

/// A plugin's version in its pure roles, in the service of one organisation. It is loaded when it is called.
pub(super) struct ReleasedRole {
    release: Arc<Release>,
    installed: Arc<Installed>,
    organisation: OrganisationId,
    watched: Option<Watched>,
}

impl ReleasedRole {
    /// `None` if it has not the role that `described` looks for, or did not load.
    pub(super) fn new<D>(
        release: &Arc<Release>,
        organisation: OrganisationId,
        described: impl Fn(&Installed) -> &Option<D>,
        watched: Option<Watched>,
    ) -> Option<Arc<Self>> {
        let installed = release.installed();
        described(&installed).as_ref()?;
        Some(Arc::new(Self { release: Arc::clone(release), installed, organisation, watched }))
    }

    async fn role<R>(&self, role: impl Fn(&Served) -> &Option<Arc<R>>) -> Result<Arc<R>, RoleError> {
        let Installed { name, version, .. } = &*self.installed;
        let served = self.release.as_it_is()?.served().await.map_err(|error| RoleError::Failed {
            message: format!("plugin {name} {version} does not load: {error}"),
            kind: error.kind(),
        })?;
        Ok(role(&served).clone().ok_or_else(|| PluginError::Unknown(name.clone()))?)
    }

    /// Counts a call, unless it tells nothing of this version, as [`PluginError::is_fault`] says.
    fn count<A>(&self, answer: &Result<A, RoleError>, failed: bool) {
        let Some(watched) = &self.watched else { return };
        let never_ran = matches!(
            answer,
            Err(RoleError::Failed {
                kind: ErrorKind::RateLimited | ErrorKind::NotFound | ErrorKind::Conflict,
                ..
            })
        );
        if !never_ran {
            watched.count(failed);
        }
    }
}

#[async_trait]
impl Detector for ReleasedRole {
    fn version(&self) -> &str {
        &self.installed.version
    }

    fn description(&self) -> &DetectorDescription {
        self.installed.detector.as_ref().expect("only made for detectors")
    }

    async fn detect(
        &self,
        settings: &Settings,
        state: &[u8],
        points: &Points,
    ) -> Result<Detection, RoleError> {
        let detection = async {
            let detector = self.role(|served| &served.detector).await?;
            detector.detect(self.organisation, settings, state, points).await
        };
        let detection = detection.await;
        // The state of another version is not known to any.
        self.count(&detection, !matches!(detection, Ok(_) | Err(RoleError::UnknownState(_))));
        detection
    }
}

#[async_trait]
impl Forecaster for ReleasedRole {
    fn version(&self) -> &str {
        &self.installed.version
    }

    fn description(&self) -> &ForecasterDescription {
        self.installed.forecaster.as_ref().expect("only made for forecasters")
    }

    async fn predict(&self, settings: &Settings, past: &Past) -> Result<Forecast, RoleError> {
        let forecast = async {
            let forecaster = self.role(|served| &served.forecaster).await?;
            forecaster.predict(self.organisation, settings, past).await
        };
        let forecast = forecast.await;
        // What it is set to and given is each caller's own, and wrong for every version.
        let is_wrong = matches!(forecast, Err(RoleError::Invalid(_) | RoleError::TooShort { .. }));
        self.count(&forecast, forecast.is_err() && !is_wrong);
        forecast
    }
}

#[async_trait]
impl Formatter for ReleasedRole {
    fn version(&self) -> &str {
        &self.installed.version
    }

    fn description(&self) -> &FormatterDescription {
        self.installed.formatter.as_ref().expect("only made for formatters")
    }

    async fn next(
        &self,
        notification: &Notification,
        settings: &Settings,
        memory: &[u8],
        last: Option<&Answer>,
    ) -> Result<Step, RoleError> {
        let step = async {
            let formatter = self.role(|served| &served.formatter).await?;
            formatter.next(self.organisation, notification, settings, memory, last).await
        };
        let step = step.await;
        self.count(&step, matches!(step, Err(_) | Ok(Step::Fail { .. } | Step::Gone { .. })));
        step
    }
}
