//! `bellwether mute`.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::Limit;
use super::monitor::warn_of_monitors;
use crate::client::{Body, Connection};
use crate::failure::Failure;
use crate::output;

/// `bellwether mute`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: MuteCommand,
}

#[derive(Debug, Subcommand)]
enum MuteCommand {
    /// List mutes, those over for up to 30 days included
    #[command(after_help = "Example:\n  bellwether mute list")]
    List(Limit),
    /// Mute what has all of a scope, or everything
    #[command(after_help = "\
Examples:
  bellwether mute create --monitor checkout-errors --for 2h --reason 'a new release'
  bellwether mute create --tag host:web-1 --start 2026-03-01T22:00:00Z --end 2026-03-02T04:00:00Z
  bellwether mute create --everything --for 30m --reason 'the network is replaced'")]
    Create {
        /// This monitor; may be repeated for any of several
        #[arg(long, value_name = "NAME")]
        monitor: Vec<String>,
        /// Monitors with this label; may be repeated
        #[arg(long, value_name = "NAME:VALUE")]
        label: Vec<String>,
        /// Series with this tag; may be repeated
        #[arg(long, value_name = "NAME:VALUE")]
        tag: Vec<String>,
        /// Every series of every monitor, in the place of a scope
        #[arg(long, conflicts_with_all = ["monitor", "label", "tag"])]
        everything: bool,
        /// From this instant on; from now on if it is not given
        #[arg(long, value_name = "TIME", value_parser = instant)]
        start: Option<jiff::Timestamp>,
        /// Until this instant; until it is deleted if neither this nor --for is given, which of --everything is to be said
        #[arg(long, value_name = "TIME", value_parser = instant, conflicts_with = "lasting")]
        end: Option<jiff::Timestamp>,
        /// So long, from its start on
        #[arg(long = "for", value_name = "SPAN", value_parser = span)]
        lasting: Option<Box<jiff::Span>>,
        /// Until it is deleted: it has no end
        #[arg(long, conflicts_with_all = ["end", "lasting"])]
        until_deleted: bool,
        /// Why
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Delete a mute: what is bad still is told
    #[command(after_help = "Example:\n  bellwether mute delete 3")]
    Delete {
        /// Its id
        mute: u64,
    },
}

const FIELDS: &[output::Column] = &[
    ("id", "/id"),
    ("active", "/active"),
    ("monitors", "/scope/monitors"),
    ("labels", "/scope/labels"),
    ("tags", "/scope/tags"),
    ("start", "/start"),
    ("end", "/end"),
    ("reason", "/reason"),
    ("created by", "/created_by"),
];

/// Works on mutes.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    match arguments.command {
        MuteCommand::List(limit) => {
            let mut mutes = client.list(&["v1", "mutes"], &[], limit.items()).await?;
            let columns = [
                ("ID", "/id"),
                ("ACTIVE", "/active"),
                ("MONITORS", "/scope/monitors"),
                ("LABELS", "/scope/labels"),
                ("TAGS", "/scope/tags"),
                ("START", "/start"),
                ("END", "/end"),
                ("REASON", "/reason"),
            ];
            if format == output::Format::Text {
                mutes.items = mutes.items.iter().map(with_end).collect();
            }
            output::listing(format, &mutes, &columns)?;
        }
        MuteCommand::Create {
            monitor,
            label,
            tag,
            everything,
            start,
            end,
            lasting,
            until_deleted,
            reason,
        } => {
            if !everything && monitor.is_empty() && label.is_empty() && tag.is_empty() {
                return Err(nothing_said("--monitor, --label or --tag"));
            }
            if everything && end.is_none() && lasting.is_none() && !until_deleted {
                let text =
                    "nothing says until when everything is quiet, expected --for, --end, or --until-deleted";
                return Err(Failure::Usage(text.to_owned()));
            }
            let scope = json!({ "monitors": monitor, "labels": pairs("--label", &label)?, "tags": pairs("--tag", &tag)? });
            let lasting = self::lasting(start, lasting)?;
            let body = json!({
                "scope": scope, "everything": everything,
                "start": start, "end": end.or(lasting), "until_deleted": until_deleted, "reason": reason,
            });
            let answer = client.write(Method::POST, &["v1", "mutes"], &[], Body::Json(body)).await?;
            output::value(format, &answer, |mute| output::record(&with_end(mute), FIELDS))?;
            warn_of_monitors(&client, &monitor).await;
        }
        MuteCommand::Delete { mute } => {
            let path = ["v1", "mutes", &mute.to_string()];
            let answer = client.write(Method::DELETE, &path, &[], Body::None).await?;
            output::value(format, &answer, |_| format!("mute {mute} is deleted\n"))?;
        }
    }
    Ok(())
}

/// A mute as it is shown: one that has no end says so.
fn with_end(mute: &Value) -> Value {
    let mut shown = mute.clone();
    if let Some(mute) = shown.as_object_mut() {
        mute.entry("end").or_insert_with(|| "until it is deleted".into());
    }
    shown
}

/// Nobody is to be told of nothing by leaving something out.
pub(super) fn nothing_said(flags: &str) -> Failure {
    Failure::Usage(format!("nothing says what is to be quiet, expected {flags}, or --everything"))
}

/// The end of what lasts so long from its start, or from now on.
pub(super) fn lasting(
    start: Option<jiff::Timestamp>,
    span: Option<Box<jiff::Span>>,
) -> Result<Option<jiff::Timestamp>, Failure> {
    let Some(span) = span else { return Ok(None) };
    let far = |_| Failure::Usage(format!("--for is {span:#}, expected an end before the year 10000"));
    let start = start.unwrap_or_else(jiff::Timestamp::now);
    length(&span).and_then(|length| start.checked_add(length)).map(Some).map_err(far)
}

pub(super) fn pairs(flag: &str, texts: &[String]) -> Result<Map<String, Value>, Failure> {
    let pair = |text: &String| {
        let wrong =
            || Failure::Usage(format!("{flag} is {text:?}, expected a name and a value, as in team:web"));
        let (name, value) = text.split_once(':').ok_or_else(wrong)?;
        Ok((name.to_owned(), value.into()))
    };
    texts.iter().map(pair).collect()
}

pub(super) fn instant(text: &str) -> Result<jiff::Timestamp, String> {
    let read = bellwether_kernel::Timestamp::parse(text);
    read.map(bellwether_kernel::Timestamp::to_jiff)
        .ok_or_else(|| "expected an instant as 2026-03-01T22:00:00Z".to_owned())
}

/// A span of time, in the units it is written in; boxed, since each unit has a field of its own.
pub(super) fn span(text: &str) -> Result<Box<jiff::Span>, String> {
    let span = text.parse().ok().filter(|span: &jiff::Span| span.is_positive() && length(span).is_ok());
    span.map(Box::new).ok_or_else(|| "expected a span of time such as 30m, 2h or 1d".to_owned())
}

fn length(span: &jiff::Span) -> Result<jiff::SignedDuration, jiff::Error> {
    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mute_without_an_end_says_that_it_lasts_until_it_is_deleted() {
        let shown = |mute: Value| with_end(&mute)["end"].clone();
        assert_eq!(shown(json!({"id": 1})), "until it is deleted");
        assert_eq!(shown(json!({"id": 1, "end": "2026-03-02T04:00:00Z"})), "2026-03-02T04:00:00Z");
    }

    #[test]
    fn a_span_that_leads_too_far_is_told_in_the_units_it_was_written_in() {
        for text in ["7000000d", "100000000h"] {
            let Err(Failure::Usage(told)) = lasting(None, span(text).ok()) else { panic!("{text}") };
            assert_eq!(told, format!("--for is {text}, expected an end before the year 10000"));
        }
    }

    #[test]
    fn what_is_no_span_and_no_pair_is_refused() {
        for (text, hours) in [("2h", 2), ("1d", 24), ("1w", 168)] {
            assert_eq!(length(&span(text).unwrap()).unwrap(), jiff::SignedDuration::from_hours(hours));
        }
        for wrong in ["-1h", "0m", "1mo", "soon"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
        assert!(pairs("--tag", &["host".to_owned()]).is_err());
        let tags = pairs("--tag", &["host:web-1".to_owned()]).ok();
        assert_eq!(tags.map(Value::Object), Some(json!({"host": "web-1"})));
    }
}
