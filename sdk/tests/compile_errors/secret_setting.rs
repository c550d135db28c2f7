//! A secret whose text would be held.
use bellwether_sdk::Settings;

#[derive(Settings)]
struct Channel {
    #[setting(secret)] //~ a secret is a field of the type Secret
    token: String,
}

fn main() {}
