//! A made-up notification, sent to a channel now.

use bellwether_access::Principal;

use super::talk::{End, Talk};
use super::{Deliveries, Exchanged, Outcome};
use crate::{AlertError, Event, Notification, StoredIncident, limits};

/// What came of a notification that tries a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelTrial {
    /// The formatter and its version.
    pub formatter: String,
    /// Whether the channel took it.
    pub outcome: Outcome,
    /// Why not.
    pub reason: Option<String>,
    /// What was sent and answered, in order, secrets named and not shown.
    pub exchanges: Vec<Exchanged>,
}

/// How long what a test tells of has lasted, in milliseconds.
const TESTED_AFTER: i64 = 5 * 60_000;
/// Bytes of one text of what is shown.
const SHOWN: usize = 16 << 10;

impl Deliveries {
    /// Sends a made-up notification to a channel, whether it is paused or not, by the whole way and once, for at most
    /// [`limits::TRIAL`].
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; the store's. What the channel said is no error.
    pub async fn try_channel(&self, principal: &Principal, name: &str) -> Result<ChannelTrial, AlertError> {
        let organisation = principal.organisation;
        let channel = self.channel(organisation, name).await?;
        let mut bytes = [0; 8];
        self.randomness.fill(&mut bytes);
        let incident = format!("test-{}", data_encoding::HEXLOWER.encode(&bytes));
        let now = self.clock.now();
        let mut notification = Notification::sample_of(Event::Test, now.saturating_add(-TESTED_AFTER));
        notification.idempotency_key = format!("{incident}.{name}.1");
        notification.time = now;
        notification.organisation.clone_from(&principal.organisation_name);
        for alert in &mut notification.incident.alerts {
            alert.triggers = vec![StoredIncident::trigger_of(&incident)];
        }
        notification.incident.id = incident;
        let mut trial = ChannelTrial {
            formatter: channel.spec.formatter.clone(),
            outcome: Outcome::Delivered,
            reason: None,
            exchanges: Vec::new(),
        };
        let end = match self.prepared(organisation, &channel, None).await? {
            Err(end) => end,
            Ok((formatter, settings, secrets)) => {
                trial.formatter = format!("{} {}", channel.spec.formatter, formatter.version());
                let mut talk = Talk::new(self, organisation, &channel, settings, secrets, notification);
                let run = talk.run(&*formatter, None);
                let end = match tokio::time::timeout(limits::TRIAL, run).await {
                    Ok(end) => end?,
                    Err(_) => {
                        let seconds = limits::TRIAL.as_secs();
                        let reason =
                            format!("the test was not over within {seconds} seconds and was given up");
                        End::Retry { after: None, reason }
                    }
                };
                trial.exchanges =
                    talk.exchanges.iter().map(|noted| Exchanged::from(noted).cut(SHOWN)).collect();
                end
            }
        };
        (trial.outcome, trial.reason) = match end {
            End::Done(_) => (Outcome::Delivered, None),
            End::Retry { reason, .. } | End::Uncalled(reason) => (Outcome::Retry, Some(reason)),
            End::Broken(reason) | End::Fail(reason) => (Outcome::Failed, Some(reason)),
            End::Gone(reason) => (Outcome::Gone, Some(reason)),
        };
        Ok(trial)
    }
}
