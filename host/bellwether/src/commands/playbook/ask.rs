//! Asks for what a playbook is started with, by what its trigger declares, or the apps that are given it.

use std::io;

use console::Term;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::output::cell;

/// Asks on the terminal for every input of `declared`, as `GET /v1/playbooks/{playbook}` gives them.
pub(crate) fn on_terminal(declared: &[Value]) -> Result<Map<String, Value>, Failure> {
    let terminal = Term::stderr();
    let asked = ask(declared, |prompt, secret| {
        terminal.write_str(prompt)?;
        if secret { terminal.read_secure_line() } else { terminal.read_line() }
    });
    asked.map_err(|error| Failure::Usage(format!("the terminal does not read: {error}; use --inputs")))
}

/// Asks until every answer is one. `answer` is given the question, and whether what is typed must not be seen.
fn ask(
    declared: &[Value],
    mut answer: impl FnMut(&str, bool) -> io::Result<String>,
) -> io::Result<Map<String, Value>> {
    let mut inputs = Map::new();
    for input in declared {
        let name = input["name"].as_str().unwrap_or_default();
        let mut question = question(name, input);
        loop {
            let text = answer(&question, input["secret"] == true)?;
            match read(input, text.trim_end_matches(['\r', '\n'])) {
                Ok(Some(value)) => {
                    inputs.insert(name.to_owned(), value);
                    break;
                }
                Ok(None) => break,
                Err(expected) => question = format!("  {expected}\n{name}: "),
            }
        }
    }
    Ok(inputs)
}

fn question(name: &str, input: &Value) -> String {
    let mut question = String::new();
    if let Some(help) = input["help"].as_str().filter(|help| !help.is_empty()) {
        question.push_str(&format!("# {help}\n"));
    }
    let mut notes = vec![cell(input.get("value_type"))];
    let choices = choices(input);
    if !choices.is_empty() {
        notes = vec![choices.join(" | ")];
    }
    match input.get("default").filter(|default| !default.is_null()) {
        Some(_) if input["secret"] == true => notes.push("has a default".to_owned()),
        Some(default) => notes.push(format!("default {}", cell(Some(default)))),
        None if input["required"] != true => notes.push("may be left out".to_owned()),
        None => {}
    }
    question + &format!("{name} ({}): ", notes.join(", "))
}

fn choices(input: &Value) -> Vec<&str> {
    input["choices"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What was typed as the input's value; nothing for one that is left out. The host checks the rest.
fn read(input: &Value, text: &str) -> Result<Option<Value>, String> {
    let has_default = input.get("default").is_some_and(|default| !default.is_null());
    if text.is_empty() {
        let is_missing = input["required"] == true && !has_default;
        return if is_missing { Err("it is required".to_owned()) } else { Ok(None) };
    }
    let choices = choices(input);
    if !choices.is_empty() && input["value_type"] == "text" && !choices.contains(&text) {
        return Err(format!("expected one of {}", choices.join(", ")));
    }
    if matches!(input["value_type"].as_str(), Some("text" | "binary")) {
        return Ok(Some(text.into()));
    }
    match serde_json::from_str(text) {
        Ok(value) => Ok(Some(value)),
        // A word needs no quotes where any JSON will do.
        Err(_) if input["value_type"] == "json" && !text.starts_with(['{', '[', '"']) => {
            Ok(Some(text.into()))
        }
        Err(error) => Err(format!("expected {} as JSON: {error}", cell(input.get("value_type")))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_input_is_asked_for_until_its_answer_is_one() {
        let declared = [
            json!({"name": "name", "value_type": "text", "required": true, "help": "Who is greeted.", "choices": [], "secret": false}),
            json!({"name": "tone", "value_type": "text", "default": "warm", "choices": ["warm", "cold"], "secret": false}),
            json!({"name": "times", "value_type": "integer", "choices": [], "secret": false}),
            json!({"name": "token", "value_type": "text", "required": true, "choices": [], "secret": true}),
            json!({"name": "more", "value_type": "json", "choices": [], "secret": false}),
        ];
        let mut asked = Vec::new();
        let mut answers = ["", "Ada", "hot", "cold", "three", "3\n", "hush", "{\"a\":", "word"]
            .map(str::to_owned)
            .into_iter();
        let inputs = ask(&declared, |question, secret| {
            asked.push((question.to_owned(), secret));
            answers.next().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        });
        let expected = json!({"name": "Ada", "tone": "cold", "times": 3, "token": "hush", "more": "word"});
        assert_eq!(Value::Object(inputs.expect("there are answers enough")), expected);
        let (questions, secret): (Vec<_>, Vec<_>) =
            asked.iter().map(|(text, secret)| (text.as_str(), *secret)).unzip();
        assert_eq!(questions[0], "# Who is greeted.\nname (text): ");
        assert_eq!(questions[1], "  it is required\nname: ");
        assert_eq!(questions[2], "tone (warm | cold, default warm): ");
        assert_eq!(questions[3], "  expected one of warm, cold\ntone: ");
        assert_eq!(questions[4], "times (integer, may be left out): ");
        assert_eq!(secret.iter().position(|secret| *secret), Some(6), "only what is secret is not seen");
        assert_eq!(secret.iter().filter(|secret| **secret).count(), 1);
    }

    #[test]
    fn what_may_be_left_out_is() {
        let declared = [
            json!({"name": "a", "value_type": "text"}),
            json!({"name": "b", "value_type": "integer", "default": 3, "required": true}),
        ];
        assert_eq!(ask(&declared, |_, _| Ok(String::new())).expect("nothing is needed"), Map::new());
    }
}
