//! A Rust toolchain that builds for `wasm32-unknown-unknown`, whichever way there is one.
//!
//! Tried in order: the toolchain in use has the target; rustup adds it; Debian's toolchain builds the standard
//! library from its source package, which is installed where the caller gives a way to.
//! `BELLWETHER_WASM_TOOLCHAIN=rustup|debian` names one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::BuildError;
use crate::command::{cargo, failed, read, start};

type Result<T> = std::result::Result<T, BuildError>;

/// Installs packages of the system's, where the caller may and wants to; says why not otherwise.
pub type InstallPackages<'a> = &'a dyn Fn(&[&str]) -> std::result::Result<(), String>;

/// What plugins are built for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// The variable that names the way.
const CHOICE: &str = "BELLWETHER_WASM_TOOLCHAIN";

/// How long rustup may take: it fetches some 20 MB, and without a network it tries for minutes.
const RUSTUP_PATIENCE: Duration = Duration::from_secs(60);

/// What builds with Debian's toolchain: the compiler, cargo, the linker, and the standard library's source.
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-llvm", "rust-web-src"];

/// Where they put the standard library's source.
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/Cargo.toml";

/// Where they put the linker, or a link to it.
const DEBIAN_LINKER: &str = "/usr/bin/rust-lld";

/// A stack for every component; the linker's default of 1 MiB would be a megabyte to clear for each call.
const STACK: &str = "-Clink-arg=-zstack-size=262144";

/// A toolchain that has the target, one way or another.
pub enum Toolchain {
    /// The one in use.
    Present,
    /// Debian's, whose standard library is built along.
    Debian {
        /// Its linker.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// Finds one for what is built in `folder`, which may name its own toolchain, or makes one. `install` is asked for
    /// Debian's packages; without it they have to be there.
    ///
    /// # Errors
    /// [`BuildError::Toolchain`] says what was tried and what would help.
    pub fn obtain(folder: &Path, install: Option<InstallPackages<'_>>) -> Result<Self> {
        match std::env::var(CHOICE).as_deref() {
            Err(_) | Ok("") => {}
            Ok("rustup") => return rustup(folder),
            Ok("debian") => return debian(folder, install),
            Ok(other) => {
                return Err(BuildError::Toolchain(format!(
                    "{CHOICE} is {other:?}, expected rustup or debian"
                )));
            }
        }
        let rustup = match rustup(folder) {
            Ok(toolchain) => return Ok(toolchain),
            Err(error) => error,
        };
        debian(folder, install).map_err(|debian| {
            BuildError::Toolchain(format!(
                "no Rust toolchain builds for {TARGET}.\n  \
                 the one in use: {rustup}\n  \
                 Debian's: {debian}\n\
                 Any of these helps: `rustup target add {TARGET}`; as root on Debian, `apt-get install {}`; \
                 a distribution's package of Rust's standard library for {TARGET}.",
                DEBIAN_PACKAGES.join(" ")
            ))
        })
    }

    /// `cargo build` for the target in `folder`; what to build and where to is the caller's to add.
    #[must_use]
    pub fn cargo_build(&self, folder: &Path) -> Command {
        let mut cargo = match self {
            Self::Present => cargo(folder),
            Self::Debian { linker } => {
                let mut cargo = Command::new("/usr/bin/cargo");
                cargo
                    .current_dir(folder)
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("RUSTC_BOOTSTRAP", "1") // -Zbuild-std, for Debian has no such library ready
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .env_remove("RUSTDOC");
                cargo
            }
        };
        // Flags for the machine at hand are none for WebAssembly.
        for variable in
            ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET"]
        {
            cargo.env_remove(variable);
        }
        cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", STACK);
        cargo.args(["build", "--target", TARGET]);
        if let Self::Debian { .. } = self {
            cargo.arg("-Zbuild-std=std,panic_abort");
        }
        cargo
    }
}

/// The toolchain in use, its target added where it is missing and rustup can.
fn rustup(folder: &Path) -> Result<Toolchain> {
    let sysroot = sysroot(folder)?;
    if has_target(&sysroot) {
        return Ok(Toolchain::Present);
    }
    eprintln!("adding the target {TARGET} with rustup");
    let mut rustup = Command::new("rustup");
    patiently(
        rustup.args(["target", "add", TARGET]).current_dir(folder).stdin(Stdio::null()),
        RUSTUP_PATIENCE,
    )?;
    if !has_target(&sysroot) {
        let message = format!("rustup added {TARGET} to another toolchain than {}", sysroot.display());
        return Err(BuildError::Toolchain(message));
    }
    Ok(Toolchain::Present)
}

/// Whether a standard library for the target lies in this sysroot.
fn has_target(sysroot: &Path) -> bool {
    let library = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    let Ok(files) = std::fs::read_dir(library) else { return false };
    files.flatten().any(|file| {
        let name = file.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

/// Debian's toolchain, installed where it is missing and we may.
fn debian(folder: &Path, install: Option<InstallPackages<'_>>) -> Result<Toolchain> {
    let installed = |packages: &[&str]| {
        let Some(install) = install else {
            return Err(BuildError::Toolchain(format!("{} not installed", packages.join(", "))));
        };
        eprintln!("installing {}", packages.join(" "));
        install(packages).map_err(BuildError::Toolchain)
    };
    if !debian_compiler() {
        installed(&DEBIAN_PACKAGES)?;
        if !debian_compiler() {
            return Err(BuildError::Toolchain(format!(
                "{} are installed, and yet {DEBIAN_SOURCE} or a program is missing",
                DEBIAN_PACKAGES.join(", ")
            )));
        }
    }
    if let Some(linker) = linker(folder) {
        return Ok(Toolchain::Debian { linker });
    }
    // The compiler's package links to a linker of LLVM's and only suggests its package, which bears the same name.
    let package =
        std::fs::read_link(DEBIAN_LINKER).ok().and_then(|link| Some(link.file_name()?.to_str()?.to_owned()));
    let package = package.unwrap_or_else(|| "lld".to_owned());
    installed(&[&package])?;
    let missing =
        || BuildError::Toolchain(format!("{package} is installed, and yet there is no {DEBIAN_LINKER}"));
    Ok(Toolchain::Debian { linker: linker(folder).ok_or_else(missing)? })
}

/// Whether Debian's compiler, cargo and source of the standard library are there.
fn debian_compiler() -> bool {
    let present = |path: &str| Path::new(path).exists();
    present("/usr/bin/cargo") && present("/usr/bin/rustc") && present(DEBIAN_SOURCE)
}

/// A linker for WebAssembly: every toolchain of rustup's has one, whatever its targets.
fn linker(folder: &Path) -> Option<PathBuf> {
    let native = format!("lib/rustlib/{}-unknown-linux-gnu/bin/rust-lld", std::env::consts::ARCH);
    let own = sysroot(folder).ok().map(|sysroot| sysroot.join(native));
    own.into_iter().chain([PathBuf::from(DEBIAN_LINKER)]).find(|linker| linker.exists())
}

/// Where the toolchain in use in `folder` lies.
fn sysroot(folder: &Path) -> Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Ok(PathBuf::from(read(Command::new(rustc).current_dir(folder).args(["--print", "sysroot"]))?.trim()))
}

/// Runs a command for so long and no longer.
fn patiently(command: &mut Command, patience: Duration) -> Result<()> {
    let mut child = command.spawn().map_err(start(command))?;
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(failed(command, status)),
            Err(error) => return Err(failed(command, error)),
        }
        if begun.elapsed() > patience {
            child.kill().and_then(|()| child.wait()).map_err(|error| failed(command, error))?;
            return Err(failed(command, format!("given up after {} seconds", patience.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_never_ends_is_given_up_and_one_that_fails_is_told() {
        let error = patiently(Command::new("sleep").arg("600"), Duration::ZERO).expect_err("given up");
        assert!(error.to_string().contains("given up"), "{error}");
        assert!(patiently(&mut Command::new("false"), RUSTUP_PATIENCE).is_err());
        assert!(patiently(&mut Command::new("true"), RUSTUP_PATIENCE).is_ok());
        assert!(patiently(&mut Command::new("/nonexistent/rustup"), RUSTUP_PATIENCE).is_err());
    }

    #[test]
    fn a_sysroot_has_the_target_only_with_its_standard_library() {
        let sysroot = tempfile::tempdir().expect("a folder");
        assert!(!has_target(sysroot.path()));
        let library = sysroot.path().join("lib/rustlib").join(TARGET).join("lib");
        std::fs::create_dir_all(&library).expect("a folder");
        assert!(!has_target(sysroot.path()), "the folder alone, as an interrupted download leaves it");
        std::fs::write(library.join("libstd-0123456789abcdef.rlib"), "").expect("a file");
        assert!(has_target(sysroot.path()));
    }
}
