//! What samples take of the disk, and whether all that were acknowledged are there.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bellwether_tests::beside::Beside;
use bellwether_tests::load::{disk_use, mebibytes, settle};
use bellwether_tests::{Host, client, expect_json};

use crate::{Sink, payloads};

/// Sends so many different samples to each database, and prints what each takes of the disk a sample.
pub(crate) fn measure(folder: &Path, samples: usize) -> Result<()> {
    println!("\n| {samples} different samples of 1,000 series | bytes a sample |\n|---|---|");
    // Fewer in memory than a host keeps by default: they are in the log, and what that takes does not grow.
    let settings = folder.join("packed.toml");
    std::fs::write(&settings, "[series]\nsamples_in_memory = 500000\n")?;
    let data = folder.join("packed");
    let host = Host::start(&data, &["--config", settings.to_str().context("a path in UTF-8")?])?;
    let segments = data.join("components");
    let before = (disk_use(&data)?, disk_use(&segments)?);
    let sink = Sink::of(&host, "Bellwether");
    let (metric, sent) = send(&sink, samples)?;
    settle(host.id())?;
    let query = format!("sum:{metric}{{*}}.rollup(count, 315576000)");
    let parameters = [("query", &*query), ("start", "1970-01-01T00:00:00Z")];
    let request = host.request_with("GET", "/v1/query", &parameters).bearer_auth(&host.keys().admin);
    let answer = expect_json(request.send()?, 200)?;
    let points = answer["lines"][0]["points"].as_array().context("a line with points")?;
    let found: f64 = points.iter().filter_map(|point| point[1].as_f64()).sum();
    ensure!(found == sent as f64, "{found} of {sent} samples were found at Bellwether");
    host.stop()?;
    let everything = disk_use(&data)?.saturating_sub(before.0);
    let packed = disk_use(&segments)?.saturating_sub(before.1);
    tell("Bellwether, segments", packed, sent);

    let packed_by_it = folder.join("victoria-packed");
    std::fs::create_dir(&packed_by_it)?;
    if let Some(victoria) = Beside::victoria_metrics(&packed_by_it, &["-retentionPeriod=100y"])? {
        let url = format!("{}/datadog/api/v1/series", victoria.url);
        let sink = Sink { name: "VictoriaMetrics", url, key: None, process: victoria.id() };
        let (metric, sent) = send(&sink, samples)?;
        // What is buffered goes to the disk, and parts are merged.
        for path in ["/internal/force_flush", "/internal/force_merge"] {
            client().get(format!("{}{path}", victoria.url)).send()?.error_for_status()?;
        }
        settle(victoria.id())?;
        let query = format!("sum(count_over_time({metric}[10y]))");
        let url = reqwest::Url::parse_with_params(
            &format!("{}/api/v1/query", victoria.url),
            [("query", &*query), ("nocache", "1")],
        )?;
        let answer = expect_json(client().get(url).send()?, 200)?;
        let found = answer["data"]["result"][0]["value"][1].as_str().context("a value")?;
        let found: f64 = found.parse()?;
        ensure!(found == sent as f64, "{found} of {sent} samples were found at VictoriaMetrics");
        tell("VictoriaMetrics", disk_use(&packed_by_it)?, sent);
    }
    let rest = mebibytes(everything.saturating_sub(packed));
    println!(
        "\nBellwether's store, with the log of what is not packed yet, takes {rest:.0} MiB beside the segments."
    );
    Ok(())
}

fn tell(name: &str, bytes: u64, samples: usize) {
    println!("| {name} | {:.2} |", bytes as f64 / samples as f64);
}

/// Sends payloads of samples one after the other; gives the metric's name, and how many samples there were.
fn send(sink: &Sink, samples: usize) -> Result<(&'static str, usize)> {
    let (metric, submissions) = payloads::distinct(samples)?;
    let mut sent = 0;
    for submission in submissions {
        sent += submission.points;
        let mut request = client().post(&sink.url).header("Content-Type", "application/json");
        for (name, value) in sink.headers(false) {
            request = request.header(name, value);
        }
        request.body(submission.finish()).send()?.error_for_status()?;
    }
    Ok((metric, sent))
}
