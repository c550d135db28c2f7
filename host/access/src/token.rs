//! What a token looks like, `bw_<key id>_<secret>`, and the digest that is kept of it.

use std::fmt::Write;

use bellwether_kernel::{KeyId, Randomness};
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Random bytes in a secret: 256 bits, out of reach of any search.
const SECRET: usize = 32;
/// Characters those bytes take in base64url without padding.
const SECRET_TEXT: usize = 43;
/// Characters of a key id.
pub(crate) const KEY_ID: usize = 16;

/// A key id's characters: what keys are found by, without an allocation.
pub(crate) type KeyIdBytes = [u8; KEY_ID];

/// The characters of `id`.
pub(crate) fn key_id_bytes(id: &KeyId) -> KeyIdBytes {
    id.as_str().as_bytes().try_into().expect("a key id has 16 characters")
}

/// What is left of a token that was read.
pub(crate) struct Presented {
    /// Whose token it claims to be.
    pub(crate) id: KeyIdBytes,
    /// The digest of its secret.
    pub(crate) digest: [u8; 32],
}

/// Reads a token. There is one spelling of each: base64url with stray bits at its end is refused.
pub(crate) fn read(token: &[u8]) -> Option<Presented> {
    let rest = token.strip_prefix(b"bw_")?;
    let (id, rest) = rest.split_first_chunk::<KEY_ID>()?;
    let secret = rest.strip_prefix(b"_")?;
    if secret.len() != SECRET_TEXT || !id.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7')) {
        return None;
    }
    let mut bytes = Zeroizing::new([0; SECRET]);
    BASE64URL_NOPAD.decode_mut(secret, bytes.as_mut()).ok()?;
    Some(Presented { id: *id, digest: digest(&bytes) })
}

/// A new token of `id`, and the digest to keep of it.
pub(crate) fn create(id: &KeyId, randomness: &dyn Randomness) -> (String, [u8; 32]) {
    let mut bytes = Zeroizing::new([0; SECRET]);
    randomness.fill(bytes.as_mut());
    let mut token = String::with_capacity(3 + KEY_ID + 1 + SECRET_TEXT);
    write!(token, "bw_{id}_{}", BASE64URL_NOPAD.encode_display(bytes.as_ref()))
        .expect("a String takes all text");
    (token, digest(&bytes))
}

/// A new signing secret: as text, because clients use its characters, not its bytes, as the HMAC's key.
pub(crate) fn create_signing_secret(randomness: &dyn Randomness) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; SECRET]);
    randomness.fill(bytes.as_mut());
    Zeroizing::new(BASE64URL_NOPAD.encode(bytes.as_ref()))
}

/// A plain SHA-256 is right here: slow, salted hashes make up for passwords people choose, and no search finds
/// 32 random bytes however fast each guess is.
fn digest(secret: &[u8; SECRET]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use bellwether_kernel::SeededRandomness;

    use super::*;

    #[test]
    fn a_token_is_read_back() {
        let randomness = SeededRandomness::new(1);
        let id = KeyId::random(&randomness);
        let (token, digest) = create(&id, &randomness);
        assert_eq!(token.len(), 63);
        let read = read(token.as_bytes()).unwrap();
        assert_eq!((read.id, read.digest), (key_id_bytes(&id), digest));
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        let good = format!("bw_ABCDEFGHIJKLMNOP_{}", "A".repeat(43));
        assert!(read(good.as_bytes()).is_some());
        for (what, text) in [
            ("empty", String::new()),
            ("another word", good.replace("bw_", "xx_")),
            ("lower case", good.to_lowercase()),
            ("too short", good[..62].to_owned()),
            ("too long", format!("{good}A")),
            ("padded", format!("{}=", &good[..62])),
            ("stray bits at the end", format!("{}B", &good[..62])),
            ("no separator", good.replace("P_", "PA")),
            ("a digit no key id has", good.replace("BCD", "B1D")),
            ("standard base64", format!("{}+A", &good[..61])),
            ("not ASCII", good.replace("AA", "é")),
        ] {
            assert!(read(text.as_bytes()).is_none(), "{what}: {text}");
        }
    }
}
