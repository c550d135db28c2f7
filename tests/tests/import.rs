//! `bellwether import csv`, into interval metrics and tagged series: what is read back equals an independent computation.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bellwether_tests::{Host, expect_json, python};
use serde_json::Value;

const ZONE: &str = "America/New_York";

/// A CSV of a month around a change to summer time, with some lines no one can read; and how many those are: without a
/// time, and without a value.
fn table() -> (String, usize, usize) {
    let mut csv = "timestamp,host,value\n".to_owned();
    let (mut timeless, mut valueless) = (0, 0);
    for row in 0_i64..4000 {
        let minute = row * 11;
        let (day, hour) = (1 + minute / 1440, minute / 60 % 24);
        let value = (row * 7919 % 1000) - 300;
        match row % 997 {
            13 => writeln!(csv, "2024-03-{day:02}T{hour:02}:{:02}:00Z,web-1,many", minute % 60),
            14 => writeln!(csv, "not a time,web-1,1"),
            _ => writeln!(csv, "2024-03-{day:02}T{hour:02}:{:02}:00Z,web-{},{value}", minute % 60, row % 3),
        }
        .expect("text grows");
        timeless += usize::from(row % 997 == 14);
        valueless += usize::from(row % 997 == 13);
    }
    (csv, timeless, valueless)
}

#[test]
fn what_is_imported_equals_what_pandas_computes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let admin = &host.keys().admin;
    let (csv, timeless, valueless) = table();
    let file = folder.path().join("load.csv");
    std::fs::write(&file, csv)?;
    let file = file.to_str().expect("a path of text");
    expect_json(
        host.as_admin("PATCH", "/v1/organisation").json(&serde_json::json!({"time_zone": ZONE})).send()?,
        200,
    )?;
    let expected: BTreeMap<String, Value> = serde_json::from_str(&python("intervals.py", &[file, ZONE])?)?;

    // In a metric of type count each row is 1: a value is refused.
    for (kind, hosts) in expected.iter().filter(|(kind, _)| *kind != "count") {
        let counts = kind == "rows";
        let kind = if counts { "count" } else { kind.as_str() };
        let metric = format!("load {kind}");
        let value = if counts { &[][..] } else { &["--value", "value"] };
        let bad = if counts { timeless } else { timeless + valueless };
        let arguments = [
            "import",
            "csv",
            file,
            "--metric",
            &metric,
            "--time",
            "timestamp",
            "--key",
            "host",
            "--create",
            "--data-type",
            kind,
            "--interval",
            "daily",
            "--bad-lines",
            "skip",
            "--json",
        ];
        let arguments = [&arguments[..], value].concat();
        if counts {
            let refused = host.command(admin, &[&arguments[..], &["--value", "value"]].concat())?;
            let errors = String::from_utf8_lossy(&refused.stderr);
            ensure!(refused.status.code() == Some(2) && errors.contains("type count"), "{errors}");
        }
        let output = host.command(admin, &arguments)?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let summary: Value = serde_json::from_str(&text)?;
        ensure!(summary["skipped"] == bad, "{summary}");

        // Again: it has been done, so nothing is added.
        let again = host.command(admin, &arguments)?;
        ensure!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));

        let path = format!(
            "/v1/metrics/{}/values?start=2024-02-28T00:00:00Z&end=2024-04-02T00:00:00Z",
            metric.replace(' ', "%20")
        );
        let values = expect_json(host.as_admin("GET", &path).send()?, 200)?;
        for series in values["series"].as_array().into_iter().flatten() {
            let key = series["key"].as_str().expect("a keyed series");
            equal_to_pandas(&format!("{kind} {key}"), series, &hosts[key])?;
        }
        ensure!(values["series"].as_array().map(Vec::len) == Some(3), "three hosts: {values}");
    }
    host.stop()
}

/// Every day of `series` is one that pandas saw, with the same value.
fn equal_to_pandas(what: &str, series: &Value, days: &Value) -> Result<()> {
    let days = days.as_object().expect("pandas saw the series too");
    let points = series["values"].as_array().expect("a list");
    ensure!(points.len() == days.len(), "{what}: {} days, pandas {}", points.len(), days.len());
    for point in points {
        let (start, value) =
            (point["start"].as_str().expect("a time"), point["value"].as_f64().expect("a value"));
        let wanted = days[start].as_f64().expect("a number");
        ensure!((value - wanted).abs() <= wanted.abs() * 1e-12, "{what} {start}: {value}, pandas {wanted}");
    }
    Ok(())
}

#[test]
fn series_that_are_imported_equal_what_pandas_computes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let admin = &host.keys().admin;
    let (csv, timeless, valueless) = table();
    let file = folder.path().join("load.csv");
    std::fs::write(&file, csv)?;
    let file = file.to_str().expect("a path of text");
    let expected: BTreeMap<String, Value> = serde_json::from_str(&python("intervals.py", &[file, "UTC"])?)?;
    let mut arguments = vec!["import", "csv", file, "--series", "--metric", "load", "--time", "timestamp"];
    arguments.extend(["--value", "value", "--tag-column", "machine=host", "--tag", "env:prod"]);

    // A bad line is fatal unless it may be left out.
    let refused = host.command(admin, &arguments)?;
    let errors = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && errors.contains("line 15: the value is \"many\""), "{errors}");
    let none = host.as_admin("GET", "/v1/series/metrics/load").send()?;
    ensure!(none.status() == 404, "nothing was written");

    arguments.extend(["--bad-lines", "skip", "--json"]);
    for already in [false, true] {
        let output = host.command(admin, &arguments)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let summary: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(summary["skipped"] == timeless + valueless, "{summary}");
        ensure!(summary["already_imported"] == already, "{summary}");
        if !already {
            ensure!(summary["bad_lines"][0]["line"] == 15, "{summary}");
        }
    }
    for (kind, hosts) in expected.iter().filter(|(kind, _)| *kind != "rows") {
        let aggregate = if kind == "average" { "avg" } else { kind };
        let query = format!("sum:load{{env:prod}} by {{machine}}.rollup({aggregate}, 86400)");
        let asked = [("query", &*query), ("start", "2024-02-28T00:00:00Z"), ("end", "2024-04-02T00:00:00Z")];
        let key = host.request_with("GET", "/v1/query", &asked).bearer_auth(admin);
        let answer = expect_json(key.send()?, 200)?;
        let lines = answer["lines"].as_array().context("a list")?;
        ensure!(lines.len() == 3, "{answer}");
        for line in lines {
            let machine = line["tags"]["machine"].as_str().context("a tag")?;
            let days = hosts[machine].as_object().context("pandas saw the series too")?;
            let points = line["points"].as_array().context("a list")?;
            ensure!(points.len() == days.len(), "{kind} {machine}: {} days", points.len());
            for point in points {
                let start = point[0].as_i64().context("a time")?;
                let start = jiff::Timestamp::from_millisecond(start)?.to_string();
                let (value, wanted) = (point[1].as_f64(), days[&start].as_f64());
                let (value, wanted) = (value.context("a value")?, wanted.context("a number")?);
                ensure!(
                    (value - wanted).abs() <= wanted.abs() * 1e-12,
                    "{kind} {machine} {start}: {value}, {wanted}"
                );
            }
        }
    }

    // Rows of several metrics, and an empty field where a tag would be.
    let several = folder.path().join("several.csv");
    std::fs::write(&several, "t,what,v,host\n1712000000,a.b,1.5,web-1\n1712000000,c.d,2,\n")?;
    let several = several.to_str().expect("a path of text");
    let arguments = ["--metric-column", "what", "--time", "t", "--value", "v", "--tag-column", "host"];
    let output =
        host.command(admin, &[&["import", "csv", several, "--series"][..], &arguments[..]].concat())?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (metric, tags) in [("a.b", serde_json::json!(["host:web-1"])), ("c.d", serde_json::json!([]))] {
        let path = format!("/v1/series?metric={metric}");
        let series = expect_json(host.as_admin("GET", &path).send()?, 200)?;
        ensure!(series["items"][0]["tags"] == tags, "{series}");
    }
    host.stop()
}

/// Real files: the Numenta Anomaly Benchmark's, where they lie beside the repository.
#[test]
fn the_numenta_files_import_as_pandas_reads_them() -> Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/nab/data");
    if !corpus.is_dir() {
        println!("SKIPPED: ../shared/data/nab is not there");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let mut files = 0;
    for group in std::fs::read_dir(corpus)? {
        for file in std::fs::read_dir(group?.path())? {
            let file = file?.path();
            let name = file.file_stem().and_then(|stem| stem.to_str()).context("a file's name is text")?;
            let path = file.to_str().context("a path of text")?;
            // The corpus is not ours to write beside.
            let progress = folder.path().join(format!("{name}.json"));
            let progress = progress.to_str().context("a path of text")?;
            let output = host.command(
                &host.keys().admin,
                &[
                    "import",
                    "csv",
                    path,
                    "--metric",
                    name,
                    "--time",
                    "timestamp",
                    "--value",
                    "value",
                    "--create",
                    "--data-type",
                    "average",
                    "--interval",
                    "daily",
                    "--progress-file",
                    progress,
                ],
            )?;
            ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            let values =
                format!("/v1/metrics/{name}/values?start=2010-01-01T00:00:00Z&end=2020-01-01T00:00:00Z");
            let values = expect_json(host.as_admin("GET", &values).send()?, 200)?;
            let pandas: Value = serde_json::from_str(&python("intervals.py", &[path, "UTC"])?)?;
            equal_to_pandas(name, &values["series"][0], &pandas["average"][""])?;
            files += 1;
        }
    }
    ensure!(files > 0, "the corpus has files");
    println!("{files} files read back as pandas reads them");
    host.stop()
}

#[test]
fn a_fatal_bad_line_is_named_by_its_number() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let file = folder.path().join("bad.csv");
    std::fs::write(&file, "t,v\n2024-01-01T00:00:00Z,1\n2024-01-01T00:00:00Z,x\n")?;
    let file = file.to_str().expect("a path of text");
    let arguments = [
        "import",
        "csv",
        file,
        "--metric",
        "m",
        "--time",
        "t",
        "--value",
        "v",
        "--create",
        "--data-type",
        "sum",
        "--interval",
        "daily",
        "--bad-lines",
        "fail",
    ];
    let output = host.command(&host.keys().admin, &arguments)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && errors.contains("line 3"), "{errors}");
    let left = host.as_admin("GET", "/v1/metrics/m").send()?.status();
    ensure!(left == 404, "a file that is refused leaves no metric behind: {left}");
    host.stop()
}
