//! The role `app`: typed inputs become typed outputs, or an error that says whether a retry makes sense.

use std::fmt;
use std::time::Duration;

use crate::alerts::AlertError;
use crate::bindings::app::exports::bellwether::plugin::app as raw;
use crate::host::StateError;
use crate::http::HttpError;
use crate::metrics::{FieldError, MetricError};
use crate::records::RecordError;
use crate::series::SeriesError;
use crate::value::{self, FromValue, IntoValue, Mismatch, NamedValue, Value};

/// What a call is part of: an idempotency key for outside services, and the number of the attempt.
pub use raw::Call;
pub use raw::{Description, Input, Output};

/// The inputs of an app. Derive it on a struct with one field per input.
///
/// A field's doc comment is the help its user reads; `Option` makes it optional. The attribute `#[input(…)]` takes
///
/// - `default = <expression>`: what an absent input stands for;
/// - `choices("a", "b")`: the only texts allowed, of a text or of each in a list of texts (an enum with
///   `#[derive(Choice)]` has them of itself);
/// - `secret`: never shown in runs, logs or errors;
/// - `name = "…"`: its name, where the field's own will not do;
/// - `help = "…"`: the help, instead of the doc comment.
///
/// ```
/// use bellwether_sdk::Inputs;
///
/// #[derive(Inputs)]
/// struct Ticket {
///     /// One line.
///     title: String,
///     /// How soon somebody should look.
///     #[input(default = "low", choices("low", "high"))]
///     priority: String,
///     #[input(secret, help = "From the ticket system's settings")]
///     token: Option<String>,
/// }
///
/// let [title, priority, token] = &Ticket::describe()[..] else { panic!() };
/// assert!(title.required && !priority.required && token.secret);
/// assert_eq!(priority.default.as_deref(), Some("\"low\""));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a set of inputs",
    label = "an app's last parameter holds its inputs",
    note = "add #[derive(Inputs)] to the struct, or take `()` for none"
)]
pub trait Inputs: Sized {
    /// What they are.
    #[must_use]
    fn describe() -> Vec<Input>;

    /// Reads them from what the host passes. Defaults stand in for what is absent.
    ///
    /// # Errors
    /// Names the input that is missing, unknown or of another type.
    fn read(values: Vec<NamedValue>) -> Result<Self, AppError>;
}

/// The outputs of an app. Derive it on a struct with one field per output, a field's doc comment being its help;
/// `#[output(name = "…", help = "…")]` says otherwise.
///
/// ```
/// use bellwether_sdk::Outputs;
///
/// #[derive(Outputs)]
/// struct Created {
///     /// The ticket's number.
///     id: u64,
/// }
///
/// assert_eq!(Created::describe()[0].help, "The ticket's number.");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a set of outputs",
    label = "an app returns its outputs",
    note = "add #[derive(Outputs)] to the struct, or return `()` for none"
)]
pub trait Outputs {
    /// What they are.
    #[must_use]
    fn describe() -> Vec<Output>;

    /// Gives them to the host.
    #[must_use]
    fn write(self) -> Vec<NamedValue>;
}

/// None.
impl Inputs for () {
    fn describe() -> Vec<Input> {
        Vec::new()
    }

    fn read(_: Vec<NamedValue>) -> Result<Self, AppError> {
        Ok(())
    }
}

/// None.
impl Outputs for () {
    fn describe() -> Vec<Output> {
        Vec::new()
    }

    fn write(self) -> Vec<NamedValue> {
        Vec::new()
    }
}

/// Why a call failed, and whether trying again makes sense.
///
/// ```
/// use std::time::Duration;
/// use bellwether_sdk::AppError;
///
/// let _ = AppError::fatal("there is no project TICKETS");
/// let _ = AppError::fatal("the ticket system is busy").retry_after(Duration::from_secs(60));
/// ```
///
/// The errors of host calls become one by `?`: what may go better later is retried, what is wrong is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppError {
    message: String,
    retry: Retry,
}

/// Whether a failed call may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same call will fail the same way.
    No,
    /// Later it may succeed.
    Yes,
    /// Later it may succeed, and not before so long.
    After(Duration),
}

impl AppError {
    /// The same call will fail the same way. `message` is one line for the playbook's owner.
    pub fn fatal(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), retry: Retry::No }
    }

    /// The same, but later it may succeed.
    #[must_use]
    pub fn retry(self) -> Self {
        Self { retry: Retry::Yes, ..self }
    }

    /// The same, but later it may succeed, and not before so long.
    #[must_use]
    pub fn retry_after(self, delay: Duration) -> Self {
        Self { retry: Retry::After(delay), ..self }
    }

    /// The same with a word before the message on what was being done.
    #[must_use]
    pub fn context(self, doing: impl fmt::Display) -> Self {
        Self { message: format!("{doing}: {}", self.message), ..self }
    }

    /// One line for the playbook's owner.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether trying again makes sense.
    #[must_use]
    pub fn retries(&self) -> Retry {
        self.retry
    }
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for AppError {}

impl From<MetricError> for AppError {
    fn from(error: MetricError) -> Self {
        let fatal = Self::fatal(&error);
        match error {
            MetricError::Unavailable(_) | MetricError::Other(_) => fatal.retry(),
            MetricError::UnknownMetric(_)
            | MetricError::Invalid(_)
            | MetricError::Conflict(_)
            | MetricError::Forbidden(_)
            | MetricError::Limit(_) => fatal,
        }
    }
}

impl From<SeriesError> for AppError {
    fn from(error: SeriesError) -> Self {
        let fatal = Self::fatal(&error);
        match error {
            SeriesError::Unavailable(_) | SeriesError::Other(_) => fatal.retry(),
            SeriesError::UnknownMetric(_)
            | SeriesError::Invalid(_)
            | SeriesError::Syntax(_)
            | SeriesError::Forbidden(_)
            | SeriesError::Limit(_) => fatal,
        }
    }
}

impl From<RecordError> for AppError {
    fn from(error: RecordError) -> Self {
        let fatal = Self::fatal(&error);
        match error {
            RecordError::Unavailable(_) | RecordError::Other(_) => fatal.retry(),
            RecordError::Unknown(_)
            | RecordError::Invalid(_)
            | RecordError::Syntax(_)
            | RecordError::Forbidden(_)
            | RecordError::Limit(_) => fatal,
        }
    }
}

impl From<AlertError> for AppError {
    fn from(error: AlertError) -> Self {
        let fatal = Self::fatal(&error);
        match error {
            AlertError::Unavailable(_) | AlertError::Other(_) => fatal.retry(),
            AlertError::Unknown(_)
            | AlertError::Invalid(_)
            | AlertError::Conflict(_)
            | AlertError::Forbidden(_)
            | AlertError::Limit(_) => fatal,
        }
    }
}

impl From<FieldError> for AppError {
    fn from(error: FieldError) -> Self {
        Self::fatal(error)
    }
}

/// A value that another call changed meanwhile may be right at the next attempt.
impl From<StateError> for AppError {
    fn from(error: StateError) -> Self {
        let fatal = Self::fatal(&error);
        match error {
            StateError::Changed(_) | StateError::Unavailable(_) | StateError::Other(_) => fatal.retry(),
            StateError::TooLarge(_) | StateError::Quota(_) => fatal,
        }
    }
}

impl From<HttpError> for AppError {
    fn from(error: HttpError) -> Self {
        let fatal = Self::fatal(&error);
        match error {
            HttpError::Timeout | HttpError::Connection(_) | HttpError::Other(_) => fatal.retry(),
            HttpError::Invalid(_) | HttpError::Forbidden(_) | HttpError::TooLarge(_) => fatal,
        }
    }
}

impl From<AppError> for raw::AppError {
    fn from(error: AppError) -> Self {
        let retry = match error.retry {
            Retry::No => raw::Retry::No,
            Retry::Yes => raw::Retry::Yes,
            Retry::After(delay) => raw::Retry::After(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
        };
        Self { message: error.message, retry }
    }
}

/// What the macros write calls to; not for authors.
#[doc(hidden)]
pub mod expanded {
    use super::*;

    /// What an app takes.
    pub fn inputs<I: Inputs>() -> Vec<Input> {
        I::describe()
    }

    /// What an app gives, taken from the function itself.
    pub fn outputs<I, O: Outputs, E>(_run: impl Fn(&Call, I) -> Result<O, E>) -> Vec<Output> {
        O::describe()
    }

    /// A call's inputs.
    pub fn read_all<I: Inputs>(inputs: Vec<NamedValue>) -> Result<I, raw::AppError> {
        I::read(inputs).map_err(Into::into)
    }

    /// A call's outcome.
    pub fn write_all<O, E>(outcome: Result<O, E>) -> Result<Vec<NamedValue>, raw::AppError>
    where
        O: Outputs,
        E: Into<AppError>,
    {
        match outcome {
            Ok(outputs) => Ok(outputs.write()),
            Err(error) => Err(error.into().into()),
        }
    }

    /// One line of an app's description. The type's own choices hold where the attribute names none.
    ///
    /// # Panics
    /// If the default is one no host takes.
    pub fn input<T: FromValue>(
        name: &str,
        help: &str,
        secret: bool,
        choices: &[&str],
        default: Option<&Value>,
    ) -> Input {
        let default = default.and_then(|default| {
            let misfit = value::misfit(default, T::TYPE)
                .or_else(|| none_of(choices, default))
                .or_else(|| T::from_value(default.clone()).err());
            if let Some(Mismatch { expected, found }) = misfit {
                panic!("the default of {name:?} is {found}, expected {expected}");
            }
            value::json_text(default)
        });
        let choices = match choices {
            [] => T::choices(),
            choices => choices.iter().map(|&choice| choice.to_owned()).collect(),
        };
        Input {
            name: name.to_owned(),
            value_type: T::TYPE,
            required: !T::OPTIONAL && default.is_none(),
            default,
            choices,
            secret: secret || T::SECRET,
            help: help.to_owned(),
        }
    }

    /// Why a default is none of the choices.
    fn none_of(choices: &[&str], default: &Value) -> Option<Mismatch> {
        let text = check_choice(choices, default).err()?;
        Some(Mismatch { expected: format!("one of {}", choices.join(", ")), found: format!("{text:?}") })
    }

    /// One line of an app's description.
    pub fn output<T: IntoValue>(name: &str, help: &str) -> Output {
        Output { name: name.to_owned(), value_type: T::TYPE, help: help.to_owned() }
    }

    /// Whether an input of this type can have choices.
    #[must_use]
    pub const fn holds_texts(value_type: crate::ValueType) -> bool {
        matches!(value_type, crate::ValueType::Text | crate::ValueType::Texts)
    }

    /// Takes an input out of what the host passed.
    pub fn take(values: &mut [NamedValue], name: &str) -> Value {
        values
            .iter_mut()
            .find(|value| value.name == name)
            .map_or(Value::None, |found| std::mem::replace(&mut found.value, Value::None))
    }

    /// Reads an input; a secret's value stays out of the error.
    pub fn read<T: FromValue>(
        name: &str,
        secret: bool,
        choices: &[&str],
        value: Value,
    ) -> Result<T, AppError> {
        check_choice(choices, &value).map_err(|text| {
            let shown = if secret { "another text".to_owned() } else { format!("{text:?}") };
            let expected = choices.join(", ");
            AppError::fatal(format!("input {name:?}: expected one of {expected}, found {shown}"))
        })?;
        T::from_value(value).map_err(|mismatch| match secret {
            true => AppError::fatal(format!("input {name:?}: expected {}", mismatch.expected)),
            false => AppError::fatal(format!("input {name:?}: {mismatch}")),
        })
    }

    /// Whether every text is one of the choices; else the first that is not.
    pub(crate) fn check_choice<'a>(choices: &[&str], value: &'a Value) -> Result<(), &'a str> {
        let given = match value {
            Value::Text(text) => std::slice::from_ref(text),
            Value::Texts(texts) => texts.as_slice(),
            _ => &[],
        };
        match given.iter().find(|text| !choices.is_empty() && !choices.contains(&text.as_str())) {
            Some(text) => Err(text),
            None => Ok(()),
        }
    }

    /// Makes an output.
    pub fn write(name: &str, value: impl IntoValue) -> NamedValue {
        NamedValue { name: name.to_owned(), value: value.into_value() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Binary, Inputs, KeyValue};

    #[test]
    fn a_default_that_is_no_literal_is_described_as_it_is() {
        #[derive(Inputs)]
        #[allow(dead_code)]
        struct Sent {
            #[input(default = Binary(b"Bell".to_vec()))]
            body: Binary,
            #[input(default = vec![Binary(vec![255])])]
            parts: Vec<Binary>,
            #[input(default = i64::MAX as u64)]
            most: u64,
            #[input(default = f64::MAX)]
            ceiling: f64,
        }
        let described = Sent::describe();
        let defaults: Vec<_> =
            described.iter().map(|input| (input.required, input.default.as_deref())).collect();
        let expected = [
            (false, Some("\"QmVsbA==\"")),
            (false, Some("[\"/w==\"]")),
            (false, Some("9223372036854775807")),
            (false, Some("1.7976931348623157e308")),
        ];
        assert_eq!(defaults, expected);
    }

    #[derive(Inputs)]
    #[allow(dead_code)]
    struct Endless {
        #[input(default = f64::INFINITY)]
        ceiling: f64,
    }

    #[derive(Inputs)]
    #[allow(dead_code)]
    struct Large {
        #[input(default = u64::MAX)]
        id: u64,
    }

    #[derive(Inputs)]
    #[allow(dead_code)]
    struct Nameless {
        #[input(default = KeyValue::new("", 1))]
        header: KeyValue,
    }

    #[derive(Inputs)]
    #[allow(dead_code)]
    struct Coloured {
        #[input(default = "bl".to_owned() + "ue", choices("red", "green"))]
        colour: String,
    }

    #[test]
    fn a_default_no_host_takes_is_told_by_its_field_and_makes_nothing_required() {
        for (describe, expected) in [
            (
                Endless::describe as fn() -> Vec<Input>,
                "the default of \"ceiling\" is inf, expected a finite number",
            ),
            (
                Large::describe,
                "the default of \"id\" is 18446744073709551615, expected at most 9223372036854775807",
            ),
            (Nameless::describe, "; key is to be a text that is not empty"),
            (Coloured::describe, "the default of \"colour\" is \"blue\", expected one of red, green"),
        ] {
            let panic = std::panic::catch_unwind(describe).expect_err(expected);
            let panic = panic.downcast_ref::<String>().expect("a text");
            assert!(panic.contains(expected), "{panic}");
        }
    }
}
