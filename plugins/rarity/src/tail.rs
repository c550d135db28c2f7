//! How rare a size is among those seen before.

use serde::{Deserialize, Serialize};

/// One in so many of what was seen is the tail, to which a power law is fitted.
const ONE_IN: u32 = 50;

/// What the tail holds at least.
const LEAST: u32 = 3;

/// Sizes that have to be seen before one can be rare.
const FIRST: u32 = 5;

/// Where more than so many were as large, they are counted; where fewer were, the power law says more.
const COUNTED: f64 = 2.0;

/// Bins to an octave.
const RESOLUTION: f64 = 4.0;

/// What the power law is before anything is known: a mean excess of an octave, worth so many sizes seen.
const PRIOR: f64 = 3.0;

/// The least mean excess, in bins: less is what the bins' width makes of it.
const SHORTEST: f64 = 0.32;

/// Bins kept: those 64 octaves below the highest. What is smaller is counted in the lowest.
const KEPT: usize = 256;

/// Once so many were seen, all counts are halved: three weeks of minutes. So what was long ago is forgotten.
const MOST: u32 = 1 << 15;

/// Sizes seen so far, counted in bins a quarter of an octave wide, and a power law (Hill, Annals of Statistics 3, 1975)
/// through the largest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Counts", into = "Counts")]
pub(crate) struct Tail {
    counts: Counts,
    /// The tail: the fewest of the highest bins that hold enough. Where it begins, as a place in `bins`; how many it
    /// holds; the sum of their places.
    from: usize,
    held: u32,
    places: u64,
}

/// What is kept from call to call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counts {
    /// All sizes, those that are nought included.
    total: u32,
    /// The number of the lowest bin.
    lowest: i32,
    bins: Vec<u32>,
}

impl From<Counts> for Tail {
    fn from(mut counts: Counts) -> Self {
        // Numbers another hand wrote must not end in a sum that overflows.
        counts.bins.truncate(KEPT);
        counts.bins.iter_mut().for_each(|count| *count = (*count).min(MOST));
        counts.lowest = counts.lowest.clamp(-5_000, 5_000);
        counts.total = counts.total.min(MOST).max(counts.bins.iter().sum::<u32>().min(MOST));
        let mut tail = Self { counts, ..Self::default() };
        tail.find();
        tail
    }
}

impl From<Tail> for Counts {
    fn from(tail: Tail) -> Self {
        tail.counts
    }
}

impl Tail {
    /// How rare a size is: −log₁₀ of the share of sizes that are as large; 0 where it is not in the tail.
    pub(crate) fn rarity(&self, size: f64) -> f64 {
        let Counts { total, lowest, bins } = &self.counts;
        if *total < FIRST || size <= 0.0 {
            return 0.0;
        }
        if self.held == 0 {
            // The first that is not nought.
            return f64::from(*total).log10() + 1.0;
        }
        // Most sizes are not in the tail.
        if usize::try_from(bin(size) - lowest).is_ok_and(|at| at < self.from) {
            return 0.0;
        }
        let total = f64::from(*total);
        let place = place(size) - f64::from(*lowest);
        let beyond = place - self.from as f64;
        if beyond <= 0.0 {
            return 0.0;
        }
        let whole = place as usize;
        let above: u32 = bins.iter().skip(whole + 1).sum();
        let within = bins.get(whole).map_or(0.0, |count| f64::from(*count) * (1.0 - place.fract()));
        let larger = f64::from(above) + within;
        if larger > COUNTED {
            return (total / larger).log10();
        }
        (total / f64::from(self.held)).log10() + beyond / self.excess() * std::f64::consts::LOG10_E
    }

    /// The size of which there is one in `once`, a number above 1.
    pub(crate) fn size(&self, once: f64) -> f64 {
        let Counts { total, lowest, bins } = &self.counts;
        if self.held == 0 {
            return 0.0;
        }
        let wanted = f64::from(*total) / once;
        let mut larger = f64::from(self.held);
        let mut place = self.from as f64;
        if wanted > COUNTED {
            for count in bins.iter().skip(self.from).map(|count| f64::from(*count)) {
                if larger - count < wanted {
                    place += ((larger - wanted) / count.max(1.0)).clamp(0.0, 1.0);
                    break;
                }
                larger -= count;
                place += 1.0;
            }
        } else {
            place += (larger / wanted).ln().max(0.0) * self.excess();
        }
        size(place + f64::from(*lowest))
    }

    /// The mean of how far the tail's sizes lie beyond its beginning, in bins.
    fn excess(&self) -> f64 {
        let held = f64::from(self.held);
        let sum = self.places as f64 + 0.5 * held - self.from as f64 * held;
        ((sum + PRIOR * RESOLUTION) / (held + PRIOR)).max(SHORTEST)
    }

    /// Takes a size in.
    pub(crate) fn add(&mut self, size: f64) {
        self.counts.total += 1;
        if size > 0.0 {
            let bin = bin(size);
            if self.counts.reach(bin) {
                self.find();
            }
            let at = usize::try_from(bin - self.counts.lowest).unwrap_or(0);
            self.counts.bins[at] += 1;
            if at >= self.from {
                self.held += 1;
                self.places += at as u64;
            }
        }
        if self.counts.total >= MOST {
            self.counts.halve();
            self.find();
        }
        let wanted = self.wanted();
        self.grow(wanted);
        while let Some(count) = self.counts.bins.get(self.from)
            && self.held - count >= wanted
        {
            self.held -= count;
            self.places -= u64::from(*count) * self.from as u64;
            self.from += 1;
        }
    }

    /// How many the tail is to hold.
    fn wanted(&self) -> u32 {
        self.counts.total.div_ceil(ONE_IN).max(LEAST)
    }

    fn find(&mut self) {
        (self.from, self.held, self.places) = (self.counts.bins.len(), 0, 0);
        self.grow(self.wanted());
    }

    /// Lets the tail begin lower until it holds as many as are wanted.
    fn grow(&mut self, wanted: u32) {
        while self.held < wanted && self.from > 0 {
            self.from -= 1;
            let count = self.counts.bins[self.from];
            self.held += count;
            self.places += u64::from(count) * self.from as u64;
        }
    }
}

impl Counts {
    /// Makes room for a bin, or where it lies too low, for nothing. Says whether places have changed.
    fn reach(&mut self, bin: i32) -> bool {
        if self.bins.is_empty() {
            self.lowest = bin;
            self.bins.push(0);
            return true;
        }
        let length = i32::try_from(self.bins.len()).unwrap_or(i32::MAX);
        let highest = self.lowest + length - 1;
        let kept = i32::try_from(KEPT).unwrap_or(i32::MAX);
        if bin < self.lowest {
            let lowest = bin.max(highest - kept + 1);
            let more = usize::try_from(self.lowest - lowest).unwrap_or(0);
            self.bins.splice(0..0, std::iter::repeat_n(0, more));
            self.lowest = lowest;
            return more > 0;
        }
        if bin > highest {
            self.bins.resize(self.bins.len() + usize::try_from(bin - highest).unwrap_or(0), 0);
            let surplus = self.bins.len().saturating_sub(KEPT);
            let low: u32 = self.bins.drain(..surplus).sum();
            self.bins[0] += low;
            self.lowest = bin - i32::try_from(self.bins.len()).unwrap_or(i32::MAX) + 1;
            return true;
        }
        false
    }

    /// Halves all counts; of those left over one half the bins keep theirs.
    fn halve(&mut self) {
        self.total /= 2;
        for (at, count) in self.bins.iter_mut().enumerate() {
            *count = (*count + at as u32 % 2) / 2;
        }
    }
}

const ONE: f64 = (1_u64 << 52) as f64;

/// Where a positive size lies, in bins: the binary logarithm, straight between powers of two, as the number's bits have it.
fn place(size: f64) -> f64 {
    RESOLUTION * (size.clamp(f64::MIN_POSITIVE, f64::MAX).to_bits() as i64 as f64 / ONE - 1023.0)
}

/// The bin a positive size lies in: its place, rounded down.
fn bin(size: f64) -> i32 {
    // What is left are the exponent and the two highest bits of the fraction: quarters of an octave.
    let quarters = size.clamp(f64::MIN_POSITIVE, f64::MAX).to_bits() >> 50;
    quarters as i32 - 4 * 1023
}

/// The size at a place.
fn size(place: f64) -> f64 {
    let bits = (place / RESOLUTION + 1023.0).clamp(1.0, 2046.5) * ONE;
    f64::from_bits(bits as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes of a power law, 1 / chance, by a fixed sequence.
    fn sizes(count: usize) -> impl Iterator<Item = f64> {
        let mut seed: u64 = 42;
        std::iter::repeat_with(move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            1.0 / (((seed >> 33) + 1) as f64 / (1_u64 << 31) as f64)
        })
        .take(count)
    }

    #[test]
    fn a_size_is_as_rare_as_the_law_says_within_what_was_seen_and_beyond() {
        let mut tail = Tail::default();
        sizes(20_000).for_each(|size| tail.add(size));
        // One in 10^n is larger than 10^n.
        for power in [2.0, 3.0, 4.0, 6.0] {
            let rarity = tail.rarity(10_f64.powf(power));
            assert!((rarity - power).abs() < 0.15 * power, "{power}: {rarity}");
            let size = tail.size(10_f64.powf(power)).log10();
            assert!((size - power).abs() < 0.15 * power, "{power}: {size}");
        }
        assert_eq!((tail.rarity(2.0), tail.rarity(0.0)), (0.0, 0.0));
    }

    #[test]
    fn what_is_kept_of_the_tail_while_sizes_come_is_what_is_found_in_their_counts() {
        let mut tail = Tail::default();
        for (at, size) in sizes(70_000).enumerate() {
            // Some are nought, some tiny, some huge.
            tail.add(match at % 97 {
                0 => 0.0,
                1 => size * 1e-40,
                2 => size * 1e40,
                _ => size,
            });
            if at % 501 == 0 {
                assert_eq!(Tail::from(tail.counts.clone()), tail, "{at}");
            }
        }
        assert!(tail.counts.total < MOST && tail.counts.bins.len() <= KEPT);
    }

    #[test]
    fn a_place_and_its_size_are_each_others() {
        for value in [f64::MIN_POSITIVE, 1e-9, 0.3, 1.0, 1.5, 7.0, 1e200] {
            assert!((size(place(value)) / value - 1.0).abs() < 1e-9, "{value}");
            assert_eq!(f64::from(bin(value)), place(value).floor(), "{value}");
        }
        assert_eq!((place(1.0), place(2.0), place(0.25)), (0.0, 4.0, -8.0));
    }
}
