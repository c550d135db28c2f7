//! Inputs and outputs without their derive.
use bellwether_sdk::host::Log;
use bellwether_sdk::{AppError, app};

struct Visit;
struct Counted;

/// Counts.
#[app]
fn count(
    _: &impl Log,
    _: Visit, //~ add #[derive(Inputs)] to the struct
) -> Result<
    Counted, //~ add #[derive(Outputs)] to the struct
    AppError,
> {
    Ok(Counted)
}

fn main() {}
