//! What an evaluation sees: the points of its window, and for an anomaly monitor what the detector finds of those it
//! was not shown before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bellwether_kernel::{FieldError, OrganisationId, Timestamp};
use bellwether_series::{Expression, Line, Listener, Series, SeriesError, TimeRange};
use bellwether_store::{Batch, SharedStore, StoreError, decode, delete_large, encode, get_large, put_large};

use crate::calendar::Quiet;
use crate::evaluate::{Extent, Found, Look, Seen, Tags, make_room, side_among, size};
use crate::monitor::{Anomaly, Compiled, series_id};
use crate::rows::{self, DetectorRow, PeersRow};
use crate::state::{Direction, MonitorState, Strange, Verdict};
use crate::{
    AlertError, Detector, MonitorId, Points, Regular, RoleError, RoleKind, Roles, Scores, Settings, Takes,
    limits,
};

/// Where monitors read their figures.
#[async_trait]
pub trait Figures: Send + Sync + 'static {
    /// Answers a query, as [`Series::query`] does.
    ///
    /// # Errors
    /// Its errors.
    async fn query(
        &self,
        organisation: OrganisationId,
        expression: &Expression,
        range: TimeRange,
    ) -> Result<Vec<Line>, SeriesError>;

    /// Tells `listener` of what is written from here on, as [`Series::tell`] does. Where nobody is told, monitors are
    /// evaluated by their schedule alone.
    fn tell(&self, _listener: &Arc<dyn Listener>) {}
}

#[async_trait]
impl Figures for Series {
    async fn query(
        &self,
        organisation: OrganisationId,
        expression: &Expression,
        range: TimeRange,
    ) -> Result<Vec<Line>, SeriesError> {
        Self::query(self, organisation, expression, range, &|_| true).await
    }

    fn tell(&self, listener: &Arc<dyn Listener>) {
        Self::tell(self, listener);
    }
}

/// What detectors keep of a monitor's series.
pub(crate) struct Kept {
    /// Where it is read from; a back-test begins with nothing.
    from: Option<(SharedStore, OrganisationId, MonitorId)>,
    rows: HashMap<String, DetectorRow>,
    /// Of series that are shown together, by what they share, and how many bytes that took before.
    peers: HashMap<String, (PeersRow, usize)>,
}

impl Kept {
    pub(crate) fn stored(store: &SharedStore, organisation: OrganisationId, monitor: MonitorId) -> Self {
        Self { from: Some((Arc::clone(store), organisation, monitor)), ..Self::nothing() }
    }

    pub(crate) fn nothing() -> Self {
        Self { from: None, rows: HashMap::new(), peers: HashMap::new() }
    }

    async fn get(&self, series: &str) -> Result<Option<DetectorRow>, StoreError> {
        if let Some(row) = self.rows.get(series) {
            return Ok(Some(row.clone()));
        }
        let Some((store, organisation, monitor)) = &self.from else { return Ok(None) };
        let row = store.get(&rows::detector(*organisation, *monitor, series)).await?;
        row.map(|row| decode(&row)).transpose()
    }

    /// Of the series together that share this.
    pub(super) async fn peers(&mut self, group: &str) -> Result<Option<PeersRow>, StoreError> {
        if let Some((row, _)) = self.peers.get(group) {
            return Ok(Some(row.clone()));
        }
        let Some((store, organisation, monitor)) = &self.from else { return Ok(None) };
        let stored = get_large(&**store, &rows::peers(*organisation, *monitor, group)).await?;
        let Some(bytes) = stored else { return Ok(None) };
        let row: PeersRow = decode(&bytes)?;
        self.peers.insert(group.to_owned(), (row.clone(), bytes.len()));
        Ok(Some(row))
    }

    pub(super) fn keep_peers(&mut self, group: String, row: PeersRow) {
        let before = self.peers.get(&group).map_or(0, |(_, bytes)| *bytes);
        self.peers.insert(group, (row, before));
    }

    /// Forgets, in `batch` too, what is kept of series nothing is known of any more: of `before`, which are not in
    /// `state`. What is kept of several goes with the last of them.
    pub(crate) async fn let_go(
        &mut self,
        batch: &mut Batch,
        anomaly: &Anomaly,
        before: &BTreeSet<Tags>,
        state: &MonitorState,
    ) -> Result<(), StoreError> {
        let Some((store, organisation, monitor)) = &self.from else { return Ok(()) };
        let known: BTreeSet<&Tags> = state.series.iter().map(|series| &series.tags).collect();
        let groups: BTreeSet<Tags> = known.iter().map(|tags| anomaly.group(tags)).collect();
        let gone = before.iter().filter(|tags| !known.contains(tags));
        let mut gone_groups = BTreeSet::new();
        for tags in gone {
            let id = series_id(tags);
            batch.delete(rows::detector(*organisation, *monitor, &id));
            self.rows.remove(&id);
            gone_groups.insert(anomaly.group(tags));
        }
        for group in gone_groups.difference(&groups) {
            let name = series_id(group);
            let owner = rows::peers(*organisation, *monitor, &name);
            delete_large(&**store, batch, &owner).await?;
            batch.delete(owner);
            self.peers.remove(&name);
        }
        Ok(())
    }

    /// Adds what changed to a batch.
    pub(crate) async fn put(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        monitor: MonitorId,
    ) -> Result<(), StoreError> {
        for (series, row) in &self.rows {
            rows::put(batch, rows::detector(organisation, monitor, series), encode(row))?;
        }
        let Some((store, ..)) = self.from.as_ref().filter(|_| !self.peers.is_empty()) else { return Ok(()) };
        for (group, (row, before)) in &self.peers {
            let owner = rows::peers(organisation, monitor, group);
            let bytes = encode(row);
            if *before > bytes.len() {
                delete_large(&**store, batch, &owner).await?;
            }
            put_large(batch, &owner, &bytes)?;
            batch.put(owner, Vec::new());
        }
        Ok(())
    }
}

/// Who looks.
pub(crate) struct Looking<'a> {
    pub(crate) figures: &'a dyn Figures,
    pub(crate) roles: &'a dyn Roles,
    pub(crate) organisation: OrganisationId,
    /// The monitor that looks; `None` where one is only tried.
    pub(crate) monitor: Option<MonitorId>,
    pub(crate) compiled: &'a Compiled,
    /// Which series are not looked at.
    pub(crate) quiet: &'a Quiet,
    /// Series of one monitor.
    pub(crate) series: usize,
}

/// The times that are looked at, in milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Span {
    /// Where a detector that knows nothing begins.
    pub(super) first: i64,
    /// Where one begins that knows what was before.
    pub(super) start: i64,
    /// Up to here.
    pub(super) end: i64,
}

/// What a detector of single series is asked.
struct Asking<'a> {
    detector: &'a dyn Detector,
    settings: &'a Settings,
    /// The score from which on a point is strange.
    strange_from: f64,
    /// Verdicts count of points from here on.
    judged: i64,
}

/// What it found of the points of a series, and what it keeps.
struct Answer {
    verdicts: Vec<Verdict>,
    season: Option<u64>,
    state: Vec<u8>,
}

impl Looking<'_> {
    /// What an evaluation at `at` sees.
    ///
    /// # Errors
    /// If the query, or the detector, does not answer.
    pub(crate) async fn look(
        &self,
        state: &mut MonitorState,
        kept: &mut Kept,
        at: Timestamp,
    ) -> Result<Look, AlertError> {
        let end = self.compiled.end(at.as_milliseconds());
        let mut look = Look {
            at,
            end: Timestamp::from_milliseconds(end).unwrap_or(at),
            gap: state.gap,
            seen: Vec::new(),
            left_out: 0,
            reach: self.compiled.window,
            quiet: self.quiet.clone(),
        };
        match &self.compiled.anomaly {
            None => {
                let mut lines = self.query(end - self.compiled.window, end).await?;
                look.left_out = self.make_room(state, &mut lines, look.end);
                look.seen = lines.into_iter().map(seen).collect();
            }
            Some(anomaly) => self.judged(anomaly, state, kept, &mut look).await?,
        }
        Ok(look)
    }

    /// Takes those out of `lines` that are new and there is no room for; how many they are.
    fn make_room(&self, state: &mut MonitorState, lines: &mut Vec<Line>, end: Timestamp) -> usize {
        let most = self.most();
        let bytes = |line: &Line| {
            size(line.tags.iter().map(|(key, value)| (&**key, &**value)), line.metric.as_deref())
        };
        let extent = Extent {
            series: state.series.len() + lines.len(),
            bytes: state.size() + lines.iter().map(bytes).sum::<usize>(),
        };
        if extent.fits(most) {
            return 0;
        }
        let each = |line: &Line| {
            let last = line.points.last().map_or(i64::MIN, |(time, _)| *time);
            (tags(line), Found { last, bytes: bytes(line) })
        };
        let found = lines.iter().map(each).collect();
        let left_out = make_room(self.compiled, state, end, &found, most);
        lines.retain(|line| !left_out.contains(&tags(line)));
        left_out.len()
    }

    /// How many series of the monitor are looked at.
    fn most(&self) -> usize {
        let most = if self.compiled.anomaly.is_some() { limits::ANOMALY_SERIES } else { usize::MAX };
        most.min(self.series)
    }

    /// What is wrong with a look that leaves series out.
    pub(crate) fn left_out(&self, look: &Look) -> Option<String> {
        let (left_out, most) = (look.left_out, self.most());
        let problem = || {
            format!(
                "series that are new and left out: {left_out}; of one monitor {most} are looked at, fewer where tags \
                 are long: narrow its query by a filter, or group by fewer tags"
            )
        };
        (left_out > 0).then(problem)
    }

    /// The lines of the points from `start` up to but not at `end`.
    pub(crate) async fn query(&self, start: i64, end: i64) -> Result<Vec<Line>, AlertError> {
        if start >= end {
            return Ok(Vec::new());
        }
        let instant = |time: i64| Timestamp::from_milliseconds(time).unwrap_or_default();
        let range =
            TimeRange { start: instant(start), end: instant(end - 1), step: Some(self.compiled.step) };
        let mut lines = self.figures.query(self.organisation, &self.compiled.expression, range).await?;
        for line in &mut lines {
            line.points.retain(|(time, _)| (start..end).contains(time));
        }
        lines.retain(|line| !line.points.is_empty());
        Ok(lines)
    }

    async fn judged(
        &self,
        anomaly: &Anomaly,
        state: &mut MonitorState,
        kept: &mut Kept,
        look: &mut Look,
    ) -> Result<(), AlertError> {
        let end = look.end.as_milliseconds();
        let name = &anomaly.detector;
        let detector = match self.monitor {
            Some(monitor) => {
                let regular = Regular { name: &monitor.0.to_be_bytes(), settings: &anomaly.settings };
                self.roles.detector_for(self.organisation, name, &regular)
            }
            None => self.roles.detector(self.organisation, name),
        };
        let not_called = || self.roles.not_called(self.organisation, name, RoleKind::Detector);
        let detector = detector.ok_or_else(not_called).map_err(RoleError::from)?;
        let description = detector.description();
        let settings = Settings::read(&description.settings, &anomaly.settings).map_err(RoleError::from)?;
        let step = self.compiled.step;
        let wanted = i64::from(description.history.best.max(description.history.least));
        let shown = self.compiled.window / step + wanted;
        look.reach = shown.clamp(1, limits::HISTORY) * step;
        let first = end - look.reach;
        let fed = state.fed.map(Timestamp::as_milliseconds);
        let start = fed.unwrap_or(first).max(end - limits::HISTORY * step);
        let mut lines = self.query(start, end).await?;
        look.left_out = self.make_room(state, &mut lines, look.end);
        let after = Timestamp::from_milliseconds(end.max(fed.unwrap_or(end)));
        if description.takes == Takes::AlignedSeries {
            let span = Span { first, start, end };
            look.seen = self.together(anomaly, (&*detector, &settings), state, kept, lines, span).await?;
            state.fed = after;
            return Ok(());
        }
        let mut history: Option<BTreeMap<String, Line>> = None;
        let asking = Asking {
            detector: &*detector,
            settings: &settings,
            strange_from: anomaly.score,
            judged: end - self.compiled.window.max(anomaly.recovery_window.unwrap_or(0)),
        };
        for line in lines {
            let id = series_id(&tags(&line));
            let row = kept.get(&id).await?.filter(|row| row.version == detector.version());
            let known = match row {
                Some(row) => match self.detect(&asking, row.state, &line).await {
                    // Another version of the same name wrote it after all: it begins anew.
                    Err(AlertError::Role(RoleError::UnknownState(_))) => None,
                    answered => Some((answered?, line.clone())),
                },
                None => None,
            };
            let is_anew = known.is_none();
            let (answer, line) = match known {
                Some(known) => known,
                None => {
                    if history.is_none() && start > first {
                        let lines = self.query(first, end).await?;
                        history =
                            Some(lines.into_iter().map(|line| (series_id(&tags(&line)), line)).collect());
                    }
                    let line = history.as_mut().and_then(|lines| lines.remove(&id)).unwrap_or(line);
                    (self.detect(&asking, Vec::new(), &line).await?, line)
                }
            };
            let Answer { verdicts, season, state } = answer;
            kept.rows.insert(id, DetectorRow { version: detector.version().to_owned(), state });
            look.seen.push(Seen { verdicts, is_anew, season, ..seen(line) });
        }
        state.fed = after;
        Ok(())
    }

    /// Shows a detector the points of a line: in one call those in a row from which it learns, or does not. Those from which
    /// it does not learn and that nobody has judged any more it is not shown.
    async fn detect(&self, asking: &Asking<'_>, state: Vec<u8>, line: &Line) -> Result<Answer, AlertError> {
        let points = line.points.iter().zip(self.learns(line));
        let shown: Vec<_> = points.filter(|((time, _), learns)| *learns || *time >= asking.judged).collect();
        let mut answer = Answer { verdicts: Vec::with_capacity(shown.len()), season: None, state };
        for run in shown.chunk_by(|(_, one), (_, next)| one == next) {
            let instant = |time: i64| Timestamp::from_milliseconds(time).unwrap_or_default();
            let points = Points {
                times: run.iter().map(|((time, _), _)| instant(*time)).collect(),
                step: Some(Duration::from_millis(line.step.unsigned_abs())),
                values: vec![run.iter().map(|((_, value), _)| *value).collect()],
                learn: run.iter().all(|(_, learns)| *learns),
            };
            let mut detection = asking.detector.detect(asking.settings, &answer.state, &points).await?;
            let scores = detection.series.pop().unwrap_or_default();
            let judged = run.iter().enumerate();
            let verdicts = judged.map(|(at, (point, _))| verdict(&scores, at, **point, asking.strange_from));
            answer.verdicts.extend(verdicts);
            answer.season = scores.season.or(answer.season);
            answer.state = detection.state;
        }
        Ok(answer)
    }

    /// Of each point of a line, whether detectors learn from it.
    pub(super) fn learns(&self, line: &Line) -> Vec<bool> {
        self.quiet.learns(&tags(line), line.metric.as_deref(), (&line.points, line.step))
    }
}

/// Refuses groups for a detector that looks at each series by itself.
pub(crate) fn check_peers(detector: &dyn Detector, peers_by: &[String]) -> Result<(), FieldError> {
    if detector.description().takes == Takes::AlignedSeries || peers_by.is_empty() {
        return Ok(());
    }
    let expected = "none: this detector looks at each series by itself";
    Err(FieldError::new("detector.peers_by", peers_by.join(", "), expected))
}

pub(super) fn tags(line: &Line) -> Vec<(String, String)> {
    line.tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

pub(super) fn seen(line: Line) -> Seen {
    Seen {
        tags: tags(&line),
        metric: line.metric.as_deref().map(str::to_owned),
        step: line.step,
        points: line.points,
        verdicts: Vec::new(),
        is_anew: false,
        season: None,
    }
}

/// What a detector found of a point, at this place of its columns.
pub(super) fn verdict(scores: &Scores, at: usize, (time, value): (i64, f64), strange_from: f64) -> Verdict {
    let of = |column: &[f64]| column.get(at).copied().unwrap_or(f64::NAN);
    let (score, expected) = (of(&scores.scores), of(&scores.expected));
    let (lower, upper) = (of(&scores.lower), of(&scores.upper));
    let side = side_among(value, expected, (lower, upper));
    let edge = match side {
        Some(Direction::Up) => upper,
        Some(Direction::Down) => lower,
        None => f64::NAN,
    };
    Verdict {
        time: Timestamp::from_milliseconds(time).unwrap_or_default(),
        value,
        score,
        strange: (score >= strange_from).then(|| Strange::to(side)),
        expected,
        edge,
    }
}
