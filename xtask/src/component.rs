//! From a core module, as rustc makes it, to a component with its name and version in it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use wasm_metadata::{AddMetadata, AddMetadataField, Description, Licenses, Version};
use wasmparser::{Parser, Payload};
use wit_component::DecodedWasm;
use wit_parser::WorldItem;

/// What the component says of itself, from its `Cargo.toml`.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Unique among a host's plugins.
    pub(crate) name: String,
    /// A semantic version.
    pub(crate) version: String,
    /// One line.
    pub(crate) description: String,
    /// An SPDX expression.
    pub(crate) licence: String,
}

/// What a component asks for and offers, read off its binary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surface {
    /// The interfaces it imports functions from: `bellwether:host/log@0.1.0`.
    pub(crate) imports: BTreeSet<String>,
    /// The interfaces it exports: `bellwether:plugin/app@0.1.0`.
    pub(crate) exports: BTreeSet<String>,
}

/// The interfaces a plugin may import.
const HOST: &str = "bellwether:host/";

/// Makes a component of a core module.
pub(crate) fn encode(module: &[u8], identity: &Identity) -> Result<Vec<u8>> {
    let component = wit_component::ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| encoder.validate(true).encode())
        .context("the module does not keep to the contract it was built with")?;
    let mut metadata = AddMetadata::default();
    metadata.name = AddMetadataField::Set(identity.name.clone());
    metadata.version = AddMetadataField::Set(Version::new(identity.version.clone()));
    metadata.description = AddMetadataField::Set(Description::new(identity.description.clone()));
    metadata.licenses = AddMetadataField::Set(
        Licenses::new(&identity.licence)
            .with_context(|| format!("{:?} is no SPDX licence", identity.licence))?,
    );
    metadata.to_wasm(&component)
}

/// The imports of a core module that no host of ours answers, as (module, name).
pub(crate) fn foreign_imports(module: &[u8]) -> Result<Vec<(String, String)>> {
    let mut foreign = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let Payload::ImportSection(section) = payload? else { continue };
        for import in section.into_imports() {
            let import = import?;
            if !import.module.starts_with(HOST) {
                foreign.push((import.module.to_owned(), import.name.to_owned()));
            }
        }
    }
    Ok(foreign)
}

/// What a component asks for and offers. An interface of types alone asks for nothing.
pub(crate) fn surface(component: &[u8]) -> Result<Surface> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component)? else {
        bail!("it holds an interface's text, not code");
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
        bail!("the component imports {foreign}, which no host answers");
    }
    Ok(surface)
}
