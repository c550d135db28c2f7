//! An app that waits.
use bellwether_sdk::host::Log;
use bellwether_sdk::{AppError, app};

/// Counts.
#[app]
async fn count(_: &impl Log, _: ()) -> Result<(), AppError> { //~ an app cannot be async: every host call waits for its answer
    Ok(())
}

fn main() {}
