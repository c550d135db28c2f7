//! What may be done about an incident: `/v1/incidents/{incident}/actions`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_alerts::{Acted, Acting, Actor};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::incidents::incident_id;
use crate::extract::{Authorised, Json, Path, Query, Read, Write};
use crate::openapi::{Clash, NotFound, Refusals};
use crate::patience::Patience;
use crate::problem::Problem;
use crate::services::Shared;
use crate::webhooks::{Wait, within};

/// An action that may be done about an incident, as its monitor says now.
#[derive(Serialize, ToSchema)]
pub(crate) struct OfferedAction {
    name: String,
    /// What stands on the button.
    label: String,
    /// The playbook it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    playbook: Option<String>,
    /// Or else the app it calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    /// Whether notifications carry a link to it.
    by_link: bool,
    /// How often that link was followed.
    clicks: u64,
    /// Whether it is being done.
    running: bool,
}

/// A page elsewhere that helps with an incident.
#[derive(Serialize, ToSchema)]
pub(crate) struct IncidentLink {
    name: String,
    /// What stands on the button.
    label: String,
    url: String,
    /// How often it was followed from a notification.
    clicks: u64,
}

/// What may be done about an incident.
#[derive(Serialize, ToSchema)]
pub(crate) struct OfferList {
    actions: Vec<OfferedAction>,
    links: Vec<IncidentLink>,
}

/// Says what may be done about an incident, which pages help with it, and how often their links were followed.
#[utoipa::path(get, path = "/v1/incidents/{incident}/actions", tag = "incidents", security(("key" = [])),
    params(("incident" = String, Path, description = "Its id")),
    responses((status = 200, description = "Its actions and links", body = OfferList), Refusals, NotFound))]
pub(crate) async fn list(
    Authorised(principal, ..): Authorised<Read>,
    Path(incident): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<OfferList>, Problem> {
    let id = incident_id(&incident)?;
    let (offers, links) = services.alerts().offers(principal.organisation, id).await?;
    let action = |offer: bellwether_alerts::Offer| OfferedAction {
        label: offer.action.label().to_owned(),
        name: offer.action.name,
        playbook: offer.action.playbook,
        app: offer.action.app,
        by_link: offer.action.by_link,
        clicks: offer.clicks,
        running: offer.running,
    };
    let link = |offered: bellwether_alerts::OfferedLink| IncidentLink {
        label: offered.link.label().to_owned(),
        name: offered.link.name,
        url: offered.link.url,
        clicks: offered.clicks,
    };
    let (actions, links) = (offers.into_iter().map(action).collect(), links.into_iter().map(link).collect());
    Ok(Json(OfferList { actions, links }))
}

/// How long to wait.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ActQuery {
    /// Wait up to so many seconds for its end; 10 if no number is given, at most 60.
    #[param(value_type = Option<u64>)]
    wait: Option<Wait>,
}

/// How an action goes.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ActState {
    /// It goes on by itself.
    Running,
    /// It was done.
    Succeeded,
    /// It was not.
    Failed,
}

/// An action on an incident.
#[derive(Serialize, ToSchema)]
pub(crate) struct IncidentAct {
    /// Which action.
    action: String,
    state: ActState,
    /// The number of the note in the incident's trace that says that it began.
    note: u64,
    /// What it gave, or why it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The run of a playbook, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
}

impl IncidentAct {
    fn new(action: String, note: u64, acted: Option<Acted>) -> Self {
        let state = match &acted {
            None => ActState::Running,
            Some(acted) if acted.succeeded => ActState::Succeeded,
            Some(_) => ActState::Failed,
        };
        let (text, run) = acted.map_or((None, None), |acted| (Some(acted.text), acted.run));
        Self { action, state, note, text: text.filter(|text| !text.is_empty()), run }
    }
}

/// Does something about an incident that goes on: starts the action's playbook or calls its app, with the incident.
#[utoipa::path(post, path = "/v1/incidents/{incident}/actions/{action}", tag = "incidents", security(("key" = [])),
    params(("incident" = String, Path, description = "Its id"),
        ("action" = String, Path, description = "The action's name"), ActQuery),
    responses(
        (status = 202, description = "It goes on by itself; the incident's trace says what comes of it", body = IncidentAct),
        (status = 200, description = "It ended within the wait", body = IncidentAct),
        Refusals, NotFound, Clash))]
pub(crate) async fn act(
    Authorised(principal, ..): Authorised<Write>,
    Path((incident, action)): Path<(String, String)>,
    Query(query): Query<ActQuery>,
    State(services): State<Shared>,
    patience: Patience,
) -> Result<Response, Problem> {
    let (id, actor) = (incident_id(&incident)?, Actor::Caller(principal));
    let Acting { sequence, ended } = services.alerts().act(actor, id, &action).await?;
    let acted = within(query.wait, &patience, ended).await;
    let status = if acted.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(IncidentAct::new(action, sequence, acted))).into_response())
}
