//! An evaluation: what a monitor sees moves its series, and what its series do moves its incidents. Pure: the same for
//! the schedule, a back-test and the tests.

mod breach;
mod conditions;
mod decided;
mod incidents;
mod judge;
mod room;

use std::collections::BTreeMap;

use bellwether_kernel::Timestamp;

use crate::calendar::Quiet;
use crate::monitor::{Compiled, series_id};
use crate::state::{Breach, Direction, Gap, Held, MonitorState, SeriesState, Verdict};
use crate::{Level, limits};

use conditions::Candidate;
pub(crate) use decided::Decided;
pub(crate) use incidents::{Changed, Settling, close_all, close_some, interval, past};
use judge::{Judged, judge};
pub(crate) use room::{Extent, Found, make_room, size};

/// A day, in milliseconds: a group that was not seen for so long is new, and a back-test that does not say when begins so
/// long before its end.
pub(crate) const DAY: i64 = 24 * 60 * 60 * 1000;

/// What an evaluation sees.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// When it was due.
    pub(crate) at: Timestamp,
    /// The end of its window.
    pub(crate) end: Timestamp,
    /// When last nobody looked.
    pub(crate) gap: Option<Gap>,
    /// The series with points: of an anomaly monitor those a detector was not shown before, else those of the window.
    pub(crate) seen: Vec<Seen>,
    /// How many series that are new there is no room for.
    pub(crate) left_out: usize,
    /// How far back it can reach, in milliseconds.
    pub(crate) reach: i64,
    /// Which series are not looked at.
    pub(crate) quiet: Quiet,
}

impl Look {
    /// For how long a series has stayed away, as [`SeriesState::silent`] counts it.
    fn silent(&self, series: &SeriesState, passed: Timestamp) -> i64 {
        series.silent(self.end, self.gap, passed)
    }

    /// Whether nobody looked for so much of the last `window` milliseconds that what was counted in it may be missing.
    fn is_gappy(&self, window: i64) -> bool {
        let Some(gap) = self.gap else { return false };
        let begin = gap.from.as_milliseconds().max(self.end.as_milliseconds() - window);
        let unseen = gap.to.min(self.end).as_milliseconds() - begin;
        unseen > window / limits::UNSEEN
    }
}

/// One series as it is seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) metric: Option<String>,
    /// Milliseconds of a step.
    pub(crate) step: i64,
    pub(crate) points: Vec<(i64, f64)>,
    /// One for each point that a detector judged.
    pub(crate) verdicts: Vec<Verdict>,
    /// Whether the detector began anew with them: points that were judged before are among them.
    pub(crate) is_anew: bool,
    pub(crate) season: Option<u64>,
}

/// What one series did.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) metric: Option<String>,
    pub(crate) from: Level,
    pub(crate) to: Level,
    pub(crate) what: What,
    pub(crate) why: String,
}

/// What a series can do.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// It breaches and its conditions hold.
    Opened,
    /// An open one is of another level.
    Changed,
    /// An open one is strange to the other side too.
    Turned,
    /// An open one is over.
    Closed { breach: Box<Breach>, reason: &'static str, value: Option<f64>, season: Option<u64> },
    /// It breaches and something keeps it from opening.
    Held,
    /// It is of another level, not open.
    Moved,
}

impl What {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Changed => "changed",
            Self::Turned => "turned",
            Self::Closed { .. } => "closed",
            Self::Held => "held",
            Self::Moved => "moved",
        }
    }
}

/// The tags of a series.
pub(crate) type Tags = Vec<(String, String)>;

/// Moves the series of a monitor by what is seen, and says what each did.
pub(crate) fn advance(compiled: &Compiled, state: &mut MonitorState, look: &Look) -> Vec<Move> {
    let mut series: BTreeMap<Tags, SeriesState> =
        std::mem::take(&mut state.series).into_iter().map(|series| (series.tags.clone(), series)).collect();
    let mut seen: BTreeMap<&Tags, &Seen> = BTreeMap::new();
    for line in look.seen.iter().filter(|line| !line.points.is_empty()) {
        seen.insert(&line.tags, line);
        series
            .entry(line.tags.clone())
            .or_insert_with(|| SeriesState::new(line.tags.clone(), line.metric.clone(), look.at));
    }
    let averages = seen.values().filter_map(|line| average(line)).collect();
    let automatic = conditions::automatic_delta(averages);

    let passed = std::mem::take(&mut state.passed);
    let mut pass = Pass {
        compiled,
        look,
        automatic,
        passed,
        moves: Vec::new(),
        candidates: Vec::new(),
        open: 0,
        all: 0,
    };
    series.retain(|tags, series| pass.series(series, seen.get(tags).copied()));
    pass.open_candidates(&mut series);
    pass.passed.retain(|tags, passed| {
        let reached = passed.milliseconds_since(look.end) > -compiled.window;
        series.get(tags).is_some_and(|series| reached || series.last_point < *passed)
    });
    state.passed = pass.passed;
    state.series = series.into_values().collect();
    pass.moves
}

fn average(line: &Seen) -> Option<f64> {
    let values: Vec<f64> = line.points.iter().map(|(_, value)| *value).collect();
    conditions::reduced(crate::Reduce::Average, &values)
}

/// One pass over the series of a monitor.
struct Pass<'a> {
    compiled: &'a Compiled,
    look: &'a Look,
    automatic: f64,
    /// Up to when series were not looked at: nothing opens from points before.
    passed: BTreeMap<Tags, Timestamp>,
    moves: Vec<Move>,
    /// Those that may open if enough others do, or not too many.
    candidates: Vec<(Tags, Level, Breach)>,
    /// Series that are open already.
    open: usize,
    /// Series that are judged.
    all: usize,
}

impl Pass<'_> {
    /// Moves one series; `false` if nothing need be known of it any more.
    fn series(&mut self, series: &mut SeriesState, seen: Option<&Seen>) -> bool {
        let (compiled, look) = (self.compiled, self.look);
        if let Some((last, _)) = seen.and_then(|seen| seen.points.last()) {
            let last = Timestamp::from_milliseconds(*last).unwrap_or_default();
            series.last_point = series.last_point.max(last).min(look.end);
        }
        let because = look.quiet.of(&series.tags, series.metric.as_deref());
        if series.breach.is_none()
            && let Some(because) = &because
        {
            return self.pass_over(series, because);
        }
        let passed = look.quiet.passed(&series.tags, series.metric.as_deref());
        if let Some(passed) = passed.filter(|_| series.breach.is_none()) {
            let from = self.pass(series, passed.min(look.end));
            if from != Level::Ok {
                self.note(series, from, What::Moved, format!("it was not looked at until {passed}"));
            }
        }
        if series.held == Some(Held::Quiet) {
            series.held = None;
        }
        let passed = self.passed.get(&series.tags).copied().unwrap_or(Timestamp::MIN);
        let judged = judge(compiled, look, series, seen, passed);
        let silent = look.silent(series, passed);
        if series.breach.is_some() && silent >= compiled.timeout {
            self.close(series, "timeout", format!("no data for {} s", silent / 1000));
            // Where its absence would open it again at once it is forgotten: it counts again once it reports again.
            return compiled.awaited.is_none();
        }
        if look.at.milliseconds_since(series.first_seen) < compiled.monitor.new_group_delay.milliseconds() {
            if series.held != Some(Held::NewGroup) {
                series.held = Some(Held::NewGroup);
                let why = format!("it is new and is passed over for {}", compiled.monitor.new_group_delay);
                self.note(series, series.level, What::Held, why);
            }
            return true;
        }
        if series.held == Some(Held::NewGroup) {
            series.held = None;
        }
        series.missing = judged.missing;
        // What was open before may be over; nothing else comes of it while it is not looked at, nor counts it.
        if let Some(level) = judged.level.filter(|level| because.is_none() || *level == Level::Ok) {
            self.moved(series, level, &judged);
        }
        if because.is_none() {
            self.all += 1;
            self.open += usize::from(series.breach.is_some());
        }
        series.breach.is_some() || silent < self.kept()
    }

    fn pass_over(&mut self, series: &mut SeriesState, why: &str) -> bool {
        let from = self.pass(series, self.look.end);
        self.hold(series, from, Held::Quiet, why.to_owned());
        self.look.silent(series, Timestamp::MIN) < self.kept()
    }

    /// A series that was not looked at up to a time stands as if nothing were known of it; gives the level it had.
    fn pass(&mut self, series: &mut SeriesState, until: Timestamp) -> Level {
        self.passed.insert(series.tags.clone(), until);
        (series.pending, series.ok_streak, series.missing) = (None, 0, false);
        series.verdicts.clear();
        std::mem::replace(&mut series.level, Level::Ok)
    }

    /// After how long without a point a series is forgotten, in milliseconds.
    fn kept(&self) -> i64 {
        self.compiled.kept.max(self.look.reach)
    }

    fn moved(&mut self, series: &mut SeriesState, level: Level, judged: &Judged) {
        let from = series.level;
        series.value = judged.value.map(|value| value.value);
        series.level = level;
        if series.breach.is_some() {
            self.open_one(series, from, judged);
        } else if level == Level::Ok {
            (series.pending, series.held) = (None, None);
            if from != level {
                self.note(series, from, What::Moved, judged.why.clone());
            }
        } else {
            self.pending_one(series, from, judged);
        }
    }

    /// An open series goes on, or is over.
    fn open_one(&mut self, series: &mut SeriesState, from: Level, judged: &Judged) {
        let level = series.level;
        if level == Level::Ok {
            series.level = from;
            self.close(series, judged.reason, judged.why.clone());
            return;
        }
        let Some(breach) = &mut series.breach else { return };
        let sides = |breach: &Breach| breach.upper.is_some() && breach.lower.is_some();
        let both_before = sides(breach);
        breach.count(&judged.points, self.look.end);
        breach.level = level;
        if let Some(value) = judged.value.filter(|_| self.compiled.anomaly.is_none()) {
            breach.measure(value.bound);
        }
        if level == Level::NoData {
            breach.last_seen = Some(series.last_point);
        }
        let turned = sides(breach) && !both_before;
        if from != level {
            self.note(series, from, What::Changed, judged.why.clone());
        } else if turned {
            self.note(series, from, What::Turned, "it is strange to the other side".to_owned());
        }
    }

    /// A series breaches and is not open.
    fn pending_one(&mut self, series: &mut SeriesState, from: Level, judged: &Judged) {
        let end = self.look.end;
        let since = *series.pending.get_or_insert(judged.since.min(end));
        let candidate = Candidate {
            breached_for: end.milliseconds_since(since),
            measured: judged.value,
            score: judged.score,
            values: &judged.values,
            automatic: self.automatic,
        };
        match conditions::held(self.compiled, &candidate) {
            Some((held, why)) => self.hold(series, from, held, why),
            None => {
                let missing = series.level == Level::NoData;
                let mut breach = Breach {
                    started: since,
                    triggered: self.look.at,
                    level: series.level,
                    direction: judged.value.and_then(|value| value.side),
                    upper: None,
                    lower: None,
                    score: judged.score,
                    threshold: judged
                        .value
                        .map(|value| value.bound)
                        .filter(|_| self.compiled.anomaly.is_none()),
                    sum_of_deltas: 0.0,
                    counted: since,
                    last_seen: missing.then_some(series.last_point),
                };
                breach.count(&judged.points, end);
                if from != series.level {
                    self.note(series, from, What::Moved, judged.why.clone());
                }
                self.candidates.push((series.tags.clone(), from, breach));
            }
        }
    }

    fn open_candidates(&mut self, all: &mut BTreeMap<Tags, SeriesState>) {
        let candidates = std::mem::take(&mut self.candidates);
        let breaching = self.open + candidates.len();
        let kept = conditions::participating(self.compiled, breaching, self.all);
        for (tags, from, breach) in candidates {
            let Some(series) = all.get_mut(&tags) else { continue };
            match &kept {
                Some((held, why)) => self.hold(series, series.level, *held, why.clone()),
                None => {
                    let why = format!("it breaches since {}", breach.started);
                    (series.breach, series.pending, series.held) = (Some(breach), None, None);
                    self.note(series, from, What::Opened, why);
                }
            }
        }
    }

    fn hold(&mut self, series: &mut SeriesState, from: Level, held: Held, why: String) {
        if series.held != Some(held) || from != series.level {
            series.held = Some(held);
            self.note(series, from, What::Held, why);
        }
    }

    fn close(&mut self, series: &mut SeriesState, reason: &'static str, why: String) {
        let Some(breach) = series.breach.take() else { return };
        let from = std::mem::replace(&mut series.level, Level::Ok);
        (series.pending, series.held) = (None, None);
        let closed =
            What::Closed { breach: Box::new(breach), reason, value: series.value, season: series.season };
        self.note(series, from, closed, why);
    }

    fn note(&mut self, series: &SeriesState, from: Level, what: What, why: String) {
        let (tags, metric) = (series.tags.clone(), series.metric.clone());
        self.moves.push(Move { tags, metric, from, to: series.level, what, why });
    }
}

impl Move {
    /// The series.
    pub(crate) fn series(&self) -> String {
        series_id(&self.tags)
    }
}

/// The side values breach to.
pub(crate) fn side_of(upwards: bool) -> Direction {
    if upwards { Direction::Up } else { Direction::Down }
}

/// The side of what would be usual that a value lies on, as far as a detector says what that is: NaN where it does not.
/// Without an expectation only a value that is not within the band has one.
pub(crate) fn side_among(value: f64, expected: f64, (lower, upper): (f64, f64)) -> Option<Direction> {
    if !expected.is_nan() {
        return Some(side_of(value >= expected));
    }
    match (value >= upper, value <= lower) {
        (true, false) => Some(Direction::Up),
        (false, true) => Some(Direction::Down),
        _ => None,
    }
}
