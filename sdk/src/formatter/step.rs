//! What a formatter does next, and what an answer means for it.

use std::fmt;
use std::time::Duration;

use serde::de::{DeserializeOwned, IgnoredAny};

use super::{Outgoing, raw};
use crate::SettingError;
use crate::bindings::imports::bellwether::host::types::FieldError;

/// Characters of a body that a reason shows.
const SHOWN: usize = 200;

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

    /// The body read as JSON, of an answer of success.
    ///
    /// ```
    /// use bellwether_sdk::formatter::{Answer, FormatterError, Step};
    /// use bellwether_sdk::serde_json::Value;
    /// use bellwether_sdk::testing::answer;
    ///
    /// let Answer::Http(answer) = answer(200, "<html>\n<title>Sign in</title>") else { unreachable!() };
    /// let reason = "the channel answered 200: <html> <title>Sign in</title>, where JSON was expected";
    /// assert_eq!(answer.json::<Value>(), Err(Step::retry(reason).into()));
    /// ```
    ///
    /// # Errors
    /// The step the exchange ends with: `?` hands it on. What is no JSON is not the service's own answer but that of a
    /// proxy, a login page or a maintenance page before it, and worth another try; JSON of another shape fails for good.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, FormatterError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let step = match error.is_data() {
                true => Step::fail(format!("{}, which does not read: {error}", self.reason())),
                false => self.foreign("JSON"),
            };
            step.into()
        })
    }

    /// Another try later of what another than the service answered, which says `expected`.
    fn foreign(&self, expected: &str) -> Step {
        Step::Retry {
            after: self.after(),
            reason: format!("{}, where {expected} was expected", self.opening()),
        }
    }

    /// The body read as JSON, of any answer: a success's as [`json`](Self::json) reads it. What an error says may be
    /// anything, and is the default where it does not read.
    ///
    /// # Errors
    /// As of [`json`](Self::json), of a success alone.
    pub fn json_if_any<T: DeserializeOwned + Default>(&self) -> Result<T, FormatterError> {
        match self.is_success() {
            true => self.json(),
            false => Ok(self.json().unwrap_or_default()),
        }
    }

    /// The answer itself if it is one of success by a service that says it in JSON or with no body; else what
    /// [`success`](Self::success) and [`json`](Self::json) make of it.
    ///
    /// # Errors
    /// The step the exchange ends with: `?` hands it on.
    pub fn success_in_json(&self) -> Result<&Self, FormatterError> {
        self.success()?;
        if !self.body.trim_ascii().is_empty() {
            self.json::<IgnoredAny>()?;
        }
        Ok(self)
    }

    /// The answer itself if it is one of success whose text `is` the service's own, which is called `expected`; else
    /// what [`success`](Self::success) makes of it, or another try, as of a page in [`json`](Self::json).
    ///
    /// # Errors
    /// The step the exchange ends with: `?` hands it on.
    pub fn success_in_text(
        &self,
        expected: &str,
        is: impl FnOnce(&str) -> bool,
    ) -> Result<&Self, FormatterError> {
        self.success()?;
        match is(self.text().trim()) {
            true => Ok(self),
            false => Err(self.foreign(expected).into()),
        }
    }

    /// The answer in one line: its status, and the beginning of its body, which may be of several lines.
    fn opening(&self) -> String {
        let text = self.text();
        // More than is shown, since indentation takes its part.
        let beginning: String = text.chars().take(10 * SHOWN).collect();
        let words = beginning.split_whitespace().collect::<Vec<_>>().join(" ");
        match words.is_empty() {
            true => format!("the channel answered {} with no body", self.status),
            false => {
                let shown: String = words.chars().take(SHOWN).collect();
                format!("the channel answered {}: {shown}", self.status)
            }
        }
    }

    fn after(&self) -> Option<Duration> {
        self.retry_after.map(Duration::from_millis)
    }

    /// The answer in one line: its status, and the first line of its body.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut reason = format!("the channel answered {}", self.status);
        let text = self.text();
        let line = text.lines().next().unwrap_or_default().trim();
        if !line.is_empty() {
            reason.push_str(": ");
            reason.extend(line.chars().take(SHOWN));
        }
        reason
    }

    /// Another try later, not before the server says so.
    #[must_use]
    pub fn retry(&self) -> Step {
        Step::Retry { after: self.after(), reason: self.reason() }
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::raw::HttpAnswer;
    use super::*;

    fn answer(body: &str) -> HttpAnswer {
        HttpAnswer { status: 200, headers: Vec::new(), body: body.into(), retry_after: Some(5_000) }
    }

    #[test]
    fn a_success_that_is_no_json_is_told_and_tried_again() {
        let page = "<!DOCTYPE html>\n<html>\n  <title>Sign in</title>";
        for (body, reason) in [
            (
                page,
                "the channel answered 200: <!DOCTYPE html> <html> <title>Sign in</title>, where JSON was expected",
            ),
            (r#"{"id": "#, r#"the channel answered 200: {"id":, where JSON was expected"#),
            (" \n", "the channel answered 200 with no body, where JSON was expected"),
        ] {
            let step = Step::retry(reason).after(Duration::from_secs(5));
            assert_eq!(answer(body).json::<Value>(), Err(step.into()));
        }
        let long = answer(&"é ".repeat(500)).json::<Value>().expect_err("no JSON").to_string();
        assert!(long.contains("é é") && long.chars().count() < 400, "{long}");
    }

    #[test]
    fn json_of_another_shape_fails_for_good() {
        let failed = answer(r#"{"id": 5}"#).json::<Vec<u8>>().expect_err("another shape");
        let FormatterError::Step(step) = failed else { panic!("{failed:?}") };
        assert!(
            matches!(&*step, Step::Fail(reason) if reason.contains(r#"200: {"id": 5}, which"#)),
            "{step:?}"
        );
    }

    #[test]
    fn an_error_may_say_anything_and_a_success_only_json() {
        let error = |body| HttpAnswer { status: 500, ..answer(body) };
        assert_eq!(error("<html>").json_if_any::<Value>(), Ok(Value::Null));
        assert_eq!(error("5").json_if_any::<Value>(), Ok(5.into()));
        assert!(answer("<html>").json_if_any::<Value>().is_err());
    }

    #[test]
    fn a_service_that_speaks_json_may_answer_without_a_body() {
        assert!(answer("").success_in_json().is_ok() && answer(r#"{"ok": true}"#).success_in_json().is_ok());
        let page = answer("<html>").success_in_json().expect_err("no JSON");
        assert!(matches!(page, FormatterError::Step(step) if matches!(*step, Step::Retry { .. })));
        let refused = HttpAnswer { status: 400, ..answer("<html>") };
        let refused = refused.success_in_json().expect_err("no success");
        assert!(matches!(refused, FormatterError::Step(step) if matches!(*step, Step::Fail(_))));
    }
}
