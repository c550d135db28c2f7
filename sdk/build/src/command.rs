//! Runs other programs.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::BuildError;

/// The cargo this program runs under, or the one in the path, in `folder`.
pub(crate) fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder);
    command
}

/// Runs a command with its output shown, and fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<(), BuildError> {
    let status = command.status().map_err(start(command))?;
    if status.success() { Ok(()) } else { Err(failed(command, status)) }
}

/// What a command prints, its errors shown.
pub(crate) fn read(command: &mut Command) -> Result<String, BuildError> {
    let output = command.stderr(Stdio::inherit()).output().map_err(start(command))?;
    if !output.status.success() {
        return Err(failed(command, output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| failed(command, error))
}

/// For `map_err` of a command that did not start.
pub(crate) fn start(command: &Command) -> impl FnOnce(std::io::Error) -> BuildError + use<> {
    let program = command.get_program().display().to_string();
    move |source| BuildError::Start { program, source }
}

/// A command that came to nothing.
pub(crate) fn failed(command: &Command, reason: impl std::fmt::Display) -> BuildError {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    BuildError::Command { command: words.join(" "), reason: reason.to_string() }
}
