//! The functions a plugin trapped in, as its author reads them.

/// How the names begin of what Rust calls between the line that panics and the trap.
const PANICKING: [&str; 18] = [
    "__rust_abort",
    "__rust_start_panic",
    "__rustc::",
    "alloc::alloc::handle_alloc_error",
    "alloc::raw_vec::capacity_overflow",
    "alloc::raw_vec::handle_error",
    "core::cell::panic_already_",
    "core::option::expect_failed",
    "core::option::unwrap_failed",
    "core::panicking::",
    "core::result::unwrap_failed",
    "core::slice::index::slice_",
    "core::str::slice_error_fail",
    "rust_begin_unwind",
    "rust_panic",
    "std::alloc::",
    "std::panicking::",
    "std::sys::backtrace::",
];

/// `frames`, innermost first, with Rust's names as they are written in Rust, and without what a panic itself calls where
/// anything else is left.
pub(crate) fn readable(frames: &[String]) -> Vec<String> {
    let names = frames.iter().map(|name| format!("{:#}", rustc_demangle::demangle(name)));
    let mut names: Vec<String> = names.collect();
    let own = names.iter().position(|name| !is_panicking(name)).unwrap_or_default();
    names.drain(..own);
    names
}

fn is_panicking(name: &str) -> bool {
    let path = name.trim_start_matches('<');
    path == "abort" || PANICKING.iter().any(|start| path.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_they_were_written_and_a_panic_s_own_frames_are_left_out() {
        let panic = [
            "_RNvCsfLfy6EI15iL_7___rustc12___rust_abort",
            "_RNvCsfLfy6EI15iL_7___rustc18___rust_start_panic",
            "_RNvCsfLfy6EI15iL_7___rustc10rust_panic",
            "_RNCNvNtCsebHcaeoSrxy_3std9panicking13panic_handler0B5_",
            "_RINvNtNtCsebHcaeoSrxy_3std3sys9backtrace26___rust_end_short_backtraceNCNvNtB6_9panicking13panic_handler0zEB6_",
            "_RNvCsfLfy6EI15iL_7___rustc17rust_begin_unwind",
            "_RNvNtCsgXGp5Oqx2Ny_4core9panicking9panic_fmt",
            "_ZN4core6result13unwrap_failed17h0123456789abcdefE",
        ];
        let own =
            ["_ZN13my_forecaster7predict17h753adfa004a413bcE", "core::panicking::panic_fmt", "function 7"];
        let frames = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let shown = ["my_forecaster::predict", "core::panicking::panic_fmt", "function 7"];
        assert_eq!(readable(&frames(&[&panic[..], &own].concat())), shown);
        assert_eq!(readable(&frames(&own)), shown);
        let all = readable(&frames(&panic));
        assert_eq!(
            (all.len(), all[0].as_str()),
            (panic.len(), "__rustc::__rust_abort"),
            "nothing else is left"
        );
        assert_eq!(readable(&frames(&["abort", "aborted"])), ["aborted"]);
    }
}
