//! What is known of a metric beside its samples.

use bellwether_kernel::FieldError;
use bellwether_store::Versioned;
use serde::{Deserialize, Serialize};

use crate::SeriesError;

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
}

/// A hundred years.
const MAX_DAYS: u32 = 36_500;

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
            _ => Ok(()),
        }
    }
}

impl Versioned for Metadata {
    const NAME: &'static str = "metadata of a metric with samples";
}
