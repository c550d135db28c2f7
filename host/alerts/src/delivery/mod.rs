//! Deliveries: what incidents' channels are told is in the store with what caused it, and is delivered at least once, in
//! order for each channel and incident, until the channel took it or it was given up.

mod attempt;
mod backoff;
mod dispatch;
mod ending;
mod find;
pub(crate) mod keys;
mod letters;
mod outbox;
mod record;
mod resend;
mod schedule;
mod sweep;
mod talk;
#[cfg(test)]
mod tests;
mod together;
mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use bellwether_access::Access;
use bellwether_kernel::{Clock, OrganisationId, Randomness, Timestamp};
use bellwether_store::SharedStore;
use bytes::Bytes;
use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::channel::{Channel, Rate};
use crate::sending::Tokens;
use crate::{AlertError, HttpSender, Mailer, Roles};

pub use find::DeliveryFilter;
pub(crate) use record::DeliveryRow;
pub use record::{
    Attempt, Delivery, DeliveryHistory, DeliveryId, DeliveryState, Exchanged, InvalidDeliveryId, Outcome,
};
pub(crate) use talk::NO_MAIL_SERVER;
pub use trial::ChannelTrial;

/// How much is delivered at once, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryLimits {
    /// Attempts at once, on all channels together; an organisation's at most as many as are left free.
    pub at_once: usize,
    /// Attempts at once on one channel: one that hangs takes no more.
    pub of_channel: usize,
    /// Deliveries of one channel that wait before updates that later ones make needless are folded.
    pub fold_above: usize,
    /// Deliveries of one channel that wait before openings and updates become dead letters.
    pub waiting: usize,
}

impl Default for DeliveryLimits {
    fn default() -> Self {
        Self { at_once: 512, of_channel: 8, fold_above: 100, waiting: 10_000 }
    }
}

/// What deliveries stand on.
pub struct DeliveryParts {
    /// Where everything is kept.
    pub store: SharedStore,
    /// Organisations, secrets, the audit log.
    pub access: Arc<Access>,
    /// Where formatters are found.
    pub roles: Arc<dyn Roles>,
    /// What sends requests.
    pub http: Arc<dyn HttpSender>,
    /// What sends e-mail, where the host has a mail server.
    pub mail: Option<Arc<dyn Mailer>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for waits.
    pub randomness: Arc<dyn Randomness>,
    /// How much there may be.
    pub limits: DeliveryLimits,
}

/// A channel of an organisation.
pub(crate) type ChannelKey = (OrganisationId, String);

/// What counts a channel's requests.
type Limiter = RateLimiter<NotKeyed, InMemoryState, LimiterClock, NoOpMiddleware<Duration>>;

/// The host's clock as the limiter reads it.
#[derive(Clone)]
struct LimiterClock(Arc<dyn Clock>);

impl GovernorClock for LimiterClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.now().as_milliseconds()).unwrap_or(0))
    }
}

/// The channels of every organisation, and what is delivered to them.
pub struct Deliveries {
    pub(crate) store: SharedStore,
    pub(crate) access: Arc<Access>,
    pub(crate) roles: Arc<dyn Roles>,
    pub(crate) http: Arc<dyn HttpSender>,
    pub(crate) mail: Option<Arc<dyn Mailer>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
    limits: DeliveryLimits,
    tokens: Tokens,
    limiters: Mutex<BTreeMap<ChannelKey, (Rate, Limiter)>>,
    /// Channels as they were read last, each with its row: as long as that is the same, it need not be read again.
    pub(crate) known_channels: Mutex<BTreeMap<ChannelKey, (Bytes, Arc<Channel>)>>,
    /// Added to batches that may be committed by now.
    pending: Mutex<Vec<outbox::Pending>>,
    /// Whether there was more than is looked for since something was committed last.
    overflowed: AtomicBool,
    /// Whether everything that waits is looked for at the next turn.
    is_to_find: AtomicBool,
    /// Bytes of tellings that are kept at hand.
    at_hand: Arc<AtomicUsize>,
    results: together::Results,
    schedule: Mutex<schedule::Schedule>,
    /// Told when there may be something to do.
    wake: Notify,
    tasks: TaskTracker,
    /// Begins nothing more.
    halt: CancellationToken,
    /// Ends what is at work.
    cut: CancellationToken,
}

impl Deliveries {
    /// Opens the deliveries on `parts` and goes on with those that wait.
    ///
    /// # Errors
    /// The store's.
    pub async fn open(parts: DeliveryParts) -> Result<Arc<Self>, AlertError> {
        let deliveries = Self::idle(parts);
        deliveries.find_waiting().await?;
        deliveries.schedule.lock().bring_back(deliveries.clock.now());
        deliveries.begin();
        Ok(deliveries)
    }

    /// Deliveries that begin nothing by themselves.
    pub(crate) fn idle(parts: DeliveryParts) -> Arc<Self> {
        let DeliveryParts { store, access, roles, http, mail, clock, randomness, limits } = parts;
        Arc::new(Self {
            store,
            access,
            roles,
            http,
            mail,
            clock,
            randomness,
            limits,
            tokens: Tokens::default(),
            limiters: Mutex::default(),
            known_channels: Mutex::default(),
            pending: Mutex::default(),
            overflowed: AtomicBool::new(false),
            is_to_find: AtomicBool::new(false),
            at_hand: Arc::default(),
            results: together::Results::default(),
            schedule: Mutex::new(schedule::Schedule::new(limits)),
            wake: Notify::new(),
            tasks: TaskTracker::new(),
            halt: CancellationToken::new(),
            cut: CancellationToken::new(),
        })
    }

    /// Keeps nothing in memory of an organisation that is gone.
    pub(crate) fn forget_all(&self, organisation: OrganisationId) {
        self.limiters.lock().retain(|(own, _), _| *own != organisation);
        self.known_channels.lock().retain(|(own, _), _| *own != organisation);
        self.pending.lock().retain(|pending| !pending.is_of(organisation));
        self.tokens.forget(organisation);
        self.schedule.lock().forget(organisation);
    }

    /// Begins no more attempts and waits for those at work, at most so long. One that is cut off then is made again by
    /// whoever opens the store next.
    pub async fn stop(&self, patience: Duration) {
        self.halt.cancel();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }

    /// Ends at once, as a process that is killed: nothing more is committed.
    #[cfg(test)]
    pub(crate) fn die(&self) {
        self.halt.cancel();
        self.cut.cancel();
    }

    /// A channel was put, held back, resumed or removed.
    pub(crate) fn channel_changed(&self, organisation: OrganisationId, name: &str) {
        let channel = (organisation, name.to_owned());
        self.known_channels.lock().remove(&channel);
        self.schedule.lock().release(&channel);
        self.wake.notify_one();
    }

    /// A channel is not there any more: nothing is kept of it.
    pub(crate) fn forget_channel(&self, organisation: OrganisationId, name: &str) {
        let channel = (organisation, name.to_owned());
        self.known_channels.lock().remove(&channel);
        self.limiters.lock().remove(&channel);
    }

    /// Counts a request of a channel; gives when there is room for it, if there is none now.
    fn count_request(&self, channel: &ChannelKey, rate: Rate) -> Result<(), Timestamp> {
        let [per_minute, burst] = [rate.per_minute, rate.burst]
            .map(|number| std::num::NonZeroU32::new(number).unwrap_or(std::num::NonZeroU32::MIN));
        let quota = Quota::per_minute(per_minute).allow_burst(burst);
        let clock = LimiterClock(Arc::clone(&self.clock));
        let new = || (rate, RateLimiter::direct_with_clock(quota, clock.clone()));
        let mut limiters = self.limiters.lock();
        let limiter = limiters.entry(channel.clone()).or_insert_with(new);
        if limiter.0 != rate {
            *limiter = new();
        }
        let Err(early) = limiter.1.check() else { return Ok(()) };
        let wait = early.wait_time_from(clock.now());
        // Nobody waits longer than for one request: what was counted is of a clock that was ahead.
        if wait > quota.replenish_interval() {
            *limiter = new();
            limiter.1.check().expect("one that counted nothing has room");
            return Ok(());
        }
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Err(self.clock.now().saturating_add(wait.saturating_add(1)))
    }

    /// How long from now until `at`, by the host's clock.
    fn until(&self, at: Timestamp) -> Duration {
        let milliseconds = at.milliseconds_since(self.clock.now());
        Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.halt.cancel();
        self.cut.cancel();
    }
}
