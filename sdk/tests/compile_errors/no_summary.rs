//! An app that does not say what it does.
use bellwether_sdk::host::Log;
use bellwether_sdk::{AppError, app};

#[app]
fn count(_: &impl Log, _: ()) -> Result<(), AppError> { //~ say in a doc comment what it does
    Ok(())
}

fn main() {}
