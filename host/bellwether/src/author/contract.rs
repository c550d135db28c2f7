//! The contract as files, and a component's name: what an author needs who writes in a language the SDK is not for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bellwether_build::Identity;
use bellwether_plugins::{CONTRACT, PluginRole, Privilege};

use super::vendored;
use crate::failure::Failure;

/// The world a plugin is written for; the author's from when it is there.
const WORLD: &str = "world.wit";

/// Writes the contract's interfaces into `folder/deps`, and `folder/world.wit`, a world of these roles that asks for
/// these privileges, unless there is one already. Gives what it wrote or found as the world.
pub(crate) fn write(
    folder: &Path,
    roles: &[PluginRole],
    privileges: &[Privilege],
) -> Result<PathBuf, Failure> {
    for (path, text) in vendored::contract() {
        put(&folder.join("deps").join(path), text)?;
    }
    let path = folder.join(WORLD);
    if !path.exists() {
        put(&path, &world(roles, privileges))?;
    }
    Ok(path)
}

/// A role by its name.
pub(crate) fn role(text: &str) -> Result<PluginRole, String> {
    one_of("role", &PluginRole::ALL, PluginRole::interface, text)
}

/// A privilege by its name.
pub(crate) fn privilege(text: &str) -> Result<Privilege, String> {
    one_of("privilege", &Privilege::ALL, Privilege::interface, text)
}

fn one_of<T: Copy>(what: &str, all: &[T], name: fn(T) -> &'static str, text: &str) -> Result<T, String> {
    all.iter().copied().find(|known| name(*known) == text).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|known| name(*known)).collect();
        format!("there is no {what} {text:?}: take {}", names.join(", "))
    })
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    let parent = path.parent().expect("a file lies in a folder");
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(path, text))
        .with_context(|| format!("{} cannot be written", path.display()))
}

fn world(roles: &[PluginRole], privileges: &[Privilege]) -> String {
    let mut text =
        String::from("package local:plugin;\n\n/// What this plugin asks for and is.\nworld plugin {\n");
    for privilege in privileges {
        text.push_str(&format!("    import bellwether:host/{privilege}@{CONTRACT};\n"));
    }
    for role in roles {
        text.push_str(&format!("    export bellwether:plugin/{role}@{CONTRACT};\n"));
    }
    text.push_str("}\n");
    text
}

/// Puts a name, a version and a description into the component `file`, in the place of those it has.
pub(crate) fn name(file: &Path, identity: &Identity) -> Result<(), Failure> {
    let read = fs::read(file).with_context(|| format!("{} does not read", file.display()))?;
    let named =
        bellwether_build::identify(&read, identity).map_err(|error| Failure::Usage(error.to_string()))?;
    // Whole or not at all: it may be the only copy there is.
    let draft = file.with_extension("wasm.draft");
    fs::write(&draft, named)
        .and_then(|()| fs::rename(&draft, file))
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_is_whole_and_a_world_once_written_is_its_authors() {
        let folder = tempfile::tempdir().unwrap();
        let world =
            write(folder.path(), &[PluginRole::App], &[Privilege::Log, Privilege::HttpClient]).unwrap();
        let text = fs::read_to_string(&world).unwrap();
        assert!(
            text.contains("import bellwether:host/http-client@")
                && text.contains("export bellwether:plugin/app@")
        );
        // Every import and export is defined in what was written beside it.
        for line in text.lines().filter_map(|line| line.trim().strip_suffix(';')?.split_once("bellwether:")) {
            let (package, rest) = line.1.split_once('/').unwrap();
            let interface = rest.split('@').next().unwrap();
            let file = folder.path().join(format!("deps/bellwether-{package}/{interface}.wit"));
            assert!(
                fs::read_to_string(&file).unwrap().contains(&format!("interface {interface} ")),
                "{file:?}"
            );
        }
        fs::write(&world, "package my:own;").unwrap();
        write(folder.path(), &[PluginRole::App], &[]).unwrap();
        assert_eq!(fs::read_to_string(&world).unwrap(), "package my:own;");
    }

    #[test]
    fn a_component_is_named_in_place_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.wasm");
        fs::write(&file, b"\0asm\x0d\0\x01\0").unwrap();
        for version in ["0.1.0", "0.2.0"] {
            let identity = Identity {
                name: "weather".to_owned(),
                version: version.to_owned(),
                description: "Tells.".to_owned(),
                licence: None,
            };
            name(&file, &identity).unwrap();
            let inspection = bellwether_plugins::inspect(&fs::read(&file).unwrap()).unwrap();
            assert_eq!(inspection.name.as_deref(), Some("weather"));
            assert_eq!(inspection.version.as_deref(), Some(version));
            assert_eq!(inspection.description.as_deref(), Some("Tells."));
        }
        let before = fs::read(&file).unwrap();
        let identity =
            Identity { name: "a".into(), version: "1.0".into(), description: "".into(), licence: None };
        let Err(Failure::Usage(told)) = name(&file, &identity) else { panic!("1.0 is no semantic version") };
        assert!(told.contains("\"1.0\", expected a semantic version such as 1.4.2"), "{told}");
        assert_eq!(fs::read(&file).unwrap(), before);

        fs::write(&file, b"text").unwrap();
        let identity =
            Identity { name: "a".into(), version: "1.0.0".into(), description: "".into(), licence: None };
        assert!(name(&file, &identity).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"text");
    }
}
