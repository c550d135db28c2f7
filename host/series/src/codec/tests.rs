//! What blocks promise: nothing is lost, damage is seen, and how small they are.

use std::path::Path;

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

fn pack(samples: &Samples, thorough: bool) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(thorough).unwrap().encode(samples, &mut out);
    out
}

fn unpack(block: &[u8]) -> Result<Samples, Malformed> {
    let mut samples = Samples::default();
    Decoder::new().unwrap().decode(block, &mut samples)?;
    Ok(samples)
}

fn bits(samples: &Samples) -> (&[i64], Vec<u64>) {
    (&samples.times, samples.values.iter().map(|value| value.to_bits()).collect())
}

fn assert_kept(samples: &Samples) {
    for thorough in [false, true] {
        assert_eq!(bits(&unpack(&pack(samples, thorough)).unwrap()), bits(samples));
    }
}

/// Values of every kind that has a codec of its own, and every bit pattern.
fn values(count: usize) -> impl Strategy<Value = Vec<f64>> {
    let of = |value: BoxedStrategy<f64>| prop::collection::vec(value, count);
    prop_oneof![
        of(any::<u64>().prop_map(f64::from_bits).boxed()),
        of((-100_000_i64..100_000).prop_map(|value| value as f64 / 100.0).boxed()),
        of((0_u32..1000, 0_i32..16).prop_map(|(value, scale)| f64::from(value) / 10_f64.powi(scale)).boxed()),
        of(prop_oneof![Just(0.0), Just(-0.0), Just(f64::NAN), Just(f64::NEG_INFINITY), Just(1e300)].boxed()),
        any::<f64>().prop_map(move |value| vec![value; count]),
    ]
}

fn times(count: usize) -> impl Strategy<Value = Vec<i64>> {
    prop_oneof![
        prop::collection::vec(any::<i64>(), count),
        prop::collection::vec(-20_i64..20, count)
            .prop_map(|jitter| (0_i64..).zip(jitter).map(|(at, jitter)| at * 10_000 + jitter).collect()),
        (any::<i64>(), any::<i64>()).prop_map(move |(first, step)| {
            (0..count as i64).map(|at| first.wrapping_add(step.wrapping_mul(at))).collect()
        }),
    ]
}

fn samples() -> impl Strategy<Value = Samples> {
    prop_oneof![1_usize..5, 60_usize..200, Just(MAX_SAMPLES)]
        .prop_flat_map(|count| (times(count), values(count)))
        .prop_map(|(times, values)| Samples { times, values })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_bit_pattern_and_any_order_of_times_is_read_back(samples in samples()) {
        assert_kept(&samples);
    }

    #[test]
    fn a_summary_is_what_its_values_amount_to(samples in samples()) {
        let block = pack(&samples, false);
        let expected = summarise(&samples.values).filter(|_| samples.len() >= SUMMARY_FROM);
        prop_assert_eq!(summary(&block).unwrap(), expected);
    }

    #[test]
    fn damage_is_seen(samples in samples(), place: prop::sample::Index, flip in 1_u8..) {
        let mut block = pack(&samples, true);
        let at = place.index(block.len());
        block[at] ^= flip;
        prop_assert!(unpack(&block).is_err());
        block[at] ^= flip;
        block.truncate(at);
        prop_assert!(unpack(&block).is_err());
    }
}

/// Bytes a sample over blocks of [`MAX_SAMPLES`].
fn bytes_per_sample(samples: &Samples) -> f64 {
    let blocks = samples.times.chunks(MAX_SAMPLES).zip(samples.values.chunks(MAX_SAMPLES));
    let packed = blocks
        .map(|(times, values)| pack(&Samples { times: times.to_vec(), values: values.to_vec() }, true).len());
    packed.sum::<usize>() as f64 / samples.len() as f64
}

/// A walk of `steps`, ten seconds apart.
fn walk(mut next: impl FnMut(f64, &mut SmallRng) -> f64) -> Samples {
    let (mut random, mut value) = (SmallRng::seed_from_u64(7), 0.0);
    let mut samples = Samples::default();
    for at in 0..MAX_SAMPLES as i64 * 8 {
        value = next(value, &mut random);
        samples.push(1_700_000_000_000 + at * 10_000, value);
    }
    samples
}

#[test]
fn a_regular_gauge_takes_a_byte_a_sample_and_a_counter_one_and_a_half() {
    let gauge = walk(|value, random| {
        ((value + f64::from(random.random_range(-20..=20_i32)) / 100.0) * 100.0).round() / 100.0
    });
    let counter = walk(|value, random| value + f64::from(random.random_range(0..500_u32)));
    let (gauge, counter) = (bytes_per_sample(&gauge), bytes_per_sample(&counter));
    println!("two-decimal gauge {gauge:.3}, counter {counter:.3} bytes a sample");
    assert!(gauge <= 1.0 && counter <= 1.5);
}

/// The columns of a file of the Numenta Anomaly Benchmark: `2014-04-10 00:04:00,91.958`.
fn read_nab(file: &Path) -> Samples {
    let mut samples = Samples::default();
    for line in std::fs::read_to_string(file).unwrap().lines().skip(1) {
        let (time, value) = line.split_once(',').unwrap();
        let time = time.trim().replace(' ', "T") + "Z";
        let time = bellwether_kernel::Timestamp::parse(&time).unwrap().as_milliseconds();
        samples.push(time, value.trim().parse().unwrap());
    }
    samples
}

fn csv_files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            csv_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "csv") {
            found.push(path);
        }
    }
}

#[test]
fn real_measurements_come_back_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/nab/data");
    if !folder.is_dir() {
        println!("SKIPPED: {} is not there", folder.display());
        return;
    }
    let mut files = Vec::new();
    csv_files(&folder, &mut files);
    files.sort();
    let (mut bytes, mut count) = (0.0, 0);
    for file in files {
        let samples = read_nab(&file);
        for at in (0..samples.len()).step_by(MAX_SAMPLES) {
            let end = (at + MAX_SAMPLES).min(samples.len());
            assert_kept(&Samples {
                times: samples.times[at..end].to_vec(),
                values: samples.values[at..end].to_vec(),
            });
        }
        let each = bytes_per_sample(&samples);
        println!("{each:7.3}  {}", file.strip_prefix(&folder).unwrap().display());
        (bytes, count) = (bytes + each * samples.len() as f64, count + samples.len());
    }
    println!("{:7.3}  bytes a sample over all {count}", bytes / count as f64);
}
