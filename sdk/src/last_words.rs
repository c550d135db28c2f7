//! What a panic says, left in the component's memory: a panic there ends in a trap, and a pure role has nobody to tell.
//! The host reads it after the trap.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

/// Bytes of text there is room for: as many as the host reads.
const ROOM: usize = 1_000;

/// A text and its length in bytes before it, as the host reads it.
#[repr(C)]
pub(crate) struct LastWords {
    length: AtomicU32,
    text: [AtomicU8; ROOM],
}

/// Has what a panic says kept from now on, in place of writing it to where nobody reads.
#[cfg(target_arch = "wasm32")]
pub(crate) fn keep() {
    use std::fmt::Write as _;
    use std::sync::atomic::AtomicBool;

    /// The component exports where this lies.
    #[allow(unsafe_code, non_upper_case_globals, reason = "the host looks for it by its name")]
    #[unsafe(no_mangle)]
    static bellwether_last_words: LastWords = LastWords::none();
    static KEPT: AtomicBool = AtomicBool::new(false);
    if !KEPT.swap(true, Relaxed) {
        std::panic::set_hook(Box::new(|panic| {
            // What has no room is left out.
            let _ = write!(&bellwether_last_words, "{panic}");
        }));
    }
}

impl LastWords {
    const fn none() -> Self {
        Self { length: AtomicU32::new(0), text: [const { AtomicU8::new(0) }; ROOM] }
    }
}

impl fmt::Write for &LastWords {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let length = self.length.load(Relaxed);
        let mut written = 0;
        for (place, byte) in self.text.iter().skip(length as usize).zip(text.bytes()) {
            place.store(byte, Relaxed);
            written += 1;
        }
        self.length.store(length + written, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn what_a_panic_says_is_kept_as_far_as_there_is_room() {
        let words = LastWords::none();
        let kept = || {
            let length = words.length.load(Relaxed) as usize;
            words.text[..length].iter().map(|byte| char::from(byte.load(Relaxed))).collect::<String>()
        };
        write!(&words, "at {}: {:?}", 3, Some(4)).unwrap();
        assert_eq!(kept(), "at 3: Some(4)");
        write!(&words, "{}y", "x".repeat(2 * ROOM)).unwrap();
        assert_eq!(kept(), format!("at 3: Some(4){}", "x".repeat(ROOM - 13)));
    }
}
