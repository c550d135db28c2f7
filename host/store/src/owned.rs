//! Whose a row is: where the keys of each space say it. Whoever goes through what is an organisation's, to erase it say,
//! finds it here for every space there is.

use crate::{Key, Space};

/// Where rows say whose they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owned {
    /// The key begins with the organisation, or with 0 for the host: an organisation's rows lie together.
    First,
    /// The organisation is behind a number, which is a time or a host.
    BehindNumber,
    /// The organisation is behind a text, the name of a plugin.
    BehindText,
    /// The organisation is behind the space that is counted, where something is counted for each.
    BehindSpace,
    /// The key holds another's, behind its length: that one says it.
    AsOther,
    /// The key does not say it: the value does, or another row, or a file does that the row names. Whoever keeps such rows
    /// finds an organisation's, and erases them ([`crate::Erase`]).
    Elsewhere,
    /// They are the host's, and tell of no organisation.
    Host,
}

impl Space {
    /// Where its rows say whose they are.
    #[must_use]
    pub fn owned(self) -> Owned {
        match self {
            // Access: by name and by key; a key's use goes with the key, what is beside an answer with the answer.
            Self::OrganisationName | Self::AccessKey | Self::AccessKeyUse | Self::IdempotencyBeside => {
                Owned::Elsewhere
            }
            // Metrics: each entry says it.
            Self::MetricLog => Owned::Elsewhere,
            // Series: samples are known by numbers of series, which are rows of `TaggedSeries`.
            Self::SeriesLog | Self::SeriesSegment => Owned::Elsewhere,
            // Records: each segment says it.
            Self::RecordSegment => Owned::Elsewhere,
            // Playbooks: by the digest of a token.
            Self::Webhook => Owned::Elsewhere,

            Self::RunWake
            | Self::PlaybookDue
            | Self::MonitorDue
            | Self::DeliveryEnded
            | Self::RecordChunk => Owned::BehindNumber,
            Self::PluginSettings => Owned::BehindText,
            Self::Counter => Owned::BehindSpace,
            Self::Chunk => Owned::AsOther,

            Self::Meta
            | Self::SessionLeft
            | Self::MetricHost
            | Self::SeriesLoose
            | Self::SeriesPacked
            | Self::PluginRemoved
            | Self::PluginLoose
            | Self::RunHost
            | Self::PlaybookWatchCursor
            | Self::RecordLoose => Owned::Host,

            Self::Organisation
            | Self::OrganisationGone
            | Self::Audit
            | Self::Idempotency
            | Self::Secret
            | Self::Metric
            | Self::MetricName
            | Self::Series
            | Self::Bucket
            | Self::MetricDeletion
            | Self::TaggedSeries
            | Self::SeriesMetadata
            | Self::Plugin
            | Self::PluginState
            | Self::PluginStateSize
            | Self::PluginVersion
            | Self::Playbook
            | Self::PlaybookName
            | Self::Run
            | Self::RunIndex
            | Self::RunStep
            | Self::RunOpen
            | Self::RunEffect
            | Self::PlaybookVersion
            | Self::Firing
            | Self::RunQueue
            | Self::PlaybookNext
            | Self::PlaybookGate
            | Self::PlaybookQueue
            | Self::PlaybookHealth
            | Self::PlaybookWatch
            | Self::PlaybookFollower
            | Self::PlaybookIncident
            | Self::Monitor
            | Self::MonitorName
            | Self::MonitorVersion
            | Self::MonitorNext
            | Self::MonitorState
            | Self::DetectorState
            | Self::MonitorDecision
            | Self::Incident
            | Self::IncidentOpen
            | Self::IncidentInterval
            | Self::IncidentNote
            | Self::Mute
            | Self::Calendar
            | Self::CalendarVersion
            | Self::Feedback
            | Self::FeedbackCount
            | Self::Merging
            | Self::Merged
            | Self::MergedInto
            | Self::IncidentAct
            | Self::IncidentClick
            | Self::IncidentEvents
            | Self::Channel
            | Self::Telling
            | Self::Delivery
            | Self::DeliveryWaiting
            | Self::DeliveryOrder
            | Self::DeliveryAttempt
            | Self::FormatterMemory
            | Self::RouteRules
            | Self::RouteTable
            | Self::RecordRetention => Owned::First,
        }
    }
}

impl Key {
    /// Whose the row is, where the key says so: an organisation's id, 0 for the host.
    #[must_use]
    pub fn organisation(&self) -> Option<u64> {
        let bytes = self.as_bytes().get(place(self)?..)?;
        bytes.first_chunk().copied().map(u64::from_be_bytes)
    }

    /// Where behind this key, of a row that is not the organisation's, a row of it may lie: so that a scan need not go
    /// through all of another's.
    pub(crate) fn next_of(&self, organisation: u64) -> Self {
        let (Some(place), Some(own)) = (place(self), self.organisation()) else { return self.successor() };
        let before = Self::from_bytes(self.as_bytes()[..place].to_vec());
        match own {
            own if own < organisation => before.number(organisation),
            own if own > organisation => before.prefix().end,
            _ => self.successor(),
        }
    }
}

/// How many bytes there are in the key before the organisation.
fn place(key: &Key) -> Option<usize> {
    let mut fields = key.space().map(|_| key.fields())?;
    match key.space()?.owned() {
        Owned::First => {}
        Owned::BehindNumber => drop(fields.number()?),
        Owned::BehindText => drop(fields.text()?),
        Owned::BehindSpace => {
            // What is counted of each organisation has keys that say whose they are.
            let counted = fields.number().and_then(|space| u8::try_from(space).ok()).and_then(Space::of)?;
            if !matches!(counted.owned(), Owned::First | Owned::BehindNumber) {
                return None;
            }
        }
        Owned::AsOther => {
            let other = fields.number().and_then(|length| fields.fixed(usize::try_from(length).ok()?))?;
            let within = place(&Key::from_bytes(other.to_vec()))?;
            // The space and the length stand before it.
            return Some(1 + size_of::<u64>() + within);
        }
        Owned::Elsewhere | Owned::Host => return None,
    }
    Some(key.as_bytes().len() - fields.left())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chunk of the large value of `owner`.
    fn chunk(owner: &Key) -> Key {
        Key::new(Space::Chunk).number(owner.as_bytes().len() as u64).fixed(owner.as_bytes()).number(0)
    }

    #[test]
    fn a_key_says_what_it_is_about_and_whose() {
        let monitor = Key::new(Space::Monitor).number(7).number(1);
        let counter = |of: Space| Key::new(Space::Counter).number(of as u64);
        let cases = [
            (monitor.clone(), Some(Space::Monitor), Some(7)),
            (Key::new(Space::RunWake).signed(1_000).number(7), Some(Space::RunWake), Some(7)),
            (Key::new(Space::PluginSettings).text("a").number(7), Some(Space::PluginSettings), Some(7)),
            (Key::new(Space::RunHost).number(1), Some(Space::RunHost), None),
            (Key::new(Space::Webhook).fixed(&[7; 32]), Some(Space::Webhook), None),
            (Key::new(Space::Monitor).fixed(b"?"), Some(Space::Monitor), None),
            (counter(Space::Monitor).number(7), Some(Space::Counter), Some(7)),
            (counter(Space::RecordChunk).number(7), Some(Space::Counter), Some(7)),
            // How many writes a host logged, and the numbers of series, which all organisations share.
            (counter(Space::MetricLog).number(1), Some(Space::Counter), None),
            (counter(Space::TaggedSeries), Some(Space::Counter), None),
            (chunk(&monitor), Some(Space::Chunk), Some(7)),
            (chunk(&Key::new(Space::RecordChunk).number(1).number(7)), Some(Space::Chunk), Some(7)),
            (chunk(&Key::new(Space::Meta)), Some(Space::Chunk), None),
            (Key::new(Space::Chunk).number(9), Some(Space::Chunk), None),
            (Key::from_bytes(vec![254]), None, None),
            (Key::from_bytes(Vec::new()), None, None),
        ];
        for (key, space, organisation) in cases {
            assert_eq!((key.space(), key.organisation()), (space, organisation), "{key:?}");
        }
    }

    #[test]
    fn where_an_organisations_rows_may_lie_next_is_never_behind_one_of_them() {
        let wake = |at: i64, organisation: u64| Key::new(Space::RunWake).signed(at).number(organisation);
        let monitor = |organisation: u64| Key::new(Space::Monitor).number(organisation);
        let cases = [
            (monitor(6).number(1), monitor(7)),
            (monitor(8).number(1), Key::new(Space::Monitor).prefix().end),
            (wake(5, 6), wake(5, 7)),
            (wake(5, 8).number(1), Key::new(Space::RunWake).signed(6)),
            (
                Key::new(Space::PluginSettings).text("a").number(8),
                Key::new(Space::PluginSettings).text("a").prefix().end,
            ),
            (Key::new(Space::Monitor).fixed(b"?"), Key::new(Space::Monitor).fixed(b"?").successor()),
        ];
        for (key, next) in cases {
            assert_eq!(key.next_of(7), next, "{key:?}");
            assert!(key < next);
        }
        let chunk_of = |organisation| chunk(&monitor(organisation).number(1));
        assert!(chunk_of(6).next_of(7) <= chunk_of(7) && chunk_of(6) < chunk_of(6).next_of(7));
    }
}
