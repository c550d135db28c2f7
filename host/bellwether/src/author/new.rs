//! `bellwether plugin new`: a project that tests, builds and runs as it is, for its author to change.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bellwether_plugins::PluginRole;

use super::vendored;
use crate::failure::Failure;

/// A file of a template: where it goes and what it says. `__NAME__` and `__VERSION__` stand for the plugin's name and
/// this binary's version.
type File = (&'static str, &'static str);

const GIT_IGNORE: File = (".gitignore", include_str!("../../templates/shared/gitignore"));

const APP: &[File] = &[
    ("Cargo.toml", include_str!("../../templates/app/manifest.toml")),
    ("src/lib.rs", include_str!("../../templates/app/lib.rs")),
    ("cases.toml", include_str!("../../templates/app/cases.toml")),
    ("playbook.toml", include_str!("../../templates/app/playbook.toml")),
    ("README.md", include_str!("../../templates/app/README.md")),
    GIT_IGNORE,
];

const DIALECT: &[File] = &[
    ("Cargo.toml", include_str!("../../templates/dialect/manifest.toml")),
    ("src/lib.rs", include_str!("../../templates/dialect/lib.rs")),
    ("cases.toml", include_str!("../../templates/dialect/cases.toml")),
    ("README.md", include_str!("../../templates/dialect/README.md")),
    GIT_IGNORE,
];

const FORMATTER: &[File] = &[
    ("Cargo.toml", include_str!("../../templates/formatter/manifest.toml")),
    ("src/lib.rs", include_str!("../../templates/formatter/lib.rs")),
    ("cases.toml", include_str!("../../templates/formatter/cases.toml")),
    ("README.md", include_str!("../../templates/formatter/README.md")),
    GIT_IGNORE,
];

const DETECTOR: &[File] = &[
    ("Cargo.toml", include_str!("../../templates/detector/manifest.toml")),
    ("src/lib.rs", include_str!("../../templates/detector/lib.rs")),
    ("cases.toml", include_str!("../../templates/detector/cases.toml")),
    ("README.md", include_str!("../../templates/detector/README.md")),
    GIT_IGNORE,
];

const FORECASTER: &[File] = &[
    ("Cargo.toml", include_str!("../../templates/forecaster/manifest.toml")),
    ("src/lib.rs", include_str!("../../templates/forecaster/lib.rs")),
    ("cases.toml", include_str!("../../templates/forecaster/cases.toml")),
    ("README.md", include_str!("../../templates/forecaster/README.md")),
    GIT_IGNORE,
];

/// The version a new plugin begins with, as its template's `Cargo.toml` says.
const FIRST_VERSION: &str = "0.1.0";

/// Names cargo or the language keeps for itself.
const KEPT: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// Reads a role off the command line; one the host does not serve yet is refused.
pub(crate) fn role(text: &str) -> Result<PluginRole, String> {
    let served = || {
        let served = PluginRole::ALL.into_iter().filter(|role| template(*role).is_some());
        served.map(PluginRole::interface).collect::<Vec<_>>().join(", ")
    };
    match PluginRole::ALL.into_iter().find(|role| role.interface() == text) {
        Some(role) if template(role).is_some() => Ok(role),
        Some(role) => Err(format!(
            "the contract has a draft of the role {role}, but this host does not serve it yet: take one of {}",
            served()
        )),
        None => Err(format!("there is no role {text:?}: take one of {}", served())),
    }
}

fn template(role: PluginRole) -> Option<&'static [File]> {
    match role {
        PluginRole::App => Some(APP),
        PluginRole::Dialect => Some(DIALECT),
        PluginRole::Formatter => Some(FORMATTER),
        PluginRole::Detector => Some(DETECTOR),
        PluginRole::Forecaster => Some(FORECASTER),
        PluginRole::Collector => None,
    }
}

/// The crates a template's project depends on.
fn dependencies(role: PluginRole) -> &'static [&'static str] {
    match role {
        PluginRole::Detector => &["bellwether-sdk", "serde"],
        _ => &["bellwether-sdk"],
    }
}

/// Makes a project in `folder`, or in one of the plugin's name here. Gives where it is.
pub(crate) fn create(name: &str, role: PluginRole, folder: Option<PathBuf>) -> Result<PathBuf, Failure> {
    check_name(name).map_err(Failure::Usage)?;
    let Some(files) = template(role) else {
        return Err(Failure::Usage(format!("there is no template for the role {role}")));
    };
    let folder = folder.unwrap_or_else(|| PathBuf::from(name));
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
        return Err(Failure::Usage(format!(
            "{} is there already and not empty; name another folder with --path",
            folder.display()
        )));
    }
    for (path, text) in files {
        let text = text.replace("__NAME__", name).replace("__VERSION__", env!("CARGO_PKG_VERSION"));
        write(&folder.join(path), &text)?;
    }
    write(&folder.join("Cargo.lock"), &vendored::lock_file(name, FIRST_VERSION, dependencies(role)))?;
    vendored::write(&folder)?;
    Ok(folder)
}

/// Puts this binary's sources into a project that has those of an older one.
pub(crate) fn vendor(folder: &Path) -> Result<(), Failure> {
    if !folder.join("Cargo.toml").is_file() {
        return Err(Failure::Usage(format!("{} has no Cargo.toml: it is no project", folder.display())));
    }
    Ok(vendored::write(folder)?)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let parent = path.parent().context("a file lies in a folder")?;
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(path, text))
        .with_context(|| format!("{} cannot be written", path.display()))
}

/// Whether a host takes a plugin of that name and cargo a package.
fn check_name(name: &str) -> Result<(), String> {
    let limit = bellwether_plugins::limits::NAME;
    let good = (1..=limit).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !good {
        return Err(format!(
            "the name is {name:?}, expected 1 to {limit} characters of a-z, 0-9 and -, a letter first"
        ));
    }
    if KEPT.contains(&name) {
        return Err(format!("the name {name:?} is a word of Rust's own: take another"));
    }
    if vendored::is_taken(name) {
        return Err(format!("the name {name:?} is that of a crate the SDK is built from: take another"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drafted_role_is_refused_with_those_that_are_served() {
        assert_eq!(role("app"), Ok(PluginRole::App));
        assert_eq!(role("detector"), Ok(PluginRole::Detector));
        let drafted = role("collector").expect_err("a draft");
        assert!(drafted.contains("does not serve it yet") && drafted.contains("app, dialect"), "{drafted}");
        assert!(role("applet").expect_err("none").contains("no role \"applet\""));
    }

    #[test]
    fn every_role_the_host_serves_has_a_template_and_no_other_has() {
        for role in PluginRole::ALL {
            assert_eq!(template(role).is_some(), role.is_served(), "{role}");
        }
    }

    #[test]
    fn a_name_no_host_or_cargo_takes_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("project");
        for (name, expected) in [
            ("Count", "a-z, 0-9 and -"),
            ("9lives", "a letter first"),
            ("", "1 to 64 characters"),
            ("count_visits", "a-z, 0-9 and -"),
            ("match", "a word of Rust's own"),
            ("serde", "a crate the SDK is built from"),
        ] {
            let Err(Failure::Usage(message)) = create(name, PluginRole::App, Some(path.clone())) else {
                panic!("{name} was taken")
            };
            assert!(message.contains(expected), "{message}");
        }
        assert!(!path.exists());
    }

    #[test]
    fn a_project_is_whole_and_no_placeholder_is_left() {
        let folder = tempfile::tempdir().unwrap();
        for role in PluginRole::ALL.into_iter().filter(|role| role.is_served()) {
            let path = folder.path().join(role.interface());
            create("count-visits", role, Some(path.clone())).unwrap();
            for (file, _) in template(role).unwrap() {
                let text = fs::read_to_string(path.join(file)).unwrap();
                assert!(!text.contains("__"), "{file}: {text}");
            }
            let manifest: toml::Table = fs::read_to_string(path.join("Cargo.toml")).unwrap().parse().unwrap();
            assert_eq!(manifest["package"]["name"].as_str(), Some("count-visits"));
            assert_eq!(manifest["package"]["version"].as_str(), Some(FIRST_VERSION));
            for file in [
                "Cargo.lock",
                ".bellwether/README.md",
                ".bellwether/sdk/src/lib.rs",
                ".bellwether/wit/app.wit",
            ] {
                assert!(path.join(file).is_file(), "{file}");
            }
            let again = create("count-visits", role, Some(path.clone()));
            assert!(matches!(again, Err(Failure::Usage(message)) if message.contains("not empty")));
        }
    }

    #[test]
    fn a_newer_binary_replaces_the_sources_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        assert!(vendor(folder.path()).is_err(), "there is no project");
        let path = folder.path().join("project");
        create("count-visits", PluginRole::App, Some(path.clone())).unwrap();
        fs::write(path.join(".bellwether/stale.rs"), "").unwrap();
        fs::write(path.join("src/lib.rs"), "// mine").unwrap();
        vendor(&path).unwrap();
        assert!(!path.join(".bellwether/stale.rs").exists());
        assert_eq!(fs::read_to_string(path.join("src/lib.rs")).unwrap(), "// mine");
    }
}
