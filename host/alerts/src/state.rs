//! How a monitor's series stand between evaluations.

use std::collections::BTreeMap;

use bellwether_kernel::Timestamp;
use bellwether_store::Versioned;
use serde::{Deserialize, Serialize};

use crate::monitor::series_id;
use crate::{Excursion, IncidentId, Level, limits};

/// How the series of one monitor stand: one value, read and written whole by each evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct MonitorState {
    /// The end of what detectors were shown.
    pub(crate) fed: Option<Timestamp>,
    /// When last nobody looked.
    pub(crate) gap: Option<Gap>,
    /// Ordered by tags.
    pub(crate) series: Vec<SeriesState>,
    /// The incidents that are open.
    pub(crate) incidents: Vec<OpenIncident>,
    /// Incidents there ever were.
    pub(crate) opened: u64,
    /// Up to when series were not looked at, of those of which that still counts.
    pub(crate) passed: BTreeMap<Vec<(String, String)>, Timestamp>,
}

impl Versioned for MonitorState {
    const NAME: &'static str = "state of a monitor";
    const VERSION: u8 = 4;

    fn upgrade(version: u8, bytes: &[u8]) -> Option<Self> {
        if version == 3 {
            // A point was always strange to one of two sides.
            return postcard::from_bytes(bytes).ok();
        }
        let ((fed, resumed, series, incidents, opened), rest) = postcard::take_from_bytes(bytes).ok()?;
        let passed = match version {
            1 => BTreeMap::new(),
            2 => postcard::from_bytes(rest).ok()?,
            _ => return None,
        };
        // When the gap began was not kept.
        let gap = Option::<Timestamp>::map(resumed, |to| Gap { from: to, to });
        Some(Self { fed, gap, series, incidents, opened, passed })
    }
}

impl MonitorState {
    /// Forgets what a clock that was ahead left, so that the times from `at` on are looked at: an instant that is over
    /// and lies beyond is `at`, or of data the `end` of what is looked at.
    pub(crate) fn come_back(&mut self, at: Timestamp, end: Timestamp) {
        let is_shown_anew = self.fed.is_some_and(|fed| is_ahead(fed, at));
        if is_shown_anew {
            self.fed = None;
        }
        self.gap = self.gap.filter(|gap| !is_ahead(gap.to, at));
        if let Some(gap) = &mut self.gap {
            gap.to = gap.to.min(at);
        }
        self.passed.values_mut().for_each(|passed| *passed = (*passed).min(end));
        for series in &mut self.series {
            series.come_back(at, end);
            if is_shown_anew {
                // Those of the window come again.
                series.verdicts.clear();
            }
        }
    }
}

/// Whether a time that is over can only be of a clock that was ahead of `now`.
pub(crate) fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time.milliseconds_since(now) > limits::CLOCK_AHEAD.milliseconds()
}

/// A time in which nobody looked: no host was up, the monitor was paused, or its evaluations came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    /// The last evaluation before it that came to something.
    pub(crate) from: Timestamp,
    /// The first after it.
    pub(crate) to: Timestamp,
}

/// An incident that is open, and the tags all its series share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenIncident {
    pub(crate) tuple: Vec<(String, String)>,
    pub(crate) id: IncidentId,
}

/// How one series stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SeriesState {
    /// What it is grouped by.
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) metric: Option<String>,
    pub(crate) level: Level,
    /// Whether it stays away, longer than the monitor allows.
    pub(crate) missing: bool,
    /// The first evaluation that saw it.
    pub(crate) first_seen: Timestamp,
    /// When its last step with a point began.
    pub(crate) last_point: Timestamp,
    /// What was compared last.
    pub(crate) value: Option<f64>,
    /// The first breach of those that have not opened yet.
    pub(crate) pending: Option<Timestamp>,
    /// What keeps it from opening.
    pub(crate) held: Option<Held>,
    /// Points in a row that were not strange.
    pub(crate) ok_streak: u32,
    /// What the detector found of the latest points, oldest first.
    pub(crate) verdicts: Vec<Verdict>,
    /// The season the detector found, in milliseconds.
    pub(crate) season: Option<u64>,
    pub(crate) breach: Option<Breach>,
}

impl SeriesState {
    pub(crate) fn new(tags: Vec<(String, String)>, metric: Option<String>, seen: Timestamp) -> Self {
        Self {
            tags,
            metric,
            level: Level::Ok,
            missing: false,
            first_seen: seen,
            last_point: Timestamp::MIN,
            value: None,
            pending: None,
            held: None,
            ok_streak: 0,
            verdicts: Vec::new(),
            season: None,
            breach: None,
        }
    }

    /// A point or a breach that lies beyond is one of now, and delays count from now on.
    fn come_back(&mut self, at: Timestamp, end: Timestamp) {
        self.first_seen = self.first_seen.min(at);
        self.last_point = self.last_point.min(end);
        self.pending = self.pending.map(|pending| pending.min(end));
        if let Some(breach) = &mut self.breach {
            breach.started = breach.started.min(end);
            breach.triggered = breach.triggered.min(at);
            breach.counted = breach.counted.min(end);
            breach.last_seen = breach.last_seen.map(|seen| seen.min(end));
        }
    }

    /// For how long it has stayed away up to `end` while somebody looked, in milliseconds. It was not looked at before
    /// `passed`. One that was found to stay away does so until it reports: that nobody looked meanwhile brings it not back.
    pub(crate) fn silent(&self, end: Timestamp, gap: Option<Gap>, passed: Timestamp) -> i64 {
        let since = match self.level {
            Level::NoData => Timestamp::MIN,
            _ => gap.map_or(Timestamp::MIN, |gap| gap.to).max(passed),
        };
        end.milliseconds_since(self.last_point.max(since))
    }

    /// The same with no more found by a detector than `before`; nothing, where it was not known then.
    pub(crate) fn judged_as(&self, before: Option<&Self>) -> Self {
        let found = before.map(|before| (before.verdicts.clone(), before.ok_streak, before.season));
        let (verdicts, ok_streak, season) = found.unwrap_or_default();
        Self { verdicts, ok_streak, season, ..self.clone() }
    }

    pub(crate) fn id(&self) -> String {
        series_id(&self.tags)
    }
}

/// What keeps a series that breaches from opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Held {
    NewGroup,
    Duration,
    Direction,
    Significance,
    Delta,
    Volume,
    TooFew,
    TooMany,
    Quiet,
}

/// A side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Above.
    Up,
    /// Below.
    Down,
}

/// The side a point is strange to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Strange {
    Up,
    Down,
    /// Nobody knows: the detector does not say what would be usual.
    Unsided,
}

impl Strange {
    pub(crate) fn to(side: Option<Direction>) -> Self {
        match side {
            Some(Direction::Up) => Self::Up,
            Some(Direction::Down) => Self::Down,
            None => Self::Unsided,
        }
    }

    pub(crate) fn side(self) -> Option<Direction> {
        match self {
            Self::Up => Some(Direction::Up),
            Self::Down => Some(Direction::Down),
            Self::Unsided => None,
        }
    }
}

/// What a detector found of a point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) time: Timestamp,
    pub(crate) value: f64,
    pub(crate) score: f64,
    /// The side it is strange to; absent if it is not strange.
    pub(crate) strange: Option<Strange>,
    pub(crate) expected: f64,
    /// The edge of the band on the side of the value.
    pub(crate) edge: f64,
}

/// A series' time beyond.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Breach {
    /// The first breach; of missing data the last point.
    pub(crate) started: Timestamp,
    /// When it opened.
    pub(crate) triggered: Timestamp,
    pub(crate) level: Level,
    pub(crate) direction: Option<Direction>,
    pub(crate) upper: Option<Excursion>,
    pub(crate) lower: Option<Excursion>,
    pub(crate) score: Option<f64>,
    pub(crate) threshold: Option<f64>,
    /// The distances of all its points beyond, added up.
    pub(crate) sum_of_deltas: f64,
    /// Points before this are in the figures.
    pub(crate) counted: Timestamp,
    pub(crate) last_seen: Option<Timestamp>,
}
