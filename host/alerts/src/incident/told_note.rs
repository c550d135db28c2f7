//! The line of an incident's trace that says that channels are told: what it says is read again, to say what became of it.

use std::fmt;

use crate::evaluate::past;
use crate::{Event, IncidentId};

/// That channels are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToldNote {
    /// What of: "opened".
    what: String,
    pub(crate) sequence: u32,
    /// The incident by whose id channels know it, where it is told with others.
    pub(crate) lead: Option<IncidentId>,
    pub(crate) channels: Vec<String>,
}

impl ToldNote {
    pub(crate) fn new(event: Event, sequence: u32, lead: Option<IncidentId>, channels: &[String]) -> Self {
        Self { what: past(event).to_owned(), sequence, lead, channels: channels.to_vec() }
    }

    /// Reads what [`fmt::Display`] wrote; `None` of anything else.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (what, rest) = text.split_once(", as number ")?;
        let (number, channels) = rest.split_once(", to ")?;
        let (sequence, lead) = match number.split_once(" of incident ") {
            Some((sequence, lead)) => (sequence, Some(lead.parse().ok()?)),
            None => (number, None),
        };
        let channels = channels.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Some(Self { what: what.to_owned(), sequence: sequence.parse().ok()?, lead, channels })
    }
}

impl fmt::Display for ToldNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, as number {}", self.what, self.sequence)?;
        if let Some(lead) = self.lead {
            write!(f, " of incident {lead}")?;
        }
        write!(f, ", to {}", self.channels.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is() {
        let lead = IncidentId(uuid::Uuid::nil());
        for (lead, channels) in [(None, &["mail"][..]), (Some(lead), &["mail", "pager"]), (None, &[])] {
            let channels: Vec<String> = channels.iter().map(|name| (*name).to_owned()).collect();
            let note = ToldNote::new(Event::Closed, 3, lead, &channels);
            assert_eq!(ToldNote::read(&note.to_string()), Some(note));
        }
        for text in
            ["", "opened", "opened, as number one, to mail", "opened, as number 1 of incident 7, to mail"]
        {
            assert_eq!(ToldNote::read(text), None, "{text}");
        }
    }
}
