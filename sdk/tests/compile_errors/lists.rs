//! Lists of what no list may hold.
use bellwether_sdk::{Inputs, Outputs};

#[derive(Inputs)]
struct Upload {
    content: Vec<u8>, //~ bytes are a Binary, other whole numbers a Vec<i64>, f32 a Vec<f64>
    sizes: Option<Vec<u32>>, //~ `u32` is neither a choice nor what else a list may hold
}

#[derive(Outputs)]
struct Stored {
    flags: Vec<bool>, //~ a list of anything else is Json<Vec<_>>
}

fn main() {}
