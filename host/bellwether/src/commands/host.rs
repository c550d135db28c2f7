//! `bellwether host status`.

use clap::{Args, Subcommand};

use crate::client::Connection;
use crate::failure::Failure;
use crate::output;

/// `bellwether host`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: HostCommand,
}

#[derive(Debug, Subcommand)]
enum HostCommand {
    /// Version, store and plugins of the host; needs an operator's key
    #[command(after_help = "Example:\n  bellwether host status --json | jq .store")]
    Status,
}

/// Prints how the host is doing.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let HostCommand::Status = arguments.command;
    let status = arguments.connection.client()?.get(&["v1", "host"], &[]).await?;
    Ok(output::value(arguments.connection.json.into(), &status, |status| {
        output::aligned(&output::flattened(status))
    })?)
}
