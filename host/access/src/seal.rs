//! Secrets that must be read again, sealed with the host key (XChaCha20-Poly1305).

use std::path::Path;

use bellwether_kernel::Randomness;
use serde::{Deserialize, Serialize};

use crate::AccessError;

/// The key that seals every secret of this host. Lives in a file only its owner can read, beside the store, or comes
/// from the environment; never in the store or a backup.
pub struct HostKey(#[expect(dead_code)] [u8; 32]);

impl HostKey {
    /// Reads the key file, or makes it (mode 0600) if there is none.
    pub fn load_or_create(_path: &Path, _randomness: &dyn Randomness) -> Result<Self, AccessError> {
        todo!()
    }

    /// Reads the key from 64 hexadecimal characters.
    pub fn from_hex(_text: &str) -> Result<Self, AccessError> {
        todo!()
    }
}

/// A sealed secret: nonce and ciphertext.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(pub Vec<u8>);
