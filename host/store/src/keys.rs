//! Every kind of key in the store, named once, and the order-preserving encoding they are written in.
//!
//! A key is its [`Space`]'s byte followed by fields. Numbers are big-endian (signed ones with the sign bit
//! flipped), text ends in a terminator that sorts below every other byte, so keys sort as their fields do.

use std::fmt;
use std::ops::Range;

/// Declares [`Space`] and how one is read from its byte.
macro_rules! spaces {
    ($($(#[$about:meta])* $name:ident = $byte:literal,)*) => {
        /// What a key is about: its first byte. Never renumber one; a store holds them for years.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Space {
            $($(#[$about])* $name = $byte,)*
        }

        impl Space {
            /// Every one, as they are declared.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            pub(crate) fn of(byte: u8) -> Option<Self> {
                match byte {
                    $($byte => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

spaces! {
    /// About the store itself: its version, its host.
    Meta = 1,
    /// Numbers handed out in order: by what is counted, organisation.
    Counter = 2,

    /// Organisations, by id.
    Organisation = 16,
    /// Organisations' ids, by name.
    OrganisationName = 17,
    /// Keys, by key id.
    AccessKey = 18,
    /// The audit log, by organisation (0 is the host), time and number.
    Audit = 19,
    /// Answers to remember for `Idempotency-Key`, by organisation and digest.
    Idempotency = 20,
    /// When keys were last used, by key id.
    AccessKeyUse = 21,
    /// Named secrets, sealed, by organisation and name.
    Secret = 22,
    /// What is remembered beside an answer, by until when and a digest.
    IdempotencyBeside = 23,
    /// Sessions of the pages that were left before their end, by that and a digest.
    SessionLeft = 24,
    /// Organisations that were deleted and are gone, by id: none is given again.
    OrganisationGone = 25,

    /// Metrics, by organisation and id.
    Metric = 32,
    /// Metrics' ids, by organisation and name.
    MetricName = 33,
    /// Series' ids, by organisation, metric and key.
    Series = 34,
    /// Partial aggregates, by organisation, metric, series, interval start and host.
    Bucket = 35,
    /// Deleted metrics whose data is still to be freed, by organisation and metric.
    MetricDeletion = 36,
    /// Hosts that ever wrote metrics, by host.
    MetricHost = 37,
    /// Watched writes of this host, by host and number.
    MetricLog = 38,

    /// Tagged series, by organisation and number.
    TaggedSeries = 40,
    /// What is known of metrics with tagged series, by organisation and name.
    SeriesMetadata = 41,
    /// Samples of tagged series not yet in segments, by host and number of the write.
    SeriesLog = 42,
    /// Segments of samples, by host and number.
    SeriesSegment = 43,
    /// Objects that may be there for no segment, by host and digest.
    SeriesLoose = 44,
    /// How far a host's log of samples is in segments, by host.
    SeriesPacked = 45,

    /// Installed plugins, by owner (0 is the host) and name.
    Plugin = 48,
    /// Plugins' own state, by organisation, plugin and key.
    PluginState = 49,
    /// How much state a plugin holds, by organisation and plugin.
    PluginStateSize = 50,
    /// Versions of plugins, by owner, name and version.
    PluginVersion = 51,
    /// What organisations have set of plugins, by plugin and organisation.
    PluginSettings = 52,
    /// The host's plugins that the operator removed and did not install again, by name.
    PluginRemoved = 53,
    /// Components that may be there for no version of a plugin, by 0 and digest.
    PluginLoose = 54,

    /// Playbooks, by organisation and id.
    Playbook = 64,
    /// Playbooks' ids, by organisation and name.
    PlaybookName = 65,
    /// Playbooks, by the digest of their webhook's token.
    Webhook = 66,
    /// Runs, by organisation, playbook and run.
    Run = 67,
    /// Where a run is found, by organisation and run.
    RunIndex = 68,
    /// Step results, by organisation, run, step.
    RunStep = 69,
    /// Runs not yet ended, by organisation and run.
    RunOpen = 70,
    /// Chunks of values too large for one key, by the key they belong to.
    Chunk = 71,
    /// What steps did outside their run, by organisation, run, step, item, target and number.
    RunEffect = 72,

    /// Every version of a playbook, by organisation, playbook and version.
    PlaybookVersion = 80,
    /// Firings that have been claimed, by organisation, playbook and digest of what names the firing.
    Firing = 81,
    /// Runs that are ready to be worked at, by organisation and run.
    RunQueue = 82,
    /// Runs that wait for a time, by that time, organisation and run.
    RunWake = 83,
    /// Scheduled playbooks, by the time they are due, organisation and playbook.
    PlaybookDue = 84,
    /// When a scheduled playbook is due next, by organisation and playbook.
    PlaybookNext = 85,
    /// Leases of the hosts that work at runs, by host.
    RunHost = 86,
    /// Which runs of a playbook with a bound hold its places, by organisation and playbook.
    PlaybookGate = 87,
    /// Runs that wait for a place of their playbook's, by organisation, playbook and run.
    PlaybookQueue = 88,
    /// How a playbook's runs have fared, by organisation and playbook.
    PlaybookHealth = 89,
    /// Playbooks that watch metrics, by organisation and playbook.
    PlaybookWatch = 90,
    /// How far a host has read its log of writes for the playbooks that watch them, by host.
    PlaybookWatchCursor = 91,
    /// Playbooks that follow incidents, by organisation and playbook.
    PlaybookFollower = 92,
    /// What incidents did and playbooks are still to be started by, by organisation, incident and number.
    PlaybookIncident = 93,

    /// Monitors, by organisation and id.
    Monitor = 96,
    /// Monitors' ids, by organisation and name.
    MonitorName = 97,
    /// Every version of a monitor, by organisation, monitor and version.
    MonitorVersion = 98,
    /// Monitors that are evaluated, by the time they are due, organisation and monitor.
    MonitorDue = 99,
    /// When a monitor is due next, by organisation and monitor.
    MonitorNext = 100,
    /// Where a monitor's series stand (the owner of a large value), by organisation and monitor.
    MonitorState = 101,
    /// What detectors keep of series, by organisation, monitor and digest of the series' tags.
    DetectorState = 102,
    /// What evaluations decided, by organisation, monitor and number.
    MonitorDecision = 103,
    /// Incidents, by organisation and id.
    Incident = 104,
    /// Incidents that are open, by organisation and id.
    IncidentOpen = 105,
    /// Breaches of series that are over, by organisation, incident and number.
    IncidentInterval = 106,
    /// What happened to an incident, by organisation, incident and number.
    IncidentNote = 107,
    /// Mutes, by organisation and id.
    Mute = 108,
    /// Entries of calendars, by organisation and id.
    Calendar = 120,
    /// How often a calendar was changed, by organisation.
    CalendarVersion = 121,
    /// What people thought of incidents, by organisation, incident and key.
    Feedback = 122,
    /// How much of it monitors got, by organisation and monitor.
    FeedbackCount = 123,
    /// The latest incident others are told with, by organisation and a digest of what they share.
    Merging = 124,
    /// Incidents that are told as one, by organisation and the first of them.
    Merged = 125,
    /// With which incident one is told, by organisation and incident.
    MergedInto = 126,
    /// Actions on incidents that have not ended, by organisation, incident and number.
    IncidentAct = 116,
    /// How often links of incidents were followed, by organisation, incident and name.
    IncidentClick = 117,
    /// The events ends of incidents kept, by organisation and incident; large values.
    IncidentEvents = 118,
    /// Channels, by organisation and name.
    Channel = 128,
    /// What incidents' channels are told, by organisation, incident and sequence.
    Telling = 129,
    /// Deliveries, by organisation, channel, incident and sequence.
    Delivery = 130,
    /// Deliveries that have not ended, by organisation, channel, incident and sequence.
    DeliveryWaiting = 131,
    /// Deliveries in order, by organisation, list, time, incident, sequence and channel.
    DeliveryOrder = 132,
    /// Attempts at deliveries, by organisation, channel, incident, sequence and number.
    DeliveryAttempt = 133,
    /// What formatters keep, by organisation, channel and incident.
    FormatterMemory = 134,
    /// Deliveries that have ended, by the time they did, organisation, channel, incident and sequence.
    DeliveryEnded = 135,
    /// Rules that say which channels an incident goes to, by organisation.
    RouteRules = 136,
    /// Routing tables, by organisation and name.
    RouteTable = 137,

    /// Events and logs not yet in segments, by host, organisation and the first one's id.
    RecordChunk = 160,
    /// Segments of events and logs, by host and number.
    RecordSegment = 161,
    /// Objects that may be there for no segment of records, by host and digest.
    RecordLoose = 162,
    /// How long organisations keep events and logs, by organisation.
    RecordRetention = 163,
}

/// A key of the store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    /// Begins a key in `space`.
    #[must_use]
    pub fn new(space: Space) -> Self {
        let mut bytes = Vec::with_capacity(48);
        bytes.push(space as u8);
        Self(bytes)
    }

    /// A key from the bytes of one.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Adds a signed number, which sorts below zero where it is.
    #[must_use]
    pub fn signed(self, number: i64) -> Self {
        self.number((number as u64) ^ (1 << 63))
    }

    /// Adds bytes of a fixed length, known to the reader.
    #[must_use]
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds text of any length. NUL is escaped, so that a terminator ends it.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        for byte in text.bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xff);
            }
        }
        self.0.extend_from_slice(&[0, 0]);
        self
    }

    /// Adds the beginning of a text: a scan of its [`Self::prefix`] finds every text that begins so.
    #[must_use]
    pub fn text_prefix(self, text: &str) -> Self {
        let mut key = self.text(text);
        key.0.truncate(key.0.len() - 2);
        key
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The range of all keys that begin with this one, itself included.
    #[must_use]
    pub fn prefix(&self) -> Range<Self> {
        let mut end = self.0.clone();
        while let Some(last) = end.last_mut() {
            if *last < 0xff {
                *last += 1;
                return self.clone()..Self(end);
            }
            end.pop();
        }
        unreachable!("a key begins with a space, and no space is 0xff")
    }

    /// The first key after this one.
    #[must_use]
    pub fn successor(&self) -> Self {
        let mut bytes = self.0.clone();
        bytes.push(0);
        Self(bytes)
    }

    /// What the key is about; `None` if this host knows of no such thing.
    #[must_use]
    pub fn space(&self) -> Option<Space> {
        Space::of(*self.0.first()?)
    }

    /// Reads the fields behind the space.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        Fields(&self.0[1..])
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0.escape_ascii())
    }
}

/// Reads a key's fields in the order they were written. `None` where the key does not hold such a field: a fault
/// of the store, which its reader reports.
#[derive(Clone, Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Bytes that were not read yet.
    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    /// The next field, a number.
    pub fn number(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.fixed(8)?.try_into().ok()?))
    }

    /// The next field, a signed number.
    pub fn signed(&mut self) -> Option<i64> {
        Some((self.number()? ^ (1 << 63)) as i64)
    }

    /// The next `length` bytes.
    pub fn fixed(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// The next field, a text.
    pub fn text(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        let mut rest = self.0.iter();
        loop {
            match (rest.next()?, rest.as_slice().first()) {
                (0, Some(0xff)) => {
                    bytes.push(0);
                    rest.next();
                }
                (0, Some(0)) => {
                    rest.next();
                    self.0 = rest.as_slice();
                    return String::from_utf8(bytes).ok();
                }
                (0, _) => return None,
                (byte, _) => bytes.push(*byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_sort_as_their_fields_do(a in any::<(i64, String, u64)>(), b in any::<(i64, String, u64)>()) {
            let key = |f: &(i64, String, u64)| Key::new(Space::Meta).signed(f.0).text(&f.1).number(f.2);
            prop_assert_eq!(key(&a).cmp(&key(&b)), (a.0, a.1.as_bytes(), a.2).cmp(&(b.0, b.1.as_bytes(), b.2)));
        }

        #[test]
        fn fields_are_read_back_as_written(signed: i64, text in any::<String>(), number: u64) {
            let key = Key::new(Space::Meta).signed(signed).text(&text).number(number);
            let mut fields = key.fields();
            prop_assert_eq!(fields.signed(), Some(signed));
            prop_assert_eq!(fields.text(), Some(text));
            prop_assert_eq!(fields.number(), Some(number));
            prop_assert_eq!(fields.number(), None);
        }

        #[test]
        fn a_prefix_holds_exactly_the_keys_that_begin_so(text in ".{0,8}", longer in ".{0,8}", other in ".{0,8}") {
            let range = Key::new(Space::Meta).text_prefix(&text).prefix();
            let extended = Key::new(Space::Meta).text(&format!("{text}{longer}"));
            prop_assert!(range.contains(&extended));
            prop_assert_eq!(range.contains(&Key::new(Space::Meta).text(&other)), other.starts_with(&text));
        }
    }
}
