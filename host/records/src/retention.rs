//! How long records are kept.

use std::sync::Arc;

use bellwether_kernel::{FieldError, OrganisationId, Timestamp};
use bellwether_store::{Batch, encode, to_the_end};
use serde::{Deserialize, Serialize};

use crate::limits::{DAY, KEEP_DAYS};
use crate::{Limits, RecordError, RecordKind, Records, layout};

/// For how many days an organisation keeps its records; what it does not say is as the host keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Of events: 1 to 36,500, and no more than the host's.
    pub events_days: Option<u32>,
    /// Of logs.
    pub logs_days: Option<u32>,
}

impl Retention {
    /// How long records of a kind are kept here; 0 means for ever.
    pub(crate) fn days(self, kind: RecordKind, limits: &Limits) -> u32 {
        let (own, host) = match kind {
            RecordKind::Event => (self.events_days, limits.keep_events_days),
            RecordKind::Log => (self.logs_days, limits.keep_logs_days),
        };
        match (own, host) {
            (None, host) => host,
            (Some(own), 0) => own,
            (Some(own), host) => own.min(host),
        }
    }

    fn check(self, limits: &Limits) -> Result<(), FieldError> {
        for (field, own, host) in [
            ("events_days", self.events_days, limits.keep_events_days),
            ("logs_days", self.logs_days, limits.keep_logs_days),
        ] {
            let most = if host == 0 { KEEP_DAYS } else { host };
            if let Some(days) = own.filter(|days| !(1..=most).contains(days)) {
                return Err(FieldError::new(
                    field,
                    days,
                    format!("1 to {most}, or null for as long as the host"),
                ));
            }
        }
        Ok(())
    }
}

/// The first time that is kept of what is kept for so many days.
pub(crate) fn first_kept(now: Timestamp, days: u32) -> i64 {
    if days == 0 { i64::MIN } else { now.as_milliseconds() - i64::from(days) * DAY }
}

impl Records {
    /// How long an organisation keeps its records.
    #[must_use]
    pub fn retention(&self, organisation: OrganisationId) -> Retention {
        self.shared.state.read().retentions.get(&organisation).copied().unwrap_or_default()
    }

    /// Sets how long. What is older is not seen from here on, and freed in the background.
    ///
    /// # Errors
    /// [`RecordError::Invalid`] names the field.
    pub async fn set_retention(
        &self,
        organisation: OrganisationId,
        retention: Retention,
        mut join: Batch,
    ) -> Result<(), RecordError> {
        retention.check(&self.shared.parts.limits)?;
        join.put(layout::retention(organisation), encode(&retention));
        let shared = Arc::clone(&self.shared);
        to_the_end(async move {
            let _alone = shared.retaining.lock().await;
            let before = shared.state.read().retentions.get(&organisation).copied().unwrap_or_default();
            let days = |retention: Retention, kind| match retention.days(kind, &shared.parts.limits) {
                0 => u32::MAX,
                days => days,
            };
            // For less time than before: on a full disk too, so that there is more room.
            if RecordKind::ALL.into_iter().all(|kind| days(retention, kind) <= days(before, kind)) {
                join.frees();
            }
            shared.parts.store.commit(join).await?;
            shared.state.write().retentions.insert(organisation, retention);
            Ok(())
        })
        .await
    }
}
