//! Monitors whose evaluations come to nothing or leave series out, or that name channels there are not: said once as that
//! begins or becomes another, and once as it is over, and counted meanwhile.

use bellwether_kernel::OrganisationId;
use bellwether_series::SeriesError;
use bellwether_store::decode;

use crate::rows::{self, MonitorRow, NextRow};
use crate::{AlertError, Alerts, MonitorId};

/// What a problem is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// The query does not answer.
    Query,
    /// The detector does not.
    Detector,
    /// Something that is stored does not read, or cannot be stored.
    Store,
    /// There are more series than a monitor looks at.
    LeftOut,
    /// It takes too long.
    TooSlow,
    /// Channels it names are not there.
    NoChannel,
    /// Something else.
    Other,
}

impl ProblemKind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Query,
        Self::Detector,
        Self::Store,
        Self::LeftOut,
        Self::TooSlow,
        Self::NoChannel,
        Self::Other,
    ];

    pub(crate) fn of(error: &AlertError) -> Self {
        match error {
            AlertError::Store(_) | AlertError::Series(SeriesError::Store(_)) => Self::Store,
            AlertError::Series(_) => Self::Query,
            AlertError::Role(_) => Self::Detector,
            AlertError::TooSlow => Self::TooSlow,
            _ => Self::Other,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Detector => "detector",
            Self::Store => "store",
            Self::LeftOut => "series-left-out",
            Self::TooSlow => "too-slow",
            Self::NoChannel => "no-channel",
            Self::Other => "other",
        }
    }
}

impl Alerts {
    /// How many monitors have a problem, as their last evaluations by this host since it started left them: a query or
    /// detector that does not answer, a row that does not read, series that are left out, a channel that is not there. Paused
    /// ones do not count.
    #[must_use]
    pub fn monitors_with_problem(&self) -> usize {
        self.problems.lock().len()
    }

    /// What problem a monitor is known to have.
    pub(crate) fn problem_of(&self, organisation: OrganisationId, id: MonitorId) -> Option<ProblemKind> {
        self.problems.lock().get(&(organisation, id)).copied()
    }

    /// A monitor has a problem, as what was committed says.
    pub(crate) async fn problem_is(
        &self,
        (organisation, id): (OrganisationId, MonitorId),
        kind: ProblemKind,
        problem: &str,
    ) {
        let before = self.problems.lock().insert((organisation, id), kind);
        if before == Some(kind) {
            return;
        }
        self.meters.problem_begins(kind);
        if let Some(before) = before {
            self.meters.problem_ends(before);
        }
        // Who paused or deleted it meanwhile may have had it forgotten before it was known.
        match self.name_at_work(organisation, id).await {
            Some(monitor_name) => {
                let kind = kind.word();
                tracing::warn!(
                    organisation = organisation.0,
                    monitor = id.0,
                    monitor_name,
                    kind,
                    problem,
                    "a monitor has a problem"
                );
            }
            None => drop(self.forget_problem(organisation, id)),
        }
    }

    /// A monitor has none, as what was committed says; `had` is whether its row had one before.
    pub(crate) fn problem_is_over(
        &self,
        (organisation, id): (OrganisationId, MonitorId),
        monitor_name: &str,
        had: bool,
    ) {
        if self.forget_problem(organisation, id) || had {
            tracing::info!(
                organisation = organisation.0,
                monitor = id.0,
                monitor_name,
                "a monitor's problem is over"
            );
        }
    }

    /// A monitor that is evaluated no more counts no more; whether it did.
    pub(crate) fn forget_problem(&self, organisation: OrganisationId, id: MonitorId) -> bool {
        let known = self.problems.lock().remove(&(organisation, id));
        known.inspect(|kind| self.meters.problem_ends(*kind)).is_some()
    }

    /// What a monitor is called that is there and not paused, as far as that reads.
    async fn name_at_work(&self, organisation: OrganisationId, id: MonitorId) -> Option<String> {
        let next = self.store.get(&rows::next(organisation, id)).await.ok()??;
        if decode::<NextRow>(&next).is_ok_and(|next| next.at.is_none()) {
            return None;
        }
        let row = self.store.get(&rows::monitor(organisation, id)).await.ok()??;
        Some(decode::<MonitorRow>(&row).map(|row| row.name).unwrap_or_default())
    }
}
