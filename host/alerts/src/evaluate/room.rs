//! Which series of a monitor there is room for: those that are known stay, as long as they are there or open.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_kernel::Timestamp;
use bellwether_store::MAX_LARGE;

use super::Tags;
use crate::monitor::Compiled;
use crate::state::{MonitorState, SeriesState};

/// What a series takes of the state besides its tags and its metric where it is open, and so is an incident of its own; in
/// bytes.
const OPEN: usize = 150;

/// A series that was found.
pub(crate) struct Found {
    /// When its last step with a point began, in milliseconds.
    pub(crate) last: i64,
    /// What it may take of the state.
    pub(crate) bytes: usize,
}

/// What a series may take of its monitor's state, in bytes: its incident has its tags once more.
pub(crate) fn size<'a>(tags: impl Iterator<Item = (&'a str, &'a str)>, metric: Option<&str>) -> usize {
    let tags: usize = tags.map(|(key, value)| key.len() + value.len() + 2).sum();
    2 * tags + metric.map_or(0, str::len) + OPEN
}

impl SeriesState {
    fn size(&self) -> usize {
        size(self.tags.iter().map(|(key, value)| (&**key, &**value)), self.metric.as_deref())
    }
}

impl MonitorState {
    /// What its series may take, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.series.iter().map(SeriesState::size).sum()
    }
}

/// How much of a state there is.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) series: usize,
    pub(crate) bytes: usize,
}

impl Extent {
    /// Whether it is as much as is known of a monitor of which `most` series are looked at, or less.
    pub(crate) fn fits(self, most: usize) -> bool {
        self.series <= most && self.bytes <= MAX_LARGE
    }

    fn and(self, bytes: usize) -> Self {
        Self { series: self.series + 1, bytes: self.bytes + bytes }
    }

    fn without(self, bytes: usize) -> Self {
        Self { series: self.series - 1, bytes: self.bytes - bytes }
    }
}

/// Makes room for series that are new among those `found` to have points up to `end`: of a monitor `most` are looked at, as
/// far as one value holds them. Where there is too little, what is gone is forgotten, the longest silent first. Gives the new
/// ones there is no room for; those in the window come first, then the order of their tags decides.
pub(crate) fn make_room(
    compiled: &Compiled,
    state: &mut MonitorState,
    end: Timestamp,
    found: &BTreeMap<Tags, Found>,
    most: usize,
) -> BTreeSet<Tags> {
    let begin = end.as_milliseconds() - compiled.window;
    let known: BTreeSet<&Tags> = state.series.iter().map(|series| &series.tags).collect();
    let new = found.iter().filter(|(tags, _)| !known.contains(tags));
    let mut new: Vec<(bool, &Tags, usize)> =
        new.map(|(tags, found)| (found.last < begin, tags, found.bytes)).collect();
    new.sort();
    let mut extent = Extent { series: known.len(), bytes: state.size() };
    let mut wanted = new.iter().fold(extent, |wanted, (_, _, bytes)| wanted.and(*bytes));
    let is_gone = |series: &&SeriesState| {
        let stays_away = match compiled.awaited {
            Some(awaited) => {
                let passed = state.passed.get(&series.tags).copied().unwrap_or(Timestamp::MIN);
                series.silent(end, state.gap, passed) > awaited
            }
            None => series.last_point.as_milliseconds() < begin,
        };
        series.breach.is_none() && stays_away && !found.contains_key(&series.tags)
    };
    let mut silent: Vec<&SeriesState> = state.series.iter().filter(is_gone).collect();
    silent.sort_by_key(|series| (series.last_point, &series.tags));
    let mut gone = BTreeSet::new();
    for series in silent {
        if wanted.fits(most) {
            break;
        }
        (wanted, extent) = (wanted.without(series.size()), extent.without(series.size()));
        gone.insert(series.tags.clone());
    }
    let mut left_out = BTreeSet::new();
    for (_, tags, bytes) in new {
        match extent.and(bytes) {
            more if more.fits(most) => extent = more,
            _ => drop(left_out.insert(tags.clone())),
        }
    }
    state.series.retain(|series| !gone.contains(&series.tags));
    left_out
}
