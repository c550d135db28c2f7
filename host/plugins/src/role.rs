//! What the pure roles share: settings as a plugin takes them, and why it did not answer.

use bellwether_alerts::{RoleError, Settings};
use bellwether_kernel::FieldError;

use crate::PluginError;
use crate::bindings::bellwether::host::types::{FieldError as WitFieldError, NamedValueParam};
use crate::plugin::{Export, Loaded};
use crate::value::{Backing, lower, one_line};

/// What settings need beside themselves to be borrowed by the contract's types.
pub(crate) struct SettingsBacking<'a> {
    settings: &'a Settings,
    backings: Vec<Backing<'a>>,
}

impl<'a> SettingsBacking<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Self {
        let backings = settings.values().iter().map(|(_, value)| Backing::new(value)).collect();
        Self { settings, backings }
    }

    pub(crate) fn lower(&'a self) -> Vec<NamedValueParam<'a>> {
        let values = self.settings.values().iter().zip(&self.backings);
        values.map(|((name, value), backing)| lower(name, value, backing)).collect()
    }
}

/// A setting the plugin finds wrong, in the words of whoever set it.
pub(crate) fn wrong_setting(error: WitFieldError) -> RoleError {
    RoleError::Invalid(setting_error(error))
}

/// The same by itself.
pub(crate) fn setting_error(error: WitFieldError) -> FieldError {
    let field = format!("settings.{}", one_line(error.field));
    FieldError::new(field, error.value, one_line(error.expected))
}

/// What the plugin says itself, under its name.
pub(crate) fn refused(loaded: &Loaded, export: Export, reason: String) -> RoleError {
    let (name, version, call) = (&loaded.name, &loaded.version, export.name);
    RoleError::Refused(format!("plugin {name} {version}: {call}: {}", one_line(reason)))
}

/// An answer that is none.
pub(crate) fn bad_answer(loaded: &Loaded, export: Export, problem: String) -> RoleError {
    loaded.bad_answer(export, problem).into()
}

impl From<PluginError> for RoleError {
    fn from(error: PluginError) -> Self {
        Self::Failed { message: error.to_string(), kind: error.kind() }
    }
}

/// Whether a column is as long as it has to be.
pub(crate) fn check_length(column: &str, found: usize, expected: usize) -> Result<(), String> {
    if found != expected {
        return Err(format!("it gave {found} entries of {column}, expected {expected}"));
    }
    Ok(())
}

/// Whether `lower`, `expected` and `upper` are in order wherever they are known. Columns of the same length.
pub(crate) fn check_band(lower: &[f64], expected: &[f64], upper: &[f64]) -> Result<(), (usize, String)> {
    for (at, ((&lower, &expected), &upper)) in lower.iter().zip(expected).zip(upper).enumerate() {
        // Comparisons with NaN, which stands for "cannot tell", are false.
        if lower > expected || expected > upper || lower > upper {
            return Err((
                at,
                format!("lower {lower}, expected {expected} and upper {upper} are not in this order"),
            ));
        }
    }
    Ok(())
}
