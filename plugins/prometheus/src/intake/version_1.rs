//! `prometheus.WriteRequest`, remote write 1.0.

use bellwether_protobuf::{Fields, Malformed, Value};

use super::batch::{Batch, Entry};

/// Reads a request into a batch.
///
/// # Errors
/// Says what is no such message.
pub(super) fn read(body: &[u8], batch: &mut Batch) -> Result<(), String> {
    let mut entry = Entry::default();
    for field in Fields::of(body) {
        match field? {
            (1, Value::Bytes(series)) => {
                entry.clear();
                one_series(series, &mut entry)?;
                batch.finish(&mut entry);
            }
            (3, Value::Bytes(message)) => metadata(message, batch)?,
            _ => {}
        }
    }
    Ok(())
}

/// `TimeSeries`
fn one_series<'a>(message: &'a [u8], entry: &mut Entry<'a>) -> Result<(), String> {
    for field in Fields::of(message) {
        match field? {
            (1, Value::Bytes(message)) => {
                let (mut name, mut value) = ("", "");
                for field in Fields::of(message) {
                    match field? {
                        (1, Value::Bytes(bytes)) => name = text("the name of a label", bytes)?,
                        (2, Value::Bytes(bytes)) => value = text("the value of a label", bytes)?,
                        _ => {}
                    }
                }
                entry.labels.push((name, value));
            }
            (2, Value::Bytes(message)) => entry.samples.push(sample(message)?),
            (4, Value::Bytes(_)) => entry.histograms += 1,
            _ => {}
        }
    }
    Ok(())
}

/// `Sample`, of either version: a field that is zero is left out.
pub(super) fn sample(message: &[u8]) -> Result<(i64, f64), Malformed> {
    let (mut time, mut value) = (0, 0.0);
    for field in Fields::of(message) {
        match field? {
            (1, Value::Eight(bits)) => value = f64::from_bits(bits),
            (2, Value::Number(number)) => time = number.cast_signed(),
            _ => {}
        }
    }
    Ok((time, value))
}

/// `MetricMetadata`
fn metadata(message: &[u8], batch: &mut Batch) -> Result<(), String> {
    let (mut kind, mut metric, mut help, mut unit) = (0, "", "", "");
    for field in Fields::of(message) {
        match field? {
            (1, Value::Number(number)) => kind = number,
            (2, Value::Bytes(bytes)) => metric = text("metric_family_name", bytes)?,
            (4, Value::Bytes(bytes)) => help = text("help", bytes)?,
            (5, Value::Bytes(bytes)) => unit = text("unit", bytes)?,
            _ => {}
        }
    }
    batch.told.tell(metric, kind, help, unit);
    Ok(())
}

/// A field that is a text; `name` stands in the error.
pub(super) fn text<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, String> {
    std::str::from_utf8(bytes).map_err(|_| format!("{name} is no UTF-8"))
}
