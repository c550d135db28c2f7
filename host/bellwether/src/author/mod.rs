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
