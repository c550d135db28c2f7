//! Protobuf field by field, for dialects that are sent it: what is borrowed stays borrowed, and nothing is built in
//! between. For messages of many kinds prost's own are shorter.
//!
//! ```
//! use bellwether_protobuf::{Fields, Malformed, Value};
//!
//! /// `message Label { string name = 1; string value = 2; }`
//! fn label(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
//!     let (mut name, mut value) = (&b""[..], &b""[..]);
//!     for field in Fields::of(message) {
//!         match field? {
//!             (1, Value::Bytes(bytes)) => name = bytes,
//!             (2, Value::Bytes(bytes)) => value = bytes,
//!             // Newer senders have fields of which an older reader knows nothing.
//!             _ => {}
//!         }
//!     }
//!     Ok((name, value))
//! }
//!
//! assert_eq!(label(b"\x0a\x03env\x12\x04prod"), Ok((&b"env"[..], &b"prod"[..])));
//! ```

// prost hides this module from its documentation: this crate is the one place that would notice if it went.
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// The value of a field, as the wire has it: <https://protobuf.dev/programming-guides/encoding>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A varint: an integer, a truth value or an enumeration's. Negative ones are those of two's complement.
    Number(u64),
    /// Eight bytes, little-endian: the bits of a `double`, a `fixed64` or an `sfixed64`.
    Eight(u64),
    /// A text, a message, bytes, or packed values.
    Bytes(&'a [u8]),
    /// What is passed over: four bytes, or a group.
    Other,
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The key of a field or a number does not read.
    #[error("no protobuf: {0}")]
    Wire(#[from] DecodeError),
    /// A field says it is longer than what is left.
    #[error("no protobuf: it breaks off in {0} bytes")]
    CutOff(u64),
}

impl From<Malformed> for String {
    fn from(malformed: Malformed) -> Self {
        malformed.to_string()
    }
}

/// The fields of a message in their order, with their numbers; ends behind the first that does not read.
#[derive(Clone, Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Those of a message; of none, if it is empty.
    #[must_use]
    pub const fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn read(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let (number, wire_type) = decode_key(&mut self.0)?;
        let value = match wire_type {
            WireType::Varint => Value::Number(decode_varint(&mut self.0)?),
            WireType::SixtyFourBit => {
                let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed::CutOff(8))?;
                self.0 = rest;
                Value::Eight(u64::from_le_bytes(*bytes))
            }
            WireType::LengthDelimited => {
                let length = decode_varint(&mut self.0)?;
                let split = usize::try_from(length).ok().and_then(|length| self.0.split_at_checked(length));
                let (bytes, rest) = split.ok_or(Malformed::CutOff(length))?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            WireType::ThirtyTwoBit | WireType::StartGroup | WireType::EndGroup => {
                skip_field(wire_type, number, &mut self.0, DecodeContext::default())?;
                Value::Other
            }
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

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

/// Adds the numbers of a repeated field to `into`, whether they are written as one (packed) or one by one. What has no
/// numbers adds none.
///
/// # Errors
/// If packed ones do not read; those before are added.
pub fn numbers(value: Value<'_>, into: &mut Vec<u64>) -> Result<(), Malformed> {
    match value {
        Value::Number(number) => into.push(number),
        Value::Bytes(mut bytes) => {
            while !bytes.is_empty() {
                into.push(decode_varint(&mut bytes)?);
            }
        }
        Value::Eight(_) | Value::Other => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(message: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
        Fields::of(message).collect()
    }

    #[test]
    fn every_wire_type_is_read_or_passed_over() {
        let message = [
            &[0x08, 0x96, 0x01][..],               // 1: 150, as a varint
            &[0x11, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f], // 2: 1.5, as a double
            &[0x1a, 0x02, b'h', b'i'],             // 3: "hi"
            &[0x9d, 0x06, 1, 2, 3, 4],             // 99: four bytes
            &[0x23, 0x08, 0x01, 0x24],             // 4: a group with a field in it
            &[0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], // 5: -1
        ]
        .concat();
        let expected = [
            (1, Value::Number(150)),
            (2, Value::Eight(1.5_f64.to_bits())),
            (3, Value::Bytes(b"hi")),
            (99, Value::Other),
            (4, Value::Other),
            (5, Value::Number((-1_i64).cast_unsigned())),
        ];
        assert_eq!(read(&message), Ok(expected.to_vec()));
        assert_eq!(read(&[]), Ok(Vec::new()), "a message of defaults has no bytes");
    }

    #[test]
    fn what_does_not_read_says_why_and_ends_the_message() {
        for (message, said) in [
            (&[0xff][..], "no protobuf: "),
            (&[0x0f, 0x01], "no protobuf: "),
            (&[0x00, 0x01], "no protobuf: "),
            (&[0x09, 0x01], "no protobuf: it breaks off in 8 bytes"),
            (&[0x0a, 0x05, 0x01], "no protobuf: it breaks off in 5 bytes"),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "bytes"),
            (&[0x24], "no protobuf: "),
        ] {
            let mut fields = Fields::of(message);
            let error = fields.next().expect("there is something to read").expect_err("it does not read");
            assert!(String::from(error.clone()).contains(said), "{message:?}: {error} should say {said}");
            assert_eq!(fields.next(), None, "{message:?}");
        }
    }

    #[test]
    fn numbers_are_read_packed_and_one_by_one() {
        let mut all = Vec::new();
        for value in [
            Value::Number(1),
            Value::Bytes(&[0x02, 0x96, 0x01]),
            Value::Bytes(&[]),
            Value::Eight(9),
            Value::Other,
        ] {
            numbers(value, &mut all).expect("these read");
        }
        assert_eq!(all, [1, 2, 150]);
        assert!(numbers(Value::Bytes(&[0x03, 0x80]), &mut all).is_err());
        assert_eq!(all, [1, 2, 150, 3], "those before what does not read are there");
    }

    proptest! {
        #[test]
        fn any_bytes_end(message in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Fields::of(&message).count() <= message.len());
        }
    }
}
