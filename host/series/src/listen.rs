//! Telling of writes as they happen, to whoever can do with a hint.

use std::sync::{Arc, Weak};

use bellwether_kernel::OrganisationId;
use parking_lot::RwLock;

use crate::{Series, SeriesSlice};

/// Is told of writes to series.
pub trait Listener: Send + Sync + 'static {
    /// These samples are durable and can be read; a moment before that, where writes are acknowledged before the sync. The
    /// write is acknowledged once this returns, so it must be quick.
    fn written(&self, organisation: OrganisationId, series: &[SeriesSlice<'_>]);
}

/// Those who are told, for as long as they are there.
#[derive(Default)]
pub(crate) struct Listeners(RwLock<Vec<Weak<dyn Listener>>>);

impl Listeners {
    pub(crate) fn tell(&self, organisation: OrganisationId, series: &[SeriesSlice<'_>]) {
        for listener in self.0.read().iter().filter_map(Weak::upgrade) {
            listener.written(organisation, series);
        }
    }
}

impl Series {
    /// Tells `listener` of later writes, until it is dropped. Only of those that this process makes, and nothing is told
    /// twice: what must miss no write reads the log, [`Self::written_after`].
    pub fn tell(&self, listener: &Arc<dyn Listener>) {
        let mut listeners = self.shared.listeners.0.write();
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(Arc::downgrade(listener));
    }
}
