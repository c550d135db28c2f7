//! What `/metrics` shows of playbooks and runs: how runs end, how many there are, what could not be gone on with, and how
//! many playbooks nothing starts. Nothing here is by playbook or by run: labels are as many as there are states.

use bellwether_store::{Key, Space, Walk};
use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::rows::{self, PlaybookRow};
use crate::{PlaybookError, Playbooks, RunState, Status};

const ENDED: &str = "bellwether_runs_total";
const OPEN: &str = "bellwether_runs_open";
const QUEUED: &str = "bellwether_runs_queued";
const NOT_TAKEN_UP: &str = "bellwether_runs_not_taken_up_total";
const PLAYBOOKS: &str = "bellwether_playbooks";

/// The counters of this host's runs.
pub(crate) struct Meters {
    succeeded: Counter,
    failed: Counter,
    cancelled: Counter,
    timed_out: Counter,
    skipped: Counter,
    blocked: Counter,
    not_taken_up: Counter,
    open: Gauge,
    queued: Gauge,
    playbooks: [Gauge; 4],
}

impl Meters {
    pub(crate) fn new() -> Self {
        describe_counter!(ENDED, "Runs that ended on this host, by how");
        describe_gauge!(OPEN, Unit::Count, "Runs that were accepted and have not ended");
        describe_gauge!(
            QUEUED,
            Unit::Count,
            "Of those, runs that wait for room or for a place of their playbook's"
        );
        describe_counter!(
            NOT_TAKEN_UP,
            "How often a run could not be taken up or gone on with on this host; it is tried again"
        );
        describe_gauge!(PLAYBOOKS, Unit::Count, "Playbooks, by whether something starts them");
        let ended = |state| counter!(ENDED, "state" => state);
        let playbooks = |state| gauge!(PLAYBOOKS, "state" => state);
        Self {
            succeeded: ended("succeeded"),
            failed: ended("failed"),
            cancelled: ended("cancelled"),
            timed_out: ended("timed_out"),
            skipped: ended("skipped"),
            blocked: ended("blocked"),
            not_taken_up: counter!(NOT_TAKEN_UP),
            open: gauge!(OPEN),
            queued: gauge!(QUEUED),
            playbooks: ["active", "draft", "disabled", "blocked"].map(playbooks),
        }
    }

    /// A run ended so.
    pub(crate) fn ended(&self, state: RunState) {
        match state {
            RunState::Succeeded => &self.succeeded,
            RunState::Failed => &self.failed,
            RunState::Cancelled => &self.cancelled,
            RunState::TimedOut => &self.timed_out,
            RunState::Skipped => &self.skipped,
            RunState::Blocked => &self.blocked,
            RunState::Queued | RunState::Running | RunState::Interrupted => return,
        }
        .increment(1);
    }

    /// A run could not be taken up, or gone on with.
    pub(crate) fn not_taken_up(&self) {
        self.not_taken_up.increment(1);
    }
}

impl Playbooks {
    /// Counts the playbooks and open runs in the store for `/metrics`, as it was done when they were opened; to be called
    /// every minute.
    ///
    /// # Errors
    /// The store's.
    pub async fn measure(&self) -> Result<(), PlaybookError> {
        self.meters.open.set(self.count(Key::new(Space::RunOpen)).await? as f64);
        let waiting = self.count(Key::new(Space::RunQueue)).await?;
        self.meters.queued.set((waiting + self.count(Key::new(Space::PlaybookQueue)).await?) as f64);
        let mut counts = [0_u32; 4];
        let mut playbooks = Walk::forward(&*self.store, Key::new(Space::Playbook).prefix());
        let read = rows::of_playbook::<PlaybookRow>;
        while let Some((.., ((organisation, id), row))) = playbooks.next_read(read).await? {
            counts[match self.status(organisation, id, &row).await? {
                Status::Active => 0,
                Status::Draft => 1,
                Status::Disabled { .. } => 2,
                Status::Blocked { .. } => 3,
            }] += 1;
        }
        for (gauge, count) in self.meters.playbooks.iter().zip(counts) {
            gauge.set(f64::from(count));
        }
        Ok(())
    }
}
