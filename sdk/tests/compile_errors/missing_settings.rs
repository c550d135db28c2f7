//! Settings without their derive.
use bellwether_sdk::formatter::{Exchange, FormatterError, Step, formatter};

struct Channel;

/// Tells.
#[formatter]
fn tell(
    _: &Exchange,
    _: Channel, //~ add #[derive(Settings)] to the struct
) -> Result<Step, FormatterError> {
    Ok(Step::done())
}

fn main() {}
