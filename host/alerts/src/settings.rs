//! What a role was set to.

use bellwether_kernel::FieldError;
use bellwether_kernel::value::{Input, Value, from_object};
use serde_json::{Map, Value as Json};

/// What a role was set to: held against what it declares, defaults filled in.
///
/// A secret setting is given as the name of a secret its owner keeps. The role is given the setting's own name in its
/// place, so that it can say where the secret goes and never holds it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    values: Vec<(String, Value)>,
    secrets: Vec<(String, String)>,
}

impl Settings {
    /// Reads them from JSON.
    ///
    /// # Errors
    /// Names the setting that is missing, unknown, of another type or none of its choices: `settings.window`.
    pub fn read(declared: &[Input], given: &Map<String, Json>) -> Result<Self, FieldError> {
        let mut values = from_object(declared, "settings", given)?;
        let mut secrets = Vec::new();
        for (name, value) in &mut values {
            let secret = declared.iter().any(|input| input.secret && input.name == *name);
            if let Value::Text(text) = value
                && secret
            {
                if text.is_empty() {
                    return Err(FieldError::new(format!("settings.{name}"), "", "the name of a secret"));
                }
                secrets.push((name.clone(), std::mem::replace(text, name.clone())));
            }
        }
        Ok(Self { values, secrets })
    }

    /// What the role is given, in the order it declares.
    #[must_use]
    pub fn values(&self) -> &[(String, Value)] {
        &self.values
    }

    /// The names of secret settings that are given, each with the name of the secret its owner keeps.
    #[must_use]
    pub fn secrets(&self) -> &[(String, String)] {
        &self.secrets
    }
}

#[cfg(test)]
mod tests {
    use bellwether_kernel::value::ValueType;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_role_is_given_a_secrets_setting_and_never_the_name_of_what_is_kept() {
        let input = |name: &str, secret: bool| Input {
            required: !secret,
            secret,
            ..Input::new(name, ValueType::Text)
        };
        let declared = [input("url", false), input("key", true), input("other", true)];
        let read = |given: Json| Settings::read(&declared, given.as_object().expect("an object"));
        let settings =
            read(json!({"url": "https://a.example", "key": "kept-there"})).expect("they are right");
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(
            settings.values(),
            [
                ("url".into(), text("https://a.example")),
                ("key".into(), text("key")),
                ("other".into(), Value::None)
            ]
        );
        assert_eq!(settings.secrets(), [("key".into(), "kept-there".into())]);
        assert_eq!(read(json!({})).expect_err("url is required").field, "settings.url");
        assert_eq!(read(json!({"url": "a", "key": ""})).expect_err("no secret").field, "settings.key");
    }
}
