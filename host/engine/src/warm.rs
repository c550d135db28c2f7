//! Instances kept between calls: of one plugin, each for one organisation alone.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
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
    /// How many all plugins keep together, and may.
    kept: Arc<AtomicU32>,
    most: u32,
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
    /// Keeps nothing yet, and counts what it will keep in `kept`, up to `most`.
    pub(crate) fn new(kept: Arc<AtomicU32>, most: u32) -> Self {
        Self { idle: Mutex::default(), kept, most }
    }

    /// An instance that served this organisation before, the one used last first.
    pub(crate) fn take(&self, tenant: u64) -> Option<Kept<T>> {
        let now = Instant::now();
        loop {
            let kept = self.idle.lock().get_mut(&tenant)?.pop()?;
            if !kept.age.is_over(now) {
                self.kept.fetch_sub(1, Ordering::Relaxed);
                return Some(kept);
            }
            self.give_up(vec![kept]);
        }
    }

    /// Keeps an instance after a call that went well, if it was an organisation's, there is room, and it is not worn
    /// out. Nobody's calls come when a plugin is loaded and from callers without a key: what served them takes no place
    /// from an organisation, and no stranger finds what another left.
    pub(crate) fn put(&self, tenant: u64, mut kept: Kept<T>) {
        if tenant == 0 {
            return;
        }
        let now = Instant::now();
        kept.age.add_call(now);
        if kept.age.is_over(now) {
            return;
        }
        let room = self.kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < self.most).then_some(count + 1)
        });
        if room.is_ok() {
            self.idle.lock().entry(tenant).or_default().push(kept);
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.idle.lock().values().map(Vec::len).sum()
    }

    fn give_up(&self, over: Vec<Kept<T>>) {
        let count = over.len() as u32;
        drop(over);
        // Their places are free only now.
        self.kept.fetch_sub(count, Ordering::Relaxed);
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
        self.give_up(over);
    }
}

impl<T: 'static> Drop for Warm<T> {
    fn drop(&mut self) {
        let all = std::mem::take(self.idle.get_mut());
        self.give_up(all.into_values().flatten().collect());
    }
}
