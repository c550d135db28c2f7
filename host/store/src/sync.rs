//! Makes sled durable. On Linux sled 0.34 "flushes" with `sync_file_range`, which writes neither the file's metadata
//! nor the drive's cache: after a power failure such a store does not open. This crate defines that symbol itself
//! and answers with `fdatasync`; the linker prefers a program's own symbol to the C library's.
//! Elsewhere sled calls a real fsync and nothing is needed.

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashMap;
    use std::ffi::{c_int, c_uint};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use parking_lot::{Condvar, Mutex};

    /// sled writes an atomic batch as two messages, the first one of 24 to 32 bytes, and syncs after each. A call
    /// for so short a message waits a little for the sync of the next one, which covers both: on the machine this
    /// was measured on that is a third more commits a second from one committer.
    const SHORT: i64 = 32;
    const COMPANY: Duration = Duration::from_micros(100);

    static SYNCS: AtomicU64 = AtomicU64::new(0);

    /// The syncs of one file, numbered as they begin.
    #[derive(Default)]
    struct Progress {
        begun: u64,
        /// The highest number of one that succeeded.
        succeeded: u64,
        running: usize,
    }

    static FILES: LazyLock<Mutex<HashMap<c_int, Progress>>> = LazyLock::new(Mutex::default);
    static CHANGED: Condvar = Condvar::new();

    /// Takes the C library's place under sled: makes the whole file durable, whatever range is asked for. Success
    /// means that an `fdatasync` succeeded which began after this call did.
    ///
    /// # Safety
    /// As the C library's: any `fd` may be passed, an invalid one is answered with `EBADF`.
    #[expect(unsafe_code, reason = "the symbol sled calls must be ours")]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn sync_file_range(fd: c_int, _offset: i64, length: i64, _flags: c_uint) -> c_int {
        #[cfg(test)]
        if super::faults::is_broken(fd) {
            return -1;
        }
        let mut files = FILES.lock();
        let arrived = files.entry(fd).or_default().begun;
        if length <= SHORT && files[&fd].running == 0 {
            let until = Instant::now() + COMPANY;
            while files[&fd].begun == arrived && !CHANGED.wait_until(&mut files, until).timed_out() {}
            // Company is waited for, however long it takes. If it fails, this call finds out for itself.
            while files[&fd].begun > arrived && files[&fd].running > 0 {
                CHANGED.wait(&mut files);
            }
            if files[&fd].succeeded > arrived {
                return 0;
            }
        }
        let file = files.entry(fd).or_default();
        file.begun += 1;
        file.running += 1;
        let number = file.begun;
        drop(files);
        CHANGED.notify_all();
        let result = loop {
            // SAFETY: fdatasync takes any number and reports one that is not an open file.
            let result = unsafe { libc::fdatasync(fd) };
            // An interrupted call promised nothing and is repeated; every other error is sled's to see.
            if result == 0 || std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
                break result;
            }
        };
        let error = std::io::Error::last_os_error().raw_os_error();
        let mut files = FILES.lock();
        let file = files.entry(fd).or_default();
        file.running -= 1;
        if result == 0 {
            file.succeeded = file.succeeded.max(number);
            SYNCS.fetch_add(1, Ordering::Relaxed);
        }
        drop(files);
        CHANGED.notify_all();
        if result != 0 {
            super::set_errno(error.unwrap_or(libc::EIO));
        }
        result
    }

    /// Keeps the symbol in every program that links this crate, in whatever order the linker sees the libraries.
    #[used]
    static KEPT: unsafe extern "C" fn(c_int, i64, i64, c_uint) -> c_int = sync_file_range;

    /// How often sled's log was made durable by [`sync_file_range`] since the process began.
    pub(crate) fn count() -> u64 {
        SYNCS.load(Ordering::Relaxed)
    }
}

/// What the C library's functions report their error in.
#[cfg(target_os = "linux")]
fn set_errno(error: i32) {
    #[expect(unsafe_code, reason = "sled asks for the error as after any call of the C library")]
    // SAFETY: the address of this thread's errno is always valid.
    unsafe {
        *libc::__errno_location() = error;
    }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::count;

/// Makes the sync of one file fail, to see what the store does then.
#[cfg(all(test, target_os = "linux"))]
pub(crate) mod faults {
    use std::path::{Path, PathBuf};

    use parking_lot::Mutex;

    static BROKEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

    /// From now on syncs of files below `folder` fail with `EIO`.
    pub(crate) fn break_below(folder: &Path) {
        BROKEN.lock().push(folder.canonicalize().expect("the folder is there"));
    }

    pub(super) fn is_broken(fd: std::ffi::c_int) -> bool {
        let broken = BROKEN.lock();
        if broken.is_empty() {
            return false;
        }
        let file = std::fs::read_link(format!("/proc/self/fd/{fd}")).expect("sled syncs open files");
        let is = broken.iter().any(|folder| file.starts_with(folder));
        if is {
            super::set_errno(libc::EIO);
        }
        is
    }
}
