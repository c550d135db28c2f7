//! Names and texts that no host takes.
use bellwether_sdk::host::Log;
use bellwether_sdk::{AppError, Inputs, Outputs, Settings, app};

#[derive(Inputs)]
struct Spaced {
    #[input(name = "the page")] //~ the name is "the page", expected 1 to 64 characters of A-Z, a-z, 0-9, _ and -, a letter first
    page: String,
}

#[derive(Outputs)]
struct Accented {
    größe: u32, //~ the name is "größe", expected 1 to 64 characters
}

#[derive(Settings)]
struct Numbered {
    #[setting(name = "1st")] //~ the name is "1st", expected 1 to 64 characters
    first: u32,
}

#[app(summary = " ")] //~ say in a doc comment what it does
fn count(_: &impl Log, _: ()) -> Result<(), AppError> {
    Ok(())
}

fn main() {}
