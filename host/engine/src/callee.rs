//! A plugin that can be called: what all its calls run on and share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmtime::component::{InstancePre, Linker};

use crate::breaker::{Breaker, BreakerPhase, BreakerState, Open};
use crate::gate::Place;
use crate::warm::Warm;
use crate::{CallData, CallError, Component, Engine, EngineError, Guest, Sandbox, limits};

/// Whether calls share instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Instances {
    /// Every call has its own: nothing of one is seen by another.
    #[default]
    Fresh,
    /// An organisation's calls follow each other on the same instances, which keep what the plugin leaves in memory.
    Warm,
}

/// One version of a plugin, linked. Keep it as long as the plugin is loaded.
pub struct Callee<T: CallData> {
    pub(crate) instance: InstancePre<Guest<T>>,
    sandbox: Sandbox,
    lane: u64,
    concurrent: u32,
    breaker: Breaker,
    pub(crate) warm: Option<Arc<Warm<T>>>,
}

/// What a plugin is doing now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// Calls at work.
    pub running: u32,
    /// Calls that wait for a slot.
    pub waiting: usize,
    /// Instances kept for the next calls.
    pub idle_instances: usize,
}

impl<T: CallData> Callee<T> {
    /// Links `component` with what is in `linker`, which must be of its sandbox; at most `concurrent` calls run at a time.
    ///
    /// # Errors
    /// [`EngineError::Link`] if it imports what is not there.
    pub fn new(
        engine: &Engine,
        component: &Component,
        linker: &Linker<Guest<T>>,
        concurrent: u32,
        instances: Instances,
    ) -> Result<Self, EngineError> {
        static LANES: AtomicU64 = AtomicU64::new(0);
        let sandbox = component.sandbox();
        let warm = (instances == Instances::Warm).then(|| {
            let room = engine.room(sandbox);
            let warm = Arc::new(Warm::new(Arc::clone(&room.places)));
            room.watch(Arc::downgrade(&warm) as _);
            warm
        });
        Ok(Self {
            instance: component.link(linker)?,
            sandbox,
            lane: LANES.fetch_add(1, Ordering::Relaxed),
            concurrent: concurrent.max(1),
            breaker: Breaker::default(),
            warm,
        })
    }

    /// What its exports are looked up in.
    #[must_use]
    pub fn instance_pre(&self) -> &InstancePre<Guest<T>> {
        &self.instance
    }

    /// How the sandbox is set up for it.
    #[must_use]
    pub fn sandbox(&self) -> Sandbox {
        self.sandbox
    }

    /// Whether its calls share instances.
    #[must_use]
    pub fn instances(&self) -> Instances {
        if self.warm.is_some() { Instances::Warm } else { Instances::Fresh }
    }

    /// How its breaker is for one organisation, and with none for whom it is worst.
    #[must_use]
    pub fn breaker(&self, tenant: Option<u64>) -> BreakerState {
        self.breaker.state(tenant)
    }

    /// What it is doing now on `engine`.
    #[must_use]
    pub fn activity(&self, engine: &Engine) -> Activity {
        let (running, waiting) = engine.room(self.sandbox).gate.of_lane(self.lane);
        Activity { running, waiting, idle_instances: self.warm.as_ref().map_or(0, |warm| warm.count()) }
    }

    pub(crate) fn place(&self, tenant: u64) -> Place {
        Place { tenant, lane: self.lane, most: self.concurrent }
    }

    /// Whether it is called now for `tenant`.
    pub(crate) fn admit(&self, tenant: u64) -> Result<Admitted<'_>, CallError> {
        match self.breaker.admit(tenant) {
            Ok(()) => Ok(Admitted { breaker: &self.breaker, tenant, noted: false }),
            Err(Open { why, retry_after }) => Err(CallError::CoolingDown { why, retry_after }),
        }
    }
}

/// A call that was let through. Dropped before its end is noted, it tells nothing about the plugin.
pub(crate) struct Admitted<'a> {
    breaker: &'a Breaker,
    tenant: u64,
    noted: bool,
}

impl Admitted<'_> {
    /// Takes note of what became of it and how long it computed; tells when that changed whether the plugin is called.
    ///
    /// A call whose time was over while it computed next to nothing waited for what is outside, or had less time than
    /// anything takes: how long that was, its caller chose.
    pub(crate) fn note(mut self, error: Option<&CallError>, computed: Duration) -> Option<BreakerPhase> {
        if matches!(error, Some(CallError::Deadline { .. })) && computed < limits::BREAKER_COMPUTED {
            return None;
        }
        self.noted = true;
        self.breaker.note(self.tenant, error.is_some(), computed)
    }

    /// As [`Self::note`], where its caller gave it up.
    pub(crate) fn give_up(mut self, computed: Duration) -> Option<BreakerPhase> {
        if computed < limits::BREAKER_COMPUTED {
            return None;
        }
        self.noted = true;
        self.breaker.note_given_up(self.tenant, computed)
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if !self.noted {
            self.breaker.abandon(self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BreakerPhase::{Closed, Open};

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waited_until_its_time_was_over_takes_the_plugin_from_nobody() {
        let error = |wall| CallError::Deadline { wall: Duration::from_millis(wall) };
        let trap = CallError::Trap { message: "no luck".to_owned(), backtrace: Vec::new() };
        for (error, computed, phase) in
            [(error(5_000), 3, Closed), (error(1), 1, Closed), (error(5_000), 2_000, Open), (trap, 1, Open)]
        {
            let breaker = Breaker::default();
            for _ in 0..limits::BREAKER_FAILURES {
                breaker.admit(1).unwrap();
                let admitted = Admitted { breaker: &breaker, tenant: 1, noted: false };
                admitted.note(Some(&error), Duration::from_millis(computed));
            }
            assert_eq!(breaker.state(None).phase, phase, "{error} after {computed} ms of computing");
        }
    }
}
