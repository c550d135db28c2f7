//! What makes data durable: [`sync_data`] for the journal, and for sled what it lacks.
//!
//! On Linux sled 0.34 "flushes" with `sync_file_range`, which writes neither the file's metadata nor the drive's cache:
//! after a power failure such a store does not open. This crate defines that symbol itself and answers with
//! `fdatasync`; the linker prefers a program's own symbol to the C library's. Elsewhere sled calls a real fsync and
//! nothing is needed.

use std::fs::File;
use std::io;

/// Makes the data of `file` durable.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(all(test, target_os = "linux"))]
    if faults::is_broken(std::os::fd::AsRawFd::as_raw_fd(file)) {
        return Err(io::Error::last_os_error());
    }
    file.sync_data()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::{c_int, c_uint};
    use std::io::{Error, ErrorKind};
    use std::sync::atomic::{AtomicU64, Ordering};

    static SYNCS: AtomicU64 = AtomicU64::new(0);

    /// Takes the C library's place under sled: makes the whole file durable, whatever range is asked for.
    ///
    /// sled asks twice for every atomic batch, for its head and for its rows, from two threads. Letting both share
    /// one `fdatasync` halves the syncs and was measured to be no faster.
    ///
    /// # Safety
    /// As the C library's: any `fd` may be passed, an invalid one is answered with `EBADF`.
    #[expect(unsafe_code, reason = "the symbol sled calls must be ours")]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn sync_file_range(fd: c_int, _offset: i64, _length: i64, _flags: c_uint) -> c_int {
        #[cfg(test)]
        if super::faults::is_broken(fd) {
            return -1;
        }
        loop {
            // SAFETY: fdatasync takes any number and reports one that is not an open file.
            let result = unsafe { libc::fdatasync(fd) };
            if result == 0 {
                SYNCS.fetch_add(1, Ordering::Relaxed);
                return 0;
            }
            // An interrupted call promised nothing and is repeated; every other error is sled's to see.
            if Error::last_os_error().kind() != ErrorKind::Interrupted {
                return result;
            }
        }
    }

    /// Keeps the symbol in every program that links this crate, in whatever order the linker sees the libraries.
    #[used]
    static KEPT: unsafe extern "C" fn(c_int, i64, i64, c_uint) -> c_int = sync_file_range;

    /// How often sled's log was made durable by [`sync_file_range`] since the process began.
    pub(crate) fn count() -> u64 {
        SYNCS.load(Ordering::Relaxed)
    }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::count;

/// Makes syncs fail and disks full, to see what the store does then.
#[cfg(all(test, target_os = "linux"))]
pub(crate) mod faults {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;
    use std::path::{Path, PathBuf};

    use parking_lot::Mutex;

    static BROKEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    static FULL: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

    /// From now on syncs of files below `folder` fail with `EIO`.
    pub(crate) fn break_below(folder: &Path) {
        BROKEN.lock().push(folder.canonicalize().expect("the folder is there"));
    }

    /// From now on, or no longer, files below `folder` cannot grow.
    pub(crate) fn fill_below(folder: &Path, full: bool) {
        let folder = folder.canonicalize().expect("the folder is there");
        let mut folders = FULL.lock();
        folders.retain(|other| *other != folder);
        folders.extend(full.then_some(folder));
    }

    /// The error of a disk without room, if `file` is on one.
    pub(crate) fn fail_if_full(file: &File) -> io::Result<()> {
        if is_below(file.as_raw_fd(), &FULL.lock()) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    pub(super) fn is_broken(fd: std::ffi::c_int) -> bool {
        let is = is_below(fd, &BROKEN.lock());
        if is {
            #[expect(unsafe_code, reason = "an injected error is reported as the C library would")]
            // SAFETY: the address of this thread's errno is always valid.
            unsafe {
                *libc::__errno_location() = libc::EIO;
            }
        }
        is
    }

    fn is_below(fd: std::ffi::c_int, folders: &[PathBuf]) -> bool {
        if folders.is_empty() {
            return false;
        }
        let file = std::fs::read_link(format!("/proc/self/fd/{fd}")).expect("the file is open");
        folders.iter().any(|folder| file.starts_with(folder))
    }
}
