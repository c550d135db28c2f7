//! `info`: series with the labels of what an info metric says of their target.

use std::collections::{HashMap, HashSet};

use bellwether_sdk::series::{Comparison, Matcher};

use super::ast::{Expr, Selector};
use super::evaluate::Evaluation;
use super::read::means_empty;
use super::value::{ABSENT, Grid, Line, is_absent, settle};
use super::{Error, Labels, NAME, Source};

/// What tells targets apart.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// The info metric, where none is named.
const METRIC: &str = "target_info";

impl<S: Source> Evaluation<'_, S> {
    /// `vector` with the labels its series' targets have in info metrics: all, or those `selector` is about. A series
    /// whose target has none is left out where the selector asks for one.
    pub(super) fn info(
        &mut self,
        vector: &Expr,
        selector: Option<&Selector>,
        grid: Grid,
    ) -> Result<Vec<Line>, Error> {
        let lines = self.lines(vector, grid)?;
        let asked = selector.map_or(&[][..], |selector| &selector.matchers);
        let (mut names, about): (Vec<Matcher>, Vec<Matcher>) =
            asked.iter().cloned().partition(|matcher| matcher.key.is_none());
        if names.is_empty() {
            names.push(Matcher::metric(Comparison::Equal, METRIC));
        }
        let needed = !about.iter().all(means_empty);
        let wanted: Vec<&str> = about.iter().filter_map(|matcher| matcher.key.as_deref()).collect();
        let matchers = [names, about.clone()].concat();
        let moved = selector.map(|selector| selector.moved).unwrap_or_default();
        // When each was last told: of several of one target, the latest holds.
        let told = self.vector(&Selector { matchers, moved }, grid, true)?;
        let infos: HashSet<&Labels> = told.iter().map(|line| &line.labels).collect();
        let identity = IDENTIFYING.map(str::to_owned);
        let mut targets: HashMap<Labels, Vec<usize>> = HashMap::new();
        for (at, line) in told.iter().enumerate() {
            targets.entry(line.labels.only(&identity)).or_default().push(at);
        }
        let mut all = Vec::new();
        for line in lines {
            // What is an info metric itself stays as it is.
            if infos.contains(&line.labels) {
                all.push(line);
                continue;
            }
            let own = targets.get(&line.labels.only(&identity)).map_or(&[][..], Vec::as_slice);
            // By the infos that hold at a step: they seldom change.
            let mut made: Vec<(Vec<usize>, Line)> = Vec::new();
            for (step, value) in line.values.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
                let latest = latest(&told, own, step)?;
                let at = made.iter().position(|(infos, _)| *infos == latest).unwrap_or_else(|| {
                    let labels = with(&line.labels, latest.iter().map(|at| &told[*at].labels), &wanted);
                    made.push((latest, Line { labels, values: vec![ABSENT; grid.count] }));
                    made.len() - 1
                });
                made[at].1.values[step] = *value;
            }
            let kept = made.into_iter().filter(|(infos, _)| !needed || !infos.is_empty());
            all.extend(kept.map(|(_, line)| line));
        }
        settle(all)
    }
}

/// Of each info metric the one of these series that was told last at this step.
fn latest(told: &[Line], own: &[usize], step: usize) -> Result<Vec<usize>, Error> {
    let mut latest: Vec<(usize, f64)> = Vec::new();
    let times = own.iter().map(|at| (*at, told[*at].values[step]));
    for (at, time) in times.filter(|(_, time)| !is_absent(*time)) {
        let name = told[at].labels.get(NAME);
        match latest.iter_mut().find(|(other, _)| told[*other].labels.get(NAME) == name) {
            None => latest.push((at, time)),
            Some((other, before)) if time == *before => {
                return Err(Error::Execution(format!(
                    "found duplicate series for info metric: {} and {}",
                    told[*other].labels, told[at].labels
                )));
            }
            Some(known) if time > known.1 => *known = (at, time),
            Some(_) => {}
        }
    }
    Ok(latest.into_iter().map(|(at, _)| at).collect())
}

/// Labels, and those of infos that are not there: all, or only the wanted.
fn with<'a>(labels: &Labels, infos: impl Iterator<Item = &'a Labels>, wanted: &[&str]) -> Labels {
    let mut all = labels.clone();
    for (name, value) in infos.flat_map(Labels::iter) {
        if name != NAME && labels.get(name).is_empty() && (wanted.is_empty() || wanted.contains(&name)) {
            all.set(name, value);
        }
    }
    all
}
