//! Checks a store that `numbered_write` wrote into against the acknowledgements it printed.
//!
//! `numbered_check STORE WRITERS ACKNOWLEDGEMENTS`: ends with 0 if all is there, 3 if the store opens and something is
//! lost or torn, another code if it does not open.

#[allow(dead_code, reason = "the writer uses the other half")]
mod numbered;

use std::path::Path;

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, folder, writers, acknowledgements] = &arguments[..] else {
        eprintln!("usage: numbered_check STORE WRITERS ACKNOWLEDGEMENTS");
        std::process::exit(2);
    };
    let writers = writers.parse().expect("WRITERS is a number");
    let printed = std::fs::read_to_string(acknowledgements).expect("ACKNOWLEDGEMENTS can be read");
    let acknowledged = numbered::acknowledged(&printed);
    let runtime = tokio::runtime::Runtime::new().expect("the runtime starts");
    let wrong = runtime.block_on(numbered::check(Path::new(folder), writers, &acknowledged));
    for line in &wrong {
        println!("{line}");
    }
    let batches: u64 = acknowledged.values().map(|number| number + 1).sum();
    println!("{batches} acknowledged batches, {} faults", wrong.len());
    if !wrong.is_empty() {
        std::process::exit(3);
    }
}
