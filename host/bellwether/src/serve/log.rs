//! The log: spans and events to the error stream, for people or for programs, and spans to a collector if there is one.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use super::traces::Traces;
use crate::settings::{self, Log, LogFormat};

/// Starts it. What this gives, if anything, sends spans until it is told to end.
pub(super) fn start(log: &Log, traces: &settings::Traces) -> anyhow::Result<Option<Traces>> {
    let lines = fmt::layer().with_writer(io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Text if io::stderr().is_terminal() => lines.boxed(),
        LogFormat::Text => lines.with_ansi(false).fmt_fields(plain()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let sent = traces.endpoint.as_deref().map(Traces::start).transpose()?;
    let started = match &sent {
        // A filter for both: a span nobody wants costs next to nothing. One of targets and levels alone is asked in half the time.
        None => match log.filter.parse::<Targets>() {
            Ok(targets) => tracing_subscriber::registry().with(lines).with(targets).try_init(),
            Err(_) => {
                tracing_subscriber::registry().with(lines).with(EnvFilter::try_new(&log.filter)?).try_init()
            }
        },
        Some(sent) => {
            let spans = tracing_opentelemetry::layer().with_tracer(sent.tracer());
            let spans = spans.with_filter(EnvFilter::try_new(&traces.filter)?);
            let lines = lines.with_filter(EnvFilter::try_new(&log.filter)?);
            tracing_subscriber::registry().with(lines).with(spans).try_init()
        }
    };
    started.map_err(|error| anyhow::anyhow!("the log does not start: {error}"))?;
    Ok(sent)
}

/// `name=value` for each field, without asking for each of its parts whether it is coloured: every request has a span, and its
/// fields are written whether or not a line shows them.
fn plain() -> impl for<'w> FormatFields<'w> {
    fmt::format::debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{value:?}"),
        name => write!(writer, "{name}={value:?}"),
    })
    .delimited(" ")
}
