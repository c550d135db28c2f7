//! Two of what a component has one of, though in modules of their own.
mod first {
    use bellwether_sdk::host::Log;
    use bellwether_sdk::{AppError, app};

    /// Counts.
    #[app]
    fn count(_: &impl Log, _: ()) -> Result<(), AppError> {
        Ok(())
    }
}

mod second {
    use bellwether_sdk::host::Log;
    use bellwether_sdk::{AppError, app};

    /// Weighs.
    #[app] //~ the name `a_component_has_one_app` is defined multiple times
    fn weigh(_: &impl Log, _: ()) -> Result<(), AppError> {
        Ok(())
    }
}

fn main() {}
