//! `bellwether plugin new`: a project that tests, builds and runs as it is, for its author to change.

use std::path::{Path, PathBuf};

use bellwether_build::NAME_PREFIX;
use bellwether_plugins::PluginRole;

use super::{put, vendored};
use crate::failure::Failure;

/// A file of a template: where it goes and what it says. `__NAME__`, `__DESCRIPTION__` and `__VERSION__` stand for the
/// plugin's name, what it does and this binary's version; `__PACKAGE__` for what cargo is to call it.
type File = (&'static str, &'static str);

/// What a role's project begins with.
struct Template {
    /// What the plugin does, as its `Cargo.toml` says.
    description: &'static str,
    /// What is the role's own.
    files: &'static [File],
}

/// What every project begins with.
const SHARED: &[File] = &[
    ("Cargo.toml", include_str!("../../templates/shared/manifest.toml")),
    (".gitignore", include_str!("../../templates/shared/gitignore")),
];

/// The crates every project depends on, as the shared `Cargo.toml` says.
const DEPENDENCIES: &[&str] = &["bellwether-sdk", "serde"];

const APP: Template = Template {
    description: "Counts visits by page.",
    files: &[
        ("src/lib.rs", include_str!("../../templates/app/lib.rs")),
        ("cases.toml", include_str!("../../templates/app/cases.toml")),
        ("playbook.toml", include_str!("../../templates/app/playbook.toml")),
        ("README.md", include_str!("../../templates/app/README.md")),
    ],
};

const DIALECT: Template = Template {
    description: "Takes visits over HTTP and tells how many there were.",
    files: &[
        ("src/lib.rs", include_str!("../../templates/dialect/lib.rs")),
        ("cases.toml", include_str!("../../templates/dialect/cases.toml")),
        ("README.md", include_str!("../../templates/dialect/README.md")),
    ],
};

const FORMATTER: Template = Template {
    description: "Posts incidents to a chat.",
    files: &[
        ("src/lib.rs", include_str!("../../templates/formatter/lib.rs")),
        ("cases.toml", include_str!("../../templates/formatter/cases.toml")),
        ("README.md", include_str!("../../templates/formatter/README.md")),
    ],
};

const DETECTOR: Template = Template {
    description: "Finds jumps strange.",
    files: &[
        ("src/lib.rs", include_str!("../../templates/detector/lib.rs")),
        ("cases.toml", include_str!("../../templates/detector/cases.toml")),
        ("README.md", include_str!("../../templates/detector/README.md")),
    ],
};

const FORECASTER: Template = Template {
    description: "Predicts that the change from first to last goes on.",
    files: &[
        ("src/lib.rs", include_str!("../../templates/forecaster/lib.rs")),
        ("cases.toml", include_str!("../../templates/forecaster/cases.toml")),
        ("README.md", include_str!("../../templates/forecaster/README.md")),
    ],
};

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

fn template(role: PluginRole) -> Option<&'static Template> {
    match role {
        PluginRole::App => Some(&APP),
        PluginRole::Dialect => Some(&DIALECT),
        PluginRole::Formatter => Some(&FORMATTER),
        PluginRole::Detector => Some(&DETECTOR),
        PluginRole::Forecaster => Some(&FORECASTER),
        PluginRole::Collector => None,
    }
}

/// Makes a project in `folder`, or in one of the package's name here. Gives where it is.
pub(crate) fn create(package: &str, role: PluginRole, folder: Option<PathBuf>) -> Result<PathBuf, Failure> {
    // What a build calls the plugin, and so everything but cargo.
    let name = package.strip_prefix(NAME_PREFIX).unwrap_or(package);
    check_name(package, name).map_err(Failure::Usage)?;
    let Some(Template { description, files }) = template(role) else {
        return Err(Failure::Usage(format!("there is no template for the role {role}")));
    };
    let folder = folder.unwrap_or_else(|| PathBuf::from(package));
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
        return Err(Failure::Usage(format!(
            "{} is there already and not empty; name another folder with --path",
            folder.display()
        )));
    }
    for (path, text) in SHARED.iter().chain(*files) {
        let text = text
            .replace("__PACKAGE__", package)
            .replace("__NAME__", name)
            .replace("__DESCRIPTION__", description)
            .replace("__VERSION__", env!("CARGO_PKG_VERSION"));
        put(&folder.join(path), &text)?;
    }
    put(&folder.join("Cargo.lock"), &vendored::lock_file(package, FIRST_VERSION, DEPENDENCIES))?;
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

/// Whether a host takes a plugin of that name and cargo its package.
fn check_name(package: &str, name: &str) -> Result<(), String> {
    let limit = bellwether_plugins::limits::NAME;
    let good = (1..=limit).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !good {
        return Err(format!(
            "the name is {name:?}, expected 1 to {limit} characters of a-z, 0-9 and -, a letter first"
        ));
    }
    if KEPT.contains(&package) {
        return Err(format!("the name {package:?} is a word of Rust's own: take another"));
    }
    if vendored::is_taken(package) {
        return Err(format!("the name {package:?} is that of a crate the SDK is built from: take another"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

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
            ("bellwether-plugin-", "1 to 64 characters"),
            ("bellwether-plugin-9lives", "a letter first"),
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
            for (file, _) in SHARED.iter().chain(template(role).unwrap().files) {
                let text = fs::read_to_string(path.join(file)).unwrap();
                assert!(!text.contains("__"), "{file}: {text}");
            }
            let manifest: toml::Table = fs::read_to_string(path.join("Cargo.toml")).unwrap().parse().unwrap();
            assert_eq!(manifest["package"]["name"].as_str(), Some("count-visits"));
            assert_eq!(manifest["package"]["version"].as_str(), Some(FIRST_VERSION));
            let dependencies: Vec<&String> =
                manifest["dependencies"].as_table().into_iter().flat_map(toml::Table::keys).collect();
            assert_eq!(dependencies, DEPENDENCIES);
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
    fn a_package_with_the_prefix_of_plugins_has_a_project_that_names_the_plugin_as_it_is_built() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("project");
        create("bellwether-plugin-visits", PluginRole::App, Some(path.clone())).unwrap();
        let text = |file: &str| fs::read_to_string(path.join(file)).unwrap();
        for file in ["Cargo.toml", "Cargo.lock"] {
            assert!(text(file).contains("name = \"bellwether-plugin-visits\"\n"), "{}", text(file));
        }
        for file in ["README.md", "playbook.toml"] {
            assert!(!text(file).contains(NAME_PREFIX), "{}", text(file));
        }
        assert!(text("README.md").contains("target/visits.wasm"), "{}", text("README.md"));
        assert!(text("playbook.toml").contains("app = \"visits\""), "{}", text("playbook.toml"));
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
