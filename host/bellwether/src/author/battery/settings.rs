//! Settings to check a role with: made up where its author gives none, and odd ones.

use bellwether_alerts::{RoleError, Settings};
use bellwether_kernel::FieldError;
use bellwether_kernel::value::{Input, ValueType};
use serde_json::{Map, Value, json};

use super::{Battery, Seen, stands};

/// Settings the role declares no default for, made up by their names and types; those that are given stand as they are.
pub(super) fn made_up(declared: &[Input], given: &Map<String, Value>) -> Map<String, Value> {
    let mut settings = Map::new();
    for input in declared {
        let value = match given.get(&input.name) {
            Some(value) => value.clone(),
            None if input.required && input.default.is_none() => likely(input),
            None => continue,
        };
        settings.insert(input.name.clone(), value);
    }
    settings
}

/// A value somebody might give.
pub(super) fn likely(input: &Input) -> Value {
    let name = input.name.to_lowercase();
    let text = || {
        let like = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        // Too short to be looked for within other words.
        let names_to = name.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == "to");
        match () {
            () if !input.choices.is_empty() => input.choices[0].clone(),
            () if input.secret => "kept".to_owned(),
            () if like(&["url", "uri", "endpoint"]) => "https://battery.example/hook".to_owned(),
            () if names_to || like(&["mail", "recipient", "address"]) => {
                "somebody@battery.example".to_owned()
            }
            () if like(&["host", "domain", "site", "server"]) => "battery.example".to_owned(),
            () => "one".to_owned(),
        }
    };
    match input.value_type {
        ValueType::Text => json!(text()),
        ValueType::Integer => json!(10),
        ValueType::Number => json!(10.0),
        ValueType::Boolean => json!(true),
        ValueType::Binary => json!("b25l"),
        ValueType::Texts => json!([text()]),
        ValueType::Integers => json!([10]),
        ValueType::Numbers => json!([10.0]),
        ValueType::Binaries => json!(["b25l"]),
        ValueType::Json => json!({}),
        ValueType::KeyValue => json!({"key": "one", "value": "1"}),
        ValueType::KeyValues => json!([{"key": "one", "value": "1"}]),
        ValueType::Entity => json!({"id": "1", "type": "Host", "value": "battery.example"}),
        ValueType::Entities => json!([{"id": "1", "type": "Host", "value": "battery.example"}]),
    }
}

/// Values of a declared type that are allowed and hardly right; every choice of those there are, as the host lets no other
/// through.
pub(super) fn odd_values(input: &Input) -> Vec<Value> {
    if input.secret {
        return Vec::new();
    }
    if !input.choices.is_empty() {
        let lists = input.value_type == ValueType::Texts;
        let each = input.choices.iter().map(|choice| if lists { json!([choice]) } else { json!(choice) });
        return each.chain(lists.then(|| json!(input.choices))).chain(lists.then(|| json!([]))).collect();
    }
    let long = "é🦙\u{202e}\"\\ ".repeat(2_000);
    match input.value_type {
        ValueType::Text => vec![json!(""), json!("\u{0}\r\n"), json!(long)],
        ValueType::Integer => vec![json!(0), json!(-1), json!(i64::MAX), json!(i64::MIN)],
        ValueType::Number => vec![json!(0.0), json!(-1.0), json!(f64::MAX), json!(f64::MIN_POSITIVE)],
        ValueType::Boolean => vec![json!(true), json!(false)],
        ValueType::Binary => vec![json!("")],
        ValueType::Texts => vec![json!([]), json!([""]), json!([long])],
        ValueType::Integers => vec![json!([]), json!([i64::MIN])],
        ValueType::Numbers => vec![json!([]), json!([f64::MAX])],
        ValueType::Binaries => vec![json!([]), json!([""])],
        ValueType::Json => vec![json!(null), json!([[[[[[[[]]]]]]]]), json!(long)],
        ValueType::KeyValue => vec![json!({"key": "k", "value": null})],
        ValueType::KeyValues | ValueType::Entities => vec![json!([])],
        ValueType::Entity => vec![json!({"id": "", "type": "t", "value": ""})],
    }
}

/// Every set of settings that has one odd value, each with what it is.
pub(super) fn odd(declared: &[Input], settings: &Map<String, Value>) -> Vec<(String, Map<String, Value>)> {
    let mut sets = Vec::new();
    for input in declared {
        for value in odd_values(input) {
            let mut odd = settings.clone();
            let shown: String = value.to_string().chars().take(20).collect();
            odd.insert(input.name.clone(), value);
            sets.push((format!("{} = {shown}", input.name), odd));
        }
    }
    sets
}

/// Checks that a role of the pure ones comes to an answer or to a clear error with every set of settings that has one odd
/// value.
pub(super) async fn check_odd<T>(
    battery: &mut Battery,
    of: &'static str,
    declared: &[Input],
    given: &Map<String, Value>,
    call: &impl AsyncFn(&Settings) -> Result<T, RoleError>,
) {
    const PROMISE: &str = "a wrong setting comes to a clear error";
    let sets = odd(declared, given);
    if sets.is_empty() {
        return battery.idle(of, PROMISE, "it has no settings that could be wrong");
    }
    battery.tell(of, PROMISE, tried(declared, sets, call).await);
}

async fn tried<T>(
    declared: &[Input],
    sets: Vec<(String, Map<String, Value>)>,
    call: &impl AsyncFn(&Settings) -> Result<T, RoleError>,
) -> Seen {
    let (count, mut refused) = (sets.len(), 0);
    for (name, given) in sets {
        let Ok(settings) = read(declared, &given) else { continue };
        refused += usize::from(stands(name, call(&settings).await)?.is_none());
    }
    Ok(format!("{count} sets, {refused} refused"))
}

/// Reads settings, in words for the author.
pub(super) fn read(declared: &[Input], settings: &Map<String, Value>) -> Result<Settings, String> {
    let help = |error: FieldError| format!("{error}; give it with --setting");
    Settings::read(declared, settings).map_err(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_tried_and_no_secret_is_made_odd() {
        let coloured = |value_type| Input {
            choices: vec!["red".into(), "green".into()],
            ..Input::new("colour", value_type)
        };
        assert_eq!(odd_values(&coloured(ValueType::Text)), [json!("red"), json!("green")]);
        let lists = [json!(["red"]), json!(["green"]), json!(["red", "green"]), json!([])];
        assert_eq!(odd_values(&coloured(ValueType::Texts)), lists);
        assert!(odd_values(&Input { secret: true, ..Input::new("token", ValueType::Text) }).is_empty());
    }

    #[test]
    fn an_address_is_made_up_for_what_is_sent_to_somebody_and_not_for_what_has_to_in_its_name() {
        let text = |name: &str| likely(&Input::new(name, ValueType::Text));
        for name in ["to", "send_to", "reply-to", "email", "recipients", "From-Address"] {
            assert_eq!(text(name), json!("somebody@battery.example"), "{name}");
        }
        for name in ["topic", "monitor", "store", "token_name", "history"] {
            assert_eq!(text(name), json!("one"), "{name}");
        }
    }
}
