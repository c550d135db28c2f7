//! Secrets in what others say: a server may repeat what it was sent.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use zeroize::Zeroizing;

use super::fill::percent;

/// Characters a text must have to be looked for: shorter ones are everywhere.
const SEARCHED: usize = 4;

/// The ways others may write a secret that they were sent: as it is, in JSON, in a URL, in base64. Those that are too short
/// to be looked for are not among them.
fn written_forms(secret: &str) -> impl Iterator<Item = Zeroizing<String>> {
    let json = serde_json::Value::from(secret).to_string();
    let forms = [
        secret.to_owned(),
        secret.trim().to_owned(),
        STANDARD.encode(secret),
        STANDARD_NO_PAD.encode(secret),
        percent(secret),
        form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        json[1..json.len() - 1].to_owned(),
    ];
    forms.into_iter().filter(|form| form.len() >= SEARCHED).map(Zeroizing::new)
}

/// Texts that are not to be seen, each with what stands in its place; the longest first.
#[derive(Default)]
pub(crate) struct Mask(Vec<(Zeroizing<String>, String)>);

impl Mask {
    /// Looks for `text` from here on, in every way it may be written.
    pub(crate) fn learn(&mut self, name: &str, text: &str) {
        for form in written_forms(text) {
            if !self.0.iter().any(|(known, _)| *known == form) {
                let place = self.0.partition_point(|(known, _)| known.len() >= form.len());
                self.0.insert(place, (form, format!("‹secret {name}›")));
            }
        }
    }

    /// `text` with every secret in it named instead.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut masked = Cow::Borrowed(text);
        for (secret, shown) in &self.0 {
            if masked.contains(secret.as_str()) {
                masked = Cow::Owned(masked.replace(secret.as_str(), shown));
            }
        }
        masked
    }

    /// The same for bytes, which need not be text.
    pub(crate) fn bytes(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        for (secret, shown) in &self.0 {
            let secret = secret.as_bytes();
            if !bytes.windows(secret.len()).any(|part| part == secret) {
                continue;
            }
            let (mut masked, mut rest) = (Vec::with_capacity(bytes.len()), bytes.as_slice());
            while let Some(at) = rest.windows(secret.len()).position(|part| part == secret) {
                masked.extend_from_slice(&rest[..at]);
                masked.extend_from_slice(shown.as_bytes());
                rest = &rest[at + secret.len()..];
            }
            masked.extend_from_slice(rest);
            bytes = masked;
        }
        bytes
    }
}
