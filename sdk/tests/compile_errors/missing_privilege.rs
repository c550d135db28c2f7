//! A call the app did not ask for.
use bellwether_sdk::host::Log;
use bellwether_sdk::{AppError, app};

/// Means to tell the time as well.
#[app]
fn curious(host: &impl Log, _: ()) -> Result<(), AppError> {
    let _ = host.now(); //~ no method named `now` found
    Ok(())
}

fn main() {}
