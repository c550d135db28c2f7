//! What an operator may set, each with its default and unit.
//!
//! A setting comes from the defaults here, then the settings file, then the environment, then the command line; the
//! later wins. [`load`] reads them; a name none of the structs here has is refused.

mod check;
mod item;
mod load;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use bellwether_front::MetricsAccess;
use bellwether_plugins::LimitOverrides;
use clap::Args;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};

use item::{one, one_or_many, some};

use crate::failure::Failure;
pub(crate) use load::Loaded;

/// The environment variable with the host key, in place of its file: 64 hexadecimal characters.
pub(crate) const HOST_KEY_VARIABLE: &str = "BELLWETHER_HOST_KEY";

/// Everything an operator may set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    /// Where to listen: addresses with a port; port 0 takes a free one.
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) listen: Vec<SocketAddr>,
    /// The folder everything is kept in.
    pub(crate) data: PathBuf,
    /// The URL callers reach this host at: webhooks' URLs begin with it, and the links of notifications.
    pub(crate) public_url: Option<String>,
    /// What the organisation a new store begins with is called.
    pub(crate) organisation: String,
    /// Seconds that accepted requests and runs get to end once the host is asked to stop; it is gone at most four later.
    pub(crate) stop_seconds: u64,
    /// Whether nothing is begun by itself: no run, evaluation or delivery. Requests are answered. For a look at a restored
    /// copy while the host it was taken from is at work.
    pub(crate) passive: bool,
    /// What is logged, and how.
    pub(crate) log: Log,
    /// Where spans are sent.
    pub(crate) traces: Traces,
    /// TLS; without it plain HTTP is spoken.
    pub(crate) tls: Tls,
    /// Reverse proxies in front of this host.
    pub(crate) proxy: Proxy,
    /// Limits of requests.
    pub(crate) http: Http,
    /// The embedded store.
    pub(crate) store: Store,
    /// Limits of metrics.
    pub(crate) metrics: Metrics,
    /// Limits of tagged series.
    pub(crate) series: Series,
    /// Events and logs: how long they are kept.
    pub(crate) records: Records,
    /// Limits of plugins.
    pub(crate) plugins: Plugins,
    /// Where organisations' plugins and channels may send requests.
    pub(crate) egress: Egress,
    /// Limits of playbooks.
    pub(crate) playbooks: Playbooks,
    /// Evaluating monitors, and how long incidents are kept.
    pub(crate) alerts: Alerts,
    /// How long runs are kept.
    pub(crate) runs: Runs,
    /// What is delivered to channels.
    pub(crate) deliveries: Deliveries,
    /// The mail server of channels that are told by e-mail.
    pub(crate) email: Email,
    /// How long the audit log is kept.
    pub(crate) audit: Audit,
    /// Host names and ports of single dialects, by the dialect's name.
    pub(crate) dialects: BTreeMap<String, Dialect>,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Log {
    /// `text` for people, `json` for programs; both to the error stream.
    pub(crate) format: LogFormat,
    /// Which spans and events: `info`, or by part, `warn,bellwether_playbooks=debug`.
    pub(crate) filter: String,
}

/// Where spans are sent, in OpenTelemetry's protocol over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Traces {
    /// The collector's whole URL; without one none are sent.
    pub(crate) endpoint: Option<String>,
    /// Which spans, as the log's filter says it.
    pub(crate) filter: String,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// TLS; both files or neither.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tls {
    /// The certificate and those that lead to its root, PEM.
    pub(crate) certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub(crate) key: Option<PathBuf>,
}

/// Reverse proxies in front of this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Proxy {
    /// Networks (or addresses) whose forwarding headers are believed.
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) trusted: Vec<Network>,
    /// The header in which they pass path and query as the client sent them: what signatures are made over.
    pub(crate) original_uri_header: String,
}

/// A network, `10.0.0.0/8`, or an address, which is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub(crate) struct Network(pub(crate) IpNet);

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

/// Limits of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Http {
    /// The largest body, in bytes.
    pub(crate) body_limit_bytes: usize,
    /// The largest body of a request to a dialect, in bytes.
    pub(crate) dialect_body_limit_bytes: usize,
    /// The largest component that may be uploaded, in bytes.
    pub(crate) component_limit_bytes: usize,
    /// How long a request may take.
    pub(crate) request_seconds: u64,
    /// How long an upload of a component may take, its compilation included.
    pub(crate) install_seconds: u64,
    /// How long a connection is kept between two requests, the head of the next included. A proxy in front that keeps it
    /// for longer sends requests into connections that are just being closed.
    pub(crate) idle_seconds: u64,
    /// Requests at work at once; more are told to come back.
    pub(crate) concurrent_requests: usize,
    /// Requests a second of one key, in the long run; 0 is no limit.
    pub(crate) rate_per_second: u32,
    /// Requests of one key at once, after a pause.
    pub(crate) rate_burst: u32,
    /// Who may read `/metrics`: `open` for anybody, `operator` with a key.
    pub(crate) metrics_access: MetricsAccess,
}

/// The embedded store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Store {
    /// Rows kept in memory, in bytes.
    pub(crate) cache_bytes: u64,
    /// What must stay free on its disk, in bytes: below, nothing is written.
    pub(crate) watermark_bytes: u64,
}

/// Limits of metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Metrics {
    /// Metrics of one organisation.
    pub(crate) per_organisation: u64,
    /// Keys of one metric.
    pub(crate) keys_per_metric: u64,
    /// Samples of one write.
    pub(crate) samples_per_write: usize,
    /// Values one query answers at most.
    pub(crate) values_per_query: usize,
}

/// Limits of tagged series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Series {
    /// Series of one organisation; each takes some hundred bytes of memory.
    pub(crate) per_organisation: u64,
    /// Samples of one write.
    pub(crate) samples_per_write: usize,
    /// Samples kept in memory before they are packed, 16 bytes each; twice as many while they are.
    pub(crate) samples_in_memory: usize,
    /// Days samples are kept where their metric does not say; 0 keeps every sample.
    pub(crate) keep_days: u32,
    /// Whether samples are acknowledged before they are on the disk: quicker, and those of the last milliseconds are
    /// lost when the process is killed, the power fails or the disk is full.
    pub(crate) acknowledge_before_sync: bool,
}

/// Events and logs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Records {
    /// Days events are kept, 0 for ever; an organisation may keep its own for fewer.
    pub(crate) keep_events_days: u32,
    /// Days logs are kept.
    pub(crate) keep_logs_days: u32,
    /// Events or logs a search looks at before it answers with what it has.
    pub(crate) records_per_search: u64,
}

/// Limits of plugins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Plugins {
    /// Calls at once; more wait. Of plugins that call nothing of the host, 64 at most.
    pub(crate) concurrent_calls: u32,
    /// Versions kept of one plugin.
    pub(crate) versions: usize,
    /// Plugins an organisation may install for itself.
    pub(crate) per_organisation: usize,
    /// The same for plugins that carry a language's runtime, as Python's do.
    pub(crate) concurrent_large_calls: u32,
    /// What calls may use where a plugin's own limits say nothing else.
    #[serde(deserialize_with = "with_defaults")]
    pub(crate) limits: LimitOverrides,
}

/// Where organisations' plugins and channels may send requests. The operator's plugins reach what they are granted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Egress {
    /// Networks (or addresses) that are not public and may be reached; without it every one that an organisation's admin
    /// grants, but those at which a cloud tells a machine its credentials.
    #[serde(deserialize_with = "some")]
    pub(crate) private_networks: Option<Vec<Network>>,
}

/// Limits of playbooks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Playbooks {
    /// Runs at work at once; one organisation leaves a quarter of that, at least one, to others.
    pub(crate) concurrent_runs: usize,
    /// Runs of one organisation that wait for that; and as many of it, apart from them, that wait for a place of their
    /// playbook's. More are told to come back.
    pub(crate) queued_runs: usize,
    /// Steps of one playbook.
    pub(crate) steps: usize,
    /// The largest payload of a trigger, in bytes; a step's inputs, and the list it goes over, have as many at most.
    pub(crate) payload_bytes: usize,
    /// Bytes of a step's outputs, those of all its items together.
    pub(crate) output_bytes: usize,
    /// How long one call of a step may take where the step does not say.
    pub(crate) step_seconds: u64,
    /// How long a run may take where its playbook does not say.
    pub(crate) run_seconds: u64,
    /// Items of one step's list.
    pub(crate) items: usize,
    /// Versions kept of one playbook.
    pub(crate) versions: usize,
}

/// Evaluating monitors, and how long incidents are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Alerts {
    /// Monitors evaluated at once; of one organisation at most as many as are left free.
    pub(crate) concurrent_evaluations: usize,
    /// Monitors of one organisation.
    pub(crate) per_organisation: u64,
    /// Days an incident is kept after it closed; 0 keeps every incident.
    pub(crate) keep_days: u32,
}

/// How long runs are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Runs {
    /// Days a run is kept after it ended; 0 keeps every run.
    pub(crate) keep_days: u32,
}

/// What is delivered to channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Deliveries {
    /// Days a delivery is kept after it ended; 0 keeps every delivery.
    pub(crate) keep_days: u32,
    /// Deliveries of one channel that wait at most; then openings and updates become dead letters.
    pub(crate) waiting: usize,
}

/// The mail server of channels that are told by e-mail; without a server there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Email {
    /// Its name or address.
    pub(crate) server: Option<String>,
    /// Its port; by default 465, 587 or 25, as `security` says.
    #[serde(deserialize_with = "one")]
    pub(crate) port: Option<u16>,
    /// `tls` from the first byte on, `starttls`, or `none` for a server on this machine.
    pub(crate) security: EmailSecurity,
    /// Who signs in there; with a password.
    pub(crate) user: Option<String>,
    /// The file that holds the password, and nothing else.
    pub(crate) password_file: Option<PathBuf>,
    /// The sender: an address, or a name and an address in `<>`.
    pub(crate) from: Option<String>,
    /// A certificate, PEM, that is trusted besides the system's.
    pub(crate) trusted_certificate: Option<PathBuf>,
}

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EmailSecurity {
    /// TLS from the first byte on.
    Tls,
    /// TLS once the connection is there.
    Starttls,
    /// None.
    None,
}

/// How long the audit log is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Audit {
    /// Days an entry is kept; 0 keeps every entry.
    pub(crate) keep_days: u32,
}

/// Where a dialect answers besides `/<name>/…`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Dialect {
    /// Host names that are this dialect's alone.
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) hosts: Vec<String>,
    /// An address with a port that is this dialect's alone.
    #[serde(deserialize_with = "one")]
    pub(crate) listen: Option<SocketAddr>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8780))],
            data: PathBuf::from("bellwether-data"),
            public_url: None,
            organisation: "default".to_owned(),
            stop_seconds: 25,
            passive: false,
            log: Log::default(),
            traces: Traces::default(),
            tls: Tls::default(),
            proxy: Proxy::default(),
            http: Http::default(),
            store: Store::default(),
            metrics: Metrics::default(),
            series: Series::default(),
            records: Records::default(),
            plugins: Plugins::default(),
            egress: Egress::default(),
            playbooks: Playbooks::default(),
            alerts: Alerts::default(),
            runs: Runs::default(),
            deliveries: Deliveries::default(),
            email: Email::default(),
            audit: Audit::default(),
            dialects: BTreeMap::new(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

impl Default for Traces {
    fn default() -> Self {
        // With every plugin's call, which the log leaves out.
        Self { endpoint: None, filter: "info,bellwether_plugins=debug".to_owned() }
    }
}

impl Default for Proxy {
    fn default() -> Self {
        let front = bellwether_front::FrontSettings::default();
        Self { trusted: Vec::new(), original_uri_header: front.original_uri_header }
    }
}

impl Default for Http {
    fn default() -> Self {
        let front = bellwether_front::FrontSettings::default();
        Self {
            body_limit_bytes: front.body_limit_bytes,
            dialect_body_limit_bytes: front.dialect_body_limit_bytes,
            component_limit_bytes: front.component_limit_bytes,
            request_seconds: front.request_seconds,
            install_seconds: front.install_seconds,
            // Beyond what proxies keep theirs for unless told: nginx and AWS's load balancers a minute, Caddy two.
            idle_seconds: 150,
            concurrent_requests: front.concurrent_requests,
            rate_per_second: 0,
            rate_burst: 100,
            metrics_access: MetricsAccess::Open,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        let sled = bellwether_store::SledSettings::default();
        Self { cache_bytes: sled.cache_bytes, watermark_bytes: sled.watermark_bytes }
    }
}

impl Default for Series {
    fn default() -> Self {
        let limits = bellwether_series::Limits::default();
        Self {
            per_organisation: limits.series,
            samples_per_write: limits.samples,
            samples_in_memory: limits.head_samples,
            keep_days: limits.keep_days,
            acknowledge_before_sync: false,
        }
    }
}

impl Default for Records {
    fn default() -> Self {
        let limits = bellwether_records::Limits::default();
        Self { keep_events_days: 400, keep_logs_days: 30, records_per_search: limits.search_records }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let limits = bellwether_metrics::Limits::default();
        Self {
            per_organisation: limits.metrics,
            keys_per_metric: limits.keys,
            samples_per_write: limits.samples,
            values_per_query: limits.values,
        }
    }
}

impl Default for Plugins {
    fn default() -> Self {
        let engine = bellwether_engine::EngineSettings::default();
        Self {
            concurrent_calls: engine.calls,
            concurrent_large_calls: engine.large_calls,
            versions: bellwether_plugins::limits::VERSIONS,
            per_organisation: bellwether_plugins::limits::PER_ORGANISATION,
            limits: bellwether_plugins::Limits::default().shown(),
        }
    }
}

impl Default for Playbooks {
    fn default() -> Self {
        let limits = bellwether_playbooks::Limits::default();
        Self {
            concurrent_runs: limits.concurrent_runs,
            queued_runs: limits.queued_runs,
            steps: limits.steps,
            payload_bytes: limits.payload,
            output_bytes: limits.outputs,
            step_seconds: limits.step_time.as_secs(),
            run_seconds: limits.run_time.as_secs(),
            items: limits.items,
            versions: limits.versions,
        }
    }
}

impl Default for Alerts {
    fn default() -> Self {
        let limits = bellwether_alerts::Limits::default();
        // A year and the month after it, as the audit log.
        Self { concurrent_evaluations: limits.at_once, per_organisation: limits.monitors, keep_days: 400 }
    }
}

impl Default for Runs {
    fn default() -> Self {
        Self { keep_days: 90 }
    }
}

impl Default for Deliveries {
    fn default() -> Self {
        Self { keep_days: 30, waiting: bellwether_alerts::DeliveryLimits::default().waiting }
    }
}

impl Default for Email {
    fn default() -> Self {
        Self {
            server: None,
            port: None,
            security: EmailSecurity::Starttls,
            user: None,
            password_file: None,
            from: None,
            trusted_certificate: None,
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        // A year and the month after it, in which the year is looked at.
        Self { keep_days: 400 }
    }
}

/// Where settings come from: the file, and the main ones as flags.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Flags {
    /// The settings file, TOML
    #[arg(long, env = "BELLWETHER_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where to listen; may be repeated, port 0 takes a free one [default: 127.0.0.1:8780]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = item::flag::<SocketAddr>)]
    listen: Vec<SocketAddr>,
    /// The folder everything is kept in [default: bellwether-data]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// The URL callers reach this host at
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// What the organisation a new store begins with is called [default: default]
    #[arg(long, value_name = "NAME")]
    organisation: Option<String>,
    /// Begin nothing by itself: no run, evaluation or delivery; for a look at a restored copy
    #[arg(long)]
    passive: bool,
    /// How the log is written [default: text]
    #[arg(long)]
    log_format: Option<LogFormat>,
    /// What is logged [default: info]
    #[arg(long, value_name = "FILTER")]
    log_filter: Option<String>,
    /// The TLS certificate, PEM
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// The TLS certificate's private key, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

impl Flags {
    /// Only where the data is.
    pub(crate) fn of_data(config: Option<PathBuf>, data: Option<PathBuf>) -> Self {
        Self { config, data, ..Self::default() }
    }

    /// The settings the flags give, by their path.
    fn given(&self) -> Result<Vec<(&'static str, &'static str, serde_json::Value)>, Failure> {
        let path = |flag: &str, path: &Option<PathBuf>| {
            let text = path.as_ref().map(|path| {
                let text = path.to_str().map(serde_json::Value::from);
                text.ok_or_else(|| Failure::Usage(format!("{flag} is {path:?}, expected a path in UTF-8")))
            });
            text.transpose()
        };
        let listen: Vec<String> = self.listen.iter().map(ToString::to_string).collect();
        let all = [
            ("listen", "--listen", (!listen.is_empty()).then(|| listen.into())),
            ("data", "--data", path("--data", &self.data)?),
            ("public_url", "--public-url", self.public_url.clone().map(Into::into)),
            ("organisation", "--organisation", self.organisation.clone().map(Into::into)),
            ("passive", "--passive", self.passive.then(|| true.into())),
            (
                "log.format",
                "--log-format",
                self.log_format.and_then(|format| serde_json::to_value(format).ok()),
            ),
            ("log.filter", "--log-filter", self.log_filter.clone().map(Into::into)),
            ("tls.certificate", "--tls-certificate", path("--tls-certificate", &self.tls_certificate)?),
            ("tls.key", "--tls-key", path("--tls-key", &self.tls_key)?),
        ];
        Ok(all.into_iter().filter_map(|(setting, flag, value)| Some((setting, flag, value?))).collect())
    }

    /// The settings of this process.
    ///
    /// # Errors
    /// Everything that is wrong with them, each by name and where it is set.
    pub(crate) fn load(&self) -> Result<Loaded, Failure> {
        load::load(self.config.as_deref(), std::env::vars_os(), self.given()?).map_err(Failure::Usage)
    }
}

/// What is set of the limits, and the defaults for the rest.
fn with_defaults<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LimitOverrides, D::Error> {
    let given = LimitOverrides::deserialize(deserializer)?;
    Ok(bellwether_plugins::Limits::default().with(&given).shown())
}
