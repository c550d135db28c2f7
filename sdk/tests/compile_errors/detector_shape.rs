//! A detector of aligned series that is given one point.
use bellwether_sdk::detector::{Verdict, detector};

/// Judges.
#[detector(aligned, least = 1, best = 1)]
fn judge(_: &mut (), _: &()) -> Vec<Verdict> { //~ a detector of aligned series is `fn name(state: &mut State
    Vec::new()
}

fn main() {}
