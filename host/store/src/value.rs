//! How values are written: a version byte, then the value in postcard's compact binary form.

use std::cell::Cell;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{MAX_VALUE, StoreError};

/// A stored type. When its fields change, keep the old type under another name, give the new one the next version
/// and read both in [`Versioned::upgrade`].
pub trait Versioned: Serialize + DeserializeOwned {
    /// What this is called in an error.
    const NAME: &'static str;
    /// The version written now.
    const VERSION: u8 = 1;

    /// Reads an older version; `None` if there is no such version.
    fn upgrade(version: u8, bytes: &[u8]) -> Option<Self> {
        let _ = (version, bytes);
        None
    }
}

/// What a thread keeps at most for [`SCRATCH`].
const MAX_SCRATCH: usize = 2 * MAX_VALUE;

thread_local! {
    /// Where values are written before they are copied into as many bytes as they have: a row is kept in memory for
    /// long, and growing one step by step costs more than the copy.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Bytes of a value that does not read that an error shows: enough to tell what it may have been. A value has up to 32 KiB.
const SHOWN: usize = 48;

/// Writes a value.
///
/// # Panics
/// If the type cannot be written at all, which its own test would show.
#[must_use]
pub fn encode<T: Versioned>(value: &T) -> Bytes {
    let mut bytes = SCRATCH.take();
    bytes.clear();
    bytes.push(T::VERSION);
    let bytes = postcard::to_extend(value, bytes).expect("stored types are plain data");
    let encoded = Bytes::copy_from_slice(&bytes);
    if bytes.capacity() <= MAX_SCRATCH {
        SCRATCH.set(bytes);
    }
    encoded
}

/// Reads a value.
///
/// # Errors
/// [`StoreError::Damaged`] if it is not one, or of a version this host does not know.
pub fn decode<T: Versioned>(bytes: &[u8]) -> Result<T, StoreError> {
    let damaged = || StoreError::Damaged(format!("not a {}: {}", T::NAME, excerpt(bytes)));
    let (version, body) = bytes.split_first().ok_or_else(damaged)?;
    if *version == T::VERSION {
        postcard::from_bytes(body).map_err(|_| damaged())
    } else {
        T::upgrade(*version, body).ok_or_else(damaged)
    }
}

/// The beginning of bytes that do not read, and how many there are.
fn excerpt(bytes: &[u8]) -> String {
    match bytes.get(..SHOWN) {
        Some(shown) if bytes.len() > SHOWN => format!("{}… of {} bytes", shown.escape_ascii(), bytes.len()),
        _ => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, serde::Deserialize)]
    struct Flag(bool);

    impl Versioned for Flag {
        const NAME: &'static str = "flag";
    }

    #[test]
    fn what_does_not_read_is_shown_in_part() {
        let whole = decode::<Flag>(b"\x01?").unwrap_err().to_string();
        assert_eq!(whole, "the store is damaged: not a flag: \\x01?");
        let cut = decode::<Flag>(&[0xff; MAX_VALUE]).unwrap_err().to_string();
        assert!(cut.ends_with("\\xff… of 32768 bytes") && cut.len() < 300, "{cut}");
    }
}
