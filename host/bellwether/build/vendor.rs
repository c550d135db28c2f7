//! The sources a plugin is built from, as they are put into a new project, with manifests that stand without this
//! workspace.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// The crates a plugin depends on, by their folder in this workspace: the first by its author's `Cargo.toml`.
const CRATES: [&str; 3] = ["sdk", "sdk/macros", "sdk/reading"];

/// Writes `vendored.rs`: the files.
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
        // What is ours lies below the SDK, there as here.
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
