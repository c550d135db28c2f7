//! What a run would find no time or no room for, seen before it begins: delays, and playbooks in each other.

use std::collections::BTreeMap;
use std::time::Duration;

use bellwether_kernel::Period;

use super::{Catalogue, Fault, fault};
use crate::position::Path;
use crate::{Document, Step};

/// How deep playbooks may lie in each other; a document that leads back to itself is refused, but two that are
/// published at the same moment may still do so.
pub(crate) const DEPTH: u32 = 10;
/// How long the on-failure steps of a run may take in all.
pub(crate) const FAILURE_TIME: Duration = Duration::from_secs(5 * 60);

fn lists(document: &Document) -> [(&'static str, &[Step]); 2] {
    [("steps", &document.steps), ("on_failure", &document.on_failure)]
}

/// What a delay must be to pass in a run that may take so long, or among its on-failure steps.
pub(crate) fn shorter(run_time: Duration, on_failure: bool) -> String {
    if on_failure {
        format!("less than {}, what the on-failure steps have in all", Period(FAILURE_TIME))
    } else {
        format!("less than {}, the run's `timeout`", Period(run_time))
    }
}

/// Delays that are as long as everything may take never pass. Of those before one, those count that are always waited
/// out.
pub(super) fn check_delays(document: &Document, run_time: Duration) -> Result<(), Fault> {
    let run_time = document.timeout.map_or(run_time, |timeout| timeout.0);
    for (list, steps) in lists(document) {
        let on_failure = list == "on_failure";
        let most = if on_failure { FAILURE_TIME } else { run_time };
        let mut before = Duration::ZERO;
        for (index, step) in steps.iter().enumerate() {
            let Some((text, delay)) = delay_of(step) else { continue };
            let rest = most.saturating_sub(before);
            if delay >= rest {
                let (rest, most) = (Period(rest), Period(most));
                let expected = match (before, on_failure) {
                    (Duration::ZERO, _) => shorter(run_time, on_failure),
                    (_, false) => format!("less than {rest}: the run's `timeout` is {most}"),
                    (_, true) => format!("less than {rest}: the on-failure steps have {most} in all"),
                };
                let others = match before {
                    Duration::ZERO => String::new(),
                    before => format!(", and the delays before it take {}", Period(before)),
                };
                let path = Path::default().field(list).item(index).field("delay");
                return fault(&path, text, expected + &others);
            }
            if step.when.is_none() {
                before += delay;
            }
        }
    }
    Ok(())
}

/// How long a step waits, where that is no template.
fn delay_of(step: &Step) -> Option<(&str, Duration)> {
    let text = step.delay.as_deref()?;
    Some((text, Period::parse(text)?.0))
}

/// A run of what lies deeper than may be would fail.
pub(super) fn check_depth(document: &Document, catalogue: &Catalogue) -> Result<(), Fault> {
    let Some(way) = too_deep(document, catalogue) else { return Ok(()) };
    for (list, steps) in lists(document) {
        if let Some(index) = steps.iter().position(|step| step.playbook.as_deref() == Some(way[0])) {
            let path = Path::default().field(list).item(index).field("playbook");
            let expected = format!("playbooks at most {DEPTH} deep in each other ({})", way.join(" → "));
            return fault(&path, way[0], expected);
        }
    }
    Ok(())
}

/// The playbooks on a way down from a document that is too long, without its own.
fn too_deep<'a>(document: &'a Document, catalogue: &'a Catalogue) -> Option<Vec<&'a str>> {
    // By how deep they lie, each with one it is a step of.
    let steps = lists(document).into_iter().flat_map(|(_, steps)| steps);
    let called = steps.filter_map(|step| step.playbook.as_deref());
    let mut levels: Vec<BTreeMap<&str, &str>> = vec![called.map(|name| (name, "")).collect()];
    for _ in 0..DEPTH {
        let mut next = BTreeMap::new();
        for name in levels.last()?.keys() {
            for call in catalogue.playbooks.get(*name).into_iter().flat_map(|component| &component.calls) {
                next.entry(call.as_str()).or_insert(*name);
            }
        }
        levels.push(next);
    }
    let mut name = *levels.last()?.keys().next()?;
    let mut way = Vec::new();
    for level in levels.iter().rev() {
        way.push(name);
        name = level[name];
    }
    way.reverse();
    Some(way)
}
