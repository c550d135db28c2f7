//! What is sent: a formatter's request with its secrets filled in, signed, and masked wherever it comes back from.

mod fill;
mod mask;
mod oauth;
mod sign;
#[cfg(test)]
pub(crate) mod tests;
mod way;

use async_trait::async_trait;
use bellwether_access::Destination;

use crate::{Email, HttpAnswer, Refusal};

pub(crate) use fill::{Secrets, fill, shown};
pub(crate) use mask::Mask;
pub(crate) use oauth::Tokens;
pub(crate) use way::check_way;

/// A request with everything in it. It holds secrets: there is no `Debug`, and nothing of it is kept.
pub struct FilledRequest {
    /// In upper case.
    pub method: String,
    /// Whole.
    pub url: String,
    /// In order.
    pub headers: Vec<(String, String)>,
    /// Empty for none.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It is not sent, now or later: where it goes is not permitted, or it is no request.
    #[error("{0}")]
    Refused(String),
    /// It may have arrived or not: no connection, no answer in time, half an answer.
    #[error("{0}")]
    Lost(String),
}

/// What sends requests.
#[async_trait]
pub trait HttpSender: Send + Sync + 'static {
    /// Sends a request if one of `hosts` permits it, follows no redirect, and gives the answer with at most twice
    /// [`limits::ANSWER`](crate::limits::ANSWER) bytes of its body and no `retry_after`. Takes a bounded time.
    ///
    /// # Errors
    /// [`SendError`]. Its text may hold what the request holds: the caller masks it.
    async fn send(&self, request: FilledRequest, hosts: &[Destination]) -> Result<HttpAnswer, SendError>;
}

/// An e-mail with what the host adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its text and whom it is for.
    pub email: Email,
    /// The same for every attempt, without `<` and `>`.
    pub message_id: String,
    /// What it belongs to, oldest first, likewise.
    pub references: Vec<String>,
    /// Recipients it is not sent to any more: they have it, or were refused.
    pub done: Vec<String>,
}

/// What a mail server made of an e-mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    /// Recipients it took the e-mail for.
    pub accepted: Vec<String>,
    /// Those it refused for good.
    pub refused: Vec<Refusal>,
    /// Those it refused for now, and what it said.
    pub deferred: Vec<(String, String)>,
}

/// What sends e-mail.
#[async_trait]
pub trait Mailer: Send + Sync + 'static {
    /// What follows the `@` in ids of messages.
    fn domain(&self) -> &str;

    /// Sends an e-mail to those recipients that are not done.
    ///
    /// # Errors
    /// [`SendError`]: the server took it for none.
    async fn post(&self, letter: &Letter) -> Result<Posted, SendError>;
}
