//! Writes numbered batches into a store until it is killed, and prints what was acknowledged.
//!
//! `numbered_write STORE WRITERS`: for `tests/power-fail.sh`.

#[allow(dead_code, reason = "the checker uses the other half")]
mod numbered;

use std::path::Path;

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, folder, writers] = &arguments[..] else {
        eprintln!("usage: numbered_write STORE WRITERS");
        std::process::exit(2);
    };
    let writers = writers.parse().expect("WRITERS is a number");
    let runtime = tokio::runtime::Runtime::new().expect("the runtime starts");
    runtime.block_on(numbered::write(Path::new(folder), writers));
}
