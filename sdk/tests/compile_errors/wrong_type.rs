//! A type no input can be read into.
use bellwether_sdk::{AppError, Inputs, app};
use bellwether_sdk::host::Log;

#[derive(Inputs)]
struct Visit {
    page: std::path::PathBuf, //~ `PathBuf` cannot be an input
}

/// Counts.
#[app]
fn count(_: &impl Log, _: Visit) -> Result<(), AppError> {
    Ok(())
}

fn main() {}
