//! `bellwether key`: an admin's key works on its organisation's keys, an operator's on the operator's.

use std::path::PathBuf;

use bellwether_access::CreatedKey;
use clap::{Args, Subcommand, ValueEnum};
use jiff::{SpanRelativeTo, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Limit, query};
use crate::client::{Body, Client, Connection};
use crate::failure::Failure;
use crate::output::{self, Column};
use crate::serve;
use crate::settings::Flags;

/// `bellwether key`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// List keys, newest first; those that were revoked or have expired for 90 days after
    #[command(after_help = "Example:\n  bellwether key list")]
    List(Limit),
    /// Make a key; its token is printed once and kept nowhere
    #[command(after_help = "\
Examples:
  bellwether key create ci --role write --expires 90d
  bellwether key create threatconnect --role write --signing   # also an access id and secret to sign with
  bellwether key create second-operator                        # with an operator's key: no role")]
    Create(NewKey),
    /// Show one key
    #[command(after_help = "Example:\n  bellwether key show ABCDEFGHIJKLMNOP")]
    Show {
        /// The key's id
        id: String,
    },
    /// Make a key stop working at once, unless published playbooks run as it
    #[command(after_help = "Example:\n  bellwether key revoke ABCDEFGHIJKLMNOP")]
    Revoke(Revoked),
    /// Make another operator key, on the data of a host that does not run: for who has lost the last one
    #[command(after_help = "Example:\n  bellwether key recover --data /var/lib/bellwether")]
    Recover {
        /// The host's data folder
        #[arg(long, value_name = "FOLDER")]
        data: Option<PathBuf>,
        /// The settings file that says which folder
        #[arg(long, env = "BELLWETHER_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// What a new key shall be.
#[derive(Args, Debug)]
pub(crate) struct NewKey {
    /// What it is for
    name: String,
    /// What it may do; none for an operator's key
    #[arg(long)]
    role: Option<Role>,
    /// When it stops to work: a date, a time (RFC 3339) or a span from now, such as 90d
    #[arg(long, value_parser = expiry)]
    expires: Option<Timestamp>,
    /// Let it sign requests, as ThreatConnect's clients do
    #[arg(long)]
    signing: bool,
}

/// Which key is to stop working.
#[derive(Args, Debug)]
pub(crate) struct Revoked {
    /// The key's id
    pub(crate) id: String,
    /// Revoke it whichever playbooks run as it: they are not started until they are published again with another
    #[arg(long)]
    force: bool,
}

/// What a key of an organisation may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Read everything but secrets, keys and the audit log
    Read,
    /// Also write and delete metrics, series, events and logs; change monitors, mutes and the calendar, work on
    /// incidents; start playbooks
    Write,
    /// Also channels, routes, secrets, keys, plugins, playbooks, settings
    Admin,
}

const COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("ROLE", "/role"),
    ("SIGNING", "/signing"),
    ("CREATED", "/created"),
    ("EXPIRES", "/expires"),
    ("REVOKED", "/revoked"),
    ("LAST USED", "/last_used"),
];

/// Works on keys.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (client, format) = (|| arguments.connection.client(), arguments.connection.json.into());
    match arguments.command {
        // Of the host that this needs to be stopped nothing is asked.
        KeyCommand::Recover { data, config } => {
            let settings = Flags::of_data(config, data).load()?.settings;
            let made = serve::recover_operator_key(&settings).await?;
            output::deliver(&output::told(format, &recovered(&made), tell_recovered))
                .map_err(anyhow::Error::from)?;
        }
        KeyCommand::List(limit) => list(&client()?, &["v1", "keys"], limit, format).await?,
        KeyCommand::Create(key) => create(&client()?, &["v1", "keys"], key, format).await?,
        KeyCommand::Show { id } => {
            let key = client()?.get(&["v1", "keys", &id], &[]).await?;
            output::value(format, &key, show)?;
        }
        KeyCommand::Revoke(key) => revoke(&client()?, &["v1", "keys"], &key, format).await?,
    }
    Ok(())
}

/// Lists the keys at `path`.
pub(crate) async fn list(
    client: &Client,
    path: &[&str],
    limit: Limit,
    format: output::Format,
) -> Result<(), Failure> {
    let keys = client.list(path, &[], limit.items()).await?;
    Ok(output::listing(format, &keys, COLUMNS)?)
}

/// Revokes a key of those at `path`.
pub(crate) async fn revoke(
    client: &Client,
    path: &[&str],
    Revoked { id, force }: &Revoked,
    format: output::Format,
) -> Result<(), Failure> {
    let query = query([("force", force.then(|| "true".to_owned()))]);
    let revoked = client.write(Method::DELETE, &[path, &[id.as_str()]].concat(), &query, Body::None).await?;
    Ok(output::value(format, &revoked, |_| format!("{id} works no more\n"))?)
}

/// Makes a key at `path` and prints its secrets, once.
pub(crate) async fn create(
    client: &Client,
    path: &[&str],
    key: NewKey,
    format: output::Format,
) -> Result<(), Failure> {
    let mut body = json!({ "name": key.name, "signing": key.signing });
    if let Some(role) = key.role.and_then(|role| role.to_possible_value()) {
        body["role"] = role.get_name().into();
    }
    if let Some(expires) = key.expires {
        body["expires"] = expires.to_string().into();
    }
    let created = client.write(Method::POST, path, &[], Body::Json(body)).await?;
    output::value(format, &created, |created| {
        let mut text = show(&created["key"]);
        let secrets =
            [("token", "/token"), ("access id", "/signing/access_id"), ("signing secret", "/signing/secret")];
        text.push_str("\nShown this once and kept nowhere:\n");
        text.push_str(&output::record(created, &secrets));
        text
    })?;
    Ok(())
}

/// As the API answers who makes a key.
fn recovered(made: &CreatedKey) -> Value {
    json!({ "key": { "id": made.key.id.as_str(), "name": made.key.name }, "token": made.token })
}

fn tell_recovered(made: &Value) -> String {
    format!(
        "operator key  {}\n\nShown this once. The other operator keys still work: revoke those that are lost with\n\
         `bellwether key revoke`. This one's id is {}.\n",
        output::cell(made.get("token")),
        output::cell(made.pointer("/key/id"))
    )
}

fn show(key: &Value) -> String {
    let fields = [
        ("id", "/id"),
        ("name", "/name"),
        ("role", "/role"),
        ("signing", "/signing"),
        ("created", "/created"),
        ("expires", "/expires"),
        ("revoked", "/revoked"),
        ("last used", "/last_used"),
    ];
    output::record(key, &fields)
}

/// Reads `2027-01-01`, `2027-01-01T12:00:00Z` or `90d`.
fn expiry(text: &str) -> Result<Timestamp, String> {
    if let Some(instant) = bellwether_kernel::Timestamp::parse(text) {
        return Ok(instant.to_jiff());
    }
    let from_now = || {
        let span: jiff::Span = text.parse().ok()?;
        let now = Timestamp::now();
        let days = SpanRelativeTo::days_are_24_hours();
        let duration = span.to_duration(days).ok()?;
        now.checked_add(duration).ok().filter(|instant| *instant > now)
    };
    from_now().ok_or_else(|| {
        "use a date (2027-01-01), a time (2027-01-01T12:00:00Z) or a span from now (90d, 12h)".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bellwether_access::{Access, HostKey};
    use bellwether_kernel::{SystemClock, SystemRandomness};
    use bellwether_store::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn a_key_that_was_recovered_is_told_to_people_and_to_programs() {
        let key = HostKey::from_hex(&"ab".repeat(32)).unwrap();
        let (store, clock) = (Arc::new(MemoryStore::new()), Arc::new(SystemClock));
        let access = Access::open(store, clock, Arc::new(SystemRandomness), key).await.unwrap();
        let made = access.create_operator_key("host", "recovered operator", None).await.unwrap();
        let told = |format| output::told(format, &recovered(&made), tell_recovered);
        let read: Value = serde_json::from_str(&told(output::Format::Json)).expect("JSON");
        assert_eq!((&read["token"], &read["key"]["id"]), (&json!(made.token), &json!(made.key.id.as_str())));
        let text = told(output::Format::Text);
        assert!(text.contains(&made.token) && text.contains(made.key.id.as_str()), "{text}");
    }

    #[test]
    fn an_expiry_is_a_date_a_time_or_a_span_from_now() {
        assert_eq!(expiry("2027-01-01").expect("a date").to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(expiry("2027-01-01T12:00:00+02:00").expect("a time").to_string(), "2027-01-01T10:00:00Z");
        let (soon, late) = (
            Timestamp::now() + jiff::SignedDuration::from_hours(89 * 24),
            Timestamp::now() + jiff::SignedDuration::from_hours(91 * 24),
        );
        let read = expiry("90d").expect("a span");
        assert!(soon < read && read < late, "{read}");
        for wrong in ["", "tomorrow", "-3d", "90"] {
            assert!(expiry(wrong).is_err(), "{wrong}");
        }
    }
}
