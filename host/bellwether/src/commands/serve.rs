//! `bellwether serve`.

use clap::Args;

use crate::failure::Failure;
use crate::serve;
use crate::settings::Flags;

/// `bellwether serve`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bellwether serve
  bellwether serve --listen 0.0.0.0:8780 --data /var/lib/bellwether --config /etc/bellwether.toml

A new data folder gets its first keys, printed once to the standard output; the log goes to the error stream. \
SIGTERM or ^C ends what was accepted and stops, a second one stops at once; SIGHUP reads the TLS certificate again. \
Every setting is in examples/settings/bellwether.toml; `bellwether config` shows those in force.")]
pub(crate) struct Arguments {
    /// Where settings come from.
    #[command(flatten)]
    settings: Flags,
}

/// Runs a host until it is told to stop.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    serve::run(&arguments.settings.load()?)
}
