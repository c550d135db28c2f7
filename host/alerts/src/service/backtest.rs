//! A back-test: where a monitor would have fired over stored history, by the code that evaluates it.

use std::collections::{BTreeMap, HashMap};

use bellwether_kernel::{FieldError, MonitorId, OrganisationId, Timestamp};
use serde_json::Value as Json;

use crate::calendar::Quiet;
use crate::engine::{Decision, Kept, Looking};
use crate::evaluate::{Changed, DAY, Look, Settling, Tags, advance, interval};
use crate::incident::Interval;
use crate::state::{MonitorState, SeriesState};
use crate::{AlertError, Alerts, Event, IncidentId, StoredIncident, limits};

/// Incidents, and decisions, told of in an answer.
const TOLD: usize = 1_000;

/// Breaches of series told of in an answer, of all its incidents together: ten of each.
const INTERVALS: usize = 10 * TOLD;

/// What is tried.
#[derive(Clone, Debug)]
pub struct BacktestRequest {
    /// The monitor's document.
    pub document: Json,
    /// The first evaluation; by default a day before the end, or as long before it as [`limits::BACKTEST`] evaluations
    /// reach where that is less.
    pub from: Option<Timestamp>,
    /// The end; evaluations are before it.
    pub to: Timestamp,
}

/// What would have been.
#[derive(Clone, Debug, Default)]
pub struct Backtest {
    /// Evaluations that were made.
    pub evaluations: u64,
    /// Series that were seen.
    pub series: u64,
    /// Incidents, in the order they would have opened; the first 1000.
    pub incidents: Vec<BacktestIncident>,
    /// What evaluations decided, where something came of it; the first 1000.
    pub decisions: Vec<Decision>,
    /// Whether there were more of either, or of their breaches.
    pub more: bool,
}

/// An incident that would have been.
#[derive(Clone, Debug)]
pub struct BacktestIncident {
    /// The incident as it would be at the end.
    pub incident: StoredIncident,
    /// Breaches of its series; of all incidents together the first 10,000.
    pub intervals: Vec<Interval>,
    /// What its channels would have been told, and when.
    pub tellings: Vec<(Timestamp, Event)>,
}

impl Alerts {
    /// Runs a monitor over stored history. Mutes, the calendar and a pause are passed over, as is the delay of new groups at the
    /// first evaluation: every group is known then. Nothing is stored: who stops waiting ends it at its next evaluation.
    ///
    /// # Errors
    /// [`AlertError::Document`]; [`AlertError::Invalid`] for a time that is wrong, or for more than [`limits::BACKTEST`]
    /// evaluations; what the query or detector fails with.
    pub async fn backtest(
        &self,
        organisation: OrganisationId,
        request: &BacktestRequest,
    ) -> Result<Backtest, AlertError> {
        let compiled = self.compile(organisation, &request.document).await?;
        let to = request.to;
        let from = request.from.unwrap_or_else(|| {
            let most = (limits::BACKTEST - 1) * compiled.every;
            to.saturating_add(-most.min(DAY))
        });
        if to <= from {
            return Err(FieldError::new("to", to, format!("an instant after from, {from}")).into());
        }
        let count = to.milliseconds_since(from).div_euclid(compiled.every) + 1;
        if count > limits::BACKTEST {
            let span = crate::Period::from_milliseconds(limits::BACKTEST * compiled.every);
            let every = crate::Period::from_milliseconds(compiled.every);
            let expected = format!(
                "at most {span} before to, which is {to}, for {} evaluations: a later from, or a longer every than {every}",
                limits::BACKTEST
            );
            return Err(FieldError::new("from", from, expected).into());
        }
        let (mut state, mut kept) = (MonitorState::default(), Kept::nothing());
        let mut open: BTreeMap<IncidentId, StoredIncident> = BTreeMap::new();
        let mut found = Found::default();
        let quiet = Quiet::default();
        let looking = Looking {
            figures: &*self.figures,
            roles: &*self.roles,
            organisation,
            monitor: None,
            compiled: &compiled,
            quiet: &quiet,
            series: self.limits.series,
        };
        let routes = self.routes.of(organisation).await?;
        let (mut at, mut leaves_out) = (from, false);
        while at < to {
            let look = looking.look(&mut state, &mut kept, at).await?;
            if at == from {
                know(&mut state, &look, compiled.monitor.new_group_delay.milliseconds());
            }
            let moves = advance(&compiled, &mut state, &look);
            // As it begins, as in a trace.
            let left_out = std::mem::replace(&mut leaves_out, look.left_out > 0);
            let problem = looking.left_out(&look).filter(|_| !left_out);
            let settling = Settling {
                organisation,
                monitor: MonitorId(0),
                version: 0,
                compiled: &compiled,
                at,
                end: look.end,
                mutes: &[],
                routes: &routes,
                quiet: &quiet,
            };
            let changed = settling.settle(&mut state, &open, &moves);
            if !moves.is_empty() || !changed.is_empty() || problem.is_some() {
                let decision = Decision::of(at, state.series.len(), &moves, &changed);
                found.decide(Decision { problem, ..decision });
            }
            for changed in changed {
                let (id, is_open) = (changed.incident.id, changed.incident.is_open());
                match is_open {
                    true => open.insert(id, changed.incident.clone()),
                    false => open.remove(&id),
                };
                found.change(at, changed);
            }
            found.answer.evaluations += 1;
            at = at.saturating_add(compiled.every);
            // A window that is at hand is evaluated without ever waiting: others have their turn, and who hung up is noticed.
            tokio::task::yield_now().await;
        }
        let mut breaching: BTreeMap<Tags, Vec<Interval>> = BTreeMap::new();
        for (tags, interval) in
            state.series.iter().filter_map(|series| Some((&series.tags, interval(series)?)))
        {
            breaching.entry(compiled.tuple(tags)).or_default().push(interval);
        }
        let mut answer = found.end(breaching);
        answer.series = state.series.len() as u64;
        Ok(answer)
    }
}

/// What a back-test found so far, as much of it as is told.
#[derive(Default)]
struct Found {
    answer: Backtest,
    /// The places of incidents.
    places: HashMap<IncidentId, usize>,
    intervals: usize,
}

impl Found {
    fn decide(&mut self, decision: Decision) {
        match self.answer.decisions.len() < TOLD {
            true => self.answer.decisions.push(decision),
            false => self.answer.more = true,
        }
    }

    fn change(&mut self, at: Timestamp, changed: Changed) {
        let Changed { incident, is_new, over, tellings, .. } = changed;
        if is_new && self.answer.incidents.len() < TOLD {
            self.places.insert(incident.id, self.answer.incidents.len());
            let (incident, intervals, tellings) = (incident.clone(), Vec::new(), Vec::new());
            self.answer.incidents.push(BacktestIncident { incident, intervals, tellings });
        }
        let Some(place) = self.places.get(&incident.id).copied() else {
            self.answer.more = true;
            return;
        };
        self.add(place, over);
        let known = &mut self.answer.incidents[place];
        known.incident = incident;
        known.tellings.extend(tellings.iter().map(|telling| (at, telling.event)));
    }

    fn add(&mut self, place: usize, mut intervals: Vec<Interval>) {
        let room = INTERVALS - self.intervals;
        self.answer.more |= intervals.len() > room;
        intervals.truncate(room);
        self.intervals += intervals.len();
        self.answer.incidents[place].intervals.append(&mut intervals);
    }

    /// With the breaches that go on, by the tags their incidents share.
    fn end(mut self, mut breaching: BTreeMap<Tags, Vec<Interval>>) -> Backtest {
        for place in 0..self.answer.incidents.len() {
            let incident = &self.answer.incidents[place].incident;
            if incident.is_open()
                && let Some(intervals) = breaching.remove(&incident.tags)
            {
                self.add(place, intervals);
            }
        }
        self.answer
    }
}

/// Makes every group that is seen at first an old one.
fn know(state: &mut MonitorState, look: &Look, delay: i64) {
    for seen in look.seen.iter().filter(|seen| !seen.points.is_empty()) {
        let since = look.at.saturating_add(-delay);
        let (tags, metric) = (seen.tags.clone(), seen.metric.clone());
        state.series.push(SeriesState::new(tags, metric, since));
    }
    state.series.sort_by(|a, b| a.tags.cmp(&b.tags));
}
