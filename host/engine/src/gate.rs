//! The queue in front of the slots: callers wait instead of failing, and nobody's calls keep another's out.
//!
//! A slot that comes free goes to the organisation that holds the fewest, and of its plugins to the one that holds the
//! fewest; among equals to the one that has waited longest for its turn. An organisation leaves
//! [`limits::SHARE_LEFT`] percent of the slots to others, and a plugin holds at most as many as it is allowed, however
//! idle the rest is, so that a newcomer finds one. The queue is bounded, for each organisation and in all.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::limits;

/// Maps by numbers that the host itself counts up, which nobody can make collide.
pub(crate) type Numbers = BuildHasherDefault<NumberHasher>;

/// Spreads a number over the whole width (Knuth's multiplicative hashing).
#[derive(Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What a place is for: whose call, and of which plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The organisation.
    pub tenant: u64,
    /// The plugin, as a number of its own.
    pub lane: u64,
    /// How many slots the plugin may hold.
    pub most: u32,
}

/// Organisations, and plugins, that hold nothing and are known all the same: those that call again and again are looked up,
/// and not made anew each time.
const IDLE_KNOWN: usize = 256;

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSlot {
    /// Every slot was taken until the deadline, or too many callers wait.
    Busy,
    /// The organisation held or waited for as much as it may.
    OverShare,
}

/// Slots, and who waits for them.
#[derive(Debug)]
pub struct Gate {
    slots: u32,
    /// Slots one organisation may hold.
    share: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: u32,
    waiting: usize,
    /// How often anything was given: orders who was served last.
    turn: u64,
    ticket: u64,
    tenants: HashMap<u64, Tenant, Numbers>,
    /// Slots each plugin holds.
    lanes: HashMap<u64, u32, Numbers>,
}

#[derive(Debug, Default)]
struct Tenant {
    held: u32,
    served: u64,
    waiting: usize,
    queues: Vec<Queue>,
}

/// Callers of one organisation that wait for one plugin.
#[derive(Debug)]
struct Queue {
    lane: u64,
    most: u32,
    served: u64,
    waiters: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// A slot. Dropped, it goes to whoever is next.
#[derive(Debug)]
pub struct Slot<'a> {
    gate: &'a Gate,
    place: Place,
}

impl Gate {
    /// So many slots, all of them free, some of which one organisation alone leaves to others.
    #[must_use]
    pub fn new(slots: u32) -> Self {
        let share = slots - (u64::from(slots) * limits::SHARE_LEFT / 100) as u32;
        Self::shared(slots, share.max(1))
    }

    /// So many slots, all of them free, for a single organisation.
    #[must_use]
    pub fn for_one(slots: u32) -> Self {
        Self::shared(slots, slots)
    }

    fn shared(slots: u32, share: u32) -> Self {
        let state = State {
            free: slots,
            waiting: 0,
            turn: 0,
            ticket: 0,
            tenants: HashMap::default(),
            lanes: HashMap::default(),
        };
        Self { slots, share, state: Mutex::new(state) }
    }

    /// How many slots there are.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// How many of them one organisation may hold.
    #[must_use]
    pub fn share(&self) -> u32 {
        self.share
    }

    /// How many are taken, and how many callers wait.
    pub(crate) fn at_work(&self) -> (u32, usize) {
        let state = self.state.lock();
        (self.slots - state.free, state.waiting)
    }

    /// Whether no slot is taken.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.lock().free == self.slots
    }

    /// How many slots a plugin holds, and how many callers wait for it.
    pub(crate) fn of_lane(&self, lane: u64) -> (u32, usize) {
        let state = self.state.lock();
        let queues = state.tenants.values().flat_map(|tenant| &tenant.queues);
        let waiting = queues.filter(|queue| queue.lane == lane).map(|queue| queue.waiters.len()).sum();
        (state.lanes.get(&lane).copied().unwrap_or(0), waiting)
    }

    /// A slot, if one is free for this place.
    pub(crate) fn try_enter(&self, place: Place) -> Option<Slot<'_>> {
        // Whoever waits cannot be given a slot: it would have been when the last one came free.
        let taken = self.state.lock().take(place, self.share);
        taken.then(|| Slot { gate: self, place })
    }

    /// Waits for a slot until `deadline`.
    ///
    /// # Errors
    /// If there was none until then, or too many wait.
    pub async fn enter(&self, place: Place, deadline: Instant) -> Result<Slot<'_>, NoSlot> {
        let (ticket, turn) = {
            let mut state = self.state.lock();
            if state.take(place, self.share) {
                return Ok(Slot { gate: self, place });
            }
            state.queue(place)?
        };
        let mut waiting = Waiting { gate: self, place, ticket, over: false };
        if timeout_at(deadline, turn).await.is_ok() {
            waiting.over = true;
            return Ok(Slot { gate: self, place });
        }
        let held = self.state.lock().tenants.get(&place.tenant).map_or(0, |tenant| tenant.held);
        Err(if held >= self.share { NoSlot::OverShare } else { NoSlot::Busy })
    }

    fn release(&self, place: Place) {
        let mut state = self.state.lock();
        state.give_back(place);
        state.hand_out(self.share);
    }
}

impl State {
    /// Takes a slot if there is one for this place.
    fn take(&mut self, place: Place, share: u32) -> bool {
        if self.free == 0 {
            return false;
        }
        let lane = self.lanes.entry(place.lane).or_default();
        let tenant = self.tenants.entry(place.tenant).or_default();
        let free = *lane < place.most && tenant.held < share;
        if free {
            self.turn += 1;
            self.free -= 1;
            tenant.held += 1;
            tenant.served = self.turn;
            *lane += 1;
        }
        free
    }

    fn queue(&mut self, place: Place) -> Result<(u64, oneshot::Receiver<()>), NoSlot> {
        if self.waiting >= limits::QUEUE {
            self.tidy(place.tenant);
            return Err(NoSlot::Busy);
        }
        let tenant = self.tenants.entry(place.tenant).or_default();
        if tenant.waiting >= limits::QUEUE_OF_ONE {
            return Err(NoSlot::OverShare);
        }
        self.ticket += 1;
        self.waiting += 1;
        tenant.waiting += 1;
        let (sender, turn) = oneshot::channel();
        let waiter = (self.ticket, sender);
        match tenant.queues.iter_mut().find(|queue| queue.lane == place.lane) {
            Some(queue) => queue.waiters.push_back(waiter),
            None => tenant.queues.push(Queue {
                lane: place.lane,
                most: place.most,
                served: 0,
                waiters: VecDeque::from([waiter]),
            }),
        }
        Ok((self.ticket, turn))
    }

    /// Gives free slots to those that are next, as long as there are both.
    fn hand_out(&mut self, share: u32) {
        while self.free > 0 && self.waiting > 0 {
            let Some((tenant, queue)) = self.next(share) else { return };
            let tenant_of = self.tenants.get_mut(&tenant).expect("it was found there");
            let queue_of = &mut tenant_of.queues[queue];
            let (_, sender) = queue_of.waiters.pop_front().expect("a queue that waits has a waiter");
            let place = Place { tenant, lane: queue_of.lane, most: queue_of.most };
            self.turn += 1;
            queue_of.served = self.turn;
            if queue_of.waiters.is_empty() {
                tenant_of.queues.swap_remove(queue);
            }
            tenant_of.waiting -= 1;
            self.waiting -= 1;
            let taken = self.take(place, share);
            debug_assert!(taken, "whoever is next can have a slot");
            // Who does not wait any more gives it back itself: it finds that it is not in the queue.
            let _ = sender.send(());
        }
    }

    /// Whose turn it is: the organisation, and which of its queues.
    fn next(&self, share: u32) -> Option<(u64, usize)> {
        let held = |queue: &Queue| self.lanes.get(&queue.lane).copied().unwrap_or(0);
        let of = |tenant: &Tenant| {
            let open = tenant.queues.iter().enumerate().filter(|(_, queue)| held(queue) < queue.most);
            open.min_by_key(|(_, queue)| (held(queue), queue.served)).map(|(at, _)| at)
        };
        let open = self.tenants.iter().filter(|(_, tenant)| tenant.waiting > 0 && tenant.held < share);
        let open = open.filter_map(|(id, tenant)| Some((tenant, *id, of(tenant)?)));
        let next = open.min_by_key(|(tenant, id, _)| (tenant.held, tenant.served, *id));
        next.map(|(_, id, queue)| (id, queue))
    }

    fn give_back(&mut self, place: Place) {
        self.free += 1;
        if let Some(lane) = self.lanes.get_mut(&place.lane) {
            *lane -= 1;
            if *lane == 0 && self.lanes.len() > IDLE_KNOWN {
                self.lanes.remove(&place.lane);
            }
        }
        if let Some(tenant) = self.tenants.get_mut(&place.tenant) {
            tenant.held -= 1;
        }
        self.tidy(place.tenant);
    }

    /// Forgets an organisation that holds and waits for nothing, where many are known.
    fn tidy(&mut self, tenant: u64) {
        if self.tenants.len() > IDLE_KNOWN
            && self.tenants.get(&tenant).is_some_and(|tenant| tenant.held == 0 && tenant.waiting == 0)
        {
            self.tenants.remove(&tenant);
        }
    }

    /// Takes a waiter out; false if it was given a slot already.
    fn remove(&mut self, place: Place, ticket: u64) -> bool {
        let Some(tenant) = self.tenants.get_mut(&place.tenant) else { return false };
        let Some(at) = tenant.queues.iter().position(|queue| queue.lane == place.lane) else { return false };
        let waiters = &mut tenant.queues[at].waiters;
        let Some(waiter) = waiters.iter().position(|(of, _)| *of == ticket) else { return false };
        waiters.remove(waiter);
        if waiters.is_empty() {
            tenant.queues.swap_remove(at);
        }
        tenant.waiting -= 1;
        self.waiting -= 1;
        self.tidy(place.tenant);
        true
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.gate.release(self.place);
    }
}

/// A caller in the queue; dropped, it leaves it.
struct Waiting<'a> {
    gate: &'a Gate,
    place: Place,
    ticket: u64,
    /// Whether its slot has become somebody's.
    over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut state = self.gate.state.lock();
        if !state.remove(self.place, self.ticket) {
            drop(state);
            self.gate.release(self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::*;

    /// What a future comes to when it is looked at once.
    fn polled<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    const EVER: Duration = Duration::from_secs(3600);

    fn place(tenant: u64, lane: u64) -> Place {
        Place { tenant, lane, most: u32::MAX }
    }

    /// Callers that wait, in the order they came; each gives its slot back as soon as it has it and notes its name.
    async fn order(gate: &Gate, callers: &[Place], held: Vec<Slot<'_>>) -> Vec<Place> {
        let served = Mutex::new(Vec::new());
        let call = async |place: Place| {
            let slot = gate.enter(place, Instant::now() + EVER).await.unwrap();
            served.lock().push(place);
            tokio::task::yield_now().await;
            drop(slot);
        };
        let release = async {
            tokio::task::yield_now().await;
            drop(held);
        };
        tokio::join!(futures::future::join_all(callers.iter().map(|place| call(*place))), release);
        served.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_comes_free_goes_round_the_organisations_and_their_plugins() {
        let gate = Gate::new(1);
        let held = vec![gate.try_enter(place(9, 9)).unwrap()];
        assert!(gate.try_enter(place(1, 1)).is_none());
        // One organisation floods the queue with two plugins, then another comes with a single call.
        let (a, b, late) = (place(1, 1), place(1, 2), place(2, 3));
        let served = order(&gate, &[a, a, a, b, b, late], held).await;
        assert_eq!(served, [a, late, b, a, b, a]);
        assert_eq!(gate.at_work(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_organisation_never_holds_every_slot() {
        let gate = Gate::new(8);
        let mine: Vec<_> = std::iter::from_fn(|| gate.try_enter(place(1, 1))).collect();
        assert_eq!(mine.len(), 6);
        assert!(gate.try_enter(place(2, 1)).is_some(), "a newcomer finds one");
        let refused = gate.enter(place(1, 1), Instant::now() + Duration::from_millis(10)).await;
        assert_eq!(refused.map(drop), Err(NoSlot::OverShare));
        drop(mine);
        assert_eq!(gate.at_work(), (0, 0));
    }

    #[test]
    fn of_many_that_came_and_went_few_are_known() {
        let gate = Gate::new(1);
        for number in 0..10 * IDLE_KNOWN as u64 {
            drop(gate.try_enter(place(number, number)).unwrap());
        }
        let state = gate.state.lock();
        assert!(state.tenants.len() <= IDLE_KNOWN + 1 && state.lanes.len() <= IDLE_KNOWN + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_plugin_holds_at_most_as_many_as_it_may_and_others_pass_by() {
        let gate = Gate::new(8);
        let narrow = Place { tenant: 1, lane: 1, most: 1 };
        let held = gate.try_enter(narrow).unwrap();
        assert_eq!(gate.of_lane(1), (1, 0));
        let waiting = gate.enter(narrow, Instant::now() + EVER);
        let other = async {
            tokio::task::yield_now().await;
            assert_eq!(gate.of_lane(1), (1, 1));
            assert!(gate.try_enter(place(1, 2)).is_some());
            drop(held);
        };
        let (slot, ()) = tokio::join!(waiting, other);
        assert!(slot.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_wait_any_more_leaves_its_place_to_the_next() {
        let gate = Gate::new(1);
        let held = gate.try_enter(place(9, 9)).unwrap();
        let impatient = gate.enter(place(1, 1), Instant::now() + Duration::from_millis(5)).await;
        assert_eq!(impatient.map(drop), Err(NoSlot::Busy));
        assert_eq!(gate.at_work(), (1, 0));
        // One is dropped in the queue, one after it was given the slot.
        let mut given = Box::pin(gate.enter(place(1, 1), Instant::now() + EVER));
        let mut dropped = Box::pin(gate.enter(place(2, 1), Instant::now() + EVER));
        assert!(polled(&mut given).is_pending() && polled(&mut dropped).is_pending());
        drop(dropped);
        drop(held);
        assert_eq!(gate.at_work(), (1, 0));
        drop(given);
        assert_eq!(gate.at_work(), (0, 0));
        assert!(gate.try_enter(place(3, 1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_for_each_organisation_and_in_all() {
        let gate = Gate::new(1);
        let _held = gate.try_enter(place(9, 9)).unwrap();
        let mut waiting: Vec<_> = (0..limits::QUEUE_OF_ONE)
            .map(|_| Box::pin(gate.enter(place(1, 1), Instant::now() + EVER)))
            .collect();
        for caller in &mut waiting {
            assert!(polled(caller).is_pending());
        }
        assert_eq!(gate.enter(place(1, 2), Instant::now() + EVER).await.map(drop), Err(NoSlot::OverShare));
        for tenant in 2.. {
            let mut caller = Box::pin(gate.enter(place(tenant, 1), Instant::now() + EVER));
            match polled(&mut caller) {
                Poll::Pending => waiting.push(caller),
                Poll::Ready(refused) => {
                    assert_eq!(refused.map(drop), Err(NoSlot::Busy));
                    break;
                }
            }
        }
        assert_eq!(gate.at_work(), (1, limits::QUEUE));
        drop(waiting);
        assert_eq!(gate.at_work(), (1, 0));
    }
}
