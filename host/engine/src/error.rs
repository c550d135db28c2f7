//! Why there is no engine, or no component.

use std::io;
use std::path::PathBuf;

use bellwether_kernel::ErrorKind;

/// Why there is no engine, or no component.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// This machine cannot give what the settings ask for.
    #[error(
        "the sandbox cannot be set up for {calls} calls at a time: {reason}; allow fewer calls or more address space"
    )]
    Setup {
        /// Calls at a time.
        calls: u32,
        /// What failed.
        reason: String,
    },
    /// The folder of the compile cache cannot be used.
    #[error("the compile cache {path}: {source}")]
    Cache {
        /// The folder or file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The component is too large.
    #[error("the component has {size} bytes, at most {limit} are taken")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The bytes are not a component this engine runs.
    #[error("the component does not compile: {0}")]
    Component(String),
    /// The component's imports are not what is linked.
    #[error("the component does not link: {0}")]
    Link(String),
}

impl EngineError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Setup { .. } | Self::Cache { .. } => ErrorKind::Internal,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Component(_) | Self::Link(_) => ErrorKind::Invalid,
        }
    }
}
