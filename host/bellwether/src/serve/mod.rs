//! Running a host: opens everything, installs what the binary carries, serves until told to stop, and ends what was
//! accepted.

mod background;
mod bundled;
mod ending;
mod files;
mod first_keys;
mod listen;
mod log;
mod open;
mod signals;
mod traces;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use bellwether_access::CreatedKey;
use bellwether_alerts::Mailer;
use bellwether_front::{Doorway, Front, FrontSettings, Parts, Progress, RateLimit, Stopping};
use bellwether_kernel::SystemRandomness;
use metrics::{Unit, describe_gauge, gauge};
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::output;
use crate::settings::{Loaded, Settings, Tls};
pub(crate) use files::Files;
use open::{Opened, Services};
use signals::{Asked, Signals};

/// How long the last connections get to take their answers once everything has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// An operator may renew a certificate and never look at the log.
const OUTDATED: &str = "bellwether_tls_certificate_outdated";

/// Runs a host with these settings until it is told to stop.
pub(crate) fn run(loaded: &Loaded) -> Result<(), Failure> {
    let files = Files::read(&loaded.settings).map_err(|wrong| loaded.refused(&wrong))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    let result = runtime.block_on(serve(loaded, files));
    // What still runs has been told to end; a stuck blocking call must not hold the process.
    runtime.shutdown_timeout(LAST_ANSWERS);
    Ok(result?)
}

/// Makes another operator key, on a store no host runs on.
pub(crate) async fn recover_operator_key(settings: &Settings) -> anyhow::Result<CreatedKey> {
    if !settings.data.join("store").is_dir() {
        anyhow::bail!(
            "there is no store in {}; name the host's data folder with --data",
            settings.data.display()
        );
    }
    let opened = Opened::open(settings).await?;
    let made = first_keys::recover(&opened.access).await?;
    opened.close().await;
    Ok(made)
}

async fn serve(loaded: &Loaded, files: Files) -> anyhow::Result<()> {
    let (began, settings) = (Instant::now(), &loaded.settings);
    let traces = log::start(&settings.log, &settings.traces)?;
    if let Some(told) = loaded.passed_over_told() {
        tracing::info!("variables of the environment are {told}");
    }
    let mut signals = Signals::take().context("the signals cannot be taken")?;
    let recorder = bellwether_front::prometheus().install_recorder().context("the counters do not start")?;
    listen::raise_open_files();
    listen::describe();
    let tls = files.tls.map(RustlsConfig::from_config);
    if tls.is_some() {
        describe_gauge!(
            OUTDATED,
            Unit::Count,
            "1 while a certificate that was to be read again did not read."
        );
        gauge!(OUTDATED).set(0.0);
    }
    let bound =
        settings.listen.iter().map(|address| listen::bind(*address)).collect::<anyhow::Result<Vec<_>>>()?;
    let dialects =
        settings.dialects.iter().filter_map(|(name, dialect)| Some((name.clone(), dialect.listen?)));
    let dialects = dialects
        .map(|(name, address)| Ok((name, listen::bind(address)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;

    let addresses: Vec<_> = bound.iter().map(|bound| bound.address).collect();
    let url = listen::url(settings, &addresses);

    // Sockets are served at once, so that whoever watches the host sees that it lives and how far its start is.
    let (mut servers, handle) = (JoinSet::new(), Handle::new());
    let idle = Duration::from_secs(settings.http.idle_seconds);
    let (progress, scheme) = (Progress::default(), if tls.is_some() { "https" } else { "http" });
    progress.tell("opening the store: what was written last is read back");
    let door = Doorway::new(&progress, &SystemRandomness);
    let (mut doors, mut lines) = (Vec::new(), String::new());
    for bound in bound {
        lines.push_str(&format!("listening on {scheme}://{}\n", bound.address));
        listen::serve(&mut servers, bound, tls.clone(), handle.clone(), idle, door.clone())?;
    }
    for (name, bound) in dialects {
        lines.push_str(&format!("{name} listening on {scheme}://{}\n", bound.address));
        let door = Doorway::of_dialect(&progress, &SystemRandomness);
        listen::serve(&mut servers, bound, tls.clone(), handle.clone(), idle, door.clone())?;
        doors.push((name, door));
    }

    // A signal during a long start ends it at once: nothing was accepted yet.
    let opened = tokio::select! {
        opened = Opened::open(settings) => opened?,
        () = signals.stop() => return Ok(()),
    };
    if settings.passive {
        opened.access.become_passive();
        tracing::warn!("the host is passive: it answers, and begins no run, evaluation or delivery");
    }
    let services = tokio::select! {
        services = start(&opened, settings, files.mailer, &url, &progress) => services?,
        () = signals.stop() => {
            opened.close_by(tokio::time::Instant::now(), async {}).await;
            return Ok(());
        }
    };
    let upkeep = tokio::spawn(bellwether_front::keep_up(recorder.clone()));
    let stopping = Stopping::default();
    let backup = {
        let (sled, objects) = (Arc::clone(&opened.sled), opened.objects.clone());
        let (series, records) = (Arc::clone(&services.series), Arc::clone(&services.records));
        Arc::new(move |left_out| {
            let (series, records) = (Arc::clone(&series), Arc::clone(&records));
            bellwether_store::backup(&sled, &objects, left_out, move |digest, how| {
                series.found_damaged(digest, how).or_else(|| records.found_damaged(digest, how))
            })
        })
    };
    let parts = Parts {
        store: opened.store(),
        access: Arc::clone(&opened.access),
        metrics: Arc::clone(&services.metrics),
        series: Arc::clone(&services.series),
        records: Arc::clone(&services.records),
        deliveries: Arc::clone(&services.deliveries),
        playbooks: Arc::clone(&services.playbooks),
        alerts: Arc::clone(&services.alerts),
        plugins: Arc::clone(&services.plugins),
        clock: Arc::clone(&opened.clock),
        randomness: Arc::clone(&opened.randomness),
        recorder,
        stopping: stopping.clone(),
        backup: Some(backup),
        settings: front_settings(settings),
    };
    let background = background::start(background::Services {
        access: Arc::clone(&opened.access),
        metrics: Arc::clone(&services.metrics),
        series: Arc::clone(&services.series),
        records: Arc::clone(&services.records),
        playbooks: Arc::clone(&services.playbooks),
        alerts: Arc::clone(&services.alerts),
        plugins: Arc::clone(&services.plugins),
        deliveries: Arc::clone(&services.deliveries),
        keepers: parts.keepers(),
        clock: Arc::clone(&opened.clock),
        keep_runs_days: settings.runs.keep_days,
        keep_incidents_days: settings.alerts.keep_days,
        keep_deliveries_days: settings.deliveries.keep_days,
        keep_audit_days: settings.audit.keep_days,
    });
    let front = Front::new(parts);

    for (name, door) in &doors {
        door.open(front.dialect_router(name));
    }
    door.open(front.router());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        milliseconds = began.elapsed().as_secs_f64() * 1000.0,
        "ready"
    );
    // Whoever started it may not be reading any more, and it serves all the same.
    if let Err(error) = output::print(&lines) {
        tracing::warn!(%error, addresses = lines.trim_end(), "the standard output takes no more");
    }

    loop {
        tokio::select! {
            asked = signals.next() => match (asked, &tls) {
                (Asked::Stop, _) => break,
                (Asked::Reload, Some(config)) => read_again(config, &settings.tls),
                (Asked::Reload, None) => tracing::info!("there is no certificate to read again"),
            },
            Some(ended) = servers.join_next() => {
                let error = ended.map_err(anyhow::Error::from).and_then(|served| Ok(served?)).err();
                tracing::error!(?error, "a socket is not served any more; the host stops");
                break;
            }
        }
    }
    let patience = Duration::from_secs(settings.stop_seconds);
    tracing::info!(
        patience = settings.stop_seconds,
        "stopping: what was accepted ends first; another signal stops at once"
    );
    stopping.begin();
    let mut end = tokio::time::Instant::now() + patience;
    tokio::select! {
        () = ending::stop(&services, &handle, &mut servers, end) => {}
        () = signals.stop() => {
            tracing::warn!("stopped at once");
            end = tokio::time::Instant::now();
        }
    }
    upkeep.abort();
    drop(background);
    opened.close_by(end, services.series.flush()).await;
    tracing::info!("stopped");
    if let Some(traces) = traces {
        let _ = tokio::time::timeout_at(end + ending::CLOSING, traces.end()).await;
    }
    Ok(())
}

/// Everything between an open store and a host that can serve.
async fn start(
    opened: &Opened,
    settings: &Settings,
    mailer: Option<Arc<dyn Mailer>>,
    url: &str,
    progress: &Progress,
) -> anyhow::Result<Services> {
    const LOADING: &str = "loading what is installed; a plugin that is not in the cache is compiled";
    tracing::info!("{LOADING}");
    progress.tell(LOADING);
    let services = opened.services(settings, mailer).await?;
    bundled::install(&services.plugins, progress).await;
    for name in settings.dialects.keys().filter(|name| services.plugins.dialect(name).is_none()) {
        tracing::warn!(
            dialect = name,
            "the settings name a dialect that is not there: until it is installed, requests to it are answered with 503"
        );
    }
    let organisation = &settings.organisation;
    first_keys::print_once(&opened.access, &settings.data, organisation, url, output::deliver).await?;
    Ok(services)
}

/// Reads the certificate again. The one before stays in use where it does not read.
fn read_again(config: &RustlsConfig, settings: &Tls) {
    let read = files::tls(settings);
    gauge!(OUTDATED).set(if read.is_err() { 1.0 } else { 0.0 });
    match read {
        Ok(read) => {
            read.into_iter().for_each(|read| config.reload_from_config(read));
            tracing::info!("the certificate was read again");
        }
        Err(error) => tracing::error!(%error, "the certificate stays the one before"),
    }
}

/// What the front is told of the settings.
fn front_settings(settings: &Settings) -> FrontSettings {
    let http = &settings.http;
    let rate_limit =
        match (std::num::NonZeroU32::new(http.rate_per_second), std::num::NonZeroU32::new(http.rate_burst)) {
            (Some(per_second), Some(burst)) => Some(RateLimit { per_second, burst }),
            _ => None,
        };
    let hosts = settings.dialects.iter().filter(|(_, dialect)| !dialect.hosts.is_empty());
    FrontSettings {
        body_limit_bytes: http.body_limit_bytes,
        dialect_body_limit_bytes: http.dialect_body_limit_bytes,
        component_limit_bytes: http.component_limit_bytes,
        request_seconds: http.request_seconds,
        install_seconds: http.install_seconds,
        concurrent_requests: http.concurrent_requests,
        rate_limit,
        tls: settings.tls.certificate.is_some(),
        trusted_proxies: settings.proxy.trusted.iter().map(|network| network.0).collect(),
        original_uri_header: settings.proxy.original_uri_header.clone(),
        public_url: settings.public_url.clone(),
        dialect_hosts: hosts.map(|(name, dialect)| (name.clone(), dialect.hosts.clone())).collect(),
        metrics_access: http.metrics_access,
    }
}
