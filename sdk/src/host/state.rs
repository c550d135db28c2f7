//! The plugin's own small store.

use std::fmt;

use crate::bindings::imports::bellwether::host::state as raw;

/// A small store of the plugin's own, apart for every organisation. Keys up to 200 bytes, values up to 32 KiB.
pub trait State: 'static {
    /// The value of `key`, if it has one.
    ///
    /// # Errors
    /// Never for a key that is within bounds, unless the host is unavailable.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StateError>;

    /// Sets `key`; `None` removes it. Durable when it returns.
    ///
    /// # Errors
    /// [`StateError::TooLarge`] and [`StateError::Quota`].
    fn set(&self, key: &str, value: Option<&[u8]>) -> Result<(), StateError>;

    /// Sets `key` only if it still holds `expected`: the way to count or take turns without losing an update.
    ///
    /// # Errors
    /// [`StateError::Changed`] with what it holds instead.
    fn swap(&self, key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), StateError>;

    /// Up to `limit` (1 to 1,000) keys that begin with `prefix`, in order, after `after`.
    ///
    /// # Errors
    /// If the host is unavailable.
    fn list_keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StateError>;
}

/// Why a state call did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateError {
    /// A key or value is larger than allowed.
    TooLarge(String),
    /// The quota is used up.
    Quota(String),
    /// `swap`: the value was another than expected; this is what it is.
    Changed(Option<Vec<u8>>),
    /// The host cannot do it now; a later try may succeed.
    Unavailable(String),
    /// Something else.
    Other(String),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(_) => f.write_str("the value was changed by another call"),
            Self::TooLarge(message)
            | Self::Quota(message)
            | Self::Unavailable(message)
            | Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for StateError {}

impl From<raw::StateError> for StateError {
    fn from(error: raw::StateError) -> Self {
        use raw::StateError as Raw;
        match error {
            Raw::TooLarge(message) => Self::TooLarge(message),
            Raw::Quota(message) => Self::Quota(message),
            Raw::Changed(value) => Self::Changed(value),
            Raw::Unavailable(message) => Self::Unavailable(message),
            Raw::Other(message) => Self::Other(message),
        }
    }
}
