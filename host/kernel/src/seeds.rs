//! The seeds a simulation is run with, and the numbers it draws from one.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Threads that simulate beside each other.
const THREADS: usize = 2;

/// Runs a simulation with each seed that is asked for and gives what each came to, in no order.
///
/// `BELLWETHER_SEED=17` asks for that one alone, `BELLWETHER_SEEDS=0..9000` for those; without either it is those below
/// `count`.
///
/// # Panics
/// If a simulation does, or a variable is not as above.
pub fn every_seed<T: Send>(count: u64, simulate: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let seeds = asked_for(count);
    let (next, done) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= seeds.end {
                return;
            }
            let came_to = simulate(seed);
            done.lock().expect("nobody panics while it is held").push(came_to);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    done.into_inner().expect("nobody panics while it is held")
}

fn asked_for(count: u64) -> Range<u64> {
    let read =
        |text: &str| text.parse().expect("BELLWETHER_SEED is a number, BELLWETHER_SEEDS is <first>..<end>");
    if let Ok(seed) = std::env::var("BELLWETHER_SEED") {
        return read(&seed)..read(&seed) + 1;
    }
    match std::env::var("BELLWETHER_SEEDS") {
        Ok(range) => {
            let (first, end) = range.split_once("..").expect("BELLWETHER_SEEDS is <first>..<end>");
            read(first)..read(end)
        }
        Err(_) => 0..count,
    }
}

/// Numbers drawn from a seed (SplitMix64): any good mixer would do. Clones draw from the same sequence.
#[derive(Clone, Debug)]
pub struct Draw(Arc<AtomicU64>);

impl Draw {
    /// Draws the numbers that follow from `state`.
    #[must_use]
    pub fn new(state: u64) -> Self {
        Self(Arc::new(AtomicU64::new(state)))
    }

    /// A number below `below`, which is not 0.
    #[must_use]
    pub fn number(&self, below: u64) -> u64 {
        mix(self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst)) % below
    }

    /// Something that comes about so many times of a hundred.
    #[must_use]
    pub fn chance(&self, percent: u64) -> bool {
        self.number(100) < percent
    }
}

/// A number that looks like no other's: of seeds that lie beside each other too.
#[must_use]
pub fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
