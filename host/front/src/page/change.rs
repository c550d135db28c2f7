//! What the forms of `/alerts` do: about one incident, a mute, a dead letter. Each goes back to the page it stands on.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use bellwether_alerts::{Actor, NewMute, Scope};
use bellwether_kernel::FieldError;
use maud::{Markup, html};

use super::alerts::{Link, TITLE, tables};
use super::frame::Frame;
use super::session::SignedIn;
use super::{Form, came_of, field, incident};
use crate::api::deliveries::delivery_id;
use crate::api::incidents::incident_id;
use crate::api::mutes::mute_id;
use crate::extract::Query;
use crate::patience::Patience;
use crate::problem::Problem;
use crate::services::{Services, Shared};

/// Bytes of a filled-in form.
const FORM: usize = 64 << 10;
/// For how long a monitor is muted from here, in milliseconds.
const LASTS: [(&str, i64); 5] =
    [("30 m", 1_800_000), ("2 h", 7_200_000), ("8 h", 28_800_000), ("1 d", 86_400_000), ("7 d", 604_800_000)];

/// A form of one button for `what`, with the fields it takes.
pub(super) fn deed(what: &str, label: &str, fields: &Markup) -> Markup {
    html! {
        // Without an address a form goes to the page it stands on.
        form.inline method="post" {
            (fields)
            button name="do" value=(what) { (label) }
        }
    }
}

/// For how long a monitor is muted, and why.
pub(super) fn mute_fields() -> Markup {
    html! {
        select name="lasts" aria-label="For how long" { @for (lasts, _) in LASTS { option { (lasts) } } }
        input name="reason" aria-label="Why" placeholder="Why";
    }
}

/// Does what a form says.
pub(crate) async fn change(
    signed_in: SignedIn,
    Query(Link { incident }): Query<Link>,
    State(services): State<Shared>,
    patience: Patience,
    Form(form): Form<FORM>,
) -> Response {
    let problem = match done(&services, &signed_in, &incident, &form, &patience).await {
        Ok(to) => return Redirect::to(&to).into_response(),
        Err(problem) => problem,
    };
    if !incident.is_empty() {
        return incident::shown(&services, &signed_in, &incident, Some(&problem)).await;
    }
    let frame = Frame::new(TITLE, Some(&signed_in.0));
    match tables(&services, &signed_in).await {
        Ok(tables) => frame.refused(&problem, &tables),
        Err(_) => frame.answer(Err(problem)),
    }
}

/// Where what came of it is seen.
async fn done(
    services: &Services,
    signed_in: &SignedIn,
    incident: &str,
    form: &[(String, String)],
    patience: &Patience,
) -> Result<String, Problem> {
    signed_in.writes()?;
    let (alerts, who) = (services.alerts(), &signed_in.0);
    let field = |name| field(form, name);
    let id = || incident_id(incident);
    match field("do") {
        "acknowledge" => drop(alerts.acknowledge(who, id()?).await?),
        "resolve" => drop(alerts.resolve(who, id()?).await?),
        "comment" => drop(alerts.comment(who, id()?, field("text")).await?),
        "assign" => {
            let assignee = Some(field("assignee").to_owned()).filter(|name| !name.is_empty());
            alerts.assign(who, id()?, assignee).await?;
        }
        "act" => {
            let acting = alerts.act(Actor::Caller(who.clone()), id()?, field("action")).await?;
            // What comes of it stands in what happened, now or later.
            came_of(patience, acting.ended).await;
        }
        "mute" => {
            let monitor = alerts.incident(who.organisation, id()?).await?.monitor_name;
            alerts.create_mute(who, mute(services, monitor, form)?).await?;
            return Ok("/alerts".to_owned());
        }
        "unmute" => alerts.delete_mute(who, mute_id(field("mute"))?).await?,
        "resend" => drop(services.deliveries().resend(who, &delivery_id(field("delivery"))?).await?),
        other => return Err(FieldError::new("do", other, "what a button of this page does").into()),
    }
    Ok(if incident.is_empty() { "/alerts".to_owned() } else { format!("/alerts?incident={}", id()?) })
}

/// The mute of a monitor that a form asks for.
pub(super) fn mute(
    services: &Services,
    monitor: String,
    form: &[(String, String)],
) -> Result<NewMute, FieldError> {
    let lasts = field(form, "lasts");
    let known = LASTS.iter().find(|(word, _)| *word == lasts);
    let words = || LASTS.map(|(word, _)| word).join(", ");
    let (_, lasts) = known.ok_or_else(|| FieldError::new("lasts", lasts, format!("one of {}", words())))?;
    let scope = Scope { monitors: vec![monitor], ..Scope::default() };
    let end = Some(services.parts.clock.now().saturating_add(*lasts));
    Ok(NewMute { scope, end, reason: field(form, "reason").to_owned(), ..NewMute::default() })
}
