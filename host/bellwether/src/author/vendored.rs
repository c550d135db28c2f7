//! The sources a plugin is built from, as this binary carries them: the SDK, its macros, the contract, and which
//! versions of other crates they were tested with.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::put;

include!(concat!(env!("OUT_DIR"), "/vendored.rs"));

/// Where they lie in a project.
pub(super) const FOLDER: &str = ".bellwether";

/// What says what they are.
const NOTE: &str = include_str!("../../templates/shared/vendored.md");

/// Puts them into a project, in the place of whatever an older binary put there.
pub(super) fn write(project: &Path) -> anyhow::Result<()> {
    let folder = project.join(FOLDER);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be replaced", folder.display()))?;
    }
    let note = NOTE.replace("__VERSION__", env!("CARGO_PKG_VERSION"));
    for (path, text) in FILES.iter().copied().chain([("README.md", note.as_str())]) {
        put(&folder.join(path), text)?;
    }
    Ok(())
}

/// The contract's interfaces, each by the folder of its package and its own file.
pub(super) fn contract() -> impl Iterator<Item = (String, &'static str)> {
    FILES.iter().filter_map(|(path, text)| {
        let path = path.strip_prefix("wit/")?;
        let file = match path.strip_prefix("deps/host/") {
            Some(file) => format!("bellwether-host/{file}"),
            None => format!("bellwether-plugin/{path}"),
        };
        // Worlds are the author's to write.
        (path != "worlds.wit").then_some((file, *text))
    })
}

/// The lock file of a project that depends on nothing but the SDK, without the project itself: what cargo made of it
/// with the versions of this workspace. `cargo xtask lock` makes it anew.
const LOCK: &str = include_str!("../../templates/shared/packages.lock");

/// What begins each package of a lock file.
const ENTRY: &str = "[[package]]\nname = \"";

/// The lock file of a project of that name and version, which depends on some of the SDK's crates: the versions this
/// binary was tested with.
pub(super) fn lock_file(package: &str, version: &str, dependencies: &[&str]) -> String {
    let dependencies: String = dependencies.iter().map(|name| format!(" \"{name}\",\n")).collect();
    let own = format!("{package}\"\nversion = \"{version}\"\ndependencies = [\n{dependencies}]\n\n");
    let mut parts = LOCK.split(ENTRY);
    let head = parts.next().unwrap_or_default();
    let mut entries: Vec<&str> = parts.collect();
    let place = entries.partition_point(|entry| name_of(entry) < package);
    let last = place == entries.len();
    entries.insert(place, &own);
    let mut text = head.to_owned();
    for (index, entry) in entries.iter().enumerate() {
        // What was the last entry ends without an empty line.
        let gap = if last && index + 1 == place { "\n" } else { "" };
        text.push_str(ENTRY);
        text.push_str(entry);
        text.push_str(gap);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Whether a crate of that name is one the SDK is built from, so that a project cannot have it.
pub(super) fn is_taken(name: &str) -> bool {
    LOCK.split(ENTRY).skip(1).any(|entry| name_of(entry) == name)
}

/// The name an entry of the lock file begins with.
fn name_of(entry: &str) -> &str {
    entry.split('"').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> &'static str {
        FILES.iter().find(|(file, _)| *file == path).map(|(_, text)| *text).expect(path)
    }

    #[test]
    fn everything_a_component_is_built_from_is_carried() {
        for path in ["sdk/src/lib.rs", "sdk/macros/src/lib.rs", "wit/app.wit", "wit/deps/host/types.wit"] {
            assert!(!text(path).is_empty());
        }
    }

    #[test]
    fn a_manifest_stands_without_the_workspace_it_comes_from() {
        for (path, dependency) in
            [("sdk/Cargo.toml", "bellwether-sdk-macros"), ("sdk/macros/Cargo.toml", "syn")]
        {
            let manifest: toml::Table = text(path).parse().expect("TOML");
            assert!(!text(path).contains("workspace"), "{}", text(path));
            assert!(manifest["dependencies"].get(dependency).is_some(), "{path}");
            assert_eq!(manifest["package"]["version"].as_str(), Some(env!("CARGO_PKG_VERSION")));
            assert!(manifest.get("dev-dependencies").is_none() && manifest.get("lints").is_none());
        }
        let sdk: toml::Table = text("sdk/Cargo.toml").parse().expect("TOML");
        assert_eq!(sdk["dependencies"]["bellwether-sdk-macros"]["path"].as_str(), Some("macros"));
    }

    #[test]
    fn a_lock_file_names_each_package_once_and_in_order_whatever_the_project_is_called() {
        for name in ["a-plugin", "my-plugin", "zz-plugin"] {
            let text = lock_file(name, "0.1.0", &["bellwether-sdk"]);
            assert!(!text.contains("\n\n\n") && text.ends_with("]\n") || text.ends_with("\"\n"), "{text}");
            let lock: toml::Table = text.parse().expect("TOML");
            let packages = lock["package"].as_array().expect("a list");
            let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
            assert!(names.is_sorted(), "{names:?}");
            for needed in [name, "bellwether-sdk", "bellwether-sdk-macros", "serde_json", "wit-bindgen"] {
                assert_eq!(names.iter().filter(|found| **found == needed).count(), 1, "{needed}");
            }
        }
        assert!(is_taken("serde") && !is_taken("count-visits"));
    }

    #[test]
    fn a_project_is_locked_to_the_versions_this_workspace_is_tested_with() {
        let of = |text: &str| {
            let lock: toml::Table = text.parse().expect("TOML");
            let packages = lock["package"].as_array().expect("a list").clone();
            let text = |package: &toml::Value, field: &str| package.get(field).map(ToString::to_string);
            let known = packages.iter().map(|package| (text(package, "name"), text(package, "version")));
            known.collect::<std::collections::BTreeSet<_>>()
        };
        let workspace = of(include_str!("../../../../Cargo.lock"));
        for package in of(LOCK) {
            assert!(workspace.contains(&package), "{package:?}: run `cargo xtask lock`");
        }
    }
}
