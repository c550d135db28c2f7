//! How values are written: a version byte, then the value in postcard's compact binary form.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::StoreError;

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

/// Writes a value.
///
/// # Panics
/// If the type cannot be written at all, which its own test would show.
#[must_use]
pub fn encode<T: Versioned>(value: &T) -> Bytes {
    let bytes = postcard::to_extend(value, vec![T::VERSION]).expect("stored types are plain data");
    Bytes::from(bytes)
}

/// Reads a value.
///
/// # Errors
/// [`StoreError::Damaged`] if it is not one, or of a version this host does not know.
pub fn decode<T: Versioned>(bytes: &[u8]) -> Result<T, StoreError> {
    let damaged = || StoreError::Damaged(format!("not a {}: {}", T::NAME, bytes.escape_ascii()));
    let (version, body) = bytes.split_first().ok_or_else(damaged)?;
    if *version == T::VERSION {
        postcard::from_bytes(body).map_err(|_| damaged())
    } else {
        T::upgrade(*version, body).ok_or_else(damaged)
    }
}
