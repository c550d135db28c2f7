//! Incidents: `/v1/incidents`.

use axum::extract::State;
use bellwether_alerts::{AlertError, Excursion, IncidentFilter, IncidentId, Reach, StoredIncident};
use bellwether_kernel::FieldError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::words::{IncidentState, Severity};
use crate::extract::{Authorised, Instant, Json, List, PageQuery, Path, Query, Read, Write, in_order};
use crate::openapi::{Bodied, Clash, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::Shared;

const INCIDENTS: List = List("incidents");
const NOTES: List = List("incident notes");

/// Breaches of series shown with an incident.
const INTERVALS: usize = 1_000;

/// An incident.
#[derive(Serialize, ToSchema)]
pub(crate) struct Incident {
    /// Stable over its life; ids sort by when their incidents opened.
    #[schema(value_type = String, format = "uuid")]
    id: String,
    /// The trigger that opened it; a recurrence has another.
    trigger: String,
    /// The monitor it is of, by id.
    monitor: u64,
    monitor_name: String,
    /// The version that opened it.
    monitor_version: u32,
    /// What the monitor looks for: `threshold`, `no-data` or `anomaly`.
    #[schema(value_type = String)]
    kind: bellwether_alerts::MonitorKind,
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    state: IncidentState,
    severity: Severity,
    /// The worst severity it had.
    worst: Severity,
    /// The level of its worst series: `warning`, `no-data` or `alert`.
    #[schema(value_type = String)]
    level: bellwether_alerts::Level,
    /// The tags all its series share.
    #[schema(value_type = Object)]
    tags: Value,
    /// Labels of the monitor.
    #[schema(value_type = Object)]
    labels: Value,
    /// The first breach.
    started: Instant,
    opened: Instant,
    /// When something of it last changed.
    updated: Instant,
    closed: Option<Instant>,
    /// `recovered`, `no-data`, `timeout`, `resolved`, `monitor-changed` or `monitor-deleted`.
    close_reason: Option<String>,
    /// Who is to be told; as the monitor had it when it opened.
    channels: Vec<String>,
    /// When they were to be told that it opened; absent while nobody was: its trace says why.
    told: Option<Instant>,
    /// How often they were told.
    tellings: u32,
    acknowledged_by: Option<String>,
    acknowledged: Option<Instant>,
    assignee: Option<String>,
    /// Series that breach.
    open_series: u32,
    /// Breaches of series that are over.
    closed_intervals: u64,
}

impl From<StoredIncident> for Incident {
    fn from(incident: StoredIncident) -> Self {
        let known = incident.acknowledgement.as_ref();
        let state = if incident.is_open() { IncidentState::Open } else { IncidentState::Closed };
        Self {
            id: incident.id.to_string(),
            trigger: incident.trigger(),
            monitor: incident.monitor.0,
            monitor_version: incident.monitor_version,
            kind: incident.kind,
            state,
            severity: incident.severity.into(),
            worst: incident.worst.into(),
            level: incident.level,
            started: incident.started.into(),
            opened: incident.opened.into(),
            updated: incident.updated.into(),
            closed: incident.closed.map(Instant),
            told: incident.told.map(Instant),
            tellings: incident.tellings,
            acknowledged_by: known.map(|known| known.by.clone()),
            acknowledged: known.map(|known| known.at.into()),
            open_series: incident.open_series,
            closed_intervals: incident.intervals,
            monitor_name: incident.monitor_name,
            title: incident.title,
            message: incident.message,
            tags: pairs(incident.tags),
            labels: pairs(incident.labels),
            close_reason: incident.close_reason,
            channels: incident.channels,
            assignee: incident.assignee,
        }
    }
}

/// Names and values as an object, in their order.
pub(super) fn pairs(pairs: Vec<(String, String)>) -> Value {
    Value::Object(pairs.into_iter().map(|(name, value)| (name, value.into())).collect::<Map<_, _>>())
}

/// A breach of one series.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentInterval)]
pub(crate) struct Interval {
    /// The series: its tags, or `*`.
    series: String,
    metric: Option<String>,
    /// The first breach; of missing data the last point.
    started: Instant,
    /// When it opened: later than `started` by the time it took to tell.
    triggered: Instant,
    ended: Option<Instant>,
    /// `warning`, `no-data` or `alert`.
    #[schema(value_type = String)]
    level: bellwether_alerts::Level,
    /// The side it breached to first: `up` or `down`.
    #[schema(value_type = Option<String>)]
    direction: Option<bellwether_alerts::Direction>,
    /// Above the band or threshold: peak, what would have been usual, and the distance.
    #[schema(value_type = Option<Object>)]
    upper: Option<Excursion>,
    /// Below it.
    #[schema(value_type = Option<Object>)]
    lower: Option<Excursion>,
    /// How strange it was at most, in [0, 1].
    score: Option<f64>,
    threshold: Option<f64>,
    /// The distances of all its points beyond, added up.
    sum_of_deltas: f64,
    /// The last point, of missing data.
    last_seen: Option<Instant>,
    /// What was compared last.
    value: Option<f64>,
    /// The season the detector found, in milliseconds.
    season: Option<u64>,
    close_reason: Option<String>,
}

impl From<bellwether_alerts::Interval> for Interval {
    fn from(interval: bellwether_alerts::Interval) -> Self {
        Self {
            series: interval.series,
            metric: interval.metric,
            started: interval.started.into(),
            triggered: interval.triggered.into(),
            ended: interval.ended.map(Instant),
            level: interval.level,
            direction: interval.direction,
            upper: interval.upper,
            lower: interval.lower,
            score: interval.score,
            threshold: interval.threshold,
            sum_of_deltas: interval.sum_of_deltas,
            last_seen: interval.last_seen.map(Instant),
            value: interval.value,
            season: interval.season,
            close_reason: interval.close_reason,
        }
    }
}

/// A page of incidents.
#[derive(Serialize, ToSchema)]
pub(crate) struct IncidentList {
    /// Those that opened last first.
    items: Vec<Incident>,
    /// Pass it as `cursor` for the next page; absent on the last one. A page may hold fewer than asked for and still
    /// have a next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Which incidents.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct IncidentQuery {
    /// Only in this state.
    #[param(value_type = Option<String>, example = "open")]
    state: Option<IncidentState>,
    /// Only of this monitor, by name or id; one that is not there and has no incidents is refused.
    monitor: Option<String>,
    /// Only so severe ones, or worse: `info`, `low`, `medium`, `high`, `critical`. Of an open incident its severity now
    /// counts, of a closed one the worst it had.
    #[param(value_type = Option<String>, example = "high")]
    severity: Option<Severity>,
    /// Only with this label, `team:web`; repeat it for several.
    #[serde(default)]
    #[param(required = false)]
    label: Vec<String>,
    /// Only those somebody acknowledged, or nobody did.
    acknowledged: Option<bool>,
    /// Only those this one looks after.
    assignee: Option<String>,
    /// Only opened at or after this instant.
    #[param(value_type = Option<String>, format = "date-time")]
    since: Option<Instant>,
    /// Only opened before this instant.
    #[param(value_type = Option<String>, format = "date-time")]
    until: Option<Instant>,
    /// At most this many, 1 to 1000; by default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists incidents.
#[utoipa::path(get, path = "/v1/incidents", tag = "incidents", params(IncidentQuery), security(("key" = [])),
    responses((status = 200, description = "A page of incidents", body = IncidentList), Refusals))]
pub(crate) async fn list(
    Authorised(principal, ..): Authorised<Read>,
    Query(query): Query<IncidentQuery>,
    State(services): State<Shared>,
) -> Result<Json<IncidentList>, Problem> {
    let page = INCIDENTS.page(query.limit, query.cursor.as_deref())?;
    in_order(("since", query.since), ("until", query.until))?;
    let label = |text: &String| {
        let wrong = || FieldError::new("label", text, "a name and a value, as in team:web");
        let (name, value) = text.split_once(':').ok_or_else(wrong)?;
        Ok::<_, FieldError>((name.to_owned(), value.to_owned()))
    };
    let filter = IncidentFilter {
        state: query.state.map(Into::into),
        monitor: query.monitor,
        severity: query.severity.map(Into::into),
        labels: query.label.iter().map(label).collect::<Result<_, _>>()?,
        acknowledged: query.acknowledged,
        assignee: query.assignee,
        from: query.since.map(|Instant(since)| since),
        to: query.until.map(|Instant(until)| until),
    };
    let (organisation, alerts) = (principal.organisation, services.alerts());
    let found = alerts.incidents(organisation, &filter, &page).await?.map(Incident::from);
    // Incidents outlive their monitor: only where there are none is it asked for.
    if let Some(monitor) =
        filter.monitor.filter(|_| found.items.is_empty() && found.next.is_none() && page.cursor.is_none())
        && let Err(AlertError::NotFound { .. }) = alerts.monitor(organisation, &monitor).await
    {
        return Err(FieldError::new("monitor", monitor, "a monitor there is, by name or id").into());
    }
    Ok(Json(IncidentList { items: found.items, next: INCIDENTS.next(found.next) }))
}

/// Whether a channel knows of an incident.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentReach)]
struct Reached {
    channel: String,
    /// `told`; `waiting` while it is still to be told; `not-told` where it took nothing: its trace says why; `forgotten`
    /// where what became of it is not kept any more.
    state: &'static str,
    /// When it took the first of what it was told.
    at: Option<Instant>,
}

impl From<(String, Reach)> for Reached {
    fn from((channel, reach): (String, Reach)) -> Self {
        let (state, at) = match reach {
            Reach::Told(at) => ("told", Some(at.into())),
            Reach::Waits => ("waiting", None),
            Reach::NotTold => ("not-told", None),
            Reach::Forgotten => ("forgotten", None),
        };
        Self { channel, state, at }
    }
}

/// An incident with the breaches it is made of.
#[derive(Serialize, ToSchema)]
pub(crate) struct WholeIncident {
    #[serde(flatten)]
    incident: Incident,
    /// Which of its channels know of it.
    reached: Vec<Reached>,
    /// Those that go on, then the latest that are over; at most 1000.
    intervals: Vec<Interval>,
    /// The incidents that are told as one, itself included, under the id of the first; absent where it is told by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    merged: Vec<String>,
}

/// Shows an incident and the breaches it is made of.
#[utoipa::path(get, path = "/v1/incidents/{incident}", tag = "incidents", security(("key" = [])),
    params(("incident" = String, Path, description = "Its id")),
    responses((status = 200, description = "The incident", body = WholeIncident), Refusals, NotFound))]
pub(crate) async fn get(
    Authorised(principal, ..): Authorised<Read>,
    Path(incident): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<WholeIncident>, Problem> {
    let (id, alerts) = (incident_id(&incident)?, services.alerts());
    let incident = alerts.incident(principal.organisation, id).await?;
    let reached = alerts.reach(principal.organisation, &incident).await?;
    let intervals = alerts.incident_intervals(principal.organisation, id, INTERVALS).await?;
    let merged = alerts.merged(principal.organisation, id).await?.map(|(_, all)| all).unwrap_or_default();
    let merged = if merged.len() > 1 { merged.iter().map(ToString::to_string).collect() } else { Vec::new() };
    let intervals = intervals.into_iter().map(Interval::from).collect();
    let (incident, reached) = (incident.into(), reached.into_iter().map(Reached::from).collect());
    Ok(Json(WholeIncident { incident, reached, intervals, merged }))
}

pub(crate) fn incident_id(text: &str) -> Result<IncidentId, Problem> {
    text.parse().map_err(|_| Problem::not_found(format!("there is no incident {text:?}")))
}

/// Something that happened to an incident, or did not.
#[derive(Serialize, ToSchema)]
pub(crate) struct Note {
    time: Instant,
    /// The name of the key it was done with; absent where the host did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// `opened`, `updated`, `closed`, `told`, `withheld`, `acknowledged`, `unacknowledged`, `assigned`, `commented`,
    /// `snoozed`, `judged`, `merged`, `acting`, `acted` or `routed`.
    #[schema(value_type = String)]
    what: bellwether_alerts::NoteKind,
    /// Why, to whom, or what was said.
    text: String,
}

/// A page of what happened to an incident.
#[derive(Serialize, ToSchema)]
pub(crate) struct NoteList {
    /// Oldest first.
    items: Vec<Note>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Says what happened to an incident, why its channels were told or not, and what became of what they were told.
#[utoipa::path(get, path = "/v1/incidents/{incident}/trace", tag = "incidents", security(("key" = [])),
    params(("incident" = String, Path, description = "Its id"), PageQuery),
    responses((status = 200, description = "A page of notes", body = NoteList), Refusals, NotFound))]
pub(crate) async fn trace(
    Authorised(principal, ..): Authorised<Read>,
    Path(incident): Path<String>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<NoteList>, Problem> {
    let page = NOTES.page(query.limit, query.cursor.as_deref())?;
    let id = incident_id(&incident)?;
    let found = services.alerts().incident_trace(principal.organisation, id, &page).await?;
    let note = |note: bellwether_alerts::Note| Note {
        time: note.time.into(),
        by: note.by,
        what: note.what,
        text: note.text,
    };
    let found = found.map(note);
    Ok(Json(NoteList { items: found.items, next: NOTES.next(found.next) }))
}

/// Says that an incident is known: it is not told again until it becomes worse.
#[utoipa::path(post, path = "/v1/incidents/{incident}/acknowledge", tag = "incidents", security(("key" = [])),
    params(("incident" = String, Path, description = "Its id")),
    responses((status = 200, description = "The incident", body = Incident), Refusals, NotFound, Clash))]
pub(crate) async fn acknowledge(
    Authorised(principal, ..): Authorised<Write>,
    Path(incident): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Incident>, Problem> {
    Ok(Json(services.alerts().acknowledge(&principal, incident_id(&incident)?).await?.into()))
}

/// Who is to look after an incident.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Assignment {
    /// `null` for nobody.
    assignee: Option<String>,
}

/// Says who looks after an incident.
#[utoipa::path(post, path = "/v1/incidents/{incident}/assign", tag = "incidents", security(("key" = [])),
    params(("incident" = String, Path, description = "Its id")), request_body = Assignment,
    responses((status = 200, description = "The incident", body = Incident), Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn assign(
    Authorised(principal, ..): Authorised<Write>,
    Path(incident): Path<String>,
    State(services): State<Shared>,
    Json(Assignment { assignee }): Json<Assignment>,
) -> Result<Json<Incident>, Problem> {
    Ok(Json(services.alerts().assign(&principal, incident_id(&incident)?, assignee).await?.into()))
}

/// Closes an incident by hand. What breaches still at its monitor's next evaluation opens another.
#[utoipa::path(post, path = "/v1/incidents/{incident}/resolve", tag = "incidents", security(("key" = [])),
    params(("incident" = String, Path, description = "Its id")),
    responses((status = 200, description = "The incident", body = Incident), Refusals, NotFound, Clash))]
pub(crate) async fn resolve(
    Authorised(principal, ..): Authorised<Write>,
    Path(incident): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Incident>, Problem> {
    Ok(Json(services.alerts().resolve(&principal, incident_id(&incident)?).await?.into()))
}

/// What somebody says about an incident.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IncidentComment {
    /// 1 to 2000 characters.
    text: String,
}

/// Says something about an incident; its trace has it.
#[utoipa::path(post, path = "/v1/incidents/{incident}/comments", tag = "incidents", security(("key" = [])),
    params(("incident" = String, Path, description = "Its id")), request_body = IncidentComment,
    responses((status = 200, description = "The incident", body = Incident), Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn comment(
    Authorised(principal, ..): Authorised<Write>,
    Path(incident): Path<String>,
    State(services): State<Shared>,
    Json(IncidentComment { text }): Json<IncidentComment>,
) -> Result<Json<Incident>, Problem> {
    Ok(Json(services.alerts().comment(&principal, incident_id(&incident)?, &text).await?.into()))
}
