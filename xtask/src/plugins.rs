//! Builds the first-party plugins into components.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use bellwether_build::{Built, NAME_PREFIX, Toolchain};

use crate::debian;
use crate::{host, run, workspace};

/// The profile of the root manifest they are built with.
pub(crate) const PROFILE: &str = "component";

/// What a project is called while its lock file is made.
const PROJECT: &str = "project-without-a-name";

/// The plugin the end-to-end tests attack the host with; no binary carries it.
const HOSTILE: &str = "hostile";

/// The plugin the engine's benchmark calls.
const BENCH_GUEST: &str = "bench-guest";

/// Builds every plugin under `plugins/` into `target/components`, one `.wasm` file each, and no other: the binary carries
/// whatever is there. Those that did not change are left as they are.
pub(crate) fn build() -> Result<()> {
    build_into(&components(), |name| name.starts_with(NAME_PREFIX))
}

/// Builds every plugin there is, those no binary carries included.
pub(crate) fn build_all() -> Result<()> {
    build()?;
    build_hostile()?;
    build_bench_guest()
}

/// Builds the hostile plugin into `target/hostile`.
pub(crate) fn build_hostile() -> Result<()> {
    build_into(&workspace().join("target/hostile"), |name| name == HOSTILE)
}

/// Builds the engine benchmark's plugin into `target/bench`.
pub(crate) fn build_bench_guest() -> Result<()> {
    build_into(&workspace().join("target/bench"), |name| name == BENCH_GUEST)
}

fn build_into(output: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let (packages, _) = bellwether_build::packages(workspace(), |name, _| wanted(name))?;
    // Beside the native build and never in it: the two would undo each other's work.
    let target = workspace().join("target/plugins");
    let toolchain = toolchain()?;
    let built = bellwether_build::build(&toolchain, workspace(), &packages, PROFILE, &target, output);
    let built = built.context("the plugins do not build")?;
    for built in &built {
        println!("{}", line(built));
    }
    let paths: Vec<&Path> = built.iter().map(|built| built.path.as_path()).collect();
    remove_others(output, &paths)
}

/// Removes the components in `folder` that are none of those just built: of plugins that are no more, or have another name.
fn remove_others(folder: &Path, built: &[&Path]) -> Result<()> {
    for path in in_folder(folder)? {
        if !built.contains(&path.as_path()) {
            std::fs::remove_file(&path).with_context(|| format!("{} cannot be removed", path.display()))?;
            println!("{} is removed: no plugin makes it", path.display());
        }
    }
    Ok(())
}

/// The components in `folder`, in order.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    paths.sort();
    Ok(paths)
}

/// What builds for WebAssembly, got where it is missing.
pub(crate) fn toolchain() -> Result<Toolchain> {
    let install = |packages: &[&str]| debian::install(packages).map_err(|error| format!("{error:#}"));
    Ok(Toolchain::obtain(workspace(), Some(&install))?)
}

/// Where the components are put, whatever folder cargo builds in.
pub(crate) fn components() -> PathBuf {
    workspace().join("target/components")
}

/// Writes the lock file new projects begin with: what cargo makes of a project that depends on nothing but the SDK,
/// with the versions of this workspace.
pub(crate) fn lock() -> Result<()> {
    let project = workspace().join("target/lock");
    std::fs::create_dir_all(project.join("src"))?;
    std::fs::write(project.join("src/lib.rs"), "")?;
    let sdk = workspace().join("sdk");
    let manifest = format!(
        "[package]\nname = {PROJECT:?}\nedition = \"2024\"\n[dependencies]\nbellwether-sdk = {{ path = {sdk:?} }}\n[workspace]\n"
    );
    std::fs::write(project.join("Cargo.toml"), manifest)?;
    std::fs::copy(workspace().join("Cargo.lock"), project.join("Cargo.lock"))?;
    let mut cargo = host::cargo();
    run(cargo
        .args(["metadata", "--offline", "--format-version", "1"])
        .current_dir(&project)
        .stdout(Stdio::null()))?;
    let made = std::fs::read_to_string(project.join("Cargo.lock"))?;
    let entries = made.split("\n\n").filter(|entry| !entry.contains(&format!("name = {PROJECT:?}")));
    let text = entries.collect::<Vec<_>>().join("\n\n");
    let path = workspace().join("host/bellwether/templates/shared/packages.lock");
    std::fs::write(&path, format!("{}\n", text.trim_end()))?;
    println!("{} is written", path.display());
    Ok(())
}

/// One line that tells of a component.
fn line(built: &Built) -> String {
    let short = |interface: &String| {
        let name = interface.rsplit('/').next().unwrap_or_default();
        name.split('@').next().unwrap_or_default().to_owned()
    };
    let asked = built.surface.imports.iter().map(short).collect::<Vec<_>>().join(", ");
    format!(
        "{} {}: {:.1} KiB, is {}, asks for {}{}",
        built.identity.name,
        built.identity.version,
        built.size as f64 / 1024.0,
        built.surface.exports.iter().map(short).collect::<Vec<_>>().join(", "),
        if asked.is_empty() { "nothing" } else { &asked },
        if built.unchanged { " (unchanged)" } else { "" },
    )
}

#[cfg(test)]
mod tests {
    use bellwether_build::TARGET;

    use super::*;

    /// The channels.
    const FORMATTERS: [&str; 14] = [
        "email",
        "jira",
        "mattermost",
        "msteams",
        "opsgenie",
        "pagerduty",
        "salesforce",
        "servicenow",
        "slack",
        "slackapp",
        "sns",
        "tamtam",
        "telegram",
        "webhook",
    ];

    #[test]
    fn a_plugin_that_is_no_more_is_not_carried_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["kept.wasm", "renamed.wasm", "kept.part"] {
            std::fs::write(path(name), "").expect("a file");
        }
        remove_others(folder.path(), &[&path("kept.wasm")]).expect("files that can be removed");
        assert_eq!(in_folder(folder.path()).expect("a folder"), [path("kept.wasm")]);
        assert!(path("kept.part").exists());
    }

    /// Builds for real: it is the linker that drops what nobody calls, and so decides what a component asks for.
    #[test]
    fn a_plugin_asks_for_what_its_code_calls_and_is_what_its_macros_say() {
        build().expect("the plugins build");
        let (clock, http, log, read, write) = (
            "bellwether:host/clock@0.1.0",
            "bellwether:host/http-client@0.1.0",
            "bellwether:host/log@0.1.0",
            "bellwether:host/metrics-read@0.1.0",
            "bellwether:host/metrics-write@0.1.0",
        );
        let (series_read, series_write, state) = (
            "bellwether:host/series-read@0.1.0",
            "bellwether:host/series-write@0.1.0",
            "bellwether:host/state@0.1.0",
        );
        let (records_read, records_write) =
            ("bellwether:host/records-read@0.1.0", "bellwether:host/records-write@0.1.0");
        let mut names = Vec::new();
        for (name, imports, exports) in [
            ("chainpatrol", &[clock, series_read][..], "bellwether:plugin/configurable-dialect@0.1.0"),
            ("change-point", &[], "bellwether:plugin/detector@0.1.0"),
            (
                "datadog",
                &[clock, records_read, records_write, series_read, series_write, state],
                "bellwether:plugin/configurable-dialect@0.1.0",
            ),
            ("http", &[clock, http], "bellwether:plugin/app@0.1.0"),
            ("metric", &[log, read, write], "bellwether:plugin/app@0.1.0"),
            ("otlp", &[series_read, series_write], "bellwether:plugin/configurable-dialect@0.1.0"),
            ("peers", &[], "bellwether:plugin/detector@0.1.0"),
            (
                "prometheus",
                &[clock, series_read, series_write, state],
                "bellwether:plugin/configurable-dialect@0.1.0",
            ),
            ("rarity", &[], "bellwether:plugin/detector@0.1.0"),
            ("seasonal-naive", &[], "bellwether:plugin/forecaster@0.1.0"),
            ("threatconnect", &[read, write], "bellwether:plugin/configurable-dialect@0.1.0"),
            ("threshold", &[], "bellwether:plugin/detector@0.1.0"),
        ]
        .into_iter()
        .chain(FORMATTERS.map(|name| (name, &[][..], "bellwether:plugin/formatter@0.1.0")))
        {
            let component = std::fs::read(components().join(format!("{name}.wasm"))).expect("it was built");
            let surface = bellwether_build::surface(&component).expect("a component");
            assert_eq!(surface.imports.iter().map(String::as_str).collect::<Vec<_>>(), imports, "{name}");
            assert_eq!(surface.exports.iter().map(String::as_str).collect::<Vec<_>>(), [exports], "{name}");
            names.push(components().join(name).with_extension("wasm"));
        }
        names.sort();
        assert_eq!(in_folder(&components()).expect("a folder"), names, "what else the binary carries");
        let module = workspace()
            .join("target/plugins")
            .join(TARGET)
            .join(PROFILE)
            .join("bellwether_plugin_metric.wasm");
        let module = std::fs::read(module).expect("it was built");
        let called = bellwether_build::functions(&module).expect("a module");
        assert_eq!(
            called.iter().map(String::as_str).collect::<Vec<_>>(),
            [
                format!("{log}#write"),
                format!("{read}#get"),
                format!("{read}#query"),
                format!("{write}#define"),
                format!("{write}#write")
            ],
            "not even the functions beside those it calls"
        );
    }
}
