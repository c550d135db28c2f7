//! Builds the host's binary around the bundled plugins, and runs it.

use std::path::PathBuf;

use anyhow::Result;

use crate::{plugins, run, workspace};

/// Builds the plugins and the release binary; gives its path.
pub(crate) fn build() -> Result<PathBuf> {
    build_with("release", &["--package", "bellwether"])
}

/// As [`build`], with every test beside the binary: in one build, so that they share all they depend on.
pub(crate) fn build_with_tests() -> Result<PathBuf> {
    plugins::build_hostile()?;
    build_with("release", &["--workspace", "--all-targets"])
}

/// Builds the plugins and the binary that is handed out, which takes longer; gives its path.
pub(crate) fn dist() -> Result<PathBuf> {
    build_with("dist", &["--package", "bellwether"])
}

fn build_with(profile: &str, what: &[&str]) -> Result<PathBuf> {
    plugins::build()?;
    run(cargo().args(["build", "--profile", profile]).args(what))?;
    Ok(target().join(profile).join("bellwether"))
}

/// Builds everything and becomes `bellwether serve` with `arguments`.
pub(crate) fn serve(arguments: &[String]) -> Result<()> {
    let mut command = std::process::Command::new(build()?);
    command.arg("serve").args(arguments);
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        Err(anyhow::Error::new(command.exec()).context("the host starts"))
    }
    #[cfg(not(unix))]
    run(&mut command)
}

/// The cargo this task runs under, without what that says of this crate: build scripts ask for it (`ring`'s does), so all that
/// depends on them would be built anew whenever cargo is called by hand and by this task in turn.
pub(crate) fn cargo() -> std::process::Command {
    let mut command = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    command.current_dir(workspace());
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), |dir| workspace().join(dir))
}
