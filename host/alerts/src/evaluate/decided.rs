//! What is decided of a monitor's series and incidents, to be committed one incident after the other: as long as some are
//! left, their series stand as before, so that whoever goes on with them decides the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Changed, Tags};
use crate::monitor::Compiled;
use crate::state::{MonitorState, SeriesState};

/// What was decided, and what of it is left to be committed.
pub(crate) struct Decided {
    after: MonitorState,
    /// In the order of what their series share: incidents that open are numbered in it.
    left: VecDeque<Changed>,
}

impl Decided {
    /// `after` is how everything stands once all of `changed` is committed.
    pub(crate) fn new(after: MonitorState, changed: Vec<Changed>) -> Self {
        Self { after, left: changed.into() }
    }

    /// The next incident to be committed.
    pub(crate) fn next(&mut self) -> Option<Changed> {
        self.left.pop_front()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// How everything stands once nothing is left.
    pub(crate) fn state(&self) -> &MonitorState {
        &self.after
    }

    /// How everything stands as long as not all of it is committed, where `before` is stored. What a detector found since is
    /// left out, too, so that it is shown the same points again.
    pub(crate) fn state_so_far(&self, compiled: &Compiled, before: &MonitorState) -> MonitorState {
        let Self { after, left } = self;
        let tuples: BTreeSet<&Tags> = left.iter().map(|changed| &changed.incident.tags).collect();
        let is_left = |tags: &Tags| tuples.contains(&compiled.tuple(tags));
        let known: BTreeMap<&Tags, &SeriesState> =
            before.series.iter().map(|series| (&series.tags, series)).collect();
        let waiting = before.series.iter().filter(|series| is_left(&series.tags)).cloned();
        let moved = after.series.iter().filter(|series| !is_left(&series.tags));
        let moved = moved.map(|series| series.judged_as(known.get(&series.tags).copied()));
        let mut series: Vec<SeriesState> = waiting.chain(moved).collect();
        series.sort_by(|one, other| one.tags.cmp(&other.tags));
        let waiting = before.incidents.iter().filter(|open| tuples.contains(&open.tuple));
        let moved = after.incidents.iter().filter(|open| !tuples.contains(&open.tuple));
        let incidents = waiting.chain(moved).cloned().collect();
        let waiting = before.passed.iter().filter(|(tags, _)| is_left(tags));
        let moved = after.passed.iter().filter(|(tags, _)| !is_left(tags));
        let passed = waiting.chain(moved).map(|(tags, passed)| (tags.clone(), *passed)).collect();
        let new = left.iter().filter(|changed| changed.is_new).count() as u64;
        MonitorState {
            fed: before.fed,
            gap: before.gap,
            series,
            incidents,
            opened: after.opened - new,
            passed,
        }
    }
}
