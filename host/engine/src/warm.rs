//! Instances kept between calls: of one plugin, each for one organisation alone.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use wasmtime::component::Instance;

use crate::gate::Numbers;
use crate::{Store, limits};

/// An instance and the store it lives in.
pub(crate) struct Kept<T: 'static> {
    pub(crate) store: Store<T>,
    pub(crate) instance: Instance,
    pub(crate) age: Age,
    /// Where it is kept, once it was: dropped after the store, whose place in the pool is free only then.
    pub(crate) place: Option<Place>,
}

/// The places of one sandbox's warm instances, which organisations share: one alone leaves
/// [`limits::SHARE_LEFT`] percent of them to others.
#[derive(Debug)]
pub(crate) struct Places {
    most: u32,
    share: u32,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    /// By organisation; those that have none are not there.
    own: HashMap<u64, u32, Numbers>,
}

/// An organisation's place for a warm instance. The instance has it also while it is called, so that a call need not
/// count.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    tenant: u64,
}

impl Places {
    /// So many.
    pub(crate) fn new(most: u32) -> Arc<Self> {
        let share = most - (u64::from(most) * limits::SHARE_LEFT / 100) as u32;
        Arc::new(Self { most, share, taken: Mutex::default() })
    }

    /// One for `tenant`, if there is one it may have.
    fn take(self: &Arc<Self>, tenant: u64) -> Option<Place> {
        let mut taken = self.taken.lock();
        let own = taken.own.get(&tenant).copied().unwrap_or(0);
        if taken.all >= self.most || own >= self.share {
            return None;
        }
        taken.all += 1;
        taken.own.insert(tenant, own + 1);
        Some(Place { places: Arc::clone(self), tenant })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= 1;
        if let Some(own) = taken.own.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                taken.own.remove(&self.tenant);
            }
        }
    }
}

/// How long an instance is still good for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Age {
    born: Instant,
    /// When its last call ended.
    idle_since: Instant,
    calls_left: u32,
}

/// What a plugin keeps.
pub(crate) struct Warm<T: 'static> {
    idle: Mutex<HashMap<u64, Vec<Kept<T>>, Numbers>>,
    /// Those of all plugins together.
    places: Arc<Places>,
}

/// Something whose instances grow old.
pub(crate) trait Sweep: Send + Sync {
    /// Drops those whose time is over.
    fn sweep(&self);
}

/// That of a new one.
impl Default for Age {
    fn default() -> Self {
        let now = Instant::now();
        let least = limits::WARM_CALLS / 2;
        let more = RandomState::new().hash_one(()) % u64::from(limits::WARM_CALLS - least);
        Self { born: now, idle_since: now, calls_left: least + more as u32 }
    }
}

impl Age {
    /// Another call has ended.
    fn add_call(&mut self, now: Instant) {
        self.calls_left = self.calls_left.saturating_sub(1);
        self.idle_since = now;
    }

    fn is_over(&self, now: Instant) -> bool {
        self.calls_left == 0
            || now.duration_since(self.born) >= limits::WARM_AGE
            || now.duration_since(self.idle_since) >= limits::WARM_IDLE
    }
}

impl<T: 'static> Warm<T> {
    /// Keeps nothing yet, and what it will keep in `places`.
    pub(crate) fn new(places: Arc<Places>) -> Self {
        Self { idle: Mutex::default(), places }
    }

    /// An instance that served this organisation before, the one used last first.
    pub(crate) fn take(&self, tenant: u64, now: Instant) -> Option<Kept<T>> {
        loop {
            let kept = self.idle.lock().get_mut(&tenant)?.pop()?;
            if !kept.age.is_over(now) {
                return Some(kept);
            }
        }
    }

    /// Keeps an instance after a call that went well and ended at `now`, if it was an organisation's, there is room, and it
    /// is not worn out. Nobody's calls come when a plugin is loaded and from callers without a key: what served them takes
    /// no place from an organisation, and no stranger finds what another left.
    pub(crate) fn put(&self, tenant: u64, mut kept: Kept<T>, now: Instant) {
        if tenant == 0 {
            return;
        }
        kept.age.add_call(now);
        if kept.age.is_over(now) {
            return;
        }
        kept.place = kept.place.or_else(|| self.places.take(tenant));
        if kept.place.is_some() {
            self.idle.lock().entry(tenant).or_default().push(kept);
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.idle.lock().values().map(Vec::len).sum()
    }
}

impl<T: Send + 'static> Sweep for Warm<T> {
    fn sweep(&self) {
        let now = Instant::now();
        let mut over = Vec::new();
        self.idle.lock().retain(|_, all| {
            over.extend(all.extract_if(.., |kept| kept.age.is_over(now)));
            !all.is_empty()
        });
        // Stores are dropped while nobody waits for the lock.
        drop(over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organisation_that_keeps_all_it_can_leaves_places_to_others() {
        let places = Places::new(limits::WARM);
        let ours: Vec<_> = std::iter::from_fn(|| places.take(1)).collect();
        assert_eq!(ours.len(), limits::WARM as usize * 3 / 4);
        let theirs: Vec<_> = std::iter::from_fn(|| places.take(2)).collect();
        assert_eq!(theirs.len(), limits::WARM as usize / 4);
        drop(ours);
        assert!(places.take(3).is_some());
        drop(theirs);
        assert!(places.taken.lock().own.is_empty());
    }
}
