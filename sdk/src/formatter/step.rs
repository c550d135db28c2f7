//! What a formatter does next, and what an answer means for it.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Outgoing, raw};
use crate::SettingError;
use crate::bindings::imports::bellwether::host::types::FieldError;

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Send this, and call again with its answer.
    Send {
        /// What is sent.
        outgoing: Outgoing,
        /// The memory from here on, even if the exchange breaks off; absent, it stays as it is.
        memory: Option<Vec<u8>>,
    },
    /// Delivered.
    Done {
        /// The memory that is kept for this channel and incident; absent, it stays as it is.
        memory: Option<Vec<u8>>,
    },
    /// Not now: the exchange begins anew later.
    Retry {
        /// Not before so long; absent, the host decides.
        after: Option<Duration>,
        /// One line.
        reason: String,
    },
    /// Not ever, for this reason.
    Fail(String),
    /// The channel is no more, for this reason.
    Gone(String),
}

impl Step {
    /// Send this, and call again with its answer.
    pub fn send(outgoing: impl Into<Outgoing>) -> Self {
        Self::Send { outgoing: outgoing.into(), memory: None }
    }

    /// Delivered.
    #[must_use]
    pub const fn done() -> Self {
        Self::Done { memory: None }
    }

    /// Not now: the exchange begins anew later.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self::Retry { after: None, reason: reason.to_string() }
    }

    /// Not ever.
    pub fn fail(reason: impl fmt::Display) -> Self {
        Self::Fail(reason.to_string())
    }

    /// The channel is no more: nothing is sent to it until its owner says so.
    pub fn gone(reason: impl fmt::Display) -> Self {
        Self::Gone(reason.to_string())
    }

    /// With a memory of at most 4 KiB, which [`Self::Send`] and [`Self::Done`] keep.
    #[must_use]
    pub fn remember(self, kept: impl Into<Vec<u8>>) -> Self {
        match self {
            Self::Send { outgoing, .. } => Self::Send { outgoing, memory: Some(kept.into()) },
            Self::Done { .. } => Self::Done { memory: Some(kept.into()) },
            other => other,
        }
    }

    /// Not before so long, of [`Self::Retry`].
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        match self {
            Self::Retry { reason, .. } => Self::Retry { after: Some(delay), reason },
            other => other,
        }
    }

    /// As the contract has it; `memory` is what there was before.
    pub(super) fn into_raw(self, memory: Vec<u8>) -> raw::Step {
        let milliseconds = |delay: Duration| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        match self {
            Self::Send { outgoing, memory: kept } => {
                raw::Step::Send(raw::Sending { outgoing: outgoing.into(), memory: kept.unwrap_or(memory) })
            }
            Self::Done { memory: kept } => raw::Step::Done(kept.unwrap_or(memory)),
            Self::Retry { after, reason } => {
                raw::Step::Retry(raw::Retry { after: after.map(milliseconds), reason })
            }
            Self::Fail(reason) => raw::Step::Fail(reason),
            Self::Gone(reason) => raw::Step::Gone(reason),
        }
    }
}

/// Why there is no next step: a setting is wrong, or the exchange is over with a step that `?` hands on.
#[derive(Clone, Debug, PartialEq)]
pub enum FormatterError {
    /// A setting is wrong.
    Setting(SettingError),
    /// The exchange ends so.
    Step(Box<Step>),
    /// In one line.
    Other(String),
}

impl fmt::Display for FormatterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(error) => error.fmt(f),
            Self::Step(step) => write!(f, "the exchange ends with {step:?}"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for FormatterError {}

impl From<SettingError> for FormatterError {
    fn from(error: SettingError) -> Self {
        Self::Setting(error)
    }
}

impl From<Step> for FormatterError {
    fn from(step: Step) -> Self {
        Self::Step(Box::new(step))
    }
}

/// The step or error of a call, as the contract has it.
pub(super) fn outcome(
    outcome: Result<Step, FormatterError>,
    memory: Vec<u8>,
) -> Result<raw::Step, raw::FormatterError> {
    match outcome {
        Ok(step) => Ok(step.into_raw(memory)),
        Err(FormatterError::Step(step)) => Ok(step.into_raw(memory)),
        Err(FormatterError::Setting(error)) => {
            Err(raw::FormatterError::InvalidSettings(FieldError::from(error)))
        }
        Err(FormatterError::Other(reason)) => Err(raw::FormatterError::Other(reason)),
    }
}

impl raw::HttpAnswer {
    /// Whether the status is one of success, 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The value of the first header of that name, given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The body as text; what is no UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// If it is not JSON, or not of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// The answer in one line: its status, and the first line of its body.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut reason = format!("the channel answered {}", self.status);
        let text = self.text();
        let line = text.lines().next().unwrap_or_default().trim();
        if !line.is_empty() {
            reason.push_str(": ");
            reason.extend(line.chars().take(200));
        }
        reason
    }

    /// Another try later, not before the server says so.
    #[must_use]
    pub fn retry(&self) -> Step {
        Step::Retry { after: self.retry_after.map(Duration::from_millis), reason: self.reason() }
    }

    /// The answer itself if it is one of success; else what it means where nothing else is known: 408, 425, 429 and
    /// 500 to 599 are worth another try, not before the server says so; 410 is the channel's end; all else fails for
    /// good.
    ///
    /// # Errors
    /// The step the exchange ends with: `?` hands it on.
    pub fn success(&self) -> Result<&Self, FormatterError> {
        Err(match self.status {
            200..300 => return Ok(self),
            408 | 425 | 429 | 500..600 => self.retry(),
            410 => Step::Gone(self.reason()),
            _ => Step::Fail(self.reason()),
        }
        .into())
    }
}
