//! Machine code on disk, so that a host starts without compiling.
//!
//! A file is named after the component's digest and what the engine's settings and version amount to, so a changed
//! engine never sees code made for another. The folder belongs to this process's user alone, and nothing that came
//! from outside is ever put there: loading machine code trusts it as much as the host's own.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::{EngineError, Sandbox, interruptible};

/// How a file of the cache ends.
const EXTENSION: &str = "code";

/// A folder of machine code for one engine.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    /// What tells this engine's files from another's.
    engine: String,
}

impl Cache {
    /// Opens the cache in `folder`, made if it is not there, closed to others, and rid of files of other engines.
    pub(crate) fn open(
        folder: &Path,
        sandbox: Sandbox,
        engine: &wasmtime::Engine,
    ) -> Result<Self, EngineError> {
        let cache = Self { folder: folder.join(sandbox.to_string()), engine: fingerprint(engine) };
        cache.prepare().map_err(|source| EngineError::Cache { path: cache.folder.clone(), source })?;
        Ok(cache)
    }

    fn prepare(&self) -> io::Result<()> {
        // Before there were several sandboxes, files lay in the folder above.
        if let Some(above) = self.folder.parent() {
            make_private(above)?;
            clear(above, |_| false)?;
        }
        make_private(&self.folder)?;
        let ours = format!("-{}.{EXTENSION}", self.engine);
        clear(&self.folder, |name| name.ends_with(&ours))
    }

    /// Where the machine code of the component with `digest` is, or would be.
    pub(crate) fn file(&self, digest: &[u8; 32]) -> PathBuf {
        self.folder.join(format!("{}-{}.{EXTENSION}", HEXLOWER.encode(digest), self.engine))
    }

    /// Keeps machine code: whole and durable under its name, or not at all.
    pub(crate) fn keep(&self, digest: &[u8; 32], code: &[u8]) -> io::Result<()> {
        let file = self.file(digest);
        let draft = file.with_extension(format!("{EXTENSION}.{}", std::process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut written = options.open(&draft)?;
        written.write_all(code)?;
        // A half-written file under the right name would be run as machine code after a power failure.
        written.sync_all()?;
        fs::rename(&draft, &file)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Drops what is kept of a component.
    pub(crate) fn forget(&self, digest: &[u8; 32]) {
        if let Err(error) = fs::remove_file(self.file(digest))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a file of the compile cache stays behind");
        }
    }
}

impl Cache {
    /// Drops what is kept of components whose digest, in hexadecimal, `is_used` does not know.
    pub(crate) fn sweep(&self, is_used: impl Fn(&str) -> bool) -> io::Result<()> {
        clear(&self.folder, |name| name.split_once('-').is_some_and(|(digest, _)| is_used(digest)))
    }
}

/// Makes a folder if it is not there, and closes it to others.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    #[cfg(unix)]
    close_to_others(folder)?;
    Ok(())
}

/// Removes machine code whose file's name is not to be kept.
fn clear(folder: &Path, keep: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.contains(&format!(".{EXTENSION}")) && !keep(name) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Takes group's and others' rights away, and refuses a folder of another user.
#[cfg(unix)]
fn close_to_others(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let metadata = fs::symlink_metadata(folder)?;
    if !metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it must be a folder, not a link to one"));
    }
    if metadata.mode() & 0o077 != 0 {
        // Fails for a folder of somebody else, which must not be trusted.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// What tells machine code of this engine from that of another: its version, its settings and the processor's, and what
/// is made of a component before it is compiled.
fn fingerprint(engine: &wasmtime::Engine) -> String {
    let mut hasher = StableHasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    interruptible::VERSION.hash(&mut hasher);
    HEXLOWER.encode(&hasher.0.finalize()[..8])
}

/// Hashes the same way in every build, which the standard library's hasher does not promise.
struct StableHasher(Sha256);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        u64::from_le_bytes(digest[..8].try_into().expect("a digest has more than 8 bytes"))
    }
}
