//! Secrets that must be read again, sealed with the host key (XChaCha20-Poly1305).

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use bellwether_kernel::{FieldError, OrganisationId, Randomness};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::AccessError;

/// Bytes of a nonce: long enough that random ones never meet.
const NONCE: usize = 24;

/// The key that seals every secret of this host. Lives in a file only its owner can read, beside the store, or comes
/// from the environment; never in the store or a backup.
pub struct HostKey(Zeroizing<[u8; 32]>);

impl HostKey {
    /// Reads the key file, or makes it (mode 0600, its folder with mode 0700) if there is none. The file appears
    /// whole or not at all, and of two processes that make it at once both use the one that came first.
    ///
    /// # Errors
    /// [`AccessError::KeyFile`] if others than its owner can read the file, if it holds no key, or if it cannot be
    /// read or made.
    pub fn load_or_create(path: &Path, randomness: &dyn Randomness) -> Result<Self, AccessError> {
        if let Some(key) = Self::load(path)? {
            return Ok(key);
        }
        create_file(path, randomness).map_err(|error| problem(path, &error))?;
        Self::load(path)?.ok_or_else(|| problem(path, &"it was removed while it was being made"))
    }

    /// Reads the key from 64 hexadecimal characters; white space around them is ignored.
    ///
    /// # Errors
    /// [`AccessError::Invalid`] if it is anything else. The error does not repeat the text: it may be nearly a key.
    pub fn from_hex(text: &str) -> Result<Self, AccessError> {
        let text = text.trim();
        let mut key = Zeroizing::new([0; 32]);
        let length = HEXLOWER_PERMISSIVE.decode_len(text.len());
        if length != Ok(32) || HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), key.as_mut()).is_err() {
            let found = format!("({} characters, not shown)", text.chars().count());
            return Err(FieldError::new("host key", found, "64 hexadecimal characters").into());
        }
        Ok(Self(key))
    }

    /// Reads the key file, if there is one.
    ///
    /// # Errors
    /// As [`Self::load_or_create`], for a file that is there.
    pub fn load(path: &Path) -> Result<Option<Self>, AccessError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(problem(path, &error)),
        };
        // Of the open file, not of the path: that could become another file in between.
        let mode = file.metadata().map_err(|error| problem(path, &error))?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let text = format!(
                "others than its owner may use it (mode {mode:04o}); run: chmod 600 {}",
                path.display()
            );
            return Err(problem(path, &text));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(1024).read_to_string(&mut text).map_err(|error| problem(path, &error))?;
        Self::from_hex(&text).map(Some).map_err(|error| problem(path, &error))
    }

    pub(crate) fn seal(&self, context: Context<'_>, secret: &[u8], randomness: &dyn Randomness) -> Sealed {
        let mut nonce = [0; NONCE];
        randomness.fill(&mut nonce);
        let associated = context.bytes();
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(nonce), Payload { msg: secret, aad: &associated })
            .expect("only 256 GiB are too much to seal");
        Sealed([&nonce, sealed.as_slice()].concat())
    }

    pub(crate) fn unseal(
        &self,
        context: Context<'_>,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, AccessError> {
        let (nonce, sealed) = sealed.0.split_first_chunk::<NONCE>().ok_or(AccessError::WrongHostKey)?;
        let associated = context.bytes();
        self.cipher()
            .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &associated })
            .map(Zeroizing::new)
            .map_err(|_| AccessError::WrongHostKey)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

/// Shows nothing of the key.
impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostKey(…)")
    }
}

/// What a secret is for, bound to it as associated data. The kinds are told apart by a first byte, so that no
/// purpose a caller names can be taken for one of this crate's own.
#[derive(Clone, Copy)]
pub(crate) enum Context<'a> {
    /// A caller's own.
    Purpose(&'a str),
    /// The signing secret of the key with this id.
    SigningSecret(&'a str),
    /// The value that tells whether a store belongs to a host key.
    Check,
    /// The secret of this organisation and name.
    Secret(OrganisationId, &'a str),
    /// A remembered answer in the row with this key.
    Answer(&'a [u8]),
}

impl Context<'_> {
    fn bytes(self) -> Vec<u8> {
        let (kind, of): (u8, &[u8]) = match self {
            Self::Secret(organisation, name) => {
                return [&[4], organisation.0.to_be_bytes().as_slice(), name.as_bytes()].concat();
            }
            Self::Purpose(purpose) => (0, purpose.as_bytes()),
            Self::SigningSecret(key) => (1, key.as_bytes()),
            Self::Check => (2, &[]),
            Self::Answer(row) => (3, row),
        };
        [&[kind], of].concat()
    }
}

/// A sealed secret: nonce and ciphertext.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(pub Vec<u8>);

/// Shows how long it is.
impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// Makes the file beside its place and links it there: unlike a rename, a link never replaces a key that another
/// process made meanwhile, which may have sealed something already.
fn create_file(path: &Path, randomness: &dyn Randomness) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut key = Zeroizing::new([0; 32]);
    randomness.fill(key.as_mut());
    let mut text = Zeroizing::new(HEXLOWER.encode(key.as_ref()));
    text.push('\n');

    let mut suffix = [0; 8];
    randomness.fill(&mut suffix);
    let temporary = folder.join(format!(".host-key-{}", HEXLOWER.encode(&suffix)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let linked = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| {
        match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    });
    fs::remove_file(&temporary)?;
    linked?;
    File::open(folder)?.sync_all()
}

fn problem(path: &Path, problem: &dyn fmt::Display) -> AccessError {
    AccessError::KeyFile { path: path.display().to_string(), problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use bellwether_kernel::{SeededRandomness, SystemRandomness};

    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data").join("host.key");
        let made = HostKey::load_or_create(&path, &SystemRandomness).unwrap();
        let read = HostKey::load_or_create(&path, &SystemRandomness).unwrap();
        assert_eq!(made.0, read.0);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let names: Vec<_> =
            fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["host.key"], "nothing is left beside it");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(HostKey::from_hex(&text).unwrap().0, made.0, "the environment takes what the file holds");
    }

    #[test]
    fn processes_that_make_it_at_once_use_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| HostKey::load_or_create(&path, &SystemRandomness).unwrap().0))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_file_others_can_read_or_that_holds_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host.key");
        HostKey::load_or_create(&path, &SystemRandomness).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = HostKey::load_or_create(&path, &SystemRandomness).unwrap_err().to_string();
            assert!(error.contains(&format!("chmod 600 {}", path.display())), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        HostKey::load_or_create(&path, &SystemRandomness).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in [String::new(), "a".repeat(63), "a".repeat(65), "g".repeat(64), "é".repeat(32)] {
            fs::write(&path, &text).unwrap();
            let error = HostKey::load_or_create(&path, &SystemRandomness).unwrap_err().to_string();
            assert!(error.contains("64 hexadecimal characters"), "{error}");
            assert!(text.is_empty() || !error.contains(&text), "the error repeats the text: {error}");
        }
    }

    #[test]
    fn a_seal_opens_only_with_its_key_its_purpose_and_unchanged() {
        let randomness = SeededRandomness::new(3);
        let key = HostKey::from_hex(&"0f".repeat(32)).unwrap();
        let sealed = key.seal(Context::Purpose("slack"), b"hunter2", &randomness);
        assert_eq!(*key.unseal(Context::Purpose("slack"), &sealed).unwrap(), b"hunter2");
        assert!(!sealed.0.windows(7).any(|window| window == b"hunter2"));

        for context in
            [Context::Purpose("slack2"), Context::SigningSecret("slack"), Context::Answer(b"slack")]
        {
            assert!(matches!(key.unseal(context, &sealed), Err(AccessError::WrongHostKey)));
        }
        let other = HostKey::from_hex(&"1f".repeat(32)).unwrap();
        assert!(matches!(other.unseal(Context::Purpose("slack"), &sealed), Err(AccessError::WrongHostKey)));
        for place in 0..sealed.0.len() {
            let mut changed = sealed.clone();
            changed.0[place] ^= 1;
            assert!(key.unseal(Context::Purpose("slack"), &changed).is_err(), "byte {place}");
            changed.0.truncate(place);
            assert!(key.unseal(Context::Purpose("slack"), &changed).is_err(), "cut to {place}");
        }
        assert_ne!(key.seal(Context::Purpose("slack"), b"hunter2", &randomness), sealed, "nonces differ");
    }
}
