//! A sum whose mean is known where no double holds the sum itself.

/// 2⁻⁶⁴: so many values of any size can be added, each times it, without leaving the range of a double.
const SCALE: f64 = f64::from_bits((1023 - 64) << 52);

/// What finite values add up to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Total {
    sum: f64,
    /// The sum × [`SCALE`], once `sum` is not finite, which it never is again.
    scaled: f64,
}

impl Total {
    /// Of no values.
    pub(super) const ZERO: Self = Self { sum: 0.0, scaled: 0.0 };

    /// Adds finite values.
    #[inline]
    pub(super) fn add(&mut self, values: impl Iterator<Item = f64> + Clone) {
        let sum = values.clone().fold(self.sum, |sum, value| sum + value);
        if !sum.is_finite() {
            self.scaled = values.fold(self.scaled(), |sum, value| sum + value * SCALE);
        }
        self.sum = sum;
    }

    /// What both add up to.
    pub(super) fn and(&self, other: &Self) -> Self {
        let sum = self.sum + other.sum;
        let scaled = if sum.is_finite() { 0.0 } else { self.scaled() + other.scaled() };
        Self { sum, scaled }
    }

    fn scaled(&self) -> f64 {
        if self.sum.is_finite() { self.sum * SCALE } else { self.scaled }
    }

    /// The sum, not finite where no double holds it.
    pub(super) fn sum(&self) -> f64 {
        self.sum
    }

    /// The mean of so many values.
    pub(super) fn mean(&self, count: u64) -> f64 {
        if self.sum.is_finite() {
            return self.sum / count as f64;
        }
        // Rounding may lead beyond the greatest double by a digit, which no mean of doubles is.
        let (greatest, mean) = (f64::MAX * SCALE, self.scaled / count as f64);
        if mean.is_finite() { mean.clamp(-greatest, greatest) / SCALE } else { mean }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_right_where_the_sum_is_beyond_every_double() {
        const HALF: f64 = f64::MAX / 2.0;
        for (parts, mean) in [
            (&[&[f64::MAX, f64::MAX][..]][..], f64::MAX),
            (&[&[f64::MAX; 7], &[f64::MAX; 4]], f64::MAX),
            (&[&[f64::MAX], &[f64::MAX, f64::MIN], &[f64::MIN, f64::MAX, f64::MAX]], f64::MAX / 3.0),
            (&[&[f64::MIN, f64::MIN], &[f64::MAX, f64::MAX]], 0.0),
            (&[&[HALF, HALF, HALF], &[HALF]], HALF),
            (&[&[1.0, 2.0], &[6.0]], 3.0),
        ] {
            let mut total = Total::default();
            parts.iter().for_each(|part| total.add(part.iter().copied()));
            let count = parts.iter().map(|part| part.len() as u64).sum();
            assert_eq!(total.mean(count), mean, "{parts:?}");
            let joined = parts.iter().fold(Total::default(), |joined, part| {
                let mut total = Total::default();
                total.add(part.iter().copied());
                joined.and(&total)
            });
            assert_eq!(joined.mean(count), mean, "{parts:?}, each by itself first");
        }
    }
}
