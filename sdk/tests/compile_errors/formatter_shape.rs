//! A formatter without settings.
use bellwether_sdk::formatter::{Exchange, FormatterError, Step, formatter};

/// Tells.
#[formatter]
fn tell(_: &Exchange) -> Result<Step, FormatterError> { //~ a formatter is `fn name(exchange: &Exchange, settings: Settings)
    Ok(Step::done())
}

fn main() {}
