//! Points as Datadog's clients and agents send them, for the benchmarks.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;

/// A payload of `series` v1 in JSON, as it grows.
pub struct Submission {
    text: String,
    /// Points so far.
    pub points: usize,
}

impl Default for Submission {
    fn default() -> Self {
        Self { text: "{\"series\":[".to_owned(), points: 0 }
    }
}

impl Submission {
    /// One more series of gauges: its points are seconds since 1970 and values. Names and tags hold nothing that JSON
    /// escapes.
    pub fn series(
        &mut self,
        metric: &str,
        host: &str,
        tags: &[String],
        points: impl Iterator<Item = (i64, f64)>,
    ) {
        let text = &mut self.text;
        if !text.ends_with('[') {
            text.push(',');
        }
        // Writing to a text does not fail.
        let _ = write!(text, "{{\"metric\":\"{metric}\",\"type\":\"gauge\",\"host\":\"{host}\",\"tags\":[");
        for (at, tag) in tags.iter().enumerate() {
            let _ = write!(text, "{}\"{tag}\"", if at > 0 { "," } else { "" });
        }
        text.push_str("],\"points\":[");
        for (at, (time, value)) in points.enumerate() {
            let _ = write!(text, "{}[{time},{value}]", if at > 0 { "," } else { "" });
            self.points += 1;
        }
        text.push_str("]}");
    }

    /// The whole payload.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push_str("]}");
        self.text
    }

    /// The whole payload, packed as agents do it.
    ///
    /// # Errors
    /// None that memory has.
    pub fn gzip(self) -> Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(self.finish().as_bytes())?;
        Ok(encoder.finish()?)
    }
}

/// Walks of two decimals between 0 and 100, the same at every run.
pub struct Walk {
    state: u64,
    hundredths: i32,
}

impl Walk {
    /// The walk of a number.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut walk = Self { state: (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15), hundredths: 5000 };
        walk.hundredths = (walk.random() % 10_000) as i32;
        walk
    }

    /// Marsaglia's xorshift.
    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state >> 11
    }
}

impl Iterator for Walk {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        let step = (self.random() % 41) as i32 - 20;
        self.hundredths = (self.hundredths + step).clamp(0, 10_000);
        Some(f64::from(self.hundredths) / 100.0)
    }
}
