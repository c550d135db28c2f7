//! What goes out of alerts in the commit that caused it: what channels are told, from the evaluations, which decide that
//! something is told, to the deliveries, which tell it; and what incidents do, for whoever follows them.

use std::sync::Arc;

use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_store::Batch;

use crate::{AlertError, Event, Incident, MonitorId, StoredIncident};

/// What the channels of an incident are told at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Telling {
    /// Whose incident it is.
    pub organisation: OrganisationId,
    /// Names of channels, each once.
    pub channels: Vec<String>,
    /// Counts the tellings of this incident, from 1.
    pub sequence: u32,
    /// What happened: it opened, was updated, or closed.
    pub event: Event,
    /// When that came about.
    pub time: Timestamp,
    /// The incident as it is then.
    pub incident: Incident,
}

/// What an incident did, told to anybody or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// Whose incident it is.
    pub organisation: OrganisationId,
    /// It opened, was updated, or closed.
    pub event: Event,
    /// The number of the entry of its timeline that says so: greater for each move, and the same move never has another.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// Whether its channels are told of it.
    pub told: bool,
    /// The incident as it is then.
    pub incident: StoredIncident,
    /// The same with its series, the worst of those that breach first.
    pub as_told: Incident,
}

/// Where tellings go: what is added to a batch is delivered once that batch is committed.
pub trait Tellings: Send + Sync + 'static {
    /// Adds what it takes to deliver a telling to the batch of what caused it; reads and writes nothing else.
    ///
    /// # Errors
    /// If the telling cannot be kept, as where it is larger than a batch may be.
    fn add(&self, batch: &mut Batch, telling: &Telling) -> Result<(), AlertError>;

    /// Whether [`Self::moved`] wants an organisation's incidents. By default nobody follows them.
    fn follows(&self, organisation: OrganisationId) -> bool {
        let _ = organisation;
        false
    }

    /// Adds what it takes to act on what an incident did to the batch of that; reads and writes nothing else.
    ///
    /// # Errors
    /// If it cannot be kept.
    fn moved(&self, batch: &mut Batch, moved: &Moved) -> Result<(), AlertError> {
        let _ = (batch, moved);
        Ok(())
    }

    /// Wakes the deliveries: to be called after a commit that added some.
    fn committed(&self);

    /// An evaluation of a monitor came to nothing: what it added to its batch was most likely not committed, and is not
    /// waited for. By default nothing is.
    fn failed(&self, organisation: OrganisationId, monitor: MonitorId) {
        let _ = (organisation, monitor);
    }
}

/// Each of them.
impl Tellings for Vec<Arc<dyn Tellings>> {
    fn add(&self, batch: &mut Batch, telling: &Telling) -> Result<(), AlertError> {
        self.iter().try_for_each(|each| each.add(batch, telling))
    }

    fn follows(&self, organisation: OrganisationId) -> bool {
        self.iter().any(|each| each.follows(organisation))
    }

    fn moved(&self, batch: &mut Batch, moved: &Moved) -> Result<(), AlertError> {
        let mut following = self.iter().filter(|each| each.follows(moved.organisation));
        following.try_for_each(|each| each.moved(batch, moved))
    }

    fn committed(&self) {
        self.iter().for_each(|each| each.committed());
    }

    fn failed(&self, organisation: OrganisationId, monitor: MonitorId) {
        self.iter().for_each(|each| each.failed(organisation, monitor));
    }
}
