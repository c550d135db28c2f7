//! Payloads in protobuf, as agents send them: `MetricPayload` of Datadog's public `agent_payload.proto`. Read field by
//! field over prost's primitives, so that texts are borrowed and nothing is built in between.

use std::borrow::Cow;

use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

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
    fields(body, |field| {
        let Field { number: 1, value: Value::Bytes(series) } = field else { return Ok(()) };
        let at = batch.at();
        entry.clear();
        one_series(series, &mut entry, batch)
            .and_then(|()| batch.finish(&entry))
            .map_err(|error| format!("series[{at}].{error}"))
    })
}

/// `MetricSeries`
fn one_series<'a>(message: &'a [u8], entry: &mut Entry<'a>, batch: &mut Batch) -> Result<(), String> {
    let mut point_at = 0;
    fields(message, |Field { number, value }| {
        match (number, value) {
            (1, Value::Bytes(message)) => {
                let (mut kind, mut name) = (Cow::default(), Cow::default());
                fields(message, |field| {
                    match field {
                        Field { number: 1, value: Value::Bytes(bytes) } => {
                            kind = text("resources.type", bytes)?;
                        }
                        Field { number: 2, value: Value::Bytes(bytes) } => {
                            name = text("resources.name", bytes)?;
                        }
                        _ => {}
                    }
                    Ok(())
                })?;
                entry.resources.push((kind, name));
            }
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
        Ok(())
    })
}

/// `MetricPoint`: a field that is zero is left out.
fn point(message: &[u8], batch: &mut Batch) -> Result<(), String> {
    let (mut value, mut seconds) = (0.0, 0_i64);
    fields(message, |field| {
        match field {
            Field { number: 1, value: Value::Eight(bits) } => value = f64::from_bits(bits),
            Field { number: 2, value: Value::Number(number) } => seconds = number.cast_signed(),
            _ => {}
        }
        Ok(())
    })?;
    let time = from_whole_seconds(seconds).ok_or_else(|| {
        format!("has the timestamp {seconds}, expected seconds since 1970, before the year 10,000")
    })?;
    batch.sample(time, value);
    Ok(())
}

fn text<'a>(name: &str, bytes: &'a [u8]) -> Result<Cow<'a, str>, String> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| format!("{name} is no UTF-8"))
}

struct Field<'a> {
    number: u32,
    value: Value<'a>,
}

enum Value<'a> {
    Number(u64),
    Eight(u64),
    Bytes(&'a [u8]),
    Skipped,
}

/// Calls `each` with every field of a message, in order.
fn fields<'a>(
    mut message: &'a [u8],
    mut each: impl FnMut(Field<'a>) -> Result<(), String>,
) -> Result<(), String> {
    let wrong = |error: DecodeError| format!(" is not protobuf: {error}");
    while !message.is_empty() {
        let (number, wire_type) = decode_key(&mut message).map_err(wrong)?;
        let value = match wire_type {
            WireType::Varint => Value::Number(decode_varint(&mut message).map_err(wrong)?),
            WireType::SixtyFourBit => {
                let Some((bytes, rest)) = message.split_first_chunk() else {
                    return Err(" is not protobuf: it breaks off in 8 bytes".to_owned());
                };
                message = rest;
                Value::Eight(u64::from_le_bytes(*bytes))
            }
            WireType::LengthDelimited => {
                let length = decode_varint(&mut message).map_err(wrong)?;
                let split = usize::try_from(length).ok().and_then(|length| message.split_at_checked(length));
                let Some((bytes, rest)) = split else {
                    return Err(format!(" is not protobuf: it breaks off in {length} bytes"));
                };
                message = rest;
                Value::Bytes(bytes)
            }
            other => {
                skip_field(other, number, &mut message, DecodeContext::default()).map_err(wrong)?;
                Value::Skipped
            }
        };
        each(Field { number, value })?;
    }
    Ok(())
}
