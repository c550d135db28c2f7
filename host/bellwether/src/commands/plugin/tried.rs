//! `bellwether plugin detect`, `forecast` and `format`: an installed plugin tried on a host. Nothing is kept or sent.

use clap::{ArgGroup, Args};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::author::trial::read_input;
use crate::client::{Body, Client};
use crate::commands::playbook::read_json;
use crate::failure::Failure;
use crate::output::{self, Format};

/// What a role is set to.
#[derive(Args, Debug)]
pub(crate) struct Settings {
    /// The plugin's name
    plugin: String,
    /// One setting, JSON or text; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    setting: Vec<String>,
}

/// A series: written out, or of a metric.
#[derive(Args, Debug)]
#[group(skip)]
#[command(group = ArgGroup::new("series").args(["points", "metric"]).required(true))]
pub(crate) struct Series {
    /// Points, oldest first, separated by spaces or commas; - where there is none
    #[arg(long, allow_hyphen_values = true)]
    points: Option<String>,
    /// Milliseconds from point to point; a minute if absent
    #[arg(long, value_name = "MILLISECONDS", requires = "points")]
    step: Option<u64>,
    /// The name of a metric whose values are the points
    #[arg(long, requires = "from")]
    metric: Option<String>,
    /// One of a keyed metric's keys; may be repeated
    #[arg(long, requires = "metric")]
    key: Vec<String>,
    /// The metric's first interval: a date, or an instant
    #[arg(long, aliases = ["start", "since"], requires = "metric")]
    from: Option<String>,
    /// The metric's last interval; the present one if absent
    #[arg(long, aliases = ["end", "until"], requires = "metric")]
    to: Option<String>,
}

/// Points to score.
#[derive(Args, Debug)]
pub(crate) struct Detect {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    series: Series,
}

/// A past to predict from.
#[derive(Args, Debug)]
pub(crate) struct Forecast {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    series: Series,
    /// How many points to predict
    #[arg(long, value_name = "POINTS")]
    horizon: u32,
    /// How much of what comes shall lie in the band
    #[arg(long, default_value_t = 0.95, value_parser = crate::commands::number)]
    level: f64,
}

/// A notification to tell.
#[derive(Args, Debug)]
pub(crate) struct Notify {
    #[command(flatten)]
    settings: Settings,
    /// What happened: opened, updated, closed or test
    #[arg(long, default_value = "opened")]
    event: String,
    /// What else the made-up notification is to say: JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    notification: Option<String>,
    /// What the formatter keeps for the channel and incident
    #[arg(long, default_value = "")]
    memory: String,
    /// An answer to what it sends, a status and a body; may be repeated
    #[arg(long, value_name = "STATUS[=BODY]")]
    answer: Vec<String>,
}

impl Settings {
    fn json(&self) -> Result<Map<String, Value>, Failure> {
        self.setting.iter().map(|text| read_input("--setting", text)).collect()
    }
}

impl Series {
    /// Adds itself to a request's body.
    fn write(&self, body: &mut Value) -> Result<(), Failure> {
        if let Some(points) = &self.points {
            let words = points.split([' ', ',', '\n']).filter(|word| !word.is_empty());
            body["points"] = words.map(point).collect::<Result<_, _>>()?;
        }
        if let Some(step) = self.step {
            body["step_ms"] = json!(step);
        }
        if let Some(metric) = &self.metric {
            body["from"] = json!({"metric": metric, "keys": self.key, "start": self.from});
            if let Some(end) = &self.to {
                body["from"]["end"] = json!(end);
            }
        }
        Ok(())
    }
}

fn point(word: &str) -> Result<Value, Failure> {
    match word {
        "-" => Ok(Value::Null),
        word => {
            word.parse::<f64>().ok().filter(|point| point.is_finite()).map(Value::from).ok_or_else(|| {
                Failure::Usage(format!(
                    "--points holds {word:?}, expected a number, or - where there is none"
                ))
            })
        }
    }
}

/// Has a detector score points.
pub(crate) async fn detect(arguments: &Detect, client: &Client, format: Format) -> Result<(), Failure> {
    let mut body = json!({ "settings": arguments.settings.json()? });
    arguments.series.write(&mut body)?;
    let answer = ask(client, &arguments.settings.plugin, "detect", body).await?;
    Ok(output::value(format, &answer, scores)?)
}

/// Has a forecaster predict points.
pub(crate) async fn forecast(arguments: &Forecast, client: &Client, format: Format) -> Result<(), Failure> {
    let settings = arguments.settings.json()?;
    let mut body = json!({"settings": settings, "horizon": arguments.horizon, "level": arguments.level});
    arguments.series.write(&mut body)?;
    let answer = ask(client, &arguments.settings.plugin, "forecast", body).await?;
    Ok(output::value(format, &answer, |answer| {
        rows(
            answer,
            &[("TIME", "/times"), ("EXPECTED", "/expected"), ("LOWER", "/lower"), ("UPPER", "/upper")],
        )
    })?)
}

/// Shows what a formatter would send.
pub(crate) async fn show(arguments: &Notify, client: &Client, format: Format) -> Result<(), Failure> {
    let mut notification = match &arguments.notification {
        Some(text) => read_json("--notification", text)?,
        None => json!({}),
    };
    if let Some(notification) = notification.as_object_mut() {
        notification.entry("event").or_insert_with(|| json!(arguments.event));
    }
    let answers: Vec<Value> = arguments.answer.iter().map(|text| answer(text)).collect::<Result<_, _>>()?;
    let body = json!({
        "settings": arguments.settings.json()?,
        "notification": notification,
        "memory": arguments.memory,
        "answers": answers,
    });
    let answer = ask(client, &arguments.settings.plugin, "format", body).await?;
    Ok(output::value(format, &answer, steps)?)
}

async fn ask(client: &Client, plugin: &str, verb: &str, body: Value) -> Result<Value, Failure> {
    client.write(Method::POST, &["v1", "plugins", plugin, verb], &[], Body::Json(body)).await
}

/// `200=ok` as an answer.
fn answer(text: &str) -> Result<Value, Failure> {
    let (status, body) = text.split_once('=').unwrap_or((text, ""));
    let status = status.parse().ok().filter(|status| (100_u16..=599).contains(status)).ok_or_else(|| {
        Failure::Usage(format!(
            "--answer is {text:?}, expected a status from 100 to 599, and a body behind =, such as 200=ok"
        ))
    })?;
    Ok(json!({"http": {"status": status, "body": body}}))
}

/// The verdicts of each series as a table.
fn scores(answer: &Value) -> String {
    let mut text = String::new();
    for series in answer["series"].as_array().into_iter().flatten() {
        if let Some(key) = series.get("key").and_then(Value::as_str) {
            text.push_str(&format!("{key}\n"));
        }
        let mut series = series.clone();
        series["times"] = answer["times"].clone();
        let columns = [
            ("TIME", "/times"),
            ("VALUE", "/values"),
            ("SCORE", "/scores"),
            ("EXPECTED", "/expected"),
            ("LOWER", "/lower"),
            ("UPPER", "/upper"),
        ];
        text.push_str(&rows(&series, &columns));
    }
    text
}

/// Lists beside each other as a table: a column's pointer is `/` and the list's name.
fn rows(lists: &Value, columns: &[output::Column]) -> String {
    let list =
        |pointer: &str| lists.pointer(pointer).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let count = list("/times").len();
    let row = |at: usize| -> Value {
        let cells =
            columns.iter().map(|(_, pointer)| (pointer[1..].to_owned(), list(pointer).get(at).cloned()));
        cells.map(|(name, cell)| (name, cell.unwrap_or_default())).collect()
    };
    output::table(&(0..count).map(row).collect::<Vec<_>>(), columns)
}

/// The steps of an exchange, as they would go over the wire.
fn steps(answer: &Value) -> String {
    let mut text = String::new();
    for (number, step) in answer["steps"].as_array().into_iter().flatten().enumerate() {
        let name = step.as_object().and_then(|step| step.keys().next().cloned()).unwrap_or_default();
        text.push_str(&format!("{}. {name}\n", number + 1));
        let step = &step[&name];
        let request = &step["outgoing"]["http"];
        if request.is_object() {
            let cell = |value: &Value| output::cell(Some(value));
            text.push_str(&format!("   {} {}\n", cell(&request["method"]), cell(&request["url"])));
            for header in request["headers"].as_array().into_iter().flatten() {
                text.push_str(&format!("   {}: {}\n", cell(&header["name"]), cell(&header["value"])));
            }
            for signing in request["signing"].as_array().into_iter().flatten() {
                text.push_str(&format!("   signed: {signing}\n"));
            }
            text.push_str(&format!("   {}\n", cell(&request["body"])));
        } else if step["outgoing"]["email"].is_object() {
            let fields =
                [("to", "/to"), ("cc", "/cc"), ("subject", "/subject"), ("text", "/text"), ("html", "/html")];
            text.push_str(&output::record(&step["outgoing"]["email"], &fields));
        }
        text.push_str(&output::record(
            step,
            &[("reason", "/reason"), ("after (ms)", "/after"), ("keeps", "/memory")],
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_and_answers_are_read_as_a_person_writes_them() {
        let read = |text: &str| text.split(' ').map(point).collect::<Result<Value, _>>();
        assert_eq!(read("1 -2.5 -").ok(), Some(json!([1.0, -2.5, null])));
        assert!(read("1 many").is_err() && read("inf").is_err());
        assert_eq!(answer("200=a=b").ok(), Some(json!({"http": {"status": 200, "body": "a=b"}})));
        assert_eq!(answer("503").ok(), Some(json!({"http": {"status": 503, "body": ""}})));
        for wrong in ["ok", "99", "600", "=ok"] {
            assert!(answer(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn steps_are_shown_as_they_would_go_over_the_wire() {
        let shown = steps(&json!({"steps": [
            {"send": {"outgoing": {"http": {
                "method": "POST", "url": "https://a.example/", "body": "{}", "signing": [],
                "headers": [{"name": "authorization", "value": "Bearer ‹secret token›"}],
            }}, "memory": ""}},
            {"retry": {"reason": "busy", "after": 7000}},
        ]}));
        for line in
            ["1. send", "   POST https://a.example/", "   authorization: Bearer ‹secret token›", "2. retry"]
        {
            assert!(shown.lines().any(|found| found == line), "{line:?} is not in\n{shown}");
        }
        assert!(shown.contains("busy") && shown.contains("7000"), "{shown}");
    }
}
