//! Channels, where incidents are told: `/v1/channels`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_alerts::{ChannelSpec, ChannelTrial};
use bellwether_kernel::OrganisationId;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::deliveries::Exchange;
use super::words::DeliveryOutcome;
use crate::extract::{
    Admin, Authorised, Force, Instant, Json, JsonOrNothing, List, PageQuery, Path, Query, Read,
};
use crate::openapi::{Bodied, Clash, Failing, NotFound, Refusals};
use crate::patience::Patience;
use crate::problem::Problem;
use crate::services::Shared;

const CHANNELS: List = List("channels");

/// A channel.
#[derive(Serialize, ToSchema)]
pub(crate) struct Channel {
    /// Unique in the organisation.
    #[schema(example = "ops")]
    name: String,
    /// Counts its changes, from 1.
    version: u32,
    #[serde(flatten)]
    state: Standing,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    /// The plugin that is its formatter.
    #[schema(example = "webhook")]
    formatter: String,
    /// What the formatter is set to; a secret setting is the name of a secret.
    #[schema(value_type = Object, example = json!({"url": "https://hooks.example.com/bellwether"}))]
    settings: Map<String, Value>,
    /// Where its requests may go.
    #[schema(value_type = Vec<String>, example = json!(["https://hooks.example.com"]))]
    hosts: Vec<String>,
    rate: Rate,
    retry: Retry,
    /// Why it cannot be told anything as things are: a secret it names is not there, its formatter is not called, or it sends
    /// e-mail and the host has no mail server.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    created: Instant,
    /// When it was last changed.
    updated: Instant,
}

/// Whether a channel is told anything.
#[derive(Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "lowercase")]
#[schema(as = ChannelState)]
enum Standing {
    /// It is.
    Active,
    /// Somebody holds it back: what is to be delivered waits.
    Paused { since: Instant, reason: String },
    /// It said that it is no more: what is to be delivered becomes a dead letter, until it is resumed.
    Disabled { since: Instant, reason: String },
}

/// How many requests a channel is sent.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = ChannelRate)]
pub(crate) struct Rate {
    /// In the long run.
    #[schema(minimum = 1, maximum = 60_000, default = 600)]
    per_minute: u32,
    /// At once, after a pause.
    #[schema(minimum = 1, maximum = 10_000, default = 60)]
    burst: u32,
}

/// When a delivery that does not succeed is given up: at whichever comes first.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = ChannelRetry)]
pub(crate) struct Retry {
    /// Seconds from its first attempt on; a last one is made as they are over.
    #[schema(minimum = 1, maximum = 2_592_000, default = 86_400)]
    max_age_seconds: u64,
    /// Attempts.
    #[schema(minimum = 1, maximum = 10_000, default = 200)]
    attempts: u32,
}

impl Default for Rate {
    fn default() -> Self {
        let bellwether_alerts::Rate { per_minute, burst } = bellwether_alerts::Rate::default();
        Self { per_minute, burst }
    }
}

impl Default for Retry {
    fn default() -> Self {
        let policy = bellwether_alerts::RetryPolicy::default();
        Self { max_age_seconds: policy.max_age_seconds, attempts: policy.attempts }
    }
}

impl From<bellwether_alerts::ChannelState> for Standing {
    fn from(state: bellwether_alerts::ChannelState) -> Self {
        use bellwether_alerts::ChannelState as Domain;
        match state {
            Domain::Active => Self::Active,
            Domain::Paused { since, reason } => Self::Paused { since: since.into(), reason },
            Domain::Disabled { since, reason } => Self::Disabled { since: since.into(), reason },
        }
    }
}

impl Channel {
    /// As it is shown.
    async fn of(
        services: &Shared,
        organisation: OrganisationId,
        channel: bellwether_alerts::Channel,
    ) -> Result<Self, Problem> {
        let problem = services.deliveries().channel_problem(organisation, &channel).await?;
        let ChannelSpec { description, formatter, settings, hosts, rate, retry } = channel.spec;
        Ok(Self {
            name: channel.name,
            version: channel.version,
            state: channel.state.into(),
            description,
            formatter,
            settings,
            hosts: hosts.iter().map(ToString::to_string).collect(),
            rate: Rate { per_minute: rate.per_minute, burst: rate.burst },
            retry: Retry { max_age_seconds: retry.max_age_seconds, attempts: retry.attempts },
            problem,
            created: channel.created.into(),
            updated: channel.updated.into(),
        })
    }
}

/// A page of channels.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChannelList {
    /// Ordered by name.
    items: Vec<Channel>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What a channel is set to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutChannel {
    /// What it is for, in a line.
    #[serde(default)]
    description: String,
    /// The plugin that is its formatter.
    #[schema(example = "webhook")]
    formatter: String,
    /// What the formatter is set to; a secret setting is the name of a secret of the organisation.
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"url": "https://hooks.example.com/bellwether", "signing_secret": "hook-key"}))]
    settings: Map<String, Value>,
    /// Where its requests may go, as grants name hosts. Left out, where its settings that are URLs lead, or
    /// the hosts a URL that is a secret is bound to; without one, those its secrets are bound to.
    #[serde(default)]
    #[schema(example = json!(["https://hooks.example.com"]))]
    hosts: Vec<String>,
    #[serde(default)]
    rate: Rate,
    #[serde(default)]
    retry: Retry,
}

impl PutChannel {
    fn spec(self) -> Result<ChannelSpec, Problem> {
        let Self { description, formatter, settings, hosts, rate, retry } = self;
        let hosts = hosts.iter().enumerate().map(|(index, host)| {
            host.parse().map_err(|_| {
                let expected = "a host as grants name it, such as https://api.example.com";
                bellwether_kernel::FieldError::new(format!("hosts[{index}]"), host, expected)
            })
        });
        Ok(ChannelSpec {
            description,
            formatter,
            settings,
            hosts: hosts.collect::<Result<_, _>>()?,
            rate: bellwether_alerts::Rate { per_minute: rate.per_minute, burst: rate.burst },
            retry: bellwether_alerts::RetryPolicy {
                max_age_seconds: retry.max_age_seconds,
                attempts: retry.attempts,
            },
        })
    }
}

/// Which version is changed.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct VersionQuery {
    /// The version it must have, so that nobody else's change is lost; 0 for one that must not be there.
    pub(crate) version: Option<u32>,
}

/// Lists channels.
#[utoipa::path(get, path = "/v1/channels", tag = "channels", params(PageQuery), security(("key" = [])),
    responses((status = 200, description = "A page of channels", body = ChannelList), Refusals))]
pub(crate) async fn list(
    Authorised(principal, ..): Authorised<Read>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<ChannelList>, Problem> {
    let page = CHANNELS.page(query.limit, query.cursor.as_deref())?;
    let found = services.deliveries().channels(principal.organisation, &page).await?;
    let mut items = Vec::with_capacity(found.items.len());
    for channel in found.items {
        items.push(Channel::of(&services, principal.organisation, channel).await?);
    }
    Ok(Json(ChannelList { items, next: CHANNELS.next(found.next) }))
}

/// Shows a channel.
#[utoipa::path(get, path = "/v1/channels/{channel}", tag = "channels", security(("key" = [])),
    params(("channel" = String, Path, description = "Its name")),
    responses((status = 200, description = "The channel", body = Channel), Refusals, NotFound))]
pub(crate) async fn get(
    Authorised(principal, ..): Authorised<Read>,
    Path(channel): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Channel>, Problem> {
    let channel = services.deliveries().channel(principal.organisation, &channel).await?;
    Ok(Json(Channel::of(&services, principal.organisation, channel).await?))
}

/// Puts a channel, or changes the one of that name. What waits for it is delivered by what it is then. Settings its
/// formatter would refuse are refused; nothing is sent.
#[utoipa::path(put, path = "/v1/channels/{channel}", tag = "channels", security(("key" = [])),
    params(("channel" = String, Path, description = "1 to 32 characters of `a-z0-9_-`"), VersionQuery),
    request_body = PutChannel,
    responses(
        (status = 200, description = "The channel as it is now", body = Channel),
        (status = 201, description = "The new channel", body = Channel),
        Refusals, Bodied, Clash, Failing))]
pub(crate) async fn put(
    Authorised(principal, ..): Authorised<Admin>,
    Path(channel): Path<String>,
    Query(VersionQuery { version }): Query<VersionQuery>,
    State(services): State<Shared>,
    Json(body): Json<PutChannel>,
) -> Result<Response, Problem> {
    let put = services.deliveries().put_channel(&principal, &channel, body.spec()?, version).await?;
    let (channel, created) = put;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let channel = Channel::of(&services, principal.organisation, channel).await?;
    Ok((status, Json(channel)).into_response())
}

/// Deletes a channel. What waits for it becomes dead letters. One that monitors or routes name is not deleted: the answer
/// says which.
#[utoipa::path(delete, path = "/v1/channels/{channel}", tag = "channels", security(("key" = [])),
    params(("channel" = String, Path, description = "Its name"), Force),
    responses((status = 204, description = "It is gone"), Refusals, NotFound, Clash))]
pub(crate) async fn delete(
    Authorised(principal, ..): Authorised<Admin>,
    Path(channel): Path<String>,
    Query(Force { force }): Query<Force>,
    State(services): State<Shared>,
) -> Result<StatusCode, Problem> {
    services.deliveries().delete_channel(&principal, &channel, force).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Why a channel is held back.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PauseChannel {
    /// In a line.
    #[serde(default)]
    reason: String,
}

/// Holds a channel back: what is to be delivered to it waits.
#[utoipa::path(post, path = "/v1/channels/{channel}/pause", tag = "channels", security(("key" = [])),
    params(("channel" = String, Path, description = "Its name")), request_body(content = Option<PauseChannel>),
    responses((status = 200, description = "The channel", body = Channel), Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn pause(
    Authorised(principal, ..): Authorised<Admin>,
    Path(channel): Path<String>,
    State(services): State<Shared>,
    JsonOrNothing(PauseChannel { reason }): JsonOrNothing<PauseChannel>,
) -> Result<Json<Channel>, Problem> {
    let channel = services.deliveries().pause_channel(&principal, &channel, &reason).await?;
    Ok(Json(Channel::of(&services, principal.organisation, channel).await?))
}

/// Lets a channel be told again that was paused or disabled.
#[utoipa::path(post, path = "/v1/channels/{channel}/resume", tag = "channels", security(("key" = [])),
    params(("channel" = String, Path, description = "Its name")),
    responses((status = 200, description = "The channel", body = Channel), Refusals, NotFound, Clash))]
pub(crate) async fn resume(
    Authorised(principal, ..): Authorised<Admin>,
    Path(channel): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Channel>, Problem> {
    let channel = services.deliveries().resume_channel(&principal, &channel).await?;
    Ok(Json(Channel::of(&services, principal.organisation, channel).await?))
}

/// What came of a notification that tries a channel.
#[derive(Serialize, ToSchema)]
#[schema(as = ChannelTrial)]
pub(crate) struct Trial {
    /// The formatter and its version.
    #[schema(example = "webhook 0.1.0")]
    formatter: String,
    outcome: DeliveryOutcome,
    /// Why it was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What was sent and answered, in order. Secrets are named in `‹…›`.
    exchanges: Vec<Exchange>,
}

/// Sends a made-up notification to a channel now, by the whole way and once; paused or not. What the channel makes of it is
/// the answer.
#[utoipa::path(post, path = "/v1/channels/{channel}/test", tag = "channels", security(("key" = [])),
    params(("channel" = String, Path, description = "Its name")),
    responses((status = 200, description = "What came of it", body = Trial), Refusals, NotFound))]
pub(crate) async fn test(
    Authorised(principal, ..): Authorised<Admin>,
    Path(channel): Path<String>,
    State(services): State<Shared>,
    patience: Patience,
) -> Result<Json<Trial>, Problem> {
    // What the receiver does is the answer, that it says nothing too.
    patience.lengthen(bellwether_alerts::limits::TRIAL);
    let trial = services.deliveries().try_channel(&principal, &channel).await?;
    let ChannelTrial { formatter, outcome, reason, exchanges } = trial;
    let exchanges = exchanges.into_iter().map(Exchange::from).collect();
    Ok(Json(Trial { formatter, outcome: outcome.into(), reason, exchanges }))
}
