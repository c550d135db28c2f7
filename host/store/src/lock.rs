//! One process at a time: a lock on a file in the store's folder, held as long as the store is open.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::StoreError;

/// The folder's lock. The system frees it with the process, however that ends; the file stays.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the lock of `folder`, which exists.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process, or another store of this one, has it.
    pub(crate) fn take(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("lock");
        let failed = |error: std::io::Error| StoreError::Failed(format!("{}: {error}", path.display()));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let by = match file.read_to_string(&mut holder) {
                    Ok(_) if !holder.is_empty() => format!(" by process {}", holder.trim_end()),
                    _ => String::new(),
                };
                return Err(StoreError::InUse { path: folder.display().to_string(), by });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}
