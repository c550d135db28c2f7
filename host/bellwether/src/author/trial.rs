//! `bellwether plugin test`: runs cases, and the battery for every component, in the real engine, and tells what came of
//! each.

use std::path::{Path, PathBuf};

use bellwether_kernel::counted;
use bellwether_plugins::Grant;
use serde_json::{Map, Value, json};

use super::battery::Battery;
use super::build::{Component, build};
use super::cases::{self, Case, Given};
use super::grants::check_asked;
use super::role_cases::Outcome;
use super::sandbox::{Ran, Sandbox, Told};
use crate::failure::Failure;
use crate::output::{self, Format};

/// The file of cases a project has.
const CASES: &str = "cases.toml";

/// What is tried, and on what.
pub(crate) struct Trial {
    /// A component; the project's own, built first, if absent.
    pub(crate) file: Option<PathBuf>,
    /// The project's folder.
    pub(crate) folder: PathBuf,
    /// A file of inputs, TOML or JSON, of one case without expectations.
    pub(crate) inputs: Option<PathBuf>,
    /// Single inputs of that case: `name=value`.
    pub(crate) input: Vec<String>,
    /// A file of cases.
    pub(crate) cases: Option<PathBuf>,
    /// What roles, and apps, are given in the battery: `name=value`.
    pub(crate) setting: Vec<String>,
    /// What the plugin is granted besides what the trial can give by itself.
    pub(crate) grants: Vec<Grant>,
}

/// What the battery gives a role: the settings of the first case that has some and is to go well.
fn settings_of(cases: &[Case]) -> Map<String, Value> {
    let well = cases.iter().filter(|case| case.error.is_none());
    well.map(|case| &case.role.settings).find(|settings| !settings.is_empty()).cloned().unwrap_or_default()
}

/// Whether the plugin takes each of these by its name.
fn check_settable(sandbox: &Sandbox, given: &Map<String, Value>) -> Result<(), Failure> {
    let settable = sandbox.settable();
    match given.iter().find(|(name, _)| !settable.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) if settable.is_empty() => Err(Failure::Usage(format!(
            "--setting {name}: {} takes no settings in the battery",
            sandbox.installed().name
        ))),
        Some((name, _)) => Err(Failure::Usage(format!(
            "--setting {name}: {} takes no such setting, expected one of {}",
            sandbox.installed().name,
            settable.join(", ")
        ))),
    }
}

/// Runs it and prints what came of it; a case that is not as it should be, or a broken promise, is a failure.
pub(crate) async fn run(trial: &Trial, format: Format) -> Result<(), Failure> {
    let component = match &trial.file {
        Some(file) => Component::read(file)?,
        None => build(&trial.folder, None)?,
    };
    check_asked(&component.inspection, &trial.grants)?;
    let cases = trial.cases()?;
    let mut settings = settings_of(&cases);
    let given = trial.setting.iter().map(|text| read_input("--setting", text));
    let given = given.collect::<Result<Map<_, _>, _>>()?;
    let mut battery =
        if trial.gives_inputs() { Battery::default() } else { Battery::admission(&component).await };
    if battery.broken() == 0 && !given.is_empty() {
        check_settable(&Sandbox::describing(&component).await?, &given)?;
    }
    settings.extend(given);
    let mut report = Report::default();
    let mut values = Vec::new();
    if battery.broken() == 0 {
        if !cases.is_empty() {
            let mut sandbox = Sandbox::open(&component, &trial.grants).await?;
            for case in &cases {
                report.add(&mut sandbox, case, format).await?;
            }
            values = sandbox.values().await?;
        }
        if !trial.gives_inputs() {
            battery.roles(&component, &settings).await;
        }
    }
    let failed = report.failed + battery.broken();
    match format {
        Format::Json => {
            let mut told = report.json(&values);
            told["checks"] = battery.json();
            told["failed"] = json!(failed);
            output::print(&format!("{told:#}\n"))?;
        }
        Format::Text => {
            output::print(&table(&values))?;
            if battery.len() > 0 {
                output::print(&format!("\n{}", battery.table()))?;
            }
        }
    }
    if failed > 0 {
        let (broken, checks, all) = (battery.broken(), battery.len(), cases.len());
        let cases = if report.cases.is_empty() && all > 0 {
            format!("of {} none was run", counted(all, "case"))
        } else {
            format!("{} of {} failed", report.failed, counted(all, "case"))
        };
        return Err(Failure::Failed(anyhow::anyhow!(
            "{broken} of {} failed, and {cases}",
            counted(checks, "check")
        )));
    }
    Ok(())
}

impl Trial {
    /// Whether it is one call with inputs of the moment, and nothing else.
    fn gives_inputs(&self) -> bool {
        self.inputs.is_some() || !self.input.is_empty()
    }

    /// The cases there are: without a file of them only the battery is run.
    fn cases(&self) -> Result<Vec<Case>, Failure> {
        if self.gives_inputs() {
            let mut inputs = self.inputs.as_deref().map_or_else(|| Ok(Map::new()), read_inputs)?;
            for text in &self.input {
                let (name, value) = read_input("--input", text)?;
                inputs.insert(name, value);
            }
            let name = "the inputs given".to_owned();
            return Ok(vec![Case { name, inputs: Some(inputs), ..Case::default() }]);
        }
        // The cases of a project are of its own component.
        let own = self.folder.join(CASES);
        match &self.cases {
            Some(file) => cases::read(file),
            None if self.file.is_none() && own.is_file() => cases::read(&own),
            None => Ok(Vec::new()),
        }
    }
}

/// What came of the cases so far.
#[derive(Default)]
struct Report {
    cases: Vec<Value>,
    failed: usize,
}

impl Report {
    /// Runs a case and tells of it.
    async fn add(&mut self, sandbox: &mut Sandbox, case: &Case, format: Format) -> Result<(), Failure> {
        if let Some(instant) = case.instant().map_err(Failure::Usage)? {
            sandbox.set_now(instant);
        }
        let (mut faults, mut told) = match case.given().map_err(Failure::Usage)? {
            Given::Inputs(inputs) => {
                let Ran { result, log } = sandbox.run(&inputs).await?;
                let log: Vec<Value> =
                    log.iter().map(|line| json!({"level": line.level, "message": line.message})).collect();
                let faults = case.faults_of_outcome(&result);
                let told = match result {
                    Ok(outputs) => json!({"outputs": outputs, "log": log}),
                    Err(error) => json!({"error": error, "log": log}),
                };
                (faults, told)
            }
            Given::Request(asking, method, target) => {
                let headers = headers(case)?;
                let answer =
                    sandbox.request(asking, &method, &target, &headers, case.body.as_bytes()).await?;
                match answer {
                    Ok(answer) => {
                        let (status, body) = (answer.status.as_u16(), String::from_utf8_lossy(&answer.body));
                        (case.faults_of_answer(status, &body), json!({"status": status, "answer": body}))
                    }
                    Err(error) => swap(case.failed(&error)),
                }
            }
            Given::Notification => swap(case.format(&*sandbox.formatter()?).await),
            Given::Points => swap(case.detect(&*sandbox.detector()?).await),
            Given::Past => swap(case.forecast(&*sandbox.forecaster()?).await),
        };
        if !case.metrics.is_empty() {
            faults.extend(case.faults_of_metrics(&sandbox.values().await?));
        }
        self.failed += usize::from(!faults.is_empty());
        if format == Format::Text {
            output::print(&text(&case.name, &told, &faults))?;
        }
        told["name"] = json!(case.name);
        told["faults"] = json!(faults);
        self.cases.push(told);
        Ok(())
    }

    fn json(&self, values: &[Told]) -> Value {
        let values: Vec<Value> = values.iter().map(value).collect();
        json!({"cases": self.cases, "failed": self.failed, "metrics": values})
    }
}

fn swap((told, faults): Outcome) -> (Vec<String>, Value) {
    (faults, told)
}

fn value(told: &Told) -> Value {
    let Told { metric, key, point } = told;
    json!({"metric": metric, "key": key, "start": point.start.to_string(), "value": point.value})
}

/// The metrics as a table; nothing if there are none.
fn table(values: &[Told]) -> String {
    if values.is_empty() {
        return String::new();
    }
    let values: Vec<Value> = values.iter().map(value).collect();
    let columns = [("METRIC", "/metric"), ("KEY", "/key"), ("INTERVAL", "/start"), ("VALUE", "/value")];
    format!("\n{}", output::table(&values, &columns))
}

/// A case for people: whether it is as it should be, and what came of it.
fn text(name: &str, told: &Value, faults: &[String]) -> String {
    let mut text = format!("{}  {name}\n", if faults.is_empty() { "ok    " } else { "FAILED" });
    for (name, value) in told["outputs"].as_object().into_iter().flatten() {
        text.push_str(&format!("        output {name} = {}\n", output::cell(Some(value))));
    }
    for step in told["steps"].as_array().into_iter().flatten() {
        text.push_str(&format!("        step {}\n", output::cell(Some(step))));
    }
    for part in ["error", "status", "answer", "strange", "forecast"] {
        if let Some(value) = told.get(part) {
            text.push_str(&format!("        {part} {}\n", output::cell(Some(value))));
        }
    }
    for line in told["log"].as_array().into_iter().flatten() {
        let part = |name: &str| output::cell(line.get(name));
        text.push_str(&format!("        log {} {}\n", part("level"), part("message")));
    }
    for fault in faults {
        text.push_str(&format!("        but {}\n", output::cell(Some(&json!(fault)))));
    }
    text
}

fn headers(case: &Case) -> Result<http::HeaderMap, Failure> {
    let mut headers = http::HeaderMap::new();
    for (name, value) in &case.headers {
        let wrong = || Failure::Usage(format!("case {:?}: {name}: {value:?} is no header", case.name));
        let name: http::HeaderName = name.parse().map_err(|_| wrong())?;
        headers.append(name, value.parse().map_err(|_| wrong())?);
    }
    Ok(headers)
}

/// Inputs of a file: JSON if its name ends so, else TOML.
fn read_inputs(path: &Path) -> Result<Map<String, Value>, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::Usage(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        serde_json::from_str(&text).map_err(|error| wrong(&error))
    } else {
        toml::from_str(&text).map_err(|error| wrong(&error))
    }
}

/// `name=value`, the value being JSON where it reads as some, else text.
pub(crate) fn read_input(flag: &str, text: &str) -> Result<(String, Value), Failure> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| Failure::Usage(format!("{flag} is {text:?}, expected one such as page=/start")))?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_json_where_it_reads_as_some() {
        for (text, expected) in [
            ("page=/start", json!("/start")),
            ("times=2", json!(2)),
            ("list=[1,2]", json!([1, 2])),
            ("text=\"2\"", json!("2")),
            ("equation=a=b", json!("a=b")),
            ("empty=", json!("")),
        ] {
            assert_eq!(read_input("--input", text).unwrap().1, expected, "{text}");
        }
        assert!(read_input("--input", "page").is_err() && read_input("--input", "=x").is_err());
    }

    #[test]
    fn the_battery_is_given_settings_that_are_to_go_well() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cases.toml");
        let case = |settings: &str, end: &str| {
            format!("[[case]]\nname = \"a\"\npoints = [1]\nsettings = {settings}\n{end}\n")
        };
        let text = [
            case("{ factor = 0 }", "error = \"above 0\""),
            case("{}", ""),
            case("{ factor = 3 }", ""),
            case("{ factor = 4 }", ""),
        ];
        std::fs::write(&file, text.concat()).unwrap();
        assert_eq!(Value::from(settings_of(&cases::read(&file).unwrap())), json!({ "factor": 3 }));
    }

    #[test]
    fn a_case_that_failed_shows_why_and_what_was_logged() {
        let told = json!({"outputs": {"total": 2.0}, "log": [{"level": "info", "message": "counted"}]});
        let text = text("visits add up", &told, &["the output total is to be 3, and is 2.0".to_owned()]);
        for line in [
            "FAILED  visits add up",
            "        output total = 2.0",
            "        log info counted",
            "        but the output",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
