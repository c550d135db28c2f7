//! An app without a host.
use bellwether_sdk::{AppError, app};

/// Counts.
#[app]
fn count(_: ()) -> Result<(), AppError> { //~ an app is `fn name(host: &impl …, inputs: In) -> Result<Out, AppError>`
    Ok(())
}

fn main() {}
