//! Builds the first-party plugins into components.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::component::{self, Identity};
use crate::wasm_target::{TARGET, Toolchain};
use crate::{host, read, run, workspace};

/// What a first-party plugin's package is called; the rest is its name as a plugin.
const PREFIX: &str = "bellwether-plugin-";

/// The profile of the root manifest they are built with.
const PROFILE: &str = "component";

/// A package that makes a plugin.
struct Package {
    /// As cargo knows it.
    package: String,
    /// As the linker names its file.
    library: String,
    identity: Identity,
}

/// Builds every plugin under `plugins/` into `target/components`, one `.wasm` file each. Those that did not change
/// are left as they are.
pub(crate) fn build() -> Result<()> {
    let packages = packages(&read(host::cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?)?;
    // Beside the native build and never in it: the two would undo each other's work.
    let target = workspace().join("target/plugins");
    let toolchain = Toolchain::obtain()?;
    let mut cargo = toolchain.cargo_build();
    cargo.args(["--profile", PROFILE, "--lib", "--target-dir"]).arg(&target);
    for package in &packages {
        cargo.args(["--package", &package.package]);
    }
    run(&mut cargo).context("the plugins do not build")?;
    let components = components();
    std::fs::create_dir_all(&components)?;
    for package in &packages {
        let module = target.join(TARGET).join(PROFILE).join(format!("{}.wasm", package.library));
        let line = make(package, &module, &components.join(format!("{}.wasm", package.identity.name)))?;
        println!("{line}");
    }
    Ok(())
}

/// Where the components are put, whatever folder cargo builds in.
pub(crate) fn components() -> PathBuf {
    workspace().join("target/components")
}

/// Makes one component of one module; gives the line that tells of it.
fn make(package: &Package, module: &Path, component: &Path) -> Result<String> {
    let Identity { name, version, .. } = &package.identity;
    let bytes = std::fs::read(module).with_context(|| format!("{} is not there", module.display()))?;
    let foreign = component::foreign_imports(&bytes)?;
    if !foreign.is_empty() {
        bail!("{}", accusation(&package.package, &foreign, &dependents_of(&package.package, &foreign)));
    }
    let encoded = component::encode(&bytes, &package.identity).with_context(|| format!("plugin {name}"))?;
    let surface = component::surface(&encoded).with_context(|| format!("plugin {name}"))?;
    let unchanged = std::fs::read(component).is_ok_and(|present| present == encoded);
    if !unchanged {
        // Renamed into place: whoever reads it meanwhile gets the whole old one or the whole new one.
        let half = component.with_extension("part");
        std::fs::write(&half, &encoded)?;
        std::fs::rename(&half, component)?;
    }
    let short = |interface: &String| {
        let name = interface.rsplit('/').next().unwrap_or_default();
        name.split('@').next().unwrap_or_default().to_owned()
    };
    Ok(format!(
        "{name} {version}: {:.1} KiB, is {}, asks for {}{}",
        encoded.len() as f64 / 1024.0,
        surface.exports.iter().map(short).collect::<Vec<_>>().join(", "),
        surface.imports.iter().map(short).collect::<Vec<_>>().join(", "),
        if unchanged { " (unchanged)" } else { "" },
    ))
}

/// The plugins among the workspace's packages, as `cargo metadata` tells of them.
fn packages(metadata: &str) -> Result<Vec<Package>> {
    let metadata: Value = serde_json::from_str(metadata).context("cargo metadata prints JSON")?;
    let mut packages = Vec::new();
    for package in metadata["packages"].as_array().context("cargo metadata lists packages")? {
        let text = |field: &str| {
            let text = package[field].as_str().filter(|text| !text.is_empty());
            text.with_context(|| format!("the package {} has no {field}", package["name"]))
        };
        let Some(name) = text("name")?.strip_prefix(PREFIX) else { continue };
        let library = package["targets"].as_array().into_iter().flatten().find(|target| {
            target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib"))
        });
        let library = library.and_then(|library| library["name"].as_str());
        packages.push(Package {
            package: text("name")?.to_owned(),
            library: library
                .with_context(|| format!("the package {} is no cdylib", package["name"]))?
                .replace('-', "_"),
            identity: Identity {
                name: name.to_owned(),
                version: text("version")?.to_owned(),
                description: text("description")?.to_owned(),
                licence: text("license")?.to_owned(),
            },
        });
    }
    if packages.is_empty() {
        bail!("no package of the workspace is called {PREFIX}…");
    }
    Ok(packages)
}

/// The crate that is known to bring an import, if one is.
fn culprit(module: &str, name: &str) -> Option<&'static str> {
    let any = |text: &str| module.starts_with(text) || name.starts_with(text);
    if any("__wbindgen") || any("__wbg_") { Some("wasm-bindgen") } else { None }
}

/// Why a module cannot become a plugin, with whatever helps to find out who made it so.
fn accusation(package: &str, foreign: &[(String, String)], dependents: &str) -> String {
    let mut text = format!("{package} imports what no host answers:\n");
    for (module, name) in foreign.iter().take(5) {
        text += &format!("  {name} of {module:?}\n");
    }
    if foreign.len() > 5 {
        text += &format!("  and {} more\n", foreign.len() - 5);
    }
    text += match foreign.iter().find_map(|(module, name)| culprit(module, name)) {
        Some(culprit) => format!(
            "The crate {culprit} brings such imports: it expects a browser. Who depends on it:\n{dependents}\n\
             Most crates have a feature for it (`js`, `wasmbind`) that can be left out."
        ),
        None if foreign.iter().any(|(module, _)| module.starts_with("wasi")) => {
            format!("WASI's imports come of building for another target than {TARGET}.")
        }
        None => "An `extern` block, or C code that was not built along, leaves such imports.".to_owned(),
    }
    .as_str();
    text
}

/// How the package comes to depend on the culprit, as `cargo tree` draws it.
fn dependents_of(package: &str, foreign: &[(String, String)]) -> String {
    let Some(culprit) = foreign.iter().find_map(|(module, name)| culprit(module, name)) else {
        return String::new();
    };
    let mut tree = host::cargo();
    tree.args(["tree", "--package", package, "--target", TARGET, "--edges", "normal", "--invert", culprit]);
    read(&mut tree).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(module: &str, name: &str) -> Vec<(String, String)> {
        vec![(module.to_owned(), name.to_owned())]
    }

    #[test]
    fn whoever_made_a_module_unfit_is_named() {
        let browser = one("__wbindgen_placeholder__", "__wbindgen_throw");
        let text = accusation("bellwether-plugin-x", &browser, "wasm-bindgen v0.2\n└── chrono v0.4");
        for expected in ["bellwether-plugin-x", "__wbindgen_throw", "The crate wasm-bindgen", "chrono v0.4"] {
            assert!(text.contains(expected), "{text}");
        }
        let wasi = one("wasi_snapshot_preview1", "fd_write");
        assert!(accusation("x", &wasi, "").contains("another target"));
        let mut many = one("env", "open");
        many.extend((0..9).map(|number| ("env".to_owned(), format!("f{number}"))));
        let text = accusation("x", &many, "");
        assert!(text.contains("open") && text.contains("and 5 more") && text.contains("C code"), "{text}");
    }

    #[test]
    fn plugins_are_the_packages_of_that_name_and_complete() {
        let package = |name: &str, kind: &str, description: &str| {
            serde_json::json!({
                "name": name, "version": "0.1.0", "license": "MIT", "description": description,
                "targets": [{"name": name.replace('-', "_"), "kind": [kind, "rlib"]}],
            })
        };
        let of = |listed: &[Value]| packages(&serde_json::json!({ "packages": listed }).to_string());
        let host = package("bellwether-host", "lib", "");
        let plugin = package("bellwether-plugin-a-b", "cdylib", "Does.");
        let found = of(&[host.clone(), plugin]).expect("one");
        assert_eq!(found.len(), 1);
        assert_eq!((&*found[0].identity.name, &*found[0].library), ("a-b", "bellwether_plugin_a_b"));
        for (wrong, expected) in [
            (package("bellwether-plugin-a", "lib", "Does."), "no cdylib"),
            (package("bellwether-plugin-a", "cdylib", ""), "has no description"),
            (host, "no package of the workspace"),
        ] {
            let error = of(&[wrong]).err().expect(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    /// Builds for real: it is the linker that drops what nobody calls, and so decides what a component asks for.
    #[test]
    fn a_plugin_asks_for_what_its_code_calls_and_is_what_its_macros_say() {
        build().expect("the plugins build");
        let (log, read, write) = (
            "bellwether:host/log@0.1.0",
            "bellwether:host/metrics-read@0.1.0",
            "bellwether:host/metrics-write@0.1.0",
        );
        for (name, imports, exports) in [
            ("metric", &[log, read, write][..], "bellwether:plugin/app@0.1.0"),
            ("threatconnect", &[read, write], "bellwether:plugin/dialect@0.1.0"),
        ] {
            let component = std::fs::read(components().join(format!("{name}.wasm"))).expect("it was built");
            let surface = component::surface(&component).expect("a component");
            assert_eq!(surface.imports.iter().map(String::as_str).collect::<Vec<_>>(), imports, "{name}");
            assert_eq!(surface.exports.iter().map(String::as_str).collect::<Vec<_>>(), [exports], "{name}");
        }
        let module = workspace()
            .join("target/plugins")
            .join(TARGET)
            .join(PROFILE)
            .join("bellwether_plugin_metric.wasm");
        let module = std::fs::read(module).expect("it was built");
        let called = component::functions(&module).expect("a module");
        assert_eq!(
            called.iter().map(String::as_str).collect::<Vec<_>>(),
            [
                format!("{log}#write"),
                format!("{read}#get"),
                format!("{write}#define"),
                format!("{write}#write")
            ],
            "not even the functions beside those it calls"
        );
    }
}
