//! Plugins as text for people: what is installed, what a file holds, what an app takes and gives.

use bellwether_plugins::Grant;
use serde_json::{Value, json};

use crate::output;

const FIELDS: &[output::Column] = &[
    ("name", "/name"),
    ("version", "/version"),
    ("description", "/description"),
    ("owner", "/owner"),
    ("roles", "/roles"),
    ("digest", "/digest"),
    ("installed", "/installed"),
];

/// What was built: what it is and asks for, and where it lies.
pub(super) fn describe_built(component: &Value) -> String {
    format!("{}\nIt is in {}\n", describe_inspection(component), output::cell(component.get("file")))
}

/// A manifest for people: what an app takes and gives as tables.
pub(super) fn describe_manifest(manifest: &Value) -> String {
    let fields = [
        ("name", "/name"),
        ("version", "/version"),
        ("description", "/description"),
        ("roles", "/roles"),
        ("app", "/app/summary"),
        ("dialect", "/dialect/summary"),
    ];
    let mut text = output::record(manifest, &fields);
    for part in ["inputs", "outputs"] {
        let schema = &manifest["app"][part];
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        let row = |(name, schema): (&String, &Value)| {
            json!({
                "name": name,
                "type": schema["x-bellwether-type"],
                "required": required.iter().any(|required| required.as_str() == Some(name)),
                "default": schema["default"],
                "choices": schema.get("enum").or_else(|| schema.pointer("/items/enum")),
                "help": schema["description"],
            })
        };
        let rows: Vec<Value> = schema["properties"].as_object().into_iter().flatten().map(row).collect();
        if rows.is_empty() {
            continue;
        }
        let columns: &[output::Column] = match part {
            "inputs" => &[
                ("INPUT", "/name"),
                ("TYPE", "/type"),
                ("REQUIRED", "/required"),
                ("DEFAULT", "/default"),
                ("CHOICES", "/choices"),
                ("HELP", "/help"),
            ],
            _ => &[("OUTPUT", "/name"), ("TYPE", "/type"), ("HELP", "/help")],
        };
        text.push_str(&format!("\n{}", output::table(&rows, columns)));
    }
    for route in manifest.pointer("/dialect/routes").and_then(Value::as_array).into_iter().flatten() {
        text.push_str(&format!("route {}\n", output::cell(Some(route))));
    }
    text
}

/// What is read off a component.
pub(super) fn describe_inspection(inspection: &Value) -> String {
    let fields = [
        ("name", "/name"),
        ("version", "/version"),
        ("description", "/description"),
        ("contract", "/contract"),
        ("roles", "/roles"),
        ("digest", "/digest"),
        ("bytes", "/size"),
    ];
    let mut text = output::record(inspection, &fields);
    text.push_str("\nIt asks for:\n");
    let requests = inspection["requests"].as_array().map_or(&[][..], Vec::as_slice);
    if requests.is_empty() {
        text.push_str("nothing\n");
    } else {
        text.push_str(&output::table(
            requests,
            &[("PRIVILEGE", "/privilege"), ("TO", "/purpose"), ("GRANT IT WITH", "/example")],
        ));
    }
    for problem in inspection["problems"].as_array().into_iter().flatten() {
        text.push_str(&format!("\nIt cannot be installed: {}\n", output::cell(Some(problem))));
    }
    text
}

/// An installed plugin.
pub(super) fn describe(plugin: &Value) -> String {
    let mut text = output::record(plugin, FIELDS);
    text.push_str(&format!("\nIts grants:\n{}", grants(&plugin["grants"])));
    for route in plugin.pointer("/dialect/routes").and_then(Value::as_array).into_iter().flatten() {
        text.push_str(&format!("route {}\n", output::cell(Some(route))));
    }
    text
}

/// Grants as they are written on the command line, one a line.
pub(super) fn grants(grants: &Value) -> String {
    let lines: String =
        grants.as_array().into_iter().flatten().map(|grant| format!("{}\n", grant_text(grant))).collect();
    if lines.is_empty() { "none\n".to_owned() } else { lines }
}

fn grant_text(grant: &Value) -> String {
    serde_json::from_value::<Grant>(grant.clone())
        .map_or_else(|_| output::cell(Some(grant)), |grant| grant.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_shown_as_they_are_written() {
        let shown = grants(
            &json!([{"interface": "log"}, {"interface": "metrics-write", "metrics": ["web.*", "api.*"]}]),
        );
        assert_eq!(shown, "log\nmetrics-write=web.*,api.*\n");
        assert_eq!(grants(&json!([])), "none\n");
    }

    #[test]
    fn a_manifest_shows_what_an_app_takes_and_gives() {
        let manifest = json!({"name": "probe", "roles": ["app"], "app": {
            "summary": "Probes.",
            "inputs": {"required": ["page"], "properties": {
                "page": {"x-bellwether-type": "text", "description": "Which."},
                "kinds": {"x-bellwether-type": "texts", "items": {"enum": ["a", "b"]}, "default": ["a"]},
            }},
            "outputs": {"properties": {"total": {"x-bellwether-type": "number"}}},
        }});
        let text = describe_manifest(&manifest);
        for line in [
            "INPUT  TYPE   REQUIRED  DEFAULT  CHOICES  HELP",
            "page   text   yes       -        -        Which.",
            "kinds  texts  no        a        a, b     -",
            "total   number  -",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
    }
}
