//! `bellwether audit`.

use clap::Args;

use super::{Limit, query, run};
use crate::client::Connection;
use crate::failure::Failure;
use crate::output;

/// `bellwether audit`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bellwether audit --action key             # everything done to keys
  bellwether audit --action plugin.install --json

An operator's key shows the host's log, an admin's its organisation's; newest first.")]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Only this action, or everything done to this kind of thing
    #[arg(long)]
    action: Option<String>,
    /// Only what was done with this key
    #[arg(long, value_name = "KEY_ID")]
    actor: Option<String>,
    /// Only what was done since then: a date, a time (RFC 3339) or a span before now, such as 2h
    #[arg(long, aliases = ["from", "start"], value_name = "TIME", value_parser = run::instant)]
    since: Option<jiff::Timestamp>,
    /// Only what was done before then, likewise
    #[arg(long, aliases = ["end", "to"], value_name = "TIME", value_parser = run::instant)]
    until: Option<jiff::Timestamp>,
    /// How much.
    #[command(flatten)]
    limit: Limit,
}

/// Prints the audit log.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let query = query([
        ("action", arguments.action),
        ("actor", arguments.actor),
        ("since", arguments.since.map(|since| since.to_string())),
        ("until", arguments.until.map(|until| until.to_string())),
    ]);
    let entries =
        arguments.connection.client()?.list(&["v1", "audit"], &query, arguments.limit.items()).await?;
    let columns = [
        ("TIME", "/time"),
        ("ACTOR", "/actor"),
        ("ACTION", "/action"),
        ("TARGET", "/target"),
        ("DETAILS", "/details"),
    ];
    Ok(output::listing(arguments.connection.json.into(), &entries, &columns)?)
}
