//! Who changes something of alerts, and what is committed together with the change.

use std::ops::Deref;
use std::sync::Arc;

use bellwether_access::Principal;
use bellwether_kernel::MonitorId;
use bellwether_store::Batch;

use crate::{IncidentId, MuteId};

/// What somebody changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A monitor that was made, changed or deleted.
    Monitor(MonitorId),
    /// An incident.
    Incident(IncidentId),
    /// A mute that was made or deleted.
    Mute(MuteId),
}

/// What is made of a change, to be committed with it.
pub type Join = dyn Fn(Subject) -> Batch + Send + Sync;

/// Who changes something; by default nothing else is committed with it.
#[derive(Clone, Copy)]
pub struct By<'a> {
    principal: &'a Principal,
    join: Option<&'a Join>,
}

impl<'a> By<'a> {
    /// Changes something together with what `join` makes of it: both are committed or neither, and `join` alone where all
    /// is as it is to be already. A precondition of `join` that does not hold is the store's conflict.
    #[must_use]
    pub fn with(principal: &'a Principal, join: &'a Join) -> Self {
        Self { principal, join: Some(join) }
    }

    /// What joins the commit.
    pub(super) fn joined(&self, subject: Subject) -> Batch {
        self.join.map_or_else(Batch::new, |join| join(subject))
    }
}

impl<'a> From<&'a Principal> for By<'a> {
    fn from(principal: &'a Principal) -> Self {
        Self { principal, join: None }
    }
}

impl<'a> From<&'a Arc<Principal>> for By<'a> {
    fn from(principal: &'a Arc<Principal>) -> Self {
        (&**principal).into()
    }
}

impl Deref for By<'_> {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        self.principal
    }
}
