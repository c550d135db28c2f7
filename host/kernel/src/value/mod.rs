//! What passes between users and plugins: typed values, what they are declared as, and JSON read by it.

pub mod convert;
mod nesting;
pub mod shape;

pub use convert::{from_object, to_object};
pub use nesting::{MAX_NESTING, check_nesting, check_text_nesting, nesting};
use serde::{Deserialize, Serialize};
pub use shape::{Misfit, misfit};

/// What is shown in the place of a secret.
pub const MASK: &str = "•••";

/// A value that passes to and from plugins. Nested values travel as JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Absent.
    None,
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// Bytes.
    Binary(Vec<u8>),
    /// A list of texts.
    Texts(Vec<String>),
    /// A list of whole numbers.
    Integers(Vec<i64>),
    /// A list of numbers.
    Numbers(Vec<f64>),
    /// A list of byte strings.
    Binaries(Vec<Vec<u8>>),
    /// Any JSON.
    Json(serde_json::Value),
}

/// The types inputs and outputs are declared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueType {
    /// [`Value::Text`].
    Text,
    /// [`Value::Integer`].
    Integer,
    /// [`Value::Number`].
    Number,
    /// [`Value::Boolean`].
    Boolean,
    /// [`Value::Binary`]; base64 in JSON.
    Binary,
    /// [`Value::Texts`].
    Texts,
    /// [`Value::Integers`].
    Integers,
    /// [`Value::Numbers`].
    Numbers,
    /// [`Value::Binaries`].
    Binaries,
    /// [`Value::Json`].
    Json,
    /// [`Value::Json`] of the shape `{"key": text, "value": any JSON}`; see [`misfit`].
    KeyValue,
    /// [`Value::Json`]: a list of those.
    KeyValues,
    /// [`Value::Json`] of the shape `{"id": text, "type": text, "value": text}`, with whatever further fields.
    Entity,
    /// [`Value::Json`]: a list of those.
    Entities,
}

/// One input of an app, or one setting of another role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
    /// Whether a call without it is refused.
    pub required: bool,
    /// What its absence stands for.
    pub default: Option<serde_json::Value>,
    /// The only texts allowed; empty means any.
    pub choices: Vec<String>,
    /// Never shown in runs, logs or errors.
    pub secret: bool,
    /// For whoever fills it in.
    pub help: String,
}

impl Input {
    /// One that may be left out and is no secret, any value of whose type is right.
    pub fn new(name: impl Into<String>, value_type: ValueType) -> Self {
        Self {
            name: name.into(),
            value_type,
            required: false,
            default: None,
            choices: Vec::new(),
            secret: false,
            help: String::new(),
        }
    }
}
