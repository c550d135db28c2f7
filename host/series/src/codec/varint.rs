//! Numbers of any size in as few bytes as they need: seven bits a byte, lowest first, the top bit says more follow.

/// Adds `value`: 1 to 10 bytes.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Adds a signed value, small where it is near zero.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Takes a number off the front of `bytes`; `None` if there is none.
#[inline]
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    // Most are small: what differs from one sample to the next.
    if let [byte @ ..0x80, rest @ ..] = *bytes {
        *bytes = rest;
        return Some(u64::from(*byte));
    }
    take_long(bytes)
}

fn take_long(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes a signed number.
#[inline]
pub(crate) fn take_signed(bytes: &mut &[u8]) -> Option<i64> {
    take(bytes).map(|value| (value >> 1) as i64 ^ -((value & 1) as i64))
}

/// Takes the next `length` bytes.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_read_back_as_written(numbers in prop::collection::vec(any::<(u64, i64)>(), 0..20)) {
            let mut out = Vec::new();
            for (number, signed) in &numbers {
                put(&mut out, *number);
                put_signed(&mut out, *signed);
            }
            let mut rest = out.as_slice();
            for (number, signed) in numbers {
                prop_assert_eq!(take(&mut rest), Some(number));
                prop_assert_eq!(take_signed(&mut rest), Some(signed));
            }
            prop_assert_eq!(take(&mut rest), None);
        }
    }

    #[test]
    fn a_number_that_never_ends_is_refused() {
        assert_eq!(take(&mut &[0xff_u8; 12][..]), None);
    }
}
