//! Choices for what is no text.
use bellwether_sdk::{AppError, Inputs, app};
use bellwether_sdk::host::Log;

#[derive(Inputs)]
struct Visit {
    #[input(choices("1", "2"))] //~ choices are texts: the input is to be a String, a Vec<String> or an Option of one
    times: u32,
}

/// Counts.
#[app]
fn count(_: &impl Log, _: Visit) -> Result<(), AppError> {
    Ok(())
}

fn main() {}
