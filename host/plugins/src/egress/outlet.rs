//! One plugin's way out: where it may go, how many of its requests are on their way, and what one call has used.

use bellwether_access::Destination;
use bellwether_engine::{Gate, NoSlot, Place, Slot};
use bellwether_kernel::OrganisationId;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::EgressError;
use crate::limits;

/// One plugin's way out.
pub(crate) struct Outlet {
    pub(super) granted: Vec<Destination>,
    /// Whether an organisation's admin granted that, and not the operator.
    pub(super) of_organisation: bool,
    /// Shared out by organisation, so that a service one of them calls and that hangs holds up nobody else's requests.
    slots: Gate,
}

/// What one call has used of what it may send and get, by all its ways.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    /// Whose call it is: the organisation, or 0 for nobody's.
    tenant: u64,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    requests: u32,
    bytes: usize,
}

impl Outlet {
    /// The way out of the operator's plugin, which every organisation may call, where `granted` says.
    pub(crate) fn new(granted: Vec<Destination>) -> Self {
        Self { granted, of_organisation: false, slots: Gate::new(limits::HTTP_CONNECTIONS) }
    }

    /// Makes it the way out of an organisation's own plugin, which no other organisation calls.
    pub(crate) fn give_to_organisation(&mut self) {
        self.of_organisation = true;
        self.slots = Gate::for_one(limits::HTTP_CONNECTIONS);
    }

    /// Waits until one more request of the call that has `spent` may be on its way.
    pub(super) async fn slot(&self, spent: &Spent, deadline: Instant) -> Result<Slot<'_>, EgressError> {
        let place = Place { tenant: spent.tenant, lane: 0, most: limits::HTTP_CONNECTIONS };
        self.slots.enter(place, deadline).await.map_err(|why| {
            let (most, whose) = match why {
                NoSlot::Busy => (self.slots.slots(), ""),
                NoSlot::OverShare => (self.slots.share(), " for this organisation"),
            };
            EgressError::Connection(format!(
                "{most} requests of the plugin are on their way{whose}, and no place came free"
            ))
        })
    }
}

impl Spent {
    /// Nothing yet, of a call for `organisation`.
    pub(crate) fn of(organisation: Option<OrganisationId>) -> Self {
        Self { tenant: organisation.map_or(0, |organisation| organisation.0), used: Mutex::default() }
    }

    /// Takes note of one more request.
    pub(super) fn request(&self) -> Result<(), EgressError> {
        let mut used = self.used.lock();
        if used.requests >= limits::HTTP_REQUESTS {
            let most = limits::HTTP_REQUESTS;
            return Err(EgressError::Budget(format!("one call may send {most} requests, and has")));
        }
        used.requests += 1;
        Ok(())
    }

    /// Takes note of bytes that go out or came in.
    pub(super) fn bytes(&self, more: usize) -> Result<(), EgressError> {
        let mut used = self.used.lock();
        if more > limits::HTTP_BYTES - used.bytes {
            let most = limits::HTTP_BYTES >> 20;
            return Err(EgressError::Budget(format!("one call may send and receive {most} MiB, and has")));
        }
        used.bytes += more;
        Ok(())
    }
}
