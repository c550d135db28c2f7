//! What is sent.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bellwether_tests::submission::{Submission, Walk};

/// Bodies of each kind, of times one behind the other: a load generator that sent one alone would send one sample of a
/// series again and again.
const VARIANTS: usize = 16;

/// Seconds between samples of a series.
const APART: i64 = 10;

/// One kind of payload.
pub(crate) struct Payload {
    /// What the tables call it.
    pub(crate) name: &'static str,
    pub(crate) gzip: bool,
    /// Samples of a request.
    pub(crate) samples: usize,
    pub(crate) bodies: Vec<Vec<u8>>,
}

/// All kinds, in the order they are measured.
pub(crate) fn all() -> Result<Vec<Payload>> {
    let begin = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().cast_signed() / 3600 * 3600 - 86_400;
    let plain = |name, series, points, variants: usize| {
        let bodies = (0..variants).map(|at| submission(series, points, begin, at).finish().into_bytes());
        Payload { name, gzip: false, samples: series * points, bodies: bodies.collect() }
    };
    let mut all = vec![
        plain("1,000 × 1", 1000, 1, VARIANTS),
        plain("100 × 10", 100, 10, VARIANTS),
        plain("1 × 1", 1, 1, 1),
    ];
    let mut series = 1000;
    while submission(series, 10, begin, 0).gzip()?.len() < 64 << 10 {
        series += 50;
    }
    let bodies = (0..VARIANTS).map(|at| submission(series, 10, begin, at).gzip());
    all.push(Payload {
        name: "64 KiB gzip",
        gzip: true,
        samples: series * 10,
        bodies: bodies.collect::<Result<_>>()?,
    });
    Ok(all)
}

/// The `at`th payload of so many series, each with so many points; ten metrics of a tenth as many hosts.
fn submission(series: usize, points: usize, begin: i64, at: usize) -> Submission {
    let mut submission = Submission::default();
    let begin = begin + (at * points) as i64 * APART;
    for number in 0..series {
        let tags =
            ["env:prod".to_owned(), "region:eu-west-1".to_owned(), format!("service:s{}", number / 10 % 20)];
        let walk = Walk::new((number * VARIANTS + at) as u64).take(points).enumerate();
        submission.series(
            &format!("system.cpu.m{}", number % 10),
            &format!("host-{}", number / 10),
            &tags,
            walk.map(|(point, value)| (begin + point as i64 * APART, value)),
        );
    }
    submission
}

/// Large payloads of different samples, twenty of each of 1,000 series a time, until they are so many; what a
/// database packs them into is looked at.
pub(crate) fn distinct(samples: usize) -> Result<(&'static str, impl Iterator<Item = Submission>)> {
    const SERIES: usize = 1000;
    const POINTS: usize = 20;
    let requests = samples.div_ceil(SERIES * POINTS);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().cast_signed();
    let begin = now / 60 * 60 - (requests * POINTS) as i64 * APART;
    let mut walks: Vec<Walk> = (0..SERIES).map(|number| Walk::new(number as u64)).collect();
    let submissions = (0..requests).map(move |at| {
        let mut submission = Submission::default();
        let begin = begin + (at * POINTS) as i64 * APART;
        for (number, walk) in walks.iter_mut().enumerate() {
            let tags = ["env:prod".to_owned(), format!("core:{}", number % 10)];
            let points = walk.take(POINTS).enumerate();
            let points = points.map(|(point, value)| (begin + point as i64 * APART, value));
            submission.series("disk_use", &format!("host-{}", number / 10), &tags, points);
        }
        submission
    });
    Ok(("disk_use", submissions))
}
