//! What a formatter, a detector or a forecaster can be set to.

use std::fmt;

use crate::app::Input;
use crate::bindings::imports::bellwether::host::types::FieldError;
use crate::value::{FromValue, Mismatch, NamedValue, Value, ValueType};

/// The settings of a role. Derive it on a struct with one field for each.
///
/// A field's doc comment is the help its user reads; `Option` makes it optional; a [`Secret`] is a secret. The attribute
/// `#[setting(…)]` takes `default = <expression>`, `choices("a", "b")`, `name = "…"` and `help = "…"`, as an app's
/// [`Inputs`](crate::Inputs) do. `#[settings(check = <function>)]` on the struct names a function that says what else has
/// to hold.
///
/// ```
/// use bellwether_sdk::{SettingError, Settings};
///
/// #[derive(Settings)]
/// #[settings(check = positive)]
/// struct Bound {
///     /// How many times the usual distance is strange.
///     #[setting(default = 3.0)]
///     factor: f64,
/// }
///
/// fn positive(bound: &Bound) -> Result<(), SettingError> {
///     match bound.factor > 0.0 {
///         true => Ok(()),
///         false => Err(SettingError::new("factor", bound.factor, "a number above 0")),
///     }
/// }
///
/// let [factor] = &Bound::describe()[..] else { panic!() };
/// assert_eq!((factor.default.as_deref(), factor.required), (Some("3.0"), false));
///
/// let wrong = bellwether_sdk::testing::settings::<Bound>(&bellwether_sdk::serde_json::json!({ "factor": -1 }));
/// assert_eq!(wrong.err().unwrap().to_string(), "factor is \"-1\", expected a number above 0");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a set of settings",
    label = "the settings of a role",
    note = "add #[derive(Settings)] to the struct, or take `()` for none"
)]
pub trait Settings: Sized {
    /// Whether any is a secret.
    #[doc(hidden)]
    const SECRET: bool = false;
    /// Whether any has to be given.
    #[doc(hidden)]
    const REQUIRED: bool = false;

    /// What they are.
    #[must_use]
    fn describe() -> Vec<Input>;

    /// Reads them from what the host passes. Defaults stand in for what is absent.
    ///
    /// # Errors
    /// Names the setting that is missing or wrong.
    fn read(values: Vec<NamedValue>) -> Result<Self, SettingError>;
}

/// None.
impl Settings for () {
    fn describe() -> Vec<Input> {
        Vec::new()
    }

    fn read(_: Vec<NamedValue>) -> Result<Self, SettingError> {
        Ok(())
    }
}

/// A setting is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// Which.
    pub name: String,
    /// What it is.
    pub value: String,
    /// What would be right, as a phrase.
    pub expected: String,
}

impl SettingError {
    /// Says that the setting `name` is `value` where `expected` would be right.
    pub fn new(name: impl Into<String>, value: impl fmt::Display, expected: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.to_string(), expected: expected.into() }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {:?}, expected {}", self.name, self.value, self.expected)
    }
}

impl std::error::Error for SettingError {}

impl From<SettingError> for FieldError {
    fn from(error: SettingError) -> Self {
        Self { field: error.name, value: error.value, expected: error.expected }
    }
}

/// A secret of a channel: its name. What it says stays with the host, which puts it where a
/// [`Text`](crate::formatter::Text) or a signature names it.
///
/// Only a formatter has secrets: what sends nothing has no use for one, and an app is given the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret of that name.
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl FromValue for Secret {
    const TYPE: ValueType = ValueType::Text;
    const SECRET: bool = true;

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Text(name) => Ok(Self(name)),
            other => Err(Mismatch::new("the name of a secret", &other)),
        }
    }
}

/// What the macros write calls to; not for authors.
#[doc(hidden)]
pub mod expanded {
    use super::{FromValue, SettingError, Value};
    use crate::app::expanded::check_choice;
    pub use crate::app::expanded::{holds_texts, input, take};

    /// Reads a setting.
    pub fn read<T: FromValue>(
        name: &str,
        _secret: bool,
        choices: &[&str],
        value: Value,
    ) -> Result<T, SettingError> {
        check_choice(choices, &value)
            .map_err(|text| SettingError::new(name, text, format!("one of {}", choices.join(", "))))?;
        T::from_value(value).map_err(|mismatch| SettingError::new(name, mismatch.found, mismatch.expected))
    }

    /// Nothing else has to hold.
    pub fn unchecked<S>(_: &S) -> Result<(), SettingError> {
        Ok(())
    }
}
