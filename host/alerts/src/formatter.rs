//! The exchange of one notification with one channel, a step at a time.

use async_trait::async_trait;
use bellwether_kernel::value::Input;
use serde::{Deserialize, Serialize};

use crate::{Notification, Outgoing, RoleError, Settings};

/// Bytes that are most often text, as text.
mod text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        String::deserialize(deserializer).map(String::into_bytes)
    }
}

/// What a formatter is, and what it takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FormatterDescription {
    /// One sentence.
    pub summary: String,
    /// What it can be set to; see [`Settings`] for secret ones.
    pub settings: Vec<Input>,
}

/// An HTTP answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// In the order they came, names in lower case.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// At most [`limits::ANSWER`](crate::limits::ANSWER) bytes.
    #[serde(default, with = "text")]
    pub body: Vec<u8>,
    /// How long the server asks to wait, in milliseconds.
    pub retry_after: Option<u64>,
}

/// An address the mail server does not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The address.
    pub address: String,
    /// The reply code, 500 to 599.
    pub code: u16,
    /// What it said.
    pub reply: String,
}

/// The mail server took an e-mail, for all recipients or some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailAnswer {
    /// The `Message-ID` it went out with.
    pub message_id: String,
    /// Those it refused for good.
    #[serde(default)]
    pub refused: Vec<Refusal>,
}

/// The answer to what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To an HTTP request.
    Http(HttpAnswer),
    /// To an e-mail.
    Email(EmailAnswer),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Send this, and go on with its answer.
    Send {
        /// What is sent.
        outgoing: Outgoing,
        /// The memory from here on, even if the exchange breaks off.
        #[serde(with = "text")]
        memory: Vec<u8>,
    },
    /// Delivered.
    Done {
        /// What is kept for this channel and incident.
        #[serde(with = "text")]
        memory: Vec<u8>,
    },
    /// Not now: the exchange begins anew later.
    Retry {
        /// Not before so many milliseconds; absent, the host decides.
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
        /// One line.
        reason: String,
    },
    /// Not ever.
    Fail {
        /// One line.
        reason: String,
    },
    /// The channel is no more.
    Gone {
        /// One line.
        reason: String,
    },
}

/// One version of one formatter.
#[async_trait]
pub trait Formatter: Send + Sync {
    /// The plugin's version.
    fn version(&self) -> &str;

    /// What it is, and what it takes.
    fn description(&self) -> &FormatterDescription;

    /// What to do next. `memory` is what it keeps for this channel and incident, empty at first; `last` the answer to
    /// its previous step in this exchange, absent at its beginning. What it gives is well formed, whatever the
    /// plugin is: a method, a URL with a host, headers that are headers, no secret it was not given.
    ///
    /// # Errors
    /// If settings are wrong, or the call came to nothing.
    async fn next(
        &self,
        notification: &Notification,
        settings: &Settings,
        memory: &[u8],
        last: Option<&Answer>,
    ) -> Result<Step, RoleError>;
}
