//! The contract as files, and a component's name: what an author needs who writes in a language the SDK is not for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bellwether_build::Identity;
use bellwether_plugins::{CONTRACT, PluginRole, Privilege};

use super::new::role;
use super::{put, vendored};
use crate::failure::Failure;

/// The world a plugin is written for; the author's from when it is there.
const WORLD: &str = "world.wit";

/// What a plugin exports to take a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Export {
    interface: &'static str,
    role: PluginRole,
}

/// The fuller form of the role `dialect`.
const CONFIGURABLE_DIALECT: Export = Export { interface: "configurable-dialect", role: PluginRole::Dialect };

/// The contract as it was written.
#[derive(Debug)]
pub(crate) struct Written {
    /// The plugin's world.
    pub(crate) world: PathBuf,
    /// Whether it was there before, and left as it is.
    pub(crate) kept: bool,
}

/// Writes the contract's interfaces into `folder/deps`, and `folder/world.wit`, a world with these exports that asks for
/// these privileges, unless there is one already.
///
/// # Errors
/// [`Failure::Usage`] for a pure role that is to ask for something, which no host installs.
pub(crate) fn write(folder: &Path, exports: &[Export], privileges: &[Privilege]) -> Result<Written, Failure> {
    if let Some(Export { role, .. }) = exports.iter().find(|export| export.role.is_pure())
        && let Some(privilege) = privileges.first()
    {
        return Err(Failure::Usage(format!(
            "a {role} imports nothing, and so asks for no {privilege}: put what needs more into a plugin of its own"
        )));
    }
    for (path, text) in vendored::contract() {
        put(&folder.join("deps").join(path), text)?;
    }
    let path = folder.join(WORLD);
    let kept = path.exists();
    if !kept {
        put(&path, &world(exports, privileges))?;
    }
    Ok(Written { world: path, kept })
}

/// What takes a role, by its name: of a dialect there are two forms.
pub(crate) fn export(text: &str) -> Result<Export, String> {
    if text == CONFIGURABLE_DIALECT.interface {
        return Ok(CONFIGURABLE_DIALECT);
    }
    let role = role(text).map_err(|told| format!("{told}, or {}", CONFIGURABLE_DIALECT.interface))?;
    Ok(Export { interface: role.interface(), role })
}

/// A privilege by its name.
pub(crate) fn privilege(text: &str) -> Result<Privilege, String> {
    Privilege::ALL.into_iter().find(|known| known.interface() == text).ok_or_else(|| {
        format!(
            "there is no privilege {text:?}: take {}",
            Privilege::ALL.map(Privilege::interface).join(", ")
        )
    })
}

fn world(exports: &[Export], privileges: &[Privilege]) -> String {
    let mut text =
        String::from("package local:plugin;\n\n/// What this plugin asks for and is.\nworld plugin {\n");
    for privilege in privileges {
        text.push_str(&format!("    import bellwether:host/{privilege}@{CONTRACT};\n"));
    }
    for Export { interface, .. } in exports {
        text.push_str(&format!("    export bellwether:plugin/{interface}@{CONTRACT};\n"));
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
        let exports = [export("app").unwrap(), export("configurable-dialect").unwrap()];
        let Written { world, kept } =
            write(folder.path(), &exports, &[Privilege::Log, Privilege::HttpClient]).unwrap();
        let text = fs::read_to_string(&world).unwrap();
        for line in [
            "import bellwether:host/http-client@",
            "export bellwether:plugin/app@",
            "export bellwether:plugin/configurable-dialect@",
        ] {
            assert!(text.contains(line) && !kept, "{line} is not in {text}");
        }
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
        assert!(write(folder.path(), &exports, &[]).unwrap().kept);
        assert_eq!(fs::read_to_string(&world).unwrap(), "package my:own;");
    }

    #[test]
    fn a_world_that_no_host_would_install_is_not_written() {
        assert!(export("collector").unwrap_err().contains("does not serve it yet"));
        let none = export("applet").unwrap_err();
        assert!(none.contains("no role \"applet\"") && none.ends_with("or configurable-dialect"), "{none}");
        let folder = tempfile::tempdir().unwrap();
        for pure in ["detector", "forecaster", "formatter"] {
            let exports = [export("app").unwrap(), export(pure).unwrap()];
            let refused = write(folder.path(), &exports, &[Privilege::Log]);
            let Err(Failure::Usage(told)) = refused else { panic!("{pure}: {refused:?}") };
            assert!(told.contains(pure) && told.contains("log"), "{told}");
            assert!(!folder.path().join(WORLD).exists());
            write(&folder.path().join(pure), &exports, &[]).unwrap();
        }
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
