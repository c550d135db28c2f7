//! `io.prometheus.write.v2.Request`, remote write 2.0: texts are said once, and referred to by their place.

use bellwether_protobuf::{Fields, Value, numbers};

use super::batch::{Batch, Entry};
use super::version_1::{sample, text};

/// Reads a request into a batch.
///
/// # Errors
/// Says what is no such message.
pub(super) fn read(body: &[u8], batch: &mut Batch) -> Result<(), String> {
    // They may lie behind the series that refer to them.
    let mut symbols = Vec::new();
    for field in Fields::of(body) {
        if let (4, Value::Bytes(bytes)) = field? {
            symbols.push(text("symbols", bytes)?);
        }
    }
    if symbols.first().is_some_and(|first| !first.is_empty()) {
        return Err("the first of symbols is not the empty one".to_owned());
    }
    let (mut entry, mut references) = (Entry::default(), Vec::new());
    for field in Fields::of(body) {
        if let (5, Value::Bytes(series)) = field? {
            entry.clear();
            references.clear();
            one_series(series, &symbols, &mut references, &mut entry, batch)?;
        }
    }
    Ok(())
}

fn symbol<'a>(symbols: &[&'a str], reference: u64) -> Result<&'a str, String> {
    let found = usize::try_from(reference).ok().and_then(|at| symbols.get(at));
    found.copied().ok_or_else(|| format!("the reference {reference} is beyond the {} symbols", symbols.len()))
}

/// `TimeSeries`
fn one_series<'a>(
    message: &[u8],
    symbols: &[&'a str],
    references: &mut Vec<u64>,
    entry: &mut Entry<'a>,
    batch: &mut Batch,
) -> Result<(), String> {
    let (mut kind, mut help, mut unit) = (0, "", "");
    for field in Fields::of(message) {
        match field? {
            (1, value) => numbers(value, references)?,
            (2, Value::Bytes(message)) => entry.samples.push(sample(message)?),
            (3, Value::Bytes(_)) => entry.histograms += 1,
            (5, Value::Bytes(message)) => {
                for field in Fields::of(message) {
                    match field? {
                        (1, Value::Number(number)) => kind = number,
                        (3, Value::Number(reference)) => help = symbol(symbols, reference)?,
                        (4, Value::Number(reference)) => unit = symbol(symbols, reference)?,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let (pairs, rest) = references.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(format!("a series has {} labels_refs, expected pairs", references.len()));
    }
    for [name, value] in pairs {
        entry.labels.push((symbol(symbols, *name)?, symbol(symbols, *value)?));
    }
    batch.finish(entry);
    batch.told.tell(family(entry.metric(), kind), kind, help, unit);
    Ok(())
}

/// The name of a series' family: histograms and summaries have several series each, told apart by an ending.
fn family(metric: &str, kind: u64) -> &str {
    let endings: &[&str] = match kind {
        3 | 4 => &["_bucket", "_count", "_sum", "_gcount", "_gsum"],
        5 => &["_count", "_sum"],
        _ => &[],
    };
    endings.iter().find_map(|ending| metric.strip_suffix(ending)).unwrap_or(metric)
}
