//! `bellwether calendar`.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::Limit;
use super::monitor::warn_of_monitors;
use super::mute::{instant, lasting, nothing_said, pairs, span};
use crate::client::{Body, Connection};
use crate::failure::Failure;
use crate::output;

/// `bellwether calendar`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: CalendarCommand,
}

#[derive(Debug, Subcommand)]
enum CalendarCommand {
    /// List the calendar, entries over for up to 30 days included
    #[command(after_help = "Example:\n  bellwether calendar list")]
    List(Limit),
    /// Show one entry
    #[command(after_help = "Example:\n  bellwether calendar show 3")]
    #[command(alias = "get")]
    Show {
        /// Its id
        entry: u64,
    },
    /// Put an entry into the calendar
    #[command(after_help = "\
Examples:
  bellwether calendar create 'database upgrade' --kind suppress --tag host:db-1 --for 2h
  bellwether calendar create 'office hours' --kind office-hours --label team:web \\
      --days mon-fri --from 08:00 --to 18:00 --time-zone Europe/Berlin
  bellwether calendar create 'monthly batch' --kind suppress --label team:batch \\
      --rule 'FREQ=MONTHLY;BYDAY=1SU' --from 02:00 --lasts 6h")]
    Create(Box<New>),
    /// Delete an entry: what it was about is looked at again
    #[command(after_help = "Example:\n  bellwether calendar delete 3")]
    Delete {
        /// Its id
        entry: u64,
    },
}

/// What is to stand in the calendar.
#[derive(Args, Debug)]
struct New {
    /// Its name, one line
    name: String,
    /// Series are not looked at while it lasts (suppress, snooze), or only while it lasts (office-hours)
    #[arg(long, value_parser = ["suppress", "office-hours", "snooze"])]
    kind: String,
    /// This monitor; may be repeated for any of several
    #[arg(long, value_name = "NAME")]
    monitor: Vec<String>,
    /// Monitors with this label; may be repeated
    #[arg(long, value_name = "NAME:VALUE")]
    label: Vec<String>,
    /// Series with this tag; may be repeated
    #[arg(long, value_name = "NAME:VALUE")]
    tag: Vec<String>,
    /// Series of this metric; may be repeated for any of several
    #[arg(long, value_name = "NAME")]
    metric: Vec<String>,
    /// Every series of every monitor, in the place of a scope
    #[arg(long, conflicts_with_all = ["monitor", "label", "tag", "metric"])]
    everything: bool,
    /// From this instant on; from now on if it is not given
    #[arg(long, value_name = "TIME", value_parser = instant)]
    start: Option<Timestamp>,
    /// Until this instant; until it is deleted if neither this nor --for is given
    #[arg(long, value_name = "TIME", value_parser = instant, conflicts_with = "lasting")]
    end: Option<Timestamp>,
    /// So long, from its start on
    #[arg(long = "for", value_name = "SPAN", value_parser = span)]
    lasting: Option<Box<jiff::Span>>,
    /// Again and again on these days of each week, as mon-fri or sat,sun
    #[arg(long, value_name = "DAYS", value_parser = week_days, requires = "from")]
    days: Option<String>,
    /// Or on the days of a rule of iCalendar, as FREQ=MONTHLY;BYDAY=1SU
    #[arg(long, value_name = "RULE", conflicts_with = "days", requires = "from")]
    rule: Option<String>,
    /// From this time of day on, as 08:00; on every day if neither --days nor --rule is given
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Until this time of day, of the next day where it is not after --from
    #[arg(long, value_name = "TIME", requires = "from", conflicts_with = "lasts")]
    to: Option<String>,
    /// Or for so long each time, up to 7d
    #[arg(long, value_name = "SPAN", requires = "from")]
    lasts: Option<String>,
    /// Whose days and times of day; the organisation's if it is not given
    #[arg(long, alias = "zone", value_name = "ZONE", requires = "from")]
    time_zone: Option<String>,
    /// Why
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

pub(super) const FIELDS: &[output::Column] = &[
    ("id", "/id"),
    ("name", "/name"),
    ("kind", "/kind"),
    ("active", "/active"),
    ("until", "/until"),
    ("begins", "/begins"),
    ("monitors", "/scope/monitors"),
    ("labels", "/scope/labels"),
    ("tags", "/scope/tags"),
    ("metrics", "/metrics"),
    ("start", "/start"),
    ("end", "/end"),
    ("on", "/repeat/rule"),
    ("from", "/repeat/from"),
    ("to", "/repeat/to"),
    ("lasts", "/repeat/lasts"),
    ("zone", "/repeat/zone"),
    ("reason", "/reason"),
    ("incident", "/incident"),
    ("updated by", "/updated_by"),
];

/// Works on the calendar.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    match arguments.command {
        CalendarCommand::List(limit) => {
            let entries = client.list(&["v1", "calendar"], &[], limit.items()).await?;
            let columns = [
                ("ID", "/id"),
                ("NAME", "/name"),
                ("KIND", "/kind"),
                ("ACTIVE", "/active"),
                ("UNTIL", "/until"),
                ("MONITORS", "/scope/monitors"),
                ("LABELS", "/scope/labels"),
                ("TAGS", "/scope/tags"),
                ("METRICS", "/metrics"),
                ("ON", "/repeat/rule"),
                ("FROM", "/repeat/from"),
                ("TO", "/repeat/to"),
                ("LASTS", "/repeat/lasts"),
                ("ZONE", "/repeat/zone"),
                ("START", "/start"),
                ("END", "/end"),
            ];
            output::listing(format, &entries, &columns)?;
        }
        CalendarCommand::Show { entry } => {
            let answer = client.get(&["v1", "calendar", &entry.to_string()], &[]).await?;
            output::value(format, &answer, |entry| output::record(entry, FIELDS))?;
        }
        CalendarCommand::Create(new) => {
            let monitors = new.monitor.clone();
            let body = Body::Json(document(*new)?);
            let answer = client.write(Method::POST, &["v1", "calendar"], &[], body).await?;
            output::value(format, &answer, |entry| output::record(entry, FIELDS))?;
            warn_of_monitors(&client, &monitors).await;
        }
        CalendarCommand::Delete { entry } => {
            let path = ["v1", "calendar", &entry.to_string()];
            let answer = client.write(Method::DELETE, &path, &[], Body::None).await?;
            output::value(format, &answer, |_| format!("entry {entry} of the calendar is deleted\n"))?;
        }
    }
    Ok(())
}

fn document(new: New) -> Result<Value, Failure> {
    let scopes = [&new.monitor, &new.label, &new.tag, &new.metric];
    if !new.everything && scopes.iter().all(|scope| scope.is_empty()) {
        return Err(nothing_said("--monitor, --label, --tag or --metric"));
    }
    let scope = json!({
        "monitors": new.monitor, "labels": pairs("--label", &new.label)?, "tags": pairs("--tag", &new.tag)?,
    });
    let repeat = new.from.map(|from| {
        let rule = new.days.or(new.rule).unwrap_or_else(|| "FREQ=DAILY".to_owned());
        json!({ "zone": new.time_zone, "rule": rule, "from": from, "to": new.to, "lasts": new.lasts })
    });
    let end = match new.end {
        Some(end) => Some(end),
        None => lasting(new.start, new.lasting)?,
    };
    Ok(json!({
        "name": new.name, "kind": new.kind, "scope": scope, "metrics": new.metric, "everything": new.everything,
        "start": new.start, "end": end, "repeat": repeat, "reason": new.reason,
    }))
}

/// `mon-fri` or `sat,sun`, as a rule.
fn week_days(text: &str) -> Result<String, String> {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let wrong = || "expected days as mon-fri or sat,sun".to_owned();
    let lower = text.to_ascii_lowercase();
    let place = |day: &str| DAYS.iter().position(|known| *known == day).ok_or_else(wrong);
    let mut named = Vec::new();
    for part in lower.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (place(first)?, place(last)?);
        // fri-mon goes over the end of the week.
        let count = (last + 7 - first) % 7;
        named.extend((0..=count).map(|day| DAYS[(first + day) % 7][..2].to_ascii_uppercase()));
    }
    Ok(format!("FREQ=WEEKLY;BYDAY={}", named.join(",")))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::commands::{Command, CommandLine};

    #[test]
    fn each_example_of_a_new_entry_makes_one() {
        let line = CommandLine::command();
        let create = line.find_subcommand("calendar").and_then(|calendar| calendar.find_subcommand("create"));
        let help = create.and_then(clap::Command::get_after_help).unwrap().to_string().replace("\\\n", "");
        let examples: Vec<&str> = help.lines().filter(|line| line.starts_with("  bellwether")).collect();
        assert_eq!(examples.len(), 3);
        for example in examples {
            // What stands in quotes is one word.
            let words = example.split('\'').enumerate().flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().collect(),
                _ => vec![part],
            });
            let Command::Calendar(read) = CommandLine::try_parse_from(words).unwrap().command else {
                panic!("{example}")
            };
            let CalendarCommand::Create(new) = read.command else { panic!("{example}") };
            document(*new).expect(example);
        }
    }

    #[test]
    fn days_of_the_week_become_a_rule() {
        for (text, rule) in [
            ("mon-fri", Some("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR")),
            ("Sat,SUN", Some("FREQ=WEEKLY;BYDAY=SA,SU")),
            ("sat-mon", Some("FREQ=WEEKLY;BYDAY=SA,SU,MO")),
            ("wed", Some("FREQ=WEEKLY;BYDAY=WE")),
            ("weekdays", None),
            ("mon-", None),
            ("", None),
        ] {
            assert_eq!(week_days(text).ok().as_deref(), rule, "{text}");
        }
    }
}
