//! `cargo xtask bench query`: what a dashboard waits for, beside VictoriaMetrics and Prometheus
//!
//! The same samples are in all of them, put in order before anything is asked: ten thousand series with a sample a minute
//! for a day, a hundred for a week. Ten questions, one after the other on one connection, each database in turn, from the
//! request to the last byte of the answer. Nobody answers from a cache of answers: VictoriaMetrics is told `nocache`.
//! The answers are held against each other.

mod data;
mod questions;

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bellwether_tests::load::{mebibytes, median};
use bellwether_tests::{client, resident_memory};
use reqwest::Url;
use serde_json::Value;

use data::{Data, Databases};
use questions::Question;

const USAGE: &str = "usage: bench_query [--rounds N] [--hours N]

--rounds N  how often each question is asked; 15 by default
--hours N   how far the ten thousand series reach back, an even number; 24 by default";

/// The lines of an answer, by their tags: when each step begins, in seconds, and its value.
type Lines = BTreeMap<String, Vec<(i64, f64)>>;

/// One question as one database takes it.
struct Asked {
    name: &'static str,
    url: Url,
    key: Option<String>,
    read: fn(&Value, i64) -> Result<Lines>,
    /// Milliseconds.
    took: Vec<f64>,
}

fn main() -> Result<()> {
    let (mut rounds, mut hours) = (15, 24);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value: i64 = arguments.next().context(USAGE)?.parse().context(USAGE)?;
        match argument.as_str() {
            "--rounds" => rounds = value.max(1),
            "--hours" => hours = value.max(2) / 2 * 2,
            _ => anyhow::bail!(USAGE),
        }
    }
    let folder = tempfile::tempdir()?;
    let data = Data::new(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().cast_signed(), hours);
    let began = Instant::now();
    let databases = data.store(folder.path())?;
    println!("{} samples, stored everywhere in {:.0} s", data.samples(), began.elapsed().as_secs_f64());
    let mut medians: Vec<Vec<f64>> = Vec::new();
    for question in questions::all() {
        let mut asked = all(&databases, &data, &question)?;
        let answers = asked.iter().map(Asked::answer).collect::<Result<Vec<_>>>()?;
        for (asked, answer) in asked.iter().zip(&answers).skip(1) {
            same(&answers[0], answer).with_context(|| format!("{}: {}", question.name, asked.name))?;
        }
        for _ in 0..rounds {
            for asked in &mut asked {
                asked.ask()?;
            }
        }
        if medians.is_empty() {
            let names: Vec<&str> = asked.iter().map(|asked| asked.name).collect();
            println!("\n| question, ms | {} | of the fastest other |", names.join(" | "));
            println!("|---|{}---|", "---|".repeat(names.len()));
        }
        let times: Vec<f64> = asked.iter_mut().map(|asked| median(&mut asked.took)).collect();
        row(question.name, &times);
        medians.push(times);
    }
    let ahead = medians.iter().filter(|times| times[0] <= fastest_other(times).unwrap_or(f64::INFINITY));
    println!("\nmedian at or below both: {} of {} questions", ahead.count(), medians.len());
    let Databases { bellwether, victoria, prometheus } = &databases;
    let others = [("VictoriaMetrics", victoria), ("Prometheus", prometheus)];
    println!("memory: Bellwether {:.0} MiB", mebibytes(resident_memory(bellwether.id())?));
    for (name, beside) in others {
        if let Some(beside) = beside {
            println!("memory: {name} {:.0} MiB", mebibytes(resident_memory(beside.id())?));
        }
    }
    Ok(())
}

/// The least of all but the first, which is ours.
fn fastest_other(times: &[f64]) -> Option<f64> {
    times.iter().skip(1).copied().reduce(f64::min)
}

fn row(name: &str, times: &[f64]) {
    let cells: Vec<String> = times.iter().map(|time| format!("{time:.2}")).collect();
    let ratio =
        fastest_other(times).map_or_else(|| "–".to_owned(), |fastest| format!("{:.2}", times[0] / fastest));
    println!("| {name} | {} | {ratio} |", cells.join(" | "));
}

/// A question as every database takes it, Bellwether first.
fn all(databases: &Databases, data: &Data, question: &Question) -> Result<Vec<Asked>> {
    let Databases { bellwether, victoria, prometheus } = databases;
    let (start, step) = (data.end - question.hours * 3600, question.step);
    let asked = |name, read, key, url: &str, parameters: &[(&str, &str)]| -> Result<Asked> {
        let url = Url::parse_with_params(url, parameters)?;
        Ok(Asked { name, url, key, read, took: Vec::new() })
    };
    let instant =
        |milliseconds| Ok::<_, jiff::Error>(jiff::Timestamp::from_millisecond(milliseconds)?.to_string());
    let mut all = vec![asked(
        "Bellwether",
        read_ours,
        Some(bellwether.keys().admin.clone()),
        &format!("{}/v1/query", bellwether.url),
        &[
            ("query", &question.ours),
            ("start", &instant(start * 1000)?),
            ("end", &instant(data.end * 1000 - 1)?),
            ("step", &(step * 1000).to_string()),
        ],
    )?];
    // They tell what lies before a time, we what lies behind it.
    let (first, end) = ((start + step).to_string(), data.end.to_string());
    let text = format!("{step}");
    let parameters =
        [("query", &*question.theirs), ("start", &first), ("end", &end), ("step", &text), ("nocache", "1")];
    for (name, beside) in [("VictoriaMetrics", victoria), ("Prometheus", prometheus)] {
        if let Some(beside) = beside {
            let url = format!("{}/api/v1/query_range", beside.url);
            all.push(asked(name, read_theirs, None, &url, &parameters)?);
        }
    }
    Ok(all)
}

impl Asked {
    fn send(&self) -> Result<Vec<u8>> {
        let request = client().get(self.url.clone());
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let answer = request.send()?;
        let status = answer.status();
        let body = answer.bytes()?;
        ensure!(status.is_success(), "{} answered {status}: {}", self.name, String::from_utf8_lossy(&body));
        Ok(body.to_vec())
    }

    fn ask(&mut self) -> Result<()> {
        let began = Instant::now();
        self.send()?;
        self.took.push(began.elapsed().as_secs_f64() * 1000.0);
        Ok(())
    }

    fn answer(&self) -> Result<Lines> {
        let step = self.url.query_pairs().find(|(name, _)| name == "step").context("a step")?.1.parse()?;
        (self.read)(&serde_json::from_slice(&self.send()?)?, step)
    }
}

fn read_ours(answer: &Value, _: i64) -> Result<Lines> {
    let lines = answer["lines"].as_array().context("lines")?.iter().map(|line| {
        let points = line["points"].as_array().context("points")?.iter();
        let points = points.map(|point| Some((point[0].as_i64()? / 1000, point[1].as_f64()?)));
        Ok((tags(&line["tags"]), points.collect::<Option<_>>().context("points of two numbers")?))
    });
    lines.collect()
}

fn read_theirs(answer: &Value, step: i64) -> Result<Lines> {
    let lines = answer["data"]["result"].as_array().context("a result")?.iter().map(|line| {
        let points = line["values"].as_array().context("values")?.iter();
        let points =
            points.map(|point| Some((point[0].as_f64()? as i64 - step, point[1].as_str()?.parse().ok()?)));
        Ok((tags(&line["metric"]), points.collect::<Option<_>>().context("points of a number and a text")?))
    });
    lines.collect()
}

/// Tags as one text, in order.
fn tags(tags: &Value) -> String {
    let pairs = tags.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let sorted: std::collections::BTreeSet<String> = pairs.collect();
    sorted.into_iter().collect::<Vec<_>>().join(",")
}

/// Holds two answers against each other: the same lines and times, and values that differ by no more than the order in
/// which they were added.
fn same(ours: &Lines, theirs: &Lines) -> Result<()> {
    let names = |lines: &Lines| lines.keys().cloned().collect::<Vec<_>>();
    ensure!(!ours.is_empty(), "there are no lines");
    ensure!(names(ours) == names(theirs), "lines {:?} where ours are {:?}", names(theirs), names(ours));
    for (name, points) in ours {
        let others = &theirs[name];
        ensure!(points.len() == others.len(), "{name:?} has {} points, ours {}", others.len(), points.len());
        for ((time, value), (other_time, other)) in points.iter().zip(others) {
            let close = (value - other).abs() <= 1e-9 * value.abs().max(other.abs());
            ensure!(
                time == other_time && close,
                "{name:?} at {other_time} is {other}, ours at {time} is {value}"
            );
        }
    }
    Ok(())
}
