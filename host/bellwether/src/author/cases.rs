//! Cases of `bellwether plugin test`: what a plugin is given, and what is to come of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use bellwether_access::Role;
use bellwether_kernel::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::role_cases::RoleCase;
use super::sandbox::{Asking, Told};
use crate::failure::Failure;

/// A file of cases, in the order they are run on one host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

/// One case: what a plugin is given in one of its roles, and what is expected of it. What is not named is not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Case {
    /// What holds, as a sentence.
    pub(super) name: String,
    /// Where the clock is put before; RFC 3339.
    pub(super) at: Option<String>,
    /// An app's inputs.
    pub(super) inputs: Option<Map<String, Value>>,
    /// A dialect's request: `GET /path?query`.
    pub(super) request: Option<String>,
    /// The request's headers.
    pub(super) headers: BTreeMap<String, String>,
    /// The request's body.
    pub(super) body: String,
    /// The role of who asks, or `unknown`; `write` if absent.
    pub(super) caller: Option<String>,
    /// Outputs that are to be so.
    pub(super) outputs: Option<Map<String, Value>>,
    /// A part of the error there is to be.
    pub(super) error: Option<String>,
    /// The status of the answer.
    pub(super) status: Option<u16>,
    /// A part of the answer's body.
    pub(super) answer: Option<String>,
    /// Values metrics are to have, in the interval written to last.
    pub(super) metrics: Vec<Expected>,
    /// What a pure role is given.
    #[serde(flatten)]
    pub(super) role: RoleCase,
    /// What no case has.
    #[serde(flatten)]
    pub(super) unknown: BTreeMap<String, Value>,
}

/// A value a metric is to have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    metric: String,
    key: Option<String>,
    value: f64,
}

/// What a case gives the plugin.
pub(super) enum Given {
    /// Inputs, for an app.
    Inputs(Map<String, Value>),
    /// Who asks, method and path with query, for a dialect.
    Request(Asking, String, String),
    /// A notification, for a formatter.
    Notification,
    /// Points to score, for a detector.
    Points,
    /// A past to predict from, for a forecaster.
    Past,
}

/// As what a plugin of the role is given.
impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inputs(_) => "an app",
            Self::Request(..) => "a dialect",
            Self::Notification => "a formatter",
            Self::Points => "a detector",
            Self::Past => "a forecaster",
        })
    }
}

/// Reads a file of cases.
pub(super) fn read(path: &Path) -> Result<Vec<Case>, Failure> {
    let wrong = |error: &dyn fmt::Display| Failure::Usage(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let File { case } = toml::from_str(&text).map_err(|error| wrong(&in_words(&text, &error)))?;
    for (number, case) in case.iter().enumerate() {
        let place = |error: String| wrong(&format!("case {} ({:?}): {error}", number + 1, case.name));
        case.check().map_err(place)?;
    }
    Ok(case)
}

/// What is wrong with a file that does not read. What the reader says of a number that is too large is about its own
/// types.
fn in_words(text: &str, error: &toml::de::Error) -> String {
    let place = error.span().and_then(|span| Some((text.get(..span.start)?, text.get(span)?)));
    let Some((before, number)) = place.filter(|(_, found)| is_too_large(found)) else {
        return error.to_string();
    };
    let line = before.matches('\n').count() + 1;
    let (name, _) = before.rsplit_once('=').unwrap_or_default();
    let is_part = |part: char| part.is_alphanumeric() || matches!(part, '_' | '-' | '.');
    let name = name.trim_end().trim_end_matches(['"', '\'']).rsplit(|part| !is_part(part)).next();
    let (name, least, most) = (name.unwrap_or_default(), i64::MIN, i64::MAX);
    format!("line {line}: {name} is {number}, expected a number of 64 bits, from {least} to {most}")
}

/// Whether it is a whole number and has more than 64 bits.
fn is_too_large(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    is_whole && !digits.is_empty() && text.replace('_', "").parse::<i64>().is_err()
}

impl Case {
    /// Whether it can be run, and says what it is about.
    fn check(&self) -> Result<(), String> {
        self.given()?;
        self.instant()?;
        self.role.check_end()?;
        if self.name.trim().is_empty() {
            return Err(format!("name is {:?}, expected a sentence on what holds", self.name));
        }
        Ok(())
    }

    /// What it gives the plugin.
    pub(super) fn given(&self) -> Result<Given, String> {
        if let Some(name) = self.unknown.keys().next() {
            return Err(format!("unknown field `{name}`"));
        }
        let given = self.what_is_given()?;
        match self.foreign(&given) {
            Some(name) => Err(format!("{name} says nothing of {given}")),
            None => Ok(given),
        }
    }

    /// The first field that is looked at in other roles alone.
    fn foreign(&self, given: &Given) -> Option<&'static str> {
        let role = &self.role;
        let (app, dialect) = (matches!(given, Given::Inputs(_)), matches!(given, Given::Request(..)));
        let (formatter, detector, forecaster) = (
            matches!(given, Given::Notification),
            matches!(given, Given::Points),
            matches!(given, Given::Past),
        );
        let fields = [
            ("outputs", self.outputs.is_some(), app),
            ("metrics", !self.metrics.is_empty(), app || dialect),
            ("headers", !self.headers.is_empty(), dialect),
            ("body", !self.body.is_empty(), dialect),
            ("caller", self.caller.is_some(), dialect),
            ("status", self.status.is_some(), dialect),
            ("answer", self.answer.is_some(), dialect),
            ("settings", !role.settings.is_empty(), !app && !dialect),
            ("memory", !role.memory.is_empty(), formatter),
            ("sends", role.sends.is_some(), formatter),
            ("contains", !role.contains.is_empty(), formatter),
            ("ends", role.ends.is_some(), formatter),
            ("remembers", role.remembers.is_some(), formatter),
            ("step_ms", role.step_ms.is_some(), detector || forecaster),
            ("strange", role.strange.is_some(), detector),
            ("horizon", role.horizon.is_some(), forecaster),
            ("level", role.level.is_some(), forecaster),
            ("expected", role.expected.is_some(), forecaster),
        ];
        fields.into_iter().find(|(_, said, read)| *said && !read).map(|(name, ..)| name)
    }

    fn what_is_given(&self) -> Result<Given, String> {
        let role = &self.role;
        let told = role.notification.is_some() || !role.answers.is_empty();
        let series = role.points.is_some() || role.series.is_some();
        match (&self.inputs, &self.request) {
            (None, None) if told && !series => Ok(Given::Notification),
            (None, None) if series && !told && role.horizon.is_some() => Ok(Given::Past),
            (None, None) if series && !told => Ok(Given::Points),
            (Some(inputs), None) if !told && !series => Ok(Given::Inputs(inputs.clone())),
            (None, Some(request)) if !told && !series => {
                let (method, target) = request
                    .split_once(' ')
                    .filter(|(_, target)| target.starts_with('/'))
                    .ok_or_else(|| format!("request is {request:?}, expected one such as \"GET /path\""))?;
                Ok(Given::Request(self.asking()?, method.to_owned(), target.to_owned()))
            }
            _ => Err("expected one of: inputs, for an app; a request, for a dialect; a notification or answers, for a formatter; points or series, for a detector; points and a horizon, for a forecaster".to_owned()),
        }
    }

    /// Where it puts the clock, if it does.
    pub(super) fn instant(&self) -> Result<Option<Timestamp>, String> {
        let read = |text: &String| {
            Timestamp::parse(text)
                .ok_or_else(|| format!("at is {text:?}, expected a time such as 2024-04-09T14:44:00Z"))
        };
        self.at.as_ref().map(read).transpose()
    }

    fn asking(&self) -> Result<Asking, String> {
        match self.caller.as_deref() {
            None | Some("write") => Ok(Asking::Known(Role::Write)),
            Some("read") => Ok(Asking::Known(Role::Read)),
            Some("admin") => Ok(Asking::Known(Role::Admin)),
            Some("unknown") => Ok(Asking::Unknown),
            Some(other) => Err(format!("caller is {other:?}, expected read, write, admin or unknown")),
        }
    }

    /// What is not as an app's outcome should be.
    pub(super) fn faults_of_outcome(&self, outcome: &Result<Map<String, Value>, String>) -> Vec<String> {
        match (outcome, &self.error) {
            (Err(error), Some(part)) if error.contains(part) => Vec::new(),
            (Err(error), Some(part)) => vec![format!("the error is to contain {part:?}, and is {error:?}")],
            (Err(_), None) => vec!["it is not to fail".to_owned()],
            (Ok(_), Some(part)) => vec![format!("it is to fail with {part:?}, and did not")],
            (Ok(outputs), None) => {
                let expected = self.outputs.iter().flatten();
                let wrong = expected.filter_map(|(name, expected)| {
                    let found = outputs.get(name).unwrap_or(&Value::Null);
                    (!same(found, expected))
                        .then(|| format!("the output {name} is to be {expected}, and is {found}"))
                });
                wrong.collect()
            }
        }
    }

    /// What is not as a dialect's answer should be.
    pub(super) fn faults_of_answer(&self, status: u16, body: &str) -> Vec<String> {
        let mut faults = self.not_failed();
        if let Some(expected) = self.status.filter(|expected| *expected != status) {
            faults.push(format!("the status is to be {expected}, and is {status}"));
        }
        if let Some(part) = self.answer.as_ref().filter(|part| !body.contains(part.as_str())) {
            faults.push(format!("the answer is to contain {part:?}, and is {body:?}"));
        }
        faults
    }

    /// What is not as the metrics should be.
    pub(super) fn faults_of_metrics(&self, told: &[Told]) -> Vec<String> {
        let mut faults = Vec::new();
        for Expected { metric, key, value } in &self.metrics {
            let found = told.iter().rev().find(|told| told.metric == *metric && told.key == *key);
            let found = found.and_then(|told| told.point.value);
            if found != Some(*value) {
                let key = key.as_ref().map(|key| format!(" of {key}")).unwrap_or_default();
                let found = found.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
                faults.push(format!("the metric {metric}{key} is to be {value}, and is {found}"));
            }
        }
        faults
    }
}

/// Whether two values are the same, a whole number being the same as one with a fraction of nothing.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn case(text: &str) -> Case {
        toml::from_str(text).expect("a case")
    }

    #[test]
    fn the_templates_cases_read() {
        for text in [
            include_str!("../../templates/app/cases.toml"),
            include_str!("../../templates/dialect/cases.toml"),
            include_str!("../../templates/formatter/cases.toml"),
            include_str!("../../templates/detector/cases.toml"),
            include_str!("../../templates/forecaster/cases.toml"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("cases.toml");
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap().len(), 3);
        }
    }

    #[test]
    fn a_case_that_cannot_be_run_is_named_with_what_would_be_right() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cases.toml");
        for (text, expected) in [
            ("[[case]]\nname = \"a\"", "case 1 (\"a\"): expected one of: inputs"),
            ("[[case]]\nrequest = \"/path\"", "expected one such as \"GET /path\""),
            ("[[case]]\nrequest = \"GET /\"\ncaller = \"me\"", "read, write, admin or unknown"),
            ("[[case]]\ninputs = {}\nat = \"noon\"", "2024-04-09T14:44:00Z"),
            ("[[case]]\nimputs = {}", "unknown field `imputs`"),
            ("[[case]]\npoints = [1]\nhorizon = 1\nstatus = 404", "status says nothing of a forecaster"),
            ("[[case]]\npoints = [1]\nexpected = [1]", "expected says nothing of a detector"),
            ("[[case]]\ninputs = {}\nsettings = { a = 1 }", "settings says nothing of an app"),
            ("[[case]]\ninputs = {}", "case 1 (\"\"): name is \"\", expected a sentence on what holds"),
            (
                "[[case]]\nname = \"a\"\nnotification = {}\nends = \"finished\"",
                "ends is \"finished\", expected one of send, done, retry, fail, gone",
            ),
            (
                "[[case]]\nname = \"a\"\n[case.inputs]\nlimits = { most = [1, 18446744073709551616] }",
                "line 4: most is 18446744073709551616, expected a number of 64 bits, from -9223372036854775808 to",
            ),
            (
                "[[case]]\npoints = [1]\nstep_ms = -9_223_372_036_854_775_809",
                "line 3: step_ms is -9_223_372_036_854_775_809, expected a number of 64 bits",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let Err(Failure::Usage(message)) = read(&path) else { panic!("{text} was taken") };
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn an_outcome_is_held_against_what_is_named() {
        let outputs = json!({"total": 3.0, "page": "/", "list": [1]}).as_object().cloned().unwrap();
        let done = Ok(outputs);
        let faults = |text: &str, outcome| case(text).faults_of_outcome(outcome);
        assert!(faults("outputs = { total = 3, list = [1.0] }", &done).is_empty());
        assert_eq!(
            faults("outputs = { total = 4, zone = 1 }", &done),
            ["the output total is to be 4, and is 3.0", "the output zone is to be 1, and is null"]
        );
        assert_eq!(faults("error = \"full\"", &done), ["it is to fail with \"full\", and did not"]);
        let failed = Err("the disk is full".to_owned());
        assert!(faults("error = \"full\"", &failed).is_empty());
        assert_eq!(faults("outputs = {}", &failed), ["it is not to fail"]);
        assert_eq!(faults("error = \"empty\"", &failed).len(), 1);
    }

    #[test]
    fn an_answer_is_held_against_what_is_named() {
        let faults = |text: &str| case(text).faults_of_answer(201, "{\"today\":1}");
        assert!(faults("status = 201\nanswer = \"today\"").is_empty());
        assert_eq!(faults("status = 200\nanswer = \"total\"").len(), 2);
    }
}
