//! Plugins as text for people: what is installed, what a file holds, what a role takes and gives.

use std::collections::BTreeMap;

use bellwether_plugins::Grant;
use serde_json::{Value, json};

use crate::output;

const FIELDS: &[output::Column] = &[
    ("name", "/name"),
    ("version", "/version"),
    ("description", "/description"),
    ("owner", "/owner"),
    ("roles", "/roles"),
    ("app", "/app/summary"),
    ("dialect", "/dialect/summary"),
    ("formatter", "/formatter/summary"),
    ("detector", "/detector/summary"),
    ("forecaster", "/forecaster/summary"),
    ("digest", "/digest"),
    ("installed", "/installed"),
    ("enabled", "/enabled"),
    ("instances", "/instances"),
    ("problem", "/problem"),
    ("canary", "/canary/version"),
    ("its share, %", "/canary/share"),
    ("last canary", "/last_canary/version"),
    ("how it ended", "/last_canary/how"),
    ("why", "/last_canary/reason"),
];

/// What an installed plugin's roles take and give: a heading, and where it lies.
const TAKEN: [(&str, &str); 5] = [
    ("INPUT", "/app/inputs"),
    ("OUTPUT", "/app/outputs"),
    ("SETTING", "/formatter/settings"),
    ("SETTING", "/detector/settings"),
    ("SETTING", "/forecaster/settings"),
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
        ("formatter", "/formatter/summary"),
        ("detector", "/detector/summary"),
        ("forecaster", "/forecaster/summary"),
    ];
    let mut text = output::record(manifest, &fields);
    let parts = [
        ("inputs", "/app/inputs"),
        ("outputs", "/app/outputs"),
        ("settings", "/formatter/settings"),
        ("settings", "/detector/settings"),
        ("settings", "/forecaster/settings"),
    ];
    for (part, pointer) in parts {
        let Some(schema) = manifest.pointer(pointer) else { continue };
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        let row = |(name, schema): (&String, &Value)| {
            json!({
                "name": name,
                "type": schema["x-bellwether-type"],
                "required": required.iter().any(|required| required.as_str() == Some(name)),
                "secret": schema["writeOnly"] == true,
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
            "outputs" => &[("OUTPUT", "/name"), ("TYPE", "/type"), ("HELP", "/help")],
            _ => &[
                (if part == "inputs" { "INPUT" } else { "SETTING" }, "/name"),
                ("TYPE", "/type"),
                ("REQUIRED", "/required"),
                ("SECRET", "/secret"),
                ("DEFAULT", "/default"),
                ("CHOICES", "/choices"),
                ("HELP", "/help"),
            ],
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
    let optional = inspection["optional"].as_array().map_or(&[][..], Vec::as_slice);
    if !optional.is_empty() {
        text.push_str("\nIt may be given besides, and does without:\n");
        text.push_str(&output::table(
            optional,
            &[("PRIVILEGE", "/privilege"), ("TO", "/purpose"), ("GRANT IT WITH", "/example")],
        ));
    }
    let baseline = inspection["baseline"].as_array().map_or(&[][..], Vec::as_slice);
    if !baseline.is_empty() {
        text.push_str("\nIts language's runtime imports of WASI, and finds an empty world:\n");
        text.push_str(&output::table(
            &packages(baseline),
            &[("PACKAGE", "/package"), ("INTERFACES", "/interfaces")],
        ));
    }
    for problem in inspection["problems"].as_array().into_iter().flatten() {
        text.push_str(&format!("\nIt cannot be installed: {}\n", output::cell(Some(problem))));
    }
    text
}

/// Interfaces of WASI by their package: `wasi:io/poll@0.2.0` is poll of wasi:io.
fn packages(baseline: &[Value]) -> Vec<Value> {
    let mut packages: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for import in baseline.iter().filter_map(Value::as_str) {
        let (package, rest) = import.split_once('/').unwrap_or((import, ""));
        let name = rest.split('@').next().unwrap_or(rest);
        packages.entry(package).or_default().push(name);
    }
    let rows =
        packages.iter().map(|(package, names)| json!({"package": package, "interfaces": names.join(", ")}));
    rows.collect()
}

/// How a dialect is set.
pub(super) fn describe_settings(settings: &Value) -> String {
    let declared = settings["declared"].as_array().map_or(&[][..], Vec::as_slice);
    let row = |input: &Value| {
        let name = input["name"].as_str().unwrap_or_default();
        json!({
            "name": name,
            "value": settings["effective"].get(name),
            "set": settings["settings"].get(name).is_some(),
            "help": input["help"],
        })
    };
    let rows: Vec<Value> = declared.iter().map(row).collect();
    if rows.is_empty() {
        return "nothing can be set\n".to_owned();
    }
    let columns = [("SETTING", "/name"), ("VALUE", "/value"), ("SET", "/set"), ("HELP", "/help")];
    output::table(&rows, &columns)
}

/// An installed plugin.
pub(super) fn describe(plugin: &Value) -> String {
    let mut text = output::record(plugin, FIELDS);
    text.push_str(&format!("\nIts grants:\n{}", grants(&plugin["grants"])));
    for (heading, pointer) in TAKEN {
        let declared =
            plugin.pointer(pointer).and_then(Value::as_array).filter(|declared| !declared.is_empty());
        let Some(declared) = declared else { continue };
        let mut columns = vec![(heading, "/name"), ("TYPE", "/value_type")];
        if heading != "OUTPUT" {
            columns.extend([
                ("REQUIRED", "/required"),
                ("SECRET", "/secret"),
                ("DEFAULT", "/default"),
                ("CHOICES", "/choices"),
            ]);
        }
        columns.push(("HELP", "/help"));
        text.push_str(&format!("\n{}", output::table(declared, &columns)));
    }
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
    fn an_installed_plugin_is_shown_with_what_it_is_set_to() {
        let plugin = json!({"name": "hook", "roles": ["formatter"], "grants": [], "formatter": {"settings": [
            {"name": "url", "value_type": "text", "required": true, "secret": false, "help": "Where to."},
            {"name": "key", "value_type": "text", "required": false, "secret": true, "help": "A key."},
        ]}});
        let text = describe(&plugin);
        for line in [
            "SETTING  TYPE  REQUIRED  SECRET  DEFAULT  CHOICES  HELP",
            "url      text  yes       no      -        -        Where to.",
            "key      text  no        yes     -        -        A key.",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn an_installed_plugin_is_shown_with_what_each_role_says_it_does() {
        let plugin = json!({
            "name": "visits", "description": "Visits.", "roles": ["app", "dialect"], "grants": [],
            "app": {"summary": "Counts visits.", "inputs": [], "outputs": []},
            "dialect": {"summary": "Takes visits over HTTP.", "routes": []},
        });
        let text = describe(&plugin);
        for line in
            ["description:  Visits.", "app:          Counts visits.", "dialect:      Takes visits over HTTP."]
        {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn what_a_runtime_imports_is_shown_apart_from_what_is_asked_for() {
        let request =
            |privilege: &str| json!({"privilege": privilege, "purpose": "do", "example": privilege});
        let inspection = json!({
            "requests": [request("log")],
            "optional": [request("clock")],
            "baseline": ["wasi:io/poll@0.2.0", "wasi:io/streams@0.2.3", "wasi:cli/exit@0.2.0"],
            "problems": [],
        });
        let text = describe_inspection(&inspection);
        let (asked, rest) = text.split_once("It may be given").expect("optional ones stand apart");
        assert!(asked.contains("log") && !asked.contains("clock") && rest.contains("clock"), "{text}");
        assert!(rest.lines().any(|line| line == "wasi:io   poll, streams"), "{text}");
        let plain = json!({"requests": [], "optional": [], "baseline": [], "problems": []});
        assert!(!describe_inspection(&plain).contains("WASI"));
    }

    #[test]
    fn a_manifest_shows_what_an_app_takes_and_gives() {
        let manifest = json!({"name": "probe", "roles": ["app"], "app": {
            "summary": "Probes.",
            "inputs": {"required": ["page"], "properties": {
                "page": {"x-bellwether-type": "text", "description": "Which.", "writeOnly": true},
                "kinds": {"x-bellwether-type": "texts", "items": {"enum": ["a", "b"]}, "default": ["a"]},
            }},
            "outputs": {"properties": {"total": {"x-bellwether-type": "number"}}},
        }});
        let text = describe_manifest(&manifest);
        for line in [
            "INPUT  TYPE   REQUIRED  SECRET  DEFAULT  CHOICES  HELP",
            "page   text   yes       yes     -        -        Which.",
            "kinds  texts  no        no      a        a, b     -",
            "total   number  -",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
    }
}
