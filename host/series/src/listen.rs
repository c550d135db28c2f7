//! Telling of writes as they happen, to whoever can do with a hint.

use std::sync::{Arc, Weak};

use bellwether_kernel::OrganisationId;
use parking_lot::RwLock;

use crate::{Series, SeriesSlice};

/// What a listener does once a write can be read.
pub type Hint = Box<dyn FnOnce() + Send>;

/// Is told of writes to series.
pub trait Listener: Send + Sync + 'static {
    /// What it does once these samples are durable and can be read; a moment before that, where writes are acknowledged
    /// before the sync. The write is acknowledged behind both, so they must be quick. Of a write that is refused, or that
    /// nobody waits for, the hint is dropped.
    fn hint(self: Arc<Self>, organisation: OrganisationId, series: &[SeriesSlice<'_>]) -> Option<Hint>;
}

/// Those who are told, for as long as they are there.
#[derive(Default)]
pub(crate) struct Listeners(RwLock<Vec<Weak<dyn Listener>>>);

impl Listeners {
    pub(crate) fn hints(&self, organisation: OrganisationId, series: &[SeriesSlice<'_>]) -> Vec<Hint> {
        let listeners = self.0.read();
        let listeners = listeners.iter().filter_map(Weak::upgrade);
        listeners.filter_map(|listener| listener.hint(organisation, series)).collect()
    }
}

impl Series {
    /// Tells `listener` of later writes, until it is dropped. Only of those that this process makes, and nothing is told
    /// twice.
    pub fn tell(&self, listener: &Arc<dyn Listener>) {
        let mut listeners = self.shared.listeners.0.write();
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(Arc::downgrade(listener));
    }
}
