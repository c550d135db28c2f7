//! Asks for a short time slice for the thread that syncs.
//!
//! On a busy machine Linux lets a thread that was waiting for the disk run only when the one in its place has used its
//! slice up, which is at the next tick: 4 ms at 250 Hz, twenty times what the disk takes. A thread with a shorter
//! slice may run at once (since Linux 6.12), and gets no more of the processor for it.

/// The shortest slice there is, in nanoseconds.
#[cfg(target_os = "linux")]
const SLICE: u64 = 100_000;

/// Gives this thread a short slice, where the system has such a thing; nothing but time depends on it.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate has these two calls")]
pub(crate) fn shorten() {
    const SIZE: libc::c_uint = size_of::<libc::sched_attr>() as libc::c_uint;
    // SAFETY: a structure of integers, for which zeros are values.
    let mut about: libc::sched_attr = unsafe { std::mem::zeroed() };
    // SAFETY: the system writes at most SIZE bytes to `about`, which has that size and outlives the call.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut about, SIZE, 0) };
    if got == 0 && about.sched_policy == libc::SCHED_OTHER as u32 {
        about.sched_runtime = SLICE;
        // SAFETY: the system reads `about.size` bytes of `about`, as many as it wrote.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const about, 0) };
    }
}

/// Gives this thread a short slice, where the system has such a thing.
#[cfg(not(target_os = "linux"))]
pub(crate) fn shorten() {}
