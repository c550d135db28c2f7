//! Which packages are plugins, and what each says of itself in its `Cargo.toml`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command::{cargo, failed, read};
use crate::{BuildError, Identity};

/// What may stand before a plugin's name in its package's: a registry's names are shared with everybody.
pub const NAME_PREFIX: &str = "bellwether-plugin-";

/// A package that makes a plugin.
#[derive(Clone, Debug)]
pub struct Package {
    /// As cargo knows it.
    pub package: String,
    /// As the linker names its file.
    pub library: String,
    /// What the component will say of itself.
    pub identity: Identity,
    /// Where its `Cargo.toml` is.
    pub folder: PathBuf,
}

/// The plugins among the packages cargo finds at `folder` that `wanted` names, and where cargo builds them.
///
/// # Errors
/// [`BuildError::NotAPlugin`] if there is none, or one lacks what a plugin needs.
pub fn packages(
    folder: &Path,
    wanted: impl Fn(&str, &Path) -> bool,
) -> Result<(Vec<Package>, PathBuf), BuildError> {
    let mut command = cargo(folder);
    command.args(["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value =
        serde_json::from_str(&read(&mut command)?).map_err(|error| failed(&command, error))?;
    let target =
        metadata["target_directory"].as_str().ok_or_else(|| failed(&command, "no target directory"))?;
    Ok((among(&metadata, wanted)?, PathBuf::from(target)))
}

/// The plugins `wanted` names among the packages `cargo metadata` tells of.
fn among(metadata: &Value, wanted: impl Fn(&str, &Path) -> bool) -> Result<Vec<Package>, BuildError> {
    let mut packages = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let folder = Path::new(package["manifest_path"].as_str().unwrap_or_default()).parent();
        let folder = folder.unwrap_or(Path::new("")).to_owned();
        if !wanted(name, &folder) {
            continue;
        }
        let lacks = |what: &str| BuildError::NotAPlugin(format!("the package {name} has no {what}"));
        let text = |field: &str| package[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let library = package["targets"].as_array().into_iter().flatten().find(|target| {
            target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib"))
        });
        let library = library.and_then(|library| library["name"].as_str()).ok_or_else(|| {
            lacks(
                "library to make a component of: give it `[lib]` with `crate-type = [\"cdylib\", \"rlib\"]`",
            )
        })?;
        let description = text("description").ok_or_else(|| {
            lacks("`description` in its Cargo.toml, which whoever installs the plugin reads")
        })?;
        packages.push(Package {
            package: name.to_owned(),
            library: library.replace('-', "_"),
            identity: Identity {
                name: name.strip_prefix(NAME_PREFIX).unwrap_or(name).to_owned(),
                version: text("version").ok_or_else(|| lacks("`version` in its Cargo.toml"))?,
                description,
                licence: text("license"),
            },
            folder,
        });
    }
    if packages.is_empty() {
        return Err(BuildError::NotAPlugin(
            "cargo finds no package of a plugin there; `bellwether plugin new` makes one".to_owned(),
        ));
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, kind: &str, description: &str) -> Value {
        json!({
            "name": name, "version": "0.1.0", "license": "MIT", "description": description,
            "manifest_path": format!("/plugins/{name}/Cargo.toml"),
            "targets": [{"name": name.replace('-', "_"), "kind": [kind, "rlib"]}],
        })
    }

    fn plugins(listed: &[Value]) -> Result<Vec<Package>, BuildError> {
        among(&json!({ "packages": listed }), |name, _| name.starts_with(NAME_PREFIX))
    }

    #[test]
    fn a_plugin_is_named_without_the_prefix_of_its_package() {
        let other = package("bellwether-host", "lib", "");
        let found = plugins(&[other, package("bellwether-plugin-a-b", "cdylib", "Does.")]).expect("one");
        let [found] = &found[..] else { panic!("{found:?}") };
        assert_eq!((&*found.identity.name, &*found.library), ("a-b", "bellwether_plugin_a_b"));
        assert_eq!(found.identity.licence.as_deref(), Some("MIT"));
        let own = among(&json!({"packages": [package("own", "cdylib", "Does.")]}), |_, folder| {
            folder == Path::new("/plugins/own")
        });
        assert_eq!(own.expect("one")[0].identity.name, "own");
    }

    #[test]
    fn what_a_plugin_lacks_is_named_with_what_would_be_right() {
        for (wrong, expected) in [
            (package("bellwether-plugin-a", "lib", "Does."), "crate-type = [\"cdylib\", \"rlib\"]"),
            (package("bellwether-plugin-a", "cdylib", ""), "has no `description`"),
            (package("another", "cdylib", "Does."), "no package of a plugin"),
        ] {
            let error = plugins(&[wrong]).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
