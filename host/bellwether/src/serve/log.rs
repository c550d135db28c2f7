//! The log: spans and events to the error stream, for people or for programs, and spans to a collector if there is one.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use super::traces::Traces;
use crate::settings::{self, Log, LogFormat};

/// Starts it. What this gives, if anything, sends spans until it is told to end.
pub(super) fn start(log: &Log, traces: &settings::Traces) -> anyhow::Result<Option<Traces>> {
    let filter = EnvFilter::try_new(&log.filter)?;
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Text => fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => fmt::layer().with_writer(io::stderr).json().flatten_event(true).boxed(),
    };
    let sent = traces.endpoint.as_deref().map(Traces::start).transpose()?;
    let started = match &sent {
        // A filter for both: a span nobody wants costs next to nothing.
        None => tracing_subscriber::registry().with(lines).with(filter).try_init(),
        Some(sent) => {
            let spans = tracing_opentelemetry::layer().with_tracer(sent.tracer());
            let spans = spans.with_filter(EnvFilter::try_new(&traces.filter)?);
            tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).try_init()
        }
    };
    started.map_err(|error| anyhow::anyhow!("the log does not start: {error}"))?;
    Ok(sent)
}
