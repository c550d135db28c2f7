//! `bellwether organisation`: an operator works on all of them, everybody else sees its own.

use std::io::IsTerminal as _;

use clap::{Args, Subcommand};
use console::Term;
use reqwest::Method;
use serde_json::json;

use super::{Limit, key};
use crate::client::{Body, Connection};
use crate::failure::Failure;
use crate::output::{self, Column};

/// `bellwether organisation`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: OrganisationCommand,
}

#[derive(Debug, Subcommand)]
enum OrganisationCommand {
    /// List every organisation; needs an operator's key
    #[command(after_help = "Example:\n  bellwether organisation list")]
    List(Limit),
    /// Make an organisation; needs an operator's key
    #[command(after_help = "Example:\n  bellwether organisation create acme --time-zone Europe/Berlin")]
    Create {
        /// 1 to 64 characters of a-z, 0-9 and -
        name: String,
        /// The IANA time zone new metrics get; UTC if not said
        #[arg(long)]
        time_zone: Option<String>,
    },
    /// Show an organisation; without a name, the key's own
    #[command(after_help = "Example:\n  bellwether organisation show")]
    Show {
        /// Its name, with an operator's key
        name: Option<String>,
    },
    /// Change the time zone new metrics get; those there keep theirs
    #[command(after_help = "\
Examples:
  bellwether organisation set-time-zone Europe/Berlin          # the key's own, as its admin
  bellwether organisation set-time-zone Asia/Tokyo --name acme # any, as operator")]
    SetTimeZone {
        /// An IANA name
        time_zone: String,
        /// Of which organisation, with an operator's key
        #[arg(long)]
        name: Option<String>,
    },
    /// Suspend an organisation; needs an operator's key
    #[command(
        long_about = "\
Suspend an organisation; needs an operator's key

Its keys, the webhooks of its playbooks and the links of its notifications are refused with the status 403. No playbook is
started and no monitor evaluated; a run stops behind the step it is at, and what is to be delivered waits. All that it has
stays, and goes on when it is resumed.",
        after_help = "Example:\n  bellwether organisation suspend acme"
    )]
    Suspend {
        /// Its name
        name: String,
    },
    /// Have an organisation go on that was suspended; needs an operator's key
    #[command(after_help = "Example:\n  bellwether organisation resume acme")]
    Resume {
        /// Its name
        name: String,
    },
    /// Delete a suspended organisation for good, with everything it has; needs an operator's key
    #[command(
        long_about = "\
Delete a suspended organisation for good, with everything it has; needs an operator's key

Its keys, metrics, series, events, logs, monitors, incidents, channels, playbooks, plugins and its audit log are erased in the
background, from five minutes on; until nothing is left it is listed as being deleted. It cannot be taken back, nor stopped.
Then the name may be another organisation's.",
        after_help = "\
Examples:
  bellwether organisation suspend acme
  bellwether organisation delete acme          # asks for the name again
  bellwether organisation delete acme --yes    # in scripts"
    )]
    Delete {
        /// Its name
        name: String,
        /// Do not ask for the name again
        #[arg(long)]
        yes: bool,
    },
    /// Make a key of an organisation; needs an operator's key
    #[command(after_help = "Example:\n  bellwether organisation key acme first-admin --role admin")]
    Key {
        /// Whose key it shall be
        organisation: String,
        /// What it shall be.
        #[command(flatten)]
        key: key::NewKey,
    },
    /// List the keys of an organisation, newest first; needs an operator's key
    #[command(after_help = "Example:\n  bellwether organisation keys acme")]
    Keys {
        /// Whose keys
        organisation: String,
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Make a key of an organisation stop working at once, unless its published playbooks run as it; needs an operator's key
    #[command(after_help = "Example:\n  bellwether organisation revoke-key acme ABCDEFGHIJKLMNOP")]
    RevokeKey {
        /// Whose key it is
        organisation: String,
        /// Which key.
        #[command(flatten)]
        key: key::Revoked,
    },
}

const COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("TIME ZONE", "/time_zone"),
    ("CREATED", "/created"),
    ("SUSPENDED", "/suspended"),
    ("BEING DELETED", "/deleting"),
];
const FIELDS: &[Column] = &[
    ("id", "/id"),
    ("name", "/name"),
    ("time zone", "/time_zone"),
    ("created", "/created"),
    ("suspended", "/suspended"),
    ("being deleted", "/deleting"),
];

/// Works on organisations.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    let organisation = match arguments.command {
        OrganisationCommand::List(limit) => {
            let organisations = client.list(&["v1", "organisations"], &[], limit.items()).await?;
            return Ok(output::listing(format, &organisations, COLUMNS)?);
        }
        OrganisationCommand::Key { organisation, key } => {
            return key::create(&client, &["v1", "organisations", &organisation, "keys"], key, format).await;
        }
        OrganisationCommand::Keys { organisation, limit } => {
            return key::list(&client, &["v1", "organisations", &organisation, "keys"], limit, format).await;
        }
        OrganisationCommand::RevokeKey { organisation, key } => {
            return key::revoke(&client, &["v1", "organisations", &organisation, "keys"], &key, format).await;
        }
        OrganisationCommand::Create { name, time_zone } => {
            let mut body = json!({ "name": name });
            if let Some(time_zone) = time_zone {
                body["time_zone"] = time_zone.into();
            }
            client.write(Method::POST, &["v1", "organisations"], &[], Body::Json(body)).await?
        }
        OrganisationCommand::Show { name: Some(name) } => {
            client.get(&["v1", "organisations", &name], &[]).await?
        }
        OrganisationCommand::Show { name: None } => client.get(&["v1", "organisation"], &[]).await?,
        OrganisationCommand::Suspend { name } => {
            client.write(Method::POST, &["v1", "organisations", &name, "suspend"], &[], Body::None).await?
        }
        OrganisationCommand::Resume { name } => {
            client.write(Method::POST, &["v1", "organisations", &name, "resume"], &[], Body::None).await?
        }
        OrganisationCommand::Delete { name, yes } => {
            if !yes {
                confirm(&name)?;
            }
            client.write(Method::DELETE, &["v1", "organisations", &name], &[], Body::None).await?
        }
        OrganisationCommand::SetTimeZone { time_zone, name } => {
            let body = Body::Json(json!({ "time_zone": time_zone }));
            let path: &[&str] = match &name {
                Some(name) => &["v1", "organisations", name],
                None => &["v1", "organisation"],
            };
            client.write(Method::PATCH, path, &[], body).await?
        }
    };
    Ok(output::value(format, &organisation, |organisation| output::record(organisation, FIELDS))?)
}

/// Asks whoever sits at the terminal for the name again.
fn confirm(name: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        let usage = format!("deleting {name} takes everything it has, for good: say --yes to have it done");
        return Err(Failure::Usage(usage));
    }
    let terminal = Term::stderr();
    let question =
        format!("Everything the organisation {name} has will be gone for good. Type its name to go on: ");
    let typed = terminal.write_str(&question).and_then(|()| terminal.read_line());
    check_typed(
        name,
        &typed.map_err(|error| Failure::Usage(format!("the terminal does not read: {error}; use --yes")))?,
    )
}

/// Refuses what is typed unless it is the name.
fn check_typed(name: &str, typed: &str) -> Result<(), Failure> {
    match typed.trim() {
        typed if typed == name => Ok(()),
        typed => Err(Failure::Usage(format!("{typed:?} is not {name:?}: nothing is deleted"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organisation_is_deleted_only_once_its_name_is_typed_again() {
        for (typed, is_meant) in
            [("acme\n", true), (" acme \r\n", true), ("acm\n", false), ("y\n", false), ("", false)]
        {
            assert_eq!(check_typed("acme", typed).is_ok(), is_meant, "{typed:?}");
        }
    }
}
