//! From a core module, as rustc makes it, to a component with its name and version in it.

use std::collections::BTreeSet;

use wasm_metadata::{AddMetadata, AddMetadataField, Description, Licenses, Version};
use wasmparser::{Parser, Payload};
use wit_component::DecodedWasm;
use wit_parser::WorldItem;

use crate::BuildError;

/// What the component says of itself, from its `Cargo.toml`.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Unique among a host's plugins.
    pub name: String,
    /// A semantic version.
    pub version: String,
    /// One line.
    pub description: String,
    /// An SPDX expression, if the package names one.
    pub licence: Option<String>,
}

/// What a component asks for and offers, read off its binary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surface {
    /// The interfaces it imports functions from: `bellwether:host/log@0.1.0`.
    pub imports: BTreeSet<String>,
    /// The interfaces it exports: `bellwether:plugin/app@0.1.0`.
    pub exports: BTreeSet<String>,
}

/// The interfaces a plugin may import.
const HOST: &str = "bellwether:host/";

/// Makes a component of a core module.
///
/// # Errors
/// [`BuildError::Encode`] if the module does not keep to the contract; and as of [`identify`].
pub fn encode(module: &[u8], identity: &Identity) -> Result<Vec<u8>, BuildError> {
    let wrong = |error: &dyn std::fmt::Display| BuildError::Encode(format!("{}: {error:#}", identity.name));
    let component = wit_component::ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| wrong(&format!("it does not keep to the contract it was built with: {error:#}")))?;
    identify(&component, identity)
}

/// Puts an identity into a component, in the place of the one it has.
///
/// A version is checked here and not where it is installed: components that were made before, or by other tools, stay
/// loadable, and no new one comes to a host with a version that cannot be told from the next.
///
/// # Errors
/// [`BuildError::Version`] if the version is no semantic one; [`BuildError::Encode`] if it is no component, or the
/// licence is none.
pub fn identify(component: &[u8], identity: &Identity) -> Result<Vec<u8>, BuildError> {
    if let Err(error) = semver::Version::parse(&identity.version) {
        let (version, reason) = (identity.version.clone(), error.to_string());
        return Err(BuildError::Version { version, reason });
    }
    let wrong = |error: &dyn std::fmt::Display| BuildError::Encode(format!("{}: {error:#}", identity.name));
    if !Parser::is_component(component) {
        return Err(wrong(&"it is no WebAssembly component"));
    }
    let mut metadata = AddMetadata::default();
    metadata.name = AddMetadataField::Set(identity.name.clone());
    metadata.version = AddMetadataField::Set(Version::new(identity.version.clone()));
    metadata.description = AddMetadataField::Set(Description::new(identity.description.clone()));
    if let Some(licence) = &identity.licence {
        let read = Licenses::new(licence);
        let read = read.map_err(|error| wrong(&format!("{licence:?} is no SPDX licence: {error:#}")))?;
        metadata.licenses = AddMetadataField::Set(read);
    }
    metadata.to_wasm(component).map_err(|error| wrong(&error))
}

/// The imports of a core module that no host of ours answers, as (module, name).
pub(crate) fn foreign_imports(module: &[u8]) -> Result<Vec<(String, String)>, BuildError> {
    let mut imports = imports(module)?;
    imports.retain(|(module, _)| !module.starts_with(HOST));
    Ok(imports)
}

/// The imports of a core module, as (module, name).
fn imports(module: &[u8]) -> Result<Vec<(String, String)>, BuildError> {
    let malformed = |error: wasmparser::BinaryReaderError| BuildError::Encode(format!("no module: {error}"));
    let mut imports = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let Payload::ImportSection(section) = payload.map_err(malformed)? else { continue };
        for import in section.into_imports() {
            let import = import.map_err(malformed)?;
            imports.push((import.module.to_owned(), import.name.to_owned()));
        }
    }
    Ok(imports)
}

/// What a component asks for and offers. An interface of types alone asks for nothing.
///
/// # Errors
/// [`BuildError::Encode`] if it is no component.
pub fn surface(component: &[u8]) -> Result<Surface, BuildError> {
    let decoded =
        wit_component::decode(component).map_err(|error| BuildError::Encode(format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(BuildError::Encode("it holds an interface's text, not code".to_owned()));
    };
    let world = &resolve.worlds[world];
    let mut surface = Surface::default();
    for (key, item) in &world.imports {
        if !matches!(item, WorldItem::Interface { id, .. } if resolve.interfaces[*id].functions.is_empty()) {
            surface.imports.insert(resolve.name_world_key(key));
        }
    }
    surface.exports.extend(world.exports.keys().map(|key| resolve.name_world_key(key)));
    if let Some(foreign) = surface.imports.iter().find(|import| !import.starts_with(HOST)) {
        return Err(BuildError::Encode(format!("the component imports {foreign}, which no host answers")));
    }
    Ok(surface)
}

/// Every function a core module imports, as `interface#function`, sorted.
///
/// # Errors
/// [`BuildError::Encode`] if it is no module.
pub fn functions(module: &[u8]) -> Result<BTreeSet<String>, BuildError> {
    Ok(imports(module)?.into_iter().map(|(module, name)| format!("{module}#{name}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A core module that imports one function without parameters and results.
    fn importing(module: &str, name: &str) -> Vec<u8> {
        let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
        let section =
            |id: u8, content: &[u8]| [&[id, u8::try_from(content.len()).expect("short")], content].concat();
        let imports = [vec![1], text(module), text(name), vec![0, 0]].concat();
        [b"\0asm\x01\0\0\0".to_vec(), section(1, &[1, 0x60, 0, 0]), section(2, &imports)].concat()
    }

    fn identity() -> Identity {
        Identity {
            name: "trial".into(),
            version: "1.2.3".into(),
            description: "Tries.".into(),
            licence: Some("MIT OR Apache-2.0".into()),
        }
    }

    #[test]
    fn what_no_host_answers_is_found_before_it_is_encoded() {
        let foreign = |module: &str, name: &str| foreign_imports(&importing(module, name)).expect("a module");
        assert_eq!(foreign("bellwether:host/clock@0.1.0", "now"), []);
        assert_eq!(foreign("env", "open"), [("env".to_owned(), "open".to_owned())]);
        assert_eq!(foreign("bellwether:plugin/app@0.1.0", "run").len(), 1);
        assert!(foreign_imports(b"no module").is_err());
    }

    #[test]
    fn a_component_says_what_it_is() {
        let component = encode(b"\0asm\x01\0\0\0", &identity()).expect("an empty module is a component");
        let wasm_metadata::Payload::Component { metadata, .. } =
            wasm_metadata::Payload::from_binary(&component).expect("a component")
        else {
            panic!("a module")
        };
        assert_eq!(metadata.name.as_deref(), Some("trial"));
        assert_eq!(metadata.version.expect("given").to_string(), "1.2.3");
        assert_eq!(metadata.description.expect("given").to_string(), "Tries.");
        assert_eq!(metadata.licenses.expect("given").to_string(), "MIT OR Apache-2.0");
        assert_eq!(surface(&component).expect("a component"), Surface::default());

        for wrong in ["", "1", "1.2", "v1.2.3", "01.2.3", "2027-01-01", "1.2.3_4"] {
            let versioned = Identity { version: wrong.into(), ..identity() };
            let refused = encode(b"\0asm\x01\0\0\0", &versioned).expect_err(wrong).to_string();
            assert!(refused.starts_with(&format!("the version is {wrong:?}, expected a semantic version")));
        }
        for right in ["0.1.0", "1.2.3-rc.1", "2027.1.1+build.5"] {
            let versioned = Identity { version: right.into(), ..identity() };
            assert!(identify(&component, &versioned).is_ok(), "{right}");
        }

        let unlicensed = Identity { licence: Some("do what you like".into()), ..identity() };
        assert!(encode(b"\0asm\x01\0\0\0", &unlicensed).is_err());
    }
}
