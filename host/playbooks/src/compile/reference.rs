//! ThreatConnect's variables, as playbooks that come from there have them: `#App:step:output!Type` and
//! `#Trigger:any:field!Type` stand for what a step gave and what the trigger brought.

use crate::{Trigger, trigger};

/// The types there are; each but the enhanced one has an array beside it.
const TYPES: [&str; 5] = ["String", "Binary", "KeyValue", "TCEntity", "TCEnhancedEntity"];

/// The expression such a variable stands for; `None` for any other text.
///
/// # Errors
/// What would be right, for a text that has the form of one and is none.
pub(super) fn expression(text: &str, trigger: &Trigger) -> Option<Result<String, String>> {
    let inner = text.trim().strip_prefix('#')?;
    let (origin, rest) = inner.split_once(':')?;
    if !matches!(origin, "App" | "Trigger" | "Global") {
        return None;
    }
    let (path, kind) = rest.rsplit_once('!')?;
    let (step, field) = path.split_once(':')?;
    let plain = kind.strip_suffix("Array").unwrap_or(kind);
    if !TYPES.contains(&plain) {
        return Some(Err(format!("one of the types {}, or an array of one", TYPES.join(", "))));
    }
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(good) && !name.as_bytes()[0].is_ascii_digit();
    if !is_name(field) {
        return Some(Err("a name of letters, digits and _ before the !".into()));
    }
    Some(match origin {
        "App" if is_name(step) => Ok(format!("steps.{step}.{field}")),
        "App" => Err("the id of an earlier step: #App:<step>:<output>!<Type>".into()),
        "Trigger" => Ok(of_trigger(field, trigger)),
        _ => Err("#App:… or #Trigger:…: there are no global variables here".into()),
    })
}

/// A field of the trigger itself, or else of what came with it.
fn of_trigger(field: &str, trigger: &Trigger) -> String {
    let fields = trigger::fields(trigger);
    if fields.contains(&field) {
        return format!("trigger.{field}");
    }
    let within = if fields.contains(&"inputs") { "inputs" } else { "body" };
    if fields.contains(&within) { format!("trigger.{within}.{field}") } else { format!("trigger.{field}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger(kind: &str) -> Trigger {
        serde_json::from_value(serde_json::json!({"type": kind})).unwrap()
    }

    #[test]
    fn a_variable_of_threatconnect_stands_for_an_expression() {
        let cases = [
            ("manual", "#App:lookup:name!String", Some(Ok("steps.lookup.name"))),
            ("manual", " #App:lookup:names!StringArray ", Some(Ok("steps.lookup.names"))),
            ("manual", "#Trigger:12:host!TCEntity", Some(Ok("trigger.inputs.host"))),
            ("webhook", "#Trigger:12:host!KeyValue", Some(Ok("trigger.body.host"))),
            ("webhook", "#Trigger:12:body!Binary", Some(Ok("trigger.body"))),
            ("manual", "#App:12:name!String", Some(Err("earlier step"))),
            ("manual", "#App:lookup:name!Text", Some(Err("one of the types String"))),
            ("manual", "#Global:a:b!String", Some(Err("no global"))),
            ("manual", "#App:lookup:a.b!String", Some(Err("a name of"))),
            ("manual", "#channel", None),
            ("manual", "see #App:lookup:name!String", None),
            ("manual", "#Else:lookup:name!String", None),
        ];
        for (kind, text, expected) in cases {
            let found = expression(text, &trigger(kind));
            match (found, expected) {
                (None, None) => {}
                (Some(Ok(found)), Some(Ok(expected))) => assert_eq!(found, expected, "{text}"),
                (Some(Err(found)), Some(Err(expected))) => {
                    assert!(found.contains(expected), "{text}: {found}");
                }
                (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
