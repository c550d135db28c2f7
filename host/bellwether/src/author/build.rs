//! `bellwether plugin build`: a project's component, and what it asks for.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bellwether_build::{Built, Package, Toolchain};
use bellwether_plugins::{Inspection, inspect};
use serde_json::{Value, json};

use crate::failure::Failure;

/// The profile a project's own `Cargo.toml` tunes.
const PROFILE: &str = "release";

/// A component and what a host reads off it.
pub(crate) struct Component {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// What it is and asks for.
    pub(crate) inspection: Inspection,
}

impl Component {
    /// Reads a component.
    ///
    /// # Errors
    /// [`Failure::Usage`] if the file does not read, or is none.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let file = path.display();
        let bytes =
            std::fs::read(path).map_err(|error| Failure::Usage(format!("{file} does not read: {error}")))?;
        let inspection = inspect(&bytes).map_err(|error| Failure::Usage(format!("{file}: {error}")))?;
        Ok(Self { path: path.to_owned(), bytes, inspection })
    }

    /// What is printed of it.
    pub(crate) fn shown(&self) -> Result<Value, Failure> {
        let mut shown = serde_json::to_value(&self.inspection).context("an inspection is JSON")?;
        shown["file"] = json!(self.path.display().to_string());
        Ok(shown)
    }
}

/// A plugin's project.
pub(crate) struct Project {
    /// Where its `Cargo.toml` is, from the root on.
    pub(super) folder: PathBuf,
    packages: Vec<Package>,
    /// Where cargo builds.
    pub(super) target: PathBuf,
}

/// The project in `folder`.
///
/// # Errors
/// [`Failure::Usage`] if there is none.
pub(crate) fn project(folder: &Path) -> Result<Project, Failure> {
    let manifest = folder.join("Cargo.toml");
    let found = manifest.canonicalize().map_err(|error| {
        Failure::Usage(format!(
            "{} does not read ({error}); name the project's folder with --path, or make one with `bellwether plugin new`",
            manifest.display()
        ))
    })?;
    let folder = found.parent().expect("a file lies in a folder").to_owned();
    let own = |_: &str, package: &Path| package.canonicalize().is_ok_and(|package| package == folder);
    let (packages, target) = bellwether_build::packages(&folder, own)?;
    Ok(Project { folder, packages, target })
}

/// Builds the project in `folder` into `target/<name>.wasm`, or into `output`.
pub(crate) fn build(folder: &Path, output: Option<&Path>) -> Result<Component, Failure> {
    let Project { folder: project, packages, target } = project(folder)?;
    // Installing packages of the system's is for its owner to do.
    let toolchain = Toolchain::obtain(&project, None)?;
    let output = output.map_or_else(|| target.clone(), Path::to_owned);
    // Apart from what `cargo test` builds: the two would undo each other's work.
    let built = bellwether_build::build(
        &toolchain,
        &project,
        &packages,
        PROFILE,
        &target.join("bellwether"),
        &output,
    )?;
    let [Built { path, .. }] = &built[..] else {
        return Err(Failure::Usage(format!("{} makes more than one plugin", project.display())));
    };
    Component::read(path)
}
