//! Secrets where no host takes them.
use bellwether_sdk::detector::{Point, Verdict, detector};
use bellwether_sdk::{Secret, Settings};

#[derive(Settings)]
struct Bound {
    token: Option<Secret>,
}

/// Judges.
#[detector(least = 0, best = 0)]
fn judge(
    _: &mut (),
    _: &Bound, //~ a detector sends nothing and has no use for a secret
    _: Point,
) -> Verdict {
    Verdict::unknown()
}

#[derive(Settings)]
struct Chosen {
    #[setting(choices("a", "b"))] //~ a secret is whatever its user keeps: it has no choices
    token: Secret,
}

fn main() {}
