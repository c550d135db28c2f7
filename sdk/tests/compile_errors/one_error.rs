//! A mistake within a derive is told once, where it is.
use bellwether_sdk::formatter::{Exchange, FormatterError, Step, formatter};
use bellwether_sdk::host::Log;
use bellwether_sdk::{AppError, Choice, Inputs, Outputs, Settings, app};

#[derive(Inputs)]
struct Visit {
    #[input(choices("a", "b", "a"))] //~ there is a choice "a" already
    page: String,
    size: Size,
    more: Vec<Size>,
}

#[derive(Outputs)]
struct Counted {
    #[output(secret)] //~ expected name or help
    total: u32,
    size: Size,
}

#[derive(Settings)]
struct Channel {
    #[setting(name = "the room")] //~ the name is "the room"
    room: String,
}

#[derive(Choice, Clone, Copy)]
enum Size {
    Small,
    Of(u32), //~ a case of a choice is a text and holds nothing else
}

/// Counts.
#[app]
fn count(_: &impl Log, _: Visit) -> Result<Counted, AppError> {
    Ok(Counted { total: 1, size: Size::Small })
}

/// Tells.
#[formatter]
fn tell(_: &Exchange, _: Channel) -> Result<Step, FormatterError> {
    Ok(Step::done())
}

fn main() {}
