//! A choice that holds something.
use bellwether_sdk::Choice;

#[derive(Choice, Clone, Copy)]
enum Size {
    Small,
    Of(u32), //~ a case of a choice is a text and holds nothing else
}

fn main() {}
