//! Which channels incidents go to, beyond those their monitors name: `/v1/routes`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_alerts::{AlertError, RouteMatch, RouteRule, RouteRules, RouteTableRecord, Routed, Severity};
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
        let RouteTableRecord { name, version, tag, rows, updated } = record;
        Self { name, version, tag, rows, updated: updated.into(), r#match: None, csv: None }
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

/// An incident that might open.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestRoutes {
    /// Labels of its alerts.
    #[serde(default)]
    #[schema(example = json!({"team": "payments"}))]
    labels: BTreeMap<String, String>,
    /// How much it matters: `info`, `low`, `medium`, `high` or `critical`; by default `medium`.
    #[serde(default = "medium")]
    #[schema(value_type = String, example = "high")]
    severity: Severity,
    /// Its alerts' monitors, by id or name, as rules name them.
    #[serde(default)]
    monitors: Vec<String>,
    /// The tags of its series.
    #[serde(default)]
    #[schema(example = json!({"country": "de"}))]
    tags: BTreeMap<String, String>,
    /// The channels its monitors name.
    #[serde(default)]
    channels: Vec<String>,
}

fn medium() -> Severity {
    Severity::Medium
}

/// Where an incident would go.
#[derive(Serialize, ToSchema)]
pub(crate) struct RoutedTo {
    /// The channels that would be told of it.
    #[schema(example = json!(["ops-de", "mail"]))]
    channels: Vec<String>,
    /// Those of them that are not there, so that nobody would be told.
    missing: Vec<String>,
}

/// Shows where an incident would go; nothing is sent.
#[utoipa::path(post, path = "/v1/routes/test", tag = "channels", security(("key" = [])), request_body = TestRoutes,
    responses((status = 200, description = "Its channels", body = RoutedTo), Refusals, Bodied))]
pub(crate) async fn test(
    Authorised(principal, ..): Authorised<Read>,
    State(services): State<Shared>,
    Json(TestRoutes { labels, severity, monitors, tags, channels }): Json<TestRoutes>,
) -> Result<Json<RoutedTo>, Problem> {
    let labels: Vec<_> = labels.into_iter().collect();
    let tags = [tags.into_iter().collect::<Vec<_>>()];
    let routed = Routed { labels: &labels, severity, monitors: &monitors, tags: &tags, own: &channels };
    let channels = services.routes().of(principal.organisation).await?.channels(&routed);
    let mut missing = Vec::new();
    for channel in &channels {
        match services.deliveries().channel(principal.organisation, channel).await {
            Ok(_) => {}
            Err(AlertError::NotFound { .. }) => missing.push(channel.clone()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Json(RoutedTo { channels, missing }))
}

/// Shows the rules.
#[utoipa::path(get, path = "/v1/routes/rules", tag = "channels", security(("key" = [])),
    responses((status = 200, description = "The rules", body = Rules), Refusals))]
pub(crate) async fn rules(
    Authorised(principal, ..): Authorised<Read>,
    State(services): State<Shared>,
) -> Result<Json<Rules>, Problem> {
    let (RouteRules { rules }, version) = services.routes().rules(principal.organisation).await?;
    Ok(Json(Rules { version, rules }))
}

/// Puts rules in the place of those there are.
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
    Ok(Json(Rules { version, rules: given.rules }))
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

/// Puts a routing table, or another in its place.
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
