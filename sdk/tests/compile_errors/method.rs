//! An app among the methods of a type.
use bellwether_sdk::host::Log;
use bellwether_sdk::{AppError, app};

struct Counter;

impl Counter {
    /// Counts.
    #[app]
    fn count(&self, _: &impl Log, _: ()) -> Result<(), AppError> { //~ an app is a function of its own, outside of any impl
        Ok(())
    }
}

fn main() {}
