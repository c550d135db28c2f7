//! The sources a plugin is built from, as they are put into a new project: manifests that stand without this
//! workspace, and the part of `Cargo.lock` they need.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// The crates a plugin depends on, by their folder in this workspace: the first by its author's `Cargo.toml`.
const CRATES: [&str; 2] = ["sdk", "sdk/macros"];

/// A package of `Cargo.lock`: its name and version.
type Package = (String, String);

/// Writes `vendored.rs`: the files, and the entries of the lock file.
pub(crate) fn write(workspace: &Path, out: &Path) {
    let root = table(&workspace.join("Cargo.toml"));
    let mut code = String::from("/// Path and text of each file.\nconst FILES: &[(&str, &str)] = &[\n");
    for folder in CRATES {
        let manifest = table(&workspace.join(folder).join("Cargo.toml"));
        let text = toml::to_string(&standalone(manifest, &root["workspace"])).expect("a manifest is TOML");
        writeln!(code, "    ({:?}, {text:?}),", format!("{folder}/Cargo.toml")).expect("text grows");
        sources(workspace, &format!("{folder}/src"), &mut code);
    }
    sources(workspace, "wit", &mut code);
    code.push_str(
        "];\n\n/// Name and text of each entry of the lock file.\nconst LOCK: &[(&str, &str)] = &[\n",
    );
    for (name, entry) in lock(&table(&workspace.join("Cargo.lock"))) {
        writeln!(code, "    ({name:?}, {entry:?}),").expect("text grows");
    }
    code.push_str("];\n");
    fs::write(out.join("vendored.rs"), code).expect("the output folder is writable");
}

fn table(path: &Path) -> Table {
    println!("cargo::rerun-if-changed={}", path.display());
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below `folder`, as an entry of the list.
fn sources(workspace: &Path, folder: &str, code: &mut String) {
    println!("cargo::rerun-if-changed={}", workspace.join(folder).display());
    let mut entries: Vec<PathBuf> = fs::read_dir(workspace.join(folder))
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .map(|entry| entry.expect("a folder is readable").path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().expect("an entry has a name").to_string_lossy();
        let name = format!("{folder}/{name}");
        if path.is_dir() {
            sources(workspace, &name, code);
        } else {
            let path = fs::canonicalize(&path).expect("it was listed");
            println!("cargo::rerun-if-changed={}", path.display());
            writeln!(code, "    ({name:?}, include_str!({:?})),", path.display().to_string())
                .expect("text grows");
        }
    }
}

/// A manifest of this workspace as one that stands alone: what it inherits is written out, what only its own tests
/// need is left out.
fn standalone(mut manifest: Table, workspace: &Value) -> Table {
    manifest.remove("lints");
    manifest.remove("dev-dependencies");
    for (field, value) in manifest["package"].as_table_mut().expect("a table") {
        if inherits(value) {
            *value = workspace["package"][field].clone();
        }
    }
    for (name, value) in manifest["dependencies"].as_table_mut().expect("a table") {
        if !inherits(value) {
            continue;
        }
        let mut inherited = match &workspace["dependencies"][name] {
            Value::Table(inherited) => inherited.clone(),
            version => Table::from_iter([("version".to_owned(), version.clone())]),
        };
        let own = value.get("features").and_then(Value::as_array).cloned().unwrap_or_default();
        if !own.is_empty() {
            let features = inherited.entry("features").or_insert_with(|| Value::Array(Vec::new()));
            features.as_array_mut().expect("a list").extend(own);
        }
        // The one crate of ours lies below the SDK, there as here.
        if let Some(path) = inherited.get("path").and_then(Value::as_str) {
            let below = path.strip_prefix("sdk/").expect("the SDK depends on nothing else of this workspace");
            inherited.insert("path".to_owned(), below.into());
        }
        *value = Value::Table(inherited);
    }
    manifest
}

fn inherits(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// The entries of the lock file that the crates need, sorted as cargo sorts them.
fn lock(lock: &Table) -> Vec<(String, String)> {
    let packages = lock["package"].as_array().expect("a list");
    let text = |package: &Value, field: &str| package[field].as_str().expect("a text").to_owned();
    let found: BTreeMap<Package, &Value> =
        packages.iter().map(|package| ((text(package, "name"), text(package, "version")), package)).collect();
    // A dependency is named alone where there is one version of it, else with its version.
    let of_name = |reference: &str| -> Package {
        let mut words = reference.split(' ');
        let name = words.next().expect("a name");
        let version = words.next();
        let mut fitting =
            found.keys().filter(|(found, at)| found == name && version.is_none_or(|wanted| wanted == at));
        fitting.next().unwrap_or_else(|| panic!("{reference} is not in Cargo.lock")).clone()
    };
    let dependencies = |package: &Package| -> Vec<Package> {
        let listed = found[package].get("dependencies").and_then(Value::as_array).into_iter().flatten();
        let listed = listed.map(|reference| of_name(reference.as_str().expect("a text")));
        // What the tests of our own crates need is listed too, and left out of their manifests.
        let own = found[package].get("source").is_none();
        let wanted = own.then(|| normal_dependencies(&package.0));
        listed.filter(|(name, _)| wanted.as_ref().is_none_or(|wanted| wanted.contains(name))).collect()
    };
    let mut needed: BTreeSet<Package> = BTreeSet::new();
    let mut waiting = vec![of_name("bellwether-sdk")];
    while let Some(package) = waiting.pop() {
        if needed.insert(package.clone()) {
            waiting.extend(dependencies(&package));
        }
    }
    let versions = |name: &str| needed.iter().filter(|(other, _)| other == name).count();
    let entry = |package: &Package| {
        let (name, version) = package;
        let mut entry = format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
        for field in ["source", "checksum"] {
            if let Some(value) = found[package].get(field).and_then(Value::as_str) {
                writeln!(entry, "{field} = \"{value}\"").expect("text grows");
            }
        }
        let listed = dependencies(package);
        if !listed.is_empty() {
            entry.push_str("dependencies = [\n");
            for (name, version) in listed {
                let reference = if versions(&name) == 1 { name } else { format!("{name} {version}") };
                writeln!(entry, " \"{reference}\",").expect("text grows");
            }
            entry.push_str("]\n");
        }
        entry
    };
    needed.iter().map(|package| (package.0.clone(), entry(package))).collect()
}

/// The names a crate of ours depends on to be built, not tested.
fn normal_dependencies(name: &str) -> BTreeSet<String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let manifests = CRATES.iter().map(|folder| table(&workspace.join(folder).join("Cargo.toml")));
    let manifest = manifests.into_iter().find(|manifest| manifest["package"]["name"].as_str() == Some(name));
    let manifest = manifest.unwrap_or_else(|| panic!("{name} is not among the crates a plugin depends on"));
    manifest["dependencies"].as_table().expect("a table").keys().cloned().collect()
}
