//! `bellwether route`: which channels incidents go to, beyond those their monitors name.

use std::path::{Path, PathBuf};

use bellwether_kernel::counted;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::mute::pairs;
use super::{query, warn, warnings};
use crate::client::{Body, Connection};
use crate::failure::Failure;
use crate::output;

/// `bellwether route`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: RouteCommand,
}

#[derive(Debug, Subcommand)]
enum RouteCommand {
    /// List the rules and the tables
    #[command(after_help = "Example:\n  bellwether route list")]
    List,
    /// Print a table's CSV or, without a name, the rules as a document that can be put
    #[command(after_help = "\
Examples:
  bellwether route show > rules.json
  bellwether route show countries > countries.csv")]
    Show {
        /// The table's name
        table: Option<String>,
    },
    /// Put the rules, a JSON file, or a table, a CSV file, in the place of what is there
    #[command(after_help = "\
Examples:
  bellwether route put rules.json
  bellwether route put countries.csv --table countries
  bellwether route put hosts.csv --table hosts --severity critical --label team:web --version 3

rules.json is {\"rules\": [{\"match\": {\"labels\": {\"team\": \"pay*\"}, \"severity\": \"high\"}, \"channels\": \
[\"pager\"]}]}; to have none, {\"rules\": []}. A table's first line is <tag>,channels, those below it values of the \
tag and channels with ; between them.")]
    Put {
        /// JSON with the rules; a table's CSV
        file: PathBuf,
        /// The table's name: 1 to 32 characters of a-z, 0-9, _ and -
        #[arg(long, value_name = "NAME")]
        table: Option<String>,
        /// Which incidents the table is asked for; all, if nothing is given.
        #[command(flatten)]
        matching: Matching,
        /// The version it must have; 0 for one that must not be there
        #[arg(long, value_name = "NUMBER")]
        version: Option<u32>,
    },
    /// Delete a table; rules go by putting others
    #[command(after_help = "Example:\n  bellwether route delete countries")]
    Delete {
        /// Its name
        table: String,
    },
    /// Show which channels an incident that opens now would go to; nothing is sent
    #[command(after_help = "\
Examples:
  bellwether route test --monitor checkout --tag country:de
  bellwether route test --label team:payments --severity critical --channel ops

Who is told is decided when an incident opens, and stays so until it closes, also where it becomes more severe. To \
have others told of what is critical, give them a monitor of its own, with a label that a rule matches.")]
    Test {
        /// A label of its alerts, NAME:VALUE; may be repeated. Without one those of its monitors
        #[arg(long, value_name = "NAME:VALUE")]
        label: Vec<String>,
        /// How much it matters: info, low, medium, high or critical. Without it as its monitors say; high if none is given
        #[arg(long)]
        severity: Option<String>,
        /// The id or name of one of its monitors; may be repeated
        #[arg(long)]
        monitor: Vec<String>,
        /// A tag of its series, KEY:VALUE; may be repeated
        #[arg(long, value_name = "KEY:VALUE")]
        tag: Vec<String>,
        /// A channel its monitors name; may be repeated. Without one those they do name
        #[arg(long)]
        channel: Vec<String>,
    },
}

/// Which incidents.
#[derive(Args, Debug)]
struct Matching {
    /// With --table: only incidents with this label, a value that ends in * standing for all that begin so; may be repeated
    #[arg(long, value_name = "NAME:VALUE", requires = "table")]
    label: Vec<String>,
    /// With --table: only incidents that matter at least so much: info, low, medium, high or critical
    #[arg(long, requires = "table")]
    severity: Option<String>,
    /// With --table: only incidents of this monitor, by id or name; may be repeated
    #[arg(long, requires = "table")]
    monitor: Vec<String>,
}

impl Matching {
    fn json(self) -> Result<Value, Failure> {
        let mut matching = Map::new();
        if !self.label.is_empty() {
            matching.insert("labels".to_owned(), pairs("--label", &self.label)?.into());
        }
        if let Some(severity) = self.severity {
            matching.insert("severity".to_owned(), severity.into());
        }
        if !self.monitor.is_empty() {
            matching.insert("monitors".to_owned(), self.monitor.into());
        }
        Ok(matching.into())
    }
}

const RULES: [&str; 3] = ["v1", "routes", "rules"];
const TABLES: [&str; 3] = ["v1", "routes", "tables"];

/// Works on routes.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    match arguments.command {
        RouteCommand::List => {
            let rules = client.get(&RULES, &[]).await?;
            let tables = client.get(&TABLES, &[]).await?;
            let all = json!({
                "version": rules["version"], "rules": rules["rules"], "tables": tables["items"],
                "warnings": of_all(&rules, &tables),
            });
            output::value(format, &all, listed)?;
        }
        RouteCommand::Show { table: None } => {
            let rules = client.get(&RULES, &[]).await?;
            let document = json!({ "rules": rules["rules"] });
            let shown = if arguments.connection.json { &rules } else { &document };
            output::value(format, shown, |document| format!("{document:#}\n"))?;
        }
        RouteCommand::Show { table: Some(table) } => {
            let table = client.get(&["v1", "routes", "tables", &table], &[]).await?;
            output::value(format, &table, |table| table["csv"].as_str().unwrap_or_default().to_owned())?;
        }
        RouteCommand::Put { file, table, matching, version } => {
            let query = query([("version", version.map(|version| version.to_string()))]);
            match table {
                None => {
                    let body = Body::Json(rules(&file)?);
                    let rules = client.write(Method::PUT, &RULES, &query, body).await?;
                    output::value(format, &rules, |rules| {
                        let count = rules["rules"].as_array().map_or(0, Vec::len);
                        format!("{}, version {}\n", counted(count, "rule"), rules["version"])
                    })?;
                    warn(&rules);
                }
                Some(table) => {
                    let body = Body::Json(json!({ "match": matching.json()?, "csv": read(&file)? }));
                    let path = ["v1", "routes", "tables", &table];
                    let table = client.write(Method::PUT, &path, &query, body).await?;
                    output::value(format, &table, |table| output::record(table, TABLE))?;
                    warn(&table);
                }
            }
        }
        RouteCommand::Delete { table } => {
            client.write(Method::DELETE, &["v1", "routes", "tables", &table], &[], Body::None).await?;
            let answer = json!({ "name": table, "deleted": true });
            output::value(format, &answer, |_| format!("the table {table} is deleted\n"))?;
        }
        RouteCommand::Test { label, severity, monitor, tag, channel } => {
            let mut asked = json!({ "monitors": monitor, "tags": pairs("--tag", &tag)? });
            if !label.is_empty() {
                asked["labels"] = pairs("--label", &label)?.into();
            }
            if let Some(severity) = severity {
                asked["severity"] = severity.into();
            }
            if !channel.is_empty() {
                asked["channels"] = channel.into();
            }
            let path = ["v1", "routes", "test"];
            let routed = client.write(Method::POST, &path, &[], Body::Json(asked)).await?;
            output::value(format, &routed, told)?;
        }
    }
    Ok(())
}

const TABLE: &[output::Column] = &[
    ("name", "/name"),
    ("version", "/version"),
    ("tag", "/tag"),
    ("rows", "/rows"),
    ("updated", "/updated"),
];

/// Rules and tables as people read them.
fn listed(all: &Value) -> String {
    let items = |name: &str| all[name].as_array().map_or(&[][..], Vec::as_slice);
    let rules = output::table(
        items("rules"),
        &[("MATCH", "/match"), ("CHANNELS", "/channels"), ("DESCRIPTION", "/description")],
    );
    let tables = output::table(
        items("tables"),
        &[
            ("TABLE", "/name"),
            ("TAG", "/tag"),
            ("ROWS", "/rows"),
            ("VERSION", "/version"),
            ("UPDATED", "/updated"),
        ],
    );
    let mut text = format!("Rules, version {}:\n{rules}\nTables:\n{tables}", all["version"]);
    if warnings(all).next().is_some() {
        text.push_str("\nWarnings:\n");
    }
    text.extend(warnings(all).map(|warning| format!("{warning}\n")));
    text
}

/// What rules and tables name and is not there.
fn of_all(rules: &Value, tables: &Value) -> Vec<String> {
    let mut all: Vec<String> = warnings(rules).map(str::to_owned).collect();
    for table in tables["items"].as_array().into_iter().flatten() {
        let name = table["name"].as_str().unwrap_or_default();
        all.extend(warnings(table).map(|warning| format!("table {name}: {warning}")));
    }
    all
}

/// Where an incident would go, a channel on each line, and which are passed over.
fn told(routed: &Value) -> String {
    let names = |field: &str| routed[field].as_array().into_iter().flatten().filter_map(Value::as_str);
    let missing: Vec<&str> = names("missing").collect();
    let line = |name: &str| match missing.contains(&name) {
        true => format!("{name}  (there is no such channel)\n"),
        false => format!("{name}\n"),
    };
    let mut lines: String = names("channels").map(line).collect();
    if lines.is_empty() {
        lines.push_str("nobody would be told\n");
    }
    let passed_over =
        names("passed_over").map(|name| format!("passed over: {name}  (there is no such channel)\n"));
    lines.extend(passed_over);
    if routed["fell_back"] == true {
        lines.push_str("no table leads to a channel that is there: the monitors' own channels are told\n");
    }
    lines
}

fn rules(file: &Path) -> Result<Value, Failure> {
    let name = file.display();
    let mut read: Value = serde_json::from_str(&read(file)?).map_err(|error| {
        Failure::Usage(format!("{name} is not JSON: {error}; a table's CSV needs --table"))
    })?;
    // What a host shows of them can be put again.
    if let Value::Object(fields) = &mut read {
        fields.remove("version");
        fields.remove("warnings");
    }
    Ok(read)
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("{} does not read: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_routes_name_and_is_not_there_is_listed_with_its_place() {
        let (rules, tables) = (
            json!({"warnings": ["rules[0]: there is no channel \"a\""]}),
            json!({"items": [{"name": "one"}, {"name": "two", "warnings": ["there is no channel \"b\""]}]}),
        );
        let all = json!({"version": 1, "rules": [], "tables": [], "warnings": of_all(&rules, &tables)});
        let text = listed(&all);
        let expected =
            "Warnings:\nrules[0]: there is no channel \"a\"\ntable two: there is no channel \"b\"\n";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn a_trial_names_channels_that_are_passed_over_and_says_who_is_told_instead() {
        let routed = json!({
            "channels": ["ops", "own"], "missing": ["own"], "passed_over": ["nochan"], "fell_back": true,
        });
        let text = told(&routed);
        for part in
            ["ops\n", "own  (there is no such channel)\n", "passed over: nochan  (", "own channels are told"]
        {
            assert!(text.contains(part), "no {part} in {text}");
        }
        let nobody = told(&json!({"channels": [], "missing": [], "passed_over": [], "fell_back": false}));
        assert_eq!(nobody, "nobody would be told\n");
    }
}
