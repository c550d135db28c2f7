//! One plugin's way out: where it may go, how many of its requests are on their way, and what one call has used.

use bellwether_access::Destination;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::EgressError;
use crate::limits;

/// One plugin's way out.
pub(crate) struct Outlet {
    pub(super) granted: Vec<Destination>,
    pub(super) slots: Semaphore,
}

/// What one call has used of what it may send and get, by all its ways.
#[derive(Debug, Default)]
pub(crate) struct Spent(Mutex<Used>);

#[derive(Debug, Default)]
struct Used {
    requests: u32,
    bytes: usize,
}

impl Outlet {
    /// The way out of a plugin that may go where `granted` says.
    pub(crate) fn new(granted: Vec<Destination>) -> Self {
        Self { granted, slots: Semaphore::new(limits::HTTP_CONNECTIONS) }
    }
}

impl Spent {
    /// Takes note of one more request.
    pub(super) fn request(&self) -> Result<(), EgressError> {
        let mut used = self.0.lock();
        if used.requests >= limits::HTTP_REQUESTS {
            let most = limits::HTTP_REQUESTS;
            return Err(EgressError::Budget(format!("one call may send {most} requests, and has")));
        }
        used.requests += 1;
        Ok(())
    }

    /// Takes note of bytes that go out or came in.
    pub(super) fn bytes(&self, more: usize) -> Result<(), EgressError> {
        let mut used = self.0.lock();
        if more > limits::HTTP_BYTES - used.bytes {
            let most = limits::HTTP_BYTES >> 20;
            return Err(EgressError::Budget(format!("one call may send and receive {most} MiB, and has")));
        }
        used.bytes += more;
        Ok(())
    }
}
