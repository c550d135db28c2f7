//! Detectors that look at several series together: what they are shown, and what they keep.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bellwether_kernel::Timestamp;
use bellwether_series::Line;

use super::Looking;
use super::look::{Kept, Span, seen, tags, verdict};
use crate::evaluate::{Seen, Tags};
use crate::monitor::{Anomaly, series_id};
use crate::rows::PeersRow;
use crate::state::MonitorState;
use crate::{AlertError, Detector, Points, RoleError, Scores, Settings, limits};

/// What a detector found of its series: the times it was shown, the verdicts on each series in the order of the members,
/// and what it keeps.
struct Found {
    times: Vec<i64>,
    scores: Vec<Scores>,
    state: Vec<u8>,
}

impl Looking<'_> {
    /// Shows a detector the series of each group together, those points it was not shown before.
    ///
    /// A series that has no point is there all the same, without values; one that is new makes the detector begin anew
    /// with all of them, for what it keeps is of those it was shown.
    pub(super) async fn together(
        &self,
        anomaly: &Anomaly,
        (detector, settings): (&dyn Detector, &Settings),
        state: &MonitorState,
        kept: &mut Kept,
        lines: Vec<Line>,
        span: Span,
    ) -> Result<Vec<Seen>, AlertError> {
        let open: BTreeSet<&Tags> =
            state.series.iter().filter(|series| series.breach.is_some()).map(|series| &series.tags).collect();
        let mut room: BTreeSet<Tags> = state.series.iter().map(|series| series.tags.clone()).collect();
        room.extend(lines.iter().map(tags));
        let mut history = None;
        let mut all = Vec::with_capacity(lines.len());
        for (group, mut lines) in grouped(anomaly, lines) {
            let name = series_id(&group);
            let before = kept.peers(&name).await?;
            let members = before.as_ref().map(|row| row.members.clone()).unwrap_or_default();
            let is_member = |tags: &Tags| members.binary_search(tags).is_ok();
            let fits = |row: &PeersRow| {
                row.version == detector.version() && lines.iter().all(|line| is_member(&tags(line)))
            };
            let found = match before.as_ref().filter(|row| fits(row)) {
                Some(row) => match self.show((detector, settings), row, &lines, &open).await {
                    // Another version of the same name wrote it after all: it begins anew.
                    Err(AlertError::Role(RoleError::UnknownState(_))) => None,
                    found => Some((row.members.clone(), found?)),
                },
                None => None,
            };
            let (shown, found) = match found {
                Some(found) => found,
                None => {
                    if history.is_none() && span.start > span.first {
                        let mut lines = self.query(span.first, span.end).await?;
                        lines.retain(|line| room.contains(&tags(line)));
                        history = Some(grouped(anomaly, lines));
                    }
                    lines = history.as_mut().and_then(|groups| groups.remove(&group)).unwrap_or(lines);
                    let shown: BTreeSet<Tags> = lines.iter().map(tags).collect();
                    let nothing = PeersRow {
                        version: detector.version().to_owned(),
                        members: shown.into_iter().collect(),
                        state: Vec::new(),
                    };
                    let found = self.show((detector, settings), &nothing, &lines, &open).await?;
                    (nothing.members, found)
                }
            };
            for mut line in lines {
                let tags = tags(&line);
                if is_member(&tags) {
                    // What was judged before is not judged again.
                    line.points.retain(|(time, _)| *time >= span.start);
                }
                let Ok(at) = shown.binary_search(&tags) else { continue };
                let scores = &found.scores[at];
                let place = |time: &i64| found.times.binary_search(time).unwrap_or(usize::MAX);
                let one = |point: (i64, f64)| verdict(scores, place(&point.0), point, anomaly.score);
                let verdicts = self.shown(&line, &open).map(one).collect();
                let season = scores.season;
                all.push(Seen { verdicts, season, ..seen(line) });
            }
            let version = detector.version().to_owned();
            kept.keep_peers(name, PeersRow { version, members: shown, state: found.state });
        }
        Ok(all)
    }

    /// Shows a detector lines of the members of a row, a call for as many points as one may have.
    async fn show(
        &self,
        (detector, settings): (&dyn Detector, &Settings),
        row: &PeersRow,
        lines: &[Line],
        open: &BTreeSet<&Tags>,
    ) -> Result<Found, AlertError> {
        let members = &row.members;
        let times: BTreeSet<i64> =
            lines.iter().flat_map(|line| line.points.iter().map(|(time, _)| *time)).collect();
        let times: Vec<i64> = times.into_iter().collect();
        let mut values = vec![vec![f64::NAN; times.len()]; members.len()];
        for line in lines {
            let Ok(at) = members.binary_search(&tags(line)) else { continue };
            for (time, value) in self.shown(line, open) {
                if let Ok(place) = times.binary_search(&time) {
                    values[at][place] = value;
                }
            }
        }
        let step = lines.first().map_or(self.compiled.step, |line| line.step);
        let mut found =
            Found { times, scores: vec![Scores::default(); members.len()], state: row.state.clone() };
        let most = (limits::POINTS / members.len().max(1)).max(1);
        for first in (0..found.times.len()).step_by(most) {
            let last = (first + most).min(found.times.len());
            let instant = |time: &i64| Timestamp::from_milliseconds(*time).unwrap_or_default();
            let points = Points {
                times: found.times[first..last].iter().map(instant).collect(),
                step: Some(Duration::from_millis(step.unsigned_abs())),
                values: values.iter().map(|values| values[first..last].to_vec()).collect(),
                learn: true,
            };
            let detection = detector.detect(settings, &found.state, &points).await?;
            for (all, more) in found.scores.iter_mut().zip(detection.series) {
                all.scores.extend(more.scores);
                all.expected.extend(more.expected);
                all.lower.extend(more.lower);
                all.upper.extend(more.upper);
                all.season = more.season.or(all.season);
            }
            found.state = detection.state;
        }
        Ok(found)
    }

    /// The points of a line without those that are suppressed at their time: others are not held against them, and nothing
    /// is learnt from them. One that is open stays, so that it can be over.
    fn shown(&self, line: &Line, open: &BTreeSet<&Tags>) -> impl Iterator<Item = (i64, f64)> {
        let is_open = open.contains(&tags(line));
        let points = line.points.iter().zip(self.learns(line));
        points.filter(move |(_, learns)| is_open || *learns).map(|(point, _)| *point)
    }
}

/// Lines by what those share that are shown together.
fn grouped(anomaly: &Anomaly, lines: Vec<Line>) -> BTreeMap<Tags, Vec<Line>> {
    let mut groups: BTreeMap<Tags, Vec<Line>> = BTreeMap::new();
    for line in lines {
        groups.entry(anomaly.group(&tags(&line))).or_default().push(line);
    }
    groups
}
