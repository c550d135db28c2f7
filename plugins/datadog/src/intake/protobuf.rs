//! Payloads in protobuf, as agents send them: `MetricPayload` of Datadog's public `agent_payload.proto`.

use std::borrow::Cow;

use bellwether_protobuf::{Fields, Value};

use super::Batch;
use super::batch::Entry;
use super::value::kind_of;
use crate::parameters::from_whole_seconds;

/// Reads a payload into a batch.
///
/// # Errors
/// Says what is wrong and, where it is known, in which series.
pub(super) fn read(body: &[u8], batch: &mut Batch) -> Result<(), String> {
    let mut entry = Entry::default();
    for field in Fields::of(body) {
        let (1, Value::Bytes(series)) = field? else { continue };
        let at = batch.at();
        entry.clear();
        one_series(series, &mut entry, batch)
            .and_then(|()| batch.finish(&entry))
            .map_err(|error| format!("series[{at}].{error}"))?;
    }
    Ok(())
}

/// `MetricSeries`
fn one_series<'a>(message: &'a [u8], entry: &mut Entry<'a>, batch: &mut Batch) -> Result<(), String> {
    let mut point_at = 0;
    for field in Fields::of(message) {
        match field.map_err(|malformed| format!("message is {malformed}"))? {
            (1, Value::Bytes(message)) => entry.resources.push(resource(message)?),
            (2, Value::Bytes(bytes)) => entry.metric = Some(text("metric", bytes)?),
            (3, Value::Bytes(bytes)) => entry.tags.push(text("tags", bytes)?),
            (4, Value::Bytes(message)) => {
                point(message, batch).map_err(|error| format!("points[{point_at}] {error}"))?;
                point_at += 1;
            }
            (5, Value::Number(number)) => {
                let kind = i32::try_from(number).ok().and_then(kind_of);
                entry.kind = kind.ok_or_else(|| format!("type is {number}, expected 0 to 3"))?;
            }
            (6, Value::Bytes(bytes)) => entry.unit = Some(text("unit", bytes)?),
            (7, Value::Bytes(bytes)) => entry.source = Some(text("source_type_name", bytes)?),
            // Negative ones are the largest, and say nothing.
            (8, Value::Number(seconds)) => entry.interval = u32::try_from(seconds).ok().map(u64::from),
            _ => {}
        }
    }
    Ok(())
}

/// `Resource`: its type and name.
fn resource(message: &[u8]) -> Result<(Cow<'_, str>, Cow<'_, str>), String> {
    let (mut kind, mut name) = (Cow::default(), Cow::default());
    for field in Fields::of(message) {
        match field.map_err(|malformed| format!("resources is {malformed}"))? {
            (1, Value::Bytes(bytes)) => kind = text("resources.type", bytes)?,
            (2, Value::Bytes(bytes)) => name = text("resources.name", bytes)?,
            _ => {}
        }
    }
    Ok((kind, name))
}

/// `MetricPoint`: a field that is zero is left out.
fn point(message: &[u8], batch: &mut Batch) -> Result<(), String> {
    let (mut value, mut seconds) = (0.0, 0_i64);
    for field in Fields::of(message) {
        match field.map_err(|malformed| format!("is {malformed}"))? {
            (1, Value::Eight(bits)) => value = f64::from_bits(bits),
            (2, Value::Number(number)) => seconds = number.cast_signed(),
            _ => {}
        }
    }
    let time = from_whole_seconds(seconds).ok_or_else(|| {
        format!("has the timestamp {seconds}, expected seconds since 1970, before the year 10,000")
    })?;
    batch.sample(time, value);
    Ok(())
}

fn text<'a>(name: &str, bytes: &'a [u8]) -> Result<Cow<'a, str>, String> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| format!("{name} is no UTF-8"))
}
