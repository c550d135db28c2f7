//! The detector on the Numenta Anomaly Benchmark: `cargo xtask bench detectors`.
//!
//! One setting for every file, each point judged from those before it. The threshold of the score is all that is fitted: by
//! five-fold cross-validation over the files, in the order of their names, the one that is best for four folds is tried on the
//! fifth. Then each way of looking is left out in turn, and the pace is measured.

mod corpus;
mod score;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use bellwether_plugin_rarity::{Known, Rarity, Sight, judge, judge_by};
use bellwether_sdk::Timestamp;
use bellwether_sdk::detector::Point;
use bellwether_sdk::serde_json::{Value, json};
use bellwether_sdk::testing::settings;

use corpus::Series;
use cpu_time::ThreadTime;
use score::{Curve, PROFILES, best, crossed, total};

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments
        .next()
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/nab"));
    if !folder.join("windows.json").is_file() {
        println!("SKIPPED: {} is not there; give the folder of data/ and windows.json", folder.display());
        return Ok(());
    }
    let corpus = corpus::read(&folder)?;
    let windows: usize = corpus.iter().map(|series| series.windows.len()).sum();
    println!("{} files, {windows} windows; standard / low false alarms / low misses\n", corpus.len());
    println!("| detector | five-fold | best threshold |\n|---|---|---|");
    let whole = scores(&corpus, &json!({}), |_| true)?;
    line("rarity", &corpus, &whole);
    for sight in Sight::ALL {
        let scores = scores(&corpus, &json!({}), |other| other != sight)?;
        line(&format!("without {sight:?}"), &corpus, &scores);
    }
    line("without the quiet after", &corpus, &scores(&corpus, &json!({"quiet": 0}), |_| true)?);
    line("quiet for 150 points", &corpus, &scores(&corpus, &json!({"quiet": 150}), |_| true)?);
    if let Some(output) = arguments.next() {
        write(&output, &corpus, &whole)?;
        println!("\nThe scores are in {}", output.display());
    }
    pace(&corpus)
}

/// What every file's points score.
fn scores(corpus: &[Series], given: &Value, counts: impl Fn(Sight) -> bool) -> Result<Vec<Vec<f64>>> {
    let rarity: Rarity = settings(given)?;
    let judged = |series: &Series| {
        let mut known = Known::default();
        points(series).map(|point| judge_by(&mut known, &rarity, point, &counts).score).collect()
    };
    Ok(corpus.iter().map(judged).collect())
}

fn points(series: &Series) -> impl Iterator<Item = Point> {
    let mut apart: Vec<i64> = series.times.windows(2).map(|pair| pair[1] - pair[0]).take(100).collect();
    apart.sort_unstable();
    // A metric's interval is known beforehand; a file's is what its first points show.
    let step = apart.get(apart.len() / 2).map(|step| Duration::from_millis(step.unsigned_abs().max(1)));
    series.times.iter().zip(&series.values).map(move |(&time, &value)| Point {
        time: Timestamp::from_milliseconds(time),
        step,
        value,
        learn: true,
    })
}

fn line(name: &str, corpus: &[Series], scores: &[Vec<f64>]) {
    let mut found = Vec::new();
    for profile in PROFILES {
        let curves: Vec<Curve> =
            corpus.iter().zip(scores).map(|(series, scores)| Curve::new(series, scores, profile)).collect();
        let threshold = best(&curves.iter().collect::<Vec<_>>());
        found.push((crossed(&curves), total(curves.iter().map(|curve| (curve, threshold))), threshold));
    }
    let column = |of: fn(&(f64, f64, f64)) -> f64| {
        found.iter().map(|found| format!("{:.1}", of(found))).collect::<Vec<_>>().join(" / ")
    };
    let threshold = found[0].2;
    println!("| {name} | {} | {} at {threshold:.3} |", column(|found| found.0), column(|found| found.1));
}

/// Writes the scores as the benchmark's own tools read them.
fn write(output: &Path, corpus: &[Series], scores: &[Vec<f64>]) -> Result<()> {
    let name = output.file_name().context("the folder has a name, that of the detector")?.to_string_lossy();
    for (series, scores) in corpus.iter().zip(scores) {
        let (group, file) = series.name.split_once('/').unwrap_or(("", &series.name));
        let folder = output.join(group);
        std::fs::create_dir_all(&folder)?;
        let mut rows = csv::Writer::from_path(folder.join(format!("{name}_{file}")))?;
        rows.write_record(["timestamp", "value", "anomaly_score"])?;
        for ((time, value), score) in series.written.iter().zip(&series.values).zip(scores) {
            rows.write_record([time, &value.to_string(), &score.to_string()])?;
        }
        rows.flush()?;
    }
    Ok(())
}

/// Points a second, and what is kept at the end of a file.
fn pace(corpus: &[Series]) -> Result<()> {
    let rarity: Rarity = settings(&json!({}))?;
    let mut most = 0;
    let mut rates: Vec<f64> = (0..5)
        .map(|_| {
            let began = ThreadTime::now();
            let mut count = 0_usize;
            for series in corpus {
                let mut known = Known::default();
                for point in points(series) {
                    std::hint::black_box(judge(&mut known, &rarity, point));
                }
                count += series.values.len();
                most = most.max(postcard::to_allocvec(&known).map_or(0, |state| state.len()));
            }
            count as f64 / began.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    println!(
        "\n{:.2} million points a second of processor time, native; at most {most} bytes of state",
        rates[2] / 1e6
    );
    Ok(())
}
