//! Which delivery is next: lines of deliveries, one for each channel and incident, each worked off one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bellwether_kernel::{OrganisationId, Timestamp};

use super::outbox::Told;
use super::{ChannelKey, DeliveryId, DeliveryLimits};
use crate::Event;

/// Everything that waits, in memory: the store has it too.
pub(super) struct Schedule {
    limits: DeliveryLimits,
    channels: BTreeMap<ChannelKey, Queue>,
    /// Channels with something to do, by when that is; [`Queue::noted`] says where each is.
    later: BTreeSet<(Timestamp, ChannelKey)>,
    /// Those whose time has come.
    ready: BTreeSet<ChannelKey>,
    /// The channel that was served last: the next one in order is served next.
    served: Option<ChannelKey>,
    /// Deliveries that wait, of all channels.
    waiting: usize,
    /// Deliveries that were ever taken in.
    arrivals: u64,
}

/// What waits for one channel.
#[derive(Default)]
struct Queue {
    /// By the incident.
    lines: BTreeMap<String, Line>,
    /// Lines nobody works at, by the place of their first delivery.
    due: BTreeSet<(Place, String)>,
    /// Those of them in which something can be folded.
    foldable: BTreeSet<String>,
    waiting: usize,
    at_work: usize,
    /// Its channel is paused.
    held: bool,
    /// How often it was let go: what found it held before that does not hold it again.
    releases: u64,
    /// Its channel has had its share of requests until then, or asked to be left alone.
    not_before: Timestamp,
    /// When there is something to do, as the schedule has noted it.
    noted: Option<Timestamp>,
}

/// The deliveries of one incident to one channel.
#[derive(Default)]
struct Line {
    waiting: BTreeMap<u32, Waiting>,
    busy: bool,
    /// Something came behind the first while that was worked at.
    followed: bool,
}

/// Which of several lines goes first: the one that is due earlier; of those that were not tried yet openings and closings
/// before updates, so that no storm of updates holds back a page; then the one that came earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    due: Timestamp,
    is_update: bool,
    arrival: u64,
}

/// A delivery that waits.
struct Waiting {
    event: Event,
    due: Timestamp,
    /// The how many-th it was to be taken in.
    arrival: u64,
    /// What it tells, until its first attempt.
    told: Option<Arc<Told>>,
}

impl Line {
    /// Updates that a later delivery makes needless, and that one.
    fn foldable(&self) -> Option<(Vec<u32>, u32)> {
        let (into, _) = self.waiting.last_key_value()?;
        let needless = |(number, waiting): (&u32, &Waiting)| {
            (waiting.event == Event::Updated && number != into).then_some(*number)
        };
        let needless: Vec<u32> = self.waiting.iter().filter_map(needless).collect();
        (!needless.is_empty()).then_some((needless, *into))
    }

    fn place(&self) -> Option<Place> {
        self.waiting.first_key_value().map(|(_, first)| Place {
            due: first.due,
            is_update: first.event == Event::Updated,
            arrival: first.arrival,
        })
    }

    /// Has the first looked at before its time, where something came behind it: it may give way to that.
    fn follow(&mut self) {
        if self.waiting.len() < 2 {
            return;
        }
        if self.busy {
            self.followed = true;
        } else if let Some(mut first) = self.waiting.first_entry() {
            first.get_mut().due = Timestamp::default();
        }
    }
}

/// What is to be done with a line.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) organisation: OrganisationId,
    pub(super) channel: String,
    pub(super) incident: String,
    pub(super) task: Task,
    /// What a delivery tells, where that is at hand.
    pub(super) told: Option<Arc<Told>>,
    /// How often the channel had been let go when this was taken.
    releases: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Deliver this one.
    Deliver(u32),
    /// End these, which that one makes needless.
    Fold(Vec<u32>, u32),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The delivery ended, or those that were folded.
    Ended,
    /// It is tried again then.
    Later(Timestamp),
    /// The channel is paused.
    Held,
    /// The channel has had its share of requests until then.
    Limited(Timestamp),
    /// It is tried again at the first of these, and nothing is sent to the channel before the second: it asked for that.
    Refused(Timestamp, Timestamp),
}

impl Work {
    pub(super) fn id(&self, sequence: u32) -> DeliveryId {
        DeliveryId { channel: self.channel.clone(), incident: self.incident.clone(), sequence }
    }

    fn channel_key(&self) -> ChannelKey {
        (self.organisation, self.channel.clone())
    }
}

impl Schedule {
    pub(super) fn new(limits: DeliveryLimits) -> Self {
        Self {
            limits,
            channels: BTreeMap::new(),
            later: BTreeSet::new(),
            ready: BTreeSet::new(),
            served: None,
            waiting: 0,
            arrivals: 0,
        }
    }

    /// Takes a delivery in, unless its channel has too many; a closing always.
    pub(super) fn add(
        &mut self,
        organisation: OrganisationId,
        id: &DeliveryId,
        event: Event,
        due: Option<Timestamp>,
        told: Option<Arc<Told>>,
    ) -> bool {
        let queue = self.channels.entry((organisation, id.channel.clone())).or_default();
        let known = queue.lines.get(&id.incident).is_some_and(|line| line.waiting.contains_key(&id.sequence));
        if !known && queue.waiting >= self.limits.waiting && event != Event::Closed {
            return false;
        }
        self.restore(organisation, id, event, due, told);
        true
    }

    /// Takes a delivery in that was accepted before.
    pub(super) fn restore(
        &mut self,
        organisation: OrganisationId,
        id: &DeliveryId,
        event: Event,
        due: Option<Timestamp>,
        told: Option<Arc<Told>>,
    ) {
        let channel = (organisation, id.channel.clone());
        let queue = self.channels.entry(channel.clone()).or_default();
        let line = queue.lines.entry(id.incident.clone()).or_default();
        if line.waiting.contains_key(&id.sequence) {
            return;
        }
        let before = line.place();
        let told = told.filter(|_| !queue.held);
        self.arrivals += 1;
        let due = due.unwrap_or_default();
        line.waiting.insert(id.sequence, Waiting { event, due, arrival: self.arrivals, told });
        line.follow();
        queue.waiting += 1;
        self.waiting += 1;
        if !line.busy {
            if let Some(before) = before {
                queue.due.remove(&(before, id.incident.clone()));
            }
            queue.rest(&id.incident);
        }
        self.note(&channel);
    }

    /// Notes when there is something to do for a channel, after it changed.
    fn note(&mut self, channel: &ChannelKey) {
        let Some(queue) = self.channels.get_mut(channel) else { return };
        let due = queue.due(self.limits);
        let before = std::mem::replace(&mut queue.noted, due);
        if before == due {
            return;
        }
        if let Some(before) = before
            && !self.ready.remove(channel)
        {
            self.later.remove(&(before, channel.clone()));
        }
        if let Some(due) = due {
            self.later.insert((due, channel.clone()));
        }
    }

    /// The next thing to do, if there is one that may be done now.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<Work> {
        use std::ops::Bound::{Excluded, Unbounded};
        while self.later.first().is_some_and(|(due, _)| *due <= now) {
            self.ready.extend(self.later.pop_first().map(|(_, channel)| channel));
        }
        let after = match &self.served {
            Some(served) => Excluded(served.clone()),
            None => Unbounded,
        };
        let behind = self.ready.range((after, Unbounded)).next();
        let channel = behind.or_else(|| self.ready.first())?.clone();
        let queue = self.channels.get_mut(&channel)?;
        let (incident, task) = queue.take(self.limits.fold_above)?;
        let (told, releases) = (queue.told(&incident, &task), queue.releases);
        self.served = Some(channel.clone());
        self.note(&channel);
        Some(Work { organisation: channel.0, channel: channel.1, incident, task, told, releases })
    }

    /// Puts a line back that was worked at.
    pub(super) fn put_back(&mut self, work: &Work, turn: &Turn) {
        let channel = work.channel_key();
        let Some(queue) = self.channels.get_mut(&channel) else { return };
        queue.at_work = queue.at_work.saturating_sub(1);
        let Some(line) = queue.lines.get_mut(&work.incident) else {
            self.note(&channel);
            return;
        };
        let before = queue.waiting;
        let followed = std::mem::take(&mut line.followed);
        match (turn, &work.task) {
            (Turn::Ended, Task::Deliver(sequence)) => {
                queue.waiting -= usize::from(line.waiting.remove(sequence).is_some());
            }
            (Turn::Ended, Task::Fold(sequences, _)) => {
                for sequence in sequences {
                    queue.waiting -= usize::from(line.waiting.remove(sequence).is_some());
                }
            }
            (Turn::Later(due) | Turn::Refused(due, _), Task::Deliver(sequence)) => {
                if let Some(own) = line.waiting.get_mut(sequence) {
                    own.due = if followed { Timestamp::default() } else { *due };
                }
            }
            (Turn::Held, _) if work.releases == queue.releases => queue.hold(),
            (Turn::Later(_) | Turn::Refused(..), Task::Fold(..)) | (Turn::Limited(_) | Turn::Held, _) => {}
        }
        if let Turn::Limited(until) | Turn::Refused(_, until) = turn {
            queue.not_before = queue.not_before.max(*until);
        }
        self.waiting -= before - queue.waiting;
        self.let_go(&channel, &work.incident);
    }

    /// Keeps a line from being worked at, unless somebody works at it.
    pub(super) fn hold(&mut self, channel: &ChannelKey, incident: &str) -> bool {
        let queue = self.channels.entry(channel.clone()).or_default();
        let line = queue.lines.entry(incident.to_owned()).or_default();
        if std::mem::replace(&mut line.busy, true) {
            return false;
        }
        if let Some(place) = line.place() {
            queue.due.remove(&(place, incident.to_owned()));
        }
        queue.foldable.remove(incident);
        self.note(channel);
        true
    }

    /// Lets a line that was held, or worked at, be worked at again.
    pub(super) fn let_go(&mut self, channel: &ChannelKey, incident: &str) {
        let Some(queue) = self.channels.get_mut(channel) else { return };
        let Some(line) = queue.lines.get_mut(incident) else { return };
        line.busy = false;
        if line.waiting.is_empty() {
            queue.lines.remove(incident);
        } else {
            queue.rest(incident);
        }
        let is_done = queue.lines.is_empty() && queue.at_work == 0;
        self.note(channel);
        if is_done {
            self.channels.remove(channel);
        }
    }

    /// Looks at a channel again: it was changed.
    pub(super) fn release(&mut self, channel: &ChannelKey) {
        if let Some(queue) = self.channels.get_mut(channel) {
            queue.held = false;
            queue.releases += 1;
            queue.not_before = Timestamp::MIN;
        }
        self.note(channel);
    }

    /// When there is something to do next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let ready = self.ready.first().map(|_| Timestamp::MIN);
        ready.or_else(|| self.later.first().map(|(due, _)| *due))
    }

    /// How many deliveries wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }
}

impl Queue {
    /// When there is something to do.
    fn due(&self, limits: DeliveryLimits) -> Option<Timestamp> {
        if self.at_work >= limits.of_channel {
            return None;
        }
        if self.waiting > limits.fold_above && !self.foldable.is_empty() {
            return Some(Timestamp::MIN);
        }
        let (place, _) = self.due.first().filter(|_| !self.held)?;
        Some(place.due.max(self.not_before))
    }

    /// A line nobody works at any more.
    fn rest(&mut self, incident: &str) {
        let Some(line) = self.lines.get(incident) else { return };
        if let Some(place) = line.place() {
            self.due.insert((place, incident.to_owned()));
        }
        if line.foldable().is_some() {
            self.foldable.insert(incident.to_owned());
        }
    }

    /// Waits until its channel is resumed, which may take long: what is told is read again then.
    fn hold(&mut self) {
        self.held = true;
        for waiting in self.lines.values_mut().flat_map(|line| line.waiting.values_mut()) {
            waiting.told = None;
        }
    }

    /// Takes what a delivery tells, if it is at hand.
    fn told(&mut self, incident: &str, task: &Task) -> Option<Arc<Told>> {
        let Task::Deliver(sequence) = task else { return None };
        self.lines.get_mut(incident)?.waiting.get_mut(sequence)?.told.take()
    }

    fn take(&mut self, fold_above: usize) -> Option<(String, Task)> {
        let folds = self.waiting > fold_above;
        let incident = match self.foldable.first().filter(|_| folds).cloned() {
            Some(incident) => incident,
            None => self.due.first()?.1.clone(),
        };
        let line = self.lines.get_mut(&incident)?;
        let task = match line.foldable().filter(|_| folds) {
            Some((needless, into)) => Task::Fold(needless, into),
            None => Task::Deliver(*line.waiting.first_key_value()?.0),
        };
        self.due.remove(&(line.place()?, incident.clone()));
        self.foldable.remove(&incident);
        line.busy = true;
        self.at_work += 1;
        Some((incident, task))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_milliseconds(milliseconds).unwrap()
    }

    const LIMITS: DeliveryLimits = DeliveryLimits { at_once: 9, of_channel: 2, fold_above: 3, waiting: 12 };
    const OURS: OrganisationId = OrganisationId(1);

    fn id(incident: &str, sequence: u32) -> DeliveryId {
        DeliveryId { channel: "c".to_owned(), incident: incident.to_owned(), sequence }
    }

    #[test]
    fn an_opening_goes_before_updates_and_the_one_that_came_first_before_others() {
        let mut schedule = Schedule::new(DeliveryLimits { fold_above: 9, ..LIMITS });
        for (incident, sequence, event) in [
            ("a", 2, Event::Updated),
            ("z", 1, Event::Opened),
            ("b", 2, Event::Updated),
            ("y", 1, Event::Opened),
        ] {
            assert!(schedule.add(OURS, &id(incident, sequence), event, None, None));
        }
        let taken = std::iter::from_fn(|| {
            let work = schedule.take(at(0))?;
            schedule.put_back(&work, &Turn::Ended);
            Some(work.incident)
        });
        assert_eq!(taken.collect::<Vec<_>>(), ["z", "y", "a", "b"]);
    }

    #[test]
    fn a_channel_that_asks_to_be_left_alone_is_sent_nothing_until_then() {
        let mut schedule = Schedule::new(LIMITS);
        for incident in ["a", "b"] {
            assert!(schedule.add(OURS, &id(incident, 1), Event::Opened, None, None));
        }
        let work = schedule.take(at(0)).unwrap();
        schedule.put_back(&work, &Turn::Refused(at(90), at(60)));
        assert!(schedule.take(at(59)).is_none(), "others wait too");
        assert_eq!(schedule.take(at(60)).unwrap().incident, "b");
        assert_eq!(schedule.next(), Some(at(90)));
    }

    #[test]
    fn a_channel_that_was_resumed_while_it_was_found_paused_delivers() {
        let mut schedule = Schedule::new(LIMITS);
        assert!(schedule.add(OURS, &id("a", 1), Event::Opened, Some(at(0)), None));
        let work = schedule.take(at(0)).unwrap();
        schedule.release(&work.channel_key());
        schedule.put_back(&work, &Turn::Held);
        let work = schedule.take(at(0)).expect("it is not held");
        schedule.put_back(&work, &Turn::Held);
        assert!(schedule.take(at(0)).is_none(), "nobody resumed it since");
        schedule.release(&work.channel_key());
        assert!(schedule.take(at(0)).is_some());
    }

    #[test]
    fn updates_that_came_before_there_were_too_many_are_folded_with_the_rest() {
        let mut schedule = Schedule::new(LIMITS);
        for (incident, sequence) in [("a", 2), ("a", 3), ("b", 2), ("c", 2)] {
            assert!(schedule.add(OURS, &id(incident, sequence), Event::Updated, Some(at(60)), None));
        }
        assert_eq!(schedule.take(at(0)).map(|work| work.task), Some(Task::Fold(vec![2], 3)));
    }

    proptest! {
        #[test]
        fn what_is_noted_is_what_a_look_at_every_channel_finds(
            steps in prop::collection::vec((0..7_u8, 0..4_u8, 0..3_u8, 1..6_u32, 0..50_i64), 1..120)
        ) {
            let limits = LIMITS;
            let (mut schedule, mut works, mut now) = (Schedule::new(limits), Vec::new(), 0);
            for (what, channel, incident, number, span) in steps {
                let key = (OrganisationId(u64::from(channel)), format!("c{channel}"));
                let incident = format!("i{incident}");
                match what {
                    0..3 => {
                        let id = DeliveryId { channel: key.1.clone(), incident, sequence: number };
                        let event = if number == 1 { Event::Opened } else { Event::Updated };
                        schedule.add(key.0, &id, event, (number % 2 == 0).then(|| at(now + span)), None);
                    }
                    3 => works.extend(schedule.take(at(now))),
                    4 if !works.is_empty() => {
                        let work = works.swap_remove(number as usize % works.len());
                        let then = at(now + span);
                        let turns = [Turn::Ended, Turn::Later(then), Turn::Held, Turn::Limited(then), Turn::Refused(at(now + 2 * span), then)];
                        schedule.put_back(&work, &turns[span as usize % 5]);
                    }
                    5 => schedule.release(&key),
                    _ => now += span,
                }
                prop_assert_eq!(schedule.waiting(), schedule.channels.values().map(|queue| queue.waiting).sum::<usize>());
                let first = schedule.channels.values().filter_map(|queue| queue.due(limits)).min();
                match schedule.next() {
                    Some(Timestamp::MIN) => prop_assert!(first.is_some_and(|first| first <= at(now))),
                    next => prop_assert_eq!(next, first),
                }
            }
            while let Some(work) = schedule.take(at(now + 100)) {
                schedule.put_back(&work, &Turn::Ended);
            }
            let due = schedule.channels.values().filter_map(|queue| queue.due(limits)).min();
            prop_assert!(due.is_none_or(|due| due > at(now + 100)), "what may be done is done");
        }
    }
}
