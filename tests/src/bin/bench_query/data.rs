//! The same samples in three databases.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use bellwether_tests::beside::{Beside, is_installed};
use bellwether_tests::load::settle;
use bellwether_tests::submission::{Submission, Walk};
use bellwether_tests::{Host, client};

/// Seconds between samples of a series.
const APART: i64 = 60;

/// A block of Prometheus's holds samples of so many seconds, and begins at multiples of it.
const BLOCK: i64 = 2 * 3600;

/// Series of one submission: with their samples of a block below the megabyte a host takes.
const PART: usize = 250;

/// A metric.
#[derive(Clone, Copy)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    series: usize,
    /// How long its samples reach back, in hours.
    pub(crate) hours: i64,
}

/// Ten thousand series, of a thousand hosts in forty racks.
pub(crate) const WIDE: &str = "dash_requests";
/// A hundred, for a week.
pub(crate) const LONG: &str = "dash_load";

/// What is stored.
pub(crate) struct Data {
    /// Seconds since 1970, a multiple of two hours: all samples are before it.
    pub(crate) end: i64,
    pub(crate) metrics: [Metric; 2],
}

/// The databases, with the data in them.
pub(crate) struct Databases {
    pub(crate) bellwether: Host,
    pub(crate) victoria: Option<Beside>,
    pub(crate) prometheus: Option<Beside>,
}

impl Data {
    pub(crate) fn new(now: i64, hours: i64) -> Self {
        let wide = Metric { name: WIDE, series: 10_000, hours };
        // The last samples are old enough for everybody to show.
        Self {
            end: (now - 600) / BLOCK * BLOCK,
            metrics: [wide, Metric { name: LONG, series: 100, hours: 168 }],
        }
    }

    /// How many samples there are.
    pub(crate) fn samples(&self) -> i64 {
        self.metrics.iter().map(|metric| metric.series as i64 * metric.hours * 3600 / APART).sum()
    }

    /// Stores everything in every database that is there, and waits until they have put it in order.
    pub(crate) fn store(&self, folder: &Path) -> Result<Databases> {
        let bellwether = Host::start(&folder.join("bellwether"), &[])?;
        let victoria = Beside::victoria_metrics(folder, &["-retentionPeriod=100y"])?;
        let with_prometheus = is_installed("prometheus") && is_installed("promtool");
        let blocks = folder.join("prometheus");
        let key = bellwether.keys().admin.clone();
        let targets =
            [Some((bellwether.url.clone(), Some(key))), victoria.as_ref().map(|it| (it.url.clone(), None))];
        for metric in self.metrics {
            let mut walks: Vec<Walk> = (0..metric.series).map(|number| Walk::new(number as u64)).collect();
            for begin in (self.end - metric.hours * 3600..self.end).step_by(BLOCK as usize) {
                let values: Vec<Vec<f64>> =
                    walks.iter_mut().map(|walk| walk.take((BLOCK / APART) as usize).collect()).collect();
                for target in targets.iter().flatten() {
                    submit(target, &metric, begin, &values)?;
                }
                if with_prometheus {
                    fill_block(folder, &blocks, &metric, begin, &values)?;
                }
            }
        }
        if let Some(victoria) = &victoria {
            client().get(format!("{}/internal/force_flush", victoria.url)).send()?.error_for_status()?;
            settle(victoria.id())?;
        }
        let prometheus = match with_prometheus {
            true => Beside::prometheus(folder, &["--storage.tsdb.retention.time=100y"])?,
            false => None,
        };
        if let Some(prometheus) = &prometheus {
            settle(prometheus.id())?;
        }
        settle(bellwether.id())?;
        Ok(Databases { bellwether, victoria, prometheus })
    }
}

/// The host of a series, and its other tags.
fn tags(number: usize) -> (String, Vec<String>) {
    let host = number / 10;
    let zone = ["a", "b", "c"][host % 3];
    let tags = vec![
        format!("core:{}", number % 10),
        format!("rack:r{}", host / 25),
        format!("zone:{zone}"),
        "env:prod".to_owned(),
    ];
    (format!("h{host}"), tags)
}

/// When the samples that begin at `begin` were taken: in the middle between two steps of any length, so that it does not
/// matter to whose window the edge belongs.
fn times(begin: i64) -> impl Iterator<Item = i64> {
    (0..).map(move |at| begin + APART / 2 + at * APART)
}

/// Sends samples as an agent would, some at a time.
fn submit(
    (url, key): &(String, Option<String>),
    metric: &Metric,
    begin: i64,
    values: &[Vec<f64>],
) -> Result<()> {
    for (at, values) in values.chunks(PART).enumerate() {
        let mut submission = Submission::default();
        for (number, values) in (at * PART..).zip(values) {
            let (host, tags) = tags(number);
            submission.series(metric.name, &host, &tags, times(begin).zip(values.iter().copied()));
        }
        let request = client().post(format!("{url}/datadog/api/v1/series"));
        let request = request.header("Content-Type", "application/json").body(submission.finish());
        let request = match key {
            Some(key) => request.header("DD-API-KEY", key),
            None => request,
        };
        request.send()?.error_for_status()?;
    }
    Ok(())
}

/// Makes a block of Prometheus's.
fn fill_block(folder: &Path, blocks: &Path, metric: &Metric, begin: i64, values: &[Vec<f64>]) -> Result<()> {
    let mut text = String::new();
    for (number, values) in values.iter().enumerate() {
        let (host, tags) = tags(number);
        let mut labels = format!("host=\"{host}\"");
        for tag in &tags {
            let (key, value) = tag.split_once(':').unwrap_or((tag, ""));
            let _ = write!(labels, ",{key}=\"{value}\"");
        }
        for (time, value) in times(begin).zip(values) {
            let _ = writeln!(text, "{}{{{labels}}} {value} {time}", metric.name);
        }
    }
    text.push_str("# EOF\n");
    let file = folder.join("block.txt");
    std::fs::write(&file, text)?;
    let made = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"])
        .args([&file, blocks])
        .stdin(Stdio::null())
        .output()?;
    ensure!(made.status.success(), "promtool: {}", String::from_utf8_lossy(&made.stderr));
    std::fs::remove_file(file)?;
    Ok(())
}
