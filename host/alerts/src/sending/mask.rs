//! Secrets in what others say: a server may repeat what it was sent.

use std::borrow::Cow;
use std::sync::Arc;

use bellwether_access::Sought;

/// Texts that are not to be seen, each named where it was.
#[derive(Default)]
pub(crate) struct Mask(Sought<Arc<str>>);

impl Mask {
    /// Looks for `text` from here on, in every way it may be written.
    pub(crate) fn learn(&mut self, name: &str, text: &str) {
        self.0.learn(text, &name.into());
    }

    /// `text` with every secret in it named instead.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.replace(text, |name| match name {
            Some(name) => format!("‹secret {name}›"),
            None => "‹text that may hold a secret›".to_owned(),
        })
    }

    /// The same for bytes, which need not be text.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut masked = Vec::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            masked.extend_from_slice(self.text(chunk.valid()).as_bytes());
            masked.extend_from_slice(chunk.invalid());
        }
        masked
    }
}
