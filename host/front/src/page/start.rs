//! The forms at `/start`: which playbook, then what it is started with, as its manifest says, then what came of it.
//! Without a script, a cookie or a session: each form asks for the key.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::response::Response;
use bellwether_access::{Begun, Idempotency, Principal, Role, StoredAnswer};
use bellwether_kernel::{FieldError, RunId};
use bellwether_playbooks::{Input, Run, ValueType};
use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{escaped, field, filled, form_page as page, known, refused, word};
use crate::extract::read_body;
use crate::problem::{Problem, ProblemKind};
use crate::services::{Services, Shared};

/// Bytes of a filled-in form.
const FORM: usize = 1 << 20;
/// How long the page waits for the run's end.
const WAIT: Duration = Duration::from_secs(10);
/// Begins the names of the fields that are inputs.
const INPUT: &str = "input.";

/// Which playbook, where a link says so already.
#[derive(Default, Deserialize)]
pub(crate) struct Link {
    #[serde(default)]
    playbook: String,
}

/// Asks which playbook is to be started.
pub(crate) async fn choose(Query(link): Query<Link>) -> Response {
    page("Start a playbook", &which(&link.playbook))
}

/// Asks for the playbook's inputs; or, with those filled in, starts it.
pub(crate) async fn start(State(services): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = read_body(&parts.headers, body, FORM).await?;
    let form = filled(&body);
    let field = |name| field(&form, name);
    let playbook = field("playbook");
    let Asked { principal, inputs, problem } = match asked(&services, field("key"), playbook).await {
        Ok(asked) => asked,
        Err(problem) => return Ok(refused("Start a playbook", &problem, &which(playbook))),
    };
    let title = format!("Start {playbook}");
    let once = services.request_ids.fresh();
    let once = once.to_str().unwrap_or_default();
    let asking = told(problem.as_deref()) + &filled_in(playbook, once, &inputs, &form);
    if field("go").is_empty() {
        return Ok(page(&title, &asking));
    }
    let sent = Some(field("once")).filter(|sent| !sent.is_empty()).unwrap_or(once);
    match run(&services, &principal, (playbook, sent), &inputs, &form).await {
        Ok(body) => Ok(page(playbook, &body)),
        Err(problem) => Ok(refused(&title, &problem, &asking)),
    }
}

/// Who asks, what the playbook is started with, and why it will fail, if that is known.
struct Asked {
    principal: Arc<Principal>,
    inputs: Vec<Input>,
    problem: Option<String>,
}

async fn asked(services: &Services, key: &str, playbook: &str) -> Result<Asked, Problem> {
    let principal = known(services, key)?;
    if principal.role < Role::Write {
        return Err(Problem::new(
            ProblemKind::Forbidden,
            "This needs the role write; this key may only read",
        ));
    }
    let (playbooks, organisation) = (services.playbooks(), principal.organisation);
    let inputs = playbooks.start_inputs(organisation, playbook).await?;
    let problem = playbooks.get(organisation, playbook).await?.problem.clone();
    Ok(Asked { principal, inputs, problem })
}

/// What of a playbook does not fit what it calls.
fn told(problem: Option<&str>) -> String {
    let told = |problem| format!("<p class=\"problem\">It will fail: {}</p>\n", escaped(problem));
    problem.map_or_else(String::new, told)
}

async fn run(
    services: &Services,
    principal: &Principal,
    (playbook, once): (&str, &str),
    declared: &[Input],
    form: &[(String, String)],
) -> Result<String, Problem> {
    let inputs = Value::from(read(declared, form)?);
    let (playbooks, organisation) = (services.playbooks(), principal.organisation);
    // A form that is sent again, as a browser does when its page is loaded anew, shows the run it started; one in which
    // something was changed starts another.
    let given = inputs.to_string();
    let fingerprint = Idempotency::fingerprint(&[once.as_bytes(), playbook.as_bytes(), given.as_bytes()]);
    let key = format!("form {} {}", principal.key, HEXLOWER.encode(&fingerprint));
    let idempotency = services.access().idempotency();
    let ticket = match idempotency.begin(Some(organisation), &key, fingerprint).await? {
        Begun::Replay(answer) => {
            let id = std::str::from_utf8(&answer.body).ok().and_then(|id| id.parse().ok());
            let id = id.ok_or_else(|| Problem::internal("what is remembered of a form is no run"))?;
            let run = playbooks.run(organisation, id).await?;
            let came_to = if run.summary.state.has_ended() { shown(&run) } else { going_on(id) };
            return Ok(format!("<p>This form was sent before: here is the run it started.</p>\n{came_to}"));
        }
        Begun::New(ticket) => ticket,
    };
    let started = match playbooks.start(principal, playbook, inputs).await {
        Ok(started) => started,
        Err(error) => {
            ticket.abandon().await?;
            return Err(error.into());
        }
    };
    let id = started.id;
    let answer =
        StoredAnswer { status: 200, content_type: "text/plain".to_owned(), body: id.to_string().into() };
    ticket.finish(&answer).await?;
    Ok(match tokio::time::timeout(WAIT, started.ended).await {
        Ok(Ok(run)) => shown(&run),
        _ => going_on(id),
    })
}

fn going_on(id: RunId) -> String {
    format!("<p>The run {id} goes on; follow it with</p>\n<pre>bellwether run watch {id}</pre>\n")
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
            ValueType::Text | ValueType::Binary => Value::from(text.as_str()),
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

fn which(playbook: &str) -> String {
    format!(
        "<form method=\"post\" action=\"/start\">\n\
         <label>Playbook <input name=\"playbook\" value=\"{}\" required></label>\n{KEY}\
         <button>Next</button>\n</form>\n",
        escaped(playbook)
    )
}

const KEY: &str = "<label>Key <span>one that may write, bw_…</span>\
    <input type=\"password\" name=\"key\" autocomplete=\"current-password\" required></label>\n";

/// The form for a playbook's inputs, with what was given before; `once` tells it from every other.
fn filled_in(playbook: &str, once: &str, inputs: &[Input], form: &[(String, String)]) -> String {
    let mut body = format!(
        "<form method=\"post\" action=\"/start\">\n<input type=\"hidden\" name=\"playbook\" value=\"{}\">\n\
         <input type=\"hidden\" name=\"go\" value=\"1\">\n\
         <input type=\"hidden\" name=\"once\" value=\"{}\">\n",
        escaped(playbook),
        escaped(once)
    );
    if inputs.is_empty() {
        body.push_str("<p>It asks for nothing.</p>\n");
    }
    for input in inputs {
        let name = format!("{INPUT}{}", input.name);
        let given = form.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let default = input.default.as_ref().map(|default| match default {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        let given = given.or(default).filter(|_| !input.secret).unwrap_or_default();
        let _ = writeln!(
            body,
            "<label>{} <span>{}</span>{}</label>",
            escaped(&input.name),
            escaped(&notes(input)),
            control(input, &escaped(&name), &given)
        );
    }
    body + KEY + "<button>Start</button>\n</form>\n"
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
        Some(_) if input.secret => notes.push("has a default".to_owned()),
        Some(default) => notes.push(format!("by default {default}")),
        None if !input.required => notes.push("may be left empty".to_owned()),
        None => {}
    }
    notes.join(" · ")
}

fn control(input: &Input, name: &str, given: &str) -> String {
    let required = if input.required && input.default.is_none() { " required" } else { "" };
    let choices: Vec<&str> = match input.value_type {
        ValueType::Boolean => vec!["true", "false"],
        ValueType::Text => input.choices.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    let value = escaped(given);
    if !choices.is_empty() && !input.secret {
        let options = choices.iter().map(|choice| {
            let selected = if *choice == given { " selected" } else { "" };
            format!("<option{selected}>{}</option>", escaped(choice))
        });
        let options: String = std::iter::once("<option></option>".to_owned()).chain(options).collect();
        return format!("<select name=\"{name}\"{required}>{options}</select>");
    }
    match input.value_type {
        _ if input.secret => {
            format!("<input type=\"password\" name=\"{name}\" autocomplete=\"off\"{required}>")
        }
        ValueType::Text | ValueType::Binary | ValueType::Integer | ValueType::Number => {
            format!("<input name=\"{name}\" value=\"{value}\"{required}>")
        }
        _ => format!("<textarea name=\"{name}\" rows=\"3\"{required}>{value}</textarea>"),
    }
}

/// A run that has ended; secrets are masked in it already.
fn shown(run: &Run) -> String {
    let summary = &run.summary;
    let mut body = format!(
        "<p class=\"status {}\">{}</p>\n",
        if summary.state == bellwether_playbooks::RunState::Succeeded { "ready" } else { "not-ready" },
        word(summary.state)
    );
    if let Some(error) = &summary.error {
        let _ = writeln!(body, "<p class=\"problem\">{}</p>", escaped(error));
    }
    body.push_str("<table>\n<tr><th>Step</th><th>State</th><th>Outputs</th></tr>\n");
    for step in &run.steps {
        let outputs: Vec<String> = step
            .outputs
            .iter()
            .map(|(name, value)| format!("{} = {}", escaped(name), escaped(&value.to_string())))
            .collect();
        let _ = writeln!(
            body,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&step.step),
            word(step.state),
            outputs.join("<br>")
        );
    }
    let _ = writeln!(
        body,
        "</table>\n<p class=\"soft\">Run {} of version {}</p>",
        summary.id, summary.playbook_version
    );
    body
}
