//! `bellwether secret`: values that playbooks and channels name and nobody reads back.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use super::{Limit, query};
use crate::client::{Body, Connection};
use crate::failure::Failure;
use crate::output;

/// `bellwether secret`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: SecretCommand,
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    /// List secrets, never their values
    #[command(after_help = "Example:\n  bellwether secret list")]
    List(Limit),
    /// Set a secret to what the standard input or a file holds, without the line break at its end
    #[command(after_help = "\
Examples:
  pass show tickets | bellwether secret set ticket-token
  bellwether secret set github-webhook --from-file secret.txt
  bellwether secret set slack-token --host https://slack.com --from-file token.txt

The value is no argument: other users of the machine see those, and the shell keeps them. A playbook reads it with \
`{{ secrets.NAME }}` as the whole of an input that its app declares secret; a channel names it in its settings and \
sends it to its hosts alone.")]
    Set {
        /// 1 to 100 characters of a-z, 0-9, _ and -
        name: String,
        /// Read it from here
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
        /// Where channels may send it, such as `https://hooks.example.com`; may be repeated. Without it where it could be sent
        /// before, a new one nowhere
        #[arg(long = "host", value_name = "URL")]
        hosts: Vec<String>,
    },
    /// Delete a secret, unless channels or playbooks name it
    #[command(after_help = "Example:\n  bellwether secret delete ticket-token")]
    Delete {
        /// Its name
        name: String,
        /// Delete it whoever names it: their steps and channels fail from here on
        #[arg(long)]
        force: bool,
    },
}

/// Works on secrets.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    match arguments.command {
        SecretCommand::List(limit) => {
            let secrets = client.list(&["v1", "secrets"], &[], limit.items()).await?;
            let columns =
                [("NAME", "/name"), ("HOSTS", "/hosts"), ("CREATED", "/created"), ("UPDATED", "/updated")];
            output::listing(format, &secrets, &columns)?;
        }
        SecretCommand::Set { name, from_file, hosts } => {
            let mut body = json!({ "value": value(&name, from_file.as_deref())? });
            if !hosts.is_empty() {
                body["hosts"] = json!(hosts);
            }
            let answer = client.write(Method::PUT, &["v1", "secrets", &name], &[], Body::Json(body)).await?;
            output::value(format, &answer, |answer| {
                let what = if answer["created"] == true { "new" } else { "replaced" };
                format!("the secret {name} is {what}\n")
            })?;
        }
        SecretCommand::Delete { name, force } => {
            let query = query([("force", force.then(|| "true".to_owned()))]);
            client.write(Method::DELETE, &["v1", "secrets", &name], &query, Body::None).await?;
            let answer = json!({ "name": name, "deleted": true });
            output::value(format, &answer, |_| format!("the secret {name} is deleted\n"))?;
        }
    }
    Ok(())
}

/// The value, from the file or the standard input.
fn value(name: &str, file: Option<&Path>) -> Result<String, Failure> {
    let (from, bytes) = match file {
        Some(file) => {
            let from = file.display().to_string();
            let bytes = std::fs::read(file)
                .map_err(|error| Failure::Usage(format!("{from} does not read: {error}")))?;
            (from, bytes)
        }
        None if std::io::stdin().is_terminal() => {
            return Err(Failure::Usage(format!(
                "the value would be seen as it is typed: pipe it in, \
                 as in `read -rs VALUE; printf %s \"$VALUE\" | bellwether secret set {name}`, or use --from-file"
            )));
        }
        None => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .map_err(|error| Failure::Usage(format!("the standard input does not read: {error}")))?;
            ("the standard input".to_owned(), bytes)
        }
    };
    checked(&from, bytes)
}

/// What was read, as text without the line break an editor or `echo` adds.
fn checked(from: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    // The bytes are a secret: an error must not repeat them.
    let mut text = String::from_utf8(bytes).map_err(|_| {
        Failure::Usage(format!("{from} is no text: a secret is UTF-8, such as base64 for bytes"))
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(Failure::Usage(format!("{from} is empty, expected the secret's value")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_at_the_end_is_not_part_of_a_secret() {
        for (given, expected) in [
            ("abc", "abc"),
            ("abc\n", "abc"),
            ("abc\r\n", "abc"),
            ("abc\n\n", "abc\n"),
            (" a\nb ", " a\nb "),
            ("a\r", "a\r"),
        ] {
            assert_eq!(checked("f", given.into()).ok().as_deref(), Some(expected), "{given:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused_without_repeating_it() {
        for (given, expected) in [(&b"\n"[..], "f is empty"), (b"hush\xff", "f is no text")] {
            let Err(Failure::Usage(message)) = checked("f", given.to_vec()) else { panic!("{given:?}") };
            assert!(message.contains(expected) && !message.contains("hush"), "{message}");
        }
    }
}
