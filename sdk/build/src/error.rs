//! Why a plugin was not built.

use std::path::PathBuf;

/// Why a plugin was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A program is not there or does not start.
    #[error("cannot start {program}: {source}")]
    Start {
        /// Its name or path.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program failed; what it had to say is on the error stream.
    #[error("{command}: {reason}")]
    Command {
        /// With its arguments.
        command: String,
        /// Its exit status, or what was wrong with what it printed.
        reason: String,
    },
    /// No toolchain builds for WebAssembly; says what would help.
    #[error("{0}")]
    Toolchain(String),
    /// The folder holds no plugin; says what is missing.
    #[error("{0}")]
    NotAPlugin(String),
    /// The module imports what no host answers; says what, and who may have brought it.
    #[error("{0}")]
    Foreign(String),
    /// The module is no component of the contract; says why.
    #[error("{0}")]
    Encode(String),
    /// A plugin's version is no semantic version.
    #[error("the version is {version:?}, expected a semantic version such as 1.4.2: {reason}")]
    Version {
        /// What it is.
        version: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file does not read or write.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl BuildError {
    /// For `map_err` of what was done to `path`.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
