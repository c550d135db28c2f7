//! What a plugin is, asks for, takes and gives, in one document a program can ask its user by: inputs and outputs as
//! JSON Schema 2020-12.

use bellwether_alerts::{History, Takes};
use bellwether_playbooks::{AppDescription, Input, Output, ValueType};
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::inspect::{PluginRole, Request};
use crate::row::{DialectSummary, Installed};

/// The dialect of JSON Schema the schemas are written in.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Where a schema keeps the contract's own word for a type, which JSON's types do not tell apart.
const TYPE: &str = "x-bellwether-type";

/// What a plugin is, asks for, takes and gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Manifest {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it says it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The version of the contract it was made for.
    pub contract: String,
    /// The roles it takes.
    pub roles: Vec<PluginRole>,
    /// The privileges it asks for.
    pub requests: Vec<Request>,
    /// What it takes and gives as an app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<AppManifest>,
    /// What it speaks as a dialect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<DialectSummary>,
    /// What it is as a detector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detector: Option<DetectorManifest>,
    /// What it is as a forecaster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecaster: Option<ForecasterManifest>,
    /// What it is as a formatter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formatter: Option<FormatterManifest>,
}

/// What a detector is, and what it takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DetectorManifest {
    /// One sentence.
    pub summary: String,
    /// A JSON Schema 2020-12 of the object of its settings.
    pub settings: Json,
    /// What a call takes.
    pub takes: Takes,
    /// How much of a series it wants to have seen.
    pub history: History,
}

/// What a forecaster is, and what it takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ForecasterManifest {
    /// One sentence.
    pub summary: String,
    /// A JSON Schema 2020-12 of the object of its settings.
    pub settings: Json,
    /// How much of a series it wants to see.
    pub history: History,
}

/// What a formatter is, and what it takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FormatterManifest {
    /// One sentence.
    pub summary: String,
    /// A JSON Schema 2020-12 of the object of its settings. A secret is `writeOnly`: it is given as the name of a secret
    /// that is kept.
    pub settings: Json,
}

/// What an app takes and gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AppManifest {
    /// One sentence.
    pub summary: String,
    /// A JSON Schema 2020-12 of the object of its inputs. A secret is `writeOnly`.
    pub inputs: Json,
    /// A JSON Schema 2020-12 of the object of its outputs. Any of them may be absent.
    pub outputs: Json,
}

impl Installed {
    /// What it is, asks for, takes and gives. Without what each role takes while it is not loaded.
    #[must_use]
    pub fn manifest(&self) -> Manifest {
        Manifest {
            name: self.name.clone(),
            version: self.version.clone(),
            description: self.description.clone(),
            contract: self.contract.clone(),
            roles: self.roles.clone(),
            requests: self.grants.iter().map(|grant| Request::from(grant.privilege())).collect(),
            app: self.app.as_ref().map(AppManifest::from),
            dialect: self.dialect.clone(),
            detector: self.detector.as_ref().map(|detector| DetectorManifest {
                summary: detector.summary.clone(),
                settings: of_inputs(&detector.settings),
                takes: detector.takes,
                history: detector.history,
            }),
            forecaster: self.forecaster.as_ref().map(|forecaster| ForecasterManifest {
                summary: forecaster.summary.clone(),
                settings: of_inputs(&forecaster.settings),
                history: forecaster.history,
            }),
            formatter: self.formatter.as_ref().map(|formatter| FormatterManifest {
                summary: formatter.summary.clone(),
                settings: of_inputs(&formatter.settings),
            }),
        }
    }
}

impl From<&AppDescription> for AppManifest {
    fn from(description: &AppDescription) -> Self {
        let outputs = description.outputs.iter().map(|output| (output.name.clone(), of_output(output)));
        Self {
            summary: description.summary.clone(),
            inputs: of_inputs(&description.inputs),
            outputs: object(&outputs.collect(), &[]),
        }
    }
}

/// A schema of the object of what is declared.
fn of_inputs(inputs: &[Input]) -> Json {
    let required = inputs.iter().filter(|input| input.required && input.default.is_none());
    let required: Vec<&str> = required.map(|input| input.name.as_str()).collect();
    object(&inputs.iter().map(|input| (input.name.clone(), of_input(input))).collect(), &required)
}

/// A schema of an object with these fields and no other.
fn object(properties: &Map<String, Json>, required: &[&str]) -> Json {
    json!({
        "$schema": DRAFT,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn of_input(input: &Input) -> Json {
    let mut schema = of_type(input.value_type);
    if !input.choices.is_empty() {
        // Of a list, each item is one of them.
        let texts = if input.value_type == ValueType::Texts { &mut schema["items"] } else { &mut schema };
        texts["enum"] = input.choices.clone().into();
    }
    if let Some(default) = &input.default {
        schema["default"] = default.clone();
    }
    if input.secret {
        schema["writeOnly"] = true.into();
    }
    described(schema, input.value_type, &input.help)
}

fn of_output(output: &Output) -> Json {
    described(of_type(output.value_type), output.value_type, &output.help)
}

fn described(mut schema: Json, value_type: ValueType, help: &str) -> Json {
    if !help.is_empty() {
        schema["description"] = help.into();
    }
    schema[TYPE] = serde_json::to_value(value_type).expect("a word");
    schema
}

fn of_type(value_type: ValueType) -> Json {
    let list = |item: ValueType| json!({"type": "array", "items": of_type(item)});
    let full = || json!({"type": "string", "minLength": 1});
    match value_type {
        ValueType::Text => json!({"type": "string"}),
        ValueType::Integer => json!({"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX}),
        ValueType::Number => json!({"type": "number"}),
        ValueType::Boolean => json!({"type": "boolean"}),
        ValueType::Binary => json!({"type": "string", "contentEncoding": "base64"}),
        ValueType::Texts => list(ValueType::Text),
        ValueType::Integers => list(ValueType::Integer),
        ValueType::Numbers => list(ValueType::Number),
        ValueType::Binaries => list(ValueType::Binary),
        ValueType::Json => json!({}),
        ValueType::KeyValue => json!({
            "type": "object",
            "properties": {"key": full(), "value": {}},
            "required": ["key", "value"],
            "additionalProperties": false,
        }),
        ValueType::KeyValues => list(ValueType::KeyValue),
        ValueType::Entity => json!({
            "type": "object",
            "properties": {"id": {"type": "string"}, "type": full(), "value": {"type": "string"}},
            "required": ["id", "type", "value"],
        }),
        ValueType::Entities => list(ValueType::Entity),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, value_type: ValueType) -> Input {
        let (name, help) = (name.to_owned(), String::new());
        Input { name, value_type, required: false, default: None, choices: Vec::new(), secret: false, help }
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_schema_says_everything_an_input_was_declared_with() {
        let description = AppDescription {
            summary: "Does.".to_owned(),
            inputs: vec![
                Input { required: true, help: "Which page.".to_owned(), ..input("page", ValueType::Text) },
                Input { required: true, default: Some(json!(1)), ..input("times", ValueType::Integer) },
                Input { secret: true, ..input("token", ValueType::Text) },
                Input { choices: texts(&["a", "b"]), ..input("letter", ValueType::Text) },
                Input { choices: texts(&["a", "b"]), ..input("letters", ValueType::Texts) },
                input("headers", ValueType::KeyValues),
            ],
            outputs: vec![Output {
                name: "file".to_owned(),
                value_type: ValueType::Binary,
                help: "The file.".to_owned(),
            }],
        };
        let AppManifest { summary, inputs, outputs } = AppManifest::from(&description);
        assert_eq!(summary, "Does.");
        assert_eq!(inputs["$schema"], DRAFT);
        assert_eq!(inputs["required"], json!(["page"]), "what has a default may be left out");
        assert_eq!(inputs["additionalProperties"], false);
        for (pointer, expected) in [
            ("/page", json!({"type": "string", "description": "Which page.", TYPE: "text"})),
            ("/times/default", json!(1)),
            ("/times/type", json!("integer")),
            ("/token/writeOnly", json!(true)),
            ("/letter/enum", json!(["a", "b"])),
            ("/letters/items/enum", json!(["a", "b"])),
            ("/headers/items/required", json!(["key", "value"])),
            ("/headers/x-bellwether-type", json!("key-values")),
        ] {
            assert_eq!(inputs["properties"].pointer(pointer), Some(&expected), "{pointer} of {inputs:#}");
        }
        let file = json!({"type": "string", "contentEncoding": "base64", "description": "The file.", TYPE: "binary"});
        assert_eq!(outputs["properties"]["file"], file);
    }

    #[test]
    fn names_keep_the_order_they_were_declared_in() {
        let inputs = ["b", "a", "c"].map(|name| input(name, ValueType::Json));
        let description =
            AppDescription { summary: String::new(), inputs: inputs.to_vec(), outputs: Vec::new() };
        let schema = AppManifest::from(&description).inputs;
        let names: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["b", "a", "c"]);
    }
}
