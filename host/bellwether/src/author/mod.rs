//! What a plugin's author does: a new project, the component, a trial in the real engine, and all of it again on
//! every save. None of it needs this repository: the sources a plugin is built from are carried in this binary.

mod battery;
pub(crate) mod build;
mod cases;
pub(crate) mod contract;
pub(crate) mod dev;
mod grants;
pub(crate) mod new;
mod role_cases;
pub(crate) mod sandbox;
pub(crate) mod trial;
mod vendored;
mod watch;

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use bellwether_build::BuildError;

use crate::failure::Failure;

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        match error {
            // The folder named on the command line is the wrong one.
            BuildError::NotAPlugin(message) => Self::Usage(message),
            // So is the version given there.
            error @ BuildError::Version { .. } => Self::Usage(error.to_string()),
            other => Self::Failed(other.into()),
        }
    }
}

/// Writes a file of a project, and makes the folder it lies in.
fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    let parent = path.parent().expect("a file lies in a folder");
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(path, text))
        .with_context(|| format!("{} cannot be written", path.display()))
}
