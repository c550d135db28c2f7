//! The battery every component is run through by `bellwether plugin test`, whatever language it was written in: what a
//! host relies on, a check for each promise. What does not apply to a component is said, with why.

mod app;
mod detector;
mod dialect;
mod forecaster;
mod formatter;
mod settings;

use std::fmt::Display;
use std::time::Instant;

use bellwether_alerts::RoleError;
use bellwether_plugins::{CONTRACT, PluginRole};
use serde_json::{Map, Value, json};

use super::build::Component;
use super::sandbox::Sandbox;
use crate::failure::Failure;
use crate::output;

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The promise is kept; what was seen.
    Kept(String),
    /// It is broken; how.
    Broken(String),
    /// It does not apply; why.
    Idle(String),
}

/// One promise, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// What it is about: `plugin`, or a role.
    about: &'static str,
    /// What the host relies on, as a sentence.
    promise: &'static str,
    verdict: Verdict,
}

/// The checks so far.
#[derive(Debug, Default)]
pub(super) struct Battery {
    checks: Vec<Check>,
}

/// What a check comes to: what was seen, or how the promise is broken.
type Seen = Result<String, String>;

/// What role checks are made on.
pub(super) struct Bench<'a> {
    component: &'a Component,
    /// What the author says a role is to be set to; else something is made up.
    given: &'a Map<String, Value>,
}

impl Bench<'_> {
    /// A host of its own with the component on it, so that no call was made on it before.
    async fn sandbox(&self) -> Result<Sandbox, String> {
        Sandbox::describing(self.component).await.map_err(|error| plain(&error))
    }
}

impl Battery {
    /// Checks what a host looks at before it installs a component. Whether it can go on from there is told by
    /// [`Self::broken`].
    pub(super) async fn admission(component: &Component) -> Self {
        let mut battery = Self::default();
        let inspection = &component.inspection;
        let contract = inspection.contract.as_deref().unwrap_or("none");
        battery.tell(
            "plugin",
            "it speaks this host's version of the contract",
            match contract == CONTRACT {
                true => Ok(contract.to_owned()),
                false => Err(format!("it speaks {contract}, this host {CONTRACT}")),
            },
        );
        let roles: Vec<&str> = inspection.roles.iter().map(|role| role.interface()).collect();
        let asks: Vec<&str> =
            inspection.requests.iter().map(|request| request.privilege.interface()).collect();
        let nothing = |list: Vec<&str>| if list.is_empty() { "nothing".to_owned() } else { list.join(", ") };
        let what = format!("it is {}, asks for {}", nothing(roles), nothing(asks));
        battery.tell(
            "plugin",
            "it takes roles and asks for privileges a host can give it",
            match &inspection.problems[..] {
                [] => Ok(what),
                problems => Err(problems.join("; ")),
            },
        );
        if battery.broken() > 0 {
            return battery;
        }
        let began = Instant::now();
        let bench = Bench { component, given: &Map::new() };
        let first = bench.sandbox().await.map(|sandbox| json!(sandbox.installed().manifest()));
        let seen = first.as_ref().map(|_| format!("in {:.0?} with its compilation", began.elapsed()));
        battery.tell(
            "plugin",
            "it describes itself, in time and so that it makes sense",
            seen.map_err(Clone::clone),
        );
        let Ok(first) = first else { return battery };
        let again = bench.sandbox().await.map(|sandbox| json!(sandbox.installed().manifest()));
        battery.tell(
            "plugin",
            "it describes itself alike every time",
            match again {
                Ok(again) if again == first => Ok(String::new()),
                Ok(again) => Err(format!("once as {first}, once as {again}")),
                Err(error) => Err(error),
            },
        );
        battery
    }

    /// Checks what is relied on in each role. Only after an admission that broke nothing.
    pub(super) async fn roles(&mut self, component: &Component, given: &Map<String, Value>) {
        let bench = Bench { component, given };
        for role in &component.inspection.roles {
            match role {
                PluginRole::App => app::check(self, &bench).await,
                PluginRole::Dialect => dialect::check(self, &bench).await,
                PluginRole::Formatter => formatter::check(self, &bench).await,
                PluginRole::Detector => detector::check(self, &bench).await,
                PluginRole::Forecaster => forecaster::check(self, &bench).await,
                PluginRole::Collector => {}
            }
        }
    }

    /// How many promises are broken.
    pub(super) fn broken(&self) -> usize {
        self.checks.iter().filter(|check| matches!(check.verdict, Verdict::Broken(_))).count()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.checks.len()
    }

    /// Adds what was seen of a promise.
    fn tell(&mut self, about: &'static str, promise: &'static str, seen: Seen) {
        let verdict = match seen {
            Ok(seen) => Verdict::Kept(seen),
            Err(how) => Verdict::Broken(how),
        };
        self.checks.push(Check { about, promise, verdict });
    }

    /// Says why a promise does not apply.
    fn idle(&mut self, about: &'static str, promise: &'static str, why: impl Into<String>) {
        self.checks.push(Check { about, promise, verdict: Verdict::Idle(why.into()) });
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        self.checks.iter().map(Check::json).collect()
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let shown: Vec<Value> = self.checks.iter().map(Check::json).collect();
        let columns = [("RESULT", "/result"), ("OF", "/of"), ("PROMISE", "/promise"), ("SEEN", "/seen")];
        output::table(&shown, &columns)
    }
}

impl Check {
    fn json(&self) -> Value {
        let (result, seen) = match &self.verdict {
            Verdict::Kept(seen) => ("ok", seen),
            Verdict::Broken(how) => ("FAILED", how),
            Verdict::Idle(why) => ("n/a", why),
        };
        json!({ "result": result, "of": self.about, "promise": self.promise, "seen": seen })
    }
}

/// A failure in a line.
fn plain(failure: &Failure) -> String {
    match failure {
        Failure::Usage(message) => message.clone(),
        Failure::Failed(error) => format!("{error:#}"),
        other => format!("{other:?}"),
    }
}

/// Whether a call that was given something odd came to an answer or to a clear error of its own, and not to nothing.
fn stands<T>(what: impl Display, result: Result<T, RoleError>) -> Result<Option<T>, String> {
    match result {
        Ok(answer) => Ok(Some(answer)),
        Err(RoleError::Failed { message, .. }) => Err(format!("{what}: {message}")),
        Err(_) => Ok(None),
    }
}

/// A number that looks like chance and is the same in every run: in [0, 1).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1_u64 << 24) as f64
    }
}

/// A series with a season of 48 points, some noise, and a jump now and then.
fn wave(points: usize, seed: u64) -> Vec<f64> {
    let mut chance = Chance(seed);
    (0..points)
        .map(|at| {
            let season = (at % 48) as f64 / 48.0 * std::f64::consts::TAU;
            let jump = if at % 251 == 250 { 60.0 } else { 0.0 };
            100.0 + 20.0 * season.sin() + 3.0 * chance.next() + jump
        })
        .collect()
}

/// Series nobody expects, each with its name.
fn odd_series(points: usize) -> Vec<(&'static str, Vec<f64>)> {
    let extremes = [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 0.0, -0.0, 5e-324, 1e-300, -1e300];
    vec![
        ("always 0", vec![0.0; points]),
        ("always the same", vec![1234.5; points]),
        ("no value at all", vec![f64::NAN; points]),
        (
            "every other value missing",
            (0..points).map(|at| if at % 2 == 0 { at as f64 } else { f64::NAN }).collect(),
        ),
        ("ever larger", (0..points).map(|at| 1.5_f64.powi(i32::try_from(at % 1000).unwrap_or(0))).collect()),
        ("the most extreme numbers", extremes.iter().copied().cycle().take(points).collect()),
    ]
}
