//! Which delivery is next: lines of deliveries, one for each channel and incident, each worked off one by one.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bellwether_kernel::{OrganisationId, Timestamp};
use tokio::sync::oneshot;

use super::ending::QUIET;
use super::outbox::Told;
use super::{ChannelKey, DeliveryId, DeliveryLimits, backoff};
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
    /// How many are at work, by organisation.
    at_work: BTreeMap<OrganisationId, usize>,
    /// Exchanges that wait for the rate of their channel.
    paused: usize,
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
    /// Lines somebody works at, those whose exchange waits among them.
    at_work: usize,
    /// Exchanges that wait for the channel's rate, each to be told that it goes on.
    paused: VecDeque<oneshot::Sender<()>>,
    /// Its channel is paused, or its organisation suspended.
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

/// What a channel is next for.
enum Next {
    /// This is done with the line of this incident.
    Begins(String, Task),
    /// An exchange goes on that waited.
    GoesOn(oneshot::Sender<()>),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The delivery ended, or those that were folded.
    Ended,
    /// It is tried again then.
    Later(Timestamp),
    /// The channel is paused, or its organisation suspended.
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
            at_work: BTreeMap::new(),
            paused: 0,
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

    /// The next thing to do, if there is one that may be done now. An exchange that waited is told that it goes on.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<Work> {
        loop {
            while self.later.first().is_some_and(|(due, _)| *due <= now) {
                self.ready.extend(self.later.pop_first().map(|(_, channel)| channel));
            }
            let channel = self.in_turn()?;
            let queue = self.channels.get_mut(&channel)?;
            let next = queue.take(self.limits)?;
            self.served = Some(channel.clone());
            *self.at_work.entry(channel.0).or_default() += 1;
            match next {
                Next::Begins(incident, task) => {
                    let (told, releases) = (queue.told(&incident, &task), queue.releases);
                    self.note(&channel);
                    let (organisation, channel) = channel;
                    return Some(Work { organisation, channel, incident, task, told, releases });
                }
                Next::GoesOn(waits) => {
                    self.paused -= 1;
                    self.note(&channel);
                    // Nobody does any more once deliveries stop.
                    let _ = waits.send(());
                }
            }
        }
    }

    /// The channel whose turn it is. An organisation gets another worker only while more are free than it has: so it has
    /// half of them alone, as many as each of the others beside those, and of what they left, half is for who comes anew: the
    /// first few find one free at once, who comes then waits until one is.
    fn in_turn(&self) -> Option<ChannelKey> {
        use std::ops::Bound::{Excluded, Unbounded};
        let free = self.limits.at_once.max(1).saturating_sub(self.at_work.values().sum());
        let gets_one = |(organisation, _): &&ChannelKey| {
            self.at_work.get(organisation).copied().unwrap_or_default() < free
        };
        let of_the_next = |(organisation, _): &&ChannelKey| {
            self.ready.range((OrganisationId(organisation.0 + 1), String::new())..).next()
        };
        let each = |first| std::iter::successors(first, of_the_next);
        let after = self.served.as_ref().map_or(Unbounded, Excluded);
        let behind = self.ready.range::<ChannelKey, _>((after, Unbounded)).next();
        each(behind).chain(each(self.ready.first())).find(gets_one).cloned()
    }

    /// Frees the worker of an exchange that waits until then for its channel's rate. The line stays its own; it goes on when
    /// it is told so. `None` where as many wait so as may be at work, since each keeps what it tells in memory.
    pub(super) fn pause(&mut self, channel: &ChannelKey, until: Timestamp) -> Option<oneshot::Receiver<()>> {
        let queue = self.channels.get_mut(channel).filter(|_| self.paused < self.limits.at_once)?;
        let (waits, goes_on) = oneshot::channel();
        queue.paused.push_back(waits);
        queue.not_before = queue.not_before.max(until);
        self.paused += 1;
        self.free(channel.0);
        self.note(channel);
        Some(goes_on)
    }

    /// A worker of an organisation is free again.
    fn free(&mut self, organisation: OrganisationId) {
        if let Entry::Occupied(mut own) = self.at_work.entry(organisation) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }

    /// Puts a line back that was worked at.
    pub(super) fn put_back(&mut self, work: &Work, turn: &Turn) {
        let channel = work.channel_key();
        self.free(work.organisation);
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

    /// Forgets what waits of an organisation that is gone. What is at work for it is not put back.
    pub(super) fn forget(&mut self, organisation: OrganisationId) {
        let channels = self.channels.range((organisation, String::new())..).map(|(channel, _)| channel);
        let channels: Vec<_> = channels.take_while(|channel| channel.0 == organisation).cloned().collect();
        for channel in channels {
            let Some(queue) = self.channels.remove(&channel) else { continue };
            self.waiting -= queue.waiting;
            self.paused -= queue.paused.len();
            if let Some(noted) = queue.noted
                && !self.ready.remove(&channel)
            {
                self.later.remove(&(noted, channel));
            }
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

    /// Looks again at every channel that was found held, of organisations that are not `suspended` any more.
    pub(super) fn release_held(&mut self, suspended: impl Fn(OrganisationId) -> bool) {
        let mut held = Vec::new();
        for (channel, queue) in &mut self.channels {
            if !suspended(channel.0) {
                // What found it held before that does not hold it again.
                queue.releases += 1;
                held.extend(std::mem::take(&mut queue.held).then(|| channel.clone()));
            }
        }
        held.iter().for_each(|channel| self.note(channel));
    }

    /// If a channel is to be left alone for longer than the schedule ever leaves one alone, the clock was ahead when that time
    /// was set, and the channel is let go. If a delivery waits for longer than any wait but the one a receiver asks for that
    /// limits requests, its row is read again now, which tells whether it waits for that.
    pub(super) fn bring_back(&mut self, now: Timestamp) {
        let longest = now.saturating_add(backoff::LONGEST_WAIT);
        let beyond = (Place { due: longest, is_update: false, arrival: 0 }, String::new());
        let behind = |queue: &Queue| -> Vec<String> {
            queue.due.range(&beyond..).map(|(_, incident)| incident.clone()).collect()
        };
        let waits = self.channels.iter().map(|(channel, queue)| (channel, behind(queue)));
        let waits = waits.filter(|(_, incidents)| !incidents.is_empty());
        let waits: Vec<_> = waits.map(|(channel, incidents)| (channel.clone(), incidents)).collect();
        for (channel, incidents) in waits {
            if let Some(queue) = self.channels.get_mut(&channel) {
                incidents.iter().for_each(|incident| queue.look_at(incident));
            }
            self.note(&channel);
        }
        let latest = now.saturating_add(QUIET.cast_signed());
        let ahead = self.channels.iter().filter(|(_, queue)| queue.not_before > latest);
        let ahead: Vec<ChannelKey> = ahead.map(|(channel, _)| channel.clone()).collect();
        ahead.iter().for_each(|channel| self.release(channel));
    }

    /// When there is something to do next, as far as it does not wait for a worker.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let ready = self.in_turn().map(|_| Timestamp::MIN);
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
        if self.folds(limits) {
            return Some(Timestamp::MIN);
        }
        if !self.paused.is_empty() {
            return Some(self.not_before);
        }
        let (place, _) = self.due.first().filter(|_| !self.held && self.at_work < limits.of_channel)?;
        Some(place.due.max(self.not_before))
    }

    /// Whether so many wait that something is to be folded.
    fn folds(&self, limits: DeliveryLimits) -> bool {
        self.at_work < limits.of_channel && self.waiting > limits.fold_above && !self.foldable.is_empty()
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

    /// Has the first of a line nobody works at looked at before its time.
    fn look_at(&mut self, incident: &str) {
        let Some(line) = self.lines.get_mut(incident) else { return };
        if let Some(place) = line.place() {
            self.due.remove(&(place, incident.to_owned()));
        }
        if let Some(mut first) = line.waiting.first_entry() {
            first.get_mut().due = Timestamp::default();
        }
        self.rest(incident);
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

    /// What is next; what was begun goes on before anything else begins.
    fn take(&mut self, limits: DeliveryLimits) -> Option<Next> {
        let folds = self.folds(limits);
        if !folds && let Some(waits) = self.paused.pop_front() {
            return Some(Next::GoesOn(waits));
        }
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
        Some(Next::Begins(incident, task))
    }
}

#[cfg(test)]
mod tests;
