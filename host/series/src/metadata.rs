//! What is known of a metric beside its samples.

use bellwether_kernel::FieldError;
use bellwether_store::Versioned;
use serde::{Deserialize, Serialize};

use crate::{RollUp, SeriesError};

/// How a metric's values came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricKind {
    /// A measurement at a moment.
    #[default]
    Gauge,
    /// How many happened since the sample before.
    Count,
    /// How many happen a second.
    Rate,
    /// Measurements of many things, to be looked at together.
    Distribution,
}

/// What is known of a metric beside its samples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// How its values came about.
    pub kind: MetricKind,
    /// What it is measured in: "byte". At most 100 bytes.
    pub unit: Option<String>,
    /// By what that is divided: "second". At most 100 bytes.
    pub per_unit: Option<String>,
    /// For people. At most 1,000 bytes.
    pub description: Option<String>,
    /// For narrow places. At most 100 bytes.
    pub short_name: Option<String>,
    /// What sends it: "redis". At most 100 bytes.
    pub integration: Option<String>,
    /// Days its samples are kept, counted from their own times; absent means as long as the host keeps those without.
    pub keep_days: Option<u32>,
    /// From which ages on its samples are kept as roll-ups, and of which steps: at most four, each later and of longer
    /// steps, multiples of those before.
    pub roll_ups: Vec<RollUp>,
}

/// A hundred years.
const MAX_DAYS: u32 = 36_500;

const MAX_ROLL_UPS: usize = 4;

const DAY_SECONDS: u32 = 24 * 60 * 60;

impl Metadata {
    /// Checks every field.
    pub(crate) fn check(&self) -> Result<(), SeriesError> {
        for (field, text, most) in [
            ("unit", &self.unit, 100),
            ("per_unit", &self.per_unit, 100),
            ("description", &self.description, 1000),
            ("short_name", &self.short_name, 100),
            ("integration", &self.integration, 100),
        ] {
            if let Some(text) = text
                && text.len() > most
            {
                return Err(FieldError::new(field, text, format!("at most {most} bytes")).into());
            }
        }
        match self.keep_days {
            Some(days) if !(1..=MAX_DAYS).contains(&days) => {
                Err(FieldError::new("keep_days", days, format!("1 to {MAX_DAYS}")).into())
            }
            _ => self.check_roll_ups(),
        }
    }
}

impl Metadata {
    /// Whether it says how long or how samples are kept, which nobody says in passing.
    pub(crate) fn says_how_kept(&self) -> bool {
        self.keep_days.is_some() || !self.roll_ups.is_empty()
    }

    fn check_roll_ups(&self) -> Result<(), SeriesError> {
        if self.roll_ups.len() > MAX_ROLL_UPS {
            let expected = format!("at most {MAX_ROLL_UPS}");
            return Err(FieldError::new("roll_ups", self.roll_ups.len(), expected).into());
        }
        let (mut age, mut step) = (0, 1);
        for (at, roll_up) in self.roll_ups.iter().enumerate() {
            let wrong = |field: &str, value: u32, expected: String| {
                Err(FieldError::new(format!("roll_ups[{at}].{field}"), value, expected).into())
            };
            let RollUp { after_days, step_seconds } = *roll_up;
            let last = self.keep_days.unwrap_or(MAX_DAYS + 1) - 1;
            if !(age + 1..=last).contains(&after_days) {
                let expected =
                    format!("{} to {last}: later than the one before, earlier than keep_days", age + 1);
                return wrong("after_days", after_days, expected);
            }
            let divides = step_seconds >= 10 && DAY_SECONDS.is_multiple_of(step_seconds);
            if !divides || (at > 0 && step_seconds == step) || !step_seconds.is_multiple_of(step) {
                let expected = if at == 0 {
                    "10 seconds or more that divide a day, such as 60, 300 or 3600".to_owned()
                } else {
                    format!("seconds that divide a day, a multiple of the {step} before")
                };
                return wrong("step_seconds", step_seconds, expected);
            }
            (age, step) = (after_days, step_seconds);
        }
        Ok(())
    }
}

impl Versioned for Metadata {
    const NAME: &'static str = "metadata of a metric with samples";
    const VERSION: u8 = 2;

    fn upgrade(version: u8, bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct First {
            kind: MetricKind,
            unit: Option<String>,
            per_unit: Option<String>,
            description: Option<String>,
            short_name: Option<String>,
            integration: Option<String>,
            keep_days: Option<u32>,
        }
        let first: First = (version == 1).then(|| postcard::from_bytes(bytes).ok()).flatten()?;
        let First { kind, unit, per_unit, description, short_name, integration, keep_days } = first;
        Some(Self {
            kind,
            unit,
            per_unit,
            description,
            short_name,
            integration,
            keep_days,
            roll_ups: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_wrote_reads() {
        // Version, kind, unit, per_unit, description, short_name, integration, keep_days.
        let bytes = [1, 1, 1, 4, b'b', b'y', b't', b'e', 0, 0, 0, 0, 1, 9];
        let read: Metadata = bellwether_store::decode(&bytes).unwrap();
        let expected = Metadata {
            kind: MetricKind::Count,
            unit: Some("byte".to_owned()),
            keep_days: Some(9),
            ..Metadata::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn roll_ups_come_later_and_coarser_one_after_the_other() {
        let check = |keep_days, roll_ups: &[(u32, u32)]| {
            let roll_up = |&(after_days, step_seconds): &(u32, u32)| RollUp { after_days, step_seconds };
            let roll_ups = roll_ups.iter().map(roll_up).collect();
            Metadata { keep_days, roll_ups, ..Metadata::default() }.check().map_err(|error| error.to_string())
        };
        for (keep_days, right) in [
            (Some(400), &[(15, 300), (90, 3600)][..]),
            (None, &[(1, 10)]),
            (Some(2), &[(1, 86_400)]),
            (None, &[(1, 60), (2, 300), (3, 3600), (4, 86_400)]),
        ] {
            check(keep_days, right).unwrap();
        }
        for (keep_days, wrong, field) in [
            (Some(15), &[(15, 300)][..], "roll_ups[0].after_days is \"15\""),
            (None, &[(0, 300)], "roll_ups[0].after_days"),
            (None, &[(15, 300), (15, 3600)], "roll_ups[1].after_days"),
            (None, &[(15, 5)], "roll_ups[0].step_seconds"),
            (None, &[(15, 7)], "roll_ups[0].step_seconds"),
            (None, &[(15, 300), (90, 300)], "roll_ups[1].step_seconds"),
            (None, &[(15, 600), (90, 900)], "roll_ups[1].step_seconds"),
            (None, &[(1, 10), (2, 20), (3, 60), (4, 600), (5, 3600)], "roll_ups is \"5\""),
        ] {
            let error = check(keep_days, wrong).unwrap_err();
            assert!(error.contains(field), "{error}");
        }
    }
}
