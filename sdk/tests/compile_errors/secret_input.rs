//! A secret an app could do nothing with.
use bellwether_sdk::host::Log;
use bellwether_sdk::{AppError, Inputs, Secret, app};

#[derive(Inputs)]
struct Ticket {
    token: Secret, //~ make the input a String, with #[input(secret)] on it
}

/// Opens a ticket.
#[app]
fn open(_: &impl Log, _: Ticket) -> Result<(), AppError> {
    Ok(())
}

fn main() {}
