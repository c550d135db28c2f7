//! Answers of what may come to more than one can hold: one that is too large is refused in Datadog's format, with what to
//! ask for in its place, so that a client sees that there is more.

use bellwether_sdk::dialect::Response;
use serde::Serialize;

use crate::failure::Failure;

/// What makes an answer of queries smaller.
pub(crate) const OF_QUERIES: &str = "ask for longer steps, fewer groups or less time";

/// An answer in JSON; `smaller` says what would make it smaller.
pub(crate) fn json(body: &(impl Serialize + ?Sized), smaller: &str) -> Result<Response, Failure> {
    Response::json_within(200, body, Response::LARGEST).map_err(|_| too_large(smaller))
}

/// Why there is no answer.
pub(crate) fn too_large(smaller: &str) -> Failure {
    Failure::new(413, format_args!("The answer has more than {} bytes: {smaller}", Response::LARGEST))
}

/// Texts of an answer, no more of them than it can hold.
pub(crate) struct Texts {
    texts: Vec<String>,
    bytes: usize,
    smaller: &'static str,
}

impl Texts {
    pub(crate) fn new(smaller: &'static str) -> Self {
        Self { texts: Vec::new(), bytes: 0, smaller }
    }

    pub(crate) fn push(&mut self, text: String) -> Result<(), Failure> {
        // With its quotes and comma.
        self.bytes += text.len() + 3;
        if self.bytes > Response::LARGEST {
            return Err(too_large(self.smaller));
        }
        self.texts.push(text);
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }
}

impl Serialize for Texts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.texts.serialize(serializer)
    }
}
