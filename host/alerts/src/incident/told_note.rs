//! That channels are told, in an incident's trace: kept beside the sentence that says so, to say what became of it.

use serde::{Deserialize, Serialize};

use crate::evaluate::past;
use crate::{Event, IncidentId};

/// That channels are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ToldNote {
    pub(crate) sequence: u32,
    /// The incident by whose id channels know it, where it is told with others.
    pub(crate) lead: Option<IncidentId>,
    pub(crate) channels: Vec<String>,
}

impl ToldNote {
    pub(crate) fn new(sequence: u32, lead: Option<IncidentId>, channels: &[String]) -> Self {
        Self { sequence, lead, channels: channels.to_vec() }
    }

    /// In a sentence, where they are told of this.
    pub(crate) fn said(&self, event: Event) -> String {
        let lead = self.lead.map(|lead| format!(" of incident {lead}")).unwrap_or_default();
        let (what, sequence, channels) = (past(event), self.sequence, self.channels.join(", "));
        format!("{what}, as number {sequence}{lead}, to {channels}")
    }

    /// Reads the sentence of a note of which a host before kept nothing else; `None` of any other.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once(", as number ")?;
        let (number, channels) = rest.split_once(", to ")?;
        let (sequence, lead) = match number.split_once(" of incident ") {
            Some((sequence, lead)) => (sequence, Some(lead.parse().ok()?)),
            None => (number, None),
        };
        let channels = channels.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Some(Self { sequence: sequence.parse().ok()?, lead, channels })
    }
}

#[cfg(test)]
mod tests {
    use bellwether_kernel::Timestamp;
    use bellwether_store::{Versioned, decode, encode};

    use super::*;
    use crate::{Note, NoteKind};

    /// A note as it was.
    #[derive(Serialize, Deserialize)]
    struct FirstNote(Timestamp, Option<String>, NoteKind, String);

    impl Versioned for FirstNote {
        const NAME: &'static str = "note of an incident";
    }

    #[test]
    fn what_a_host_before_said_is_read_and_nothing_else_is() {
        let lead = IncidentId(uuid::Uuid::nil());
        for (lead, channels) in [(None, &["mail"][..]), (Some(lead), &["mail", "pager"]), (None, &[])] {
            let channels: Vec<String> = channels.iter().map(|name| (*name).to_owned()).collect();
            let told = ToldNote::new(3, lead, &channels);
            let text = told.said(Event::Closed);
            for (what, expected) in [(NoteKind::Told, Some(told)), (NoteKind::Commented, None)] {
                let first = encode(&FirstNote(Timestamp::MIN, None, what, text.clone()));
                let note: Note = decode(&first).unwrap();
                assert_eq!((&note.told, &note.text), (&expected, &text));
                assert_eq!(decode::<Note>(&encode(&note)).unwrap(), note);
            }
        }
        for text in
            ["", "opened", "opened, as number one, to mail", "opened, as number 1 of incident 7, to mail"]
        {
            assert_eq!(ToldNote::read(text), None, "{text}");
        }
    }
}
