//! Defaults that cannot be.
use bellwether_sdk::Inputs;

#[derive(Inputs)]
struct Number {
    #[input(default = "many")] //~ the trait `From<&str>` is not implemented for `u32`
    times: u32,
}

#[derive(Inputs)]
struct Optional {
    #[input(default = 1)] //~ what has a default is never absent: drop the Option
    times: Option<u32>,
}

#[derive(Inputs)]
struct Secret {
    #[input(secret, default = "x")] //~ a secret's default would stand in the component for all to read
    token: String,
}

#[derive(Inputs)]
struct Chosen {
    #[input(choices("a", "b"), default = "c")] //~ the default is none of the choices
    letter: String,
}

#[derive(Inputs)]
struct Large {
    #[input(default = 9_223_372_036_854_775_808)] //~ the default is 9223372036854775808, expected at most 9223372036854775807
    times: u64,
}

fn main() {}
