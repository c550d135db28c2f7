//! What is known of a delivery: how it stands, and what each attempt sent and was answered.

use std::fmt;
use std::str::FromStr;

use bellwether_kernel::Timestamp;
use bellwether_store::{StoreError, Versioned};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::sending::shown;
use crate::{Event, Outgoing, channel, limits};

/// One telling of one incident to one channel. Written `incident.channel.sequence`, as its idempotency key is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// The channel's name.
    pub channel: String,
    /// The incident's id.
    pub incident: String,
    /// Counts the tellings of the incident, from 1.
    pub sequence: u32,
}

impl DeliveryId {
    /// The same for every attempt, and at most 64 characters of `A-Za-z0-9_.-`: the id itself where that is so.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        let whole = self.to_string();
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if whole.len() <= 64 && whole.bytes().all(good) {
            return whole;
        }
        let line = Sha256::digest(format!("{}.{}", self.incident, self.channel));
        format!("{}.{}", data_encoding::HEXLOWER.encode(&line[..20]), self.sequence)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.incident, self.channel, self.sequence)
    }
}

/// The text names no delivery.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no delivery's id, expected incident.channel.sequence")]
pub struct InvalidDeliveryId(String);

impl FromStr for DeliveryId {
    type Err = InvalidDeliveryId;

    fn from_str(text: &str) -> Result<Self, InvalidDeliveryId> {
        // A channel's name holds no dot, an incident's id may.
        let read = text.rsplit_once('.').and_then(|(line, sequence)| {
            let (incident, channel) = line.rsplit_once('.')?;
            channel::check_name("channel", channel).ok()?;
            let good = (1..=limits::INCIDENT_ID).contains(&incident.len());
            let sequence = sequence.parse().ok()?;
            good.then(|| Self { channel: channel.to_owned(), incident: incident.to_owned(), sequence })
        });
        read.ok_or_else(|| InvalidDeliveryId(text.to_owned()))
    }
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// It is still to be delivered.
    Waiting,
    /// The channel took it.
    Delivered,
    /// It was given up: it can be resent.
    Dead,
    /// A later one told the same and more, while too many waited.
    Folded,
}

/// A delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// What it is.
    pub id: DeliveryId,
    /// What it tells of.
    pub event: Event,
    /// How it stands.
    pub state: DeliveryState,
    /// When what it tells of came about.
    pub time: Timestamp,
    /// When it is tried next, while it waits for that.
    pub due: Option<Timestamp>,
    /// Attempts so far.
    pub attempts: u32,
    /// Why it is not delivered, or not yet; of one that was, whom it did not reach.
    pub reason: Option<String>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// A delivery as it is stored; what it is is in its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeliveryRow {
    pub(crate) event: Event,
    pub(crate) state: DeliveryState,
    pub(crate) time: Timestamp,
    pub(crate) due: Option<Timestamp>,
    pub(crate) attempts: u32,
    /// Attempts before it was resent last.
    pub(crate) attempts_before: u32,
    /// The first attempt since then: patience counts from it.
    pub(crate) first_attempt: Option<Timestamp>,
    pub(crate) reason: Option<String>,
    pub(crate) ended: Option<Timestamp>,
    /// Of an e-mail some recipients are still to get, or never got: those that have it, and those that were refused.
    pub(crate) accepted: Vec<String>,
    pub(crate) refused: Vec<(String, u16, String)>,
}

impl Versioned for DeliveryRow {
    const NAME: &'static str = "delivery";
}

impl DeliveryRow {
    pub(crate) fn new(event: Event, time: Timestamp) -> Self {
        Self {
            event,
            state: DeliveryState::Waiting,
            time,
            due: None,
            attempts: 0,
            attempts_before: 0,
            first_attempt: None,
            reason: None,
            ended: None,
            accepted: Vec::new(),
            refused: Vec::new(),
        }
    }

    pub(crate) fn delivery(self, id: DeliveryId) -> Delivery {
        let Self { event, state, time, due, attempts, reason, ended, .. } = self;
        Delivery { id, event, state, time, due, attempts, reason, ended }
    }
}

/// What the store needs to know of a delivery that waits: the rest is in its own row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WaitingRow {
    pub(crate) event: Event,
    /// Not before then.
    pub(crate) due: Option<Timestamp>,
}

impl Versioned for WaitingRow {
    const NAME: &'static str = "delivery that waits";
}

/// What a formatter keeps for a channel and incident.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MemoryRow {
    /// Another formatter does not read it.
    pub(crate) formatter: String,
    /// When the channel was made: another one of that name does not go on with it.
    pub(crate) channel: Timestamp,
    pub(crate) memory: Vec<u8>,
}

impl Versioned for MemoryRow {
    const NAME: &'static str = "memory of a formatter";
}

/// A delivery with what was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryHistory {
    /// The delivery.
    pub delivery: Delivery,
    /// Oldest first: the first ones, and the latest.
    pub attempts: Vec<Attempt>,
}

/// One attempt at a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt<E = Exchanged> {
    /// Counted from 1.
    pub number: u32,
    /// When it began.
    pub time: Timestamp,
    /// How long it took.
    pub milliseconds: u64,
    /// The formatter and its version.
    pub formatter: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, where it did not succeed; where it did, whom it did not reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when its formatter fails at it, without an attempt in between in which it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// What was sent, in order.
    pub exchanges: Vec<E>,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The channel took it.
    Delivered,
    /// It is tried again.
    Retry,
    /// It was given up.
    Failed,
    /// The channel is no more.
    Gone,
}

/// One request and its answer, secrets named and not shown, long texts cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchanged {
    /// The request, or the e-mail.
    pub request: serde_json::Value,
    /// The answer's status, of HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The answer's body, or what the mail server said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took.
    pub milliseconds: u64,
}

/// One request and its answer as they took place: what is written as [`Exchanged`] is, without a tree of JSON before.
#[derive(Debug, Serialize)]
pub(crate) struct Noted {
    pub(crate) request: Outgoing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    pub(crate) milliseconds: u64,
}

impl From<&Noted> for Exchanged {
    fn from(noted: &Noted) -> Self {
        let Noted { request, status, answer, error, milliseconds } = noted;
        let (answer, error) = (answer.clone(), error.clone());
        Self { request: shown(request), status: *status, answer, error, milliseconds: *milliseconds }
    }
}

/// Bytes of one text of an attempt that are kept.
const TEXT: usize = 8 << 10;
/// Bytes of a whole attempt: it fits one row.
const ATTEMPT: usize = 30 << 10;

impl Attempt<Noted> {
    /// As it is stored: JSON, since requests are of any shape; longer texts are cut until it fits.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let is_short = self.reason.as_ref().is_none_or(|reason| reason.len() <= limits::REASON);
        let whole = json(self);
        if is_short && whole.len() <= TEXT {
            return whole;
        }
        let attempt = Attempt {
            number: self.number,
            time: self.time,
            milliseconds: self.milliseconds,
            formatter: self.formatter.clone(),
            outcome: self.outcome,
            reason: self.reason.clone(),
            failing_since: self.failing_since,
            exchanges: self.exchanges.iter().map(Exchanged::from).collect(),
        };
        let mut most = TEXT;
        loop {
            let json = json(&attempt.cut(most));
            if json.len() <= ATTEMPT || most < 16 {
                return json;
            }
            most /= 2;
        }
    }
}

fn json(attempt: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(attempt).expect("an attempt is plain data")
}

impl Attempt {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(bytes)
            .map_err(|error| StoreError::Damaged(format!("an attempt at a delivery does not read: {error}")))
    }

    /// With no text longer than so many bytes.
    fn cut(&self, most: usize) -> Self {
        let mut attempt = self.clone();
        if let Some(reason) = &mut attempt.reason {
            cut(reason, limits::REASON.min(most));
        }
        attempt.exchanges = attempt.exchanges.into_iter().map(|exchanged| exchanged.cut(most)).collect();
        attempt
    }
}

impl Exchanged {
    /// With no text longer than so many bytes.
    pub(crate) fn cut(mut self, most: usize) -> Self {
        cut_json(&mut self.request, most);
        self.answer.iter_mut().chain(&mut self.error).for_each(|text| cut(text, most));
        self
    }
}

fn cut_json(value: &mut serde_json::Value, most: usize) {
    match value {
        serde_json::Value::String(text) => cut(text, most),
        serde_json::Value::Array(items) => {
            // Fifty headers and as many parts of a signature, at most; fewer where that is still too much.
            items.truncate(most.max(16));
            items.iter_mut().for_each(|item| cut_json(item, most));
        }
        serde_json::Value::Object(fields) => fields.values_mut().for_each(|field| cut_json(field, most)),
        _ => {}
    }
}

/// Cuts a text, and says how much is missing.
pub(crate) fn cut(text: &mut String, most: usize) {
    if text.len() <= most {
        return;
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let missing = text.len() - end;
    text.truncate(end);
    text.push_str(&format!("… ({missing} bytes more)"));
}
