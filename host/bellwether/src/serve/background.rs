//! What a host does on its own, each thing at its own pace; what fails is told and tried again at the next turn.

use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bellwether_access::Access;
use bellwether_alerts::{Alerts, Deliveries};
use bellwether_kernel::{Clock, Timestamp};
use bellwether_metrics::Metrics;
use bellwether_playbooks::Playbooks;
use bellwether_plugins::Plugins;
use bellwether_records::Records;
use bellwether_series::Series;
use bellwether_store::Erase;
use futures::FutureExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How often deleted organisations' and metrics' data and old runs are freed, playbooks counted, and last uses of keys written.
const OFTEN: Duration = Duration::from_secs(60);

/// How often answers, audit entries and keys whose time is over are forgotten: they only take space.
const SELDOM: Duration = Duration::from_secs(15 * 60);

/// Rows or runs freed at once, before others get their turn.
const BUDGET: usize = 10_000;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the background works on.
pub(super) struct Services {
    pub(super) access: Arc<Access>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) series: Arc<Series>,
    pub(super) records: Arc<Records>,
    pub(super) playbooks: Arc<Playbooks>,
    pub(super) alerts: Arc<Alerts>,
    pub(super) plugins: Arc<Plugins>,
    pub(super) deliveries: Arc<Deliveries>,
    /// Who keeps something of organisations.
    pub(super) keepers: [Arc<dyn Erase>; 7],
    pub(super) clock: Arc<dyn Clock>,
    /// Days a run is kept; 0 for ever.
    pub(super) keep_runs_days: u32,
    /// Days an incident is kept; 0 for ever.
    pub(super) keep_incidents_days: u32,
    /// Days a delivery is kept; 0 for ever.
    pub(super) keep_deliveries_days: u32,
    /// Days an audit entry is kept; 0 for ever.
    pub(super) keep_audit_days: u32,
}

/// Starts it all; dropping what this gives stops it.
pub(super) fn start(services: Services) -> JoinSet<()> {
    let Services {
        access,
        metrics,
        series,
        records,
        playbooks,
        alerts,
        deliveries,
        plugins,
        keepers,
        clock,
        keep_runs_days,
        keep_incidents_days,
        keep_deliveries_days,
        keep_audit_days,
    } = services;
    let mut tasks = JoinSet::new();
    let looking = Arc::clone(&clock);
    tasks.spawn(repeat("look at the clock", OFTEN, move || {
        // Whether it is steady is known of one that is looked at.
        looking.steady();
        std::future::ready(Ok::<_, std::convert::Infallible>(()))
    }));
    let (deleting, keepers) = (Arc::clone(&access), Arc::new(keepers));
    tasks.spawn(repeat("erase deleted organisations", OFTEN, move || {
        let (access, keepers) = (Arc::clone(&deleting), Arc::clone(&keepers));
        async move { access.erase_deleted(&*keepers).await.map(drop) }
    }));
    tasks.spawn(repeat("free deleted metrics", OFTEN, move || {
        let metrics = Arc::clone(&metrics);
        async move {
            while metrics.sweep(BUDGET).await?.more {
                tokio::task::yield_now().await;
            }
            Ok::<_, bellwether_metrics::MetricError>(())
        }
    }));
    tasks.spawn(repeat("tend series", OFTEN, move || {
        let series = Arc::clone(&series);
        async move { series.tend().await }
    }));
    tasks.spawn(repeat("tend events and logs", OFTEN, move || {
        let records = Arc::clone(&records);
        async move { records.tend().await }
    }));
    let counted = Arc::clone(&playbooks);
    tasks.spawn(repeat("free old runs", OFTEN, move || {
        let playbooks = Arc::clone(&playbooks);
        // Runs that nobody works at are ended even if none is ever removed.
        let keep = if keep_runs_days == 0 { Duration::MAX } else { DAY * keep_runs_days };
        async move { whole(|| playbooks.sweep(keep, BUDGET)).await }
    }));
    tasks.spawn(repeat("count playbooks and runs", OFTEN, move || {
        let playbooks = Arc::clone(&counted);
        async move { playbooks.measure().await }
    }));
    if keep_incidents_days > 0 {
        let clock = Arc::clone(&clock);
        tasks.spawn(repeat("free old incidents", SELDOM, move || {
            let (alerts, clock) = (Arc::clone(&alerts), Arc::clone(&clock));
            async move { by_age(&*clock, keep_incidents_days, |before| alerts.sweep(before, BUDGET)).await }
        }));
    }
    if keep_deliveries_days > 0 {
        let clock = Arc::clone(&clock);
        tasks.spawn(repeat("free old deliveries", OFTEN, move || {
            let (deliveries, clock) = (Arc::clone(&deliveries), Arc::clone(&clock));
            let kept = DAY * keep_deliveries_days;
            async move { by_age(&*clock, keep_deliveries_days, |_| deliveries.sweep(kept, BUDGET)).await }
        }));
    }
    let left = Arc::clone(&plugins);
    tasks.spawn(repeat("forget what removed plugins left", OFTEN, move || {
        let plugins = Arc::clone(&left);
        async move { plugins.clear_left().await }
    }));
    tasks.spawn(repeat("unload what nobody calls", OFTEN, move || {
        plugins.rest();
        std::future::ready(Ok::<_, std::convert::Infallible>(()))
    }));
    let last_uses = Arc::clone(&access);
    tasks.spawn(repeat("write last uses of keys", OFTEN, move || {
        let access = Arc::clone(&last_uses);
        async move { access.flush_last_uses().await }
    }));
    let ended = Arc::clone(&access);
    tasks.spawn(repeat("forget old keys", SELDOM, move || {
        let access = Arc::clone(&ended);
        async move { access.forget_keys().await.map(drop) }
    }));
    let answers = access.idempotency();
    tasks.spawn(repeat("forget old answers", SELDOM, move || {
        let answers = answers.clone();
        async move { answers.sweep().await.map(drop) }
    }));
    if keep_audit_days > 0 {
        tasks.spawn(repeat("forget old audit entries", SELDOM, move || {
            let (access, clock) = (Arc::clone(&access), Arc::clone(&clock));
            async move {
                let Some(now) = clock.steady() else { return Ok(()) };
                access.trim_audit(oldest_kept(now, keep_audit_days)).await.map(drop)
            }
        }));
    }
    tasks
}

/// Sweeps, [`BUDGET`] by [`BUDGET`], until less than that is done at once.
async fn whole<E, F: Future<Output = Result<usize, E>>>(sweep: impl Fn() -> F) -> Result<(), E> {
    while sweep().await? >= BUDGET {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Sweeps as [`whole`] does, with the beginning of what is kept for so many days, as long as the clock is steady: what it frees
/// is gone.
async fn by_age<E, F: Future<Output = Result<usize, E>>>(
    clock: &dyn Clock,
    days: u32,
    sweep: impl Fn(Timestamp) -> F,
) -> Result<(), E> {
    let sweep = &sweep;
    whole(|| async move {
        match clock.steady() {
            Some(now) => sweep(oldest_kept(now, days)).await,
            None => Ok(0),
        }
    })
    .await
}

/// The beginning of what is kept.
fn oldest_kept(now: Timestamp, days: u32) -> Timestamp {
    let kept = (DAY * days).as_millis();
    now.saturating_add(-i64::try_from(kept).unwrap_or(i64::MAX))
}

/// Does `work` again and again, first after one `pace`; an error or a panic is told and ends only that turn.
async fn repeat<F, E>(what: &'static str, pace: Duration, mut work: impl FnMut() -> F + Send)
where
    F: Future<Output = Result<(), E>> + Send,
    E: Display,
{
    let mut turns = interval_at(Instant::now() + pace, pace);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        match AssertUnwindSafe(work()).catch_unwind().await {
            Ok(Ok(())) => tracing::debug!(what, "done in the background"),
            Ok(Err(error)) => tracing::warn!(what, %error, "failed in the background; it is tried again"),
            Err(_) => tracing::error!(what, "panicked in the background; it is tried again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use bellwether_kernel::ManualClock;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_fails_or_panics_does_not_end_the_work() {
        let turns = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&turns);
        let work = repeat("test", OFTEN, move || {
            let turn = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                match turn {
                    0 => Err("no"),
                    1 => panic!("no"),
                    _ => Ok(()),
                }
            }
        });
        // The clock is paused, so this takes no time and is exact.
        tokio::time::timeout(OFTEN * 4 + OFTEN / 2, work).await.unwrap_err();
        assert_eq!(turns.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn nothing_is_freed_for_its_age_while_the_clock_may_be_wrong() {
        let clock = ManualClock::new(Timestamp::parse("2028-03-02").unwrap());
        let swept = AtomicU32::new(0);
        // There is always more, and the clock jumps during the third sweep.
        let sweep = |before: Timestamp| {
            assert_eq!(before.to_string(), "2028-02-29T00:00:00Z");
            clock.distrust(swept.fetch_add(1, Ordering::SeqCst) == 2);
            std::future::ready(Ok::<_, std::convert::Infallible>(BUDGET))
        };
        clock.distrust(true);
        by_age(&clock, 2, sweep).await.unwrap();
        assert_eq!(swept.load(Ordering::SeqCst), 0);
        clock.distrust(false);
        by_age(&clock, 2, sweep).await.unwrap();
        assert_eq!(swept.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn what_is_kept_for_days_begins_so_many_days_ago() {
        let now = Timestamp::parse("2026-03-02").unwrap();
        assert_eq!(oldest_kept(now, 2).to_string(), "2026-02-28T00:00:00Z");
        assert_eq!(oldest_kept(now, u32::MAX), Timestamp::MIN);
    }
}
