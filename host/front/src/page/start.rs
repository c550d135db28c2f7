//! The page at `/start`: which playbooks there are, and a form for one with what it is started with, as its manifest says.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use bellwether_access::{Idempotency, Principal};
use bellwether_kernel::{FieldError, RunId};
use bellwether_playbooks::{Input, Playbook, Status, TriggerKind, ValueType};
use data_encoding::HEXLOWER;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::frame::{Frame, further, moment, problem, table, text, word};
use super::session::SignedIn;
use super::{Form, field, query};
use crate::api::playbooks::PLAYBOOKS;
use crate::extract::Query;
use crate::problem::{Problem, ProblemKind};
use crate::services::{Services, Shared};

const TITLE: &str = "Playbooks";
/// Playbooks of a page.
const ROWS: usize = 100;
/// Bytes of a filled-in form.
pub(super) const FORM: usize = 1 << 20;
/// Begins the names of the fields that are inputs.
const INPUT: &str = "input.";

/// Which playbook, where a link says so already.
#[derive(Default, Deserialize)]
pub(crate) struct Link {
    #[serde(default)]
    playbook: String,
    /// Where the page of the list begins.
    cursor: Option<String>,
}

/// Lists the playbooks, or asks for what one is started with.
pub(crate) async fn ask(
    signed_in: SignedIn,
    Query(Link { playbook, cursor }): Query<Link>,
    State(services): State<Shared>,
) -> Response {
    let who = &*signed_in.0;
    if playbook.is_empty() {
        return Frame::new(TITLE, Some(who)).answer(list(&services, &signed_in, cursor.as_deref()).await);
    }
    let asked = async {
        let (inputs, known) = asked(&services, &signed_in, &playbook).await?;
        Ok(form(&services, (&playbook, known.as_deref()), &inputs, &[]))
    };
    Frame::new(&title(&playbook), Some(who)).within(TITLE).answer(asked.await)
}

/// Starts a playbook, and goes to its run.
pub(crate) async fn start(
    signed_in: SignedIn,
    State(services): State<Shared>,
    Form(filled): Form<FORM>,
) -> Response {
    let playbook = field(&filled, "playbook");
    let title = title(playbook);
    let frame = Frame::new(&title, Some(&signed_in.0)).within(TITLE);
    let (inputs, known) = match asked(&services, &signed_in, playbook).await {
        Ok(asked) => asked,
        Err(problem) => return frame.answer(Err(problem)),
    };
    match run(&services, &signed_in.0, playbook, &inputs, &filled).await {
        Ok(run) => Redirect::to(&format!("/runs/{run}")).into_response(),
        Err(problem) => {
            let again = form(&services, (playbook, known.as_deref()), &inputs, &filled);
            frame.refused(&problem, &again)
        }
    }
}

fn title(playbook: &str) -> String {
    format!("Start {playbook}")
}

async fn list(services: &Services, signed_in: &SignedIn, cursor: Option<&str>) -> Result<Markup, Problem> {
    let (organisation, writes) = (signed_in.0.organisation, signed_in.writes().is_ok());
    let found = services.playbooks().list(organisation, &PLAYBOOKS.page(Some(ROWS), cursor)?).await?;
    let row = |playbook: &std::sync::Arc<Playbook>| {
        let Playbook { name, document, status, .. } = &**playbook;
        let state = match status {
            Status::Active => "active",
            Status::Draft => "draft",
            Status::Disabled { .. } => "disabled",
            Status::Blocked { .. } => "blocked",
        };
        let query = query([("playbook", name.as_str())]);
        let by = document.as_ref().map(|document| document.trigger.kind());
        let starts = writes && by.is_some_and(TriggerKind::is_by_hand) && playbook.published.is_some();
        [
            html! {
                (name) br;
                @if starts { a href={ "/start?" (query) } { "start" } " · " }
                a href={ "/runs?" (query) } { "runs" }
            },
            text(by.map_or("", TriggerKind::as_str)),
            text(playbook.next_due.map(moment).unwrap_or_default()),
            text(state),
            text(playbook.why_not().unwrap_or_default()),
        ]
    };
    let rows: Vec<_> = found.items.iter().map(row).collect();
    let columns = ["Playbook", "Started by", "Due", "State", "Problem"];
    Ok(html! {
        (table("", columns, &rows, false))
        (further("/start", &[], PLAYBOOKS.next(found.next)))
        p.soft { "Times are in UTC." }
    })
}

/// What a playbook is started with by hand, and why it will fail, if that is known.
async fn asked(
    services: &Services,
    signed_in: &SignedIn,
    playbook: &str,
) -> Result<(Vec<Input>, Option<String>), Problem> {
    signed_in.writes()?;
    let (playbooks, organisation) = (services.playbooks(), signed_in.0.organisation);
    let stored = playbooks.get(organisation, playbook).await?;
    if let Some(by) = stored.document.as_ref().map(|document| document.trigger.kind())
        && !by.is_by_hand()
    {
        let detail = format!("{playbook} is not started by hand: its trigger is of type {}", by.as_str());
        return Err(Problem::new(ProblemKind::Conflict, detail));
    }
    Ok((playbooks.start_inputs(organisation, playbook).await?, stored.why_not().map(str::to_owned)))
}

async fn run(
    services: &Services,
    principal: &Principal,
    playbook: &str,
    declared: &[Input],
    form: &[(String, String)],
) -> Result<RunId, Problem> {
    let inputs = Value::from(read(declared, form)?);
    // A form that is sent twice leads to the run it started; one in which something was changed starts another.
    let (once, given) = (field(form, "once"), inputs.to_string());
    let filled_in = Idempotency::fingerprint(&[once.as_bytes(), playbook.as_bytes(), given.as_bytes()]);
    let name = (!once.is_empty()).then(|| format!("form {}", HEXLOWER.encode(&filled_in)));
    Ok(services.playbooks().start_named(principal, playbook, inputs, name.as_deref()).await?.id)
}

/// What was filled in, brought into the types that are declared.
fn read(declared: &[Input], form: &[(String, String)]) -> Result<Map<String, Value>, FieldError> {
    let mut inputs = Map::new();
    for input in declared {
        let field = format!("{INPUT}{}", input.name);
        let Some((_, text)) = form.iter().find(|(name, _)| *name == field) else { continue };
        // An empty field is one that was left out.
        if text.is_empty() {
            continue;
        }
        let value = match input.value_type {
            // A form ends lines as on the wire.
            ValueType::Text | ValueType::Binary => Value::from(text.replace("\r\n", "\n")),
            of => serde_json::from_str(text).or_else(|error| {
                let expected = match of {
                    ValueType::Integer => "a whole number".to_owned(),
                    ValueType::Number => "a number".to_owned(),
                    ValueType::Boolean => "true or false".to_owned(),
                    of => format!("{} as JSON: {error}", word(of)),
                };
                let is_word = !text.starts_with(['{', '[', '"']);
                let given = if input.secret { "what was given" } else { text };
                match of {
                    ValueType::Json if is_word => Ok(Value::from(text.as_str())),
                    _ => Err(FieldError::new(&input.name, given, expected)),
                }
            })?,
        };
        inputs.insert(input.name.clone(), value);
    }
    Ok(inputs)
}

/// The form for a playbook's inputs, with what was given before; what is sent `once` tells it from every other, and stays
/// with it until it is taken.
fn form(
    services: &Services,
    (playbook, known): (&str, Option<&str>),
    inputs: &[Input],
    given: &[(String, String)],
) -> Markup {
    let fresh = services.request_ids.fresh();
    let once = match field(given, "once") {
        "" => fresh.to_str().unwrap_or_default(),
        once => once,
    };
    let query = query([("playbook", playbook)]);
    html! {
        @if let Some(known) = known { (problem(&format!("It will fail: {known}"))) }
        // Whoever has to sign in again comes back to this one.
        form method="post" action={ "/start?" (query) } {
            input type="hidden" name="playbook" value=(playbook);
            input type="hidden" name="once" value=(once);
            @if inputs.is_empty() { p { "It asks for nothing." } }
            @for input in inputs {
                label { (input.name) " " span { (notes(input)) } (control(input, given)) }
            }
            button { "Start" }
        }
    }
}

fn notes(input: &Input) -> String {
    let list = match input.value_type {
        ValueType::Texts => r#", a JSON list as ["a", "b"]"#,
        ValueType::Integers | ValueType::Numbers => ", a JSON list as [1, 2]",
        ValueType::Binaries => r#", a JSON list of base64 as ["YQ=="]"#,
        ValueType::KeyValues => r#", a JSON list as [{"key": "a", "value": 1}]"#,
        ValueType::Entities => r#", a JSON list as [{"id": "1", "type": "Host", "value": "a.example"}]"#,
        _ => "",
    };
    let mut notes = vec![word(input.value_type) + list];
    notes.extend(Some(input.help.clone()).filter(|help| !help.is_empty()));
    match &input.default {
        // What is emptied is left out.
        Some(_) if input.secret => notes.push("left empty, it is its default".to_owned()),
        Some(default) => notes.push(format!("left empty, it is {default}")),
        None if !input.required => notes.push("may be left empty".to_owned()),
        None => {}
    }
    notes.join(" · ")
}

fn control(input: &Input, given: &[(String, String)]) -> Markup {
    let name = format!("{INPUT}{}", input.name);
    let given = given.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let default = input.default.as_ref().map(|default| match default {
        // A text that would read as another value is quoted.
        Value::String(text) if input.value_type != ValueType::Json => text.clone(),
        Value::String(text) if serde_json::from_str::<Value>(text).is_err() => text.clone(),
        other => other.to_string(),
    });
    // It is not shown, and is not to be lost unseen.
    let again = input.secret && given.as_ref().is_some_and(|given| !given.is_empty());
    let value = given.or(default).filter(|_| !input.secret).unwrap_or_default();
    let required = input.required && input.default.is_none();
    let choices: Vec<&str> = match input.value_type {
        _ if input.secret => Vec::new(),
        ValueType::Boolean => vec!["true", "false"],
        ValueType::Text => input.choices.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    html! {
        @if !choices.is_empty() {
            select name=(name) required[required] {
                option {}
                @for choice in choices { option selected[choice == value] { (choice) } }
            }
        } @else if input.secret {
            input type="password" name=(name) autocomplete="off" required[required || again]
                placeholder=[again.then_some("give it again")];
        } @else if value.contains('\n') {
            textarea name=(name) rows="5" required[required] { (value) }
        } @else if let ValueType::Text | ValueType::Binary | ValueType::Integer | ValueType::Number = input.value_type {
            input name=(name) value=(value) required[required];
        } @else {
            textarea name=(name) rows="3" required[required] { (value) }
        }
    }
}
