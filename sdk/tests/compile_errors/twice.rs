//! Two inputs of one name.
use bellwether_sdk::Inputs;

#[derive(Inputs)]
struct Visit {
    page: String,
    #[input(name = "page")]
    other: String, //~ there is an input "page" already
}

fn main() {}
