//! A type no output can be made from.
use bellwether_sdk::Outputs;

#[derive(Outputs)]
struct Counted {
    by_page: std::collections::BTreeMap<String, u64>, //~ cannot be an output
}

fn main() {}
