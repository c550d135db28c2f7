//! The work the engine's benchmark gives to each sandbox. It depends on nothing, so that the same code runs natively, in
//! a component, and in an Extism plugin.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hasher};

/// Counts the words of a text: allocates, hashes, sorts, formats.
///
/// ```
/// assert_eq!(bench_work::count("to be or not to be"), "be 2, not 1, or 1, to 2");
/// ```
#[must_use]
pub fn count(text: &str) -> String {
    let mut counts: HashMap<&str, u32, BuildHasherDefault<Fnv>> = HashMap::default();
    for word in text.split_ascii_whitespace() {
        *counts.entry(word).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable();
    let mut answer = String::new();
    for (word, count) in counts {
        let comma = if answer.is_empty() { "" } else { ", " };
        let _ = write!(answer, "{comma}{word} {count}");
    }
    answer
}

/// Points before one that say what is usual there.
const WINDOW: usize = 60;

/// Scores points: how far each lies from the mean of the window before it, in its standard deviations, made a number
/// from 0 to 1.
///
/// ```
/// let scores = bench_work::score(&[1.0, 2.0, 1.0, 2.0, 90.0]);
/// assert!(scores[3] < 0.7 && scores[4] > 0.9);
/// ```
#[must_use]
pub fn score(values: &[f64]) -> Vec<f64> {
    let (mut sum, mut squares) = (0.0, 0.0);
    let mut scores = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        let count = at.min(WINDOW) as f64;
        let score = if count < 2.0 {
            0.0
        } else {
            let mean = sum / count;
            let deviation = (squares / count - mean * mean).max(0.0).sqrt().max(1e-9);
            let distance = ((value - mean) / deviation).abs();
            distance / (1.0 + distance)
        };
        scores.push(score);
        sum += value;
        squares += value * value;
        if at >= WINDOW {
            let gone = values[at - WINDOW];
            sum -= gone;
            squares -= gone * gone;
        }
    }
    scores
}

/// FNV-1a, 64 bits: the standard library's hasher draws chance, which not every sandbox has.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
