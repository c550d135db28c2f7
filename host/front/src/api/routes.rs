//! Which channels incidents go to, beyond those their monitors name: `/v1/routes`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_alerts::{
    AlertError, Recipients, RouteMatch, RouteRule, RouteRules, RouteTableRecord, Routed, Severity,
};
use bellwether_kernel::FieldError;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::channels::VersionQuery;
use crate::extract::{Admin, Authorised, Instant, Json, Path, Query, Read};
use crate::openapi::{Bodied, Clash, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::Shared;

/// The rules of an organisation: those that match an incident add their channels.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rules {
    /// Counts their changes; 0 where none were ever put.
    version: u32,
    #[schema(value_type = Vec<Object>, example = json!([{"match": {"labels": {"team": "payments"}, "severity": "high"}, "channels": ["pager"]}]))]
    rules: Vec<RouteRule>,
    /// What they name and is not there, channels and monitors, a sentence each that begins with the rule's place; absent
    /// where all is there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, example = json!(["rules[0]: there is no channel \"pager\": until it is put, nobody is told by it"]))]
    warnings: Vec<String>,
}

/// Rules in the place of those there are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutRules {
    /// Each with `channels` and a `match` of `labels` (a value that ends in `*` stands for all that begin so), the least
    /// `severity`, and `monitors`; all that is given must hold.
    #[schema(value_type = Vec<Object>, example = json!([{"match": {"labels": {"team": "payments"}, "severity": "high"}, "channels": ["pager"]}]))]
    rules: Vec<RouteRule>,
}

/// A routing table.
#[derive(Serialize, ToSchema)]
#[schema(as = RouteTable)]
pub(crate) struct Table {
    #[schema(example = "countries")]
    name: String,
    /// Counts its changes, from 1.
    version: u32,
    /// The tag whose values its rows are for.
    #[schema(example = "country")]
    tag: String,
    /// Different values it has channels for.
    rows: usize,
    updated: Instant,
    /// What it names and is not there, channels and monitors, a sentence each; absent where all is there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
    /// Which incidents it is asked for; where one table is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    r#match: Option<RouteMatch>,
    /// The CSV as it was put; where one table is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    csv: Option<String>,
}

impl From<RouteTableRecord> for Table {
    fn from(record: RouteTableRecord) -> Self {
        let RouteTableRecord { name, version, tag, rows, updated, warnings } = record;
        Self { name, version, tag, rows, updated: updated.into(), warnings, r#match: None, csv: None }
    }
}

/// The tables there are.
#[derive(Serialize, ToSchema)]
#[schema(as = RouteTableList)]
pub(crate) struct Tables {
    /// Ordered by name; an organisation has at most 20.
    items: Vec<Table>,
}

/// A table, or another in its place.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutTable {
    /// Which incidents it is asked for; all, if nothing is given.
    #[serde(default)]
    #[schema(value_type = Object)]
    r#match: RouteMatch,
    /// A line `<tag>,channels`, and below it values of the tag and channels with `;` between them.
    #[schema(example = "country,channels\nde,ops-de;mail\nfr,ops-fr\n")]
    csv: String,
}

/// An incident that might open. What is not given is as the `monitors` have it that are named.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestRoutes {
    /// Labels of its alerts; by default those of its monitors.
    #[serde(default)]
    #[schema(example = json!({"team": "payments"}))]
    labels: Option<BTreeMap<String, String>>,
    /// How much it matters: `info`, `low`, `medium`, `high` or `critical`; by default as its monitors say, the highest of
    /// them, and without one `high`, as monitors do by default.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "high")]
    severity: Option<Severity>,
    /// Its alerts' monitors, by id or name.
    #[serde(default)]
    monitors: Vec<String>,
    /// The tags of its series.
    #[serde(default)]
    #[schema(example = json!({"country": "de"}))]
    tags: BTreeMap<String, String>,
    /// The channels its monitors name; by default those they do name.
    #[serde(default)]
    channels: Option<Vec<String>>,
}

/// Where an incident would go.
#[derive(Serialize, ToSchema)]
pub(crate) struct RoutedTo {
    /// The channels that would be told of it.
    #[schema(example = json!(["ops-de", "mail"]))]
    channels: Vec<String>,
    /// Those of them that its monitors name and that are not there, so that nobody would be told by them.
    missing: Vec<String>,
    /// Channels that a table or rule names for it and that are not there: they are passed over.
    passed_over: Vec<String>,
    /// Whether the channels its monitors name stay only because none of its tables' is there.
    fell_back: bool,
}

/// Shows where an incident would go that opens now; nothing is sent. Who is told stays the same until it closes, also where
/// it becomes more severe.
#[utoipa::path(post, path = "/v1/routes/test", tag = "channels", security(("key" = [])), request_body = TestRoutes,
    responses((status = 200, description = "Its channels", body = RoutedTo), Refusals, Bodied))]
pub(crate) async fn test(
    Authorised(principal, ..): Authorised<Read>,
    State(services): State<Shared>,
    Json(asked): Json<TestRoutes>,
) -> Result<Json<RoutedTo>, Problem> {
    let organisation = principal.organisation;
    let (mut ids, mut labels, mut own) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut severity = None;
    for (at, name) in asked.monitors.iter().enumerate() {
        let monitor = services.alerts().monitor(organisation, name).await.map_err(|error| match error {
            AlertError::NotFound { .. } => {
                let expected = "the id or name of a monitor there is";
                Problem::from(FieldError::new(format!("monitors[{at}]"), name, expected))
            }
            error => error.into(),
        })?;
        let document = monitor.document;
        ids.extend([monitor.id.to_string(), document.name]);
        labels.extend(document.labels);
        own.extend(document.channels);
        severity = severity.max(Some(document.severity));
    }
    let labels: Vec<_> = asked.labels.unwrap_or(labels).into_iter().collect();
    let tags = [asked.tags.into_iter().collect::<Vec<_>>()];
    let (own, severity) = (asked.channels.unwrap_or(own), asked.severity.or(severity));
    let routed = Routed {
        labels: &labels,
        severity: severity.unwrap_or(Severity::High),
        monitors: &ids,
        tags: &tags,
        own: &own,
    };
    let Recipients { channels, passed_over, fell_back } =
        services.routes().of(organisation).await?.recipients(&routed);
    let mut missing = Vec::new();
    for channel in &channels {
        match services.deliveries().channel(organisation, channel).await {
            Ok(_) => {}
            Err(AlertError::NotFound { .. }) => missing.push(channel.clone()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Json(RoutedTo { channels, missing, passed_over, fell_back }))
}

/// Shows the rules.
#[utoipa::path(get, path = "/v1/routes/rules", tag = "channels", security(("key" = [])),
    responses((status = 200, description = "The rules", body = Rules), Refusals))]
pub(crate) async fn rules(
    Authorised(principal, ..): Authorised<Read>,
    State(services): State<Shared>,
) -> Result<Json<Rules>, Problem> {
    let (found, version) = services.routes().rules(principal.organisation).await?;
    let warnings = services.routes().rule_warnings(principal.organisation, &found).await?;
    Ok(Json(Rules { version, rules: found.rules, warnings }))
}

/// Puts rules in the place of those there are. What they name and is not there is said in `warnings`: such channels are
/// passed over until they are put.
#[utoipa::path(put, path = "/v1/routes/rules", tag = "channels", security(("key" = [])), params(VersionQuery),
    request_body = PutRules,
    responses((status = 200, description = "The rules", body = Rules), Refusals, Bodied, Clash))]
pub(crate) async fn put_rules(
    Authorised(principal, ..): Authorised<Admin>,
    Query(VersionQuery { version }): Query<VersionQuery>,
    State(services): State<Shared>,
    Json(PutRules { rules }): Json<PutRules>,
) -> Result<Json<Rules>, Problem> {
    let given = RouteRules { rules };
    let version = services.routes().put_rules(&principal, &given, version).await?;
    let warnings = services.routes().rule_warnings(principal.organisation, &given).await?;
    Ok(Json(Rules { version, rules: given.rules, warnings }))
}

/// Lists the routing tables.
#[utoipa::path(get, path = "/v1/routes/tables", tag = "channels", security(("key" = [])),
    responses((status = 200, description = "The tables", body = Tables), Refusals))]
pub(crate) async fn tables(
    Authorised(principal, ..): Authorised<Read>,
    State(services): State<Shared>,
) -> Result<Json<Tables>, Problem> {
    let found = services.routes().tables(principal.organisation).await?;
    Ok(Json(Tables { items: found.into_iter().map(Table::from).collect() }))
}

/// Shows a routing table with its rows.
#[utoipa::path(get, path = "/v1/routes/tables/{table}", tag = "channels", security(("key" = [])),
    params(("table" = String, Path, description = "Its name")),
    responses((status = 200, description = "The table", body = Table), Refusals, NotFound))]
pub(crate) async fn table(
    Authorised(principal, ..): Authorised<Read>,
    Path(table): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Table>, Problem> {
    let found = services.routes().table(principal.organisation, &table).await?;
    Ok(Json(Table { r#match: Some(found.matches), csv: Some(found.csv), ..Table::from(found.record) }))
}

/// Puts a routing table, or another in its place. What it names and is not there is said in `warnings`: such channels are
/// passed over until they are put.
#[utoipa::path(put, path = "/v1/routes/tables/{table}", tag = "channels", security(("key" = [])),
    params(("table" = String, Path, description = "1 to 32 characters of `a-z0-9_-`"), VersionQuery),
    request_body = PutTable,
    responses(
        (status = 200, description = "The table as it is now", body = Table),
        (status = 201, description = "The new table", body = Table),
        Refusals, Bodied, Clash))]
pub(crate) async fn put_table(
    Authorised(principal, ..): Authorised<Admin>,
    Path(table): Path<String>,
    Query(VersionQuery { version }): Query<VersionQuery>,
    State(services): State<Shared>,
    Json(PutTable { r#match, csv }): Json<PutTable>,
) -> Result<Response, Problem> {
    let put = services.routes().put_table(&principal, &table, r#match, without_mark(&csv), version).await?;
    let status = if put.version == 1 { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Table::from(put))).into_response())
}

/// Deletes a routing table.
#[utoipa::path(delete, path = "/v1/routes/tables/{table}", tag = "channels", security(("key" = [])),
    params(("table" = String, Path, description = "Its name")),
    responses((status = 204, description = "It is gone"), Refusals, NotFound, Clash))]
pub(crate) async fn delete_table(
    Authorised(principal, ..): Authorised<Admin>,
    Path(table): Path<String>,
    State(services): State<Shared>,
) -> Result<StatusCode, Problem> {
    services.routes().delete_table(&principal, &table).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// CSV without the mark of its byte order that spreadsheets write before it.
fn without_mark(csv: &str) -> &str {
    csv.strip_prefix('\u{feff}').unwrap_or(csv)
}
