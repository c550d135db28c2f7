//! What channels are told: from the evaluations, which decide that something is told, to the deliveries, which tell it.

use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_store::Batch;

use crate::{AlertError, Event, Incident};

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

/// Where tellings go: what is added to a batch is delivered once that batch is committed.
pub trait Tellings: Send + Sync + 'static {
    /// Adds what it takes to deliver a telling to the batch of what caused it; reads and writes nothing else.
    ///
    /// # Errors
    /// If the telling cannot be kept, as where it is larger than a batch may be.
    fn add(&self, batch: &mut Batch, telling: &Telling) -> Result<(), AlertError>;

    /// Wakes the deliveries: to be called after a commit that added some.
    fn committed(&self);
}
