//! Playbooks: `/v1/playbooks`.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bellwether_access::{Principal, Role};
use bellwether_alerts::Called;
use bellwether_kernel::{FieldError, KeyId};
use bellwether_playbooks::Input;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::words::Format;
use crate::extract::{
    Admin, Authorised, Force, Instant, Json, List, PageQuery, Path, Query, Read, content_type, read_body,
};
use crate::openapi::{Bodied, Clash, NotFound, Refusals};
use crate::problem::{Problem, ProblemKind};
use crate::services::{Services, Shared};

pub(crate) const PLAYBOOKS: List = List("playbooks");

/// A playbook.
#[derive(Serialize, ToSchema)]
pub(crate) struct Playbook {
    #[schema(example = 3)]
    id: u64,
    /// Unique in the organisation.
    #[schema(example = "count-pushes")]
    name: String,
    /// The version this is: the published one, or, before there is one, the newest draft. Counted from 1.
    version: u32,
    /// The version that runs; absent for one that was never published.
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<u32>,
    /// The newest version there is; greater than `published` where there is a draft.
    latest: u32,
    status: Status,
    /// Why a run of it fails, as far as that is known before: an app, a playbook or a secret that it names is not there any
    /// more, or another than when it was stored. Or why none begins: the document does not read, or as `status` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// When it is due next, for one with a trigger by time that starts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_due: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// What starts it; absent where the document does not read, as `problem` says then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, example = json!({"type": "webhook"}))]
    trigger: Option<bellwether_playbooks::Trigger>,
    /// What a start by hand may give: as its trigger declares it or, where that declares nothing, as the apps do that
    /// are given it. Only where one playbook is read, and has a trigger of type `manual` or `playbook`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>, required = false, example = json!([{"name": "who", "value_type": "text", "required": true, "default": null, "choices": [], "secret": false, "help": "Who is greeted."}]))]
    inputs: Vec<Input>,
    /// What it does, in order.
    #[schema(value_type = Vec<Object>)]
    steps: Vec<bellwether_playbooks::Step>,
    /// As it was written; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    format: Format,
    /// Where requests start it, for one with a webhook: a URL where the settings have a `public_url`, else a path of this
    /// host. Only admins see it: whoever has it can start the playbook.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_url: Option<String>,
    created: Instant,
    /// When it last was changed.
    updated: Instant,
    /// The key on whose behalf it runs: the one that published it.
    #[schema(value_type = String)]
    runs_as: KeyId,
}

/// Whether a playbook is started by what its trigger says.
#[derive(Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "lowercase")]
#[schema(as = PlaybookStatus)]
enum Status {
    /// It is.
    Active,
    /// It has no published version yet.
    Draft,
    /// Its runs failed too often: nothing starts it until it is enabled or published again.
    Disabled { since: Instant, reason: String },
    /// The key it runs as lost the right to: nothing starts it until it is published with another.
    Blocked { reason: String },
}

impl From<bellwether_playbooks::Status> for Status {
    fn from(status: bellwether_playbooks::Status) -> Self {
        use bellwether_playbooks::Status as Domain;
        match status {
            Domain::Active => Self::Active,
            Domain::Draft => Self::Draft,
            Domain::Disabled { since, reason } => Self::Disabled { since: since.into(), reason },
            Domain::Blocked { reason } => Self::Blocked { reason },
        }
    }
}

impl Playbook {
    pub(super) fn shown_to(
        principal: &Principal,
        services: &Services,
        playbook: &bellwether_playbooks::Playbook,
    ) -> Self {
        let token = playbook.webhook_token.as_deref().filter(|_| principal.role >= Role::Admin);
        let document = playbook.document.as_ref();
        Self {
            id: playbook.id.0,
            name: playbook.name.clone(),
            version: playbook.version,
            published: playbook.published,
            latest: playbook.latest,
            status: playbook.status.clone().into(),
            problem: playbook.why_not().map(str::to_owned),
            next_due: playbook.next_due.map(Instant),
            description: document.and_then(|document| document.description.clone()),
            trigger: document.map(|document| document.trigger.clone()),
            inputs: Vec::new(),
            steps: document.map_or_else(Vec::new, |document| document.steps.clone()),
            source: Some(playbook.source.clone()),
            format: playbook.format.into(),
            webhook_url: token.map(|token| services.settings().webhook_url(token)),
            created: playbook.created.into(),
            updated: playbook.updated.into(),
            runs_as: playbook.runs_as.clone(),
        }
    }
}

/// A page of playbooks.
#[derive(Serialize, ToSchema)]
pub(crate) struct PlaybookList {
    /// Ordered by id.
    items: Vec<Playbook>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What a document that reads says.
#[derive(Serialize, ToSchema)]
pub(crate) struct Validated {
    /// Always true: what does not read is answered with a problem.
    valid: bool,
    name: String,
    #[schema(value_type = Object)]
    trigger: bellwether_playbooks::Trigger,
    #[schema(value_type = Vec<Object>)]
    steps: Vec<bellwether_playbooks::Step>,
}

/// A document as it came.
struct Written {
    source: String,
    format: bellwether_playbooks::Format,
}

async fn written(services: &Services, request: Request) -> Result<Written, Problem> {
    let (parts, body) = request.into_parts();
    let format = format_of(&parts.headers)?;
    let body = read_body(&parts.headers, body, services.settings().body_limit_bytes).await?;
    let source = String::from_utf8(body.into()).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        Problem::invalid(format!("The body is not UTF-8 at line {line}"))
    })?;
    Ok(Written { source, format })
}

fn format_of(headers: &HeaderMap) -> Result<bellwether_playbooks::Format, Problem> {
    match content_type(headers).to_ascii_lowercase().as_str() {
        "application/toml" | "text/toml" | "text/x-toml" => Ok(bellwether_playbooks::Format::Toml),
        "application/json" => Ok(bellwether_playbooks::Format::Json),
        _ => Err(Problem::new(
            ProblemKind::UnsupportedMediaType,
            "A playbook is TOML or JSON: set `Content-Type` to application/toml or application/json",
        )),
    }
}

/// Lists playbooks.
#[utoipa::path(get, path = "/v1/playbooks", tag = "playbooks", params(PageQuery), security(("key" = [])),
    responses((status = 200, description = "A page of playbooks", body = PlaybookList), Refusals))]
pub(crate) async fn list(
    Authorised(principal, ..): Authorised<Read>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<PlaybookList>, Problem> {
    let page = PLAYBOOKS.page(query.limit, query.cursor.as_deref())?;
    let found = services.playbooks().list(principal.organisation, &page).await?;
    let found = found
        .map(|playbook| Playbook { source: None, ..Playbook::shown_to(&principal, &services, &playbook) });
    Ok(Json(PlaybookList { items: found.items, next: PLAYBOOKS.next(found.next) }))
}

/// Whether a stored document runs from here on.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StoreQuery {
    /// `false` keeps it as a draft; by default it is published.
    #[serde(default = "published")]
    #[param(required = false, default = true)]
    publish: bool,
}

fn published() -> bool {
    true
}

/// Stores a new playbook; as a draft, also the next version of one that is there.
#[utoipa::path(post, path = "/v1/playbooks", tag = "playbooks", security(("key" = [])), params(StoreQuery),
    request_body(description = "The document", content(
        (String = "application/toml", example = "name = \"hello\"\ntrigger = { type = \"manual\" }\n\n[[steps]]\nid = \"write\"\n\
            app = \"metric\"\ninputs = { metric = \"hellos\", value = 1 }\n"),
        (Object = "application/json", example = json!({
            "name": "hello", "trigger": {"type": "manual"},
            "steps": [{"id": "write", "app": "metric", "inputs": {"metric": "hellos", "value": 1}}]
        }))
    )),
    responses((status = 201, description = "The new playbook", body = Playbook), Refusals, Bodied, Clash))]
pub(crate) async fn create(
    Authorised(principal, ..): Authorised<Admin>,
    Query(StoreQuery { publish }): Query<StoreQuery>,
    State(services): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let Written { source, format } = written(&services, request).await?;
    let playbooks = services.playbooks();
    let stored = match publish {
        true => playbooks.store(&principal, &source, format, false).await?,
        false => playbooks.save_draft(&principal, &source, format).await?,
    };
    Ok((StatusCode::CREATED, Json(Playbook::shown_to(&principal, &services, &stored))).into_response())
}

/// Reads and checks a document against the apps there are, without storing it.
#[utoipa::path(post, path = "/v1/playbooks/validate", tag = "playbooks", security(("key" = [])),
    request_body(description = "The document", content((String = "application/toml"), (Object = "application/json"))),
    responses((status = 200, description = "The document reads", body = Validated), Refusals, Bodied))]
pub(crate) async fn validate(
    Authorised(principal, ..): Authorised<Read>,
    State(services): State<Shared>,
    request: Request,
) -> Result<Json<Validated>, Problem> {
    let Written { source, format } = written(&services, request).await?;
    let document = services.playbooks().validate(principal.organisation, &source, format).await?;
    Ok(Json(Validated { valid: true, name: document.name, trigger: document.trigger, steps: document.steps }))
}

/// Shows a playbook.
#[utoipa::path(get, path = "/v1/playbooks/{playbook}", tag = "playbooks", security(("key" = [])),
    params(("playbook" = String, Path, description = "Its name or id")),
    responses((status = 200, description = "The playbook", body = Playbook), Refusals, NotFound))]
pub(crate) async fn get(
    Authorised(principal, ..): Authorised<Read>,
    Path(playbook): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Playbook>, Problem> {
    let inputs = services.playbooks().start_inputs(principal.organisation, &playbook).await?;
    let playbook = services.playbooks().get(principal.organisation, &playbook).await?;
    Ok(Json(Playbook { inputs, ..Playbook::shown_to(&principal, &services, &playbook) }))
}

/// Which version is stored, and whether it runs from here on.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReplaceQuery {
    /// `false` keeps it as a draft; by default it is published.
    #[serde(default = "published")]
    #[param(required = false, default = true)]
    publish: bool,
    /// The version its `latest` must be, so that nobody else's change is lost; 0 for one that must not be there.
    version: Option<u32>,
}

/// Stores the next version of a playbook, or its first. The document's name must be that of the path.
#[utoipa::path(put, path = "/v1/playbooks/{playbook}", tag = "playbooks", security(("key" = [])),
    params(("playbook" = String, Path, description = "Its name, or the id of one that is there"), ReplaceQuery),
    request_body(description = "The document", content((String = "application/toml"), (Object = "application/json"))),
    responses(
        (status = 200, description = "The playbook's next version", body = Playbook),
        (status = 201, description = "The new playbook", body = Playbook),
        Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn replace(
    Authorised(principal, ..): Authorised<Admin>,
    Path(playbook): Path<String>,
    Query(ReplaceQuery { publish, version }): Query<ReplaceQuery>,
    State(services): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let Written { source, format } = written(&services, request).await?;
    let named = services.playbooks().validate(principal.organisation, &source, format).await?.name;
    if named != playbook {
        // An id in the path stands for the name of the playbook that has it.
        let present = services.playbooks().get(principal.organisation, &playbook).await;
        if present.as_ref().map_or(&playbook, |present| &present.name) != &named {
            let expected = format!("{playbook:?}, the playbook of the path");
            return Err(FieldError::new("name", named, expected).into());
        }
    }
    let stored = services.playbooks().replace(&principal, &source, format, publish, version).await?;
    let status = if stored.latest == 1 { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Playbook::shown_to(&principal, &services, &stored))).into_response())
}

/// Deletes a playbook with all its versions; its runs stay, those at work are cancelled. One that is a step of published
/// playbooks, or started by an action of monitors, is not deleted unless that is forced.
#[utoipa::path(delete, path = "/v1/playbooks/{playbook}", tag = "playbooks", security(("key" = [])),
    params(("playbook" = String, Path, description = "Its name or id"), Force),
    responses((status = 200, description = "The playbook that was", body = Playbook), Refusals, NotFound, Clash))]
pub(crate) async fn delete(
    Authorised(principal, ..): Authorised<Admin>,
    Path(playbook): Path<String>,
    Query(Force { force }): Query<Force>,
    State(services): State<Shared>,
) -> Result<Json<Playbook>, Problem> {
    if !force {
        let name = &services.playbooks().name(principal.organisation, &playbook).await?;
        let callers = services.alerts().callers(principal.organisation, Called::Playbook(name)).await?;
        if !callers.is_empty() {
            let by: Vec<_> = callers.iter().map(ToString::to_string).collect();
            let detail = format!(
                "the playbook {name:?} is started by actions of {}; change those first, or force it",
                by.join(", ")
            );
            return Err(Problem::new(ProblemKind::Conflict, detail));
        }
    }
    let playbook = services.playbooks().delete(&principal, &playbook, force).await?;
    Ok(Json(Playbook::shown_to(&principal, &services, &playbook)))
}
