//! Puts into the binary the components of `target/components` (or of `BELLWETHER_COMPONENTS`), and what a plugin's
//! author needs besides Rust: the SDK's sources, the contract's, and the versions of what they depend on.

mod vendor;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use sha2::{Digest as _, Sha256};

fn main() {
    let out = env::var_os("OUT_DIR").expect("cargo says where to");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    vendor::write(&workspace, Path::new(&out));
    bundle(Path::new(&out));
}

/// Writes `bundled.rs`: the components and their digests.
fn bundle(out: &Path) {
    println!("cargo::rerun-if-env-changed=BELLWETHER_COMPONENTS");
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/components");
    let folder = env::var_os("BELLWETHER_COMPONENTS").map_or(beside, PathBuf::from);
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut components = components(&folder);
    components.sort();
    if components.is_empty() {
        let folder = folder.display();
        println!(
            "cargo::warning=no components in {folder}: the binary carries no plugins; `cargo xtask plugins` builds them"
        );
    }
    let mut code = String::from("&[\n");
    for path in components {
        println!("cargo::rerun-if-changed={}", path.display());
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let component = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let digest: [u8; 32] = Sha256::digest(component).into();
        let path = path.display().to_string();
        writeln!(
            code,
            "    Bundled {{ name: {name:?}, component: include_bytes!({path:?}), digest: {digest:?} }},"
        )
        .expect("text grows");
    }
    code.push_str("]\n");
    fs::write(out.join("bundled.rs"), code).expect("the output folder is writable");
}

/// The components in `folder`, by their whole path; none if there is no folder.
fn components(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) else {
        return Vec::new();
    };
    let paths = entries.into_iter().filter_map(|entry| fs::canonicalize(entry.path()).ok());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "wasm")).collect()
}
