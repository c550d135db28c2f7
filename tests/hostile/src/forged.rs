//! Texts that are not what they say, and a trap: what safe Rust does not make, and other languages may.

#![allow(unsafe_code, reason = "this plugin breaks every rule there is, inside its sandbox")]

/// A text that claims so many bytes, whether or not the memory has them.
pub(crate) fn forged(length: usize) -> String {
    // SAFETY: none. The host must not trust lengths, and looks before it reads.
    unsafe { String::from_raw_parts(std::ptr::without_provenance_mut(8), length, length) }
}

/// Another owner of the same bytes.
pub(crate) fn alias(text: &str) -> String {
    // SAFETY: none. The host must not trust that what it is given lies in different places.
    unsafe { String::from_raw_parts(text.as_ptr().cast_mut(), text.len(), text.len()) }
}

/// A text that is none.
pub(crate) fn not_utf8() -> String {
    // SAFETY: none. The host must not trust that text is UTF-8.
    unsafe { String::from_utf8_unchecked(vec![b'a', 0xff, 0xfe]) }
}

/// Ends at once, without a word.
pub(crate) fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}
