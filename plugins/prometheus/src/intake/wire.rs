//! Protobuf field by field, over prost's primitives: texts are borrowed and nothing is built in between.

use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Number(u64),
    Eight(u64),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a message, by their numbers; ends at the first that does not read.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.0 = &[];
        }
        Some(read)
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Result<(u32, Value<'a>), String> {
        let wrong = |error: DecodeError| format!("no protobuf: {error}");
        let (number, wire_type) = decode_key(&mut self.0).map_err(wrong)?;
        let value = match wire_type {
            WireType::Varint => Value::Number(decode_varint(&mut self.0).map_err(wrong)?),
            WireType::SixtyFourBit => {
                let (bytes, rest) =
                    self.0.split_first_chunk().ok_or("no protobuf: it breaks off in 8 bytes")?;
                self.0 = rest;
                Value::Eight(u64::from_le_bytes(*bytes))
            }
            WireType::LengthDelimited => {
                let length = decode_varint(&mut self.0).map_err(wrong)?;
                let split = usize::try_from(length).ok().and_then(|length| self.0.split_at_checked(length));
                let (bytes, rest) =
                    split.ok_or_else(|| format!("no protobuf: it breaks off in {length} bytes"))?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            other => {
                skip_field(other, number, &mut self.0, DecodeContext::default()).map_err(wrong)?;
                Value::Other
            }
        };
        Ok((number, value))
    }
}

/// The numbers of a repeated field, written as one (packed) or one by one.
pub(super) fn numbers(value: Value<'_>, into: &mut Vec<u64>) -> Result<(), String> {
    match value {
        Value::Number(number) => into.push(number),
        Value::Bytes(mut bytes) => {
            while !bytes.is_empty() {
                into.push(decode_varint(&mut bytes).map_err(|error| format!("no protobuf: {error}"))?);
            }
        }
        Value::Eight(_) | Value::Other => {}
    }
    Ok(())
}

pub(super) fn text<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, String> {
    std::str::from_utf8(bytes).map_err(|_| format!("{name} is no UTF-8"))
}
