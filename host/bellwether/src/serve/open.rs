//! Opening everything a host is made of, each with an error that says what to do.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bellwether_access::{Access, AccessError};
use bellwether_alerts::{Alerts, Deliveries, DeliveryLimits, DeliveryParts, HttpSender, Mailer, Roles};
use bellwether_engine::{Engine, EngineSettings};
use bellwether_kernel::{Clock, HostId, Randomness, SystemClock, SystemRandomness};
use bellwether_metrics::Metrics;
use bellwether_playbooks::{IncidentActions, Playbooks};
use bellwether_plugins::Plugins;
use bellwether_records::Records;
use bellwether_series::Series;
use bellwether_store::{Objects, RESTORING, SharedStore, SledSettings, SledStore, StoreError};

use super::bundled;
use crate::host_key::Place;
use crate::settings::Settings;

/// Which host of its store this is: an embedded store has one.
const HOST: HostId = HostId(1);

/// How long a store is waited for that another process has: one that was killed takes seconds to be gone, and who restarts
/// it is quicker.
const HANDOVER: Duration = Duration::from_secs(5);

/// What a host is made of.
pub(super) struct Opened {
    pub(super) sled: Arc<SledStore>,
    pub(super) objects: Objects,
    pub(super) access: Arc<Access>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) randomness: Arc<dyn Randomness>,
}

/// What serves requests, on top of that.
pub(super) struct Services {
    pub(super) metrics: Arc<Metrics>,
    pub(super) series: Arc<Series>,
    pub(super) records: Arc<Records>,
    pub(super) plugins: Arc<Plugins>,
    pub(super) playbooks: Arc<Playbooks>,
    pub(super) alerts: Arc<Alerts>,
    pub(super) deliveries: Arc<Deliveries>,
}

impl Opened {
    /// Opens the store in the data folder and who may use it.
    pub(super) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let data = &settings.data;
        make_folder(data).with_context(|| {
            format!("the data folder {} cannot be used; choose another with --data, or give this user the right to write it", data.display())
        })?;
        // Before the key: what was a store's folder gets no new one.
        check_folder(data)?;
        let (clock, randomness): (Arc<dyn Clock>, Arc<dyn Randomness>) =
            (Arc::new(SystemClock), Arc::new(SystemRandomness));
        // Before the store: a store without a key beside it is one whose key was left behind.
        let place = Place::of(data);
        let host_key = place.key_or_new(&*randomness)?;
        let sled = SledSettings {
            cache_bytes: settings.store.cache_bytes,
            watermark_bytes: settings.store.watermark_bytes,
            ..SledSettings::default()
        };
        let path = data.join("store");
        let sled = tokio::task::spawn_blocking(move || open_store(&path, &sled)).await??;
        let objects = Objects::open(&data.join("components"))?;
        let sled = Arc::new(sled);
        let opened = Access::open(
            Arc::clone(&sled) as SharedStore,
            Arc::clone(&clock),
            Arc::clone(&randomness),
            host_key,
        );
        let access = Arc::new(opened.await.map_err(|error| explain(error, &place))?);
        Ok(Self { sled, objects, access, clock, randomness })
    }

    /// The store, as everybody else knows it.
    pub(super) fn store(&self) -> SharedStore {
        Arc::clone(&self.sled) as SharedStore
    }

    /// Opens what serves requests. Plugins that are installed are loaded, from the cache where it has them.
    pub(super) async fn services(
        &self,
        settings: &Settings,
        mailer: Option<Arc<dyn Mailer>>,
    ) -> anyhow::Result<Services> {
        let limits = bellwether_metrics::Limits {
            metrics: settings.metrics.per_organisation,
            keys: settings.metrics.keys_per_metric,
            samples: settings.metrics.samples_per_write,
            values: settings.metrics.values_per_query,
            ..bellwether_metrics::Limits::default()
        };
        let metrics = Arc::new(Metrics::open(self.store(), Arc::clone(&self.clock), HOST, limits).await?);
        let series = Series::open(bellwether_series::Parts {
            store: self.store(),
            objects: self.objects.clone(),
            clock: Arc::clone(&self.clock),
            host: HOST,
            limits: bellwether_series::Limits {
                series: settings.series.per_organisation,
                samples: settings.series.samples_per_write,
                head_samples: settings.series.samples_in_memory,
                keep_days: settings.series.keep_days,
                ..bellwether_series::Limits::default()
            },
        });
        let series = Arc::new(series.await?.acknowledge_before_sync(settings.series.acknowledge_before_sync));
        let records = Records::open(bellwether_records::Parts {
            store: self.store(),
            objects: self.objects.clone(),
            clock: Arc::clone(&self.clock),
            host: HOST,
            limits: bellwether_records::Limits {
                keep_events_days: settings.records.keep_events_days,
                keep_logs_days: settings.records.keep_logs_days,
                search_records: settings.records.records_per_search,
                ..bellwether_records::Limits::default()
            },
        });
        let records = Arc::new(records.await?);
        let cache = settings.data.join("cache");
        let engine = EngineSettings {
            calls: settings.plugins.concurrent_calls,
            large_calls: settings.plugins.concurrent_large_calls,
            cache: Some(cache),
        };
        let engine = Engine::new(&engine).context("the sandbox does not start")?;
        let services = bellwether_plugins::Services {
            store: self.store(),
            objects: self.objects.clone(),
            access: Arc::clone(&self.access),
            metrics: Arc::clone(&metrics),
            series: Arc::clone(&series),
            records: Arc::clone(&records),
            engine,
            clock: Arc::clone(&self.clock),
            randomness: Arc::clone(&self.randomness),
            bundled: bundled::BUNDLED,
        };
        let limits = bellwether_plugins::Limits {
            versions: settings.plugins.versions,
            per_organisation: settings.plugins.per_organisation,
            ..bellwether_plugins::Limits::default().with(&settings.plugins.limits)
        };
        let plugins = Plugins::open(services, limits).await?;
        if let Some(networks) = &settings.egress.private_networks {
            plugins.keep_to_private_networks(networks.iter().map(|network| network.0).collect());
        }
        let limits = bellwether_playbooks::Limits {
            concurrent_runs: settings.playbooks.concurrent_runs,
            queued_runs: settings.playbooks.queued_runs,
            steps: settings.playbooks.steps,
            payload: settings.playbooks.payload_bytes,
            outputs: settings.playbooks.output_bytes,
            step_time: Duration::from_secs(settings.playbooks.step_seconds),
            run_time: Duration::from_secs(settings.playbooks.run_seconds),
            items: settings.playbooks.items,
            versions: settings.playbooks.versions,
        };
        let apps = Arc::clone(&plugins) as Arc<dyn bellwether_playbooks::Apps>;
        let playbooks = Playbooks::open(bellwether_playbooks::Parts {
            store: self.store(),
            access: Arc::clone(&self.access),
            apps,
            secrets: Arc::clone(&self.access) as Arc<dyn bellwether_playbooks::SecretSource>,
            writes: Some(Arc::new(bellwether_playbooks::MetricLog::new(Arc::clone(&metrics)))),
            clock: Arc::clone(&self.clock),
            randomness: Arc::clone(&self.randomness),
            host: HOST,
            limits,
        })
        .await?;
        let deliveries = Deliveries::open(DeliveryParts {
            store: self.store(),
            access: Arc::clone(&self.access),
            roles: Arc::clone(&plugins) as Arc<dyn Roles>,
            http: Arc::clone(&plugins) as Arc<dyn HttpSender>,
            mail: mailer,
            clock: Arc::clone(&self.clock),
            randomness: Arc::clone(&self.randomness),
            limits: DeliveryLimits { waiting: settings.deliveries.waiting, ..DeliveryLimits::default() },
        })
        .await?;
        let pins: std::sync::Weak<Playbooks> = Arc::downgrade(&playbooks);
        plugins.ask_for_pins(pins);
        let alerts = Alerts::open(bellwether_alerts::Parts {
            store: self.store(),
            access: Arc::clone(&self.access),
            figures: Arc::clone(&series) as Arc<dyn bellwether_alerts::Figures>,
            events: Arc::clone(&records) as Arc<dyn bellwether_alerts::EventSource>,
            roles: Arc::clone(&plugins) as Arc<dyn Roles>,
            tellings: Arc::new(vec![
                Arc::clone(&deliveries) as Arc<dyn bellwether_alerts::Tellings>,
                Arc::clone(&playbooks) as Arc<dyn bellwether_alerts::Tellings>,
            ]),
            clock: Arc::clone(&self.clock),
            limits: bellwether_alerts::Limits {
                at_once: settings.alerts.concurrent_evaluations,
                monitors: settings.alerts.per_organisation,
                ..bellwether_alerts::Limits::default()
            },
            outward: bellwether_alerts::Outward {
                public_url: settings.public_url.clone(),
                actions: Some(Arc::new(IncidentActions::new(Arc::clone(&playbooks)))),
            },
        });
        plugins.answer_with_alerts(&alerts);
        Ok(Services { metrics, series, records, plugins, playbooks, alerts, deliveries })
    }
}

/// Opens the store, once whoever had it before has let go of it.
fn open_store(path: &Path, settings: &SledSettings) -> Result<SledStore, StoreError> {
    let began = Instant::now();
    let mut is_told = false;
    loop {
        match SledStore::open(path, settings.clone()) {
            Err(error @ StoreError::InUse { .. }) if began.elapsed() < HANDOVER => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(%error, "waiting for the store");
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            opened => return opened,
        }
    }
}

/// Refuses a folder in which a new store would take the place of one that was there, or is being restored.
fn check_folder(data: &Path) -> anyhow::Result<()> {
    let has = |name: &str| fs::read_dir(data.join(name)).is_ok_and(|mut entries| entries.next().is_some());
    let folder = data.display();
    if has("store") {
        let left = data.join(RESTORING);
        if left.exists() {
            tracing::warn!(
                folder = %left.display(),
                "a restore left this beside the store, which does not need it; remove it once no restore is at work"
            );
        }
        return Ok(());
    }
    if data.join(RESTORING).exists() {
        anyhow::bail!(
            "a backup was being restored to {folder}, and that is not done: there is no whole store in it\n\
             hint: wait for the restore if it is at work still; else run it again (bellwether restore FILE --data \
             {folder}), which begins anew by itself"
        );
    }
    if has("components") {
        anyhow::bail!(
            "there was a store in {folder}: its components are there, and {store} is not, or is empty\n\
             hint: put the folder store back, or mount it; or restore a backup to another folder (bellwether restore \
             FILE --data OTHER); a new store is begun in an empty folder",
            store = data.join("store").display()
        );
    }
    Ok(())
}

/// Makes the folder, for this user alone, and tries whether it can be written.
fn make_folder(data: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let probe = data.join(".writable");
    fs::write(&probe, [])?;
    fs::remove_file(probe)
}

fn explain(error: AccessError, place: &Place) -> anyhow::Error {
    match error {
        AccessError::WrongHostKey => {
            anyhow::anyhow!(
                "{place} is not the host key that the store was made with\n{}",
                place.what_is_lost()
            )
        }
        _ => anyhow::Error::from(error).context("the keys in the store could not be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_new_store_is_made_where_one_was_or_is_being_restored() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let refused = || check_folder(data).unwrap_err().to_string();
        assert!(check_folder(data).is_ok(), "an empty folder");
        fs::write(data.join("host.key"), "").unwrap();
        assert!(check_folder(data).is_ok(), "a key alone");
        fs::create_dir_all(data.join("restoring/store")).unwrap();
        assert!(refused().contains("bellwether restore"), "{}", refused());
        fs::create_dir_all(data.join("store")).unwrap();
        assert!(refused().contains("bellwether restore"), "an empty one is none: {}", refused());
        fs::remove_dir_all(data.join("restoring")).unwrap();
        fs::create_dir_all(data.join("components")).unwrap();
        assert!(check_folder(data).is_ok(), "nothing is there yet");
        fs::write(data.join("components/00"), "").unwrap();
        assert!(refused().contains("there was a store"), "{}", refused());
        fs::write(data.join("store/db"), "").unwrap();
        assert!(check_folder(data).is_ok());
    }
}
