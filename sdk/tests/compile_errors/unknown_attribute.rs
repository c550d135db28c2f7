//! A word the attribute does not know.
use bellwether_sdk::Inputs;

#[derive(Inputs)]
struct Visit {
    #[input(requird)] //~ expected name, help, default, choices or secret
    page: String,
}

fn main() {}
