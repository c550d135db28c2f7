//! `bellwether delivery`: what channels were told, and what came of it.

use std::collections::HashSet;

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::Value;

use super::channel::{answer, exchange};
use super::{Limit, query, run};
use crate::client::{Body, Connection};
use crate::failure::Failure;
use crate::output;

/// `bellwether delivery`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: DeliveryCommand,
}

#[derive(Debug, Subcommand)]
enum DeliveryCommand {
    /// List deliveries, newest first
    #[command(after_help = "\
Examples:
  bellwether delivery list --state dead                        # dead letters
  bellwether delivery list --channel ops --since 2h")]
    List {
        /// Only in this state
        #[arg(long)]
        state: Option<State>,
        /// Only to this channel
        #[arg(long)]
        channel: Option<String>,
        /// Only of this incident
        #[arg(long)]
        incident: Option<String>,
        /// Only of what came about since then: a date, a time (RFC 3339) or a span before now, such as 2h
        #[arg(long, aliases = ["from", "start"], value_name = "TIME", value_parser = run::instant)]
        since: Option<jiff::Timestamp>,
        /// Only of what came about before then, likewise
        #[arg(long, aliases = ["end", "to"], value_name = "TIME", value_parser = run::instant)]
        until: Option<jiff::Timestamp>,
        /// How much.
        #[command(flatten)]
        limit: Limit,
    },
    /// Show a delivery: what was tried, what was sent and answered
    #[command(after_help = "Example:\n  bellwether delivery show 17.ops.1")]
    #[command(alias = "get")]
    Show {
        /// Its id: incident.channel.sequence
        delivery: String,
    },
    /// Deliver dead letters after all
    #[command(after_help = "\
Examples:
  bellwether delivery resend 17.ops.1
  bellwether delivery resend 17.ops.1 17.ops.2")]
    Resend {
        /// Their ids, earlier ones of an incident first
        #[arg(required = true)]
        deliveries: Vec<String>,
    },
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// It is still to be delivered
    Waiting,
    /// The channel took it
    Delivered,
    /// It was given up: it can be resent
    Dead,
    /// A later one told the same and more, while too many waited
    Folded,
}

const FIELDS: &[output::Column] = &[
    ("id", "/id"),
    ("event", "/event"),
    ("state", "/state"),
    ("time", "/time"),
    ("due", "/due"),
    ("attempts", "/attempts"),
    ("reason", "/reason"),
    ("ended", "/ended"),
];

/// Works on deliveries.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    match arguments.command {
        DeliveryCommand::List { state, channel, incident, since, until, limit } => {
            let query = query([
                ("state", state.as_ref().and_then(run::word)),
                ("channel", channel),
                ("incident", incident),
                ("since", since.map(|since| since.to_string())),
                ("until", until.map(|until| until.to_string())),
            ]);
            let deliveries = client.list(&["v1", "deliveries"], &query, limit.items()).await?;
            let columns = [
                ("ID", "/id"),
                ("EVENT", "/event"),
                ("STATE", "/state"),
                ("TIME", "/time"),
                ("ATTEMPTS", "/attempts"),
                ("DUE", "/due"),
                ("REASON", "/reason"),
            ];
            output::listing(format, &deliveries, &columns)?;
        }
        DeliveryCommand::Show { delivery } => {
            let delivery = client.get(&["v1", "deliveries", &delivery], &[]).await?;
            output::value(format, &delivery, described)?;
        }
        DeliveryCommand::Resend { deliveries } => {
            let asked = deliveries.len();
            // Of an incident's line what comes after one that is refused stays: an opening must not follow its closing.
            let mut held: HashSet<String> = HashSet::new();
            let mut refused = 0;
            for delivery in deliveries {
                let line = delivery.rsplit_once('.').map_or(delivery.as_str(), |(line, _)| line);
                if held.contains(line) {
                    crate::output::note!(
                        "{delivery} is not resent: an earlier one of its incident was refused"
                    );
                    refused += 1;
                    continue;
                }
                let path = ["v1", "deliveries", &delivery, "resend"];
                match client.write(Method::POST, &path, &[], Body::None).await {
                    Ok(answer) => {
                        output::value(format, &answer, |_| format!("{delivery} waits to be delivered\n"))?;
                    }
                    Err(failure @ Failure::Refused(_)) if asked > 1 => {
                        crate::output::note!("{delivery}: {}", failure.for_people());
                        held.insert(line.to_owned());
                        refused += 1;
                    }
                    Err(failure) => return Err(failure),
                }
            }
            if refused > 0 {
                return Err(Failure::Failed(anyhow::anyhow!("{refused} of {asked} are not resent")));
            }
        }
    }
    Ok(())
}

/// A delivery as people read it: a request that is sent again as it was is shown once.
fn described(delivery: &Value) -> String {
    let mut shown = None;
    let history = delivery["history"].as_array().map_or(&[][..], Vec::as_slice);
    let attempts = history.iter().map(|attempt| {
        let columns = [
            ("attempt", "/number"),
            ("time", "/time"),
            ("formatter", "/formatter"),
            ("outcome", "/outcome"),
            ("reason", "/reason"),
            ("milliseconds", "/duration_ms"),
        ];
        let exchanges = attempt["exchanges"].as_array().map_or(&[][..], Vec::as_slice);
        let mut text = String::new();
        for exchanged in exchanges {
            let again = shown == Some(&exchanged["request"]);
            text.push_str(&if again {
                format!("\nthe same request\n{}", answer(exchanged))
            } else {
                exchange(exchanged)
            });
            shown = Some(&exchanged["request"]);
        }
        format!("\n{}{text}", output::record(attempt, &columns))
    });
    format!("{}{}", output::record(delivery, FIELDS), attempts.collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_that_is_sent_again_as_it_was_is_shown_once() {
        let attempt = |number: u8, body: &str| {
            let request = json!({"http": {"method": "POST", "body": body}});
            json!({"number": number, "outcome": "retry", "exchanges": [{"request": request, "status": 500}]})
        };
        let delivery = json!({"id": "17.ops.1", "state": "waiting",
            "history": [attempt(1, "first"), attempt(2, "first"), attempt(3, "second")]});
        let text = described(&delivery);
        let count = |part: &str| text.matches(part).count();
        assert_eq!(
            (count("\"first\""), count("\"second\""), count("the same request"), count("500")),
            (1, 1, 1, 3),
            "{text}"
        );
    }

    #[test]
    fn states_are_written_as_the_api_writes_them() {
        for state in State::value_variants().iter().filter_map(run::word) {
            let read: Result<bellwether_alerts::DeliveryState, _> =
                serde_json::from_value(Value::from(state.clone()));
            assert!(read.is_ok(), "{state}");
        }
    }
}
