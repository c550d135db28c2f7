//! `bellwether whoami`.

use clap::Args;

use crate::client::Connection;
use crate::failure::Failure;
use crate::output;

/// `bellwether whoami`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  bellwether whoami --access-key bw_…")]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Asks the host whose key this is.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let caller = arguments.connection.client()?.get(&["v1", "whoami"], &[]).await?;
    let fields = [
        ("kind", "/kind"),
        ("key", "/key/id"),
        ("key name", "/key/name"),
        ("role", "/role"),
        ("organisation", "/organisation/name"),
        ("time zone", "/organisation/time_zone"),
    ];
    Ok(output::value(arguments.connection.json.into(), &caller, |caller| output::record(caller, &fields))?)
}
