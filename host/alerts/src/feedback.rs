//! What people thought of incidents.

use bellwether_kernel::{FieldError, MonitorId, Timestamp};
use bellwether_store::Versioned;
use serde::{Deserialize, Serialize};

use crate::{AlertError, IncidentId, limits};

/// What somebody thinks of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Opinion {
    /// It was worth telling.
    GoodCatch,
    /// It was not.
    NotInteresting,
    /// It was not: it is strange, and nobody minds.
    NoBusinessImpact,
    /// It was not: the data was wrong.
    IncorrectData,
    /// It was not: this is usual.
    NotAnAnomaly,
}

impl Opinion {
    /// As it is written: `good-catch`, `not-an-anomaly`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GoodCatch => "good-catch",
            Self::NotInteresting => "not-interesting",
            Self::NoBusinessImpact => "no-business-impact",
            Self::IncorrectData => "incorrect-data",
            Self::NotAnAnomaly => "not-an-anomaly",
        }
    }
}

/// What one key thinks of one incident; it may think again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    /// The incident.
    pub incident: IncidentId,
    /// The monitor it is of.
    pub monitor: MonitorId,
    /// That monitor's name when it opened.
    pub monitor_name: String,
    /// What it is thought to be.
    pub opinion: Opinion,
    /// More of it.
    pub text: String,
    /// How strange it was at most by then, where a detector scored it.
    pub score: Option<f64>,
    /// Whose opinion it is: a key's id, and its name.
    pub by: (String, String),
    /// When it was first said.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

impl Versioned for Feedback {
    const NAME: &'static str = "feedback on an incident";
}

/// How many opinions a monitor's incidents got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackCounts {
    /// Good catches.
    pub good_catch: u64,
    /// All others.
    pub not_interesting: u64,
    /// Of those, what was found not to be an anomaly.
    pub not_an_anomaly: u64,
}

impl Versioned for FeedbackCounts {
    const NAME: &'static str = "counts of feedback";
}

impl FeedbackCounts {
    /// Counts an opinion in the place of another, or takes it away.
    pub(crate) fn turn(&mut self, before: Option<Opinion>, now: Option<Opinion>) {
        let mut each = |opinion: Option<Opinion>, by: i64| {
            let add = |count: &mut u64| *count = count.saturating_add_signed(by);
            match opinion {
                Some(Opinion::GoodCatch) => add(&mut self.good_catch),
                Some(opinion) => {
                    add(&mut self.not_interesting);
                    if opinion == Opinion::NotAnAnomaly {
                        add(&mut self.not_an_anomaly);
                    }
                }
                None => {}
            }
        };
        each(before, -1);
        each(now, 1);
    }
}

pub(crate) fn check(text: &str) -> Result<(), AlertError> {
    if text.chars().count() > limits::MESSAGE {
        let expected = format!("at most {} characters", limits::MESSAGE);
        return Err(FieldError::new("text", text, expected).into());
    }
    Ok(())
}
