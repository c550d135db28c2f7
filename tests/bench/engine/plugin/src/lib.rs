//! The same work as the component's, by Extism's own kit.

use extism_pdk::*;

#[link(wasm_import_module = "extism:host/user")]
unsafe extern "C" {
    /// The time. A number goes both ways as it is, the cheapest call Extism has.
    fn now() -> i64;
}

#[plugin_fn]
pub fn count(text: String) -> FnResult<String> {
    Ok(bench_work::count(&text))
}

/// Scores numbers that come and go as little-endian bytes.
#[plugin_fn]
pub fn score(bytes: Vec<u8>) -> FnResult<Vec<u8>> {
    let number = |bytes: &[u8]| f64::from_le_bytes(bytes.try_into().unwrap_or_default());
    let values: Vec<f64> = bytes.chunks_exact(8).map(number).collect();
    Ok(bench_work::score(&values).into_iter().flat_map(f64::to_le_bytes).collect())
}

/// Asks for the time so often.
#[plugin_fn]
pub fn ask(calls: String) -> FnResult<String> {
    let calls: u32 = calls.parse()?;
    for _ in 0..calls {
        // SAFETY: the host takes and gives a number.
        std::hint::black_box(unsafe { now() });
    }
    Ok(String::new())
}
