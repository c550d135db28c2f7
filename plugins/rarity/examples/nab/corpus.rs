//! The Numenta Anomaly Benchmark's files and labelled windows.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::{Context, Result};
use bellwether_sdk::serde_json;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A series with the windows in which something is known to have gone wrong.
pub(crate) struct Series {
    /// Group and file.
    pub(crate) name: String,
    /// As the file writes them.
    pub(crate) written: Vec<String>,
    /// Milliseconds since 1970, the files' times taken as UTC.
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
    /// In points, both ends within; in order.
    pub(crate) windows: Vec<RangeInclusive<usize>>,
}

/// Reads `data/` and `windows.json` of a folder, in the order of the names.
pub(crate) fn read(folder: &Path) -> Result<Vec<Series>> {
    let path = folder.join("windows.json");
    let windows = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let windows: BTreeMap<String, Vec<[String; 2]>> = serde_json::from_str(&windows)?;
    windows.into_iter().map(|(name, windows)| one(folder, name, &windows)).collect()
}

fn one(folder: &Path, name: String, windows: &[[String; 2]]) -> Result<Series> {
    let path = folder.join("data").join(&name);
    let mut series = Series { name, written: vec![], times: vec![], values: vec![], windows: vec![] };
    let mut rows = csv::Reader::from_path(&path).with_context(|| path.display().to_string())?;
    for row in rows.deserialize() {
        let (time, value): (String, f64) = row.with_context(|| path.display().to_string())?;
        let civil: DateTime = time.parse().with_context(|| format!("{}: {time}", path.display()))?;
        series.times.push(civil.to_zoned_datetime(TimeZone::UTC)?.timestamp().as_millisecond());
        series.values.push(value);
        series.written.push(time);
    }
    for [begin, end] in windows {
        // A repeated time means the first of its rows.
        let place = |time: &str| {
            let wanted = time.get(..19).unwrap_or(time);
            let found = series.written.iter().position(|written| written == wanted);
            found.with_context(|| format!("{}: no row at {time}", series.name))
        };
        series.windows.push(place(begin)?..=place(end)?);
    }
    Ok(series)
}
