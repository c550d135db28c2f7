//! A detector that does not say how much of a series it wants to see.
use bellwether_sdk::detector::{Point, Verdict, detector};

/// Judges.
#[detector(least = 10)] //~ say how much of a series it wants to see, in points: `least = 20, best = 500`
fn judge(_: &mut (), _: &(), _: Point) -> Verdict {
    Verdict::unknown()
}

fn main() {}
