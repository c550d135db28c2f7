//! Where counts began: a sample of zero at the start time of a stream, so that what was counted up to its first point
//! is part of its rates, and one that begins anew is seen to even where it has passed what it was before.

use std::collections::{BTreeMap, HashMap};

use bellwether_sdk::Timestamp;
use bellwether_sdk::host::SeriesRead;
use bellwether_sdk::series::{Comparison, Matcher, SampleTable};

use super::points::Row;

/// Milliseconds after its start in which a stream's beginning is looked for: what exporters let pass between two
/// exports, and again as much for one that fails.
const YOUNG: i64 = 10 * 60 * 1000;

/// Samples that are looked at for one metric; where there are more, its streams have begun before.
const LOOKED_AT: u32 = 100_000;

/// A metric and its tags, in order.
type Identity = (String, Vec<String>);

/// Points whose streams may have begun with them.
#[derive(Debug, Default)]
pub(super) struct Beginnings(Vec<Beginning>);

#[derive(Debug)]
struct Beginning {
    start: Timestamp,
    time: Timestamp,
    /// The series of the count, which has a sample of each point there was.
    witness: Identity,
    /// What begins at zero.
    series: Vec<Identity>,
}

/// Whether a stream that began at `start` may begin with its point at `time`.
pub(super) fn is_young(start: Timestamp, time: Timestamp) -> bool {
    (1..=YOUNG).contains(&(time.milliseconds() - start.milliseconds()))
}

impl Beginnings {
    /// Takes note of a point of a young stream: of a family of this name, with these tags and rows.
    pub(super) fn note(
        &mut self,
        start: Timestamp,
        time: Timestamp,
        name: &str,
        tags: &[(&str, &str)],
        rows: &[Row],
    ) {
        let identity = |row: &Row| {
            let mut tags: Vec<String> = row.tags(tags).map(|(key, value)| format!("{key}:{value}")).collect();
            tags.sort_unstable();
            (row.metric(name).into_owned(), tags)
        };
        let Some(witness) = rows.iter().find(|row| row.is_count()).map(identity) else { return };
        let series = rows.iter().filter(|row| !row.is_quantile()).map(identity).collect();
        self.0.push(Beginning { start, time, witness, series });
    }

    /// Adds the beginnings of those streams of which the host has no sample since. What it will not show is taken to have
    /// begun before: a beginning makes rates better, and no point is refused for want of one.
    pub(super) fn add<H: SeriesRead>(&self, host: &H, table: &mut SampleTable) {
        let mut by_metric: BTreeMap<&str, Vec<&Beginning>> = BTreeMap::new();
        for beginning in &self.0 {
            by_metric.entry(&beginning.witness.0).or_default().push(beginning);
        }
        for (metric, beginnings) in by_metric {
            let first = beginnings.iter().map(|beginning| beginning.start).min();
            let last = beginnings.iter().map(|beginning| beginning.time).max();
            let (Some(first), Some(last)) = (first, last) else { continue };
            let matchers = [Matcher::metric(Comparison::Equal, metric)];
            let Ok(found) = host.select(&matchers, first, last, LOOKED_AT) else { continue };
            let known: HashMap<Vec<String>, Vec<i64>> =
                found.into_iter().map(|found| (found.identity.tags, found.times)).collect();
            for Beginning { start, time, witness, series } in beginnings {
                let since = start.milliseconds()..time.milliseconds();
                if known.get(&witness.1).is_some_and(|times| times.iter().any(|time| since.contains(time))) {
                    continue;
                }
                for (metric, tags) in series {
                    table.sample(*start, 0.0);
                    table.series(metric, |written| tags.iter().for_each(|tag| written.tag(tag)));
                }
            }
        }
    }
}
