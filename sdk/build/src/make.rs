//! Builds packages and makes each a component.

use std::path::{Path, PathBuf};

use crate::command::run;
use crate::component::{Surface, encode, foreign_imports, surface};
use crate::foreign::{accusation, dependents_of};
use crate::toolchain::{TARGET, Toolchain};
use crate::{BuildError, Identity, Package};

/// A component that was made.
#[derive(Clone, Debug)]
pub struct Built {
    /// What it says of itself.
    pub identity: Identity,
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub size: u64,
    /// What it asks for and offers.
    pub surface: Surface,
    /// Whether the file was there already, byte for byte.
    pub unchanged: bool,
}

/// Builds packages that cargo finds at `folder` with this profile, into `target`, and puts a component of each into
/// `output`, named after the plugin. Files that would not change are left alone.
///
/// # Errors
/// If cargo fails, or a module does not make a component.
pub fn build(
    toolchain: &Toolchain,
    folder: &Path,
    packages: &[Package],
    profile: &str,
    target: &Path,
    output: &Path,
) -> Result<Vec<Built>, BuildError> {
    let mut cargo = toolchain.cargo_build(folder);
    cargo.args(["--profile", profile, "--lib", "--target-dir"]).arg(target);
    for package in packages {
        cargo.args(["--package", &package.package]);
    }
    run(&mut cargo)?;
    std::fs::create_dir_all(output).map_err(BuildError::file(output))?;
    let modules = target.join(TARGET).join(profile);
    packages
        .iter()
        .map(|package| {
            let module = modules.join(format!("{}.wasm", package.library));
            make(package, &module, &output.join(format!("{}.wasm", package.identity.name)))
        })
        .collect()
}

/// Makes one component of one module.
fn make(package: &Package, module: &Path, path: &Path) -> Result<Built, BuildError> {
    let identity = package.identity.clone();
    let bytes = std::fs::read(module).map_err(BuildError::file(module))?;
    let foreign = foreign_imports(&bytes)?;
    if !foreign.is_empty() {
        let dependents = dependents_of(&package.folder, &package.package, &foreign);
        return Err(BuildError::Foreign(accusation(&package.package, &foreign, &dependents)));
    }
    let encoded = encode(&bytes, &identity)?;
    let surface = surface(&encoded)?;
    let unchanged = std::fs::read(path).is_ok_and(|present| present == encoded);
    if !unchanged {
        // Renamed into place: whoever reads it meanwhile gets the whole old one or the whole new one.
        let half = path.with_extension("part");
        std::fs::write(&half, &encoded).map_err(BuildError::file(&half))?;
        std::fs::rename(&half, path).map_err(BuildError::file(path))?;
    }
    Ok(Built { identity, path: path.to_owned(), size: encoded.len() as u64, surface, unchanged })
}
