//! The calendar: `/v1/calendar`, and snoozes of incidents.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_alerts::{CalendarEntry, EntryId, EntryKind, NewEntry};
use bellwether_kernel::Period;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::incidents::incident_id;
use super::mutes::MuteScope;
use crate::extract::{Authorised, Instant, Json, List, PageQuery, Path, Query, Read, Write};
use crate::openapi::{Bodied, Clash, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::{Services, Shared};

const ENTRIES: List = List("calendar entries");

/// When series are not looked at.
#[derive(Serialize, ToSchema)]
pub(crate) struct Entry {
    id: u64,
    #[schema(example = "Weekly maintenance")]
    name: String,
    /// `suppress`, `office-hours` or `snooze`.
    #[schema(value_type = String, example = "suppress")]
    kind: EntryKind,
    scope: MuteScope,
    /// Names of metrics; any of them.
    metrics: Vec<String>,
    start: Instant,
    /// Absent for one that lasts until it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat: Option<EntryRepeat>,
    reason: String,
    /// The incident it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    incident: Option<String>,
    /// Whether it lasts now.
    active: bool,
    /// Until when, of one that lasts now and has an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Instant>,
    /// When it begins next, of one that does not last now and will.
    #[serde(skip_serializing_if = "Option::is_none")]
    begins: Option<Instant>,
    updated: Instant,
    /// By the key of this name.
    updated_by: String,
}

/// On which days, and at which times of day.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryRepeat {
    /// Whose days and times of day; the organisation's by default.
    #[schema(example = "Europe/Berlin")]
    zone: Option<String>,
    /// On which days it begins, in iCalendar's words: FREQ, INTERVAL, BYDAY, BYMONTHDAY, BYMONTH, UNTIL, counted
    /// from the day of `start`. What began before `start` and lasts then counts from `start` on. One that never begins is
    /// refused. At most 500 bytes.
    #[schema(example = "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR")]
    rule: String,
    #[schema(example = "08:00")]
    from: String,
    /// Of the next day where it is not after `from`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "18:00")]
    to: Option<String>,
    /// Instead of `to`: for how long, up to `7d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    lasts: Option<Period>,
}

impl Entry {
    fn of(services: &Services, entry: CalendarEntry) -> Self {
        let now = services.parts.clock.now();
        let (lasting, begins) = (entry.lasting(now), entry.begins(now));
        let repeat = entry.repeat.map(|repeat| EntryRepeat {
            zone: Some(repeat.zone),
            rule: repeat.rule,
            from: repeat.from,
            to: repeat.to,
            lasts: repeat.lasts,
        });
        Self {
            id: entry.id.0,
            name: entry.name,
            kind: entry.kind,
            scope: entry.scope.into(),
            metrics: entry.metrics,
            start: entry.start.into(),
            end: entry.end.map(Instant),
            repeat,
            reason: entry.reason,
            incident: entry.incident.map(|incident| incident.to_string()),
            active: lasting.is_ok(),
            until: lasting.ok().flatten().map(Instant),
            begins: begins.map(Instant),
            updated: entry.updated.into(),
            updated_by: entry.updated_by,
        }
    }
}

/// A page of the calendar.
#[derive(Serialize, ToSchema)]
pub(crate) struct EntryList {
    /// Ordered by id, those that have been over for up to 30 days included, the latest 1,000 of them.
    items: Vec<Entry>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists the calendar.
#[utoipa::path(get, path = "/v1/calendar", tag = "calendar", params(PageQuery), security(("key" = [])),
    responses((status = 200, description = "A page of entries", body = EntryList), Refusals))]
pub(crate) async fn list(
    Authorised(principal, ..): Authorised<Read>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<EntryList>, Problem> {
    let page = ENTRIES.page(query.limit, query.cursor.as_deref())?;
    let found = services.alerts().entries(principal.organisation, &page).await?;
    let found = found.map(|entry| Entry::of(&services, entry));
    Ok(Json(EntryList { items: found.items, next: ENTRIES.next(found.next) }))
}

/// What is to stand in the calendar.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({
    "name": "backups", "kind": "suppress", "scope": {"tags": {"env": "prod"}}, "reason": "Disks are busy.",
    "repeat": {"zone": "Europe/Berlin", "rule": "FREQ=DAILY", "from": "02:00", "lasts": "2h"}
}))]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryRequest {
    /// 1 to 200 characters.
    name: String,
    /// `suppress`, `office-hours` or `snooze`.
    #[schema(value_type = String, example = "suppress")]
    kind: EntryKind,
    #[serde(default)]
    #[schema(required = false)]
    scope: MuteScope,
    /// Names of metrics; any of them. Only a series of one metric has one.
    #[serde(default)]
    #[schema(required = false)]
    metrics: Vec<String>,
    /// To be said of an entry of neither a scope nor metrics: it makes every series of every monitor quiet, office hours
    /// all the time but then.
    #[serde(default)]
    #[schema(required = false)]
    everything: bool,
    /// From when on; by default from now on, of one that is changed from when it was.
    start: Option<Instant>,
    /// Until when; by default until it is deleted. A snooze has one.
    end: Option<Instant>,
    /// On which days and at which times in between; by default all the time.
    repeat: Option<EntryRepeat>,
    /// Why, up to 200 characters.
    #[serde(default)]
    #[schema(required = false)]
    reason: String,
}

impl EntryRequest {
    fn read(self, zone: &str) -> NewEntry {
        let repeat = self.repeat.map(|repeat| bellwether_alerts::Repeat {
            zone: repeat.zone.unwrap_or_else(|| zone.to_owned()),
            rule: repeat.rule,
            from: repeat.from,
            to: repeat.to,
            lasts: repeat.lasts,
        });
        NewEntry {
            name: self.name,
            kind: self.kind,
            scope: self.scope.into(),
            metrics: self.metrics,
            everything: self.everything,
            start: self.start.map(|Instant(start)| start),
            end: self.end.map(|Instant(end)| end),
            repeat,
            reason: self.reason,
        }
    }
}

/// Puts an entry into the calendar. While a suppression or a snooze lasts, and while office hours do not, nothing of the
/// series in its scope opens; what was open before is told to be over, and nothing else. What breaches still opens when it
/// is over.
#[utoipa::path(post, path = "/v1/calendar", tag = "calendar", security(("key" = [])), request_body = EntryRequest,
    responses((status = 201, description = "The new entry", body = Entry), Refusals, Bodied, Clash))]
pub(crate) async fn create(
    Authorised(principal, ..): Authorised<Write>,
    State(services): State<Shared>,
    Json(request): Json<EntryRequest>,
) -> Result<Response, Problem> {
    let new = request.read(&principal.time_zone);
    let entry = services.alerts().create_entry(&principal, new).await?;
    Ok((StatusCode::CREATED, Json(Entry::of(&services, entry))).into_response())
}

/// Shows an entry of the calendar.
#[utoipa::path(get, path = "/v1/calendar/{entry}", tag = "calendar", security(("key" = [])),
    params(("entry" = String, Path, description = "Its id")),
    responses((status = 200, description = "The entry", body = Entry), Refusals, NotFound))]
pub(crate) async fn get(
    Authorised(principal, ..): Authorised<Read>,
    Path(entry): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Entry>, Problem> {
    let entry = services.alerts().entry(principal.organisation, entry_id(&entry)?).await?;
    Ok(Json(Entry::of(&services, entry)))
}

/// Puts an entry in the place of one.
#[utoipa::path(put, path = "/v1/calendar/{entry}", tag = "calendar", security(("key" = [])),
    params(("entry" = String, Path, description = "Its id")), request_body = EntryRequest,
    responses((status = 200, description = "The changed entry", body = Entry), Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn replace(
    Authorised(principal, ..): Authorised<Write>,
    Path(entry): Path<String>,
    State(services): State<Shared>,
    Json(request): Json<EntryRequest>,
) -> Result<Json<Entry>, Problem> {
    let new = request.read(&principal.time_zone);
    let entry = services.alerts().replace_entry(&principal, entry_id(&entry)?, new).await?;
    Ok(Json(Entry::of(&services, entry)))
}

/// Deletes an entry: the series it was about are looked at again from their monitor's next evaluation on.
#[utoipa::path(delete, path = "/v1/calendar/{entry}", tag = "calendar", security(("key" = [])),
    params(("entry" = String, Path, description = "Its id")),
    responses((status = 204, description = "It is gone"), Refusals, NotFound, Clash))]
pub(crate) async fn delete(
    Authorised(principal, ..): Authorised<Write>,
    Path(entry): Path<String>,
    State(services): State<Shared>,
) -> Result<StatusCode, Problem> {
    services.alerts().delete_entry(&principal, entry_id(&entry)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is to be snoozed, and until when.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnoozeRequest {
    until: Instant,
    /// A series of the incident that breaches, as its intervals name it; by default every series with the incident's tags.
    #[schema(example = "host:web-1")]
    series: Option<String>,
}

/// Snoozes the series of an incident until a time, which becomes an entry of the calendar: delete that to wake them.
#[utoipa::path(post, path = "/v1/incidents/{incident}/snooze", tag = "incidents", security(("key" = [])),
    params(("incident" = String, Path, description = "Its id")), request_body = SnoozeRequest,
    responses((status = 201, description = "The new entry", body = Entry), Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn snooze(
    Authorised(principal, ..): Authorised<Write>,
    Path(incident): Path<String>,
    State(services): State<Shared>,
    Json(request): Json<SnoozeRequest>,
) -> Result<Response, Problem> {
    let (id, Instant(until)) = (incident_id(&incident)?, request.until);
    let entry = services.alerts().snooze(&principal, id, request.series.as_deref(), until).await?;
    Ok((StatusCode::CREATED, Json(Entry::of(&services, entry))).into_response())
}

fn entry_id(text: &str) -> Result<EntryId, Problem> {
    text.parse()
        .map(EntryId)
        .map_err(|_| Problem::not_found(format!("there is no entry of the calendar {text:?}")))
}
